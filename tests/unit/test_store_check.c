/* Does a check find what in the store belongs nowhere, that alone, and put it where its state says? Each thing is damaged by hand, found, put
 * right, found no more, and the work goes on from there. And while thousands of handoffs go through, whatever happens to them, it finds nothing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "store_kit.h"

#define LONG_MS 600000
#define SUSPECTS 512
#define PATIENCE_MS 20000

/* ---- a check, as the broker does it ---- */

struct check {
	struct kit *k;
	bool repair;
	enum store_place place;
	uint64_t cursor;
	int64_t since_ms, due_ms;
	uint64_t seen, waiting, waiting_bytes, stale;
	char mark[STORE_MARK + 1];
	uint8_t (*queued)[HANDOFF_ID_BYTES];
	size_t n_queued, queued_size;
	/* of the last answer */
	bool answered, repaired;
	enum store_status status;
	struct store_look look;
	struct store_suspect suspects[SUSPECTS];
	/* what came of it */
	unsigned found[FAULTS], mended[FAULTS], not_judged;
};

static void note(void *user, uint64_t op, const struct store_answer *a)
{
	struct check *c = user;

	assert_false(c->answered);
	c->answered = true;
	c->status = a->status;
	c->repaired = a->repaired;
	if (a->look) {
		c->look = *a->look;
		assert_true(c->look.n_suspects <= SUSPECTS);
		if (c->look.n_suspects)
			memcpy(c->suspects, a->look->suspects, c->look.n_suspects * sizeof c->suspects[0]);
		for (size_t i = 0; i < a->look->ids.n; i += HANDOFF_ID_BYTES) {
			if (c->n_queued == c->queued_size) {
				c->queued_size = 2 * c->queued_size + 1024;
				c->queued = realloc(c->queued, c->queued_size * sizeof *c->queued);
				assert_non_null(c->queued);
			}
			memcpy(c->queued[c->n_queued++], a->look->ids.p + i, HANDOFF_ID_BYTES);
		}
	}
	if (--c->k->waiting == 0 && c->k->loop)
		loop_stop(c->k->loop);
}

static bool stands_in_a_queue(const struct check *c, const struct store_suspect *x)
{
	for (size_t i = 0; i < c->n_queued; i++)
		if (memcmp(c->queued[i], x->id.b, HANDOFF_ID_BYTES) == 0)
			return true;
	return false;
}

static void mend(struct check *c, const struct store_suspect *x)
{
	struct store_mend m = {.slot = c->k->slot, .fault = x->fault, .id = x->id, .repair = c->repair, .due_ms = c->due_ms, .seen = c->seen,
		.waiting = c->waiting, .waiting_bytes = c->waiting_bytes, .mark = c->mark};

	if (x->tenant[0])
		m.slot = (struct store_slot){x->tenant, x->route};
	memcpy(m.key, x->key, sizeof m.key);
	c->answered = false;
	c->k->waiting++;
	c->k->store->ops->mend(c->k->store, &m, &c->k->limits, note, c, 1);
	kit_turn(c->k);
	assert_true(c->answered);
	assert_true(c->status == STORE_OK || c->status == STORE_NOT_FOUND || c->status == STORE_WRONG_STATE);
	c->not_judged += c->status == STORE_WRONG_STATE;
	c->found[x->fault] += c->status == STORE_OK;
	c->mended[x->fault] += c->repaired;
}

/* One look and the suspects of it. false: that was the last one. */
static bool step(struct check *c)
{
	bool counters;

	c->answered = false;
	c->k->waiting++;
	c->k->store->ops->look(c->k->store, c->k->slot, c->place, c->cursor, c->since_ms, &c->k->limits, note, c, 1);
	kit_turn(c->k);
	assert_true(c->answered);
	assert_int_equal(c->status, STORE_OK);
	c->stale += c->look.stale;
	if (c->place == PLACE_COUNTERS) {
		c->since_ms = c->look.now_ms;
		memcpy(c->mark, c->look.mark, sizeof c->mark);
		c->seen = c->waiting = c->waiting_bytes = c->n_queued = 0;
	} else if (c->place == PLACE_RECORDS) {
		c->seen += c->look.seen;
		c->waiting += c->look.waiting;
		c->waiting_bytes += c->look.waiting_bytes;
	}
	counters = c->place == PLACE_RECORDS && !c->look.next;
	c->cursor = c->look.next;
	for (size_t i = 0; i < c->look.n_suspects; i++)
		if (c->suspects[i].fault != FAULT_QUEUED || !stands_in_a_queue(c, &c->suspects[i]))
			mend(c, &c->suspects[i]);
	if (counters)
		mend(c, &(struct store_suspect){.fault = FAULT_COUNTERS});
	if (!c->cursor)
		c->place++;
	return c->place <= PLACE_BLOBS;
}

