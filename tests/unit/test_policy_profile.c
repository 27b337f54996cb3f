/* Is a security profile read strictly, with errors that say which member and what to do? */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/file.h"
#include "policy/profile.h"

/* The published example, as it stands. */
static const char published[] =
	"{\n"
	"\"route\": \"support_refund_assistant\",\n"
	"\"risk_class\": \"medium\",\n"
	"\"identity\": {\n"
	"\"allowed_issuers\": [\"https://identity.example.com\"],\n"
	"\"required_audience\": \"support-agent-runtime\",\n"
	"\"required_scopes\": [\"orders:read\", \"refunds:draft\"]\n"
	"},\n"
	"\"sandbox\": {\n"
	"\"filesystem\": \"read_only\",\n"
	"\"workspace\": \"/runs/${run_id}\",\n"
	"\"network\": {\n"
	"\"allowed_domains\": [\"api.example.com\", \"docs.example.com\"],\n"
	"\"block_private_networks\": true,\n"
	"\"require_tls\": true\n"
	"},\n"
	"\"limits\": {\n"
	"\"max_runtime_ms\": 60000,\n"
	"\"max_output_bytes\": 200000\n"
	"}\n"
	"},\n"
	"\"tools\": {\n"
	"\"allowed\": [\"orders.lookup\", \"refunds.draft_refund\", \"policies.current_refund_policy\"],\n"
	"\"approval_required\": [\"refunds.issue_refund\", \"email.send_customer\"]\n"
	"},\n"
	"\"observability\": {\n"
	"\"required_trace_fields\": [\"trace_id\", \"actor\", \"tool\", \"policy_decision\", \"stop_reason\"],\n"
	"\"redact\": [\"access_token\", \"refresh_token\", \"customer_email\", \"payment_token\"]\n"
	"}\n"
	"}\n";

static void test_published_example(void **state)
{
	struct problem why = {""}, warn = {"left over"};
	struct profile *p = profile_parse(slice_str(published), &why, &warn);
	const struct profile_tool *t;

	(void)state;
	if (!p)
		fail_msg("%s", why.text);
	assert_string_equal(warn.text, "");
	assert_string_equal(p->route, "support_refund_assistant");
	assert_string_equal(p->risk_class, "medium");
	assert_int_equal(p->n_allowed_issuers, 1);
	assert_string_equal(p->allowed_issuers[0], "https://identity.example.com");
	assert_string_equal(p->required_audience, "support-agent-runtime");
	assert_int_equal(p->n_required_scopes, 2);
	assert_int_equal(p->n_tenants, 0);
	assert_int_equal(p->subject, SUBJECT_ANY);
	assert_int_equal(p->n_tools, 5);
	t = profile_tool(p, SLICE_LIT("orders.lookup"));
	assert_non_null(t);
	assert_false(t->needs_approval || t->has_spec);
	assert_int_equal(t->side_effect, SIDE_EFFECT_WRITE);
	assert_int_equal(t->n_scopes, 2);
	assert_true(profile_tool(p, SLICE_LIT("email.send_customer"))->needs_approval);
	assert_null(profile_tool(p, SLICE_LIT("orders.looku")));
	assert_null(profile_tool(p, SLICE_LIT("orders.lookup2")));
	assert_null(profile_tool(p, SLICE_LIT("")));
	assert_int_equal(p->n_domains, 2);
	assert_int_equal(p->domains[0].cls, CLASS_PARTNER);
	assert_int_equal(p->max_output, 200000);
	assert_true(p->block_private_networks && p->require_tls && p->assertion);
	assert_memory_equal(p->version, "sha256:", 7);
	assert_int_equal(strlen(p->version), 23);
	assert_int_equal(strlen(p->version_full), 71);
	assert_memory_equal(p->version, p->version_full, 23);
	assert_ptr_equal(profile_ref(p), p);
	profile_unref(p);
	assert_string_equal(p->route, "support_refund_assistant");
	profile_unref(p);
}

