/* How do tests reach behind the twin's back? As Redis loses its data, or somebody changes it. */
#include "store/memory_priv.h"

void store_memory_reopen(struct store *st, struct store_slot at, uint64_t lost)
{
	struct memory *m = (struct memory *)st;
	struct mem_slot *s = mem_slot_get(m, at, true);

	if (!s)
		return;
	if (lost)
		mem_span_add(s, m->config.limits.hold_ms, mem_now(m, s));
	s->floor_ms = mem_now(m, s);
	s->last_ms = s->floor_ms + 1;
	s->paused |= lost > m->config.limits.max_lost;
}

void store_memory_fail_over(struct store *st, struct store_slot at)
{
	struct memory *m = (struct memory *)st;
	struct mem_slot *s = mem_slot_get(m, at, true);

	if (!s)
		return;
	mem_span_add(s, m->config.limits.hold_ms, mem_now(m, s));
	store_memory_reopen(st, at, 0);
}

bool store_memory_spoil(struct store *st, struct store_slot at, const struct handoff_id *id)
{
	struct mem_slot *s = mem_slot_get((struct memory *)st, at, false);
	struct mem_handoff *h = s ? mem_find(s, id->b) : NULL;

	if (!h || !h->task.n)
		return false;
	h->task.p[h->task.n - 1] ^= 1;
	return true;
}

bool store_memory_swap(struct store *st, struct store_slot at, const struct handoff_id *a, const struct handoff_id *b)
{
	struct mem_slot *s = mem_slot_get((struct memory *)st, at, false);
	struct mem_handoff *x = s ? mem_find(s, a->b) : NULL, *y = s ? mem_find(s, b->b) : NULL;
	struct mem_bytes t;

	if (!x || !y)
		return false;
	t = x->task;
	x->task = y->task;
	y->task = t;
	return true;
}