static void check_clear(struct check *c)
{
	free(c->queued);
}

static struct check checked_with(struct kit *k, bool repair, int64_t due_ms)
{
	struct check c = {.k = k, .repair = repair, .due_ms = due_ms};

	kit_sleep(k, 2); /* what was done in the same millisecond as the check begins makes it say that counters cannot be judged */
	while (step(&c))
		;
	check_clear(&c);
	c.queued = NULL;
	return c;
}

static unsigned sum(const unsigned v[FAULTS])
{
	unsigned n = 0;

	for (int i = 0; i < FAULTS; i++)
		n += v[i];
	return n;
}

static void sound(struct kit *k)
{
	struct check c = checked_with(k, false, 0);

	for (int i = 0; i < FAULTS; i++)
		if (c.found[i])
			print_error("fault %d found %u times\n", i, c.found[i]);
	assert_int_equal(sum(c.found), 0);
}

/* This is found, so often, and nothing else; then it is put right. */
static void found_and_mended(struct kit *k, enum store_fault f, unsigned n, int64_t due_ms)
{
	struct check c = checked_with(k, false, 0);

	for (int i = 0; i < FAULTS; i++)
		if (i != (int)f && c.found[i])
			print_error("fault %d found %u times\n", i, c.found[i]);
	assert_int_equal(c.found[f], n);
	assert_int_equal(sum(c.found), n);
	assert_int_equal(sum(c.mended), 0);
	c = checked_with(k, true, due_ms);
	assert_int_equal(c.found[f], n);
	assert_int_equal(c.mended[f], n);
	assert_int_equal(sum(c.found), n);
	sound(k);
}

/* ---- damage ---- */

static void key_of(const struct kit *k, const char *which, char out[160])
{
	snprintf(out, 160, "{%s/%s}:%s", k->slot.tenant, k->slot.route, which);
}

/* COMMAND key [argument] with an id or other bytes as the last one. */
static long long by_hand(struct kit *k, const char *command, const char *which, const char *argument, const void *last, size_t n)
{
	char key[160];
	const char *argv[4] = {command, key, argument};
	size_t len[4] = {strlen(command), 0, argument ? strlen(argument) : 0}, argc = argument ? 3 : 2;

	key_of(k, which, key);
	len[1] = strlen(key);
	if (last) {
		argv[argc] = last;
		len[argc++] = n;
	}
	return server_command(k->server, NULL, 0, (int)argc, argv, len);
}

static void take_out(struct kit *k, const char *which, const struct handoff_id *id)
{
	assert_int_equal(by_hand(k, "ZREM", which, NULL, id->b, sizeof id->b), 1);
}

static double score_of(struct kit *k, const char *which, const struct handoff_id *id)
{
	char key[160], text[64];
	const char *argv[] = {"ZSCORE", key, (const char *)id->b};
	size_t len[] = {6, 0, sizeof id->b};

	key_of(k, which, key);
	len[1] = strlen(key);
	server_command(k->server, text, sizeof text, 3, argv, len);
	return strtod(text, NULL);
}

/* Done from where it is now. */
static void done(struct kit *k, const struct handoff_id *id)
{
	struct store_record l = kit_leased(k, LONG_MS);

	assert_memory_equal(l.id.b, id->b, sizeof id->b);
	assert_int_equal(kit_finish(k, &l, FINISH_COMPLETED, 0, "done")->status, STORE_OK);
	assert_int_equal(kit_get(k, id, false)->record.state, STATE_COMPLETED);
}

static struct kit kit;

static struct kit *begin(void)
{
	struct kit *k = &kit;

	server_say(kit_server(), "FLUSHALL SYNC");
	kit_redis(k, kit_server());
	k->slot = (struct store_slot){"acme", "checked"};
	k->limits.keep_finished_ms = LONG_MS;
	kit_tick(k);
	return k;
}

