/* Which lists of revoked certificates count, when a stranger may have sent them? Each that does not stands beside the honest one that differs in one thing. */
#include "config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "app/crlkept.h"
#include "base/file.h"
#include "identity/crl.h"

#define NOW 1764000000LL /* seconds */
#define HOUR 3600LL
#define DAY 86400LL
#define DOMAIN "acme.example"
#define BODY_MAX (8 << 20)
#define URL "https://pki.acme.example/acme.crl"

struct ca {
	X509 *cert;
	EVP_PKEY *key;
};

static struct ca root, middle, other, weak_root;
static struct trust *trust;
static uint8_t body_bytes[BODY_MAX];

/* ---- building ---- */

static void add_ext(X509 *cert, int nid, const char *value)
{
	X509V3_CTX ctx;
	X509_EXTENSION *e;

	X509V3_set_ctx_nodb(&ctx);
	X509V3_set_ctx(&ctx, cert, cert, NULL, NULL, 0);
	e = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
	assert_non_null(e);
	X509_add_ext(cert, e, -1);
	X509_EXTENSION_free(e);
}

static X509 *make_cert(const char *name, EVP_PKEY *key, const struct ca *by, const char *basic, const char *usage, const char *uri, int64_t ends)
{
	static long serial = 7000;
	X509 *cert = X509_new();

	X509_set_version(cert, X509_VERSION_3);
	ASN1_INTEGER_set(X509_get_serialNumber(cert), serial++);
	ASN1_TIME_set(X509_getm_notBefore(cert), (time_t)(NOW - 30 * DAY));
	ASN1_TIME_set(X509_getm_notAfter(cert), (time_t)(NOW + ends));
	X509_NAME_add_entry_by_txt(X509_get_subject_name(cert), "CN", MBSTRING_ASC, (const unsigned char *)name, -1, -1, 0);
	X509_set_issuer_name(cert, X509_get_subject_name(by ? by->cert : cert));
	X509_set_pubkey(cert, key);
	add_ext(cert, NID_basic_constraints, basic);
	add_ext(cert, NID_key_usage, usage);
	if (uri)
		add_ext(cert, NID_subject_alt_name, uri);
	assert_true(X509_sign(cert, by ? by->key : key, EVP_sha256()) > 0);
	return cert;
}

static struct ca make_ca(const char *name, const struct ca *by, const char *usage, int64_t ends)
{
	struct ca ca = {.key = EVP_EC_gen("P-256")};

	ca.cert = make_cert(name, ca.key, by, "critical,CA:TRUE", usage, NULL, ends);
	return ca;
}

static void free_ca(struct ca *ca)
{
	X509_free(ca->cert);
	EVP_PKEY_free(ca->key);
}

#define SIGNS "critical,keyCertSign,cRLSign"

struct spec {
	const struct ca *by;
	long number;          /* 0: none */
	int64_t from, to;     /* seconds from NOW; 0, 0: an hour ago, in a day. to 1: no nextUpdate */
	const EVP_MD *md;     /* NULL: SHA-256 */
	const X509 *revoked;
	int entries;          /* more of them */
	int nid;              /* an extension, with value */
	const char *value;
	int odd;              /* a critical extension nobody knows: 1 of the list, 2 of an entry */
	const struct ca *key; /* signs in the place of by */
};

static void add_odd(X509_CRL *crl, X509_REVOKED *r)
{
	ASN1_OCTET_STRING *os = ASN1_OCTET_STRING_new();
	ASN1_OBJECT *o = OBJ_txt2obj("1.3.6.1.4.1.99999.1", 1);
	X509_EXTENSION *e;

	ASN1_OCTET_STRING_set(os, (const unsigned char *)"\x05\x00", 2);
	e = X509_EXTENSION_create_by_OBJ(NULL, o, 1, os);
	if (r)
		X509_REVOKED_add_ext(r, e, -1);
	else
		X509_CRL_add_ext(crl, e, -1);
	X509_EXTENSION_free(e);
	ASN1_OBJECT_free(o);
	ASN1_OCTET_STRING_free(os);
}

