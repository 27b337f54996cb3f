/* May operators ask what they ask, whichever backend? Pausing and closing a route, and what becomes of dead-lettered work. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "store/record.h"
#include "store_kit.h"

#define LONG_MS 600000

/* One that has used up its attempts, last with this failure. */
static struct store_record dead(struct kit *k, struct store_accept *r, const char *failure)
{
	struct store_record l;
	struct answer *x;

	r->max_attempts = 1;
	kit_accepted(k, r);
	l = kit_leased(k, LONG_MS);
	x = kit_finish(k, &l, FINISH_RETRY, 0, failure);
	assert_int_equal(x->record.state, STATE_DEAD_LETTERED);
	return x->record;
}

static struct store_accept keyed(struct kit *k, const char *task, uint8_t key)
{
	struct store_accept r = kit_request(k, task);

	r.has_idempotency = true;
	r.idempotency[0] = key;
	return r;
}

/* ---- routes ---- */

static void looked_at(struct kit *k)
{
	struct store_accept queued = kit_request(k, "queued"), late = kit_request(k, "late"), held = kit_request(k, "held");
	struct store_route v;

	v = kit_look(k)->route;
	assert_false(v.paused || v.closed);
	assert_int_equal(v.waiting, 0);
	assert_int_equal(v.oldest_ms, 0);
	late.state = STATE_SCHEDULED;
	late.start_at_ms = kit_now() + LONG_MS;
	held.state = STATE_HELD;
	kit_accepted(k, &late);
	kit_accepted(k, &held);
	kit_accepted(k, &queued);
	v = kit_look(k)->route;
	assert_int_equal(v.waiting, 3);
	assert_true(v.waiting_bytes >= sizeof "queued" + sizeof "late" + sizeof "held" - 3);
	assert_int_equal(v.queued, 1);
	assert_int_equal(v.delayed, 1);
	assert_int_equal(v.held, 1);
	assert_int_equal(v.oldest_ms, kit_get(k, &queued.id, false)->record.accepted_at_ms);
}

static void closed(struct kit *k)
{
	struct store_accept before = keyed(k, "before", 1), after = kit_request(k, "after"), again = keyed(k, "before", 1);
	struct answer *x;

	kit_accepted(k, &before);
	x = kit_set(k, false, true);
	assert_int_equal(x->status, STORE_OK);
	assert_true(x->route.closed);
	assert_false(x->route.paused);
	assert_int_equal(kit_accept(k, &after)->status, STORE_CLOSED);
	assert_int_equal(kit_get(k, &after.id, false)->status, STORE_NOT_FOUND);
	assert_int_equal(kit_accept(k, &again)->status, STORE_DUPLICATE); /* what was accepted is still told of */
	assert_int_equal(kit_leased(k, LONG_MS).state, STATE_LEASED);     /* and worked on */
	assert_false(kit_set(k, false, false)->route.closed);
	kit_accepted(k, &after);
}

static void paused(struct kit *k)
{
	struct store_accept waits = kit_request(k, "waits"), at_once = kit_request(k, "not at once");
	struct store_record l;
	struct answer *x;

	kit_accepted(k, &waits);
	x = kit_set(k, true, false);
	assert_true(x->route.paused);
	assert_false(x->route.closed);
	x = kit_lease(k, KIT_AGENT, 10, LONG_MS);
	assert_int_equal(x->status, STORE_OK);
	assert_true(x->paused);
	assert_int_equal(x->n_items, 0);
	assert_int_equal(kit_cancel(k, &waits.id, "")->status, STORE_OK); /* what waits can be stopped */
	at_once.owner = KIT_AGENT;
	at_once.lease_ms = LONG_MS;
	x = kit_accept(k, &at_once);
	assert_int_equal(x->status, STORE_OK);
	assert_false(x->leased);
	assert_int_equal(x->record.state, STATE_QUEUED);
	assert_int_equal(kit_lease(k, KIT_AGENT, 10, LONG_MS)->n_items, 0);
	assert_false(kit_set(k, false, false)->route.paused);
	l = kit_leased(k, LONG_MS);
	kit_set(k, true, false);
	assert_int_equal(kit_finish(k, &l, FINISH_COMPLETED, 0, "done")->status, STORE_OK); /* what is worked on goes on */
	kit_set(k, false, false);
}

