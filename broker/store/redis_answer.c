/* What did Redis say? Replies come in the order of the batches. Here they are taken apart: errors (also those inside EXEC), "open the
 * slot first", and the fixed-width entries that become answers. Whatever does not have the expected form counts as unavailable. */
#include <stdio.h>
#include <stdlib.h>
#include <utlist.h>

#include "base/clock.h"
#include "base/log.h"
#include "store/redis_checks.h"
#include "store/redis_priv.h"

#define RETRY_MS 1000

void redis_counted(struct redis *s, const struct batch *b, const char *result)
{
	if (s->config.count && kind_rows[b->kind].function)
		s->config.count(s->config.user, kind_rows[b->kind].function + sizeof "baton2_" - 1, result, (unsigned)b->items.n);
}

static void fail_all(struct redis *s, struct batch *b, enum store_status status, uint32_t retry_after_ms)
{
	struct item *i;

	while ((i = items_take(&b->items)))
		item_fail(s, i, status, retry_after_ms);
}

/* ---- errors ---- */

static bool starts(const char *text, const char *word)
{
	return strncmp(text, word, strlen(word)) == 0;
}

/* These say that the server is not what it was when it was checked. */
static bool needs_new_check(const char *error)
{
	static const char *const words[] = {"READONLY", "LOADING", "NOAUTH", "NOPERM", "MASTERDOWN", "NOREPLICAS", "MISCONF",
		"ERR Function not found", "ERR The user executing the script"};

	for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
		if (starts(error, words[i]))
			return true;
	return false;
}

/* Full memory refuses the MSET; as an argument of an allow-oom Function the body gets through. */
static void send_inline(struct redis *s, struct batch *b)
{
	struct item *i;

	while ((i = items_take(&b->items))) {
		uint8_t *place = &i->request[i->kind == KIND_FINISH ? FINISH_AT_PLACE : CANCEL_AT_PLACE];

		if (*place == BODY_BESIDE)
			*place = BODY_ARGUMENT;
		i->tries = 0;
		items_put(&b->slot->queue[i->kind], i);
	}
	slot_dirty(s, b->slot);
}

/* The blobs were written, the call beside them failed: nobody would ever remove them. But what was sent before may have been accepted
 * then, and the blob is of the same name. */
static void unlink_blobs(struct redis *s, struct batch *b)
{
	struct batch *u = batch_new(KIND_UNLINK, b->slot);
	struct item *i;

	if (!u) {
		fail_all(s, b, STORE_UNAVAILABLE, RETRY_MS);
		return;
	}
	while ((i = items_take(&b->items)))
		if (i->tries > 1)
			item_fail(s, i, STORE_UNAVAILABLE, RETRY_MS);
		else
			items_put(&u->items, i);
	if (!u->items.n)
		batch_free(u);
	else if (!batch_send(s, u))
		batch_abandon(s, u);
}

/* Memory is full: surely not accepted only if it was never sent before. */
static void refuse_accepts(struct redis *s, struct batch *b)
{
	struct item *i;

	while ((i = items_take(&b->items)))
		item_fail(s, i, i->tries > 1 ? STORE_UNAVAILABLE : STORE_QUOTA, RETRY_MS);
}

static void on_error(struct redis *s, struct batch *b, const char *error, bool blobs_written)
{
	bool oom = starts(error, "OOM"), admits = kind_rows[b->kind].admits;

	if (s->cluster && cluster_took(s, b, error))
		return;
	redis_counted(s, b, "error");
	log_event(LOG_WARN, "store.refused", F_STR("function", kind_rows[b->kind].function ? kind_rows[b->kind].function : ""),
		F_STR("error", error));
	if (oom && b->exec && !admits)
		send_inline(s, b);
	else if (oom && admits)
		refuse_accepts(s, b);
	else if (blobs_written)
		unlink_blobs(s, b);
	else
		fail_all(s, b, STORE_UNAVAILABLE, RETRY_MS);
	if (needs_new_check(error))
		redis_conn_fail(b->primary->conn, false, error, "Baton connects again and checks the server anew");
}

