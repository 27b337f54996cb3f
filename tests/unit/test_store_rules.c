/* Does the store keep its rules, whichever backend? One table of scenarios, run against a real redis-server and against the
 * in-memory twin; each on a route of its own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>

#include "store_kit.h"

#define AGENT KIT_AGENT
#define LONG_MS 600000

static struct store_record new_lease(struct kit *k, const char *task, uint32_t ms)
{
	struct store_accept r = kit_request(k, task);

	kit_accepted(k, &r);
	return kit_leased(k, ms);
}

static void assert_nothing_to_lease(struct kit *k)
{
	struct answer *a = kit_lease(k, AGENT, 10, LONG_MS);

	assert_int_equal(a->status, STORE_OK);
	assert_int_equal(a->n_items, 0);
}

static void assert_same_id(const struct handoff_id *a, const struct handoff_id *b)
{
	assert_memory_equal(a->b, b->b, sizeof a->b);
	assert_memory_equal(a->tag, b->tag, sizeof a->tag);
}

/* ---- scenarios ---- */

static void happy(struct kit *k)
{
	struct store_accept r = kit_request(k, "do it");
	struct store_record a = kit_accepted(k, &r), l;
	struct answer *x;

	assert_same_id(&a.id, &r.id);
	assert_int_equal(a.state, STATE_QUEUED);
	assert_int_equal(a.cursor, 1);
	assert_int_equal(a.position, 1);
	assert_int_equal(k->store->ops->waiting(k->store, k->slot), 1);
	x = kit_lease(k, AGENT, 10, LONG_MS);
	assert_int_equal(x->n_items, 1);
	assert_string_equal(x->items[0].task, "do it");
	l = x->items[0].record;
	assert_true(l.fence > 0);
	assert_int_equal(l.owner, AGENT);
	assert_int_equal(l.attempt, 1);
	assert_int_equal(l.cursor, 2);
	assert_true(l.first_leased_at_ms > 0);
	assert_true(l.lease_until_ms > kit_now());
	assert_nothing_to_lease(k);
	x = kit_finish(k, &l, FINISH_COMPLETED, 0, "done it");
	assert_int_equal(x->status, STORE_OK);
	assert_int_equal(x->record.state, STATE_COMPLETED);
	assert_int_equal(x->record.cursor, 3);
	x = kit_get(k, &r.id, true);
	assert_int_equal(x->status, STORE_OK);
	assert_int_equal(x->n_items, 1);
	assert_string_equal(x->items[0].task, "do it");
	assert_string_equal(x->items[0].outcome, "done it");
	assert_int_equal(x->record.state, STATE_COMPLETED);
	assert_int_equal(k->store->ops->waiting(k->store, k->slot), 0);
}

static void replay(struct kit *k)
{
	struct store_accept r = kit_request(k, "once");
	struct answer *x;

	kit_accepted(k, &r);
	x = kit_accept(k, &r);
	assert_int_equal(x->status, STORE_REPLAYED);
	assert_true(x->same_bytes);
	assert_same_id(&x->record.id, &r.id);
	r.bytes_print[0] ^= 1;
	r.task = slice_str("something else");
	x = kit_accept(k, &r);
	assert_int_equal(x->status, STORE_REPLAYED);
	assert_false(x->same_bytes);
	x = kit_lease(k, AGENT, 10, LONG_MS);
	assert_int_equal(x->n_items, 1);
	assert_string_equal(x->items[0].task, "once");
	assert_int_equal(kit_finish(k, &x->items[0].record, FINISH_COMPLETED, 0, "")->status, STORE_OK);
	x = kit_accept(k, &r); /* also when it is done */
	assert_int_equal(x->status, STORE_REPLAYED);
	assert_int_equal(x->record.state, STATE_COMPLETED);
}

static struct store_accept idempotent(struct kit *k, const char *task, uint8_t key, uint8_t print)
{
	struct store_accept r = kit_request(k, task);

	r.has_idempotency = true;
	memset(r.idempotency, key, sizeof r.idempotency);
	memset(r.idempotency_print, print, sizeof r.idempotency_print);
	return r;
}

