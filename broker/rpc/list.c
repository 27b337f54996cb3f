/* Which handoffs did the caller send, or serve; or, for an operator, which are there in a tenant? Newest first over all routes, one bounded page at a time. Which one is the newest is known from
 * records alone (merge.c); blobs, which say whether the caller may see it, are read of those that are next. A page may be short or empty and still
 * have a successor, but each gets further: its first handoff is read whatever that takes. */
#include <string.h>

#include "rpc/events.h"
#include "rpc/get.h"
#include "rpc/lookup.h"
#include "rpc/merge.h"
#include "rpc/operator.h"
#include "rpc/pipeline.h"
#include "wire/prescan.h"

#define PAGE_DEFAULT 50
#define PAGE_MAX 500
#define PAGE_BYTES (8u << 20) /* of memory: beyond it nothing more is read for this page */
#define LOOKS_BEYOND 16       /* a page looks for records once a route, and so often again; 500 handoffs take 8 */

struct listing {
	const char *tenant;
	uint64_t agent;             /* whose; 0: everybody's */
	bool operators;             /* asked for by one: he sees all but what agents said to each other */
	const char *sender;         /* "" = any */
	const char *routes[MERGE_ROUTES_MAX]; /* queues */
	size_t n_routes;
	struct viewer *viewers;     /* by route */
	struct merge merge;
	uint32_t page;
	enum handoff_state state;
	const char *trace_id;
	bool taken;                 /* some route took the token */
	struct verdict refused;     /* the last one that did not; a token is for the routes of its audience */
	size_t asked;               /* the route that the store is asked about */
	bool waiting;               /* for its answer */
	bool asking;                /* an answer that comes at once is seen by go_on() */
	bool failed;                /* the store did not answer */
	bool full;                  /* the next one does not fit into memory any more */
	size_t looks, settled;
	size_t told;                /* of the page, those of which it is known why they are in quarantine */
	Baton__V1__ListResponse *answer;
};

static bool has(const struct listing *l, const char *route)
{
	for (size_t i = 0; i < l->n_routes; i++)
		if (strcmp(l->routes[i], route) == 0)
			return true;
	return false;
}

/* Of a broadcast route that it serves, the agent's own inbox. False: out of memory. */
static bool add_routes(struct op *op, struct listing *l, const char *only)
{
	const struct agent *a = op->agent;
	char queue[QUEUE_MAX_BYTES + 1];

	for (size_t i = 0; i < a->n_call + a->n_serve; i++) {
		const char *r = i < a->n_call ? a->call[i] : a->serve[i - a->n_call];
		const struct profile *p = registry_route(op->world->registry, a->tenant, slice_str(r));

		if (!p || (*only && strcmp(only, r) != 0))
			continue;
		if (i < a->n_call)
			slice_copy_str(slice_str(r), queue, sizeof queue);
		else
			world_queue(p, a->name, queue);
		if (!has(l, queue) && !(l->routes[l->n_routes++] = arena_strdup(op->arena, queue)))
			return false;
	}
	return true;
}

static void deny(struct op *op, enum reason r, const char *message)
{
	struct verdict v = verdict_deny(r, "", "%s", message);

	v.retry_after_ms = r == REASON_STORE_UNAVAILABLE ? 500 : 0;
	pipeline_deny(op, &v);
}

/* ---- why it is in quarantine: its last event says it ---- */

static void tell_why(struct op *op);

static void put_why(struct op *op, const struct store_answer *a, Baton__V1__Handoff *h)
{
	const struct store_event *e = a->status == STORE_OK && a->n_events ? &a->events[a->n_events - 1] : NULL;
	Baton__Internal__V1__Report *r = NULL;
	struct prescan_fault fault;

	if (e && e->state == STATE_QUARANTINED && e->body.n)
		r = (void *)prescan_unpack(&baton__internal__v1__report__descriptor, op_keep(op, e->body), NULL, op->arena, &fault);
	if (!r)
		return;
	h->quarantined_why = *r->cause ? r->cause : r->note;
	h->quarantined_by = r->by;
}

static void on_why(struct op *op, const struct store_answer *a)
{
	struct listing *l = op->state;

	if (a->status == STORE_UNAVAILABLE) {
		deny(op, REASON_STORE_UNAVAILABLE, "the store did not answer: ask again");
		return;
	}
	put_why(op, a, l->answer->handoffs[l->told++]);
	if (op_call(op))
		tell_why(op);
	else
		op_end(op);
}

