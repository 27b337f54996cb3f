/* Which certificates prove a workload? Each is built here, field by field, and stands beside the honest one that
 * differs in that field. */
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

#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include "identity/peer.h"

#define ID "spiffe://acme.example/planner"
#define NOW 1764000000LL /* seconds */
#define DAY 86400LL
#define NAMES_MAX 4

struct name {
	int type; /* GEN_URI ... */
	const char *text; /* NULL ends */
	size_t n; /* 0: strlen */
};

struct spec {
	const char *subject; /* a common name; or RDNs between |, each "TYPE=value", "TYPE=value+TYPE=value" */
	struct name names[NAMES_MAX];
	const char *basic, *usage, *extended; /* as openssl.cnf has it; NULL = not there */
	int64_t from, to;                     /* seconds from NOW; 0, 0 = a day each way */
	EVP_PKEY *key;
	const EVP_MD *md;
	bool names_twice; /* the whole extension once more */
};

struct ca {
	X509 *cert;
	EVP_PKEY *key;
};

static EVP_PKEY *leaf_key;
static struct ca root, other_root, middle;
static struct trust *trust;
static char folder[] = "/tmp/baton-identity-XXXXXX";
static char path[128];

/* ---- building ---- */

static void extension(X509 *cert, int nid, const char *value)
{
	X509_EXTENSION *e;

	if (!value)
		return;
	e = X509V3_EXT_conf_nid(NULL, NULL, nid, value);
	assert_non_null(e);
	assert_int_equal(X509_add_ext(cert, e, -1), 1);
	X509_EXTENSION_free(e);
}

static ASN1_STRING *asn1_text(int kind, const struct name *n)
{
	ASN1_STRING *s = ASN1_STRING_type_new(kind);

	ASN1_STRING_set(s, n->text, (int)(n->n ? n->n : strlen(n->text)));
	return s;
}

/* Any type of alternative name that can carry the text. */
static GENERAL_NAME *general_name(const struct name *n)
{
	GENERAL_NAME *g = GENERAL_NAME_new();
	X509_NAME *directory;
	ASN1_TYPE *value;

	switch (n->type) {
	case GEN_OTHERNAME: /* as Microsoft's user principal name */
		value = ASN1_TYPE_new();
		ASN1_TYPE_set(value, V_ASN1_UTF8STRING, asn1_text(V_ASN1_UTF8STRING, n));
		GENERAL_NAME_set0_othername(g, OBJ_txt2obj("1.3.6.1.4.1.311.20.2.3", 1), value);
		break;
	case GEN_DIRNAME:
		directory = X509_NAME_new();
		X509_NAME_add_entry_by_txt(directory, "CN", MBSTRING_ASC, (const unsigned char *)n->text, -1, -1, 0);
		GENERAL_NAME_set0_value(g, GEN_DIRNAME, directory);
		break;
	case GEN_IPADD:
		GENERAL_NAME_set0_value(g, GEN_IPADD, asn1_text(V_ASN1_OCTET_STRING, n));
		break;
	case GEN_RID:
		GENERAL_NAME_set0_value(g, GEN_RID, OBJ_txt2obj(n->text, 1));
		break;
	default:
		GENERAL_NAME_set0_value(g, n->type, asn1_text(V_ASN1_IA5STRING, n));
	}
	return g;
}

static void alternative_names(X509 *cert, const struct name *names)
{
	GENERAL_NAMES *all = sk_GENERAL_NAME_new_null();

	for (size_t i = 0; i < NAMES_MAX && names[i].text; i++)
		sk_GENERAL_NAME_push(all, general_name(&names[i]));
	if (sk_GENERAL_NAME_num(all))
		assert_int_equal(X509_add1_ext_i2d(cert, NID_subject_alt_name, all, 0, X509V3_ADD_APPEND), 1);
	sk_GENERAL_NAME_pop_free(all, GENERAL_NAME_free);
}

static void distinguished_name(X509_NAME *name, const char *text)
{
	char copy[512], *rdn, *rest = copy, *value, *part;

	if (!strchr(text, '=')) {
		X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8, (const unsigned char *)text, -1, -1, 0);
		return;
	}
	snprintf(copy, sizeof copy, "%s", text);
	while ((rdn = strsep(&rest, "|"))) {
		for (int set = 0; (part = strsep(&rdn, "+")); set = -1) { /* -1: of the same RDN as the one before */
			value = strchr(part, '=');
			*value++ = '\0';
			assert_int_equal(X509_NAME_add_entry_by_txt(name, part, MBSTRING_UTF8, (unsigned char *)value, -1, -1, set), 1);
		}
	}
}

static X509 *build(const struct spec *s, const struct ca *by)
{
	static long serial = 1000;
	X509 *cert = X509_new();
	X509_NAME *subject = X509_get_subject_name(cert);
	bool dated = s->from || s->to;
	EVP_PKEY *signing = by ? by->key : s->key;

	X509_set_version(cert, X509_VERSION_3);
	ASN1_INTEGER_set(X509_get_serialNumber(cert), serial++);
	ASN1_TIME_set(X509_getm_notBefore(cert), (time_t)(NOW + (dated ? s->from : -DAY)));
	ASN1_TIME_set(X509_getm_notAfter(cert), (time_t)(NOW + (dated ? s->to : DAY)));
	distinguished_name(subject, s->subject);
	X509_set_issuer_name(cert, by ? X509_get_subject_name(by->cert) : subject);
	X509_set_pubkey(cert, s->key);
	extension(cert, NID_basic_constraints, s->basic);
	extension(cert, NID_key_usage, s->usage);
	extension(cert, NID_ext_key_usage, s->extended);
	alternative_names(cert, s->names);
	if (s->names_twice)
		alternative_names(cert, s->names);
	assert_true(X509_sign(cert, signing,
			      EVP_PKEY_get_base_id(signing) == EVP_PKEY_ED25519 ? NULL : s->md ? s->md : EVP_sha256()) > 0);
	return cert;
}

