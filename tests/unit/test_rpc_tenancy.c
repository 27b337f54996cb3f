/* Which tenants does a node know, with which limits, and whose cap holds for whom? */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "rpc/tenancy.h"

typedef Baton__V1__Tenant tenant;

/* ---- what may stand there ---- */

static tenant named(const char *name)
{
	tenant m = BATON__V1__TENANT__INIT;

	m.name = (char *)(uintptr_t)name;
	return m;
}

static void bad(const tenant *m, const char *expected)
{
	const char *field = "";

	assert_non_null(tenancy_wrong(m, &field));
	assert_string_equal(field, expected);
}

static void fields(void **state)
{
	static const char *const names[] = {"", "Acme", "acme/x", "*", "acme*", "ac me", "acme\n", ".acme", "-acme", ("\xd0\xb0" "cme"), "acme\xe2\x80\x8b"};
	char longest[65];
	const char *field;
	tenant m;

	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
		m = named(names[i]);
		bad(&m, "tenant.name");
	}
	memset(longest, 'a', 64);
	longest[64] = '\0';
	m = named(longest);
	bad(&m, "tenant.name");
	longest[63] = '\0';
	assert_null(tenancy_wrong(&m, &field));
	m.max_waiting = TENANT_WAITING_MAX;
	m.max_bytes = TENANT_BYTES_MAX;
	assert_null(tenancy_wrong(&m, &field));
	m.max_waiting++;
	bad(&m, "tenant.max_waiting");
	m = named("acme");
	m.max_bytes = TENANT_BYTES_MAX + 1;
	bad(&m, "tenant.max_bytes");
	m.max_bytes = UINT64_MAX;
	bad(&m, "tenant.max_bytes");
	m = named("acme");
	m.max_agents = TENANT_AGENTS_MAX;
	assert_null(tenancy_wrong(&m, &field));
	m.max_agents++;
	bad(&m, "tenant.max_agents");
}

/* ---- the index ---- */

struct row {
	const char *at; /* under which name it is kept */
	const char *name;
	uint64_t max_waiting, max_bytes;
	bool removed;
};

static struct resources *keep(const struct row *rows, size_t n)
{
	static uint8_t bytes[16][256];
	static char names[16][80];
	struct resource v[17];
	struct resources *none = resources_new(), *all;
	size_t behind;

	for (size_t i = 0; i < n; i++) {
		Baton__V1__Resource m = BATON__V1__RESOURCE__INIT;
		tenant t = named(rows[i].name);
		int len = snprintf(names[i], sizeof names[i], TENANT_PREFIX "%s", rows[i].at);

		t.max_waiting = rows[i].max_waiting;
		t.max_bytes = rows[i].max_bytes;
		m.spec_case = BATON__V1__RESOURCE__SPEC_TENANT;
		m.tenant = &t;
		v[i] = (struct resource){.name = slice_of(names[i], (size_t)len), .version = 1, .generation = i + 1, .removed = rows[i].removed,
			.value = slice_of(bytes[i], baton__v1__resource__pack(&m, bytes[i]))};
	}
	v[n] = (struct resource){.name = SLICE_LIT("tenant/nonsense"), .version = 1, .generation = 99, .value = SLICE_LIT("?")};
	all = resources_with(none, v, n + 1, &behind);
	resources_unref(none);
	return all;
}

static struct registry *agents(const char *const *tenants, size_t n)
{
	struct registry *r = registry_new();
	struct problem why;

	for (size_t i = 0; i < n; i++) {
		struct agent a = {.max_in_flight = 1, .key = i + 1};
		char id[64];

		snprintf(a.tenant, sizeof a.tenant, "%s", tenants[i]);
		snprintf(a.name, sizeof a.name, "agent%zu", i);
		snprintf(id, sizeof id, "spiffe://%s.example/agent%zu", tenants[i], i);
		a.spiffe_id = id;
		a.client = a.name;
		assert_int_equal(registry_add_agent(r, &a, &why), 0);
	}
	return r;
}

static struct issuers *issuer_for(const char *of)
{
	static struct issuer_entry e;

	snprintf(e.rule.name, sizeof e.rule.name, "corp");
	snprintf(e.rule.tenants[0], sizeof e.rule.tenants[0], "%s", of);
	e.rule.n_tenants = 1;
	return issuers_new(&e, 1);
}

static struct tenancy *make(const struct row *rows, size_t n)
{
	static const char *const with_agents[] = {"acme", "globex", "acme"};
	struct registry *r = agents(with_agents, 3);
	struct issuers *i = issuer_for("initech");
	struct resources *s = keep(rows, n);
	struct tenancy *t = tenancy_new(r, i, s);

	assert_non_null(t);
	registry_unref(r);
	issuers_unref(i);
	resources_unref(s);
	return t;
}

