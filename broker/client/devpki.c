/* How are the certificates of a dev set-up made? With OpenSSL's X509 builder: extensions from a table, files
 * written atomically. */
#include "config.h"

#include "client/devpki.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/buf.h"
#include "base/file.h"
#include "base/secret.h"

#define PEM_MAX (64 * 1024)

static int crypto_failed(struct problem *why, const char *what)
{
	const char *text = ERR_reason_error_string(ERR_peek_last_error());

	problem_set(why, "%s failed: %s", what, text ? text : "out of memory");
	ERR_clear_error();
	return -1;
}

static int write_bio(BIO *b, const char *path, mode_t mode, struct problem *why)
{
	char *p = NULL;
	long n = BIO_get_mem_data(b, &p);

	return file_write_atomic(path, slice_of(p, (size_t)n), mode, why);
}

static int write_key(EVP_PKEY *key, const char *path, struct problem *why)
{
	BIO *b = BIO_new(BIO_s_secmem() ? BIO_s_secmem() : BIO_s_mem());
	int rc = -1;

	if (!b || PEM_write_bio_PrivateKey(b, key, NULL, NULL, 0, NULL, NULL) != 1)
		crypto_failed(why, "writing a key");
	else
		rc = write_bio(b, path, 0600, why);
	BIO_free(b);
	return rc;
}

static int write_cert(X509 *cert, const char *path, struct problem *why)
{
	BIO *b = BIO_new(BIO_s_mem());
	int rc = -1;

	if (!b || PEM_write_bio_X509(b, cert) != 1)
		crypto_failed(why, "writing a certificate");
	else
		rc = write_bio(b, path, 0644, why);
	BIO_free(b);
	return rc;
}

static bool add_ext(X509 *cert, X509 *issuer, int nid, const char *value)
{
	X509V3_CTX ctx;
	X509_EXTENSION *ext;
	bool ok;

	X509V3_set_ctx_nodb(&ctx);
	X509V3_set_ctx(&ctx, issuer, cert, NULL, NULL, 0);
	ext = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
	ok = ext && X509_add_ext(cert, ext, -1) == 1;
	X509_EXTENSION_free(ext);
	return ok;
}

static bool set_basics(X509 *cert, EVP_PKEY *key, const char *cn, int64_t from_ms, int64_t to_ms)
{
	uint8_t serial[16];
	BIGNUM *bn;
	bool ok;

	random_bytes(serial, sizeof serial);
	serial[0] &= 0x7F;
	serial[0] |= 0x40; /* positive, and never shorter */
	bn = BN_bin2bn(serial, sizeof serial, NULL);
	ok = bn && BN_to_ASN1_INTEGER(bn, X509_get_serialNumber(cert)) && X509_set_version(cert, X509_VERSION_3) == 1 &&
	     ASN1_TIME_set(X509_getm_notBefore(cert), from_ms / 1000) && ASN1_TIME_set(X509_getm_notAfter(cert),
	     	to_ms / 1000) &&
	     X509_set_pubkey(cert, key) == 1 &&
	     X509_NAME_add_entry_by_txt(X509_get_subject_name(cert), "CN", MBSTRING_UTF8, (const unsigned char *)cn, -1, -1,
	     	0) == 1;
	BN_free(bn);
	return ok;
}

int devpki_make_ca(const char *cert_path, const char *key_path, int64_t now_ms, int64_t days, struct problem *why)
{
	EVP_PKEY *key = EVP_EC_gen("P-256");
	X509 *cert = X509_new();
	int rc = -1;

	if (!key || !cert || !set_basics(cert, key, "Baton dev CA", now_ms - 300000, now_ms + days * 86400000) ||
	    X509_set_issuer_name(cert, X509_get_subject_name(cert)) != 1 ||
	    !add_ext(cert, cert, NID_basic_constraints, "critical,CA:TRUE,pathlen:0") ||
	    !add_ext(cert, cert, NID_key_usage, "critical,keyCertSign,cRLSign") ||
	    !add_ext(cert, cert, NID_subject_alt_name, "URI:spiffe://" DEVPKI_DOMAIN) ||
	    !add_ext(cert, cert, NID_subject_key_identifier, "hash") || !X509_sign(cert, key, EVP_sha256())) {
		crypto_failed(why, "making the dev CA");
		goto out;
	}
	rc = write_key(key, key_path, why) || write_cert(cert, cert_path, why) ? -1 : 0;
out:
	X509_free(cert);
	EVP_PKEY_free(key);
	return rc;
}

