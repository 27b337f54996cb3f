/* What does the registry make of an entry: agents, differences, who is waited for? */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "rpc/fleet.h"
#include "rpc/registered.h"
#include "rpc/roster.h"
#include "rpc/specdiff.h"

#define NOW 1000000

typedef Baton__V1__AgentSpec spec;

static spec good(void)
{
	static char *calls[] = {"refunds", "mail"};
	spec s = BATON__V1__AGENT_SPEC__INIT;

	s.tenant = "acme";
	s.name = "planner";
	s.spiffe_id = "spiffe://acme.example/planner";
	s.owner = "team";
	s.may_call = calls;
	s.n_may_call = 2;
	s.status = BATON__V1__AGENT_STATUS__AGENT_STATUS_ACTIVE;
	return s;
}

/* ---- differences ---- */

static void differs(const spec *before, const spec *after, const char *expected)
{
	struct buf b;

	buf_init(&b, 4096);
	specdiff(before ? &before->base : NULL, &after->base, &b);
	buf_put_u8(&b, 0);
	assert_string_equal((char *)b.p, expected);
	buf_clear(&b);
}

static void differences(void **state)
{
	Baton__V1__AgentSpec__LabelsEntry label = BATON__V1__AGENT_SPEC__LABELS_ENTRY__INIT, *labels[] = {&label};
	spec a = good(), b = good(), empty = BATON__V1__AGENT_SPEC__INIT;

	differs(&a, &b, "");
	differs(NULL, &empty, "");
	b.n_may_call = 1;
	b.rate_per_s = 7;
	b.may_originate = 1;
	b.expires_at_ms = -3;
	b.status = BATON__V1__AGENT_STATUS__AGENT_STATUS_QUARANTINED;
	label.key = "stage";
	label.value = "test";
	b.labels = labels;
	b.n_labels = 1;
	differs(&a, &b, "may_call: refunds, mail -> refunds; rate_per_s: 0 -> 7; status: AGENT_STATUS_ACTIVE -> AGENT_STATUS_QUARANTINED; "
			"expires_at_ms: 0 -> -3; labels: - -> stage=test; may_originate: false -> true");
	differs(&b, &a, "may_call: refunds -> refunds, mail; rate_per_s: 7 -> 0; status: AGENT_STATUS_QUARANTINED -> AGENT_STATUS_ACTIVE; "
			"expires_at_ms: -3 -> 0; labels: stage=test -> -; may_originate: true -> false");
	b = good();
	b.status = 77;
	b.n_may_call = 0;
	differs(&a, &b, "may_call: refunds, mail -> -; status: AGENT_STATUS_ACTIVE -> 77");
}

static void differences_within(void **state)
{
	Baton__V1__CertificatePolicy one = BATON__V1__CERTIFICATE_POLICY__INIT, two = BATON__V1__CERTIFICATE_POLICY__INIT;
	spec a = good(), b = good(), c = good(), empty = BATON__V1__AGENT_SPEC__INIT;

	one.max_ttl_s = 600;
	b.certificate = &one;
	two.max_ttl_s = 60;
	two.issuance = BATON__V1__CERTIFICATE_ISSUANCE__CERTIFICATE_ISSUANCE_NONE;
	c.certificate = &two;
	differs(&a, &b, "certificate.max_ttl_s: - -> 600");
	differs(&b, &c, "certificate.max_ttl_s: 600 -> 60; certificate.issuance: - -> CERTIFICATE_ISSUANCE_NONE");
	differs(&c, &a, "certificate.max_ttl_s: 60 -> -; certificate.issuance: CERTIFICATE_ISSUANCE_NONE -> -");
	empty.certificate = &two;
	differs(NULL, &empty, "certificate.max_ttl_s: 60; certificate.issuance: CERTIFICATE_ISSUANCE_NONE");
}

/* ---- the fleet ---- */