static void idempotency(struct kit *k)
{
	struct store_accept first = idempotent(k, "pay", 1, 1), again = idempotent(k, "pay", 1, 1);
	struct store_accept other = idempotent(k, "pay more", 1, 2), stranger = idempotent(k, "pay", 2, 1);
	struct store_record l;
	struct answer *x;

	kit_accepted(k, &first);
	x = kit_accept(k, &again);
	assert_int_equal(x->status, STORE_DUPLICATE);
	assert_same_id(&x->record.id, &first.id);
	assert_int_equal(x->record.state, STATE_QUEUED);
	x = kit_accept(k, &again); /* its nonce is burned too */
	assert_int_equal(x->status, STORE_REPLAYED);
	assert_same_id(&x->record.id, &first.id);
	x = kit_get(k, &again.id, false);
	assert_same_id(&x->record.id, &first.id);
	assert_int_equal(kit_accept(k, &other)->status, STORE_CONFLICT);
	assert_int_equal(kit_get(k, &other.id, false)->status, STORE_NOT_FOUND);
	kit_accepted(k, &stranger); /* another sender's equal key is another hash */
	l = kit_leased(k, LONG_MS);
	assert_same_id(&l.id, &first.id);
	assert_int_equal(kit_finish(k, &l, FINISH_COMPLETED, 0, "paid")->status, STORE_OK);
	again = idempotent(k, "pay", 1, 1);
	x = kit_accept(k, &again);
	assert_int_equal(x->status, STORE_DUPLICATE);
	assert_int_equal(x->record.state, STATE_COMPLETED);
	assert_string_equal(x->outcome, "paid");
}

/* Two with one key in one tick: one wins, the other is its duplicate. */
static void idempotency_same_tick(struct kit *k)
{
	struct store_accept a = idempotent(k, "pay", 3, 1), b = idempotent(k, "pay", 3, 1), c = a;
	static struct answer xa, xb, xc;

	xa.done = xb.done = xc.done = false;
	kit_get(k, &a.id, false);
	k->waiting = 3;
	k->store->ops->accept(k->store, &a, kit_note, &xa, 1);
	k->store->ops->accept(k->store, &b, kit_note, &xb, 2);
	k->store->ops->accept(k->store, &c, kit_note, &xc, 3);
	kit_turn(k);
	assert_int_equal(xa.status, STORE_OK);
	assert_int_equal(xb.status, STORE_DUPLICATE);
	assert_same_id(&xb.record.id, &a.id);
	assert_int_equal(xc.status, STORE_REPLAYED);
	assert_int_equal(kit_lease(k, AGENT, 10, LONG_MS)->n_items, 1);
}

/* ---- leased at once ---- */

static struct store_accept for_agent(struct kit *k, const char *task)
{
	struct store_accept r = kit_request(k, task);

	r.owner = AGENT;
	r.lease_ms = LONG_MS;
	return r;
}

static void at_once(struct kit *k)
{
	struct store_accept r = for_agent(k, "now");
	struct answer *x = kit_accept(k, &r);
	struct store_record l = x->record;

	assert_int_equal(x->status, STORE_OK);
	assert_true(x->leased);
	assert_int_equal(l.state, STATE_LEASED);
	assert_int_equal(l.owner, AGENT);
	assert_int_equal(l.attempt, 1);
	assert_int_equal(l.cursor, 2);
	assert_true(l.fence > 0);
	assert_int_equal(l.first_leased_at_ms, l.accepted_at_ms);
	assert_int_equal(l.lease_until_ms, l.accepted_at_ms + LONG_MS);
	assert_int_equal(k->store->ops->waiting(k->store, k->slot), 0);
	assert_nothing_to_lease(k);
	assert_int_equal(kit_events(k, &r.id, 0, 10)->n_events, 0); /* both are told by the record */
	x = kit_accept(k, &r);
	assert_int_equal(x->status, STORE_REPLAYED);
	assert_false(x->leased);
	assert_int_equal(kit_finish(k, &l, FINISH_COMPLETED, 0, "done")->status, STORE_OK);
	x = kit_get(k, &r.id, true);
	assert_string_equal(x->items[0].task, "now");
	assert_string_equal(x->items[0].outcome, "done");
	r = for_agent(k, "next");
	assert_true(kit_accept(k, &r)->record.fence > l.fence);
}

static void at_once_lapses(struct kit *k)
{
	struct store_accept r = for_agent(k, "now");
	struct store_record one, two;

	r.lease_ms = 1;
	one = kit_accept(k, &r)->record;
	assert_int_equal(kit_tick_until(k, 1)->items[0].record.state, STATE_QUEUED);
	assert_int_equal(k->store->ops->waiting(k->store, k->slot), 1);
	two = kit_leased(k, LONG_MS);
	assert_same_id(&two.id, &one.id);
	assert_true(two.fence > one.fence);
	assert_int_equal(two.attempt, 2);
	assert_int_equal(kit_finish(k, &one, FINISH_COMPLETED, 0, "late")->status, STORE_LOST);
	assert_int_equal(kit_finish(k, &two, FINISH_COMPLETED, 0, "good")->status, STORE_OK);
}