/* One extension more, signed anew. Takes and returns cert. */
static X509 *with_extension(X509 *cert, X509_EXTENSION *e, EVP_PKEY *signing)
{
	assert_non_null(e);
	assert_int_equal(X509_add_ext(cert, e, -1), 1);
	X509_EXTENSION_free(e);
	assert_true(X509_sign(cert, signing, EVP_sha256()) > 0);
	return cert;
}

static struct spec honest(void)
{
	return (struct spec){.subject = "planner", .names = {{GEN_URI, ID, 0}}, .basic = "critical,CA:FALSE",
			     .usage = "critical,digitalSignature",
			     .extended = "clientAuth,serverAuth", .key = leaf_key};
}

static struct ca make_ca(const char *subject, EVP_PKEY *key, const struct ca *by)
{
	struct spec s = {.subject = subject, .basic = "critical,CA:TRUE", .usage = "critical,keyCertSign,cRLSign",
			 .from = -30 * DAY, .to = 30 * DAY, .key = key};

	return (struct ca){build(&s, by), key};
}

static void free_ca(struct ca *c)
{
	X509_free(c->cert);
	EVP_PKEY_free(c->key);
}

static const char *write_pem(const char *name, X509 *const *certs, size_t n)
{
	FILE *f;

	snprintf(path, sizeof path, "%s/%s", folder, name);
	f = fopen(path, "w");
	assert_non_null(f);
	for (size_t i = 0; i < n; i++)
		PEM_write_X509(f, certs[i]);
	fclose(f);
	return path;
}

static const char *write_text(const char *name, const char *text)
{
	FILE *f;

	snprintf(path, sizeof path, "%s/%s", folder, name);
	f = fopen(path, "w");
	assert_non_null(f);
	fputs(text, f);
	fclose(f);
	return path;
}

/* revoked: NULL = none. from, to: seconds from NOW; to 0 = no nextUpdate. */
static void write_crl(const char *name, const struct ca *by, X509 *revoked, int64_t from, int64_t to)
{
	X509_CRL *crl = X509_CRL_new();
	ASN1_TIME *t = ASN1_TIME_set(NULL, (time_t)(NOW + from));
	FILE *f;

	X509_CRL_set_version(crl, X509_CRL_VERSION_2);
	X509_CRL_set_issuer_name(crl, X509_get_subject_name(by->cert));
	X509_CRL_set1_lastUpdate(crl, t);
	if (to) {
		ASN1_TIME_set(t, (time_t)(NOW + to));
		X509_CRL_set1_nextUpdate(crl, t);
	}
	if (revoked) {
		X509_REVOKED *r = X509_REVOKED_new();

		X509_REVOKED_set_serialNumber(r, X509_get_serialNumber(revoked));
		ASN1_TIME_set(t, (time_t)(NOW - 60));
		X509_REVOKED_set_revocationDate(r, t);
		X509_CRL_add0_revoked(crl, r);
	}
	ASN1_TIME_free(t);
	X509_CRL_sort(crl);
	assert_true(X509_CRL_sign(crl, by->key, EVP_sha256()) > 0);
	snprintf(path, sizeof path, "%s/%s", folder, name);
	f = fopen(path, "w");
	assert_non_null(f);
	PEM_write_X509_CRL(f, crl);
	fclose(f);
	X509_CRL_free(crl);
}

static int world_up(void **state)
{
	char a[128], b[128], e[128];
	struct trust_domain_config domains[] = {{.domain = "acme.example", .bundle_file = a}, {.domain = "globex.example", .bundle_file = b, .crl_file = ""},
						{.domain = "empty.example", .bundle_file = e}};
	struct problem why = {{0}};

	assert_non_null(mkdtemp(folder));
	leaf_key = EVP_EC_gen("P-256");
	root = make_ca("acme root", EVP_EC_gen("P-256"), NULL);
	other_root = make_ca("globex root", EVP_EC_gen("P-384"), NULL);
	middle = make_ca("acme issuing", EVP_EC_gen("P-256"), &root);
	strcpy(a, write_pem("acme.pem", &root.cert, 1));
	strcpy(b, write_pem("globex.pem", &other_root.cert, 1));
	strcpy(e, write_text("empty.pem", ""));
	trust = trust_new(domains, 3, &why);
	if (!trust)
		fail_msg("%s", why.text);
	return 0;
}

static int world_down(void **state)
{
	static const char *const files[] = {"acme.pem", "globex.pem", "empty.pem", "bundle.pem", "acme.crl"};

	trust_unref(trust);
	free_ca(&root);
	free_ca(&other_root);
	free_ca(&middle);
	EVP_PKEY_free(leaf_key);
	for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
		snprintf(path, sizeof path, "%s/%s", folder, files[i]);
		unlink(path);
	}
	return rmdir(folder);
}

/* ---- asking ---- */

static struct identity_peer *last;
static int last_alert;

/* "" when taken; then last is it until the next call. Takes leaf. */
static const char *ask(const struct trust *t, X509 *leaf, X509 *const *more, size_t n, int64_t now_ms)
{
	STACK_OF(X509) *sent = sk_X509_new_null();
	X509_STORE_CTX *ctx = X509_STORE_CTX_new();
	const char *why = "";

	identity_peer_free(last);
	last_alert = -1;
	if (leaf)
		sk_X509_push(sent, leaf);
	for (size_t i = 0; i < n; i++)
		sk_X509_push(sent, more[i]);
	assert_int_equal(X509_STORE_CTX_init(ctx, NULL, leaf, sent), 1);
	last = identity_peer_verify(t, ctx, now_ms, &why, &last_alert);
	assert_true((last == NULL) == (why[0] != '\0'));
	assert_true(last || last_alert > 0);
	X509_STORE_CTX_free(ctx);
	sk_X509_free(sent);
	X509_free(leaf);
	return why;
}

static const char *ask_spec(const struct spec *s)
{
	return ask(trust, build(s, &root), NULL, 0, NOW * 1000);
}

static void forget(void)
{
	identity_peer_free(last);
	last = NULL;
}

#define assert_taken(why) assert_string_equal(why, "")

/* ---- honest ---- */

