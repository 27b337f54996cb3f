/* Does what workers tell each other arrive once, and only where it is wanted? */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "rpc/shared.h"

static void test_a_hungry_worker_is_woken_once(void **state)
{
	struct shared *s = shared_new();
	struct shared_route *a = shared_route(s, "acme", "one"), *b = shared_route(s, "acme", "two");

	(void)state;
	assert_ptr_equal(a, shared_route(s, "acme", "one"));
	assert_ptr_not_equal(a, b);
	assert_int_equal(shared_route_take_hungry(a), 0);
	shared_route_hungry(a, 3);
	shared_route_hungry(a, 0);
	assert_int_equal(shared_route_take_hungry(b), 0);
	assert_int_equal(shared_route_take_hungry(a), 1 << 3 | 1);
	assert_int_equal(shared_route_take_hungry(a), 0);
	shared_free(s);
}

static void test_followers_are_counted(void **state)
{
	struct shared *s = shared_new();
	struct handoff_id x = {.b = {1}}, y = {.b = {2}};

	(void)state;
	assert_int_equal(shared_followers(s, &x), 0);
	assert_true(shared_follow(s, &x, 1));
	assert_true(shared_follow(s, &x, 1));
	assert_true(shared_follow(s, &x, 5));
	assert_int_equal(shared_followers(s, &x), 1 << 1 | 1 << 5);
	assert_int_equal(shared_followers(s, &y), 0);
	shared_unfollow(s, &x, 1);
	assert_int_equal(shared_followers(s, &x), 1 << 1 | 1 << 5);
	shared_unfollow(s, &x, 1);
	assert_int_equal(shared_followers(s, &x), 1 << 5);
	shared_unfollow(s, &x, 5);
	assert_int_equal(shared_followers(s, &x), 0);
	shared_unfollow(s, &x, 5); /* once too often is harmless */
	shared_free(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_hungry_worker_is_woken_once),
		cmocka_unit_test(test_followers_are_counted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