static void test_shipped_example(void **state)
{
	const char *root = getenv("BATON_SRCDIR");
	struct problem why = {""}, warn = {""};
	struct profile *p;
	char path[1024];
	uint8_t *bytes = NULL;
	size_t n;

	(void)state;
	snprintf(path, sizeof path, "%s/deploy/profiles/support_refund_assistant.json", root ? root : ".");
	if (file_read(path, 1 << 20, &bytes, &n, &why))
		fail_msg("%s", why.text);
	p = profile_parse(slice_of(bytes, n), &why, &warn);
	if (!p)
		fail_msg("%s", why.text);
	assert_non_null(strstr(warn.text, "guardrails.input.detect"));
	assert_non_null(strstr(warn.text, "guardrails.output.detect"));
	assert_non_null(strstr(warn.text, "tools.spec.refunds.draft_refund.input_schema"));
	assert_int_equal(p->subject, SUBJECT_USER);
	assert_int_equal(p->n_tenants, 1);
	assert_int_equal(p->lease_ms, 30000);
	assert_false(p->renew_by_progress);
	assert_int_equal(p->resume_ms, 10000);
	assert_int_equal(p->max_attempts, 5);
	assert_int_equal(p->backoff_min_ms, 1000);
	assert_int_equal(p->backoff_max_ms, 60000);
	assert_int_equal(p->default_deadline_ms, 3600000);
	assert_int_equal(p->max_deadline_ms, 86400000);
	assert_int_equal(p->approval_classes, 1u << CLASS_CUSTOMER | 1u << CLASS_PARTNER);
	assert_int_equal(p->min_trust, TRUST_UNTRUSTED);
	assert_int_equal(profile_tool(p, SLICE_LIT("orders.lookup"))->side_effect, SIDE_EFFECT_READ);
	assert_int_equal(profile_tool(p, SLICE_LIT("email.send_customer"))->n_destinations, 1);
	profile_unref(p);
	free(bytes);
}

/* A profile with one part put in. */
struct parts {
	const char *root, *identity, *tools, *rest;
};

static void build(const struct parts *p, char *out, size_t size)
{
	snprintf(out, size, "{%s, \"identity\": {%s}, \"tools\": {%s}%s%s}", p->root ? p->root : "\"route\": \"r\"",
		 p->identity ? p->identity
			     : "\"allowed_issuers\": [\"https://i.example\"], \"required_audience\": \"a\", \"required_scopes\": [\"s\"]",
		 p->tools ? p->tools : "\"allowed\": [\"t\"]", p->rest ? ", " : "", p->rest ? p->rest : "");
}

#define ID "\"allowed_issuers\": [\"https://i.example\"], \"required_audience\": \"a\", \"required_scopes\": [\"s\"]"