static void add_entry(X509_CRL *crl, const ASN1_INTEGER *serial, bool odd)
{
	X509_REVOKED *r = X509_REVOKED_new();
	ASN1_TIME *t = ASN1_TIME_set(NULL, (time_t)(NOW - HOUR));

	X509_REVOKED_set_serialNumber(r, (ASN1_INTEGER *)(uintptr_t)serial);
	X509_REVOKED_set_revocationDate(r, t);
	if (odd)
		add_odd(NULL, r);
	X509_CRL_add0_revoked(crl, r);
	ASN1_TIME_free(t);
}

static void set_times(X509_CRL *crl, const struct spec *s)
{
	bool dated = s->from || s->to;
	ASN1_TIME *t = ASN1_TIME_set(NULL, (time_t)(NOW + (dated ? s->from : -HOUR)));

	X509_CRL_set1_lastUpdate(crl, t);
	ASN1_TIME_set(t, (time_t)(NOW + (dated ? s->to : DAY)));
	if (s->to != 1)
		X509_CRL_set1_nextUpdate(crl, t);
	ASN1_TIME_free(t);
}

static void set_extensions(X509_CRL *crl, const struct spec *s)
{
	ASN1_INTEGER *n = ASN1_INTEGER_new();
	X509_EXTENSION *e;
	X509V3_CTX ctx;

	X509V3_set_ctx_nodb(&ctx);
	X509V3_set_ctx(&ctx, s->by->cert, NULL, NULL, crl, 0);
	ASN1_INTEGER_set(n, s->number);
	if (s->number)
		X509_CRL_add1_ext_i2d(crl, NID_crl_number, n, 0, 0);
	if (s->nid == NID_delta_crl)
		X509_CRL_add1_ext_i2d(crl, NID_delta_crl, n, 1, 0);
	else if (s->nid) {
		e = X509V3_EXT_conf_nid(NULL, &ctx, s->nid, s->value);
		assert_non_null(e);
		X509_CRL_add_ext(crl, e, -1);
		X509_EXTENSION_free(e);
	}
	if (s->odd == 1)
		add_odd(crl, NULL);
	ASN1_INTEGER_free(n);
}

static X509_CRL *make_list(const struct spec *s)
{
	X509_CRL *crl = X509_CRL_new();
	ASN1_INTEGER *serial = ASN1_INTEGER_new();

	X509_CRL_set_version(crl, X509_CRL_VERSION_2);
	X509_CRL_set_issuer_name(crl, X509_get_subject_name(s->by->cert));
	set_times(crl, s);
	set_extensions(crl, s);
	if (s->revoked)
		add_entry(crl, X509_get0_serialNumber(s->revoked), s->odd == 2);
	for (int i = 0; i < s->entries; i++) {
		ASN1_INTEGER_set(serial, 100000000 + i);
		add_entry(crl, serial, s->odd == 2);
	}
	ASN1_INTEGER_free(serial);
	assert_true(X509_CRL_sign(crl, (s->key ? s->key : s->by)->key, s->md ? s->md : EVP_sha256()) > 0);
	return crl;
}

static struct slice der_of(const struct spec *s)
{
	X509_CRL *crl = make_list(s);
	unsigned char *at = body_bytes;
	int n = i2d_X509_CRL(crl, NULL);

	assert_in_range(n, 1, BODY_MAX);
	i2d_X509_CRL(crl, &at);
	X509_CRL_free(crl);
	return slice_of(body_bytes, (size_t)n);
}

/* Appended to what is there, as PEM. */
static struct slice pem_of(struct slice before, const struct spec *s, X509 *cert)
{
	BIO *bio = BIO_new(BIO_s_mem());
	X509_CRL *crl = s ? make_list(s) : NULL;
	char *p;
	long n;

	if (crl)
		PEM_write_bio_X509_CRL(bio, crl);
	if (cert)
		PEM_write_bio_X509(bio, cert);
	n = BIO_get_mem_data(bio, &p);
	assert_in_range(n, 1, BODY_MAX - (long)before.n);
	memcpy(body_bytes + before.n, p, (size_t)n);
	BIO_free(bio);
	X509_CRL_free(crl);
	return slice_of(body_bytes, before.n + (size_t)n);
}

/* ---- asking ---- */

static struct problem why;

static enum crl_answer judge_at(struct slice body, const struct crls *was, int64_t now, int64_t grace, struct crls **out)
{
	const struct crl_ask a = {.body = body, .was = was, .now_ms = now * 1000, .grace_ms = grace * 1000};
	enum crl_answer r;