static void fleet(void **state)
{
	const struct node_report own = {.closed = 2};
	uint8_t told[STORE_REPORT_MAX];
	struct fleet *f = fleet_new();
	struct store_node others[FLEET_MAX + 4];
	struct fleet_node v[FLEET_MAX];

	assert_int_equal(fleet_get(f, v), 0);
	assert_false(fleet_lags(f, 9));
	fleet_set(f, "one", 5, &own, NULL, 0);
	assert_true(fleet_lags(f, 6));
	assert_false(fleet_lags(f, 5));
	others[0] = (struct store_node){.name = SLICE_LIT("two"), .confirmed = 4, .silent_ms = STORE_NODE_LEASE_MS - 1,
		.report = slice_of(told, node_report_pack(&(struct node_report){.closed = 7, .aside = 8, .asked = UINT64_MAX, .would_close = 9}, told))};
	fleet_set(f, "one", 5, &own, others, 1);
	assert_true(fleet_lags(f, 5));
	others[0].silent_ms = STORE_NODE_LEASE_MS; /* it has fenced itself */
	fleet_set(f, "one", 5, &own, others, 1);
	assert_false(fleet_lags(f, 5));
	assert_int_equal(fleet_get(f, v), 2);
	assert_string_equal(v[0].name, "one");
	assert_string_equal(v[1].name, "two");
	assert_int_equal(v[1].confirmed, 4);
	assert_int_equal(v[0].report.closed, 2);
	assert_int_equal(v[1].report.closed, 7);
	assert_int_equal(v[1].report.aside, 8);
	assert_true(v[1].report.asked == UINT64_MAX);
	assert_int_equal(v[1].report.would_close, 9);
	others[0].report = SLICE_LIT("\x08\xff"); /* nonsense: the node is known, and nothing of what it tells */
	others[1] = others[0];
	others[1].name = SLICE_LIT("two\33[2J"); /* none that is shown; it is waited for as long as it is not silent */
	others[1].silent_ms = 0;
	fleet_set(f, "one", 5, &own, others, 2);
	assert_int_equal(fleet_get(f, v), 2);
	assert_string_equal(v[1].name, "two");
	assert_int_equal(v[1].report.closed, 0);
	assert_true(fleet_rest_lags(f, 5));
	assert_false(fleet_rest_lags(f, 4));
	for (int i = 0; i < FLEET_MAX + 4; i++)
		others[i] = others[0];
	fleet_set(f, "one", 5, &own, others, FLEET_MAX + 4);
	assert_int_equal(fleet_get(f, v), FLEET_MAX);
	fleet_free(f);
	fleet_free(NULL);
}

/* What a node tells is read whole or not at all, and has bounds. */
static void reports(void **state)
{
	const struct node_report all = {.closed = UINT64_MAX, .run = "r0123456789abcdef", .version = "1.2.3", .not_ready = UINT64_MAX, .peers = UINT64_MAX, .started_at_ms = 1,
		.certificate_expires_at_ms = INT64_C(253402300799999), .next_crl_expiry_ms = 2, .keys_good_until_ms = 3};
	static const struct slice nonsense[] = {
		SLICE_LIT("\x08"), SLICE_LIT("\x08\x01\x08\x01"), SLICE_LIT("\x22\x04" "a\033[m"), SLICE_LIT("\x22\x02" "\xc3\x28"), SLICE_LIT("\x22\x7f" "x"),
		SLICE_LIT("\x1a\x20" "0123456789abcdef0123456789abcdef"), /* a run that is too long */
		SLICE_LIT("\x38\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"), /* a time before all times */
		SLICE_LIT("\x40\x80\x80\xa0\x8c\xb1\xcc\x7f"), /* one after them */
	};
	uint8_t told[STORE_REPORT_MAX], much[STORE_REPORT_MAX + 1] = {0};
	struct node_report r;
	size_t n;

	n = node_report_pack(&all, told);
	assert_in_range(n, 1, STORE_REPORT_MAX);
	assert_true(node_report_read(slice_of(told, n), &r));
	assert_true(r.closed == all.closed && r.not_ready == all.not_ready && r.peers == all.peers && r.started_at_ms == 1 && r.next_crl_expiry_ms == 2 && r.keys_good_until_ms == 3);
	assert_true(r.certificate_expires_at_ms == all.certificate_expires_at_ms);
	assert_string_equal(r.run, all.run);
	assert_string_equal(r.version, all.version);
	memcpy(told + n, "\xa2\x06\x03new", 6); /* a field that a later version has */
	assert_true(node_report_read(slice_of(told, n + 6), &r));
	for (size_t i = 0; i < sizeof nonsense / sizeof *nonsense; i++) {
		r = all;
		if (node_report_read(nonsense[i], &r) || r.run[0] || r.closed)
			fail_msg("%zu", i);
	}
	assert_true(node_report_read(slice_of(NULL, 0), &r));
	assert_false(node_report_read(slice_of(much, sizeof much), &r));
}

/* ---- agents ---- */

static struct resources *with(struct resources *r, const char *name, const spec *s)
{
	Baton__V1__Resource m = BATON__V1__RESOURCE__INIT;
	uint8_t bytes[1024];
	size_t n = 1, behind;
	struct resources *next;

