/* Does authorize() allow what the profile allows, and nothing else? A table in which every refusal stands before its
 * honest twin: the same request with one thing changed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "policy/authorize.h"

static const char profile_json[] =
	"{\"route\": \"refunds\", \"risk_class\": \"medium\","
	" \"identity\": {\"allowed_issuers\": [\"https://identity.example.com\"], \"required_audience\": \"support\","
	"   \"required_scopes\": [\"orders:read\", \"refunds:draft\"], \"tenants\": [\"acme\", \"umbrella\"], \"subject\": \"user\"},"
	" \"tools\": {\"allowed\": [\"lookup\", \"draft\", \"plain\", \"mail\", \"free\"], \"approval_required\": [\"issue\"],"
	"   \"max_side_effect\": \"external_send\","
	"   \"spec\": {\"lookup\": {\"scopes\": [\"orders:read\"], \"side_effect\": \"read\"},"
	"     \"draft\": {\"scopes\": [\"refunds:draft\"], \"side_effect\": \"draft\"},"
	"     \"free\": {\"scopes\": [], \"side_effect\": \"read\"},"
	"     \"issue\": {\"scopes\": [\"refunds:issue\"], \"side_effect\": \"write\", \"destinations\": [\"api.example.com\"]},"
	"     \"mail\": {\"scopes\": [\"email:send\"], \"side_effect\": \"external_send\"}}},"
	" \"egress\": {\"classes\": {\"api.example.com\": \"internal\", \"docs.example.com\": \"public\", \"mail.example.com\": \"customer\","
	"     \"dark.example.com\": \"unknown\", \"nowhere.example.com\": \"internal\"},"
	"   \"approval_for_classes\": [\"customer\"]},"
	" \"sandbox\": {\"network\": {\"allowed_domains\": [\"api.example.com\", \"docs.example.com\", \"mail.example.com\", \"dark.example.com\","
	"     \"plain.example.com\", \"*.wild.example.com\"]}, \"limits\": {\"max_payload_bytes\": 1000}},"
	" \"guardrails\": {\"input\": {\"max_trust_required\": \"internal\"}}}";

static const char refunds[][64] = {"refunds", "refunds2"};

struct world {
	struct profile *profile;
	struct agent agent;
};

static int setup(void **state)
{
	static struct world w;
	struct problem why = {""}, warn = {""};

	memset(&w, 0, sizeof w);
	w.profile = profile_parse(slice_str(profile_json), &why, &warn);
	if (!w.profile)
		print_error("%s\n", why.text);
	strcpy(w.agent.tenant, "acme");
	strcpy(w.agent.name, "planner");
	w.agent.call = refunds;
	w.agent.n_call = 1;
	*state = &w;
	return w.profile ? 0 : -1;
}

static int teardown(void **state)
{
	profile_unref(((struct world *)*state)->profile);
	return 0;
}

#define EVERY "orders:read refunds:draft refunds:issue email:send"

/* What is not set is the honest request's: planner of acme for a user, lookup, read, every scope. */
struct row {
	const char *name;
	enum reason expected;     /* UNSPECIFIED = allowed */
	const char *field;        /* of the verdict; NULL = not looked at */
	const char *route, *tool, *tenant, *token_tenant, *agent_tenant, *scopes, *asked, *destination;
	enum side_effect effect;  /* default READ */
	enum content_trust trust; /* default INTERNAL */
	size_t payload;
	bool no_key, service, no_profile, may_not_call, no_effect, no_trust;
};

static size_t split(const char *words, const char **out, struct slice *slices, char *store, size_t size)
{
	size_t n = 0;

	snprintf(store, size, "%s", words);
	for (char *save = NULL, *w = strtok_r(store, " ", &save); w; w = strtok_r(NULL, " ", &save)) {
		out[n] = w;
		slices[n++] = slice_str(w);
	}
	return n;
}

static const char *or_else(const char *s, const char *otherwise)
{
	return s ? s : otherwise;
}

