/* What if Redis lies? See liar.h. */
#include "liar.h"

#include "fuzz.h"

#define LIES_MAX 8
#define ITEMS_MAX 512
#define ALWAYS 0x80

struct lie {
	uint8_t what, how;
};

struct liar {
	struct store base; /* first */
	struct store *truth;
	struct lie lies[LIES_MAX];
	size_t n;
};

/* One question under way. */
struct question {
	struct liar *liar;
	store_done *done;
	void *user;
};

/* The answer as it is told: a copy whose lists may be changed. */
struct told {
	struct store_answer a;
	struct store_item items[ITEMS_MAX + 1];
	struct store_event events[ITEMS_MAX + 1];
};

/* ---- the lies ---- */

static struct store_record *first_record(struct told *t)
{
	return t->a.n_items ? &t->items[0].record : &t->a.record;
}

static void lie_status(struct told *t, uint8_t how)
{
	t->a.status = (enum store_status)(how % (STORE_UNAVAILABLE + 1));
	if (t->a.status == STORE_OK)
		return;
	t->a.n_items = t->a.n_events = 0;
	t->a.outcome = slice_of(NULL, 0);
}

static void lie_next(struct told *t, uint8_t how)
{
	t->a.next = how == 255 ? (UINT64_C(1) << 48) - 1 : how;
}

static void lie_more(struct told *t, uint8_t how)
{
	t->a.more = !t->a.more;
}

static void lie_cursor(struct told *t, uint8_t how)
{
	first_record(t)->cursor = how == 255 ? UINT32_MAX : how;
}

static void lie_unsealable(struct told *t, uint8_t how)
{
	if (t->a.n_items)
		t->items[0] = (struct store_item){.status = STORE_UNSEALABLE, .record = t->items[0].record};
}

/* An outcome opens in its own state only. */
static void lie_state(struct told *t, uint8_t how)
{
	static const enum handoff_state states[] = {
		STATE_HELD, STATE_SCHEDULED, STATE_QUEUED, STATE_LEASED, STATE_WORKING, STATE_INPUT_REQUIRED, STATE_QUARANTINED,
		STATE_COMPLETED, STATE_FAILED, STATE_REJECTED, STATE_CANCELLED, STATE_EXPIRED, STATE_DEAD_LETTERED,
	};

	first_record(t)->state = states[how % (sizeof states / sizeof states[0])];
	if (t->a.n_items && t->items[0].outcome.n)
		lie_unsealable(t, how);
}

static void lie_fence(struct told *t, uint8_t how)
{
	first_record(t)->fence += how;
}

static void lie_owner(struct told *t, uint8_t how)
{
	first_record(t)->owner = how;
}

static void lie_position(struct told *t, uint8_t how)
{
	first_record(t)->position = how == 255 ? (UINT64_C(1) << 48) - 1 : how;
}

static void lie_time(struct told *t, uint8_t how)
{
	const int64_t times[] = {0, 1, (INT64_C(1) << 48) - 1};
	struct store_record *r = first_record(t);

	r->accepted_at_ms = times[how % 3];
	r->updated_at_ms = times[how / 3 % 3];
	r->deadline_ms = times[how / 9 % 3];
	r->lease_until_ms = times[how / 27 % 3];
	r->first_leased_at_ms = times[how / 81 % 3];
}

static void lie_attempt(struct told *t, uint8_t how)
{
	first_record(t)->attempt = how;
	first_record(t)->max_attempts = (uint8_t)~how;
}

/* Of a record alone: blobs open under their own id only. */
static void lie_id(struct told *t, uint8_t how)
{
	if (!t->a.n_items)
		t->a.record.id.b[how % HANDOFF_ID_BYTES] ^= 1;
}

/* how: 1 only where there are blobs, 2 all. */
static void lie_drop(struct told *t, uint8_t how)
{
	if ((how & 1) && !(t->a.n_items && t->items[0].task.n))
		return;
	t->a.n_items = how & 2 || !t->a.n_items ? 0 : t->a.n_items - 1;
	t->a.n_events = how & 2 || !t->a.n_events ? 0 : t->a.n_events - 1;
}

static void lie_twice(struct told *t, uint8_t how)
{
	if (t->a.n_items && t->a.n_items < ITEMS_MAX) {
		t->items[t->a.n_items] = t->items[0];
		t->a.n_items++;
	}
	if (t->a.n_events && t->a.n_events < ITEMS_MAX) {
		t->events[t->a.n_events] = t->events[0];
		t->a.n_events++;
	}
}

static void lie_order(struct told *t, uint8_t how)
{
	for (size_t i = 0, n = t->a.n_items; i < n / 2; i++) {
		struct store_item swap = t->items[i];

		t->items[i] = t->items[n - 1 - i];
		t->items[n - 1 - i] = swap;
	}
}

