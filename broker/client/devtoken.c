/* How is a dev access token signed? ES256 over header.payload, the signature as 64 octets r ∥ s (RFC 7518 §3.4),
 * the key's id its RFC 7638 thumbprint. */
#include "config.h"

#include "client/devtoken.h"

#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/encode.h"
#include "base/file.h"
#include "base/jsonw.h"
#include "base/secret.h"

#define PEM_MAX (64 * 1024)
#define COORD 32
#define COORD_TEXT (B64URL_LEN(COORD) + 1)

struct public_point {
	char x[COORD_TEXT], y[COORD_TEXT], kid[B64URL_LEN(SHA256_BYTES) + 1];
};

static int crypto_failed(struct problem *why, const char *what)
{
	problem_set(why, "%s failed", what);
	ERR_clear_error();
	return -1;
}

static bool coordinate(EVP_PKEY *key, const char *name, char out[COORD_TEXT])
{
	uint8_t bytes[COORD];
	BIGNUM *bn = NULL;
	bool ok = EVP_PKEY_get_bn_param(key, name, &bn) == 1 && BN_bn2binpad(bn, bytes, COORD) == COORD;

	if (ok)
		b64url_encode(bytes, COORD, out);
	BN_free(bn);
	return ok;
}

static int public_point(EVP_PKEY *key, struct public_point *p, struct problem *why)
{
	char text[256];
	uint8_t digest[SHA256_BYTES];

	if (!coordinate(key, OSSL_PKEY_PARAM_EC_PUB_X, p->x) || !coordinate(key, OSSL_PKEY_PARAM_EC_PUB_Y, p->y))
		return crypto_failed(why, "reading the dev issuer's public key");
	snprintf(text, sizeof text, "{\"crv\":\"P-256\",\"kty\":\"EC\",\"x\":\"%s\",\"y\":\"%s\"}", p->x, p->y);
	sha256(slice_str(text), digest);
	b64url_encode(digest, sizeof digest, p->kid);
	return 0;
}

int devtoken_make_issuer(const char *key_path, const char *jwks_path, struct problem *why)
{
	EVP_PKEY *key = EVP_EC_gen("P-256");
	BIO *b = BIO_new(BIO_s_mem());
	struct public_point p;
	char jwks[512], *pem = NULL;
	int n, rc = -1;

	if (!key || !b || PEM_write_bio_PrivateKey(b, key, NULL, NULL, 0, NULL, NULL) != 1) {
		crypto_failed(why, "making the dev issuer's key");
		goto out;
	}
	if (public_point(key, &p, why))
		goto out;
	n = snprintf(jwks, sizeof jwks,
		     "{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-256\",\"alg\":\"ES256\",\"use\":\"sig\",\"kid\":\"%s\",\"x\":\"%s\",\"y\":\"%s\"}]}\n",
		     p.kid, p.x, p.y);
	if (file_write_atomic(key_path, slice_of(pem, (size_t)BIO_get_mem_data(b, &pem)), 0600, why))
		goto out;
	rc = file_write_atomic(jwks_path, slice_of(jwks, (size_t)n), 0644, why);
out:
	BIO_free(b);
	EVP_PKEY_free(key);
	return rc;
}

static EVP_PKEY *load_key(const char *path, struct problem *why)
{
	uint8_t *bytes = NULL;
	size_t n = 0;
	BIO *b = NULL;
	EVP_PKEY *key = NULL;

	if (secret_read_file(path, PEM_MAX, &bytes, &n, why))
		return NULL;
	b = BIO_new_mem_buf(bytes, (int)n);
	key = b ? PEM_read_bio_PrivateKey(b, NULL, NULL, (void *)"") : NULL;
	if (!key)
		problem_set(why, "%s: holds no private key", path);
	ERR_clear_error();
	BIO_free(b);
	secret_wipe(bytes, n);
	free(bytes);
	return key;
}