	why.text[0] = '\0';
	r = crls_judge(trust, DOMAIN, &a, out, &why);
	assert_true((r == CRLS_TAKEN) == (*out != NULL));
	assert_true((r == CRLS_REFUSED) == (why.text[0] != '\0'));
	assert_int_equal(ERR_peek_error(), 0);
	return r;
}

static struct crls *taken(struct slice body, const struct crls *was)
{
	struct crls *out;

	if (judge_at(body, was, NOW, 0, &out) != CRLS_TAKEN)
		fail_msg("%s", why.text);
	return out;
}

static void take(struct slice body)
{
	crls_free(taken(body, NULL));
}

static void refuse_after(struct slice body, const struct crls *was, const char *text)
{
	struct crls *out;

	assert_int_equal(judge_at(body, was, NOW, 0, &out), CRLS_REFUSED);
	if (!strstr(why.text, text))
		fail_msg("%s, not %s", why.text, text);
}

static void refuse(struct slice body, const char *text)
{
	refuse_after(body, NULL, text);
}

static struct slice cert_der(X509 *cert, uint8_t *room)
{
	unsigned char *at = room;
	int n = i2d_X509(cert, &at);

	return slice_of(room, (size_t)n);
}

static struct trust *trust_of(const struct ca *const *cas, size_t n, bool urls)
{
	static const char *const url[] = {URL};
	static uint8_t room[4][4096];
	struct slice der[4];
	struct trust_domain_config d = {.domain = DOMAIN, .anchors = der, .n_anchors = n, .crl_urls = url, .n_crl_urls = urls};
	struct trust *t;

	for (size_t i = 0; i < n; i++)
		der[i] = cert_der(cas[i]->cert, room[i]);
	t = trust_new(&d, 1, &why);
	if (!t)
		fail_msg("%s", why.text);
	return t;
}

static int world_up(void **state)
{
	const struct ca *const all[] = {&root, &weak_root};

	root = make_ca("acme root", NULL, SIGNS, 300 * DAY);
	middle = make_ca("acme issuing", &root, SIGNS, 200 * DAY);
	other = make_ca("acme root", NULL, SIGNS, 300 * DAY); /* the same name, another key */
	weak_root = make_ca("no lists", NULL, "critical,keyCertSign", 300 * DAY);
	trust = trust_of(all, 2, true);
	return 0;
}

static int world_down(void **state)
{
	trust_unref(trust);
	free_ca(&root);
	free_ca(&middle);
	free_ca(&other);
	free_ca(&weak_root);
	return 0;
}

/* ---- one list ---- */

static void list_of_the_root_counts_as_der_and_as_pem(void **state)
{
	struct spec s = {.by = &root, .number = 1};
	struct crls *c;

	take(der_of(&s));
	c = taken(pem_of(slice_of(NULL, 0), &s, NULL), NULL);
	assert_int_equal(crls_count(c), 1);
	assert_int_equal(crls_next_update_ms(c), (NOW + DAY) * 1000);
	assert_in_range(crls_bytes(c), 100, 1000);
	crls_free(c);
	s.number = 0; /* of version 1 style: its date alone says which is newer */
	take(der_of(&s));
}

static void what_is_no_list_is_refused(void **state)
{
	struct spec s = {.by = &root, .number = 1};
	struct slice good = der_of(&s);

	refuse(slice_of(NULL, 0), "it holds no list");
	refuse(SLICE_LIT("<html>sign in</html>"), "it holds no list");
	refuse(SLICE_LIT("\x30\x80"), "list 1 cannot be read");
	refuse(slice_of(good.p, good.n - 1), "list 1 cannot be read");
	body_bytes[good.n] = 0;
	refuse(slice_of(good.p, good.n + 1), "list 1 cannot be read");
	body_bytes[good.n - 1] ^= 1; /* of the signature */
	refuse(good, "signed by no CA");
	refuse(pem_of(slice_of(NULL, 0), NULL, root.cert), "it holds no list");
	refuse(SLICE_LIT("-----BEGIN X509 CRL-----\nMIIB\n"), "PEM cannot be read");
	refuse(SLICE_LIT("-----BEGIN PRIVATE KEY-----\nMIIB\n-----END PRIVATE KEY-----\n"), "neither a list nor a certificate");
	memset(body_bytes, 'x', BODY_MAX);
	refuse(slice_of(body_bytes, CRL_BODY_MAX + 1), "over 4 MiB");
}

