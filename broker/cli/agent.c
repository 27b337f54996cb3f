/* Which agents may take part? An operator's register, list, show, update, quarantine, release, retire, history, rollback. */
#include "config.h"

#include <string.h>

#include "base/clock.h"
#include "baton/v1/admin.pb-c.h"
#include "cli/admin.h"
#include "cli/card.h"
#include "cli/pbjson.h"
#include "cli/resource.h"
#include "cli/text.h"
#include "cli/verbs.h"
#include "identity/enrolment.h"

#define WIDTH 14

typedef Baton__V1__AgentSpec spec;

static const char *const columns[] = {"NAME", "TENANT", "STATUS", "CONNECTED", "CALLS", "SERVES", "CERT-LEFT", "SPIFFE-ID", "OWNER", "VERSION"};

static const char *status_of(const spec *s, char out[48])
{
	static const char *const words[] = {"unknown", "active", "quarantined", "retired"};
	size_t i = (size_t)s->status;

	if (i == 1 && s->expires_at_ms && s->expires_at_ms <= clock_unix_ms())
		return "expired";
	snprintf(out, 48, "%s", words[i < sizeof words / sizeof words[0] ? i : 0]);
	return out;
}

/* "-": it is not connected there. */
static void cert_left(const resource *r, char out[16])
{
	int64_t left = r->presence ? r->presence->certificate_ends_at_ms - clock_unix_ms() : 0;

	if (left > 0)
		text_age(left, out);
	else
		snprintf(out, 16, "-");
}

static void add_row(const struct cli *c, struct table *t, const resource *r, struct arena *arena)
{
	const spec *s = r->agent;
	char status[48], connected[16], left[16];

	table_cell(t, s->name);
	table_cell(t, s->tenant);
	table_cell(t, status_of(s, status));
	snprintf(connected, sizeof connected, "%u", r->presence ? r->presence->connections : 0);
	table_cell(t, connected);
	resource_cell_words(t, s->may_call, s->n_may_call);
	resource_cell_words(t, s->may_serve, s->n_may_serve);
	cert_left(r, left);
	table_cell(t, left);
	if (t->n <= 7)
		return;
	table_cell(t, s->spiffe_id);
	table_cell(t, s->owner);
	table_cell(t, r->is_static ? "static" : r->version);
}

/* In the order of the enum. */
static const char *const issuance_words[] = {"enrolment and renewal", "enrolment alone", "renewal alone", "nothing"};

static void print_policy(const struct cli *c, const Baton__V1__CertificatePolicy *p)
{
	const size_t known = sizeof issuance_words / sizeof issuance_words[0];
	char span[32], text[96];

	if (!p)
		return;
	duration_text(p->max_ttl_s * INT64_C(1000), span);
	snprintf(text, sizeof text, "%s%s%s", (size_t)p->issuance < known ? issuance_words[p->issuance] : "unknown", p->max_ttl_s ? ", for at most " : "", p->max_ttl_s ? span : "");
	text_line(c->out, WIDTH, "issued to it:", text);
	duration_text(p->max_accepted_ttl_s * INT64_C(1000), span);
	snprintf(text, sizeof text, "certificates that live at most %s", span);
	text_line(c->out, WIDTH, "taken of it:", p->max_accepted_ttl_s ? text : "");
}

/* What it says of itself. */
static void print_card(const struct cli *c, const spec *s)
{
	struct arena *arena = s->card.len ? arena_new(2 * CARD_FILE_MAX) : NULL;

	if (arena)
		text_line(c->out, WIDTH, "card:", card_line(&s->card, arena));
	arena_free(arena);
}