/* First in, first out: what waits goes first, whatever its priority, and what comes behind it waits too. */
static void at_once_only_when_nothing_waits(struct kit *k)
{
	struct store_accept waits = kit_request(k, "first"), r = for_agent(k, "second");
	static struct answer both[2];

	waits.priority = 0;
	r.priority = 9;
	kit_accepted(k, &waits);
	assert_false(kit_accept(k, &r)->leased);
	assert_int_equal(k->store->ops->waiting(k->store, k->slot), 2);
	assert_int_equal(kit_lease(k, AGENT, 10, LONG_MS)->n_items, 2);
	/* In one tick: behind one that nobody takes at once, the other waits. */
	waits = kit_request(k, "third");
	r = for_agent(k, "fourth");
	both[0].done = both[1].done = false;
	k->waiting = 2;
	k->store->ops->accept(k->store, &waits, kit_note, &both[0], 1);
	k->store->ops->accept(k->store, &r, kit_note, &both[1], 2);
	kit_turn(k);
	assert_false(both[0].leased || both[1].leased);
	assert_int_equal(both[1].record.state, STATE_QUEUED);
}

static void at_once_many(struct kit *k)
{
	static struct answer all[40];
	static struct store_accept r[40];

	kit_get(k, &(struct handoff_id){.b = {1}}, false);
	k->waiting = 40;
	for (size_t i = 0; i < 40; i++) {
		all[i].done = false;
		r[i] = for_agent(k, "many");
		k->store->ops->accept(k->store, &r[i], kit_note, &all[i], i);
	}
	kit_turn(k);
	for (size_t i = 0; i < 40; i++) {
		assert_true(all[i].leased);
		assert_true(!i || all[i].record.fence == all[i - 1].record.fence + 1);
		assert_int_equal(kit_finish(k, &all[i].record, FINISH_COMPLETED, 0, "x")->status, STORE_OK);
	}
}

static void not_at_once(struct kit *k)
{
	struct store_accept r = for_agent(k, "held");

	r.state = STATE_HELD;
	assert_false(kit_accept(k, &r)->leased);
	r = for_agent(k, "scheduled");
	r.state = STATE_SCHEDULED;
	r.start_at_ms = kit_now() + LONG_MS;
	assert_false(kit_accept(k, &r)->leased);
	r = for_agent(k, "too late");
	r.deadline_ms = 1;
	assert_false(kit_accept(k, &r)->leased);
	assert_int_equal(kit_lease(k, AGENT, 1, LONG_MS)->items[0].record.state, STATE_EXPIRED);
}

static void wrong_fence(struct kit *k)
{
	struct store_record l = new_lease(k, "task", LONG_MS), bad = l;

	bad.fence++;
	assert_int_equal(kit_finish(k, &bad, FINISH_COMPLETED, 0, "x")->status, STORE_LOST);
	assert_int_equal(kit_extend(k, &bad, 1000)->status, STORE_LOST);
	assert_int_equal(kit_event(k, &bad, STATE_WORKING, 1000, "x")->status, STORE_LOST);
	bad = l;
	bad.owner++; /* somebody else who guessed the fence */
	assert_int_equal(kit_finish(k, &bad, FINISH_COMPLETED, 0, "x")->status, STORE_LOST);
	assert_int_equal(kit_extend(k, &bad, 1000)->status, STORE_LOST);
	assert_int_equal(kit_event(k, &bad, STATE_WORKING, 1000, "x")->status, STORE_LOST);
	bad = l;
	bad.id.b[0] ^= 1;
	assert_int_equal(kit_finish(k, &bad, FINISH_COMPLETED, 0, "x")->status, STORE_NOT_FOUND);
	assert_int_equal(kit_finish(k, &l, FINISH_COMPLETED, 0, "")->status, STORE_OK);
	assert_int_equal(kit_finish(k, &l, FINISH_FAILED, 0, "")->status, STORE_LOST); /* it has ended */
}

static void lapse(struct kit *k)
{
	struct store_record one = new_lease(k, "task", 1), two;
	struct answer *x = kit_tick_until(k, 1);

	assert_int_equal(x->items[0].record.state, STATE_QUEUED);
	assert_same_id(&x->items[0].record.id, &one.id);
	assert_int_equal(kit_extend(k, &one, 1000)->status, STORE_LOST);
	two = kit_leased(k, LONG_MS);
	assert_true(two.fence > one.fence);
	assert_int_equal(two.attempt, 2);
	assert_int_equal(kit_finish(k, &one, FINISH_COMPLETED, 0, "late")->status, STORE_LOST);
	assert_int_equal(kit_finish(k, &two, FINISH_COMPLETED, 0, "good")->status, STORE_OK);
}

