/* Which keys does the CA make, and which does it take? P-256 and P-384 are made; what is taken is what peers may have, and nothing that somebody
 * else could use as well. */
#include "config.h"

#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <stdlib.h>

#include "identity/ca_priv.h"
#include "identity/trust_priv.h"

#define EXPONENT_MIN 65537
#define EXPONENT_BITS_MAX 256

int ca_failed(struct problem *why, const char *what)
{
	const char *text = ERR_reason_error_string(ERR_peek_last_error());

	problem_set(why, "%s failed: %s", what, text ? text : "out of memory");
	ERR_clear_error();
	return -1;
}

const EVP_MD *ca_digest_for(const EVP_PKEY *key)
{
	switch (EVP_PKEY_get_base_id(key)) {
	case EVP_PKEY_ED25519:
		return NULL;
	case EVP_PKEY_EC:
		return EVP_PKEY_get_bits(key) > 256 ? EVP_sha384() : EVP_sha256();
	default:
		return EVP_sha256();
	}
}

/* With 1 as exponent everybody could sign (FIPS 186-4 §B.3.1 has the bounds). */
static bool exponent_is_sound(const EVP_PKEY *key)
{
	BIGNUM *e = NULL;
	bool ok = EVP_PKEY_get_bn_param(key, OSSL_PKEY_PARAM_RSA_E, &e) == 1 && BN_is_odd(e) && BN_num_bits(e) <= EXPONENT_BITS_MAX &&
		  (BN_num_bits(e) > 32 || BN_get_word(e) >= EXPONENT_MIN);

	BN_free(e);
	return ok;
}

/* A curve that is spelled out may be P-256 but for its generator (CVE-2020-0601). */
static bool curve_is_named(const EVP_PKEY *key)
{
	int explicit = 1;

	return EVP_PKEY_get_int_param(key, OSSL_PKEY_PARAM_EC_DECODED_FROM_EXPLICIT_PARAMS, &explicit) == 1 && !explicit;
}

const char *ca_key_fault(EVP_PKEY *key)
{
	if (!trust_pkey_is_strong(key))
		return "the key is weak, or of another kind: use P-256, P-384, Ed25519, or RSA of 2048 to 8192 bits";
	if (EVP_PKEY_get_base_id(key) == EVP_PKEY_RSA && !exponent_is_sound(key))
		return "the RSA key's public exponent is not odd and at least 65537";
	if (EVP_PKEY_get_base_id(key) == EVP_PKEY_EC && !curve_is_named(key))
		return "the key's curve is spelled out instead of named";
	return NULL;
}

/* Takes pkey. */
static struct ca_key *wrap(EVP_PKEY *pkey, struct problem *why)
{
	struct ca_key *k = pkey ? calloc(1, sizeof *k) : NULL;

	if (k) {
		k->pkey = pkey;
		return k;
	}
	EVP_PKEY_free(pkey);
	ca_failed(why, "making a key");
	return NULL;
}

struct ca_key *ca_key_new(enum ca_curve curve, struct problem *why)
{
	return wrap(EVP_EC_gen(curve == CA_P384 ? "P-384" : "P-256"), why);
}

struct ca_key *ca_key_read(struct slice pem, struct problem *why)
{
	BIO *b = BIO_new_mem_buf(pem.n ? pem.p : (const void *)"", (int)pem.n);
	EVP_PKEY *pkey = b ? PEM_read_bio_PrivateKey(b, NULL, NULL, (void *)"") : NULL;
	const char *fault;

	BIO_free(b);
	ERR_clear_error();
	if (!pkey) {
		problem_set(why, "no private key is in it (PEM, not encrypted)");
		return NULL;
	}
	fault = ca_key_fault(pkey);
	if (fault) {
		EVP_PKEY_free(pkey);
		problem_set(why, "%s", fault);
		return NULL;
	}
	return wrap(pkey, why);
}

int ca_key_write(const struct ca_key *k, char out[CA_KEY_PEM_MAX], size_t *n, struct problem *why)
{
	BIO *b = BIO_new(BIO_s_secmem()); /* wiped when it is freed */
	char *p = NULL;
	long size = 0;

	if (b && PEM_write_bio_PKCS8PrivateKey(b, k->pkey, NULL, NULL, 0, NULL, NULL) == 1)
		size = BIO_get_mem_data(b, &p);
	if (size > 0 && size <= CA_KEY_PEM_MAX)
		memcpy(out, p, (size_t)size);
	BIO_free(b);
	*n = size > 0 && size <= CA_KEY_PEM_MAX ? (size_t)size : 0;
	return *n ? 0 : ca_failed(why, "writing a key");
}

int ca_key_public(const struct ca_key *k, struct buf *out, struct problem *why)
{
	unsigned char *der = NULL;
	int n = i2d_PUBKEY(k->pkey, &der);
	bool ok = n > 0 && buf_put(out, der, (size_t)n);

	OPENSSL_free(der);
	return ok ? 0 : ca_failed(why, "writing a public key");
}

EVP_PKEY *ca_public_key(struct slice der, struct problem *why)
{
	const unsigned char *at = der.p;
	EVP_PKEY *key = der.n ? d2i_PUBKEY(NULL, &at, (long)der.n) : NULL;
	const char *fault = key && at == der.p + der.n ? ca_key_fault(key) : "that is no public key";

	ERR_clear_error();
	if (!fault)
		return key;
	EVP_PKEY_free(key);
	problem_set(why, "%s", fault);
	return NULL;
}

void ca_key_free(struct ca_key *k)
{
	if (!k)
		return;
	EVP_PKEY_free(k->pkey);
	free(k);
}
