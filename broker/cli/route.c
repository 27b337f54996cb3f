/* How do an operator's routes do, and may they take and hand out work? list, show, pause, resume, drain, disable, enable. */
#include "config.h"

#include <string.h>

#include "base/clock.h"
#include "baton/v1/admin.pb-c.h"
#include "cli/admin.h"
#include "cli/listing.h"
#include "cli/pbjson.h"
#include "cli/text.h"

#define WIDTH 14

static const char *const columns[] = {"ROUTE", "TENANT", "STATE", "WAITING", "OLDEST", "DELAYED", "HELD", "DLQ", "QUARANTINED", "BYTES", "POLICY"};

/* By Baton__V1__RouteState. */
static const char *state_word(const Baton__V1__Route *r)
{
	static const char *const words[] = {"unknown", "running", "paused", "disabled", "draining"};
	size_t i = r ? (size_t)r->state : 0;

	return words[i < sizeof words / sizeof words[0] ? i : 0];
}

static const char *age_of(int64_t at_ms, char out[16])
{
	if (!at_ms)
		return "";
	text_age(clock_unix_ms() - at_ms, out);
	return out;
}

static void add_row(struct table *t, const Baton__V1__RouteStatus *s)
{
	char age[16];

	table_cell(t, s->route ? s->route->name : "");
	table_cell(t, s->route ? s->route->tenant : "");
	table_cell(t, state_word(s->route));
	table_cell_f(t, "%llu", (unsigned long long)s->waiting);
	table_cell(t, age_of(s->oldest_at_ms, age));
	table_cell_f(t, "%llu", (unsigned long long)s->delayed);
	table_cell_f(t, "%llu", (unsigned long long)s->held);
	table_cell_f(t, "%llu", (unsigned long long)s->dead_lettered);
	if (t->n <= 8)
		return;
	table_cell_f(t, "%llu", (unsigned long long)s->quarantined);
	table_cell_f(t, "%llu", (unsigned long long)s->waiting_bytes);
	table_cell(t, s->policy_version);
}

static void print_one(const struct cli *c, const Baton__V1__RouteStatus *s)
{
	char text[64], age[16];

	text_line(c->out, WIDTH, "route:", s->route->name);
	text_line(c->out, WIDTH, "tenant:", s->route->tenant);
	text_line(c->out, WIDTH, "state:", state_word(s->route));
	text_line(c->out, WIDTH, "policy:", s->policy_version);
	snprintf(text, sizeof text, "%llu, %llu bytes", (unsigned long long)s->waiting, (unsigned long long)s->waiting_bytes);
	text_line(c->out, WIDTH, "waiting:", text);
	text_line(c->out, WIDTH, "oldest:", age_of(s->oldest_at_ms, age));
	const struct { const char *key; uint64_t n; } counts[] = {{"ready:", s->queued}, {"delayed:", s->delayed}, {"held:", s->held},
		{"dead letters:", s->dead_lettered}, {"quarantined:", s->quarantined}, {"attempts:", s->route->max_attempts},
		{"lease:", s->route->lease_ms}};

	for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
		snprintf(text, sizeof text, strcmp(counts[i].key, "lease:") == 0 ? "%llu ms" : "%llu", (unsigned long long)counts[i].n);
		text_line(c->out, WIDTH, counts[i].key, text);
	}
}

#define LISTS "baton route list shows all."

static int pages(struct cli *c, struct listing *l, struct arena *arena)
{
	Baton__V1__ListRoutesRequest q = BATON__V1__LIST_ROUTES_REQUEST__INIT;
	char token[256] = "";
	int code = 0;

	q.tenant = admin_text(c, OPT_TENANT);
	q.page_token = token;
	for (;;) {
		Baton__V1__ListRoutesResponse *page;

		arena_reset(arena);
		page = admin_ask(c, ADMIN_OPERATE "ListRoutes", &q.base, &baton__v1__list_routes_response__descriptor, arena, &code);
		if (!page)
			return code;
		for (size_t i = 0; i < page->n_routes; i++) {
			const Baton__V1__RouteStatus *s = page->routes[i];

			if (!listing_put(l, &s->base, s->route ? s->route->name : ""))
				add_row(&l->table, s);
		}
		if (!listing_next(page->next_page_token, token, sizeof token))
			return 0;
	}
}

