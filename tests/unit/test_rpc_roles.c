/* What do role bindings say, who has which by them, and what may not stand in one? */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "rpc/grants.h"

typedef Baton__V1__RoleBinding binding;

static char *some[] = {"platform", "sre"};

static binding good(void)
{
	binding m = BATON__V1__ROLE_BINDING__INIT;

	m.name = "first";
	m.roles = some;
	m.n_roles = 2;
	m.spiffe_id = "spiffe://acme.example/ops/ana";
	return m;
}

static binding claimed(void)
{
	binding m = good();

	m.spiffe_id = "";
	m.issuer = "corp";
	m.claim = "https://acme.example/groups";
	m.value = "On call";
	return m;
}

/* ---- words ---- */

static void words(void **state)
{
	static const char *const none[] = {"", "root", "Platform", "sre ", "approver", "approver:", "approver:acme", "approver:acme/", "approver:/x", "approver:acme/*",
		"approver:acme/a/b", "approver:Acme/x"};
	char text[ROLES_WORDS_MAX];

	assert_int_equal(role_from_text("platform"), ROLE_PLATFORM);
	assert_int_equal(role_from_text("sre"), ROLE_SRE);
	assert_int_equal(role_from_text("auditor"), ROLE_AUDITOR);
	assert_int_equal(role_from_text("approver:acme/refunds"), ROLE_APPROVER);
	for (size_t i = 0; i < sizeof none / sizeof none[0]; i++)
		assert_int_equal(role_from_text(none[i]), 0);
	role_words(ROLE_PLATFORM | ROLE_SRE | ROLE_AUDITOR | ROLE_APPROVER, " or ", text);
	assert_string_equal(text, "platform or sre or auditor or approver");
	role_words(0, ",", text);
	assert_string_equal(text, "");
}

/* ---- what may stand there ---- */

static void fine(const binding *m)
{
	const char *field, *wrong = rolebind_wrong(m, &field);

	if (wrong)
		fail_msg("%s: %s", field, wrong);
}

static void bad(const binding *m, const char *expected)
{
	const char *field = "";

	assert_non_null(rolebind_wrong(m, &field));
	assert_string_equal(field, expected);
}

static void fields(void **state)
{
	static char *const roles[] = {"sre", "root", "sre", "approver:globex/x", "sre\n"};
	char long_value[ROLEBIND_VALUE_MAX + 2], long_id[2050];
	binding m = good();

	fine(&m);
	m = claimed();
	fine(&m);
	m.tenant = "acme";
	fine(&m);
	m.tenant = "acme*";
	bad(&m, "role.tenant");
	m = good();
	m.name = "First";
	bad(&m, "role.name");
	m = good();
	m.n_roles = 0;
	bad(&m, "role.roles");
	m.n_roles = 2;
	m.roles = (char **)roles;
	bad(&m, "role.roles"); /* no such role */
	m.roles = (char *[]){roles[0], roles[2]};
	bad(&m, "role.roles"); /* twice */
	m.roles = (char *[]){roles[0], roles[4]};
	bad(&m, "role.roles");
	m.roles = (char *[]){roles[0], roles[3]};
	fine(&m);
	m.tenant = "acme";
	bad(&m, "role.roles"); /* an approver elsewhere */

	m = claimed();
	m.spiffe_id = "spiffe://acme.example/x";
	bad(&m, "role.spiffe_id");
	m = good();
	m.spiffe_id = "";
	bad(&m, "role.spiffe_id");
	m.spiffe_id = "spiffe://acme.example/*";
	bad(&m, "role.spiffe_id");
	memset(long_id, 'x', sizeof long_id);
	memcpy(long_id, "spiffe://acme.example/", 22);
	long_id[2048] = '\0';
	m.spiffe_id = long_id;
	fine(&m);
	long_id[2048] = 'x';
	long_id[2049] = '\0';
	bad(&m, "role.spiffe_id");

	m = claimed();
	m.issuer = "";
	bad(&m, "role.issuer");
	m = claimed();
	m.claim = "a b";
	bad(&m, "role.claim");
	m = claimed();
	m.value = "";
	bad(&m, "role.value");
	m.value = "on*";
	bad(&m, "role.value");
	m.value = "call ";
	bad(&m, "role.value");
	m.value = "\xd0\xbe" "ps"; /* a Cyrillic o */
	bad(&m, "role.value");
	memset(long_value, 'x', sizeof long_value - 1);
	long_value[sizeof long_value - 1] = '\0';
	m.value = long_value;
	bad(&m, "role.value");
	long_value[ROLEBIND_VALUE_MAX] = '\0';
	fine(&m);
}