static void tell_why(struct op *op)
{
	struct listing *l = op->state;
	const struct world_route *r = NULL;
	const Baton__V1__Handoff *h = NULL;
	struct handoff_id id;

	for (; !r && l->told < l->answer->n_handoffs; l->told += !r) {
		h = l->answer->handoffs[l->told];
		if (h->state == (Baton__V1__HandoffState)STATE_QUARANTINED && handoff_id_parse(slice_str(h->handoff_id), &id))
			r = world_route_of(op->world, l->tenant, &id);
	}
	op->on_answer = r ? on_why : NULL;
	if (r)
		op->w->env.store->ops->events(op->w->env.store, (struct store_slot){r->tenant, r->queue}, &id, h->cursor - 1, 1, op_store_done, op->w, op->id);
	else
		pipeline_answer(op, &l->answer->base);
}

static void finish(struct op *op, struct listing *l)
{
	op->on_answer = NULL;
	l->answer->next_page_token = merge_format(&l->merge, op->arena);
	if (l->failed)
		deny(op, REASON_STORE_UNAVAILABLE, "the store did not answer: ask again");
	else if (!l->answer->next_page_token)
		deny(op, REASON_QUOTA_EXCEEDED, "out of memory");
	else if (l->operators)
		tell_why(op);
	else
		pipeline_answer(op, &l->answer->base);
}

static bool is_over(const struct op *op, const struct listing *l)
{
	if (l->failed || l->full || l->answer->n_handoffs >= l->page || merge_ended(&l->merge))
		return true;
	if (l->settled && arena_used(op->arena) > PAGE_BYTES)
		return true;
	return merge_hungry(&l->merge) < l->n_routes && l->looks >= l->n_routes + LOOKS_BEYOND;
}

/* What was read of the newest ones goes onto the page. */
static void settle(struct listing *l)
{
	for (size_t r; l->answer->n_handoffs < l->page && (r = merge_newest(&l->merge)) < l->n_routes;) {
		const struct merge_entry *e = merge_first(&l->merge, r);

		if (!e->read)
			return;
		if (e->item)
			l->answer->handoffs[l->answer->n_handoffs++] = e->item;
		merge_take(&l->merge, r);
		l->settled++;
	}
}

static bool is_asked_for(struct op *op, const struct listing *l, const struct store_item *item, const pb_task *t)
{
	if (!l->operators && !lookup_visible(op, &l->viewers[l->asked], &item->record, t, true))
		return false;
	return (!*l->trace_id || strcmp(l->trace_id, t->trace_id) == 0) && (!*l->sender || strcmp(l->sender, t->sender) == 0);
}

/* What does not open is to be found by operators: by what its record says. NULL: it is not asked for, or memory is out. */
static Baton__V1__Handoff *sealed_item(struct op *op, const struct listing *l, const struct store_item *item)
{
	const struct store_record *r = &item->record;
	Baton__V1__Handoff *h = NULL;
	char *id;

	if (!l->operators || item->status != STORE_UNSEALABLE || *l->trace_id || (*l->sender && r->sender != l->agent))
		return NULL;
	h = arena_alloc(op->arena, sizeof *h);
	id = arena_alloc(op->arena, HANDOFF_ID_TEXT + 1);
	if (!h || !id)
		return NULL;
	baton__v1__handoff__init(h);
	handoff_id_format(&r->id, id);
	h->handoff_id = id;
	h->state = (Baton__V1__HandoffState)r->state;
	h->route = (char *)op_str(op, queue_route(slice_str(l->routes[l->asked])));
	h->sender = life_assignee(op->arena, op->world, l->tenant, r->sender);
	h->attempt = r->attempt;
	h->accepted_at_ms = r->accepted_at_ms;
	h->updated_at_ms = r->updated_at_ms;
	h->deadline_ms = r->deadline_ms;
	h->cursor = r->cursor;
	h->quarantined_why = (char *)"what is stored of it does not open";
	return h;
}

/* False: memory is out; then what was read of it has holes. */
static bool read_item(struct op *op, const struct listing *l, const struct store_item *item, struct merge_entry *e)
{
	pb_task *t = item->status == STORE_OK ? task_unpack(op->arena, item->task) : NULL;

	e->read = item->status != STORE_OK || t;
	e->item = sealed_item(op, l, item);
	if (t && is_asked_for(op, l, item, t)) {
		e->item = l->operators ? get_handoff_bare(op, item, t) : get_handoff(op, item, t, false);
		e->read = e->item != NULL;
	}
	return e->read && !arena_failed(op->arena);
}