static struct store_accept dead_letter(struct kit *k)
{
	struct store_accept r = kit_request(k, "dies");
	struct store_record l;

	r.max_attempts = 1;
	kit_accepted(k, &r);
	l = kit_leased(k, LONG_MS);
	assert_int_equal(kit_finish(k, &l, FINISH_RETRY, 0, "no good")->record.state, STATE_DEAD_LETTERED);
	return r;
}

static void queued(void **state)
{
	struct kit *k = begin();
	struct store_accept a = kit_request(k, "lost"), b = kit_request(k, "not lost"), c = kit_request(k, "lost too");

	c.priority = 9;
	kit_accepted(k, &a);
	kit_accepted(k, &b);
	kit_accepted(k, &c);
	sound(k);
	assert_int_equal(by_hand(k, "LREM", "q0", "0", a.id.b, sizeof a.id.b) + by_hand(k, "LREM", "q1", "0", a.id.b, sizeof a.id.b), 1);
	assert_int_equal(by_hand(k, "LREM", "q2", "0", c.id.b, sizeof c.id.b), 1);
	kit_reopen(k); /* what judges opens the slot first */
	found_and_mended(k, FAULT_QUEUED, 2, 0);
	done(k, &c.id); /* in the queue of its class */
	done(k, &b.id);
	done(k, &a.id); /* at the end */
	kit_free(k);
}

/* More than one window of a queue, more than one part of the records. */
static void many_queued(void **state)
{
	struct kit *k = begin();
	struct store_accept r;

	for (int i = 0; i < 3000; i++) {
		r = kit_request(k, "one of many");
		kit_accepted(k, &r);
	}
	sound(k);
	assert_int_equal(by_hand(k, "LREM", "q0", "0", r.id.b, sizeof r.id.b) + by_hand(k, "LREM", "q1", "0", r.id.b, sizeof r.id.b), 1);
	found_and_mended(k, FAULT_QUEUED, 1, 0);
	assert_int_equal(kit_look(k)->route.queued, 3000);
	kit_free(k);
}

static void scheduled(void **state)
{
	struct kit *k = begin();
	struct store_accept a = kit_request(k, "soon"), b = kit_request(k, "late");

	a.state = b.state = STATE_SCHEDULED;
	a.start_at_ms = kit_now() + 1;
	b.start_at_ms = kit_now() + LONG_MS;
	b.deadline_ms = kit_now() + LONG_MS / 2; /* is told of earlier than the start would be */
	kit_accepted(k, &b);
	take_out(k, "z", &b.id);
	found_and_mended(k, FAULT_SCHEDULED, 1, b.start_at_ms);
	assert_true(score_of(k, "z", &b.id) == (double)b.deadline_ms);
	kit_accepted(k, &a);
	take_out(k, "z", &a.id);
	found_and_mended(k, FAULT_SCHEDULED, 1, a.start_at_ms);
	assert_true(score_of(k, "z", &a.id) == (double)a.start_at_ms);
	assert_int_equal(kit_tick_until(k, 1)->items[0].record.state, STATE_QUEUED);
	done(k, &a.id);
	kit_free(k);
}

static void held(void **state)
{
	struct kit *k = begin();
	struct store_accept a = kit_request(k, "held"), b = kit_request(k, "held until then");

	a.state = b.state = STATE_HELD;
	b.deadline_ms = kit_now() + LONG_MS;
	kit_accepted(k, &a);
	kit_accepted(k, &b);
	sound(k);
	take_out(k, "h", &a.id);
	found_and_mended(k, FAULT_HELD, 1, 0);
	assert_int_equal(kit_look(k)->route.held, 2);
	assert_int_equal(kit_cancel(k, &a.id, "")->status, STORE_OK);
	take_out(k, "z", &b.id);
	found_and_mended(k, FAULT_DEADLINE, 1, 0);
	assert_true(score_of(k, "z", &b.id) == (double)b.deadline_ms);
	kit_free(k);
}

