/* Are agents and routes found by those who may see them, and by nobody else? */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "policy/profile.h"
#include "registry/registry.h"

static struct profile *make_profile(const char *route, const char *tenants)
{
	struct problem why = {""};
	struct profile *p;
	char json[1024];

	snprintf(json, sizeof json,
		"{\"route\": \"%s\", \"identity\": {\"allowed_issuers\": [\"https://i.example\"], \"required_audience\": \"a\","
		 " \"required_scopes\": [\"s\"]%s%s}, \"tools\": {\"allowed\": [\"t\"]}}", route, tenants
			? ", \"tenants\": " : "",
		 tenants ? tenants : "");
	p = profile_parse(slice_str(json), &why, NULL);
	if (!p)
		fail_msg("%s", why.text);
	return p;
}

static int add_profile(struct registry *r, const char *route, const char *tenants, struct problem *why)
{
	struct profile *p = make_profile(route, tenants);
	int rc = registry_add_profile(r, p, why);

	profile_unref(p);
	return rc;
}

static struct agent make_agent(const char *tenant, const char *name, const char *call, const char *serve, uint64_t key)
{
	static struct made {
		char id[128], call[1][64], serve[1][64];
	} rooms[8];
	static unsigned turn;
	struct made *m = &rooms[turn++ % 8];
	struct agent a = {.key = key, .spiffe_id = m->id, .client = "client", .call = (const char(*)[64])m->call, .serve = (const char(*)[64])m->serve,
		.n_call = call != NULL, .n_serve = serve != NULL};

	snprintf(a.tenant, sizeof a.tenant, "%s", tenant);
	snprintf(a.name, sizeof a.name, "%s", name);
	snprintf(m->id, sizeof m->id, "spiffe://%s.example/%s", tenant, name);
	snprintf(m->call[0], sizeof m->call[0], "%s", call ? call : "");
	snprintf(m->serve[0], sizeof m->serve[0], "%s", serve ? serve : "");
	return a;
}

static struct registry *make(void)
{
	struct registry *r = registry_new();
	struct agent planner = make_agent("acme", "planner", "refunds", NULL, 7), worker = make_agent("acme", "worker",
		NULL, "refunds", 8);
	struct agent other = make_agent("globex", "planner", "all", NULL, 7);
	struct problem why = {""};

	assert_non_null(r);
	assert_int_equal(registry_add_agent(r, &planner, &why), 0);
	assert_int_equal(registry_add_agent(r, &worker, &why), 0);
	assert_int_equal(registry_add_agent(r, &other, &why), 0);
	assert_int_equal(add_profile(r, "refunds", "[\"acme\", \"empty\"]", &why), 0);
	assert_int_equal(add_profile(r, "all", NULL, &why), 0);
	if (registry_check(r, &why))
		fail_msg("%s", why.text);
	return r;
}

static void test_look_up(void **state)
{
	struct registry *r = make();
	const struct agent *a = registry_by_spiffe(r, "spiffe://acme.example/planner");

	(void)state;
	assert_non_null(a);
	assert_string_equal(a->name, "planner");
	assert_ptr_equal(registry_by_name(r, "acme", SLICE_LIT("planner")), a);
	assert_ptr_equal(registry_by_key(r, "acme", 7), a);
	assert_null(registry_by_spiffe(r, "spiffe://acme.example/planne"));
	assert_null(registry_by_spiffe(r, "spiffe://acme.example/Planner"));
	assert_null(registry_by_spiffe(r, ""));
	assert_null(registry_by_name(r, "acme", SLICE_LIT("plan")));
	assert_null(registry_by_name(r, "acm", SLICE_LIT("e/planner")));
	assert_null(registry_by_name(r, "", SLICE_LIT("planner")));
	assert_null(registry_by_name(r, "globex", SLICE_LIT("worker")));
	/* the same name, and the same key, in another tenant is another agent */
	assert_ptr_not_equal(registry_by_name(r, "globex", SLICE_LIT("planner")), a);
	assert_string_equal(registry_by_key(r, "globex", 7)->tenant, "globex");
	assert_null(registry_by_key(r, "globex", 8));
	assert_null(registry_by_key(r, "acme", 9));
	assert_null(registry_by_key(r, "acme", 0));
	assert_int_equal(registry_agents(r), 3);
	registry_unref(r);
}

