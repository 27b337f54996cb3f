/* Does every agent of a broadcast route get its own copy, whichever backend? What is published goes into each inbox in one step, and from
 * there on one inbox does not touch another. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "store_kit.h"

#define LONG_MS 600000

static char queue_names[8][QUEUE_MAX_BYTES + 1];

/* The calls that follow are about this agent's inbox; "" = about the route itself. */
static void at(struct kit *k, const char *agent)
{
	static unsigned turn;
	char *name = queue_names[turn++ % 8];
	struct slice route = queue_route(slice_str(k->slot.route));

	snprintf(name, sizeof queue_names[0], "%.*s%s%s", (int)route.n, (const char *)route.p, *agent ? "/" : "", agent);
	k->slot.route = name;
}

static struct answer *published(struct kit *k, const struct store_accept *r, const char *inboxes, size_t n)
{
	struct answer *a = kit_publish(k, r, inboxes);

	assert_int_equal(a->status, STORE_OK);
	assert_int_equal(a->record.state, STATE_COMPLETED);
	assert_int_equal(a->record.cursor, 2);
	assert_int_equal(a->n_copies, n);
	return a;
}

static void assert_leases(struct kit *k, const char *agent, const char *task)
{
	struct answer *a;

	at(k, agent);
	a = kit_lease(k, KIT_AGENT, 1, LONG_MS);
	assert_int_equal(a->status, STORE_OK);
	assert_int_equal(a->n_items, task ? 1 : 0);
	if (task)
		assert_string_equal(a->items[0].task, task);
	at(k, "");
}

static void everybody_has_a_copy(struct kit *k)
{
	struct store_accept r = kit_request(k, "news");
	struct answer *a = published(k, &r, "ann bob", 2);
	struct store_record of_ann, of_bob;

	assert_int_equal(a->copies[0], COPY_STORED);
	assert_int_equal(a->copies[1], COPY_STORED);
	assert_leases(k, "", NULL); /* the route's own queue has nothing */
	at(k, "ann");
	of_ann = kit_leased(k, LONG_MS);
	at(k, "bob");
	of_bob = kit_leased(k, LONG_MS);
	assert_memory_equal(of_ann.id.b, r.id.b, HANDOFF_ID_BYTES);
	assert_memory_equal(of_bob.id.b, r.id.b, HANDOFF_ID_BYTES);
	assert_memory_not_equal(of_ann.id.tag, of_bob.id.tag, 4);
	assert_memory_not_equal(of_ann.id.tag, r.id.tag, 4);
	/* What becomes of one is nothing to the other. */
	at(k, "ann");
	assert_int_equal(kit_finish(k, &of_ann, FINISH_COMPLETED, 0, "read")->status, STORE_OK);
	at(k, "bob");
	a = kit_get(k, &of_bob.id, true);
	assert_int_equal(a->record.state, STATE_LEASED);
	assert_string_equal(a->items[0].task, "news");
	assert_int_equal(kit_finish(k, &of_bob, FINISH_RETRY, 0, "later")->status, STORE_OK);
	assert_leases(k, "bob", "news");
	at(k, "ann");
	a = kit_get(k, &of_ann.id, true);
	assert_int_equal(a->record.state, STATE_COMPLETED);
	assert_string_equal(a->items[0].outcome, "read");
}

static void each_goes_on_where_it_was(struct kit *k)
{
	static const char *const news[] = {"one", "two", "three"};
	struct store_accept r;

	for (int i = 0; i < 3; i++) {
		r = kit_request(k, news[i]);
		published(k, &r, "ann bob", 2);
		assert_leases(k, "ann", news[i]); /* bob is away */
	}
	assert_leases(k, "ann", NULL);
	for (int i = 0; i < 3; i++)
		assert_leases(k, "bob", news[i]);
	assert_leases(k, "bob", NULL);
	/* Who comes later has what is published from then on. */
	r = kit_request(k, "four");
	published(k, &r, "ann bob cid", 3);
	assert_leases(k, "cid", "four");
	assert_leases(k, "cid", NULL);
}

