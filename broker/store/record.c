/* How do records and requests become bytes and back? See record.h; the other side is baton2.lua. */
#include "store/record.h"

void be_put(uint8_t *p, unsigned width, uint64_t v)
{
	while (width--) {
		p[width] = (uint8_t)v;
		v >>= 8;
	}
}

uint64_t be_get(const uint8_t *p, unsigned width)
{
	uint64_t v = 0;

	for (unsigned i = 0; i < width; i++)
		v = v << 8 | p[i];
	return v;
}

static bool state_known(unsigned s)
{
	return (s >= STATE_HELD && s <= STATE_QUARANTINED) || (s >= STATE_COMPLETED && s <= STATE_DEAD_LETTERED);
}

bool record_decode(const uint8_t tag[4], const uint8_t *id, const uint8_t *p, struct record *out)
{
	struct store_record *r = &out->r;

	if (p[0] != 'R' || !state_known(p[66]))
		return false;
	*out = (struct record){0};
	memcpy(r->id.tag, tag, 4);
	memcpy(r->id.b, id, HANDOFF_ID_BYTES);
	r->sender = be_get(p + 1, 8);
	r->deadline_ms = (int64_t)be_get(p + 17, 6);
	r->priority = p[23];
	r->max_attempts = p[24];
	out->task_size = (uint32_t)be_get(p + 25, 4);
	memcpy(out->task_token, p + 29, TOKEN_BYTES);
	r->accepted_at_ms = (int64_t)be_get(p + 54, 6);
	r->position = be_get(p + 60, 6);
	r->state = (enum handoff_state)p[66];
	r->updated_at_ms = (int64_t)be_get(p + 67, 6);
	r->cursor = be_get(p + 73, 4);
	r->stop_requested = p[77] & 1;
	r->unconfirmed = r->state == STATE_HELD && p[77] & 8;
	memcpy(out->outcome_token, p + 78, TOKEN_BYTES);
	r->accepted_by = be_get(p + 29, TOKEN_BYTES);
	r->by = be_get(p + 78, TOKEN_BYTES);
	if (!r->by)
		r->by = r->accepted_by;
	out->outcome_size = (uint32_t)be_get(p + 86, 4);
	r->attempt = p[90];
	r->fence = be_get(p + 91, 8);
	r->owner = be_get(p + 99, 8);
	r->lease_until_ms = (int64_t)be_get(p + 107, 6);
	r->first_leased_at_ms = (int64_t)be_get(p + 113, 6);
	return true;
}

bool record_head_decode(struct slice answer, struct record_head *out)
{
	if (answer.n < HEAD_BYTES || answer.p[0] != 'K')
		return false;
	out->now_ms = (int64_t)be_get(answer.p + 1, 6);
	out->waiting = be_get(answer.p + 7, 6);
	out->waiting_bytes = be_get(answer.p + 13, 6);
	out->extra = be_get(answer.p + 19, 6);
	out->epoch = (uint32_t)be_get(answer.p + 25, 4);
	return true;
}

bool record_route_decode(struct slice answer, const struct record_head *h, struct store_route *out)
{
	const uint8_t *p = answer.p + HEAD_BYTES;

	if (answer.n != ROUTE_VIEW_BYTES)
		return false;
	*out = (struct store_route){
		.paused = h->extra & 1, .closed = h->extra & 2, .waiting = h->waiting, .waiting_bytes = h->waiting_bytes,
		.oldest_ms = (int64_t)be_get(p, 6), .queued = be_get(p + 6, 6), .delayed = be_get(p + 12, 6),
		.held = be_get(p + 18, 6), .dead = be_get(p + 24, 6), .quarantined = be_get(p + 30, 6),
	};
	return true;
}

bool record_event_decode(struct slice entry, struct store_event *out, const uint8_t **token)
{
	const uint8_t *p = entry.p;

	if (entry.n < EVENT_HEAD_BYTES || !state_known(p[0]))
		return false;
	out->state = (enum handoff_state)p[0];
	out->at_ms = (int64_t)be_get(p + 1, 6);
	out->cursor = be_get(p + 7, 4);
	out->attempt = p[11];
	out->owner = be_get(p + 12, 8);
	*token = p + 20;
	out->body = slice_of(p + EVENT_HEAD_BYTES, entry.n - EVENT_HEAD_BYTES);
	return true;
}

/* Times from outside: before 1970 counts as never, beyond 48 bits as the end. */
static uint64_t time48(int64_t ms)
{
	if (ms < 0)
		return 0;
	return (uint64_t)ms < (1ull << 48) ? (uint64_t)ms : (1ull << 48) - 1;
}