static void leased(void **state)
{
	struct kit *k = begin();
	struct store_accept a = kit_request(k, "lapses"), b = kit_request(k, "goes on"), a2 = kit_request(k, "lapses too");
	int64_t until = clock_mono_ms() + PATIENCE_MS;
	struct check c;

	kit_accepted(k, &a);
	kit_leased(k, 1);
	kit_accepted(k, &a2);
	kit_leased(k, 5);
	by_hand(k, "DEL", "l", NULL, NULL, 0);
	kit_accepted(k, &b);
	kit_leased(k, LONG_MS);
	do
		c = checked_with(k, false, 0);
	while (c.found[FAULT_LEASED] < 2 && clock_mono_ms() < until);
	found_and_mended(k, FAULT_LEASED, 2, 0); /* not the third, whose lease goes on */
	kit_tick_until(k, 2);
	for (int i = 0; i < 2; i++) { /* in the order in which they were put right */
		struct store_record l = kit_leased(k, LONG_MS);

		assert_int_equal(kit_finish(k, &l, FINISH_COMPLETED, 0, "done")->status, STORE_OK);
	}
	assert_int_equal(kit_get(k, &a.id, false)->record.state, STATE_COMPLETED);
	assert_int_equal(kit_get(k, &a2.id, false)->record.state, STATE_COMPLETED);
	kit_free(k);
}

static void quarantined(void **state)
{
	struct kit *k = begin();
	struct store_accept a = kit_request(k, "bad");
	struct store_record l;

	kit_accepted(k, &a);
	l = kit_leased(k, LONG_MS);
	kit_finish(k, &l, FINISH_QUARANTINED, 0, "");
	sound(k);
	take_out(k, "x", &a.id);
	found_and_mended(k, FAULT_QUARANTINED, 1, 0);
	assert_int_equal(kit_look(k)->route.quarantined, 1);
	kit_free(k);
}

static void dead(void **state)
{
	struct kit *k = begin();
	struct store_accept a = dead_letter(k), b = dead_letter(k), c = dead_letter(k), fresh = kit_request(k, "again");
	struct answer *x;

	assert_int_equal(kit_drop(k, &b.id)->status, STORE_OK);
	assert_int_equal(kit_replay(k, &fresh, &c.id)->status, STORE_OK);
	sound(k); /* what was let go of waits to be forgotten */
	take_out(k, "d", &a.id);
	found_and_mended(k, FAULT_DEAD, 1, 0);
	x = kit_dead(k, NULL, 10, true);
	assert_int_equal(x->n_items, 1);
	assert_memory_equal(x->items[0].record.id.b, a.id.b, sizeof a.id.b);
	assert_string_equal(x->items[0].outcome, "no good");
	by_hand(k, "DEL", "f", NULL, NULL, 0);
	sound(k); /* not for long enough yet */
	k->limits.keep_finished_ms = 0;
	found_and_mended(k, FAULT_ENDED, 2, 0);
	assert_int_equal(kit_get(k, &b.id, false)->status, STORE_NOT_FOUND);
	assert_int_equal(kit_get(k, &c.id, false)->status, STORE_NOT_FOUND);
	assert_int_equal(kit_get(k, &a.id, false)->status, STORE_OK);
	done(k, &fresh.id);
	kit_free(k);
}

static void ended(void **state)
{
	struct kit *k = begin();
	struct store_accept a = kit_request(k, "is done"), again = kit_request(k, "is done"), other = kit_request(k, "is done later");

	a.has_idempotency = again.has_idempotency = true;
	kit_accepted(k, &a);
	done(k, &a.id);
	assert_int_equal(kit_accept(k, &again)->status, STORE_DUPLICATE);
	by_hand(k, "DEL", "f", NULL, NULL, 0);
	kit_sleep(k, 2);
	kit_accepted(k, &other);
	done(k, &other.id);
	sound(k);
	k->limits.keep_finished_ms = 0;
	found_and_mended(k, FAULT_ENDED, 2, 0); /* the first and its duplicate; the other will be forgotten */
	assert_int_equal(kit_get(k, &a.id, false)->status, STORE_NOT_FOUND);
	assert_int_equal(kit_get(k, &again.id, false)->status, STORE_NOT_FOUND);
	assert_int_equal(kit_get(k, &other.id, false)->status, STORE_OK);
	kit_sleep(k, 3);
	kit_tick(k);
	assert_int_equal(kit_get(k, &other.id, false)->status, STORE_NOT_FOUND);
	assert_int_equal(server_say(k->server, "DBSIZE"), 5); /* m and s, of the slot itself; hints of leases that would go on; two of the node */
	kit_free(k);
}