/* Even rows are refused with this text in the error, odd rows are their twins. */
static const struct {
	struct parts parts;
	const char *error;
} rows[] = {
	{{.root = "\"route\": \"R\""}, "route: \"R\" is not a name"},
	{{.root = "\"route\": \"r\""}, NULL},
	{{.root = "\"route\": 7"}, "route: is a whole number, and a text belongs here"},
	{{.root = "\"route\": \"a7\""}, NULL},
	{{.root = "\"risk_class\": \"low\""}, "`route` is missing"},
	{{.root = "\"route\": \"r\", \"risk_class\": \"low\""}, NULL},
	{{.root = "\"route\": \"r\", \"route\": \"r\""}, "duplicate"},
	{{.root = "\"route\": \"r\""}, NULL},
	{{.root = "\"route\": \"r\", \"risk_clas\": \"low\""},
		"unknown member `risk_clas`; did you mean `risk_class`? Known: route, "},
	{{.root = "\"route\": \"r\", \"risk_class\": \"high\""}, NULL},
	{{.root = "\"route\": \"r\", \"comment\": \"low\""},
		"unknown member `comment`. Known: route, risk_class, identity"},
	{{.root = "\"route\": \"r.s_t-u\""}, NULL},

	{{.identity = "\"required_audience\": \"a\", \"required_scopes\": [\"s\"]"},
		"identity: `allowed_issuers` is missing"},
	{{.identity = ID}, NULL},
	{{.identity = "\"allowed_issuers\": [], \"required_audience\": \"a\", \"required_scopes\": [\"s\"]"},
	 "identity.allowed_issuers: has 0 elements"},
	{{.identity = ID}, NULL},
	{{.identity = "\"allowed_issuers\": [\"http://i.example\"], \"required_audience\": \"a\", \"required_scopes\": [\"s\"]"},
	 "identity.allowed_issuers[0]: \"http://i.example\" is not an https URL"},
	{{.identity = ID}, NULL},
	{{.identity = "\"allowed_issuers\": [\"https://i.example\"], \"required_scopes\": [\"s\"]"},
		"identity: `required_audience` is missing"},
	{{.identity = ID}, NULL},
	{{.identity = "\"allowed_issuers\": [\"https://i.example\"], \"required_audience\": \"\", \"required_scopes\": [\"s\"]"},
	 "identity.required_audience: \"\" is not an audience"},
	{{.identity = ID}, NULL},
	{{.identity = "\"allowed_issuers\": [\"https://i.example\"], \"required_audience\": \"a\""},
		"identity: `required_scopes` is missing"},
	{{.identity = ID}, NULL},
	{{.identity = "\"allowed_issuers\": [\"https://i.example\"], \"required_audience\": \"a\", \"required_scopes\": [\"a b\"]"},
	 "identity.required_scopes[0]: \"a b\" is not a scope"},
	{{.identity = "\"allowed_issuers\": [\"https://i.example\"], \"required_audience\": \"a\", \"required_scopes\": [\"a\", \"b\"]"}, NULL},
	{{.identity = "\"allowed_issuers\": [\"https://i.example\"], \"required_audience\": \"a\", \"required_scopes\": [\"b\", \"b\"]"},
	 "identity.required_scopes[1]: \"b\" stands in the list twice"},
	{{.identity = "\"allowed_issuers\": [\"https://i.example\"], \"required_audience\": \"a\", \"required_scopes\": []"}, NULL},
	{{.identity = ID ", \"tenants\": []"}, "identity.tenants: has 0 elements"},
	{{.identity = ID ", \"tenants\": [\"acme\"]"}, NULL},
	{{.identity = ID ", \"tenants\": \"acme\""}, "identity.tenants: is a text, and a list belongs here"},
	{{.identity = ID ", \"tenants\": [\"acme\", \"b\"]"}, NULL},
	{{.identity = ID ", \"tenants\": [\"*\"]"}, "identity.tenants[0]: \"*\" is not a name"},
	{{.identity = ID ", \"tenants\": [\"b\"]"}, NULL},
	{{.identity = ID ", \"subject\": \"usr\""}, "identity.subject: \"usr\" is none of any, user, service"},
	{{.identity = ID ", \"subject\": \"service\""}, NULL},
	{{.identity = ID ", \"required_scope\": [\"s\"]"},
		"identity: unknown member `required_scope`; did you mean `required_scopes`?"},
	{{.identity = ID ", \"subject\": \"any\""}, NULL},

	{{.tools = ""}, "tools: neither `allowed` nor `approval_required` names a tool"},
	{{.tools = "\"approval_required\": [\"t\"]"}, NULL},
	{{.tools = "\"allowed\": [], \"approval_required\": []"}, "tools: neither"},
	{{.tools = "\"allowed\": [\"t\"], \"approval_required\": []"}, NULL},
	{{.tools = "\"allowed\": [\"*\"]"}, "tools.allowed[0]: \"*\" is not a name"},
	{{.tools = "\"allowed\": [\"a.b\"]"}, NULL},
	{{.tools = "\"allowed\": [\"t\", \"t\"]"}, "tools.allowed[1]: \"t\" stands in the list twice"},
	{{.tools = "\"allowed\": [\"t\", \"u\"]"}, NULL},
	{{.tools = "\"allowed\": [\"t\", null]"}, "tools.allowed[1]: is null, and a text belongs here"},
	{{.tools = "\"allowed\": [\"t\"], \"approval_required\": [\"t\"]"}, NULL},
	{{.tools = "\"allowed\": [\"t\"], \"spec\": {\"u\": {}}"},
		"tools.spec.u: the tool is neither in tools.allowed"},
	{{.tools = "\"allowed\": [\"t\"], \"spec\": {\"t\": {}}"}, NULL},
	{{.tools = "\"allowed\": [\"t\"], \"spec\": {\"t\": {\"side_effect\": \"maybe\"}}"},
	 "tools.spec.t.side_effect: \"maybe\" is none of read, draft, write, external_send"},
	{{.tools = "\"allowed\": [\"t\"], \"spec\": {\"t\": {\"side_effect\": \"read\"}}"}, NULL},
	{{.tools = "\"allowed\": [\"t\"], \"spec\": {\"t\": {\"sideeffect\": \"read\"}}"},
		"did you mean `side_effect`?"},
	{{.tools = "\"allowed\": [\"t\"], \"spec\": {\"t\": {\"scopes\": [\"x\"]}}"}, NULL},
	{{.tools = "\"allowed\": [\"t\"], \"spec\": {\"t\": []}"},
		"tools.spec.t: is a list, and an object belongs here"},
	{{.tools = "\"allowed\": [\"t\"], \"spec\": {\"t\": {\"scopes\": []}}"}, NULL},
	{{.tools = "\"allowed\": [\"t\"], \"spec\": {\"t\": {\"destinations\": [\"a.example\"]}}"},
	 "tools.spec.t: destinations: \"a.example\" is not in sandbox.network.allowed_domains"},
	{{.tools = "\"allowed\": [\"t\"], \"spec\": {\"t\": {\"destinations\": [\"a.example\"]}}",
	  .rest = "\"sandbox\": {\"network\": {\"allowed_domains\": [\"a.example\"]}}"}, NULL},
	{{.tools = "\"allowed\": [\"t\"], \"spec\": {\"t\": {\"destinations\": []}}"},
		"tools.spec.t.destinations: has 0 elements"},
	{{.tools = "\"allowed\": [\"t\"], \"spec\": {\"t\": {\"destinations\": [\"x.a.example\"]}}",
	  .rest = "\"sandbox\": {\"network\": {\"allowed_domains\": [\"*.a.example\"]}}"}, NULL},
	{{.tools = "\"allowed\": [\"t\"], \"max_side_effect\": \"read\", \"spec\": {\"t\": {\"side_effect\": \"draft\"}}"},
	 "tools.spec.t: side_effect: \"draft\" is above tools.max_side_effect"},
	{{.tools = "\"allowed\": [\"t\"], \"max_side_effect\": \"draft\", \"spec\": {\"t\": {\"side_effect\": \"draft\"}}"}, NULL},

	{{.rest = "\"egress\": {\"classes\": {\"A.example\": \"public\"}}"},
		"egress.classes.A.example: not a host in its plain form"},
	{{.rest = "\"egress\": {\"classes\": {\"a.example\": \"public\"}}"}, NULL},
	{{.rest = "\"egress\": {\"classes\": {\"a.example\": \"trusted\"}}"},
		"egress.classes.a.example: \"trusted\" is none of internal, partner"},
	{{.rest = "\"egress\": {\"classes\": {\"a.example\": \"unknown\"}}"}, NULL},
	{{.rest = "\"egress\": {\"approval_for_classes\": [\"unknown\"]}"}, "an unknown destination is always denied"},
	{{.rest = "\"egress\": {\"approval_for_classes\": [\"public\"]}"}, NULL},
	{{.rest = "\"egress\": {\"approval_for_classes\": [\"publc\"]}"},
		"egress.approval_for_classes[0]: \"publc\" is none of"},
	{{.rest = "\"egress\": {\"approval_for_classes\": []}"}, NULL},
	{{.rest = "\"sandbox\": {\"network\": {\"allowed_domains\": [\"https://a.example\"]}}"},
		"sandbox.network.allowed_domains[0]: "},
	{{.rest = "\"sandbox\": {\"network\": {\"allowed_domains\": [\"a.example\"]}}"}, NULL},
	{{.rest = "\"sandbox\": {\"network\": {\"allowed_domains\": [\"*\"]}}"},
		"sandbox.network.allowed_domains[0]: "},
	{{.rest = "\"sandbox\": {\"network\": {\"allowed_domains\": []}}"}, NULL},
	{{.rest = "\"sandbox\": {\"network\": {\"require_tls\": \"yes\"}}"},
		"sandbox.network.require_tls: is a text, and true or false belongs here"},
	{{.rest = "\"sandbox\": {\"network\": {\"require_tls\": false}}"}, NULL},
	{{.rest = "\"sandbox\": {\"limits\": {\"max_output_bytes\": 0}}"},
		"sandbox.limits.max_output_bytes: 0 is not within 1..16777216"},
	{{.rest = "\"sandbox\": {\"limits\": {\"max_output_bytes\": 16777216}}"}, NULL},
	{{.rest = "\"sandbox\": {\"limits\": {\"max_payload_bytes\": 16777217}}"},
		"sandbox.limits.max_payload_bytes: 16777217 is not within"},
	{{.rest = "\"sandbox\": {\"limits\": {\"max_payload_bytes\": 1}}"}, NULL},
	{{.rest = "\"sandbox\": {\"limits\": {\"max_runtime_ms\": 60.5}}"}, "max_runtime_ms: is a number with a point"},
	{{.rest = "\"sandbox\": {\"limits\": {\"max_runtime_ms\": 60}}"}, NULL},
	{{.rest = "\"sandbox\": []"}, "sandbox: is a list, and an object belongs here"},
	{{.rest = "\"sandbox\": {}"}, NULL},

	{{.rest = "\"delivery\": {\"kind\": \"broadcast\"}"}, "delivery.kind: broadcast: every agent would do what t does: set tools.spec.t.side_effect to read or draft"},
	{{.rest = "\"delivery\": {\"kind\": \"queue\"}"}, NULL},
	{{.rest = "\"delivery\": {\"kind\": \"topic\"}"}, "delivery.kind: \"topic\" is none of queue, broadcast"},
	{{.rest = "\"delivery\": {\"kind\": \"queue\"}"}, NULL},
	{{.rest = "\"delivery\": {\"lease_ms\": 999}"}, "delivery.lease_ms: 999 is not within 1000..3600000"},
	{{.rest = "\"delivery\": {\"lease_ms\": 1000}"}, NULL},
	{{.rest = "\"delivery\": {\"keepalive\": \"ping\"}"}, "delivery.keepalive: \"ping\" is none of stream, progress"},
	{{.rest = "\"delivery\": {\"keepalive\": \"progress\"}"}, NULL},
	{{.rest = "\"delivery\": {\"max_attempts\": 0}"}, "delivery.max_attempts: 0 is not within 1..100"},
	{{.rest = "\"delivery\": {\"max_attempts\": 100}"}, NULL},
	{{.rest = "\"delivery\": {\"max_attempts\": -1}"}, "delivery.max_attempts: -1 is not within"},
	{{.rest = "\"delivery\": {\"max_attempts\": 1}"}, NULL},
	{{.rest = "\"delivery\": {\"max_attempts\": 99999999999999999999}"}, "too big"},
	{{.rest = "\"delivery\": {\"max_attempts\": 99}"}, NULL},
	{{.rest = "\"delivery\": {\"backoff_ms\": [2, 1]}"}, "delivery.backoff_ms: [least, most]: 2 is more than 1"},
	{{.rest = "\"delivery\": {\"backoff_ms\": [1, 2]}"}, NULL},
	{{.rest = "\"delivery\": {\"backoff_ms\": [1]}"}, "delivery.backoff_ms: is a list of another length"},
	{{.rest = "\"delivery\": {\"backoff_ms\": [1, 1]}"}, NULL},
	{{.rest = "\"delivery\": {\"backoff_ms\": [1, \"2\"]}"}, "delivery.backoff_ms[1]: is a text"},
	{{.rest = "\"delivery\": {\"backoff_ms\": [0, 0]}"}, NULL},
	{{.rest = "\"delivery\": {\"default_deadline_ms\": 2000, \"max_deadline_ms\": 1000}"},
		"delivery.default_deadline_ms: 2000 is more than"},
	{{.rest = "\"delivery\": {\"default_deadline_ms\": 1000, \"max_deadline_ms\": 1000}"}, NULL},
	{{.rest = "\"delivery\": {\"assertion\": false}"},
		"delivery.assertion: is true or false, and a text belongs here"},
	{{.rest = "\"delivery\": {\"assertion\": \"none\"}"}, NULL},
	{{.rest = "\"delegation\": {\"max_depth\": 9}"}, "delegation.max_depth: 9 is not within 0..8"},
	{{.rest = "\"delegation\": {\"max_depth\": 8, \"max_children\": 0}"}, NULL},
	{{.rest = "\"approvals\": {\"needed\": 0}"}, "approvals.needed: 0 is not within 1..16"},
	{{.rest = "\"approvals\": {\"needed\": 1, \"approvers\": [\"group:x\"], \"expires_ms\": 1000, \"self_approval\": false}"}, NULL},
	{{.rest = "\"approvals\": {\"approvers\": []}"}, "approvals.approvers: has 0 elements"},
	{{.rest = "\"approvals\": {}"}, NULL},
	{{.rest = "\"guardrails\": {\"input\": {\"max_trust_required\": \"high\"}}"},
		"guardrails.input.max_trust_required: \"high\" is none of untrusted"},
	{{.rest = "\"guardrails\": {\"input\": {\"max_trust_required\": \"user\"}}"}, NULL},
	{{.rest = "\"guardrails\": {\"input\": {\"action\": \"ignore\"}}"},
		"guardrails.input.action: \"ignore\" is none of deny, redact"},
	{{.rest = "\"guardrails\": {\"input\": {\"action\": \"deny\"}}"}, NULL},
	{{.rest = "\"observability\": {\"retention_days\": 0}"},
		"observability.retention_days: 0 is not within 1..3660"},
	{{.rest = "\"observability\": {\"retention_days\": 1}"}, NULL},
	{{.rest = "\"observability\": {\"redact\": [1]}"},
		"observability.redact[0]: is a whole number, and a text belongs here"},
	{{.rest = "\"observability\": {\"redact\": []}"}, NULL},
};