static struct verdict ask(const struct world *w, const struct row *r, struct access_grant *grant)
{
	static char carried[4096], asked[4096];
	static struct slice slices[64], asked_slices[64];
	static const char *texts[64], *asked_texts[64];
	struct agent agent = w->agent;
	struct claims claims = {
		.subject = "ana", .tenant = or_else(r->token_tenant, "acme"), .scopes = texts,
			.subject_is_user = !r->service,
	};
	struct access_request rq = {
		.route = slice_str(or_else(r->route, "refunds")), .tool = slice_str(or_else(r->tool, "lookup")),
		.destination = slice_str(or_else(r->destination, "")), .tenant = slice_str(or_else(r->tenant, "")),
		.side_effect = r->no_effect ? SIDE_EFFECT_UNSPECIFIED : r->effect ? r->effect : SIDE_EFFECT_READ,
		.has_idempotency_key = !r->no_key, .scopes = asked_slices,
		.trust = r->no_trust ? TRUST_UNSPECIFIED : r->trust ? r->trust : TRUST_INTERNAL,
			.payload_bytes = r->payload,
	};

	claims.n_scopes = split(or_else(r->scopes, EVERY), texts, slices, carried, sizeof carried);
	rq.n_scopes = split(or_else(r->asked, ""), asked_texts, asked_slices, asked, sizeof asked);
	if (r->agent_tenant)
		strcpy(agent.tenant, r->agent_tenant);
	if (r->may_not_call)
		agent.n_call = 0;
	return authorize(&agent, &claims, &rq, r->no_profile ? NULL : w->profile, grant);
}

#define DENY(r) .expected = REASON_##r
#define READ SIDE_EFFECT_READ
#define DRAFT SIDE_EFFECT_DRAFT
#define WRITE SIDE_EFFECT_WRITE
#define SEND SIDE_EFFECT_EXTERNAL_SEND

