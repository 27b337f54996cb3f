/* Which texts are a compact JWS, and which bytes a signature? To the letter of RFC 7515, 7518 and 8725, one layer below
 * the claims. Each refusal stands beside the honest one that differs from it in that one thing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/rsa.h>

#include "base/encode.h"
#include "identity/jws.h"
#include "test_identity_jwt.h"

#define HEADER "{\"alg\":\"ES256\",\"typ\":\"at+jwt\",\"kid\":\"a\"}"
#define ALL (ALG_ES256 | ALG_ES384 | ALG_RS256 | ALG_PS256 | ALG_EDDSA)

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
static struct jws jws;

/* One key of each algorithm, as a JWKS gives it. */
static struct key {
	const char *alg, *group; /* group NULL: RSA; "": Ed25519 */
	EVP_PKEY *key;
	struct jwk jwk;
	struct jws_verifier *verifier;
} keys[] = {
	{"ES256", "P-256", NULL, {0}, NULL}, {"ES384", "P-384", NULL, {0}, NULL}, {"RS256", NULL, NULL, {0}, NULL},
	{"PS256", NULL, NULL, {0}, NULL},    {"EdDSA", "", NULL, {0}, NULL},
};
#define KEYS (sizeof keys / sizeof keys[0])

static int world_up(void **state)
{
	jwt_begin();
	for (size_t i = 0; i < KEYS; i++) {
		struct key *k = &keys[i];
		json_t *json;

		k->key = !k->group ? jwt_rsa(2048) : k->group[0] ? jwt_ec(k->group) : jwt_ed25519();
		json = json_loads(jwt_jwk(k->key, arena_printf(jwt_arena, ",\"alg\":\"%s\"", k->alg)), 0, NULL);
		assert_null(jwk_read(json, ALL, false, &k->jwk));
		json_decref(json);
		k->verifier = jws_verifier_new(&k->jwk);
		assert_non_null(k->verifier);
	}
	return 0;
}

static int world_down(void **state)
{
	for (size_t i = 0; i < KEYS; i++) {
		jws_verifier_free(keys[i].verifier);
		jwk_clear(&keys[i].jwk);
		EVP_PKEY_free(keys[i].key);
	}
	jwt_end();
	return 0;
}

static bool splits(const void *token, size_t n)
{
	return jws_split(slice_of(token, n), &jws) == NULL;
}

#define assert_splits(text) assert_true(splits((text), strlen(text)))

/* ---- form ---- */

static const char *joined(const char *header, const char *payload, const char *signature)
{
	return arena_printf(jwt_arena, "%s.%s.%s", header, payload, signature);
}

static void no_character_outside_the_alphabet_rfc8725(void **state)
{
	const char *good = joined(jwt_b64(HEADER, sizeof HEADER - 1), jwt_b64("{\"a\":\"b\"}", 9), jwt_b64(alphabet, 64));
	size_t n = strlen(good);
	char *bad = arena_alloc(jwt_arena, n + 2);

	assert_splits(good);
	for (size_t at = 0; at <= n; at++) {
		for (int c = 0; c < 256; c++) {
			if (c && strchr(alphabet, c))
				continue;
			memcpy(bad, good, at);
			bad[at] = (char)c;
			memcpy(bad + at + 1, good + at, n - at); /* one more */
			if (splits(bad, n + 1))
				fail_msg("taken: character %d put in at %zu", c, at);
			if (at == n || good[at] == '.')
				continue;
			memcpy(bad + at + 1, good + at + 1, n - at - 1); /* in the place of one */
			if (splits(bad, n))
				fail_msg("taken: character %d at %zu", c, at);
		}
	}
}

static void idle_bits_are_zero_in_each_segment_rfc7515_2(void **state)
{
	for (size_t which = 0; which < 3; which++) {
		for (size_t n = 10; n <= 12; n++) {
			size_t idle = n % 3 == 1 ? 15 : n % 3 == 2 ? 3 : 0;
			const char *segments[] = {"e30", "e30", "e30"};
			char *last, *text = arena_strdup(jwt_arena, jwt_b64(alphabet, n));

			segments[which] = text;
			last = text + strlen(text) - 1;
			assert_splits(joined(segments[0], segments[1], segments[2]));
			for (size_t bits = 1; bits <= idle; bits++) {
				char was = *last;
				const char *bad;

				*last = alphabet[(size_t)(strchr(alphabet, was) - alphabet) + bits];
				bad = joined(segments[0], segments[1], segments[2]);
				assert_false(splits(bad, strlen(bad)));
				*last = was;
			}
		}
	}
}

