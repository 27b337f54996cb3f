/* Does a list of revoked certificates count that somebody sent? See crl.h. A list is parsed by OpenSSL; what OpenSSL would look at only when a peer comes, or not at
 * all, is looked at here, before the list takes another one's place. */
#include "config.h"

#include "identity/crl.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>

#include "identity/crl_priv.h"

#define CERTS_MAX CRL_LISTS_MAX

struct crls {
	size_t n, bytes;
	struct crl_list v[];
};

/* A body while it is judged. */
struct judging {
	const struct trust_domain *domain;
	const struct crl_ask *ask;
	X509_CRL *lists[CRL_LISTS_MAX];
	size_t n;
	STACK_OF(X509) *certs; /* that stand beside the lists */
	struct crl_list made[CRL_LISTS_MAX]; /* borrow the lists, own the signers */
	struct problem *why;
};

/* Was it for want of memory that something failed? Clears what OpenSSL says. */
static bool ran_out(void)
{
	unsigned long e;
	bool out = false;

	while ((e = ERR_get_error()))
		out = out || ERR_GET_REASON(e) == ERR_R_MALLOC_FAILURE;
	return out;
}

/* ---- a set ---- */

void crls_free(struct crls *c)
{
	for (size_t i = 0; c && i < c->n; i++) {
		X509_CRL_free(c->v[i].crl);
		X509_free(c->v[i].signer);
	}
	free(c);
}

size_t crls_bytes(const struct crls *c)
{
	return c ? c->bytes : 0;
}

size_t crls_count(const struct crls *c)
{
	return c->n;
}

int64_t crls_next_update_ms(const struct crls *c)
{
	int64_t ms = INT64_MAX;

	for (size_t i = 0; i < c->n; i++)
		if (!c->v[i].left_out && c->v[i].next_ms < ms)
			ms = c->v[i].next_ms;
	return ms;
}

const struct crl_list *crls_at(const struct crls *c, size_t i)
{
	return &c->v[i];
}

static struct crls *set_new(size_t max)
{
	return calloc(1, sizeof(struct crls) + max * sizeof(struct crl_list));
}

/* Takes refs of its own. */
static void set_add(struct crls *c, const struct crl_list *l)
{
	int n = i2d_X509_CRL(l->crl, NULL);

	X509_CRL_up_ref(l->crl);
	if (l->signer)
		X509_up_ref(l->signer);
	c->v[c->n++] = *l;
	c->bytes += n > 0 ? (size_t)n : 0;
}

static bool put_all(const struct crls *c, BIO *bio)
{
	bool ok = true;

	for (size_t i = 0; ok && i < c->n; i++)
		ok = PEM_write_bio_X509_CRL(bio, c->v[i].crl) == 1;
	for (size_t i = 0; ok && i < c->n; i++)
		ok = !c->v[i].signer || PEM_write_bio_X509(bio, c->v[i].signer) == 1;
	return ok;
}

int crls_write(const struct crls *c, struct buf *out, struct problem *why)
{
	BIO *bio = BIO_new(BIO_s_mem());
	char *p = NULL;
	long n = bio && put_all(c, bio) ? BIO_get_mem_data(bio, &p) : 0;
	bool ok = n > 0 && buf_put(out, p, (size_t)n);

	BIO_free(bio);
	ERR_clear_error();
	return ok ? 0 : problem_set(why, "out of memory");
}

/* ---- which list is which ---- */

/* -1: it is not there; -2: more than once. */
static int extension_at(const X509_CRL *crl, int nid)
{
	int at = X509_CRL_get_ext_by_NID(crl, nid, -1);

	return at >= 0 && X509_CRL_get_ext_by_NID(crl, nid, at) >= 0 ? -2 : at;
}

/* alone: what to say when only one of them has it. */
static bool same_extension(const X509_CRL *a, const X509_CRL *b, int nid, bool alone)
{
	int i = extension_at(a, nid), j = extension_at(b, nid);

	if (i < 0 || j < 0)
		return i == j || alone;
	return ASN1_OCTET_STRING_cmp(X509_EXTENSION_get_data(X509_CRL_get_ext(a, i)), X509_EXTENSION_get_data(X509_CRL_get_ext(b, j))) == 0;
}