/* Rows 2n are refused (or held), rows 2n + 1 are their twins. */
static const struct row rows[] = {
	{"foreign tenant in the envelope", DENY(TENANT_BOUNDARY), "tenant", .tenant = "globex"},
	{"own tenant in the envelope", .tenant = "acme"},
	{"token of another tenant", DENY(TENANT_BOUNDARY), "tenant", .token_tenant = "globex"},
	{"token without a tenant", .token_tenant = ""},
	{"tenant not in the profile", DENY(TENANT_BOUNDARY), "tenant", .agent_tenant = "globex",
		.token_tenant = "globex"},
	{"another tenant in the profile", .agent_tenant = "umbrella", .token_tenant = "umbrella"},
	{"tenant of the profile, agent of the other", DENY(TENANT_BOUNDARY), "tenant", .agent_tenant = "umbrella",
		.token_tenant = "acme"},
	{"both the other", .agent_tenant = "umbrella", .token_tenant = "umbrella"},
	{"tenant is a prefix", DENY(TENANT_BOUNDARY), "tenant", .tenant = "acm"},
	{"tenant unset", .tenant = ""},

	{"no profile", DENY(ROUTE_DENIED), "route", .no_profile = true},
	{"profile", .expected = 0},
	{"agent may not call", DENY(ROUTE_DENIED), "route", .may_not_call = true},
	{"agent may call", .expected = 0},
	{"another route's profile", DENY(ROUTE_DENIED), "route", .route = "refunds2"},
	{"the route's profile", .route = "refunds"},
	{"service where a user is demanded", DENY(ROUTE_DENIED), "sub", .service = true},
	{"user", .expected = 0},

	{"no such tool", DENY(TOOL_DENIED), "tool", .tool = "lookups"},
	{"such a tool", .tool = "lookup"},
	{"tool in upper case", DENY(TOOL_DENIED), "tool", .tool = "Lookup"},
	{"tool in its case", .tool = "lookup"},
	{"empty tool", DENY(TOOL_DENIED), "tool", .tool = ""},
	{"tool not empty", .tool = "free"},

	{"a required scope is missing", DENY(MISSING_SCOPE), "scope", .scopes = "orders:read"},
	{"both required scopes", .scopes = "orders:read refunds:draft"},
	{"no scope at all", DENY(MISSING_SCOPE), "scope", .scopes = ""},
	{"all scopes", .expected = 0},
	{"scope is a prefix", DENY(MISSING_SCOPE), "scope", .scopes = "orders:rea refunds:draft"},
	{"scope whole", .scopes = "orders:read refunds:draft"},
	{"scope in other case", DENY(MISSING_SCOPE), "scope", .scopes = "Orders:read refunds:draft"},
	{"scope in its case", .scopes = "refunds:draft orders:read"},
	{"the tool's own scope is missing", DENY(MISSING_SCOPE), "scope", .tool = "mail", .effect = SEND,
		.destination = "docs.example.com",
	 .scopes = "orders:read refunds:draft"},
	{"with the tool's own scope", .tool = "mail", .effect = SEND, .destination = "docs.example.com",
	 .scopes = "orders:read refunds:draft email:send"},
	{"the tool's own scope without the required", DENY(MISSING_SCOPE), "scope", .tool = "mail", .effect = SEND,
	 .destination = "docs.example.com", .scopes = "email:send"},
	{"and with them", .tool = "mail", .effect = SEND, .destination = "docs.example.com"},
	{"tool without spec needs every required scope", DENY(MISSING_SCOPE), "scope", .tool = "plain", .effect = WRITE,
	 .scopes = "refunds:draft"},
	{"and has them", .tool = "plain", .effect = WRITE, .scopes = "refunds:draft orders:read"},
	{"asks for a scope outside route and tool", DENY(MISSING_SCOPE), "scopes", .asked = "email:send"},
	{"asks for its own", .asked = "orders:read"},
	{"asks for one own and one foreign", DENY(MISSING_SCOPE), "scopes", .asked = "orders:read refunds:issue"},
	{"asks for one own and one required", .asked = "orders:read refunds:draft"},
	{"asks for everything by a star", DENY(MISSING_SCOPE), "scopes", .asked = "*"},
	{"asks for nothing: what the tool needs", .asked = ""},

	{"declares less than pinned", DENY(SIDE_EFFECT_DENIED), "side_effect", .tool = "draft", .effect = READ},
	{"declares as pinned", .tool = "draft", .effect = DRAFT},
	{"a tool without pin is a write", DENY(SIDE_EFFECT_DENIED), "side_effect", .tool = "plain", .effect = DRAFT},
	{"and declared so", .tool = "plain", .effect = WRITE},
	{"send declared as write", DENY(SIDE_EFFECT_DENIED), "side_effect", .tool = "mail", .effect = WRITE,
		.destination = "docs.example.com"},
	{"send declared as send", .tool = "mail", .effect = SEND, .destination = "docs.example.com"},
	{"nothing declared", DENY(SIDE_EFFECT_DENIED), "side_effect", .no_effect = true},
	{"read declared", .effect = READ},
	{"a number outside", DENY(SIDE_EFFECT_DENIED), "side_effect", .effect = (enum side_effect)5,
		.destination = "docs.example.com"},
	{"the last one inside", .effect = SEND, .destination = "docs.example.com"},

	{"draft without a key", DENY(MISSING_IDEMPOTENCY_KEY), "idempotency_key", .tool = "draft", .effect = DRAFT,
		.no_key = true},
	{"draft with a key", .tool = "draft", .effect = DRAFT},
	{"read declared as write without a key", DENY(MISSING_IDEMPOTENCY_KEY), "idempotency_key", .effect = WRITE,
		.no_key = true},
	{"read without a key", .effect = READ, .no_key = true},

	{"send without destination", DENY(EGRESS_DENIED), "destination", .tool = "mail", .effect = SEND},
	{"send with one", .tool = "mail", .effect = SEND, .destination = "docs.example.com"},
	{"read declared as send without destination", DENY(EGRESS_DENIED), "destination", .effect = SEND},
	{"read without destination", .effect = READ},
	{"unlisted destination", DENY(EGRESS_DENIED), "destination", .destination = "evil.example"},
	{"listed destination", .destination = "docs.example.com"},
	{"below a listed one", DENY(EGRESS_DENIED), "destination", .destination = "a.docs.example.com"},
	{"as a URL", .destination = "https://docs.example.com/a?b#c"},
	{"listed one as user info", DENY(EGRESS_DENIED), "destination",
		.destination = "https://docs.example.com@evil.example/"},
	{"with a port", .destination = "docs.example.com:443"},
	{"listed one as prefix", DENY(EGRESS_DENIED), "destination", .destination = "docs.example.com.evil.example"},
	{"with a trailing dot", .destination = "docs.example.com."},
	{"class unknown by name", DENY(EGRESS_DENIED), "destination", .destination = "dark.example.com"},
	{"no class: partner", .destination = "plain.example.com"},
	{"class without listing", DENY(EGRESS_DENIED), "destination", .destination = "nowhere.example.com"},
	{"class with listing", .destination = "api.example.com"},
	{"bare suffix of a wildcard", DENY(EGRESS_DENIED), "destination", .destination = "wild.example.com"},
	{"below a wildcard", .destination = "a.b.wild.example.com"},
	{"suffix without its dot", DENY(EGRESS_DENIED), "destination", .destination = "xwild.example.com"},
	{"one label below", .destination = "x.wild.example.com"},
	{"http", DENY(EGRESS_DENIED), "destination", .destination = "http://docs.example.com/"},
	{"HTTPS", .destination = "HTTPS://DOCS.example.com/"},
	{"metadata", DENY(EGRESS_DENIED), "destination", .destination = "169.254.169.254"},
	{"api", .destination = "api.example.com"},
	{"another tool's destination", DENY(EGRESS_DENIED), "destination", .tool = "issue", .effect = WRITE,
		.destination = "docs.example.com"},
	{"a tool without list", .tool = "plain", .effect = WRITE, .destination = "docs.example.com"},

	{"too large", DENY(PAYLOAD_TOO_LARGE), "payload", .payload = 1001},
	{"as large as may be", .payload = 1000},

	{"trust too low", DENY(GUARDRAIL_DENIED), "trust", .trust = TRUST_UNTRUSTED},
	{"trust enough", .trust = TRUST_USER},
	{"trust not said is untrusted", DENY(GUARDRAIL_DENIED), "trust", .no_trust = true},
	{"trust as demanded", .trust = TRUST_INTERNAL},

	{"tool that needs approval", DENY(APPROVAL_REQUIRED), "tool", .tool = "issue", .effect = WRITE,
		.destination = "api.example.com"},
	{"tool that needs none", .tool = "plain", .effect = WRITE, .destination = "api.example.com"},
	{"class that needs approval", DENY(APPROVAL_REQUIRED), "destination", .destination = "mail.example.com"},
	{"class that needs none", .destination = "plain.example.com"},
	{"a held tool without a destination", DENY(APPROVAL_REQUIRED), "tool", .tool = "issue", .effect = WRITE},
	{"a tool that is not held", .tool = "draft", .effect = DRAFT},
};

