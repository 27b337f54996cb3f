/* Who may have how much waiting? Caps of a route and of each sender on it, on both backends; and the numbers they go by stay exact: random
 * operations, and after each of them every sender's number and bytes are compared with the records themselves. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>

#include "store/memory_priv.h"
#include "store_kit.h"

#define LONG_MS 600000
#define SENDERS 4
#define LIVE 64
#define STEPS 1500
#define DAMAGED ((void *)2) /* a test's state: NULL is the twin, anything else Redis */

static void begin(struct kit *k, bool redis, const struct store_slot_limits *limits, const char *route)
{
	*k = (struct kit){.slot = {"acme", route}, .limits = *limits};
	if (redis)
		kit_redis(k, kit_server());
	else
		kit_memory(k);
}

static struct store_accept request_of(struct kit *k, unsigned sender, const char *task)
{
	struct store_accept r = kit_request(k, task);

	r.sender = 0x0a0b0c0d00000000 + sender; /* with NULs in it */
	return r;
}

/* ---- the caps ---- */

static void over(struct kit *k, const struct store_accept *r, enum store_cap cap)
{
	struct answer *a = kit_accept(k, r);

	assert_int_equal(a->status, STORE_QUOTA);
	assert_int_equal(a->over, cap);
	assert_int_equal(kit_get(k, &r->id, false)->status, STORE_NOT_FOUND);
}

static void route_caps(void **state)
{
	const struct store_slot_limits limits = {.max_waiting = 2, .max_waiting_bytes = 1000, .keep_finished_ms = 1000};
	struct kit k;
	char big[600] = {0};
	struct store_accept a, b, c;

	begin(&k, *state, &limits, "quota");
	a = kit_request(&k, "task");
	b = kit_request(&k, "task");
	c = kit_request(&k, "task");
	kit_accepted(&k, &a);
	kit_accepted(&k, &b);
	over(&k, &c, CAP_ROUTE);
	kit_leased(&k, LONG_MS);
	kit_accepted(&k, &c); /* what is leased does not wait */
	memset(big, 'x', sizeof big - 1);
	k.slot.route = "quota-bytes";
	a = kit_request(&k, big);
	b = kit_request(&k, big);
	kit_accepted(&k, &a);
	over(&k, &b, CAP_ROUTE_BYTES);
	kit_free(&k);
}

/* One sender at its cap; another, and other routes, go on. What it cancels, and what is leased, makes room. */
static void sender_cap(void **state)
{
	const struct store_slot_limits limits = {.max_waiting = 100, .max_waiting_bytes = 1 << 20, .max_per_sender = 3, .keep_finished_ms = 1000};
	struct kit k;
	struct store_accept r[5];

	begin(&k, *state, &limits, "sender-cap");
	for (int i = 0; i < 5; i++)
		r[i] = request_of(&k, 1, "task");
	r[1].state = STATE_HELD;
	r[2].state = STATE_SCHEDULED;
	r[2].start_at_ms = kit_now() + LONG_MS;
	for (int i = 0; i < 3; i++)
		kit_accepted(&k, &r[i]);
	over(&k, &r[3], CAP_SENDER);
	for (int i = 0; i < 3; i++) {
		struct store_accept other = request_of(&k, 2, "task");

		kit_accepted(&k, &other);
	}
	assert_int_equal(kit_cancel(&k, &r[1].id, "")->status, STORE_OK);
	kit_accepted(&k, &r[3]);
	over(&k, &r[4], CAP_SENDER);
	assert_int_equal(kit_lease(&k, KIT_AGENT, 1, LONG_MS)->items[0].record.sender, r[0].sender);
	kit_accepted(&k, &r[4]);
	r[0] = request_of(&k, 1, "task");
	k.slot.route = "sender-cap-2";
	r[0].slot = k.slot;
	kit_accepted(&k, &r[0]);
	kit_free(&k);
}

/* Of many in one call as well: no more of a sender than it may have. */
static void sender_cap_one_call(void **state)
{
	const struct store_slot_limits limits = {.max_waiting = 100, .max_waiting_bytes = 1 << 20, .max_per_sender = 5, .keep_finished_ms = 1000};
	struct kit k;
	static struct answer all[20];
	static struct store_accept r[20];
	unsigned ok[2] = {0};

	begin(&k, *state, &limits, "sender-cap-one-call");
	kit_get(&k, &(struct handoff_id){.b = {1}}, false);
	k.waiting = 20;
	for (unsigned i = 0; i < 20; i++) {
		all[i].done = false;
		r[i] = request_of(&k, i % 2, "task");
		k.store->ops->accept(k.store, &r[i], kit_note, &all[i], i);
	}
	kit_turn(&k);
	for (unsigned i = 0; i < 20; i++) {
		ok[i % 2] += all[i].status == STORE_OK;
		assert_true(all[i].status == STORE_OK || all[i].over == CAP_SENDER);
	}
	assert_int_equal(ok[0], 5);
	assert_int_equal(ok[1], 5);
	kit_free(&k);
}

