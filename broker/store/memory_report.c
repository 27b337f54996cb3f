/* What may the holder of a lease say, and what does time do to a handoff? The twin of extend, event, finish, cancel and tick in
 * baton2.lua, rule by rule. */
#include <stdlib.h>

#include "store/memory_priv.h"

#define EVENTS_RELEASE_MAX 2000 /* cursor from which a release costs an attempt */

enum store_status mem_extend(struct memory *m, struct mem_slot *s, const struct store_extend *r, struct mem_handoff **out)
{
	struct mem_handoff *h = *out = mem_find_exact(s, r->id.b);
	int64_t until;

	if (m->lives_by < s->barrier)
		return STORE_UNAVAILABLE;
	if (!h || h->alias)
		return STORE_NOT_FOUND;
	if (!mem_is_leased(h, r->fence, r->owner))
		return STORE_LOST;
	until = mem_now(m, s) + r->lease_ms;
	if (!r->shorten_ms || (h->r.r.lease_until_ms == r->shorten_ms && until < r->shorten_ms))
		h->r.r.lease_until_ms = until;
	return STORE_OK;
}

bool mem_seal_report(struct memory *m, struct mem_slot *s, enum seal_kind kind, const uint8_t *id, const uint8_t *token, struct slice plain,
		     struct mem_bytes *out)
{
	*out = (struct mem_bytes){0};
	if (!plain.n)
		return true;
	*out = mem_seal(m, s, kind, id, token, plain);
	return out->p;
}

enum store_status mem_event(struct memory *m, struct mem_slot *s, const struct store_event_put *r, struct mem_handoff **out)
{
	struct mem_handoff *h = *out = mem_find_exact(s, r->id.b);
	uint8_t token[TOKEN_BYTES];
	struct mem_bytes body;
	int64_t until;

	if (m->lives_by < s->barrier)
		return STORE_UNAVAILABLE;
	if (!h || h->alias)
		return STORE_NOT_FOUND;
	if (!mem_is_leased(h, r->fence, r->owner))
		return STORE_LOST;
	until = mem_now(m, s) + r->lease_ms;
	if (r->lease_ms && until > h->r.r.lease_until_ms)
		h->r.r.lease_until_ms = until;
	if (h->r.r.cursor >= r->max_events)
		return STORE_QUOTA;
	mem_token(m, token);
	if (!mem_seal_report(m, s, SEAL_PROGRESS, h->id, token, r->body, &body))
		return STORE_UNAVAILABLE;
	mem_move(s, h, r->state ? r->state : h->r.r.state, mem_now(m, s));
	mem_log(h, token, body);
	return STORE_OK;
}

static void set_outcome(struct mem_handoff *h, const uint8_t *token, struct mem_bytes body)
{
	h->outcome = body;
	h->r.outcome_size = (uint32_t)body.n;
	memcpy(h->r.outcome_token, token, TOKEN_BYTES);
}

/* Back to the queue, at once or after delay_ms. */
static void give_back(struct mem_slot *s, struct mem_handoff *h, const struct store_finish *r, bool late, const uint8_t *token,
		      struct mem_bytes body, int64_t now)
{
	mem_move(s, h, STATE_QUEUED, now);
	mem_log(h, token, body);
	h->r.r.owner = 0;
	h->given_back = true;
	mem_waiting(s, h, 1);
	if (late)
		return; /* it stands in its queue since the lapse */
	if (r->delay_ms)
		h->due_ms = now + r->delay_ms;
	else
		mem_queue(s, h);
}

enum store_status mem_finish(struct memory *m, struct mem_slot *s, const struct store_finish *r, struct mem_handoff **out)
{
	struct mem_handoff *h = *out = mem_find_exact(s, r->id.b);
	enum handoff_state to = finish_state(r->kind);
	uint8_t token[TOKEN_BYTES];
	struct mem_bytes body;
	int64_t now;
	bool late;

	if (m->lives_by < s->barrier)
		return STORE_UNAVAILABLE;
	if (!h || h->alias)
		return STORE_NOT_FOUND;
	late = (h->r.r.state == STATE_QUEUED || (h->r.r.unconfirmed && finish_is_last(r->kind))) && !h->given_back && r->fence &&
	       h->r.r.fence == r->fence && h->r.r.owner == r->owner;
	if (!late && !mem_is_leased(h, r->fence, r->owner))
		return STORE_LOST;
	mem_token(m, token);
	if (!mem_seal_report(m, s, seal_kind_of(finish_state(r->kind)), h->id, token, r->outcome, &body))
		return STORE_UNAVAILABLE;
	now = mem_now(m, s);
	if (late)
		mem_waiting(s, h, -1);
	if (r->kind == FINISH_RELEASE && h->r.r.cursor + 1 < EVENTS_RELEASE_MAX)
		h->r.r.attempt -= h->r.r.attempt > 0;
	else if ((r->kind == FINISH_RETRY || r->kind == FINISH_RELEASE) && h->r.r.attempt >= h->r.r.max_attempts)
		to = STATE_DEAD_LETTERED;
	if (state_is_terminal(to)) {
		mem_move(s, h, to, now);
		set_outcome(h, token, body);
	} else if (r->kind == FINISH_QUARANTINED) {
		mem_move(s, h, STATE_QUARANTINED, now);
		mem_log(h, token, body);
	} else {
		give_back(s, h, r, late, token, body, now);
	}
	return STORE_OK;
}