static void unlisted(void **state)
{
	struct kit *k = begin();
	struct store_accept a = kit_request(k, "unlisted"), b = kit_request(k, "listed");
	struct answer *x;

	kit_accepted(k, &a);
	kit_accepted(k, &b);
	take_out(k, "n", &a.id);
	assert_int_equal(kit_list(k, 0, STATE_UNSPECIFIED, 0, 10, false)->n_items, 1);
	found_and_mended(k, FAULT_UNLISTED, 1, 0);
	x = kit_list(k, 0, STATE_UNSPECIFIED, 0, 10, false);
	assert_int_equal(x->n_items, 2);
	assert_memory_equal(x->items[1].record.id.b, a.id.b, sizeof a.id.b); /* where it was */
	done(k, &a.id);
	kit_free(k);
}

/* The only key of b: whose name begins with this id. */
static void remove_blob(struct kit *k, const struct handoff_id *id)
{
	static const char script[] = "local n = 0 for _, k in ipairs(redis.call('KEYS', '*:b:*')) do"
				     " if string.find(k, ARGV[1], 1, true) then n = n + redis.call('DEL', k) end end return n";
	const char *argv[] = {"EVAL", script, "0", (const char *)id->b};
	const size_t len[] = {4, sizeof script - 1, 1, sizeof id->b};

	assert_int_equal(server_command(k->server, NULL, 0, 4, argv, len), 1);
}

static void task(void **state)
{
	struct kit *k = begin();
	struct store_accept a = kit_request(k, "gone"), b = kit_request(k, "there");

	kit_accepted(k, &a);
	kit_accepted(k, &b);
	remove_blob(k, &a.id);
	found_and_mended(k, FAULT_TASK, 1, 0);
	assert_int_equal(kit_get(k, &a.id, false)->record.state, STATE_QUARANTINED);
	assert_int_equal(kit_look(k)->route.waiting, 1);
	done(k, &b.id);
	sound(k);
	kit_free(k);
}

/* A record that is gone leaves its key, its blob, its places and its share of what waits. */
static void record(void **state)
{
	struct kit *k = begin();
	struct store_accept a = kit_request(k, "gone"), again, b = kit_request(k, "there");
	struct check c;

	a.has_idempotency = true;
	again = a;
	kit_accepted(k, &a);
	kit_accepted(k, &b);
	assert_int_equal(by_hand(k, "HDEL", "s", NULL, a.id.b, sizeof a.id.b), 1);
	c = checked_with(k, true, 0);
	assert_int_equal(c.stale, 1); /* in its queue: skipped there */
	assert_int_equal(c.found[FAULT_COUNTERS], 1);
	assert_int_equal(c.found[FAULT_KEY], 1);
	assert_int_equal(c.found[FAULT_IN_LIST], 1);
	assert_int_equal(c.found[FAULT_BLOB], 1);
	assert_int_equal(sum(c.found), 4);
	assert_int_equal(sum(c.mended), 4);
	sound(k);
	assert_int_equal(kit_look(k)->route.waiting, 1);
	done(k, &b.id); /* a lease takes the other off its queue */
	kit_accepted(k, &again);
	done(k, &again.id);
	sound(k);
	kit_free(k);
}

static void misplaced(void **state)
{
	struct kit *k = begin();
	struct store_accept a = kit_request(k, "queued");
	static const struct { const char *key; enum store_fault fault; } places[] = {
		{"h", FAULT_IN_HELD}, {"d", FAULT_IN_DEAD}, {"x", FAULT_IN_QUARANTINED}};

	kit_accepted(k, &a);
	for (size_t i = 0; i < 3; i++) {
		assert_int_equal(by_hand(k, "ZADD", places[i].key, "1", a.id.b, sizeof a.id.b), 1);
		assert_int_equal(by_hand(k, "ZADD", places[i].key, "1", "of nothing here.", 16), 1);
		found_and_mended(k, places[i].fault, 2, 0);
	}
	by_hand(k, "ZADD", "n", "1", "of nothing here.", 16);
	found_and_mended(k, FAULT_IN_LIST, 1, 0);
	by_hand(k, "ZADD", "z", "1", "of nothing here.", 16);
	by_hand(k, "RPUSH", "q1", NULL, "of nothing here.", 16);
	by_hand(k, "ZADD", "l", "1", "01234567of nothing here.", 25);
	assert_int_equal(checked_with(k, true, 0).stale, 3);
	sound(k);
	done(k, &a.id);
	kit_free(k);
}

