/* Does the Redis backend stay right when somebody else wrote to its keys? Keys of another type, deleted or malformed ones, counters that
 * lie: nothing may be half done, and nothing acknowledged lost that is still there. */
#include "config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store/redis_checks.h"
#include "store_kit.h"

#define AGENT 77
#define LONG_MS 600000

static struct redis_server server;

static int start(void **state)
{
	static const char *const fast[] = {"--appendfsync", "everysec", NULL};

	server_start(&server, fast);
	return 0;
}

static int stop(void **state)
{
	server_free(&server);
	return 0;
}

static void begin(struct kit *k)
{
	*k = (struct kit){0};
	server_say(&server, "FLUSHALL");
	kit_redis(k, &server);
}

static struct store_accept request(struct kit *k)
{
	struct store_accept r = kit_request(k, "task");

	r.issued_at_ms += 3600000; /* after any floor */
	return r;
}

static struct store_record accepted(struct kit *k)
{
	struct store_accept r = request(k);
	struct answer *a = kit_accept(k, &r);

	assert_int_equal(a->status, STORE_OK);
	return a->record;
}

static void command(int argc, const char *const *argv, const size_t *len)
{
	server_command(&server, NULL, 0, argc, argv, len);
}

/* ---- hints and records that are none ---- */

static void malformed(void **state)
{
	struct kit k;
	struct store_record r, l;
	struct answer *x;
	const char *hset[] = {"HSET", "{acme/refunds}:s", NULL, "Rxx"}, *push[] = {"LPUSH", "{acme/refunds}:q1", NULL};
	const size_t hset_n[] = {4, 16, 16, 3}, push_n[] = {5, 17, 16};

	begin(&k);
	r = accepted(&k);
	hset[2] = push[2] = "0123456789abcdef";
	command(4, hset, hset_n);
	command(3, push, push_n);
	l = kit_lease(&k, AGENT, 5, 1)->items[0].record;
	assert_memory_equal(l.id.b, r.id.b, sizeof l.id.b);
	server_say(&server, "ZADD {acme/refunds}:l 1 short 1 x 1 neither-long-enough-nor-right");
	server_say(&server, "ZADD {acme/refunds}:z 1 0123456789abcdef");
	server_say(&server, "LPUSH {acme/refunds}:f x 0123456789");
	kit_sleep(&k, 5);
	x = kit_tick(&k);
	assert_int_equal(x->status, STORE_OK);
	assert_int_equal(x->n_items, 1);
	assert_int_equal(x->items[0].record.state, STATE_QUEUED);
	assert_int_equal(server_say(&server, "ZCARD {acme/refunds}:l"), 0);
	assert_int_equal(server_say(&server, "ZCARD {acme/refunds}:z"), 0);
	assert_int_equal(server_say(&server, "LLEN {acme/refunds}:f"), 0);
	assert_int_equal(kit_lease(&k, AGENT, 5, LONG_MS)->n_items, 1);
	kit_free(&k);
}

/* ---- what is sealed, in another's place ---- */

static redisReply *say(redisContext *c, const char *format, const struct store_record *r)
{
	redisReply *x = redisCommand(c, format, r->id.b, (size_t)16);

	assert_non_null(x);
	return x;
}

static void put_record(redisContext *c, const struct store_record *r, const uint8_t *rec)
{
	freeReplyObject(redisCommand(c, "HSET {acme/refunds}:s %b %b", r->id.b, (size_t)16, rec, (size_t)119));
}

/* An event's body as the outcome; and the outcome of another end than it was. */
static void outcome_forged(void **state)
{
	struct kit k;
	struct store_record r;
	redisContext *c;
	redisReply *rec, *event;
	uint8_t forged[119];

	begin(&k);
	accepted(&k);
	r = kit_lease(&k, AGENT, 1, LONG_MS)->items[0].record;
	assert_int_equal(kit_event(&k, &r, STATE_WORKING, 1000, "only 10% done")->status, STORE_OK);
	assert_int_equal(kit_finish(&k, &r, FINISH_COMPLETED, 0, "the result")->status, STORE_OK);
	c = redisConnectUnix(server.socket);
	rec = say(c, "HGET {acme/refunds}:s %b", &r);
	event = say(c, "LINDEX {acme/refunds}:e:%b 0", &r);
	assert_int_equal(rec->len, 119);
	memcpy(forged, rec->str, 119);
	forged[66] = STATE_FAILED;
	put_record(c, &r, forged);
	assert_int_equal(kit_get(&k, &r.id, true)->status, STORE_UNSEALABLE);
	memcpy(forged, rec->str, 119);
	memcpy(forged + 78, event->str + 20, 8);
	freeReplyObject(redisCommand(c, "SET {acme/refunds}:b:%b%b %b", r.id.b, (size_t)16, event->str + 20, (size_t)8, event->str + 28,
		event->len - 28));
	put_record(c, &r, forged);
	assert_int_equal(kit_get(&k, &r.id, true)->status, STORE_UNSEALABLE);
	put_record(c, &r, (const uint8_t *)rec->str);
	assert_string_equal(kit_get(&k, &r.id, true)->items[0].outcome, "the result");
	freeReplyObject(rec);
	freeReplyObject(event);
	redisFree(c);
	kit_free(&k);
}