/* ---- the slot must be opened ---- */

static void on_closed_slot(struct redis *s, struct batch *b)
{
	struct items back;
	struct item *i;

	redis_counted(s, b, "open");
	items_init(&back);
	while ((i = items_take(&b->items))) {
		i->tries--;
		if (++i->opens > OPENS_MAX)
			item_fail(s, i, STORE_UNAVAILABLE, RETRY_MS);
		else
			items_put_first(&back, i);
	}
	while ((i = items_take(&back)))
		items_put_first(&b->slot->queue[b->kind], i);
	redis_open_slot(s, b->slot);
}

/* Nothing was done, and asking again would not help until this node lives by more: it does soon, and whoever reports may do it again. */
static void on_behind(struct redis *s, struct batch *b)
{
	bool reports = b->kind == KIND_EXTEND || b->kind == KIND_EVENT || b->kind == KIND_FINISH;

	redis_counted(s, b, "behind");
	fail_all(s, b, reports ? STORE_UNAVAILABLE : STORE_BEHIND, reports ? RETRY_MS : 0);
}

static void note_waiting(struct redis *s, struct slot *slot, const struct record_head *h)
{
	if (slot->whole || slot->shared)
		return;
	slot->waiting = h->waiting;
	if (s->config.on_waiting)
		s->config.on_waiting(s->config.user, slot->tenant, slot->route, h->waiting, h->waiting_bytes);
}

static void on_opened(struct redis *s, struct batch *b, struct slice text)
{
	struct slot *slot = b->slot;
	struct store_incarnation found;
	struct record_head h;
	const uint8_t *p;

	slot->opening = false;
	slot_dirty(s, slot);
	if (text.n != OPEN_BYTES || !record_head_decode(text, &h))
		return; /* the next call finds it closed again */
	p = text.p + HEAD_BYTES;
	found = (struct store_incarnation){.lost = be_get(p + 1, 6), .paused = p[0] & OPENED_PAUSED,
		.held_from_ms = (int64_t)be_get(p + 21, 6), .held_to_ms = (int64_t)be_get(p + 27, 6)};
	memcpy(b->primary->replid, text.p + OPEN_BYTES - REPLID_BYTES, REPLID_BYTES);
	b->primary->replid[REPLID_BYTES] = '\0';
	note_waiting(s, slot, &h);
	remember_set(s->remember, slot->seen, h.epoch, h.extra);
	if (!p[0] && !found.lost)
		return;
	log_event(found.lost ? LOG_ERROR : LOG_WARN, "store.incarnation", F_STR("slot", slot->name), F_INT("epoch", h.epoch),
		F_INT("lost", found.lost));
	if (s->config.on_incarnation)
		s->config.on_incarnation(s->config.user, slot->tenant, slot->route, &found);
}

/* ---- entries ---- */

struct entry {
	enum store_status status;
	uint8_t flags;
	bool has_record;
	struct record record;
};

static bool entry_decode(const struct slot *slot, const uint8_t *p, struct entry *e)
{
	e->status = (enum store_status)p[0];
	e->flags = p[1];
	e->has_record = record_decode(slot->tag, p + 2, p + 18, &e->record);
	if (!e->has_record)
		e->record = (struct record){0};
	return p[0] < STORE_UNSEALABLE && (e->has_record || e->status != STORE_OK);
}

/* Asked for by the id of a duplicate, whose first handoff it is about. */
static bool cancels_alias(const struct item *i, const struct entry *e)
{
	return i->kind == KIND_CANCEL && e->status == STORE_WRONG_STATE && e->flags && e->has_record;
}

static bool wants_outcome(const struct item *i, const struct entry *e)
{
	return kind_accepts(i->kind) && e->status == STORE_DUPLICATE && e->has_record && e->record.outcome_size > 0;
}

