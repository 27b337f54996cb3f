/* Which answers about a certificate count, when a stranger may have sent them? Each that does not stands beside the honest one that differs in one thing. */
#include "config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <openssl/err.h>
#include <openssl/ocsp.h>
#include <openssl/x509v3.h>

#include "identity/ocsp.h"
#include "identity/peer.h"

#define NOW 1764000000LL /* seconds */
#define MINUTE 60LL
#define HOUR 3600LL
#define DAY 86400LL
#define DOMAIN "acme.example"
#define MAX_AGE_MS (HOUR * 1000)

struct holder {
	X509 *cert;
	EVP_PKEY *key;
};

/* The issuer, and whoever else may sign. */
enum who { ISSUER, DELEGATE, NO_PURPOSE, CLIENT_ALONE, ANY_PURPOSE, OTHER_CA, BY_OTHER_CA, ENDED, NOT_YET, DELEGATE_CA, NO_SIGNING, WEAK, BELOW, TWIN, ODD, PEOPLE };
static struct holder people[PEOPLE], middle, low; /* middle is the issuer's, low is middle's */
static X509 *leaf, *other_leaf;
static struct ocsp_subject *subject;
static struct trust *trust; /* the lists that are asked about signers; NULL: none are */

/* ---- building ---- */

static void add_ext(X509 *cert, int nid, const char *value)
{
	X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, NULL, nid, value);

	assert_non_null(e);
	X509_add_ext(cert, e, -1);
	X509_EXTENSION_free(e);
}

static X509_EXTENSION *odd_extension(void)
{
	ASN1_OCTET_STRING *os = ASN1_OCTET_STRING_new();
	ASN1_OBJECT *o = OBJ_txt2obj("1.3.6.1.4.1.99999.1", 1);
	X509_EXTENSION *e;

	ASN1_OCTET_STRING_set(os, (const unsigned char *)"\x05\x00", 2);
	e = X509_EXTENSION_create_by_OBJ(NULL, o, 1, os);
	ASN1_OBJECT_free(o);
	ASN1_OCTET_STRING_free(os);
	return e;
}

struct kind {
	const char *name, *basic, *usage, *eku;
	const struct holder *by; /* NULL: itself */
	int64_t from, to;        /* seconds from NOW; 0, 0: a month ago, in a month */
	bool weak, odd;
};

static X509 *make_cert(const struct kind *k, EVP_PKEY *key)
{
	static long serial = 7000;
	bool dated = k->from || k->to;
	X509 *cert = X509_new();
	X509_EXTENSION *e;

	X509_set_version(cert, X509_VERSION_3);
	ASN1_INTEGER_set(X509_get_serialNumber(cert), serial++);
	ASN1_TIME_set(X509_getm_notBefore(cert), (time_t)(NOW + (dated ? k->from : -30 * DAY)));
	ASN1_TIME_set(X509_getm_notAfter(cert), (time_t)(NOW + (dated ? k->to : 30 * DAY)));
	X509_NAME_add_entry_by_txt(X509_get_subject_name(cert), "CN", MBSTRING_ASC, (const unsigned char *)k->name, -1, -1, 0);
	X509_set_issuer_name(cert, X509_get_subject_name(k->by ? k->by->cert : cert));
	X509_set_pubkey(cert, key);
	add_ext(cert, NID_basic_constraints, k->basic ? k->basic : "critical,CA:FALSE");
	if (k->usage)
		add_ext(cert, NID_key_usage, k->usage);
	if (k->eku)
		add_ext(cert, NID_ext_key_usage, k->eku);
	if (k->odd) {
		e = odd_extension();
		X509_add_ext(cert, e, -1);
		X509_EXTENSION_free(e);
	}
	assert_true(X509_sign(cert, k->by ? k->by->key : key, EVP_sha256()) > 0);
	return cert;
}

static struct holder make(const struct kind *k)
{
	struct holder h = {.key = k->weak ? EVP_RSA_gen(1024) : EVP_EC_gen("P-256")};

	h.cert = make_cert(k, h.key);
	return h;
}