static void test_strict(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct problem why = {""}, warn;
		struct profile *p;
		char json[4096];

		build(&rows[i].parts, json, sizeof json);
		p = profile_parse(slice_str(json), &why, &warn);
		if ((rows[i].error == NULL) != (i % 2 == 1))
			fail_msg("row %zu: refusals have even places, twins odd ones", i);
		if (!rows[i].error && !p)
			fail_msg("%s\n%s", json, why.text);
		if (rows[i].error && p)
			fail_msg("taken: %s", json);
		if (rows[i].error && !strstr(why.text, rows[i].error))
			fail_msg("%s\n%s\nwhere this was expected: %s", json, why.text, rows[i].error);
		profile_unref(p);
	}
}

static void test_not_json(void **state)
{
	static const char *const bad[] = {"", "{", "[]", "null", "7", "{}", "{} {}", "{\"route\": \"a\\u0000b\"}",
		"\xff\xfe", "{\"a\": \"\xc3\x28\"}"};
	struct problem why;

	(void)state;
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		why.text[0] = '\0';
		assert_null(profile_parse(slice_str(bad[i]), &why, NULL));
		assert_true(why.text[0] != '\0');
	}
	assert_null(profile_parse(SLICE_LIT("[]"), NULL, NULL));
}

static void test_too_large(void **state)
{
	struct problem why = {""};
	size_t n = sizeof published - 1;
	char *json = malloc((1 << 20) + 1);
	struct profile *p;

	(void)state;
	assert_non_null(json);
	memset(json, ' ', (1 << 20) + 1);
	memcpy(json, published, n);
	p = profile_parse(slice_of(json, 1 << 20), &why, NULL);
	assert_non_null(p);
	profile_unref(p);
	assert_null(profile_parse(slice_of(json, (1 << 20) + 1), &why, NULL));
	assert_non_null(strstr(why.text, "at most"));
	free(json);
}