bool crl_same_scope(const X509_CRL *a, const X509_CRL *b)
{
	return X509_NAME_cmp(X509_CRL_get_issuer(a), X509_CRL_get_issuer(b)) == 0 && same_extension(a, b, NID_authority_key_identifier, true) &&
	       same_extension(a, b, NID_issuing_distribution_point, false);
}

bool crl_is_behind(const X509_CRL *a, const X509_CRL *b)
{
	ASN1_INTEGER *x = X509_CRL_get_ext_d2i(a, NID_crl_number, NULL, NULL), *y = X509_CRL_get_ext_d2i(b, NID_crl_number, NULL, NULL);
	bool behind = y && (!x || ASN1_INTEGER_cmp(x, y) < 0);
	int64_t from, other;

	if (!trust_time_ms(X509_CRL_get0_lastUpdate(a), &from) || !trust_time_ms(X509_CRL_get0_lastUpdate(b), &other))
		behind = true;
	else
		behind = behind || from < other;
	ASN1_INTEGER_free(x);
	ASN1_INTEGER_free(y);
	return behind;
}

static bool same_bytes(X509_CRL *a, X509_CRL *b)
{
	return X509_CRL_match(a, b) == 0; /* of their digests, which OpenSSL keeps */
}

/* ---- what a list says ---- */

/* NULL: nothing is wrong; so below. */
static const char *times_wrong(const struct judging *j, struct crl_list *l)
{
	if (!trust_time_ms(X509_CRL_get0_lastUpdate(l->crl), &l->this_ms) || !trust_time_ms(X509_CRL_get0_nextUpdate(l->crl), &l->next_ms))
		return "has no nextUpdate (RFC 5280 §5.1.2.5): issue it with one";
	if (l->next_ms <= l->this_ms)
		return "ends before it begins";
	if (l->this_ms > j->ask->now_ms) /* whoever it is about would be refused until then */
		return "is dated ahead: its issuer's clock and this one differ";
	return !j->ask->kept && l->next_ms + j->ask->grace_ms <= j->ask->now_ms ? "is out of date" : NULL;
}

static const char *scope_wrong(const X509_CRL *crl)
{
	ISSUING_DIST_POINT *p;
	bool part;

	if (X509_CRL_get_ext_by_NID(crl, NID_delta_crl, -1) >= 0)
		return "is a delta list: name the URL of the complete one";
	if (extension_at(crl, NID_authority_key_identifier) == -2 || extension_at(crl, NID_issuing_distribution_point) == -2 || extension_at(crl, NID_crl_number) == -2)
		return "has an extension twice";
	if (extension_at(crl, NID_issuing_distribution_point) < 0)
		return NULL;
	p = X509_CRL_get_ext_d2i(crl, NID_issuing_distribution_point, NULL, NULL);
	part = !p || p->indirectCRL > 0 || p->onlysomereasons || p->onlyattr > 0;
	ISSUING_DIST_POINT_free(p);
	return part ? "is indirect, or of some reasons or attributes alone" : NULL;
}

/* Who does not understand a critical extension must not live by the list (RFC 5280 §5.2). */
static const char *extensions_wrong(const X509_CRL *crl)
{
	for (int i = 0; i < X509_CRL_get_ext_count(crl); i++) {
		X509_EXTENSION *e = X509_CRL_get_ext(crl, i);
		int nid = OBJ_obj2nid(X509_EXTENSION_get_object(e));

		if (X509_EXTENSION_get_critical(e) && nid != NID_issuing_distribution_point && nid != NID_authority_key_identifier)
			return "has a critical extension that is not understood here";
	}
	return NULL;
}

static const char *entries_wrong(X509_CRL *crl)
{
	STACK_OF(X509_REVOKED) *all = X509_CRL_get_REVOKED(crl);
	int n = sk_X509_REVOKED_num(all);

	if (n > CRL_ENTRIES_MAX)
		return "has more than 100000 entries: give it as a file, tls.trust[].crl";
	for (int i = 0; i < n; i++)
		if (X509_REVOKED_get_ext_by_critical(sk_X509_REVOKED_value(all, i), 1, -1) >= 0)
			return "has an entry with a critical extension: such lists are not taken";
	return NULL;
}

static const char *signature_wrong(const X509_CRL *crl)
{
	const X509_ALGOR *alg;

	X509_CRL_get0_signature(crl, NULL, &alg);
	return trust_algorithm_is_strong(alg) ? NULL : "is signed with a weak digest: SHA-256 or better is taken";
}