static bool put_b64url(struct buf *out, struct slice s)
{
	uint8_t *to = buf_reserve(out, B64URL_LEN(s.n) + 1);

	if (!to)
		return false;
	b64url_encode(s.p, s.n, (char *)to);
	out->n += B64URL_LEN(s.n);
	return true;
}

/* DER ECDSA-Sig-Value to r ∥ s. */
static bool raw_signature(const uint8_t *der, size_t n, uint8_t out[2 * COORD])
{
	const uint8_t *p = der;
	ECDSA_SIG *sig = d2i_ECDSA_SIG(NULL, &p, (long)n);
	bool ok = sig && BN_bn2binpad(ECDSA_SIG_get0_r(sig), out, COORD) == COORD &&
		  BN_bn2binpad(ECDSA_SIG_get0_s(sig), out + COORD, COORD) == COORD;

	ECDSA_SIG_free(sig);
	return ok;
}

static int sign(EVP_PKEY *key, struct slice text, uint8_t out[2 * COORD], struct problem *why)
{
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	uint8_t der[128];
	size_t n = sizeof der;
	int rc = -1;

	if (!ctx || EVP_DigestSignInit(ctx, NULL, EVP_sha256(), NULL, key) != 1 ||
	    EVP_DigestSign(ctx, der, &n, text.p, text.n) != 1 || !raw_signature(der, n, out))
		crypto_failed(why, "signing a dev token");
	else
		rc = 0;
	EVP_MD_CTX_free(ctx);
	return rc;
}

static void put_claims(struct buf *b, const struct devtoken *t)
{
	struct jsonw w;
	uint8_t id[16];
	char jti[B64URL_LEN(sizeof id) + 1];

	random_bytes(id, sizeof id);
	b64url_encode(id, sizeof id, jti);
	jsonw_init(&w, b);
	jsonw_object(&w, NULL);
	jsonw_str(&w, "iss", t->issuer ? t->issuer : DEVTOKEN_ISSUER);
	jsonw_str(&w, "sub", t->subject);
	jsonw_str(&w, "client_id", t->client_id);
	jsonw_str(&w, "aud", t->audience);
	if (t->tenant)
		jsonw_str(&w, "tenant", t->tenant);
	if (t->scope)
		jsonw_str(&w, "scope", t->scope);
	jsonw_int(&w, "iat", t->issued_at_ms / 1000);
	jsonw_int(&w, "exp", (t->issued_at_ms + t->lifetime_ms) / 1000);
	jsonw_str(&w, "jti", jti);
	if (t->x5t_s256) {
		jsonw_object(&w, "cnf");
		jsonw_str(&w, "x5t#S256", t->x5t_s256);
		jsonw_end_object(&w);
	}
	jsonw_end_object(&w);
}

int devtoken_mint(const char *key_path, const struct devtoken *t, struct buf *out, struct problem *why)
{
	EVP_PKEY *key = load_key(key_path, why);
	struct public_point p;
	struct buf claims;
	char header[160];
	uint8_t signature[2 * COORD];
	size_t from = out->n;
	int rc = -1;

	buf_init(&claims, 6144);
	if (!key || public_point(key, &p, why))
		goto out;
	snprintf(header, sizeof header, "{\"alg\":\"ES256\",\"typ\":\"at+jwt\",\"kid\":\"%s\"}", p.kid);
	put_claims(&claims, t);
	if (claims.failed || !put_b64url(out, slice_str(header)) || !buf_put_u8(out, '.') || !put_b64url(out,
		buf_slice(&claims))) {
		problem_set(why, "the token would be too large");
		goto out;
	}
	if (sign(key, slice_of(out->p + from, out->n - from), signature, why))
		goto out;
	if (!buf_put_u8(out, '.') || !put_b64url(out, slice_of(signature, sizeof signature)))
		problem_set(why, "the token would be too large");
	else
		rc = 0;
out:
	buf_clear(&claims);
	EVP_PKEY_free(key);
	return rc;
}
