/* Which handoffs did the caller send, or serve? Newest first, route after route, one bounded page at a time. A page may be short or empty and
 * still have a successor: the store looks at no more than 512 records a call. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "rpc/get.h"
#include "rpc/lookup.h"
#include "rpc/pipeline.h"

#define PAGE_DEFAULT 50
#define PAGE_MAX 500
#define PAGE_BYTES (8u << 20) /* of memory: beyond it no other route is read for this page */
#define ROUTES_MAX (2 * AGENT_ROUTES_MAX)

struct listing {
	const char *routes[ROUTES_MAX];
	size_t n_routes, at;       /* the route being read */
	uint64_t before;
	uint32_t page;
	enum handoff_state state;
	const char *trace_id;
	struct viewer viewer;
	bool taken;                 /* some route took the token */
	struct verdict refused;     /* the last one that did not; a token is for the routes of its audience */
	Baton__V1__ListResponse *answer;
};

static void next(struct op *op);

static bool has(const struct listing *l, const char *route)
{
	for (size_t i = 0; i < l->n_routes; i++)
		if (strcmp(l->routes[i], route) == 0)
			return true;
	return false;
}

static void add_routes(struct listing *l, const struct agent *a, const char *only)
{
	for (size_t i = 0; i < a->n_call + a->n_serve; i++) {
		const char *r = i < a->n_call ? a->call[i] : a->serve[i - a->n_call];

		if ((!*only || strcmp(only, r) == 0) && !has(l, r))
			l->routes[l->n_routes++] = r;
	}
}

/* A token is "<route index>.<position>"; the list of routes may have changed since, which costs a page, never a right. */
static bool read_token(struct listing *l, const char *token)
{
	unsigned long at;
	unsigned long long before;
	char end;

	if (!*token)
		return true;
	if (strlen(token) > 40 || sscanf(token, "%lu.%llu%c", &at, &before, &end) != 2 || at >= ROUTES_MAX)
		return false;
	l->at = at;
	l->before = before;
	return true;
}

static void finish(struct op *op, struct listing *l)
{
	char *token;

	if (l->at < l->n_routes && (token = arena_printf(op->arena, "%zu.%llu", l->at, (unsigned long long)l->before)))
		l->answer->next_page_token = token;
	if (!l->taken && !verdict_ok(&l->refused))
		pipeline_deny(op, &l->refused); /* an empty page would say that there is nothing */
	else
		pipeline_answer(op, &l->answer->base);
}

static void take(struct op *op, struct listing *l, const struct store_item *item)
{
	pb_task *t = item->status == STORE_OK ? task_unpack(op->arena, item->task) : NULL;
	Baton__V1__Handoff *h;

	if (!t || !lookup_visible(op, &l->viewer, &item->record, t, true))
		return;
	if (*l->trace_id && strcmp(l->trace_id, t->trace_id) != 0)
		return;
	h = get_handoff(op, item, t, false);
	if (h)
		l->answer->handoffs[l->answer->n_handoffs++] = h;
}

static void got(struct op *op, const struct store_answer *a)
{
	struct listing *l = op->state;

	op->on_answer = NULL;
	if (a->status != STORE_OK) {
		struct verdict v = verdict_deny(REASON_STORE_UNAVAILABLE, "", "the store did not answer: ask again");

		v.retry_after_ms = 500;
		pipeline_deny(op, &v);
		return;
	}
	for (size_t i = 0; i < a->n_items && l->answer->n_handoffs < l->page; i++)
		take(op, l, &a->items[i]);
	l->before = a->next;
	if (!a->next)
		l->at++;
	if (a->next || l->answer->n_handoffs >= l->page || l->at >= l->n_routes || arena_used(op->arena) > PAGE_BYTES)
		finish(op, l);
	else
		next(op);
}

/* Whose audience or issuer a token is not, that route shows what is assigned to the agent. */
static bool of_the_route(enum reason r)
{
	return r == REASON_WRONG_AUDIENCE || r == REASON_WRONG_ISSUER;
}

/* False: the list ends here, or waits for keys. */
static bool judge_token(struct op *op, struct listing *l, struct slice token)
{
	struct verdict *v = &l->viewer.token.verdict;

	l->viewer.has_token = token.n > 0;
	if (!token.n)
		return true;
	if (principal_verify(op, token, registry_route(op->world->registry, op->agent->tenant, slice_str(l->routes[l->at])),
			     &l->viewer.token) == PRINCIPAL_PARKED)
		return false;
	if (verdict_ok(v)) {
		l->taken = true;
	} else {
		l->refused = *v;
		if (!of_the_route(v->reason)) {
			pipeline_deny(op, v);
			return false;
		}
	}
	return true;
}

static void next(struct op *op)
{
	struct listing *l = op->state;
	struct rpc_call *rc = op_call(op);
	struct verdict v = verdict_allow();
	struct slice token;

	if (!rc) {
		op_end(op);
		return;
	}
	if (l->at >= l->n_routes) {
		finish(op, l);
		return;
	}
	token = principal_token(rc, slice_of(NULL, 0), &v);
	if (!verdict_ok(&v)) {
		pipeline_deny(op, &v);
		return;
	}
	memset(&l->viewer, 0, sizeof l->viewer);
	if (!judge_token(op, l, token))
		return;
	op->on_answer = got;
	op->w->env.store->ops->list(op->w->env.store, (struct store_slot){op->agent->tenant, l->routes[l->at]},
				    store_agent_key(op->agent->tenant, op->agent->name), l->state, l->before,
				    l->page - (uint32_t)l->answer->n_handoffs, true, op_store_done, op->w, op->id);
}

void list_on_message(struct rpc_call *rc, struct op *op)
{
	const Baton__V1__ListRequest *m = (const Baton__V1__ListRequest *)op->msg;
	struct listing *l = arena_zalloc(op->arena, sizeof *l);
	struct verdict v = verdict_allow();

	(void)rc;
	if (l && (l->answer = arena_alloc(op->arena, sizeof *l->answer))) {
		baton__v1__list_response__init(l->answer);
		l->page = m->page_size ? m->page_size : PAGE_DEFAULT;
		l->state = (enum handoff_state)m->state;
		l->trace_id = m->trace_id;
		l->refused = verdict_allow();
		l->answer->handoffs = arena_alloc(op->arena, PAGE_MAX * sizeof *l->answer->handoffs);
	}
	if (!l || !l->answer || !l->answer->handoffs)
		v = verdict_deny(REASON_QUOTA_EXCEEDED, "", "out of memory");
	else if (l->page > PAGE_MAX)
		v = verdict_deny(REASON_MALFORMED_ENVELOPE, "page_size", "%u: at most %d", l->page, PAGE_MAX);
	else if (!read_token(l, m->page_token))
		v = verdict_deny(REASON_MALFORMED_ENVELOPE, "page_token", "not one that List gave");
	if (!verdict_ok(&v)) {
		pipeline_deny(op, &v);
		return;
	}
	op->raw = op_keep(op, op->raw); /* a later route may have to wait for keys */
	add_routes(l, op->agent, m->route);
	op->state = l;
	next(op);
}