static void who_signed_it_decides(void **state)
{
	struct spec s = {.by = &other, .number = 1};
	struct ca no_ca = {.key = EVP_EC_gen("P-256")};

	refuse(der_of(&s), "signed by no CA");
	s = (struct spec){.by = &root, .number = 1, .key = &other};
	refuse(der_of(&s), "signed by no CA");
	s = (struct spec){.by = &weak_root, .number = 1};
	refuse(der_of(&s), "signed by no CA"); /* its key is not for lists */
	no_ca.cert = make_cert("acme leaf", no_ca.key, &root, "critical,CA:FALSE", "critical,digitalSignature,cRLSign", NULL, DAY);
	s = (struct spec){.by = &no_ca, .number = 1};
	refuse(pem_of(slice_of(NULL, 0), &s, no_ca.cert), "signed by no CA");
	s = (struct spec){.by = &root, .number = 1, .md = EVP_sha1()};
	refuse(der_of(&s), "weak digest");
	s.md = EVP_sha384();
	take(der_of(&s));
	free_ca(&no_ca);
}

static void intermediate_signs_where_its_certificate_stands_beside_the_list(void **state)
{
	struct ca stranger = make_ca("stranger", &other, SIGNS, DAY), ended = make_ca("ended", &root, SIGNS, -DAY);
	struct spec s = {.by = &middle, .number = 1}, r = {.by = &root, .number = 4};
	struct crls *c;

	refuse(der_of(&s), "of an intermediate put the certificate beside the list");
	take(pem_of(slice_of(NULL, 0), &s, middle.cert));
	c = taken(pem_of(pem_of(slice_of(NULL, 0), &r, NULL), &s, middle.cert), NULL);
	assert_int_equal(crls_count(c), 2);
	crls_free(c);
	refuse(pem_of(pem_of(slice_of(NULL, 0), &r, NULL), &s, NULL), "list 2 is signed by no CA");
	s.by = &stranger;
	refuse(pem_of(slice_of(NULL, 0), &s, stranger.cert), "signed by no CA");
	s.by = &ended;
	refuse(pem_of(slice_of(NULL, 0), &s, ended.cert), "it holds no list");
	c = taken(pem_of(pem_of(slice_of(NULL, 0), &r, NULL), &s, ended.cert), NULL);
	assert_int_equal(crls_count(c), 1);
	crls_free(c);
	s.key = &root; /* not by that certificate's key */
	refuse(pem_of(pem_of(slice_of(NULL, 0), &r, NULL), &s, ended.cert), "list 2 is signed by no CA");
	free_ca(&stranger);
	free_ca(&ended);
}

static void kinds_of_lists_that_are_not_whole_are_refused(void **state)
{
	const struct { int nid; const char *value, *text; } v[] = {
		{NID_delta_crl, NULL, "delta"}, {NID_issuing_distribution_point, "critical,indirectCRL:TRUE", "indirect"},
		{NID_issuing_distribution_point, "critical,onlysomereasons:keyCompromise", "of some reasons"}, {NID_issuing_distribution_point, "critical,onlyAA:TRUE", "attributes"},
		{NID_issuing_distribution_point, "critical,onlyuser:TRUE", NULL},
	};
	struct spec s;

	for (size_t i = 0; i < sizeof v / sizeof v[0]; i++) {
		s = (struct spec){.by = &root, .number = 3, .nid = v[i].nid, .value = v[i].value};
		if (v[i].text)
			refuse(der_of(&s), v[i].text);
		else
			take(der_of(&s));
	}
	s = (struct spec){.by = &root, .number = 3, .odd = 1};
	refuse(der_of(&s), "critical extension that is not understood");
	s = (struct spec){.by = &root, .number = 3, .odd = 2, .entries = 1};
	refuse(der_of(&s), "entry with a critical extension");
}