/* ---- dead letters ---- */

static void listed(struct kit *k)
{
	struct store_record first, r;
	struct store_accept a[5];
	struct answer *x;

	assert_int_equal(kit_dead(k, NULL, 10, false)->n_items, 0);
	for (int i = 0; i < 5; i++) {
		a[i] = kit_request(k, "task");
		dead(k, &a[i], "no good");
		kit_sleep(k, 2);
	}
	assert_int_equal(kit_look(k)->route.dead, 5);
	x = kit_dead(k, NULL, 2, true);
	assert_int_equal(x->n_items, 2);
	assert_true(x->more);
	assert_memory_equal(x->items[0].record.id.b, a[4].id.b, sizeof a[4].id.b);
	assert_memory_equal(x->items[1].record.id.b, a[3].id.b, sizeof a[3].id.b);
	assert_string_equal(x->items[0].task, "task");
	assert_string_equal(x->items[0].outcome, "no good");
	first = x->items[1].record;
	x = kit_dead(k, &first, 10, false);
	assert_int_equal(x->n_items, 3);
	assert_false(x->more);
	assert_memory_equal(x->items[0].record.id.b, a[2].id.b, sizeof a[2].id.b);
	r = x->items[2].record;
	assert_int_equal(kit_drop(k, &first.id)->status, STORE_OK); /* goes on also when that one is no longer among them */
	assert_int_equal(kit_dead(k, &first, 10, false)->n_items, 3);
	assert_int_equal(kit_dead(k, &r, 10, false)->n_items, 0);
}

static void replayed(struct kit *k)
{
	struct store_accept old = keyed(k, "task", 7), fresh = kit_request(k, "the same task"), again = keyed(k, "task", 7),
			    third = kit_request(k, "once more");
	struct store_record l;
	struct answer *x;

	dead(k, &old, "no good");
	x = kit_accept(k, &again);
	assert_int_equal(x->status, STORE_DUPLICATE);
	assert_int_equal(x->record.state, STATE_DEAD_LETTERED);
	x = kit_replay(k, &fresh, &old.id);
	assert_int_equal(x->status, STORE_OK);
	assert_int_equal(x->record.state, STATE_QUEUED);
	assert_int_equal(x->record.attempt, 0);
	assert_memory_equal(x->record.id.b, fresh.id.b, sizeof fresh.id.b);
	assert_int_equal(kit_replay(k, &third, &old.id)->status, STORE_WRONG_STATE); /* once */
	assert_int_equal(kit_get(k, &third.id, false)->status, STORE_NOT_FOUND);
	assert_int_equal(kit_look(k)->route.dead, 0);
	assert_int_equal(kit_look(k)->route.waiting, 1);
	again = keyed(k, "task", 7);
	x = kit_accept(k, &again); /* the key names what stands in its place */
	assert_int_equal(x->status, STORE_DUPLICATE);
	assert_memory_equal(x->record.id.b, fresh.id.b, sizeof fresh.id.b);
	l = kit_leased(k, LONG_MS);
	assert_memory_equal(l.id.b, fresh.id.b, sizeof fresh.id.b);
	assert_int_equal(kit_finish(k, &l, FINISH_COMPLETED, 0, "done")->status, STORE_OK);
	x = kit_get(k, &old.id, true);
	assert_int_equal(x->record.state, STATE_DEAD_LETTERED); /* an end is an end */
	assert_string_equal(x->items[0].outcome, "no good");
	k->limits.keep_finished_ms = 1;
	kit_sleep(k, 5);
	kit_tick(k);
	assert_int_equal(kit_get(k, &old.id, false)->status, STORE_NOT_FOUND);
	assert_int_equal(kit_get(k, &fresh.id, false)->status, STORE_NOT_FOUND);
}

