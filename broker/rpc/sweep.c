/* How is what waits kept from being handed out, or let go again? See sweep.h. It goes from the newest to the oldest: what comes
 * in meanwhile is judged by nodes that know of the revocation. What is leased is its node's to take away; what a node that died had leased is judged when it
 * is handed out next. */
#include "rpc/sweep.h"

#include <string.h>

#include "base/clock.h"
#include "baton/internal/v1/record.pb-c.h"
#include "messaging/life.h"
#include "rpc/desk.h"
#include "rpc/follow.h"
#include "rpc/lines.h"
#include "rpc/task.h"
#include "rpc/revoked.h"
#include "wire/prescan.h"

#define PAGE 256

static void next_page(struct op *op);

static struct store_slot slot_of(const struct world_route *r)
{
	return (struct store_slot){r->tenant, r->queue};
}

/* ---- the barrier ---- */

static void on_barred(struct op *op, const struct store_answer *a)
{
	struct sweep *s = op->sweep;

	s->failed |= a->status != STORE_OK;
	if (--s->pending == 0)
		s->then(op);
}

void sweep_bar(struct op *op, uint64_t generation)
{
	struct store *store = op->w->env.store;
	struct sweep *s = op->sweep;

	op->on_answer = on_barred;
	s->failed = false;
	s->pending = s->n_routes;
	if (!s->n_routes)
		s->then(op);
	for (size_t i = 0, n = s->n_routes; i < n; i++)
		store->ops->barrier(store, slot_of(s->routes[i]), generation, op_store_done, op->w, op->id);
}

/* ---- one by one ---- */

static bool is_back(const struct sweep *s)
{
	return s->kind == SWEEP_BACK || s->kind == SWEEP_COUNT_BACK;
}

static bool is_count(const struct sweep *s)
{
	return s->kind == SWEEP_COUNT || s->kind == SWEEP_COUNT_BACK;
}

void sweep_told(struct op *op, const struct world_route *route, const struct store_record *r)
{
	line_write_about(op->w, slot_of(route), r, op->sweep->kind == SWEEP_BACK ? "handoff.released" : life_event(r->state), op->sweep->line);
	metrics_add(op->w->env.metrics, METRIC_HANDOFFS, route->route, state_text(r->state), 1);
	change_publish(op->w, &r->id);
	holding_changed(op->w, &r->id);
	if (r->state == STATE_QUEUED)
		desk_announce(op->w, route->tenant, route->queue);
	else if (op->sweep->kind == SWEEP_BACK)
		desk_stir(op->w, route->tenant, route->queue);
}

static void page_over(struct op *op)
{
	struct sweep *s = op->sweep;

	if (!s->before)
		s->at++;
	next_page(op);
}

/* What is gone, or in another state by now, was somebody else's to change. */
static void count_moved(struct op *op, const struct store_answer *a)
{
	op->sweep->failed |= a->status == STORE_UNAVAILABLE;
	if (a->status != STORE_OK)
		return;
	op->sweep->found++;
	sweep_told(op, op->sweep->routes[op->sweep->at], &a->record);
}

static void on_moved(struct op *op, const struct store_answer *a)
{
	count_moved(op, a);
	if (--op->sweep->pending == 0)
		page_over(op);
}

static bool waits(const struct store_record *r)
{
	return r->state == STATE_HELD || r->state == STATE_SCHEDULED || r->state == STATE_QUEUED;
}

static bool is_candidate(const struct sweep *s, const struct store_record *r)
{
	if (is_back(s))
		return r->state == STATE_QUARANTINED;
	return waits(r) || (s->leased && r->state < STATE_QUARANTINED);
}

/* By today's policy; what waits for an approval waits on. */
static bool is_let_in(struct op *op, struct arena *a, const pb_task *t, const pb_envelope *e)
{
	return task_judge(a, op->w->world, t, e, clock_unix_ms()).outcome != OUTCOME_DENY && !arena_failed(a);
}

/* Is it about this one? Of a task that cannot be read no more is known than its record says. */
static bool is_meant(const struct sweep *s, const struct store_item *item, const pb_task *t, const pb_envelope *e)
{
	struct revocable of;

	if (s->sender && item->record.sender != s->sender)
		return false;
	if (s->by_record)
		return true;
	if (s->trace_id && (!t || strcmp(t->trace_id, s->trace_id) != 0))
		return false;
	if (!s->about)
		return true;
	if (!e)
		return false;
	of = revoked_task(t, e->tool);
	return revocations_find(s->about, &of, clock_unix_ms());
}

static void ask_aside(struct op *op, const struct handoff_id *id, enum store_aside how)
{
	struct store *store = op->w->env.store;
	struct sweep *s = op->sweep;

	s->pending++;
	store->ops->aside(store, slot_of(s->routes[s->at]), id, how, s->body, op_store_done, op->w, op->id);
}

