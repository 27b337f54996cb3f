/* Who may operate the broker, and as what? An operator's grant, list, show, revoke, history; and the first grant of all, root's `admin init`. */
#include "config.h"

#include <string.h>

#include "baton/v1/admin.pb-c.h"
#include "cli/admin.h"
#include "cli/listing.h"
#include "cli/pbjson.h"
#include "cli/text.h"
#include "cli/verbs.h"
#include "client/addr.h"

#define LISTS "baton role list shows all."
#define WIDTH 10
#define PAGE 200

typedef Baton__V1__RoleBinding binding;
typedef Baton__V1__Resource resource;

static const char *const columns[] = {"NAME", "ROLES", "TENANT", "HOLDER", "VERSION", "BY", "REASON"};

static bool is_role(const resource *r)
{
	return r && r->spec_case == BATON__V1__RESOURCE__SPEC_ROLE && r->role;
}

/* In the arena. */
static const char *holder_of(const binding *b, struct arena *arena)
{
	const char *text = *b->spiffe_id ? b->spiffe_id : arena_printf(arena, "%s: %s=%s", b->issuer, b->claim, b->value);

	return text ? text : "";
}

static void cell_roles(struct table *t, const binding *b)
{
	char text[512] = "";
	size_t at = 0;

	for (size_t i = 0; i < b->n_roles && at < sizeof text; i++)
		at += (size_t)snprintf(text + at, sizeof text - at, "%s%s", i ? "," : "", b->roles[i]);
	table_cell(t, text);
}

static void add_row(struct table *t, const resource *r, struct arena *arena)
{
	table_cell(t, r->role->name);
	cell_roles(t, r->role);
	table_cell(t, *r->role->tenant ? r->role->tenant : "all");
	table_cell(t, holder_of(r->role, arena));
	if (t->n <= 4)
		return;
	table_cell(t, r->version);
	table_cell(t, r->updated_by);
	table_cell(t, r->reason);
}

static int pages(struct cli *c, struct listing *l, struct arena *arena)
{
	Baton__V1__ListResourcesRequest q = BATON__V1__LIST_RESOURCES_REQUEST__INIT;
	char token[512] = "";
	int code = 0;

	q.kind = "role";
	q.tenant = admin_text(c, OPT_TENANT);
	q.page_token = token;
	q.page_size = PAGE;
	for (;;) {
		Baton__V1__ListResourcesResponse *page;

		arena_reset(arena);
		page = admin_ask(c, ADMIN_RESOURCE "List", &q.base, &baton__v1__list_resources_response__descriptor, arena, &code);
		if (!page)
			return code;
		for (size_t i = 0; i < page->n_resources; i++)
			if (is_role(page->resources[i]) && !listing_put(l, &page->resources[i]->base, page->resources[i]->role->name))
				add_row(&l->table, page->resources[i], arena);
		if (!listing_next(page->next_page_token, token, sizeof token))
			return 0;
	}
}

int cmd_role_list(struct cli *c)
{
	struct arena *arena = arena_new(ADMIN_ARENA);
	struct listing l;
	int code = arena ? admin_connect(c) : EXIT_BUG;

	listing_init(&l, c, columns, 4, 7);
	if (!code)
		code = pages(c, &l, arena);
	if (!code)
		listing_print(&l);
	listing_clear(&l);
	arena_free(arena);
	return code;
}

/* ---- one of them ---- */

static void name_it(struct cli *c, Baton__V1__ResourceRef *q)
{
	c->lists = LISTS;
	q->kind = "role";
	q->name = (char *)(uintptr_t)c->words[0];
}

/* In the arena; NULL with *code. */
static resource *get(struct cli *c, struct arena *arena, int *code)
{
	Baton__V1__ResourceRef q = BATON__V1__RESOURCE_REF__INIT;
	resource *r;

	name_it(c, &q);
	r = admin_ask(c, ADMIN_RESOURCE "Get", &q.base, &baton__v1__resource__descriptor, arena, code);
	if (!r || is_role(r))
		return r;
	*code = complain(c, EXIT_PROTOCOL, "the broker's answer is no role binding", NULL, "Use a baton of the broker's version.");
	return NULL;
}

static void print_one(const struct cli *c, const resource *r)
{
	const binding *b = r->role;
	char text[40];

	text_line(c->out, WIDTH, "name:", b->name);
	text_line_words(c->out, WIDTH, "roles:", b->roles, b->n_roles);
	text_line(c->out, WIDTH, "tenant:", *b->tenant ? b->tenant : "all");
	text_line(c->out, WIDTH, "spiffe id:", b->spiffe_id);
	text_line(c->out, WIDTH, "issuer:", b->issuer);
	text_line(c->out, WIDTH, "claim:", b->claim);
	text_line(c->out, WIDTH, "value:", b->value);
	text_line(c->out, WIDTH, "version:", r->version);
	text_time(r->updated_at_ms, c->args.given[OPT_UTC], text);
	text_line(c->out, WIDTH, "changed:", text);
	text_line(c->out, WIDTH, "by:", r->updated_by);
	text_line(c->out, WIDTH, "reason:", r->reason);
}