static void test_table(void **state)
{
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		enum reason expected = rows[i].expected ? rows[i].expected : REASON_ALLOWED;
		struct access_grant grant;
		struct verdict v = ask(*state, &rows[i], &grant);
		enum outcome outcome = expected == REASON_ALLOWED ? OUTCOME_ALLOW
			: expected == REASON_APPROVAL_REQUIRED ? OUTCOME_HOLD : OUTCOME_DENY;

		if ((expected == REASON_ALLOWED) != (i % 2 == 1))
			fail_msg("%s: refusals have even places, twins odd ones", rows[i].name);
		if (v.reason != expected || v.outcome != outcome)
			fail_msg("%s: %s where %s was expected (%s)", rows[i].name, reason_text(v.reason),
				reason_text(expected), v.message);
		if (rows[i].field && strcmp(v.field, rows[i].field))
			fail_msg("%s: field %s where %s was expected", rows[i].name, v.field, rows[i].field);
		if (outcome != OUTCOME_ALLOW && !v.message[0])
			fail_msg("%s: no message", rows[i].name);
		if (outcome == OUTCOME_DENY && (grant.n_scopes || grant.side_effect || grant.host[0]))
			fail_msg("%s: a refusal left a grant behind", rows[i].name);
	}
}

/* One fault for each reason, in the order in which they are named. Any two together name the earlier. */
static void test_order(void **state)
{
	static const enum reason order[] = {
		REASON_TENANT_BOUNDARY, REASON_ROUTE_DENIED, REASON_TOOL_DENIED, REASON_MISSING_SCOPE,
			REASON_SIDE_EFFECT_DENIED,
		REASON_MISSING_IDEMPOTENCY_KEY, REASON_EGRESS_DENIED, REASON_PAYLOAD_TOO_LARGE, REASON_GUARDRAIL_DENIED,
		REASON_APPROVAL_REQUIRED,
	};
	const size_t n = sizeof order / sizeof order[0];

	for (size_t i = 0; i < n; i++)
		for (size_t j = i + 1; j < n; j++) {
			/* a write to a held tool is what every fault can be put into */
			struct row r = {"two faults", .tool = "issue", .effect = WRITE,
				.destination = "api.example.com"};
			struct access_grant grant;
			struct verdict v;

			for (size_t k = 0; k < n; k++) {
				if (k != i && k != j)
					continue;
				switch (order[k]) {
				case REASON_TENANT_BOUNDARY: r.tenant = "globex"; break;
				case REASON_ROUTE_DENIED: r.may_not_call = true; break;
				case REASON_TOOL_DENIED: r.tool = "none"; break;
				case REASON_MISSING_SCOPE: r.scopes = "orders:read"; break;
				case REASON_SIDE_EFFECT_DENIED: r.effect = READ; break;
				case REASON_MISSING_IDEMPOTENCY_KEY: r.no_key = true; break;
				case REASON_EGRESS_DENIED: r.destination = "evil.example"; break;
				case REASON_PAYLOAD_TOO_LARGE: r.payload = 1001; break;
				case REASON_GUARDRAIL_DENIED: r.trust = TRUST_UNTRUSTED; break;
				default: break; /* the tool is held already */
				}
			}
			v = ask(*state, &r, &grant);
			if (v.reason != order[i])
				fail_msg("%s and %s: %s", reason_text(order[i]), reason_text(order[j]),
					reason_text(v.reason));
		}
}