static void print_one(const struct cli *c, const resource *r)
{
	const spec *s = r->agent;
	bool utc = c->args.given[OPT_UTC];
	char text[160], status[48];

	text_line(c->out, WIDTH, "name:", s->name);
	text_line(c->out, WIDTH, "tenant:", s->tenant);
	text_line(c->out, WIDTH, "status:", status_of(s, status));
	snprintf(text, sizeof text, "%u to the node that was asked", r->presence ? r->presence->connections : 0);
	text_line(c->out, WIDTH, "connections:", text);
	if (r->presence) {
		cert_left(r, status);
		text_line(c->out, WIDTH, "cert left:", status);
	}
	text_line(c->out, WIDTH, "spiffe id:", s->spiffe_id);
	text_line(c->out, WIDTH, "client:", *s->client ? s->client : s->name);
	text_line(c->out, WIDTH, "owner:", s->owner);
	text_line_words(c->out, WIDTH, "calls:", s->may_call, s->n_may_call);
	text_line_words(c->out, WIDTH, "serves:", s->may_serve, s->n_may_serve);
	text_line_words(c->out, WIDTH, "ceiling:", s->scope_ceiling, s->n_scope_ceiling);
	text_line(c->out, WIDTH, "originates:", s->may_originate ? "yes" : "no");
	snprintf(text, sizeof text, "%u", s->max_in_flight);
	text_line(c->out, WIDTH, "in flight:", s->max_in_flight ? text : "1000");
	snprintf(text, sizeof text, "%u a second", s->rate_per_s);
	text_line(c->out, WIDTH, "rate:", s->rate_per_s ? text : "");
	for (size_t i = 0; i < s->n_labels; i++) {
		snprintf(text, sizeof text, "%.60s=%.90s", s->labels[i]->key, s->labels[i]->value);
		text_line(c->out, WIDTH, "label:", text);
	}
	if (s->expires_at_ms) {
		text_time(s->expires_at_ms, utc, text);
		text_line(c->out, WIDTH, "expires:", text);
	}
	print_policy(c, s->certificate);
	print_card(c, s);
	text_line(c->out, WIDTH, "uuid:", s->uuid);
	if (!r->is_static) {
		text_time(s->registered_at_ms, utc, text);
		text_line(c->out, WIDTH, "registered:", text);
	}
	resource_print_version(c, WIDTH, r);
}

static const char *const history_columns[] = {"VERSION", "CHANGED", "STATUS", "BY", "REASON", "CALLS", "SERVES"};

static void add_version(const struct cli *c, struct table *t, const resource *r, struct arena *arena)
{
	char text[48];

	table_cell(t, r->version);
	text_time(r->updated_at_ms, c->args.given[OPT_UTC], text);
	table_cell(t, text);
	table_cell(t, status_of(r->agent, text));
	table_cell(t, r->updated_by);
	table_cell(t, r->reason);
	if (t->n <= 5)
		return;
	resource_cell_words(t, r->agent->may_call, r->agent->n_may_call);
	resource_cell_words(t, r->agent->may_serve, r->agent->n_may_serve);
}

static const char *name_of(const resource *r)
{
	return r->agent->name;
}

static const struct resource_view view = {
	.kind = "agent", .spec = BATON__V1__RESOURCE__SPEC_AGENT, .of_tenant = true, .lists = "baton agent list shows all.",
	.stranger = "the broker's answer is no agent", .columns = columns, .shown = 7, .wide = 10, .row = add_row,
	.history_columns = history_columns, .history_shown = 5, .history_wide = 7, .version = add_version, .name = name_of, .print = print_one,
};

int cmd_agent_list(struct cli *c)
{
	return resource_list(c, &view);
}

int cmd_agent_show(struct cli *c)
{
	return resource_show(c, &view);
}

int cmd_agent_history(struct cli *c)
{
	return resource_history(c, &view);
}

int cmd_agent_rollback(struct cli *c)
{
	return resource_rollback(c, &view);
}

/* ---- changes ---- */

/* Less than a second is none too few, and not the 0 that lifts a bound. */
static uint32_t seconds(int64_t ms)
{
	return (uint32_t)((ms + 999) / 1000);
}

/* The policy as the flags have it; false: memory is out. */
static bool put_policy(const struct cli *c, struct arena *arena, spec *s)
{
	const struct args *a = &c->args;

	if (!a->given[OPT_CERT_TTL] && !a->given[OPT_CERT_ISSUANCE] && !a->given[OPT_CERT_ACCEPTED])
		return true;
	if (!s->certificate) {
		s->certificate = arena_alloc(arena, sizeof *s->certificate);
		if (!s->certificate)
			return false;
		baton__v1__certificate_policy__init(s->certificate);
	}
	if (a->given[OPT_CERT_TTL])
		s->certificate->max_ttl_s = seconds(a->number[OPT_CERT_TTL]);
	if (a->given[OPT_CERT_ISSUANCE])
		s->certificate->issuance = (Baton__V1__CertificateIssuance)a->number[OPT_CERT_ISSUANCE];
	if (a->given[OPT_CERT_ACCEPTED])
		s->certificate->max_accepted_ttl_s = seconds(a->number[OPT_CERT_ACCEPTED]);
	return true;
}

