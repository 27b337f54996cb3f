/* Is work kept from who has not heard of a revocation, and taken out of the queues and put back, whichever backend? */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "store/record.h"
#include "store_kit.h"

#define LONG_MS 600000

/* ---- the barrier ---- */

static void live_by(struct kit *k, uint64_t generation)
{
	k->store->ops->live_by(k->store, generation);
}

/* I4: nothing goes in or out by a node that is behind; the honest twin, which is not, is served. */
static void behind(struct kit *k)
{
	struct store_accept before = kit_request(k, "before"), refused = kit_request(k, "refused"), copies = kit_request(k, "copies");
	struct store_record l;

	kit_accepted(k, &before);
	assert_int_equal(kit_barrier(k, 7)->status, STORE_OK);
	live_by(k, 6);
	assert_int_equal(kit_accept(k, &refused)->status, STORE_BEHIND);
	assert_int_equal(kit_publish(k, &copies, "ann bob")->status, STORE_BEHIND);
	assert_int_equal(kit_get(k, &refused.id, false)->status, STORE_NOT_FOUND);
	assert_int_equal(kit_lease(k, KIT_AGENT, 10, LONG_MS)->status, STORE_BEHIND);
	live_by(k, 7);
	kit_accepted(k, &refused); /* the nonce was not used up */
	l = kit_leased(k, LONG_MS);
	assert_memory_equal(l.id.b, before.id.b, HANDOFF_ID_BYTES);
	live_by(k, 6); /* it may report for somebody who is revoked */
	assert_int_equal(kit_extend(k, &l, LONG_MS)->status, STORE_UNAVAILABLE);
	assert_int_equal(kit_event(k, &l, STATE_WORKING, 100, "half")->status, STORE_UNAVAILABLE);
	assert_int_equal(kit_finish(k, &l, FINISH_COMPLETED, 0, "done")->status, STORE_UNAVAILABLE);
	assert_int_equal(kit_get(k, &l.id, false)->record.state, STATE_LEASED);
	live_by(k, 7);
	assert_int_equal(kit_finish(k, &l, FINISH_COMPLETED, 0, "done")->status, STORE_OK);
}

static void never_back(struct kit *k)
{
	struct store_accept r = kit_request(k, "task");

	assert_int_equal(kit_barrier(k, 9)->status, STORE_OK); /* before the slot was opened */
	assert_int_equal(kit_barrier(k, 3)->status, STORE_OK);
	live_by(k, 8);
	assert_int_equal(kit_accept(k, &r)->status, STORE_BEHIND);
	kit_reopen(k);
	assert_int_equal(kit_accept(k, &r)->status, STORE_BEHIND);
	live_by(k, 9);
	r = kit_request(k, "task");
	r.issued_at_ms = kit_now() + 2000;
	kit_accepted(k, &r);
}

static void of_replays(struct kit *k)
{
	struct store_accept dead = kit_request(k, "dead"), fresh = kit_request(k, "new");
	struct store_record l;

	dead.max_attempts = 1;
	kit_accepted(k, &dead);
	l = kit_leased(k, LONG_MS);
	kit_finish(k, &l, FINISH_RETRY, 0, "no good");
	live_by(k, 1);
	kit_barrier(k, 2);
	assert_int_equal(kit_replay(k, &fresh, &dead.id)->status, STORE_BEHIND);
	live_by(k, 2);
	assert_int_equal(kit_replay(k, &fresh, &dead.id)->status, STORE_OK);
}

/* ---- aside and back ---- */

static void check_waiting(struct kit *k, uint64_t waiting, uint64_t quarantined)
{
	struct store_route v = kit_look(k)->route;

	assert_int_equal(v.waiting, waiting);
	assert_int_equal(v.quarantined, quarantined);
}

static void aside_and_back(struct kit *k)
{
	struct store_accept r = kit_request(k, "task");
	struct store_record l;
	struct answer *x;

	kit_accepted(k, &r);
	x = kit_aside(k, &r.id, ASIDE_WAITING, "revoked");
	assert_int_equal(x->status, STORE_OK);
	assert_int_equal(x->record.state, STATE_QUARANTINED);
	check_waiting(k, 0, 1);
	assert_int_equal(kit_lease(k, KIT_AGENT, 10, LONG_MS)->n_items, 0);
	assert_int_equal(kit_aside(k, &r.id, ASIDE_WAITING, "again")->status, STORE_WRONG_STATE);
	x = kit_events(k, &r.id, 1, 10);
	assert_int_equal(x->n_events, 1);
	assert_int_equal(x->events[0].state, STATE_QUARANTINED);
	assert_string_equal(x->events[0].body, "revoked");
	x = kit_aside(k, &r.id, ASIDE_BACK, "lifted");
	assert_int_equal(x->status, STORE_OK);
	assert_int_equal(x->record.state, STATE_QUEUED);
	check_waiting(k, 1, 0);
	assert_int_equal(kit_aside(k, &r.id, ASIDE_BACK, "again")->status, STORE_WRONG_STATE);
	l = kit_leased(k, LONG_MS);
	assert_memory_equal(l.id.b, r.id.b, HANDOFF_ID_BYTES);
	assert_int_equal(kit_lease(k, KIT_AGENT, 10, LONG_MS)->n_items, 0); /* once */
	assert_int_equal(kit_finish(k, &l, FINISH_COMPLETED, 0, "done")->status, STORE_OK);
	check_waiting(k, 0, 0);
}

