/* Can bytes make the token verifier crash, or say yes to what nobody signed? The first byte chooses: 'r' takes the rest
 * as a token as it is; 's' takes it as header, newline, payload, and signs it with the issuer's key, so that the claims
 * are reached. */
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

#include "base/encode.h"
#include "identity/token.h"

#define X5T "bwcK0esc3ACC3DB2Y5_lESsXE8o9ltc05O89jdN-dg0"

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static EVP_PKEY *key;
static struct token_verifier *verifier;
static struct arena *arena;

#define NEED(x)                                                                                                        \
	do {                                                                                                           \
		if (!(x))                                                                                              \
			abort();                                                                                       \
	} while (0)

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	struct issuer_entry e = {.rule = {.name = "corp", .url = "https://i.example", .n_tenants = 1, .algorithms = 31,
					  .binding = true, .max_lifetime_ms = 3600000,
					  .claim_tenant = "tenant", .claim_client = "client_id",
						.claim_scope = "scope"}, .keys_good_until_ms = INT64_MAX};
	uint8_t raw[32];
	char x[B64URL_LEN(32) + 1], jwks[256];
	size_t n = sizeof raw;
	struct issuers *i;

	key = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
	NEED(key && EVP_PKEY_get_raw_public_key(key, raw, &n) == 1);
	b64url_encode(raw, n, x);
	snprintf(jwks, sizeof jwks, "{\"keys\":[{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"kid\":\"k\",\"x\":\"%s\"}]}", x);
	e.keys = keyset_parse(slice_str(jwks), 31, 1, NULL);
	strcpy(e.rule.tenants[0], "acme");
	i = issuers_new(&e, 1);
	verifier = token_verifier_new(16);
	arena = arena_new(1 << 20);
	NEED(e.keys && i && verifier && arena);
	token_verifier_set_issuers(verifier, i);
	issuers_unref(i);
	keyset_unref(e.keys);
	return 0;
}

/* The number of bytes of the token in out. */
static size_t sign(struct slice header, struct slice payload, char *out)
{
	EVP_MD_CTX *c = EVP_MD_CTX_new();
	uint8_t signature[64];
	size_t n = B64URL_LEN(header.n), signature_n = sizeof signature;

	b64url_encode(header.p, header.n, out);
	out[n++] = '.';
	b64url_encode(payload.p, payload.n, out + n);
	n += B64URL_LEN(payload.n);
	NEED(c && EVP_DigestSignInit(c, NULL, NULL, NULL, key) == 1);
	NEED(EVP_DigestSign(c, signature, &signature_n, (const uint8_t *)out, n) == 1);
	EVP_MD_CTX_free(c);
	out[n++] = '.';
	b64url_encode(signature, signature_n, out + n);
	return n + B64URL_LEN(signature_n);
}

static void check(struct slice token, bool genuine)
{
	struct token_context cx = {.x5t_s256 = X5T, .client = "planner", .audience = "baton", .tenant = "acme",
				   .now_ms = 1764000000000, .leeway_ms = 30000};
	struct token_answer first, again;

	arena_reset(arena);
	token_verify(verifier, token, &cx, arena, &first);
	token_verify(verifier, token, &cx, arena, &again); /* from the cache, when it went in */
	NEED(first.verdict.reason == again.verdict.reason && first.have_claims == again.have_claims);
	NEED(genuine || !first.have_claims);
	if (!verdict_ok(&first.verdict))
		return;
	NEED(first.have_claims && first.claims.bound && strcmp(first.claims.client_id, "planner") == 0 &&
	     strcmp(first.claims.audience, "baton") == 0);
	NEED(first.claims.subject[0] && first.claims.jti[0] && first.claims.n_scopes <= CLAIMS_SCOPES_MAX);
	NEED(first.claims.n_scopes == again.claims.n_scopes && strcmp(first.claims.subject, again.claims.subject) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static char token[32768];
	const uint8_t *newline;

	if (size < 1 || size > 10000)
		return 0;
	if (data[0] != 's') {
		check(slice_of(data + 1, size - 1), false);
		return 0;
	}
	newline = memchr(data, '\n', size);
	if (newline)
		check(slice_of(token, sign(slice_of(data + 1, (size_t)(newline - data) - 1),
					   slice_of(newline + 1, size - (size_t)(newline - data) - 1), token)), true);
	return 0;
}