static void honest_certificate_is_the_identity(void **state)
{
	struct spec s = honest();
	X509 *leaf = build(&s, &root);
	uint8_t digest[32];
	char base64[64];
	unsigned n;

	X509_digest(leaf, EVP_sha256(), digest, &n);
	assert_taken(ask(trust, leaf, NULL, 0, NOW * 1000));
	assert_string_equal(last->spiffe_id, ID);
	assert_memory_equal(last->cert_sha256, digest, 32);
	EVP_EncodeBlock((unsigned char *)base64, digest, 32); /* RFC 8705 §3.1: the other alphabet, no padding */
	for (char *c = base64; *c; c++)
		*c = *c == '+' ? '-' : *c == '/' ? '_' : *c == '=' ? '\0' : *c;
	assert_string_equal(last->x5t_s256, base64);
	assert_int_equal(last->not_before_ms, (NOW - DAY) * 1000);
	assert_int_equal(last->life_ms, 2 * DAY * 1000);
	assert_int_equal(last->not_after_ms, (NOW + DAY) * 1000);
	s.to = 90 * DAY; /* ends with its CA */
	s.from = -1;
	assert_taken(ask_spec(&s));
	assert_int_equal(last->not_after_ms, (NOW + 30 * DAY) * 1000);
	assert_int_equal(last->life_ms, (90 * DAY + 1) * 1000); /* its own */
	s = honest();
	s.extended = NULL;
	assert_taken(ask_spec(&s));
	s.basic = NULL;
	assert_taken(ask_spec(&s));
	s.usage = "critical,digitalSignature,keyEncipherment";
	assert_taken(ask_spec(&s));
	forget();
}

static void no_certificate_is_refused(void **state)
{
	assert_string_equal(ask(trust, NULL, NULL, 0, NOW * 1000), "no_certificate");
	assert_int_equal(last_alert, SSL_AD_CERTIFICATE_REQUIRED);
	forget();
}

/* ---- the name ---- */

static const char *ask_names(struct name a, struct name b)
{
	struct spec s = honest();

	memset(s.names, 0, sizeof s.names);
	s.names[0] = a;
	s.names[1] = b;
	return ask_spec(&s);
}

static void exactly_one_uri_svid_2(void **state)
{
	const struct name none = {0, NULL, 0}, id = {GEN_URI, ID, 0};
	struct spec s = honest();

	assert_taken(ask_names(id, none));
	assert_string_equal(ask_names(none, none), "no_uri_san");
	assert_string_equal(ask_names(id, id), "two_uri_sans");
	assert_string_equal(ask_names(id, (struct name){GEN_URI, "https://acme.example/", 0}), "two_uri_sans");
	assert_string_equal(ask_names((struct name){GEN_URI, "https://acme.example/", 0}, id), "two_uri_sans");
	s.names_twice = true; /* the extension itself stands twice */
	assert_string_equal(ask_spec(&s), "two_uri_sans");
	forget();
}

/* Envoy CVE-2022-21656: what reads the same in another type of name is no URI; beside one it does not count. */
static void attack_2_name_of_another_type_is_no_uri_svid_2(void **state)
{
	const struct name none = {0, NULL, 0}, id = {GEN_URI, ID, 0};
	static const struct name others[] = {
		{GEN_DNS, ID, 0}, {GEN_EMAIL, ID, 0}, {GEN_OTHERNAME, ID, 0}, {GEN_DIRNAME, ID, 0}, {GEN_IPADD, ID, 0},
		{GEN_RID, "1.3.6.1.4.1.37476.9000.64.1", 0}, {GEN_DNS, "planner.acme.example", 0}, {GEN_EMAIL, "planner@acme.example", 0},
		{GEN_DNS, "spiffe://acme.example/worker", 0}, {GEN_OTHERNAME, "spiffe://acme.example/worker", 0},
	};

	for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
		assert_string_equal(ask_names(others[i], none), "no_uri_san");
		assert_taken(ask_names(others[i], id));
		assert_string_equal(last->spiffe_id, ID);
		assert_taken(ask_names(id, others[i]));
		assert_string_equal(last->spiffe_id, ID);
	}
	forget();
}

/* NATS CVE-2026-33248: reordered, multi-valued, or claiming to be another; nobody reads the subject. */
static void attack_3_the_subject_names_nobody(void **state)
{
	static const char *const subjects[] = {
		"CN=worker", "CN=spiffe://acme.example/worker", "CN=planner+CN=worker", "CN=worker+OU=agents|O=acme", "O=acme|CN=worker+OU=agents",
		"OU=agents|CN=worker|CN=planner", "CN=planner|CN=worker", "UID=worker+CN=planner", "emailAddress=worker@acme.example",
		"DC=example|DC=acme|CN=worker", "CN=worker, CN=planner", "CN=W\xc3\xb6rker",
	};
	struct spec s = honest(), nameless = honest();

	memset(nameless.names, 0, sizeof nameless.names);
	for (size_t i = 0; i < sizeof subjects / sizeof subjects[0]; i++) {
		s.subject = nameless.subject = subjects[i];
		assert_taken(ask_spec(&s));
		assert_string_equal(last->spiffe_id, ID);
		assert_string_equal(ask_spec(&nameless), "no_uri_san");
	}
	forget();
}

/* Envoy CVE-2025-66220. */
static void attack_1_nul_in_the_id_is_refused(void **state)
{
	static const char middle_nul[] = "spiffe://acme.example/planner\0.evil.example", host[] = "spiffe://acme.example\0.evil.example/planner";
	static const char first[] = "\0spiffe://acme.example/planner", slash[] = "spiffe://acme.example/planner/\0";
	const struct name none = {0, NULL, 0};
	const struct name bad[] = {{GEN_URI, middle_nul, sizeof middle_nul - 1}, {GEN_URI, host, sizeof host - 1},
				   {GEN_URI, first, sizeof first - 1}, {GEN_URI, slash, sizeof slash - 1},
				   {GEN_URI, ID, sizeof ID} /* with its own */, {GEN_URI, "\0", 1}};

	assert_taken(ask_names((struct name){GEN_URI, ID, 0}, none));
	assert_int_equal(strlen(last->spiffe_id), sizeof ID - 1);
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		assert_string_equal(ask_names(bad[i], none), "bad_spiffe_id");
	forget();
}

