/* How does the store behave without Redis? As with it: the same rules on hashes in memory. It serves tests and try-outs. Every call is
 * carried out at once, but its answer waits for flush(), so that callers see the same order of things. */
#include <stdio.h>
#include <stdlib.h>

#include "store/memory_priv.h"

#define LOOK_MAX 512
#define EVENTS_BYTES (4u << 20) /* in one answer, as EVENT_BYTES in baton2.lua */

struct mem_answer {
	struct mem_answer *next;
	store_done *done;
	void *user;
	uint64_t op;
	struct store_answer a;
	struct store_route route;
	uint8_t copies[INBOXES_MAX];
	struct store_item *items;
	size_t items_size;
	struct store_event *events;
	struct mem_bytes *plains; /* what the slices point into */
	size_t n_plains, plains_size;
};

struct mem_answer *mem_answer(struct memory *m, store_done *done, void *user, uint64_t op, enum store_status status)
{
	struct mem_answer *x = calloc(1, sizeof *x);

	if (!x)
		abort(); /* a twin for tests has nobody to tell */
	x->done = done;
	x->user = user;
	x->op = op;
	x->a.status = status;
	*m->last = x;
	m->last = &x->next;
	return x;
}

static void answer_free(struct mem_answer *x)
{
	for (size_t i = 0; i < x->n_plains; i++)
		free(x->plains[i].p);
	free(x->plains);
	free(x->items);
	free(x->events);
	free(x);
}

static void *grow(void *v, size_t *size, size_t n, size_t each)
{
	if (n < *size)
		return v;
	*size = *size ? *size * 2 : 8;
	v = realloc(v, *size * each);
	if (!v)
		abort();
	return v;
}

struct store_answer *mem_answer_of(struct mem_answer *x)
{
	return &x->a;
}

void *mem_answer_keep(struct mem_answer *x, size_t n)
{
	uint8_t *p = malloc(n + 1);

	if (!p)
		abort();
	x->plains = grow(x->plains, &x->plains_size, x->n_plains, sizeof x->plains[0]);
	x->plains[x->n_plains++] = (struct mem_bytes){p, n};
	return p;
}

static bool answer_open(struct memory *m, struct mem_answer *x, const struct mem_slot *s, const struct mem_handoff *h,
			enum seal_kind kind, const uint8_t *token, struct mem_bytes sealed, struct slice *out)
{
	const struct seal_name name = {kind, s->tenant, s->route, h->id, token};
	uint8_t *p = mem_answer_keep(x, sealed.n);
	long n = seal_open(m->seal, &name, slice_of(sealed.p, sealed.n), p);

	*out = slice_of(p, n > 0 ? (size_t)n : 0);
	return n >= 0;
}

static struct store_record shown(const struct mem_slot *s, const struct mem_handoff *h)
{
	struct store_record r = h->r.r;

	memcpy(r.id.tag, s->tag, sizeof r.id.tag);
	memcpy(r.id.b, h->id, sizeof r.id.b);
	return r;
}

static struct store_item *answer_item(struct memory *m, struct mem_answer *x, struct mem_slot *s, struct mem_handoff *h, bool task,
				      bool outcome)
{
	struct store_item *i;
	bool ok = true;

	x->items = grow(x->items, &x->items_size, x->a.n_items, sizeof x->items[0]);
	i = &x->items[x->a.n_items++];
	*i = (struct store_item){.status = STORE_OK};
	if (task)
		ok = answer_open(m, x, s, h, SEAL_TASK, h->r.task_token, h->task, &i->task);
	if (ok && outcome && h->outcome.n)
		ok = answer_open(m, x, s, h, seal_kind_of(h->r.r.state), h->r.outcome_token, h->outcome, &i->outcome);
	if (!ok) {
		mem_quarantine(s, h, mem_now(m, s));
		i->status = STORE_UNSEALABLE;
		i->task = i->outcome = slice_of(NULL, 0);
	}
	i->record = shown(s, h);
	return i;
}

/* ---- accept ---- */

static struct mem_key *key_find(struct mem_slot *s, const struct store_accept *r)
{
	struct mem_key *k = NULL;

	if (r->has_idempotency)
		HASH_FIND(hh, s->keys, r->idempotency, sizeof r->idempotency, k);
	return k;
}

