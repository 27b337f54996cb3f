/* Which tokens does the verifier take? Every refusal stands beside the honest token that differs from it in that one
 * thing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <openssl/bio.h>
#include <openssl/pem.h>

#include "base/encode.h"
#include "base/secret.h"
#include "identity/issuer.h"
#include "identity/members.h"
#include "identity/token.h"
#include "test_identity_jwt.h"

#define URL "https://login.acme.example"
#define URL_B "https://login.other.example"
#define NOW 1764000000 /* seconds */
#define X5T "bwcK0esc3ACC3DB2Y5_lESsXE8o9ltc05O89jdN-dg0"
#define X5T_OTHER "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
#define ALL (ALG_ES256 | ALG_ES384 | ALG_RS256 | ALG_PS256 | ALG_EDDSA)
#define HEADER "{\"alg\":\"ES256\",\"typ\":\"at+jwt\",\"kid\":\"a\"}"

static EVP_PKEY *es, *es2, *es384, *rsa, *rsa_bare, *ed, *es_b;
static struct token_verifier *verifier; /* no cache */
static struct arena *arena;
static struct token_answer answer;
static const char *jwks_a, *jwks_b;

/* ---- the world ---- */

static struct keyset *keys(const char *jwks, unsigned algorithms, uint64_t generation)
{
	struct problem why = {{0}};
	struct keyset *k = keyset_parse(slice_str(jwks), algorithms, generation, &why);

	if (!k)
		fail_msg("%s", why.text);
	return k;
}

static struct issuer_entry entry(const char *name, const char *url, struct keyset *k)
{
	struct issuer_entry e = {.keys = k, .keys_good_until_ms = (NOW + 3600) * 1000LL};

	strcpy(e.rule.name, name);
	strcpy(e.rule.url, url);
	strcpy(e.rule.tenants[0], "acme");
	e.rule.n_tenants = 1;
	e.rule.algorithms = ALL;
	e.rule.binding = true;
	e.rule.max_lifetime_ms = 3600 * 1000;
	dialect_preset(DIALECT_STANDARD, &e.rule.claims);
	return e;
}

/* change(entries) may alter the two before they are set. */
static void set_world(struct token_verifier *v, void (*change)(struct issuer_entry *))
{
	struct issuer_entry e[2] = {entry("corp", URL, keys(jwks_a, ALL, 1)),
				    entry("other", URL_B, keys(jwks_b, ALL, 1))};
	struct keyset *held[2] = {e[0].keys, e[1].keys};
	struct issuers *i;

	if (change)
		change(e);
	i = issuers_new(e, 2);
	assert_non_null(i);
	token_verifier_set_issuers(v, i);
	issuers_unref(i);
	keyset_unref(held[0]);
	keyset_unref(held[1]);
}

static int world_up(void **state)
{
	jwt_begin();
	arena = arena_new(1 << 20);
	es = jwt_ec("P-256");
	es2 = jwt_ec("P-256");
	es_b = jwt_ec("P-256");
	es384 = jwt_ec("P-384");
	rsa = jwt_rsa(2048);
	rsa_bare = jwt_rsa(2048);
	ed = jwt_ed25519();
	jwks_a = arena_printf(jwt_arena, "{\"keys\":[%s,%s,%s,%s,%s,%s]}",
			      jwt_jwk(es, ",\"kid\":\"a\",\"use\":\"sig\",\"alg\":\"ES256\""),
			      jwt_jwk(es2, ",\"kid\":\"a2\""), jwt_jwk(es384,
								       ",\"kid\":\"e384\",\"key_ops\":[\"verify\"]"),
			      jwt_jwk(rsa, ",\"kid\":\"ps\",\"alg\":\"PS256\""), jwt_jwk(rsa_bare, ",\"kid\":\"rs\""),
			      jwt_jwk(ed, ",\"kid\":\"ed\""));
	jwks_b = arena_printf(jwt_arena, "{\"keys\":[%s]}", jwt_jwk(es_b, ",\"kid\":\"b\""));
	verifier = token_verifier_new(0);
	set_world(verifier, NULL);
	return 0;
}

static int world_down(void **state)
{
	EVP_PKEY *all[] = {es, es2, es384, rsa, rsa_bare, ed, es_b};

	for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
		EVP_PKEY_free(all[i]);
	token_verifier_free(verifier);
	arena_free(arena);
	jwt_end();
	return 0;
}

static struct token_context honest_context(void)
{
	return (struct token_context){.x5t_s256 = X5T, .client = "planner",
				      .client_alt = "spiffe://acme.example/planner", .audience = "baton",
				      .tenant = "acme", .now_ms = NOW * 1000LL, .leeway_ms = 30000};
}

/* The honest claims, with some replaced: name, raw JSON (NULL = left out), ... up to a NULL name. */
static const char *payload(const char *name, ...)
{
	static const char *const honest[][2] = {
		{"iss", "\"" URL "\""}, {"sub", "\"alice\""},  {"aud", "\"baton\""},  {"client_id", "\"planner\""},
		{"iat", "1763999990"},  {"exp", "1764000300"}, {"jti", "\"token-1\""}, {"tenant", "\"acme\""},
		{"scope", "\"orders:read orders:write\""}, {"cnf", "{\"x5t#S256\":\"" X5T "\"}"},
	};
	const char *text = "", *comma = "{", *given, *value;
	bool used[sizeof honest / sizeof honest[0]] = {false};
	va_list ap;

	va_start(ap, name);
	for (given = name; given; given = va_arg(ap, const char *)) {
		value = va_arg(ap, const char *);
		for (size_t i = 0; i < sizeof honest / sizeof honest[0]; i++)
			if (strcmp(honest[i][0], given) == 0)
				used[i] = true;
		if (!value)
			continue;
		text = arena_printf(jwt_arena, "%s%s\"%s\":%s", text, comma, given, value);
		comma = ",";
	}
	va_end(ap);
	for (size_t i = 0; i < sizeof honest / sizeof honest[0]; i++) {
		if (used[i])
			continue;
		text = arena_printf(jwt_arena, "%s%s\"%s\":%s", text, comma, honest[i][0], honest[i][1]);
		comma = ",";
	}
	return arena_printf(jwt_arena, "%s}", text);
}

static const char *token_of(const char *payload_text)
{
	return jwt_sign(es, "ES256", HEADER, payload_text);
}

static enum reason verify_with(struct token_verifier *v, const char *token, const struct token_context *cx)
{
	arena_reset(arena);
	token_verify(v, slice_str(token), cx, arena, &answer);
	assert_true(verdict_ok(&answer.verdict) == (answer.verdict.reason == REASON_ALLOWED));
	if (!verdict_ok(&answer.verdict)) {
		assert_true(answer.verdict.message[0]);
		assert_null(strstr(answer.verdict.message, "eyJ"));
	}
	return answer.verdict.reason;
}

static enum reason verify(const char *token)
{
	struct token_context cx = honest_context();

	return verify_with(verifier, token, &cx);
}

#define assert_allowed(token)                                                                                          \
	do {                                                                                                           \
		if (verify(token) != REASON_ALLOWED)                                                                   \
			fail_msg("refused: %s (%s)", answer.verdict.message, answer.verdict.field);                    \
	} while (0)

static void assert_refused_(const char *token, enum reason reason, const char *field, int line)
{
	enum reason got = verify(token);

	if (got != reason || strcmp(answer.verdict.field, field) != 0)
		fail_msg("line %d: %s field \"%s\" (%s), wanted %s field \"%s\"", line, reason_text(got),
			 answer.verdict.field,
			 answer.verdict.message, reason_text(reason), field);
}
#define assert_refused(token, reason, field) assert_refused_((token), (reason), (field), __LINE__)

/* ---- honest ---- */

static void honest_token_gives_its_claims(void **state)
{
	assert_allowed(token_of(payload(NULL)));
	assert_true(answer.have_claims);
	assert_int_equal(answer.want_keys, -1);
	assert_string_equal(answer.claims.issuer, URL);
	assert_string_equal(answer.claims.issuer_name, "corp");
	assert_string_equal(answer.claims.subject, "alice");
	assert_string_equal(answer.claims.client_id, "planner");
	assert_string_equal(answer.claims.tenant, "acme");
	assert_string_equal(answer.claims.jti, "token-1");
	assert_string_equal(answer.claims.audience, "baton");
	assert_int_equal(answer.claims.n_scopes, 2);
	assert_true(claims_has_scope(&answer.claims, SLICE_LIT("orders:write")));
	assert_false(claims_has_scope(&answer.claims, SLICE_LIT("orders")));
	assert_int_equal(answer.claims.issued_at_ms, 1763999990000);
	assert_int_equal(answer.claims.not_before_ms, 1763999990000);
	assert_int_equal(answer.claims.expires_at_ms, 1764000300000);
	assert_true(answer.claims.bound);
	assert_true(answer.claims.subject_is_user);
}

