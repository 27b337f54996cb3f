/* What do the commands for resources of one kind share? See resource.h. */
#include "config.h"

#include "cli/resource.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/file.h"
#include "cli/admin.h"
#include "cli/listing.h"
#include "cli/pbjson.h"
#include "cli/text.h"
#include "cli/verbs.h"

#define PAGE 200

bool resource_is_of(const struct resource_view *v, const resource *r)
{
	return r && r->spec_case == v->spec && r->agent; /* all kinds' messages are pointers in one union */
}

void resource_cell_words(struct table *t, char *const *v, size_t n)
{
	char text[512] = "";
	size_t at = 0;

	for (size_t i = 0; i < n && at < sizeof text; i++)
		at += (size_t)snprintf(text + at, sizeof text - at, "%s%s", i ? "," : "", v[i]);
	table_cell(t, text);
}

/* ---- all of them ---- */

static int pages(struct cli *c, const struct resource_view *v, struct listing *l, struct arena *arena)
{
	Baton__V1__ListResourcesRequest q = BATON__V1__LIST_RESOURCES_REQUEST__INIT;
	char token[512] = "";
	int code = 0;

	q.kind = (char *)(uintptr_t)v->kind;
	q.tenant = admin_text(c, OPT_TENANT);
	q.page_token = token;
	q.page_size = PAGE;
	for (;;) {
		Baton__V1__ListResourcesResponse *page;

		arena_reset(arena);
		page = admin_ask(c, ADMIN_RESOURCE "List", &q.base, &baton__v1__list_resources_response__descriptor, arena, &code);
		if (!page)
			return code;
		for (size_t i = 0; i < page->n_resources; i++) {
			const resource *r = page->resources[i];

			if (resource_is_of(v, r) && !listing_put(l, &r->base, v->name(r)))
				v->row(c, &l->table, r, arena);
		}
		if (!listing_next(page->next_page_token, token, sizeof token))
			return 0;
	}
}

int resource_list(struct cli *c, const struct resource_view *v)
{
	struct arena *arena;
	struct listing l;
	int code;

	if (c->args.given[OPT_WATCH])
		return resource_watch(c, v);
	arena = arena_new(ADMIN_ARENA);
	code = arena ? admin_connect(c) : EXIT_BUG;
	listing_init(&l, c, v->columns, v->shown, v->wide);
	if (!code)
		code = pages(c, v, &l, arena);
	if (!code)
		listing_print(&l);
	listing_clear(&l);
	arena_free(arena);
	return code;
}

/* ---- one of them ---- */

Baton__V1__ResourceRef resource_ref(struct cli *c, const struct resource_view *v)
{
	Baton__V1__ResourceRef q = BATON__V1__RESOURCE_REF__INIT;

	c->lists = v->lists;
	q.kind = (char *)(uintptr_t)v->kind;
	if (v->of_tenant)
		q.tenant = admin_text(c, OPT_TENANT);
	q.name = (char *)(uintptr_t)c->words[0];
	return q;
}

resource *resource_get(struct cli *c, const struct resource_view *v, struct arena *arena, int *code)
{
	const Baton__V1__ResourceRef q = resource_ref(c, v);
	resource *r = admin_ask(c, ADMIN_RESOURCE "Get", &q.base, &baton__v1__resource__descriptor, arena, code);

	if (!r || resource_is_of(v, r))
		return r;
	*code = complain(c, EXIT_PROTOCOL, v->stranger, NULL, "Use a baton of the broker's version.");
	return NULL;
}

resource *resource_look(struct cli *c, const struct resource_view *v, struct arena *arena, int *code)
{
	const Baton__V1__ResourceRef q = resource_ref(c, v);
	struct client_status status;
	resource *r = admin_try(c, ADMIN_RESOURCE "Get", &q.base, &baton__v1__resource__descriptor, arena, &status);

	*code = r || status.reason == REASON_NOT_FOUND ? 0 : complain_status(c, &status);
	if (!r || resource_is_of(v, r))
		return r;
	*code = complain(c, EXIT_PROTOCOL, v->stranger, NULL, "Use a baton of the broker's version.");
	return NULL;
}

int resource_not_static(struct cli *c, const struct resource_view *v, const resource *r)
{
	char text[80];

	if (!r || !r->is_static)
		return 0;
	snprintf(text, sizeof text, "the %s is static", v->kind);
	return complain(c, EXIT_NO, text, "it stands in the broker's configuration file", "Change it there, and send SIGHUP.");
}

resource *resource_begin(struct cli *c, const struct resource_view *v, struct arena *arena, char **reason, resource *made, int *code)
{
	resource *r = NULL;

	*code = arena ? admin_reason(c, reason) : EXIT_BUG;
	if (!*code)
		*code = admin_connect(c);
	if (!*code)
		r = resource_look(c, v, arena, code);
	if (!*code)
		*code = resource_not_static(c, v, r);
	return *code ? NULL : r ? r : made;
}

int resource_file(struct cli *c, enum opt o, size_t max, struct arena *arena, struct slice *out)
{
	const char *path = c->args.text[o];
	struct problem why = {""};
	uint8_t *bytes = NULL;
	size_t n = 0;
	char *copy;

	if (file_read(path, max, &bytes, &n, &why) < 0)
		return complain(c, access(path, F_OK) ? EXIT_MISSING : EXIT_MALFORMED, why.text, NULL, NULL);
	copy = arena_strndup(arena, bytes, n);
	free(bytes);
	*out = slice_of(copy, n);
	return copy ? 0 : EXIT_BUG;
}