static void lie_event(struct told *t, uint8_t how)
{
	if (!t->a.n_events)
		return;
	t->events[0].cursor += how & 15;
	t->events[0].body = how & 16 ? slice_of(NULL, 0) : t->events[0].body;
	t->events[0].state = how & 32 ? STATE_LEASED : t->events[0].state;
}

/* To an accept: as if it had been leased to whom it was offered. */
static void lie_leased(struct told *t, uint8_t how)
{
	if (t->a.n_items || t->a.status != STORE_OK)
		return;
	t->a.leased = true;
	t->a.record.state = STATE_LEASED;
	t->a.record.cursor = 2;
	t->a.record.fence += how;
}

/* As if it were held after a fail-over, or had been until this. */
static void lie_confirmed(struct told *t, uint8_t how)
{
	first_record(t)->unconfirmed = how & 1;
	t->a.confirmed = how & 2;
}

/* In this order for good: the corpus counts them. */
static void (*const lies[])(struct told *t, uint8_t how) = {
	lie_status, lie_next, lie_more, lie_cursor, lie_state, lie_fence, lie_owner, lie_position, lie_time, lie_attempt, lie_id, lie_drop,
	lie_twice, lie_order, lie_event, lie_unsealable, lie_leased, lie_confirmed,
};

static void tell_all(struct liar *l, struct told *t)
{
	size_t kept = 0;

	for (size_t i = 0; i < l->n; i++) {
		lies[(l->lies[i].what & ~ALWAYS) % (sizeof lies / sizeof lies[0])](t, l->lies[i].how);
		if (l->lies[i].what & ALWAYS)
			l->lies[kept++] = l->lies[i];
	}
	l->n = kept;
}

/* ---- passing on ---- */

static void on_answer(void *user, uint64_t op, const struct store_answer *a)
{
	static struct told t; /* of no use before the callback or after it */
	struct question q = *(struct question *)user;

	free(user);
	if (!q.liar->n || a->n_items > ITEMS_MAX || a->n_events > ITEMS_MAX) {
		q.done(q.user, op, a);
		return;
	}
	t.a = *a;
	for (size_t i = 0; i < a->n_items; i++)
		t.items[i] = a->items[i];
	for (size_t i = 0; i < a->n_events; i++)
		t.events[i] = a->events[i];
	tell_all(q.liar, &t);
	t.a.items = t.a.n_items ? t.items : NULL;
	t.a.events = t.a.n_events ? t.events : NULL;
	q.done(q.user, op, &t.a);
}

static struct question *ask(struct store *s, store_done *done, void *user)
{
	struct question *q = malloc(sizeof *q);

	NEED(q);
	*q = (struct question){(struct liar *)s, done, user};
	return q;
}

#define PASS(name, type)                                                                                               \
	static void op_##name(struct store *s, const type *r, store_done *done, void *user, uint64_t op)               \
	{                                                                                                              \
		struct store *truth = ((struct liar *)s)->truth;                                                       \
                                                                                                                       \
		truth->ops->name(truth, r, on_answer, ask(s, done, user), op);                                         \
	}

PASS(accept, struct store_accept)
PASS(lease, struct store_lease)
PASS(extend, struct store_extend)
PASS(event, struct store_event_put)
PASS(finish, struct store_finish)

static void op_publish(struct store *s, const struct store_accept *r, const char *inboxes, store_done *done, void *user, uint64_t op)
{
	struct store *truth = ((struct liar *)s)->truth;

	truth->ops->publish(truth, r, inboxes, on_answer, ask(s, done, user), op);
}

static void op_cancel(struct store *s, struct store_slot slot, const struct handoff_id *id, struct slice outcome, store_done *done, void *user,
		      uint64_t op)
{
	struct store *truth = ((struct liar *)s)->truth;

	truth->ops->cancel(truth, slot, id, outcome, on_answer, ask(s, done, user), op);
}

static void op_get(struct store *s, struct store_slot slot, const struct handoff_id *id, bool blobs, store_done *done, void *user, uint64_t op)
{
	struct store *truth = ((struct liar *)s)->truth;

	truth->ops->get(truth, slot, id, blobs, on_answer, ask(s, done, user), op);
}

static void op_events(struct store *s, struct store_slot slot, const struct handoff_id *id, uint64_t after, uint32_t max, store_done *done,
		      void *user, uint64_t op)
{
	struct store *truth = ((struct liar *)s)->truth;

	truth->ops->events(truth, slot, id, after, max, on_answer, ask(s, done, user), op);
}

static void op_list(struct store *s, struct store_slot slot, uint64_t agent, enum handoff_state state, uint64_t before, uint32_t max, bool blobs,
		    store_done *done, void *user, uint64_t op)
{
	struct store *truth = ((struct liar *)s)->truth;

	truth->ops->list(truth, slot, agent, state, before, max, blobs, on_answer, ask(s, done, user), op);
}