static bool granted(const struct access_grant *g, const char *scope)
{
	for (size_t i = 0; i < g->n_scopes; i++)
		if (!strcmp(g->scopes[i], scope))
			return true;
	return false;
}

static void test_grant(void **state)
{
	struct access_grant g;
	struct verdict v;

	v = ask(*state, &(struct row){.name = "own scopes"}, &g);
	assert_true(verdict_ok(&v));
	assert_int_equal(g.n_scopes, 1);
	assert_string_equal(g.scopes[0], "orders:read");
	assert_int_equal(g.side_effect, READ);
	assert_string_equal(g.host, "");

	v = ask(*state, &(struct row){"no spec: required scopes", .tool = "plain", .effect = WRITE}, &g);
	assert_true(verdict_ok(&v));
	assert_int_equal(g.n_scopes, 2);
	assert_true(granted(&g, "orders:read") && granted(&g, "refunds:draft"));

	v = ask(*state, &(struct row){"narrowed", .tool = "plain", .effect = WRITE, .asked = "refunds:draft"}, &g);
	assert_true(verdict_ok(&v));
	assert_int_equal(g.n_scopes, 1);
	assert_string_equal(g.scopes[0], "refunds:draft");

	v = ask(*state, &(struct row){"an empty list of own scopes grants none", .tool = "free"}, &g);
	assert_true(verdict_ok(&v));
	assert_int_equal(g.n_scopes, 0);

	v = ask(*state, &(struct row){"declared higher than pinned", .effect = WRITE}, &g);
	assert_true(verdict_ok(&v));
	assert_int_equal(g.side_effect, WRITE);

	v = ask(*state, &(struct row){"held: the grant is there", .tool = "issue", .effect = WRITE,
		.destination = "API.example.com:8443"}, &g);
	assert_int_equal(v.outcome, OUTCOME_HOLD);
	assert_string_equal(g.host, "api.example.com");
	assert_int_equal(g.cls, CLASS_INTERNAL);
	assert_string_equal(g.scopes[0], "refunds:issue");
}