static void key_add(struct mem_slot *s, const struct store_accept *r)
{
	struct mem_key *k = calloc(1, sizeof *k);

	if (!k)
		abort();
	memcpy(k->idempotency, r->idempotency, sizeof k->idempotency);
	memcpy(k->print, r->idempotency_print, sizeof k->print);
	memcpy(k->id, r->id.b, sizeof k->id);
	HASH_ADD(hh, s->keys, idempotency, sizeof k->idempotency, k);
}

static struct mem_handoff *add(struct mem_slot *s, const struct store_accept *r, int64_t now)
{
	struct mem_handoff *h = mem_add(s, r->id.b);

	s->changed_ms = now;
	if (!h || !mem_push(&s->all, r->id.b))
		abort();
	memcpy(h->bytes_print, r->bytes_print, sizeof h->bytes_print);
	return h;
}

static bool leases_at_once(const struct mem_slot *s, const struct store_accept *r, int64_t now)
{
	for (int c = 0; c < 3; c++)
		if (s->queue[c].head < s->queue[c].n)
			return false;
	return r->owner && !s->paused && r->state == STATE_QUEUED && (r->deadline_ms <= 0 || r->deadline_ms > now);
}

/* Whether it was leased at once. */
static bool add_record(struct memory *m, struct mem_slot *s, const struct store_accept *r, const uint8_t *token,
		       struct mem_bytes task, int64_t now)
{
	struct mem_handoff *h = add(s, r, now);

	h->task = task;
	h->r.task_size = (uint32_t)task.n;
	memcpy(h->r.task_token, token, TOKEN_BYTES);
	h->r.r = (struct store_record){
		.state = r->state,
		.max_attempts = r->max_attempts ? r->max_attempts : 1,
		.priority = r->priority > 9 ? 9 : r->priority,
		.sender = r->sender,
		.accepted_at_ms = now,
		.updated_at_ms = now,
		.deadline_ms = r->deadline_ms > 0 ? r->deadline_ms : 0,
		.cursor = 1,
		.position = s->all_base + s->all.n,
	};
	if (r->has_idempotency) {
		h->has_idempotency = true;
		memcpy(h->idempotency, r->idempotency, sizeof h->idempotency);
		key_add(s, r);
	}
	if (state_is_terminal(r->state)) {
		h->r.r.cursor = 2;
		h->finished_ms = r->state == STATE_DEAD_LETTERED ? 0 : now;
		return false;
	}
	if (leases_at_once(s, r, now)) {
		mem_lease(s, h, r->owner, r->lease_ms, now);
		return true;
	}
	mem_waiting(s, h, 1);
	if (r->state == STATE_QUEUED)
		mem_queue(s, h);
	else if (r->state == STATE_SCHEDULED)
		h->due_ms = r->start_at_ms;
	return false;
}

static void add_alias(struct mem_slot *s, const struct store_accept *r, const uint8_t *first, int64_t now)
{
	struct mem_handoff *h = add(s, r, now);

	h->alias = true;
	h->finished_ms = now;
	memcpy(h->first, first, HANDOFF_ID_BYTES);
}

/* CAP_MEMORY: none, for this twin has all the memory that it wants. */
static enum store_cap over_cap(struct mem_slot *s, const struct store_slot_limits *l, uint64_t sender, uint64_t bytes)
{
	const struct mem_sender *of = mem_sender(s, sender);

	if ((of ? of->waiting : 0) >= store_cap_value(l->max_per_sender))
		return CAP_SENDER;
	if ((of ? of->waiting_bytes : 0) + bytes > store_cap_value(l->max_bytes_per_sender))
		return CAP_SENDER_BYTES;
	if (s->waiting >= l->max_waiting)
		return CAP_ROUTE;
	return s->waiting_bytes + bytes > l->max_waiting_bytes ? CAP_ROUTE_BYTES : CAP_MEMORY;
}