/* ---- who signed it ---- */

/* Is it signed by this certificate's key, and may that sign lists? */
static bool signed_by(X509_CRL *crl, X509 *cert)
{
	if (X509_NAME_cmp(X509_CRL_get_issuer(crl), X509_get_subject_name(cert)) != 0 || X509_check_ca(cert) != 1 || !trust_key_is_strong(cert))
		return false;
	return (X509_get_key_usage(cert) & KU_CRL_SIGN) && X509_CRL_verify(crl, X509_get0_pubkey(cert)) == 1;
}

/* A chain of it ends in the bundle, now. Whether it is revoked itself is asked of its leaves' chains. */
static bool vouched_for(const struct judging *j, X509 *cert)
{
	X509_STORE_CTX *ctx = X509_STORE_CTX_new();
	bool ok = ctx && X509_STORE_CTX_init(ctx, j->domain->anchors, cert, j->certs) == 1;

	if (ok) {
		X509_VERIFY_PARAM *param = X509_STORE_CTX_get0_param(ctx);

		X509_VERIFY_PARAM_set_time(param, (time_t)(j->ask->now_ms / 1000));
		X509_VERIFY_PARAM_set_depth(param, CHAIN_CERTS_MAX - 2);
		X509_VERIFY_PARAM_set_auth_level(param, 2);
		ok = X509_verify_cert(ctx) == 1 && trust_signature_is_strong(cert);
	}
	X509_STORE_CTX_free(ctx);
	return ok;
}

static bool ends_ms(X509 *cert, int64_t *ms)
{
	return trust_time_ms(X509_get0_notAfter(cert), ms);
}

static bool find_anchor(const struct judging *j, struct crl_list *l)
{
	STACK_OF(X509) *all = X509_STORE_get1_all_certs(j->domain->anchors);
	bool found = false;

	for (int i = 0; i < sk_X509_num(all) && !found; i++)
		found = signed_by(l->crl, sk_X509_value(all, i)) && ends_ms(sk_X509_value(all, i), &l->signer_ends_ms);
	sk_X509_pop_free(all, X509_free);
	return found;
}

static const char *signer_wrong(const struct judging *j, struct crl_list *l)
{
	if (find_anchor(j, l))
		return NULL;
	for (int i = 0; i < sk_X509_num(j->certs); i++) {
		X509 *cert = sk_X509_value(j->certs, i);

		if (!signed_by(l->crl, cert) || !vouched_for(j, cert) || !ends_ms(cert, &l->signer_ends_ms))
			continue;
		X509_up_ref(cert);
		l->signer = cert;
		return NULL;
	}
	return "is signed by no CA of the bundle: of an intermediate put the certificate beside the list, as PEM, or into the bundle";
}

/* ---- beside what is there ---- */

static const char *order_wrong(const struct judging *j, X509_CRL *crl)
{
	const struct crls *was = j->ask->was;

	for (size_t i = 0; was && i < was->n; i++)
		if (crl_same_scope(crl, was->v[i].crl) && !same_bytes(crl, was->v[i].crl) && crl_is_behind(crl, was->v[i].crl))
			return "is older than the one that is there";
	return NULL;
}

static const char *list_wrong(const struct judging *j, struct crl_list *l)
{
	const char *wrong = times_wrong(j, l);

	if (!wrong)
		wrong = scope_wrong(l->crl);
	if (!wrong)
		wrong = extensions_wrong(l->crl);
	if (!wrong)
		wrong = entries_wrong(l->crl);
	if (!wrong)
		wrong = signature_wrong(l->crl);
	if (!wrong)
		wrong = signer_wrong(j, l);
	return wrong ? wrong : order_wrong(j, l->crl);
}

/* ---- a body ---- */

/* Whole, and nothing behind it. */
static X509_CRL *read_list(const unsigned char *der, long n)
{
	const unsigned char *at = der;
	X509_CRL *crl = n > 0 ? d2i_X509_CRL(NULL, &at, n) : NULL;

	if (crl && at == der + n)
		return crl;
	X509_CRL_free(crl);
	return NULL;
}

static int add_list(struct judging *j, const unsigned char *der, long n)
{
	X509_CRL *crl;

	if (j->n == CRL_LISTS_MAX)
		return problem_set(j->why, "more than %d lists", CRL_LISTS_MAX);
	crl = read_list(der, n);
	if (!crl)
		return problem_set(j->why, "list %zu cannot be read", j->n + 1);
	j->lists[j->n++] = crl;
	return 0;
}