/* No base64 has 4n + 1 characters (RFC 4648 §3.2); an empty segment is none here. */
static void segments_have_a_length_that_can_be(void **state)
{
	const char *e30 = "e30";

	for (int n = 0; n < 40; n++) {
		const char *run = arena_printf(jwt_arena, "%.*s", n, "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA");
		const char *forms[] = {joined(run, e30, e30), joined(e30, run, e30), joined(e30, e30, run)};

		for (size_t i = 0; i < 3; i++)
			assert_int_equal(splits(forms[i], strlen(forms[i])), n % 4 != 1 && n != 0);
	}
}

static void attack_9_a_token_cut_short_at_any_byte_is_refused(void **state)
{
	struct key *k = &keys[0];
	const char *good = jwt_sign(k->key, "ES256", HEADER, "{\"a\":\"b\"}");
	size_t n = strlen(good), whole = 0;

	for (size_t cut = 0; cut <= n; cut++) {
		char *heap = malloc(cut ? cut : 1); /* to the byte, so that a sanitizer sees one read too many */

		memcpy(heap, good, cut);
		whole += splits(heap, cut) &&
			 jws_verify(k->verifier, jws.signed_part, slice_of(jws.signature, jws.signature_n));
		free(heap);
	}
	assert_int_equal(whole, 1);
}

/* ---- header ---- */

static const char *header_fault(const char *header)
{
	struct jws_header h;
	const char *field;

	assert_splits(joined(jwt_b64(header, strlen(header)), "e30", "AA"));
	return jws_read_header(&jws, "at+jwt", false, &h, &field) ? field : NULL;
}

static void attack_10_crit_is_refused_whatever_it_names_rfc7515_4_1_11(void **state)
{
	static const char *const bad[] = {
		"\"crit\":[\"exp\"],\"exp\":1", /* unknown, and there */
		"\"crit\":[\"exp\"]",           /* it names what is not there */
		"\"crit\":[\"alg\"]",           /* a name of the standard itself */
		"\"crit\":[\"x\",\"x\"],\"x\":1", "\"crit\":[]", "\"crit\":[\"\"]", "\"crit\":[7]", "\"crit\":{}", "\"crit\":null",
		"\"crit\":\"exp\"", "\"crit\":false",
	};

	assert_null(header_fault(HEADER));
	/* what is not critical may be ignored (§4.2) */
	assert_null(header_fault("{\"alg\":\"ES256\",\"typ\":\"at+jwt\",\"exp\":1,\"Crit\":[\"exp\"]}"));
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		assert_string_equal(header_fault(arena_printf(jwt_arena, "{\"alg\":\"ES256\",\"typ\":\"at+jwt\",%s}", bad[i])), "crit");
}

static void typ_has_no_parameters_rfc9068_4(void **state)
{
	static const char *const bad[] = {"at+jwt;v=1", "application/at+jwt; charset=utf-8", "application/", "application//at+jwt",
					  "/at+jwt", "at+jwt/", "application/at+jwt/", "at jwt", "at+jwts", "t+jwt", "at%2Bjwt"};

	assert_null(header_fault("{\"alg\":\"ES256\",\"typ\":\"application/at+jwt\"}"));
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		assert_string_equal(header_fault(arena_printf(jwt_arena, "{\"alg\":\"ES256\",\"typ\":\"%s\"}", bad[i])), "typ");
}

/* ---- signatures ---- */

#define TEXT "eyJhIjoiYiJ9.eyJhIjoiYiJ9"

static bool verifies(struct key *k, const void *signature, size_t n)
{
	return jws_verify(k->verifier, SLICE_LIT(TEXT), slice_of(signature, n));
}

/* The bytes of a good signature; signed as alg says. */
static size_t sign(struct key *k, const char *alg, uint8_t out[1024])
{
	const char *token = jwt_sign_encoded(k->key, alg, TEXT);
	long n = b64url_decode(slice_str(strrchr(token, '.') + 1), out, 1024);

	assert_true(n > 0);
	return (size_t)n;
}

