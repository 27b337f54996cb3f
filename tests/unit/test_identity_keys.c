/* Which keys does a JWKS give, and which discovery document is believed? */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "identity/jwk.h"
#include "test_identity_jwt.h"

#define ALL (ALG_ES256 | ALG_ES384 | ALG_RS256 | ALG_PS256 | ALG_EDDSA)
#define URL "https://login.acme.example/tenant"

static EVP_PKEY *es, *es384, *es521, *rsa, *rsa_small, *ed;
static struct problem why;

static int world_up(void **state)
{
	jwt_begin();
	es = jwt_ec("P-256");
	es384 = jwt_ec("P-384");
	es521 = jwt_ec("P-521");
	rsa = jwt_rsa(2048);
	rsa_small = jwt_rsa(1024);
	ed = jwt_ed25519();
	return 0;
}

static int world_down(void **state)
{
	EVP_PKEY *all[] = {es, es384, es521, rsa, rsa_small, ed};

	for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
		EVP_PKEY_free(all[i]);
	jwt_end();
	return 0;
}

static size_t usable_under(const char *keys, unsigned algorithms)
{
	const char *text = arena_printf(jwt_arena, "{\"keys\":[%s]}", keys);
	struct keyset *k;
	size_t n;

	why.text[0] = '\0';
	k = keyset_parse(slice_str(text), algorithms, 7, &why);
	n = keyset_size(k);
	assert_true((k == NULL) == (why.text[0] != '\0'));
	assert_int_equal(keyset_generation(k), k ? 7 : 0);
	keyset_unref(k);
	return n;
}

static size_t usable(const char *keys)
{
	return usable_under(keys, ALL);
}

static enum token_alg alg_of(const char *key, unsigned algorithms)
{
	const char *text = arena_printf(jwt_arena, "{\"keys\":[%s]}", key);
	struct keyset *k = keyset_parse(slice_str(text), algorithms, 1, &why);
	enum token_alg alg = k ? keyset_at(k, 0)->alg : ALG_NONE;

	keyset_unref(k);
	return alg;
}

static void algorithms_have_one_spelling(void **state)
{
	assert_int_equal(token_alg_from_text(SLICE_LIT("ES256")), ALG_ES256);
	assert_int_equal(token_alg_from_text(SLICE_LIT("ES384")), ALG_ES384);
	assert_int_equal(token_alg_from_text(SLICE_LIT("RS256")), ALG_RS256);
	assert_int_equal(token_alg_from_text(SLICE_LIT("PS256")), ALG_PS256);
	assert_int_equal(token_alg_from_text(SLICE_LIT("EdDSA")), ALG_EDDSA);
	assert_int_equal(token_alg_from_text(SLICE_LIT("eddsa")), ALG_NONE);
	assert_int_equal(token_alg_from_text(SLICE_LIT("EDDSA")), ALG_NONE);
	assert_int_equal(token_alg_from_text(SLICE_LIT("none")), ALG_NONE);
	assert_int_equal(token_alg_from_text(SLICE_LIT("HS256")), ALG_NONE);
	assert_int_equal(token_alg_from_text(SLICE_LIT("ES256\0")), ALG_NONE);
	assert_int_equal(token_alg_from_text(SLICE_LIT("")), ALG_NONE);
}

static void each_key_has_one_algorithm_rfc8725_3_1(void **state)
{
	assert_int_equal(alg_of(jwt_jwk(es, ""), ALL), ALG_ES256);
	assert_int_equal(alg_of(jwt_jwk(es384, ""), ALL), ALG_ES384);
	assert_int_equal(alg_of(jwt_jwk(ed, ""), ALL), ALG_EDDSA);
	assert_int_equal(alg_of(jwt_jwk(rsa, ",\"alg\":\"PS256\""), ALL), ALG_PS256);
	assert_int_equal(alg_of(jwt_jwk(rsa, ",\"alg\":\"RS256\""), ALL), ALG_RS256);
	assert_int_equal(alg_of(jwt_jwk(rsa, ""), ALL), ALG_RS256);
	assert_int_equal(alg_of(jwt_jwk(rsa, ""), ALG_PS256 | ALG_ES256), ALG_PS256);
	assert_int_equal(alg_of(jwt_jwk(rsa, ",\"alg\":\"RS256\""), ALG_PS256), ALG_NONE);
	assert_int_equal(alg_of(jwt_jwk(es, ""), ALG_PS256), ALG_NONE);
}