/* The version is of the exact bytes. */
static void test_version(void **state)
{
	struct problem why;
	struct profile *a = profile_parse(slice_str(published), &why, NULL), *b = profile_parse(slice_str(published),
		&why, NULL);
	char changed[sizeof published + 1];
	struct profile *c;

	(void)state;
	snprintf(changed, sizeof changed, "%s ", published);
	c = profile_parse(slice_str(changed), &why, NULL);
	assert_string_equal(a->version_full, b->version_full);
	assert_string_not_equal(a->version, c->version);
	profile_unref(a);
	profile_unref(b);
	profile_unref(c);
}

static void warns(const struct parts *parts, const char *expected)
{
	struct problem why = {""}, warn = {""};
	struct profile *p;
	char json[4096];

	build(parts, json, sizeof json);
	p = profile_parse(slice_str(json), &why, &warn);
	if (!p)
		fail_msg("%s", why.text);
	if (expected ? !strstr(warn.text, expected) : warn.text[0] != '\0')
		fail_msg("%s\n%s", json, warn.text);
	profile_unref(p);
}

static void test_warnings(void **state)
{
	(void)state;
	warns(&(struct parts){0}, NULL);
	warns(&(struct parts){.rest = "\"guardrails\": {\"input\": {\"detect\": [\"x\"], \"action\": \"deny\"}}"},
		"guardrails.input.detect");
	warns(&(struct parts){.rest = "\"guardrails\": {\"input\": {\"detect\": [], \"action\": \"deny\"}}"}, NULL);
	warns(&(struct parts){.tools = "\"allowed\": [\"t\"], \"spec\": {\"t\": {\"input_schema\": \"a.json\"}}"},
		"tools.spec.t.input_schema");
	warns(&(struct parts){.rest = "\"egress\": {\"classes\": {\"a.example\": \"public\"}}"},
		"the class allows nothing");
	warns(&(struct parts){.rest = "\"egress\": {\"classes\": {\"*.a.example\": \"public\"}}, "
		"\"sandbox\": {\"network\": {\"allowed_domains\": [\"b.a.example\"]}}"}, NULL);
	warns(&(struct parts){.rest = "\"sandbox\": {\"network\": {\"allowed_domains\": [\"10.0.0.1\"]}}"},
		"can never be reached");
	warns(&(struct parts){.tools = "\"allowed\": [\"t\"], \"max_side_effect\": \"read\""},
		"is above tools.max_side_effect");
	warns(&(struct parts){.identity = "\"allowed_issuers\": [\"https://i.example\"], \"required_audience\": \"a\", \"required_scopes\": []"},
	      "needs no scope at all");
}