static void signature_has_its_one_length_rfc7518_3(void **state)
{
	static const size_t lengths[] = {64, 96, 256, 256, 64};
	uint8_t good[1024], longer[1200] = {0};

	for (size_t i = 0; i < KEYS; i++) {
		size_t n = sign(&keys[i], keys[i].alg, good);

		assert_int_equal(n, lengths[i]);
		assert_true(verifies(&keys[i], good, n));
		memcpy(longer, good, n);
		for (size_t length = 0; length <= 1024; length++)
			assert_int_equal(verifies(&keys[i], longer, length), length == n);
		for (size_t zeros = 1; zeros < 70; zeros++) { /* in front: the same number */
			memset(longer, 0, zeros);
			memcpy(longer + zeros, good, n);
			assert_false(verifies(&keys[i], longer, zeros + n));
		}
		memset(longer, 0, sizeof longer);
	}
}

static void attack_8_a_signature_of_22000_characters_is_refused_before_it_is_verified(void **state)
{
	char *huge = arena_zalloc(jwt_arena, 22001);

	memset(huge, 'A', 22000);
	assert_string_equal(jws_split(slice_str(joined("e30", "e30", huge)), &jws), "a token has at most 8192 bytes");
	huge[1368] = '\0'; /* 1,026 bytes */
	assert_non_null(strstr(jws_split(slice_str(joined("e30", "e30", huge)), &jws), "at most 1024 bytes"));
	huge[1364] = '\0'; /* 1,023 */
	assert_splits(joined("e30", "e30", huge));
}

/* r and s are at least 1 and less than the order (SEC 1 §4.1.4). */
static void ecdsa_numbers_are_in_range(void **state)
{
	for (size_t i = 0; i < 2; i++) {
		struct key *k = &keys[i];
		uint8_t good[1024], bad[1024];
		size_t n = sign(k, k->alg, good), half = n / 2;
		BIGNUM *order = NULL, *s = BN_bin2bn(good + half, (int)half, NULL);

		assert_int_equal(EVP_PKEY_get_bn_param(k->key, OSSL_PKEY_PARAM_EC_ORDER, &order), 1);
		for (size_t number = 0; number < 2; number++) {
			memcpy(bad, good, n);
			memset(bad + number * half, 0, half);
			assert_false(verifies(k, bad, n));
			BN_bn2binpad(order, bad + number * half, (int)half);
			assert_false(verifies(k, bad, n));
			memset(bad + number * half, 0xff, half);
			assert_false(verifies(k, bad, n));
		}
		memset(bad, 0, n);
		assert_false(verifies(k, bad, n));
		memcpy(bad, good, n); /* n - s is as good as s, for everybody */
		BN_sub(s, order, s);
		BN_bn2binpad(s, bad + half, (int)half);
		assert_true(verifies(k, bad, n));
		assert_true(verifies(k, good, n));
		BN_free(order);
		BN_free(s);
	}
}

static void ecdsa_signature_is_never_der_rfc7518_3_4(void **state)
{
	uint8_t good[1024], der[1024];
	size_t n = sign(&keys[0], "ES256", good), der_n;

	for (int again = 0; again < 50; again++) { /* of 68 to 72 bytes, as chance has it */
		der_n = sign(&keys[0], "DER", der);
		assert_int_equal(der[0], 0x30);
		assert_false(verifies(&keys[0], der, der_n));
		assert_false(verifies(&keys[0], der, 64));
	}
	assert_true(verifies(&keys[0], good, n));
}

/* A number of its length, but not below the modulus (RFC 8017 §8.2.2); a salt as long as the digest (RFC 7518 §3.5). */
static void rsa_signature_is_to_the_letter(void **state)
{
	static const char *const salts[] = {"PS256/0", "PS256/20", "PS256/31", "PS256/33", "PS256/222"};
	uint8_t good[1024], bad[1024];

	for (size_t i = 2; i < 4; i++) {
		struct key *k = &keys[i];
		size_t n = sign(k, k->alg, good);
		BIGNUM *modulus = NULL, *s = BN_bin2bn(good, (int)n, NULL);

		assert_int_equal(EVP_PKEY_get_bn_param(k->key, OSSL_PKEY_PARAM_RSA_N, &modulus), 1);
		BN_bn2binpad(modulus, bad, (int)n);
		assert_false(verifies(k, bad, n));
		memset(bad, 0xff, n);
		assert_false(verifies(k, bad, n));
		BN_add(s, s, modulus); /* the same to a careless reader; by chance it fits */
		if (BN_num_bytes(s) <= (int)n) {
			BN_bn2binpad(s, bad, (int)n);
			assert_false(verifies(k, bad, n));
		}
		assert_true(verifies(k, good, n));
		BN_free(modulus);
		BN_free(s);
	}
	assert_true(verifies(&keys[3], good, sign(&keys[3], "PS256/32", good)));
	for (size_t i = 0; i < sizeof salts / sizeof salts[0]; i++)
		assert_false(verifies(&keys[3], bad, sign(&keys[3], salts[i], bad)));
}

