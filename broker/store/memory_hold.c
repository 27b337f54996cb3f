/* Which work must its sender confirm after a fail-over? The twin of baton2_hold.lua, rule by rule. */
#include "store/memory_priv.h"

void mem_span_add(struct mem_slot *s, int64_t hold_ms, int64_t now)
{
	int64_t from = s->changed_ms > hold_ms ? s->changed_ms - hold_ms : 0;

	if (!hold_ms || !s->all.n)
		return;
	if (s->n_spans == MEM_SPANS) { /* the two oldest become one */
		s->spans[1].from_ms = s->spans[0].from_ms;
		memmove(s->spans, s->spans + 1, (MEM_SPANS - 1) * sizeof s->spans[0]);
		s->n_spans--;
	}
	s->spans[s->n_spans++] = (struct mem_span){from, now, s->fence};
}

bool mem_doubtful(const struct mem_slot *s, const struct mem_handoff *h)
{
	int64_t at = h->confirmed_ms ? h->confirmed_ms : h->r.r.accepted_at_ms;

	for (size_t i = 0; h->has_idempotency && i < s->n_spans; i++)
		if (at >= s->spans[i].from_ms && at <= s->spans[i].to_ms && h->r.r.fence <= s->spans[i].fence)
			return true;
	return false;
}

void mem_set_aside(struct mem_slot *s, struct mem_handoff *h, int64_t now)
{
	mem_move(s, h, STATE_HELD, now);
	mem_log(h, NULL, (struct mem_bytes){0});
	h->r.r.unconfirmed = true;
	h->confirmed_ms = 0;
}

bool mem_confirm(struct mem_slot *s, struct mem_handoff *h, int64_t now)
{
	enum handoff_state state = h->r.r.state;

	if (state == STATE_HELD && h->r.r.unconfirmed) {
		h->confirmed_ms = now;
		mem_move(s, h, STATE_QUEUED, now);
		mem_log(h, NULL, (struct mem_bytes){0});
		mem_queue(s, h);
		return true;
	}
	if (state >= STATE_SCHEDULED && state <= STATE_INPUT_REQUIRED && mem_doubtful(s, h))
		h->confirmed_ms = now;
	return false;
}
