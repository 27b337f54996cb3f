/* Is JSON read wholly or not at all, also when memory runs out at any moment of it? The linker puts fail_malloc() before malloc(). */
#include "base/json.h"
#include "base/jsonw.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static long left = -1; /* allocations until one fails; -1: none */

void *__real_malloc(size_t n);
void *__wrap_malloc(size_t n);

void *__wrap_malloc(size_t n)
{
	if (left >= 0 && left-- == 0) {
		errno = ENOMEM;
		return NULL;
	}
	return __real_malloc(n);
}

static const char text[] =
	"{\"iss\":\"https://issuer.example/a/realm/that/is/long/enough/to/grow/a/buffer\",\"exp\":1795700000,\"n\":1.5,"
	"\"aud\":[\"one\",\"the other one, which is long as well\"],\"cnf\":{\"x5t#S256\":\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\"}}";

/* jansson alone leaves a character out when it cannot grow the buffer of a text, and reports success. */
static void test_no_memory(void **state)
{
	json_t *whole = json_read(slice_str(text), NULL), *got;
	unsigned refused = 0;

	assert_non_null(whole);
	for (long i = 0;; i++) {
		left = i;
		got = json_read(slice_str(text), NULL);
		if (left >= 0)
			break; /* it did not come so far */
		left = -1;
		assert_null(got);
		assert_int_equal(errno, ENOMEM);
		refused++;
	}
	left = -1;
	assert_true(json_equal(whole, got));
	assert_true(refused > 20);
	json_decref(got);
	json_decref(whole);
}

static void test_what_is_no_json(void **state)
{
	static const char *const bad[] = {"", "{", "{\"a\":1,\"a\":2}", "{\"a\":1} x", "[1,]"};
	json_error_t e;

	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		assert_null(json_read(slice_str(bad[i]), &e));
		assert_int_equal(errno, 0);
	}
}

/* jansson takes one behind a number for nothing. */
static void test_a_zero_among_words(void **state)
{
	static const char zeros[] = "{\"a\":\n 1\0}\0{\"a\":1}";
	json_error_t e;
	json_t *good;

	assert_null(json_read(slice_of((const uint8_t *)zeros, 10), &e));
	assert_int_equal(errno, 0);
	assert_true(e.line == 2 && e.column == 2 && e.position == 8);
	assert_non_null(strstr(e.text, "0"));
	assert_null(json_read(slice_of((const uint8_t *)zeros, 11), NULL));
	good = json_read(slice_of((const uint8_t *)zeros + 11, 7), &e);
	assert_non_null(good);
	json_decref(good);
}

static void test_depth(void **state)
{
	static const struct { const char *text; size_t depth; } rows[] = {
		{"", 0}, {"1", 0}, {"[]", 1}, {"{\"a\":[1,[2]]}", 3}, {"[\"[[[\",\"\\\"[\"]", 1}, {"]][", 1}, {"[\"\\\\\",[]]", 2},
	};

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
		assert_int_equal(json_depth(slice_str(rows[i].text)), rows[i].depth);
}

static void test_compact(void **state)
{
	struct buf b;

	buf_init(&b, 64);
	assert_true(json_compact(slice_str(" { \"a b\" :\t[ 1 ,\r\n\" \\\" x\" ] } "), &b));
	assert_true(slice_is(buf_slice(&b), "{\"a b\":[1,\" \\\" x\"]}"));
	assert_false(json_compact(slice_str("[11111111110,2222222222,3333333333,4444444444]"), &b)); /* beyond its cap */
	buf_clear(&b);
}

/* JSON that is put into JSON: nothing in it reaches a terminal that would obey it. */
static void test_json_in_json(void **state)
{
	struct jsonw w;
	struct buf b;

	buf_init(&b, 256);
	jsonw_init(&w, &b);
	jsonw_object(&w, NULL);
	jsonw_int(&w, "a", 1);
	jsonw_json(&w, "b", slice_str("{\"c\":[\"\\n\x7f\xc2\x9b\xe2\x80\xa8\xc3\xa9\"]}"));
	jsonw_bool(&w, "d", true);
	jsonw_end_object(&w);
	assert_true(slice_is(buf_slice(&b), "{\"a\":1,\"b\":{\"c\":[\"\\n\\u007f\\u009b\\u2028\xc3\xa9\"]},\"d\":true}"));
	buf_clear(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_no_memory), cmocka_unit_test(test_what_is_no_json), cmocka_unit_test(test_a_zero_among_words), cmocka_unit_test(test_depth), cmocka_unit_test(test_compact), cmocka_unit_test(test_json_in_json)};

	return cmocka_run_group_tests_name("base/json", tests, NULL, NULL);
}
