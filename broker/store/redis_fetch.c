/* How do blobs come back? Records come from a Function; the blobs they name are fetched by MGET behind it and opened here. What is
 * missing or does not open is quarantined before anybody hears of it. A fetch holds the answers of a whole batch until then. */
#include <stdio.h>
#include <stdlib.h>

#include "store/redis_priv.h"

#define FETCH_HOPS_MAX 3

struct result {
	struct item *item;
	struct store_answer a;
	size_t first, n;    /* of fetch.items */
	bool outcome_alone; /* accept: items[first].outcome belongs to the answer itself */
	bool given_up;      /* no items: they are not all there */
};

struct want {
	size_t item;
	bool outcome;
	uint32_t size;
	uint8_t token[TOKEN_BYTES];
};

struct plain {
	struct plain *next;
	uint8_t bytes[];
};

struct fetch {
	struct result *results;
	size_t n_results, results_size;
	struct store_item *items;
	size_t n_items, items_size;
	struct want *wants;
	size_t n_wants, wants_size;
	size_t answered;  /* wants whose blob has come */
	size_t bad;       /* items that did not open */
	bool broken;      /* an error instead of blobs */
	struct plain *plains;
};

struct fetch *fetch_new(void)
{
	return calloc(1, sizeof(struct fetch));
}

void fetch_free(struct fetch *f)
{
	if (!f)
		return;
	while (f->plains) {
		struct plain *p = f->plains;

		f->plains = p->next;
		free(p);
	}
	free(f->results);
	free(f->items);
	free(f->wants);
	free(f);
}

/* Room for one more; false when memory is out. */
static bool grow(void *array, size_t *size, size_t n, size_t each)
{
	void **at = array;
	size_t want = *size ? *size * 2 : 16;
	void *p;

	if (n < *size)
		return true;
	p = realloc(*at, want * each);
	if (!p)
		return false;
	*at = p;
	*size = want;
	return true;
}

bool fetch_begin(struct fetch *f, struct item *i, const struct store_answer *a)
{
	if (!grow(&f->results, &f->results_size, f->n_results, sizeof f->results[0]))
		return false;
	f->results[f->n_results++] = (struct result){.item = i, .a = *a, .first = f->n_items};
	return true;
}

/* There is room. */
static void add_want(struct fetch *f, const struct record *r, bool outcome)
{
	struct want *w = &f->wants[f->n_wants++];

	*w = (struct want){
		.item = f->n_items - 1, .outcome = outcome, .size = outcome ? r->outcome_size : r->task_size};
	memcpy(w->token, outcome ? r->outcome_token : r->task_token, TOKEN_BYTES);
}

/* With all its blobs, or not at all: a task without its bytes would be taken for one that is empty. */
bool fetch_add(struct fetch *f, const struct record *r, bool task, bool outcome)
{
	if (!grow(&f->items, &f->items_size, f->n_items, sizeof f->items[0])
		|| !grow(&f->wants, &f->wants_size, f->n_wants + 1, sizeof f->wants[0]))
		return false;
	f->items[f->n_items++] = (struct store_item){.status = STORE_OK, .record = r->r};
	f->results[f->n_results - 1].n++;
	if (task)
		add_want(f, r, false);
	if (outcome && r->outcome_size)
		add_want(f, r, true);
	return true;
}

bool fetch_add_outcome(struct fetch *f, const struct record *r)
{
	return f->results[f->n_results - 1].outcome_alone = fetch_add(f, r, false, true);
}

void fetch_give_up(struct fetch *f)
{
	struct result *r = &f->results[f->n_results - 1];

	r->a = (struct store_answer){.status = STORE_UNAVAILABLE, .retry_after_ms = r->a.retry_after_ms};
	r->outcome_alone = false;
	r->given_up = true;
}

