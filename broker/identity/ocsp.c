/* Is a certificate still good? See ocsp.h. OpenSSL parses the answer and verifies its signature, in a store that holds the issuer alone, so that no other chain can be
 * found; what it would forgive is looked at beside that. */
#include "config.h"

#include "identity/ocsp.h"

#include <openssl/err.h>
#include <openssl/ocsp.h>
#include <openssl/x509v3.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "identity/trust_priv.h"

#define NONCE_BYTES 32 /* RFC 9654 §2.1 */

struct ocsp_subject {
	atomic_uint refs;
	X509 *issuer;
	STACK_OF(X509) *cas;           /* the issuer, and those above it: a signer's chain may need them */
	ASN1_INTEGER *serial;
	uint8_t key[SHA256_BYTES];
};

struct ocsp_question {
	struct ocsp_subject *subject;
	OCSP_REQUEST *request;
	OCSP_CERTID *id;
	unsigned char *der;
	int der_n;
};

/* ---- whom it is about ---- */

static bool make_key(struct ocsp_subject *s)
{
	const ASN1_BIT_STRING *bits = X509_get0_pubkey_bitstr(s->issuer);
	unsigned char *name = NULL, *serial = NULL;
	int name_n = i2d_X509_NAME(X509_get_subject_name(s->issuer), &name), serial_n = i2d_ASN1_INTEGER(s->serial, &serial);
	bool ok = bits && name_n > 0 && serial_n > 0;

	if (ok) { /* a name and a number are DER: where they end is plain */
		const struct slice parts[] = {slice_of(name, (size_t)name_n), slice_of(serial, (size_t)serial_n),
			slice_of(ASN1_STRING_get0_data(bits), (size_t)ASN1_STRING_length(bits))};

		sha256_parts(parts, sizeof parts / sizeof parts[0], s->key);
	}
	OPENSSL_free(name);
	OPENSSL_free(serial);
	return ok;
}

/* NULL when memory is out. */
static STACK_OF(X509) *cas_of(const STACK_OF(X509) *chain)
{
	STACK_OF(X509) *cas = sk_X509_new_null();
	bool ok = cas;

	for (int i = 1; ok && i < sk_X509_num(chain); i++)
		ok = X509_add_cert(cas, sk_X509_value(chain, i), X509_ADD_FLAG_UP_REF) == 1;
	if (ok)
		return cas;
	sk_X509_pop_free(cas, X509_free);
	return NULL;
}

struct ocsp_subject *ocsp_subject_new(const STACK_OF(X509) *chain)
{
	X509 *leaf = sk_X509_value(chain, 0), *issuer = sk_X509_value(chain, 1);
	struct ocsp_subject *s = calloc(1, sizeof *s);

	if (!s)
		return NULL;
	atomic_init(&s->refs, 1);
	X509_up_ref(issuer);
	s->issuer = issuer;
	s->cas = cas_of(chain);
	s->serial = ASN1_INTEGER_dup(X509_get0_serialNumber(leaf));
	if (s->cas && s->serial && make_key(s))
		return s;
	ocsp_subject_unref(s);
	return NULL;
}

struct ocsp_subject *ocsp_subject_ref(struct ocsp_subject *s)
{
	if (s)
		atomic_fetch_add(&s->refs, 1);
	return s;
}

void ocsp_subject_unref(struct ocsp_subject *s)
{
	if (!s || atomic_fetch_sub(&s->refs, 1) != 1)
		return;
	X509_free(s->issuer);
	sk_X509_pop_free(s->cas, X509_free);
	ASN1_INTEGER_free(s->serial);
	free(s);
}

const uint8_t *ocsp_subject_key(const struct ocsp_subject *s)
{
	return s->key;
}

/* ---- the question ---- */

static int place_of(const char *text, const char *first, const char *second)
{
	return !*text || strcmp(text, first) == 0 ? 0 : strcmp(text, second) == 0 ? 1 : -1;
}