void resource_print_version(const struct cli *c, int width, const resource *r)
{
	char text[40];

	if (r->is_static) {
		text_line(c->out, width, "version:", "static: it stands in the broker's configuration file");
		return;
	}
	if (!*r->version) {
		text_line(c->out, width, "version:", "none: nothing of it is kept, it is there because others name it");
		return;
	}
	text_line(c->out, width, "version:", r->version);
	text_time(r->updated_at_ms, c->args.given[OPT_UTC], text);
	text_line(c->out, width, "changed:", text);
	text_line(c->out, width, "by:", r->updated_by);
	text_line(c->out, width, "reason:", r->reason);
}

void resource_print(struct cli *c, const struct resource_view *v, const resource *r)
{
	if (cli_json(c))
		pbjson_print(c->out, &r->base);
	else if (cli_output(c) == OUTPUT_NAME)
		fprintf(c->out, "%s\n", v->name(r));
	else
		v->print(c, r);
}

int resource_show(struct cli *c, const struct resource_view *v)
{
	struct arena *arena = arena_new(ADMIN_ARENA);
	int code = arena ? admin_connect(c) : EXIT_BUG;
	resource *r = code ? NULL : resource_get(c, v, arena, &code);

	if (r)
		resource_print(c, v, r);
	arena_free(arena);
	return code;
}

int resource_history(struct cli *c, const struct resource_view *v)
{
	const Baton__V1__ResourceRef q = resource_ref(c, v);
	struct arena *arena = arena_new(ADMIN_ARENA);
	int code = arena ? admin_connect(c) : EXIT_BUG;
	Baton__V1__ListResourcesResponse *m = NULL;
	struct listing l;

	listing_init(&l, c, v->history_columns, v->history_shown, v->history_wide);
	if (!code)
		m = admin_ask(c, ADMIN_RESOURCE "History", &q.base, &baton__v1__list_resources_response__descriptor, arena, &code);
	for (size_t i = 0; m && i < m->n_resources; i++)
		if (resource_is_of(v, m->resources[i]) && !listing_put(&l, &m->resources[i]->base, m->resources[i]->version))
			v->version(c, &l.table, m->resources[i], arena);
	if (m)
		listing_print(&l);
	listing_clear(&l);
	arena_free(arena);
	return code;
}

/* ---- changes ---- */

int resource_apply(struct cli *c, struct arena *arena, resource *r, char *reason)
{
	Baton__V1__ApplyRequest q = BATON__V1__APPLY_REQUEST__INIT;
	Baton__V1__ApplyResponse *m;
	int code = 0;

	q.resources = &r;
	q.n_resources = 1;
	q.reason = reason;
	q.dry_run = c->args.given[OPT_DRY_RUN];
	m = admin_ask(c, ADMIN_RESOURCE "Apply", &q.base, &baton__v1__apply_response__descriptor, arena, &code);
	return m ? admin_tell(c, m) : code;
}

int resource_rollback(struct cli *c, const struct resource_view *v)
{
	Baton__V1__RollbackRequest q = BATON__V1__ROLLBACK_REQUEST__INIT;
	Baton__V1__ResourceRef ref = resource_ref(c, v);
	struct arena *arena = arena_new(ADMIN_ARENA);
	Baton__V1__ApplyResponse *m = NULL;
	int code = arena ? admin_reason(c, &q.reason) : EXIT_BUG;

	q.ref = &ref;
	q.to_version = admin_text(c, OPT_TO_VERSION);
	q.incident_id = admin_text(c, OPT_INCIDENT);
	q.dry_run = c->args.given[OPT_DRY_RUN];
	if (!code && !*q.to_version)
		code = complain_usage(c, "`%s rollback` needs --to-version: `baton %s history %.200s` shows them", c->verb->noun, c->verb->noun, c->words[0]);
	if (!code)
		code = admin_connect(c);
	if (!code)
		m = admin_ask(c, ADMIN_RESOURCE "Rollback", &q.base, &baton__v1__apply_response__descriptor, arena, &code);
	if (m)
		code = admin_tell(c, m);
	arena_free(arena);
	return code;
}

int resource_delete(struct cli *c, const struct resource_view *v, struct arena *arena, const resource *r, char *tenant, char *reason)
{
	Baton__V1__DeleteRequest q = BATON__V1__DELETE_REQUEST__INIT;
	Baton__V1__ResourceRef ref = resource_ref(c, v);
	Baton__V1__ApplyResponse *m;
	int code = 0;

	ref.tenant = tenant;
	q.ref = &ref;
	q.version = r->version;
	q.reason = reason;
	m = admin_ask(c, ADMIN_RESOURCE "Delete", &q.base, &baton__v1__apply_response__descriptor, arena, &code);
	return m ? admin_tell(c, m) : code;
}

int resource_remove(struct cli *c, const struct resource_view *v, const char *effect)
{
	struct arena *arena = arena_new(ADMIN_ARENA);
	resource *r = NULL;
	char *reason;
	int code = arena ? admin_reason(c, &reason) : EXIT_BUG;

	if (!code)
		code = admin_connect(c);
	if (!code)
		r = resource_get(c, v, arena, &code);
	if (!code)
		code = resource_not_static(c, v, r);
	if (!code && !*r->version)
		code = complain(c, EXIT_NO, "there is nothing to remove", "nothing of it is kept, it is there because others name it", NULL);
	if (!code)
		code = cli_confirm(c, "remove takes it away", "nothing was changed", "Remove %s %s? (%s)", v->kind, v->name(r), effect);
	if (!code)
		code = resource_delete(c, v, arena, r, (char *)"", reason);
	arena_free(arena);
	return code;
}