#define CA_USAGE "critical,keyCertSign,cRLSign"
#define CA "critical,CA:TRUE"
#define SIGNS "critical,digitalSignature"
#define MAY "OCSPSigning"

static struct ocsp_subject *subject_of(X509 *of, X509 *issuer)
{
	STACK_OF(X509) *chain = sk_X509_new_null();
	struct ocsp_subject *s;

	sk_X509_push(chain, of);
	sk_X509_push(chain, issuer);
	if (issuer == low.cert) {
		sk_X509_push(chain, middle.cert);
		sk_X509_push(chain, people[ISSUER].cert);
	}
	s = ocsp_subject_new(chain);
	sk_X509_free(chain);
	return s;
}

static int set_up(void **state)
{
	const struct holder *issuer = &people[ISSUER];
	const struct kind kinds[PEOPLE] = {
		[ISSUER] = {.name = "issuer", .basic = CA, .usage = CA_USAGE},
		[DELEGATE] = {.name = "delegate", .usage = SIGNS, .eku = MAY, .by = issuer},
		[NO_PURPOSE] = {.name = "no purpose", .usage = SIGNS, .by = issuer},
		[CLIENT_ALONE] = {.name = "client", .usage = SIGNS, .eku = "clientAuth", .by = issuer},
		[ANY_PURPOSE] = {.name = "any", .usage = SIGNS, .eku = "anyExtendedKeyUsage", .by = issuer},
		[OTHER_CA] = {.name = "other", .basic = CA, .usage = CA_USAGE},
		[BY_OTHER_CA] = {.name = "delegate of another", .usage = SIGNS, .eku = MAY, .by = &people[OTHER_CA]},
		[ENDED] = {.name = "ended", .usage = SIGNS, .eku = MAY, .by = issuer, .from = -9 * DAY, .to = -DAY},
		[NOT_YET] = {.name = "not yet", .usage = SIGNS, .eku = MAY, .by = issuer, .from = DAY, .to = 9 * DAY},
		[DELEGATE_CA] = {.name = "delegate and CA", .basic = CA, .usage = "critical,keyCertSign,digitalSignature", .eku = MAY, .by = issuer},
		[NO_SIGNING] = {.name = "no signing", .usage = "critical,keyEncipherment", .eku = MAY, .by = issuer},
		[WEAK] = {.name = "weak", .usage = SIGNS, .eku = MAY, .by = issuer, .weak = true},
		[BELOW] = {.name = "below", .usage = SIGNS, .eku = MAY, .by = &middle},
		[TWIN] = {.name = "issuer", .basic = CA, .usage = CA_USAGE},
		[ODD] = {.name = "odd", .usage = SIGNS, .eku = MAY, .by = issuer, .odd = true},
	};
	const struct kind m = {.name = "middle", .basic = CA, .usage = CA_USAGE, .by = issuer}, l = {.name = "leaf", .usage = SIGNS, .eku = "clientAuth", .by = issuer};

	(void)state;
	for (int i = 0; i < PEOPLE; i++) {
		people[i] = make(&kinds[i]);
		if (i == ISSUER)
			middle = make(&m);
	}
	low = make(&(struct kind){.name = "low", .basic = CA, .usage = CA_USAGE, .by = &middle});
	leaf = make_cert(&l, people[DELEGATE].key);
	other_leaf = make_cert(&l, people[DELEGATE].key);
	subject = subject_of(leaf, issuer->cert);
	assert_non_null(subject);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	for (int i = 0; i < PEOPLE; i++) {
		X509_free(people[i].cert);
		EVP_PKEY_free(people[i].key);
	}
	X509_free(low.cert);
	EVP_PKEY_free(low.key);
	X509_free(middle.cert);
	EVP_PKEY_free(middle.key);
	X509_free(leaf);
	X509_free(other_leaf);
	ocsp_subject_unref(subject);
	return 0;
}

enum about { ABOUT_LEAF, ABOUT_OTHER, ABOUT_OTHER_CA, ABOUT_BOTH, ABOUT_LEAF_TWICE, ABOUT_MANY };
enum nonce { NONCE_SAME, NONCE_NONE, NONCE_OTHER };

