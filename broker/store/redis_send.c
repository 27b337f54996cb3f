/* How do queued items become Function calls? At the tick's tail, one call for all of one kind in one slot: at most 256 items and 1 MiB
 * of blobs, several calls one behind the other. Blobs travel beside the call by MSET in the same MULTI, never through Lua, but when
 * Redis is out of memory and only allow-oom Functions may still write. With store.replicas a WAIT follows. */
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "store/redis_priv.h"

const struct kind_row kind_rows[KINDS] = {
	[KIND_ACCEPT] = {"baton2_accept", "msiz012nfhl", ACCEPT_BYTES, BATCH_ITEMS, true, true, true, true},
	[KIND_PUBLISH] = {"baton2_publish", "msiz012nfhld", ACCEPT_BYTES, 1, true, true, true, true},
	[KIND_EXTEND] = {"baton2_extend", "msl", EXTEND_BYTES, BATCH_ITEMS, false, true, false, false},
	[KIND_EVENT] = {"baton2_event", "ms", EVENT_BYTES, BATCH_ITEMS, false, true, false, false},
	[KIND_FINISH] = {"baton2_finish", "msz012fdxh", FINISH_BYTES, BATCH_ITEMS, false, true, false, true},
	[KIND_CANCEL] = {"baton2_cancel", "mszfhx", CANCEL_BYTES, BATCH_ITEMS, false, false, false, true},
	[KIND_LEASE] = {"baton2_lease", "msl210fzh", LEASE_BYTES, 64, true, true, false, false},
	[KIND_GET] = {"baton2_get", "ms", HANDOFF_ID_BYTES, 64, false, false, false, false},
	[KIND_EVENTS] = {"baton2_events", "ms", 28, 1, false, false, false, false},
	[KIND_LIST] = {"baton2_list", "msn", 21, 1, false, false, false, false},
	[KIND_TICK] = {"baton2_tick", "msizl012nfdh", TICK_BYTES, 1, true, false, false, false},
	[KIND_ROUTE] = {"baton2_route", "ms012zhdx", ROUTE_BYTES, 1, true, false, false, true},
	[KIND_DEAD] = {"baton2_dead", "msd", DEAD_BYTES, 1, false, false, false, false},
	[KIND_DROP] = {"baton2_drop", "msdf", HANDOFF_ID_BYTES, BATCH_ITEMS, false, false, false, true},
	[KIND_REPLAY] = {"baton2_replay", "msizn012fd", REPLAY_BYTES, 1, true, true, true, true},
	[KIND_LOOK] = {"baton2_look", "msizl012nfdxh", LOOK_BYTES, 1, false, false, false, false},
	[KIND_MEND] = {"baton2_mend", "msizl012nfdxh", MEND_BYTES, 1, true, false, false, true},
	[KIND_CHANGE] = {"baton2_change", "mszn", 0, 1, false, false, false, true},
	[KIND_FEED] = {"baton2_feed", "mszn", 0, 1, false, false, false, false},
	[KIND_VERSIONS] = {"baton2_versions", "ms", 0, 1, false, false, false, false},
	[KIND_BARRIER] = {"baton2_barrier", "m", BARRIER_BYTES, 1, false, false, false, true},
	[KIND_ASIDE] = {"baton2_aside", "msz012hx", ASIDE_BYTES, BATCH_ITEMS, false, false, false, true},
	[KIND_OPEN] = {"baton2_open", "msn012zh", 0, 0, false, false, false, false},
	[KIND_QUARANTINE] = {"baton2_quarantine", "mszhx", HANDOFF_ID_BYTES, 0, false, false, false, false},
};

#define ARGV_MAX (24 + 2 * BATCH_ITEMS) /* of a change 3 * STORE_CHANGES_MAX */
#define NUMBERS 6

struct call {
	struct redis *s;
	struct batch *b;
	size_t n;                /* of s->argv */
	char number[NUMBERS][24];
	unsigned n_numbers;
};

struct batch *batch_new(enum kind k, struct slot *slot)
{
	struct batch *b = calloc(1, sizeof *b);

	if (!b)
		return NULL;
	b->kind = k;
	b->slot = slot;
	b->primary = slot ? slot->primary : NULL;
	items_init(&b->items);
	return b;
}