/* The status, and the record the answer shows. */
static enum store_status decide(struct memory *m, struct mem_slot *s, const struct store_accept *r, struct mem_handoff **first,
				bool *same, enum store_cap *over)
{
	struct mem_handoff *h = mem_find_exact(s, r->id.b);
	struct mem_key *k = key_find(s, r);
	const struct store_slot_limits *l = &m->config.limits;

	*first = NULL;
	if (m->lives_by < s->barrier)
		return STORE_BEHIND;
	if (h) {
		*same = memcmp(h->bytes_print, r->bytes_print, sizeof h->bytes_print) == 0;
		*first = mem_find(s, r->id.b);
		return STORE_REPLAYED;
	}
	if (r->issued_at_ms <= s->floor_ms + (s->floor_ms ? (int64_t)l->clock_skew_ms : 0))
		return STORE_STALE;
	*first = k ? mem_find_exact(s, k->id) : NULL;
	if (*first)
		return memcmp(k->print, r->idempotency_print, sizeof k->print) == 0 ? STORE_DUPLICATE : STORE_CONFLICT;
	if (s->closed)
		return STORE_CLOSED;
	*over = over_cap(s, l, r->sender, r->task.n + seal_overhead(m->seal));
	return *over ? STORE_QUOTA : STORE_OK;
}

static void show_first(struct memory *m, struct mem_answer *x, struct mem_slot *s, struct mem_handoff *first)
{
	if (!first || x->a.status == STORE_CONFLICT)
		return;
	x->a.record = shown(s, first);
	if (x->a.status != STORE_DUPLICATE || !state_is_terminal(first->r.r.state) || !first->outcome.n)
		return;
	if (!answer_open(m, x, s, first, seal_kind_of(first->r.r.state), first->r.outcome_token, first->outcome, &x->a.outcome))
		x->a.status = STORE_UNSEALABLE;
}

/* Whether it was leased at once. */
static bool add_sealed(struct memory *m, struct mem_slot *s, const struct store_accept *r, const uint8_t *token, int64_t now)
{
	struct mem_bytes task = mem_seal(m, s, SEAL_TASK, r->id.b, token, r->task);

	if (!task.p)
		abort();
	return add_record(m, s, r, token, task, now);
}

static struct mem_answer *accept(struct memory *m, const struct store_accept *r, const uint8_t *token, store_done *done, void *user, uint64_t op)
{
	struct mem_slot *s = mem_slot_get(m, r->slot, true);
	struct mem_answer *x = mem_answer(m, done, user, op, STORE_UNAVAILABLE);
	struct mem_handoff *first;
	int64_t now;

	if (!s)
		return x;
	now = mem_now(m, s);
	x->a.status = decide(m, s, r, &first, &x->a.same_bytes, &x->a.over);
	if (x->a.status == STORE_OK) {
		x->a.leased = add_sealed(m, s, r, token, now);
		first = mem_find_exact(s, r->id.b);
	} else if (x->a.status == STORE_DUPLICATE) {
		add_alias(s, r, first->id, now);
		x->a.confirmed = mem_confirm(s, first, now);
	} else if (x->a.status == STORE_QUOTA) {
		x->a.retry_after_ms = 1000;
	}
	show_first(m, x, s, first);
	return x;
}

static void op_accept(struct store *st, const struct store_accept *r, store_done *done, void *user, uint64_t op)
{
	struct memory *m = (struct memory *)st;
	uint8_t token[TOKEN_BYTES];

	mem_token(m, token);
	accept(m, r, token, done, user, op);
}

/* ---- publish ---- */

static enum store_copy copy(struct memory *m, struct mem_slot *s, struct store_accept r, const uint8_t *token)
{
	bool full;

	if (!s || s->closed)
		return COPY_CLOSED;
	full = over_cap(s, &m->config.limits, r.sender, r.task.n + seal_overhead(m->seal)) != CAP_MEMORY;
	r.has_idempotency = false;
	r.owner = 0;
	if (full)
		r.state = STATE_DEAD_LETTERED;
	add_sealed(m, s, &r, token, mem_now(m, s));
	return full ? COPY_FULL : COPY_STORED;
}