/* ---- keys of another type ---- */

/* Another type in its place; and away with that. */
static void spoil_key(const char *key)
{
	char words[96];

	snprintf(words, sizeof words, "COPY {acme/refunds}:%s {acme/refunds}:away REPLACE", key);
	server_say(&server, words);
	snprintf(words, sizeof words, "SET {acme/refunds}:%s x", key);
	server_say(&server, words);
}

static void mend_key(const char *key)
{
	char words[96];

	snprintf(words, sizeof words, "DEL {acme/refunds}:%s", key);
	server_say(&server, words);
	snprintf(words, sizeof words, "COPY {acme/refunds}:away {acme/refunds}:%s", key);
	server_say(&server, words);
	server_say(&server, "DEL {acme/refunds}:away");
}

static long long blobs(void)
{
	return server_say(&server, "KEYS *:b:*");
}

/* A call that cannot be carried out to its end changes nothing, and can be asked for again when the key is mended. */
static void accept_whole(void **state)
{
	static const char *const keys[] = {"q0", "n", "h", "z"};
	struct kit k;

	begin(&k);
	for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
		struct store_accept r = request(&k);
		long long before;

		r.state = i < 2 ? STATE_QUEUED : STATE_HELD;
		r.deadline_ms = kit_now() + LONG_MS;
		server_say(&server, "FLUSHALL");
		accepted(&k);
		before = blobs();
		spoil_key(keys[i]);
		assert_int_equal(kit_accept(&k, &r)->status, STORE_UNAVAILABLE);
		mend_key(keys[i]);
		assert_int_equal(blobs(), before);
		assert_int_equal(kit_get(&k, &r.id, false)->status, STORE_NOT_FOUND);
		assert_int_equal(kit_accept(&k, &r)->status, STORE_OK);
	}
	kit_free(&k);
}

/* What waits is not popped when it cannot be leased. */
static void lease_whole(void **state)
{
	static const char *const keys[] = {"l", "f", "q2", "q0"};
	struct kit k;
	struct store_record r;

	begin(&k);
	for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
		server_say(&server, "FLUSHALL");
		r = accepted(&k);
		spoil_key(keys[i]);
		assert_int_equal(kit_lease(&k, AGENT, 5, LONG_MS)->status, STORE_UNAVAILABLE);
		mend_key(keys[i]);
		assert_int_equal(kit_lease(&k, AGENT, 5, LONG_MS)->items[0].record.attempt, 1);
		assert_int_equal(kit_get(&k, &r.id, false)->record.state, STATE_LEASED);
	}
	kit_free(&k);
}

static void finish_whole(void **state)
{
	static const struct {
		const char *key;
		enum store_finish_kind kind;
		uint32_t delay;
	} cases[] = {{"f", FINISH_COMPLETED, 0}, {"x", FINISH_QUARANTINED, 0}, {"z", FINISH_RETRY, 5000}, {"q0", FINISH_RETRY, 0}};
	struct kit k;
	struct store_record r;

	begin(&k);
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		server_say(&server, "FLUSHALL");
		accepted(&k);
		r = kit_lease(&k, AGENT, 1, LONG_MS)->items[0].record;
		spoil_key(cases[i].key);
		assert_int_equal(kit_finish(&k, &r, cases[i].kind, cases[i].delay, "x")->status, STORE_UNAVAILABLE);
		assert_int_equal(kit_get(&k, &r.id, false)->record.state, STATE_LEASED);
		assert_int_equal(kit_get(&k, &r.id, false)->record.cursor, 2);
		mend_key(cases[i].key);
		assert_int_equal(kit_finish(&k, &r, cases[i].kind, cases[i].delay, "x")->status, STORE_OK);
	}
	kit_free(&k);
}