struct spec {
	int status;            /* V_OCSP_CERTSTATUS_… */
	int64_t from, to;      /* seconds from NOW; 0, 0: a minute ago, in an hour. to 1: no nextUpdate */
	enum who signer;
	const EVP_MD *md;      /* NULL: SHA-256 */
	enum about about;
	enum nonce nonce;
	enum ocsp_digest digest, other_digest; /* of the question; other: the answer is by the one that was not asked by */
	bool mixed;            /* other_digest counts */
	bool bare;             /* without the signer's certificate */
	bool by_key;           /* the signer is named by its key */
	bool odd_answer, odd_single;
	bool damaged;          /* a bit of the signature */
	int error;             /* the response's status instead */
	bool trailing, torn, empty;
};

static OCSP_CERTID *id_of(const struct spec *s, enum about about)
{
	enum ocsp_digest d = s->mixed ? s->other_digest : s->digest;

	return OCSP_cert_to_id(d == OCSP_BY_SHA1 ? EVP_sha1() : EVP_sha256(), about == ABOUT_OTHER ? other_leaf : leaf,
			       about == ABOUT_OTHER_CA ? people[OTHER_CA].cert : people[ISSUER].cert);
}

static void add_single(OCSP_BASICRESP *b, const struct spec *s, enum about about, int status)
{
	bool dated = s->from || s->to;
	ASN1_TIME *from = ASN1_TIME_set(NULL, (time_t)(NOW + (dated ? s->from : -MINUTE))), *to = ASN1_TIME_set(NULL, (time_t)(NOW + (dated ? s->to : HOUR)));
	ASN1_TIME *when = ASN1_TIME_set(NULL, (time_t)(NOW - DAY));
	OCSP_CERTID *id = id_of(s, about);
	OCSP_SINGLERESP *one = OCSP_basic_add1_status(b, id, status, status == V_OCSP_CERTSTATUS_REVOKED ? OCSP_REVOKED_STATUS_KEYCOMPROMISE : 0,
						      status == V_OCSP_CERTSTATUS_REVOKED ? when : NULL, from, s->to == 1 ? NULL : to);
	X509_EXTENSION *e = odd_extension();

	assert_non_null(one);
	if (s->odd_single)
		OCSP_SINGLERESP_add_ext(one, e, -1);
	X509_EXTENSION_free(e);
	OCSP_CERTID_free(id);
	ASN1_TIME_free(from);
	ASN1_TIME_free(to);
	ASN1_TIME_free(when);
}

static void add_nonce(OCSP_BASICRESP *b, const struct spec *s, struct slice question)
{
	unsigned char other[32] = {7};
	const unsigned char *at = question.p;
	OCSP_REQUEST *rq = d2i_OCSP_REQUEST(NULL, &at, (long)question.n);

	assert_non_null(rq);
	if (s->nonce == NONCE_SAME)
		assert_int_equal(OCSP_copy_nonce(b, rq), 1);
	if (s->nonce == NONCE_OTHER)
		OCSP_basic_add1_nonce(b, other, sizeof other);
	OCSP_REQUEST_free(rq);
}

static void fill(OCSP_BASICRESP *b, const struct spec *s)
{
	switch (s->about) {
	case ABOUT_BOTH: /* what is said of another is not said of this one */
		add_single(b, s, ABOUT_OTHER, V_OCSP_CERTSTATUS_REVOKED);
		add_single(b, s, ABOUT_LEAF, s->status);
		break;
	case ABOUT_LEAF_TWICE:
		add_single(b, s, ABOUT_LEAF, s->status);
		add_single(b, s, ABOUT_LEAF, V_OCSP_CERTSTATUS_REVOKED);
		break;
	case ABOUT_MANY:
		for (int i = 0; i < OCSP_SINGLES_MAX; i++)
			add_single(b, s, ABOUT_OTHER, s->status);
		add_single(b, s, ABOUT_LEAF, s->status);
		break;
	default:
		add_single(b, s, s->about, s->status);
	}
}

