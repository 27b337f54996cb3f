/* Does a second implementation agree with Baton's verifier about signature and form? A corpus of tokens, honest and
 * spoiled (token_corpus.c), is put to both. Baton takes a token exactly when cjose takes it and none of the rules below
 * speaks against it: so nothing that cjose refuses is ever taken, and every difference has a name. cjose has no EdDSA.
 * BATON_SEED=N makes another corpus, BATON_TOKENS=N one of another size. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <cmocka.h>

#include <cjose/cjose.h>
#include <jansson.h>

#include "identity/token.h"
#include "test_identity_jwt.h"
#include "token_corpus.h"

#define SEED 1
#define TOKENS 20000

static struct token_verifier *verifier;
static struct arena *arena;
static cjose_jwk_t *judges[CORPUS_KEYS]; /* cjose's keys */

static struct issuers *issuer_with(const char *jwks)
{
	struct problem why = {{0}};
	struct issuer_entry e = {.keys_good_until_ms = INT64_MAX};
	struct issuers *i;

	strcpy(e.rule.name, "corp");
	strcpy(e.rule.url, CORPUS_URL);
	e.rule.algorithms = ALG_ES256 | ALG_ES384 | ALG_RS256 | ALG_PS256;
	e.rule.max_lifetime_ms = 3600 * 1000;
	e.keys = keyset_parse(slice_str(jwks), e.rule.algorithms, 1, &why);
	if (keyset_size(e.keys) != CORPUS_KEYS)
		fail_msg("%s", why.text);
	i = issuers_new(&e, 1);
	keyset_unref(e.keys);
	return i;
}

static int world_up(void **state)
{
	const char *seed = getenv("BATON_SEED"), *list = "", *jwk;
	struct issuers *i;

	corpus_begin(seed ? strtoull(seed, NULL, 10) : SEED);
	arena = arena_new(1 << 20);
	for (size_t k = 0; k < CORPUS_KEYS; k++) {
		jwk = corpus_jwk(&corpus_keys[k]);
		judges[k] = cjose_jwk_import(jwk, strlen(jwk), NULL);
		assert_non_null(judges[k]);
		list = arena_printf(jwt_arena, "%s%s%s", list, k ? "," : "", jwk);
	}
	i = issuer_with(arena_printf(jwt_arena, "{\"keys\":[%s]}", list));
	verifier = token_verifier_new(0);
	token_verifier_set_issuers(verifier, i);
	issuers_unref(i);
	return 0;
}

static int world_down(void **state)
{
	for (size_t k = 0; k < CORPUS_KEYS; k++)
		cjose_jwk_release(judges[k]);
	token_verifier_free(verifier);
	arena_free(arena);
	corpus_end();
	return 0;
}

/* ---- the rules that cjose does not have ---- */

/* A token that cjose takes, as cjose reads it. */
struct taken {
	struct slice token, payload;
	const json_t *header;
	const struct corpus_key *key;
};

static struct slice segment(const struct taken *t, int n)
{
	const uint8_t *at = t->token.p, *end = at + t->token.n, *dot;

	for (; (dot = memchr(at, '.', (size_t)(end - at))) && n > 0; n--)
		at = dot + 1;
	return slice_of(at, (size_t)((dot ? dot : end) - at));
}

static bool is_long(const struct taken *t)
{
	return t->token.n > 8192;
}

static bool has_foreign_character(const struct taken *t)
{
	for (size_t i = 0; i < t->token.n; i++)
		if (!t->token.p[i] || !strchr("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.", t->token.p[i]))
			return true;
	return false;
}

/* Decoded and encoded again, a segment is another. */
static bool is_not_canonical(const struct taken *t)
{
	bool same = true;

	for (int i = 0; i < 3 && same; i++) {
		struct slice s = segment(t, i);
		uint8_t *bytes = NULL;
		char *again = NULL;
		size_t n = 0, again_n = 0;

		same = cjose_base64url_decode((const char *)s.p, s.n, &bytes, &n, NULL) &&
		       cjose_base64url_encode(bytes, n, &again, &again_n, NULL) && slice_eq(s, slice_of(again, again_n));
		cjose_get_dealloc()(bytes);
		cjose_get_dealloc()(again);
	}
	return !same && !has_foreign_character(t);
}

