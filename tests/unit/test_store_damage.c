/* Does the Redis backend stay right when somebody else wrote to its keys? Keys of another type, deleted or malformed ones, counters that
 * lie: nothing may be half done, and nothing acknowledged lost that is still there. */
#include "config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
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
		cmocka_unit_test(open_fails),
		cmocka_unit_test(events_as_string),
	};

	return cmocka_run_group_tests_name("store damage", tests, start, stop);
}
