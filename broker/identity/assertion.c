/* How is an assertion written and signed? Straight into a kept buffer as JSON, then one private-key operation with a
 * context that was set up before. Names of claims are those of RFC 7519, 7800, 8693 and 8705 where these have one. */
#include "config.h"

#include "identity/assertion.h"

#include <openssl/ecdsa.h>
#include <openssl/err.h>
#include <string.h>

#include "base/encode.h"
#include "base/jsonw.h"
#include "base/secret.h"
#include "identity/assertion_priv.h"

#define ES256_DER_MAX 72
#define ES256_HALF 32

/* An absent value is an absent member. */
static void put(struct jsonw *w, const char *name, const char *value)
{
	if (value && value[0])
		jsonw_str(w, name, value);
}

static void put_member_object(struct jsonw *w, const char *object, const char *name, const char *value)
{
	jsonw_object(w, object);
	put(w, name, value);
	jsonw_end_object(w);
}

static bool put_claims(struct buf *out, const struct assertion *a)
{
	char hash[B64URL_LEN(SHA256_BYTES) + 1];
	struct jsonw w;

	b64url_encode(a->payload_sha256, sizeof a->payload_sha256, hash);
	jsonw_init(&w, out);
	jsonw_object(&w, NULL);
	put(&w, "iss", a->issuer);
	put(&w, "aud", a->audience);
	put(&w, "sub", a->subject);
	put(&w, "sub_iss", a->subject_issuer);
	jsonw_int(&w, "iat", a->now_ms / 1000);
	jsonw_int(&w, "exp", a->expires_at_ms / 1000);
	put(&w, "jti", a->jti);
	put_member_object(&w, "cnf", "x5t#S256", a->receiver_x5t);
	put_member_object(&w, "act", "sub", a->sender_spiffe_id);
	put(&w, "tenant", a->tenant);
	put(&w, "route", a->route);
	put(&w, "tool", a->tool);
	put(&w, "destination", a->destination);
	put(&w, "side_effect", a->side_effect);
	put(&w, "handoff_id", a->handoff_id);
	jsonw_int(&w, "fence", (int64_t)a->fence);
	jsonw_int(&w, "attempt", a->attempt);
	jsonw_str(&w, "payload_sha256", hash);
	put(&w, "scope", a->scope);
	put(&w, "trace_id", a->trace_id);
	jsonw_end_object(&w);
	return !out->failed;
}

/* DER to the 64 octets of RFC 7518 §3.4. */
static bool to_raw(const uint8_t *der, size_t n, uint8_t out[ASSERTION_SIGNATURE_BYTES])
{
	ECDSA_SIG *sig = d2i_ECDSA_SIG(NULL, &der, (long)n);
	bool good = sig && BN_bn2binpad(ECDSA_SIG_get0_r(sig), out, ES256_HALF) == ES256_HALF &&
		    BN_bn2binpad(ECDSA_SIG_get0_s(sig), out + ES256_HALF, ES256_HALF) == ES256_HALF;

	ECDSA_SIG_free(sig);
	return good;
}

static bool sign_es256(struct assertion_signer *s, struct slice text, uint8_t out[ASSERTION_SIGNATURE_BYTES])
{
	uint8_t digest[SHA256_BYTES], der[ES256_DER_MAX];
	size_t n = sizeof der;

	sha256(text, digest);
	return EVP_PKEY_sign(s->ctx, der, &n, digest, sizeof digest) == 1 && to_raw(der, n, out);
}

static bool sign_eddsa(struct assertion_signer *s, EVP_PKEY *key, struct slice text,
		       uint8_t out[ASSERTION_SIGNATURE_BYTES])
{
	size_t n = ASSERTION_SIGNATURE_BYTES;

	return EVP_DigestSignInit(s->once, NULL, NULL, NULL, key) == 1 &&
		EVP_DigestSign(s->once, out, &n, text.p, text.n) == 1 &&
	       n == ASSERTION_SIGNATURE_BYTES;
}

static const char *sign(struct assertion_key *k, struct assertion_signer *s, struct arena *arena)
{
	size_t payload_n = B64URL_LEN(s->json.n), signed_n = k->header_n + payload_n;
	char *token = arena_alloc(arena, signed_n + 1 + B64URL_LEN(ASSERTION_SIGNATURE_BYTES) + 1);
	uint8_t signature[ASSERTION_SIGNATURE_BYTES];
	bool good;

	if (!token)
		return NULL;
	memcpy(token, k->header, k->header_n);
	b64url_encode(s->json.p, s->json.n, token + k->header_n);
	if (k->jwk.alg == ALG_EDDSA)
		good = sign_eddsa(s, k->jwk.key, slice_of(token, signed_n), signature);
	else
		good = sign_es256(s, slice_of(token, signed_n), signature);
	if (!good) {
		ERR_clear_error();
		return NULL;
	}
	token[signed_n] = '.';
	b64url_encode(signature, sizeof signature, token + signed_n + 1);
	return token;
}

const char *assertion_sign(struct assertion_key *k, const struct assertion *a, struct arena *arena)
{
	struct assertion_signer *s = assertion_signer_take(k);
	const char *token = NULL;

	if (!s)
		return NULL;
	buf_reset(&s->json);
	if (put_claims(&s->json, a))
		token = sign(k, s, arena);
	assertion_signer_give(k, s);
	return token;
}