static bool reads(struct slice json, size_t flags)
{
	json_t *v = json_loadb((const char *)json.p, json.n, flags, NULL);
	bool object = json_is_object(v);

	json_decref(v);
	return object;
}

static struct slice header_text(const struct taken *t, uint8_t **out)
{
	struct slice s = segment(t, 0);
	size_t n = 0;

	assert_true(cjose_base64url_decode((const char *)s.p, s.n, out, &n, NULL));
	return slice_of(*out, n);
}

static bool repeats_a_header(const struct taken *t)
{
	uint8_t *bytes = NULL;
	bool twice = !reads(header_text(t, &bytes), JSON_REJECT_DUPLICATES);

	cjose_get_dealloc()(bytes);
	return twice;
}

static bool begins_without_brace(const struct taken *t)
{
	uint8_t *bytes = NULL;
	bool without = header_text(t, &bytes).p[0] != '{';

	cjose_get_dealloc()(bytes);
	return without;
}

static bool is_no_claims_set(const struct taken *t)
{
	return !reads(t->payload, 0);
}

static bool repeats_a_claim(const struct taken *t)
{
	return !is_no_claims_set(t) && !reads(t->payload, JSON_REJECT_DUPLICATES);
}

static const char *string_of(const struct taken *t, const char *name)
{
	const char *s = json_string_value(json_object_get(t->header, name));

	return s ? s : "";
}

static bool is_of_another_type(const struct taken *t)
{
	return strcasecmp(string_of(t, "typ"), "at+jwt") != 0 && strcasecmp(string_of(t, "typ"), "application/at+jwt") != 0;
}

static bool asks_for_extensions(const struct taken *t)
{
	return json_object_get(t->header, "crit") || json_object_get(t->header, "b64");
}

static bool names_no_key(const struct taken *t)
{
	return strcmp(string_of(t, "kid"), t->key->kid) != 0;
}

static bool is_not_the_keys_algorithm(const struct taken *t)
{
	return strcmp(string_of(t, "alg"), t->key->alg) != 0;
}

static bool is_of_another_length(const struct taken *t)
{
	struct slice s = segment(t, 2);
	size_t bytes = (size_t)EVP_PKEY_get_bits(t->key->key) / 8;

	return s.n * 3 / 4 != (t->key->group ? 2 * bytes : bytes);
}

static struct rule {
	const char *name;
	bool (*speaks_against)(const struct taken *t);
	size_t alone, n; /* differences that it explains */
} rules[] = {
	{"at most 8192 bytes", is_long, 0, 0},
	{"no character outside [A-Za-z0-9_.-] (RFC 8725)", has_foreign_character, 0, 0},
	{"canonical trailing bits (RFC 7515 §2, RFC 4648 §3.5)", is_not_canonical, 0, 0},
	{"the header begins with its brace", begins_without_brace, 0, 0},
	{"no header comes twice (RFC 7515 §4)", repeats_a_header, 0, 0},
	{"no crit, no b64 (RFC 7515 §4.1.11, RFC 7797)", asks_for_extensions, 0, 0},
	{"typ is at+jwt (RFC 9068 §4)", is_of_another_type, 0, 0},
	{"kid names a key of the set (RFC 7515 §4.1.4)", names_no_key, 0, 0},
	{"the key's own algorithm (RFC 8725 §3.1)", is_not_the_keys_algorithm, 0, 0},
	{"a signature's full length (RFC 7518 §3.4, RFC 8017 §8.2.2)", is_of_another_length, 0, 0},
	{"the payload is a JSON object (RFC 7519 §7.2)", is_no_claims_set, 0, 0},
	{"no claim comes twice (RFC 7519 §4)", repeats_a_claim, 0, 0},
};

/* How many rules speak against it? */
static size_t apply_rules(const struct taken *t)
{
	struct rule *first = NULL;
	size_t n = 0;

	for (size_t i = 0; i < sizeof rules / sizeof rules[0]; i++) {
		if (!rules[i].speaks_against(t))
			continue;
		rules[i].n++;
		first = first ? first : &rules[i];
		n++;
	}
	if (n == 1)
		first->alone++;
	return n;
}