static void look_at(struct op *op, struct arena *a, const struct store_item *item)
{
	struct sweep *s = op->sweep;
	const struct store_record *r = &item->record;
	bool since = r->state == STATE_QUARANTINED && s->kind == SWEEP_ASIDE && s->since_ms && r->updated_at_ms >= s->since_ms;
	pb_task *t = NULL;
	pb_envelope *e;

	if (!is_candidate(s, r) && !since)
		return;
	if (!s->by_record && item->status == STORE_OK)
		t = task_unpack(a, item->task);
	e = t ? task_unpack_envelope(a, t) : NULL;
	s->failed |= arena_failed(a);
	if (!is_meant(s, item, t, e))
		return;
	if (is_back(s) && !(e && is_let_in(op, a, t, e)))
		s->kept++;
	else if (since || is_count(s))
		s->found++;
	else if (s->kind == SWEEP_ASIDE)
		ask_aside(op, &r->id, s->leased ? ASIDE_LEASED : ASIDE_WAITING);
	else if (!s->about)
		ask_aside(op, &r->id, ASIDE_BACK);
	else
		s->todo[s->n_todo++] = *r;
}

/* ---- back ---- */

static void next_back(struct op *op);

static void on_back(struct op *op, const struct store_answer *a)
{
	count_moved(op, a);
	next_back(op);
}

/* It was put aside for another revocation, which has been lifted with release while this one held it back. */
static bool was_let_go(struct op *op, const char *note)
{
	char id[REVOKED_ID_TEXT + 1], name[REVOKED_NAME_MAX];

	for (size_t n; *note; note += n ? n : 1) { /* the first word of hex digits that is as long is its id */
		const struct resource *r;
		const pb_revocation *m;

		n = strspn(note, "0123456789abcdef");
		if (n != REVOKED_ID_TEXT)
			continue;
		slice_copy_str(slice_of(note, n), id, sizeof id);
		r = resources_find(op->w->world->resources, revoked_name(id, name));
		m = r ? revoked_unpack(op->arena, r) : NULL;
		return m && m->lifted_with_release;
	}
	return false;
}

/* Its last event says why it is in quarantine: for another reason, or for another revocation, it stays. */
static bool is_why(struct op *op, const struct store_answer *a)
{
	struct prescan_fault fault;
	Baton__Internal__V1__Report *r = NULL;

	if (a->n_events && a->events[a->n_events - 1].state == STATE_QUARANTINED)
		r = (void *)prescan_unpack(&baton__internal__v1__report__descriptor, a->events[a->n_events - 1].body, NULL, op->arena, &fault);
	return r && r->reason == REASON_REVOKED && (strstr(r->note, op->sweep->id) || was_let_go(op, r->note));
}

static void on_why(struct op *op, const struct store_answer *a)
{
	struct store *store = op->w->env.store;
	struct sweep *s = op->sweep;

	s->failed |= a->status == STORE_UNAVAILABLE;
	if (a->status != STORE_OK || !is_why(op, a)) {
		next_back(op);
		return;
	}
	op->on_answer = on_back;
	store->ops->aside(store, slot_of(s->routes[s->at]), &s->todo[s->n_todo].id, ASIDE_BACK, s->body, op_store_done, op->w, op->id);
}

static void next_back(struct op *op)
{
	struct store *store = op->w->env.store;
	struct sweep *s = op->sweep;
	const struct store_record *r;

	if (!s->n_todo) {
		page_over(op);
		return;
	}
	r = &s->todo[--s->n_todo];
	op->on_answer = on_why;
	store->ops->events(store, slot_of(s->routes[s->at]), &r->id, r->cursor - 1, 1, op_store_done, op->w, op->id);
}

static void on_page(struct op *op, const struct store_answer *a)
{
	struct sweep *s = op->sweep;
	struct arena *room = arena_new(ARENA_CAP);

	op->on_answer = on_moved;
	s->failed |= a->status != STORE_OK || !room;
	s->before = a->status == STORE_OK ? a->next : 0;
	s->pending = 1; /* until all are asked for */
	s->n_todo = 0;
	for (size_t i = 0; room && a->status == STORE_OK && i < a->n_items && i < PAGE; i++) {
		look_at(op, room, &a->items[i]);
		arena_reset(room);
	}
	if (room)
		arena_free(room);
	if (--s->pending)
		return;
	if (s->n_todo)
		next_back(op);
	else
		page_over(op);
}

static void next_page(struct op *op)
{
	struct store *store = op->w->env.store;
	struct sweep *s = op->sweep;

	if (s->at == s->n_routes) {
		s->then(op);
		return;
	}
	op->on_answer = on_page;
	store->ops->list(store, slot_of(s->routes[s->at]), s->sender, is_back(s) ? STATE_QUARANTINED : STATE_UNSPECIFIED, s->before, PAGE,
			 !s->by_record, op_store_done, op->w, op->id);
}

void sweep_body(struct op *op)
{
	Baton__Internal__V1__Report r = BATON__INTERNAL__V1__REPORT__INIT;
	struct sweep *s = op->sweep;
	uint8_t *p;

	r.note = (char *)s->note;
	r.reason = s->reason;
	r.by = (char *)(s->by ? s->by : "");
	r.cause = (char *)(s->cause ? s->cause : "");
	p = arena_alloc(op->arena, baton__internal__v1__report__get_packed_size(&r));
	s->body = p ? slice_of(p, baton__internal__v1__report__pack(&r, p)) : slice_of(NULL, 0);
}

void sweep_run(struct op *op)
{
	struct sweep *s = op->sweep;

	s->at = 0;
	s->before = 0;
	s->failed = false;
	sweep_body(op);
	s->todo = s->kind == SWEEP_BACK ? arena_alloc(op->arena, PAGE * sizeof *s->todo) : NULL;
	s->failed = s->kind == SWEEP_BACK && !s->todo;
	if (s->failed)
		s->then(op);
	else
		next_page(op);
}