static void test_missing_scopes_are_named(void **state)
{
	struct access_grant g;
	struct verdict v = ask(*state, &(struct row){"", .tool = "draft", .effect = DRAFT, .scopes = "orders:read"},
		&g);

	assert_string_equal(v.missing_scopes[0], "refunds:draft");
	assert_string_equal(v.missing_scopes[1], "");
	assert_string_equal(v.message, "draft on refunds needs refunds:draft; the token carries orders:read");

	v = ask(*state, &(struct row){"", .tool = "mail", .effect = SEND, .scopes = ""}, &g);
	assert_string_equal(v.missing_scopes[0], "orders:read");
	assert_string_equal(v.missing_scopes[1], "refunds:draft");
	assert_string_equal(v.missing_scopes[2], "email:send");
	assert_string_equal(v.missing_scopes[3], "");
	assert_non_null(strstr(v.message, "the token carries none"));
}

static void test_missing_and_invisible_look_the_same(void **state)
{
	struct access_grant g;
	struct verdict a = ask(*state, &(struct row){"", .no_profile = true}, &g);
	struct verdict b = ask(*state, &(struct row){"", .may_not_call = true}, &g);

	assert_memory_equal(&a, &b, sizeof a);
}

/* Taking a scope from the token, or one of several from what is asked for, never allows more. */
static void test_fewer_scopes_never_allow_more(void **state)
{
	static const char *const all[] = {"orders:read", "refunds:draft", "refunds:issue", "email:send", "other"};
	static const struct { const char *tool; enum side_effect effect; } tools[] = {
		{"lookup", READ}, {"draft", DRAFT}, {"plain", WRITE}, {"issue", WRITE}, {"mail", SEND}, {"free", READ},
	};

	for (unsigned t = 0; t < sizeof tools / sizeof tools[0]; t++)
		for (unsigned has = 0; has < 32; has++)
			for (unsigned asks = 0; asks < 32; asks++)
				for (unsigned drop = 0; drop < 10; drop++) {
					unsigned has2 = drop < 5 ? has & ~(1u << drop) : has;
					unsigned asks2 = drop < 5 ? asks : asks & ~(1u << (drop - 5));
					char texts[4][128] = {"", "", "", ""};
					const unsigned sets[4] = {has, asks, has2, asks2};
					struct access_grant more, less;
					struct verdict a, b;

					if (!asks2 && asks)
						continue; /* asking for nothing means what the tool needs */
					for (int s = 0; s < 4; s++)
						for (unsigned i = 0; i < 5; i++)
							if (sets[s] >> i & 1)
								strcat(strcat(texts[s], all[i]), " ");
					a = ask(*state, &(struct row){"", .tool = tools[t].tool,
						.effect = tools[t].effect,
						.destination = "api.example.com", .scopes = texts[0],
							.asked = texts[1]}, &more);
					b = ask(*state, &(struct row){"", .tool = tools[t].tool,
						.effect = tools[t].effect,
						.destination = "api.example.com", .scopes = texts[2],
							.asked = texts[3]}, &less);
					if (drop < 5 && a.outcome == OUTCOME_DENY)
						assert_int_equal(b.outcome, OUTCOME_DENY);
					if (a.outcome == OUTCOME_DENY || b.outcome == OUTCOME_DENY)
						continue;
					for (size_t i = 0; i < less.n_scopes; i++)
						assert_true(granted(&more, less.scopes[i]));
					for (size_t i = 0; i < less.n_scopes; i++)
						assert_non_null(strstr(texts[2], less.scopes[i]));
				}
}