/* ---- who has which ---- */

struct row {
	const char *name;
	binding m;
	bool removed;
};

static struct grants *make(const struct row *rows, size_t n)
{
	static uint8_t bytes[8][512];
	static char names[8][ROLEBIND_NAME_MAX];
	struct resource v[9];
	struct resources *none = resources_new(), *all;
	struct grants *g;
	size_t behind;

	for (size_t i = 0; i < n; i++) {
		Baton__V1__Resource m = BATON__V1__RESOURCE__INIT;
		binding b = rows[i].m;

		m.spec_case = BATON__V1__RESOURCE__SPEC_ROLE;
		m.role = &b;
		v[i] = (struct resource){.name = rolebind_name(rows[i].name, names[i]), .version = 1, .generation = i + 1, .removed = rows[i].removed,
			.value = slice_of(bytes[i], baton__v1__resource__pack(&m, bytes[i]))};
	}
	v[n] = (struct resource){.name = SLICE_LIT("role/nonsense"), .version = 1, .generation = 99, .value = SLICE_LIT("?")};
	all = resources_with(none, v, n + 1, &behind);
	g = grants_new(all);
	assert_non_null(g);
	resources_unref(none);
	resources_unref(all);
	return g;
}

static bool has(const void *arg, const char *claim, const char *value)
{
	return strcmp(claim, "https://acme.example/groups") == 0 && strcmp(value, arg) == 0;
}

static void holders(void **state)
{
	struct row rows[] = {{"first", good(), false}, {"second", claimed(), false}, {"third", good(), true}, {"fourth", good(), false}, {"fifth", good(), false}};
	const struct grant *v[8];
	struct grants *g;
	size_t n;

	rows[1].m.name = "second";
	rows[1].m.tenant = "acme";
	rows[2].m.name = "third";
	rows[4].m.name = "fifth";
	rows[4].m.n_roles = 0; /* may not stand there, so it gives nothing; nor does the fourth, which has another's name */
	g = make(rows, 5);
	assert_int_equal(grants_count(g), 2);
	n = grants_find(g, "spiffe://acme.example/ops/ana", NULL, has, NULL, v, 8);
	assert_int_equal(n, 1);
	assert_true(grants_give(v, n, ROLE_SRE, NULL));
	assert_true(grants_give(v, n, ROLE_SRE | ROLE_AUDITOR, "globex"));
	assert_false(grants_give(v, n, ROLE_AUDITOR, NULL));
	assert_true(grants_give_text(v, n, "platform", "acme"));
	assert_false(grants_give_text(v, n, "approver:acme/x", "acme"));
	assert_int_equal(grants_find(g, "spiffe://acme.example/ops/an", NULL, has, NULL, NULL, 8), 0);
	assert_int_equal(grants_find(g, "", NULL, has, NULL, NULL, 8), 0);

	n = grants_find(g, "", "corp", has, "On call", v, 8);
	assert_int_equal(n, 1);
	assert_true(grants_give(v, n, ROLE_PLATFORM, "acme"));
	assert_false(grants_give(v, n, ROLE_PLATFORM, "globex"));
	assert_false(grants_give(v, n, ROLE_PLATFORM, NULL));
	assert_int_equal(grants_find(g, "", "corp", has, "on call", v, 8), 0);
	assert_int_equal(grants_find(g, "", "other", has, "On call", v, 8), 0);
	assert_int_equal(grants_find(g, "spiffe://acme.example/ops/ana", "corp", has, "On call", v, 8), 2);
	assert_int_equal(grants_find(g, "spiffe://acme.example/ops/ana", "corp", has, "On call", v, 1), 1);
	grants_free(g);
	g = make(rows, 0);
	assert_int_equal(grants_count(g), 0);
	grants_free(g);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(words), cmocka_unit_test(fields), cmocka_unit_test(holders)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