static void deliver_one(struct redis *s, struct fetch *f, struct result *r)
{
	const struct store_item *first = r->n && !r->given_up ? &f->items[r->first] : NULL;

	if (first && (r->item->kind == KIND_GET || r->outcome_alone)) {
		r->a.record = first->record;
		if (first->status != STORE_OK)
			r->a.status = first->status;
	}
	if (r->outcome_alone) {
		r->a.outcome = first->outcome;
	} else {
		r->a.items = first;
		r->a.n_items = first ? r->n : 0;
	}
	item_answer(s, r->item, &r->a);
}

static void deliver(struct redis *s, struct fetch *f)
{
	size_t n = f->n_results;

	f->n_results = 0; /* each is answered once */
	for (size_t i = 0; i < n; i++)
		deliver_one(s, f, &f->results[i]);
}

static void deliver_failure(struct redis *s, struct fetch *f)
{
	size_t n = f->n_results;

	f->n_results = 0;
	for (size_t i = 0; i < n; i++)
		item_fail(s, f->results[i].item, STORE_UNAVAILABLE, 0);
}

void fetch_start(struct redis *s, struct slot *slot, struct fetch *f)
{
	struct batch *b;

	if (!f->n_wants) {
		deliver(s, f);
		fetch_free(f);
		return;
	}
	b = batch_new(KIND_FETCH, slot);
	if (!b) {
		deliver_failure(s, f);
		fetch_free(f);
		return;
	}
	b->fetch = f;
	if (!batch_send(s, b))
		batch_abandon(s, b);
}

/* One MGET from want `from` on; how many it takes, 0 when it could not be written. */
static size_t write_mget(struct redis *s, const struct batch *b, size_t from, struct buf *out)
{
	const struct fetch *f = b->fetch;
	size_t n = 0, bytes = 0;

	buf_reset(&s->scratch);
	s->argv[0] = SLICE_LIT("MGET");
	while (from + n < f->n_wants && n < BATCH_ITEMS && (!n || bytes + f->wants[from + n].size <= FETCH_BYTES)) {
		const struct want *w = &f->wants[from + n];
		uint8_t *name = s->scratch.p + s->scratch.n;
		size_t len = slot_blob_name(b->slot, f->items[w->item].record.id.b, w->token, name);

		s->scratch.n += len;
		s->argv[++n] = slice_of(name, len);
		bytes += w->size;
	}
	if (b->asking && !resp_put(out, &SLICE_LIT("ASKING"), 1))
		return 0;
	return resp_put(out, s->argv, n + 1) ? n : 0;
}

size_t fetch_write(struct redis *s, struct batch *b, struct buf *out)
{
	size_t commands = 0;

	for (size_t at = 0, n; at < b->fetch->n_wants; at += n) {
		n = write_mget(s, b, at, out);
		if (!n)
			return 0;
		commands += b->asking ? 2 : 1;
	}
	return commands;
}

static void spoil(struct fetch *f, struct store_item *i)
{
	if (i->status == STORE_OK)
		f->bad++;
	i->status = STORE_UNSEALABLE;
	i->task = i->outcome = slice_of(NULL, 0);
}

static size_t open_blob(struct redis *s, const struct slot *slot, struct fetch *f, const struct want *w, struct slice sealed,
			uint8_t *out)
{
	struct store_item *i = &f->items[w->item];
	const struct seal_name name = {w->outcome ? seal_kind_of(i->record.state) : SEAL_TASK, slot->tenant, slot->route, i->record.id.b, w->token};
	long n = sealed.p ? seal_open(s->seal, &name, sealed, out) : -1;

	if (n == SEAL_NO_MEMORY) {
		f->broken = true;
		return 0;
	}
	if (n < 0 || i->status != STORE_OK) {
		spoil(f, i);
		return 0;
	}
	*(w->outcome ? &i->outcome : &i->task) = slice_of(out, (size_t)n);
	return (size_t)n;
}

