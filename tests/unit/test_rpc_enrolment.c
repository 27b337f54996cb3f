/* Enrolment tokens: what is kept of one, and when one may be used. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "identity/enrolment.h"
#include "rpc/enrolment.h"

#define NOW INT64_C(1790000000000)

static const uint8_t pin[SHA256_BYTES] = {1, 2, 3}, key_a[SHA256_BYTES] = {7}, key_b[SHA256_BYTES] = {8};

static struct enrolment made(char token[ENROLMENT_TOKEN_TEXT + 1])
{
	struct enrolment e = {.expires_at_ms = NOW + 60000, .tenant = "acme", .name = "planner", .uuid = "u-1", .spiffe_id = "spiffe://acme.example/planner"};

	enrolment_token(UINT64_C(0xfedcba9876543210), pin, token);
	sha256(slice_str(token), e.token);
	return e;
}

static void resource_name(void **state)
{
	char text[ENROLMENT_NAME_MAX];

	(void)state;
	assert_true(slice_is(enrolment_name(UINT64_C(0x0a), text), "enrol/000000000000000a"));
}

static void kept(void **state)
{
	char token[ENROLMENT_TOKEN_TEXT + 1];
	struct enrolment e = made(token), back;
	struct buf b;

	(void)state;
	memcpy(e.key, key_a, sizeof e.key);
	buf_init(&b, sizeof e);
	assert_true(enrolment_put(&b, &e));
	assert_true(enrolment_get(buf_slice(&b), &back));
	assert_memory_equal(&e, &back, sizeof e);
	for (size_t n = 0; n < b.n; n++)
		assert_false(enrolment_get(slice_of(b.p, n), &back));
	assert_true(buf_put_u8(&b, 0));
	assert_false(enrolment_get(buf_slice(&b), &back));
	b.p[0] = 2;
	assert_false(enrolment_get(slice_of(b.p, b.n - 1), &back));
	buf_clear(&b);
}

static void use(void **state)
{
	char token[ENROLMENT_TOKEN_TEXT + 1], other[ENROLMENT_TOKEN_TEXT + 1];
	struct enrolment e = made(token);

	(void)state;
	enrolment_token(UINT64_C(0xfedcba9876543210), pin, other);
	assert_int_equal(enrolment_judge(&e, slice_str(other), key_a, NOW), ENROLMENT_UNKNOWN);
	assert_int_equal(enrolment_judge(&e, slice_str(token), key_a, NOW), ENROLMENT_FINE);
	assert_int_equal(enrolment_judge(&e, slice_str(token), key_a, NOW + 59999), ENROLMENT_FINE);
	assert_int_equal(enrolment_judge(&e, slice_str(token), key_a, NOW + 60000), ENROLMENT_EXPIRED);
	assert_false(enrolment_is_used(&e));
	memcpy(e.key, key_a, sizeof e.key);
	assert_true(enrolment_is_used(&e));
	assert_int_equal(enrolment_judge(&e, slice_str(token), key_b, NOW), ENROLMENT_USED);
	assert_int_equal(enrolment_judge(&e, slice_str(token), key_a, NOW), ENROLMENT_FINE);
	assert_int_equal(enrolment_judge(&e, slice_str(other), key_a, NOW), ENROLMENT_UNKNOWN);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(resource_name), cmocka_unit_test(kept), cmocka_unit_test(use)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
