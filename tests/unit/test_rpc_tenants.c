/* Is a tenant's work on all its routes added up, and its cap kept, whatever other tenants have? */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "rpc/tenants.h"

static bool enters(struct tenants *t, const char *tenant, uint64_t bytes, uint64_t max, uint64_t max_bytes)
{
	struct tenant_room room = {.max = max, .max_bytes = max_bytes};

	return tenants_enter(t, tenant, 1, bytes, &room) == TENANT_FITS;
}

static void handoffs(void **state)
{
	struct tenants *t = tenants_new();
	struct tenant_room room = {.max = 10};

	(void)state;
	tenants_saw(t, "acme", "a", 4, 400, 1000);
	tenants_saw(t, "acme", "b", 4, 400, 1000);
	tenants_saw(t, "globex", "a", 100, 100000, 1000);
	assert_true(enters(t, "acme", 10, 10, 0));
	assert_true(enters(t, "acme", 10, 10, 0));
	assert_int_equal(tenants_enter(t, "acme", 1, 10, &room), TENANT_HANDOFFS);
	assert_int_equal(room.waiting, 10);
	assert_int_equal(room.bytes, 820);
	assert_true(enters(t, "initech", 10, 10, 0)); /* of which nothing is known */
	tenants_leave(t, "acme", 1, 10);
	assert_true(enters(t, "acme", 10, 10, 0));
	tenants_leave(t, "acme", 1, 10);
	tenants_leave(t, "acme", 1, 10);
	tenants_look(t, "acme", &room.waiting, &room.bytes);
	assert_int_equal(room.waiting, 8);
	assert_int_equal(room.bytes, 800);
	tenants_look(t, "nobody", &room.waiting, &room.bytes);
	assert_int_equal(room.waiting + room.bytes, 0);
	tenants_saw(t, "acme", "a", 5, 410, 1000);
	tenants_saw(t, "acme", "b", 5, 410, 1000);
	assert_false(enters(t, "acme", 10, 10, 0));
	tenants_saw(t, "acme", "b", 0, 0, 1000);
	assert_true(enters(t, "acme", 10, 10, 0));
	tenants_free(t);
}

static void bytes(void **state)
{
	struct tenants *t = tenants_new();
	struct tenant_room room = {.max_bytes = 1000};

	(void)state;
	tenants_saw(t, "acme", "a", 1, 500, 1000);
	assert_true(enters(t, "acme", 400, 0, 1000));
	assert_int_equal(tenants_enter(t, "acme", 1, 101, &room), TENANT_BYTES);
	assert_int_equal(room.bytes, 900);
	assert_true(enters(t, "acme", 100, 0, 1000));
	assert_true(enters(t, "acme", 1 << 30, 0, 0)); /* no cap */
	tenants_free(t);
}

struct sum {
	unsigned n;
	uint64_t waiting, bytes;
};

static void add(void *arg, const char *tenant, uint64_t waiting, uint64_t n)
{
	struct sum *s = arg;

	assert_string_equal(tenant, "acme");
	s->n++;
	s->waiting += waiting;
	s->bytes += n;
}

/* A route that is configured no more is not held against its tenant for good. */
static void forgotten(void **state)
{
	struct tenants *t = tenants_new();
	struct sum s = {0};

	(void)state;
	tenants_saw(t, "acme", "gone", 7, 700, 1000);
	tenants_saw(t, "acme", "here", 1, 100, 50000);
	tenants_each(t, 50000, add, &s);
	assert_int_equal(s.n, 1);
	assert_int_equal(s.waiting, 8);
	assert_int_equal(s.bytes, 800);
	s = (struct sum){0};
	tenants_each(t, 70000, add, &s);
	assert_int_equal(s.waiting, 1);
	assert_int_equal(s.bytes, 100);
	s = (struct sum){0};
	tenants_each(t, 200000, add, &s); /* told of once more, as 0 */
	assert_int_equal(s.n, 1);
	assert_int_equal(s.waiting, 0);
	tenants_each(t, 200000, add, &s);
	assert_int_equal(s.n, 1);
	tenants_free(t);
}

/* From 60 % of the memory on: who keeps more than an equal part waits, the others go on; one alone may have it all. */
static void share(void **state)
{
	struct tenants *t = tenants_new();
	struct tenant_room two = {.tenants = 2}, one = {.tenants = 1};

	(void)state;
	tenants_keeps(t, "acme", "a", 300, 1000);
	tenants_keeps(t, "acme", "b", 250, 1000);
	tenants_keeps(t, "globex", "a", 50, 1000);
	assert_int_equal(tenants_enter(t, "acme", 1, 1, &two), TENANT_FITS); /* nothing is known of the memory */
	tenants_memory(t, 590, 1000);
	assert_int_equal(tenants_enter(t, "acme", 1, 9, &two), TENANT_FITS);
	assert_int_equal(tenants_enter(t, "acme", 1, 1, &two), TENANT_FITS);
	assert_int_equal(tenants_enter(t, "acme", 1, 1, &two), TENANT_SHARE); /* with what was sent since it was asked */
	assert_int_equal(two.kept, 550);
	assert_int_equal(tenants_enter(t, "globex", 1, 1, &two), TENANT_FITS);
	assert_int_equal(tenants_enter(t, "initech", 1, 1, &two), TENANT_FITS);
	assert_int_equal(tenants_enter(t, "acme", 1, 1, &one), TENANT_FITS);
	tenants_memory(t, 700, 1000);
	assert_int_equal(tenants_enter(t, "acme", 1, 1, &two), TENANT_SHARE);
	tenants_keeps(t, "acme", "a", 0, 1000);
	tenants_keeps(t, "globex", "a", 900, 1000);
	assert_int_equal(tenants_enter(t, "acme", 1, 1, &two), TENANT_FITS);
	assert_int_equal(tenants_enter(t, "globex", 1, 1, &two), TENANT_SHARE);
	tenants_memory(t, 700, 0);
	assert_int_equal(tenants_enter(t, "globex", 1, 1, &two), TENANT_FITS);
	tenants_free(t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(handoffs), cmocka_unit_test(bytes), cmocka_unit_test(forgotten), cmocka_unit_test(share)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