static void times_are_judged(void **state)
{
	struct spec s = {.by = &root, .number = 1, .from = -HOUR, .to = 1};
	struct crls *out;

	refuse(der_of(&s), "no nextUpdate");
	s.to = -2 * HOUR;
	refuse(der_of(&s), "ends before it begins");
	s = (struct spec){.by = &root, .number = 1, .from = 1, .to = DAY};
	refuse(der_of(&s), "dated ahead");
	s.from = 0;
	take(der_of(&s));
	s = (struct spec){.by = &root, .number = 1, .from = -DAY, .to = -60};
	refuse(der_of(&s), "out of date");
	assert_int_equal(judge_at(der_of(&s), NULL, NOW, 60, &out), CRLS_REFUSED);
	assert_int_equal(judge_at(der_of(&s), NULL, NOW, 61, &out), CRLS_TAKEN);
	crls_free(out);
}

static void entries_and_lists_have_caps(void **state)
{
	struct spec s = {.by = &root, .number = 1, .entries = CRL_ENTRIES_MAX};
	struct slice all = {NULL, 0};

	take(der_of(&s));
	s.entries++;
	refuse(der_of(&s), "more than 100000 entries");
	s.entries = 0;
	refuse(pem_of(pem_of(all, &s, NULL), &s, NULL), "list 2 is of the issuer of another list in it");
	for (size_t i = 0; i <= CRL_LISTS_MAX; i++)
		all = pem_of(all, &s, NULL);
	refuse(all, "more than 16 lists");
	all = pem_of(slice_of(NULL, 0), &s, NULL);
	for (size_t i = 0; i <= CRL_LISTS_MAX; i++)
		all = pem_of(all, NULL, root.cert);
	refuse(all, "more than 16 certificates");
}

/* ---- one after the other ---- */

static struct trust *with(struct crls *of, bool missing, int64_t until)
{
	const struct trust_lists l = {.domain = DOMAIN, .of = &of, .n = of != NULL, .missing = missing, .admit_until_ms = until * 1000};
	struct trust *t = trust_with_lists(trust, &l, 1, &why);

	assert_non_null(t);
	return t;
}


static void no_step_back(void **state)
{
	struct spec s = {.by = &root, .number = 5, .from = -HOUR, .to = DAY};
	struct crls *was = taken(der_of(&s), NULL), *next, *out;

	assert_int_equal(judge_at(der_of(&s), was, NOW, 0, &out), CRLS_TAKEN); /* ECDSA: signed anew */
	assert_int_equal(judge_at(slice_of(body_bytes, crls_bytes(out)), out, NOW, 0, &next), CRLS_SAME);
	crls_free(out);
	s.number = 4;
	refuse_after(der_of(&s), was, "older than the one that is there");
	s.number = 0;
	refuse_after(der_of(&s), was, "older than the one that is there");
	s = (struct spec){.by = &root, .number = 5, .from = -HOUR - 1, .to = 2 * DAY};
	refuse_after(der_of(&s), was, "older than the one that is there");
	s = (struct spec){.by = &root, .number = 6, .from = -HOUR - 1, .to = 2 * DAY};
	refuse_after(der_of(&s), was, "older than the one that is there");
	s.from = -HOUR;
	next = taken(der_of(&s), was);
	assert_int_equal(crls_count(next), 1);
	crls_free(next);
	crls_free(was);
}

static void a_list_that_is_left_out_stays_until_its_issuer_ends(void **state)
{
	struct ca brief = make_ca("brief", &root, SIGNS, HOUR);
	struct spec r = {.by = &root, .number = 1}, m = {.by = &middle, .number = 1}, b = {.by = &brief, .number = 1}, s = {.by = &middle, .number = 2, .from = -HOUR, .to = 2 * DAY}, m2 = {.by = &middle, .number = 3};
	struct crls *again;
	struct trust *t;
	struct slice all = pem_of(pem_of(pem_of(slice_of(NULL, 0), &r, NULL), &m, middle.cert), &b, brief.cert);
	struct crls *was = taken(all, NULL), *now;

	assert_int_equal(crls_count(was), 3);
	all = pem_of(slice_of(NULL, 0), &s, middle.cert);
	assert_int_equal(judge_at(all, was, NOW, 0, &now), CRLS_TAKEN);
	assert_int_equal(crls_count(now), 3);
	assert_int_equal(judge_at(all, now, NOW, 0, &again), CRLS_SAME);
	again = taken(pem_of(pem_of(slice_of(NULL, 0), &m2, middle.cert), &r, NULL), now);
	assert_int_equal(crls_count(again), 3);
	crls_free(again);
	t = with(now, false, 0);
	assert_int_equal(trust_state(t, 0).crl_next_update_ms, (NOW + 2 * DAY) * 1000);
	assert_int_equal(trust_state(t, 0).crl_left_out_end_ms, (NOW + DAY) * 1000);
	assert_int_equal(trust_next_end_ms(t, NOW * 1000), (NOW + DAY) * 1000);
	assert_int_equal(trust_next_end_ms(t, (NOW + DAY) * 1000), (NOW + 2 * DAY) * 1000);
	assert_int_equal(trust_next_end_ms(t, (NOW + 2 * DAY) * 1000), INT64_MAX);
	trust_unref(t);
	crls_free(now);
	assert_int_equal(judge_at(pem_of(slice_of(NULL, 0), &s, middle.cert), was, NOW + 2 * HOUR, 0, &now), CRLS_TAKEN);
	assert_int_equal(crls_count(now), 2);
	crls_free(now);
	crls_free(was);
	free_ca(&brief);
}