int ocsp_digest_of(const char *text)
{
	return place_of(text, "sha256", "sha1");
}

int ocsp_nonce_of(const char *text)
{
	return place_of(text, "optional", "required");
}

static bool build(struct ocsp_question *q, const EVP_MD *md)
{
	const struct ocsp_subject *s = q->subject;
	unsigned char nonce[NONCE_BYTES];
	OCSP_CERTID *id;

	random_bytes(nonce, sizeof nonce);
	q->id = OCSP_cert_id_new(md, X509_get_subject_name(s->issuer), X509_get0_pubkey_bitstr(s->issuer), s->serial);
	q->request = OCSP_REQUEST_new();
	id = q->id ? OCSP_CERTID_dup(q->id) : NULL;
	if (!id || !q->request || !OCSP_request_add0_id(q->request, id)) {
		OCSP_CERTID_free(id);
		return false;
	}
	if (OCSP_request_add1_nonce(q->request, nonce, sizeof nonce) != 1)
		return false;
	q->der_n = i2d_OCSP_REQUEST(q->request, &q->der);
	return q->der_n > 0;
}

struct ocsp_question *ocsp_question_new(struct ocsp_subject *s, enum ocsp_digest d)
{
	struct ocsp_question *q = calloc(1, sizeof *q);
	bool ok;

	if (!q)
		return NULL;
	q->subject = ocsp_subject_ref(s);
	ok = build(q, d == OCSP_BY_SHA1 ? EVP_sha1() : EVP_sha256());
	ERR_clear_error();
	if (ok)
		return q;
	ocsp_question_free(q);
	return NULL;
}

void ocsp_question_free(struct ocsp_question *q)
{
	if (!q)
		return;
	OCSP_REQUEST_free(q->request);
	OCSP_CERTID_free(q->id);
	OPENSSL_free(q->der);
	ocsp_subject_unref(q->subject);
	free(q);
}

struct slice ocsp_question_der(const struct ocsp_question *q)
{
	return slice_of(q->der, (size_t)q->der_n);
}

/* ---- who signed the answer; NULL: nothing is wrong, so below ---- */

/* One to whom the issuer gave a certificate for this, and for nothing that only a CA may do (RFC 6960 §4.2.2.2). */
static bool is_delegate(X509 *signer, X509 *issuer)
{
	uint32_t flags;

	if (X509_check_purpose(signer, -1, 0) != 1 || X509_check_ca(signer) != 0)
		return false;
	flags = X509_get_extension_flags(signer);
	if (!(flags & EXFLAG_XKUSAGE) || !(X509_get_extended_key_usage(signer) & XKU_OCSP_SIGN) || (flags & EXFLAG_CRITICAL))
		return false;
	if ((flags & EXFLAG_KUSAGE) && !(X509_get_key_usage(signer) & KU_DIGITAL_SIGNATURE))
		return false;
	return X509_check_issued(issuer, signer) == X509_V_OK && X509_verify(signer, X509_get0_pubkey(issuer)) == 1 && trust_key_is_strong(signer) &&
	       trust_signature_is_strong(signer);
}

/* What peers' certificates are judged by is for responders' too. */
static bool is_listed(const struct ocsp_heard *h, X509 *signer, STACK_OF(X509) *cas)
{
	const struct trust_domain *d = h->trust ? trust_find(h->trust, h->domain) : NULL;

	return h->trust && (!d || !trust_vouches_for(d, signer, cas, h->now_ms));
}

/* The issuer alone is trusted, and one step below it. */
static X509_STORE *store_of(X509 *issuer, int64_t now_ms)
{
	X509_STORE *store = X509_STORE_new();
	X509_VERIFY_PARAM *param = store ? X509_STORE_get0_param(store) : NULL;

	if (!store || X509_STORE_add_cert(store, issuer) != 1) {
		X509_STORE_free(store);
		return NULL;
	}
	X509_VERIFY_PARAM_set_flags(param, X509_V_FLAG_PARTIAL_CHAIN);
	X509_VERIFY_PARAM_set_time(param, (time_t)(now_ms / 1000));
	X509_VERIFY_PARAM_set_depth(param, 1);
	X509_VERIFY_PARAM_set_auth_level(param, 2);
	return store;
}