static void the_id_is_strict_spiffe_id_2(void **state)
{
	const struct name none = {0, NULL, 0};
	static const char *const bad[] = {
		"https://acme.example/planner", "SPIFFE://acme.example/planner", "spiffe:acme.example/planner", "spiffe://acme.example",
		"spiffe://acme.example/", "spiffe://ACME.example/planner", "spiffe://acme.example:443/planner", "spiffe://acme.example:/planner",
		"spiffe://u@acme.example/planner", "spiffe://acme.example/planner?x", "spiffe://acme.example/planner#x",
		"spiffe://acme.example/%70lanner", "spiffe://acme.example/a/../planner", "spiffe://acme.example/./planner",
		"spiffe://acme.example//planner", "spiffe://acme.example/planner/", "spiffe://acme.example/pl\xc3\xa4nner", "",
	};

	assert_taken(ask_names((struct name){GEN_URI, ID, 0}, none));
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		if (strcmp(ask_names((struct name){GEN_URI, bad[i], 0}, none), "bad_spiffe_id") != 0)
			fail_msg("not refused as an id: %s", bad[i]);
	forget();
}

static void an_id_of_2048_bytes_is_taken_of_2049_not_spiffe_id_2_3(void **state)
{
	const struct name none = {0, NULL, 0};
	char id[2050] = "spiffe://acme.example/";

	memset(id + strlen(id), 'x', sizeof id - 1 - strlen(id));
	assert_string_equal(ask_names((struct name){GEN_URI, id, 2049}, none), "bad_spiffe_id");
	assert_taken(ask_names((struct name){GEN_URI, id, 2048}, none));
	assert_int_equal(strlen(last->spiffe_id), 2048);
	forget();
}

static void domain_is_vouched_for_by_its_own_bundle_only(void **state)
{
	struct spec s = honest();

	assert_taken(ask(trust, build(&s, &root), NULL, 0, NOW * 1000));
	/* B's CA, A's name */
	assert_string_equal(ask(trust, build(&s, &other_root), NULL, 0, NOW * 1000), "untrusted_chain");
	s.names[0].text = "spiffe://globex.example/planner";
	assert_taken(ask(trust, build(&s, &other_root), NULL, 0, NOW * 1000));
	assert_string_equal(ask(trust, build(&s, &root), NULL, 0, NOW * 1000), "untrusted_chain");
	s.names[0].text = "spiffe://empty.example/planner"; /* an empty bundle distrusts the domain */
	assert_string_equal(ask(trust, build(&s, &root), NULL, 0, NOW * 1000), "untrusted_chain");
	s.names[0].text = "spiffe://initech.example/planner";
	assert_string_equal(ask(trust, build(&s, &root), NULL, 0, NOW * 1000), "unknown_trust_domain");
	s.names[0].text = "spiffe://sub.acme.example/planner";
	assert_string_equal(ask(trust, build(&s, &root), NULL, 0, NOW * 1000), "unknown_trust_domain");
	forget();
}

/* The same CA, name and key, under another domain's root: that root vouches for its own domain's names with it. */
static void cross_signed_ca_vouches_for_each_root_s_own_domain(void **state)
{
	struct spec ca = {.subject = "acme issuing", .basic = "critical,CA:TRUE", .usage = "critical,keyCertSign,cRLSign",
			  .from = -30 * DAY, .to = 30 * DAY, .key = middle.key};
	struct spec s = honest();
	X509 *cross = build(&ca, &other_root), *both[2] = {cross, middle.cert}, *turned[2] = {middle.cert, cross};

	assert_taken(ask(trust, build(&s, &middle), &middle.cert, 1, NOW * 1000));
	assert_string_equal(ask(trust, build(&s, &middle), &cross, 1, NOW * 1000), "untrusted_chain");
	assert_taken(ask(trust, build(&s, &middle), turned, 2, NOW * 1000));
	s.names[0].text = "spiffe://globex.example/planner";
	assert_taken(ask(trust, build(&s, &middle), &cross, 1, NOW * 1000));
	assert_string_equal(ask(trust, build(&s, &middle), &middle.cert, 1, NOW * 1000), "untrusted_chain");
	assert_taken(ask(trust, build(&s, &middle), both, 2, NOW * 1000));
	s.names[0].text = "spiffe://empty.example/planner";
	assert_string_equal(ask(trust, build(&s, &middle), both, 2, NOW * 1000), "untrusted_chain");
	X509_free(cross);
	forget();
}

/* The right name, another key. */
static void ca_is_its_key_not_its_name(void **state)
{
	struct ca impostor = make_ca("acme root", EVP_EC_gen("P-256"), NULL), below = make_ca("acme issuing", EVP_EC_gen("P-256"), &impostor);
	X509 *sent[2] = {below.cert, impostor.cert};
	struct spec s = honest();

	assert_taken(ask(trust, build(&s, &root), NULL, 0, NOW * 1000));
	assert_string_equal(ask(trust, build(&s, &impostor), NULL, 0, NOW * 1000), "untrusted_chain");
	assert_string_equal(ask(trust, build(&s, &impostor), &impostor.cert, 1, NOW * 1000), "untrusted_chain");
	assert_string_equal(ask(trust, build(&s, &below), sent, 2, NOW * 1000), "untrusted_chain");
	free_ca(&below);
	free_ca(&impostor);
	forget();
}

/* ---- the leaf ---- */

static void leaf_is_no_ca_svid_4(void **state)
{
	struct spec s = honest();

	assert_taken(ask_spec(&s));
	s.basic = "critical,CA:TRUE";
	assert_string_equal(ask_spec(&s), "leaf_is_ca");
	s.usage = "critical,digitalSignature,keyCertSign";
	assert_string_equal(ask_spec(&s), "leaf_is_ca");
	forget();
}

