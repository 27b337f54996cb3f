/* What becomes of work with effects after a fail-over of the store? It is held until its sender confirms it. Either backend. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "store_kit.h"

#define LONG_MS 600000

static struct store_accept keyed(struct kit *k, uint8_t key)
{
	struct store_accept r = kit_request(k, "pay");

	r.has_idempotency = true;
	memset(r.idempotency, key, sizeof r.idempotency);
	memset(r.idempotency_print, 1, sizeof r.idempotency_print);
	return r;
}

static struct store_accept accepted(struct kit *k, uint8_t key)
{
	struct store_accept r = keyed(k, key);

	kit_accepted(k, &r);
	return r;
}

/* Its sender sends it again. */
static struct answer *again(struct kit *k, uint8_t key)
{
	struct store_accept r = keyed(k, key);
	struct answer *a = kit_accept(k, &r);

	assert_int_equal(a->status, STORE_DUPLICATE);
	return a;
}

static enum handoff_state state_of(struct kit *k, const struct handoff_id *id)
{
	return kit_get(k, id, false)->record.state;
}

static void assert_none(struct kit *k)
{
	assert_int_equal(kit_lease(k, KIT_AGENT, 10, LONG_MS)->n_items, 0);
}

/* The only one that a lease looks at is held now. */
static struct store_record assert_held(struct kit *k)
{
	struct answer *a = kit_lease(k, KIT_AGENT, 10, LONG_MS);

	assert_int_equal(a->status, STORE_OK);
	assert_int_equal(a->n_items, 1);
	assert_int_equal(a->items[0].status, STORE_OK);
	assert_int_equal(a->items[0].record.state, STATE_HELD);
	assert_true(a->items[0].record.unconfirmed);
	assert_string_equal(a->items[0].task, "");
	return a->items[0].record;
}

static void assert_same(struct handoff_id a, struct handoff_id b)
{
	assert_memory_equal(a.b, b.b, sizeof a.b);
}

static void complete(struct kit *k, const struct store_record *l)
{
	struct answer *a = kit_finish(k, l, FINISH_COMPLETED, 0, "paid");

	assert_int_equal(a->status, STORE_OK);
	assert_int_equal(a->record.state, STATE_COMPLETED);
	assert_int_equal(kit_look(k)->route.held, 0);
	assert_int_equal(k->store->ops->waiting(k->store, k->slot), 0);
}

/* It was handed out before the fail-over. */
static struct store_record leased_over(struct kit *k, uint32_t ms)
{
	struct store_record l;

	accepted(k, 1);
	l = kit_leased(k, ms);
	kit_fail_over(k);
	return l;
}

/* ---- scenarios ---- */

static void until_confirmed(struct kit *k)
{
	struct store_accept pay = accepted(k, 1), read = kit_request(k, "read"), late;
	struct store_record held, l;
	struct answer *a;

	kit_accepted(k, &read);
	kit_fail_over(k);
	a = kit_lease(k, KIT_AGENT, 10, LONG_MS);
	assert_int_equal(a->n_items, 2);
	assert_int_equal(a->items[0].record.state, STATE_HELD);
	assert_int_equal(a->items[1].record.state, STATE_LEASED);
	assert_string_equal(a->items[1].task, "read");
	held = a->items[0].record;
	assert_same(held.id, pay.id);
	assert_int_equal(held.fence, 0);
	assert_int_equal(held.cursor, 2);
	assert_none(k);
	a = kit_look(k);
	assert_int_equal(a->route.held, 1);
	assert_int_equal(a->route.queued, 0);
	assert_int_equal(a->route.waiting, 1);
	a = kit_events(k, &pay.id, 1, 10);
	assert_int_equal(a->n_events, 1);
	assert_int_equal(a->events[0].state, STATE_HELD);
	assert_int_equal(a->events[0].cursor, 2);
	a = kit_accept(k, &pay); /* a replay says nothing new */
	assert_int_equal(a->status, STORE_REPLAYED);
	assert_true(a->same_bytes);
	assert_int_equal(state_of(k, &pay.id), STATE_HELD);
	a = again(k, 1);
	assert_true(a->confirmed);
	assert_same(a->record.id, pay.id);
	assert_int_equal(a->record.state, STATE_QUEUED);
	assert_int_equal(a->record.cursor, 3);
	assert_false(a->record.unconfirmed);
	assert_false(again(k, 1)->confirmed); /* it is queued once */
	late = accepted(k, 2);
	a = kit_lease(k, KIT_AGENT, 10, LONG_MS);
	assert_int_equal(a->n_items, 2);
	l = a->items[0].record;
	assert_int_equal(l.state, STATE_LEASED);
	assert_string_equal(a->items[0].task, "pay");
	assert_same(l.id, pay.id);
	assert_int_equal(a->items[1].record.state, STATE_LEASED); /* accepted since */
	assert_same(a->items[1].record.id, late.id);
	complete(k, &l);
	a = again(k, 1);
	assert_int_equal(a->record.state, STATE_COMPLETED);
	assert_false(a->confirmed);
	assert_string_equal(a->outcome, "paid");
	a = kit_events(k, &pay.id, 1, 10);
	assert_int_equal(a->n_events, 3); /* held, queued, leased */
	assert_int_equal(a->events[1].state, STATE_QUEUED);
}