static void op_tick(struct store *s, struct store_slot slot, const struct store_slot_limits *limits, store_done *done, void *user, uint64_t op)
{
	struct store *truth = ((struct liar *)s)->truth;

	truth->ops->tick(truth, slot, limits, on_answer, ask(s, done, user), op);
}

static void op_route(struct store *s, struct store_slot slot, bool set, bool paused, bool closed, store_done *done, void *user, uint64_t op)
{
	struct store *truth = ((struct liar *)s)->truth;

	truth->ops->route(truth, slot, set, paused, closed, on_answer, ask(s, done, user), op);
}

static void op_dead(struct store *s, struct store_slot slot, const struct handoff_id *after, int64_t after_ms, uint32_t max, bool blobs,
		    store_done *done, void *user, uint64_t op)
{
	struct store *truth = ((struct liar *)s)->truth;

	truth->ops->dead(truth, slot, after, after_ms, max, blobs, on_answer, ask(s, done, user), op);
}

static void op_replay(struct store *s, const struct store_accept *r, const struct handoff_id *dead, store_done *done, void *user, uint64_t op)
{
	struct store *truth = ((struct liar *)s)->truth;

	truth->ops->replay(truth, r, dead, on_answer, ask(s, done, user), op);
}

static void op_drop(struct store *s, struct store_slot slot, const struct handoff_id *id, store_done *done, void *user, uint64_t op)
{
	struct store *truth = ((struct liar *)s)->truth;

	truth->ops->drop(truth, slot, id, on_answer, ask(s, done, user), op);
}

static void op_change(struct store *s, const struct store_change *v, size_t n, store_done *done, void *user, uint64_t op)
{
	struct store *truth = ((struct liar *)s)->truth;

	truth->ops->change(truth, v, n, on_answer, ask(s, done, user), op);
}

static void op_feed(struct store *s, const struct store_feed *r, store_done *done, void *user, uint64_t op)
{
	struct store *truth = ((struct liar *)s)->truth;

	truth->ops->feed(truth, r, on_answer, ask(s, done, user), op);
}

static void op_versions(struct store *s, struct slice name, uint64_t before, uint32_t max, store_done *done, void *user, uint64_t op)
{
	struct store *truth = ((struct liar *)s)->truth;

	truth->ops->versions(truth, name, before, max, on_answer, ask(s, done, user), op);
}

static void op_barrier(struct store *s, struct store_slot slot, uint64_t generation, store_done *done, void *user, uint64_t op)
{
	struct store *truth = ((struct liar *)s)->truth;

	truth->ops->barrier(truth, slot, generation, on_answer, ask(s, done, user), op);
}

static void op_aside(struct store *s, struct store_slot slot, const struct handoff_id *id, enum store_aside how, struct slice note, store_done *done, void *user, uint64_t op)
{
	struct store *truth = ((struct liar *)s)->truth;

	truth->ops->aside(truth, slot, id, how, note, on_answer, ask(s, done, user), op);
}

static void op_live_by(struct store *s, uint64_t generation)
{
	struct store *truth = ((struct liar *)s)->truth;

	truth->ops->live_by(truth, generation);
}

static void op_set_replicas(struct store *s, struct store_slot slot, uint32_t replicas)
{
	struct store *truth = ((struct liar *)s)->truth;

	truth->ops->set_replicas(truth, slot, replicas);
}

static void op_flush(struct store *s)
{
	struct store *truth = ((struct liar *)s)->truth;

	truth->ops->flush(truth);
}

static bool op_available(const struct store *s)
{
	return true;
}

static uint64_t op_waiting(const struct store *s, struct store_slot slot)
{
	const struct store *truth = ((const struct liar *)s)->truth;

	return truth->ops->waiting(truth, slot);
}

static void op_free(struct store *s)
{
	struct liar *l = (struct liar *)s;

	l->truth->ops->free(l->truth);
	free(l);
}

static const struct store_ops liar_ops = {
	.accept = op_accept, .publish = op_publish, .lease = op_lease, .extend = op_extend, .event = op_event, .finish = op_finish, .cancel = op_cancel, .get = op_get,
	.events = op_events, .list = op_list, .route = op_route, .dead = op_dead, .replay = op_replay, .drop = op_drop, .tick = op_tick, .change = op_change, .feed = op_feed, .versions = op_versions,
	.barrier = op_barrier, .aside = op_aside, .live_by = op_live_by, .set_replicas = op_set_replicas, .flush = op_flush, .available = op_available, .waiting = op_waiting,
	.free = op_free,
};

struct store *liar_new(struct store *truth)
{
	struct liar *l = calloc(1, sizeof *l);

	NEED(l);
	l->base.ops = &liar_ops;
	l->truth = truth;
	return &l->base;
}

void liar_tell(struct store *s, uint8_t what, uint8_t how)
{
	struct liar *l = (struct liar *)s;

	if (l->n < LIES_MAX)
		l->lies[l->n++] = (struct lie){what, how};
}