/* By this accept, also when it is asked again: nothing has happened to the record since, and the token says whose submission it was. */
static bool leased_at_once(const struct item *i, const struct entry *e, int64_t now_ms)
{
	const struct record *r = &e->record;

	return i->kind == KIND_ACCEPT && e->status == STORE_OK && r->r.state == STATE_LEASED && r->r.cursor == 2 && r->r.lease_until_ms > now_ms
		&& r->r.owner == be_get(i->request + ACCEPT_AT_OWNER, 8) && memcmp(r->outcome_token, r->task_token, TOKEN_BYTES) == 0;
}

/* One entry an item: accept, extend, event, finish, cancel. Most are answered at once; a duplicate that is done takes its outcome
 * along, which must be fetched. */
static void on_entries(struct redis *s, struct batch *b, struct slice text)
{
	struct fetch *f = NULL;
	const uint8_t *p = text.p + HEAD_BYTES;
	struct record_head h = {0};
	struct item *i;

	record_head_decode(text, &h);
	for (; (i = items_take(&b->items)); p += ENTRY_BYTES) {
		struct store_answer a = {0};
		struct entry e;

		if (!entry_decode(b->slot, p, &e)) {
			item_fail(s, i, STORE_UNAVAILABLE, RETRY_MS);
			continue;
		}
		if (cancels_alias(i, &e) && item_rename(s, i, e.record.r.id.b))
			continue;
		a.status = e.status;
		a.same_bytes = e.status == STORE_REPLAYED && e.flags;
		a.over = e.status == STORE_QUOTA && e.flags < CAPS ? (enum store_cap)e.flags : CAP_MEMORY;
		a.record = e.record.r;
		a.leased = leased_at_once(i, &e, h.now_ms);
		a.confirmed = e.status == STORE_DUPLICATE && e.flags & 2;
		a.retry_after_ms = e.status == STORE_QUOTA && kind_rows[i->kind].admits ? RETRY_MS : 0;
		if (i->kind == KIND_PUBLISH) /* its only item: the copies follow */
			a.copies = slice_of(p + ENTRY_BYTES, (size_t)(text.p + text.n - p) - ENTRY_BYTES);
		if (!wants_outcome(i, &e)) {
			item_answer(s, i, &a);
			continue;
		}
		if (!f)
			f = fetch_new();
		if (!f || !fetch_begin(f, i, &a))
			item_fail(s, i, STORE_UNAVAILABLE, RETRY_MS);
		else if (!fetch_add_outcome(f, &e.record))
			fetch_give_up(f);
	}
	if (f)
		fetch_start(s, b->slot, f);
}

static bool lease_records(struct redis *s, struct slot *slot, struct fetch *f, const uint8_t *p, size_t n)
{
	struct record r;

	for (size_t j = 0; j < n; j++, p += LEASED_BYTES)
		if (!record_decode(slot->tag, p, p + HANDOFF_ID_BYTES, &r) || !fetch_add(f, &r, r.r.state == STATE_LEASED, false))
			return false;
	return true;
}

static void on_leased(struct redis *s, struct batch *b, struct slice text, const struct record_head *h)
{
	struct fetch *f = fetch_new();
	const struct store_answer ok = {.status = STORE_OK, .next = h->extra == 1, .paused = h->extra == 2};
	size_t at = HEAD_BYTES;
	struct item *i;

	if (!f) {
		fail_all(s, b, STORE_UNAVAILABLE, RETRY_MS);
		return;
	}
	while ((i = items_take(&b->items))) {
		size_t n = text.n >= at + 2 ? (size_t)be_get(text.p + at, 2) : SIZE_MAX;

		if (n > 1024 || text.n < at + 2 + n * LEASED_BYTES || !fetch_begin(f, i, &ok)) {
			item_fail(s, i, STORE_UNAVAILABLE, RETRY_MS);
			fail_all(s, b, STORE_UNAVAILABLE, RETRY_MS);
			break;
		}
		if (!lease_records(s, b->slot, f, text.p + at + 2, n)) /* the others' leases lapse by themselves */
			log_event(LOG_ERROR, "store.record", F_STR("slot", b->slot->name), F_STR("why", "not a record, or out of memory"));
		at += 2 + n * LEASED_BYTES;
	}
	fetch_start(s, b->slot, f);
}