static void sender_bytes_cap(void **state)
{
	const struct store_slot_limits limits = {.max_waiting = 100, .max_waiting_bytes = 1 << 20, .max_bytes_per_sender = 400, .keep_finished_ms = 1000};
	struct kit k;
	char big[200] = {0};
	struct store_accept a, b, c;

	begin(&k, *state, &limits, "sender-bytes");
	memset(big, 'x', sizeof big - 1);
	a = request_of(&k, 1, big);
	b = request_of(&k, 1, big);
	c = request_of(&k, 2, big);
	kit_accepted(&k, &a);
	over(&k, &b, CAP_SENDER_BYTES);
	kit_accepted(&k, &c);
	kit_leased(&k, LONG_MS);
	kit_accepted(&k, &b);
	kit_free(&k);
}

/* ---- the numbers ---- */

struct share {
	uint64_t sender, n, bytes;
};

static struct share *share_of(struct share v[SENDERS], uint64_t sender)
{
	for (unsigned i = 0; i < SENDERS; i++)
		if (!v[i].n || v[i].sender == sender) {
			v[i].sender = sender;
			return &v[i];
		}
	fail_msg("more senders than there are");
	return NULL;
}

static uint64_t kept_bytes; /* tasks and outcomes of all records looked at */

static void count(struct share v[SENDERS], const struct record *r)
{
	struct share *s;

	kept_bytes += r->task_size + r->outcome_size;
	if (r->r.state > STATE_QUEUED)
		return;
	s = share_of(v, r->r.sender);
	s->n++;
	s->bytes += r->task_size;
}

static void look_memory(struct kit *k, struct share kept[SENDERS], struct share counted[SENDERS])
{
	struct mem_slot *s = mem_slot_get((struct memory *)k->store, k->slot, true);

	for (struct mem_sender *of = s->senders; of; of = of->hh.next) {
		assert_true(of->waiting > 0);
		*share_of(kept, of->key) = (struct share){of->key, of->waiting, of->waiting_bytes};
	}
	for (struct mem_handoff *h = s->handoffs; h; h = h->hh.next)
		if (!h->alias)
			count(counted, &h->r);
}

static redisReply *ask(redisContext *c, const char *command, const char *route, const char *key)
{
	redisReply *r = redisCommand(c, "%s {acme/%s}:%s", command, route, key);

	assert_non_null(r);
	assert_int_equal(r->type, REDIS_REPLY_ARRAY);
	return r;
}

static void look_redis(struct kit *k, redisContext *c, struct share kept[SENDERS], struct share counted[SENDERS])
{
	redisReply *shares = ask(c, "HGETALL", k->slot.route, "m"), *records = ask(c, "HGETALL", k->slot.route, "s");
	const uint8_t tag[4] = {0};
	struct record rec;

	for (size_t i = 0; i < shares->elements; i += 2) {
		const redisReply *name = shares->element[i], *value = shares->element[i + 1];
		const uint8_t *p = (const uint8_t *)value->str;
		uint64_t sender;

		if (name->len != 8)
			continue; /* something else of the slot */
		assert_int_equal(value->len, 10);
		sender = be_get((const uint8_t *)name->str, 8);
		assert_true(be_get(p, 4) > 0);
		*share_of(kept, sender) = (struct share){sender, be_get(p, 4), be_get(p + 4, 6)};
	}
	for (size_t i = 0; i < records->elements; i += 2)
		if (records->element[i + 1]->len == RECORD_BYTES && record_decode(tag, (const uint8_t *)records->element[i]->str,
			(const uint8_t *)records->element[i + 1]->str, &rec))
			count(counted, &rec);
	freeReplyObject(shares);
	freeReplyObject(records);
}

struct walk {
	struct kit *k;
	redisContext *c;   /* NULL: the twin */
	unsigned seed, step;
	bool damage;
	const char *did;
	struct store_record live[LIVE]; /* as they were once, some leased since and some gone */
	unsigned n_ok[STORE_UNAVAILABLE + 1];
};