static void a_replay_reaches_nobody(struct kit *k)
{
	struct store_accept r = kit_request(k, "once"), again;
	struct answer *a;

	r.has_idempotency = true;
	memset(r.idempotency, 7, sizeof r.idempotency);
	published(k, &r, "ann", 1);
	a = kit_publish(k, &r, "ann bob");
	assert_int_equal(a->status, STORE_REPLAYED);
	assert_true(a->same_bytes);
	assert_int_equal(a->n_copies, 0);
	again = kit_request(k, "once");
	again.has_idempotency = true;
	memcpy(again.idempotency, r.idempotency, sizeof r.idempotency);
	a = kit_publish(k, &again, "ann bob");
	assert_int_equal(a->status, STORE_DUPLICATE);
	assert_int_equal(a->record.state, STATE_COMPLETED);
	memset(again.idempotency_print, 9, sizeof again.idempotency_print);
	assert_int_equal(kit_publish(k, &again, "ann bob")->status, STORE_REPLAYED); /* that nonce is burned by now */
	assert_leases(k, "ann", "once");
	assert_leases(k, "ann", NULL);
	assert_leases(k, "bob", NULL);
}

static void a_full_inbox_holds_up_nobody(struct kit *k)
{
	struct store_accept r;
	struct answer *a;

	for (int i = 0; i < 2; i++) {
		r = kit_request(k, i ? "two" : "one");
		published(k, &r, "ann bob", 2);
		assert_leases(k, "ann", i ? "two" : "one");
	}
	r = kit_request(k, "three"); /* max_waiting is 2, and bob has not come yet */
	a = published(k, &r, "ann bob", 2);
	assert_int_equal(a->copies[0], COPY_STORED);
	assert_int_equal(a->copies[1], COPY_FULL);
	assert_leases(k, "ann", "three");
	at(k, "bob");
	a = kit_dead(k, NULL, 10, true);
	assert_int_equal(a->n_items, 1);
	assert_string_equal(a->items[0].task, "three");
	assert_int_equal(a->items[0].record.state, STATE_DEAD_LETTERED);
	assert_int_equal(a->items[0].record.attempt, 0);
	at(k, "");
	assert_leases(k, "bob", "one");
	assert_leases(k, "bob", "two");
	assert_leases(k, "bob", NULL);
	/* It is not lost: an operator gives it back, to this inbox alone. */
	r.slot = (at(k, "bob"), k->slot);
	{
		struct store_accept new = kit_request(k, "three");

		assert_int_equal(kit_replay(k, &new, &r.id)->status, STORE_OK);
	}
	assert_leases(k, "bob", "three");
	assert_leases(k, "ann", NULL);
}

static void closed_and_paused(struct kit *k)
{
	struct store_accept r;
	struct answer *a;

	r = kit_request(k, "one");
	published(k, &r, "ann bob", 2);
	at(k, "bob");
	kit_set(k, false, true);
	at(k, "");
	r = kit_request(k, "two");
	a = published(k, &r, "ann bob", 2);
	assert_int_equal(a->copies[0], COPY_STORED);
	assert_int_equal(a->copies[1], COPY_CLOSED);
	kit_set(k, true, false); /* the route: it takes work, and nobody is handed any */
	r = kit_request(k, "three");
	published(k, &r, "ann bob", 2);
	assert_leases(k, "ann", NULL);
	at(k, "ann");
	assert_true(kit_lease(k, KIT_AGENT, 1, LONG_MS)->paused);
	at(k, "");
	kit_set(k, false, false);
	assert_leases(k, "ann", "one");
	at(k, "ann");
	kit_set(k, true, false); /* one inbox alone */
	assert_leases(k, "ann", NULL);
	assert_leases(k, "bob", "one");
	assert_leases(k, "bob", NULL);
	kit_set(k, false, true);
	r = kit_request(k, "four");
	assert_int_equal(kit_publish(k, &r, "ann bob")->status, STORE_CLOSED);
}