static void confirmed_first(struct kit *k)
{
	struct store_accept pay = accepted(k, 1);
	struct answer *a;

	kit_fail_over(k);
	a = again(k, 1);
	assert_false(a->confirmed); /* it was not held yet */
	assert_int_equal(a->record.state, STATE_QUEUED);
	assert_int_equal(a->record.cursor, 1);
	a = kit_lease(k, KIT_AGENT, 10, LONG_MS);
	assert_int_equal(a->n_items, 1);
	assert_same(a->items[0].record.id, pay.id);
	assert_int_equal(a->items[0].record.state, STATE_LEASED);
	complete(k, &a->items[0].record);
}

static void strangers(struct kit *k)
{
	struct store_accept pay = accepted(k, 1), other, conflict = keyed(k, 1);

	kit_fail_over(k);
	assert_held(k);
	conflict.idempotency_print[0] ^= 1;
	assert_int_equal(kit_accept(k, &conflict)->status, STORE_CONFLICT);
	other = accepted(k, 2);
	assert_same(kit_leased(k, LONG_MS).id, other.id);
	assert_none(k);
	assert_int_equal(state_of(k, &pay.id), STATE_HELD);
}

static void ended(struct kit *k)
{
	struct store_accept pay = accepted(k, 1), soon = keyed(k, 2);
	struct answer *a;

	soon.deadline_ms = kit_now() + 1500;
	kit_accepted(k, &soon);
	kit_fail_over(k);
	a = kit_lease(k, KIT_AGENT, 10, LONG_MS);
	assert_int_equal(a->n_items, 2);
	if (a->items[1].record.state == STATE_HELD) /* else that took longer than its deadline */
		assert_int_equal(kit_look(k)->route.held, 2);
	a = kit_cancel(k, &pay.id, "no more");
	assert_int_equal(a->status, STORE_OK);
	assert_int_equal(a->record.state, STATE_CANCELLED);
	assert_false(a->record.unconfirmed);
	a = again(k, 1);
	assert_false(a->confirmed);
	assert_int_equal(a->record.state, STATE_CANCELLED);
	while (state_of(k, &soon.id) != STATE_EXPIRED) {
		kit_sleep(k, 20);
		kit_tick(k);
	}
	assert_int_equal(kit_look(k)->route.held, 0);
	assert_int_equal(kit_look(k)->route.delayed, 0);
	assert_int_equal(k->store->ops->waiting(k->store, k->slot), 0);
	assert_none(k);
}

static void confirmed_has_its_deadline(struct kit *k)
{
	struct store_accept r = keyed(k, 1);
	struct answer *a;

	r.deadline_ms = kit_now() + LONG_MS;
	kit_accepted(k, &r);
	kit_fail_over(k);
	assert_held(k);
	assert_int_equal(kit_look(k)->route.delayed, 1);
	assert_true(again(k, 1)->confirmed);
	a = kit_look(k);
	assert_int_equal(a->route.delayed, 0);
	assert_int_equal(a->route.held, 0);
	assert_int_equal(a->route.queued, 1);
	assert_int_equal(a->route.waiting, 1);
	kit_leased(k, LONG_MS);
	assert_none(k);
}

static void restarted(struct kit *k)
{
	struct store_record l;

	accepted(k, 1);
	kit_reopen(k);
	l = kit_leased(k, LONG_MS);
	complete(k, &l);
}

/* The lease is valid, and what its worker says counts. */
static void leased_over_it(struct kit *k)
{
	struct store_record l = leased_over(k, LONG_MS);

	assert_int_equal(kit_extend(k, &l, LONG_MS)->status, STORE_OK);
	assert_int_equal(kit_event(k, &l, STATE_WORKING, 100, "half")->status, STORE_OK);
	assert_none(k);
	complete(k, &l);
}