/* ---- asking ---- */

/* Signed by one key; a header that names another of the set is judged by that one. */
static size_t key_for(const json_t *header, const struct corpus_key *signer)
{
	const char *kid = json_string_value(json_object_get(header, "kid"));

	for (size_t i = 0; kid && i < CORPUS_KEYS; i++)
		if (strcmp(kid, corpus_keys[i].kid) == 0)
			return i;
	return (size_t)(signer - corpus_keys);
}

/* No base64 has 4n + 1 characters; cjose 0.6 does not refuse such a segment but ends the process (assert), so it is not asked. */
static bool ends_cjose(struct slice token)
{
	size_t run = 0;
	bool padded = false;

	for (size_t i = 0; i <= token.n; i++) {
		if (i < token.n && token.p[i] != '.') {
			padded |= token.p[i] == '=';
			run += !padded;
			continue;
		}
		if (run % 4 == 1)
			return true;
		run = 0;
		padded = false;
	}
	return false;
}

/* Does cjose take it? Then *against: how many of our rules do not. */
static bool ask_cjose(const struct sample *s, size_t *against)
{
	cjose_err e;
	cjose_jws_t *j = cjose_jws_import((const char *)s->token.p, s->token.n, &e);
	const json_t *header = j ? (const json_t *)cjose_jws_get_protected(j) : NULL;
	size_t key = key_for(header, s->key), n = 0;
	uint8_t *payload = NULL;
	bool good = j && cjose_jws_verify(j, judges[key], &e);

	*against = 0;
	if (good && cjose_jws_get_plaintext(j, &payload, &n, &e)) {
		struct taken t = {s->token, {payload, n}, header, &corpus_keys[key]};

		*against = apply_rules(&t);
	}
	cjose_jws_release(j);
	return good;
}

static bool ask_baton(const struct sample *s, struct token_answer *answer)
{
	const struct token_context cx = {.client = "planner", .audience = "baton", .now_ms = CORPUS_NOW * 1000};

	arena_reset(arena);
	token_verify(verifier, s->token, &cx, arena, answer);
	return verdict_ok(&answer->verdict);
}

/* Differs from what is expected: all that is needed to look into it. */
static void explain(const struct sample *s, size_t at, bool cjose, const struct token_answer *answer)
{
	fail_msg("token %zu: cjose %s it, Baton %s it (%s)\nsigned by %s: %s\n%.*s", at, cjose ? "takes" : "refuses",
		 verdict_ok(&answer->verdict) ? "takes" : "refuses", answer->verdict.message, s->key->kid, corpus_jwk(s->key),
		 (int)s->token.n, s->token.p);
}

static void baton_takes_what_cjose_takes_but_for_named_rules(void **state)
{
	size_t tokens = getenv("BATON_TOKENS") ? strtoull(getenv("BATON_TOKENS"), NULL, 10) : TOKENS;
	size_t both = 0, neither = 0, unasked = 0, differ = 0;
	struct token_answer answer;

	for (size_t i = 0; i < tokens; i++) {
		struct sample s = corpus_next();
		size_t against = 0;
		bool fatal = ends_cjose(s.token), cjose = !fatal && ask_cjose(&s, &against);
		bool baton = ask_baton(&s, &answer);

		if (baton != (cjose && !against))
			explain(&s, i, cjose, &answer);
		both += baton;
		unasked += fatal;
		neither += !cjose && !fatal;
		differ += cjose && !baton;
	}
	print_message("%zu tokens: %zu taken by both, %zu refused by both, %zu by Baton alone, %zu not put to cjose\n", tokens, both, neither,
		      differ, unasked);
	for (size_t i = 0; i < sizeof rules / sizeof rules[0]; i++) {
		print_message("%6zu (%zu by it alone)  %s\n", rules[i].n, rules[i].alone, rules[i].name);
		assert_true(rules[i].alone > 0 || tokens < TOKENS);
	}
	assert_true(both > tokens / 20 && neither > tokens / 4);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(baton_takes_what_cjose_takes_but_for_named_rules),
	};

	return cmocka_run_group_tests(tests, world_up, world_down);
}
