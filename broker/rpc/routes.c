/* How do the routes do, and do they take and hand out work? ListRoutes and SetRouteState, of the admin listener. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "policy/profile.h"
#include "rpc/caller.h"
#include "rpc/operator.h"
#include "rpc/pipeline.h"

#define PAGE_DEFAULT 100
#define PAGE_MAX 200
#define REASON_MAX 512

void operator_deny(struct op *op, enum reason r, const char *field, const char *message)
{
	struct verdict v = verdict_deny(r, field, "%s", message);

	v.retry_after_ms = r == REASON_STORE_UNAVAILABLE ? 500 : 0;
	pipeline_deny(op, &v);
}

void operator_no_memory(struct op *op)
{
	operator_deny(op, REASON_QUOTA_EXCEEDED, "", "out of memory");
}

void operator_no_store(struct op *op)
{
	operator_deny(op, REASON_STORE_UNAVAILABLE, "", "the store did not answer: ask again");
}

bool operator_reason(struct op *op, const char *reason)
{
	size_t n = strlen(reason);

	if (n && n <= REASON_MAX && !strpbrk(reason, "\n\r\t"))
		return true;
	operator_deny(op, REASON_MALFORMED_ENVELOPE, "reason", n ? "reason: one line of at most 512 bytes" : "reason: say why, it is written down");
	return false;
}

static int by_name(const void *a, const void *b)
{
	const struct world_route *x = *(const struct world_route *const *)a, *y = *(const struct world_route *const *)b;
	int rc = strcmp(x->tenant, y->tenant);

	return rc ? rc : strcmp(x->queue, y->queue);
}

const struct world_route **operator_routes(struct op *op, const char *tenant, const char *route, size_t *n)
{
	const struct world_route **v = arena_alloc(op->arena, (HASH_COUNT(op->world->routes) + 1) * sizeof *v);

	*n = 0;
	for (const struct world_route *r = op->world->routes; v && r; r = r->hh.next)
		if (caller_sees(op, r->tenant) && (!*tenant || strcmp(r->tenant, tenant) == 0) && (!*route || strcmp(r->route, route) == 0 || strcmp(r->queue, route) == 0))
			v[(*n)++] = r;
	if (v)
		qsort(v, *n, sizeof *v, by_name);
	return v;
}

const struct world_route *operator_route_by_tag(const struct op *op, const char *tenant, const struct handoff_id *id)
{
	const struct world_route *found = NULL;

	if (caller_sees_all(op))
		return world_route_by_tag(op->world, tenant, id);
	for (const struct world_route *r = op->world->routes; r; r = r->hh.next) {
		if (memcmp(r->key, id->tag, sizeof id->tag) != 0 || (*tenant && strcmp(r->tenant, tenant) != 0) || !caller_sees(op, r->tenant))
			continue;
		if (found)
			return NULL;
		found = r;
	}
	return found;
}

/* What a route does, by PAUSED (it gives no work) and CLOSED (it takes none). */
enum { PAUSED = 1, CLOSED = 2 };
static const struct { Baton__V1__RouteState state; const char *word; } states[] = {
	[0] = {BATON__V1__ROUTE_STATE__ROUTE_STATE_RUNNING, "running"}, [PAUSED] = {BATON__V1__ROUTE_STATE__ROUTE_STATE_PAUSED, "paused"},
	[CLOSED] = {BATON__V1__ROUTE_STATE__ROUTE_STATE_DRAINING, "draining"},
	[PAUSED | CLOSED] = {BATON__V1__ROUTE_STATE__ROUTE_STATE_DISABLED, "disabled"},
};

static size_t state_of(const struct store_route *now)
{
	return (now->paused ? PAUSED : 0) | (now->closed ? CLOSED : 0);
}

static Baton__V1__Route *describe(struct arena *a, const struct world_route *r, const struct store_route *now)
{
	Baton__V1__Route *m = arena_alloc(a, sizeof *m);

	if (!m)
		return NULL;
	baton__v1__route__init(m);
	m->tenant = (char *)r->tenant;
	m->name = (char *)r->queue;
	m->profile = (char *)r->route;
	m->kind = r->profile->broadcast && strcmp(r->route, r->queue) == 0 ? BATON__V1__ROUTE_KIND__ROUTE_KIND_BROADCAST : BATON__V1__ROUTE_KIND__ROUTE_KIND_QUEUE;
	m->state = states[state_of(now)].state;
	m->max_attempts = r->profile->max_attempts;
	m->lease_ms = r->profile->lease_ms;
	return m;
}

