/* What does a slot do that lost acknowledged work? Up to a limit it goes on; beyond it, it takes work and leases none. Either backend. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "store/record.h"
#include "store_kit.h"

#define LONG_MS 600000
#define MAX_LOST 3

static struct answer *accept_for_agent(struct kit *k, const char *task)
{
	struct store_accept r = kit_request(k, task);

	r.owner = KIT_AGENT;
	r.lease_ms = LONG_MS;
	return kit_accept(k, &r);
}

/* Six, of which one is leased and one is done. */
static struct store_record begin(struct kit *k)
{
	struct store_record held, done;

	for (int i = 0; i < 6; i++) {
		struct store_accept r = kit_request(k, "task");

		kit_accepted(k, &r);
	}
	done = kit_leased(k, LONG_MS);
	assert_int_equal(kit_finish(k, &done, FINISH_COMPLETED, 0, "done")->status, STORE_OK);
	held = kit_leased(k, LONG_MS);
	k->incarnations = 0;
	return held;
}

static void goes_on(struct kit *k)
{
	struct store_record held = begin(k);
	struct store_record l;

	kit_lose(k, MAX_LOST);
	l = kit_leased(k, LONG_MS);
	assert_true(l.fence > held.fence);
	assert_int_equal(k->incarnations, k->redis);
	assert_int_equal(k->lost, k->redis ? MAX_LOST : 0);
	assert_false(k->paused);
	assert_int_equal(kit_lease(k, KIT_AGENT, 10, LONG_MS)->n_items, 3);
	assert_true(accept_for_agent(k, "new")->leased);
}

static void pauses(struct kit *k)
{
	struct store_record held = begin(k);
	struct answer *x;

	kit_lose(k, MAX_LOST + 1);
	x = kit_lease(k, KIT_AGENT, 10, LONG_MS);
	assert_int_equal(x->status, STORE_OK);
	assert_int_equal(x->n_items, 0);
	assert_int_equal(x->next, 0);
	assert_int_equal(k->incarnations, k->redis);
	assert_int_equal(k->lost, k->redis ? MAX_LOST + 1 : 0);
	assert_int_equal(k->paused, k->redis);
	/* Work that is held goes on to its end, and new work is taken. */
	assert_int_equal(kit_extend(k, &held, LONG_MS)->status, STORE_OK);
	assert_int_equal(kit_finish(k, &held, FINISH_COMPLETED, 0, "done")->status, STORE_OK);
	assert_int_equal(kit_lease(k, KIT_AGENT, 10, LONG_MS)->n_items, 0);
	x = accept_for_agent(k, "new");
	assert_int_equal(x->status, STORE_OK);
	assert_false(x->leased);
	assert_int_equal(x->record.state, STATE_QUEUED);
	assert_int_equal(kit_tick(k)->status, STORE_OK);
	assert_int_equal(kit_lease(k, KIT_AGENT, 10, LONG_MS)->n_items, 0);
	assert_int_equal(k->store->ops->waiting(k->store, k->slot), 5);
	kit_resume(k);
	assert_int_equal(kit_lease(k, KIT_AGENT, 10, LONG_MS)->n_items, 5);
	assert_true(accept_for_agent(k, "newer")->leased);
	assert_int_equal(k->incarnations, k->redis); /* told once */
}

/* Nothing waits, so that what comes would be leased at once. */
static void pauses_at_once(struct kit *k)
{
	struct store_accept r;

	for (int i = 0; i <= MAX_LOST; i++) {
		r = kit_request(k, "task");
		kit_accepted(k, &r);
	}
	assert_int_equal(kit_lease(k, KIT_AGENT, 10, LONG_MS)->n_items, MAX_LOST + 1);
	assert_true(accept_for_agent(k, "before")->leased);
	kit_lose(k, MAX_LOST + 1);
	assert_false(accept_for_agent(k, "paused")->leased);
	assert_int_equal(kit_lease(k, KIT_AGENT, 10, LONG_MS)->n_items, 0);
	kit_resume(k);
	assert_int_equal(kit_lease(k, KIT_AGENT, 10, LONG_MS)->n_items, 1);
}