static void tick_whole(void **state)
{
	static const char *const keys[] = {"n", "i", "f", "d", "h", "q0", "z"};
	struct kit k;
	struct store_record r;

	begin(&k);
	for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
		server_say(&server, "FLUSHALL");
		accepted(&k);
		r = kit_lease(&k, AGENT, 1, 1)->items[0].record;
		kit_sleep(&k, 5);
		spoil_key(keys[i]);
		assert_int_equal(kit_tick(&k)->status, STORE_UNAVAILABLE);
		assert_int_equal(kit_get(&k, &r.id, false)->record.state, STATE_LEASED);
		mend_key(keys[i]);
		assert_int_equal(kit_tick(&k)->items[0].record.state, STATE_QUEUED);
		assert_int_equal(kit_lease(&k, AGENT, 5, LONG_MS)->n_items, 1);
	}
	kit_free(&k);
}

/* A broken list of events costs that history, not the work. */
static void events_broken(void **state)
{
	struct kit k;
	struct store_record r;
	const char *set[] = {"SET", NULL, "x"};
	char key[64];
	const size_t n[] = {3, 17 + 16, 1};

	begin(&k);
	r = accepted(&k);
	memcpy(key, "{acme/refunds}:e:", 17);
	memcpy(key + 17, r.id.b, 16);
	set[1] = key;
	command(3, set, n);
	r = kit_lease(&k, AGENT, 1, LONG_MS)->items[0].record;
	assert_int_equal(kit_event(&k, &r, STATE_WORKING, 1000, "lost")->status, STORE_WRONG_STATE);
	assert_int_equal(kit_get(&k, &r.id, false)->record.cursor, 2);
	assert_int_equal(kit_finish(&k, &r, FINISH_RETRY, 0, "again")->status, STORE_OK);
	r = kit_lease(&k, AGENT, 1, LONG_MS)->items[0].record;
	assert_int_equal(kit_finish(&k, &r, FINISH_COMPLETED, 0, "done")->status, STORE_OK);
	kit_free(&k);
}

/* ---- what was lost ---- */

/* One worker acknowledged what is gone; another, who knows nothing of it, finds the slot empty first. */
static void lost_by_another(void **state)
{
	struct kit a, b = {.counter = 1000};
	struct store_accept r;

	begin(&a);
	kit_lease(&a, AGENT, 1, LONG_MS);
	b.keys = a.keys;
	strcpy(b.dir, a.dir);
	kit_redis(&b, &server);
	kit_lease(&b, AGENT, 1, LONG_MS);
	for (int i = 0; i < 5; i++)
		accepted(&b);
	for (int i = 0; i < 20; i++)
		accepted(&a);
	server_say(&server, "FLUSHALL");
	a.incarnations = b.incarnations = 0;
	kit_tick(&b);
	assert_int_equal(b.incarnations, 1);
	assert_int_equal(b.lost, 5);
	r = request(&a);
	assert_int_equal(kit_accept(&a, &r)->status, STORE_OK);
	kit_sleep(&a, 50);
	assert_int_equal(a.incarnations, 1);
	assert_int_equal(a.lost, 25);
	accepted(&a);
	accepted(&b);
	kit_sleep(&a, 50);
	assert_int_equal(a.incarnations + b.incarnations, 2); /* told once */
	kit_close(&b);
	kit_free(&a);
}

/* Records deleted by hand: nothing waits any more, whatever was counted. */
static void records_deleted(void **state)
{
	struct kit k;

	begin(&k);
	for (int i = 0; i < 5; i++)
		accepted(&k);
	server_say(&server, "DEL {acme/refunds}:s");
	accepted(&k);
	assert_int_equal(k.store->ops->waiting(k.store, k.slot), 1);
	assert_int_equal(server_say(&server, "ZCARD {acme/refunds}:n"), 1);
	assert_int_equal(server_say(&server, "HSTRLEN {acme/refunds}:m wb"), 2); /* of one task */
	assert_int_equal(kit_lease(&k, AGENT, 5, LONG_MS)->n_items, 1);
	kit_free(&k);
}

/* The slot's own key deleted by hand: what waits is counted anew; a cancelled one in a queue does not, a held one does. */
static void slot_deleted(void **state)
{
	struct kit k;
	struct store_accept r;
	struct store_record last;

	begin(&k);
	for (int i = 0; i < 5; i++)
		last = accepted(&k);
	assert_int_equal(kit_cancel(&k, &last.id, "")->status, STORE_OK);
	r = request(&k);
	r.state = STATE_HELD;
	r.deadline_ms = kit_now() + LONG_MS;
	assert_int_equal(kit_accept(&k, &r)->status, STORE_OK);
	server_say(&server, "DEL {acme/refunds}:m");
	kit_tick(&k);
	assert_int_equal(k.store->ops->waiting(k.store, k.slot), 5);
	assert_int_equal(accepted(&k).position, 7);
	assert_int_equal(kit_lease(&k, AGENT, 10, LONG_MS)->n_items, 5);
	assert_int_equal(k.store->ops->waiting(k.store, k.slot), 1);
	kit_free(&k);
}