static void compare(struct walk *w)
{
	struct share kept[SENDERS] = {{0}}, counted[SENDERS] = {{0}};

	kept_bytes = 0;
	if (w->c)
		look_redis(w->k, w->c, kept, counted);
	else
		look_memory(w->k, kept, counted);
	for (unsigned i = 0; i < SENDERS; i++) {
		struct share *s = &counted[i], *other = s->n ? share_of(kept, s->sender) : NULL;

		if (other && (other->n != s->n || other->bytes != s->bytes))
			fail_msg("step %u (%s), BATON_SEED=%u: %llu of %llu bytes wait, kept are %llu of %llu", w->step, w->did, w->seed, (unsigned long long)s->n,
				(unsigned long long)s->bytes, (unsigned long long)other->n, (unsigned long long)other->bytes);
		other = kept[i].n ? share_of(counted, kept[i].sender) : NULL;
		if (other && !other->n)
			fail_msg("step %u (%s), BATON_SEED=%u: nothing waits of a sender that is kept", w->step, w->did, w->seed);
	}
}

/* All that the slot keeps. */
static void compare_kept(struct walk *w)
{
	redisReply *r;

	if (!w->c)
		return;
	r = redisCommand(w->c, "HGET {acme/%s}:s #", w->k->slot.route);
	assert_non_null(r);
	if ((r->str ? strtoull(r->str, NULL, 10) : 0) != kept_bytes)
		fail_msg("step %u (%s), BATON_SEED=%u: %llu bytes are there, %s are counted", w->step, w->did, w->seed, (unsigned long long)kept_bytes,
			 r->str ? r->str : "none");
	freeReplyObject(r);
}

static unsigned any(unsigned n)
{
	return (unsigned)(rand() / 7) % n;
}

static struct store_record *pick(struct walk *w)
{
	return &w->live[any(LIVE)];
}

static void note(struct walk *w, const struct answer *a)
{
	w->n_ok[a->status]++;
	if (a->status == STORE_OK && a->record.state)
		*pick(w) = a->record;
	for (size_t i = 0; i < a->n_items && i < KIT_ITEMS; i++)
		*pick(w) = a->items[i].record;
}

static void do_accept(struct walk *w)
{
	char task[100] = {0};
	struct store_accept r;

	memset(task, 'x', any(sizeof task - 1));
	r = request_of(w->k, any(SENDERS), task);
	r.state = (enum handoff_state)(STATE_HELD + any(3));
	r.priority = (uint8_t)any(10);
	r.max_attempts = (uint8_t)(1 + any(3));
	if (r.state == STATE_SCHEDULED)
		r.start_at_ms = kit_now() + (any(2) ? 2 : LONG_MS);
	if (!any(4))
		r.deadline_ms = kit_now() + any(6);
	if (!any(3)) {
		r.owner = KIT_AGENT;
		r.lease_ms = any(2) ? 2 : LONG_MS;
	}
	if (!any(3)) {
		r.has_idempotency = true;
		r.idempotency[0] = (uint8_t)any(20);
		r.idempotency_print[0] = (uint8_t)any(2);
	}
	note(w, kit_accept(w->k, &r));
	if (!any(4))
		note(w, kit_accept(w->k, &r)); /* a replay */
}

static void do_lease(struct walk *w)
{
	note(w, kit_lease(w->k, KIT_AGENT, 1 + any(5), any(2) ? 1 : LONG_MS));
}

static void do_finish(struct walk *w)
{
	note(w, kit_finish(w->k, pick(w), (enum store_finish_kind)any(FINISH_EXPIRED + 1), any(2) ? 0 : 2, "done"));
}

static void do_report(struct walk *w)
{
	note(w, kit_extend(w->k, pick(w), any(2) ? 1 : LONG_MS));
	note(w, kit_event(w->k, pick(w), STATE_WORKING, 100, "on it"));
}

static void do_cancel(struct walk *w)
{
	note(w, kit_cancel(w->k, &pick(w)->id, "no more"));
}

static void do_tick(struct walk *w)
{
	struct answer *a = kit_tick(w->k);

	note(w, a);
	assert_int_equal(a->status, STORE_OK);
}

/* One that does not open any more when it is read. */
static void do_spoil(struct walk *w)
{
	struct store_accept r = request_of(w->k, any(SENDERS), "spoilt");

	if (kit_accept(w->k, &r)->status != STORE_OK)
		return;
	kit_spoil(w->k, &r.id);
	assert_int_equal(kit_get(w->k, &r.id, true)->status, STORE_UNSEALABLE);
}

static void do_wait(struct walk *w)
{
	kit_sleep(w->k, 3);
}