static void op_publish(struct store *st, const struct store_accept *r, const char *inboxes, store_done *done, void *user, uint64_t op)
{
	struct memory *m = (struct memory *)st;
	struct store_accept own = *r;
	struct mem_answer *x;
	uint8_t token[TOKEN_BYTES];
	char queue[QUEUE_MAX_BYTES + 1];

	own.state = STATE_COMPLETED;
	own.owner = 0;
	mem_token(m, token);
	x = accept(m, &own, token, done, user, op);
	x->a.copies.p = x->copies;
	while (x->a.status == STORE_OK && *inboxes) {
		queue_inbox(r->slot.route, names_take(&inboxes), queue);
		x->copies[x->a.copies.n++] = (uint8_t)copy(m, mem_slot_get(m, (struct store_slot){r->slot.tenant, queue}, true), *r, token);
	}
}

/* ---- lease ---- */

/* Nothing is handed out of an inbox whose route is paused. */
static bool paused(struct memory *m, const struct mem_slot *s)
{
	struct slice of = queue_route(slice_str(s->route));
	char route[QUEUE_MAX_BYTES + 1];
	const struct mem_slot *r;

	slice_copy_str(of, route, sizeof route);
	r = mem_slot_get(m, (struct store_slot){s->tenant, route}, false);
	return s->paused || (r && r->paused);
}

static struct mem_handoff *pop(struct mem_slot *s)
{
	for (int c = 2; c >= 0; c--) {
		struct mem_ids *q = &s->queue[c];

		while (q->head < q->n) {
			struct mem_handoff *h = mem_find_exact(s, q->v[q->head++]);

			if (h && h->r.r.state == STATE_QUEUED)
				return h;
		}
		q->head = q->n = 0;
	}
	return NULL;
}

static void lease_one(struct memory *m, struct mem_answer *x, struct mem_slot *s, struct mem_handoff *h,
		      const struct store_lease *l, int64_t now)
{
	mem_lease(s, h, l->owner, l->lease_ms, now);
	answer_item(m, x, s, h, true, false);
}

static void op_lease(struct store *st, const struct store_lease *r, store_done *done, void *user, uint64_t op)
{
	struct memory *m = (struct memory *)st;
	struct mem_slot *s = mem_slot_get(m, r->slot, true);
	struct mem_answer *x = mem_answer(m, done, user, op, s ? STORE_OK : STORE_UNAVAILABLE);
	struct mem_handoff *h;
	int64_t now = s ? mem_now(m, s) : 0;

	x->a.paused = s && paused(m, s);
	if (s && m->lives_by < s->barrier) {
		x->a.status = STORE_BEHIND;
		return;
	}
	for (uint32_t n = 0; s && !x->a.paused && n < r->max && (h = pop(s));) {
		bool expired = h->r.r.deadline_ms > 0 && h->r.r.deadline_ms <= now;

		if (!expired && mem_doubtful(s, h)) {
			mem_set_aside(s, h, now);
			answer_item(m, x, s, h, false, false);
			n++;
			continue;
		}
		mem_waiting(s, h, -1);
		if (expired) {
			mem_move(s, h, STATE_EXPIRED, now);
			answer_item(m, x, s, h, false, false);
		} else {
			lease_one(m, x, s, h, r, now);
			n++;
		}
	}
}

/* ---- reports ---- */

void mem_report_done(struct memory *m, const struct mem_slot *s, const struct mem_handoff *h, enum store_status status, store_done *done, void *user,
		     uint64_t op)
{
	struct mem_answer *x = mem_answer(m, done, user, op, status);

	if (h && !h->alias)
		x->a.record = shown(s, h);
}

static void op_extend(struct store *st, const struct store_extend *r, store_done *done, void *user, uint64_t op)
{
	struct memory *m = (struct memory *)st;
	struct mem_slot *s = mem_slot_get(m, r->slot, true);
	struct mem_handoff *h = NULL;
	enum store_status status = s ? mem_extend(m, s, r, &h) : STORE_UNAVAILABLE;

	mem_report_done(m, s, h, status, done, user, op);
}

static void op_event(struct store *st, const struct store_event_put *r, store_done *done, void *user, uint64_t op)
{
	struct memory *m = (struct memory *)st;
	struct mem_slot *s = mem_slot_get(m, r->slot, true);
	struct mem_handoff *h = NULL;
	enum store_status status = s ? mem_event(m, s, r, &h) : STORE_UNAVAILABLE;

	mem_report_done(m, s, h, status, done, user, op);
}