static void another_bundle_keeps_what_it_vouches_for(void **state)
{
	const struct ca *const both[] = {&root, &middle}, *const second[] = {&other};
	struct trust *wide = trust_of(both, 2, true), *narrow = trust_of(second, 1, true);
	struct spec r = {.by = &root, .number = 1}, m = {.by = &middle, .number = 1};
	struct crls *was = taken(pem_of(pem_of(slice_of(NULL, 0), &r, NULL), &m, middle.cert), NULL), *now;

	assert_int_equal(crls_of(wide, DOMAIN, was, NOW * 1000, &now), 0);
	assert_int_equal(crls_count(now), 2);
	crls_free(now);
	assert_int_equal(crls_of(narrow, DOMAIN, was, NOW * 1000, &now), 0);
	assert_null(now);
	crls_free(was);
	trust_unref(wide);
	trust_unref(narrow);
}

/* ---- what peers are judged by ---- */

static const char *ask(const struct trust *t, X509 *leaf, X509 *between, int64_t now)
{
	STACK_OF(X509) *sent = sk_X509_new_null();
	X509_STORE_CTX *ctx = X509_STORE_CTX_new();
	struct identity_peer *p;
	const char *text = "";
	int alert;

	sk_X509_push(sent, leaf);
	if (between)
		sk_X509_push(sent, between);
	assert_int_equal(X509_STORE_CTX_init(ctx, NULL, leaf, sent), 1);
	p = identity_peer_verify(t, ctx, now * 1000, &text, &alert);
	identity_peer_free(p);
	X509_STORE_CTX_free(ctx);
	sk_X509_free(sent);
	return text;
}

static void peers_are_judged_by_what_came(void **state)
{
	EVP_PKEY *key = EVP_EC_gen("P-256");
	X509 *good = make_cert("x", key, &root, "critical,CA:FALSE", "critical,digitalSignature", "URI:spiffe://acme.example/good", DAY);
	X509 *bad = make_cert("x", key, &root, "critical,CA:FALSE", "critical,digitalSignature", "URI:spiffe://acme.example/bad", DAY);
	X509 *low = make_cert("x", key, &middle, "critical,CA:FALSE", "critical,digitalSignature", "URI:spiffe://acme.example/low", DAY);
	struct spec s = {.by = &root, .number = 1, .from = -HOUR, .to = HOUR, .revoked = bad}, m = {.by = &middle, .number = 1};
	struct crls *c = taken(der_of(&s), NULL), *both;
	struct trust *t = with(c, false, 0);
	struct trust_domain_state d = trust_state(t, 0);

	assert_string_equal(ask(trust, good, NULL, NOW), "crl_missing"); /* the configured bundle by itself */
	assert_string_equal(ask(t, good, NULL, NOW), "");
	assert_string_equal(ask(t, bad, NULL, NOW), "revoked");
	assert_string_equal(ask(t, low, middle.cert, NOW), "crl_stale"); /* there is none of its issuer */
	assert_string_equal(ask(t, good, NULL, NOW + HOUR + 1), "crl_stale");
	assert_int_equal(d.crl_next_update_ms, (NOW + HOUR) * 1000);
	assert_int_equal(d.crl_this_update_ms, (NOW - HOUR) * 1000);
	assert_false(d.crl_missing);
	trust_unref(t);

	both = taken(pem_of(pem_of(slice_of(NULL, 0), &s, NULL), &m, middle.cert), NULL);
	t = with(both, false, 0);
	assert_string_equal(ask(t, low, middle.cert, NOW), "");
	trust_unref(t);
	crls_free(both);

	t = with(NULL, true, 0);
	assert_string_equal(ask(t, good, NULL, NOW), "crl_missing");
	assert_true(trust_state(t, 0).crl_missing);
	trust_unref(t);
	t = with(NULL, true, NOW + 60);
	assert_string_equal(ask(t, good, NULL, NOW), "");
	assert_string_equal(ask(t, good, NULL, NOW + 60), "crl_missing");
	trust_unref(t);
	t = with(c, true, NOW + 60); /* what has come of others counts */
	assert_string_equal(ask(t, bad, NULL, NOW), "revoked");
	trust_unref(t);
	crls_free(c);
	X509_free(good);
	X509_free(bad);
	X509_free(low);
	EVP_PKEY_free(key);
}