/* Counters that lie are put right when nothing can wait. */
static void counters_lie(void **state)
{
	struct kit k;

	begin(&k);
	accepted(&k);
	kit_lease(&k, AGENT, 1, LONG_MS);
	server_say(&server, "HSET {acme/refunds}:m w 7 wb 999");
	server_say(&server, "HSET {acme/refunds}:m sender77 0123456789");
	kit_tick(&k);
	assert_int_equal(server_say(&server, "HEXISTS {acme/refunds}:m sender77"), 0);
	assert_int_equal(k.store->ops->waiting(k.store, k.slot), 0);
	assert_int_equal(server_say(&server, "HSTRLEN {acme/refunds}:m wb"), 1);
	kit_free(&k);
}

/* Of the bytes that are kept only a sum is wrong when it is lost: work goes on. */
static void kept_is_no_number(void **state)
{
	struct kit k;
	struct store_record a, b;

	begin(&k);
	k.limits.keep_finished_ms = 1;
	a = accepted(&k);
	b = accepted(&k);
	server_say(&server, "HSET {acme/refunds}:s # nonsense");
	accepted(&k);
	assert_int_equal(kit_lease(&k, AGENT, 1, LONG_MS)->items[0].record.attempt, 1);
	a = kit_get(&k, &a.id, false)->record;
	server_say(&server, "HSET {acme/refunds}:s # nonsense");
	assert_int_equal(kit_finish(&k, &a, FINISH_COMPLETED, 0, "done")->status, STORE_OK);
	server_say(&server, "HSET {acme/refunds}:s # nonsense");
	assert_int_equal(kit_cancel(&k, &b.id, "no")->status, STORE_OK);
	server_say(&server, "HSET {acme/refunds}:s # nonsense");
	kit_sleep(&k, 5);
	assert_int_equal(kit_tick(&k)->status, STORE_OK);
	assert_int_equal(kit_get(&k, &a.id, false)->status, STORE_NOT_FOUND); /* forgotten */
	assert_int_equal(server_say(&server, "HSTRLEN {acme/refunds}:s #"), 1);
	kit_free(&k);
}

/* ---- answers that are none ---- */

/* One broken slot holds up itself alone, and only as long as it is broken. */
static void open_fails(void **state)
{
	struct kit k;
	struct store_accept r, other;

	begin(&k);
	server_say(&server, "SET {acme/refunds}:n x");
	r = request(&k);
	assert_int_equal(kit_accept(&k, &r)->status, STORE_UNAVAILABLE);
	assert_true(k.store->ops->available(k.store));
	assert_int_equal(blobs(), 0); /* what came with it is gone */
	k.slot.route = "other";
	other = request(&k);
	assert_int_equal(kit_accept(&k, &other)->status, STORE_OK);
	k.slot.route = "refunds";
	server_say(&server, "DEL {acme/refunds}:n");
	assert_int_equal(kit_accept(&k, &r)->status, STORE_OK);
	kit_free(&k);
}

/* A library that answers events with a string. */
static void events_as_string(void **state)
{
	static const char from[] = "add('events', events", to[] = "add('events', function() return 'K'..string.rep('\\0',22) end";
	struct kit k;
	struct store_record r;
	const char *at = strstr(store_library, from);
	char *code = NULL;

	begin(&k);
	r = accepted(&k);
	assert_non_null(at);
	assert_true(asprintf(&code, "%.*s%s%s", (int)(at - store_library), store_library, to, at + strlen(from)) > 0);
	command(4, (const char *[]){"FUNCTION", "LOAD", "REPLACE", code}, NULL);
	assert_int_equal(kit_events(&k, &r.id, 0, 10)->status, STORE_UNAVAILABLE);
	command(4, (const char *[]){"FUNCTION", "LOAD", "REPLACE", store_library}, NULL);
	free(code);
	kit_free(&k);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(malformed),
		cmocka_unit_test(outcome_forged),
		cmocka_unit_test(accept_whole),
		cmocka_unit_test(lease_whole),
		cmocka_unit_test(finish_whole),
		cmocka_unit_test(tick_whole),
		cmocka_unit_test(events_broken),
		cmocka_unit_test(lost_by_another),
		cmocka_unit_test(records_deleted),
		cmocka_unit_test(slot_deleted),
		cmocka_unit_test(kept_is_no_number), cmocka_unit_test(counters_lie),
		cmocka_unit_test(open_fails),
		cmocka_unit_test(events_as_string),
	};

	return cmocka_run_group_tests_name("store damage", tests, start, stop);
}