int cmd_role_show(struct cli *c)
{
	struct arena *arena = arena_new(ADMIN_ARENA);
	int code = arena ? admin_connect(c) : EXIT_BUG;
	resource *r = code ? NULL : get(c, arena, &code);

	if (r && cli_json(c))
		pbjson_print(c->out, &r->base);
	else if (r && cli_output(c) == OUTPUT_NAME)
		fprintf(c->out, "%s\n", r->role->name);
	else if (r)
		print_one(c, r);
	arena_free(arena);
	return code;
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
		cell_roles(t, r->role);
	table_cell(t, *r->role->tenant ? r->role->tenant : "all");
	table_cell(t, holder_of(r->role, arena));
	table_cell(t, r->updated_by);
	table_cell(t, r->reason);
}

int cmd_role_history(struct cli *c)
{
	Baton__V1__ResourceRef q = BATON__V1__RESOURCE_REF__INIT;
	struct arena *arena = arena_new(ADMIN_ARENA);
	int code = arena ? admin_connect(c) : EXIT_BUG;
	Baton__V1__ListResourcesResponse *m = NULL;
	struct listing l;

	name_it(c, &q);
	listing_init(&l, c, history_columns, 7, 7);
	if (!code)
		m = admin_ask(c, ADMIN_RESOURCE "History", &q.base, &baton__v1__list_resources_response__descriptor, arena, &code);
	for (size_t i = 0; m && i < m->n_resources; i++)
		if (is_role(m->resources[i]) && !listing_put(&l, &m->resources[i]->base, m->resources[i]->version))
			add_version(c, &l.table, m->resources[i], arena);
	if (m)
		listing_print(&l);
	listing_clear(&l);
	arena_free(arena);
	return code;
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

/* The version of what is there under the name, which is then replaced; "" when nothing is. */
static int find_version(struct cli *c, struct arena *arena, char **version)
{
	Baton__V1__ResourceRef q = BATON__V1__RESOURCE_REF__INIT;
	struct client_status status;
	resource *r;

	name_it(c, &q);
	r = admin_try(c, ADMIN_RESOURCE "Get", &q.base, &baton__v1__resource__descriptor, arena, &status);
	if (r)
		*version = r->version;
	return r || status.reason == REASON_NOT_FOUND ? 0 : complain_status(c, &status);
}

int cmd_role_grant(struct cli *c)
{
	Baton__V1__ApplyRequest q = BATON__V1__APPLY_REQUEST__INIT;
	struct arena *arena = arena_new(ADMIN_ARENA);
	resource r = BATON__V1__RESOURCE__INIT, *one = &r;
	binding b = BATON__V1__ROLE_BINDING__INIT;
	Baton__V1__ApplyResponse *m = NULL;
	int code = arena ? admin_reason(c, &q.reason) : EXIT_BUG;

	b.name = (char *)(uintptr_t)c->words[0];
	b.tenant = admin_text(c, OPT_TENANT);
	r.spec_case = BATON__V1__RESOURCE__SPEC_ROLE;
	r.role = &b;
	q.resources = &one;
	q.n_resources = 1;
	q.dry_run = c->args.given[OPT_DRY_RUN];
	if (!code)
		code = put_flags(c, arena, &b);
	if (!code)
		code = admin_connect(c);
	if (!code)
		code = find_version(c, arena, &r.version);
	if (!code)
		m = admin_ask(c, ADMIN_RESOURCE "Apply", &q.base, &baton__v1__apply_response__descriptor, arena, &code);
	if (m)
		code = admin_tell(c, m);
	arena_free(arena);
	return code;
}

int cmd_role_revoke(struct cli *c)
{
	Baton__V1__DeleteRequest q = BATON__V1__DELETE_REQUEST__INIT;
	Baton__V1__ResourceRef ref = BATON__V1__RESOURCE_REF__INIT;
	struct arena *arena = arena_new(ADMIN_ARENA);
	Baton__V1__ApplyResponse *m = NULL;
	resource *r = NULL;
	int code = arena ? admin_reason(c, &q.reason) : EXIT_BUG;

	if (!code)
		code = admin_connect(c);
	if (!code)
		r = get(c, arena, &code);
	if (!code)
		code = cli_confirm(c, "revoke takes roles away", "nothing was changed", "Take the roles of %s from %s?", r->role->name, holder_of(r->role, arena));
	if (!code) {
		name_it(c, &ref);
		q.ref = &ref;
		q.version = r->version;
		m = admin_ask(c, ADMIN_RESOURCE "Delete", &q.base, &baton__v1__apply_response__descriptor, arena, &code);
	}
	if (m)
		code = admin_tell(c, m);
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
