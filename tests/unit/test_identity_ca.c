/* What does the CA issue, and what does it refuse? Each refusal stands beside the honest request that differs in one thing, and what is issued is
 * judged by the peer check, under the bundle and the lists that the same CA made. */
#include "config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509v3.h>

#include "base/encode.h"
#include "identity/ca.h"
#include "identity/peer.h"

#define DOMAIN "acme.example"
#define ID "spiffe://acme.example/planner"
#define NOW 1764000000000LL
#define HOUR 3600000LL
#define DAY (24 * HOUR)

static struct buf root_der, middle_der, second_der;
static struct ca_issuer *root, *middle, *second; /* the intermediate, and the one after a rotation */
static EVP_PKEY *middle_pkey;                    /* the same key as middle's, for what the CA would not sign */
static struct buf agent_key;                     /* public */
static char folder[] = "/tmp/baton-ca-XXXXXX";

/* ---- building ---- */

static struct buf *fresh(struct buf *b)
{
	buf_clear(b);
	buf_init(b, 1 << 20);
	return b;
}

static void must(int rc, const struct problem *why)
{
	if (rc < 0)
		fail_msg("%s", why->text);
}

static struct ca_key *copy_key(const struct ca_key *k, EVP_PKEY **raw)
{
	char pem[CA_KEY_PEM_MAX];
	size_t n = 0;
	struct ca_key *copy;
	BIO *b;

	assert_int_equal(ca_key_write(k, pem, &n, NULL), 0);
	copy = ca_key_read(slice_of(pem, n), NULL);
	assert_non_null(copy);
	if (raw) {
		b = BIO_new_mem_buf(pem, (int)n);
		*raw = PEM_read_bio_PrivateKey(b, NULL, NULL, NULL);
		BIO_free(b);
	}
	secret_wipe(pem, sizeof pem);
	return copy;
}

static struct ca_authority authority(int64_t days)
{
	static const char *const dns[] = {"broker.acme.example", NULL}, *const ips[] = {"10.0.0.7", NULL};
	struct ca_authority a = {.trust_domain = DOMAIN, .servers = {dns, ips}, .not_before_ms = NOW - CA_BACKDATE_MS, .not_after_ms = NOW + days * DAY};

	ca_serial_new(a.serial);
	return a;
}

static struct ca_issuer *make_intermediate(struct buf *der, EVP_PKEY **raw, struct slice like)
{
	struct ca_key *k = ca_key_new(CA_P256, NULL);
	struct ca_authority a = authority(90);
	struct buf public = {0};
	struct problem why = {""};

	a.like = like;
	must(ca_key_public(k, fresh(&public), &why), &why);
	must(ca_make_intermediate(root, buf_slice(&public), &a, fresh(der), &why), &why);
	buf_clear(&public);
	ca_key_free(copy_key(k, raw));
	return ca_issuer_new(buf_slice(der), k, NULL);
}

static int world_up(void **state)
{
	struct ca_key *k = ca_key_new(CA_P384, NULL), *agent = ca_key_new(CA_P256, NULL);
	struct ca_authority a = authority(3650);
	struct problem why = {""};

	assert_non_null(mkdtemp(folder));
	must(ca_make_root(k, &a, fresh(&root_der), &why), &why);
	root = ca_issuer_new(buf_slice(&root_der), k, &why);
	assert_non_null(root);
	middle = make_intermediate(&middle_der, &middle_pkey, SLICE_LIT(""));
	second = make_intermediate(&second_der, NULL, buf_slice(&middle_der));
	assert_non_null(middle);
	assert_non_null(second);
	must(ca_key_public(agent, fresh(&agent_key), &why), &why);
	ca_key_free(agent);
	return 0;
}

static int world_down(void **state)
{
	static const char *const files[] = {"bundle.pem", "crl.pem"};
	char path[128];

	ca_issuer_free(root);
	ca_issuer_free(middle);
	ca_issuer_free(second);
	EVP_PKEY_free(middle_pkey);
	buf_clear(&root_der);
	buf_clear(&middle_der);
	buf_clear(&second_der);
	buf_clear(&agent_key);
	for (size_t i = 0; i < 2; i++) {
		snprintf(path, sizeof path, "%s/%s", folder, files[i]);
		unlink(path);
	}
	return rmdir(folder);
}

static struct ca_leaf honest(void)
{
	struct ca_leaf l = {.spiffe_id = ID, .not_before_ms = NOW - CA_BACKDATE_MS, .not_after_ms = NOW + DAY};

	ca_serial_new(l.serial);
	return l;
}

static X509 *parse(struct slice der)
{
	const unsigned char *at = der.p;
	X509 *cert = d2i_X509(NULL, &at, (long)der.n);

	assert_non_null(cert);
	return cert;
}

/* "" and *der, or why not. */
static const char *issue(const struct ca_issuer *by, const struct ca_leaf *l, struct buf *der)
{
	static struct problem why;

	why.text[0] = '\0';
	fresh(der);
	if (ca_make_leaf(by, buf_slice(&agent_key), l, der, &why) == 0)
		return "";
	assert_int_equal(der->n, 0);
	assert_true(why.text[0]);
	assert_int_equal(ERR_peek_error(), 0);
	return why.text;
}

