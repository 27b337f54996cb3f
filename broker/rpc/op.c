/* What is one request on its way through the broker? The life of an op: its arena from a pool, its number, its audit lines, its waits. */
#include "rpc/op.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "rpc/table.h"

#define PARK_MS 12000 /* two fetches, and the time between their beginnings */
#define PARKS_MAX 3
#define AGENT_SHARE 4

static struct arena *arena_take(struct rpc_worker *w)
{
	return w->n_pool ? w->pool[--w->n_pool] : arena_new(ARENA_CAP);
}

static void arena_give(struct rpc_worker *w, struct arena *a)
{
	if (w->n_pool == ARENA_POOL) {
		arena_free(a);
		return;
	}
	arena_reset(a);
	w->pool[w->n_pool++] = a;
}

/* Once the last that began in an older world is over, this worker lives by the present one. */
static void act_over(struct op *op)
{
	struct rpc_worker *w = op->w;

	w->acting--;
	if (op->world == w->world || --w->older)
		return;
	atomic_store(&w->settled, true);
	if (w->env.settled)
		w->env.settled(w->env.arg);
}

void op_rest(struct op *op)
{
	if (op->rests)
		return;
	op->rests = true;
	act_over(op);
}

struct op *op_new(struct rpc_worker *w, struct rpc_call *rc)
{
	struct arena *a = arena_take(w);
	struct op *op = a ? arena_zalloc(a, sizeof *op) : NULL;

	if (!op) {
		if (a)
			arena_give(w, a);
		return NULL;
	}
	op->id = slots_add(w->ops, op);
	if (!op->id) {
		arena_give(w, a);
		return NULL;
	}
	op->w = w;
	op->arena = a;
	op->world = world_ref(w->world);
	w->acting++;
	op->begun_us = clock_mono_us();
	if (rc) {
		op->call = rc->id;
		op->row = rc->row;
		op->spiffe_id = arena_strdup(a, rc->peer->spiffe_id);
		op->x5t_s256 = arena_strdup(a, rc->peer->x5t_s256);
		op->x5t_twin = arena_strdup(a, rc->peer->x5t_twin);
		op->certificate_issued_at_ms = rc->peer->not_before_ms;
		if (!op->spiffe_id || !op->x5t_s256 || !op->x5t_twin) {
			op_end(op);
			return NULL;
		}
	}
	return op;
}

void op_end(struct op *op)
{
	struct rpc_worker *w = op->w;
	struct rpc_call *rc = op_call(op);

	if (op->owes_window && rc)
		call_consumed(rc->c);
	slots_drop(w->ops, op->id);
	if (!op->rests)
		act_over(op);
	world_unref(op->world);
	arena_give(w, op->arena);
}

struct rpc_call *op_call(struct op *op)
{
	return slots_get(op->w->calls, op->call);
}

struct slice op_keep(struct op *op, struct slice s)
{
	char *copy = arena_strndup(op->arena, s.p, s.n);

	return copy ? slice_of(copy, s.n) : slice_of(NULL, 0);
}

const char *op_str(struct op *op, struct slice s)
{
	const char *copy = arena_strndup(op->arena, s.p, s.n);

	return copy ? copy : "";
}

struct slice op_join(struct op *op, const char *const *words, size_t n)
{
	char *text, *at;
	size_t size = 1;

	for (size_t i = 0; i < n; i++)
		size += strlen(words[i]) + 1;
	text = at = arena_alloc(op->arena, size);
	if (!text)
		return slice_of(NULL, 0);
	for (size_t i = 0; i < n; i++) {
		if (i)
			*at++ = ' ';
		at = stpcpy(at, words[i]);
	}
	*at = '\0';
	return slice_of(text, (size_t)(at - text));
}

uint64_t op_audit(struct op *op, const char *event)
{
	op->audit.event = event;
	op->audit.at_ms = clock_unix_ms();
	op->w->env.ask_tail(op->w->env.arg);
	return audit_put(op->w->env.audit, &op->audit);
}

