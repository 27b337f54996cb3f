/* Who hears, in order, what becomes of a handoff? A watch reads record and blobs, then the listed events after its cursor, sends what is new
 * and waits to be told of a change. It ends after the terminal event. */
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "rpc/events.h"
#include "rpc/follow.h"
#include "rpc/lookup.h"
#include "rpc/pipeline.h"
#include "wire/prescan.h"

#define WATCH_BATCH 64
#define STUCK_MAX 3 /* batches in a row that do not have the next event; the poll asks for them a second apart */

/* All watches of one handoff on this worker. */
struct follower {
	struct handoff_id id;
	struct watch *watches;
	UT_hash_handle hh;
};

struct watch {
	struct rpc_call *rc;
	struct follower *of;
	char tenant[64], queue[QUEUE_MAX_BYTES + 1], id_text[HANDOFF_ID_TEXT + 1];
	uint64_t cursor;                 /* last sent */
	unsigned stuck;                  /* batches since the last that brought anything */
	bool reading, again, blocked;
	struct watch *prev, *next;
};

struct reading {
	uint64_t call;
	const pb_task *task;
	struct slice outcome;
	struct store_record record;
};

static void look(struct watch *w);

static void stop(struct watch *w, enum reason r, const char *message)
{
	reply_error(w->rc, r, "", message); /* on_gone follows and frees */
}

/* Sends what is new until the call is full, or to the first gap: the store cuts a batch by number and by size, and what lies behind the cut
 * comes with the next look. No event is passed over. */
static void send_new(struct watch *w, struct op *op, const struct store_answer *a)
{
	struct reading *r = op->state;
	struct life_view v = {op->world, w->tenant, &r->record, r->task, r->outcome, a->events, a->n_events, w->id_text};
	uint64_t before = w->cursor;

	while (w->cursor < r->record.cursor && !w->blocked) {
		Baton__V1__HandoffEvent *ev = life_event_at(op->arena, &v, w->cursor + 1);

		if (!ev || arena_failed(op->arena)) /* never an event without what belongs to it */
			break;
		w->cursor++;
		w->blocked = !reply_send(w->rc, &ev->base);
	}
	w->stuck = w->cursor > before ? 0 : w->stuck + 1;
}

/* After a batch. The call ends behind the terminal event, or when the next event does not come; else more is fetched at once, unless the
 * last batch brought nothing. */
static void go_on(struct watch *w, uint64_t cursor, bool terminal)
{
	bool more = w->cursor < cursor;

	if (!more && terminal)
		call_end(w->rc->c, GRPC_OK, NULL, NULL, 0);
	else if (more && w->stuck >= STUCK_MAX)
		stop(w, REASON_STORE_UNAVAILABLE, "the next event cannot be read: watch again from the last cursor");
	else if ((w->again || (more && !w->stuck)) && !w->blocked)
		look(w);
}

static void listed(struct op *op, const struct store_answer *a)
{
	struct rpc_call *rc = op_call(op);
	struct reading *r = op->state;
	struct watch *w = rc ? rc->watch : NULL;
	uint64_t cursor = r->record.cursor;
	bool terminal = state_is_terminal(r->record.state);

	if (!w) {
		op_end(op);
		return;
	}
	w->reading = false;
	if (a->status == STORE_OK)
		send_new(w, op, a);
	op_end(op);
	if (a->status == STORE_OK)
		go_on(w, cursor, terminal);
	else if (w->again)
		look(w);
}

static void keep(struct op *op, const struct store_item *item)
{
	struct reading *r = op->state;

	r->record = item->record;
	r->task = task_unpack(op->arena, item->task);
	r->outcome = op_keep(op, item->outcome);
}

static void read_done(struct op *op, const struct store_answer *a)
{
	struct rpc_call *rc = op_call(op);
	struct reading *r = op->state;
	struct watch *w = rc ? rc->watch : NULL;

	if (w && a->status == STORE_OK && a->n_items)
		keep(op, &a->items[0]);
	if (!w || !r->task || r->record.cursor <= w->cursor) {
		if (w)
			w->reading = false;
		op_end(op);
		if (w && (a->status == STORE_NOT_FOUND || a->status == STORE_UNSEALABLE))
			stop(w, REASON_NOT_FOUND, "no such handoff for you");
		else if (w && a->status == STORE_OK && state_is_terminal(a->record.state) && a->record.cursor <= w->cursor)
			call_end(rc->c, GRPC_OK, NULL, NULL, 0);
		else if (w && w->again)
			look(w);
		return;
	}
	op->on_answer = listed;
	op->w->env.store->ops->events(op->w->env.store, (struct store_slot){w->tenant, w->queue}, &w->of->id, w->cursor, WATCH_BATCH,
				      op_store_done, op->w, op->id);
}