void request_accept(const struct store_accept *a, const uint8_t token[TOKEN_BYTES], size_t sealed, uint8_t out[ACCEPT_BYTES])
{
	memcpy(out, a->id.b, 16);
	out[16] = 'R';
	be_put(out + 17, 8, a->sender);
	memcpy(out + 25, a->bytes_print, 8);
	be_put(out + 33, 6, time48(a->deadline_ms));
	out[39] = a->priority > 9 ? 9 : a->priority;
	out[40] = a->max_attempts ? a->max_attempts : 1;
	be_put(out + 41, 4, sealed);
	memcpy(out + ACCEPT_AT_TOKEN, token, TOKEN_BYTES);
	memcpy(out + 53, a->idempotency, 16);
	out[69] = a->has_idempotency;
	out[70] = (uint8_t)a->state;
	memcpy(out + 71, a->idempotency_print, 16);
	be_put(out + 87, 6, time48(a->issued_at_ms));
	be_put(out + 93, 6, time48(a->start_at_ms));
	be_put(out + ACCEPT_AT_OWNER, 8, a->owner);
	be_put(out + 107, 4, a->lease_ms);
}

void request_lease(const struct store_lease *a, uint8_t out[LEASE_BYTES])
{
	uint32_t max = a->max < 1 ? 1 : a->max > 256 ? 256 : a->max;

	be_put(out, 2, max);
	be_put(out + 2, 8, a->owner);
	be_put(out + 10, 4, a->lease_ms);
}

void request_extend(const struct store_extend *a, uint8_t out[EXTEND_BYTES])
{
	memcpy(out, a->id.b, 16);
	be_put(out + 16, 8, a->fence);
	be_put(out + 24, 8, a->owner);
	be_put(out + 32, 4, a->lease_ms);
	be_put(out + 36, 6, time48(a->shorten_ms));
}

void request_event(const struct store_event_put *a, const uint8_t token[TOKEN_BYTES], uint8_t out[EVENT_BYTES])
{
	memcpy(out, a->id.b, 16);
	be_put(out + 16, 8, a->fence);
	be_put(out + 24, 8, a->owner);
	out[32] = (uint8_t)a->state;
	be_put(out + 33, 4, a->max_events);
	memcpy(out + EVENT_AT_TOKEN, token, TOKEN_BYTES);
	out[EVENT_AT_REPEAT] = 0;
	be_put(out + 46, 4, a->lease_ms);
}

enum handoff_state finish_state(enum store_finish_kind k)
{
	static const enum handoff_state after[] = {
		[FINISH_COMPLETED] = STATE_COMPLETED, [FINISH_FAILED] = STATE_FAILED, [FINISH_REJECTED] = STATE_REJECTED,
		[FINISH_RETRY] = STATE_QUEUED, [FINISH_RELEASE] = STATE_QUEUED, [FINISH_QUARANTINED] = STATE_QUARANTINED,
		[FINISH_EXPIRED] = STATE_EXPIRED,
	};

	return after[k];
}

bool finish_is_last(enum store_finish_kind k)
{
	return state_is_terminal(finish_state(k));
}

void request_finish(const struct store_finish *a, const uint8_t token[TOKEN_BYTES], size_t sealed, uint8_t out[FINISH_BYTES])
{
	memcpy(out, a->id.b, 16);
	be_put(out + 16, 8, a->fence);
	be_put(out + 24, 8, a->owner);
	out[FINISH_AT_KIND] = (uint8_t)a->kind;
	be_put(out + 33, 4, a->delay_ms);
	memcpy(out + FINISH_AT_TOKEN, token, TOKEN_BYTES);
	be_put(out + 45, 4, sealed);
	out[FINISH_AT_PLACE] = !sealed ? BODY_NONE : finish_is_last(a->kind) ? BODY_BESIDE : BODY_ARGUMENT;
}

void request_cancel(const struct handoff_id *id, const uint8_t token[TOKEN_BYTES], size_t sealed, uint8_t out[CANCEL_BYTES])
{
	memcpy(out, id->b, 16);
	memcpy(out + CANCEL_AT_TOKEN, token, TOKEN_BYTES);
	be_put(out + 24, 4, sealed);
	out[CANCEL_AT_PLACE] = sealed ? BODY_BESIDE : BODY_NONE;
}

void request_look(enum store_place place, uint64_t cursor, int64_t since_ms, int64_t keep_ms, uint8_t out[LOOK_BYTES])
{
	out[0] = (uint8_t)place;
	be_put(out + 1, 8, cursor);
	be_put(out + 9, 8, (uint64_t)since_ms);
	be_put(out + 17, 8, (uint64_t)keep_ms);
}

void request_mend(const struct store_mend *r, int64_t keep_ms, uint8_t out[MEND_BYTES])
{
	const uint64_t numbers[] = {(uint64_t)r->due_ms, (uint64_t)keep_ms, r->seen, r->waiting, r->waiting_bytes};
	uint8_t *p = out + 2 + HANDOFF_ID_BYTES + STORE_KEY_BYTES;

	out[0] = (uint8_t)r->fault;
	out[1] = r->repair;
	memcpy(out + 2, r->id.b, HANDOFF_ID_BYTES);
	memcpy(out + 2 + HANDOFF_ID_BYTES, r->key, STORE_KEY_BYTES);
	for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++, p += 8)
		be_put(p, 8, numbers[i]);
	memset(p, '-', STORE_MARK);
	if (r->mark)
		memcpy(p, r->mark, strnlen(r->mark, STORE_MARK));
}
