/* What does a certificate of the CA say? A root, an intermediate beneath it, leaves: each is a few extensions from a table, its times and its
 * serial number handed in. Names are ca_names.c, keys ca_key.c, requests ca_request.c, revocation lists ca_crl.c. */
#include "config.h"

#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/encode.h"
#include "identity/ca_priv.h"
#include "identity/trust_priv.h"

#define SCHEME "spiffe://"

void ca_serial_new(uint8_t out[CA_SERIAL_BYTES])
{
	random_bytes(out, CA_SERIAL_BYTES);
	out[0] &= 0x7f;
	out[0] |= 0x40; /* positive, and never shorter */
}

int ca_put_x509(X509 *cert, struct buf *out, struct problem *why)
{
	unsigned char *der = NULL;
	int n = i2d_X509(cert, &der);
	bool ok = n > 0 && buf_put(out, der, (size_t)n);

	OPENSSL_free(der);
	return ok ? 0 : ca_failed(why, "writing a certificate");
}

/* ---- who issues ---- */

/* The id of a trust domain that a CA's certificate names, into id. */
static bool read_domain(X509 *cert, char *id, size_t size)
{
	GENERAL_NAMES *names = X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL);
	const GENERAL_NAME *g = sk_GENERAL_NAME_num(names) == 1 ? sk_GENERAL_NAME_value(names, 0) : NULL;
	const ASN1_STRING *uri = g && g->type == GEN_URI ? g->d.uniformResourceIdentifier : NULL;
	struct slice text = uri ? slice_of(ASN1_STRING_get0_data(uri), (size_t)ASN1_STRING_length(uri)) : SLICE_LIT("");
	bool ok = slice_begins(text, SLICE_LIT(SCHEME)) && !memchr(text.p, '\0', text.n) && slice_copy_str(text, id, size);

	GENERAL_NAMES_free(names);
	return ok;
}

static const char *issuer_fault(struct ca_issuer *by)
{
	const uint32_t usage = KU_KEY_CERT_SIGN | KU_CRL_SIGN;

	if (!by->cert || X509_check_purpose(by->cert, -1, 0) != 1 || X509_check_ca(by->cert) != 1 ||
	    (X509_get_key_usage(by->cert) & usage) != usage)
		return "that is no CA's certificate";
	if (X509_check_private_key(by->cert, by->key->pkey) != 1)
		return "the key is not that of the certificate";
	return read_domain(by->cert, by->id, sizeof by->id) ? NULL : "the CA's certificate names no trust domain";
}

struct ca_issuer *ca_issuer_new(struct slice der, struct ca_key *key, struct problem *why)
{
	struct ca_issuer *by = calloc(1, sizeof *by);
	const char *fault;

	if (!by) {
		ca_key_free(key);
		problem_set(why, "out of memory");
		return NULL;
	}
	by->key = key;
	by->cert = trust_x509(der);
	fault = issuer_fault(by);
	ERR_clear_error();
	if (!fault)
		return by;
	ca_issuer_free(by);
	problem_set(why, "%s", fault);
	return NULL;
}

void ca_issuer_free(struct ca_issuer *by)
{
	if (!by)
		return;
	X509_free(by->cert);
	ca_key_free(by->key);
	free(by);
}

/* ---- what stands in every certificate ---- */

struct extension {
	int nid;
	const char *value; /* as openssl.cnf has it: never with a name in it */
};

static const struct extension root_extensions[] = {
	{NID_basic_constraints, "critical,CA:TRUE,pathlen:1"}, {NID_key_usage, "critical,keyCertSign,cRLSign"},
	{NID_subject_key_identifier, "hash"}, {NID_authority_key_identifier, "keyid:always"}, {0, NULL},
};
static const struct extension intermediate_extensions[] = {
	{NID_basic_constraints, "critical,CA:TRUE,pathlen:0"}, {NID_key_usage, "critical,keyCertSign,cRLSign"},
	{NID_subject_key_identifier, "hash"}, {NID_authority_key_identifier, "keyid:always"}, {0, NULL},
};
static const struct extension agent_extensions[] = {
	{NID_basic_constraints, "critical,CA:FALSE"}, {NID_key_usage, "critical,digitalSignature"}, {NID_ext_key_usage, "clientAuth"},
	{NID_subject_key_identifier, "hash"}, {NID_authority_key_identifier, "keyid:always"}, {0, NULL},
};
static const struct extension server_extensions[] = {
	{NID_basic_constraints, "critical,CA:FALSE"}, {NID_key_usage, "critical,digitalSignature"}, {NID_ext_key_usage, "serverAuth,clientAuth"},
	{NID_subject_key_identifier, "hash"}, {NID_authority_key_identifier, "keyid:always"}, {0, NULL},
};