static void key_usage_is_critical_svid_4_3(void **state)
{
	static const char *const bad[] = {NULL, "digitalSignature", "critical,keyEncipherment",
					  "critical,digitalSignature,keyCertSign", "critical,digitalSignature,cRLSign",
					  "critical,nonRepudiation"};
	struct spec s = honest();

	assert_taken(ask_spec(&s));
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		s.usage = bad[i];
		assert_string_equal(ask_spec(&s), "key_usage");
	}
	forget();
}

static void extended_key_usage_has_client_svid_4_4(void **state)
{
	static const char *const bad[] = {"serverAuth", "codeSigning,emailProtection", "anyExtendedKeyUsage"};
	struct spec s = honest();

	s.extended = "clientAuth";
	assert_taken(ask_spec(&s));
	s.extended = "critical,clientAuth,serverAuth";
	assert_taken(ask_spec(&s));
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		s.extended = bad[i];
		assert_string_equal(ask_spec(&s), "extended_key_usage");
	}
	forget();
}

/* RFC 5280 §4.2: no more than one of each; what is critical and unknown is refused. */
static void extension_that_stands_twice_or_is_unknown_and_critical_is_refused(void **state)
{
	static const struct {
		int nid;
		const char *value;
	} rows[] = {{NID_key_usage, "critical,digitalSignature"}, {NID_ext_key_usage, "clientAuth"},
		    {NID_basic_constraints, "critical,CA:FALSE"}, {NID_basic_constraints, "critical,CA:TRUE"}};
	struct spec s = honest();

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, NULL, rows[i].nid, rows[i].value);

		assert_string_not_equal(ask(trust, with_extension(build(&s, &root), e, root.key), NULL, 0, NOW * 1000), "");
	}
	for (int critical = 0; critical < 2; critical++) {
		ASN1_OBJECT *o = OBJ_txt2obj("1.3.6.1.4.1.37476.9000.64.2", 1);
		ASN1_OCTET_STRING *v = ASN1_OCTET_STRING_new();
		X509_EXTENSION *e;

		ASN1_OCTET_STRING_set(v, (const unsigned char *)"\x05", 2);
		e = X509_EXTENSION_create_by_OBJ(NULL, o, critical, v);
		assert_string_equal(ask(trust, with_extension(build(&s, &root), e, root.key), NULL, 0, NOW * 1000),
				    critical ? "untrusted_chain" : "");
		ASN1_OBJECT_free(o);
		ASN1_OCTET_STRING_free(v);
	}
	forget();
}

static void time_is_the_callers(void **state)
{
	struct spec s = honest();

	assert_taken(ask_spec(&s));
	s.from = -DAY;
	s.to = -1;
	assert_string_equal(ask_spec(&s), "certificate_expired");
	assert_int_equal(last_alert, SSL_AD_CERTIFICATE_EXPIRED);
	assert_taken(ask(trust, build(&s, &root), NULL, 0, (NOW - 60) * 1000));
	s.from = 60;
	s.to = DAY;
	assert_string_equal(ask_spec(&s), "certificate_not_yet_valid");
	assert_taken(ask(trust, build(&s, &root), NULL, 0, (NOW + 60) * 1000));
	forget();
}

static void keys_and_digests_are_strong(void **state)
{
	struct {
		EVP_PKEY *key;
		const EVP_MD *md;
		const char *why;
	} rows[] = {{EVP_RSA_gen(2048), NULL, ""}, {EVP_RSA_gen(1024), NULL, "weak_key"},
		    {EVP_EC_gen("P-384"), NULL, ""}, {EVP_EC_gen("P-521"), NULL, "weak_key"},
		    {EVP_EC_gen("P-224"), NULL, "weak_key"}, {EVP_EC_gen("secp256k1"), NULL, "weak_key"},
			{EVP_PKEY_Q_keygen(NULL, NULL, "ED25519"), NULL, ""},
		    {EVP_PKEY_Q_keygen(NULL, NULL, "ED448"), NULL, "weak_key"}, {EVP_EC_gen("P-256"), EVP_sha384(), ""},
			{EVP_EC_gen("P-256"), EVP_sha1(), "weak_key"},
		    {EVP_EC_gen("P-256"), EVP_sha224(), "weak_key"}};
	struct spec s = honest();

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		assert_non_null(rows[i].key);
		s.key = rows[i].key;
		s.md = rows[i].md;
		assert_string_equal(ask_spec(&s), rows[i].why);
		EVP_PKEY_free(rows[i].key);
	}
	forget();
}

/* ---- the chain ---- */

static void chain_goes_through_intermediates(void **state)
{
	struct spec s = honest();
	struct spec old = {.subject = "acme old", .usage = "critical,keyCertSign", .key = leaf_key};
	struct spec weak = {.subject = "acme weak", .basic = "critical,CA:TRUE", .usage = "critical,keyCertSign"};
	struct spec plain = honest();
	struct ca bad;

	assert_taken(ask(trust, build(&s, &middle), &middle.cert, 1, NOW * 1000));
	/* the peer must send it */
	assert_string_equal(ask(trust, build(&s, &middle), NULL, 0, NOW * 1000), "untrusted_chain");
	plain.subject = "acme plain leaf"; /* a leaf that signs another */
	bad = (struct ca){build(&plain, &root), leaf_key};
	assert_string_equal(ask(trust, build(&s, &bad), &bad.cert, 1, NOW * 1000), "untrusted_chain");
	X509_free(bad.cert);
	bad = (struct ca){build(&old, &root), leaf_key}; /* keyCertSign without basicConstraints */
	assert_string_equal(ask(trust, build(&s, &bad), &bad.cert, 1, NOW * 1000), "untrusted_chain");
	X509_free(bad.cert);
	weak.key = EVP_RSA_gen(1024);
	bad = (struct ca){build(&weak, &root), weak.key};
	assert_string_equal(ask(trust, build(&s, &bad), &bad.cert, 1, NOW * 1000), "weak_key");
	free_ca(&bad);
	/* the peer's own root is an intermediate like any other, and vouches for nothing */
	assert_string_equal(ask(trust, build(&s, &other_root), &other_root.cert, 1, NOW * 1000), "untrusted_chain");
	forget();
}