#define assert_taken(why) assert_string_equal(why, "")
#define assert_refused(why, part)                                                                                      \
	do {                                                                                                           \
		const char *text_ = (why);                                                                             \
		if (!strstr(text_, part))                                                                              \
			fail_msg("`%s` does not say `%s`", text_, part);                                               \
	} while (0)

/* ---- asking the broker ---- */

static const char *write_pem(const char *name, enum ca_pem kind, const struct slice *ders, size_t n)
{
	static char paths[2][128];
	char *path = paths[kind == CA_PEM_CRL];
	struct buf pem = {0};
	FILE *f;

	fresh(&pem);
	for (size_t i = 0; i < n; i++)
		assert_int_equal(ca_pem_write(kind, ders[i], &pem, NULL), 0);
	snprintf(path, 128, "%s/%s", folder, name);
	f = fopen(path, "w");
	assert_non_null(f);
	assert_int_equal(fwrite(pem.p, 1, pem.n, f), pem.n);
	fclose(f);
	buf_clear(&pem);
	return path;
}

static void make_list(const struct ca_issuer *by, uint64_t number, const struct ca_revoked *revoked, size_t n, struct buf *der)
{
	struct ca_crl c = {.number = number, .this_update_ms = NOW - CA_BACKDATE_MS, .next_update_ms = NOW + 7 * DAY, .revoked = revoked, .n = n};
	struct problem why = {""};

	must(ca_make_crl(by, &c, fresh(der), &why), &why);
}

/* The bundle, and lists of all three with these certificates revoked by their issuer. */
static struct trust *trust_of_lists(const struct ca_revoked *by_root, const struct ca_revoked *by_middle)
{
	struct buf lists[3] = {{0}};
	struct slice bundle = buf_slice(&root_der), all[3];
	struct trust_domain_config d = {.domain = DOMAIN, .bundle_file = write_pem("bundle.pem", CA_PEM_CERTIFICATE, &bundle, 1)};
	struct problem why = {""};
	struct trust *t;

	make_list(root, 1, by_root, by_root != NULL, &lists[0]);
	make_list(middle, 1, by_middle, by_middle != NULL, &lists[1]);
	make_list(second, 1, NULL, 0, &lists[2]);
	for (int i = 0; i < 3; i++)
		all[i] = buf_slice(&lists[i]);
	d.crl_file = write_pem("crl.pem", CA_PEM_CRL, all, 3);
	t = trust_new(&d, 1, &why);
	for (int i = 0; i < 3; i++)
		buf_clear(&lists[i]);
	if (!t)
		fail_msg("%s", why.text);
	return t;
}

/* "" when the broker takes leaf and intermediate. Takes leaf. */
static const char *judge(const struct trust *t, X509 *leaf, struct slice intermediate, int64_t now_ms)
{
	STACK_OF(X509) *sent = sk_X509_new_null();
	X509 *above = parse(intermediate);
	X509_STORE_CTX *ctx = X509_STORE_CTX_new();
	const char *why = "";
	int alert;
	struct identity_peer *p;

	sk_X509_push(sent, leaf);
	sk_X509_push(sent, above);
	X509_STORE_CTX_init(ctx, NULL, leaf, sent);
	p = identity_peer_verify(t, ctx, now_ms, &why, &alert);
	assert_true(!p || strcmp(p->spiffe_id, ID) == 0);
	identity_peer_free(p);
	X509_STORE_CTX_free(ctx);
	sk_X509_pop_free(sent, X509_free);
	return why;
}

static const char *judge_now(X509 *leaf, struct slice intermediate)
{
	struct trust *t = trust_of_lists(NULL, NULL);
	const char *why = judge(t, leaf, intermediate, NOW);

	trust_unref(t);
	return why;
}

/* ---- leaves ---- */

static void a_leaf_is_what_the_broker_takes_svid_2_and_4(void **state)
{
	struct ca_leaf l = honest();
	struct ca_cert_info info, above;
	struct buf der = {0};
	X509 *cert;

	assert_taken(issue(middle, &l, &der));
	assert_int_equal(ca_cert_info(buf_slice(&der), &info, NULL), 0);
	assert_int_equal(ca_cert_info(buf_slice(&middle_der), &above, NULL), 0);
	assert_string_equal(info.spiffe_id, ID);
	assert_memory_equal(info.serial, l.serial, CA_SERIAL_BYTES);
	assert_memory_equal(info.issuer_key_id, above.key_id, CA_KEY_ID_BYTES);
	assert_int_equal(info.not_before_ms, NOW - CA_BACKDATE_MS);
	assert_int_equal(info.not_after_ms, NOW + DAY);
	assert_false(info.is_ca);
	assert_true(ca_cert_signed_by(buf_slice(&der), buf_slice(&middle_der)));
	assert_false(ca_cert_signed_by(buf_slice(&der), buf_slice(&second_der)));
	cert = parse(buf_slice(&der));
	assert_int_equal(X509_get_key_usage(cert), KU_DIGITAL_SIGNATURE);
	assert_int_equal(X509_get_extended_key_usage(cert), XKU_SSL_CLIENT);
	assert_int_equal(X509_NAME_entry_count(X509_get_subject_name(cert)), 0);
	assert_true(X509_EXTENSION_get_critical(X509_get_ext(cert, X509_get_ext_by_NID(cert, NID_subject_alt_name, -1))));
	assert_taken(judge_now(cert, buf_slice(&middle_der)));
	assert_string_equal(judge_now(parse(buf_slice(&der)), buf_slice(&second_der)), "untrusted_chain");
	buf_clear(&der);
}