static int write_answer(const struct spec *s, OCSP_BASICRESP *b, unsigned char **der)
{
	OCSP_RESPONSE *r = OCSP_response_create(s->error ? s->error : OCSP_RESPONSE_STATUS_SUCCESSFUL, s->error ? NULL : b);
	int n = i2d_OCSP_RESPONSE(r, der);

	OCSP_RESPONSE_free(r);
	return n;
}

static int build(const struct spec *s, struct slice question, unsigned char **der)
{
	const struct holder *h = &people[s->signer];
	OCSP_BASICRESP *b = OCSP_BASICRESP_new();
	X509_EXTENSION *e = odd_extension();
	STACK_OF(X509) *more = sk_X509_new_null();
	int n;

	fill(b, s);
	add_nonce(b, s, question);
	if (s->odd_answer)
		OCSP_BASICRESP_add_ext(b, e, -1);
	sk_X509_push(more, middle.cert);
	assert_int_equal(OCSP_basic_sign(b, h->cert, h->key, s->md ? s->md : EVP_sha256(), s->signer == BELOW ? more : NULL,
					 (s->bare ? OCSP_NOCERTS : 0) | (s->by_key ? OCSP_RESPID_KEY : 0)), 1);
	if (s->damaged) {
		const ASN1_OCTET_STRING *sig = OCSP_resp_get0_signature(b);

		sig->data[sig->length - 1] ^= 1;
	}
	n = write_answer(s, b, der);
	sk_X509_free(more);
	X509_EXTENSION_free(e);
	OCSP_BASICRESP_free(b);
	return n;
}

static enum ocsp_nonce demanded;

static const char *read_by(const struct ocsp_question *q, struct slice body, struct ocsp_answer *out)
{
	const struct ocsp_heard h = {.body = body, .now_ms = NOW * 1000, .max_age_ms = MAX_AGE_MS, .trust = trust, .domain = SLICE_LIT(DOMAIN), .nonce = demanded};

	return ocsp_read(q, &h, out);
}

static const char *read_spec(const struct spec *s, struct ocsp_answer *out)
{
	struct ocsp_question *q = ocsp_question_new(subject, s->digest);
	unsigned char *der = NULL, *padded;
	const char *wrong;
	int n;

	assert_non_null(q);
	n = build(s, ocsp_question_der(q), &der);
	assert_true(n > 0);
	padded = malloc((size_t)n + 1); /* to the byte, for the sanitizer */
	memcpy(padded, der, (size_t)n);
	padded[n] = 0;
	wrong = read_by(q, slice_of(padded, s->empty ? 0 : (size_t)n + s->trailing - s->torn), out);
	assert_int_equal(ERR_peek_error(), 0);
	free(padded);
	OPENSSL_free(der);
	ocsp_question_free(q);
	return wrong;
}

/* ---- tests ---- */

#define GOOD V_OCSP_CERTSTATUS_GOOD

static void what_an_answer_says_is_read(void **state)
{
	static const struct { int status; enum ocsp_says says; const char *reason; } rows[] = {
		{V_OCSP_CERTSTATUS_GOOD, OCSP_SAYS_GOOD, ""}, {V_OCSP_CERTSTATUS_REVOKED, OCSP_SAYS_REVOKED, "keyCompromise"}, {V_OCSP_CERTSTATUS_UNKNOWN, OCSP_SAYS_UNKNOWN, ""},
	};
	struct ocsp_answer a;

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		const struct spec s = {.status = rows[i].status};

		assert_null(read_spec(&s, &a));
		assert_int_equal(a.says, rows[i].says);
		assert_string_equal(a.reason, rows[i].reason);
		assert_int_equal(a.this_ms, (NOW - MINUTE) * 1000);
		assert_int_equal(a.next_ms, (NOW + HOUR) * 1000);
	}
}