static void alg_must_fit_the_key(void **state)
{
	static const char *const bad[] = {",\"alg\":\"ES384\"", ",\"alg\":\"HS256\"", ",\"alg\":\"none\"",
					  ",\"alg\":\"RS256\"", ",\"alg\":7", ",\"alg\":null",
					  ",\"alg\":\"ECDH-ES\""};

	assert_int_equal(usable(jwt_jwk(es, ",\"alg\":\"ES256\"")), 1);
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		assert_int_equal(usable(jwt_jwk(es, bad[i])), 0);
	assert_int_equal(usable(jwt_jwk(rsa, ",\"alg\":\"RSA-OAEP\"")), 0);
}

static void use_and_key_ops_are_honoured_rfc7517_4(void **state)
{
	static const char *const bad[] = {",\"use\":\"enc\"", ",\"use\":\"SIG\"", ",\"use\":7",
					  ",\"key_ops\":[\"sign\"]", ",\"key_ops\":[]", ",\"key_ops\":\"verify\"",
					  ",\"key_ops\":[\"encrypt\",\"wrapKey\"]",
						",\"use\":\"enc\",\"key_ops\":[\"verify\"]"};

	assert_int_equal(usable(jwt_jwk(es, ",\"use\":\"sig\",\"key_ops\":[\"sign\",\"verify\"]")), 1);
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		assert_int_equal(usable(jwt_jwk(es, bad[i])), 0);
}

static void unknown_members_and_kinds_are_skipped_rfc7517_5(void **state)
{
	const char *good = jwt_jwk(es, ",\"kid\":\"a\",\"x5c\":[\"AA==\"],\"shoe\":{\"size\":7}");

	assert_int_equal(usable(good), 1);
	assert_int_equal(usable(arena_printf(jwt_arena,
					     "{\"kty\":\"XYZ\"},{},7,null,\"x\",[],%s,{\"kty\":\"OKP\",\"crv\":\"X25519\",\"x\":\"AA\"}", good)), 1);
	assert_int_equal(usable(jwt_jwk(es521, "")), 0);
	assert_int_equal(usable("{\"kty\":\"EC\",\"crv\":\"secp256k1\",\"x\":\"AA\",\"y\":\"AA\"}"), 0);
}

static void symmetric_and_private_keys_are_never_loaded(void **state)
{
	assert_int_equal(usable("{\"kty\":\"oct\",\"k\":\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\",\"alg\":\"HS256\"}"), 0);
	assert_non_null(strstr(why.text, "symmetric"));
	assert_int_equal(usable("{\"kty\":\"oct\",\"k\":\"AAAA\"}"), 0);
	assert_int_equal(usable(jwt_jwk(es, ",\"d\":\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAE\"")), 0);
	assert_non_null(strstr(why.text, "private"));
	assert_int_equal(usable(jwt_jwk(rsa, ",\"d\":\"AA\"")), 0);
	assert_int_equal(usable(jwt_jwk(ed, ",\"d\":null")), 0);
	assert_int_equal(usable(arena_printf(jwt_arena, "{\"kty\":\"oct\",\"k\":\"AAAA\"},%s", jwt_jwk(es, ""))), 1);
}

/* A factor of the modulus is the private key, with or without d. */
static void factors_of_a_key_are_private_rfc7518_6_3_2(void **state)
{
	static const char *const members[] = {"d", "p", "q", "dp", "dq", "qi", "oth", "k"};

	assert_int_equal(usable(jwt_jwk(rsa, "")), 1);
	for (size_t i = 0; i < sizeof members / sizeof members[0]; i++) {
		assert_int_equal(usable(jwt_jwk(rsa, arena_printf(jwt_arena, ",\"%s\":\"AQ\"", members[i]))), 0);
		assert_non_null(strstr(why.text, "private"));
	}
}

/* An RSA JWK with a modulus of so many bits. */
static const char *modulus_of(size_t bits)
{
	uint8_t n[1100] = {0};
	size_t bytes = (bits + 7) / 8;

	n[0] = (uint8_t)(1u << (bits - 1) % 8);
	n[bytes - 1] |= 1;
	return arena_printf(jwt_arena, "{\"kty\":\"RSA\",\"n\":\"%s\",\"e\":\"AQAB\"}", jwt_b64(n, bytes));
}

static void rsa_keys_have_2048_bits_or_more_rfc7518_3_3(void **state)
{
	assert_int_equal(usable(modulus_of(2048)), 1);
	assert_int_equal(usable(modulus_of(2047)), 0);
	assert_int_equal(usable(modulus_of(1024)), 0);
	assert_int_equal(usable(modulus_of(8192)), 1);
	assert_int_equal(usable(modulus_of(8193)), 0);
}