static void every_algorithm_verifies_with_its_key_rfc7518_3(void **state)
{
	const struct {
		EVP_PKEY *key;
		const char *alg, *kid;
	} rows[] = {{es, "ES256", "a"}, {es2, "ES256", "a2"}, {es384, "ES384", "e384"}, {rsa, "PS256", "ps"},
		    {rsa_bare, "RS256", "rs"}, {ed, "EdDSA", "ed"}};

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		const char *h = arena_printf(jwt_arena, "{\"alg\":\"%s\",\"typ\":\"at+jwt\",\"kid\":\"%s\"}",
					     rows[i].alg, rows[i].kid);

		for (int again = 0; again < 3; again++) { /* a context that is used again must not remember */
			char *bad = arena_strdup(jwt_arena, jwt_sign(rows[i].key, rows[i].alg, h, payload(NULL)));
			size_t at = (size_t)(strrchr(bad, '.') - bad) + 20;

			assert_allowed(jwt_sign(rows[i].key, rows[i].alg, h, payload(NULL)));
			bad[at] = bad[at] == 'A' ? 'B' : 'A';
			assert_refused(bad, REASON_INVALID_TOKEN, "");
		}
	}
}

static void typ_is_a_media_type_rfc7515_4_1_9(void **state)
{
	static const char *const good[] = {"at+jwt", "AT+JWT", "application/at+jwt", "Application/At+Jwt"};
	static const char *const bad[] = {"\"JWT\"", "\"jwt\"", "\"application/jwt\"", "\"at+jwt \"",
					  "\"application/application/at+jwt\"",
					  "\"baton-delivery+jwt\"", "\"\"", "7", "null", "[\"at+jwt\"]", "\"dpop+jwt\"",
						"\"text/at+jwt\""};

	for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
		assert_allowed(jwt_sign(es, "ES256", arena_printf(jwt_arena,
								  "{\"alg\":\"ES256\",\"typ\":\"%s\",\"kid\":\"a\"}",
								  good[i]), payload(NULL)));
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		assert_refused(jwt_sign(es, "ES256", arena_printf(jwt_arena,
								  "{\"alg\":\"ES256\",\"typ\":%s,\"kid\":\"a\"}",
								  bad[i]), payload(NULL)),
			       REASON_INVALID_TOKEN, "typ");
	/* an ID token has none */
	assert_refused(jwt_sign(es, "ES256", "{\"alg\":\"ES256\",\"kid\":\"a\"}", payload(NULL)), REASON_INVALID_TOKEN,
		       "typ");
}

/* ---- form ---- */

static void missing_token_is_its_own_reason(void **state)
{
	assert_allowed(token_of(payload(NULL)));
	assert_refused("", REASON_MISSING_TOKEN, "");
	assert_false(answer.have_claims);
}

static void form_is_strict_rfc7515_2(void **state)
{
	const char *good = token_of(payload(NULL));
	const char *dot = strchr(good, '.'), *last = strrchr(good, '.');
	char *padded = arena_printf(jwt_arena, "%s=", good);

	assert_allowed(good);
	assert_refused(padded, REASON_INVALID_TOKEN, "");
	assert_refused(arena_printf(jwt_arena, " %s", good), REASON_INVALID_TOKEN, "");
	assert_refused(arena_printf(jwt_arena, "%s\n", good), REASON_INVALID_TOKEN, "");
	assert_refused(arena_printf(jwt_arena, "\"%s\"", good), REASON_INVALID_TOKEN, "");
	assert_refused(arena_printf(jwt_arena, "Bearer %s", good), REASON_INVALID_TOKEN, "");
	assert_refused(arena_printf(jwt_arena, "%.*s+%s", (int)(dot - good), good, dot), REASON_INVALID_TOKEN, "");
	/* two segments */
	assert_refused(arena_printf(jwt_arena, "%.*s", (int)(last - good), good), REASON_INVALID_TOKEN, "");
	/* empty signature */
	assert_refused(arena_printf(jwt_arena, "%.*s", (int)(last - good) + 1, good), REASON_INVALID_TOKEN, "");
	assert_refused(arena_printf(jwt_arena, "%s.", good), REASON_INVALID_TOKEN, "");
	assert_refused(arena_printf(jwt_arena, ".%s", good), REASON_INVALID_TOKEN, "");
	assert_refused(arena_printf(jwt_arena, "%s.aaaa.bbbb", good), REASON_INVALID_TOKEN, ""); /* five: JWE */
	assert_refused("..", REASON_INVALID_TOKEN, "");
	assert_refused("...", REASON_INVALID_TOKEN, "");
	assert_refused("....", REASON_INVALID_TOKEN, "");
	assert_refused("a", REASON_INVALID_TOKEN, "");
	assert_refused("{}", REASON_INVALID_TOKEN, "");
	/* the JSON serialization (RFC 7515 §7.2) of the same */
	assert_refused(arena_printf(jwt_arena, "{\"protected\":\"%.*s\",\"payload\":\"%.*s\",\"signature\":\"%s\"}",
				    (int)(dot - good), good, (int)(last - dot - 1), dot + 1, last + 1), REASON_INVALID_TOKEN, "");
}

static void trailing_bits_must_be_zero_rfc7515_2(void **state)
{
	static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
	const char *good = token_of(payload(NULL));
	char *other = arena_strdup(jwt_arena, good);
	size_t n = strlen(other);
	const char *at = strchr(alphabet, other[n - 1]); /* 64 octets: 86 characters, the last has four idle bits */

	assert_allowed(good);
	other[n - 1] = alphabet[(at - alphabet) | 1];
	assert_string_not_equal(good, other);
	assert_refused(other, REASON_INVALID_TOKEN, "");
}

static void token_has_at_most_8_kib(void **state)
{
	char *pad = arena_zalloc(jwt_arena, 8001);
	const char *big;

	for (size_t n = 5000; n <= 8000; n += 250) {
		memset(pad, 'x', n);
		pad[n] = '\0';
		big = token_of(payload("padding", arena_printf(jwt_arena, "\"%s\"", pad), NULL));
		if (strlen(big) <= TOKEN_MAX_BYTES)
			assert_allowed(big);
		else
			assert_refused(big, REASON_INVALID_TOKEN, "");
	}
}

/* ---- signature and algorithm ---- */

static void attack_7_alg_none_and_hmac_are_refused_rfc8725_3_1(void **state)
{
	static const char *const algs[] = {"none", "None", "NONE", "nOnE", "HS256", "HS384", "es256", "ES256K", "RS1",
					   "", "ES256 ", "RSA-OAEP", "dir"};
	BIO *bio = BIO_new(BIO_s_mem());
	char *pem = NULL;
	long n;
	const char *rs_header = "{\"alg\":\"RS256\",\"typ\":\"at+jwt\",\"kid\":\"rs\"}";

	PEM_write_bio_PUBKEY(bio, rsa_bare);
	n = BIO_get_mem_data(bio, &pem);
	assert_allowed(jwt_sign(rsa_bare, "RS256", rs_header, payload(NULL)));
	for (size_t i = 0; i < sizeof algs / sizeof algs[0]; i++) {
		const char *h = arena_printf(jwt_arena, "{\"alg\":\"%s\",\"typ\":\"at+jwt\",\"kid\":\"rs\"}", algs[i]);

		assert_refused(jwt_hmac(slice_of(pem, (size_t)n), h, payload(NULL)), REASON_INVALID_TOKEN, "alg");
		assert_refused(jwt_hmac(slice_of(NULL, 0), h, payload(NULL)), REASON_INVALID_TOKEN, "alg");
		assert_refused(jwt_sign(rsa_bare, "RS256", h, payload(NULL)), REASON_INVALID_TOKEN, "alg");
	}
	/* the same bytes under a name that is known do not verify either */
	assert_refused(jwt_hmac(slice_of(pem, (size_t)n), rs_header, payload(NULL)), REASON_INVALID_TOKEN, "");
	BIO_free(bio);
	assert_refused(jwt_sign(es, "ES256", "{\"typ\":\"at+jwt\",\"kid\":\"a\"}", payload(NULL)), REASON_INVALID_TOKEN,
		       "alg");
	assert_refused(jwt_sign(es, "ES256", "{\"alg\":[\"ES256\"],\"typ\":\"at+jwt\",\"kid\":\"a\"}", payload(NULL)),
		       REASON_INVALID_TOKEN, "alg");
}

static void unsigned_token_is_refused(void **state)
{
	const char *h = "{\"alg\":\"none\",\"typ\":\"at+jwt\"}", *p = payload(NULL);

	assert_allowed(token_of(p));
	assert_refused(arena_printf(jwt_arena, "%s.%s.", jwt_b64(h, strlen(h)), jwt_b64(p, strlen(p))),
		       REASON_INVALID_TOKEN, "");
	assert_refused(arena_printf(jwt_arena, "%s.%s.AA", jwt_b64(h, strlen(h)), jwt_b64(p, strlen(p))),
		       REASON_INVALID_TOKEN, "alg");
}