static void honest_answers_count_however_they_are_signed(void **state)
{
	static const struct spec rows[] = {
		{.status = GOOD, .signer = ISSUER, .bare = true}, {.status = GOOD, .signer = ISSUER, .by_key = true}, {.status = GOOD, .signer = ISSUER, .bare = true, .by_key = true},
		{.status = GOOD, .signer = DELEGATE}, {.status = GOOD, .signer = DELEGATE, .by_key = true},
		{.status = GOOD, .nonce = NONCE_NONE}, {.status = GOOD, .digest = OCSP_BY_SHA1}, {.status = GOOD, .about = ABOUT_BOTH},
		{.status = GOOD, .from = 30, .to = HOUR}, {.status = GOOD, .from = -MINUTE, .to = 1}, {.status = GOOD, .from = -DAY, .to = 2},
	};
	struct ocsp_answer a;

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		const char *wrong = read_spec(&rows[i], &a);

		if (wrong)
			fail_msg("row %zu: %s", i, wrong);
		assert_int_equal(a.says, OCSP_SAYS_GOOD);
	}
}

#define SIGNED "it is not signed by the issuer"

static void what_is_no_answer_of_the_responder_does_not_count(void **state)
{
	static const struct { struct spec s; const char *why; } rows[] = {
		{{.status = GOOD, .signer = NO_PURPOSE}, SIGNED}, {{.status = GOOD, .signer = CLIENT_ALONE}, SIGNED}, {{.status = GOOD, .signer = ANY_PURPOSE}, SIGNED},
		{{.status = GOOD, .signer = OTHER_CA}, SIGNED}, {{.status = GOOD, .signer = OTHER_CA, .bare = true}, SIGNED}, {{.status = GOOD, .signer = BY_OTHER_CA}, SIGNED},
		{{.status = GOOD, .signer = ENDED}, SIGNED}, {{.status = GOOD, .signer = NOT_YET}, SIGNED}, {{.status = GOOD, .signer = DELEGATE_CA}, SIGNED},
		{{.status = GOOD, .signer = NO_SIGNING}, SIGNED}, {{.status = GOOD, .signer = WEAK}, SIGNED}, {{.status = GOOD, .signer = BELOW}, SIGNED},
		{{.status = GOOD, .signer = TWIN}, SIGNED}, {{.status = GOOD, .signer = TWIN, .by_key = true}, SIGNED}, {{.status = GOOD, .signer = ODD}, SIGNED},
		{{.status = GOOD, .signer = DELEGATE, .bare = true}, SIGNED}, {{.status = GOOD, .damaged = true}, SIGNED}, {{.status = GOOD, .signer = DELEGATE, .damaged = true}, SIGNED},
		{{.status = GOOD, .about = ABOUT_OTHER}, "it is not about this certificate"}, {{.status = GOOD, .about = ABOUT_OTHER_CA}, SIGNED},
		{{.status = GOOD, .mixed = true, .other_digest = OCSP_BY_SHA1}, "it is not about this certificate"},
		{{.status = GOOD, .about = ABOUT_LEAF_TWICE}, "it is about this certificate twice"}, {{.status = GOOD, .about = ABOUT_MANY}, "it is about too many certificates"},
		{{.status = GOOD, .nonce = NONCE_OTHER}, "it has another nonce"},
		{{.status = GOOD, .from = -HOUR, .to = -MINUTE}, "it is out of date"}, {{.status = GOOD, .from = -HOUR, .to = 0}, "it is out of date"},
		{{.status = V_OCSP_CERTSTATUS_REVOKED, .from = -HOUR, .to = -MINUTE}, "it is out of date"},
		{{.status = GOOD, .from = 90, .to = HOUR}, "it is dated ahead"}, {{.status = GOOD, .from = 30, .to = 20}, "it ends before it begins"},
		{{.status = GOOD, .from = -HOUR, .to = 1}, "it is older than ocsp.max_age"},
		{{.status = GOOD, .odd_answer = true}, "it has a critical extension"}, {{.status = GOOD, .odd_single = true}, "it has a critical extension"},
		{{.error = OCSP_RESPONSE_STATUS_TRYLATER}, "the responder says: try later"}, {{.error = OCSP_RESPONSE_STATUS_UNAUTHORIZED}, "the responder says: unauthorized"},
		{{.error = OCSP_RESPONSE_STATUS_INTERNALERROR}, "the responder says: an error"}, {{.error = OCSP_RESPONSE_STATUS_SIGREQUIRED}, "the responder wants signed"},
		{{.error = OCSP_RESPONSE_STATUS_MALFORMEDREQUEST}, "the responder says: malformed"},
		{{.status = GOOD, .trailing = true}, "it is no OCSP answer"}, {{.status = GOOD, .torn = true}, "it is no OCSP answer"}, {{.status = GOOD, .empty = true}, "it is no OCSP answer"},
	};
	struct ocsp_answer a;

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		const char *wrong = read_spec(&rows[i].s, &a);

		if (!wrong || strncmp(wrong, rows[i].why, strlen(rows[i].why)) != 0)
			fail_msg("row %zu: %s, not %s", i, wrong ? wrong : "it counts", rows[i].why);
	}
}