void op_after_audit(struct op *op, uint64_t ticket, void (*release)(struct op *op, bool durable))
{
	struct rpc_worker *w = op->w;

	op->held = (struct held){.ticket = ticket, .op = op, .release = release};
	*w->held_tail = &op->held;
	w->held_tail = &op->held.next;
	w->env.ask_tail(w->env.arg);
}

/* A ticket of 0 was refused outright, so its answer becomes a refusal, in its turn. */
void op_release_held(struct rpc_worker *w)
{
	while (w->held_head) {
		struct held *h = w->held_head;
		uint64_t durable = audit_durable(w->env.audit), failed = audit_failed(w->env.audit);
		bool ok = h->ticket && h->ticket <= durable;

		if (!ok && h->ticket && h->ticket > failed)
			return;
		w->held_head = h->next;
		if (!w->held_head)
			w->held_tail = &w->held_head;
		h->release(h->op, ok);
	}
}

void op_store_done(void *user, uint64_t id, const struct store_answer *a)
{
	struct rpc_worker *w = user;
	struct op *op = slots_get(w->ops, id);

	if (op && op->on_answer)
		op->on_answer(op, a);
}

void rpc_worker_signed(struct rpc_worker *w, uint64_t id, const struct sign_answer *a)
{
	struct op *op = slots_get(w->ops, id);

	if (op && op->on_signed)
		op->on_signed(op, a);
}

void rpc_worker_issued(struct rpc_worker *w, uint64_t id, const struct issue_answer *a)
{
	struct op *op = slots_get(w->ops, id);

	if (op && op->on_issued)
		op->on_issued(op, a);
}

/* ---- waiting for keys ---- */

/* What of it is this agent's. */
static struct parked_sum parked_by(const struct rpc_worker *w, uint64_t agent)
{
	struct parked_sum sum = {0, 0};

	for (const struct op *op = w->parked; op; op = op->next_parked) {
		if (op->asker != agent)
			continue;
		sum.n++;
		sum.bytes += op->raw.n;
	}
	return sum;
}

static bool fits(struct parked_sum have, size_t bytes, unsigned share)
{
	return have.n < PARKED_MAX / share && (!have.n || have.bytes + bytes <= PARKED_BYTES_MAX / share);
}

bool op_may_park(const struct op *op, int64_t now_ms)
{
	if (op->parks && (op->parks == PARKS_MAX || now_ms - op->parked_ms >= PARK_MS))
		return false;
	return fits(op->w->parked_sum, op->raw.n, 1) && fits(parked_by(op->w, op->asker), op->raw.n, AGENT_SHARE);
}

bool op_park(struct op *op, uint64_t what, int64_t now_ms)
{
	struct rpc_worker *w = op->w;

	if (!op->parks) {
		op->raw = op_keep(op, op->raw);
		op->parked_ms = now_ms;
	}
	if (!op->raw.p)
		return false;
	op->parks++;
	op->parked_for = what;
	op->next_parked = NULL;
	*w->parked_tail = op;
	w->parked_tail = &op->next_parked;
	w->parked_sum.n++;
	w->parked_sum.bytes += op->raw.n;
	op_rest(op);
	return true;
}

static bool is_due(const struct op *op, int64_t now_ms, uint64_t what)
{
	return what == KEYS_OF_ALL || op->parked_for == what || now_ms - op->parked_ms >= PARK_MS;
}

void op_unpark(struct rpc_worker *w, int64_t now_ms, uint64_t what)
{
	struct op *due = NULL, **due_tail = &due, **link = &w->parked;

	while (*link) {
		struct op *op = *link;

		if (!is_due(op, now_ms, what)) {
			link = &op->next_parked;
			continue;
		}
		*link = op->next_parked;
		w->parked_sum.n--;
		w->parked_sum.bytes -= op->raw.n;
		op->next_parked = NULL;
		if (what == KEYS_OF_ALL && op->parks > 1)
			op->parks--; /* somebody changed something, most often not what it waits for: PARK_MS bounds that */
		op->told = what == op->parked_for ? what : KEYS_OF_NONE;
		*due_tail = op;
		due_tail = &op->next_parked;
	}
	w->parked_tail = link;
	while (due) { /* each may wait again, at the end of the list */
		struct op *op = due;

		due = op->next_parked;
		pipeline_again(op);
	}
}