static void on_route(struct redis *s, struct batch *b, struct slice text, const struct record_head *h)
{
	struct item *i = items_take(&b->items);
	struct store_route view;
	const struct store_answer a = {.status = STORE_OK, .route = &view};

	if (record_route_decode(text, h, &view))
		item_answer(s, i, &a);
	else
		item_fail(s, i, STORE_UNAVAILABLE, RETRY_MS);
}

static void on_barrier(struct redis *s, struct batch *b)
{
	const struct store_answer a = {.status = STORE_OK};

	item_answer(s, items_take(&b->items), &a);
}

/* get: one entry an item; list, dead and tick: many for the only item. */
static void on_records(struct redis *s, struct batch *b, struct slice text, const struct record_head *h)
{
	bool many = b->kind != KIND_GET;
	struct fetch *f = fetch_new();
	struct store_answer ok = {.status = STORE_OK};
	struct item *i = NULL;
	struct entry e;

	if (b->kind == KIND_LIST)
		ok.next = h->extra;
	else
		ok.more = h->extra & 1;
	ok.busy = b->kind == KIND_TICK && (h->extra & 2);
	if (b->kind == KIND_TICK && s->config.on_kept)
		s->config.on_kept(s->config.user, b->slot->tenant, b->slot->route, h->extra >> 2);
	if (!f || (many && (!(i = items_take(&b->items)) || !fetch_begin(f, i, &ok)))) {
		fetch_free(f);
		if (i)
			item_fail(s, i, STORE_UNAVAILABLE, RETRY_MS);
		fail_all(s, b, STORE_UNAVAILABLE, RETRY_MS);
		return;
	}
	for (size_t at = HEAD_BYTES; at + ENTRY_BYTES <= text.n; at += ENTRY_BYTES) {
		bool good = entry_decode(b->slot, text.p + at, &e);

		if (many) {
			if (good && fetch_add(f, &e.record, i->blobs, i->blobs))
				continue;
			log_event(LOG_ERROR, "store.record", F_STR("slot", b->slot->name), F_STR("why", good ? "out of memory" : "not a record"));
			if (good && b->kind != KIND_TICK)
				fetch_give_up(f); /* a list that hides something would be believed */
			continue;
		}
		i = items_take(&b->items);
		if (!i)
			break;
		ok = (struct store_answer){.status = e.status, .record = e.record.r};
		if (!good || e.status != STORE_OK)
			item_fail(s, i, good ? e.status : STORE_UNAVAILABLE, 0);
		else if (!fetch_begin(f, i, &ok))
			item_fail(s, i, STORE_UNAVAILABLE, RETRY_MS);
		else if (!fetch_add(f, &e.record, i->blobs, i->blobs))
			fetch_give_up(f);
	}
	fail_all(s, b, STORE_UNAVAILABLE, RETRY_MS);
	fetch_start(s, b->slot, f);
}

/* Somebody else opened the slot anew: what was acknowledged here is to be compared as well, before the new numbers are noted. */
static void note_sequence(struct redis *s, const struct batch *b, const struct record_head *h)
{
	struct remembered *seen = b->slot->seen;

	if (h->epoch && seen->epoch && h->epoch != seen->epoch)
		redis_open_slot(s, b->slot);
	else if (kind_accepts(b->kind))
		remember_set(s->remember, seen, h->epoch, h->extra);
}

/* Of an accepted one every inbox has its byte, of a refused one there are none. */
static bool publish_fits(const struct item *i, struct slice text)
{
	size_t at = HEAD_BYTES + ENTRY_BYTES;
	const char *names = i->inboxes;

	if (text.n < at || text.p[HEAD_BYTES] != STORE_OK)
		return text.n == at;
	for (; at < text.n; at++)
		if (!names_take(&names).n || text.p[at] >= COPIES)
			return false;
	return !*names;
}