/* After the lapse, before redelivery: the fence is current. */
static void late_finish(struct kit *k)
{
	struct store_record one = new_lease(k, "task", 1);

	kit_tick_until(k, 1);
	assert_int_equal(kit_finish(k, &one, FINISH_COMPLETED, 0, "late but good")->status, STORE_OK);
	assert_nothing_to_lease(k);
	assert_string_equal(kit_get(k, &one.id, true)->items[0].outcome, "late but good");
	assert_int_equal(k->store->ops->waiting(k->store, k->slot), 0);
}

static void late_release(struct kit *k)
{
	struct store_record one = new_lease(k, "task", 1), two;

	kit_tick_until(k, 1);
	assert_int_equal(kit_finish(k, &one, FINISH_RELEASE, 0, "")->status, STORE_OK);
	two = kit_leased(k, LONG_MS);
	assert_nothing_to_lease(k); /* it stood in the queue once */
	assert_int_equal(kit_finish(k, &two, FINISH_COMPLETED, 0, "")->status, STORE_OK);
	assert_int_equal(kit_get(k, &one.id, false)->record.state, STATE_COMPLETED);
}

static void extended(struct kit *k)
{
	struct store_record l = new_lease(k, "task", 1);
	struct answer *x = kit_extend(k, &l, LONG_MS);

	assert_int_equal(x->status, STORE_OK);
	assert_true(x->record.lease_until_ms > l.lease_until_ms);
	kit_sleep(k, 5);
	assert_int_equal(kit_tick(k)->n_items, 0); /* the hint is due, the record is not */
	assert_int_equal(kit_tick(k)->n_items, 0);
	assert_int_equal(kit_extend(k, &l, 1)->status, STORE_OK);
	assert_int_equal(kit_finish(k, &l, FINISH_COMPLETED, 0, "")->status, STORE_OK);
}

static void dead_letter(struct kit *k)
{
	struct store_accept r = kit_request(k, "task");
	struct store_record l;
	struct answer *x;

	r.max_attempts = 2;
	kit_accepted(k, &r);
	l = kit_leased(k, LONG_MS);
	x = kit_finish(k, &l, FINISH_RETRY, 0, "try again");
	assert_int_equal(x->status, STORE_OK);
	assert_int_equal(x->record.state, STATE_QUEUED);
	assert_int_equal(x->record.owner, 0);
	assert_int_equal(kit_finish(k, &l, FINISH_COMPLETED, 0, "changed my mind")->status, STORE_LOST);
	l = kit_leased(k, LONG_MS);
	assert_int_equal(l.attempt, 2);
	x = kit_finish(k, &l, FINISH_RETRY, 0, "no good");
	assert_int_equal(x->record.state, STATE_DEAD_LETTERED);
	assert_nothing_to_lease(k);
	x = kit_get(k, &r.id, true);
	assert_string_equal(x->items[0].outcome, "no good");
	k->limits.keep_finished_ms = 0;
	kit_sleep(k, 3);
	kit_tick(k);
	assert_int_equal(kit_get(k, &r.id, true)->status, STORE_OK); /* kept for the operator */
}

static void dead_by_lapse(struct kit *k)
{
	struct store_accept r = kit_request(k, "task");

	r.max_attempts = 1;
	kit_accepted(k, &r);
	kit_leased(k, 1);
	assert_int_equal(kit_tick_until(k, 1)->items[0].record.state, STATE_DEAD_LETTERED);
	assert_nothing_to_lease(k);
}

static void backing_off(struct kit *k)
{
	struct store_record l = new_lease(k, "task", LONG_MS);

	assert_int_equal(kit_finish(k, &l, FINISH_RETRY, 60000, "")->record.state, STATE_QUEUED);
	assert_nothing_to_lease(k);
	assert_int_equal(kit_tick(k)->n_items, 0);
	assert_int_equal(k->store->ops->waiting(k->store, k->slot), 1);
	assert_int_equal(kit_cancel(k, &l.id, "")->status, STORE_OK);
	assert_int_equal(k->store->ops->waiting(k->store, k->slot), 0);
	l = new_lease(k, "task", LONG_MS);
	kit_finish(k, &l, FINISH_RETRY, 1, "");
	assert_int_equal(kit_tick_until(k, 1)->items[0].record.state, STATE_QUEUED);
	kit_leased(k, LONG_MS);
}