static void test_routes(void **state)
{
	struct registry *r = make();
	char long_name[300];

	(void)state;
	assert_string_equal(registry_route(r, "acme", SLICE_LIT("refunds"))->route, "refunds");
	assert_non_null(registry_route(r, "empty", SLICE_LIT("refunds")));
	assert_null(registry_route(r, "globex", SLICE_LIT("refunds")));
	assert_non_null(registry_route(r, "acme", SLICE_LIT("all")));
	assert_non_null(registry_route(r, "globex", SLICE_LIT("all")));
	assert_null(registry_route(r, "empty", SLICE_LIT("all"))); /* no agent: no such tenant */
	assert_null(registry_route(r, "", SLICE_LIT("all")));
	assert_null(registry_route(r, "", SLICE_LIT("refunds")));
	assert_null(registry_route(r, "acme", SLICE_LIT("")));
	assert_null(registry_route(r, "acme", SLICE_LIT("refund")));
	assert_null(registry_route(r, "acme", SLICE_LIT("refunds\0x")));
	assert_null(registry_route(r, "acm", SLICE_LIT("e/refunds")));
	memset(long_name, 'a', sizeof long_name);
	assert_null(registry_route(r, "acme", slice_of(long_name, sizeof long_name)));
	assert_true(agent_may_call(registry_by_key(r, "acme", 7), SLICE_LIT("refunds")));
	assert_false(agent_may_serve(registry_by_key(r, "acme", 7), SLICE_LIT("refunds")));
	assert_true(agent_may_serve(registry_by_key(r, "acme", 8), SLICE_LIT("refunds")));
	assert_false(agent_may_call(registry_by_key(r, "acme", 8), SLICE_LIT("refunds")));
	assert_false(agent_may_call(registry_by_key(r, "acme", 7), SLICE_LIT("")));
	assert_false(agent_may_call(registry_by_key(r, "acme", 7), SLICE_LIT("refund")));
	registry_unref(r);
}

static void refused(struct registry *r, const struct agent *a, const char *text)
{
	struct problem why = {""};

	assert_int_equal(registry_add_agent(r, a, &why), -1);
	if (!strstr(why.text, text))
		fail_msg("%s where %s was expected", why.text, text);
}

static void test_refusals(void **state)
{
	struct registry *r = make();
	struct agent a = make_agent("acme", "third", NULL, NULL, 9);
	char long_id[AGENT_ID_MAX + 2] = "spiffe://";
	struct problem why = {""};

	(void)state;
	strcpy(a.name, "planner");
	refused(r, &a, "in tenant acme twice");
	strcpy(a.name, "third");
	a.spiffe_id = "spiffe://acme.example/planner";
	refused(r, &a, "agents planner and third have the same id");
	a.spiffe_id = "https://acme.example/third";
	refused(r, &a, "no SPIFFE id");
	a.spiffe_id = "spiffe://acme.example/third";
	strcpy(a.name, "Third");
	refused(r, &a, "name and tenant are");
	strcpy(a.name, "third");
	strcpy(a.tenant, "");
	refused(r, &a, "name and tenant are");
	strcpy(a.tenant, "acme");
	memset(long_id + 9, 'a', AGENT_ID_MAX - 8);
	a.spiffe_id = long_id;
	refused(r, &a, "at most 2048");
	a.spiffe_id = "spiffe://acme.example/third";
	a.key = 8;
	refused(r, &a, "its key is that of worker");
	a.key = 9;
	a.n_call = 2;
	a.call = (const char[][64]){"refunds", "refunds"};
	refused(r, &a, "`call` names refunds twice");
	a.call = (const char[][64]){"refunds", "../x"};
	refused(r, &a, "bad route name");
	a.n_call = AGENT_ROUTES_MAX + 1;
	refused(r, &a, "more than 64 routes");
	a.n_call = 1;
	assert_int_equal(registry_add_agent(r, &a, &why), 0); /* the honest twin */
	assert_int_equal(registry_agents(r), 4);
	assert_int_equal(registry_check(r, &why), 0);

	assert_int_equal(add_profile(r, "refunds", "[\"acme\"]", &why), -1);
	assert_non_null(strstr(why.text, "route refunds has two profiles in tenant acme"));
	assert_int_equal(add_profile(r, "refunds", NULL, &why), -1);
	assert_int_equal(add_profile(r, "all", "[\"new\"]", &why), -1);
	assert_int_equal(add_profile(r, "refunds", "[\"globex\"]", &why),
		0); /* another tenant's route of the same name */
	assert_non_null(registry_route(r, "globex", SLICE_LIT("refunds")));
	assert_ptr_not_equal(registry_route(r, "globex", SLICE_LIT("refunds")), registry_route(r, "acme",
		SLICE_LIT("refunds")));
	registry_unref(r);
}

static void test_check(void **state)
{
	struct registry *r = make();
	struct agent a = make_agent("globex", "third", "refunds", NULL, 9); /* a route of acme's */
	struct problem why = {""};

	(void)state;
	assert_int_equal(registry_add_agent(r, &a, &why), 0);
	assert_int_equal(registry_check(r, &why), -1);
	assert_non_null(strstr(why.text, "agent third: `call` names refunds, and tenant globex has no such route"));
	registry_unref(r);
	r = make();
	a = make_agent("acme", "third", NULL, "nowhere", 9);
	assert_int_equal(registry_add_agent(r, &a, &why), 0);
	assert_int_equal(registry_check(r, &why), -1);
	assert_non_null(strstr(why.text, "`serve` names nowhere"));
	registry_unref(r);
}

