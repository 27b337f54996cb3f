/* What is an enrolment token, is the agent's request one that the CA takes, and which answers to it are refused? Each refusal beside the answer that passes. */
#include "config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "identity/enrolment.h"

#define ID "spiffe://acme.example/planner"
#define NOW 1764000000000LL
#define HOUR 3600000LL

/* ---- the token ---- */

#define A43 "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
#define TOKEN "baton-enrol." A43 "."
#define PIN "ungWv48Bz-pBQUDeXa4iI7ADYaOWF3qctBD_YfIAFa0" /* SHA-256 of "abc" */

static const char *parse(const char *text, uint8_t pin[SHA256_BYTES])
{
	uint64_t key;

	return enrolment_token_read(slice_str(text), &key, pin);
}

static void assert_pins(const char *token, const struct slice *der, size_t n, bool expected)
{
	uint8_t pin[SHA256_BYTES], digest[SHA256_BYTES] = {0};

	assert_null(parse(token, pin));
	assert_int_equal(enrolment_pin(der, n, digest) && memcmp(pin, digest, sizeof pin) == 0, expected);
}

static void a_token_names_the_bundle_that_it_pins(void **state)
{
	const struct slice whole[] = {SLICE_LIT("abc")}, parts[] = {SLICE_LIT("a"), SLICE_LIT("bc")}, other[] = {SLICE_LIT("abd")};

	assert_pins(TOKEN PIN, whole, 1, true);
	assert_pins(TOKEN PIN, parts, 2, true);
	assert_pins(TOKEN PIN, other, 1, false);
	assert_pins(TOKEN PIN, parts, 1, false);
	assert_pins(TOKEN PIN, whole, 0, false);
	assert_pins(TOKEN "47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU", NULL, 0, false); /* the SHA-256 of nothing pins nothing */
}

static void what_is_written_is_read_back(void **state)
{
	static const uint8_t pin[SHA256_BYTES] = {1, 2, 3};
	char one[ENROLMENT_TOKEN_TEXT + 1], two[ENROLMENT_TOKEN_TEXT + 1];
	uint8_t back[SHA256_BYTES] = {0};
	uint64_t key = 0;

	enrolment_token(UINT64_C(0xfedcba9876543210), pin, one);
	enrolment_token(UINT64_C(0xfedcba9876543210), pin, two);
	assert_int_equal(strlen(one), ENROLMENT_TOKEN_TEXT);
	assert_string_not_equal(one, two);
	assert_string_equal(one + 55, two + 55); /* the pin */
	assert_null(enrolment_token_read(slice_str(one), &key, back));
	assert_true(key == UINT64_C(0xfedcba9876543210));
	assert_memory_equal(back, pin, sizeof pin);
	for (size_t n = 0; n < ENROLMENT_TOKEN_TEXT; n++)
		assert_non_null(enrolment_token_read(slice_of(one, n), &key, back));
	assert_true(key == 0);
}

static void what_is_no_token_is_refused_and_not_repeated(void **state)
{
	static const char *const bad[] = {
		"", "baton-enrol.", "baton-enrol." A43, TOKEN, "baton_enrol." A43 "." PIN, "Baton-enrol." A43 "." PIN, "eyJhbGciOiJFUzI1NiJ9.e30.x", TOKEN PIN "\n", TOKEN PIN "A",
		" " TOKEN PIN, "baton-enrol." A43 "," PIN, "baton-enrol." A43 "." "ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD_YfIAFa0", "baton-enrol." A43 "." "ungWv48Bz-pBQUDeXa4iI7ADYaOWF3qctBD_YfIAFa1",
		"baton-enrol." "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=" "." PIN,
	};
	uint8_t pin[SHA256_BYTES];

	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		const char *fault = parse(bad[i], pin);

		if (!fault)
			fail_msg("`%s` was taken", bad[i]);
		assert_null(strstr(fault, "AAAA"));
		assert_null(strstr(fault, "eyJ"));
	}
}

/* ---- the request and the answer ---- */