static void each(bool redis)
{
	static const struct { const char *route; void (*run)(struct kit *k); } all[] = {
		{"goes-on", goes_on}, {"pauses", pauses}, {"pauses-at-once", pauses_at_once},
	};

	for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
		struct kit k = {.slot = {"acme", all[i].route},
				.limits = {.max_waiting = 1000, .max_waiting_bytes = 1u << 20, .keep_finished_ms = 3600000, .max_lost = MAX_LOST}};

		if (redis)
			kit_redis(&k, kit_server());
		else
			kit_memory(&k);
		all[i].run(&k);
		kit_free(&k);
	}
}

static void in_memory(void **state)
{
	each(false);
}

static void in_redis(void **state)
{
	each(true);
}

/* Who asks later and remembers more tells of the rest: together it is too much. */
static void found_later(void **state)
{
	struct kit a = {.slot = {"acme", "later"}, .limits = {.max_waiting = 1000, .max_waiting_bytes = 1u << 20, .keep_finished_ms = 3600000, .max_lost = MAX_LOST}};
	struct kit b = {.counter = 1000, .slot = a.slot, .limits = a.limits};
	struct store_accept r;

	kit_redis(&a, kit_server());
	kit_lease(&a, KIT_AGENT, 1, LONG_MS);
	b.keys = a.keys;
	memcpy(b.dir, a.dir, sizeof b.dir);
	kit_redis(&b, kit_server());
	kit_lease(&b, KIT_AGENT, 1, LONG_MS);
	for (int i = 0; i < MAX_LOST; i++) {
		r = kit_request(&b, "task");
		kit_accepted(&b, &r);
	}
	r = kit_request(&a, "task");
	kit_accepted(&a, &r); /* b knows nothing of it */
	server_say(kit_server(), "DEL {acme/later}:m {acme/later}:s {acme/later}:n");
	r = kit_request(&b, "task");
	kit_accepted(&b, &r);
	assert_int_equal(b.lost, MAX_LOST);
	assert_false(b.paused);
	assert_int_equal(kit_lease(&b, KIT_AGENT, 1, LONG_MS)->n_items, 1);
	r = kit_request(&a, "task");
	kit_accepted(&a, &r);
	kit_sleep(&a, 50);
	assert_int_equal(a.lost, MAX_LOST + 1);
	assert_true(a.paused);
	assert_int_equal(kit_lease(&b, KIT_AGENT, 1, LONG_MS)->n_items, 0);
	kit_close(&b);
	kit_free(&a);
}

/* As the broker asks; what it hears of the loss. */
static uint64_t asks(const char *epoch, const char *seq, const char *token, unsigned *flags)
{
#define KEY(k) "{acme/repeat}:" k
	const char *const argv[] = {"FCALL", "baton2_open", "8", KEY("m"), KEY("s"), KEY("n"), KEY("q0"), KEY("q1"), KEY("q2"), KEY("z"), KEY("h"),
		epoch, seq, "3", token, "0"};
	char answer[128] = "";
	long long n = server_command(kit_server(), answer, sizeof answer, sizeof argv / sizeof argv[0], argv, NULL);

	assert_int_equal(n, OPEN_BYTES);
	*flags = (uint8_t)answer[HEAD_BYTES];
	return be_get((const uint8_t *)answer + HEAD_BYTES + 1, 6);
}

/* An answer that never came is asked for again: the same loss is told, but to nobody else twice. */
static void asked_again(void **state)
{
	unsigned flags;

	server_say(kit_server(), "HSET {acme/repeat}:m inc another ep 1 seq 2");
	assert_int_equal(asks("1", "7", "me", &flags), 5);
	assert_int_equal(flags, OPENED_ANEW | OPENED_PAUSED);
	assert_int_equal(asks("1", "7", "me", &flags), 5);
	assert_int_equal(flags, OPENED_PAUSED);
	assert_int_equal(asks("1", "7", "him", &flags), 0);
	assert_int_equal(flags, 0);
	assert_int_equal(asks("1", "9", "him", &flags), 7); /* he remembers more */
	assert_int_equal(flags, OPENED_PAUSED);
	assert_int_equal(asks("1", "9", "him", &flags), 7);
	assert_int_equal(asks("2", "2", "him", &flags), 0); /* he has heard */
	assert_int_equal(flags, 0);
	assert_int_equal(asks("2", "2", "me", &flags), 0);
}

int main(void)
{
	static const struct CMUnitTest own[] = {
		cmocka_unit_test(in_memory), cmocka_unit_test(in_redis), cmocka_unit_test(found_later), cmocka_unit_test(asked_again),
	};

	return kit_run("store lost", NULL, 0, own, sizeof own / sizeof own[0]);
}