static void leaves_of_both_intermediates_are_taken_after_a_rotation(void **state)
{
	struct ca_leaf l = honest(), m = honest();
	struct buf der = {0};

	assert_taken(issue(middle, &l, &der));
	assert_taken(judge_now(parse(buf_slice(&der)), buf_slice(&middle_der)));
	assert_taken(issue(second, &m, &der));
	assert_taken(judge_now(parse(buf_slice(&der)), buf_slice(&second_der)));
	buf_clear(&der);
}

static void a_leaf_ends_before_its_issuer_and_after_thirty_days(void **state)
{
	struct ca_leaf l = honest();
	struct buf der = {0};

	l.not_after_ms = NOW + 30 * DAY;
	assert_taken(issue(middle, &l, &der));
	l.not_after_ms += 1000;
	assert_refused(issue(middle, &l, &der), "30 days");
	l.not_before_ms = NOW + 80 * DAY;
	l.not_after_ms = NOW + 90 * DAY;
	assert_taken(issue(middle, &l, &der));
	l.not_after_ms += 1000;
	assert_refused(issue(middle, &l, &der), "longer than the CA");
	l.not_after_ms = l.not_before_ms;
	assert_refused(issue(middle, &l, &der), "before it begins");
	buf_clear(&der);
}

static void the_id_is_strict_and_of_this_domain_spiffe_id_2(void **state)
{
	static char longest[SPIFFE_ID_MAX + 1], longer[SPIFFE_ID_MAX + 2];
	const char *const bad[] = {
		"", "planner", "spiffe://", "spiffe://acme.example", "spiffe://acme.example/", "https://acme.example/planner", "SPIFFE://acme.example/planner",
		"spiffe://acme.example/*", "spiffe://*/planner", "spiffe://*.example/planner", "spiffe://acme.example/plan\nner", "spiffe://acme.example/plan\x01ner",
		"spiffe://acme.example/planner\x7f", "spiffe://acme.example/pl\xd0\xb0nner" /* Cyrillic a */, "spiffe://\xd0\xb0" "cme.example/planner",
		"spiffe://acme.example/planner\xe2\x80\x8b" /* zero width space */, "spiffe://acme.example/\xef\xbd\x90lanner" /* full width p */,
		"spiffe://acme.example/planner,DNS:evil.example", "spiffe://acme.example/a/../b", "spiffe://acme.example/%70lanner", "spiffe://acme.example:1/planner",
		"spiffe://u@acme.example/planner", longer,
	};
	const char *const foreign[] = {"spiffe://globex.example/planner", "spiffe://acme.example.evil/planner", "spiffe://evil.acme.example/planner",
				       "spiffe://acme.exampl/planner", "spiffe://cme.example/planner"};
	struct ca_leaf l = honest();
	struct buf der = {0};

	memset(longest, 'x', SPIFFE_ID_MAX);
	memcpy(longest, "spiffe://acme.example/", 22);
	memset(longer, 'x', SPIFFE_ID_MAX + 1);
	memcpy(longer, "spiffe://acme.example/", 22);
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		l.spiffe_id = bad[i];
		assert_refused(issue(middle, &l, &der), " ");
	}
	for (size_t i = 0; i < sizeof foreign / sizeof foreign[0]; i++) {
		l.spiffe_id = foreign[i];
		assert_refused(issue(middle, &l, &der), "another trust domain");
	}
	l.spiffe_id = longest;
	assert_taken(issue(middle, &l, &der));
	l.spiffe_id = ID;
	assert_taken(issue(middle, &l, &der));
	buf_clear(&der);
}

static void a_server_gets_the_names_that_the_intermediate_may_vouch_for_rfc5280_4_2_1_10(void **state)
{
	static const char *const good[] = {"broker.acme.example", "a.broker.acme.example", NULL}, *const other[] = {"acme.example", NULL};
	static const char *const good_ip[] = {"10.0.0.7", NULL}, *const other_ip[] = {"10.0.0.8", NULL}, *const six[] = {"::1", NULL};
	static const char *const bad_dns[] = {"*.broker.acme.example", "Broker.acme.example", "broker..acme.example", "broker.acme.example.", "",
					      "10.0.0.7", "broker.acme.example,URI:spiffe://acme.example/x", "br\xc3\xb6ker.acme.example", "-a.acme.example"};
	static const char *const bad_ip[] = {"10.0.0", "10.0.0.0/8", "broker", ""};
	struct ca_leaf l = honest();
	struct buf der = {0};
	X509 *cert;

	l.servers = (struct ca_servers){good, good_ip};
	assert_taken(issue(middle, &l, &der));
	cert = parse(buf_slice(&der));
	assert_int_equal(X509_check_purpose(cert, X509_PURPOSE_SSL_SERVER, 0), 1);
	assert_int_equal(X509_check_host(cert, "broker.acme.example", 0, 0, NULL), 1);
	assert_int_equal(X509_check_ip_asc(cert, "10.0.0.7", 0), 1);
	assert_taken(judge_now(cert, buf_slice(&middle_der))); /* a broker is a peer too */
	l.servers = (struct ca_servers){other, NULL};
	assert_refused(issue(middle, &l, &der), "name constraints");
	l.servers = (struct ca_servers){NULL, other_ip};
	assert_refused(issue(middle, &l, &der), "name constraints");
	l.servers = (struct ca_servers){NULL, six};
	assert_refused(issue(middle, &l, &der), "name constraints");
	l.servers = (struct ca_servers){good, NULL};
	assert_taken(issue(second, &l, &der)); /* has them from the one before */
	for (size_t i = 0; i < sizeof bad_dns / sizeof bad_dns[0]; i++) {
		const char *const one[] = {bad_dns[i], NULL};

		l.servers = (struct ca_servers){one, NULL};
		assert_refused(issue(middle, &l, &der), "DNS name");
	}
	for (size_t i = 0; i < sizeof bad_ip / sizeof bad_ip[0]; i++) {
		const char *const one[] = {bad_ip[i], NULL};

		l.servers = (struct ca_servers){NULL, one};
		assert_refused(issue(middle, &l, &der), "no IP address");
	}
	buf_clear(&der);
}