/* ---- how they do ---- */

struct listing {
	const struct world_route **routes;
	size_t n, at, page;
	Baton__V1__ListRoutesResponse *answer;
};

static void ask_next(struct op *op);

static bool add(struct op *op, struct listing *l, const struct store_route *now)
{
	const struct world_route *r = l->routes[l->at];
	Baton__V1__RouteStatus *s = arena_alloc(op->arena, sizeof *s);

	if (!s)
		return false;
	baton__v1__route_status__init(s);
	s->route = describe(op->arena, r, now);
	s->waiting = now->waiting;
	s->waiting_bytes = now->waiting_bytes;
	s->oldest_at_ms = now->oldest_ms;
	s->queued = now->queued;
	s->delayed = now->delayed;
	s->held = now->held;
	s->dead_lettered = now->dead;
	s->quarantined = now->quarantined;
	s->policy_version = (char *)r->profile->version;
	l->answer->routes[l->answer->n_routes++] = s;
	return s->route;
}

static void on_looked(struct op *op, const struct store_answer *a)
{
	struct listing *l = op->state;

	if (a->status != STORE_OK || !a->route) {
		operator_no_store(op);
		return;
	}
	if (!add(op, l, a->route)) {
		operator_no_memory(op);
		return;
	}
	l->at++;
	ask_next(op);
}

/* The last one of the page. */
static char *page_token(struct op *op, const struct world_route *r)
{
	char *text = arena_alloc(op->arena, QUEUE_KEY_MAX_BYTES + 1);

	return text && queue_key(r->tenant, r->queue, text) ? text : NULL;
}

static void ask_next(struct op *op)
{
	struct listing *l = op->state;
	const struct world_route *r;

	if (!op_call(op)) {
		op_end(op);
		return;
	}
	if (l->at < l->n && l->answer->n_routes == l->page)
		l->answer->next_page_token = page_token(op, l->routes[l->at - 1]);
	if (l->at == l->n || l->answer->n_routes == l->page) {
		if (l->answer->next_page_token)
			pipeline_answer(op, &l->answer->base);
		else
			operator_no_memory(op);
		return;
	}
	r = l->routes[l->at];
	op->on_answer = on_looked;
	op->w->env.store->ops->route(op->w->env.store, (struct store_slot){r->tenant, r->queue}, false, false, false, op_store_done, op->w, op->id);
}

/* Behind the one that the token names, be it there or not. */
static size_t place_after(const struct listing *l, const char *token)
{
	char name[QUEUE_KEY_MAX_BYTES + 1];
	size_t i = 0;

	while (*token && i < l->n && queue_key(l->routes[i]->tenant, l->routes[i]->queue, name) && strcmp(name, token) <= 0)
		i++;
	return i;
}

void routes_on_list(struct rpc_call *rc, struct op *op)
{
	const Baton__V1__ListRoutesRequest *m = (const Baton__V1__ListRoutesRequest *)op->msg;
	struct listing *l = arena_zalloc(op->arena, sizeof *l);

	(void)rc;
	if (m->page_size > PAGE_MAX) {
		operator_deny(op, REASON_MALFORMED_ENVELOPE, "page_size", "page_size: at most 200");
		return;
	}
	if (l) {
		l->page = m->page_size ? m->page_size : PAGE_DEFAULT;
		l->routes = operator_routes(op, m->tenant, m->route, &l->n);
		l->answer = arena_alloc(op->arena, sizeof *l->answer);
	}
	if (!l || !l->routes || !l->answer) {
		operator_no_memory(op);
		return;
	}
	baton__v1__list_routes_response__init(l->answer);
	l->answer->routes = arena_alloc(op->arena, (l->page + 1) * sizeof *l->answer->routes);
	l->at = place_after(l, m->page_token);
	op->state = l;
	if (!l->answer->routes)
		operator_no_memory(op);
	else
		ask_next(op);
}

