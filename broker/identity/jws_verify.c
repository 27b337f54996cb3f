/* What does one signature check cost? The bare public-key operation: the context is set up once a key and worker, and
 * ECDSA, RSA take the digest, so that no algorithm is looked up a token. The algorithm is the key's; the token has no
 * say here. */
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/rsa.h>
#include <stdlib.h>
#include <string.h>

#include "base/secret.h"
#include "identity/jws.h"

#define DIGEST_MAX 48
#define DER_MAX (2 + 2 * (2 + 1 + DIGEST_MAX)) /* SEQUENCE of two INTEGERs of at most 48 bytes */

struct jws_verifier {
	enum token_alg alg;
	EVP_PKEY *key;
	EVP_PKEY_CTX *ctx;  /* all but EdDSA */
	EVP_MD_CTX *once;   /* EdDSA, which takes the message itself */
	size_t signature_n;
};

static bool prepare_rsa(EVP_PKEY_CTX *ctx, bool pss)
{
	if (EVP_PKEY_CTX_set_signature_md(ctx, EVP_sha256()) != 1)
		return false;
	if (!pss)
		return EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_PADDING) == 1;
	return EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_PSS_PADDING) == 1 &&
	       EVP_PKEY_CTX_set_rsa_mgf1_md(ctx, EVP_sha256()) == 1 &&
	       EVP_PKEY_CTX_set_rsa_pss_saltlen(ctx, SHA256_BYTES) == 1; /* RFC 7518 §3.5 */
}

static bool prepare(struct jws_verifier *v)
{
	if (v->alg == ALG_EDDSA)
		return (v->once = EVP_MD_CTX_new()) != NULL;
	v->ctx = EVP_PKEY_CTX_new(v->key, NULL);
	if (!v->ctx || EVP_PKEY_verify_init(v->ctx) != 1)
		return false;
	switch (v->alg) {
	case ALG_RS256:
		return prepare_rsa(v->ctx, false);
	case ALG_PS256:
		return prepare_rsa(v->ctx, true);
	case ALG_ES384:
		return EVP_PKEY_CTX_set_signature_md(v->ctx, EVP_sha384()) == 1;
	default:
		return EVP_PKEY_CTX_set_signature_md(v->ctx, EVP_sha256()) == 1;
	}
}

struct jws_verifier *jws_verifier_new(const struct jwk *k)
{
	struct jws_verifier *v = calloc(1, sizeof *v);

	if (!v)
		return NULL;
	v->alg = k->alg;
	v->signature_n = k->signature_n;
	v->key = EVP_PKEY_up_ref(k->key) == 1 ? k->key : NULL;
	if (v->key && prepare(v))
		return v;
	ERR_clear_error();
	jws_verifier_free(v);
	return NULL;
}

void jws_verifier_free(struct jws_verifier *v)
{
	if (!v)
		return;
	EVP_PKEY_CTX_free(v->ctx);
	EVP_MD_CTX_free(v->once);
	EVP_PKEY_free(v->key);
	free(v);
}

/* A positive INTEGER in its shortest form (X.690 §8.3). */
static size_t put_der_integer(uint8_t *out, const uint8_t *p, size_t n)
{
	size_t pad;

	while (n > 1 && *p == 0) {
		p++;
		n--;
	}
	pad = *p & 0x80 ? 1 : 0;
	out[0] = 2;
	out[1] = (uint8_t)(n + pad);
	out[2] = 0;
	memcpy(out + 2 + pad, p, n);
	return 2 + pad + n;
}

/* r and s, side by side, into what OpenSSL reads. */
static size_t to_der(struct slice raw, uint8_t out[DER_MAX])
{
	size_t half = raw.n / 2, n = 2;

	n += put_der_integer(out + n, raw.p, half);
	n += put_der_integer(out + n, raw.p + half, half);
	out[0] = 0x30;
	out[1] = (uint8_t)(n - 2);
	return n;
}

static bool verify_ecdsa(struct jws_verifier *v, struct slice signed_part, struct slice signature)
{
	uint8_t digest[DIGEST_MAX], der[DER_MAX];
	size_t n = to_der(signature, der);
	unsigned digest_n = SHA256_BYTES;

	if (v->alg == ALG_ES256)
		sha256(signed_part, digest);
	else if (EVP_Digest(signed_part.p, signed_part.n, digest, &digest_n, EVP_sha384(), NULL) != 1)
		return false;
	return EVP_PKEY_verify(v->ctx, der, n, digest, digest_n) == 1;
}

static bool verify_rsa(struct jws_verifier *v, struct slice signed_part, struct slice signature)
{
	uint8_t digest[SHA256_BYTES];

	sha256(signed_part, digest);
	return EVP_PKEY_verify(v->ctx, signature.p, signature.n, digest, sizeof digest) == 1;
}

static bool verify_eddsa(struct jws_verifier *v, struct slice signed_part, struct slice signature)
{
	return EVP_DigestVerifyInit(v->once, NULL, NULL, NULL, v->key) == 1 &&
	       EVP_DigestVerify(v->once, signature.p, signature.n, signed_part.p, signed_part.n) == 1;
}

bool jws_verify(struct jws_verifier *v, struct slice signed_part, struct slice signature)
{
	bool good = false;

	if (signature.n != v->signature_n)
		return false;
	if (v->alg == ALG_ES256 || v->alg == ALG_ES384)
		good = verify_ecdsa(v, signed_part, signature);
	else if (v->alg == ALG_EDDSA)
		good = verify_eddsa(v, signed_part, signature);
	else
		good = verify_rsa(v, signed_part, signature);
	if (!good)
		ERR_clear_error();
	return good;
}