/* A Function's answer that has the right form for its batch. */
static bool answer_fits(const struct batch *b, struct slice text)
{
	switch (b->kind) {
	case KIND_ACCEPT:
	case KIND_EXTEND:
	case KIND_EVENT:
	case KIND_FINISH:
	case KIND_CANCEL:
	case KIND_GET:
	case KIND_DROP:
	case KIND_REPLAY:
	case KIND_ASIDE:
		return text.n == HEAD_BYTES + b->items.n * ENTRY_BYTES;
	case KIND_PUBLISH:
		return publish_fits(b->items.first, text);
	case KIND_BARRIER:
		return text.n == HEAD_BYTES;
	case KIND_CHANGE:
		return text.n == HEAD_BYTES + 1 + 2 + 6;
	case KIND_EVENTS:
	case KIND_FEED:
	case KIND_VERSIONS:
		return false; /* these come as an array */
	default:
		return true;
	}
}

static void on_text(struct redis *s, struct batch *b, struct slice text)
{
	struct record_head h;

	if (text.n == 1 && text.p[0] == 'O' && kind_rows[b->kind].opens) {
		on_closed_slot(s, b);
		return;
	}
	if (text.n == 1 && text.p[0] == 'R' && kind_rows[b->kind].stands_behind) {
		on_behind(s, b);
		return;
	}
	if (!record_head_decode(text, &h) || !answer_fits(b, text)) {
		on_error(s, b, "ERR an answer of another form than the library's", false);
		return;
	}
	note_waiting(s, b->slot, &h);
	if (b->lacking) { /* nor is it remembered: what was never acknowledged is not missed */
		redis_counted(s, b, "lacking");
		fail_all(s, b, STORE_UNAVAILABLE, RETRY_MS);
		return;
	}
	note_sequence(s, b, &h);
	redis_counted(s, b, "ok");
	switch (b->kind) {
	case KIND_LEASE:
		on_leased(s, b, text, &h);
		break;
	case KIND_GET:
	case KIND_LIST:
	case KIND_TICK:
	case KIND_DEAD:
		on_records(s, b, text, &h);
		break;
	case KIND_ROUTE:
		on_route(s, b, text, &h);
		break;
	case KIND_LOOK:
		check_on_look(s, b, text, &h);
		break;
	case KIND_MEND:
		check_on_mend(s, b, text);
		break;
	case KIND_BARRIER:
		on_barrier(s, b);
		break;
	case KIND_CHANGE:
		shared_on_change(s, b, text, &h);
		break;
	case KIND_QUARANTINE:
		fetch_on_quarantined(s, b, slice_of(text.p + HEAD_BYTES, text.n - HEAD_BYTES));
		break;
	default:
		on_entries(s, b, text);
	}
}

static void on_function(struct redis *s, struct batch *b, const redisReply *r, bool blobs_written)
{
	if (r->type == REDIS_REPLY_ERROR) {
		if (b->kind == KIND_OPEN)
			b->slot->opening = false; /* what waits asks again, and gives up after a few times */
		on_error(s, b, r->str, blobs_written);
		return;
	}
	if (s->cluster)
		cluster_settled(s, b);
	if (b->kind == KIND_EVENTS && r->type == REDIS_REPLY_ARRAY)
		events_answer(s, b, r);
	else if ((b->kind == KIND_FEED || b->kind == KIND_VERSIONS) && r->type == REDIS_REPLY_ARRAY)
		shared_on_resources(s, b, r);
	else if (b->kind == KIND_OPEN)
		on_opened(s, b, resp_bytes(r));
	else
		on_text(s, b, resp_bytes(r));
}

/* MULTI, MSET, FCALL, EXEC: four replies; errors of the middle ones say why EXEC was refused. */
static void on_exec(struct redis *s, struct batch *b, const redisReply *r)
{
	if (r->type == REDIS_REPLY_ARRAY && r->elements == 2 && r->element[0]->type != REDIS_REPLY_ERROR)
		on_function(s, b, r->element[1], true);
	else if (r->type == REDIS_REPLY_ARRAY && r->elements == 2)
		on_error(s, b, r->element[0]->str, false);
	else
		on_error(s, b, b->error[0] ? b->error : r->type == REDIS_REPLY_ERROR ? r->str : "ERR no answer to EXEC", false);
}

