/* Does a set of ids know what was put in, and nothing else, up to its room? */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "rpc/idset.h"

#define MANY 5000

static void id_of(uint32_t n, uint8_t id[HANDOFF_ID_BYTES])
{
	memset(id, 0, HANDOFF_ID_BYTES);
	memcpy(id + 6, &n, sizeof n); /* alike but for four bytes */
}

static void keeps(void **state)
{
	struct arena *a = arena_new(1 << 20);
	struct idset *s = idset_new(a, MANY);
	uint8_t id[HANDOFF_ID_BYTES];

	assert_non_null(s);
	for (uint32_t n = 0; n < 2 * MANY; n += 2) {
		id_of(n, id);
		assert_false(idset_has(s, id));
		assert_true(idset_add(s, id));
		assert_true(idset_add(s, id)); /* once more takes no room */
	}
	for (uint32_t n = 0; n < 2 * MANY; n++) {
		id_of(n, id);
		assert_int_equal(idset_has(s, id), n % 2 == 0);
	}
	id_of(1, id);
	assert_false(idset_add(s, id));
	assert_false(idset_has(s, id));
	arena_free(a);
}

static void too_many(void **state)
{
	struct arena *a = arena_new(1 << 20);

	assert_null(idset_new(a, 1 << 20));
	arena_free(a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(keeps), cmocka_unit_test(too_many)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