/* A CA between may do what it was made for: sign certificates, so deep, for these names. */
static void intermediate_keeps_within_its_bounds_rfc5280_4_2_1(void **state)
{
	static const struct {
		const char *basic, *usage, *names; /* of the CA */
		bool deeper;                       /* with one more below it */
		const char *why;
	} rows[] = {
		{"critical,CA:TRUE,pathlen:0", "critical,keyCertSign", NULL, false, ""},
		{"critical,CA:TRUE,pathlen:0", "critical,keyCertSign", NULL, true, "chain_too_long"},
		{"critical,CA:TRUE,pathlen:1", "critical,keyCertSign", NULL, true, ""},
		{"critical,CA:TRUE", "critical,digitalSignature,cRLSign", NULL, false, "untrusted_chain"},
		{"critical,CA:FALSE", "critical,keyCertSign", NULL, false, "untrusted_chain"},
		{"critical,CA:TRUE", "critical,keyCertSign", "critical,permitted;URI:acme.example", false, ""},
		{"critical,CA:TRUE", "critical,keyCertSign", "critical,permitted;URI:other.example", false, "untrusted_chain"},
		{"critical,CA:TRUE", "critical,keyCertSign", "critical,excluded;URI:acme.example", false, "untrusted_chain"},
	};
	struct spec s = honest();

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct spec c = {.subject = "acme bounded", .basic = rows[i].basic, .usage = rows[i].usage, .key = EVP_EC_gen("P-256")};
		struct ca bounded = {build(&c, &root), c.key}, lower;
		X509 *sent[2];

		if (rows[i].names)
			with_extension(bounded.cert, X509V3_EXT_conf_nid(NULL, NULL, NID_name_constraints, rows[i].names), root.key);
		lower = make_ca("acme lower", EVP_EC_gen("P-256"), &bounded);
		sent[0] = bounded.cert;
		sent[1] = lower.cert;
		assert_string_equal(ask(trust, build(&s, rows[i].deeper ? &lower : &bounded), sent, rows[i].deeper ? 2 : 1, NOW * 1000),
				    rows[i].why);
		free_ca(&lower);
		free_ca(&bounded);
	}
	forget();
}

static void chain_ends_with_whoever_ends_first(void **state)
{
	struct spec c = {.subject = "acme short", .basic = "critical,CA:TRUE", .usage = "critical,keyCertSign", .from = -DAY, .to = 3600,
			 .key = EVP_EC_gen("P-256")};
	struct ca brief = {build(&c, &root), c.key};
	struct spec s = honest();

	assert_taken(ask(trust, build(&s, &brief), &brief.cert, 1, NOW * 1000));
	assert_int_equal(last->not_after_ms, (NOW + 3600) * 1000);
	assert_string_equal(ask(trust, build(&s, &brief), &brief.cert, 1, (NOW + 3601) * 1000), "certificate_expired");
	assert_taken(ask(trust, build(&s, &middle), &middle.cert, 1, NOW * 1000));
	assert_int_equal(last->not_after_ms, (NOW + DAY) * 1000);
	free_ca(&brief);
	forget();
}

static void self_signed_leaf_is_refused(void **state)
{
	struct spec s = honest();

	assert_string_equal(ask(trust, build(&s, NULL), NULL, 0, NOW * 1000), "untrusted_chain");
	assert_taken(ask(trust, build(&s, &root), NULL, 0, NOW * 1000));
	forget();
}

static void chain_has_at_most_five_certificates(void **state)
{
	struct spec s = honest();
	struct ca chain[4];
	X509 *sent[4];
	char name[32];

	for (size_t i = 0; i < 4; i++) {
		snprintf(name, sizeof name, "level %zu", i);
		chain[i] = make_ca(name, EVP_EC_gen("P-256"), i ? &chain[i - 1] : &root);
		sent[i] = chain[i].cert;
	}
	assert_taken(ask(trust, build(&s, &chain[2]), sent, 3, NOW * 1000)); /* leaf, three CAs, root */
	assert_string_equal(ask(trust, build(&s, &chain[3]), sent, 4, NOW * 1000), "chain_too_long");
	for (size_t i = 0; i < 4; i++)
		free_ca(&chain[i]);
	forget();
}

/* ---- revocation ---- */

static struct trust *trust_with_crl(int64_t grace_ms)
{
	char bundle[128], crl[128];
	struct trust_domain_config d = {.domain = "acme.example", .bundle_file = bundle, .crl_file = crl, .crl_grace_ms = grace_ms};
	struct problem why = {{0}};
	struct trust *t;

	snprintf(bundle, sizeof bundle, "%s/acme.pem", folder);
	snprintf(crl, sizeof crl, "%s/acme.crl", folder);
	t = trust_new(&d, 1, &why);
	if (!t)
		fail_msg("%s", why.text);
	return t;
}

static void revoked_certificate_is_refused_rfc5280_6_3(void **state)
{
	struct spec s = honest();
	X509 *good = build(&s, &root), *bad = build(&s, &root);
	struct trust *t;

	write_crl("acme.crl", &root, bad, -DAY, DAY);
	t = trust_with_crl(0);
	assert_int_equal(trust_count(t), 1);
	assert_string_equal(trust_state(t, 0).domain, "acme.example");
	assert_int_equal(trust_state(t, 0).anchors, 1);
	assert_int_equal(trust_state(t, 0).crl_next_update_ms, (NOW + DAY) * 1000);
	X509_up_ref(good);
	X509_up_ref(bad);
	assert_taken(ask(t, good, NULL, 0, NOW * 1000));
	assert_string_equal(ask(t, bad, NULL, 0, NOW * 1000), "revoked");
	assert_int_equal(last_alert, SSL_AD_CERTIFICATE_REVOKED);
	/* the CRL must be there for whoever issued the leaf */
	assert_string_equal(ask(t, build(&s, &middle), &middle.cert, 1, NOW * 1000), "crl_stale");
	trust_unref(t);
	/* a revoked intermediate takes its leaves with it; its own CRL covers them */
	write_crl("acme.crl", &root, middle.cert, -DAY, DAY);
	t = trust_with_crl(0);
	assert_string_equal(ask(t, build(&s, &middle), &middle.cert, 1, NOW * 1000), "crl_stale");
	trust_unref(t);
	/* with a CRL for the leaf's CA alone, the CA above is not asked for one */
	write_crl("acme.crl", &middle, bad, -DAY, DAY);
	t = trust_with_crl(0);
	assert_taken(ask(t, build(&s, &middle), &middle.cert, 1, NOW * 1000));
	assert_string_equal(ask(t, bad, NULL, 0, NOW * 1000), "crl_stale");
	trust_unref(t);
	X509_free(good);
	forget();
}