static void release(struct kit *k)
{
	struct store_accept r = kit_request(k, "task");
	struct store_record l;

	r.max_attempts = 1;
	kit_accepted(k, &r);
	for (int i = 0; i < 5; i++) {
		l = kit_leased(k, LONG_MS);
		assert_int_equal(l.attempt, 1); /* costs none */
		assert_int_equal(kit_finish(k, &l, FINISH_RELEASE, 0, "")->record.state, STATE_QUEUED);
	}
	kit_leased(k, LONG_MS);
}

static void cancel_waiting(struct kit *k)
{
	struct store_accept r = kit_request(k, "task"), held = kit_request(k, "held"), later = kit_request(k, "later");
	struct answer *x;

	held.state = STATE_HELD;
	later.state = STATE_SCHEDULED;
	later.start_at_ms = kit_now() + LONG_MS;
	kit_accepted(k, &r);
	kit_accepted(k, &held);
	kit_accepted(k, &later);
	x = kit_cancel(k, &r.id, "not needed");
	assert_int_equal(x->status, STORE_OK);
	assert_int_equal(x->record.state, STATE_CANCELLED);
	assert_false(x->record.stop_requested);
	assert_int_equal(x->record.cursor, 2);
	assert_int_equal(kit_cancel(k, &held.id, "")->status, STORE_OK);
	assert_int_equal(kit_cancel(k, &later.id, "")->status, STORE_OK);
	assert_nothing_to_lease(k);
	assert_string_equal(kit_get(k, &r.id, true)->items[0].outcome, "not needed");
	x = kit_cancel(k, &r.id, "again");
	assert_int_equal(x->status, STORE_WRONG_STATE);
	assert_int_equal(x->record.state, STATE_CANCELLED);
	assert_int_equal(k->store->ops->waiting(k->store, k->slot), 0);
	held.id.b[3] ^= 1;
	assert_int_equal(kit_cancel(k, &held.id, "")->status, STORE_NOT_FOUND);
}

static void cancel_leased(struct kit *k)
{
	struct store_record l = new_lease(k, "task", LONG_MS);
	struct answer *x = kit_cancel(k, &l.id, "stop");

	assert_int_equal(x->status, STORE_OK);
	assert_int_equal(x->record.state, STATE_CANCELLED);
	assert_true(x->record.stop_requested);
	assert_int_equal(x->record.owner, AGENT);
	assert_int_equal(kit_finish(k, &l, FINISH_COMPLETED, 0, "too late")->status, STORE_LOST);
	assert_string_equal(kit_get(k, &l.id, true)->items[0].outcome, "stop");
}

/* 1 accepted, 2 leased (implicit), then listed ones, the last is the record's. */
static void events(struct kit *k)
{
	struct store_record l = new_lease(k, "task", 1);
	struct answer *x;

	kit_extend(k, &l, LONG_MS);
	assert_int_equal(kit_events(k, &l.id, 0, 64)->n_events, 0);
	assert_int_equal(kit_event(k, &l, STATE_WORKING, 1000, "")->record.state, STATE_WORKING);
	assert_int_equal(kit_event(k, &l, STATE_UNSPECIFIED, 1000, "half way")->record.cursor, 4);
	assert_int_equal(kit_event(k, &l, STATE_INPUT_REQUIRED, 1000, "which one?")->record.state, STATE_INPUT_REQUIRED);
	kit_finish(k, &l, FINISH_RETRY, 0, "oops");
	l = kit_leased(k, 1);
	kit_tick_until(k, 1);
	l = kit_leased(k, LONG_MS);
	assert_int_equal(kit_event(k, &l, STATE_WORKING, 10, "more")->record.cursor, 10);
	assert_int_equal(kit_event(k, &l, STATE_WORKING, 10, "too many")->status, STORE_QUOTA);
	assert_int_equal(kit_finish(k, &l, FINISH_COMPLETED, 0, "end")->record.cursor, 11);
	x = kit_events(k, &l.id, 0, 64);
	assert_int_equal(x->status, STORE_OK);
	assert_int_equal(x->n_events, 8);
	for (size_t i = 0; i < x->n_events; i++)
		assert_int_equal(x->events[i].cursor, i + 3);
	assert_int_equal(x->events[0].state, STATE_WORKING);
	assert_string_equal(x->events[1].body, "half way");
	assert_int_equal(x->events[1].state, STATE_WORKING);
	assert_int_equal(x->events[1].owner, AGENT);
	assert_string_equal(x->events[3].body, "oops");
	assert_int_equal(x->events[3].state, STATE_QUEUED);
	assert_int_equal(x->events[4].state, STATE_LEASED);
	assert_int_equal(x->events[4].attempt, 2);
	assert_int_equal(x->events[5].state, STATE_QUEUED);
	assert_int_equal(x->events[6].state, STATE_LEASED);
	assert_string_equal(x->events[7].body, "more");
	assert_int_equal(x->record.cursor, 11);
	x = kit_events(k, &l.id, 4, 2);
	assert_int_equal(x->n_events, 2);
	assert_int_equal(x->events[0].cursor, 5);
	assert_int_equal(kit_events(k, &l.id, 10, 64)->n_events, 0);
	l.id.b[0] ^= 1;
	assert_int_equal(kit_events(k, &l.id, 0, 64)->status, STORE_NOT_FOUND);
}

