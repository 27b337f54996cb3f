/* Does the store keep its rules at their corners, whichever backend: much due at once, names by another id, what was taken back? */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "store_kit.h"

#define AGENT KIT_AGENT
#define LONG_MS 600000
#define MANY 600

static struct store_record new_lease(struct kit *k, uint32_t ms)
{
	struct store_accept r = kit_request(k, "task");

	kit_accepted(k, &r);
	return kit_leased(k, ms);
}

/* Ticks while more is due, as housekeeping does; how many records changed. */
static size_t tick_all(struct kit *k)
{
	struct answer *a;
	size_t n = 0, calls = 0;

	do {
		a = kit_tick(k);
		assert_int_equal(a->status, STORE_OK);
		n += a->n_items;
	} while (a->more && ++calls < 64);
	assert_false(a->more);
	return n;
}

/* ---- much is due at once ---- */

static void many_lapses(struct kit *k)
{
	for (int i = 0; i < MANY; i++)
		new_lease(k, 1);
	kit_sleep(k, 5);
	assert_int_equal(tick_all(k), MANY);
	assert_int_equal(k->store->ops->waiting(k->store, k->slot), MANY);
}

static void many_promotions(struct kit *k)
{
	int64_t start = kit_now() + 1;

	for (int i = 0; i < MANY; i++) {
		struct store_accept r = kit_request(k, "task");

		r.state = STATE_SCHEDULED;
		r.start_at_ms = start;
		kit_accepted(k, &r);
	}
	kit_sleep(k, 5);
	assert_int_equal(tick_all(k), MANY);
	assert_int_equal(kit_lease(k, AGENT, 256, LONG_MS)->n_items, 256);
}

static void many_deadlines(struct kit *k)
{
	for (int i = 0; i < MANY; i++) {
		struct store_accept r = kit_request(k, "task");

		r.deadline_ms = kit_now() + 1;
		kit_accepted(k, &r);
	}
	kit_sleep(k, 5);
	assert_int_equal(tick_all(k), MANY);
	assert_int_equal(k->store->ops->waiting(k->store, k->slot), 0);
}

/* Old work that is kept does not keep what is newer in the list. */
static void forgotten(struct kit *k)
{
	struct store_accept kept = kit_request(k, "kept");
	struct store_record first = {0}, l = {0};
	struct answer *x;

	kept.state = STATE_HELD;
	kit_accepted(k, &kept);
	for (int i = 0; i < MANY; i++) {
		l = new_lease(k, LONG_MS);
		first = i ? first : l;
		assert_int_equal(kit_finish(k, &l, FINISH_COMPLETED, 0, "")->status, STORE_OK);
	}
	k->limits.keep_finished_ms = 1;
	kit_sleep(k, 5);
	tick_all(k);
	assert_int_equal(kit_get(k, &first.id, false)->status, STORE_NOT_FOUND);
	assert_int_equal(kit_get(k, &l.id, false)->status, STORE_NOT_FOUND);
	x = kit_list(k, 0, STATE_UNSPECIFIED, 0, 10, false);
	assert_int_equal(x->n_items, 1);
	assert_memory_equal(x->items[0].record.id.b, kept.id.b, sizeof kept.id.b);
	assert_int_equal(x->items[0].record.position, 1);
	assert_int_equal(x->next, 0);
	l = new_lease(k, LONG_MS);
	assert_int_equal(l.position, MANY + 2);
}

/* ---- what was taken back ---- */

/* A worker that lost its connection has a while to come back, not the rest of a long lease. */
static void shortened(struct kit *k)
{
	struct store_record l = new_lease(k, LONG_MS), other = new_lease(k, LONG_MS);
	struct answer *x;

	assert_int_equal(kit_extend(k, &l, 1)->status, STORE_OK);
	x = kit_tick_until(k, 1);
	assert_int_equal(x->items[0].record.state, STATE_QUEUED);
	assert_memory_equal(x->items[0].record.id.b, l.id.b, sizeof l.id.b);
	l = kit_leased(k, LONG_MS);
	assert_int_equal(l.attempt, 2);
	assert_int_equal(kit_extend(k, &l, 1000)->status, STORE_OK); /* shortened, and then longer again */
	assert_int_equal(kit_extend(k, &l, 1)->status, STORE_OK);
	assert_int_equal(kit_extend(k, &l, LONG_MS)->status, STORE_OK);
	kit_sleep(k, 5);
	assert_int_equal(tick_all(k), 0);
	assert_int_equal(kit_extend(k, &other, 1)->status, STORE_OK);
	assert_int_equal(kit_extend(k, &l, 1)->status, STORE_OK);
	kit_sleep(k, 5);
	assert_int_equal(tick_all(k), 2);
	assert_int_equal(k->store->ops->waiting(k->store, k->slot), 2);
}