static void key_pins_its_algorithm_rfc8725_3_1(void **state)
{
	/* each signature is good in itself; only the key is for something else */
	assert_allowed(jwt_sign(rsa, "PS256", "{\"alg\":\"PS256\",\"typ\":\"at+jwt\",\"kid\":\"ps\"}", payload(NULL)));
	assert_refused(jwt_sign(rsa, "RS256", "{\"alg\":\"RS256\",\"typ\":\"at+jwt\",\"kid\":\"ps\"}", payload(NULL)),
		       REASON_INVALID_TOKEN, "alg");
	assert_allowed(jwt_sign(rsa_bare, "RS256", "{\"alg\":\"RS256\",\"typ\":\"at+jwt\",\"kid\":\"rs\"}",
				payload(NULL)));
	assert_refused(jwt_sign(rsa_bare, "PS256", "{\"alg\":\"PS256\",\"typ\":\"at+jwt\",\"kid\":\"rs\"}",
				payload(NULL)), REASON_INVALID_TOKEN, "alg");
	assert_refused(jwt_sign(es, "ES256", "{\"alg\":\"RS256\",\"typ\":\"at+jwt\",\"kid\":\"a\"}", payload(NULL)),
		       REASON_INVALID_TOKEN, "alg");
	/* PSS with another salt length than the digest's (RFC 7518 §3.5) is not what jwt_sign makes: RS256 bytes under
	 * PS256 */
	assert_refused(jwt_sign(rsa, "RS256", "{\"alg\":\"PS256\",\"typ\":\"at+jwt\",\"kid\":\"ps\"}", payload(NULL)),
		       REASON_INVALID_TOKEN, "");
}

static void only_eddsa(struct issuer_entry *e)
{
	e[0].rule.algorithms = ALG_EDDSA;
}

static void rule_limits_the_algorithms(void **state)
{
	struct token_verifier *v = token_verifier_new(0);
	struct token_context cx = honest_context();

	set_world(v, only_eddsa);
	assert_int_equal(verify_with(v, jwt_sign(ed, "EdDSA", "{\"alg\":\"EdDSA\",\"typ\":\"at+jwt\",\"kid\":\"ed\"}",
						 payload(NULL)), &cx), REASON_ALLOWED);
	assert_int_equal(verify_with(v, token_of(payload(NULL)), &cx), REASON_INVALID_TOKEN);
	assert_string_equal(answer.verdict.field, "alg");
	token_verifier_free(v);
}

static void attack_8_es256_signature_is_64_octets_rfc7518_3_4(void **state)
{
	const char *good = token_of(payload(NULL)), *head;
	char *huge = arena_alloc(jwt_arena, 22001);

	assert_allowed(good);
	assert_refused(jwt_sign(es, "DER", HEADER, payload(NULL)), REASON_INVALID_TOKEN, "");
	head = arena_printf(jwt_arena, "%.*s", (int)(strrchr(good, '.') - good), good);
	memset(huge, 'A', 22000);
	huge[22000] = '\0';
	assert_refused(arena_printf(jwt_arena, "%s.%s", head, huge), REASON_INVALID_TOKEN, ""); /* HAProxy */
	huge[4000] = '\0';
	assert_refused(arena_printf(jwt_arena, "%s.%s", head, huge), REASON_INVALID_TOKEN, "");
	huge[86] = '\0'; /* r = s = 0 */
	assert_refused(arena_printf(jwt_arena, "%s.%s", head, huge), REASON_INVALID_TOKEN, "");
	huge[85] = '\0';
	assert_refused(arena_printf(jwt_arena, "%s.%s", head, huge), REASON_INVALID_TOKEN, "");
	memset(huge, '_', 85); /* r and s over the order */
	huge[85] = 'w';
	huge[86] = '\0';
	assert_refused(arena_printf(jwt_arena, "%s.%s", head, huge), REASON_INVALID_TOKEN, "");
}

static void changed_bytes_do_not_verify(void **state)
{
	const char *good = token_of(payload(NULL)), *other = token_of(payload("sub", "\"mallory\"", NULL));
	const char *dot = strchr(other, '.'), *last = strrchr(other, '.'), *good_last = strrchr(good, '.');

	assert_allowed(good);
	assert_allowed(other);
	/* mallory's payload under alice's signature */
	assert_refused(arena_printf(jwt_arena, "%.*s%s", (int)(last - other), other, good_last), REASON_INVALID_TOKEN,
		       "");
	assert_false(answer.have_claims);
	(void)dot;
}

static void key_of_another_issuer_does_not_count_rfc8725_3_8(void **state)
{
	const char *h = "{\"alg\":\"ES256\",\"typ\":\"at+jwt\",\"kid\":\"b\"}";
	const char *p = payload("iss", "\"" URL_B "\"", NULL);

	assert_allowed(jwt_sign(es_b, "ES256", h, p));
	/* B's key for A's token */
	assert_refused(jwt_sign(es_b, "ES256", h, payload(NULL)), REASON_INVALID_TOKEN, "kid");
	/* the same, under A's kid */
	assert_refused(jwt_sign(es_b, "ES256", HEADER, payload(NULL)), REASON_INVALID_TOKEN, "");
	assert_refused(jwt_sign(es, "ES256", HEADER, p), REASON_INVALID_TOKEN, "kid");
}

/* ---- header ---- */

/* White space would hide a token from what redacts them; after the brace it is found. */
static void header_begins_with_its_brace(void **state)
{
	assert_allowed(jwt_sign(es, "ES256", "{ \"alg\":\"ES256\",\"typ\":\"at+jwt\",\"kid\":\"a\"}", payload(NULL)));
	assert_refused(jwt_sign(es, "ES256", " {\"alg\":\"ES256\",\"typ\":\"at+jwt\",\"kid\":\"a\"}", payload(NULL)),
		       REASON_INVALID_TOKEN, "");
}

static void attack_10_crit_and_b64_are_refused_rfc7515_4_1_11(void **state)
{
	static const char *const more[] = {"\"crit\":[\"exp\"],\"exp\":1", "\"crit\":[]", "\"crit\":null",
					   "\"crit\":\"b64\"",
					   "\"crit\":[\"b64\"],\"b64\":false", "\"crit\":[\"\"]"};

	assert_allowed(token_of(payload(NULL)));
	for (size_t i = 0; i < sizeof more / sizeof more[0]; i++)
		assert_refused(jwt_sign(es, "ES256", arena_printf(jwt_arena,
								  "{\"alg\":\"ES256\",\"typ\":\"at+jwt\",\"kid\":\"a\",%s}", more[i]), payload(NULL)),
			       REASON_INVALID_TOKEN, "crit");
	assert_refused(jwt_sign(es, "ES256", "{\"alg\":\"ES256\",\"typ\":\"at+jwt\",\"kid\":\"a\",\"b64\":true}",
				payload(NULL)), REASON_INVALID_TOKEN, "b64");
	/* what the header offers as keys is not looked at */
	assert_allowed(jwt_sign(es, "ES256",
				"{\"alg\":\"ES256\",\"typ\":\"at+jwt\",\"kid\":\"a\",\"jku\":\"http://127.0.0.1/\",\"x5u\":\"file:///etc/passwd\"}",
				payload(NULL)));
	assert_refused(jwt_sign(es_b, "ES256",
				arena_printf(jwt_arena,
					     "{\"alg\":\"ES256\",\"typ\":\"at+jwt\",\"kid\":\"a\",\"jwk\":%s}",
					     jwt_jwk(es_b, "")),
				payload(NULL)),
		       REASON_INVALID_TOKEN, "");
}

static void a_member_that_stands_twice_is_refused_rfc7515_4(void **state)
{
	assert_allowed(token_of(payload(NULL)));
	assert_refused(jwt_sign(es, "ES256", "{\"alg\":\"ES256\",\"alg\":\"ES256\",\"typ\":\"at+jwt\",\"kid\":\"a\"}",
				payload(NULL)), REASON_INVALID_TOKEN, "");
	assert_refused(jwt_sign(es, "ES256",
				"{\"alg\":\"ES256\",\"typ\":\"at+jwt\",\"kid\":\"a\",\"\\u0061lg\":\"ES256\"}",
				payload(NULL)), REASON_INVALID_TOKEN, "");
	assert_refused(token_of(arena_printf(jwt_arena, "{\"sub\":\"mallory\",%s", payload(NULL) + 1)),
		       REASON_INVALID_TOKEN, "");
	assert_refused(token_of(arena_printf(jwt_arena, "{\"s\\u0075b\":\"mallory\",%s", payload(NULL) + 1)),
		       REASON_INVALID_TOKEN, "");
	assert_refused(token_of(payload("cnf", "{\"x5t#S256\":\"" X5T "\",\"x5t\\u0023S256\":\"" X5T "\"}", NULL)),
		       REASON_INVALID_TOKEN, "");
}

static void json_is_strict(void **state)
{
	static const char *const bad[] = {"", "[]", "\"x\"", "null", "{\"iss\":\"" URL "\"", "{}x", "{\"a\":NaN}",
					  "{\"a\":Infinity}", "{'a':1}", "{\"a\":1,}",
					  "{\"a\":\"\\u0000\"}", "{\"a\\u0000\":1}", "{\"a\":\"\\ud800\"}",
						"{\"a\":\"\xff\"}", "{\"a\":\"\xc0\x80\"}"};

	assert_allowed(token_of(payload(NULL)));
	/* white space around JSON is JSON */
	assert_allowed(token_of(arena_printf(jwt_arena, " \n%s\t", payload(NULL))));
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		assert_refused(token_of(bad[i]), REASON_INVALID_TOKEN, "");
		assert_refused(jwt_sign(es, "ES256", bad[i], payload(NULL)), REASON_INVALID_TOKEN, "");
	}
}