/* One that was asked for. What does not fit waits for the next page; had it this one for itself, the page is refused. */
static bool put_blob(struct op *op, struct listing *l, const struct store_item *item, struct merge_entry *e)
{
	bool alone = !l->settled && e == merge_first(&l->merge, l->asked);

	if (!alone && arena_used(op->arena) > PAGE_BYTES)
		return false;
	l->full = !read_item(op, l, item, e) && !alone;
	e->read = !l->full;
	if (l->full)
		arena_forgive(op->arena);
	return e->read;
}

/* The known entries beside what came of them. One that did not come is no more, or not in that state; one that is not known came into it since. */
static void put_blobs(struct op *op, struct listing *l, const struct store_answer *a)
{
	const struct merge_route *r = &l->merge.routes[l->asked];
	struct merge_entry *e = merge_first(&l->merge, l->asked);
	const struct merge_entry *end = r->entries + r->n;

	for (size_t i = 0; i < a->n_items; i++) {
		while (e < end && e->position > a->items[i].record.position)
			e++->read = true;
		if (e < end && e->position == a->items[i].record.position && !put_blob(op, l, &a->items[i], e++))
			return;
	}
	while (e < end && e->position >= a->next)
		e++->read = true;
	if (!merge_first(&l->merge, l->asked)->read)
		l->failed = true; /* not a word of the first one: asking again could go on for ever */
}

static void go_on(struct op *op);

static void answered(struct op *op, const struct store_answer *a)
{
	struct listing *l = op->state;

	l->waiting = false;
	if (a->status != STORE_OK)
		l->failed = true;
	else if (merge_hungry(&l->merge) == l->asked)
		merge_put(&l->merge, l->asked, a->items, a->n_items, a->next);
	else
		put_blobs(op, l, a);
	if (!l->asking)
		go_on(op);
}

static void ask(struct op *op, struct listing *l, uint64_t before, size_t max, bool blobs)
{
	struct store *s = op->w->env.store;

	l->waiting = l->asking = true;
	op->on_answer = answered;
	s->ops->list(s, (struct store_slot){l->tenant, l->routes[l->asked]}, l->agent, l->state, before, (uint32_t)max, blobs, op_store_done, op->w, op->id);
	l->asking = false;
}

/* For records of the first route that has none known, else for the blobs of those that are next: more of them the more turned out not to be shown. */
static void ask_next(struct op *op, struct listing *l)
{
	l->asked = merge_hungry(&l->merge);
	if (l->asked < l->n_routes) {
		l->looks++;
		ask(op, l, l->merge.routes[l->asked].from, MERGE_CHUNK, false);
		return;
	}
	l->asked = merge_newest(&l->merge);
	ask(op, l, merge_first(&l->merge, l->asked)->position + 1,
	    merge_share(&l->merge, l->page - l->answer->n_handoffs + l->settled - l->answer->n_handoffs), true);
}

static void go_on(struct op *op)
{
	struct listing *l = op->state;

	while (!l->waiting) {
		if (!op_call(op)) {
			op_end(op);
			return;
		}
		settle(l);
		if (is_over(op, l)) {
			finish(op, l);
			return;
		}
		ask_next(op, l);
	}
}

/* Whose audience or issuer a token is not, that route shows what is assigned to the agent. */
static bool of_the_route(enum reason r)
{
	return r == REASON_WRONG_AUDIENCE || r == REASON_WRONG_ISSUER;
}

/* Not judged: *v denies, or the op waits for keys. */
static enum principal_result judge_token(struct op *op, struct listing *l, size_t route, struct slice token, struct verdict *v)
{
	struct token_answer *a = &l->viewers[route].token;

	l->viewers[route].has_token = true;
	if (principal_verify(op, token, registry_route(op->world->registry, op->agent->tenant, queue_route(slice_str(l->routes[route]))), a) ==
	    PRINCIPAL_PARKED)
		return PRINCIPAL_PARKED;
	if (verdict_ok(&a->verdict))
		l->taken = true;
	else if (of_the_route(a->verdict.reason))
		l->refused = a->verdict;
	else
		*v = a->verdict;
	return PRINCIPAL_JUDGED;
}

/* What the token is worth, route by route, before anything is read: an op that waits for keys begins anew. */
static enum principal_result judge(struct rpc_call *rc, struct op *op, struct listing *l, struct verdict *v)
{
	struct slice token = principal_token(rc, slice_of(NULL, 0), v);