/* The blobs of one MGET, into one block of memory. */
static bool open_all(struct redis *s, const struct slot *slot, struct fetch *f, const redisReply *r)
{
	struct plain *p;
	size_t total = 0, at = 0;

	if (r->type != REDIS_REPLY_ARRAY || r->elements > f->n_wants - f->answered)
		return false;
	for (size_t i = 0; i < r->elements; i++)
		total += resp_bytes(r->element[i]).n;
	p = malloc(sizeof *p + total + 1);
	if (!p)
		return false;
	p->next = f->plains;
	f->plains = p;
	for (size_t i = 0; i < r->elements; i++)
		at += open_blob(s, slot, f, &f->wants[f->answered++], resp_bytes(r->element[i]), p->bytes + at);
	return true;
}

/* From the beginning. */
static void forget_blobs(struct fetch *f)
{
	for (size_t i = 0; i < f->n_items; i++) {
		f->items[i].status = STORE_OK;
		f->items[i].task = f->items[i].outcome = slice_of(NULL, 0);
	}
	f->answered = f->bad = 0;
	f->broken = false;
}

/* Its slot is elsewhere by now: they are read there, or all is asked again. */
static void send_on(struct redis *s, struct batch *b)
{
	bool asking;
	struct primary *p = cluster_follow(s, b, &asking);
	struct batch *again = p && b->hops < FETCH_HOPS_MAX ? batch_new(KIND_FETCH, b->slot) : NULL;

	if (!again) {
		fetch_abandon(s, b);
		return;
	}
	forget_blobs(b->fetch);
	again->primary = p;
	again->asking = asking;
	again->hops = b->hops + 1;
	again->fetch = b->fetch;
	b->fetch = NULL;
	if (!batch_send(s, again))
		batch_abandon(s, again);
}

static void quarantine(struct redis *s, struct batch *b)
{
	struct batch *q = batch_new(KIND_QUARANTINE, b->slot);

	if (!q) {
		deliver_failure(s, b->fetch);
		return;
	}
	q->fetch = b->fetch;
	b->fetch = NULL;
	if (!batch_send(s, q))
		batch_abandon(s, q);
}

void fetch_on_reply(struct redis *s, struct batch *b, const redisReply *r)
{
	struct fetch *f = b->fetch;

	if (b->asking && b->seen % 2)
		return; /* of ASKING */
	if (r->type == REDIS_REPLY_ERROR && !b->error[0])
		snprintf(b->error, sizeof b->error, "%s", r->str);
	if (!open_all(s, b->slot, f, r))
		f->broken = true;
	if (b->seen < b->replies)
		return;
	if (s->cluster && cluster_elsewhere(b))
		send_on(s, b);
	else if (f->broken || f->answered != f->n_wants)
		deliver_failure(s, f);
	else if (f->bad)
		quarantine(s, b);
	else
		deliver(s, f);
}

void fetch_quarantine_ids(const struct fetch *f, struct buf *out)
{
	for (size_t i = 0; i < f->n_items; i++)
		if (f->items[i].status != STORE_OK && !buf_put(out, f->items[i].record.id.b, HANDOFF_ID_BYTES))
			return;
}

/* The records as they are after it, in the order of fetch_quarantine_ids(). */
void fetch_on_quarantined(struct redis *s, struct batch *b, struct slice entries)
{
	struct fetch *f = b->fetch;
	struct record r;
	size_t at = 0;

	for (size_t i = 0; i < f->n_items && at + ENTRY_BYTES <= entries.n; i++) {
		if (f->items[i].status == STORE_OK)
			continue;
		if (record_decode(b->slot->tag, entries.p + at + 2, entries.p + at + 18, &r))
			f->items[i].record = r.r;
		at += ENTRY_BYTES;
	}
	deliver(s, f);
}

void fetch_abandon(struct redis *s, struct batch *b)
{
	struct fetch *f = b->fetch;

	b->fetch = NULL;
	for (size_t i = f->n_results; i--;) {
		struct item *it = f->results[i].item;

		if (it->tries >= TRIES_MAX || s->now_ms >= it->deadline_ms)
			item_fail(s, it, STORE_UNAVAILABLE, 0);
		else
			item_requeue(s, it);
	}
	fetch_free(f);
}