int cmd_route_list(struct cli *c)
{
	struct arena *arena = arena_new(ADMIN_ARENA);
	struct listing l;
	int code;

	listing_init(&l, c, columns, 8, 11);
	code = arena ? admin_connect(c) : EXIT_BUG;
	if (!code)
		code = pages(c, &l, arena);
	if (!code)
		listing_print(&l);
	listing_clear(&l);
	arena_free(arena);
	return code;
}

int cmd_route_show(struct cli *c)
{
	Baton__V1__ListRoutesRequest q = BATON__V1__LIST_ROUTES_REQUEST__INIT;
	struct arena *arena = arena_new(ADMIN_ARENA);
	Baton__V1__ListRoutesResponse *page = NULL;
	int code = arena ? admin_connect(c) : EXIT_BUG;

	q.tenant = admin_text(c, OPT_TENANT);
	q.route = (char *)(uintptr_t)c->words[0];
	if (!code)
		page = admin_ask(c, ADMIN_OPERATE "ListRoutes", &q.base, &baton__v1__list_routes_response__descriptor, arena, &code);
	if (page && !page->n_routes)
		code = complain(c, EXIT_NO, "no such route", NULL, LISTS);
	for (size_t i = 0; page && i < page->n_routes; i++) {
		if (cli_json(c))
			pbjson_print(c->out, &page->routes[i]->base);
		else if (cli_output(c) == OUTPUT_NAME)
			fprintf(c->out, "%s\n", page->routes[i]->route->name);
		else
			print_one(c, page->routes[i]);
	}
	arena_free(arena);
	return code;
}

static int set(struct cli *c, Baton__V1__RouteState state)
{
	Baton__V1__SetRouteStateRequest q = BATON__V1__SET_ROUTE_STATE_REQUEST__INIT;
	Baton__V1__ResourceRef ref = BATON__V1__RESOURCE_REF__INIT;
	struct arena *arena;
	Baton__V1__Resource *m = NULL;
	int code = admin_reason(c, &q.reason);

	if (code)
		return code;
	arena = arena_new(ADMIN_ARENA);
	c->lists = LISTS;
	code = arena ? admin_connect(c) : EXIT_BUG;
	ref.tenant = admin_text(c, OPT_TENANT);
	ref.name = (char *)(uintptr_t)c->words[0];
	q.route = &ref;
	q.state = state;
	if (!code)
		m = admin_ask(c, ADMIN_CONTAIN "SetRouteState", &q.base, &baton__v1__resource__descriptor, arena, &code);
	if (m && cli_json(c))
		pbjson_print(c->out, &m->base);
	else if (m && cli_output(c) == OUTPUT_NAME)
		fprintf(c->out, "%s\n", c->words[0]);
	else if (m)
		fprintf(c->out, "%s %s\n", c->words[0], state_word(m->spec_case == BATON__V1__RESOURCE__SPEC_ROUTE ? m->route : NULL));
	arena_free(arena);
	return code;
}

int cmd_route_pause(struct cli *c)
{
	return set(c, BATON__V1__ROUTE_STATE__ROUTE_STATE_PAUSED);
}

int cmd_route_resume(struct cli *c)
{
	return set(c, BATON__V1__ROUTE_STATE__ROUTE_STATE_RUNNING);
}

int cmd_route_drain(struct cli *c)
{
	return set(c, BATON__V1__ROUTE_STATE__ROUTE_STATE_DRAINING);
}

int cmd_route_disable(struct cli *c)
{
	return set(c, BATON__V1__ROUTE_STATE__ROUTE_STATE_DISABLED);
}