static void deep_nesting_is_refused(void **state)
{
	char *deep = arena_alloc(jwt_arena, 5001);

	memset(deep, '[', 2500);
	memset(deep + 2500, ']', 2500);
	deep[5000] = '\0';
	assert_refused(token_of(payload("deep", deep, NULL)), REASON_INVALID_TOKEN, "");
	assert_allowed(token_of(payload("deep", "[[[]]]", NULL)));
}

static void attack_13_kid_is_hostile_input_rfc8725_3_10(void **state)
{
	static const char *const bad[] = {"\"../../../../etc/passwd\"", "\"https://evil.example/jwks\"", "\"a\\u0001\"",
					  "\"' OR 1=1 --\"", "\"a2 \"", "\"A\"", "\"\""};
	static const char *const not_text[] = {"7", "null", "[\"a\"]", "{\"a\":1}"};
	char *longer = arena_zalloc(jwt_arena, 301);
	uint64_t digests[sizeof bad / sizeof bad[0]];

	assert_allowed(token_of(payload(NULL)));
	assert_int_equal(answer.want_kid, 0);
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		assert_refused(jwt_sign(es, "ES256", arena_printf(jwt_arena,
								  "{\"alg\":\"ES256\",\"typ\":\"at+jwt\",\"kid\":%s}",
								  bad[i]), payload(NULL)),
			       REASON_INVALID_TOKEN, "kid");
		assert_int_equal(answer.want_keys, 0);
		assert_null(strstr(answer.verdict.message, "evil"));
		digests[i] = answer.want_kid; /* all that is told of it: one for each kid */
		for (size_t j = 0; j < i; j++)
			assert_true(digests[j] != digests[i]);
	}
	for (size_t i = 0; i < sizeof not_text / sizeof not_text[0]; i++) {
		assert_refused(jwt_sign(es, "ES256", arena_printf(jwt_arena,
								  "{\"alg\":\"ES256\",\"typ\":\"at+jwt\",\"kid\":%s}",
								  not_text[i]), payload(NULL)),
			       REASON_INVALID_TOKEN, "kid");
		assert_int_equal(answer.want_keys, -1);
	}
	memset(longer, 'k', 300);
	assert_refused(jwt_sign(es, "ES256",
				arena_printf(jwt_arena, "{\"alg\":\"ES256\",\"typ\":\"at+jwt\",\"kid\":\"%s\"}",
					     longer), payload(NULL)),
		       REASON_INVALID_TOKEN, "kid");
}

static void static_keys(struct issuer_entry *e)
{
	strcpy(e[0].rule.jwks_file, "corp.jwks");
}

static void without_kid_exactly_one_key_must_fit(void **state)
{
	struct token_verifier *v = token_verifier_new(0);
	struct token_context cx = honest_context();

	assert_allowed(jwt_sign(ed, "EdDSA", "{\"alg\":\"EdDSA\",\"typ\":\"at+jwt\"}", payload(NULL)));
	assert_allowed(jwt_sign(es_b, "ES256", "{\"alg\":\"ES256\",\"typ\":\"at+jwt\"}",
				payload("iss", "\"" URL_B "\"", NULL)));
	/* A has two */
	assert_refused(jwt_sign(es, "ES256", "{\"alg\":\"ES256\",\"typ\":\"at+jwt\"}", payload(NULL)),
		       REASON_INVALID_TOKEN, "kid");
	assert_int_equal(answer.want_keys, -1);
	assert_refused(jwt_sign(ed, "EdDSA", "{\"alg\":\"EdDSA\",\"typ\":\"at+jwt\"}",
				payload("iss", "\"" URL_B "\"", NULL)), REASON_INVALID_TOKEN, "alg");
	/* keys from a file are not fetched: an unknown kid asks for nothing */
	set_world(v, static_keys);
	assert_int_equal(verify_with(v, jwt_sign(es, "ES256", "{\"alg\":\"ES256\",\"typ\":\"at+jwt\",\"kid\":\"new\"}",
						 payload(NULL)), &cx), REASON_INVALID_TOKEN);
	assert_int_equal(answer.want_keys, -1);
	assert_int_equal(verify_with(v, token_of(payload(NULL)), &cx), REASON_ALLOWED);
	token_verifier_free(v);
}

static struct keyset *replacement;
static void replaced(struct issuer_entry *e)
{
	e[0].keys = replacement;
}

static void set_keys(struct token_verifier *v, const char *list)
{
	replacement = keys(arena_printf(jwt_arena, "{\"keys\":[%s]}", list), ALL, 9);
	set_world(v, replaced);
	keyset_unref(replacement);
}

/* What a set of keys makes of a token whose header names this kid ("": none). */
static enum reason verify_under(const char *list, EVP_PKEY *key, const char *alg, const char *kid)
{
	struct token_verifier *v = token_verifier_new(0);
	struct token_context cx = honest_context();
	const char *h = arena_printf(jwt_arena, "{\"alg\":\"%s\",\"typ\":\"at+jwt\"%s}", alg, kid);
	enum reason r;

	set_keys(v, list);
	r = verify_with(v, jwt_sign(key, alg, h, payload(NULL)), &cx);
	token_verifier_free(v);
	return r;
}

/* RFC 7517 §4.5: keys of different kinds may share a kid; the algorithm then says which. */
static void kid_that_stands_twice_names_one_key_or_none(void **state)
{
	const char *mixed = arena_printf(jwt_arena, "%s,%s,%s", jwt_jwk(es, ",\"kid\":\"k\""), jwt_jwk(ed, ",\"kid\":\"k\""),
					 jwt_jwk(rsa_bare, ",\"kid\":\"k\""));
	const char *twins = arena_printf(jwt_arena, "%s,%s", jwt_jwk(es, ",\"kid\":\"k\""), jwt_jwk(es2, ",\"kid\":\"k\""));

	assert_int_equal(verify_under(mixed, es, "ES256", ",\"kid\":\"k\""), REASON_ALLOWED);
	assert_int_equal(verify_under(mixed, ed, "EdDSA", ",\"kid\":\"k\""), REASON_ALLOWED);
	assert_int_equal(verify_under(mixed, rsa_bare, "RS256", ",\"kid\":\"k\""), REASON_ALLOWED);
	assert_int_equal(verify_under(mixed, rsa_bare, "PS256", ",\"kid\":\"k\""), REASON_INVALID_TOKEN);
	assert_int_equal(verify_under(mixed, es2, "ES256", ",\"kid\":\"k\""), REASON_INVALID_TOKEN);
	/* of one kind: no trying of one after the other */
	assert_int_equal(verify_under(twins, es, "ES256", ",\"kid\":\"k\""), REASON_INVALID_TOKEN);
	assert_int_equal(verify_under(twins, es2, "ES256", ",\"kid\":\"k\""), REASON_INVALID_TOKEN);
	assert_string_equal(answer.verdict.field, "kid");
}

static void key_without_kid_answers_to_none(void **state)
{
	const char *bare = jwt_jwk(es, ""), *empty = jwt_jwk(es, ",\"kid\":\"\"");

	assert_int_equal(verify_under(bare, es, "ES256", ""), REASON_ALLOWED);
	assert_int_equal(verify_under(bare, es, "ES256", ",\"kid\":\"k\""), REASON_INVALID_TOKEN);
	assert_int_equal(verify_under(bare, es, "ES256", ",\"kid\":\"\""), REASON_INVALID_TOKEN);
	assert_int_equal(verify_under(empty, es, "ES256", ",\"kid\":\"\""), REASON_ALLOWED);
	assert_int_equal(verify_under(empty, es, "ES256", ",\"kid\":\"k\""), REASON_INVALID_TOKEN);
}

/* A set that publishes a secret: it is not loaded, whatever the token says. */
static void attack_7_symmetric_key_of_the_set_signs_nothing(void **state)
{
	static const char secret[] = "0123456789abcdef0123456789abcdef";
	const char *list = arena_printf(jwt_arena, "{\"kty\":\"oct\",\"kid\":\"s\",\"alg\":\"HS256\",\"k\":\"%s\"},%s",
					jwt_b64(secret, 32), jwt_jwk(es, ",\"kid\":\"a\""));
	struct token_verifier *v = token_verifier_new(0);
	struct token_context cx = honest_context();

	set_keys(v, list);
	assert_int_equal(verify_with(v, token_of(payload(NULL)), &cx), REASON_ALLOWED);
	assert_int_equal(verify_with(v, jwt_hmac(slice_of(secret, 32), "{\"alg\":\"HS256\",\"typ\":\"at+jwt\",\"kid\":\"s\"}",
						 payload(NULL)), &cx), REASON_INVALID_TOKEN);
	assert_string_equal(answer.verdict.field, "alg");
	/* under a name that is known, there is no such key */
	assert_int_equal(verify_with(v, jwt_hmac(slice_of(secret, 32), "{\"alg\":\"ES256\",\"typ\":\"at+jwt\",\"kid\":\"s\"}",
						 payload(NULL)), &cx), REASON_INVALID_TOKEN);
	assert_string_equal(answer.verdict.field, "kid");
	token_verifier_free(v);
}