static void later_and_too_late(struct kit *k)
{
	struct store_accept r = kit_request(k, "soon");
	struct answer *a;

	r.state = STATE_SCHEDULED;
	r.start_at_ms = kit_now() + 300;
	published(k, &r, "ann", 1);
	assert_leases(k, "ann", NULL);
	at(k, "ann");
	kit_tick_until(k, 1);
	at(k, "");
	assert_leases(k, "ann", "soon");
	r = kit_request(k, "brief");
	r.deadline_ms = kit_now() + 100;
	published(k, &r, "ann bob", 2);
	at(k, "ann");
	a = kit_tick_until(k, 1);
	assert_int_equal(a->items[0].record.state, STATE_EXPIRED);
	assert_leases(k, "ann", NULL);
}

static void another_incarnation(struct kit *k)
{
	struct store_accept r = kit_request(k, "before");

	published(k, &r, "ann", 1);
	kit_reopen(k);
	at(k, "ann");
	kit_reopen(k);
	at(k, "");
	assert_int_equal(kit_publish(k, &r, "ann")->status, STORE_REPLAYED);
	r = kit_request(k, "old");
	r.issued_at_ms = kit_now() - 1000;
	assert_int_equal(kit_publish(k, &r, "ann")->status, STORE_STALE);
	r = kit_request(k, "after");
	r.issued_at_ms = kit_now() + 60000;
	published(k, &r, "ann", 1);
	assert_leases(k, "ann", "before");
	assert_leases(k, "ann", "after");
}

static void nobody_to_send_it_to(struct kit *k)
{
	struct store_accept r = kit_request(k, "hello?");

	published(k, &r, "", 0);
	at(k, "Bad Name");
	assert_int_equal(kit_lease(k, KIT_AGENT, 1, LONG_MS)->status, STORE_UNAVAILABLE);
}

static const struct kit_scenario scenarios[] = {
	{"everybody-has-a-copy", everybody_has_a_copy}, {"each-goes-on-where-it-was", each_goes_on_where_it_was},
	{"a-replay-reaches-nobody", a_replay_reaches_nobody}, {"closed-and-paused", closed_and_paused}, {"later-and-too-late", later_and_too_late},
	{"another-incarnation", another_incarnation}, {"nobody-to-send-it-to", nobody_to_send_it_to},
};

/* ---- with caps of their own ---- */

static void full_in_memory(void **state)
{
	struct kit k = {.limits = {.max_waiting = 2, .max_waiting_bytes = 1u << 20, .keep_finished_ms = 3600000, .max_lost = 100}};

	(void)state;
	kit_memory(&k);
	a_full_inbox_holds_up_nobody(&k);
	kit_free(&k);
}

static void full_in_redis(void **state)
{
	struct kit k = {.limits = {.max_waiting = 2, .max_waiting_bytes = 1u << 20, .keep_finished_ms = 3600000, .max_lost = 100}};

	(void)state;
	kit_redis(&k, kit_server());
	a_full_inbox_holds_up_nobody(&k);
	kit_free(&k);
}

/* ---- Redis alone ---- */

static long long count(struct kit *k, const char *words)
{
	(void)k;
	return server_say(kit_server(), words);
}

static void keys_are_where_they_belong(void **state)
{
	struct kit k = {.slot = {"acme", "where"}};
	struct store_accept r;

	(void)state;
	kit_redis(&k, kit_server());
	r = kit_request(&k, "news");
	published(&k, &r, "ann b", 2);
	assert_int_equal(count(&k, "LLEN {acme/where}:q0"), 0);
	assert_int_equal(count(&k, "LLEN {acme/where}:@ann:q0"), 1);
	assert_int_equal(count(&k, "LLEN {acme/where}:@b:q0"), 1);
	assert_int_equal(count(&k, "HINCRBY {acme/where}:m w 0"), 0);
	assert_int_equal(count(&k, "HINCRBY {acme/where}:@ann:m w 0"), 1);
	kit_free(&k);
}