/* An intermediate that was made for no server vouches for none. */
static void without_names_there_are_no_servers(void **state)
{
	static const char *const dns[] = {"broker.acme.example", NULL}, *const ips[] = {"10.0.0.7", NULL}, *const six[] = {"::1", NULL};
	const struct ca_servers all[] = {{dns, NULL}, {NULL, ips}, {NULL, six}};
	struct ca_key *k = ca_key_new(CA_P256, NULL);
	struct ca_authority a = authority(90);
	struct ca_leaf l = honest();
	struct buf public = {0}, strict_der = {0}, der = {0};
	struct ca_issuer *strict;
	struct problem why = {""};

	a.servers = (struct ca_servers){NULL, NULL};
	must(ca_key_public(k, fresh(&public), &why), &why);
	must(ca_make_intermediate(root, buf_slice(&public), &a, fresh(&strict_der), &why), &why);
	strict = ca_issuer_new(buf_slice(&strict_der), k, &why);
	assert_non_null(strict);
	assert_taken(issue(strict, &l, &der));
	for (size_t i = 0; i < 3; i++) {
		l.servers = all[i];
		assert_refused(issue(strict, &l, &der), "name constraints");
	}
	ca_issuer_free(strict);
	buf_clear(&public);
	buf_clear(&strict_der);
	buf_clear(&der);
}

static EVP_PKEY *rsa(unsigned bits, unsigned exponent)
{
	EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_id(EVP_PKEY_RSA, NULL);
	BIGNUM *e = BN_new();
	EVP_PKEY *key = NULL;

	BN_set_word(e, exponent);
	EVP_PKEY_keygen_init(ctx);
	EVP_PKEY_CTX_set_rsa_keygen_bits(ctx, (int)bits);
	EVP_PKEY_CTX_set1_rsa_keygen_pubexp(ctx, e);
	EVP_PKEY_keygen(ctx, &key);
	BN_free(e);
	EVP_PKEY_CTX_free(ctx);
	assert_non_null(key);
	return key;
}

/* P-256, its numbers written out instead of its name. */
static EVP_PKEY *spelled_out(void)
{
	EVP_PKEY *key = EVP_EC_gen("P-256");

	assert_int_equal(EVP_PKEY_set_utf8_string_param(key, OSSL_PKEY_PARAM_EC_ENCODING, OSSL_PKEY_EC_ENCODING_EXPLICIT), 1);
	return key;
}

/* ---- requests ---- */

struct request {
	EVP_PKEY *key;
	const char *names;      /* as openssl.cnf has a subjectAltName; NULL = none */
	const char *also;       /* NULL; or another extension: */
	int also_nid;
	const EVP_MD *md;
	EVP_PKEY *signed_by;    /* NULL = key */
	bool attribute;         /* one that is no list of extensions */
};

static X509_REQ *build(const struct request *r)
{
	X509_REQ *req = X509_REQ_new();
	STACK_OF(X509_EXTENSION) *all = sk_X509_EXTENSION_new_null();
	EVP_PKEY *by = r->signed_by ? r->signed_by : r->key;

	X509_NAME_add_entry_by_txt(X509_REQ_get_subject_name(req), "CN", MBSTRING_UTF8, (const unsigned char *)"somebody else", -1, -1, 0);
	X509_REQ_set_pubkey(req, r->key);
	if (r->names)
		sk_X509_EXTENSION_push(all, X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name, r->names));
	if (r->also)
		sk_X509_EXTENSION_push(all, X509V3_EXT_conf_nid(NULL, NULL, r->also_nid, r->also));
	if (sk_X509_EXTENSION_num(all))
		assert_int_equal(X509_REQ_add_extensions(req, all), 1);
	if (r->attribute)
		X509_REQ_add1_attr_by_NID(req, NID_pkcs9_challengePassword, MBSTRING_ASC, (const unsigned char *)"secret", -1);
	assert_true(X509_REQ_sign(req, by, EVP_PKEY_get_base_id(by) == EVP_PKEY_ED25519 ? NULL : r->md ? r->md : EVP_sha256()) > 0);
	sk_X509_EXTENSION_pop_free(all, X509_EXTENSION_free);
	return req;
}