/* ---- issuer and keys ---- */

static void attack_9_issuer_is_exact_rfc9068_4(void **state)
{
	static const char *const bad[] = {"\"" URL "/\"", "\"HTTPS://login.acme.example\"",
					  "\"https://login.acme.example.evil\"", "\"https://login.acme.exampl\"",
					  "\"\"",
					  "\"corp\""};
	static const char *const only_b[] = {URL_B};
	struct token_context cx = honest_context();

	assert_allowed(token_of(payload(NULL)));
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		assert_refused(token_of(payload("iss", bad[i], NULL)), REASON_WRONG_ISSUER, "iss");
	for (size_t cut = 1; cut < sizeof URL - 1; cut++) /* NATS: truncated before anybody is known */
		assert_refused(token_of(payload("iss", arena_printf(jwt_arena, "\"%.*s\"", (int)cut, URL), NULL)),
			       REASON_WRONG_ISSUER, "iss");
	assert_refused(token_of(payload("iss", "7", NULL)), REASON_INVALID_TOKEN, "iss");
	assert_refused(token_of(payload("iss", "null", NULL)), REASON_INVALID_TOKEN, "iss");
	assert_refused(token_of(payload("iss", "[\"" URL "\"]", NULL)), REASON_INVALID_TOKEN, "iss");
	assert_refused(token_of(payload("iss", NULL, NULL)), REASON_INVALID_TOKEN, "iss");
	/* the route's profile may take fewer */
	cx.allowed_issuers = only_b;
	cx.n_allowed_issuers = 1;
	assert_int_equal(verify_with(verifier, token_of(payload(NULL)), &cx), REASON_WRONG_ISSUER);
	assert_int_equal(verify_with(verifier,
				     jwt_sign(es_b, "ES256", "{\"alg\":\"ES256\",\"typ\":\"at+jwt\",\"kid\":\"b\"}",
					      payload("iss", "\"" URL_B "\"", NULL)), &cx),
			 REASON_ALLOWED);
	cx.n_allowed_issuers = 0; /* an empty list takes none */
	assert_int_equal(verify_with(verifier, token_of(payload(NULL)), &cx), REASON_WRONG_ISSUER);
}

static void no_keys(struct issuer_entry *e)
{
	e[0].keys = NULL;
}

static void stale_keys(struct issuer_entry *e)
{
	e[0].keys_good_until_ms = NOW * 1000LL - 1;
}

static void keys_good_until_now(struct issuer_entry *e)
{
	e[0].keys_good_until_ms = NOW * 1000LL;
}

static void without_keys_the_answer_is_keys_unavailable(void **state)
{
	struct token_verifier *v = token_verifier_new(8);
	struct token_context cx = honest_context();
	const char *token = token_of(payload(NULL));

	assert_int_equal(verify_with(v, token, &cx), REASON_KEYS_UNAVAILABLE); /* no issuers at all */
	assert_int_equal(answer.want_keys, -1);
	set_world(v, no_keys);
	assert_int_equal(verify_with(v, token, &cx), REASON_KEYS_UNAVAILABLE);
	assert_int_equal(answer.want_keys, 0);
	assert_int_equal(answer.want_kid, 0); /* any key at all */
	set_world(v, stale_keys);
	assert_int_equal(verify_with(v, token, &cx), REASON_KEYS_UNAVAILABLE);
	assert_int_equal(answer.want_keys, 0);
	set_world(v, keys_good_until_now);
	assert_int_equal(verify_with(v, token, &cx), REASON_ALLOWED);
	cx.now_ms++; /* what the cache remembers stops counting with the keys */
	assert_int_equal(verify_with(v, token, &cx), REASON_KEYS_UNAVAILABLE);
	assert_int_equal(token_verifier_hits(v), 1);
	token_verifier_set_issuers(v, NULL);
	assert_int_equal(verify_with(v, token, &cx), REASON_KEYS_UNAVAILABLE);
	token_verifier_free(v);
}

/* ---- claims ---- */

static void each_claim_is_required_rfc9068_2_2(void **state)
{
	static const char *const names[] = {"iss", "exp", "aud", "sub", "client_id", "iat", "jti"};

	assert_allowed(token_of(payload(NULL)));
	assert_allowed(token_of(payload("tenant", NULL, "scope", NULL, NULL)));
	assert_int_equal(answer.claims.n_scopes, 0);
	assert_string_equal(answer.claims.tenant, "");
	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
		assert_refused(token_of(payload(names[i], NULL, NULL)), REASON_INVALID_TOKEN, names[i]);
}

static void times_are_numbers_rfc7519_2(void **state)
{
	static const char *const names[] = {"exp", "iat", "nbf"};
	static const char *const bad[] = {"\"1764000000\"", "null", "true", "[1764000000]", "{}", "-1", "-0.5", "-0.0", "-1e-9",
					  "9007199254740993", "1e300", "9.1e15"};

	assert_allowed(token_of(payload("exp", "1764000300.75", "iat", "1763999990.5", "nbf", "1.763999991e9", NULL)));
	assert_int_equal(answer.claims.expires_at_ms, 1764000300750);
	assert_int_equal(answer.claims.issued_at_ms, 1763999990500);
	assert_int_equal(answer.claims.not_before_ms, 1763999991000);
	for (size_t n = 0; n < 3; n++) {
		for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
			assert_refused(token_of(payload(names[n], bad[i], NULL)), REASON_INVALID_TOKEN, names[n]);
		assert_refused(token_of(payload(names[n], "1e400", NULL)), REASON_INVALID_TOKEN, "");
		assert_refused(token_of(payload(names[n], "NaN", NULL)), REASON_INVALID_TOKEN, "");
		assert_refused(token_of(payload(names[n], "99999999999999999999", NULL)), REASON_INVALID_TOKEN, "");
	}
}

static void lifetime_is_capped(void **state)
{
	assert_allowed(token_of(payload("iat", "1763999990", "exp", "1764003590", NULL))); /* one hour */
	assert_refused(token_of(payload("iat", "1763999990", "exp", "1764003591", NULL)), REASON_INVALID_TOKEN, "exp");
	assert_refused(token_of(payload("exp", "9007199254740992", NULL)), REASON_INVALID_TOKEN, "exp");
	assert_refused(token_of(payload("iat", "1764000020", "exp", "1764000020", NULL)), REASON_INVALID_TOKEN, "exp");
	assert_refused(token_of(payload("iat", "1764000020", "exp", "1764000010", NULL)), REASON_INVALID_TOKEN, "exp");
}

static void time_has_leeway_of_at_most_a_minute(void **state)
{
	struct token_context cx = honest_context();

	/* 30 s of leeway: the moment before, and the moment */
	assert_allowed(token_of(payload("exp", "1763999971", "iat", "1763999900", NULL)));
	assert_refused(token_of(payload("exp", "1763999970", "iat", "1763999900", NULL)), REASON_EXPIRED_TOKEN, "exp");
	assert_true(answer.have_claims);
	assert_string_equal(answer.claims.subject, "alice");
	assert_allowed(token_of(payload("nbf", "1764000030", NULL)));
	assert_refused(token_of(payload("nbf", "1764000031", NULL)), REASON_INVALID_TOKEN, "nbf");
	assert_allowed(token_of(payload("iat", "1764000030", NULL)));
	assert_refused(token_of(payload("iat", "1764000031", NULL)), REASON_INVALID_TOKEN, "iat");
	/* fractions count */
	assert_allowed(token_of(payload("exp", "1763999970.001", "iat", "1763999900", NULL)));
	assert_refused(token_of(payload("exp", "1763999970.0009", "iat", "1763999900", NULL)), REASON_EXPIRED_TOKEN, "exp");
	assert_allowed(token_of(payload("nbf", "1764000030.0", NULL)));
	assert_refused(token_of(payload("nbf", "1764000030.001", NULL)), REASON_INVALID_TOKEN, "nbf");
	cx.leeway_ms = 3600 * 1000;
	assert_int_equal(verify_with(verifier, token_of(payload("exp", "1763999941", "iat", "1763999900", NULL)), &cx),
			 REASON_ALLOWED);
	assert_int_equal(verify_with(verifier, token_of(payload("exp", "1763999940", "iat", "1763999900", NULL)), &cx),
			 REASON_EXPIRED_TOKEN);
	cx.leeway_ms = -5;
	assert_int_equal(verify_with(verifier, token_of(payload("exp", "1764000001", "iat", "1763999900", NULL)), &cx),
			 REASON_ALLOWED);
	assert_int_equal(verify_with(verifier, token_of(payload("exp", "1764000000", "iat", "1763999900", NULL)), &cx),
			 REASON_EXPIRED_TOKEN);
}