	for (size_t i = 0; i < l->n_routes && token.n && verdict_ok(v); i++)
		if (judge_token(op, l, i, token, v) == PRINCIPAL_PARKED)
			return PRINCIPAL_PARKED;
	if (verdict_ok(v) && !l->taken && !verdict_ok(&l->refused))
		*v = l->refused; /* an empty page would say that there is nothing */
	return PRINCIPAL_JUDGED;
}

/* Of this route only, when it is not "". */
static struct listing *listing_new(struct op *op, const Baton__V1__ListRequest *m, struct listing base)
{
	struct listing *l = arena_zalloc(op->arena, sizeof *l);

	if (!l)
		return NULL;
	*l = base;
	l->page = m->page_size ? m->page_size : PAGE_DEFAULT;
	l->state = (enum handoff_state)m->state;
	l->trace_id = m->trace_id;
	l->refused = verdict_allow();
	l->viewers = arena_zalloc(op->arena, (l->n_routes + 1) * sizeof *l->viewers);
	l->answer = arena_alloc(op->arena, sizeof *l->answer);
	if (!l->viewers || !l->answer || !merge_init(&l->merge, op->arena, l->n_routes))
		return NULL;
	baton__v1__list_response__init(l->answer);
	l->answer->handoffs = arena_alloc(op->arena, PAGE_MAX * sizeof *l->answer->handoffs);
	return l->answer->handoffs ? l : NULL;
}

static struct verdict check(const Baton__V1__ListRequest *m, struct listing *l)
{
	if (!l)
		return verdict_deny(REASON_QUOTA_EXCEEDED, "", "out of memory");
	if (l->page > PAGE_MAX)
		return verdict_deny(REASON_MALFORMED_ENVELOPE, "page_size", "page_size is %u: at most %d", l->page, PAGE_MAX);
	if (!merge_parse(&l->merge, m->page_token))
		return verdict_deny(REASON_MALFORMED_ENVELOPE, "page_token", "not one that List gave");
	return verdict_allow();
}

static void begin(struct op *op, struct listing *l, const struct verdict *v)
{
	if (!verdict_ok(v)) {
		pipeline_deny(op, v);
		return;
	}
	op->state = l;
	go_on(op);
}

void list_on_message(struct rpc_call *rc, struct op *op)
{
	const Baton__V1__ListRequest *m = (const Baton__V1__ListRequest *)op->msg;
	struct listing base = {.tenant = op->agent->tenant, .agent = op->agent->key, .sender = ""}, *l;
	struct verdict v;

	l = add_routes(op, &base, m->route) ? listing_new(op, m, base) : NULL;
	v = check(m, l);
	if (verdict_ok(&v) && judge(rc, op, l, &v) == PRINCIPAL_PARKED)
		return;
	begin(op, l, &v);
}

/* The tenant and its routes; a verdict that is not ALLOW says what is missing. */
static struct verdict choose(struct op *op, const Baton__V1__AdminListRequest *m, struct listing *base)
{
	size_t n = 0;
	const struct world_route **v = operator_routes(op, m->tenant, m->filter ? m->filter->route : "", &n);

	if (!v)
		return verdict_deny(REASON_QUOTA_EXCEEDED, "", "out of memory");
	if (!n)
		return verdict_deny(REASON_NOT_FOUND, "route", "no such route, or no such tenant");
	if (strcmp(v[0]->tenant, v[n - 1]->tenant) != 0)
		return verdict_deny(REASON_MALFORMED_ENVELOPE, "tenant", "tenant: there is more than one: name it");
	if (n > MERGE_ROUTES_MAX)
		return verdict_deny(REASON_MALFORMED_ENVELOPE, "filter.route", "filter.route: more than %d routes: name one", MERGE_ROUTES_MAX);
	base->tenant = v[0]->tenant;
	for (size_t i = 0; i < n; i++)
		base->routes[base->n_routes++] = v[i]->queue;
	base->agent = *m->sender ? store_agent_key(base->tenant, m->sender) : 0;
	return verdict_allow();
}

void list_all_on_message(struct rpc_call *rc, struct op *op)
{
	static Baton__V1__ListRequest any = BATON__V1__LIST_REQUEST__INIT;
	const Baton__V1__AdminListRequest *m = (const Baton__V1__AdminListRequest *)op->msg;
	struct listing base = {.operators = true, .sender = m->sender}, *l = NULL;
	struct verdict v = choose(op, m, &base);

	(void)rc;
	if (verdict_ok(&v)) {
		l = listing_new(op, m->filter ? m->filter : &any, base);
		v = check(m->filter ? m->filter : &any, l);
	}
	begin(op, l, &v);
}