static void append_file(const char *from, const char *to)
{
	char a[128], text[8192];
	FILE *f;
	size_t n;

	snprintf(a, sizeof a, "%s/%s", folder, from);
	f = fopen(a, "r");
	n = fread(text, 1, sizeof text, f);
	fclose(f);
	unlink(a);
	snprintf(a, sizeof a, "%s/%s", folder, to);
	f = fopen(a, "a");
	fwrite(text, 1, n, f);
	fclose(f);
}

static void revoked_intermediate_takes_its_leaves_with_it(void **state)
{
	struct spec s = honest();
	struct trust *t;

	for (int revoke = 0; revoke < 2; revoke++) {
		write_crl("acme.crl", &middle, NULL, -DAY, DAY);
		write_crl("more.crl", &root, revoke ? middle.cert : other_root.cert, -DAY, 2 * DAY);
		append_file("more.crl", "acme.crl");
		t = trust_with_crl(0);
		assert_int_equal(trust_state(t, 0).crl_next_update_ms, (NOW + DAY) * 1000);
		assert_string_equal(ask(t, build(&s, &middle), &middle.cert, 1, NOW * 1000), revoke ? "revoked" : "");
		trust_unref(t);
	}
	forget();
}

static void stale_crl_fails_closed(void **state)
{
	struct spec s = honest();
	X509 *bad = build(&s, &root);
	struct trust *t, *patient;

	s.from = -10 * DAY;
	s.to = 10 * DAY;
	write_crl("acme.crl", &root, bad, -DAY, DAY);
	t = trust_with_crl(0);
	patient = trust_with_crl(DAY * 1000);
	assert_taken(ask(t, build(&s, &root), NULL, 0, NOW * 1000));
	assert_string_equal(ask(t, build(&s, &root), NULL, 0, (NOW + DAY + 1) * 1000), "crl_stale");
	assert_string_equal(ask(t, build(&s, &root), NULL, 0, (NOW - DAY - 1) * 1000), "crl_stale"); /* not valid yet */
	assert_taken(ask(patient, build(&s, &root), NULL, 0, (NOW + DAY + 1) * 1000));
	assert_taken(ask(patient, build(&s, &root), NULL, 0, (NOW + 2 * DAY - 1) * 1000));
	assert_string_equal(ask(patient, build(&s, &root), NULL, 0, (NOW + 2 * DAY) * 1000), "crl_stale"); /* as without grace, at its end */
	assert_string_equal(ask(t, build(&s, &root), NULL, 0, (NOW + DAY) * 1000), "crl_stale");
	X509_up_ref(bad);
	assert_string_equal(ask(patient, bad, NULL, 0, (NOW + DAY - 1) * 1000), "revoked");
	trust_unref(t);
	trust_unref(patient);
	/* within its grace a CRL still revokes */
	{
		struct spec lasting = s;
		X509 *later = build(&lasting, &root);

		write_crl("acme.crl", &root, later, -DAY, DAY);
		patient = trust_with_crl(DAY * 1000);
		assert_string_equal(ask(patient, later, NULL, 0, (NOW + DAY + 1) * 1000), "revoked");
		trust_unref(patient);
	}
	X509_free(bad);
	forget();
}

static void crl_must_be_signed_by_the_ca(void **state)
{
	struct ca impostor = {root.cert, other_root.key}; /* the right name, the wrong key */
	struct spec s = honest();
	struct trust *t;

	write_crl("acme.crl", &impostor, NULL, -DAY, DAY);
	t = trust_with_crl(0);
	assert_string_equal(ask(t, build(&s, &root), NULL, 0, NOW * 1000), "crl_stale");
	trust_unref(t);
	write_crl("acme.crl", &root, NULL, -DAY, DAY);
	t = trust_with_crl(0);
	assert_taken(ask(t, build(&s, &root), NULL, 0, NOW * 1000));
	trust_unref(t);
	forget();
}

/* ---- configuration ---- */

static struct trust *load(const char *domain, const char *bundle, const char *crl, struct problem *why)
{
	struct trust_domain_config d = {.domain = domain, .bundle_file = bundle, .crl_file = crl};

	return trust_new(&d, 1, why);
}

static void bundle_holds_cas_only(void **state)
{
	struct spec s = honest(), weak = {.subject = "weak", .basic = "critical,CA:TRUE",
					  .usage = "critical,keyCertSign", .key = EVP_RSA_gen(1024)};
	X509 *leaf = build(&s, NULL), *small = build(&weak, NULL), *both[2] = {root.cert, leaf};
	struct problem why = {{0}};
	struct trust *t;

	t = load("acme.example", write_pem("bundle.pem", (X509 *[]){root.cert, other_root.cert}, 2), NULL, &why);
	assert_non_null(t);
	assert_int_equal(trust_state(t, 0).anchors, 2);
	assert_ptr_equal(trust_ref(t), t);
	trust_unref(t);
	trust_unref(t);
	assert_null(load("acme.example", write_pem("bundle.pem", both, 2), NULL, &why));
	assert_non_null(strstr(why.text, "certificate 2 is not a CA"));
	assert_null(load("acme.example", write_pem("bundle.pem", &small, 1), NULL, &why));
	assert_non_null(strstr(why.text, "weak"));
	assert_null(load("acme.example",
			 write_text("bundle.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"),
			 NULL, &why));
	assert_non_null(strstr(why.text, "cannot be read"));
	assert_null(load("acme.example", "/nonexistent/bundle.pem", NULL, &why));
	X509_free(leaf);
	X509_free(small);
	EVP_PKEY_free(weak.key);
}