static int load_ca(const char *cert_path, const char *key_path, X509 **cert, EVP_PKEY **key, struct problem *why)
{
	uint8_t *c = NULL, *k = NULL;
	size_t cn = 0, kn = 0;
	BIO *cb = NULL, *kb = NULL;
	int rc = -1;

	if (file_read(cert_path, PEM_MAX, &c, &cn, why) || secret_read_file(key_path, PEM_MAX, &k, &kn, why))
		goto out;
	cb = BIO_new_mem_buf(c, (int)cn);
	kb = BIO_new_mem_buf(k, (int)kn);
	*cert = cb ? PEM_read_bio_X509(cb, NULL, NULL, NULL) : NULL;
	*key = kb ? PEM_read_bio_PrivateKey(kb, NULL, NULL, (void *)"") : NULL;
	if (!*cert || !*key || X509_check_private_key(*cert, *key) != 1)
		crypto_failed(why, "reading the dev CA");
	else
		rc = 0;
out:
	BIO_free(cb);
	BIO_free(kb);
	if (k)
		secret_wipe(k, kn);
	free(c);
	free(k);
	return rc;
}

/* "DNS:localhost,IP:127.0.0.1,URI:spiffe://..." */
static bool san_text(const struct devpki_leaf *leaf, struct buf *out)
{
	for (const char *const *d = leaf->dns; d && *d; d++)
		buf_printf(out, "%sDNS:%s", out->n ? "," : "", *d);
	for (const char *const *i = leaf->ips; i && *i; i++)
		buf_printf(out, "%sIP:%s", out->n ? "," : "", *i);
	if (leaf->spiffe_id)
		buf_printf(out, "%sURI:%s", out->n ? "," : "", leaf->spiffe_id);
	return buf_put_u8(out, 0) && !out->failed;
}

int devpki_make_leaf(const char *ca_cert, const char *ca_key, const struct devpki_leaf *leaf, const char *cert_path,
		     const char *key_path, struct problem *why)
{
	X509 *ca = NULL, *cert = NULL;
	EVP_PKEY *signer = NULL, *key = NULL;
	struct buf san;
	const char *eku = leaf->server && leaf->client ? "serverAuth,clientAuth" : leaf->server ? "serverAuth" : "clientAuth";
	int rc = -1;

	buf_init(&san, 4096);
	if (load_ca(ca_cert, ca_key, &ca, &signer, why))
		goto out;
	key = EVP_EC_gen("P-256");
	cert = X509_new();
	if (!key || !cert || !san_text(leaf, &san) || !set_basics(cert, key, leaf->name, leaf->not_before_ms,
		leaf->not_after_ms) ||
	    X509_set_issuer_name(cert, X509_get_subject_name(ca)) != 1 ||
	    !add_ext(cert, ca, NID_basic_constraints, "critical,CA:FALSE") ||
	    !add_ext(cert, ca, NID_key_usage, "critical,digitalSignature") || !add_ext(cert, ca, NID_ext_key_usage, eku) ||
	    (san.n > 1 && !add_ext(cert, ca, NID_subject_alt_name, (const char *)san.p)) ||
	    !add_ext(cert, ca, NID_subject_key_identifier, "hash") ||
	    !add_ext(cert, ca, NID_authority_key_identifier, "keyid") || !X509_sign(cert, signer, EVP_sha256())) {
		crypto_failed(why, "making a dev certificate");
		goto out;
	}
	rc = write_key(key, key_path, why) || write_cert(cert, cert_path, why) ? -1 : 0;
out:
	buf_clear(&san);
	X509_free(ca);
	X509_free(cert);
	EVP_PKEY_free(signer);
	EVP_PKEY_free(key);
	return rc;
}