static void weak_and_broken_keys_are_skipped(void **state)
{
	static const char *const bad[] = {
		"{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"AA\",\"y\":\"AA\"}",
		/* not on the curve */
		"{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAE\",\"y\":\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAE\"}",
		"{\"kty\":\"EC\",\"crv\":\"P-256\"}",
		"{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"AAAA\"}",
		"{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":7}",
		"{\"kty\":\"RSA\",\"n\":\"AQAB\",\"e\":\"AQAB\"}",
		"{\"kty\":\"RSA\",\"n\":\"\",\"e\":\"\"}",
		"{\"kty\":\"RSA\"}",
	};
	char *n = arena_zalloc(jwt_arena, 2001);

	assert_int_equal(usable(jwt_jwk(rsa, "")), 1);
	assert_int_equal(usable(jwt_jwk(rsa_small, "")), 0);
	assert_non_null(strstr(why.text, "2048"));
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		assert_int_equal(usable(bad[i]), 0);
	memset(n, '_', 2000); /* 12,000 bits */
	assert_int_equal(usable(arena_printf(jwt_arena, "{\"kty\":\"RSA\",\"n\":\"%s\",\"e\":\"AQAB\"}", n)), 0);
	n[400] = '\0';
	assert_int_equal(usable(arena_printf(jwt_arena, "{\"kty\":\"RSA\",\"n\":\"%s\",\"e\":\"AQAB\"}", n)), 1);
	/* e = 1 */
	assert_int_equal(usable(arena_printf(jwt_arena, "{\"kty\":\"RSA\",\"n\":\"%s\",\"e\":\"AQ\"}", n)), 0);
	/* e = 2 */
	assert_int_equal(usable(arena_printf(jwt_arena, "{\"kty\":\"RSA\",\"n\":\"%s\",\"e\":\"Ag\"}", n)), 0);
	/* impossible length of base64url */
	assert_int_equal(usable(arena_printf(jwt_arena, "{\"kty\":\"RSA\",\"n\":\"%sA\",\"e\":\"AQAB\"}", n)), 0);
	/* P-384's coordinates called P-256's */
	assert_int_equal(usable("{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\",\"y\":\"AA\"}"), 0);
}

static void kid_is_bounded(void **state)
{
	char *kid = arena_zalloc(jwt_arena, 300);

	memset(kid, 'k', 256);
	assert_int_equal(usable(jwt_jwk(es, arena_printf(jwt_arena, ",\"kid\":\"%s\"", kid))), 1);
	assert_int_equal(usable(jwt_jwk(es, arena_printf(jwt_arena, ",\"kid\":\"%sk\"", kid))), 0);
	assert_int_equal(usable(jwt_jwk(es, ",\"kid\":7")), 0);
}

static void set_is_bounded(void **state)
{
	const char *key = jwt_jwk(ed, ""), *list = key;
	char *big = arena_alloc(jwt_arena, 256 * 1024 + 2);
	size_t n;

	for (int i = 1; i < 64; i++)
		list = arena_printf(jwt_arena, "%s,%s", list, key);
	assert_int_equal(usable(list), 64);
	assert_int_equal(usable(arena_printf(jwt_arena, "%s,{}", list)), 0);
	assert_non_null(strstr(why.text, "64"));
	n = (size_t)snprintf(big, 1000, "{\"keys\":[%s]}", key);
	memset(big + n, ' ', 256 * 1024 + 1 - n);
	{
		struct keyset *k = keyset_parse(slice_of(big, 256 * 1024), ALL, 1, &why);

		assert_int_equal(keyset_size(k), 1);
		keyset_unref(k);
	}
	assert_null(keyset_parse(slice_of(big, 256 * 1024 + 1), ALL, 1, &why));
}

static void broken_sets_are_an_error(void **state)
{
	static const char *const bad[] = {"", "[]", "{}", "{\"keys\":{}}", "{\"keys\":[]}", "{\"keys\":[]}x",
					  "{\"keys\":[],\"keys\":[]}", "<html>", "null", "{\"keys\":null}"};

	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		why.text[0] = '\0';
		assert_null(keyset_parse(slice_str(bad[i]), ALL, 1, &why));
		assert_true(why.text[0]);
	}
	assert_null(keyset_parse(slice_of(NULL, 0), ALL, 1, &why));
	assert_int_equal(usable(jwt_jwk(es, ",\"kid\":\"a\",\"kid\":\"b\"")), 0);
	assert_int_equal(usable(jwt_jwk(es, ",\"kid\":\"a\"")), 1);
}