/* Another URL may be behind: what the newer list revoked stays so, also when that one has ended and the older one lasts. */
static void of_two_urls_the_newest_list_counts(void **state)
{
	EVP_PKEY *key = EVP_EC_gen("P-256");
	X509 *bad = make_cert("x", key, &root, "critical,CA:FALSE", "critical,digitalSignature", "URI:spiffe://acme.example/bad", DAY);
	struct spec older = {.by = &root, .number = 1, .from = -HOUR, .to = DAY}, newer = {.by = &root, .number = 2, .from = -HOUR, .to = HOUR, .revoked = bad};
	struct crls *v[] = {taken(der_of(&newer), NULL), taken(der_of(&older), NULL)};

	for (int i = 0; i < 2; i++) {
		const struct trust_lists l = {.domain = DOMAIN, .of = v, .n = 2};
		struct trust *t = trust_with_lists(trust, &l, 1, &why);
		struct crls *first = v[0];

		assert_string_equal(ask(t, bad, NULL, NOW), "revoked");
		assert_string_not_equal(ask(t, bad, NULL, NOW + 2 * HOUR), "");
		assert_int_equal(trust_state(t, 0).crl_next_update_ms, (NOW + HOUR) * 1000);
		trust_unref(t);
		v[0] = v[1];
		v[1] = first;
	}
	crls_free(v[0]);
	crls_free(v[1]);
	X509_free(bad);
	EVP_PKEY_free(key);
}

/* ---- what is kept ---- */

static char folder[] = "/tmp/baton-crl-XXXXXX";

static const char *only_file(void)
{
	static char path[300];
	char line[256] = "";
	FILE *p;

	snprintf(path, sizeof path, "ls %s", folder);
	p = popen(path, "r");
	assert_non_null(p);
	assert_non_null(fgets(line, sizeof line, p));
	pclose(p);
	line[strcspn(line, "\n")] = '\0';
	snprintf(path, sizeof path, "%s/%s", folder, line);
	return path;
}