static struct store_record lapsed(struct kit *k, const struct store_record *l)
{
	struct answer *a = kit_tick_until(k, 1);

	assert_same(a->items[0].record.id, l->id);
	assert_int_equal(a->items[0].record.state, STATE_QUEUED);
	return a->items[0].record;
}

/* Its lease lapsed meanwhile: it is held, and what its worker says late ends it. */
static void late(struct kit *k)
{
	struct store_record l = leased_over(k, 30);
	struct answer *a;

	lapsed(k, &l);
	assert_held(k);
	assert_int_equal(kit_finish(k, &l, FINISH_RETRY, 0, "no luck")->status, STORE_LOST); /* only what ends it */
	assert_int_equal(kit_finish(k, &l, FINISH_RELEASE, 0, "")->status, STORE_LOST);
	complete(k, &l);
	a = kit_look(k);
	assert_int_equal(a->route.held, 0);
	assert_int_equal(a->route.waiting, 0);
}

/* Judged once for one fail-over: it was handed out since. */
static void handed_out_since(struct kit *k)
{
	struct store_record l = leased_over(k, 30);

	lapsed(k, &l);
	assert_held(k);
	assert_true(again(k, 1)->confirmed);
	l = kit_leased(k, 30);
	assert_int_equal(l.attempt, 2);
	lapsed(k, &l);
	l = kit_leased(k, LONG_MS);
	assert_int_equal(l.attempt, 3);
	complete(k, &l);
}

static void confirmed_while_leased(struct kit *k)
{
	struct store_record l = leased_over(k, 200);
	struct answer *a;

	a = again(k, 1);
	assert_false(a->confirmed);
	assert_true(a->record.state == STATE_LEASED);
	lapsed(k, &l);
	l = kit_leased(k, LONG_MS);
	complete(k, &l);
}

static void given_back_since(struct kit *k)
{
	struct store_record l = leased_over(k, LONG_MS);

	assert_int_equal(kit_finish(k, &l, FINISH_RETRY, 0, "no luck")->status, STORE_OK);
	assert_held(k);
	assert_int_equal(kit_finish(k, &l, FINISH_COMPLETED, 0, "")->status, STORE_LOST);
	assert_true(again(k, 1)->confirmed);
	assert_int_equal(kit_finish(k, &l, FINISH_COMPLETED, 0, "")->status, STORE_LOST);
	l = kit_leased(k, LONG_MS);
	complete(k, &l);
}

static void given_back_and_confirmed(struct kit *k)
{
	struct store_record l = leased_over(k, LONG_MS);

	again(k, 1);
	assert_int_equal(kit_finish(k, &l, FINISH_RELEASE, 0, "")->status, STORE_OK);
	assert_int_equal(kit_finish(k, &l, FINISH_COMPLETED, 0, "")->status, STORE_LOST);
	l = kit_leased(k, LONG_MS);
	complete(k, &l);
}

static void backed_off(struct kit *k)
{
	struct store_record l;

	k->limits.backoff_min_ms = 20;
	k->limits.backoff_max_ms = 40;
	l = leased_over(k, 30);
	lapsed(k, &l);
	kit_tick_until(k, 1); /* the end of its delay */
	assert_held(k);
	assert_int_equal(kit_finish(k, &l, FINISH_COMPLETED, 0, "")->status, STORE_LOST);
	assert_true(again(k, 1)->confirmed);
	kit_leased(k, LONG_MS);
}

static void scheduled(struct kit *k)
{
	struct store_accept one = keyed(k, 1), two = keyed(k, 2);
	struct answer *a;

	one.state = two.state = STATE_SCHEDULED;
	one.start_at_ms = two.start_at_ms = kit_now() + 300;
	kit_accepted(k, &one);
	kit_accepted(k, &two);
	kit_fail_over(k);
	a = again(k, 2);
	assert_false(a->confirmed);
	while (state_of(k, &one.id) != STATE_QUEUED || state_of(k, &two.id) != STATE_QUEUED) {
		kit_sleep(k, 20);
		kit_tick(k);
	}
	a = kit_lease(k, KIT_AGENT, 10, LONG_MS);
	assert_int_equal(a->n_items, 2);
	for (size_t i = 0; i < 2; i++)
		assert_int_equal(a->items[i].record.state, memcmp(a->items[i].record.id.b, one.id.b, sizeof one.id.b) ? STATE_LEASED : STATE_HELD);
}