static int add_cert(struct judging *j, const unsigned char *der, long n)
{
	X509 *cert;

	if (sk_X509_num(j->certs) == CERTS_MAX)
		return problem_set(j->why, "more than %d certificates", CERTS_MAX);
	cert = n > 0 ? trust_x509(slice_of(der, (size_t)n)) : NULL;
	if (cert && sk_X509_push(j->certs, cert))
		return 0;
	X509_free(cert);
	return problem_set(j->why, "a certificate beside the lists cannot be read");
}

static int add_block(struct judging *j, const char *name, const unsigned char *der, long n)
{
	if (strcmp(name, PEM_STRING_X509_CRL) == 0)
		return add_list(j, der, n);
	if (strcmp(name, PEM_STRING_X509) == 0)
		return add_cert(j, der, n);
	return problem_set(j->why, "it holds something that is neither a list nor a certificate");
}

/* 1: a block was added; 0: there is no more; -1. */
static int next_block(struct judging *j, BIO *bio)
{
	char *name = NULL, *header = NULL;
	unsigned char *der = NULL;
	long n = 0;
	int rc = PEM_read_bio(bio, &name, &header, &der, &n);

	if (rc == 1)
		rc = add_block(j, name, der, n) < 0 ? -1 : 1;
	else
		rc = ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE ? 0 : problem_set(j->why, "its PEM cannot be read");
	OPENSSL_free(name);
	OPENSSL_free(header);
	OPENSSL_free(der);
	ERR_clear_error();
	return rc;
}

static int read_body(struct judging *j)
{
	struct slice body = j->ask->body;
	BIO *bio;
	int rc = 1;

	if (body.n > CRL_BODY_MAX && !j->ask->kept)
		return problem_set(j->why, "over 4 MiB: give lists that large as a file, tls.trust[].crl");
	if (body.n && body.p[0] == 0x30) /* a SEQUENCE */
		return add_list(j, body.p, (long)body.n);
	bio = BIO_new_mem_buf(body.n ? body.p : (const void *)"", (int)body.n);
	if (!bio)
		return problem_set(j->why, "out of memory");
	while (rc == 1)
		rc = next_block(j, bio);
	BIO_free(bio);
	return rc < 0 ? -1 : 0;
}

/* Its issuer's certificate stands beside it and has ended, as all that it issued. */
static bool is_over(const struct judging *j, X509_CRL *crl)
{
	int64_t end;

	for (int i = 0; i < sk_X509_num(j->certs); i++)
		if (ends_ms(sk_X509_value(j->certs, i), &end) && end <= j->ask->now_ms && signed_by(crl, sk_X509_value(j->certs, i)))
			return true;
	return false;
}

/* Nobody is judged by them any more, so that they are no reason to refuse the others. */
static int drop_over(struct judging *j)
{
	size_t n = 0;

	for (size_t i = 0; i < j->n; i++) {
		if (is_over(j, j->lists[i]))
			X509_CRL_free(j->lists[i]);
		else
			j->lists[n++] = j->lists[i];
	}
	j->n = n;
	return n ? 0 : problem_set(j->why, "it holds no list that anybody is judged by");
}

static int judge_all(struct judging *j)
{
	for (size_t i = 0; i < j->n; i++) {
		const char *wrong;

		j->made[i].crl = j->lists[i];
		wrong = list_wrong(j, &j->made[i]);
		for (size_t k = 0; k < i && !wrong; k++)
			wrong = crl_same_scope(j->lists[i], j->lists[k]) ? "is of the issuer of another list in it" : NULL;
		if (wrong)
			return problem_set(j->why, "list %zu %s", i + 1, wrong);
	}
	return 0;
}

/* Is a list of that scope in the body? */
static X509_CRL *in_body(const struct judging *j, const X509_CRL *crl)
{
	for (size_t i = 0; i < j->n; i++)
		if (crl_same_scope(j->lists[i], crl))
			return j->lists[i];
	return NULL;
}

static bool nothing_new(const struct judging *j)
{
	const struct crls *was = j->ask->was;
	size_t same = 0;

	for (size_t i = 0; was && i < was->n; i++) {
		X509_CRL *now = in_body(j, was->v[i].crl);

		if (was->v[i].left_out == (now != NULL))
			return false;
		same += now && same_bytes(now, was->v[i].crl);
	}
	return same == j->n;
}