static void scheduled(struct kit *k)
{
	struct store_accept r = kit_request(k, "later");
	struct answer *x;

	r.state = STATE_SCHEDULED;
	r.start_at_ms = kit_now() + 30;
	assert_int_equal(kit_accepted(k, &r).state, STATE_SCHEDULED);
	x = kit_tick_until(k, 1);
	assert_int_equal(x->items[0].record.state, STATE_QUEUED);
	assert_int_equal(x->items[0].record.cursor, 2);
	assert_int_equal(kit_leased(k, LONG_MS).cursor, 3);
	x = kit_events(k, &r.id, 0, 64);
	assert_int_equal(x->n_events, 2);
	assert_int_equal(x->events[0].cursor, 2);
	assert_int_equal(x->events[0].state, STATE_QUEUED);
	assert_int_equal(x->events[1].state, STATE_LEASED);
}

static void held(struct kit *k)
{
	struct store_accept r = kit_request(k, "needs approval");

	r.state = STATE_HELD;
	r.deadline_ms = kit_now() + 30;
	assert_int_equal(kit_accepted(k, &r).state, STATE_HELD);
	assert_nothing_to_lease(k);
	assert_int_equal(kit_tick_until(k, 1)->items[0].record.state, STATE_EXPIRED);
	assert_int_equal(k->store->ops->waiting(k->store, k->slot), 0);
}

static void expired_at_pop(struct kit *k)
{
	struct store_accept r = kit_request(k, "old"), good = kit_request(k, "good");
	struct answer *x;

	r.deadline_ms = kit_now() + 20;
	good.deadline_ms = kit_now() + LONG_MS;
	kit_accepted(k, &r);
	kit_accepted(k, &good);
	kit_sleep(k, 40);
	x = kit_lease(k, AGENT, 10, LONG_MS);
	assert_int_equal(x->n_items, 2);
	assert_int_equal(x->items[0].record.state, STATE_EXPIRED);
	assert_string_equal(x->items[0].task, "");
	assert_string_equal(x->items[1].task, "good");
	assert_int_equal(kit_get(k, &r.id, false)->record.state, STATE_EXPIRED);
	assert_int_equal(k->store->ops->waiting(k->store, k->slot), 0);
}

static void expired_by_tick(struct kit *k)
{
	struct store_accept r = kit_request(k, "old");

	r.deadline_ms = kit_now() + 20;
	kit_accepted(k, &r);
	assert_int_equal(kit_tick_until(k, 1)->items[0].record.state, STATE_EXPIRED);
	assert_nothing_to_lease(k);
}

static void priorities(struct kit *k)
{
	static const uint8_t given[] = {0, 9, 5, 3, 7}, order[] = {9, 7, 5, 0, 3};
	struct answer *x;

	for (size_t i = 0; i < 5; i++) {
		struct store_accept r = kit_request(k, "task");

		r.priority = given[i];
		kit_accepted(k, &r);
	}
	x = kit_lease(k, AGENT, 10, LONG_MS);
	assert_int_equal(x->n_items, 5);
	for (size_t i = 0; i < 5; i++)
		assert_int_equal(x->items[i].record.priority, order[i]);
}

static void listing(struct kit *k)
{
	struct handoff_id id[5];
	struct answer *x;
	struct store_record l;

	for (int i = 0; i < 5; i++) {
		struct store_accept r = kit_request(k, "task");

		r.sender = i == 2 ? 5 : 6;
		id[i] = r.id;
		kit_accepted(k, &r);
	}
	x = kit_list(k, 6, STATE_UNSPECIFIED, 0, 3, false);
	assert_int_equal(x->n_items, 3);
	assert_same_id(&x->items[0].record.id, &id[4]);
	assert_int_equal(x->items[0].record.position, 5);
	assert_same_id(&x->items[1].record.id, &id[3]);
	assert_same_id(&x->items[2].record.id, &id[1]);
	assert_string_equal(x->items[0].task, "");
	assert_true(x->next != 0);
	x = kit_list(k, 6, STATE_UNSPECIFIED, x->next, 3, true);
	assert_int_equal(x->n_items, 1);
	assert_same_id(&x->items[0].record.id, &id[0]);
	assert_string_equal(x->items[0].task, "task");
	assert_int_equal(x->next, 0);
	l = kit_leased(k, LONG_MS);
	x = kit_list(k, AGENT, STATE_UNSPECIFIED, 0, 10, false); /* by owner */
	assert_int_equal(x->n_items, 1);
	assert_same_id(&x->items[0].record.id, &l.id);
	assert_int_equal(kit_list(k, 6, STATE_QUEUED, 0, 10, false)->n_items, 3);
	assert_int_equal(kit_list(k, 4711, STATE_UNSPECIFIED, 0, 10, false)->n_items, 0);
}