/* A tool in both lists is held, whatever the order. */
static void test_both_lists(void **state)
{
	struct problem why;
	char json[2048];
	struct profile *p;

	(void)state;
	build(&(struct parts){.tools = "\"approval_required\": [\"t\"], \"allowed\": [\"t\"]"}, json, sizeof json);
	p = profile_parse(slice_str(json), &why, NULL);
	assert_non_null(p);
	assert_int_equal(p->n_tools, 1);
	assert_true(p->tools[0].needs_approval);
	profile_unref(p);
}

static void test_keepalive(void **state)
{
	static const struct { const char *rest; bool by_progress; } asked[] = {
		{NULL, false}, {"\"delivery\": {\"keepalive\": \"stream\"}", false}, {"\"delivery\": {\"keepalive\": \"progress\"}", true},
	};

	(void)state;
	for (size_t i = 0; i < sizeof asked / sizeof asked[0]; i++) {
		struct problem why;
		struct profile *p;
		char json[2048];

		build(&(struct parts){.rest = asked[i].rest}, json, sizeof json);
		p = profile_parse(slice_str(json), &why, NULL);
		assert_non_null(p);
		assert_int_equal(p->renew_by_progress, asked[i].by_progress);
		profile_unref(p);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_published_example), cmocka_unit_test(test_shipped_example),
			cmocka_unit_test(test_strict),
		cmocka_unit_test(test_not_json), cmocka_unit_test(test_too_large), cmocka_unit_test(test_version),
		cmocka_unit_test(test_warnings), cmocka_unit_test(test_both_lists), cmocka_unit_test(test_keepalive),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