struct world {
	struct ca_key *key; /* the agent's */
	struct buf root, middle, leaf;
	struct ca_issuer *by, *root_issuer;
};

static void must(int rc, const struct problem *why)
{
	if (rc < 0)
		fail_msg("%s", why->text);
}

static struct ca_authority authority(const char *domain)
{
	struct ca_authority a = {.trust_domain = domain, .not_before_ms = NOW - CA_BACKDATE_MS, .not_after_ms = NOW + 1000 * HOUR};

	ca_serial_new(a.serial);
	return a;
}

static struct ca_issuer *make_root(const char *domain, struct buf *der)
{
	struct ca_key *k = ca_key_new(CA_P256, NULL);
	struct ca_authority a = authority(domain);
	struct problem why = {""};

	buf_init(der, 65536);
	must(ca_make_root(k, &a, der, &why), &why);
	return ca_issuer_new(buf_slice(der), k, NULL);
}

static void make_middle(struct world *w)
{
	struct ca_key *k = ca_key_new(CA_P256, NULL);
	struct ca_authority a = authority("acme.example");
	struct problem why = {""};
	struct buf public;

	buf_init(&public, 65536);
	buf_init(&w->middle, 65536);
	must(ca_key_public(k, &public, &why), &why);
	a.not_after_ms -= HOUR;
	must(ca_make_intermediate(w->root_issuer, buf_slice(&public), &a, &w->middle, &why), &why);
	w->by = ca_issuer_new(buf_slice(&w->middle), k, NULL);
	buf_clear(&public);
}

static void issue(struct world *w, const struct ca_key *key, const char *id, int64_t from_ms, int64_t to_ms)
{
	struct ca_leaf l = {.spiffe_id = id, .not_before_ms = from_ms, .not_after_ms = to_ms};
	struct problem why = {""};
	struct buf public;

	ca_serial_new(l.serial);
	buf_init(&public, 65536);
	buf_reset(&w->leaf);
	must(ca_key_public(key, &public, &why), &why);
	must(ca_make_leaf(w->by, buf_slice(&public), &l, &w->leaf, &why), &why);
	buf_clear(&public);
}

static int setup(void **state)
{
	struct world *w = calloc(1, sizeof *w);

	w->key = ca_key_new(CA_P256, NULL);
	w->root_issuer = make_root("acme.example", &w->root);
	make_middle(w);
	buf_init(&w->leaf, 65536);
	issue(w, w->key, ID, NOW - CA_BACKDATE_MS, NOW + HOUR);
	*state = w;
	return 0;
}

static int teardown(void **state)
{
	struct world *w = *state;

	ca_key_free(w->key);
	ca_issuer_free(w->by);
	ca_issuer_free(w->root_issuer);
	buf_clear(&w->root);
	buf_clear(&w->middle);
	buf_clear(&w->leaf);
	free(w);
	return 0;
}

/* NULL: it is kept. */
static const char *judge(const struct world *w, const char *id, int64_t now_ms)
{
	static struct problem why;
	const struct slice chain[] = {buf_slice(&w->leaf), buf_slice(&w->middle)}, bundle[] = {buf_slice(&w->root)};

	why.text[0] = '\0';
	return enrolment_check(w->key, id, chain, 2, bundle, 1, now_ms, &why) == 0 ? NULL : why.text;
}

static void the_request_is_one_that_the_ca_takes_for_any_id(void **state)
{
	struct world *w = *state;
	struct problem why = {""};
	struct buf csr, public, own;

	buf_init(&csr, CA_REQUEST_MAX);
	buf_init(&public, 65536);
	buf_init(&own, 65536);
	must(enrolment_request(w->key, &csr, &why), &why);
	must(ca_request_check(buf_slice(&csr), ID, &public, &why), &why);
	must(ca_key_public(w->key, &own, &why), &why);
	assert_int_equal(public.n, own.n);
	assert_memory_equal(public.p, own.p, own.n);
	buf_clear(&csr);
	buf_clear(&public);
	buf_clear(&own);
}