enum store_status mem_cancel(struct memory *m, struct mem_slot *s, const uint8_t *id, struct slice outcome,
			     struct mem_handoff **out)
{
	struct mem_handoff *h = *out = mem_find(s, id);
	uint8_t token[TOKEN_BYTES];
	struct mem_bytes body;

	if (!h)
		return STORE_NOT_FOUND;
	if (h->r.r.state > STATE_QUARANTINED)
		return STORE_WRONG_STATE;
	mem_token(m, token);
	if (!mem_seal_report(m, s, SEAL_CANCELLED, h->id, token, outcome, &body))
		return STORE_UNAVAILABLE;
	if (h->r.r.state < STATE_LEASED)
		mem_waiting(s, h, -1);
	else if (h->r.r.state != STATE_QUARANTINED)
		h->r.r.stop_requested = true;
	mem_move(s, h, STATE_CANCELLED, mem_now(m, s));
	set_outcome(h, token, body);
	return STORE_OK;
}

static bool past_deadline(const struct mem_handoff *h, int64_t now)
{
	return h->r.r.deadline_ms > 0 && h->r.r.deadline_ms <= now;
}

/* The n-th lapse backs off for [least * 2^(n-1), least * 2^n), up to the most; where in it the id says, which is a hash. */
static int64_t backoff(const struct store_slot_limits *l, const struct mem_handoff *h)
{
	unsigned doublings = h->r.r.attempt < 32 ? h->r.r.attempt : 32;
	uint64_t high = (uint64_t)l->backoff_min_ms << doublings, low;

	if (high > l->backoff_max_ms)
		high = l->backoff_max_ms;
	low = high / 2 > l->backoff_min_ms ? high / 2 : l->backoff_min_ms;
	return (int64_t)(low + ((high - low + 1) * be_get(h->id, 4) >> 32));
}

/* true: the record changed. */
static bool lapse(struct mem_slot *s, const struct store_slot_limits *l, struct mem_handoff *h, int64_t now)
{
	if (h->r.r.lease_until_ms > now || (h->r.r.updated_at_ms < s->floor_ms && s->floor_ms + STORE_SPARED_MS > now))
		return false;
	if (past_deadline(h, now)) {
		mem_move(s, h, STATE_EXPIRED, now);
	} else if (h->r.r.attempt >= h->r.r.max_attempts) {
		mem_move(s, h, STATE_DEAD_LETTERED, now);
	} else {
		mem_move(s, h, STATE_QUEUED, now);
		mem_log(h, NULL, (struct mem_bytes){0});
		h->given_back = l->backoff_max_ms > 0;
		mem_waiting(s, h, 1);
		if (h->given_back)
			h->due_ms = now + backoff(l, h);
		else
			mem_queue(s, h);
	}
	return true;
}

static bool wait_over(struct mem_slot *s, struct mem_handoff *h, int64_t now)
{
	if (past_deadline(h, now)) {
		mem_waiting(s, h, -1);
		mem_move(s, h, STATE_EXPIRED, now);
		return true;
	}
	if (h->r.r.state == STATE_HELD || !h->due_ms || h->due_ms > now)
		return false;
	if (h->r.r.state == STATE_SCHEDULED) {
		mem_move(s, h, STATE_QUEUED, now);
		mem_log(h, NULL, (struct mem_bytes){0});
	}
	mem_queue(s, h);
	return true;
}

static void purge(struct mem_slot *s, const struct store_slot_limits *l, int64_t now)
{
	struct mem_handoff *h, *next;

	HASH_ITER(hh, s->handoffs, h, next) {
		bool dead = !h->alias && h->r.r.state == STATE_DEAD_LETTERED && !h->let_go;
		int64_t keep = dead ? l->keep_dead_ms : l->keep_finished_ms;

		if (h->finished_ms && h->finished_ms + keep <= now && !(dead && !keep))
			mem_remove(s, h);
	}
	while (s->all.head < s->all.n && !mem_find_exact(s, s->all.v[s->all.head]))
		s->all.head++;
}

void mem_tick(struct memory *m, struct mem_slot *s, const struct store_slot_limits *l,
	      void (*changed)(void *arg, struct mem_handoff *h), void *arg)
{
	int64_t now = mem_now(m, s);
	struct mem_handoff *h, *next;

	HASH_ITER(hh, s->handoffs, h, next) {
		enum handoff_state was = h->r.r.state;
		bool moved = false;

		if (h->alias)
			continue;
		if (was >= STATE_LEASED && was <= STATE_INPUT_REQUIRED)
			moved = lapse(s, l, h, now);
		else if (was <= STATE_QUEUED)
			moved = wait_over(s, h, now);
		if (moved)
			changed(arg, h);
		if (moved && h->given_back) /* nobody's any more, but he who had it is in the answer */
			h->r.r.owner = 0;
	}
	purge(s, l, now);
}