static void kept_lists_come_back_and_are_judged_again(void **state)
{
	const struct crlkept k = {folder, DOMAIN, URL}, elsewhere = {folder, DOMAIN, URL "2"};
	struct spec r = {.by = &root, .number = 1, .from = -HOUR, .to = HOUR}, m = {.by = &middle, .number = 1, .from = -HOUR, .to = HOUR};
	struct crls *c = taken(pem_of(pem_of(slice_of(NULL, 0), &r, NULL), &m, middle.cert), NULL), *back;
	const struct ca *const second[] = {&other};
	struct trust *narrow = trust_of(second, 1, true);
	int64_t since;
	struct stat st;

	assert_non_null(mkdtemp(folder));
	assert_int_equal(crlkept_read(&k, trust, NOW * 1000, &since, &back, &why), 0);
	assert_int_equal(since, 0);
	assert_null(back);
	assert_int_equal(crlkept_write(&k, NOW * 1000 - 5, NULL, &why), 0); /* none have come yet */
	assert_int_equal(crlkept_read(&k, trust, NOW * 1000, &since, &back, &why), 0);
	assert_int_equal(since, NOW * 1000 - 5);
	assert_null(back);
	assert_int_equal(crlkept_read(&k, trust, NOW * 1000 - 9, &since, &back, &why), 0);
	assert_int_equal(since, NOW * 1000 - 9); /* not of the future */

	assert_int_equal(crlkept_write(&k, 7, c, &why), 0);
	assert_int_equal(stat(only_file(), &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	assert_int_equal(crlkept_read(&elsewhere, trust, NOW * 1000, &since, &back, &why), 0);
	assert_null(back);
	assert_int_equal(crlkept_read(&k, trust, (NOW + DAY) * 1000, &since, &back, &why), 0); /* out of date: who asks is told so by them */
	assert_int_equal(since, 7);
	assert_int_equal(crls_count(back), 2);
	crls_free(back);
	assert_int_equal(crlkept_read(&k, trust, (NOW + 201 * DAY) * 1000, &since, &back, &why), 0); /* the intermediate has ended */
	assert_int_equal(crls_count(back), 1);
	crls_free(back);
	assert_int_equal(crlkept_read(&k, narrow, NOW * 1000, &since, &back, &why), -1); /* another bundle */
	assert_null(back);
	assert_int_equal(since, 7);
	trust_unref(narrow);
	crls_free(c);
}

static void a_damaged_copy_does_not_count(void **state)
{
	const struct crlkept k = {folder, DOMAIN, URL};
	const char *path = only_file();
	uint8_t *bytes;
	size_t n;
	struct crls *back;
	int64_t since;

	assert_int_equal(file_read(path, 1 << 20, &bytes, &n, &why), 0);
	for (size_t i = 0; i < n; i++) {
		bytes[i] ^= 0x04;
		assert_int_equal(file_write_atomic(path, slice_of(bytes, n), 0600, &why), 0);
		bytes[i] ^= 0x04;
		crlkept_read(&k, trust, NOW * 1000, &since, &back, &why); /* what is read of it was signed */
		crls_free(back);
		i += i < 40 ? 0 : 17;
	}
	for (size_t cut = 0; cut < n; cut += 29) {
		assert_int_equal(file_write_atomic(path, slice_of(bytes, cut), 0600, &why), 0);
		if (crlkept_read(&k, trust, NOW * 1000, &since, &back, &why) < 0)
			assert_null(back);
		crls_free(back);
	}
	free(bytes);
	crlkept_remove(&k);
	assert_int_equal(rmdir(folder), 0);
}

/* ---- urls ---- */

static void urls_are_judged(void **state)
{
	static const char *const good[] = {"https://pki.acme.example/a.crl", "http://10.0.0.1:8080/x?y=1", "https://[::1]/x", "http://h"};
	static const char *const bad[] = {"", "ftp://h/x", "https://", "http:///x", "https://u:p@h/x", "https://u@h", "https://h/a b", "https://h/x#y", "http://:80/", "ldap://h/x", "HTTPS://h/x", "https://h/\x7f", "https://?x"};
	char longest[CRL_URL_MAX + 2];

	for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
		assert_null(crl_url_wrong(good[i]));
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		assert_non_null(crl_url_wrong(bad[i]));
	memset(longest, 'x', sizeof longest);
	memcpy(longest, "http://", 7);
	longest[CRL_URL_MAX + 1] = '\0';
	assert_non_null(crl_url_wrong(longest));
	longest[CRL_URL_MAX] = '\0';
	assert_null(crl_url_wrong(longest));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(list_of_the_root_counts_as_der_and_as_pem),
		cmocka_unit_test(what_is_no_list_is_refused),
		cmocka_unit_test(who_signed_it_decides),
		cmocka_unit_test(intermediate_signs_where_its_certificate_stands_beside_the_list),
		cmocka_unit_test(kinds_of_lists_that_are_not_whole_are_refused),
		cmocka_unit_test(times_are_judged),
		cmocka_unit_test(entries_and_lists_have_caps),
		cmocka_unit_test(no_step_back),
		cmocka_unit_test(a_list_that_is_left_out_stays_until_its_issuer_ends),
		cmocka_unit_test(another_bundle_keeps_what_it_vouches_for),
		cmocka_unit_test(peers_are_judged_by_what_came),
		cmocka_unit_test(of_two_urls_the_newest_list_counts),
		cmocka_unit_test(kept_lists_come_back_and_are_judged_again),
		cmocka_unit_test(a_damaged_copy_does_not_count),
		cmocka_unit_test(urls_are_judged),
	};

	return cmocka_run_group_tests(tests, world_up, world_down);
}