/* A bundle of the issuer, and maybe with a list, on which this certificate stands; NULL: none does. */
static struct trust *trust_of(X509 *revoked, bool listed)
{
	X509_CRL *crl = X509_CRL_new();
	ASN1_TIME *t = ASN1_TIME_set(NULL, (time_t)(NOW - HOUR));
	X509_REVOKED *r = revoked ? X509_REVOKED_new() : NULL;
	unsigned char *anchor = NULL, *list = NULL;
	struct slice ders[2];
	struct trust_domain_config d = {.domain = DOMAIN, .anchors = &ders[0], .n_anchors = 1, .crls = &ders[1], .n_crls = listed};
	struct trust *made;

	X509_CRL_set_version(crl, X509_CRL_VERSION_2);
	X509_CRL_set_issuer_name(crl, X509_get_subject_name(people[ISSUER].cert));
	X509_CRL_set1_lastUpdate(crl, t);
	if (r) {
		X509_REVOKED_set_serialNumber(r, X509_get_serialNumber(revoked));
		X509_REVOKED_set_revocationDate(r, t);
		X509_CRL_add0_revoked(crl, r);
	}
	ASN1_TIME_set(t, (time_t)(NOW + DAY));
	X509_CRL_set1_nextUpdate(crl, t);
	assert_true(X509_CRL_sign(crl, people[ISSUER].key, EVP_sha256()) > 0);
	ders[0] = slice_of(anchor, (size_t)i2d_X509(people[ISSUER].cert, &anchor));
	ders[0].p = anchor;
	ders[1] = slice_of(list, (size_t)i2d_X509_CRL(crl, &list));
	ders[1].p = list;
	made = trust_new(&d, 1, NULL);
	assert_non_null(made);
	OPENSSL_free(anchor);
	OPENSSL_free(list);
	ASN1_TIME_free(t);
	X509_CRL_free(crl);
	return made;
}

static void a_signer_on_a_list_is_not_believed(void **state)
{
	const struct spec delegated = {.status = GOOD, .signer = DELEGATE}, own = {.status = GOOD, .signer = ISSUER};
	struct ocsp_answer a;
	const char *wrong;

	(void)state;
	trust = trust_of(people[DELEGATE].cert, true);
	wrong = read_spec(&delegated, &a);
	assert_non_null(wrong);
	assert_non_null(strstr(wrong, "a list of the trust domain stands against it"));
	assert_null(read_spec(&own, &a));
	trust_unref(trust);
	trust = trust_of(leaf, true);
	assert_null(read_spec(&delegated, &a));
	trust_unref(trust);
	trust = NULL;
}