/* Of all of them together: tenants have their work on any. */
static void tell_memory(struct redis *s)
{
	uint64_t used = 0, max = 0;
	struct primary *p;
	bool bounded = true;

	DL_FOREACH(s->primaries, p) {
		used += p->used;
		max += p->max;
		bounded = bounded && p->max;
	}
	s->config.on_memory(s->config.user, used, bounded ? max : 0);
}

static void on_memory(struct redis *s, struct primary *p, const redisReply *r)
{
	char text[32];
	unsigned long long used = 0, max = 0;

	p->polling = false;
	if (slice_copy_str(info_field(resp_bytes(r), "used_memory"), text, sizeof text))
		used = strtoull(text, NULL, 10);
	if (slice_copy_str(info_field(resp_bytes(r), "maxmemory"), text, sizeof text))
		max = strtoull(text, NULL, 10);
	p->memory_full = max > 0 && used > max / 5 * 4;
	p->used = used;
	p->max = max;
	if (s->config.on_memory)
		tell_memory(s);
}

static void complete(struct redis *s, struct batch *b, const redisReply *r)
{
	switch (b->kind) {
	case KIND_FETCH:
		fetch_on_reply(s, b, r);
		break;
	case KIND_MEMORY:
		on_memory(s, b->primary, r);
		break;
	case KIND_UNLINK:
		fail_all(s, b, STORE_UNAVAILABLE, RETRY_MS);
		break;
	default:
		if (b->exec)
			on_exec(s, b, r);
		else
			on_function(s, b, r, false);
	}
}

/* WAIT's reply: how many replicas have it. After an error the server is to be looked at anew. */
static void on_waited(struct redis *s, struct batch *b, const redisReply *r)
{
	b->lacking = r->type != REDIS_REPLY_INTEGER || r->integer < (long long)b->replicas;
	if (b->lacking)
		log_event(LOG_WARN, "store.lacking", F_STR("function", kind_rows[b->kind].function), F_INT("demanded", b->replicas),
			F_INT("replicas", r->type == REDIS_REPLY_INTEGER ? r->integer : 0), F_STR("error", r->type == REDIS_REPLY_ERROR ? r->str : ""));
	if (r->type != REDIS_REPLY_INTEGER)
		redis_conn_fail(b->primary->conn, false, r->type == REDIS_REPLY_ERROR ? r->str : "no answer to WAIT", "Baton connects again and checks the server anew");
}

bool redis_on_reply(struct primary *p, redisReply *r)
{
	struct redis *s = p->s;
	struct batch *b = p->sent_first;

	if (!b) {
		redis_conn_fail(p->conn, false, "an answer that nobody asked for", "see what listens at store.url");
		return false;
	}
	if (++b->seen < b->replies) {
		if (b->waits && b->seen + 1 == b->replies) {
			b->answer = r;
			return true;
		}
		if (b->kind == KIND_FETCH)
			fetch_on_reply(s, b, r);
		else if (r->type == REDIS_REPLY_ERROR && !b->error[0])
			snprintf(b->error, sizeof b->error, "%s", r->str);
		return false;
	}
	p->sent_first = b->next;
	if (!p->sent_first)
		p->sent_last = &p->sent_first;
	s->now_ms = clock_mono_ms();
	if (b->kind < KIND_QUEUED)
		b->slot->under_way[b->kind]--;
	if (b->slot) {
		b->slot->sent--;
		slot_dirty(s, b->slot);
	}
	if (b->waits)
		on_waited(s, b, r);
	complete(s, b, b->waits ? b->answer : r);
	if (b->fetch && (b->kind == KIND_QUARANTINE))
		fetch_abandon(s, b); /* its call failed: nobody was answered yet */
	batch_free(b);
	return false;
}