static void an_honest_answer_is_kept(void **state)
{
	assert_null(judge(*state, ID, NOW));
}

static void a_certificate_for_another_key_is_refused(void **state)
{
	struct world *w = *state;
	struct ca_key *other = ca_key_new(CA_P256, NULL);

	issue(w, other, ID, NOW - CA_BACKDATE_MS, NOW + HOUR);
	assert_non_null(strstr(judge(w, ID, NOW), "another key"));
	ca_key_free(other);
}

static void one_for_another_id_is_refused(void **state)
{
	struct world *w = *state;

	issue(w, w->key, "spiffe://acme.example/auditor", NOW - CA_BACKDATE_MS, NOW + HOUR);
	assert_non_null(strstr(judge(w, ID, NOW), "another SPIFFE id"));
	assert_null(judge(w, "spiffe://acme.example/auditor", NOW));
}

static void one_that_ended_or_has_not_begun_is_refused(void **state)
{
	assert_non_null(strstr(judge(*state, ID, NOW + 2 * HOUR), "certificate_expired"));
	assert_non_null(strstr(judge(*state, ID, NOW - HOUR), "certificate_not_yet_valid"));
}

static void a_chain_that_the_bundle_does_not_vouch_for_is_refused(void **state)
{
	struct world *w = *state;
	struct buf other;
	struct ca_issuer *by = make_root("acme.example", &other), *kept = w->root_issuer;
	struct buf root = w->root;

	w->root = other;
	assert_non_null(strstr(judge(w, ID, NOW), "untrusted_chain"));
	w->root = root;
	w->root_issuer = kept;
	assert_null(judge(w, ID, NOW));
	ca_issuer_free(by);
	buf_clear(&other);
}

static void what_is_no_certificate_or_no_ca_is_refused(void **state)
{
	struct world *w = *state;
	const struct slice leaf = buf_slice(&w->leaf), root = buf_slice(&w->root), junk = SLICE_LIT("junk");
	const struct slice cut = slice_of(leaf.p, leaf.n - 1), chain[] = {leaf, buf_slice(&w->middle)}, broken[] = {leaf, junk};
	struct problem why = {""};

	assert_int_equal(enrolment_check(w->key, ID, &cut, 1, &root, 1, NOW, &why), -1);
	assert_int_equal(enrolment_check(w->key, ID, broken, 2, &root, 1, NOW, &why), -1);
	assert_int_equal(enrolment_check(w->key, ID, chain, 0, &root, 1, NOW, &why), -1);
	assert_int_equal(enrolment_check(w->key, ID, chain, 2, &root, 0, NOW, &why), -1);
	assert_int_equal(enrolment_check(w->key, ID, chain, 2, &junk, 1, NOW, &why), -1);
	assert_int_equal(enrolment_check(w->key, ID, chain, 2, &leaf, 1, NOW, &why), -1);
	assert_non_null(strstr(why.text, "not a CA"));
	assert_int_equal(enrolment_check(w->key, "planner", chain, 2, &root, 1, NOW, &why), -1);
	assert_int_equal(enrolment_check(w->key, ID, chain, 2, &root, 1, NOW, &why), 0);
}

int main(void)
{
#define WITH_WORLD(t) cmocka_unit_test_setup_teardown(t, setup, teardown)
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_token_names_the_bundle_that_it_pins),
		cmocka_unit_test(what_is_written_is_read_back),
		cmocka_unit_test(what_is_no_token_is_refused_and_not_repeated),
		WITH_WORLD(the_request_is_one_that_the_ca_takes_for_any_id),
		WITH_WORLD(an_honest_answer_is_kept),
		WITH_WORLD(a_certificate_for_another_key_is_refused),
		WITH_WORLD(one_for_another_id_is_refused),
		WITH_WORLD(one_that_ended_or_has_not_begun_is_refused),
		WITH_WORLD(a_chain_that_the_bundle_does_not_vouch_for_is_refused),
		WITH_WORLD(what_is_no_certificate_or_no_ca_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