static void not_replayed(struct kit *k)
{
	struct store_accept live = kit_request(k, "live"), fresh = kit_request(k, "new"), none = kit_request(k, "none");

	kit_accepted(k, &live);
	assert_int_equal(kit_replay(k, &fresh, &live.id)->status, STORE_WRONG_STATE);
	assert_int_equal(kit_replay(k, &fresh, &none.id)->status, STORE_NOT_FOUND);
	assert_int_equal(kit_get(k, &fresh.id, false)->status, STORE_NOT_FOUND);
	assert_int_equal(kit_drop(k, &live.id)->status, STORE_WRONG_STATE);
	assert_int_equal(kit_drop(k, &none.id)->status, STORE_NOT_FOUND);
	assert_int_equal(kit_look(k)->route.waiting, 1);
}

static void let_go(struct kit *k)
{
	struct store_accept a = kit_request(k, "task"), again;

	dead(k, &a, "no good");
	k->limits.keep_finished_ms = 0;
	kit_sleep(k, 3);
	kit_tick(k);
	assert_int_equal(kit_get(k, &a.id, false)->status, STORE_OK); /* kept for the operator */
	k->limits.keep_finished_ms = LONG_MS;
	assert_int_equal(kit_drop(k, &a.id)->status, STORE_OK);
	assert_int_equal(kit_drop(k, &a.id)->status, STORE_OK);
	kit_tick(k);
	again = a;
	assert_int_equal(kit_accept(k, &again)->status, STORE_REPLAYED); /* its nonce is remembered as any other's */
	k->limits.keep_finished_ms = 0;
	kit_sleep(k, 3);
	kit_tick(k);
	assert_int_equal(kit_get(k, &a.id, false)->status, STORE_NOT_FOUND);
}

static const struct kit_scenario scenarios[] = {
	{"looked-at", looked_at}, {"closed", closed}, {"paused", paused}, {"listed", listed}, {"replayed", replayed}, {"not-replayed", not_replayed},
	{"let-go", let_go},
};

/* ---- Redis alone ---- */

/* No blob stays behind of a replay that was refused. */
static void no_orphans(void **state)
{
	struct kit k = {.slot = {"acme", "orphans"}};
	struct store_accept fresh, none;

	kit_redis(&k, kit_server());
	fresh = kit_request(&k, "new");
	none = kit_request(&k, "none");
	server_say(kit_server(), "FLUSHALL SYNC");
	kit_reopen(&k);
	assert_int_equal(kit_replay(&k, &fresh, &none.id)->status, STORE_NOT_FOUND);
	assert_int_equal(server_say(kit_server(), "DBSIZE"), 2); /* m and s, of the slot itself */
	kit_free(&k);
}

/* What is replayed waits, and is counted as its sender's. */
static void counted(void **state)
{
	struct kit k = {.slot = {"acme", "counted"}};
	struct store_accept a, fresh;
	uint8_t sender[8];
	char share[11] = "";
	const char *const argv[] = {"HGET", "{acme/counted}:m", (const char *)sender};
	const size_t len[] = {4, sizeof "{acme/counted}:m" - 1, sizeof sender};

	kit_redis(&k, kit_server());
	a = kit_request(&k, "task");
	fresh = kit_request(&k, "new");
	dead(&k, &a, "no good");
	be_put(sender, sizeof sender, a.sender);
	assert_int_equal(server_command(kit_server(), share, sizeof share, 3, argv, len), 0);
	assert_int_equal(kit_replay(&k, &fresh, &a.id)->status, STORE_OK);
	assert_int_equal(server_command(kit_server(), share, sizeof share, 3, argv, len), 10);
	assert_int_equal(kit_cancel(&k, &fresh.id, "")->status, STORE_OK);
	assert_int_equal(server_command(kit_server(), share, sizeof share, 3, argv, len), 0);
	kit_free(&k);
}

int main(void)
{
	static const struct CMUnitTest own[] = {{.name = "redis: no orphans", .test_func = no_orphans}, {.name = "redis: counted", .test_func = counted}};

	return kit_run("store, operators", scenarios, sizeof scenarios / sizeof scenarios[0], own, 2);
}