void batch_free(struct batch *b)
{
	if (!b)
		return;
	fetch_free(b->fetch);
	if (b->answer)
		freeReplyObject(b->answer);
	free(b);
}

static void arg(struct call *c, struct slice v)
{
	c->s->argv[c->n++] = v;
}

static void arg_number(struct call *c, uint64_t v)
{
	char *text = c->number[c->n_numbers++];

	snprintf(text, sizeof c->number[0], "%llu", (unsigned long long)v);
	arg(c, slice_str(text));
}

static void call_begin(struct call *c, const struct kind_row *k)
{
	static const char *const count[] = {"0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12", "13", "14"};
	const struct slot *slot = c->b->slot;
	bool guard = c->s->cluster, of_route = c->b->kind == KIND_LEASE && (*slot->of || guard);
	size_t keys = strlen(k->keys);

	c->n = 0;
	arg(c, SLICE_LIT("FCALL"));
	arg(c, slice_str(k->function));
	arg(c, slice_str(count[keys + of_route + guard]));
	for (size_t i = 0; i < keys; i++)
		arg(c, slice_str(slot->key[strchr(SLOT_KEY_LETTERS, k->keys[i]) - SLOT_KEY_LETTERS]));
	if (of_route)
		arg(c, slice_str(*slot->of ? slot->of : slot->key[KEY_M])); /* a place of its own, that the last one is not taken for it */
	if (guard)
		arg(c, slice_str(slot->key[KEY_GUARD]));
}

/* All requests one behind the other in scratch; stays valid until scratch changes. */
static struct slice all_requests(struct redis *s, const struct batch *b, unsigned width)
{
	size_t before = s->scratch.n;

	for (struct item *i = b->items.first; i; i = i->next)
		buf_put(&s->scratch, i->request, width);
	return slice_of(s->scratch.p + before, s->scratch.n - before);
}

static size_t place_of(const struct item *i)
{
	return i->kind == KIND_FINISH ? FINISH_AT_PLACE : CANCEL_AT_PLACE;
}

static bool beside(const struct item *i)
{
	if (kind_rows[i->kind].admits)
		return true;
	return (i->kind == KIND_FINISH || i->kind == KIND_CANCEL) && i->request[place_of(i)] == BODY_BESIDE;
}

static const uint8_t *token_of(const struct item *i)
{
	switch (i->kind) {
	case KIND_ACCEPT:
	case KIND_PUBLISH:
	case KIND_REPLAY:
		return i->request + ACCEPT_AT_TOKEN;
	case KIND_FINISH:
		return i->request + FINISH_AT_TOKEN;
	default:
		return i->request + CANCEL_AT_TOKEN;
	}
}

static void arg_bodies(struct call *c)
{
	for (struct item *i = c->b->items.first; i; i = i->next)
		if (i->kind == KIND_EVENT || i->kind == KIND_ASIDE || i->request[place_of(i)] == BODY_ARGUMENT)
			arg(c, slice_of(i->body, i->body_n));
}

static void arg_caps(struct call *c)
{
	for (size_t i = 0; i < WAITING_CAPS; i++)
		arg(c, slice_str(c->s->caps[i]));
}

/* By which all of them were judged: the oldest counts. */
static void arg_generation(struct call *c)
{
	uint64_t least = UINT64_MAX;

	for (const struct item *i = c->b->items.first; i; i = i->next)
		least = i->generation < least ? i->generation : least;
	arg_number(c, least);
}

/* inboxes: of a broadcast; NULL: it is none. */
static void arg_accept(struct call *c, struct slice requests, const char *inboxes)
{
	struct redis *s = c->s;

	arg(c, slice_str(c->b->primary->replid));
	arg(c, slice_str(s->config.run));
	arg_caps(c);
	arg(c, slice_str(s->skew));
	arg(c, requests);
	arg_generation(c);
	if (inboxes) {
		arg(c, slice_str(inboxes));
		arg(c, slice_str(s->asker));
	}
}

/* What a worker says of its work stands behind the barrier; that something ends, whoever says it, does not. */
static void arg_report(struct call *c, struct slice requests)
{
	enum kind kind = c->b->kind;

	if (kind == KIND_FINISH || kind == KIND_ASIDE)
		arg(c, slice_str(c->s->config.run));
	arg(c, requests);
	if (kind != KIND_EXTEND)
		arg_bodies(c);
	if (kind == KIND_FINISH || kind == KIND_EVENT || kind == KIND_EXTEND)
		arg_generation(c);
}