/* Backing off ends at the deadline. */
static void backing_off_deadline(struct kit *k)
{
	struct store_accept r = kit_request(k, "task");
	struct store_record l;

	r.deadline_ms = kit_now() + 100;
	kit_accepted(k, &r);
	l = kit_leased(k, LONG_MS);
	assert_int_equal(kit_finish(k, &l, FINISH_RETRY, 60000, "")->record.state, STATE_QUEUED);
	assert_int_equal(kit_tick_until(k, 1)->items[0].record.state, STATE_EXPIRED);
	assert_int_equal(k->store->ops->waiting(k->store, k->slot), 0);
}

static struct store_accept idempotent(struct kit *k, uint8_t key)
{
	struct store_accept r = kit_request(k, "pay");

	r.has_idempotency = true;
	memset(r.idempotency, key, sizeof r.idempotency);
	return r;
}

static void cancel_by_alias(struct kit *k)
{
	struct store_accept first = idempotent(k, 1), again = idempotent(k, 1);
	struct answer *x;

	kit_accepted(k, &first);
	assert_int_equal(kit_accept(k, &again)->status, STORE_DUPLICATE);
	x = kit_cancel(k, &again.id, "not needed");
	assert_int_equal(x->status, STORE_OK);
	assert_int_equal(x->record.state, STATE_CANCELLED);
	assert_memory_equal(x->record.id.b, first.id.b, sizeof first.id.b);
	x = kit_get(k, &again.id, true);
	assert_int_equal(x->status, STORE_OK);
	assert_string_equal(x->items[0].outcome, "not needed");
	assert_int_equal(kit_cancel(k, &again.id, "again")->status, STORE_WRONG_STATE);
	assert_int_equal(k->store->ops->waiting(k->store, k->slot), 0);
}

static void cancel_quarantined(struct kit *k)
{
	struct store_record l = new_lease(k, LONG_MS);
	struct store_accept r = kit_request(k, "spoilt");
	struct answer *x;

	assert_int_equal(kit_finish(k, &l, FINISH_QUARANTINED, 0, "revoked")->record.state, STATE_QUARANTINED);
	x = kit_cancel(k, &l.id, "drop it");
	assert_int_equal(x->status, STORE_OK);
	assert_int_equal(x->record.state, STATE_CANCELLED);
	assert_false(x->record.stop_requested);
	assert_string_equal(kit_get(k, &l.id, true)->items[0].outcome, "drop it");
	assert_int_equal(k->store->ops->waiting(k->store, k->slot), 0);
	kit_accepted(k, &r);
	kit_spoil(k, &r.id);
	assert_int_equal(kit_lease(k, AGENT, 1, LONG_MS)->items[0].status, STORE_UNSEALABLE);
	assert_int_equal(kit_cancel(k, &r.id, "")->record.state, STATE_CANCELLED);
	k->limits.keep_finished_ms = 1;
	kit_sleep(k, 5);
	tick_all(k);
	assert_int_equal(kit_get(k, &l.id, false)->status, STORE_NOT_FOUND);
	assert_int_equal(kit_get(k, &r.id, false)->status, STORE_NOT_FOUND);
}

/* ---- events that do not come at once ---- */

static void events_more(struct kit *k)
{
	static char big[(1 << 20) + 1];
	struct store_record l = new_lease(k, LONG_MS);
	struct answer *x;

	memset(big, 'x', sizeof big - 1);
	for (int i = 0; i < 5; i++)
		assert_int_equal(kit_event(k, &l, STATE_WORKING, 1000, i ? big : "small")->status, STORE_OK);
	x = kit_events(k, &l.id, 0, 64);
	assert_int_equal(x->n_events, 4); /* 4 MiB at most, and what surrounds them */
	assert_true(x->more);
	x = kit_events(k, &l.id, x->events[3].cursor, 64);
	assert_int_equal(x->n_events, 1);
	assert_false(x->more);
	x = kit_events(k, &l.id, 0, 1);
	assert_int_equal(x->n_events, 1);
	assert_true(x->more);
	x = kit_events(k, &l.id, 5, 2);
	assert_int_equal(x->n_events, 2);
	assert_false(x->more);
	assert_false(kit_events(k, &l.id, 7, 2)->more);
	assert_false(kit_events(k, &l.id, 1000, 2)->more);
}

static const struct kit_scenario scenarios[] = {
	{"many-lapses", many_lapses}, {"many-promotions", many_promotions}, {"many-deadlines", many_deadlines},
	{"forgotten", forgotten}, {"shortened", shortened}, {"backing-off-deadline", backing_off_deadline},
	{"events-more", events_more}, {"cancel-by-alias", cancel_by_alias}, {"cancel-quarantined", cancel_quarantined},
};

int main(void)
{
	return kit_run("store corners", scenarios, sizeof scenarios / sizeof scenarios[0], NULL, 0);
}
