/* Does a node's picture of what all share only go forward, and does an older snapshot stay as it was? */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "registry/resources.h"

static struct resource one(const char *name, uint64_t version, const char *value)
{
	return (struct resource){.name = slice_str(name), .version = version, .generation = 10 * version, .value = slice_str(value)};
}

static void holds(const struct resources *r, const char *name, uint64_t version, const char *value)
{
	const struct resource *x = resources_find(r, slice_str(name));

	assert_non_null(x);
	assert_int_equal(x->version, version);
	assert_true(slice_is(x->value, value));
}

static void snapshots(void **state)
{
	struct resource first[] = {one("b", 1, "b1"), one("a", 1, "a1"), one("c", 3, "")}, second[] = {one("c", 4, "c4"), one("aa", 1, "aa1")};
	struct resources *none = resources_new(), *r, *later;
	size_t behind;

	assert_int_equal(resources_count(none), 0);
	assert_null(resources_find(none, SLICE_LIT("a")));
	r = resources_with(none, first, 3, &behind);
	assert_int_equal(behind, 0);
	assert_int_equal(resources_count(r), 3);
	assert_true(slice_is(resources_at(r, 0)->name, "a"));
	assert_true(slice_is(resources_at(r, 2)->name, "c"));
	later = resources_with(r, second, 2, &behind);
	assert_int_equal(resources_count(later), 4);
	holds(later, "a", 1, "a1");
	holds(later, "aa", 1, "aa1");
	holds(later, "c", 4, "c4");
	holds(r, "c", 3, "");
	assert_null(resources_find(r, SLICE_LIT("aa")));
	resources_unref(r);
	holds(later, "b", 1, "b1");
	assert_int_equal(resources_place(later, SLICE_LIT("a")), 0);
	assert_int_equal(resources_place(later, SLICE_LIT("ab")), 2);
	assert_int_equal(resources_place(later, SLICE_LIT("d")), 4);
	resources_unref(resources_ref(later));
	resources_unref(later);
	resources_unref(none);
	resources_unref(NULL);
}

static void never_back(void **state)
{
	struct resource now[] = {one("a", 5, "new"), one("b", 2, "b")}, old[] = {one("a", 4, "old"), one("b", 2, "other"), one("c", 1, "c")};
	struct resources *none = resources_new(), *r, *later;
	size_t behind;

	r = resources_with(none, now, 2, &behind);
	later = resources_with(r, old, 3, &behind);
	assert_int_equal(behind, 1); /* the same version of the same generation is nothing new */
	holds(later, "a", 5, "new");
	holds(later, "b", 2, "b");
	holds(later, "c", 1, "c");
	now[0] = one("a", 5, "given again after a fail-over");
	now[0].generation++;
	resources_unref(r);
	r = later;
	later = resources_with(r, now, 1, &behind);
	assert_int_equal(behind, 0);
	holds(later, "a", 5, "given again after a fail-over");
	resources_unref(none);
	resources_unref(r);
	resources_unref(later);
}

static void what_is_taken_out_is_of_that_version(void **state)
{
	struct resource v[] = {one("b", 1, "b1"), one("a", 1, "a1"), one("c", 3, "c3")}, out[] = {one("a", 1, ""), one("b", 2, ""), one("bb", 1, ""), one("c", 3, ""), one("none", 1, "")};
	struct resources *none = resources_new(), *r, *later;
	size_t behind;

	(void)state;
	r = resources_with(none, v, 3, &behind);
	later = resources_without(r, out, 5);
	assert_int_equal(resources_count(later), 1);
	holds(later, "b", 1, "b1");
	holds(r, "a", 1, "a1"); /* the older snapshot is as it was */
	resources_unref(r);
	r = resources_without(later, out, 0);
	assert_int_equal(resources_count(r), 1);
	resources_unref(later);
	later = resources_without(none, out, 5);
	assert_int_equal(resources_count(later), 0);
	resources_unref(later);
	resources_unref(r);
	resources_unref(none);
}

/* Against a table that is looked through from its beginning. */
static void many(void **state)
{
	enum { NAMES = 40, STEPS = 2000 };
	uint64_t version[NAMES] = {0};
	struct resources *r = resources_new(), *next;
	char names[NAMES][8], value[NAMES][24];
	unsigned seed = 7;

	for (int i = 0; i < NAMES; i++)
		snprintf(names[i], sizeof names[i], "n%d", i);
	for (int step = 0; step < STEPS; step++) {
		struct resource v[3];
		size_t n = 0, behind, expected = 0;
		int first = rand_r(&seed) % NAMES;

		for (int k = 0; k <= rand_r(&seed) % 3; k++) {
			int i = (first + 7 * k) % NAMES;
			uint64_t to = version[i] + (uint64_t)(rand_r(&seed) % 3);

			to -= to > 0 && rand_r(&seed) % 4 == 0;
			if (!to)
				continue;
			expected += to < version[i];
			if (to > version[i])
				snprintf(value[i], sizeof value[i], "v%llu", (unsigned long long)to);
			v[n++] = one(names[i], to, value[i]);
			version[i] = to > version[i] ? to : version[i];
		}
		next = resources_with(r, v, n, &behind);
		assert_int_equal(behind, expected);
		resources_unref(r);
		r = next;
		for (int i = 0; i < NAMES; i++) {
			if (version[i])
				holds(r, names[i], version[i], value[i]);
			else
				assert_null(resources_find(r, slice_str(names[i])));
		}
	}
	resources_unref(r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(snapshots), cmocka_unit_test(never_back), cmocka_unit_test(what_is_taken_out_is_of_that_version), cmocka_unit_test(many)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