static void retention(struct kit *k)
{
	struct store_record l = new_lease(k, "task", LONG_MS), w;
	struct store_accept waits = idempotent(k, "waits", 8, 8), again = idempotent(k, "waits", 8, 8);

	kit_accepted(k, &waits);
	kit_finish(k, &l, FINISH_COMPLETED, 0, "x");
	kit_tick(k);
	assert_int_equal(kit_get(k, &l.id, false)->status, STORE_OK); /* too young */
	k->limits.keep_finished_ms = 1;
	kit_sleep(k, 5);
	kit_tick(k);
	assert_int_equal(kit_get(k, &l.id, false)->status, STORE_NOT_FOUND);
	assert_int_equal(kit_get(k, &waits.id, false)->status, STORE_OK); /* not finished */
	assert_int_equal(kit_list(k, 0, STATE_UNSPECIFIED, 0, 10, false)->n_items, 1);
	assert_int_equal(kit_list(k, 0, STATE_UNSPECIFIED, 0, 10, false)->items[0].record.position, 2);
	w = kit_leased(k, LONG_MS);
	kit_finish(k, &w, FINISH_COMPLETED, 0, "");
	kit_sleep(k, 5);
	kit_tick(k);
	kit_accepted(k, &again); /* its key went with it */
}

static void stale(struct kit *k)
{
	struct store_accept before = kit_request(k, "task"), after, seen = kit_request(k, "seen");

	kit_accepted(k, &seen);
	before.issued_at_ms = kit_now();
	kit_sleep(k, 5);
	kit_reopen(k);
	kit_accept(k, &(struct store_accept){.slot = k->slot, .state = STATE_QUEUED, .task = SLICE_LIT("opens the slot")});
	assert_int_equal(kit_accept(k, &before)->status, STORE_STALE);
	assert_int_equal(kit_get(k, &before.id, false)->status, STORE_NOT_FOUND); /* its nonce is not burned */
	after = kit_request(k, "task");
	kit_accepted(k, &after);
	assert_int_equal(kit_accept(k, &seen)->status, STORE_REPLAYED); /* known is known */
}

static void unsealable(struct kit *k)
{
	struct store_accept r = kit_request(k, "first"), good = kit_request(k, "second"), got = kit_request(k, "third");
	struct answer *x;

	kit_accepted(k, &r);
	kit_accepted(k, &good);
	kit_spoil(k, &r.id);
	x = kit_lease(k, AGENT, 10, LONG_MS);
	assert_int_equal(x->n_items, 2);
	assert_int_equal(x->items[0].status, STORE_UNSEALABLE);
	assert_string_equal(x->items[0].task, "");
	assert_int_equal(x->items[0].record.state, STATE_QUARANTINED);
	assert_int_equal(x->items[1].status, STORE_OK);
	assert_string_equal(x->items[1].task, "second");
	x = kit_get(k, &r.id, false);
	assert_int_equal(x->record.state, STATE_QUARANTINED);
	kit_accepted(k, &got);
	kit_spoil(k, &got.id);
	x = kit_get(k, &got.id, true);
	assert_int_equal(x->status, STORE_UNSEALABLE);
	assert_int_equal(x->record.state, STATE_QUARANTINED);
	assert_nothing_to_lease(k);
	assert_int_equal(k->store->ops->waiting(k->store, k->slot), 0);
}

static void swapped(struct kit *k)
{
	struct store_accept a = kit_request(k, "task one"), b = kit_request(k, "task two");
	struct answer *x;

	kit_accepted(k, &a);
	kit_accepted(k, &b);
	kit_swap(k, &a.id, &b.id);
	x = kit_lease(k, AGENT, 10, LONG_MS);
	assert_int_equal(x->n_items, 2);
	assert_int_equal(x->items[0].status, STORE_UNSEALABLE);
	assert_int_equal(x->items[1].status, STORE_UNSEALABLE);
}