	m.spec_case = BATON__V1__RESOURCE__SPEC_AGENT;
	m.agent = (spec *)(uintptr_t)s;
	bytes[0] = '?';
	if (s)
		n = baton__v1__resource__pack(&m, bytes);
	next = resources_with(r, &(struct resource){.name = slice_str(name), .version = 1, .value = slice_of(bytes, n)}, 1, &behind);
	assert_non_null(next);
	resources_unref(r);
	return next;
}

static struct registry *configured(void)
{
	struct registry *r = registry_new();
	const struct agent a = {.tenant = "acme", .name = "static", .spiffe_id = "spiffe://acme.example/static", .client = "static", .key = 1};
	struct problem why = {""};

	assert_int_equal(registry_add_agent(r, &a, &why), 0);
	return r;
}

static void rosters(void **state)
{
	struct resources *s = resources_new();
	struct registry *r = configured();
	struct roster out;
	spec one = good(), two = good(), three = good(), four = good(), five = good(), six = good();
	const struct agent *a;

	one.expires_at_ms = NOW + 5;
	two.name = "two";
	two.spiffe_id = "spiffe://acme.example/two";
	two.status = BATON__V1__AGENT_STATUS__AGENT_STATUS_QUARANTINED;
	three.name = "three";
	three.spiffe_id = "spiffe://acme.example/three";
	three.expires_at_ms = NOW;
	four.name = "static"; /* in the configuration too, though it may do nothing */
	four.spiffe_id = "spiffe://acme.example/four";
	four.status = BATON__V1__AGENT_STATUS__AGENT_STATUS_QUARANTINED;
	five.name = "five"; /* an id that the configuration has given */
	five.spiffe_id = "spiffe://acme.example/static";
	six.name = "../six";
	one.card = two.card = (ProtobufCBinaryData){7, (uint8_t *)"\"card\"!"}; /* that of who may do nothing now counts too */
	s = with(s, "agent/acme/planner", &one);
	s = with(s, "agent/acme/two", &two);
	s = with(s, "agent/acme/three", &three);
	s = with(s, "agent/acme/static", &four);
	s = with(s, "agent/acme/five", &five);
	s = with(s, "agent/acme/six", &six);
	s = with(s, "agent/acme/seven", NULL);
	s = with(s, "agents/acme/eight", &one);
	s = with(s, "spiffe/x", NULL);
	assert_int_equal(roster_add(r, s, NOW, &out), 0);
	assert_int_equal(out.active, 1);
	assert_int_equal(out.others, 2);
	assert_int_equal(out.refused, 4);
	assert_int_equal(out.conflicts, 2);
	assert_true(out.next_expiry_ms == NOW + 5);
	assert_int_equal(registry_agents(r), 2);
	assert_int_equal(registry_card_bytes(r, "acme"), 14);
	assert_int_equal(registry_card_bytes(r, "globex"), 0);
	a = registry_by_name(r, "acme", SLICE_LIT("planner"));
	assert_true(a->registered);
	assert_string_equal(a->client, "planner");
	assert_int_equal(a->max_in_flight, 1000);
	assert_true(agent_may_call(a, SLICE_LIT("mail")));
	assert_false(agent_may_serve(a, SLICE_LIT("mail")));
	assert_false(registry_by_name(r, "acme", SLICE_LIT("static"))->registered);
	registry_unref(r);
	resources_unref(s);
}

/* A name that was retired is free for the configuration. */
static void retired(void **state)
{
	struct resources *s = resources_new();
	struct registry *r = configured();
	struct roster out;
	spec one = good();

	one.name = "static";
	one.status = BATON__V1__AGENT_STATUS__AGENT_STATUS_RETIRED;
	s = with(s, "agent/acme/static", &one);
	assert_int_equal(roster_add(r, s, NOW, &out), 0);
	assert_int_equal(out.conflicts, 0);
	assert_int_equal(out.others, 1);
	assert_int_equal(out.active, 0);
	registry_unref(r);
	resources_unref(s);
}

/* ---- certificates ---- */

static void wrong_at(const Baton__V1__CertificatePolicy *p, const char *expected)
{
	Baton__V1__CertificatePolicy copy = *p;
	const char *field = NULL;
	spec s = good();

	s.certificate = &copy;
	assert_int_equal(!registered_wrong(&s, &field), !expected);
	if (expected)
		assert_string_equal(field, expected);
}