static const char *signer_wrong(OCSP_BASICRESP *b, const struct ocsp_subject *s, const struct ocsp_heard *h)
{
	static const char not_signed[] = "it is not signed by the issuer, nor by one with a certificate of the issuer's for that (id-kp-OCSPSigning)";
	STACK_OF(X509) *with = sk_X509_new_null();
	X509 *issuer = s->issuer, *signer = NULL;
	X509_STORE *store = store_of(issuer, h->now_ms);
	const char *wrong = "out of memory";

	if (!store || !with || !sk_X509_push(with, issuer))
		goto out;
	wrong = not_signed;
	if (OCSP_basic_verify(b, with, store, OCSP_NOCHAIN | OCSP_NOEXPLICIT) != 1 || OCSP_resp_get0_signer(b, &signer, with) != 1)
		goto out;
	if (X509_cmp(signer, issuer) != 0 && !is_delegate(signer, issuer))
		goto out;
	if (X509_cmp(signer, issuer) != 0 && is_listed(h, signer, s->cas))
		wrong = "the certificate of its signer is revoked, or cannot be judged: a list of the trust domain stands against it";
	else
		wrong = trust_algorithm_is_strong(OCSP_resp_get0_tbs_sigalg(b)) ? NULL : "it is signed with a weak digest: SHA-256 or better is taken";
out:
	sk_X509_free(with);
	X509_STORE_free(store);
	return wrong;
}

/* ---- what it says ---- */

static const char *times_wrong(struct ocsp_answer *a, const ASN1_GENERALIZEDTIME *from, const ASN1_GENERALIZEDTIME *to, const struct ocsp_heard *h)
{
	a->next_ms = INT64_MAX;
	if (!trust_time_ms(from, &a->this_ms) || (to && !trust_time_ms(to, &a->next_ms)))
		return "its times cannot be read";
	if (h->kept)
		return NULL;
	if (a->this_ms > h->now_ms + OCSP_SKEW_MS)
		return "it is dated ahead: the responder's clock and this one differ";
	if (a->next_ms <= a->this_ms)
		return "it ends before it begins";
	if (a->next_ms <= h->now_ms)
		return "it is out of date";
	return ocsp_until_ms(a, h->now_ms, h->max_age_ms) <= h->now_ms ? "it is older than ocsp.max_age, and has no nextUpdate" : NULL;
}

int64_t ocsp_until_ms(const struct ocsp_answer *a, int64_t got_ms, int64_t max_age_ms)
{
	int64_t from = a->next_ms == INT64_MAX && a->this_ms < got_ms ? a->this_ms : got_ms;

	return a->next_ms < from + max_age_ms ? a->next_ms : from + max_age_ms;
}

static const char *single_wrong(OCSP_SINGLERESP *one, const struct ocsp_heard *h, struct ocsp_answer *a)
{
	ASN1_GENERALIZEDTIME *from = NULL, *to = NULL;
	int reason = -1, status = OCSP_single_get0_status(one, &reason, NULL, &from, &to);

	if (OCSP_SINGLERESP_get_ext_by_critical(one, 1, -1) >= 0)
		return "it has a critical extension that is not understood here";
	a->reason = status == V_OCSP_CERTSTATUS_REVOKED && reason >= 0 ? OCSP_crl_reason_str(reason) : "";
	switch (status) {
	case V_OCSP_CERTSTATUS_GOOD:
		a->says = OCSP_SAYS_GOOD;
		break;
	case V_OCSP_CERTSTATUS_REVOKED:
		a->says = OCSP_SAYS_REVOKED;
		break;
	case V_OCSP_CERTSTATUS_UNKNOWN:
		a->says = OCSP_SAYS_UNKNOWN;
		break;
	default:
		return "it says nothing";
	}
	return times_wrong(a, from, to, h);
}