static void quarantined_at_delivery(struct kit *k)
{
	struct store_record l = new_lease(k, "task", LONG_MS);
	struct answer *x = kit_finish(k, &l, FINISH_QUARANTINED, 0, "revoked");

	assert_int_equal(x->status, STORE_OK);
	assert_int_equal(x->record.state, STATE_QUARANTINED);
	assert_nothing_to_lease(k);
	x = kit_events(k, &l.id, 2, 10);
	assert_int_equal(x->n_events, 1);
	assert_string_equal(x->events[0].body, "revoked");
	assert_int_equal(kit_finish(k, &l, FINISH_COMPLETED, 0, "")->status, STORE_LOST);
}

static void expired_at_delivery(struct kit *k)
{
	struct store_record l = new_lease(k, "task", LONG_MS);

	assert_int_equal(kit_finish(k, &l, FINISH_EXPIRED, 0, "")->record.state, STATE_EXPIRED);
}

/* Leased work past its deadline is not redelivered. */
static void expired_by_lapse(struct kit *k)
{
	struct store_accept r = kit_request(k, "task");

	r.deadline_ms = kit_now() + 200;
	kit_accepted(k, &r);
	kit_leased(k, 300);
	assert_int_equal(kit_tick_until(k, 1)->items[0].record.state, STATE_EXPIRED);
}

static void ends(struct kit *k)
{
	struct store_record l = new_lease(k, "a", LONG_MS);

	assert_int_equal(kit_finish(k, &l, FINISH_FAILED, 0, "why")->record.state, STATE_FAILED);
	l = new_lease(k, "b", LONG_MS);
	assert_int_equal(kit_finish(k, &l, FINISH_REJECTED, 0, "no")->record.state, STATE_REJECTED);
	assert_int_equal(kit_get(k, &l.id, true)->record.attempt, 1);
}

/* Who holds it could not renew it while the store was away. */
static void spared(struct kit *k)
{
	struct store_record l = new_lease(k, "work", 50);

	kit_sleep(k, 2);
	kit_reopen(k);
	kit_sleep(k, 100);
	assert_int_equal(kit_tick(k)->n_items, 0);
	assert_int_equal(kit_get(k, &l.id, false)->record.state, STATE_LEASED);
	assert_int_equal(kit_extend(k, &l, LONG_MS)->status, STORE_OK);
	assert_int_equal(kit_tick(k)->n_items, 0);
	assert_int_equal(kit_finish(k, &l, FINISH_COMPLETED, 0, "done")->status, STORE_OK);
}

static void bad_names(struct kit *k)
{
	static const char *const bad[] = {"", "a b", "a/", "/a", "a/b/c", "a/@b", "a}b", "A", "a\r\nb", "-a"};
	struct store_accept r = kit_request(k, "task");

	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		r.slot = (struct store_slot){"acme", bad[i]};
		assert_int_equal(kit_accept(k, &r)->status, STORE_UNAVAILABLE);
		r.slot = (struct store_slot){bad[i], "refunds"};
		assert_int_equal(kit_accept(k, &r)->status, STORE_UNAVAILABLE);
	}
	r.slot = k->slot;
	kit_accepted(k, &r);
}

static const struct kit_scenario scenarios[] = {
	{"accept-lease-finish", happy}, {"replay", replay}, {"idempotency", idempotency},
	{"idempotency-same-tick", idempotency_same_tick}, {"wrong-fence", wrong_fence}, {"lapse", lapse},
	{"late-finish", late_finish}, {"late-release", late_release}, {"extend", extended}, {"dead-letter", dead_letter},
	{"dead-by-lapse", dead_by_lapse}, {"backing-off", backing_off}, {"release", release}, {"cancel-waiting", cancel_waiting},
	{"cancel-leased", cancel_leased}, {"events", events}, {"scheduled", scheduled}, {"held", held},
	{"expired-at-pop", expired_at_pop}, {"expired-by-tick", expired_by_tick}, {"priorities", priorities},
	{"list", listing}, {"retention", retention}, {"stale", stale}, {"unsealable", unsealable}, {"swapped", swapped},
	{"quarantined-at-delivery", quarantined_at_delivery}, {"expired-at-delivery", expired_at_delivery},
	{"expired-by-lapse", expired_by_lapse}, {"ends", ends}, {"spared", spared}, {"bad-names", bad_names},
	{"at-once", at_once}, {"at-once-lapses", at_once_lapses}, {"at-once-fifo", at_once_only_when_nothing_waits},
	{"at-once-many", at_once_many}, {"not-at-once", not_at_once},
};

int main(void)
{
	return kit_run("store rules", scenarios, sizeof scenarios / sizeof scenarios[0], NULL, 0);
}