static void arg_own(struct call *c)
{
	struct redis *s = c->s;
	const struct kind_row *k = &kind_rows[c->b->kind];
	const struct item *first = c->b->items.first;
	struct slice requests = all_requests(s, c->b, k->width);

	switch (c->b->kind) {
	case KIND_ACCEPT:
	case KIND_PUBLISH:
		arg_accept(c, requests, first->inboxes);
		break;
	case KIND_LEASE:
		arg(c, slice_str(c->b->primary->replid));
		arg(c, slice_str(s->config.run));
		arg_number(c, LEASE_BUDGET);
		arg(c, requests);
		arg_generation(c);
		break;
	case KIND_FINISH:
	case KIND_ASIDE:
	case KIND_EVENT:
	case KIND_CANCEL:
	case KIND_EXTEND:
		arg_report(c, requests);
		break;
	case KIND_GET:
	case KIND_DROP:
		arg(c, requests);
		break;
	case KIND_EVENTS:
		arg(c, slice_of(requests.p, 16));
		arg_number(c, be_get(requests.p + 16, 8));
		arg_number(c, be_get(requests.p + 24, 4));
		break;
	case KIND_LIST:
		arg(c, slice_of(requests.p, 8));
		arg_number(c, requests.p[8]);
		arg_number(c, be_get(requests.p + 9, 8));
		arg_number(c, be_get(requests.p + 17, 4));
		arg_number(c, first->blobs ? LEASE_BUDGET : UINT32_MAX);
		break;
	case KIND_TICK:
		arg(c, slice_str(s->config.run));
		arg_number(c, be_get(requests.p, 8));
		arg_number(c, be_get(requests.p + 8, 8));
		arg_number(c, be_get(requests.p + 16, 4));
		arg_number(c, be_get(requests.p + 20, 4));
		arg(c, slice_str(c->b->primary->replid));
		break;
	case KIND_ROUTE:
		if (requests.p[0])
			arg_number(c, requests.p[1]);
		else
			arg(c, SLICE_LIT(""));
		break;
	case KIND_DEAD:
		arg(c, slice_of(requests.p, HANDOFF_ID_BYTES));
		arg_number(c, be_get(requests.p + 16, 8));
		arg_number(c, be_get(requests.p + 24, 4));
		arg_number(c, first->blobs ? LEASE_BUDGET : UINT32_MAX);
		break;
	case KIND_REPLAY:
		arg(c, slice_str(c->b->primary->replid));
		arg_caps(c);
		arg_generation(c);
		arg(c, requests);
		break;
	case KIND_BARRIER:
		arg_number(c, be_get(requests.p, BARRIER_BYTES));
		break;
	case KIND_LOOK:
		arg_number(c, requests.p[0]);
		for (size_t at = 1; at < LOOK_BYTES; at += 8)
			arg_number(c, be_get(requests.p + at, 8));
		break;
	case KIND_MEND:
		arg(c, slice_str(c->b->primary->replid));
		arg(c, requests);
		break;
	case KIND_CHANGE:
	case KIND_FEED:
	case KIND_VERSIONS:
		c->n += shared_arguments(first, s->argv + c->n);
		break;
	case KIND_OPEN:
		arg_number(c, c->b->slot->seen->epoch);
		arg_number(c, c->b->slot->seen->seq);
		arg_number(c, s->config.limits.max_lost);
		arg(c, slice_str(s->asker));
		arg_number(c, (uint64_t)s->config.limits.hold_ms);
		break;
	default:
		break;
	}
}

/* MSET name blob ..., or UNLINK name ... */
static void call_blobs(struct call *c, bool with_values)
{
	struct redis *s = c->s;
	size_t at;

	c->n = 0;
	arg(c, with_values ? SLICE_LIT("MSET") : SLICE_LIT("UNLINK"));
	for (struct item *i = c->b->items.first; i; i = i->next) {
		if (!beside(i))
			continue;
		at = s->scratch.n;
		s->scratch.n += slot_blob_name(c->b->slot, i->request, token_of(i), s->scratch.p + at);
		arg(c, slice_of(s->scratch.p + at, s->scratch.n - at));
		if (with_values)
			arg(c, slice_of(i->body, i->body_n));
	}
}