static void a_policy_is_within_its_bounds(void **state)
{
	Baton__V1__CertificatePolicy p = BATON__V1__CERTIFICATE_POLICY__INIT;

	wrong_at(&p, NULL);
	p.max_ttl_s = 29;
	wrong_at(&p, "agent.certificate.max_ttl_s");
	p.max_ttl_s = 86401;
	wrong_at(&p, "agent.certificate.max_ttl_s");
	p.max_ttl_s = 30;
	wrong_at(&p, NULL);
	p.issuance = 4;
	wrong_at(&p, "agent.certificate.issuance");
	p.issuance = -1;
	wrong_at(&p, "agent.certificate.issuance");
	p.issuance = 3;
	wrong_at(&p, NULL);
	p.max_accepted_ttl_s = 29;
	wrong_at(&p, "agent.certificate.max_accepted_ttl_s");
	p.max_accepted_ttl_s = 315360001;
	wrong_at(&p, "agent.certificate.max_accepted_ttl_s");
	p.max_accepted_ttl_s = 315360000;
	wrong_at(&p, NULL);
}

static struct agent with_policy(struct arena *arena, uint32_t max_ttl_s, int issuance, uint32_t max_accepted_ttl_s)
{
	static Baton__V1__CertificatePolicy p;
	struct agent a;
	spec s = good();

	baton__v1__certificate_policy__init(&p);
	p.max_ttl_s = max_ttl_s;
	p.issuance = issuance;
	p.max_accepted_ttl_s = max_accepted_ttl_s;
	s.certificate = &p;
	assert_true(registered_agent(arena, &s, &a));
	return a;
}

static void what_is_issued_to_an_agent(void **state)
{
	static const struct { int issuance; bool enrolment, renewal; } rows[] = {{0, true, true}, {1, true, false}, {2, false, true}, {3, false, false}};
	struct arena *arena = arena_new(65536);
	struct agent a = with_policy(arena, 0, 0, 0);

	assert_true(agent_ttl_ms(&a, 3600000) == 3600000);
	a = with_policy(arena, 60, 0, 0);
	assert_true(agent_ttl_ms(&a, 3600000) == 60000);
	assert_true(agent_ttl_ms(&a, 30000) == 30000);
	a = with_policy(arena, 600, 0, 300);
	assert_true(agent_ttl_ms(&a, 3600000) == 300000); /* none that would be refused */
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		a = with_policy(arena, 0, rows[i].issuance, 0);
		assert_int_equal(!a.certificates.no_enrolment, rows[i].enrolment);
		assert_int_equal(!a.certificates.no_renewal, rows[i].renewal);
	}
	arena_free(arena);
}

static void what_an_agent_may_come_with(void **state)
{
	struct arena *arena = arena_new(65536);
	struct identity_peer p = {.spiffe_id = "spiffe://acme.example/planner", .not_before_ms = NOW, .life_ms = 3900000};
	struct agent a = with_policy(arena, 0, 0, 3600);
	struct verdict v = registered_shows(&a, &p);

	assert_true(verdict_ok(&v)); /* an hour, dated back */
	p.life_ms++;
	v = registered_shows(&a, &p);
	assert_int_equal(v.reason, REASON_UNKNOWN_PEER);
	assert_string_equal(v.field, "certificate");
	assert_non_null(strstr(v.message, "it lives 3900 s, and of planner none is taken that lives longer than 3600 s"));
	a = with_policy(arena, 60, 3, 0);
	v = registered_shows(&a, &p);
	assert_true(verdict_ok(&v)); /* nothing is said of what it comes with */
	a.certificates_from_ms = NOW + 300001;
	v = registered_shows(&a, &p);
	assert_non_null(strstr(v.message, "another agent had"));
	arena_free(arena);
}

static void names(void **state)
{
	char text[REGISTERED_NAME_MAX], one[REGISTERED_ID_MAX], two[REGISTERED_ID_MAX];
	struct slice a, b;

	assert_true(slice_is(registered_name("acme", "planner", text), "agent/acme/planner"));
	a = registered_id_name("spiffe://acme.example/a", one);
	b = registered_id_name("spiffe://acme.example/b", two);
	assert_int_equal(a.n, sizeof "spiffe/" - 1 + 43);
	assert_false(slice_eq(a, b));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(differences), cmocka_unit_test(differences_within), cmocka_unit_test(a_policy_is_within_its_bounds),
		cmocka_unit_test(what_is_issued_to_an_agent), cmocka_unit_test(what_an_agent_may_come_with), cmocka_unit_test(fleet), cmocka_unit_test(reports), cmocka_unit_test(rosters), cmocka_unit_test(retired), cmocka_unit_test(names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