static void op_finish(struct store *st, const struct store_finish *r, store_done *done, void *user, uint64_t op)
{
	struct memory *m = (struct memory *)st;
	struct mem_slot *s = mem_slot_get(m, r->slot, true);
	struct mem_handoff *h = NULL;
	enum store_status status = s ? mem_finish(m, s, r, &h) : STORE_UNAVAILABLE;

	mem_report_done(m, s, h, status, done, user, op);
}

static void op_cancel(struct store *st, struct store_slot at, const struct handoff_id *id, struct slice outcome, store_done *done,
		      void *user, uint64_t op)
{
	struct memory *m = (struct memory *)st;
	struct mem_slot *s = mem_slot_get(m, at, true);
	struct mem_handoff *h = NULL;
	enum store_status status = s ? mem_cancel(m, s, id->b, outcome, &h) : STORE_UNAVAILABLE;

	mem_report_done(m, s, h, status, done, user, op);
}

/* ---- reading ---- */

static void op_get(struct store *st, struct store_slot at, const struct handoff_id *id, bool blobs, store_done *done, void *user,
		   uint64_t op)
{
	struct memory *m = (struct memory *)st;
	struct mem_slot *s = mem_slot_get(m, at, true);
	struct mem_handoff *h = s ? mem_find(s, id->b) : NULL;
	struct mem_answer *x = mem_answer(m, done, user, op, !s ? STORE_UNAVAILABLE : h ? STORE_OK : STORE_NOT_FOUND);
	struct store_item *i;

	if (!h)
		return;
	i = answer_item(m, x, s, h, blobs, blobs);
	x->a.status = i->status;
	x->a.record = i->record;
}

static void op_events(struct store *st, struct store_slot at, const struct handoff_id *id, uint64_t after, uint32_t max,
		      store_done *done, void *user, uint64_t op)
{
	struct memory *m = (struct memory *)st;
	struct mem_slot *s = mem_slot_get(m, at, true);
	struct mem_handoff *h = s ? mem_find(s, id->b) : NULL;
	struct mem_answer *x = mem_answer(m, done, user, op, !s ? STORE_UNAVAILABLE : h ? STORE_OK : STORE_NOT_FOUND);

	if (!h)
		return;
	x->events = calloc(h->n_events + 1, sizeof x->events[0]);
	if (!x->events)
		abort();
	for (size_t i = 0, bytes = 0; i < h->n_events; i++) {
		struct mem_event *e = &h->events[i];
		struct store_event *o = &x->events[x->a.n_events];

		if (e->e.cursor <= after)
			continue;
		bytes += EVENT_HEAD_BYTES + e->body.n;
		x->a.more = x->a.n_events == max || (x->a.n_events && bytes > EVENTS_BYTES);
		if (x->a.more)
			break;
		*o = e->e;
		if (e->body.n && !answer_open(m, x, s, h, seal_kind_of(e->e.state), e->token, e->body, &o->body)) {
			mem_quarantine(s, h, mem_now(m, s));
			x->a.status = STORE_UNSEALABLE;
			x->a.n_events = 0;
			break;
		}
		x->a.n_events++;
	}
	x->a.record = shown(s, h);
}

static void op_list(struct store *st, struct store_slot at, uint64_t agent, enum handoff_state state, uint64_t before,
		    uint32_t max, bool blobs, store_done *done, void *user, uint64_t op)
{
	struct memory *m = (struct memory *)st;
	struct mem_slot *s = mem_slot_get(m, at, true);
	struct mem_answer *x = mem_answer(m, done, user, op, s ? STORE_OK : STORE_UNAVAILABLE);
	uint64_t pos;
	unsigned looked = 0;

	if (!s)
		return;
	pos = s->all.n;
	if (before && before - 1 < pos)
		pos = before - 1;
	for (; pos > s->all.head && looked < LOOK_MAX; pos--) {
		struct mem_handoff *h = mem_find_exact(s, s->all.v[pos - 1]);

		looked += h != NULL; /* what was purged is not there to look at */
		if (!h || h->alias || (state && h->r.r.state != state))
			continue;
		if (agent && h->r.r.sender != agent && h->r.r.owner != agent)
			continue;
		if (x->a.n_items == max)
			break;
		answer_item(m, x, s, h, blobs, blobs);
	}
	while (pos > s->all.head && !mem_find_exact(s, s->all.v[pos - 1]))
		pos--;
	x->a.next = pos > s->all.head ? pos + 1 : 0;
}

