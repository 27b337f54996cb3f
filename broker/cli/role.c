/* Who may operate the broker, and as what? An operator's grant, list, show, revoke, history, rollback; and the first grant of all, root's `admin init`. */
#include "config.h"

#include <string.h>

#include "baton/v1/admin.pb-c.h"
#include "cli/admin.h"
#include "cli/resource.h"
#include "cli/text.h"
#include "cli/verbs.h"
#include "client/addr.h"

#define LISTS "baton role list shows all."
#define WIDTH 10

typedef Baton__V1__RoleBinding binding;

static const char *const columns[] = {"NAME", "ROLES", "TENANT", "HOLDER", "VERSION", "BY", "REASON"};

/* In the arena. */
static const char *holder_of(const binding *b, struct arena *arena)
{
	const char *text = *b->spiffe_id ? b->spiffe_id : arena_printf(arena, "%s: %s=%s", b->issuer, b->claim, b->value);

	return text ? text : "";
}

static void add_row(const struct cli *c, struct table *t, const resource *r, struct arena *arena)
{
	table_cell(t, r->role->name);
	resource_cell_words(t, r->role->roles, r->role->n_roles);
	table_cell(t, *r->role->tenant ? r->role->tenant : "all");
	table_cell(t, holder_of(r->role, arena));
	if (t->n <= 4)
		return;
	table_cell(t, r->version);
	table_cell(t, r->updated_by);
	table_cell(t, r->reason);
}

/* ---- one of them ---- */

static void print_one(const struct cli *c, const resource *r)
{
	const binding *b = r->role;

	text_line(c->out, WIDTH, "name:", b->name);
	text_line_words(c->out, WIDTH, "roles:", b->roles, b->n_roles);
	text_line(c->out, WIDTH, "tenant:", *b->tenant ? b->tenant : "all");
	text_line(c->out, WIDTH, "spiffe id:", b->spiffe_id);
	text_line(c->out, WIDTH, "issuer:", b->issuer);
	text_line(c->out, WIDTH, "claim:", b->claim);
	text_line(c->out, WIDTH, "value:", b->value);
	resource_print_version(c, WIDTH, r);
}

static const char *const history_columns[] = {"VERSION", "CHANGED", "ROLES", "TENANT", "HOLDER", "BY", "REASON"};

static void add_version(const struct cli *c, struct table *t, const resource *r, struct arena *arena)
{
	char text[40];

	table_cell(t, r->version);
	text_time(r->updated_at_ms, c->args.given[OPT_UTC], text);
	table_cell(t, text);
	if (r->removed)
		table_cell(t, "removed");
	else
		resource_cell_words(t, r->role->roles, r->role->n_roles);
	table_cell(t, *r->role->tenant ? r->role->tenant : "all");
	table_cell(t, holder_of(r->role, arena));
	table_cell(t, r->updated_by);
	table_cell(t, r->reason);
}

static const char *name_of(const resource *r)
{
	return r->role->name;
}

static const struct resource_view view = {
	.kind = "role", .spec = BATON__V1__RESOURCE__SPEC_ROLE, .lists = LISTS, .stranger = "the broker's answer is no role binding",
	.columns = columns, .shown = 4, .wide = 7, .row = add_row,
	.history_columns = history_columns, .history_shown = 7, .history_wide = 7, .version = add_version, .name = name_of, .print = print_one,
};

int cmd_role_list(struct cli *c)
{
	return resource_list(c, &view);
}

int cmd_role_show(struct cli *c)
{
	return resource_show(c, &view);
}

int cmd_role_history(struct cli *c)
{
	return resource_history(c, &view);
}

int cmd_role_rollback(struct cli *c)
{
	return resource_rollback(c, &view);
}

/* ---- changes ---- */

/* What the flags say. 0, or the exit code. */
static int put_flags(struct cli *c, struct arena *arena, binding *b)
{
	b->spiffe_id = admin_text(c, OPT_SPIFFE_ID);
	b->issuer = admin_text(c, OPT_ROLE_ISSUER);
	b->claim = admin_text(c, OPT_CLAIM);
	b->value = admin_text(c, OPT_VALUE);
	admin_list(c, OPT_ROLE, arena, &b->roles, &b->n_roles);
	if (!b->n_roles)
		return complain_usage(c, "`%s %s` needs --role: platform, sre, auditor, or approver:TENANT/ROUTE", c->verb->noun, c->verb->verb);
	if (!*b->spiffe_id == !(*b->issuer && *b->claim && *b->value))
		return complain_usage(c, "`%s %s` needs either --spiffe-id, or --issuer, --claim and --value", c->verb->noun, c->verb->verb);
	return 0;
}

int cmd_role_grant(struct cli *c)
{
	struct arena *arena = arena_new(ADMIN_ARENA);
	resource r = BATON__V1__RESOURCE__INIT, *there = NULL;
	binding b = BATON__V1__ROLE_BINDING__INIT;
	char *reason;
	int code = arena ? admin_reason(c, &reason) : EXIT_BUG;

	b.name = (char *)(uintptr_t)c->words[0];
	b.tenant = admin_text(c, OPT_TENANT);
	r.spec_case = BATON__V1__RESOURCE__SPEC_ROLE;
	r.role = &b;
	if (!code)
		code = put_flags(c, arena, &b);
	if (!code)
		code = admin_connect(c);
	if (!code)
		there = resource_look(c, &view, arena, &code);
	if (there) /* it is replaced */
		r.version = there->version;
	if (!code)
		code = resource_apply(c, arena, &r, reason);
	arena_free(arena);
	return code;
}

int cmd_role_revoke(struct cli *c)
{
	struct arena *arena = arena_new(ADMIN_ARENA);
	resource *r = NULL;
	char *reason;
	int code = arena ? admin_reason(c, &reason) : EXIT_BUG;

	if (!code)
		code = admin_connect(c);
	if (!code)
		r = resource_get(c, &view, arena, &code);
	if (!code)
		code = cli_confirm(c, "revoke takes roles away", "nothing was changed", "Take the roles of %s from %s?", r->role->name, holder_of(r->role, arena));
	if (!code)
		code = resource_delete(c, &view, arena, r, (char *)"", reason);
	arena_free(arena);
	return code;
}

/* ---- the first ---- */

static int connect_local(struct cli *c)
{
	int code = settings_resolve(c);

	if (!code && strncmp(c->set.admin_addr, ADDR_LOCAL, sizeof ADDR_LOCAL - 1) != 0)
		return complain(c, EXIT_USAGE, "`admin init` goes through the admin socket alone", NULL, "Run it on the broker's machine, with --admin-addr unix:PATH.");
	return code ? code : admin_connect(c);
}

int cmd_admin_init(struct cli *c)
{
	Baton__V1__InitAdminRequest q = BATON__V1__INIT_ADMIN_REQUEST__INIT;
	struct arena *arena = arena_new(ADMIN_ARENA);
	binding b = BATON__V1__ROLE_BINDING__INIT;
	Baton__V1__ApplyResponse *m = NULL;
	int code = arena ? admin_reason(c, &q.reason) : EXIT_BUG;

	c->lists = LISTS;
	b.name = admin_text(c, OPT_BINDING);
	q.role = &b;
	if (!code)
		code = put_flags(c, arena, &b);
	if (!code)
		code = connect_local(c);
	if (!code)
		m = admin_ask(c, ADMIN_RESOURCE "InitAdmin", &q.base, &baton__v1__apply_response__descriptor, arena, &code);
	if (m)
		code = admin_tell(c, m);
	arena_free(arena);
	return code;
}