static void test_delivery(void **state)
{
	const struct world *w = *state;
	struct agent worker = w->agent;
	struct verdict v;

	worker.n_call = 0;
	worker.serve = refunds;
	worker.n_serve = 1;
	v = authorize_delivery(&worker, SLICE_LIT("refunds"), w->profile);
	assert_true(verdict_ok(&v));
	v = authorize_delivery(&worker, SLICE_LIT("refunds"), NULL);
	assert_int_equal(v.reason, REASON_ROUTE_DENIED);
	v = authorize_delivery(&worker, SLICE_LIT("refund"), w->profile);
	assert_int_equal(v.reason, REASON_ROUTE_DENIED);
	v = authorize_delivery(&w->agent, SLICE_LIT("refunds"), w->profile); /* may call it, not serve it */
	assert_int_equal(v.reason, REASON_ROUTE_DENIED);
	strcpy(worker.tenant, "globex");
	v = authorize_delivery(&worker, SLICE_LIT("refunds"), w->profile);
	assert_int_equal(v.reason, REASON_TENANT_BOUNDARY);
}

/* A profile that belongs to another route than the one asked for decides nothing, even when the agent may call both. */
static void test_profile_of_another_route(void **state)
{
	const struct world *w = *state;
	struct world both = *w;
	struct access_grant g;
	struct verdict v;

	both.agent.n_call = 2;
	v = ask(&both, &(struct row){.name = "other", .route = "refunds2"}, &g);
	assert_int_equal(v.reason, REASON_ROUTE_DENIED);
	v = ask(&both, &(struct row){.name = "its own", .route = "refunds"}, &g);
	assert_true(verdict_ok(&v));
}

static const char capped_json[] =
	"{\"route\": \"r\", \"identity\": {\"allowed_issuers\": [\"https://i.example\"], \"required_audience\": \"a\", \"required_scopes\": [\"s\"],"
	" \"subject\": \"service\"}, \"tools\": {\"allowed\": [\"t\"], \"max_side_effect\": \"draft\", \"spec\": {\"t\": {\"side_effect\": \"read\"}}}}";

static void test_max_side_effect_and_subject(void **state)
{
	struct problem why = {""};
	struct profile *p = profile_parse(slice_str(capped_json), &why, NULL);
	struct agent agent = {.tenant = "any", .name = "n", .call = (const char[][64]){"r"}, .n_call = 1};
	const char *scopes[] = {"s"};
	struct claims claims = {.tenant = "", .scopes = scopes, .n_scopes = 1};
	struct access_request rq = {.route = SLICE_LIT("r"), .tool = SLICE_LIT("t"), .side_effect = WRITE,
		.has_idempotency_key = true};
	struct access_grant g;
	struct verdict v;

	assert_non_null(p);
	v = authorize(&agent, &claims, &rq, p, &g);
	assert_int_equal(v.reason, REASON_SIDE_EFFECT_DENIED);
	rq.side_effect = DRAFT;
	v = authorize(&agent, &claims, &rq, p, &g);
	assert_true(verdict_ok(&v));
	assert_int_equal(g.side_effect, DRAFT);
	claims.subject_is_user = true;
	v = authorize(&agent, &claims, &rq, p, &g);
	assert_int_equal(v.reason, REASON_ROUTE_DENIED);
	assert_string_equal(v.field, "sub");
	profile_unref(p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_table),
		cmocka_unit_test(test_order),
		cmocka_unit_test(test_grant),
		cmocka_unit_test(test_missing_scopes_are_named),
		cmocka_unit_test(test_missing_and_invisible_look_the_same),
		cmocka_unit_test(test_fewer_scopes_never_allow_more),
		cmocka_unit_test(test_delivery),
		cmocka_unit_test(test_profile_of_another_route),
		cmocka_unit_test(test_max_side_effect_and_subject),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