/* ---- what operators ask ---- */

static void op_route(struct store *st, struct store_slot at, bool set, bool paused, bool closed, store_done *done, void *user, uint64_t op)
{
	struct memory *m = (struct memory *)st;
	struct mem_slot *s = mem_slot_get(m, at, true);
	struct mem_answer *x = mem_answer(m, done, user, op, s ? STORE_OK : STORE_UNAVAILABLE);

	if (!s)
		return;
	if (set) {
		s->paused = paused;
		s->closed = closed;
	}
	mem_view(s, &x->route);
	x->a.route = &x->route;
}

static void op_dead(struct store *st, struct store_slot at, const struct handoff_id *after, int64_t after_ms, uint32_t max, bool blobs,
		    store_done *done, void *user, uint64_t op)
{
	struct memory *m = (struct memory *)st;
	struct mem_slot *s = mem_slot_get(m, at, true);
	struct mem_answer *x = mem_answer(m, done, user, op, s ? STORE_OK : STORE_UNAVAILABLE);
	struct mem_handoff *h;

	if (!s)
		return;
	for (h = mem_next_dead(s, after ? after->b : NULL, after_ms); h && x->a.n_items < max; h = mem_next_dead(s, h->id, 0))
		answer_item(m, x, s, h, blobs, blobs);
	x->a.more = h != NULL;
}

static void op_drop(struct store *st, struct store_slot at, const struct handoff_id *id, store_done *done, void *user, uint64_t op)
{
	struct memory *m = (struct memory *)st;
	struct mem_slot *s = mem_slot_get(m, at, true);
	struct mem_handoff *h = s ? mem_find_exact(s, id->b) : NULL;
	enum store_status status = !s ? STORE_UNAVAILABLE : mem_drop(s, h, mem_now(m, s));

	mem_report_done(m, s, h, status, done, user, op);
}

/* The key now names what stands in the dead one's place. */
static void take_key(struct mem_slot *s, struct mem_handoff *h, const struct mem_handoff *old)
{
	struct mem_key *k = NULL;

	if (!old->has_idempotency)
		return;
	h->has_idempotency = true;
	memcpy(h->idempotency, old->idempotency, sizeof h->idempotency);
	HASH_FIND(hh, s->keys, h->idempotency, sizeof h->idempotency, k);
	if (k && memcmp(k->id, old->id, sizeof k->id) == 0)
		memcpy(k->id, h->id, sizeof k->id);
}

static enum store_status replay(struct memory *m, struct mem_slot *s, struct store_accept r, const uint8_t *dead, struct mem_handoff **out)
{
	struct mem_handoff *old = *out = mem_find_exact(s, dead);
	uint8_t token[TOKEN_BYTES];

	if (m->lives_by < s->barrier)
		return STORE_BEHIND;
	if (!old || old->alias)
		return STORE_NOT_FOUND;
	if (old->r.r.state != STATE_DEAD_LETTERED || old->let_go)
		return STORE_WRONG_STATE;
	if (over_cap(s, &m->config.limits, r.sender, r.task.n + seal_overhead(m->seal)))
		return STORE_QUOTA;
	mem_token(m, token);
	r.has_idempotency = false;
	r.owner = 0;
	add_sealed(m, s, &r, token, mem_now(m, s));
	*out = mem_find_exact(s, r.id.b);
	take_key(s, *out, old);
	return mem_drop(s, old, mem_now(m, s));
}

static void op_replay(struct store *st, const struct store_accept *r, const struct handoff_id *dead, store_done *done, void *user,
		      uint64_t op)
{
	struct memory *m = (struct memory *)st;
	struct mem_slot *s = mem_slot_get(m, r->slot, true);
	struct mem_handoff *h = NULL;
	enum store_status status = s ? replay(m, s, *r, dead->b, &h) : STORE_UNAVAILABLE;

	mem_report_done(m, s, h, status, done, user, op);
}

/* ---- what belongs nowhere: nothing, here a handoff stands where its state says by being in that state ---- */