/* A key of another type is found before anything is written: the sender sends again, and everybody has it once. */
static void a_damaged_inbox_leaves_nothing_half_done(void **state)
{
	struct kit k = {.slot = {"acme", "half"}};
	struct store_accept r;

	(void)state;
	kit_redis(&k, kit_server());
	r = kit_request(&k, "first");
	published(&k, &r, "ann bob", 2);
	count(&k, "RENAME {acme/half}:@bob:q0 {acme/half}:aside");
	count(&k, "SET {acme/half}:@bob:q0 5");
	r = kit_request(&k, "second");
	assert_int_equal(kit_publish(&k, &r, "ann bob")->status, STORE_UNAVAILABLE);
	count(&k, "DEL {acme/half}:@bob:q0");
	count(&k, "RENAME {acme/half}:aside {acme/half}:@bob:q0");
	published(&k, &r, "ann bob", 2);
	assert_leases(&k, "ann", "first");
	assert_leases(&k, "ann", "second");
	assert_leases(&k, "ann", NULL);
	assert_leases(&k, "bob", "first");
	assert_leases(&k, "bob", "second");
	kit_free(&k);
}

/* What nobody is given until the route itself is open: it may come back paused. */
static void an_inbox_waits_for_its_route(void **state)
{
	struct kit k = {.slot = {"acme", "waits"}};
	struct store_accept r;

	(void)state;
	kit_redis(&k, kit_server());
	r = kit_request(&k, "news");
	published(&k, &r, "ann", 1);
	count(&k, "HSET {acme/waits}:m inc 0000000000000000000000000000000000000000");
	assert_leases(&k, "ann", NULL);
	kit_tick(&k); /* opens it */
	assert_leases(&k, "ann", "news");
	kit_free(&k);
}

static void a_node_is_woken_for_an_inbox(void **state)
{
	static const char *const others[] = {"{acme/wakes}:@:m", "{acme/wakes}:@ann:mm", "{acme/wakes}:ann:m", "{acme/wakes}:@ann", "{acme}:@ann:m",
		"acme/wakes}:m", "{acme/wakes}:@a b:m", "m", ":m", "}:m", "{/}:m"};
	struct kit k = {.slot = {"acme", "wakes"}};
	const char *argv[] = {"PUBLISH", "baton:wake:node-1", "{acme/wakes}:@ann:m"};
	struct store_accept r;

	(void)state;
	kit_redis(&k, kit_server());
	r = kit_request(&k, "first");
	published(&k, &r, "ann", 1);
	assert_leases(&k, "ann", "first");
	assert_leases(&k, "ann", NULL); /* finds nothing: arms */
	assert_int_equal(count(&k, "HSTRLEN {acme/wakes}:@ann:m arm"), 6);
	r = kit_request(&k, "second");
	published(&k, &r, "ann", 1); /* disarms; one's own node is not told */
	assert_int_equal(count(&k, "HEXISTS {acme/wakes}:@ann:m arm"), 0);
	assert_int_equal(k.wakes, 0);
	for (int i = 0; i < 1000 && !k.wakes; i++) { /* the listener may still be connecting */
		server_command(kit_server(), NULL, 0, 3, argv, NULL);
		kit_sleep(&k, 5);
	}
	assert_string_equal(k.woken, "acme/wakes/ann");
	kit_sleep(&k, 20);
	k.wakes = 0;
	for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
		argv[2] = others[i];
		server_command(kit_server(), NULL, 0, 3, argv, NULL);
	}
	kit_sleep(&k, 20);
	assert_int_equal(k.wakes, 0);
	kit_free(&k);
}

int main(void)
{
	const struct CMUnitTest own[] = {
		cmocka_unit_test(full_in_memory), cmocka_unit_test(full_in_redis), cmocka_unit_test(keys_are_where_they_belong),
		cmocka_unit_test(a_damaged_inbox_leaves_nothing_half_done), cmocka_unit_test(an_inbox_waits_for_its_route),
		cmocka_unit_test(a_node_is_woken_for_an_inbox),
	};

	return kit_run("store broadcast", scenarios, sizeof scenarios / sizeof scenarios[0], own, sizeof own / sizeof own[0]);
}
