/* What does a token cost? For each algorithm the CPU time of a first verification, of one from the cache, and of the bare signature as
 * `openssl speed` measures it, in one run. By hand: bench_identity [tokens]. Not a test: nothing is asserted. */
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/arena.h"
#include "base/secret.h"
#include "identity/token.h"
#include "unit/test_identity_jwt.h"

#define NOW 1764000000
#define URL "https://login.acme.example"
#define X5T "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"

static double cpu_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static struct token_verifier *verifier_of(EVP_PKEY *key, const char *alg, size_t cache)
{
	const char *jwks = arena_printf(jwt_arena, "{\"keys\":[%s]}", jwt_jwk(key, arena_printf(jwt_arena, ",\"kid\":\"k\",\"alg\":\"%s\"", alg)));
	struct issuer_entry e = {.keys_good_until_ms = INT64_MAX, .rule = {.name = "corp", .url = URL, .tenants = {"acme"}, .n_tenants = 1,
		.algorithms = token_alg_from_text(slice_str(alg)), .binding = true, .max_lifetime_ms = 3600000, .claims.tenant = "tenant"}};
	struct token_verifier *v = token_verifier_new(cache);
	struct problem why = {""};
	struct issuers *i;

	e.keys = keyset_parse(slice_str(jwks), e.rule.algorithms, 1, &why);
	i = e.keys ? issuers_new(&e, 1) : NULL;
	if (!v || !i) {
		fprintf(stderr, "%s: %s\n", alg, why.text);
		exit(1);
	}
	token_verifier_set_issuers(v, i);
	issuers_unref(i);
	keyset_unref(e.keys);
	return v;
}

static double verify_all(struct token_verifier *v, const char *const *tokens, size_t n)
{
	const struct token_context cx = {.x5t_s256 = X5T, .client = "planner", .audience = "baton", .tenant = "acme", .now_ms = NOW * 1000LL,
		.leeway_ms = 30000};
	struct arena *a = arena_new(1 << 20);
	struct token_answer answer;
	double from = cpu_us();

	for (size_t i = 0; i < n; i++) {
		token_verify(v, slice_str(tokens[i]), &cx, a, &answer);
		if (answer.verdict.reason != REASON_ALLOWED) {
			fprintf(stderr, "refused: %s\n", answer.verdict.message);
			exit(1);
		}
		arena_reset(a);
	}
	from = (cpu_us() - from) / (double)n;
	arena_free(a);
	return from;
}

/* One digest, one signature, one context, again and again. */
static double bare(EVP_PKEY *key, const char *alg, size_t n)
{
	static const uint8_t text[32] = "a digest stands here, 32 bytes..";
	bool ed = strcmp(alg, "EdDSA") == 0;
	EVP_MD_CTX *sign = EVP_MD_CTX_new(), *md = EVP_MD_CTX_new();
	EVP_PKEY_CTX *c = EVP_PKEY_CTX_new(key, NULL);
	uint8_t sig[512];
	size_t sig_n = sizeof sig;
	double from;

	if (ed) {
		EVP_DigestSignInit(sign, NULL, NULL, NULL, key);
		EVP_DigestSign(sign, sig, &sig_n, text, sizeof text);
	} else {
		EVP_PKEY_sign_init(c);
		EVP_PKEY_sign(c, sig, &sig_n, text, sizeof text);
		EVP_PKEY_verify_init(c);
	}
	from = cpu_us();
	for (size_t i = 0; i < n; i++) {
		if (ed && (EVP_DigestVerifyInit(md, NULL, NULL, NULL, key) != 1 || EVP_DigestVerify(md, sig, sig_n, text, sizeof text) != 1))
			exit(1);
		if (!ed && EVP_PKEY_verify(c, sig, sig_n, text, sizeof text) != 1)
			exit(1);
	}
	from = (cpu_us() - from) / (double)n;
	EVP_MD_CTX_free(sign);
	EVP_MD_CTX_free(md);
	EVP_PKEY_CTX_free(c);
	return from;
}

static void measure(EVP_PKEY *key, const char *alg, size_t n)
{
	const char *header = arena_printf(jwt_arena, "{\"alg\":\"%s\",\"typ\":\"at+jwt\",\"kid\":\"k\"}", alg);
	const char **tokens = calloc(n, sizeof *tokens);
	struct token_verifier *v = verifier_of(key, alg, n);
	double first, hit, raw;

	for (size_t i = 0; tokens && i < n; i++)
		tokens[i] = jwt_sign(key, alg, header, arena_printf(jwt_arena,
			"{\"iss\":\"" URL "\",\"sub\":\"user-ana\",\"aud\":\"baton\",\"client_id\":\"planner\",\"iat\":%d,\"exp\":%d,\"jti\":\"token-%zu\","
			"\"tenant\":\"acme\",\"scope\":\"orders:read refunds:draft\",\"cnf\":{\"x5t#S256\":\"" X5T "\"}}", NOW - 10, NOW + 300, i));
	first = verify_all(v, tokens, n);
	hit = verify_all(v, tokens, n);
	raw = bare(key, alg, n);
	printf("%-6s  %7.1f  %7.1f  %5.2f  %6.2f\n", alg, first, raw, first / raw, hit);
	token_verifier_free(v);
	free(tokens);
	EVP_PKEY_free(key);
}

int main(int argc, char **argv)
{
	size_t n = argc > 1 ? strtoul(argv[1], NULL, 10) : 2000;

	if (n < 1 || n > 20000) {
		fprintf(stderr, "usage: bench_identity [1..20000 tokens]\n");
		return 64;
	}
	jwt_begin();
	printf("CPU us  first    bare   ratio  cached\n");
	measure(jwt_ec("P-256"), "ES256", n);
	measure(jwt_rsa(2048), "RS256", n);
	measure(jwt_rsa(2048), "PS256", n);
	measure(jwt_ed25519(), "EdDSA", n);
	measure(jwt_ec("P-384"), "ES384", n);
	jwt_end();
	return 0;
}
