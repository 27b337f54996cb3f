/* What does the in-memory twin keep of a slot? The same facts as the Redis keys, in hashes and arrays; nothing survives the process. */
#include <stdio.h>
#include <stdlib.h>

#include "store/memory_priv.h"

#define FENCE_FIRST 1000

struct mem_slot *mem_slot_get(struct memory *m, struct store_slot at, bool make)
{
	char name[QUEUE_KEY_MAX_BYTES + 1];
	struct mem_slot *s = NULL;

	if (!name_valid(slice_str(at.tenant)) || !queue_valid(slice_str(at.route)) || !queue_key(at.tenant, at.route, name))
		return NULL;
	HASH_FIND_STR(m->slots, name, s);
	if (s || !make)
		return s;
	s = calloc(1, sizeof *s);
	if (!s)
		return NULL;
	slice_copy_str(slice_str(name), s->name, sizeof s->name);
	slice_copy_str(slice_str(at.tenant), s->tenant, sizeof s->tenant);
	slice_copy_str(slice_str(at.route), s->route, sizeof s->route);
	handoff_route_tag(at.tenant, at.route, s->tag);
	s->fence = FENCE_FIRST;
	HASH_ADD_STR(m->slots, name, s);
	return s;
}

int64_t mem_now(struct memory *m, struct mem_slot *s)
{
	int64_t now = m->config.now_ms(m->config.arg);

	if (now > s->last_ms)
		s->last_ms = now;
	return s->last_ms; /* never back */
}

struct mem_handoff *mem_find_exact(struct mem_slot *s, const uint8_t *id)
{
	struct mem_handoff *h;

	HASH_FIND(hh, s->handoffs, id, HANDOFF_ID_BYTES, h);
	return h;
}

struct mem_handoff *mem_find(struct mem_slot *s, const uint8_t *id)
{
	struct mem_handoff *h = mem_find_exact(s, id);

	return h && h->alias ? mem_find_exact(s, h->first) : h;
}

struct mem_handoff *mem_add(struct mem_slot *s, const uint8_t *id)
{
	struct mem_handoff *h = calloc(1, sizeof *h);

	if (!h)
		return NULL;
	memcpy(h->id, id, HANDOFF_ID_BYTES);
	HASH_ADD(hh, s->handoffs, id, HANDOFF_ID_BYTES, h);
	return h;
}

static void handoff_free(struct mem_handoff *h)
{
	for (size_t i = 0; i < h->n_events; i++)
		free(h->events[i].body.p);
	free(h->events);
	free(h->task.p);
	free(h->outcome.p);
	free(h);
}

void mem_remove(struct mem_slot *s, struct mem_handoff *h)
{
	struct mem_key *k = NULL;

	if (h->has_idempotency)
		HASH_FIND(hh, s->keys, h->idempotency, sizeof h->idempotency, k);
	if (k && memcmp(k->id, h->id, HANDOFF_ID_BYTES) == 0) {
		HASH_DEL(s->keys, k);
		free(k);
	}
	HASH_DEL(s->handoffs, h);
	handoff_free(h);
}

void mem_slot_free(struct mem_slot *s)
{
	struct mem_handoff *h, *next;
	struct mem_key *k, *next_key;
	struct mem_sender *of, *next_of;

	HASH_ITER(hh, s->senders, of, next_of) {
		HASH_DEL(s->senders, of);
		free(of);
	}
	HASH_ITER(hh, s->handoffs, h, next) {
		HASH_DEL(s->handoffs, h);
		handoff_free(h);
	}
	HASH_ITER(hh, s->keys, k, next_key) {
		HASH_DEL(s->keys, k);
		free(k);
	}
	for (int c = 0; c < 3; c++)
		free(s->queue[c].v);
	free(s->all.v);
	free(s);
}

bool mem_push(struct mem_ids *q, const uint8_t *id)
{
	size_t size = q->size ? q->size * 2 : 64;
	void *v;

	if (q->n == q->size) {
		v = realloc(q->v, size * sizeof q->v[0]);
		if (!v)
			return false;
		q->v = v;
		q->size = size;
	}
	memcpy(q->v[q->n++], id, HANDOFF_ID_BYTES);
	return true;
}