static const char *check_der(struct slice der, const char *id)
{
	static struct problem why;
	struct buf key = {0};
	int rc;

	why.text[0] = '\0';
	fresh(&key);
	rc = ca_request_check(der, id, &key, &why);
	assert_int_equal(ERR_peek_error(), 0);
	assert_int_equal(rc == 0, key.n > 0);
	assert_int_equal(rc == 0, why.text[0] == '\0');
	buf_clear(&key);
	return why.text;
}

static const char *check(const struct request *r)
{
	X509_REQ *req = build(r);
	unsigned char *der = NULL;
	int n = i2d_X509_REQ(req, &der);
	const char *why = check_der(slice_of(der, (size_t)n), ID);

	OPENSSL_free(der);
	X509_REQ_free(req);
	return why;
}

static void only_the_key_is_taken_from_a_request(void **state)
{
	struct request r = {.key = EVP_EC_gen("P-256")};

	assert_taken(check(&r));
	r.names = "URI:" ID;
	assert_taken(check(&r));
	EVP_PKEY_free(r.key);
	r.key = EVP_EC_gen("P-384");
	r.md = EVP_sha384();
	assert_taken(check(&r));
	EVP_PKEY_free(r.key);
	r.key = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
	assert_taken(check(&r));
	EVP_PKEY_free(r.key);
	r.key = rsa(2048, 65537);
	r.md = EVP_sha256();
	assert_taken(check(&r));
	EVP_PKEY_free(r.key);
}

static void a_request_proves_possession_rfc2986_4_2(void **state)
{
	struct request r = {.key = EVP_EC_gen("P-256"), .signed_by = EVP_EC_gen("P-256")};
	X509_REQ *req;
	unsigned char *der = NULL;
	int n;

	assert_refused(check(&r), "does not hold the key");
	EVP_PKEY_free(r.signed_by);
	r.signed_by = NULL;
	assert_taken(check(&r));
	r.md = EVP_sha1();
	assert_refused(check(&r), "weaker than SHA-256");
	r.md = NULL;
	req = build(&r);
	n = i2d_X509_REQ(req, &der);
	assert_taken(check_der(slice_of(der, (size_t)n), ID));
	assert_refused(check_der(slice_of(der, (size_t)n - 1), ID), "no certificate request");
	assert_refused(check_der(SLICE_LIT(""), ID), "no certificate request");
	der[n - 1] ^= 1;
	assert_refused(check_der(slice_of(der, (size_t)n), ID), "does not hold the key");
	der = OPENSSL_realloc(der, (size_t)n + 1);
	der[n - 1] ^= 1;
	der[n] = 0;
	assert_refused(check_der(slice_of(der, (size_t)n + 1), ID), "no certificate request");
	OPENSSL_free(der);
	X509_REQ_free(req);
	EVP_PKEY_free(r.key);
}

static void a_weak_key_is_refused(void **state)
{
	EVP_PKEY *keys[] = {rsa(1024, 65537), EVP_EC_gen("P-521"), EVP_EC_gen("secp256k1"), EVP_EC_gen("P-224"), rsa(2048, 3), spelled_out()};
	static const char *const why[] = {"weak", "weak", "weak", "weak", "exponent", "spelled out"};
	struct ca_leaf l = honest();
	struct buf der = {0};

	for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
		struct request r = {.key = keys[i]};
		unsigned char *spki = NULL;
		int n = i2d_PUBKEY(keys[i], &spki);
		struct problem p = {""};

		assert_refused(check(&r), why[i]);
		assert_int_equal(ca_make_leaf(middle, slice_of(spki, (size_t)n), &l, fresh(&der), &p), -1);
		assert_refused(p.text, why[i]);
		OPENSSL_free(spki);
		EVP_PKEY_free(keys[i]);
	}
	buf_clear(&der);
}

static void what_a_request_asks_for_besides_is_refused(void **state)
{
	static const struct {
		const char *names, *also;
		int nid;
		const char *why;
	} bad[] = {
		{"URI:spiffe://acme.example/auditor", NULL, 0, "another URI"}, {"URI:spiffe://globex.example/planner", NULL, 0, "another URI"},
		{"URI:https://acme.example/", NULL, 0, "another URI"}, {"URI:" ID ",URI:" ID, NULL, 0, "2 URIs"},
		{"URI:" ID ",URI:spiffe://acme.example/auditor", NULL, 0, "2 URIs"}, {"DNS:planner.acme.example", NULL, 0, "another kind of name"},
		{"URI:" ID ",DNS:planner.acme.example", NULL, 0, "another kind of name"}, {"URI:" ID ",IP:10.0.0.7", NULL, 0, "another kind of name"},
		{"URI:" ID ",email:ana@acme.example", NULL, 0, "another kind of name"}, {NULL, "critical,CA:TRUE", NID_basic_constraints, "basicConstraints"},
		{NULL, "CA:FALSE", NID_basic_constraints, "basicConstraints"}, {"URI:" ID, "critical,CA:TRUE", NID_basic_constraints, "basicConstraints"},
		{NULL, "keyCertSign", NID_key_usage, "keyUsage"}, {NULL, "serverAuth", NID_ext_key_usage, "extendedKeyUsage"},
		{"URI:" ID, "URI:" ID, NID_subject_alt_name, "two subjectAltNames"},
	};
	struct request r = {.key = EVP_EC_gen("P-256")};

	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		r.names = bad[i].names;
		r.also = bad[i].also;
		r.also_nid = bad[i].nid;
		assert_refused(check(&r), bad[i].why);
	}
	r.names = r.also = NULL;
	r.attribute = true;
	assert_refused(check(&r), "attributes");
	r.names = "URI:" ID;
	assert_refused(check(&r), "attributes");
	r.attribute = false;
	assert_taken(check(&r));
	EVP_PKEY_free(r.key);
}