static bool put(struct call *c, struct buf *out)
{
	return resp_put(out, c->s->argv, c->n);
}

static bool any_beside(const struct batch *b)
{
	for (const struct item *i = b->items.first; i; i = i->next)
		if (beside(i))
			return true;
	return false;
}

/* WAIT counts whatever this connection was answered before it, also what others wrote: a repeat waits for the first one's replicas. It holds up
 * the connection, so that its time must leave the call some. */
static bool write_wait(struct redis *s, struct batch *b, struct buf *out)
{
	char n[16], ms[24];

	bool asks_only = b->kind == KIND_ROUTE && !b->items.first->request[0];

	b->waits = kind_rows[b->kind].tells && !asks_only && b->slot->replicas > 0;
	b->replicas = b->slot->replicas;
	if (!b->waits)
		return true;
	b->replies++;
	snprintf(n, sizeof n, "%u", b->replicas);
	snprintf(ms, sizeof ms, "%lld", (long long)s->config.timeout_ms / 2);
	return resp_put(out, (const struct slice[]){SLICE_LIT("WAIT"), slice_str(n), slice_str(ms)}, 3);
}

static bool write_function(struct redis *s, struct batch *b, struct buf *out)
{
	struct call c = {.s = s, .b = b};
	bool ok = true;

	b->exec = any_beside(b);
	b->replies = 1;
	if (b->exec) {
		b->replies = 4;
		ok = resp_put(out, &SLICE_LIT("MULTI"), 1);
		call_blobs(&c, true);
		ok = ok && put(&c, out);
	}
	call_begin(&c, &kind_rows[b->kind]);
	if (b->kind == KIND_QUARANTINE) {
		size_t before = s->scratch.n;

		fetch_quarantine_ids(b->fetch, &s->scratch);
		arg(&c, slice_of(s->scratch.p + before, s->scratch.n - before));
	} else {
		arg_own(&c);
	}
	ok = ok && put(&c, out);
	if (b->exec)
		ok = ok && resp_put(out, &SLICE_LIT("EXEC"), 1);
	return ok && write_wait(s, b, out);
}

static bool write_batch(struct redis *s, struct batch *b, struct buf *out)
{
	struct call c = {.s = s, .b = b};

	switch (b->kind) {
	case KIND_FETCH:
		b->replies = (unsigned)fetch_write(s, b, out);
		return b->replies > 0;
	case KIND_MEMORY:
		b->replies = 1;
		return resp_put(out, (const struct slice[]){SLICE_LIT("INFO"), SLICE_LIT("memory")}, 2);
	case KIND_UNLINK:
		b->replies = 1;
		call_blobs(&c, false);
		return put(&c, out);
	default:
		return write_function(s, b, out);
	}
}

bool batch_send(struct redis *s, struct batch *b)
{
	struct primary *p = b->primary;
	struct buf *out = primary_ready(p) ? redis_conn_out(p->conn) : NULL;

	if (!out)
		return false;
	buf_reset(&s->scratch);
	/* Slices into scratch must stay where they are while the call is put together. */
	if (!buf_reserve(&s->scratch, BATCH_ITEMS * (REQUEST_MAX_BYTES + BLOB_NAME_MAX)))
		return false;
	b->seen = 0;
	b->error[0] = '\0';
	b->lacking = false;
	b->sent_ms = s->now_ms = clock_mono_ms();
	if (!write_batch(s, b, out)) {
		redis_conn_fail(p->conn, false, "out of memory", "see the limits of this process");
		return false;
	}
	b->next = NULL;
	*p->sent_last = b;
	p->sent_last = &b->next;
	b->sent = true;
	if (b->slot)
		b->slot->sent++;
	return true;
}

/* Takes items off the queue while they fit in one call. */
static struct batch *gather(struct slot *slot, enum kind k)
{
	struct batch *b = batch_new(k, slot);
	struct items *q = &slot->queue[k];
	size_t bytes = 0;