static void look(struct watch *w)
{
	struct rpc_worker *k = w->rc->w;
	struct op *op;

	if (w->reading || w->blocked) {
		w->again = true;
		return;
	}
	w->again = false;
	op = op_new(k, w->rc);
	if (!op || !(op->state = arena_zalloc(op->arena, sizeof(struct reading)))) {
		if (op)
			op_end(op);
		return; /* the poll tries again */
	}
	w->reading = true;
	op->on_answer = read_done;
	k->env.store->ops->get(k->env.store, (struct store_slot){w->tenant, w->queue}, &w->of->id, true, op_store_done, k, op->id);
}

static struct follower *follower_of(struct rpc_worker *w, const struct handoff_id *id)
{
	struct follower *f = NULL;

	HASH_FIND(hh, w->followers, id, sizeof *id, f);
	if (f)
		return f;
	f = calloc(1, sizeof *f);
	if (!f)
		return NULL;
	f->id = *id;
	HASH_ADD(hh, w->followers, id, sizeof(struct handoff_id), f);
	if (!TABLE_HAS(f, hh)) {
		free(f);
		return NULL;
	}
	if (w->env.workers > 1 && !shared_follow(w->env.shared, id, w->env.index)) {
		HASH_DEL(w->followers, f);
		free(f);
		return NULL;
	}
	return f;
}

/* Judged when the message came; a configuration that came since found no watch to end. */
static bool may_begin(struct rpc_call *rc, struct slice route)
{
	const struct agent *a = registry_by_spiffe(rc->w->world->registry, rc->peer->spiffe_id);
	struct verdict v = lookup_not_found();

	if (a && a->key == rc->agent_key && lookup_route_visible(a, route))
		return true;
	pipeline_end(rc, &v);
	return false;
}

void watch_begin(struct rpc_call *rc, const char *tenant, const char *queue, const struct handoff_id *id, uint64_t cursor)
{
	struct follower *f;
	struct watch *w;

	if (!may_begin(rc, queue_route(slice_str(queue))))
		return;
	w = calloc(1, sizeof *w);
	f = w ? follower_of(rc->w, id) : NULL;
	if (!f) {
		free(w);
		reply_error(rc, REASON_QUOTA_EXCEEDED, "", "too many watchers on this node");
		return;
	}
	w->rc = rc;
	w->of = f;
	w->cursor = cursor;
	slice_copy_str(slice_str(tenant), w->tenant, sizeof w->tenant);
	slice_copy_str(slice_str(queue), w->queue, sizeof w->queue);
	handoff_id_format(id, w->id_text);
	DL_APPEND(f->watches, w);
	rc->watch = w;
	look(w);
}

void watch_end(struct rpc_call *rc)
{
	struct watch *w = rc->watch;
	struct follower *f = w ? w->of : NULL;

	if (!w)
		return;
	rc->watch = NULL;
	DL_DELETE(f->watches, w);
	free(w);
	if (f->watches)
		return;
	if (rc->w->env.workers > 1)
		shared_unfollow(rc->w->env.shared, &f->id, rc->w->env.index);
	HASH_DEL(rc->w->followers, f);
	free(f);
}

bool watch_visible(const struct watch *w, const struct agent *a)
{
	return lookup_route_visible(a, queue_route(slice_str(w->queue)));
}

void watch_writable(struct rpc_call *rc)
{
	if (!rc->watch)
		return;
	rc->watch->blocked = false;
	look(rc->watch);
}

void watch_changed(struct rpc_worker *w, const struct handoff_id *id)
{
	struct follower *f = NULL;
	struct watch *x;

	HASH_FIND(hh, w->followers, id, sizeof *id, f);
	if (f)
		DL_FOREACH(f->watches, x)
			look(x);
}

void watches_poll(struct rpc_worker *w)
{
	struct follower *f, *t;
	struct watch *x;

	HASH_ITER(hh, w->followers, f, t)
		DL_FOREACH(f->watches, x)
			look(x);
}