static void attack_1_a_nul_in_the_uri_of_a_request_is_refused(void **state)
{
	static const char nul[] = ID "\0.evil.example";
	EVP_PKEY *key = EVP_EC_gen("P-256");
	X509_REQ *req = X509_REQ_new();
	GENERAL_NAMES *names = sk_GENERAL_NAME_new_null();
	GENERAL_NAME *g = GENERAL_NAME_new();
	ASN1_IA5STRING *s = ASN1_IA5STRING_new();
	STACK_OF(X509_EXTENSION) *all = NULL;
	unsigned char *der = NULL;
	int n;

	ASN1_STRING_set(s, nul, sizeof nul - 1);
	GENERAL_NAME_set0_value(g, GEN_URI, s);
	sk_GENERAL_NAME_push(names, g);
	assert_int_equal(X509V3_add1_i2d(&all, NID_subject_alt_name, names, 0, X509V3_ADD_APPEND), 1);
	X509_REQ_add_extensions(req, all);
	X509_REQ_set_pubkey(req, key);
	X509_REQ_sign(req, key, EVP_sha256());
	n = i2d_X509_REQ(req, &der);
	assert_refused(check_der(slice_of(der, (size_t)n), ID), "another URI");
	OPENSSL_free(der);
	sk_X509_EXTENSION_pop_free(all, X509_EXTENSION_free);
	GENERAL_NAMES_free(names);
	X509_REQ_free(req);
	EVP_PKEY_free(key);
}

/* ---- the intermediate's bounds ---- */

/* As a thief of the intermediate's key would sign it. */
static X509 *forge(const char *names, const char *cn, bool ca)
{
	X509 *cert = X509_new(), *above = parse(buf_slice(&middle_der));
	const char *const more[] = {ca ? "critical,CA:TRUE" : "critical,CA:FALSE", ca ? "critical,keyCertSign,cRLSign" : "critical,digitalSignature", names};
	const int nids[] = {NID_basic_constraints, NID_key_usage, NID_subject_alt_name};

	X509_set_version(cert, X509_VERSION_3);
	ASN1_INTEGER_set(X509_get_serialNumber(cert), 7);
	ASN1_TIME_set(X509_getm_notBefore(cert), NOW / 1000 - 60);
	ASN1_TIME_set(X509_getm_notAfter(cert), NOW / 1000 + 3600);
	if (cn)
		X509_NAME_add_entry_by_txt(X509_get_subject_name(cert), "CN", MBSTRING_UTF8, (const unsigned char *)cn, -1, -1, 0);
	X509_set_issuer_name(cert, X509_get_subject_name(above));
	X509_set_pubkey(cert, middle_pkey);
	for (int i = 0; i < 3; i++) {
		X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, NULL, nids[i], more[i]);

		assert_int_equal(X509_add_ext(cert, e, -1), 1);
		X509_EXTENSION_free(e);
	}
	assert_true(X509_sign(cert, middle_pkey, EVP_sha256()) > 0);
	X509_free(above);
	return cert;
}

/* Is it good for a TLS client that trusts the root and wants this server? */
static int verify_as_server(X509 *leaf, const char *host)
{
	X509_STORE *store = X509_STORE_new();
	X509 *anchor = parse(buf_slice(&root_der)), *above = parse(buf_slice(&middle_der));
	STACK_OF(X509) *sent = sk_X509_new_null();
	X509_STORE_CTX *ctx = X509_STORE_CTX_new();
	int error;

	X509_STORE_add_cert(store, anchor);
	sk_X509_push(sent, above);
	X509_STORE_CTX_init(ctx, store, leaf, sent);
	X509_VERIFY_PARAM_set_time(X509_STORE_CTX_get0_param(ctx), NOW / 1000);
	if (host)
		X509_VERIFY_PARAM_set1_host(X509_STORE_CTX_get0_param(ctx), host, 0);
	error = X509_verify_cert(ctx) == 1 ? X509_V_OK : X509_STORE_CTX_get_error(ctx);
	X509_STORE_CTX_free(ctx);
	sk_X509_free(sent);
	X509_STORE_free(store);
	X509_free(anchor);
	X509_free(above);
	X509_free(leaf);
	return error;
}