/* What waits for an approval is not released by its sender. */
static void for_approval(struct kit *k)
{
	struct store_accept r = keyed(k, 1);
	struct answer *a;

	r.state = STATE_HELD;
	kit_accepted(k, &r);
	kit_fail_over(k);
	a = again(k, 1);
	assert_false(a->confirmed);
	assert_int_equal(a->record.state, STATE_HELD);
	assert_false(a->record.unconfirmed);
	assert_none(k);
	assert_int_equal(kit_look(k)->route.held, 1);
}

/* What was confirmed before another one may have been done before it. */
static void another_one(struct kit *k)
{
	struct store_accept pay = accepted(k, 1);
	struct store_record l;

	kit_fail_over(k);
	again(k, 1);
	kit_fail_over(k);
	assert_held(k);
	kit_fail_over(k);
	assert_int_equal(state_of(k, &pay.id), STATE_HELD);
	assert_true(again(k, 1)->confirmed);
	l = kit_leased(k, 30);
	kit_fail_over(k);
	lapsed(k, &l);
	assert_held(k);
	assert_true(again(k, 1)->confirmed);
	kit_leased(k, LONG_MS);
}

static void many(struct kit *k)
{
	struct store_accept first = accepted(k, 1), last;
	struct answer *a;

	for (int i = 0; i < 12; i++) {
		kit_fail_over(k);
		assert_int_equal(kit_tick(k)->status, STORE_OK);
	}
	last = accepted(k, 2);
	a = kit_lease(k, KIT_AGENT, 10, LONG_MS);
	assert_int_equal(a->n_items, 2);
	assert_same(a->items[0].record.id, first.id);
	assert_int_equal(a->items[0].record.state, STATE_HELD);
	assert_same(a->items[1].record.id, last.id);
	assert_int_equal(a->items[1].record.state, STATE_LEASED);
}

/* More than one call judges. */
static void lots(struct kit *k)
{
	struct store_accept read;
	size_t held = 0;

	for (int i = 0; i < 90; i++)
		accepted(k, (uint8_t)(i + 1));
	read = kit_request(k, "read");
	kit_accepted(k, &read);
	kit_fail_over(k);
	for (;;) {
		struct answer *a = kit_lease(k, KIT_AGENT, 4, LONG_MS);

		if (!a->n_items)
			break;
		for (size_t i = 0; i < a->n_items && i < KIT_ITEMS; i++)
			if (a->items[i].record.state == STATE_LEASED)
				assert_same(a->items[i].record.id, read.id);
		held += a->n_items;
	}
	assert_int_equal(held, 91);
	assert_int_equal(kit_look(k)->route.held, 90);
	for (int i = 0; i < 90; i++)
		assert_true(again(k, (uint8_t)(i + 1))->confirmed);
	assert_int_equal(kit_look(k)->route.queued, 90);
}

/* Nothing is queued when the two come in one step: what was held goes first. */
static void before_what_is_new(struct kit *k)
{
	struct store_accept pay = accepted(k, 1), read = kit_request(k, "read"), dup = keyed(k, 1);
	static struct answer confirmed;

	kit_fail_over(k);
	assert_held(k);
	dup.owner = read.owner = KIT_AGENT;
	dup.lease_ms = read.lease_ms = LONG_MS;
	confirmed.done = false;
	k->waiting++;
	k->store->ops->accept(k->store, &dup, kit_note, &confirmed, 1);
	assert_false(kit_accept(k, &read)->leased);
	assert_true(confirmed.confirmed);
	assert_same(kit_leased(k, LONG_MS).id, pay.id);
}

static void copies(struct kit *k)
{
	struct store_accept r = keyed(k, 1);
	struct store_slot route = k->slot;
	char inbox[QUEUE_MAX_BYTES + 1];

	assert_int_equal(kit_publish(k, &r, "ana ben")->status, STORE_OK);
	kit_fail_over(k);
	kit_tick(k);
	snprintf(inbox, sizeof inbox, "%s/ana", route.route);
	k->slot = (struct store_slot){route.tenant, inbox};
	kit_leased(k, LONG_MS);
	k->slot = route;
}

/* ---- how long before it ---- */

#define SHORT_MS 40

static void kit_of(struct kit *k, bool redis, const char *route, int64_t hold_ms)
{
	*k = (struct kit){.slot = {"acme", route}, .limits = {.max_waiting = 1000, .max_waiting_bytes = 1u << 20, .keep_finished_ms = 3600000,
			  .max_lost = 100, .hold_ms = hold_ms}};
	if (redis)
		kit_redis(k, kit_server());
	else
		kit_memory(k);
}