static size_t read_file(const char *file, char *out, size_t size)
{
	FILE *f = fopen(file, "r");
	size_t n;

	assert_non_null(f);
	n = fread(out, 1, size, f);
	fclose(f);
	return n;
}

/* A bundle cut short is an error, or holds fewer anchors, never others. A CRL cut short is an error. */
static void attack_9_a_file_cut_short_trusts_nobody_more(void **state)
{
	static char pem[8192], crl[8192];
	struct problem why = {{0}};
	char file[128], bundle[128];
	size_t n, crl_n, good = 0;

	n = read_file(write_pem("bundle.pem", (X509 *[]){root.cert, other_root.cert}, 2), pem, sizeof pem - 1);
	strcpy(bundle, write_pem("acme.pem", &root.cert, 1));
	write_crl("acme.crl", &root, NULL, -DAY, DAY);
	crl_n = read_file(path, crl, sizeof crl - 1);
	for (size_t cut = 0; cut < n; cut++) {
		char was = pem[cut];
		struct trust *t;

		pem[cut] = '\0';
		t = load("acme.example", write_text("bundle.pem", pem), NULL, &why);
		good += t && trust_state(t, 0).anchors == 2;
		trust_unref(t);
		pem[cut] = was;
	}
	assert_true(good <= 1); /* without its last line feed it is whole */
	for (size_t cut = 0; cut + 1 < crl_n; cut++) {
		char was = crl[cut];

		crl[cut] = '\0';
		strcpy(file, write_text("acme.crl", crl));
		assert_null(load("acme.example", bundle, file, &why));
		crl[cut] = was;
	}
	strcpy(file, write_text("acme.crl", crl));
	{
		struct trust *t = load("acme.example", bundle, file, &why);

		assert_non_null(t);
		trust_unref(t);
	}
}

static void domain_names_are_strict(void **state)
{
	static const char *const bad[] = {"", "ACME.example", "acme.example/", "acme.example/x",
					  "spiffe://acme.example", "acme.example:443", "acme example"};
	struct trust_domain_config twice[2] = {{.domain = "acme.example"}, {.domain = "acme.example"}};
	struct problem why = {{0}};
	char bundle[128];
	struct trust *t;

	strcpy(bundle, write_pem("bundle.pem", &root.cert, 1));
	t = load("acme.example", bundle, NULL, &why);
	assert_non_null(t);
	trust_unref(t);
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		assert_null(load(bad[i], bundle, NULL, &why));
	twice[0].bundle_file = twice[1].bundle_file = bundle;
	assert_null(trust_new(twice, 2, &why));
	assert_non_null(strstr(why.text, "twice"));
}

static void crl_file_is_checked_when_loaded(void **state)
{
	struct problem why = {{0}};
	char bundle[128];
	struct trust *t;

	strcpy(bundle, write_pem("bundle.pem", &root.cert, 1));
	write_crl("acme.crl", &root, NULL, -DAY, DAY);
	t = load("acme.example", bundle, path, &why);
	assert_non_null(t);
	trust_unref(t);
	write_crl("acme.crl", &root, NULL, -DAY, 0);
	assert_null(load("acme.example", bundle, path, &why));
	assert_non_null(strstr(why.text, "nextUpdate"));
	assert_null(load("acme.example", bundle, write_text("acme.crl", ""), &why));
	assert_non_null(strstr(why.text, "no CRL"));
	assert_null(load("acme.example", bundle, write_text("acme.crl",
							    "-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n"),
							    &why));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(honest_certificate_is_the_identity),
		cmocka_unit_test(no_certificate_is_refused),
		cmocka_unit_test(exactly_one_uri_svid_2),
		cmocka_unit_test(attack_2_name_of_another_type_is_no_uri_svid_2),
		cmocka_unit_test(attack_3_the_subject_names_nobody),
		cmocka_unit_test(attack_1_nul_in_the_id_is_refused),
		cmocka_unit_test(the_id_is_strict_spiffe_id_2),
		cmocka_unit_test(an_id_of_2048_bytes_is_taken_of_2049_not_spiffe_id_2_3),
		cmocka_unit_test(domain_is_vouched_for_by_its_own_bundle_only),
		cmocka_unit_test(cross_signed_ca_vouches_for_each_root_s_own_domain),
		cmocka_unit_test(ca_is_its_key_not_its_name),
		cmocka_unit_test(leaf_is_no_ca_svid_4),
		cmocka_unit_test(key_usage_is_critical_svid_4_3),
		cmocka_unit_test(extended_key_usage_has_client_svid_4_4),
		cmocka_unit_test(extension_that_stands_twice_or_is_unknown_and_critical_is_refused),
		cmocka_unit_test(time_is_the_callers),
		cmocka_unit_test(keys_and_digests_are_strong),
		cmocka_unit_test(chain_goes_through_intermediates),
		cmocka_unit_test(intermediate_keeps_within_its_bounds_rfc5280_4_2_1),
		cmocka_unit_test(chain_ends_with_whoever_ends_first),
		cmocka_unit_test(self_signed_leaf_is_refused),
		cmocka_unit_test(chain_has_at_most_five_certificates),
		cmocka_unit_test(revoked_certificate_is_refused_rfc5280_6_3),
		cmocka_unit_test(revoked_intermediate_takes_its_leaves_with_it),
		cmocka_unit_test(stale_crl_fails_closed),
		cmocka_unit_test(crl_must_be_signed_by_the_ca),
		cmocka_unit_test(bundle_holds_cas_only),
		cmocka_unit_test(attack_9_a_file_cut_short_trusts_nobody_more),
		cmocka_unit_test(domain_names_are_strict),
		cmocka_unit_test(crl_file_is_checked_when_loaded),
	};

	return cmocka_run_group_tests(tests, world_up, world_down);
}