static void audience_is_an_exact_member_rfc7519_4_1_3(void **state)
{
	static const char *const good[] = {"\"baton\"", "[\"baton\"]", "[\"x\",\"baton\"]",
					   "[\"1\",\"2\",\"3\",\"4\",\"5\",\"6\",\"7\",\"8\",\"9\",\"10\",\"11\",\"12\",\"13\",\"14\",\"15\",\"baton\"]"};
	static const char *const wrong[] = {"\"Baton\"", "\"baton \"", "\"bato\"", "\"batons\"", "[\"x\",\"y\"]",
					    "\"baton,x\"", "\"x baton\"", "\"https://baton\""};
	static const char *const bad[] = {"7", "null", "{\"baton\":1}", "[]", "[7]", "[\"baton\",7]", "\"\"",
					  "[\"baton\",\"\"]", "[[\"baton\"]]",
					  "[\"1\",\"2\",\"3\",\"4\",\"5\",\"6\",\"7\",\"8\",\"9\",\"10\",\"11\",\"12\",\"13\",\"14\",\"15\",\"16\",\"baton\"]"};
	struct token_context cx = honest_context();

	for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
		assert_allowed(token_of(payload("aud", good[i], NULL)));
		assert_string_equal(answer.claims.audience, "baton");
	}
	for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
		assert_refused(token_of(payload("aud", wrong[i], NULL)), REASON_WRONG_AUDIENCE, "aud");
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		assert_refused(token_of(payload("aud", bad[i], NULL)), REASON_INVALID_TOKEN, "aud");
	cx.audience = NULL;
	assert_int_equal(verify_with(verifier, token_of(payload("aud", "\"x\"", NULL)), &cx), REASON_ALLOWED);
	assert_string_equal(answer.claims.audience, "");
}

static void strings_are_text(void **state)
{
	static const char *const names[] = {"sub", "client_id", "jti", "tenant"};
	static const char *const bad[] = {"7", "null", "[\"planner\"]", "\"\"", "\"a\\u000ab\"", "\"a\\u007fb\"",
					  "\"\\u0085\""};
	char *longer = arena_zalloc(jwt_arena, 2060);

	assert_allowed(token_of(payload("sub", "\"J\xc3\xbcrgen\"", NULL)));
	for (size_t n = 0; n < sizeof names / sizeof names[0]; n++)
		for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
			assert_refused(token_of(payload(names[n], bad[i], NULL)), REASON_INVALID_TOKEN, names[n]);
	memset(longer, 'a', 2048);
	assert_allowed(token_of(payload("sub", arena_printf(jwt_arena, "\"%s\"", longer), NULL)));
	assert_refused(token_of(payload("sub", arena_printf(jwt_arena, "\"%sb\"", longer), NULL)), REASON_INVALID_TOKEN,
		       "sub");
	longer[256] = '\0';
	assert_allowed(token_of(payload("jti", arena_printf(jwt_arena, "\"%s\"", longer), NULL)));
	assert_refused(token_of(payload("jti", arena_printf(jwt_arena, "\"%sb\"", longer), NULL)), REASON_INVALID_TOKEN,
		       "jti");
}

/* n scopes of the given length, in a JSON string or array. */
static const char *scopes(size_t n, int length, bool array)
{
	const char *text = "";

	for (size_t i = 0; i < n; i++)
		text = arena_printf(jwt_arena, array ? "%s%s\"%0*zu\"" : "%s%s%0*zu", text,
				    i == 0 ? "" : array ? "," : " ", length, i);
	return arena_printf(jwt_arena, array ? "[%s]" : "\"%s\"", text);
}

static void scope_is_a_list_of_scope_tokens_rfc6749_3_3(void **state)
{
	static const char *const bad[] = {"7", "null", "{}", "[7]", "[\"a\",null]", "\"a  b\"", "\" a\"", "\"a \"",
					  "\" \"", "\"a\\tb\"", "\"a\\\"b\"", "\"a\\\\b\"", "\"\xc3\xa4\"",
					  "[\"\"]", "[\"a b\"]", "[\"a\\u0000\"]"};

	assert_allowed(token_of(payload("scope", "\"\"", NULL)));
	assert_int_equal(answer.claims.n_scopes, 0);
	assert_allowed(token_of(payload("scope", "[]", NULL)));
	assert_allowed(token_of(payload("scope", "[\"a\",\"https://x/y!#[]^~\"]", NULL)));
	assert_int_equal(answer.claims.n_scopes, 2);
	assert_true(claims_has_scope(&answer.claims, SLICE_LIT("https://x/y!#[]^~")));
	for (size_t i = 0; i + 1 < sizeof bad / sizeof bad[0]; i++)
		assert_refused(token_of(payload("scope", bad[i], NULL)), REASON_INVALID_TOKEN, "scope");
	assert_refused(token_of(payload("scope", bad[sizeof bad / sizeof bad[0] - 1], NULL)), REASON_INVALID_TOKEN, "");
	for (int array = 0; array < 2; array++) {
		assert_allowed(token_of(payload("scope", scopes(128, 3, array), NULL)));
		assert_int_equal(answer.claims.n_scopes, 128);
		assert_true(claims_has_scope(&answer.claims, SLICE_LIT("127")));
		assert_refused(token_of(payload("scope", scopes(129, 3, array), NULL)), REASON_INVALID_TOKEN, "scope");
		assert_allowed(token_of(payload("scope", scopes(2, 64, array), NULL)));
		assert_refused(token_of(payload("scope", scopes(2, 65, array), NULL)), REASON_INVALID_TOKEN, "scope");
	}
}

/* ---- tenant, binding, client ---- */

static void no_tenants(struct issuer_entry *e)
{
	e[0].rule.n_tenants = 0;
}

static void attack_6_tenant_is_the_agents(void **state)
{
	struct token_verifier *v = token_verifier_new(0);
	struct token_context cx = honest_context();

	assert_allowed(token_of(payload(NULL)));
	assert_refused(token_of(payload("tenant", "\"globex\"", NULL)), REASON_TENANT_BOUNDARY, "tenant");
	assert_allowed(token_of(payload("tenant", NULL, NULL))); /* no claim: the issuer's rule speaks */
	cx.tenant = "globex";                                    /* the issuer does not speak for it */
	assert_int_equal(verify_with(verifier, token_of(payload("tenant", "\"globex\"", NULL)), &cx),
			 REASON_TENANT_BOUNDARY);
	assert_int_equal(verify_with(verifier, token_of(payload("tenant", NULL, NULL)), &cx), REASON_TENANT_BOUNDARY);
	cx.tenant = NULL;
	assert_int_equal(verify_with(verifier, token_of(payload("tenant", "\"globex\"", NULL)), &cx), REASON_ALLOWED);
	cx.tenant = "acme";
	set_world(v, no_tenants);
	assert_int_equal(verify_with(v, token_of(payload(NULL)), &cx), REASON_TENANT_BOUNDARY);
	token_verifier_free(v);
}

static void two_tenants(struct issuer_entry *e)
{
	strcpy(e[0].rule.tenants[1], "globex");
	e[0].rule.n_tenants = 2;
}

/* A client's name is unique inside its tenant only. */
static void issuer_of_two_tenants_names_one(void **state)
{
	struct token_verifier *v = token_verifier_new(0);
	struct token_context cx = honest_context();

	set_world(v, two_tenants);
	assert_int_equal(verify_with(v, token_of(payload(NULL)), &cx), REASON_ALLOWED);
	assert_int_equal(verify_with(v, token_of(payload("tenant", NULL, NULL)), &cx), REASON_TENANT_BOUNDARY);
	cx.tenant = "globex";
	assert_int_equal(verify_with(v, token_of(payload("tenant", "\"globex\"", NULL)), &cx), REASON_ALLOWED);
	assert_int_equal(verify_with(v, token_of(payload("tenant", NULL, NULL)), &cx), REASON_TENANT_BOUNDARY);
	token_verifier_free(v);
}

static void no_binding(struct issuer_entry *e)
{
	e[0].rule.binding = false;
}