/* ---- what they take and hand out ---- */

struct setting {
	const struct world_route *route;
	bool paused, closed, was_known;
	struct store_route was;
	const char *reason;
};

static void answer_set(struct op *op, const struct setting *s, const struct store_route *now)
{
	Baton__V1__Resource *m = arena_alloc(op->arena, sizeof *m);
	size_t n = strlen(s->reason) + 64;
	char *text = arena_alloc(op->arena, n);

	if (!m || !text) {
		operator_deny(op, REASON_QUOTA_EXCEEDED, "", "out of memory: the route's state was set");
		return;
	}
	baton__v1__resource__init(m);
	m->spec_case = BATON__V1__RESOURCE__SPEC_ROUTE;
	m->route = describe(op->arena, s->route, now);
	snprintf(text, n, "%s, was %s: %s", states[state_of(now)].word, states[state_of(&s->was)].word, s->reason);
	op->audit.message = slice_str(text);
	pipeline_answer(op, &m->base);
}

static void send_set(struct op *op, struct setting *s, bool set);

static void on_set(struct op *op, const struct store_answer *a)
{
	struct setting *s = op->state;

	if (a->status != STORE_OK || !a->route) {
		operator_no_store(op);
		return;
	}
	if (s->was_known) {
		answer_set(op, s, a->route);
		return;
	}
	s->was = *a->route;
	s->was_known = true;
	send_set(op, s, true);
}

/* First a look: what was before is written down too. */
static void send_set(struct op *op, struct setting *s, bool set)
{
	op->on_answer = on_set;
	op->w->env.store->ops->route(op->w->env.store, (struct store_slot){s->route->tenant, s->route->queue}, set, s->paused, s->closed, op_store_done,
				     op->w, op->id);
}

/* Of a broadcast route not its inboxes, which have names of their own. */
static size_t keep_exact(const struct world_route **v, size_t n, const char *name)
{
	size_t kept = 0;

	for (size_t i = 0; i < n; i++)
		if (strcmp(v[i]->queue, name) == 0)
			v[kept++] = v[i];
	return kept;
}

/* The route, by its name and, where more than one tenant has it, the tenant. */
static const struct world_route *named(struct op *op, const Baton__V1__ResourceRef *ref)
{
	const struct world_route **v;
	size_t n = 0;

	if (!ref || !*ref->name) {
		operator_deny(op, REASON_MALFORMED_ENVELOPE, "route.name", "route.name: which route?");
		return NULL;
	}
	v = operator_routes(op, ref->tenant, ref->name, &n);
	n = v ? keep_exact(v, n, ref->name) : 0;
	if (n == 1)
		return v[0];
	if (!v)
		operator_no_memory(op);
	else if (n)
		operator_deny(op, REASON_MALFORMED_ENVELOPE, "route.tenant", "route.tenant: more than one tenant has this route: name one");
	else
		operator_deny(op, REASON_NOT_FOUND, "route", "no such route");
	return NULL;
}

void routes_on_set(struct rpc_call *rc, struct op *op)
{
	const Baton__V1__SetRouteStateRequest *m = (const Baton__V1__SetRouteStateRequest *)op->msg;
	struct setting *s;
	size_t i = 0;

	(void)rc;
	while (i < sizeof states / sizeof states[0] && states[i].state != m->state)
		i++;
	if (i == sizeof states / sizeof states[0]) {
		operator_deny(op, REASON_MALFORMED_ENVELOPE, "state", "state: one of RUNNING, PAUSED, DRAINING, DISABLED");
		return;
	}
	if (!operator_reason(op, m->reason))
		return;
	s = arena_zalloc(op->arena, sizeof *s);
	if (!s) {
		operator_no_memory(op);
		return;
	}
	s->route = named(op, m->route);
	if (!s->route)
		return;
	s->paused = i & PAUSED;
	s->closed = i & CLOSED;
	s->reason = m->reason;
	op->state = s;
	op->audit.tenant = slice_str(s->route->tenant);
	op->audit.route = slice_str(s->route->queue);
	send_set(op, s, false);
}
