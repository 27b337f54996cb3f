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

static enum store_status aside(struct memory *m, struct mem_slot *s, const uint8_t *id, bool back, struct slice note, struct mem_handoff **out)
{
	struct mem_handoff *h = *out = mem_find_exact(s, id);
	enum handoff_state to = back ? STATE_QUEUED : STATE_QUARANTINED;
	uint8_t token[TOKEN_BYTES];
	struct mem_bytes body;

	if (!h || h->alias)
		return STORE_NOT_FOUND;
	if (back ? h->r.r.state != STATE_QUARANTINED : h->r.r.state >= STATE_LEASED)
		return STORE_WRONG_STATE;
	mem_token(m, token);
	if (!mem_seal_report(m, s, seal_kind_of(to), h->id, token, note, &body))
		return STORE_UNAVAILABLE;
	if (!back)
		mem_waiting(s, h, -1);
	mem_move(s, h, to, mem_now(m, s));
	mem_log(h, token, body);
	h->due_ms = 0;
	if (back) {
		h->r.r.owner = 0;
		h->given_back = true;
		mem_waiting(s, h, 1);
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

void mem_aside(struct store *st, struct store_slot at, const struct handoff_id *id, bool back, struct slice note, store_done *done, void *user,
		     uint64_t op)
{
	struct memory *m = (struct memory *)st;
	struct mem_slot *s = mem_slot_get(m, at, true);
	struct mem_handoff *h = NULL;
	enum store_status status = s ? aside(m, s, id->b, back, note, &h) : STORE_UNAVAILABLE;

	mem_report_done(m, s, h, status, done, user, op);
}

void mem_live_by(struct store *st, uint64_t generation)
{
	((struct memory *)st)->lives_by = generation;
}