static void token_is_bound_to_the_certificate_rfc8705_3(void **state)
{
	static const char *const malformed[] = {"\"" X5T "\"", "null", "[]", "{\"x5t#S256\":7}", "{\"x5t#S256\":\"\"}",
						"{\"x5t#S256\":\"" X5T "=\"}",
						"{\"x5t#S256\":\"bwcK0esc3ACC3DB2Y5_lESsXE8o9ltc05O89jdN-dg1\"}" /* idle bits */};
	const char *none = token_of(payload("cnf", NULL, NULL)), *good = token_of(payload(NULL));
	const char *other = token_of(payload("cnf", "{\"x5t#S256\":\"" X5T_OTHER "\"}", NULL));
	struct token_verifier *loose = token_verifier_new(0);
	struct token_context cx = honest_context(), bare = honest_context();

	set_world(loose, no_binding);
	bare.x5t_s256 = NULL;
	assert_allowed(good);
	assert_refused(other, REASON_TOKEN_BINDING, "cnf");
	assert_refused(none, REASON_TOKEN_BINDING, "cnf");
	assert_int_equal(verify_with(verifier, good, &bare), REASON_TOKEN_BINDING);
	assert_int_equal(verify_with(verifier, none, &bare), REASON_TOKEN_BINDING);
	for (size_t i = 0; i < sizeof malformed / sizeof malformed[0]; i++)
		assert_refused(token_of(payload("cnf", malformed[i], NULL)), REASON_INVALID_TOKEN, "cnf");
	/* binding off: a token may go unbound, but a bound one still binds */
	assert_int_equal(verify_with(loose, none, &cx), REASON_ALLOWED);
	assert_false(answer.claims.bound);
	assert_int_equal(verify_with(loose, none, &bare), REASON_ALLOWED);
	assert_int_equal(verify_with(loose, good, &cx), REASON_ALLOWED);
	assert_true(answer.claims.bound);
	assert_int_equal(verify_with(loose, other, &cx), REASON_TOKEN_BINDING);
	assert_int_equal(verify_with(loose, good, &bare), REASON_TOKEN_BINDING);
	token_verifier_free(loose);
}

static void dpop_token_is_no_bearer_token_rfc9449_7_2(void **state)
{
	static const char *const cnfs[] = {"{\"jkt\":\"" X5T_OTHER "\"}", "{\"jkt\":\"x\",\"x5t#S256\":\"" X5T "\"}",
					   "{\"jwk\":{},\"x5t#S256\":\"" X5T "\"}", "{\"jwe\":\"x\",\"x5t#S256\":\"" X5T "\"}",
					   "{\"jku\":\"x\",\"x5t#S256\":\"" X5T "\"}", "{\"jkt\":null,\"x5t#S256\":\"" X5T "\"}",
					   "{\"jwk\":{}}", "{\"kid\":\"x\"}", "{}"};
	struct token_verifier *loose = token_verifier_new(0);
	struct token_context cx = honest_context();

	set_world(loose, no_binding);
	assert_allowed(token_of(payload(NULL)));
	/* what is not understood is ignored (RFC 7800 §3.1) */
	assert_allowed(token_of(payload("cnf", "{\"x5t#S256\":\"" X5T "\",\"osc\":{}}", NULL)));
	for (size_t i = 0; i < sizeof cnfs / sizeof cnfs[0]; i++) {
		assert_refused(token_of(payload("cnf", cnfs[i], NULL)), REASON_TOKEN_BINDING, "cnf");
		assert_int_equal(verify_with(loose, token_of(payload("cnf", cnfs[i], NULL)), &cx),
				 REASON_TOKEN_BINDING);
	}
	token_verifier_free(loose);
}

static void attack_4_client_is_the_agent(void **state)
{
	struct token_context cx = honest_context();

	assert_allowed(token_of(payload(NULL)));
	assert_allowed(token_of(payload("client_id", "\"spiffe://acme.example/planner\"", NULL)));
	assert_refused(token_of(payload("client_id", "\"worker\"", NULL)), REASON_IDENTITY_MISMATCH, "client_id");
	assert_refused(token_of(payload("client_id", "\"Planner\"", NULL)), REASON_IDENTITY_MISMATCH, "client_id");
	cx.client_alt = NULL;
	assert_int_equal(verify_with(verifier, token_of(payload("client_id", "\"spiffe://acme.example/planner\"",
								NULL)), &cx), REASON_IDENTITY_MISMATCH);
	cx.client = NULL;
	assert_int_equal(verify_with(verifier, token_of(payload("client_id", "\"worker\"", NULL)), &cx),
			 REASON_ALLOWED);
}

static void other_names(struct issuer_entry *e)
{
	strcpy(e[0].rule.claims.client.name[0], "azp");
	strcpy(e[0].rule.claims.scope.name[0], "scp");
	strcpy(e[0].rule.claims.tenant, "tid");
	strcpy(e[0].rule.claims.user, "name");
}

static void rule_names_the_claims(void **state)
{
	struct token_verifier *v = token_verifier_new(0);
	struct token_context cx = honest_context();

	set_world(v, other_names);
	assert_int_equal(verify_with(v, token_of(payload("client_id", NULL, "azp", "\"planner\"", "scp", "[\"x\"]",
							 "tid", "\"acme\"", "name", "\"Alice\"", NULL)), &cx),
							 REASON_ALLOWED);
	assert_true(answer.claims.subject_is_user);
	assert_int_equal(answer.claims.n_scopes, 1);
	assert_int_equal(verify_with(v, token_of(payload("azp", "\"planner\"", "name", "false", NULL)), &cx),
			 REASON_ALLOWED);
	assert_false(answer.claims.subject_is_user);
	assert_int_equal(answer.claims.n_scopes, 0);
	assert_int_equal(verify_with(v, token_of(payload("azp", "\"planner\"", "name", "null", NULL)), &cx),
			 REASON_ALLOWED);
	assert_false(answer.claims.subject_is_user);
	/* client_id does not stand in for azp */
	assert_int_equal(verify_with(v, token_of(payload(NULL)), &cx), REASON_INVALID_TOKEN);
	assert_int_equal(verify_with(v, token_of(payload("azp", "\"planner\"", "tid", "\"globex\"", NULL)), &cx),
			 REASON_TENANT_BOUNDARY);
	token_verifier_free(v);
	/* without a user claim: who speaks for itself is no user */
	assert_allowed(token_of(payload("sub", "\"planner\"", NULL)));
	assert_false(answer.claims.subject_is_user);
}

static void reasons_come_in_the_order_of_the_document(void **state)
{
	const char *all_wrong = payload("exp", "1763990000", "iat", "1763989000", "aud", "\"x\"", "tenant",
					"\"globex\"", "cnf", NULL, "client_id", "\"worker\"", NULL);

	assert_refused(jwt_sign(es_b, "ES256", HEADER, all_wrong), REASON_INVALID_TOKEN, "");
	assert_refused(token_of(all_wrong), REASON_EXPIRED_TOKEN, "exp");
	assert_refused(token_of(payload("aud", "\"x\"", "tenant", "\"globex\"", "cnf", NULL, "client_id", "\"worker\"",
					NULL)), REASON_WRONG_AUDIENCE, "aud");
	assert_refused(token_of(payload("tenant", "\"globex\"", "cnf", NULL, "client_id", "\"worker\"", NULL)),
		       REASON_TENANT_BOUNDARY, "tenant");
	assert_refused(token_of(payload("cnf", NULL, "client_id", "\"worker\"", NULL)), REASON_TOKEN_BINDING, "cnf");
	assert_refused(token_of(payload("client_id", "\"worker\"", NULL)), REASON_IDENTITY_MISMATCH, "client_id");
	assert_allowed(token_of(payload(NULL)));
}

static void a_full_arena_denies(void **state)
{
	struct arena *tiny = arena_new(256);
	struct token_context cx = honest_context();
	const char *token = token_of(payload("padding", NULL, "sub", arena_printf(jwt_arena, "\"%0600d\"", 7), NULL));

	assert_allowed(token);
	token_verify(verifier, slice_str(token), &cx, tiny, &answer);
	assert_false(verdict_ok(&answer.verdict));
	assert_false(answer.have_claims);
	arena_free(tiny);
}

/* ---- cache ---- */

static void cache_judges_every_claim_anew(void **state)
{
	struct token_verifier *v = token_verifier_new(8);
	struct token_context cx = honest_context(), changed;
	const char *token = token_of(payload(NULL));
	static const char *const only_b[] = {URL_B};

	set_world(v, NULL);
	assert_int_equal(verify_with(v, token, &cx), REASON_ALLOWED);
	assert_int_equal(token_verifier_hits(v), 0);
	assert_int_equal(token_verifier_misses(v), 1);
	assert_int_equal(verify_with(v, token, &cx), REASON_ALLOWED);
	assert_int_equal(token_verifier_hits(v), 1);
	assert_string_equal(answer.claims.subject, "alice");
	assert_string_equal(answer.claims.audience, "baton");
	assert_int_equal(answer.claims.n_scopes, 2);
	assert_string_equal(answer.claims.scopes[1], "orders:write");
	assert_true(answer.claims.bound);
#define CHANGED(member, value, reason)                                                                                 \
	changed = cx;                                                                                                  \
	changed.member = value;                                                                                        \
	assert_int_equal(verify_with(v, token, &changed), reason)
	CHANGED(now_ms, (NOW + 330) * 1000LL, REASON_EXPIRED_TOKEN);
	CHANGED(now_ms, (NOW + 330) * 1000LL - 1, REASON_ALLOWED);
	CHANGED(audience, "other", REASON_WRONG_AUDIENCE);
	CHANGED(x5t_s256, X5T_OTHER, REASON_TOKEN_BINDING);
	CHANGED(x5t_s256, NULL, REASON_TOKEN_BINDING);
	CHANGED(tenant, "globex", REASON_TENANT_BOUNDARY);
	CHANGED(client, "worker", REASON_IDENTITY_MISMATCH);
	changed = cx;
	changed.allowed_issuers = only_b;
	changed.n_allowed_issuers = 1;
	assert_int_equal(verify_with(v, token, &changed), REASON_WRONG_ISSUER);
	assert_int_equal(verify_with(v, token, &cx), REASON_ALLOWED);
	assert_int_equal(token_verifier_hits(v), 10);
	assert_int_equal(token_verifier_misses(v), 1);
	token_verifier_free(v);
}