static void the_intermediates_key_alone_makes_no_other_names_rfc5280_4_2_1_10(void **state)
{
	static const char *const domains[] = {DOMAIN, "globex.example"};
	struct slice bundle = buf_slice(&root_der);
	struct trust_domain_config d[2] = {{.domain = domains[0], .bundle_file = write_pem("bundle.pem", CA_PEM_CERTIFICATE, &bundle, 1)}};
	struct trust *t;

	assert_taken(judge_now(forge("URI:" ID, NULL, false), buf_slice(&middle_der)));
	assert_string_equal(judge_now(forge("URI:" ID, NULL, true), buf_slice(&middle_der)), "leaf_is_ca");
	d[1] = (struct trust_domain_config){.domain = domains[1], .bundle_file = d[0].bundle_file}; /* as if the other domain trusted this root by mistake */
	t = trust_new(d, 2, NULL);
	assert_non_null(t);
	assert_string_equal(judge(t, forge("URI:spiffe://globex.example/planner", NULL, false), buf_slice(&middle_der), NOW), "untrusted_chain");
	assert_taken(judge(t, forge("URI:" ID, NULL, false), buf_slice(&middle_der), NOW));
	trust_unref(t);
	assert_int_equal(verify_as_server(forge("DNS:broker.acme.example", NULL, false), "broker.acme.example"), X509_V_OK);
	assert_int_equal(verify_as_server(forge("DNS:bank.example", NULL, false), "bank.example"), X509_V_ERR_PERMITTED_VIOLATION);
	assert_int_equal(verify_as_server(forge("email:ana@acme.example", NULL, false), NULL), X509_V_ERR_PERMITTED_VIOLATION);
	assert_int_equal(verify_as_server(forge("IP:10.0.0.8", NULL, false), NULL), X509_V_ERR_PERMITTED_VIOLATION);
	assert_int_equal(verify_as_server(forge("URI:" ID, "bank.example", false), "bank.example"), X509_V_ERR_PERMITTED_VIOLATION);
}

static void authorities_are_of_one_domain_and_within_the_root(void **state)
{
	struct ca_key *k = ca_key_new(CA_P256, NULL);
	struct ca_authority a = authority(3650);
	struct buf public = {0}, der = {0};
	struct problem why = {""};
	static const char *const bad[] = {"", "ACME.example", "acme.example/x", "*", "acme example", ("\xd0\xb0" "cme.example")};

	must(ca_key_public(k, fresh(&public), &why), &why);
	must(ca_make_intermediate(root, buf_slice(&public), &a, fresh(&der), &why), &why);
	a.not_after_ms += 1000;
	assert_int_equal(ca_make_intermediate(root, buf_slice(&public), &a, fresh(&der), &why), -1);
	assert_refused(why.text, "longer than the CA");
	a = authority(90);
	a.trust_domain = "globex.example";
	assert_int_equal(ca_make_intermediate(root, buf_slice(&public), &a, fresh(&der), &why), -1);
	assert_refused(why.text, "the root is that of");
	a.trust_domain = DOMAIN;
	a.like = buf_slice(&root_der); /* has no constraints: none would be a way out of them */
	assert_int_equal(ca_make_intermediate(root, buf_slice(&public), &a, fresh(&der), &why), -1);
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		a = authority(90);
		a.trust_domain = bad[i];
		assert_int_equal(ca_make_root(k, &a, fresh(&der), &why), -1);
		assert_refused(why.text, "trust domain");
	}
	assert_null(ca_issuer_new(buf_slice(&middle_der), k, &why)); /* took k */
	assert_refused(why.text, "not that of");
	assert_null(ca_issuer_new(buf_slice(&agent_key), ca_key_new(CA_P256, NULL), &why));
	buf_clear(&public);
	buf_clear(&der);
}

/* ---- lists ---- */

static void a_revoked_leaf_is_refused_and_a_revoked_intermediate_with_all_of_its_leaves(void **state)
{
	struct ca_leaf l = honest(), other = honest();
	struct ca_revoked gone = {.at_ms = NOW - HOUR, .reason = CA_KEY_COMPROMISE};
	struct ca_cert_info info;
	struct buf der = {0}, der2 = {0}, der3 = {0};
	struct trust *t;

	assert_taken(issue(middle, &l, &der));
	assert_taken(issue(middle, &other, &der2));
	assert_taken(issue(second, &other, &der3));
	memcpy(gone.serial, l.serial, sizeof gone.serial);
	t = trust_of_lists(NULL, &gone);
	assert_string_equal(judge(t, parse(buf_slice(&der)), buf_slice(&middle_der), NOW), "revoked");
	assert_taken(judge(t, parse(buf_slice(&der2)), buf_slice(&middle_der), NOW));
	assert_string_equal(judge(t, parse(buf_slice(&der2)), buf_slice(&middle_der), NOW + 2 * DAY), "certificate_expired");
	assert_string_equal(judge(t, parse(buf_slice(&der2)), buf_slice(&middle_der), NOW + 8 * DAY), "crl_stale");
	trust_unref(t);
	assert_int_equal(ca_cert_info(buf_slice(&middle_der), &info, NULL), 0);
	memcpy(gone.serial, info.serial, sizeof gone.serial);
	t = trust_of_lists(&gone, NULL);
	assert_string_equal(judge(t, parse(buf_slice(&der2)), buf_slice(&middle_der), NOW), "revoked");
	assert_taken(judge(t, parse(buf_slice(&der3)), buf_slice(&second_der), NOW));
	trust_unref(t);
	buf_clear(&der);
	buf_clear(&der2);
	buf_clear(&der3);
}