	if (!b)
		return NULL;
	while (q->first && b->items.n < kind_rows[k].max) {
		if (b->items.n && bytes + q->first->body_n > BATCH_BYTES)
			break;
		if (b->items.n && q->first->blobs)
			break; /* one that wants blobs may be large: alone */
		bytes += q->first->body_n;
		q->first->tries++;
		items_put(&b->items, items_take(q));
		if (b->items.first->blobs)
			break;
	}
	return b;
}

static void put_back(struct redis *s, struct batch *b)
{
	struct items reversed;
	struct item *i;

	items_init(&reversed);
	while ((i = items_take(&b->items))) {
		i->tries--;
		items_put_first(&reversed, i);
	}
	while ((i = items_take(&reversed)))
		items_put_first(&b->slot->queue[b->kind], i);
	batch_free(b);
}

/* false: nothing more can be sent now. */
static bool flush_kind(struct redis *s, struct slot *slot, enum kind k)
{
	while (slot->queue[k].n && slot->under_way[k] < BATCHES_UNDER_WAY) {
		struct batch *b;

		if (slot->opening && kind_rows[k].opens)
			return true;
		/* A report that ends must not overtake progress that waits. */
		if ((k == KIND_FINISH || k == KIND_CANCEL) && slot->queue[KIND_EVENT].n)
			return true;
		b = gather(slot, k);
		if (!b)
			return false;
		if (!batch_send(s, b)) {
			put_back(s, b);
			return false;
		}
		slot->under_way[k]++;
	}
	return true;
}

/* Items answered without Redis: admission closed, no connection. What was sent before has an unknown outcome. */
static void fail_now(struct redis *s, struct slot *slot, enum kind k, enum store_status status, uint32_t retry_after_ms)
{
	struct item *i;

	while ((i = items_take(&slot->queue[k])))
		item_fail(s, i, i->tries ? STORE_UNAVAILABLE : status, retry_after_ms);
}

enum outlook redis_outlook(struct redis *s, struct slot *slot)
{
	if (s->cluster)
		return cluster_outlook(s, slot);
	return primary_ready(slot->primary) ? OUTLOOK_SEND : slot->primary->unreachable ? OUTLOOK_FAIL : OUTLOOK_WAIT;
}

void redis_flush(struct redis *s)
{
	struct slot *slot = s->dirty_first, *next;

	s->dirty_first = NULL;
	s->dirty_last = &s->dirty_first;
	for (; slot; slot = next) {
		enum outlook o = redis_outlook(s, slot);

		next = slot->next_dirty;
		slot->dirty = false;
		for (int k = 0; k < KIND_QUEUED; k++) {
			if (slot->primary && slot->primary->memory_full && kind_rows[k].admits)
				fail_now(s, slot, (enum kind)k, STORE_QUOTA, 1000);
			if (o == OUTLOOK_FAIL)
				fail_now(s, slot, (enum kind)k, STORE_UNAVAILABLE, 1000);
			else if (o == OUTLOOK_SEND && !flush_kind(s, slot, (enum kind)k))
				o = OUTLOOK_WAIT; /* the others stay queued; a reply or the timer looks again */
		}
	}
}

void redis_open_slot(struct redis *s, struct slot *slot)
{
	struct batch *b;

	if (slot->opening)
		return;
	b = batch_new(KIND_OPEN, slot);
	if (!b)
		return;
	if (batch_send(s, b))
		slot->opening = true;
	else
		batch_free(b);
}

void batch_abandon(struct redis *s, struct batch *b)
{
	struct items reversed;
	struct item *i;

	if (b->kind < KIND_QUEUED)
		b->slot->under_way[b->kind]--;
	if (b->sent && b->slot)
		b->slot->sent--;
	if (b->kind == KIND_OPEN)
		b->slot->opening = false;
	if (b->kind == KIND_MEMORY)
		b->primary->polling = false;
	if (b->fetch)
		fetch_abandon(s, b);
	items_init(&reversed);
	while ((i = items_take(&b->items)))
		items_put_first(&reversed, i);
	while ((i = items_take(&reversed))) {
		if (b->kind == KIND_UNLINK || i->tries >= TRIES_MAX || s->now_ms >= i->deadline_ms)
			item_fail(s, i, STORE_UNAVAILABLE, 0);
		else
			item_requeue(s, i);
	}
	batch_free(b);
}