static void leaks(void **state)
{
	struct kit *k = begin();
	struct store_accept a = kit_request(k, "queued");
	struct kit other = *k;
	char which[64];

	kit_accepted(k, &a);
	memcpy(which, "b:0123456789abcdeftokentok", 27);
	by_hand(k, "SET", which, NULL, "x", 1);
	by_hand(k, "SET", "b:not one of ours", NULL, "x", 1);
	server_say(k->server, "SET {x}:b:0123456789abcdeftokentok x");
	found_and_mended(k, FAULT_BLOB, 1, 0);
	other.slot.route = "another";
	by_hand(&other, "RPUSH", "e:0123456789abcdef", NULL, "x", 1);
	by_hand(&other, "HSET", "m", "inc", "none", 4);
	found_and_mended(k, FAULT_EVENTS, 1, 0); /* of any slot */
	done(k, &a.id);
	kit_free(k);
}

static void counters(void **state)
{
	struct kit *k = begin();
	struct store_accept a = kit_request(k, "queued");
	struct store_route was;
	struct check c = {.k = k};

	kit_accepted(k, &a);
	was = kit_look(k)->route;
	by_hand(k, "HSET", "m", "w", "99", 2);
	found_and_mended(k, FAULT_COUNTERS, 1, 0);
	by_hand(k, "HSET", "m", "wb", "1", 1);
	found_and_mended(k, FAULT_COUNTERS, 1, 0);
	assert_int_equal(kit_look(k)->route.waiting, was.waiting);
	assert_int_equal(kit_look(k)->route.waiting_bytes, was.waiting_bytes);
	by_hand(k, "HSET", "m", "w", "99", 2);
	kit_sleep(k, 2);
	for (bool moved = false; step(&c); moved = true)
		if (!moved) /* between the mark and the judgement */
			kit_cancel(k, &a.id, "");
	check_clear(&c);
	assert_int_equal(c.not_judged, 1);
	assert_int_equal(c.found[FAULT_COUNTERS], 0);
	kit_free(k);
}

/* ---- while work goes on ---- */

#define LEASED_MAX 4096

static struct {
	struct kit *k;
	unsigned accepted, ended, held, confirmed;
	size_t n;
	struct store_record leased[LEASED_MAX];
} load;

static void note_load(void *user, uint64_t op, const struct store_answer *a)
{
	load.confirmed += a->confirmed;
	for (size_t i = 0; op == 1 && i < a->n_items; i++)
		load.held += a->items[i].record.unconfirmed;
	for (size_t i = 0; i < a->n_items; i++)
		if (op == 1 && a->items[i].status == STORE_OK && a->items[i].record.state == STATE_LEASED && load.n < LEASED_MAX)
			load.leased[load.n++] = a->items[i].record;
	if (op == 2)
		load.accepted += a->status == STORE_OK;
	if (op == 3)
		load.ended += a->status == STORE_OK;
	if (--load.k->waiting == 0 && load.k->loop)
		loop_stop(load.k->loop);
}

static uint32_t dice(uint32_t n)
{
	static uint32_t x = 2463534242u;

	x ^= x << 13;
	x ^= x >> 17;
	x ^= x << 5;
	return x % n;
}

static void put_work(struct kit *k, int n)
{
	static const enum handoff_state states[] = {STATE_QUEUED, STATE_QUEUED, STATE_QUEUED, STATE_QUEUED, STATE_SCHEDULED, STATE_HELD};

	while (n--) {
		struct store_accept r = kit_request(k, "work");

		r.state = states[dice(6)];
		r.start_at_ms = kit_now() + dice(20);
		r.deadline_ms = r.state == STATE_HELD || !dice(4) ? kit_now() + 20 + dice(300) : 0;
		r.priority = (uint8_t)dice(10);
		r.max_attempts = (uint8_t)(1 + dice(3));
		r.has_idempotency = dice(2);
		r.idempotency[0] = (uint8_t)dice(256);
		r.owner = dice(2) ? KIT_AGENT : 0;
		r.lease_ms = r.owner ? 10 : 0;
		k->waiting++;
		k->store->ops->accept(k->store, &r, note_load, k, 2);
		if (dice(16) == 0) {
			k->waiting++;
			k->store->ops->cancel(k->store, k->slot, &r.id, slice_str("no more"), note_load, k, 4);
		}
	}
}

