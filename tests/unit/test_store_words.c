/* What renews a lease where only the worker's words do, and what becomes of work whose worker fell silent? Rules of either backend. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "store_kit.h"

#define LONG_MS 600000

static struct store_record new_lease(struct kit *k, const char *task, uint32_t ms)
{
	struct store_accept r = kit_request(k, task);

	kit_accepted(k, &r);
	return kit_leased(k, ms);
}

static void assert_nothing_to_lease(struct kit *k)
{
	struct answer *a = kit_lease(k, KIT_AGENT, 10, LONG_MS);

	assert_int_equal(a->status, STORE_OK);
	assert_int_equal(a->n_items, 0);
}

/* What the worker says renews its lease, in the same call; it never makes it shorter, and another's words do nothing. */
static void renewed_by_words(struct kit *k)
{
	struct store_record l = new_lease(k, "task", LONG_MS), bad = l;
	int64_t until = l.lease_until_ms;
	struct answer *x;

	assert_int_equal(kit_event(k, &l, STATE_WORKING, 1000, "as before")->record.lease_until_ms, until);
	k->word_ms = LONG_MS / 2;
	assert_int_equal(kit_event(k, &l, STATE_WORKING, 1000, "no less")->record.lease_until_ms, until);
	k->word_ms = 3 * LONG_MS;
	bad.fence++;
	assert_int_equal(kit_event(k, &bad, STATE_WORKING, 1000, "not mine")->status, STORE_LOST);
	assert_int_equal(kit_get(k, &l.id, false)->record.lease_until_ms, until);
	x = kit_event(k, &l, STATE_WORKING, 1000, "still at it");
	assert_int_equal(x->status, STORE_OK);
	assert_true(x->record.lease_until_ms >= until + LONG_MS);
	until = x->record.lease_until_ms;
	k->word_ms = 9 * LONG_MS; /* the list is full, but it was said */
	x = kit_event(k, &l, STATE_WORKING, (uint32_t)x->record.cursor, "one too many");
	assert_int_equal(x->status, STORE_QUOTA);
	assert_true(x->record.lease_until_ms >= until + LONG_MS);
	assert_true(kit_get(k, &l.id, false)->record.lease_until_ms >= until + LONG_MS);
	assert_int_equal(kit_finish(k, &l, FINISH_COMPLETED, 0, "done")->status, STORE_OK);
}

/* A word in time keeps what would have lapsed; the hint of the lease is due, the record is not. */
static void words_in_time(struct kit *k)
{
	struct store_record l = new_lease(k, "task", 50);

	k->word_ms = LONG_MS;
	assert_int_equal(kit_event(k, &l, STATE_WORKING, 1000, "")->status, STORE_OK); /* however late: nothing but a tick makes it lapse */
	kit_sleep(k, 60);
	assert_int_equal(kit_tick(k)->n_items, 0);
	assert_int_equal(kit_finish(k, &l, FINISH_COMPLETED, 0, "done")->status, STORE_OK);
}

/* Who was silent has lost it: it comes back after a while, and no report of that lease counts, though nobody else has it yet. */
static void silent(struct kit *k)
{
	struct store_record one, two;
	struct answer *x;

	k->limits.backoff_min_ms = k->limits.backoff_max_ms = 60000;
	one = new_lease(k, "task", 1);
	x = kit_tick_until(k, 1);
	assert_int_equal(x->items[0].record.state, STATE_QUEUED);
	assert_int_equal(x->items[0].record.owner, one.owner); /* the answer says whose it was */
	assert_int_equal(kit_get(k, &one.id, false)->record.owner, 0);
	assert_int_equal(k->store->ops->waiting(k->store, k->slot), 1);
	assert_nothing_to_lease(k);
	assert_int_equal(kit_tick(k)->n_items, 0);
	assert_int_equal(kit_finish(k, &one, FINISH_COMPLETED, 0, "late")->status, STORE_LOST);
	assert_int_equal(kit_event(k, &one, STATE_WORKING, 1000, "late")->status, STORE_LOST);
	assert_int_equal(kit_extend(k, &one, LONG_MS)->status, STORE_LOST);
	assert_int_equal(kit_cancel(k, &one.id, "")->status, STORE_OK);
	assert_int_equal(k->store->ops->waiting(k->store, k->slot), 0);

	k->limits.backoff_min_ms = k->limits.backoff_max_ms = 1;
	one = new_lease(k, "another", 1);
	kit_tick_until(k, 1);
	kit_tick_until(k, 1); /* the end of backing off */
	two = kit_leased(k, 1);
	assert_memory_equal(&two.id, &one.id, sizeof two.id);
	assert_int_equal(two.attempt, 2);
	assert_int_equal(kit_events(k, &one.id, 1, 10)->n_events, 2); /* the lapse, the second lease */
}

static void silent_to_the_end(struct kit *k)
{
	struct store_accept r = kit_request(k, "task");
	struct store_record l;

	k->limits.backoff_min_ms = 0;
	k->limits.backoff_max_ms = 1;
	r.max_attempts = 2;
	kit_accepted(k, &r);
	kit_leased(k, 1);
	assert_int_equal(kit_tick_until(k, 1)->items[0].record.state, STATE_QUEUED);
	kit_tick_until(k, 1);
	l = kit_leased(k, 1);
	assert_int_equal(kit_tick_until(k, 1)->items[0].record.state, STATE_DEAD_LETTERED);
	assert_int_equal(kit_finish(k, &l, FINISH_COMPLETED, 0, "late")->status, STORE_LOST);
	assert_nothing_to_lease(k);
}

/* A cut makes a lease shorter, but only the one that was cut, and none longer. */
static void shortened(struct kit *k)
{
	struct store_record l = new_lease(k, "task", LONG_MS);
	int64_t until = l.lease_until_ms;
	struct answer *x;

	x = kit_shorten(k, &l, 2 * LONG_MS, until);
	assert_int_equal(x->status, STORE_OK);
	assert_int_equal(x->record.lease_until_ms, until);
	x = kit_shorten(k, &l, 1, until - 1); /* it was renewed since */
	assert_int_equal(x->status, STORE_OK);
	assert_int_equal(x->record.lease_until_ms, until);
	x = kit_shorten(k, &l, 1, until);
	assert_true(x->record.lease_until_ms < until);
	assert_int_equal(kit_tick_until(k, 1)->items[0].record.state, STATE_QUEUED);
	assert_int_equal(kit_shorten(k, &l, 1, x->record.lease_until_ms)->status, STORE_LOST);
}

static const struct kit_scenario scenarios[] = {
	{"words-renew", renewed_by_words}, {"words-in-time", words_in_time}, {"silent", silent}, {"silent-to-the-end", silent_to_the_end},
	{"shortened", shortened},
};

int main(void)
{
	return kit_run("store words", scenarios, sizeof scenarios / sizeof scenarios[0], NULL, 0);
}