static void op_look(struct store *st, struct store_slot at, enum store_place place, uint64_t cursor, int64_t since_ms,
		    const struct store_slot_limits *limits, store_done *done, void *user, uint64_t op)
{
	static const struct store_look nothing = {0};
	struct mem_answer *x = mem_answer((struct memory *)st, done, user, op, STORE_OK);

	x->a.look = &nothing;
}

static void op_mend(struct store *st, const struct store_mend *r, const struct store_slot_limits *limits, store_done *done, void *user,
		    uint64_t op)
{
	mem_answer((struct memory *)st, done, user, op, STORE_NOT_FOUND);
}

struct ticked {
	struct memory *m;
	struct mem_slot *s;
	struct mem_answer *x;
};

static void on_changed(void *arg, struct mem_handoff *h)
{
	struct ticked *t = arg;

	answer_item(t->m, t->x, t->s, h, false, false);
}

static void op_tick(struct store *st, struct store_slot at, const struct store_slot_limits *limits, store_done *done, void *user,
		    uint64_t op)
{
	struct memory *m = (struct memory *)st;
	struct mem_slot *s = mem_slot_get(m, at, true);
	struct ticked t = {m, s, mem_answer(m, done, user, op, s ? STORE_OK : STORE_UNAVAILABLE)};

	if (!s)
		return;
	mem_tick(m, s, limits ? limits : &m->config.limits, on_changed, &t);
	t.x->a.busy = true; /* it costs nothing to look again */
}

/* ---- life ---- */

static void op_flush(struct store *st)
{
	struct memory *m = (struct memory *)st;
	struct mem_answer *x;

	if (m->flushing)
		return;
	m->flushing = true;
	while ((x = m->first)) {
		m->first = x->next;
		if (!m->first)
			m->last = &m->first;
		x->a.items = x->items;
		x->a.events = x->events;
		x->done(x->user, x->op, &x->a);
		answer_free(x);
	}
	m->flushing = false;
}

static bool op_available(const struct store *st)
{
	return true;
}

static uint64_t op_waiting(const struct store *st, struct store_slot at)
{
	struct mem_slot *s = mem_slot_get((struct memory *)(uintptr_t)st, at, false);

	return s ? s->waiting : 0;
}

/* It has none. */
static void op_set_replicas(struct store *st, struct store_slot at, uint32_t replicas)
{
	(void)st;
	(void)at;
	(void)replicas;
}

static void op_free(struct store *st)
{
	struct memory *m = (struct memory *)st;
	struct mem_slot *s, *next;
	struct mem_answer *x;

	if (!m)
		return;
	for (x = m->first; x; x = x->next) {
		x->a = (struct store_answer){.status = STORE_UNAVAILABLE};
		free(x->items);
		free(x->events);
		x->items = NULL;
		x->events = NULL;
	}
	op_flush(st);
	HASH_ITER(hh, m->slots, s, next) {
		HASH_DEL(m->slots, s);
		mem_slot_free(s);
	}
	mem_shared_free(m);
	seal_free(m->seal);
	free(m);
}

static const struct store_ops memory_ops = {
	.accept = op_accept,
	.publish = op_publish,
	.lease = op_lease,
	.extend = op_extend,
	.event = op_event,
	.finish = op_finish,
	.cancel = op_cancel,
	.get = op_get,
	.events = op_events,
	.list = op_list,
	.route = op_route,
	.dead = op_dead,
	.drop = op_drop,
	.replay = op_replay,
	.look = op_look,
	.mend = op_mend,
	.tick = op_tick,
	.change = mem_change,
	.feed = mem_feed,
	.versions = mem_versions,
	.barrier = mem_barrier,
	.aside = mem_aside,
	.live_by = mem_live_by,
	.set_replicas = op_set_replicas,
	.flush = op_flush,
	.available = op_available,
	.waiting = op_waiting,
	.free = op_free,
};

struct store *store_memory_new(const struct store_memory_config *c)
{
	struct memory *m = calloc(1, sizeof *m);

	if (!m)
		return NULL;
	m->base.ops = &memory_ops;
	m->config = *c;
	m->last = &m->first;
	m->incarnation = 1;
	if (c->keys) {
		m->seal = seal_new(c->keys);
		if (!m->seal) {
			free(m);
			return NULL;
		}
	}
	return &m->base;
}
