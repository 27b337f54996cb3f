/* What is one request on its way through the broker? The life of an op: its arena from a pool, its number, its audit lines, its waits. */
#include "rpc/op.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "rpc/table.h"

#define PARK_MS 6000

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
	op->begun_us = clock_mono_us();
	if (rc) {
		op->call = rc->id;
		op->row = rc->row;
		op->spiffe_id = arena_strdup(a, rc->peer->spiffe_id);
		op->x5t_s256 = arena_strdup(a, rc->peer->x5t_s256);
		if (!op->spiffe_id || !op->x5t_s256) {
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

bool op_park(struct op *op, int64_t now_ms)
{
	struct rpc_worker *w = op->w;

	if (op->retried || w->n_parked >= PARKED_MAX)
		return false;
	op->raw = op_keep(op, op->raw);
	if (!op->raw.p)
		return false;
	op->retried = true;
	op->parked_until_ms = now_ms + PARK_MS;
	op->next_parked = w->parked;
	w->parked = op;
	w->n_parked++;
	return true;
}

void op_unpark_all(struct rpc_worker *w, int64_t now_ms, bool only_late)
{
	struct op *op = w->parked;

	w->parked = NULL;
	w->n_parked = 0;
	while (op) {
		struct op *next = op->next_parked;

		if (only_late && now_ms < op->parked_until_ms) {
			op->next_parked = w->parked;
			w->parked = op;
			w->n_parked++;
		} else {
			pipeline_again(op);
		}
		op = next;
	}
}