/* What was there and is not in the body stays, while its issuer's certificate is good: else whoever sends the lists could take one away. */
static struct crls *gather(const struct judging *j)
{
	const struct crls *was = j->ask->was;
	struct crls *c = set_new(j->n + (was ? was->n : 0));

	if (!c)
		return NULL;
	for (size_t i = 0; i < j->n; i++)
		set_add(c, &j->made[i]);
	for (size_t i = 0; was && i < was->n; i++) {
		struct crl_list l = was->v[i];

		l.left_out = true;
		if (!in_body(j, l.crl) && l.signer_ends_ms > j->ask->now_ms)
			set_add(c, &l);
	}
	return c;
}

static enum crl_answer answer(struct judging *j, struct crls **out)
{
	if (read_body(j) < 0 || drop_over(j) < 0 || judge_all(j) < 0)
		return CRLS_REFUSED;
	if (nothing_new(j))
		return CRLS_SAME;
	*out = gather(j);
	if (*out && (*out)->n <= CRL_LISTS_MAX)
		return CRLS_TAKEN;
	problem_set(j->why, *out ? "with those that are there it has more lists than there may be" : "out of memory");
	crls_free(*out);
	*out = NULL;
	return CRLS_REFUSED;
}

static void judging_clear(struct judging *j)
{
	for (size_t i = 0; i < j->n; i++) {
		X509_free(j->made[i].signer);
		X509_CRL_free(j->lists[i]);
	}
	sk_X509_pop_free(j->certs, X509_free);
	ERR_clear_error();
}

enum crl_answer crls_judge(const struct trust *t, const char *domain, const struct crl_ask *a, struct crls **out, struct problem *why)
{
	struct judging j = {.domain = trust_find(t, slice_str(domain)), .ask = a, .certs = sk_X509_new_null(), .why = why};
	enum crl_answer r = CRLS_REFUSED;

	*out = NULL;
	ERR_clear_error();
	if (!j.domain || !j.certs)
		problem_set(why, "out of memory, or there is no such domain");
	else
		r = answer(&j, out);
	if (ran_out() && r == CRLS_REFUSED)
		problem_set(why, "out of memory");
	judging_clear(&j);
	return r;
}

int crls_of(const struct trust *t, const char *domain, const struct crls *c, int64_t now_ms, struct crls **out)
{
	const struct crl_ask a = {.now_ms = now_ms, .kept = true};
	struct judging j = {.domain = trust_find(t, slice_str(domain)), .ask = &a, .certs = sk_X509_new_null()};
	struct crls *made = j.domain && j.certs ? set_new(c->n) : NULL;
	bool ok = made;

	ERR_clear_error();
	for (size_t i = 0; ok && i < c->n; i++) {
		struct crl_list l = {.crl = c->v[i].crl, .this_ms = c->v[i].this_ms, .next_ms = c->v[i].next_ms, .left_out = c->v[i].left_out};

		ok = !c->v[i].signer || (sk_X509_push(j.certs, c->v[i].signer) && X509_up_ref(c->v[i].signer));
		if (ok && !signer_wrong(&j, &l))
			set_add(made, &l);
		X509_free(l.signer);
	}
	sk_X509_pop_free(j.certs, X509_free);
	ok = !ran_out() && ok;
	*out = ok && made->n ? made : NULL;
	if (!*out)
		crls_free(made);
	return ok ? 0 : -1;
}

/* ---- urls ---- */

const char *crl_url_wrong(const char *url)
{
	const char *host = strncmp(url, "https://", 8) == 0 ? url + 8 : strncmp(url, "http://", 7) == 0 ? url + 7 : NULL;

	if (!host)
		return "a URL here begins with https:// or http://";
	if (strlen(url) > CRL_URL_MAX)
		return "a URL has at most 1024 bytes";
	for (const char *c = url; *c; c++)
		if (*c <= 0x20 || *c >= 0x7f || *c == '#')
			return "a URL has no space, no control character and no fragment";
	if (memchr(host, '@', strcspn(host, "/?")))
		return "a URL with user or password is refused";
	return *host && *host != '/' && *host != ':' && *host != '?' ? NULL : "the URL has no host";
}