/* Each of them would have a copy of everything. */
static void broadcast_agents(void **state)
{
	static const char json[] = "{\"route\": \"news\", \"identity\": {\"allowed_issuers\": [\"https://i.example\"], \"required_audience\": \"a\","
				   " \"required_scopes\": [\"s\"]}, \"tools\": {\"allowed\": [\"t\"], \"spec\": {\"t\": {\"scopes\": [\"s\"], \"side_effect\": \"read\"}}},"
				   " \"delivery\": {\"kind\": \"broadcast\"}}";
	struct registry *r = registry_new();
	struct problem why = {""};
	struct profile *p = profile_parse(slice_str(json), &why, NULL);
	char name[32];

	(void)state;
	assert_non_null(p);
	assert_true(p->broadcast);
	assert_int_equal(registry_add_profile(r, p, &why), 0);
	profile_unref(p);
	for (int i = 0; i <= INBOXES_MAX; i++) {
		struct agent a = make_agent(i % 2 ? "acme" : "globex", (snprintf(name, sizeof name, "worker-%d", i), name), NULL, "news", 0);

		assert_int_equal(registry_add_agent(r, &a, &why), 0);
	}
	assert_int_equal(registry_check(r, &why), 0);
	for (int i = 0; i < INBOXES_MAX / 2; i++) {
		struct agent a = make_agent("globex", (snprintf(name, sizeof name, "more-%d", i), name), NULL, "news", 0);

		assert_int_equal(registry_add_agent(r, &a, &why), 0);
	}
	assert_int_equal(registry_check(r, &why), -1);
	assert_string_equal(why.text, "route news is a broadcast, and 257 agents of tenant globex may serve it: at most 256");
	registry_unref(r);
}

static void too_many_queues(void **state)
{
	struct registry *r = registry_new();
	struct problem why = {""};
	char name[32];

	(void)state;
	for (int i = 0; i < 5; i++) {
		struct agent a = make_agent((snprintf(name, sizeof name, "t%d", i), name), "planner", NULL, NULL, 0);

		assert_int_equal(registry_add_agent(r, &a, &why), 0);
	}
	for (int i = 0; i <= QUEUES_MAX / 5; i++) {
		assert_int_equal(registry_check(r, &why), 0);
		snprintf(name, sizeof name, "r%d", i);
		assert_int_equal(add_profile(r, name, NULL, &why), 0);
	}
	assert_int_equal(registry_check(r, &why), -1);
	assert_string_equal(why.text, "16385 queues (each tenant's routes, and each agent's inbox on a broadcast route): at most 16384");
	registry_unref(r);
}

static void test_sealed(void **state)
{
	struct registry *r = make();
	struct agent a = make_agent("acme", "third", NULL, NULL, 9);
	struct problem why = {""};

	(void)state;
	assert_ptr_equal(registry_ref(r), r);
	assert_int_equal(registry_add_agent(r, &a, &why), -1);
	assert_int_equal(add_profile(r, "other", NULL, &why), -1);
	registry_unref(r);
	assert_int_equal(registry_agents(r), 3);
	registry_unref(r);
	registry_unref(NULL);
}

static void count_route(void *arg, const char *tenant, const struct profile *p)
{
	char *seen = arg;

	strcat(strcat(strcat(strcat(seen, tenant), "/"), p->route), " ");
}

static void count_agent(void *arg, const struct agent *a)
{
	*(uint64_t *)arg += a->key;
}

static void test_each(void **state)
{
	struct registry *r = make();
	char seen[256] = "";
	uint64_t sum = 0;

	(void)state;
	registry_each_route(r, count_route, seen);
	assert_int_equal(strlen(seen), strlen("acme/refunds empty/refunds acme/all globex/all "));
	assert_non_null(strstr(seen, "acme/refunds "));
	assert_non_null(strstr(seen, "empty/refunds "));
	assert_non_null(strstr(seen, "acme/all "));
	assert_non_null(strstr(seen, "globex/all "));
	registry_each_agent(r, count_agent, &sum);
	assert_int_equal(sum, 7 + 8 + 7);
	registry_unref(r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_look_up), cmocka_unit_test(test_routes), cmocka_unit_test(test_refusals),
			cmocka_unit_test(test_check), cmocka_unit_test(broadcast_agents), cmocka_unit_test(too_many_queues),
		cmocka_unit_test(test_sealed), cmocka_unit_test(test_each),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