/* ---- events: their bodies come with them ---- */

struct event_list {
	struct store_event *v;
	size_t n;
	uint8_t *plain;
};

static enum store_status open_event(struct redis *s, const struct slot *slot, const struct record *r, struct store_event *e,
		       const uint8_t *token, uint8_t *out, size_t *used)
{
	const struct seal_name name = {seal_kind_of(e->state), slot->tenant, slot->route, r->r.id.b, token};
	long n;

	if (!e->body.n)
		return STORE_OK;
	n = seal_open(s->seal, &name, e->body, out);
	if (n < 0)
		return n == SEAL_NO_MEMORY ? STORE_UNAVAILABLE : STORE_UNSEALABLE;
	e->body = slice_of(out, (size_t)n);
	*used += (size_t)n;
	return STORE_OK;
}

/* STORE_OK, STORE_UNSEALABLE or STORE_UNAVAILABLE. */
static enum store_status open_events(struct redis *s, const struct slot *slot, const struct record *r, const redisReply *reply,
				     struct event_list *l)
{
	size_t total = 1, used = 0;
	const uint8_t *token;

	for (size_t i = 1; i < reply->elements; i++)
		total += resp_bytes(reply->element[i]).n;
	l->v = calloc(reply->elements, sizeof *l->v);
	l->plain = malloc(total);
	if (!l->v || !l->plain)
		return STORE_UNAVAILABLE;
	for (size_t i = 1; i < reply->elements; i++) {
		struct store_event *e = &l->v[l->n];
		bool good = record_event_decode(resp_bytes(reply->element[i]), e, &token);
		enum store_status rc = good ? open_event(s, slot, r, e, token, l->plain + used, &used) : STORE_UNSEALABLE;

		if (rc != STORE_OK)
			return rc;
		l->n++;
	}
	return STORE_OK;
}

/* An event that does not open takes its handoff out of circulation, as a blob does. */
static void events_quarantine(struct redis *s, struct slot *slot, struct item *i, const struct record *r)
{
	struct fetch *f = fetch_new();
	struct batch *q = batch_new(KIND_QUARANTINE, slot);
	const struct store_answer a = {.status = STORE_UNSEALABLE, .record = r->r};

	if (!f || !q || !fetch_begin(f, i, &a)) {
		fetch_free(f);
		batch_free(q);
		item_fail(s, i, STORE_UNAVAILABLE, 0);
		return;
	}
	q->fetch = f;
	if (fetch_add(f, r, false, false))
		spoil(f, &f->items[0]);
	f->results[0].outcome_alone = true; /* record and status into the answer, no item */
	if (!batch_send(s, q))
		batch_abandon(s, q);
}

void events_answer(struct redis *s, struct batch *b, const redisReply *reply)
{
	struct item *i = items_take(&b->items);
	struct slice head = resp_bytes(reply->elements ? reply->element[0] : NULL);
	struct event_list l = {0};
	struct store_answer a = {.status = STORE_NOT_FOUND};
	struct record_head h;
	struct record r;

	if (head.n != HEAD_BYTES + ENTRY_BYTES || !record_head_decode(head, &h)) {
		item_fail(s, i, STORE_UNAVAILABLE, 0);
		return;
	}
	if (head.p[HEAD_BYTES] == STORE_OK
		&& record_decode(b->slot->tag, head.p + HEAD_BYTES + 2, head.p + HEAD_BYTES + 18, &r)) {
		a.status = open_events(s, b->slot, &r, reply, &l);
		a.record = r.r;
	}
	if (a.status == STORE_UNSEALABLE) {
		events_quarantine(s, b->slot, i, &r);
	} else {
		a.events = l.v;
		a.n_events = a.status == STORE_OK ? l.n : 0;
		a.more = a.status == STORE_OK && h.extra;
		item_answer(s, i, &a);
	}
	free(l.v);
	free(l.plain);
}