/* On the heap, to the byte: a sanitizer sees one read too many. */
static void attack_9_a_key_set_cut_short_at_any_byte_is_an_error(void **state)
{
	const char *whole = arena_printf(jwt_arena, "{\"keys\":[%s,%s,%s]}", jwt_jwk(es, ",\"kid\":\"a\""), jwt_jwk(rsa, ""),
					 jwt_jwk(ed, ",\"use\":\"sig\""));
	size_t n = strlen(whole), good = 0;

	for (size_t cut = 0; cut <= n; cut++) {
		char *heap = malloc(cut ? cut : 1);
		struct keyset *k;

		memcpy(heap, whole, cut);
		k = keyset_parse(slice_of(heap, cut), ALL, 1, &why);
		good += k != NULL;
		assert_true(!k || keyset_size(k) == 3);
		keyset_unref(k);
		free(heap);
	}
	assert_int_equal(good, 1);
}

/* A value of a key that is cut short is another value: the key is skipped, or is another key. */
static void attack_9_a_key_with_a_value_cut_short_is_skipped(void **state)
{
	static const char *const members[] = {"\"x\":\"", "\"y\":\"", "\"crv\":\"", "\"kty\":\""};
	const char *whole = jwt_jwk(es, "");

	assert_int_equal(usable(whole), 1);
	for (size_t i = 0; i < sizeof members / sizeof members[0]; i++) {
		const char *value = strstr(whole, members[i]) + strlen(members[i]), *end = strchr(value, '"');

		for (const char *cut = value; cut < end; cut++)
			assert_int_equal(usable(arena_printf(jwt_arena, "%.*s%s", (int)(cut - whole), whole, end)), 0);
	}
}

static void issuers_hold_their_keys(void **state)
{
	const char *text = arena_printf(jwt_arena, "{\"keys\":[%s]}", jwt_jwk(es, ""));
	struct issuer_entry e = {.rule = {.name = "corp", .url = URL}, .keys = keyset_parse(slice_str(text), ALL, 1,
		&why), .keys_good_until_ms = 5};
	struct issuers *i = issuers_new(&e, 1);

	keyset_unref(e.keys);
	assert_int_equal(issuers_count(i), 1);
	assert_int_equal(issuers_count(NULL), 0);
	assert_ptr_equal(issuers_ref(i), i);
	issuers_unref(i);
	assert_string_equal(issuers_at(i, 0)->rule.url, URL);
	assert_int_equal(keyset_size(issuers_at(i, 0)->keys), 1);
	issuers_unref(i);
	issuers_unref(NULL);
	keyset_unref(NULL);
	i = issuers_new(NULL, 0);
	assert_int_equal(issuers_count(i), 0);
	issuers_unref(i);
}

/* ---- discovery ---- */

static int discover(const char *json, const char *url, char *out, size_t size)
{
	why.text[0] = '\0';
	return discovery_parse(slice_str(json), url, out, size, &why);
}

static const char *document(const char *issuer, const char *jwks)
{
	return arena_printf(jwt_arena, "{\"issuer\":\"%s\",\"jwks_uri\":\"%s\",\"token_endpoint\":\"x\"}", issuer,
			    jwks);
}

static void discovery_speaks_for_the_configured_issuer_oidc_4_3(void **state)
{
	static const char *const bad[] = {"https://login.acme.example/tenant/", "https://login.acme.example",
					  "https://LOGIN.acme.example/tenant", "http://login.acme.example/tenant",
					  "https://evil.example/tenant", ""};
	char out[512];

	assert_int_equal(discover(document(URL, "https://login.acme.example/keys"), URL, out, sizeof out), 0);
	assert_string_equal(out, "https://login.acme.example/keys");
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		assert_int_equal(discover(document(bad[i], "https://login.acme.example/keys"), URL, out, sizeof out),
				 -1);
		assert_string_equal(out, "");
		assert_true(why.text[0]);
	}
}

