/* Is the newest of several routes' handoffs taken first, and does a page begin where the one before it ended? */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "rpc/merge.h"

/* A route's handoffs, at[i] accepted at position i + 1. */
struct route {
	int64_t at[200];
	size_t n;
};

struct fixture {
	struct arena *arena;
	struct merge m;
};

static void begin(struct fixture *f, size_t n, const char *token)
{
	f->arena = arena_new(1 << 20);
	assert_true(merge_init(&f->m, f->arena, n));
	assert_true(merge_parse(&f->m, token));
}

/* As a store lists them. */
static void fill(struct merge *m, const struct route *routes, size_t max)
{
	struct store_item items[MERGE_CHUNK] = {0};

	for (size_t r; (r = merge_hungry(m)) < m->n;) {
		uint64_t before = m->routes[r].from;
		size_t pos = before && before - 1 < routes[r].n ? before - 1 : routes[r].n, n = 0;

		for (; pos && n < max; pos--, n++)
			items[n].record = (struct store_record){.position = pos, .accepted_at_ms = routes[r].at[pos - 1]};
		merge_put(m, r, items, n, pos ? pos + 1 : 0);
	}
}

/* Takes up to `page` of them, newest first; the token of the next page, in the arena. */
static const char *page(struct fixture *f, const struct route *routes, size_t n, const char *token, size_t size, int64_t *seen, size_t *n_seen)
{
	begin(f, n, token);
	for (size_t r; size--; merge_take(&f->m, r)) {
		fill(&f->m, routes, 3);
		r = merge_newest(&f->m);
		if (r == n)
			break;
		seen[(*n_seen)++] = merge_first(&f->m, r)->accepted_at_ms;
	}
	return merge_format(&f->m, f->arena);
}

static void test_newest_first_over_routes_whatever_the_page(void **state)
{
	const struct route routes[] = {{{10, 20, 70, 80}, 4}, {{0}, 0}, {{30, 40, 50, 60, 90}, 5}, {{5, 85}, 2}};
	const int64_t want[] = {90, 85, 80, 70, 60, 50, 40, 30, 20, 10, 5};

	(void)state;
	for (size_t size = 1; size < 13; size++) {
		int64_t seen[32];
		size_t n = 0, pages = 0;
		char token[100] = "";

		do {
			struct fixture f;

			strcpy(token, page(&f, routes, 4, token, size, seen, &n));
			arena_free(f.arena);
			assert_true(++pages < 13);
		} while (*token);
		assert_int_equal(n, 11);
		assert_memory_equal(seen, want, sizeof want);
	}
}

static void test_of_equals_the_first_route_is_taken(void **state)
{
	const struct route routes[] = {{{7}, 1}, {{7, 8}, 2}, {{7}, 1}};
	const size_t want[] = {1, 0, 1, 2};
	struct fixture f;

	(void)state;
	begin(&f, 3, "");
	fill(&f.m, routes, 9);
	for (size_t i = 0; i < 4; i++) {
		assert_int_equal(merge_newest(&f.m), want[i]);
		merge_take(&f.m, want[i]);
	}
	assert_true(merge_ended(&f.m));
	assert_string_equal(merge_format(&f.m, f.arena), "");
	arena_free(f.arena);
}

static void test_what_comes_between_pages_is_on_neither(void **state)
{
	struct route routes[] = {{{10, 20}, 2}, {{15}, 1}, {{0}, 0}};
	int64_t seen[8];
	size_t n = 0;
	char token[100];
	struct fixture f;

	(void)state;
	strcpy(token, page(&f, routes, 3, "", 1, seen, &n));
	arena_free(f.arena);
	assert_string_equal(token, "2.2.1");
	for (size_t r = 0; r < 3; r++)
		routes[r].at[routes[r].n++] = 30;
	assert_string_equal(page(&f, routes, 3, token, 8, seen, &n), "");
	arena_free(f.arena);
	assert_int_equal(n, 3);
	assert_memory_equal(seen, ((int64_t[]){20, 15, 10}), 3 * sizeof seen[0]);
}

static void test_nothing_is_taken_while_a_route_is_unknown(void **state)
{
	const struct store_item one = {.record = {.position = 600, .accepted_at_ms = 5}};
	struct fixture f;

	(void)state;
	begin(&f, 2, "");
	merge_put(&f.m, 0, &one, 1, 0);
	assert_int_equal(merge_newest(&f.m), 2);
	assert_int_equal(merge_share(&f.m, 9), 0);
	assert_int_equal(merge_hungry(&f.m), 1);
	merge_put(&f.m, 1, NULL, 0, 88); /* none of the caller's down to there: it goes on */
	assert_int_equal(merge_hungry(&f.m), 1);
	assert_int_equal(f.m.routes[1].from, 88);
	assert_string_equal(merge_format(&f.m, f.arena), "601.88");
	merge_put(&f.m, 1, NULL, 0, 0);
	assert_int_equal(merge_newest(&f.m), 0);
	assert_string_equal(merge_format(&f.m, f.arena), "601.1");
	arena_free(f.arena);
}

static void test_a_share_is_what_the_newest_route_gives_to_the_next(void **state)
{
	const struct route routes[] = {{{10, 40, 60, 70}, 4}, {{20, 30, 50}, 3}};
	const size_t want[] = {0, 1, 2, 2, 3, 3, 3, 4, 4};
	struct fixture f;

	(void)state;
	begin(&f, 2, "");
	fill(&f.m, routes, 9);
	for (size_t max = 0; max < 9; max++)
		assert_int_equal(merge_share(&f.m, max), want[max]);
	assert_int_equal(f.m.at[0], 0);
	arena_free(f.arena);
}

static void test_a_token_is_taken_as_it_was_given_only(void **state)
{
	const char *const bad[] = {"nonsense", "5", "5.", ".5", "5.6.7", "5.6.", "5..6", "+5.6", "-5.6", " 5.6", "5 .6", "5.6 ", "05.6", "0x5.6", "5,6",
				   "9007199254740993.6", "99999999999999999.6", "18446744073709551617.6"};
	const char *const good[] = {"", "0.0", "5.6", "1.1", "9007199254740992.0"};
	struct fixture f;

	(void)state;
	begin(&f, 2, "");
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		assert_false(merge_parse(&f.m, bad[i]));
	for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
		assert_true(merge_parse(&f.m, good[i]));
	assert_true(merge_init(&f.m, f.arena, 0));
	assert_true(merge_ended(&f.m));
	assert_string_equal(merge_format(&f.m, f.arena), "");
	assert_false(merge_init(&f.m, f.arena, MERGE_ROUTES_MAX + 1));
	arena_free(f.arena);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_newest_first_over_routes_whatever_the_page),
		cmocka_unit_test(test_of_equals_the_first_route_is_taken),
		cmocka_unit_test(test_what_comes_between_pages_is_on_neither),
		cmocka_unit_test(test_nothing_is_taken_while_a_route_is_unknown),
		cmocka_unit_test(test_a_share_is_what_the_newest_route_gives_to_the_next),
		cmocka_unit_test(test_a_token_is_taken_as_it_was_given_only),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