static bool add_extensions(X509 *cert, X509 *issuer, const struct extension *all)
{
	X509V3_CTX ctx;
	bool ok = true;

	X509V3_set_ctx_nodb(&ctx);
	X509V3_set_ctx(&ctx, issuer, cert, NULL, NULL, 0);
	for (; ok && all->value; all++) {
		X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, &ctx, all->nid, all->value);

		ok = e && X509_add_ext(cert, e, -1) == 1;
		X509_EXTENSION_free(e);
	}
	return ok;
}

static bool set_serial(X509 *cert, const uint8_t serial[CA_SERIAL_BYTES])
{
	BIGNUM *bn = BN_bin2bn(serial, CA_SERIAL_BYTES, NULL);
	bool ok = bn && BN_to_ASN1_INTEGER(bn, X509_get_serialNumber(cert));

	BN_free(bn);
	return ok;
}

static X509 *begin(EVP_PKEY *public_key, const uint8_t serial[CA_SERIAL_BYTES], int64_t from_ms, int64_t to_ms)
{
	X509 *cert = X509_new();

	if (cert && X509_set_version(cert, X509_VERSION_3) == 1 && set_serial(cert, serial) &&
	    ASN1_TIME_set(X509_getm_notBefore(cert), (time_t)(from_ms / 1000)) && ASN1_TIME_set(X509_getm_notAfter(cert), (time_t)(to_ms / 1000)) &&
	    X509_set_pubkey(cert, public_key) == 1)
		return cert;
	X509_free(cert);
	return NULL;
}

/* Names the CA by the beginning of its key's id: no two keys have the same name, so a list's issuer is never taken for another. */
static bool set_subject(X509 *cert, const char *what)
{
	uint8_t key_id[CA_KEY_ID_BYTES];
	char cn[64], hex[17];

	if (X509_pubkey_digest(cert, EVP_sha1(), key_id, NULL) != 1) /* as its subjectKeyIdentifier is made */
		return false;
	hex_encode(key_id, 8, hex);
	snprintf(cn, sizeof cn, "Baton %s %s", what, hex);
	return X509_NAME_add_entry_by_txt(X509_get_subject_name(cert), "CN", MBSTRING_UTF8, (const unsigned char *)cn, -1, -1, 0) == 1;
}

static bool add_value(X509 *cert, int nid, void *value, bool critical)
{
	return value && X509_add1_ext_i2d(cert, nid, value, critical, X509V3_ADD_DEFAULT) == 1;
}

/* "spiffe://acme.example" as the one name of a CA (X.509-SVID §4.1). Its name must be what can stand in an id. */
static int set_domain(X509 *cert, const char *domain, struct problem *why)
{
	static const struct ca_servers none;
	char text[sizeof SCHEME + 256];
	const char *fault = trust_domain_wrong(domain);
	GENERAL_NAMES *names;
	int rc;

	if (fault)
		return problem_set(why, "trust domain `%.64s`: %s", domain, fault);
	snprintf(text, sizeof text, SCHEME "%.255s", domain);
	names = ca_names(text, &none, why);
	rc = !names ? -1 : add_value(cert, NID_subject_alt_name, names, false) ? 0 : ca_failed(why, "naming the trust domain");
	GENERAL_NAMES_free(names);
	return rc;
}

static int check_span(int64_t from_ms, int64_t to_ms, X509 *issuer, struct problem *why)
{
	int64_t end = INT64_MAX;

	if (from_ms < 0 || from_ms / 1000 >= to_ms / 1000)
		return problem_set(why, "it would end before it begins");
	if (issuer && (!trust_time_ms(X509_get0_notAfter(issuer), &end) || to_ms / 1000 > end / 1000))
		return problem_set(why, "it would live longer than the CA that signs it");
	return 0;
}

/* As every verifier will. The certificate is signed already: OpenSSL reads the names of a finished one only. */
static int check_constraints(X509 *issuer, X509 *cert, struct problem *why)
{
	NAME_CONSTRAINTS *c = X509_get_ext_d2i(issuer, NID_name_constraints, NULL, NULL);
	int rc = !c ? X509_V_OK : X509_check_purpose(cert, -1, 0) == 1 ? NAME_CONSTRAINTS_check(cert, c) : X509_V_ERR_UNSPECIFIED;

	NAME_CONSTRAINTS_free(c);
	return rc == X509_V_OK ? 0 : problem_set(why, "the CA may not vouch for these names (its name constraints)");
}

/* Signs and appends. */
static int finish(X509 *cert, X509 *issuer, EVP_PKEY *key, struct buf *out, struct problem *why)
{
	if (X509_set_issuer_name(cert, X509_get_subject_name(issuer)) != 1 || !X509_sign(cert, key, ca_digest_for(key)))
		return ca_failed(why, "signing a certificate");
	return check_constraints(issuer, cert, why) < 0 ? -1 : ca_put_x509(cert, out, why);
}

/* ---- the three kinds ---- */