void mem_queue(struct mem_slot *s, struct mem_handoff *h)
{
	unsigned p = h->r.r.priority;

	h->due_ms = 0;
	mem_push(&s->queue[p < 4 ? 0 : p < 7 ? 1 : 2], h->id);
}

struct mem_sender *mem_sender(struct mem_slot *s, uint64_t key)
{
	struct mem_sender *of;

	HASH_FIND(hh, s->senders, &key, sizeof key, of);
	return of;
}

void mem_waiting(struct mem_slot *s, const struct mem_handoff *h, int by)
{
	struct mem_sender *of = mem_sender(s, h->r.r.sender);

	s->waiting += (uint64_t)by;
	s->waiting_bytes += (uint64_t)by * h->r.task_size;
	if (!of) {
		of = calloc(1, sizeof *of);
		if (!of)
			abort(); /* a twin for tests has nobody to tell */
		of->key = h->r.r.sender;
		HASH_ADD(hh, s->senders, key, sizeof of->key, of);
	}
	of->waiting += (uint64_t)by;
	of->waiting_bytes += (uint64_t)by * h->r.task_size;
	if (!of->waiting) {
		HASH_DEL(s->senders, of);
		free(of);
	}
}

void mem_move(struct mem_slot *s, struct mem_handoff *h, enum handoff_state to, int64_t now)
{
	h->r.r.state = to;
	h->r.r.unconfirmed = false;
	h->r.r.updated_at_ms = s->changed_ms = now;
	h->r.r.cursor++;
	if (state_is_terminal(to))
		h->finished_ms = now;
}

void mem_lease(struct mem_slot *s, struct mem_handoff *h, uint64_t owner, uint32_t lease_ms, int64_t now)
{
	struct store_record *r = &h->r.r;

	r->fence = ++s->fence;
	r->attempt++;
	r->owner = owner;
	r->lease_until_ms = now + lease_ms;
	if (!r->first_leased_at_ms)
		r->first_leased_at_ms = now;
	h->given_back = false;
	h->confirmed_ms = 0;
	h->due_ms = 0;
	mem_move(s, h, STATE_LEASED, now);
	if (r->cursor > 2)
		mem_log(h, NULL, (struct mem_bytes){0});
}

void mem_log(struct mem_handoff *h, const uint8_t token[TOKEN_BYTES], struct mem_bytes body)
{
	const struct store_record *r = &h->r.r;
	struct mem_event *e;

	if (h->n_events == h->events_size) {
		size_t size = h->events_size ? h->events_size * 2 : 8;
		void *v = realloc(h->events, size * sizeof h->events[0]);

		if (!v) {
			free(body.p);
			return;
		}
		h->events = v;
		h->events_size = size;
	}
	e = &h->events[h->n_events++];
	*e = (struct mem_event){.body = body};
	e->e = (struct store_event){
		.cursor = r->cursor, .at_ms = r->updated_at_ms, .state = r->state, .attempt = r->attempt, .owner = r->owner};
	if (token)
		memcpy(e->token, token, TOKEN_BYTES);
}

bool mem_is_leased(const struct mem_handoff *h, uint64_t fence, uint64_t owner)
{
	const struct store_record *r = &h->r.r;

	return r->state >= STATE_LEASED && r->state <= STATE_INPUT_REQUIRED && r->fence == fence && r->owner == owner;
}

void mem_quarantine(struct mem_slot *s, struct mem_handoff *h, int64_t now)
{
	if (h->r.r.state >= STATE_QUARANTINED)
		return;
	if (h->r.r.state < STATE_LEASED)
		mem_waiting(s, h, -1);
	mem_move(s, h, STATE_QUARANTINED, now);
	mem_log(h, NULL, (struct mem_bytes){0});
}

struct mem_bytes mem_seal(struct memory *m, const struct mem_slot *s, enum seal_kind kind, const uint8_t *id,
			  const uint8_t *token, struct slice plain)
{
	const struct seal_name name = {kind, s->tenant, s->route, id, token};
	struct mem_bytes b = {malloc(plain.n + seal_overhead(m->seal) + 1), plain.n + seal_overhead(m->seal)};

	if (b.p && seal_put(m->seal, &name, plain, b.p) == 0)
		return b;
	free(b.p);
	return (struct mem_bytes){0};
}

void mem_token(struct memory *m, uint8_t out[TOKEN_BYTES])
{
	be_put(out, TOKEN_BYTES, ++m->next_token);
}
