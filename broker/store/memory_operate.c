/* What may operators do with a slot? The twin of baton2_operate.lua, rule by rule. */
#include "store/memory_priv.h"

void mem_view(struct mem_slot *s, struct store_route *out)
{
	struct mem_handoff *h, *next;

	*out = (struct store_route){.paused = s->paused, .closed = s->closed, .waiting = s->waiting, .waiting_bytes = s->waiting_bytes};
	HASH_ITER(hh, s->handoffs, h, next) {
		const struct store_record *r = &h->r.r;

		if (h->alias)
			continue;
		out->held += r->state == STATE_HELD;
		out->quarantined += r->state == STATE_QUARANTINED;
		out->dead += r->state == STATE_DEAD_LETTERED && !h->let_go;
		out->delayed += r->state < STATE_LEASED && (h->due_ms || (r->state == STATE_HELD && r->deadline_ms));
		if (r->state != STATE_QUEUED || h->due_ms)
			continue;
		out->queued++;
		if (!out->oldest_ms || r->accepted_at_ms < out->oldest_ms)
			out->oldest_ms = r->accepted_at_ms;
	}
}

static bool later(int64_t ms, const uint8_t *id, int64_t other_ms, const uint8_t *other_id)
{
	return ms != other_ms ? ms > other_ms : memcmp(id, other_id, HANDOFF_ID_BYTES) > 0;
}

struct mem_handoff *mem_next_dead(struct mem_slot *s, const uint8_t *after, int64_t after_ms)
{
	struct mem_handoff *known = after ? mem_find_exact(s, after) : NULL, *best = NULL, *h, *next;
	int64_t from_ms = known && !known->let_go ? known->finished_ms : after_ms;

	HASH_ITER(hh, s->handoffs, h, next) {
		if (h->alias || h->r.r.state != STATE_DEAD_LETTERED || h->let_go)
			continue;
		if (after && !later(from_ms, after, h->finished_ms, h->id))
			continue;
		if (!best || later(h->finished_ms, h->id, best->finished_ms, best->id))
			best = h;
	}
	return best;
}

enum store_status mem_drop(struct mem_slot *s, struct mem_handoff *h, int64_t now)
{
	if (!h || h->alias)
		return STORE_NOT_FOUND;
	if (h->r.r.state != STATE_DEAD_LETTERED)
		return STORE_WRONG_STATE;
	if (!h->let_go)
		h->finished_ms = now;
	h->let_go = true;
	return STORE_OK;
}

/* Where it stood before. */
static void unqueue(struct mem_slot *s, const uint8_t *id)
{
	for (int c = 0; c < 3; c++) {
		struct mem_ids *q = &s->queue[c];

		for (size_t i = q->head; i < q->n; i++) {
			if (memcmp(q->v[i], id, HANDOFF_ID_BYTES) != 0)
				continue;
			memmove(q->v[i], q->v[i + 1], (q->n - i - 1) * sizeof q->v[0]);
			q->n--;
			return;
		}
	}
}

static void put_aside(struct mem_slot *s, struct mem_handoff *h, int64_t now)
{
	bool waits = h->r.r.state < STATE_LEASED;

	h->was = waits ? h->r.r.state : STATE_QUEUED;
	h->was_due_ms = waits && !h->confirmed_ms ? h->due_ms : 0;
	h->due_ms = 0;
	if (waits)
		mem_waiting(s, h, -1);
	mem_move(s, h, STATE_QUARANTINED, now);
}

/* As it waited before. */
static void put_back(struct mem_slot *s, struct mem_handoff *h, int64_t now)
{
	bool later = h->was_due_ms > now, never = !h->r.r.fence;

	if (h->was == STATE_HELD) {
		mem_move(s, h, STATE_HELD, now);
	} else {
		mem_move(s, h, later && never ? STATE_SCHEDULED : STATE_QUEUED, now);
		h->given_back = !never;
		h->due_ms = later ? h->was_due_ms : 0;
	}
	h->was = STATE_UNSPECIFIED;
	h->was_due_ms = 0;
	mem_waiting(s, h, 1);
}

static enum store_status aside(struct memory *m, struct mem_slot *s, const uint8_t *id, enum store_aside how, struct slice note, struct mem_handoff **out)
{
	struct mem_handoff *h = *out = mem_find_exact(s, id);
	bool back = how == ASIDE_BACK;
	uint8_t token[TOKEN_BYTES];
	struct mem_bytes body;

	if (!h || h->alias)
		return STORE_NOT_FOUND;
	if (back ? h->r.r.state != STATE_QUARANTINED : h->r.r.state >= (how == ASIDE_LEASED ? STATE_QUARANTINED : STATE_LEASED))
		return STORE_WRONG_STATE;
	mem_token(m, token);
	if (!mem_seal_report(m, s, seal_kind_of(back ? STATE_QUEUED : STATE_QUARANTINED), h->id, token, note, &body))
		return STORE_UNAVAILABLE;
	if (back)
		put_back(s, h, mem_now(m, s));
	else
		put_aside(s, h, mem_now(m, s));
	mem_log(h, token, body);
	if (h->r.r.state == STATE_QUEUED) {
		h->r.r.owner = 0;
		unqueue(s, h->id);
		if (!h->due_ms)
			mem_queue(s, h);
	}
	return STORE_OK;
}

void mem_barrier(struct store *st, struct store_slot at, uint64_t generation, store_done *done, void *user, uint64_t op)
{
	struct memory *m = (struct memory *)st;
	struct mem_slot *s = mem_slot_get(m, at, true);

	if (s && s->barrier < generation)
		s->barrier = generation;
	mem_answer(m, done, user, op, s ? STORE_OK : STORE_UNAVAILABLE);
}

void mem_aside(struct store *st, struct store_slot at, const struct handoff_id *id, enum store_aside how, struct slice note, store_done *done, void *user,
		     uint64_t op)
{
	struct memory *m = (struct memory *)st;
	struct mem_slot *s = mem_slot_get(m, at, true);
	struct mem_handoff *h = NULL;
	enum store_status status = s ? aside(m, s, id->b, how, note, &h) : STORE_UNAVAILABLE;

	mem_report_done(m, s, h, status, done, user, op);
}

void mem_live_by(struct store *st, uint64_t generation)
{
	((struct memory *)st)->lives_by = generation;
}