/* Where the bundle has the root alone, the chain of a signer goes the way of the peer's. */
static void a_signer_of_a_ca_far_below_the_root_is_believed(void **state)
{
	const struct kind signs = {.name = "low signer", .usage = SIGNS, .eku = MAY, .by = &low}, peer = {.name = "low leaf", .usage = SIGNS, .eku = "clientAuth", .by = &low};
	const struct spec delegated = {.status = GOOD, .signer = DELEGATE};
	const struct holder root = people[ISSUER], delegate = people[DELEGATE];
	struct ocsp_subject *above = subject;
	X509 *first = leaf;
	struct ocsp_answer a;
	const char *wrong;

	(void)state;
	trust = trust_of(NULL, false);
	people[DELEGATE] = make(&signs);
	leaf = make_cert(&peer, people[DELEGATE].key);
	subject = subject_of(leaf, low.cert);
	people[ISSUER] = low;
	wrong = read_spec(&delegated, &a);
	ocsp_subject_unref(subject);
	X509_free(leaf);
	X509_free(people[DELEGATE].cert);
	EVP_PKEY_free(people[DELEGATE].key);
	people[ISSUER] = root;
	people[DELEGATE] = delegate;
	subject = above;
	leaf = first;
	trust_unref(trust);
	trust = NULL;
	if (wrong)
		fail_msg("%s", wrong);
	assert_int_equal(a.says, OCSP_SAYS_GOOD);
}

static void a_weak_digest_does_not_count(void **state)
{
	const struct spec weak = {.status = GOOD, .md = EVP_sha1()}, strong = {.status = GOOD, .md = EVP_sha384()};
	struct ocsp_answer a;
	const char *wrong = read_spec(&weak, &a);

	(void)state;
	assert_non_null(wrong);
	assert_non_null(strstr(wrong, "weak digest"));
	assert_null(read_spec(&strong, &a));
}

static void a_nonce_that_is_demanded_must_be_there(void **state)
{
	const struct spec same = {.status = GOOD}, none = {.status = GOOD, .nonce = NONCE_NONE}, other = {.status = GOOD, .nonce = NONCE_OTHER};
	struct ocsp_answer a;
	const char *wrong;

	(void)state;
	assert_null(read_spec(&none, &a));
	demanded = OCSP_NONCE_REQUIRED;
	wrong = read_spec(&none, &a);
	assert_non_null(wrong);
	assert_non_null(strstr(wrong, "ocsp.nonce"));
	assert_null(read_spec(&same, &a));
	assert_non_null(strstr(read_spec(&other, &a), "another nonce"));
	demanded = OCSP_NONCE_OPTIONAL;
}

/* What counted once is judged again without its nonce, and whatever the clock says; by whom it is signed and about whom it is it must be as ever. */
static void what_was_kept_needs_no_nonce(void **state)
{
	const struct spec mine = {.status = GOOD};
	struct ocsp_question *was = ocsp_question_new(subject, OCSP_BY_SHA256), *is = ocsp_question_new(subject, OCSP_BY_SHA256);
	struct ocsp_heard h = {.max_age_ms = MAX_AGE_MS, .trust = trust, .domain = SLICE_LIT(DOMAIN), .nonce = OCSP_NONCE_REQUIRED, .now_ms = NOW * 1000};
	unsigned char *der = NULL;
	struct ocsp_answer a;

	(void)state;
	h.body = slice_of(der, 0);
	h.body.n = (size_t)build(&mine, ocsp_question_der(was), &der);
	h.body.p = der;
	assert_non_null(ocsp_read(is, &h, &a));
	h.kept = true;
	assert_null(ocsp_read(is, &h, &a));
	assert_int_equal(a.says, OCSP_SAYS_GOOD);
	h.now_ms += INT64_C(3600000);
	assert_null(ocsp_read(is, &h, &a));
	assert_true(ocsp_until_ms(&a, NOW * 1000, MAX_AGE_MS) <= NOW * 1000 + MAX_AGE_MS);
	der[80] ^= 1;
	assert_non_null(ocsp_read(is, &h, &a));
	OPENSSL_free(der);
	ocsp_question_free(was);
	ocsp_question_free(is);
}