static void whatever_waits(struct kit *k)
{
	struct store_accept late = kit_request(k, "late"), held = kit_request(k, "held");

	late.state = STATE_SCHEDULED;
	late.start_at_ms = kit_now() + 50;
	held.state = STATE_HELD;
	held.deadline_ms = kit_now() + LONG_MS;
	kit_accepted(k, &late);
	kit_accepted(k, &held);
	assert_int_equal(kit_aside(k, &late.id, ASIDE_WAITING, "")->status, STORE_OK);
	assert_int_equal(kit_aside(k, &held.id, ASIDE_WAITING, "")->status, STORE_OK);
	check_waiting(k, 0, 2);
	kit_sleep(k, 100);
	assert_int_equal(kit_tick(k)->n_items, 0); /* time does nothing to it */
	check_waiting(k, 0, 2);
	assert_int_equal(kit_cancel(k, &held.id, "")->status, STORE_OK);
	check_waiting(k, 0, 1);
}

/* Let go, it is what it was: not due before its time, not without its approval, not tried again before its back-off is over. */
static void as_it_was(struct kit *k)
{
	struct store_accept later = kit_request(k, "later"), held = kit_request(k, "held"), task = kit_request(k, "task");
	struct store_record l;

	task.max_attempts = 5;
	kit_accepted(k, &task);
	l = kit_leased(k, LONG_MS);
	assert_int_equal(kit_finish(k, &l, FINISH_RETRY, 300, "not now")->status, STORE_OK);
	later.state = STATE_SCHEDULED;
	later.start_at_ms = kit_now() + 300;
	held.state = STATE_HELD;
	kit_accepted(k, &later);
	kit_accepted(k, &held);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(kit_aside(k, &later.id, ASIDE_WAITING, "")->status, STORE_OK);
		assert_int_equal(kit_aside(k, &held.id, ASIDE_WAITING, "")->status, STORE_OK);
		assert_int_equal(kit_aside(k, &task.id, ASIDE_WAITING, "")->status, STORE_OK);
		assert_int_equal(kit_aside(k, &later.id, ASIDE_BACK, "")->record.state, STATE_SCHEDULED);
		assert_int_equal(kit_aside(k, &held.id, ASIDE_BACK, "")->record.state, STATE_HELD);
		assert_int_equal(kit_aside(k, &task.id, ASIDE_BACK, "")->record.state, STATE_QUEUED);
		assert_int_equal(kit_tick(k)->n_items, 0);
		assert_int_equal(kit_lease(k, KIT_AGENT, 10, LONG_MS)->n_items, 0);
	}
	kit_sleep(k, 350);
	kit_tick_until(k, 2);
	assert_int_equal(kit_lease(k, KIT_AGENT, 10, LONG_MS)->n_items, 2); /* once each; the third is held still */
	assert_int_equal(kit_get(k, &held.id, false)->record.state, STATE_HELD);
}

/* Time that passes in quarantine counts: what became due there goes at once. */
static void due_meanwhile(struct kit *k)
{
	struct store_accept later = kit_request(k, "later");

	later.state = STATE_SCHEDULED;
	later.start_at_ms = kit_now() + 30;
	kit_accepted(k, &later);
	assert_int_equal(kit_aside(k, &later.id, ASIDE_WAITING, "")->status, STORE_OK);
	kit_sleep(k, 80);
	assert_int_equal(kit_aside(k, &later.id, ASIDE_BACK, "")->record.state, STATE_QUEUED);
	assert_int_equal(kit_lease(k, KIT_AGENT, 10, LONG_MS)->n_items, 1);
}

static void not_others(struct kit *k)
{
	struct store_accept r = kit_request(k, "task"), none = kit_request(k, "none");
	struct store_record l;

	kit_accepted(k, &r);
	assert_int_equal(kit_aside(k, &none.id, ASIDE_WAITING, "")->status, STORE_NOT_FOUND);
	l = kit_leased(k, LONG_MS);
	assert_int_equal(kit_aside(k, &r.id, ASIDE_WAITING, "")->status, STORE_WRONG_STATE); /* it is with a worker */
	assert_int_equal(kit_finish(k, &l, FINISH_QUARANTINED, 0, "by the re-check")->status, STORE_OK);
	assert_int_equal(kit_aside(k, &r.id, ASIDE_BACK, "")->status, STORE_OK);
	l = kit_leased(k, LONG_MS);
	assert_int_equal(kit_finish(k, &l, FINISH_COMPLETED, 0, "done")->status, STORE_OK);
	assert_int_equal(kit_aside(k, &r.id, ASIDE_WAITING, "")->status, STORE_WRONG_STATE);
	assert_int_equal(kit_aside(k, &r.id, ASIDE_BACK, "")->status, STORE_WRONG_STATE);
}