static const char *nonce_wrong(OCSP_REQUEST *request, OCSP_BASICRESP *b, enum ocsp_nonce nonce)
{
	switch (OCSP_check_nonce(request, b)) {
	case 1: /* the same */
		return NULL;
	case 0:
		return "it has another nonce than the question: it is an answer to another one";
	default:
		return nonce == OCSP_NONCE_REQUIRED ? "it has not the question's nonce, which ocsp.nonce demands: the responder leaves it out, or it is an answer of before" : NULL;
	}
}

static const char *content_wrong(const struct ocsp_question *q, OCSP_BASICRESP *b, const struct ocsp_heard *h, struct ocsp_answer *a)
{
	const char *wrong = h->kept ? NULL : nonce_wrong(q->request, b, h->nonce);
	int at;

	if (OCSP_resp_count(b) > OCSP_SINGLES_MAX)
		return "it is about too many certificates";
	if (OCSP_BASICRESP_get_ext_by_critical(b, 1, -1) >= 0)
		return "it has a critical extension that is not understood here";
	if (wrong)
		return wrong;
	at = OCSP_resp_find(b, q->id, -1);
	if (at < 0)
		return "it is not about this certificate";
	if (OCSP_resp_find(b, q->id, at) >= 0)
		return "it is about this certificate twice";
	return single_wrong(OCSP_resp_get0(b, at), h, a);
}

/* ---- an answer ---- */

/* Whole, and nothing behind it. */
static OCSP_RESPONSE *parse(struct slice body)
{
	const unsigned char *at = body.p;
	OCSP_RESPONSE *r = body.n && body.n <= OCSP_BODY_MAX ? d2i_OCSP_RESPONSE(NULL, &at, (long)body.n) : NULL;

	if (r && at == body.p + body.n)
		return r;
	OCSP_RESPONSE_free(r);
	return NULL;
}

static const char *status_wrong(OCSP_RESPONSE *r)
{
	switch (OCSP_response_status(r)) {
	case OCSP_RESPONSE_STATUS_SUCCESSFUL:
		return NULL;
	case OCSP_RESPONSE_STATUS_TRYLATER:
		return "the responder says: try later";
	case OCSP_RESPONSE_STATUS_UNAUTHORIZED:
		return "the responder says: unauthorized. It may not answer for this issuer, or know no questions by SHA-256 (ocsp.cert_id)";
	case OCSP_RESPONSE_STATUS_SIGREQUIRED:
		return "the responder wants signed questions, which are not asked here";
	case OCSP_RESPONSE_STATUS_MALFORMEDREQUEST:
		return "the responder says: malformed request";
	default:
		return "the responder says: an error";
	}
}

static const char *read_response(const struct ocsp_question *q, OCSP_RESPONSE *r, const struct ocsp_heard *h, struct ocsp_answer *out)
{
	const char *wrong = status_wrong(r);
	OCSP_BASICRESP *b;

	if (wrong)
		return wrong;
	b = OCSP_response_get1_basic(r);
	if (!b)
		return "it is of a kind that is not understood here";
	wrong = signer_wrong(b, q->subject, h);
	if (!wrong)
		wrong = content_wrong(q, b, h, out);
	OCSP_BASICRESP_free(b);
	return wrong;
}

const char *ocsp_read(const struct ocsp_question *q, const struct ocsp_heard *h, struct ocsp_answer *out)
{
	OCSP_RESPONSE *r = parse(h->body);
	const char *wrong = r ? read_response(q, r, h, out) : "it is no OCSP answer";

	OCSP_RESPONSE_free(r);
	ERR_clear_error();
	return wrong;
}