static int put_card(struct cli *c, struct arena *arena, spec *s)
{
	struct problem why = {""};
	struct slice text;
	int code;

	if (c->args.given[OPT_CARD] && c->args.given[OPT_NO_CARD])
		return complain_usage(c, "--card and --no-card are for two different wishes");
	if (c->args.given[OPT_NO_CARD])
		s->card = (ProtobufCBinaryData){0, NULL};
	if (!c->args.given[OPT_CARD])
		return 0;
	code = resource_file(c, OPT_CARD, CARD_FILE_MAX, arena, &text);
	if (code || card_take(text, arena, &s->card, &why) == 0)
		return code;
	problem_prefix(&why, "%s", c->args.text[OPT_CARD]);
	return complain(c, EXIT_MALFORMED, why.text, NULL, NULL);
}

/* What the flags say, put over what s has. */
static int put_flags(struct cli *c, struct arena *arena, spec *s)
{
	const struct { enum opt o; char **to; } texts[] = {{OPT_AGENT_ID, &s->spiffe_id}, {OPT_OWNER, &s->owner}, {OPT_CLIENT, &s->client}};
	int code = put_card(c, arena, s);

	if (code)
		return code;
	for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
		if (c->args.given[texts[i].o])
			*texts[i].to = admin_text(c, texts[i].o);
	admin_list(c, OPT_MAY_CALL, arena, &s->may_call, &s->n_may_call);
	admin_list(c, OPT_MAY_SERVE, arena, &s->may_serve, &s->n_may_serve);
	admin_list(c, OPT_CEILING, arena, &s->scope_ceiling, &s->n_scope_ceiling);
	if (c->args.given[OPT_IN_FLIGHT])
		s->max_in_flight = (uint32_t)c->args.number[OPT_IN_FLIGHT];
	if (c->args.given[OPT_AGENT_RATE])
		s->rate_per_s = (uint32_t)c->args.number[OPT_AGENT_RATE];
	if (c->args.given[OPT_ORIGINATE])
		s->may_originate = c->args.number[OPT_ORIGINATE] == 0;
	if (c->args.given[OPT_EXPIRES])
		s->expires_at_ms = c->args.number[OPT_EXPIRES] ? clock_unix_ms() + c->args.number[OPT_EXPIRES] : 0;
	if (!put_policy(c, arena, s))
		return EXIT_BUG;
	return admin_pairs(c, OPT_LABEL, &baton__v1__agent_spec__labels_entry__descriptor, false, "KEY=VALUE", arena, (ProtobufCMessage ***)&s->labels, &s->n_labels);
}

int cmd_agent_register(struct cli *c)
{
	struct arena *arena = arena_new(ADMIN_ARENA);
	resource r = BATON__V1__RESOURCE__INIT;
	spec s = BATON__V1__AGENT_SPEC__INIT;
	char *reason;
	int code = arena ? admin_reason(c, &reason) : EXIT_BUG;

	s.name = (char *)(uintptr_t)c->words[0];
	s.tenant = admin_text(c, OPT_TENANT);
	r.spec_case = BATON__V1__RESOURCE__SPEC_AGENT;
	r.agent = &s;
	if (!code && (!*s.tenant || !c->args.given[OPT_AGENT_ID]))
		code = complain_usage(c, "`agent register` needs --tenant, and with --id the URI of the agent's certificate: spiffe://acme.example/%s", s.name);
	if (!code)
		code = put_flags(c, arena, &s);
	if (!code && !c->args.given[OPT_ORIGINATE])
		s.may_originate = s.n_may_call > 0;
	if (!code)
		code = admin_connect(c);
	if (!code)
		code = resource_apply(c, arena, &r, reason);
	arena_free(arena);
	return code;
}

