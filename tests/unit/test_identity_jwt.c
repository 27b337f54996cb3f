/* How are test tokens and keys made? By OpenSSL itself, with none of the code under test but base64url. */
#include "test_identity_jwt.h"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ecdsa.h>
#include <openssl/hmac.h>
#include <openssl/rsa.h>
#include <stdlib.h>
#include <string.h>

#include "base/encode.h"

struct arena *jwt_arena;

void jwt_begin(void)
{
	NEED(jwt_arena = arena_new(64 << 20));
}

void jwt_end(void)
{
	arena_free(jwt_arena);
	jwt_arena = NULL;
}

EVP_PKEY *jwt_ec(const char *group)
{
	EVP_PKEY *k = EVP_EC_gen(group);

	NEED(k);
	return k;
}

EVP_PKEY *jwt_rsa(unsigned bits)
{
	EVP_PKEY *k = EVP_RSA_gen(bits);

	NEED(k);
	return k;
}

EVP_PKEY *jwt_ed25519(void)
{
	EVP_PKEY *k = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");

	NEED(k);
	return k;
}

const char *jwt_b64(const void *p, size_t n)
{
	char *out = arena_alloc(jwt_arena, B64URL_LEN(n) + 1);

	NEED(out);
	b64url_encode(p, n, out);
	return out;
}

static const char *number(EVP_PKEY *key, const char *name, int n)
{
	uint8_t bytes[1024];
	BIGNUM *b = NULL;
	const char *out;

	NEED(EVP_PKEY_get_bn_param(key, name, &b) == 1);
	if (n == 0)
		n = BN_num_bytes(b);
	NEED(BN_bn2binpad(b, bytes, n) == n);
	out = jwt_b64(bytes, (size_t)n);
	BN_free(b);
	return out;
}

const char *jwt_jwk(EVP_PKEY *key, const char *members)
{
	uint8_t raw[32];
	size_t n = sizeof raw;
	int field;

	switch (EVP_PKEY_get_base_id(key)) {
	case EVP_PKEY_RSA:
		return arena_printf(jwt_arena, "{\"kty\":\"RSA\",\"n\":\"%s\",\"e\":\"%s\"%s}",
				    number(key, OSSL_PKEY_PARAM_RSA_N, 0),
				    number(key, OSSL_PKEY_PARAM_RSA_E, 0), members);
	case EVP_PKEY_ED25519:
		NEED(EVP_PKEY_get_raw_public_key(key, raw, &n) == 1);
		return arena_printf(jwt_arena, "{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"%s\"%s}", jwt_b64(raw, n),
				    members);
	default:
		field = (EVP_PKEY_get_bits(key) + 7) / 8;
		return arena_printf(jwt_arena, "{\"kty\":\"EC\",\"crv\":\"%s\",\"x\":\"%s\",\"y\":\"%s\"%s}",
				    field == 32 ? "P-256" : field == 48 ? "P-384" : "P-521",
				    number(key, OSSL_PKEY_PARAM_EC_PUB_X, field),
					number(key, OSSL_PKEY_PARAM_EC_PUB_Y, field), members);
	}
}

static size_t to_raw(const uint8_t *der, size_t n, int half, uint8_t *out)
{
	ECDSA_SIG *sig = d2i_ECDSA_SIG(NULL, &der, (long)n);

	NEED(sig);
	NEED(BN_bn2binpad(ECDSA_SIG_get0_r(sig), out, half) == half);
	NEED(BN_bn2binpad(ECDSA_SIG_get0_s(sig), out + half, half) == half);
	ECDSA_SIG_free(sig);
	return (size_t)half * 2;
}

static const EVP_MD *digest_of(const char *alg)
{
	if (strcmp(alg, "EdDSA") == 0)
		return NULL;
	return strstr(alg, "S384") ? EVP_sha384() : strstr(alg, "S512") ? EVP_sha512() : EVP_sha256();
}

static size_t sign(EVP_PKEY *key, const char *alg, const char *text, uint8_t *out, size_t size)
{
	const char *salt = strchr(alg, '/');
	EVP_MD_CTX *c = EVP_MD_CTX_new();
	EVP_PKEY_CTX *p = NULL;
	uint8_t der[1024];
	size_t n = sizeof der;

	NEED(EVP_DigestSignInit(c, &p, digest_of(alg), NULL, key) == 1);
	if (alg[0] == 'P')
		NEED(EVP_PKEY_CTX_set_rsa_padding(p, RSA_PKCS1_PSS_PADDING) == 1 &&
		     EVP_PKEY_CTX_set_rsa_pss_saltlen(p, salt ? atoi(salt + 1) : RSA_PSS_SALTLEN_DIGEST) == 1);
	NEED(EVP_DigestSign(c, der, &n, (const uint8_t *)text, strlen(text)) == 1);
	EVP_MD_CTX_free(c);
	NEED(n <= size);
	if (strncmp(alg, "ES", 2) == 0)
		return to_raw(der, n, (EVP_PKEY_get_bits(key) + 7) / 8, out);
	memcpy(out, der, n);
	return n;
}

const char *jwt_sign_encoded(EVP_PKEY *key, const char *alg, const char *signed_part)
{
	uint8_t signature[1024];
	size_t n = sign(key, alg, signed_part, signature, sizeof signature);

	return arena_printf(jwt_arena, "%s.%s", signed_part, jwt_b64(signature, n));
}

const char *jwt_sign(EVP_PKEY *key, const char *alg, const char *header, const char *payload)
{
	return jwt_sign_encoded(key, alg, arena_printf(jwt_arena, "%s.%s", jwt_b64(header, strlen(header)),
						       jwt_b64(payload, strlen(payload))));
}

const char *jwt_hmac(struct slice secret, const char *header, const char *payload)
{
	const char *text = arena_printf(jwt_arena, "%s.%s", jwt_b64(header, strlen(header)),
					jwt_b64(payload, strlen(payload)));
	uint8_t mac[32];
	unsigned n = 0;

	NEED(HMAC(EVP_sha256(), secret.p ? secret.p : (const uint8_t *)"", (int)secret.n, (const uint8_t *)text,
		  strlen(text), mac, &n));
	return arena_printf(jwt_arena, "%s.%s", text, jwt_b64(mac, n));
}