/* Who let it lapse and says late that he is done says it of work that was taken away. */
static void late_report(struct kit *k)
{
	struct store_accept r = kit_request(k, "task");
	struct store_record l;

	r.max_attempts = 5;
	kit_accepted(k, &r);
	l = kit_leased(k, 20);
	kit_sleep(k, 60);
	kit_tick_until(k, 1);
	assert_int_equal(kit_aside(k, &r.id, ASIDE_WAITING, "revoked")->status, STORE_OK);
	assert_int_equal(kit_finish(k, &l, FINISH_COMPLETED, 0, "done")->status, STORE_LOST);
	assert_int_equal(kit_aside(k, &r.id, ASIDE_BACK, "lifted")->status, STORE_OK);
	assert_int_equal(kit_finish(k, &l, FINISH_COMPLETED, 0, "done")->status, STORE_LOST);
	check_waiting(k, 1, 0);
}

/* What is with a worker is taken from him: whatever he says of it from then on is lost, also after it was put back. */
static void taken(struct kit *k)
{
	struct store_accept r = kit_request(k, "task"), w = kit_request(k, "waits");
	struct store_record l;

	r.max_attempts = 5;
	kit_accepted(k, &r);
	l = kit_leased(k, LONG_MS);
	assert_int_equal(kit_event(k, &l, STATE_WORKING, 100, "half")->status, STORE_OK);
	kit_accepted(k, &w);
	assert_int_equal(kit_aside(k, &r.id, ASIDE_LEASED, "taken")->record.state, STATE_QUARANTINED);
	assert_int_equal(kit_aside(k, &w.id, ASIDE_LEASED, "taken")->record.state, STATE_QUARANTINED);
	check_waiting(k, 0, 2);
	assert_int_equal(kit_aside(k, &r.id, ASIDE_LEASED, "again")->status, STORE_WRONG_STATE);
	assert_int_equal(kit_extend(k, &l, LONG_MS)->status, STORE_LOST);
	assert_int_equal(kit_event(k, &l, STATE_WORKING, 100, "more")->status, STORE_LOST);
	assert_int_equal(kit_finish(k, &l, FINISH_COMPLETED, 0, "done")->status, STORE_LOST);
	assert_int_equal(kit_tick(k)->n_items, 0); /* its lease ends for nobody */
	assert_int_equal(kit_aside(k, &r.id, ASIDE_BACK, "let go")->record.state, STATE_QUEUED);
	check_waiting(k, 1, 1);
	assert_int_equal(kit_finish(k, &l, FINISH_COMPLETED, 0, "done")->status, STORE_LOST);
	l = kit_leased(k, LONG_MS);
	assert_memory_equal(l.id.b, r.id.b, HANDOFF_ID_BYTES);
	assert_int_equal(l.attempt, 2);
	assert_int_equal(kit_finish(k, &l, FINISH_COMPLETED, 0, "done")->status, STORE_OK);
	assert_int_equal(kit_aside(k, &r.id, ASIDE_LEASED, "")->status, STORE_WRONG_STATE);
}

/* A lease that lapses while its work is in quarantine leaves nothing behind. */
static void taken_and_lapsed(struct kit *k)
{
	struct store_accept r = kit_request(k, "task");

	r.max_attempts = 1;
	kit_accepted(k, &r);
	kit_leased(k, 20);
	assert_int_equal(kit_aside(k, &r.id, ASIDE_LEASED, "taken")->status, STORE_OK);
	kit_sleep(k, 60);
	assert_int_equal(kit_tick(k)->n_items, 0);
	check_waiting(k, 0, 1);
	assert_int_equal(kit_cancel(k, &r.id, "")->status, STORE_OK);
	check_waiting(k, 0, 0);
}

static const struct kit_scenario scenarios[] = {
	{"behind", behind}, {"never-back", never_back}, {"of-replays", of_replays},
	{"aside-and-back", aside_and_back}, {"whatever-waits", whatever_waits},
	{"as-it-was", as_it_was}, {"due-meanwhile", due_meanwhile}, {"not-others", not_others}, {"late-report", late_report},
	{"taken", taken}, {"taken-and-lapsed", taken_and_lapsed},
};

/* ---- Redis alone ---- */

/* No blob stays behind of what a barrier kept out. */
static void no_orphans(void **state)
{
	struct kit k = {.slot = {"acme", "barred"}};
	struct store_accept r;

	kit_redis(&k, kit_server());
	server_say(kit_server(), "FLUSHALL SYNC");
	kit_reopen(&k);
	r = kit_request(&k, "task");
	kit_barrier(&k, 5);
	assert_int_equal(kit_accept(&k, &r)->status, STORE_BEHIND);
	assert_int_equal(server_say(kit_server(), "DBSIZE"), 2); /* m and s, of the slot itself */
	kit_free(&k);
}

int main(void)
{
	static const struct CMUnitTest own[] = {{.name = "redis: no orphans of a barrier", .test_func = no_orphans}};

	return kit_run("store, aside", scenarios, sizeof scenarios / sizeof scenarios[0], own, 1);
}