/* MGF1 takes the signature's own digest (RFC 7518 §3.5). */
static void pss_mask_is_of_the_same_digest(void **state)
{
	for (int honest = 0; honest < 2; honest++) {
		EVP_MD_CTX *c = EVP_MD_CTX_new();
		EVP_PKEY_CTX *p = NULL;
		uint8_t signature[1024];
		size_t n = sizeof signature;

		assert_int_equal(EVP_DigestSignInit(c, &p, EVP_sha256(), NULL, keys[3].key), 1);
		assert_int_equal(EVP_PKEY_CTX_set_rsa_padding(p, RSA_PKCS1_PSS_PADDING), 1);
		assert_int_equal(EVP_PKEY_CTX_set_rsa_pss_saltlen(p, 32), 1);
		assert_int_equal(EVP_PKEY_CTX_set_rsa_mgf1_md(p, honest ? EVP_sha256() : EVP_sha1()), 1);
		assert_int_equal(EVP_DigestSign(c, signature, &n, (const uint8_t *)TEXT, sizeof TEXT - 1), 1);
		assert_int_equal(verifies(&keys[3], signature, n), honest);
		EVP_MD_CTX_free(c);
	}
}

/* What the key's other algorithms would sign, and what other keys sign, is nothing to it (RFC 8725 §3.1). */
static void one_key_one_algorithm_rfc8725_3_1(void **state)
{
	static const char *const rsa[] = {"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"};
	uint8_t signature[1024];

	for (size_t i = 2; i < 4; i++)
		for (size_t a = 0; a < sizeof rsa / sizeof rsa[0]; a++)
			assert_int_equal(verifies(&keys[i], signature, sign(&keys[i], rsa[a], signature)),
					 strcmp(rsa[a], keys[i].alg) == 0);
	for (size_t i = 0; i < 2; i++) {
		size_t n = sign(&keys[i], i ? "ES256" : "ES384", signature); /* the other one's digest */

		assert_false(verifies(&keys[i], signature, n));
	}
	for (size_t by = 0; by < KEYS; by++)
		for (size_t of = 0; of < KEYS; of++)
			assert_int_equal(verifies(&keys[of], signature, sign(&keys[by], keys[by].alg, signature)), by == of);
}

/* S is less than the order (RFC 8032 §5.1.7): S + L is another text for the same signature, and refused. */
static void ed25519_number_is_in_range_rfc8032_5_1_7(void **state)
{
	static const uint8_t order[32] = {0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7,
					  0xa2, 0xde, 0xf9, 0xde, 0x14, [31] = 0x10}; /* little-endian */
	uint8_t signature[1024];
	size_t n = sign(&keys[4], "EdDSA", signature);
	unsigned carry = 0;

	assert_true(verifies(&keys[4], signature, n));
	for (size_t i = 0; i < 32; i++) {
		carry += signature[32 + i] + order[i];
		signature[32 + i] = (uint8_t)carry;
		carry >>= 8;
	}
	assert_false(verifies(&keys[4], signature, n));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(no_character_outside_the_alphabet_rfc8725),
		cmocka_unit_test(idle_bits_are_zero_in_each_segment_rfc7515_2),
		cmocka_unit_test(segments_have_a_length_that_can_be),
		cmocka_unit_test(attack_9_a_token_cut_short_at_any_byte_is_refused),
		cmocka_unit_test(attack_10_crit_is_refused_whatever_it_names_rfc7515_4_1_11),
		cmocka_unit_test(typ_has_no_parameters_rfc9068_4),
		cmocka_unit_test(signature_has_its_one_length_rfc7518_3),
		cmocka_unit_test(attack_8_a_signature_of_22000_characters_is_refused_before_it_is_verified),
		cmocka_unit_test(ecdsa_numbers_are_in_range),
		cmocka_unit_test(ecdsa_signature_is_never_der_rfc7518_3_4),
		cmocka_unit_test(rsa_signature_is_to_the_letter),
		cmocka_unit_test(pss_mask_is_of_the_same_digest),
		cmocka_unit_test(one_key_one_algorithm_rfc8725_3_1),
		cmocka_unit_test(ed25519_number_is_in_range_rfc8032_5_1_7),
	};

	return cmocka_run_group_tests(tests, world_up, world_down);
}