/* Measured from the last change that is there, for what is missing came after it. */
static void long_before(bool redis)
{
	struct store_accept old, young;
	struct answer *a;
	struct kit k;

	kit_of(&k, redis, "long-before", SHORT_MS);
	old = accepted(&k, 1);
	kit_sleep(&k, 5 * SHORT_MS);
	young = accepted(&k, 2);
	kit_sleep(&k, 5 * SHORT_MS);
	kit_fail_over(&k);
	a = kit_lease(&k, KIT_AGENT, 10, LONG_MS);
	assert_int_equal(a->n_items, 2);
	assert_same(a->items[0].record.id, old.id);
	assert_int_equal(a->items[0].record.state, STATE_LEASED);
	assert_same(a->items[1].record.id, young.id);
	assert_int_equal(a->items[1].record.state, STATE_HELD);
	if (redis) {
		assert_true(k.held_from_ms > 0 && k.held_to_ms >= k.held_from_ms + SHORT_MS);
		assert_int_equal(k.incarnations, 2); /* the first, and after the fail-over */
	}
	kit_free(&k);
}

static void never(bool redis)
{
	struct kit k;

	kit_of(&k, redis, "never", 0);
	accepted(&k, 1);
	kit_fail_over(&k);
	kit_leased(&k, LONG_MS);
	assert_int_equal(k.held_to_ms, 0);
	kit_free(&k);
}

/* A restart that lost what was acknowledged may have lost ends as well. */
static void lacking(bool redis)
{
	struct store_accept read;
	struct kit k;

	kit_of(&k, redis, "lacking", LONG_MS);
	read = kit_request(&k, "read");
	kit_accepted(&k, &read);
	kit_leased(&k, LONG_MS);
	accepted(&k, 1);
	kit_lose(&k, 1);
	assert_held(&k);
	assert_int_equal(k.lost, redis);
	kit_free(&k);
}

static void in_memory(void **state)
{
	long_before(false);
	never(false);
	lacking(false);
}

static void in_redis(void **state)
{
	long_before(true);
	never(true);
	lacking(true);
}

/* Two nodes: who opens it decides, and wakes the other when something is queued again. */
static void another_node_confirms(void **state)
{
	struct kit a, b;

	kit_of(&a, true, "two-nodes", LONG_MS);
	kit_of(&b, true, "two-nodes", LONG_MS);
	b.counter = 1000;
	accepted(&a, 1);
	kit_fail_over(&a);
	assert_held(&a);
	assert_none(&a);
	assert_true(again(&b, 1)->confirmed);
	kit_leased(&b, LONG_MS);
	kit_free(&b);
	kit_free(&a);
}

/* The same server, from its log: nothing is held. When it was a replica, it is. */
static void from_its_log(void **state)
{
	struct redis_server server;
	struct kit k = {.slot = {"acme", "from-its-log"}};
	struct store_accept r;

	server_start(&server, NULL);
	kit_redis(&k, &server);
	r = accepted(&k, 1);
	server_kill(&server, SIGKILL);
	server_begin(&server, NULL);
	server_wait(&server);
	k.states_ok = 0;
	kit_wait_state(&k, true);
	assert_same(kit_leased(&k, LONG_MS).id, r.id);
	assert_int_equal(k.incarnations, 2);
	assert_int_equal(k.held_to_ms, 0);
	accepted(&k, 2);
	kit_fail_over(&k);
	assert_held(&k);
	assert_true(k.held_to_ms > 0);
	kit_free(&k);
	server_free(&server);
}

int main(void)
{
	static const struct kit_scenario all[] = {
		{"restarted", restarted}, /* first: later the server was a replica once */
		{"until-confirmed", until_confirmed}, {"confirmed-first", confirmed_first}, {"strangers", strangers}, {"ended", ended},
		{"confirmed-has-its-deadline", confirmed_has_its_deadline}, {"leased-over-it", leased_over_it}, {"late", late},
		{"handed-out-since", handed_out_since}, {"confirmed-while-leased", confirmed_while_leased}, {"given-back-since", given_back_since},
		{"given-back-and-confirmed", given_back_and_confirmed}, {"backed-off", backed_off}, {"scheduled", scheduled},
		{"for-approval", for_approval}, {"another-one", another_one}, {"many", many}, {"lots", lots},
		{"before-what-is-new", before_what_is_new}, {"copies", copies},
	};
	static const struct CMUnitTest own[] = {
		cmocka_unit_test(in_memory), cmocka_unit_test(in_redis), cmocka_unit_test(another_node_confirms),
		cmocka_unit_test(from_its_log),
	};

	return kit_run_single("store hold", all, sizeof all / sizeof all[0], own, sizeof own / sizeof own[0]);
}