static void swapped(struct issuer_entry *e)
{
	struct issuer_entry first = e[0];

	e[0] = e[1];
	e[1] = first;
}

static void removed(struct issuer_entry *e)
{
	e[0] = e[1];
}

static void cache_ends_with_the_keys(void **state)
{
	struct token_verifier *v = token_verifier_new(8);
	struct token_context cx = honest_context();
	const char *token = token_of(payload(NULL));

	set_world(v, NULL);
	assert_int_equal(verify_with(v, token, &cx), REASON_ALLOWED);
	set_world(v, NULL); /* the same keys of the same generation still count, wherever the issuer stands now */
	assert_int_equal(verify_with(v, token, &cx), REASON_ALLOWED);
	set_world(v, swapped);
	assert_int_equal(verify_with(v, token, &cx), REASON_ALLOWED);
	assert_string_equal(answer.claims.issuer_name, "corp");
	assert_int_equal(token_verifier_hits(v), 2);
	replacement = keys(jwks_a, ALL, 2); /* another generation is verified anew */
	set_world(v, replaced);
	keyset_unref(replacement);
	assert_int_equal(verify_with(v, token, &cx), REASON_ALLOWED);
	assert_int_equal(token_verifier_hits(v), 2);
	replacement = keys(jwks_b, ALL, 2); /* the key is gone */
	set_world(v, replaced);
	keyset_unref(replacement);
	assert_int_equal(verify_with(v, token, &cx), REASON_INVALID_TOKEN);
	assert_int_equal(answer.want_keys, 0);
	set_world(v, NULL);
	assert_int_equal(verify_with(v, token, &cx), REASON_ALLOWED);
	set_world(v, removed); /* the issuer is gone */
	assert_int_equal(verify_with(v, token, &cx), REASON_WRONG_ISSUER);
	set_world(v, other_names); /* the rule reads other claims now */
	assert_int_equal(verify_with(v, token, &cx), REASON_INVALID_TOKEN);
	assert_int_equal(token_verifier_hits(v), 2);
	token_verifier_free(v);
}

static void cache_is_bounded_and_forgets_the_oldest(void **state)
{
	struct token_verifier *v = token_verifier_new(2);
	struct token_context cx = honest_context();
	const char *t[3];

	set_world(v, NULL);
	for (size_t i = 0; i < 3; i++)
		t[i] = token_of(payload("jti", arena_printf(jwt_arena, "\"t%zu\"", i), NULL));
	verify_with(v, t[0], &cx);
	verify_with(v, t[1], &cx);
	verify_with(v, t[0], &cx); /* hit: 1 is the oldest now */
	verify_with(v, t[2], &cx);
	assert_int_equal(token_verifier_hits(v), 1);
	verify_with(v, t[0], &cx);
	assert_string_equal(answer.claims.jti, "t0");
	verify_with(v, t[2], &cx);
	assert_string_equal(answer.claims.jti, "t2");
	assert_int_equal(token_verifier_hits(v), 3);
	verify_with(v, t[1], &cx);
	assert_int_equal(token_verifier_hits(v), 3);
	assert_int_equal(token_verifier_misses(v), 4);
	for (size_t i = 0; i < 300; i++)
		verify_with(v, t[i % 3], &cx);
	token_verifier_free(v);
}

static void failures_are_not_remembered(void **state)
{
	struct token_verifier *v = token_verifier_new(8);
	struct token_context cx = honest_context();
	const char *forged = jwt_sign(es_b, "ES256", HEADER, payload(NULL)),
		*wrong = token_of(payload("jti", NULL, NULL));

	set_world(v, NULL);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(verify_with(v, forged, &cx), REASON_INVALID_TOKEN);
		assert_int_equal(verify_with(v, wrong, &cx), REASON_INVALID_TOKEN);
	}
	assert_int_equal(token_verifier_hits(v), 0);
	assert_int_equal(token_verifier_misses(v), 4);
	assert_int_equal(verify_with(v, token_of(payload(NULL)), &cx), REASON_ALLOWED);
	token_verifier_free(v);
}

static void members_are_read_by_name(void **state)
{
	const char *p = payload("groups", "[\"staff\",7,null,{\"on\":\"call\"},[\"deep\"],\"on-call\"]", "role", "\"sre\"", "n", "7", "empty", "\"\"", NULL);
	struct token_members *m = token_members_open(slice_str(jwt_sign(es, "ES256", HEADER, p)));

	assert_non_null(m);
	assert_true(token_members_have(m, "groups", "staff"));
	assert_true(token_members_have(m, "groups", "on-call"));
	assert_true(token_members_have(m, "role", "sre"));
	assert_true(token_members_have(m, "sub", "alice"));
	assert_true(token_members_have(m, "empty", ""));
	assert_false(token_members_have(m, "groups", "deep"));
	assert_false(token_members_have(m, "groups", "call"));
	assert_false(token_members_have(m, "groups", "staf"));
	assert_false(token_members_have(m, "role", "sr"));
	assert_false(token_members_have(m, "n", "7"));
	assert_false(token_members_have(m, "cnf", X5T));
	assert_false(token_members_have(m, "absent", ""));
	token_members_free(m);
	token_members_free(NULL);
	assert_null(token_members_open(slice_str("no.token.this")));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(honest_token_gives_its_claims),
		cmocka_unit_test(every_algorithm_verifies_with_its_key_rfc7518_3),
		cmocka_unit_test(typ_is_a_media_type_rfc7515_4_1_9),
		cmocka_unit_test(missing_token_is_its_own_reason),
		cmocka_unit_test(form_is_strict_rfc7515_2),
		cmocka_unit_test(trailing_bits_must_be_zero_rfc7515_2),
		cmocka_unit_test(token_has_at_most_8_kib),
		cmocka_unit_test(attack_7_alg_none_and_hmac_are_refused_rfc8725_3_1),
		cmocka_unit_test(unsigned_token_is_refused),
		cmocka_unit_test(key_pins_its_algorithm_rfc8725_3_1),
		cmocka_unit_test(rule_limits_the_algorithms),
		cmocka_unit_test(attack_8_es256_signature_is_64_octets_rfc7518_3_4),
		cmocka_unit_test(changed_bytes_do_not_verify),
		cmocka_unit_test(key_of_another_issuer_does_not_count_rfc8725_3_8),
		cmocka_unit_test(header_begins_with_its_brace),
		cmocka_unit_test(attack_10_crit_and_b64_are_refused_rfc7515_4_1_11),
		cmocka_unit_test(a_member_that_stands_twice_is_refused_rfc7515_4),
		cmocka_unit_test(json_is_strict),
		cmocka_unit_test(deep_nesting_is_refused),
		cmocka_unit_test(attack_13_kid_is_hostile_input_rfc8725_3_10),
		cmocka_unit_test(kid_that_stands_twice_names_one_key_or_none),
		cmocka_unit_test(key_without_kid_answers_to_none),
		cmocka_unit_test(attack_7_symmetric_key_of_the_set_signs_nothing),
		cmocka_unit_test(without_kid_exactly_one_key_must_fit),
		cmocka_unit_test(attack_9_issuer_is_exact_rfc9068_4),
		cmocka_unit_test(without_keys_the_answer_is_keys_unavailable),
		cmocka_unit_test(each_claim_is_required_rfc9068_2_2),
		cmocka_unit_test(times_are_numbers_rfc7519_2),
		cmocka_unit_test(lifetime_is_capped),
		cmocka_unit_test(time_has_leeway_of_at_most_a_minute),
		cmocka_unit_test(audience_is_an_exact_member_rfc7519_4_1_3),
		cmocka_unit_test(strings_are_text),
		cmocka_unit_test(scope_is_a_list_of_scope_tokens_rfc6749_3_3),
		cmocka_unit_test(attack_6_tenant_is_the_agents),
		cmocka_unit_test(issuer_of_two_tenants_names_one),
		cmocka_unit_test(token_is_bound_to_the_certificate_rfc8705_3),
		cmocka_unit_test(dpop_token_is_no_bearer_token_rfc9449_7_2),
		cmocka_unit_test(attack_4_client_is_the_agent),
		cmocka_unit_test(rule_names_the_claims),
		cmocka_unit_test(reasons_come_in_the_order_of_the_document),
		cmocka_unit_test(a_full_arena_denies),
		cmocka_unit_test(cache_judges_every_claim_anew),
		cmocka_unit_test(cache_ends_with_the_keys),
		cmocka_unit_test(cache_is_bounded_and_forgets_the_oldest),
		cmocka_unit_test(failures_are_not_remembered),
		cmocka_unit_test(members_are_read_by_name),
	};

	return cmocka_run_group_tests(tests, world_up, world_down);
}