int ca_make_root(const struct ca_key *key, const struct ca_authority *what, struct buf *out, struct problem *why)
{
	X509 *cert = begin(key->pkey, what->serial, what->not_before_ms, what->not_after_ms);
	int rc = -1;

	if (!cert || !set_subject(cert, "root") || !add_extensions(cert, cert, root_extensions))
		ca_failed(why, "making a root");
	else if (check_span(what->not_before_ms, what->not_after_ms, NULL, why) == 0 && set_domain(cert, what->trust_domain, why) == 0)
		rc = finish(cert, cert, key->pkey, out, why);
	X509_free(cert);
	return rc;
}

/* Those of the certificate `like`, or new ones. Owned. */
static NAME_CONSTRAINTS *find_constraints(const struct ca_authority *what, struct problem *why)
{
	X509 *like;
	NAME_CONSTRAINTS *c;

	if (!what->like.n)
		return ca_constraints(what->trust_domain, &what->servers, why);
	like = trust_x509(what->like);
	c = like ? X509_get_ext_d2i(like, NID_name_constraints, NULL, NULL) : NULL;
	X509_free(like);
	if (!c)
		problem_set(why, "the CA's certificate has no name constraints");
	return c;
}

static int set_constraints(X509 *cert, const struct ca_authority *what, struct problem *why)
{
	NAME_CONSTRAINTS *c = find_constraints(what, why);
	int rc = !c ? -1 : add_value(cert, NID_name_constraints, c, true) ? 0 : ca_failed(why, "constraining names");

	NAME_CONSTRAINTS_free(c);
	return rc;
}

static int check_root(const struct ca_issuer *root, const struct ca_authority *what, struct problem *why)
{
	if (!slice_is(slice_str(root->id + strlen(SCHEME)), what->trust_domain))
		return problem_set(why, "the root is that of %s", root->id);
	return check_span(what->not_before_ms, what->not_after_ms, root->cert, why);
}

int ca_make_intermediate(const struct ca_issuer *root, struct slice public_key, const struct ca_authority *what, struct buf *out,
			 struct problem *why)
{
	EVP_PKEY *key = ca_public_key(public_key, why);
	X509 *cert = key ? begin(key, what->serial, what->not_before_ms, what->not_after_ms) : NULL;
	int rc = -1;

	if (!key || check_root(root, what, why) < 0)
		goto out;
	if (!cert || !set_subject(cert, "intermediate") || !add_extensions(cert, root->cert, intermediate_extensions))
		ca_failed(why, "making an intermediate");
	else if (set_domain(cert, what->trust_domain, why) == 0 && set_constraints(cert, what, why) == 0)
		rc = finish(cert, root->cert, root->key->pkey, out, why);
out:
	X509_free(cert);
	EVP_PKEY_free(key);
	ERR_clear_error();
	return rc;
}

/* An id of the issuer's own trust domain, and times that the issuer may give. */
static int check_leaf(const struct ca_issuer *by, const struct ca_leaf *what, struct problem *why)
{
	struct spiffe_id id;
	const char *fault = spiffe_parse(slice_str(what->spiffe_id), &id);

	if (fault)
		return problem_set(why, "%s", fault);
	if (!slice_is(id.trust_domain, by->id + strlen(SCHEME)))
		return problem_set(why, "the id is of another trust domain than the CA's, %s", by->id);
	if (what->not_after_ms - what->not_before_ms > CA_LEAF_MAX_MS + CA_BACKDATE_MS)
		return problem_set(why, "a certificate lives 30 days at most");
	return check_span(what->not_before_ms, what->not_after_ms, by->cert, why);
}

static int set_names(X509 *cert, const struct ca_leaf *what, struct problem *why)
{
	GENERAL_NAMES *names = ca_names(what->spiffe_id, &what->servers, why);
	int rc = !names ? -1 : add_value(cert, NID_subject_alt_name, names, true) ? 0 : ca_failed(why, "naming a certificate");

	GENERAL_NAMES_free(names);
	return rc;
}

int ca_make_leaf(const struct ca_issuer *by, struct slice public_key, const struct ca_leaf *what, struct buf *out, struct problem *why)
{
	EVP_PKEY *key = ca_public_key(public_key, why);
	X509 *cert = key ? begin(key, what->serial, what->not_before_ms, what->not_after_ms) : NULL;
	const struct extension *extensions = ca_servers_any(&what->servers) ? server_extensions : agent_extensions;
	int rc = -1;

	if (!key || check_leaf(by, what, why) < 0)
		goto out;
	if (!cert || !add_extensions(cert, by->cert, extensions))
		ca_failed(why, "making a certificate");
	else if (set_names(cert, what, why) == 0)
		rc = finish(cert, by->cert, by->key->pkey, out, why);
out:
	X509_free(cert);
	EVP_PKEY_free(key);
	ERR_clear_error();
	return rc;
}