static void index_of_all(void **state)
{
	static const struct row rows[] = {
		{"acme", "acme", 5, 0, false}, {"gone", "gone", 5, 0, true}, {"made", "made", 0, 1 << 20, false}, {"globex", "globex", 7, 7, true},
	};
	struct tenancy *t = make(rows, 4);
	size_t found = 0;

	assert_int_equal(tenancy_count(t), 5); /* acme, globex, initech, made, nonsense */
	assert_int_equal(tenancy_peopled(t), 2);
	for (size_t i = 0; i < tenancy_count(t); i++)
		found += tenancy_find(t, tenancy_at(t, i)->name) == tenancy_at(t, i);
	assert_int_equal(found, 5);
	assert_int_equal(tenancy_find(t, "acme")->agents, 2);
	assert_int_equal(tenancy_find(t, "acme")->max_waiting, 5);
	assert_int_equal(tenancy_find(t, "globex")->agents, 1);
	assert_int_equal(tenancy_find(t, "globex")->max_waiting + tenancy_find(t, "globex")->max_bytes, 0); /* they were taken away */
	assert_int_equal(tenancy_find(t, "initech")->agents, 0);
	assert_int_equal(tenancy_find(t, "made")->max_bytes, 1 << 20);
	assert_null(tenancy_find(t, "gone"));
	assert_null(tenancy_find(t, "acm"));
	assert_null(tenancy_find(t, ""));
	tenancy_free(t);
	tenancy_free(NULL);
}

static void what_does_not_read(void **state)
{
	static const struct row rows[] = {
		{"acme", "globex", 5, 0, false}, {"globex", "globex", TENANT_WAITING_MAX + UINT64_C(1), 0, false}, {"ACME", "ACME", 5, 0, false}, {"", "", 5, 0, false},
		{"fine", "fine", 5, 0, false},
	};
	struct tenancy *t = make(rows, 5);

	assert_int_equal(tenancy_count(t), 5); /* what is no name is no tenant */
	assert_true(tenancy_find(t, "acme")->unread);
	assert_true(tenancy_find(t, "globex")->unread);
	assert_true(tenancy_find(t, "nonsense")->unread);
	assert_false(tenancy_find(t, "fine")->unread);
	assert_int_equal(tenancy_find(t, "acme")->max_waiting + tenancy_find(t, "globex")->max_waiting, 0);
	tenancy_free(t);
}

/* ---- whose cap holds ---- */

static void is(struct tenancy_limit l, uint64_t max, enum limit_source source)
{
	assert_int_equal(l.max, max);
	assert_int_equal(l.source, source);
}

static void its_own_cap_comes_first(void **state)
{
	const struct tenancy_entry tighter = {.max_waiting = 3}, looser = {.max_bytes = 900}, none = {.agents = 1};
	struct tenancy_limits l = tenancy_judge(&tighter, 10, 100);

	is(l.waiting, 3, LIMIT_OWN);
	is(l.bytes, 100, LIMIT_CONFIGURED);
	assert_false(l.unknown);
	l = tenancy_judge(&looser, 0, 100);
	is(l.waiting, 0, LIMIT_NONE);
	is(l.bytes, 900, LIMIT_OWN);
	assert_false(l.unknown);
	l = tenancy_judge(&none, 10, 0);
	is(l.waiting, 10, LIMIT_CONFIGURED);
	is(l.bytes, 0, LIMIT_NONE);
	assert_false(l.unknown);
	l = tenancy_judge(NULL, 0, 7);
	is(l.waiting, 0, LIMIT_NONE);
	is(l.bytes, 7, LIMIT_CONFIGURED);
	assert_false(l.unknown);
}

/* The configuration's caps hold; where it has none, one may have been lost. */
static void what_does_not_read_lifts_no_cap(void **state)
{
	const struct tenancy_entry e = {.unread = true};
	struct tenancy_limits l = tenancy_judge(&e, 10, 100);

	is(l.waiting, 10, LIMIT_CONFIGURED);
	is(l.bytes, 100, LIMIT_CONFIGURED);
	assert_false(l.unknown);
	assert_true(tenancy_judge(&e, 0, 100).unknown);
	assert_true(tenancy_judge(&e, 10, 0).unknown);
	assert_true(tenancy_judge(&e, 0, 0).unknown);
}

/* ---- how many agents ---- */

static void agents_of_its_own_or_as_configured(void **state)
{
	const struct tenancy_entry own = {.max_agents = 7}, none = {.max_agents = 0};

	(void)state;
	is(tenancy_agents(&own, 3), 7, LIMIT_OWN);
	is(tenancy_agents(&none, 3), 3, LIMIT_CONFIGURED);
	is(tenancy_agents(NULL, 3), 3, LIMIT_CONFIGURED);
	is(tenancy_agents(&none, 0), 0, LIMIT_NONE);
}

static void some_names_are_kept_for_revocations(void **state)
{
	const size_t last = STORE_RESOURCES_MAX - TENANCY_SPARE;

	(void)state;
	assert_true(tenancy_names_fit(0, last));
	assert_false(tenancy_names_fit(0, last + 1));
	assert_true(tenancy_names_fit(last - 2, 2));
	assert_false(tenancy_names_fit(last - 1, 2));
	assert_true(tenancy_names_fit(STORE_RESOURCES_MAX, 0)); /* what is there changes and goes */
	assert_false(tenancy_names_fit(STORE_RESOURCES_MAX, 1));
	assert_false(tenancy_names_fit(SIZE_MAX, 1));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(fields), cmocka_unit_test(index_of_all), cmocka_unit_test(what_does_not_read), cmocka_unit_test(its_own_cap_comes_first),
		cmocka_unit_test(what_does_not_read_lifts_no_cap), cmocka_unit_test(agents_of_its_own_or_as_configured),
		cmocka_unit_test(some_names_are_kept_for_revocations),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