static void words_of_the_configuration(void **state)
{
	(void)state;
	assert_int_equal(ocsp_nonce_of(""), OCSP_NONCE_OPTIONAL);
	assert_int_equal(ocsp_nonce_of("optional"), OCSP_NONCE_OPTIONAL);
	assert_int_equal(ocsp_nonce_of("required"), OCSP_NONCE_REQUIRED);
	assert_int_equal(ocsp_nonce_of("Required"), -1);
	assert_int_equal(ocsp_digest_of(""), OCSP_BY_SHA256);
	assert_int_equal(ocsp_digest_of("sha1"), OCSP_BY_SHA1);
	assert_int_equal(ocsp_digest_of("md5"), -1);
}

static void an_answer_to_one_question_is_none_to_another(void **state)
{
	const struct spec s = {.status = GOOD}, unsigned_time = {.status = GOOD, .nonce = NONCE_NONE};
	struct ocsp_question *a = ocsp_question_new(subject, OCSP_BY_SHA256), *b = ocsp_question_new(subject, OCSP_BY_SHA256);
	struct ocsp_answer out;
	unsigned char *der = NULL;
	int n = build(&s, ocsp_question_der(a), &der);

	(void)state;
	assert_null(read_by(a, slice_of(der, (size_t)n), &out));
	assert_non_null(read_by(b, slice_of(der, (size_t)n), &out));
	OPENSSL_free(der);
	der = NULL;
	n = build(&unsigned_time, ocsp_question_der(a), &der);
	assert_null(read_by(b, slice_of(der, (size_t)n), &out)); /* signed beforehand */
	OPENSSL_free(der);
	ocsp_question_free(a);
	ocsp_question_free(b);
}

static void until_when_an_answer_counts(void **state)
{
	const struct ocsp_answer ends = {.this_ms = 1000, .next_ms = 90000}, endless = {.this_ms = 1000, .next_ms = INT64_MAX}, ahead = {.this_ms = 9000, .next_ms = INT64_MAX};

	(void)state;
	assert_int_equal(ocsp_until_ms(&ends, 5000, 10000), 15000);
	assert_int_equal(ocsp_until_ms(&ends, 5000, 1000000), 90000);
	assert_int_equal(ocsp_until_ms(&endless, 5000, 10000), 11000);
	assert_int_equal(ocsp_until_ms(&ahead, 5000, 10000), 15000); /* a clock that is ahead makes it last no longer */
}

static void the_key_names_the_certificate_and_its_issuer(void **state)
{
	struct ocsp_subject *same = subject_of(leaf, people[ISSUER].cert), *number = subject_of(other_leaf, people[ISSUER].cert),
		*issuer = subject_of(leaf, people[OTHER_CA].cert), *twin = subject_of(leaf, people[TWIN].cert);

	(void)state;
	assert_memory_equal(ocsp_subject_key(same), ocsp_subject_key(subject), SHA256_BYTES);
	assert_memory_not_equal(ocsp_subject_key(number), ocsp_subject_key(subject), SHA256_BYTES);
	assert_memory_not_equal(ocsp_subject_key(issuer), ocsp_subject_key(subject), SHA256_BYTES);
	assert_memory_not_equal(ocsp_subject_key(twin), ocsp_subject_key(subject), SHA256_BYTES);
	ocsp_subject_unref(same);
	ocsp_subject_unref(number);
	ocsp_subject_unref(issuer);
	ocsp_subject_unref(twin);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_an_answer_says_is_read),
		cmocka_unit_test(honest_answers_count_however_they_are_signed),
		cmocka_unit_test(what_is_no_answer_of_the_responder_does_not_count),
		cmocka_unit_test(a_signer_on_a_list_is_not_believed),
		cmocka_unit_test(a_signer_of_a_ca_far_below_the_root_is_believed),
		cmocka_unit_test(a_weak_digest_does_not_count),
		cmocka_unit_test(a_nonce_that_is_demanded_must_be_there),
		cmocka_unit_test(what_was_kept_needs_no_nonce),
		cmocka_unit_test(words_of_the_configuration),
		cmocka_unit_test(an_answer_to_one_question_is_none_to_another),
		cmocka_unit_test(until_when_an_answer_counts),
		cmocka_unit_test(the_key_names_the_certificate_and_its_issuer),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