static void jwks_uri_stays_at_the_issuer(void **state)
{
	static const char *const good[] = {"https://login.acme.example/keys?x=1", "https://login.acme.example:443/keys",
					   "https://LOGIN.acme.example/keys", "https://login.acme.example"};
	static const char *const bad[] = {"http://login.acme.example/keys", "https://evil.example/keys",
					  "https://login.acme.example:8443/keys",
					  "https://login.acme.example@evil.example/",
					  "https://login.acme.example.evil/", "https://user@login.acme.example/keys",
						"file:///etc/passwd", "https://", "https:///keys", "/keys", "",
					  "https://login.acme.example:/keys", "https://login.acme.example:443x/",
						"https://login.acme.example:0443443/", "https://login.acme.example/a b",
					  "https://login.acme.example/#f",
						"https://login.acme.example\\\\@evil.example/", "https://[::1]/keys",
						"https://[login.acme.example/keys"};
	char out[512], tiny[16];

	for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
		assert_int_equal(discover(document(URL, good[i]), URL, out, sizeof out), 0);
		assert_string_equal(out, good[i]);
	}
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		if (discover(document(URL, bad[i]), URL, out, sizeof out) == 0)
			fail_msg("taken: %s", bad[i]);
	assert_int_equal(discover(document(URL, good[0]), URL, tiny, sizeof tiny), -1);
	assert_int_equal(discover(document("https://[::1]:8443/x", "https://[::1]:8443/keys"), "https://[::1]:8443/x",
				  out, sizeof out), 0);
	assert_int_equal(discover(document("https://[::1]:8443/x", "https://[::1]/keys"), "https://[::1]:8443/x", out,
				  sizeof out), -1);
	assert_int_equal(discover(document("https://localhost:8443", "https://localhost:8443/jwks"),
				  "https://localhost:8443", out, sizeof out), 0);
	assert_int_equal(discover(document("http://localhost", "https://localhost/jwks"), "http://localhost", out,
				  sizeof out), -1);
}

static void attack_9_a_discovery_document_cut_short_is_an_error(void **state)
{
	const char *whole = document(URL, "https://login.acme.example/keys");
	size_t n = strlen(whole);
	char out[512];

	for (size_t cut = 0; cut <= n; cut++) {
		char *heap = malloc(cut ? cut : 1);

		memcpy(heap, whole, cut);
		assert_int_equal(discovery_parse(slice_of(heap, cut), URL, out, sizeof out, &why), cut == n ? 0 : -1);
		free(heap);
	}
	/* and an issuer cut short, or of which only the beginning is ours, is another one */
	for (size_t cut = 0; cut < strlen(URL); cut++) {
		const char *issuer = arena_printf(jwt_arena, "%.*s", (int)cut, URL);

		assert_int_equal(discover(document(issuer, "https://login.acme.example/keys"), URL, out, sizeof out), -1);
		assert_int_equal(discover(document(URL, "https://login.acme.example/keys"), issuer, out, sizeof out), -1);
	}
}

static void broken_discovery_is_an_error(void **state)
{
	static const char *const bad[] = {"", "[]", "{}", "<html>", "{\"issuer\":\"" URL "\"}",
					  "{\"issuer\":\"" URL "\",\"jwks_uri\":7}",
					  "{\"jwks_uri\":\"https://login.acme.example/\"}",
					  "{\"issuer\":\"" URL "\",\"issuer\":\"" URL "\",\"jwks_uri\":\"https://login.acme.example/keys\"}"};
	char out[512], *big = arena_alloc(jwt_arena, 70000);
	int n;

	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		assert_int_equal(discover(bad[i], URL, out, sizeof out), -1);
	n = snprintf(big, 70000, "%s", document(URL, "https://login.acme.example/keys"));
	memset(big + n, ' ', 70000 - (size_t)n);
	assert_int_equal(discovery_parse(slice_of(big, 65536), URL, out, sizeof out, &why), 0);
	assert_int_equal(discovery_parse(slice_of(big, 65537), URL, out, sizeof out, &why), -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(algorithms_have_one_spelling),
		cmocka_unit_test(each_key_has_one_algorithm_rfc8725_3_1),
		cmocka_unit_test(alg_must_fit_the_key),
		cmocka_unit_test(use_and_key_ops_are_honoured_rfc7517_4),
		cmocka_unit_test(unknown_members_and_kinds_are_skipped_rfc7517_5),
		cmocka_unit_test(symmetric_and_private_keys_are_never_loaded),
		cmocka_unit_test(factors_of_a_key_are_private_rfc7518_6_3_2),
		cmocka_unit_test(rsa_keys_have_2048_bits_or_more_rfc7518_3_3),
		cmocka_unit_test(weak_and_broken_keys_are_skipped),
		cmocka_unit_test(kid_is_bounded),
		cmocka_unit_test(set_is_bounded),
		cmocka_unit_test(broken_sets_are_an_error),
		cmocka_unit_test(attack_9_a_key_set_cut_short_at_any_byte_is_an_error),
		cmocka_unit_test(attack_9_a_key_with_a_value_cut_short_is_skipped),
		cmocka_unit_test(issuers_hold_their_keys),
		cmocka_unit_test(discovery_speaks_for_the_configured_issuer_oidc_4_3),
		cmocka_unit_test(jwks_uri_stays_at_the_issuer),
		cmocka_unit_test(attack_9_a_discovery_document_cut_short_is_an_error),
		cmocka_unit_test(broken_discovery_is_an_error),
	};

	return cmocka_run_group_tests(tests, world_up, world_down);
}