static void take_work(struct kit *k, int n)
{
	struct store_lease r = {.slot = k->slot, .max = (uint32_t)n, .owner = KIT_AGENT, .lease_ms = 2 + dice(40)};

	k->waiting++;
	k->store->ops->lease(k->store, &r, note_load, k, 1);
}

static void report_work(struct kit *k)
{
	static const enum store_finish_kind kinds[] = {FINISH_COMPLETED, FINISH_COMPLETED, FINISH_FAILED, FINISH_RETRY, FINISH_RETRY, FINISH_RELEASE,
		FINISH_QUARANTINED, FINISH_EXPIRED, FINISH_REJECTED};
	size_t n = load.n;

	load.n = 0;
	for (size_t i = 0; i < n; i++) {
		const struct store_record *l = &load.leased[i];
		struct store_finish f = {.slot = k->slot, .id = l->id, .fence = l->fence, .owner = l->owner, .kind = kinds[dice(9)],
			.delay_ms = dice(3) ? 0 : dice(15), .outcome = slice_str(dice(2) ? "so it went" : "")};
		struct store_event_put e = {.slot = k->slot, .id = l->id, .fence = l->fence, .owner = l->owner, .body = slice_str("on it"), .max_events = 100};

		if (!dice(3)) {
			k->waiting++;
			k->store->ops->event(k->store, &e, note_load, k, 4);
		}
		if (!dice(8))
			continue; /* left to lapse */
		k->waiting++;
		k->store->ops->finish(k->store, &f, note_load, k, 3);
	}
}

/* All this is under way with each look, and with each judgement. */
static void work(struct kit *k)
{
	report_work(k);
	if (!dice(40))
		kit_fail_over(k);
	put_work(k, 24);
	take_work(k, 10); /* the queue grows */
	k->waiting++;
	k->store->ops->tick(k->store, k->slot, &k->limits, note_load, k, 4);
}

static void under_load(void **state)
{
	struct kit *k = begin();
	unsigned checks = 0, found = 0, suspects = 0;

	load.k = k;
	k->limits.keep_finished_ms = 300;
	while (checks < 3 || load.accepted < 6000) {
		struct check c = {.k = k, .repair = true}; /* should it find something, the work would be touched: it must not */

		do {
			work(k);
			suspects += c.look.n_suspects;
		} while (step(&c));
		for (int i = 0; i < FAULTS; i++)
			if (c.found[i])
				print_error("check %u: fault %d found %u times\n", checks, i, c.found[i]);
		found += sum(c.found);
		check_clear(&c);
		checks++;
	}
	print_message("# %u checks, %u accepted, %u ended, %u held, %u confirmed, %u suspects, %u found\n", checks, load.accepted, load.ended, load.held,
		      load.confirmed, suspects, found);
	assert_int_equal(found, 0);
	assert_true(load.ended > 1000);
	assert_true(load.held > 0 && load.confirmed > 0);
	assert_true(suspects > 0);
	kit_turn(k);
	sound(k);
	kit_free(k);
}

/* ---- both backends ---- */

static void all_in_order(struct kit *k)
{
	struct store_accept queued_one = kit_request(k, "queued"), late = kit_request(k, "late"), held_one = kit_request(k, "held");

	late.state = STATE_SCHEDULED;
	late.start_at_ms = kit_now() + LONG_MS;
	held_one.state = STATE_HELD;
	kit_accepted(k, &queued_one);
	kit_accepted(k, &late);
	kit_accepted(k, &held_one);
	sound(k);
	done(k, &queued_one.id);
	sound(k);
}

int main(void)
{
	static const struct kit_scenario scenarios[] = {{"in-order", all_in_order}};
#define OWN(fn) {.name = "redis: " #fn, .test_func = fn}
	static const struct CMUnitTest own[] = {OWN(queued), OWN(many_queued), OWN(scheduled), OWN(held), OWN(leased), OWN(quarantined), OWN(dead),
		OWN(ended), OWN(unlisted), OWN(task), OWN(record), OWN(misplaced), OWN(leaks), OWN(counters), OWN(under_load)};

	return kit_run("store, check", scenarios, sizeof scenarios / sizeof scenarios[0], own, sizeof own / sizeof own[0]);
}