static void a_list_says_its_number_and_whose_it_is_rfc5280_5_2(void **state)
{
	struct ca_revoked gone[] = {{.at_ms = NOW, .reason = CA_UNSPECIFIED}, {.at_ms = NOW - DAY, .reason = CA_SUPERSEDED}};
	struct ca_crl_info info;
	struct ca_cert_info issuer;
	struct buf der = {0}, pem = {0}, back = {0};

	ca_serial_new(gone[0].serial);
	ca_serial_new(gone[1].serial);
	make_list(middle, UINT64_C(1) << 40, gone, 2, &der);
	assert_int_equal(ca_crl_info(buf_slice(&der), &info, NULL), 0);
	assert_int_equal(ca_cert_info(buf_slice(&middle_der), &issuer, NULL), 0);
	assert_int_equal(info.number, UINT64_C(1) << 40);
	assert_int_equal(info.next_update_ms, NOW + 7 * DAY);
	assert_memory_equal(info.issuer_key_id, issuer.key_id, CA_KEY_ID_BYTES);
	assert_int_equal(ca_crl_info(buf_slice(&middle_der), &info, NULL), -1);
	fresh(&pem);
	assert_int_equal(ca_pem_write(CA_PEM_CERTIFICATE, buf_slice(&middle_der), &pem, NULL), 0);
	assert_int_equal(ca_pem_write(CA_PEM_CRL, buf_slice(&der), &pem, NULL), 0);
	assert_int_equal(ca_pem_write(CA_PEM_CERTIFICATE, buf_slice(&root_der), &pem, NULL), 0);
	assert_int_equal(ca_pem_read(CA_PEM_CRL, buf_slice(&pem), 0, fresh(&back), NULL), 1);
	assert_true(slice_eq(buf_slice(&back), buf_slice(&der)));
	assert_int_equal(ca_pem_read(CA_PEM_CRL, buf_slice(&pem), 1, fresh(&back), NULL), 0);
	assert_int_equal(ca_pem_read(CA_PEM_CERTIFICATE, buf_slice(&pem), 1, fresh(&back), NULL), 1);
	assert_true(slice_eq(buf_slice(&back), buf_slice(&root_der)));
	assert_int_equal(ca_pem_read(CA_PEM_CERTIFICATE, SLICE_LIT(""), 0, fresh(&back), NULL), 0);
	assert_int_equal(ca_pem_read(CA_PEM_CERTIFICATE, SLICE_LIT("-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n"), 0, fresh(&back), NULL), -1);
	buf_clear(&der);
	buf_clear(&pem);
	buf_clear(&back);
}

static void keys_come_back_and_serials_do_not(void **state)
{
	struct ca_key *k = ca_key_new(CA_P256, NULL), *copy = copy_key(k, NULL);
	struct buf a = {0}, b = {0};
	uint8_t one[CA_SERIAL_BYTES], two[CA_SERIAL_BYTES];
	struct problem why = {""};

	assert_int_equal(ca_key_public(k, fresh(&a), NULL), 0);
	assert_int_equal(ca_key_public(copy, fresh(&b), NULL), 0);
	assert_true(slice_eq(buf_slice(&a), buf_slice(&b)));
	assert_null(ca_key_read(SLICE_LIT(""), &why));
	assert_null(ca_key_read(SLICE_LIT("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"), &why));
	assert_refused(why.text, "no private key");
	for (int i = 0; i < 1000; i++) {
		ca_serial_new(one);
		ca_serial_new(two);
		assert_true((one[0] & 0xc0) == 0x40);
		assert_memory_not_equal(one, two, CA_SERIAL_BYTES);
	}
	ca_key_free(k);
	ca_key_free(copy);
	buf_clear(&a);
	buf_clear(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_leaf_is_what_the_broker_takes_svid_2_and_4),
		cmocka_unit_test(leaves_of_both_intermediates_are_taken_after_a_rotation),
		cmocka_unit_test(a_leaf_ends_before_its_issuer_and_after_thirty_days),
		cmocka_unit_test(the_id_is_strict_and_of_this_domain_spiffe_id_2),
		cmocka_unit_test(a_server_gets_the_names_that_the_intermediate_may_vouch_for_rfc5280_4_2_1_10),
		cmocka_unit_test(without_names_there_are_no_servers),
		cmocka_unit_test(only_the_key_is_taken_from_a_request),
		cmocka_unit_test(a_request_proves_possession_rfc2986_4_2),
		cmocka_unit_test(a_weak_key_is_refused),
		cmocka_unit_test(what_a_request_asks_for_besides_is_refused),
		cmocka_unit_test(attack_1_a_nul_in_the_uri_of_a_request_is_refused),
		cmocka_unit_test(the_intermediates_key_alone_makes_no_other_names_rfc5280_4_2_1_10),
		cmocka_unit_test(authorities_are_of_one_domain_and_within_the_root),
		cmocka_unit_test(a_revoked_leaf_is_refused_and_a_revoked_intermediate_with_all_of_its_leaves),
		cmocka_unit_test(a_list_says_its_number_and_whose_it_is_rfc5280_5_2),
		cmocka_unit_test(keys_come_back_and_serials_do_not),
	};

	return cmocka_run_group_tests(tests, world_up, world_down);
}