/* A lease lapses; what waits again since then is finished by who had it, or not any more. */
static void do_late(struct walk *w)
{
	struct answer *a = kit_lease(w->k, KIT_AGENT, 1, 1);
	struct store_record had = a->n_items ? a->items[0].record : *pick(w);

	kit_sleep(w->k, 3);
	do_tick(w);
	note(w, kit_finish(w->k, &had, (enum store_finish_kind)any(FINISH_EXPIRED + 1), any(2) ? 0 : 2, "late"));
}

static void do_reopen(struct walk *w)
{
	kit_reopen(w->k);
	do_tick(w);
	do_accept(w);
}

/* The slot's key deleted by hand is found missing by the next accept or tick, and what waits is counted anew. */
static void do_damage(struct walk *w)
{
	if (!w->damage)
		return;
	freeReplyObject(redisCommand(w->c, "DEL {acme/%s}:m", w->k->slot.route));
	do_tick(w);
	do_accept(w);
}

static const struct {
	const char *name;
	void (*run)(struct walk *w);
	unsigned often;
} steps[] = {
	{"accept", do_accept, 30}, {"lease", do_lease, 14}, {"finish", do_finish, 20}, {"report", do_report, 4}, {"cancel", do_cancel, 6},
	{"tick", do_tick, 10}, {"spoil", do_spoil, 2}, {"wait", do_wait, 3},
	{"late", do_late, 4}, {"reopen", do_reopen, 1}, {"damage", do_damage, 2},
};

static void do_any(struct walk *w)
{
	unsigned all = 0, at;
	size_t i = 0;

	for (size_t j = 0; j < sizeof steps / sizeof steps[0]; j++)
		all += steps[j].often;
	for (at = any(all); at >= steps[i].often; i++)
		at -= steps[i].often;
	w->did = steps[i].name;
	steps[i].run(w);
}

static void exact(void **state)
{
	const struct store_slot_limits limits = {.max_waiting = 60, .max_waiting_bytes = 1 << 20, .max_per_sender = 20, .max_bytes_per_sender = 3000,
		.keep_finished_ms = 40, .keep_dead_ms = 40};
	struct kit k;
	const char *seed = getenv("BATON_SEED");
	struct walk w = {.k = &k, .seed = seed ? (unsigned)atoi(seed) : 1};

	begin(&k, *state, &limits, *state == DAMAGED ? "damaged" : "exact");
	srand(w.seed);
	w.damage = *state == DAMAGED;
	if (k.redis)
		w.c = redisConnectUnix(kit_server()->socket);
	assert_true(!k.redis || (w.c && !w.c->err));
	for (w.step = 0; w.step < STEPS; w.step++) {
		do_any(&w);
		compare(&w);
		compare_kept(&w);
	}
	assert_true(w.n_ok[STORE_OK] > STEPS / 4 && w.n_ok[STORE_LOST] && w.n_ok[STORE_REPLAYED] && w.n_ok[STORE_DUPLICATE]);
	if (w.c)
		redisFree(w.c);
	kit_free(&k);
}

/* Empty again, nothing is left of who once had something waiting. */
static void bounded(void **state)
{
	const struct store_slot_limits limits = {.max_waiting = 1000, .max_waiting_bytes = 1 << 20, .keep_finished_ms = 1000};
	long long at_most = 0;
	struct kit k;
	struct share kept[SENDERS] = {{0}}, counted[SENDERS] = {{0}};

	begin(&k, *state, &limits, "bounded");
	for (unsigned i = 0; i < 200; i++) {
		struct store_accept r = request_of(&k, i, "task");

		kit_accepted(&k, &r);
	}
	if (k.redis)
		at_most = server_say(kit_server(), "HLEN {acme/bounded}:m");
	for (unsigned i = 0; i < 200; i++)
		kit_leased(&k, LONG_MS);
	if (k.redis) {
		assert_int_equal(server_say(kit_server(), "HLEN {acme/bounded}:m"), at_most - 200);
	} else {
		look_memory(&k, kept, counted);
		assert_int_equal(kept[0].n, 0);
	}
	kit_free(&k);
}

#define BOTH(fn) {.name = "memory: " #fn, .test_func = fn}, {.name = "redis: " #fn, .test_func = fn, .initial_state = (void *)1}

int main(void)
{
	static const struct CMUnitTest own[] = {
		BOTH(route_caps), BOTH(sender_cap), BOTH(sender_cap_one_call), BOTH(sender_bytes_cap), BOTH(exact),
		{.name = "redis, damaged: exact", .test_func = exact, .initial_state = DAMAGED}, BOTH(bounded),
	};

	return kit_run("store quota", NULL, 0, own, sizeof own / sizeof own[0]);
}
