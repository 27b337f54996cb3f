/* What may a tenant use up, and what does it? An operator's create, list, show, limit, remove, history and rollback. */
#include "config.h"

#include <string.h>

#include "baton/v1/admin.pb-c.h"
#include "cli/admin.h"
#include "cli/resource.h"
#include "cli/text.h"
#include "cli/verbs.h"

#define WIDTH 14

typedef Baton__V1__Tenant tenant;

static const char *const columns[] = {"NAME", "WAITING", "MAX-WAITING", "BYTES", "MAX-BYTES", "AGENTS", "MAX-AGENTS", "VERSION", "BY", "REASON"};

static const char *count_or(uint64_t n, const char *none, char out[SIZE_TEXT_MAX])
{
	snprintf(out, SIZE_TEXT_MAX, "%llu", (unsigned long long)n);
	return n ? out : none;
}

static const char *size_or(uint64_t bytes, const char *none, char out[SIZE_TEXT_MAX])
{
	size_text((int64_t)bytes, out);
	return bytes ? out : none;
}

static void add_row(const struct cli *c, struct table *t, const resource *r, struct arena *arena)
{
	const tenant *m = r->tenant;
	char text[SIZE_TEXT_MAX];

	(void)c;
	(void)arena;
	table_cell(t, m->name);
	table_cell(t, count_or(m->waiting, "0", text));
	table_cell(t, count_or(m->max_waiting, "-", text));
	table_cell(t, count_or(m->waiting_bytes, "0", text));
	table_cell(t, size_or(m->max_bytes, "-", text));
	table_cell_f(t, "%u", m->agents);
	table_cell(t, count_or(m->max_agents, "-", text));
	table_cell(t, *r->version ? r->version : "-");
	if (t->n <= 8)
		return;
	table_cell(t, r->updated_by);
	table_cell(t, r->reason);
}

#define AS_CONFIGURED "as the broker's configuration says"

static void print_one(const struct cli *c, const resource *r)
{
	const tenant *m = r->tenant;
	char text[64], max[SIZE_TEXT_MAX];

	text_line(c->out, WIDTH, "name:", m->name);
	text_line(c->out, WIDTH, "max waiting:", count_or(m->max_waiting, AS_CONFIGURED, max));
	text_line(c->out, WIDTH, "max bytes:", size_or(m->max_bytes, AS_CONFIGURED, max));
	text_line(c->out, WIDTH, "max agents:", count_or(m->max_agents, AS_CONFIGURED, max));
	snprintf(text, sizeof text, "%llu, %llu bytes", (unsigned long long)m->waiting, (unsigned long long)m->waiting_bytes);
	text_line(c->out, WIDTH, "waiting:", text);
	snprintf(text, sizeof text, "%u", m->agents);
	text_line(c->out, WIDTH, "agents:", text);
	resource_print_version(c, WIDTH, r);
}

static const char *const history_columns[] = {"VERSION", "CHANGED", "MAX-WAITING", "MAX-BYTES", "MAX-AGENTS", "BY", "REASON"};

static void add_version(const struct cli *c, struct table *t, const resource *r, struct arena *arena)
{
	char text[40], max[SIZE_TEXT_MAX];

	(void)arena;
	table_cell(t, r->version);
	text_time(r->updated_at_ms, c->args.given[OPT_UTC], text);
	table_cell(t, text);
	table_cell(t, r->removed ? "removed" : count_or(r->tenant->max_waiting, "-", max));
	table_cell(t, size_or(r->tenant->max_bytes, "-", max));
	table_cell(t, count_or(r->tenant->max_agents, "-", max));
	table_cell(t, r->updated_by);
	table_cell(t, r->reason);
}

static const char *name_of(const resource *r)
{
	return r->tenant->name;
}

static const struct resource_view view = {
	.kind = "tenant", .spec = BATON__V1__RESOURCE__SPEC_TENANT, .lists = "baton tenant list shows all.", .stranger = "the broker's answer is no tenant",
	.columns = columns, .shown = 8, .wide = 10, .row = add_row, .history_columns = history_columns, .history_shown = 7, .history_wide = 7, .version = add_version,
	.name = name_of, .print = print_one,
};

int cmd_tenant_list(struct cli *c)
{
	return resource_list(c, &view);
}

int cmd_tenant_show(struct cli *c)
{
	return resource_show(c, &view);
}

int cmd_tenant_history(struct cli *c)
{
	return resource_history(c, &view);
}

int cmd_tenant_rollback(struct cli *c)
{
	return resource_rollback(c, &view);
}

/* ---- changes ---- */

/* What the flags say, over what is there. */
static int put(struct cli *c, struct arena *arena, resource *r, char *reason)
{
	tenant *m = r->tenant;

	if (c->args.given[OPT_MAX_WAITING])
		m->max_waiting = (uint64_t)c->args.number[OPT_MAX_WAITING];
	if (c->args.given[OPT_MAX_BYTES])
		m->max_bytes = (uint64_t)c->args.number[OPT_MAX_BYTES];
	if (c->args.given[OPT_MAX_AGENTS])
		m->max_agents = (uint32_t)c->args.number[OPT_MAX_AGENTS];
	return resource_apply(c, arena, r, reason);
}

int cmd_tenant_create(struct cli *c)
{
	struct arena *arena = arena_new(ADMIN_ARENA);
	resource made = BATON__V1__RESOURCE__INIT, *there;
	tenant m = BATON__V1__TENANT__INIT;
	char *reason;
	int code;

	made.spec_case = view.spec;
	made.tenant = &m;
	m.name = (char *)(uintptr_t)c->words[0];
	there = resource_begin(c, &view, arena, &reason, &made, &code);
	if (there && *there->version)
		code = complain(c, EXIT_NO, "the tenant is there already", NULL, "Give it other limits by baton tenant limit.");
	if (!code)
		code = put(c, arena, &made, reason);
	arena_free(arena);
	return code;
}

int cmd_tenant_limit(struct cli *c)
{
	struct arena *arena = arena_new(ADMIN_ARENA);
	resource *r = NULL;
	char *reason;
	int code = arena ? admin_reason(c, &reason) : EXIT_BUG;

	if (!code && !c->args.given[OPT_MAX_WAITING] && !c->args.given[OPT_MAX_BYTES] && !c->args.given[OPT_MAX_AGENTS])
		code = complain_usage(c, "`tenant limit` needs --max-waiting, --max-bytes or --max-agents");
	if (!code)
		code = admin_connect(c);
	if (!code)
		r = resource_get(c, &view, arena, &code);
	if (r)
		code = put(c, arena, r, reason);
	arena_free(arena);
	return code;
}

int cmd_tenant_remove(struct cli *c)
{
	return resource_remove(c, &view, "the configuration's limits hold for it then; what names it, and what waits, stays");
}