/* The agent as it is; 0, or an exit code. */
static int open_one(struct cli *c, struct arena *arena, char **reason, resource **r)
{
	int code = arena ? admin_reason(c, reason) : EXIT_BUG;

	if (!code)
		code = admin_connect(c);
	if (!code)
		*r = resource_get(c, &view, arena, &code);
	return code ? code : resource_not_static(c, &view, *r);
}

int cmd_agent_update(struct cli *c)
{
	struct arena *arena = arena_new(ADMIN_ARENA);
	resource *r = NULL;
	char *reason;
	int code = open_one(c, arena, &reason, &r);

	if (!code)
		code = put_flags(c, arena, r->agent);
	if (!code)
		code = resource_apply(c, arena, r, reason);
	arena_free(arena);
	return code;
}

static int set_status(struct cli *c, Baton__V1__AgentStatus status)
{
	struct arena *arena = arena_new(ADMIN_ARENA);
	resource *r = NULL;
	char *reason;
	int code = open_one(c, arena, &reason, &r);

	if (!code) {
		r->agent->status = status;
		code = resource_apply(c, arena, r, reason);
	}
	arena_free(arena);
	return code;
}

int cmd_agent_quarantine(struct cli *c)
{
	return set_status(c, BATON__V1__AGENT_STATUS__AGENT_STATUS_QUARANTINED);
}

int cmd_agent_release(struct cli *c)
{
	return set_status(c, BATON__V1__AGENT_STATUS__AGENT_STATUS_ACTIVE);
}

int cmd_agent_retire(struct cli *c)
{
	struct arena *arena = arena_new(ADMIN_ARENA);
	resource *r = NULL;
	char *reason;
	int code = open_one(c, arena, &reason, &r);

	if (!code)
		code = cli_confirm(c, "retire ends an agent for good", "nothing was changed", "Retire %s of %s for good?", r->agent->name, r->agent->tenant);
	if (!code)
		code = resource_delete(c, &view, arena, r, r->agent->tenant, reason);
	arena_free(arena);
	return code;
}

/* ---- its first certificate ---- */

/* The token goes to standard output alone, or to the file alone. */
static int hand_out(struct cli *c, const Baton__V1__EnrolToken *m)
{
	const char *file = c->args.text[OPT_OUT];
	struct slice token = slice_str(m->token);
	char until[40];
	int code = file ? cli_write_file(c, file, token) : EXIT_YES;

	if (code)
		return code;
	if (!file && cli_json(c))
		pbjson_print(c->out, &m->base);
	else if (!file)
		fprintf(c->out, "%s\n", m->token);
	text_time(m->expires_at_ms, c->args.given[OPT_UTC], until);
	cli_note(c, "good once, for %s, until %s", c->words[0], until);
	cli_note(c, "on the agent's machine: baton enroll --server HOST:PORT --token-file %s --out DIR", file ? file : "FILE");
	return EXIT_YES;
}

int cmd_agent_enroll_token(struct cli *c)
{
	struct arena *arena = arena_new(ADMIN_ARENA);
	Baton__V1__CreateEnrolTokenRequest q = BATON__V1__CREATE_ENROL_TOKEN_REQUEST__INIT;
	Baton__V1__ResourceRef agent = resource_ref(c, &view);
	Baton__V1__EnrolToken *m = NULL;
	uint8_t pin[SHA256_BYTES];
	uint64_t agent_key;
	int code = arena ? admin_connect(c) : EXIT_BUG;

	q.agent = &agent;
	q.ttl_s = (uint32_t)(c->args.number[OPT_TOKEN_TTL] / 1000);
	if (!code)
		m = admin_ask(c, ADMIN_ENROL "CreateToken", &q.base, &baton__v1__enrol_token__descriptor, arena, &code);
	if (m && enrolment_token_read(slice_str(m->token), &agent_key, pin))
		code = complain(c, EXIT_PROTOCOL, "the broker's answer is no enrolment token", NULL, "Use a baton of the broker's version.");
	else if (m)
		code = hand_out(c, m);
	if (m)
		secret_wipe(m->token, strlen(m->token));
	arena_free(arena);
	return code;
}
