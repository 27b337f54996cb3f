/* Does the Redis backend keep its promises when Redis does not behave? Killed under load, emptied, restarted, misconfigured, holding
 * another library, out of memory, torn append-only file: each with a real redis-server. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "store/redis_checks.h"
#include "store_kit.h"

#define AGENT 77
#define LONG_MS 600000

static struct store_record accepted(struct kit *k, const char *task)
{
	struct store_accept r = kit_request(k, task);
	struct answer *a = kit_accept(k, &r);

	assert_int_equal(a->status, STORE_OK);
	return a->record;
}

/* ---- killed under load ---- */

#define LOAD 600

static struct answer load_answers[LOAD];
static struct store_accept load_requests[LOAD];

static size_t answered(void)
{
	size_t n = 0;

	for (size_t i = 0; i < LOAD; i++)
		n += load_answers[i].done;
	return n;
}

static bool some_answered(struct kit *k)
{
	for (int i = 0; i < 20000 && answered() < 100; i++)
		kit_sleep(k, 1);
	return answered() >= 100;
}

static void killed_under_load(void **state)
{
	struct redis_server server;
	struct kit k = {.fsync_always = true};
	size_t ok = 0;

	server_start(&server, NULL);
	kit_redis(&k, &server);
	accepted(&k, "first"); /* opens the slot */
	memset(load_answers, 0, sizeof load_answers);
	kit_get(&k, &load_requests[0].id, false);
	k.waiting = LOAD;
	for (size_t i = 0; i < LOAD; i++) {
		load_requests[i] = kit_request(&k, "load");
		load_requests[i].issued_at_ms += 3600000; /* after the floor that the restart brings */
		k.store->ops->accept(k.store, &load_requests[i], kit_note, &load_answers[i], i);
		if (i % 50 == 49)
			kit_sleep(&k, 1);
	}
	assert_true(some_answered(&k));
	k.states_ok = 0;
	server_kill(&server, SIGKILL);
	kit_sleep(&k, 20);
	server_begin(&server, NULL);
	kit_turn(&k); /* every one is answered */
	kit_wait_state(&k, true);
	for (size_t i = 0; i < LOAD; i++) {
		struct answer a = load_answers[i], *x;

		assert_true(a.status == STORE_OK || a.status == STORE_UNAVAILABLE);
		if (a.status != STORE_OK)
			continue;
		ok++;
		x = kit_get(&k, &load_requests[i].id, true);
		assert_int_equal(x->status, STORE_OK);
		assert_string_equal(x->items[0].task, "load");
	}
	assert_true(ok >= 100);
	kit_free(&k);
	server_free(&server);
}

/* Calls that were under way when the connection broke are repeated: the caller sees one answer, the store one handoff. */
static void cut_twenty_times(bool at_once)
{
	struct redis_server server;
	struct kit k = {.fsync_always = true};
	static struct answer a[64];
	static struct store_accept r[64];
	size_t n = 0;

	server_start(&server, NULL);
	kit_redis(&k, &server);
	accepted(&k, "first");
	if (at_once)
		kit_lease(&k, AGENT, 1, LONG_MS);
	k.lease_to = at_once ? AGENT : 0;
	for (int round = 0; round < 20; round++) {
		memset(a, 0, sizeof a);
		k.waiting = 64;
		for (size_t i = 0; i < 64; i++) {
			r[i] = kit_request(&k, "task");
			k.store->ops->accept(k.store, &r[i], kit_note, &a[i], i);
		}
		kit_sleep(&k, 0);
		server_say(&server, "CLIENT KILL TYPE normal");
		kit_turn(&k);
		for (size_t i = 0; i < 64; i++) {
			assert_int_equal(a[i].status, STORE_OK);
			assert_memory_equal(a[i].record.id.b, r[i].id.b, 16);
			assert_int_equal(a[i].leased, at_once); /* also when it is the repeat that says so */
			n++;
		}
		for (size_t i = 0; at_once && i < 64; i++)
			assert_int_equal(kit_finish(&k, &a[i].record, FINISH_COMPLETED, 0, "x")->status, STORE_OK);
	}
	assert_int_equal(kit_list(&k, 0, STATE_UNSPECIFIED, 0, 1, false)->items[0].record.position, n + 1); /* none twice */
	kit_free(&k);
	server_free(&server);
}

static void connection_cut(void **state)
{
	cut_twenty_times(false);
}

static void connection_cut_at_once(void **state)
{
	cut_twenty_times(true);
}

/* ---- another incarnation ---- */

static void emptied(void **state)
{
	struct redis_server server;
	struct kit k = {.fsync_always = true};
	struct store_accept old, fresh;
	struct store_record before, after;

	server_start(&server, NULL);
	kit_redis(&k, &server);
	accepted(&k, "first");
	assert_int_equal(k.incarnations, 1);
	old = kit_request(&k, "old");
	old.issued_at_ms = kit_now();
	assert_int_equal(kit_accept(&k, &(struct store_accept){.slot = k.slot, .id = {.b = {1}}, .state = STATE_QUEUED,
		.issued_at_ms = kit_now() + 100, .task = SLICE_LIT("x")})->status, STORE_OK);
	before = kit_lease(&k, AGENT, 1, LONG_MS)->items[0].record;
	kit_sleep(&k, 5);
	server_say(&server, "FLUSHALL");
	assert_int_equal(kit_accept(&k, &old)->status, STORE_STALE);
	assert_int_equal(k.incarnations, 2);
	assert_int_equal(k.lost, 2);
	fresh = kit_request(&k, "fresh");
	assert_int_equal(kit_accept(&k, &fresh)->status, STORE_OK);
	after = kit_lease(&k, AGENT, 1, LONG_MS)->items[0].record;
	assert_true(after.fence > before.fence); /* no fence twice, also when all is lost */
	assert_int_equal(kit_finish(&k, &before, FINISH_COMPLETED, 0, "x")->status, STORE_NOT_FOUND);
	server_say(&server, "DEL {acme/refunds}:s"); /* by hand, m left alone */
	assert_int_equal(kit_accept(&k, &old)->status, STORE_STALE);
	assert_int_equal(k.incarnations, 3);
	kit_free(&k);
	server_free(&server);
}

static void restarted(void **state)
{
	struct redis_server server;
	struct kit k = {.fsync_always = true, .keep_state = true};
	struct store_record w;
	struct store_accept old;

	server_start(&server, NULL);
	kit_redis(&k, &server);
	w = accepted(&k, "kept");
	old = kit_request(&k, "never sent");
	old.issued_at_ms = kit_now();
	kit_close(&k);
	server_kill(&server, SIGTERM);
	server_begin(&server, NULL);
	server_wait(&server);
	k.incarnations = 0;
	kit_redis(&k, &server);
	assert_int_equal(kit_tick(&k)->status, STORE_OK);
	assert_int_equal(k.incarnations, 1); /* the floor moves soon after Redis came back, whenever the next envelope comes */
	assert_int_equal(kit_accept(&k, &old)->status, STORE_STALE);
	assert_int_equal(k.incarnations, 1);
	assert_int_equal(k.lost, 0); /* remembered in the state folder, and found */
	assert_int_equal(kit_get(&k, &w.id, true)->status, STORE_OK);
	assert_memory_equal(kit_lease(&k, AGENT, 5, LONG_MS)->items[0].record.id.b, w.id.b, 16);
	/* An old backup: the end is missing. */
	accepted(&k, "a");
	accepted(&k, "b");
	kit_close(&k);
	server_say(&server, "HINCRBY {acme/refunds}:m seq -2");
	server_say(&server, "HSET {acme/refunds}:m inc another");
	kit_redis(&k, &server);
	kit_accept(&k, &old);
	assert_int_equal(k.lost, 2);
	kit_free(&k);
	server_free(&server);
}

/* ---- unfit servers ---- */

static void refused(const char *const *extra, bool always, const char *why, const char *fix)
{
	struct redis_server server;
	struct kit k = {.fsync_always = always};
	struct store_accept r;

	server_start(&server, extra);
	kit_redis_begin(&k, &server);
	kit_wait_state(&k, false);
	if (!strstr(k.why, why))
		fail_msg("expected \"%s\", got \"%s\"", why, k.why);
	assert_true(k.remedy[0] != '\0');
	assert_false(k.store->ops->available(k.store));
	r = kit_request(&k, "task");
	assert_int_equal(kit_accept(&k, &r)->status, STORE_UNAVAILABLE);
	server_say(&server, fix); /* the remedy helps, without a restart of ours */
	kit_wait_state(&k, true);
	r = kit_request(&k, "task"); /* stamped now: the slot's floor may be later than the first */
	assert_int_equal(kit_accept(&k, &r)->status, STORE_OK);
	kit_free(&k);
	server_free(&server);
}

static void evicting_refused(void **state)
{
	refused((const char *const[]){"--maxmemory-policy", "allkeys-lru", NULL}, true, "noeviction",
		"CONFIG SET maxmemory-policy noeviction");
}

static void everysec_refused(void **state)
{
	refused((const char *const[]){"--appendfsync", "everysec", NULL}, true, "appendfsync", "CONFIG SET appendfsync always");
}

static void no_fsync_refused(void **state)
{
	refused((const char *const[]){"--appendfsync", "no", NULL}, false, "appendfsync", "CONFIG SET appendfsync everysec");
}

static void no_aof_refused(void **state)
{
	refused((const char *const[]){"--appendonly", "no", NULL}, true, "appendonly", "CONFIG SET appendonly yes");
}

static void truncated_refused(void **state)
{
	refused((const char *const[]){"--aof-load-truncated", "yes", NULL}, true, "aof-load-truncated",
		"CONFIG SET aof-load-truncated no");
}

static void replica_refused(void **state)
{
	refused((const char *const[]){"--replicaof", "127.0.0.1 1", NULL}, true, "primary", "REPLICAOF NO ONE");
}

static void config_forbidden(void **state)
{
	struct redis_server server;
	struct kit k = {.fsync_always = true};

	server_start(&server, NULL);
	server_say(&server, "ACL SETUSER default -config");
	kit_redis_begin(&k, &server);
	kit_wait_state(&k, false);
	assert_non_null(strstr(k.why, "NOPERM"));
	assert_true(strstr(k.why, "config|get") && strstr(k.remedy, "docs/redis.md"));
	kit_free(&k);
	server_free(&server);
}

static void library_mismatch(void **state)
{
	static const char other[] = "#!lua name=baton2\nredis.register_function('baton2_accept', function() return 'K' end)";
	const char *load[] = {"FUNCTION", "LOAD", other};
	struct redis_server server;
	struct kit k = {.fsync_always = true};

	server_start(&server, NULL);
	server_command(&server, NULL, 0, 3, load, NULL);
	kit_redis_begin(&k, &server);
	kit_wait_state(&k, false);
	assert_non_null(strstr(k.why, "another library"));
	server_say(&server, "FUNCTION DELETE baton2");
	kit_wait_state(&k, true);
	kit_close(&k);
	kit_redis(&k, &server); /* ours is there already: taken */
	accepted(&k, "task");
	server_say(&server, "FUNCTION FLUSH"); /* by hand: found out, loaded again */
	kit_accept(&k, &(struct store_accept){.slot = k.slot, .state = STATE_QUEUED, .task = SLICE_LIT("x")});
	k.states_ok = 0;
	kit_wait_state(&k, true);
	accepted(&k, "task");
	kit_free(&k);
	server_free(&server);
}

static void wrong_password(void **state)
{
	struct redis_server server;
	struct kit k = {.fsync_always = true};
	char words[128];

	server_start(&server, NULL);
	snprintf(words, sizeof words, "CONFIG SET requirepass %s", "open-sesame");
	server_say(&server, words);
	kit_redis_begin(&k, &server);
	kit_wait_state(&k, false);
	assert_non_null(strstr(k.why, "NOAUTH"));
	assert_non_null(strstr(k.remedy, "password_file"));
	kit_free(&k);
	server_free(&server);
}

/* ---- a password that somebody else has ---- */

#define ASKED_MAX 16

static struct {
	secret_came *came[ASKED_MAX];
	void *of[ASKED_MAX];
	size_t n, open;
} asked;

static uint64_t note_ask(void *arg, const struct secret_wanted *what, secret_came *came, void *of)
{
	(void)arg;
	assert_string_equal(what->file, "/nowhere/password");
	assert_true(asked.n < ASKED_MAX);
	asked.came[asked.n] = came;
	asked.of[asked.n++] = of;
	asked.open++;
	return asked.n;
}

static void note_cancel(void *arg, uint64_t id)
{
	(void)arg;
	assert_non_null(asked.came[id - 1]);
	asked.came[id - 1] = NULL;
	asked.open--;
}

static void answer_asks(struct kit *k, size_t at_least, enum secret_result result, const char *secret, const char *why)
{
	for (int i = 0; i < 5000 && asked.open < at_least; i++)
		kit_sleep(k, 1);
	assert_true(asked.open >= at_least);
	for (size_t i = 0; i < asked.n; i++) {
		secret_came *came = asked.came[i];

		asked.came[i] = NULL;
		asked.open -= came != NULL;
		if (came)
			came(asked.of[i], result, slice_str(secret), why);
	}
	if (!asked.open)
		asked.n = 0;
}

static void a_password_is_asked_for_at_each_connect(void **state)
{
	const struct secret_source source = {note_ask, note_cancel, NULL};
	struct redis_server server;
	struct kit k = {.fsync_always = true, .password_file = "/nowhere/password", .secrets = &source};

	memset(&asked, 0, sizeof asked);
	server_start(&server, NULL);
	server_say(&server, "CONFIG SET requirepass open-sesame");
	kit_redis_begin(&k, &server);
	kit_sleep(&k, 300);
	assert_true(k.states_ok == 0 && k.states_bad == 0 && asked.open == 2); /* the connection, and the one that listens, wait */
	answer_asks(&k, 2, SECRET_REFUSED, "", "it is nobody's business");
	kit_wait_state(&k, false);
	assert_string_equal(k.why, "it is nobody's business");
	assert_non_null(strstr(k.remedy, "password_file"));
	answer_asks(&k, 2, SECRET_HERE, "close-sesame", "");
	k.states_bad = 0;
	kit_wait_state(&k, false);
	assert_non_null(strstr(k.why, "WRONGPASS"));
	answer_asks(&k, 2, SECRET_HERE, "open-sesame", "");
	kit_wait_state(&k, true);
	accepted(&k, "task");
	server_kill(&server, SIGKILL);
	kit_wait_state(&k, false);
	server_begin(&server, (const char *const[]){"--requirepass", "open-sesame", NULL});
	answer_asks(&k, 2, SECRET_LATER, "", "not now");
	for (int i = 0; i < 5000 && asked.open < 2; i++)
		kit_sleep(&k, 1);
	kit_close(&k); /* while it waits */
	assert_int_equal(asked.open, 0);
	kit_free(&k);
	server_free(&server);
}

/* ---- memory ---- */

static void memory_full(void **state)
{
	struct redis_server server;
	struct kit k = {.fsync_always = true};
	struct store_record a, b;
	struct store_accept r;
	char used[32], words[64];
	const char *info[] = {"INFO", "memory"};
	char text[8192];

	server_start(&server, NULL);
	kit_redis(&k, &server);
	accepted(&k, "one");
	accepted(&k, "two");
	a = kit_lease(&k, AGENT, 1, LONG_MS)->items[0].record;
	server_command(&server, text, sizeof text, 2, info, NULL);
	assert_true(slice_copy_str(info_field(slice_str(text), "used_memory"), used, sizeof used));
	snprintf(words, sizeof words, "CONFIG SET maxmemory %lld", atoll(used) / 2);
	server_say(&server, words); /* far over the limit: also MSET is refused now */
	r = kit_request(&k, "three");
	assert_int_equal(kit_accept(&k, &r)->status, STORE_QUOTA);
	assert_int_equal(kit_event(&k, &a, STATE_WORKING, 100, "on it")->status, STORE_OK);
	assert_int_equal(kit_finish(&k, &a, FINISH_COMPLETED, 0, "done all the same")->status, STORE_OK);
	assert_string_equal(kit_get(&k, &a.id, true)->items[0].outcome, "done all the same");
	b = kit_lease(&k, AGENT, 1, LONG_MS)->items[0].record;
	assert_int_equal(kit_cancel(&k, &b.id, "no more")->status, STORE_OK);
	assert_string_equal(kit_get(&k, &b.id, true)->items[0].outcome, "no more");
	snprintf(words, sizeof words, "CONFIG SET maxmemory %lld", atoll(used) * 10 / 9); /* above 80 %, below full */
	server_say(&server, words);
	kit_sleep(&k, 1500);
	r = kit_request(&k, "four");
	assert_int_equal(kit_accept(&k, &r)->status, STORE_QUOTA);
	server_say(&server, "CONFIG SET maxmemory 0");
	kit_sleep(&k, 1500);
	assert_int_equal(kit_accept(&k, &r)->status, STORE_OK);
	kit_free(&k);
	server_free(&server);
}

/* The library is there: a full memory does not keep it from being used again. */
static void full_reconnect(void **state)
{
	struct redis_server server;
	struct kit k = {.fsync_always = true};
	struct store_record a;

	server_start(&server, NULL);
	kit_redis(&k, &server);
	accepted(&k, "one");
	a = kit_lease(&k, AGENT, 1, LONG_MS)->items[0].record;
	server_say(&server, "CONFIG SET maxmemory 1");
	k.states_ok = 0;
	server_say(&server, "CLIENT KILL TYPE normal");
	kit_wait_state(&k, true);
	assert_int_equal(kit_finish(&k, &a, FINISH_COMPLETED, 0, "done")->status, STORE_OK);
	kit_free(&k);
	server_free(&server);
}

static void full_at_first(void **state)
{
	struct redis_server server;
	struct kit k = {.fsync_always = true};

	server_start(&server, (const char *const[]){"--maxmemory", "1", NULL});
	kit_redis_begin(&k, &server);
	kit_wait_state(&k, false);
	assert_non_null(strstr(k.why, "OOM"));
	assert_non_null(strstr(k.remedy, "maxmemory"));
	server_say(&server, "CONFIG SET maxmemory 0");
	kit_wait_state(&k, true);
	kit_free(&k);
	server_free(&server);
}

/* It was sent, and nobody knows with what outcome: full memory at the repeat does not say that it was refused. */
static void full_at_repeat(void **state)
{
	struct redis_server server;
	struct kit k = {.fsync_always = true};
	struct answer late = {0};
	struct store_accept r;

	server_start(&server, NULL);
	kit_redis(&k, &server);
	accepted(&k, "first");
	server_say(&server, "CLIENT PAUSE 60000 WRITE");
	r = kit_request(&k, "late");
	k.waiting = 1;
	k.store->ops->accept(k.store, &r, kit_note, &late, 1);
	kit_sleep(&k, 50);
	server_say(&server, "CONFIG SET maxmemory 1");
	server_say(&server, "CLIENT KILL TYPE normal");
	server_say(&server, "CLIENT UNPAUSE");
	kit_turn(&k);
	assert_int_equal(late.status, STORE_UNAVAILABLE);
	kit_free(&k);
	server_free(&server);
}

/* The first time they were accepted; an error at the repeat must not take their tasks away. The answer of many is longer than what
 * the server may keep for a client, so it closes the connection instead. */
static void error_at_repeat(void **state)
{
	const char *limit[] = {"CONFIG", "SET", "client-output-buffer-limit", "normal 1 0 0"};
	struct redis_server server;
	struct kit k = {.fsync_always = true};
	static struct answer a[200];
	struct store_accept r;

	server_start(&server, NULL);
	kit_redis(&k, &server);
	accepted(&k, "first");
	server_command(&server, NULL, 0, 4, limit, NULL);
	memset(a, 0, sizeof a);
	k.waiting = 200;
	for (size_t i = 0; i < 200; i++) {
		r = kit_request(&k, "late");
		k.store->ops->accept(k.store, &r, kit_note, &a[i], i);
	}
	kit_sleep(&k, 0);
	for (int i = 0; i < 2000 && server_say(&server, "HLEN {acme/refunds}:s") < 202; i++)
		usleep(1000);
	limit[3] = "normal 0 0 0";
	server_command(&server, NULL, 0, 4, limit, NULL);
	server_say(&server, "RENAME {acme/refunds}:s {acme/refunds}:away");
	server_say(&server, "SET {acme/refunds}:s x");
	kit_turn(&k);
	for (size_t i = 0; i < 200; i++)
		assert_int_equal(a[i].status, STORE_UNAVAILABLE);
	server_say(&server, "RENAME {acme/refunds}:away {acme/refunds}:s");
	assert_string_equal(kit_get(&k, &r.id, true)->items[0].task, "late");
	kit_free(&k);
	server_free(&server);
}

/* ---- between workers and nodes ---- */

static void wake_up(void **state)
{
	struct redis_server server;
	struct kit a = {.fsync_always = true};
	const char *argv[] = {"PUBLISH", "baton:wake:node-1", "{acme/refunds}:m"};

	server_start(&server, NULL);
	kit_redis(&a, &server);
	assert_int_equal(kit_lease(&a, AGENT, 1, LONG_MS)->n_items, 0); /* finds nothing: arms */
	assert_int_equal(server_say(&server, "HSTRLEN {acme/refunds}:m arm"), 6);
	accepted(&a, "task"); /* disarms; one's own node is not told */
	assert_int_equal(server_say(&server, "HEXISTS {acme/refunds}:m arm"), 0);
	assert_int_equal(a.wakes, 0);
	for (int i = 0; i < 1000 && !a.wakes; i++) { /* the listener may still be connecting */
		server_command(&server, NULL, 0, 3, argv, NULL);
		kit_sleep(&a, 5);
	}
	assert_true(a.wakes > 0);
	assert_string_equal(a.woken, "acme/refunds");
	kit_lease(&a, AGENT, 10, LONG_MS);
	a.wakes = 0;
	server_say(&server, "HSET {acme/refunds}:m arm node-1");
	server_say(&server, "PUBLISH baton:wake:node-1 garbage");
	server_say(&server, "PUBLISH baton:wake:node-1 {a/b}:mm");
	kit_sleep(&a, 20);
	assert_int_equal(a.wakes, 0);
	kit_free(&a);
	server_free(&server);
}

static struct seal_keys *keys_of(struct kit *k, const char *text)
{
	struct problem why = {""};
	char path[96];
	FILE *f;

	if (!k->dir[0])
		kit_folder(k->dir);
	snprintf(path, sizeof path, "%s/own.keys", k->dir);
	f = fopen(path, "w");
	assert_non_null(f);
	assert_int_equal(fchmod(fileno(f), 0600), 0);
	assert_true(fputs(text, f) >= 0);
	assert_int_equal(fclose(f), 0);
	return seal_keys_load(path, &why);
}

#define KEY_A "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"
#define KEY_B "AQECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"

/* Joins with these keys: whether it may. */
static bool joins(struct redis_server *server, const char *keys)
{
	struct kit k = {.fsync_always = true};
	bool ok;

	k.keys = keys_of(&k, keys);
	assert_non_null(k.keys);
	kit_redis_begin(&k, server);
	while (!k.states_ok && !k.states_bad)
		kit_sleep(&k, 5);
	ok = k.states_ok > 0;
	if (!ok) {
		assert_non_null(strstr(k.why, "sealed with a key"));
		assert_non_null(strstr(k.remedy, "key file"));
		assert_false(k.store->ops->available(k.store));
		assert_null(strstr(k.why, KEY_A));
	}
	kit_free(&k);
	return ok;
}

static void nodes_share_their_keys(void **state)
{
	struct redis_server server;
	struct kit a = {.fsync_always = true};
	struct store_record r;

	server_start(&server, NULL);
	a.keys = keys_of(&a, "k1 " KEY_A "\n");
	kit_redis(&a, &server);
	r = accepted(&a, "task");
	assert_false(joins(&server, "k1 " KEY_B "\n")); /* another key of the same id */
	assert_false(joins(&server, "k2 " KEY_B "\n"));
	assert_true(joins(&server, "k1 " KEY_A "\n"));
	assert_true(joins(&server, "k1 " KEY_A "\nk2 " KEY_B "\n")); /* a rotation: below, then on top, then alone */
	assert_true(joins(&server, "k2 " KEY_B "\nk1 " KEY_A "\n"));
	assert_false(joins(&server, "k1 " KEY_A "\n"));
	assert_true(joins(&server, "k2 " KEY_B "\n"));
	assert_int_equal(server_say(&server, "STRLEN {/}:seal"), 22);
	assert_string_equal(kit_get(&a, &r.id, true)->items[0].task, "task");
	server_say(&server, "FLUSHALL");
	assert_true(joins(&server, "k3 " KEY_A "\n")); /* nothing is kept there that it could not open */
	kit_free(&a);
	server_free(&server);
}

static bool joined_says_twice(struct redis_server *server, const char *node, const char *run)
{
	const char *argv[] = {"FCALL", "baton2_join", "2", "{/}:seal", node, run, "print"};

	return server_command(server, NULL, 0, 7, argv, NULL) == JOINED_NAME_TWICE;
}

static void two_of_one_name(void **state)
{
	struct redis_server server;
	struct kit a = {.fsync_always = true};

	server_start(&server, NULL);
	kit_redis(&a, &server); /* node-1, and its listener is there when somebody hears it */
	while (!server_say(&server, "PUBLISH baton:wake:node-1 x"))
		kit_sleep(&a, 5);
	server_say(&server, "DEL {/}:seal");
	assert_false(joined_says_twice(&server, "{/}:node:node-2", "other"));
	assert_false(joined_says_twice(&server, "{/}:node:node-1", "node-1")); /* itself, on another connection */
	assert_true(joined_says_twice(&server, "{/}:node:node-1", "other"));
	kit_free(&a);
	server_say(&server, "SET {/}:node:node-1 node-1");
	while (server_say(&server, "PUBLISH baton:wake:node-1 x"))
		usleep(5000);
	assert_false(joined_says_twice(&server, "{/}:node:node-1", "other")); /* that one is gone */
	server_free(&server);
}

static void many_at_once(void **state)
{
	struct redis_server server;
	struct kit k = {.fsync_always = true};
	static struct answer a[1000];
	size_t leased = 0;

	server_start(&server, NULL);
	kit_redis(&k, &server);
	accepted(&k, "first");
	memset(a, 0, sizeof a);
	k.waiting = 1000;
	for (size_t i = 0; i < 1000; i++) {
		struct store_accept r = kit_request(&k, "bulk");

		k.store->ops->accept(k.store, &r, kit_note, &a[i], i);
	}
	kit_turn(&k);
	for (size_t i = 0; i < 1000; i++)
		assert_int_equal(a[i].status, STORE_OK);
	assert_int_equal(k.store->ops->waiting(k.store, k.slot), 1001);
	for (;;) {
		struct answer *x = kit_lease(&k, AGENT, 60, LONG_MS);

		if (!x->n_items)
			break;
		leased += x->n_items;
	}
	assert_int_equal(leased, 1001);
	kit_free(&k);
	server_free(&server);
}

static void over_pending(void **state)
{
	struct redis_server server;
	struct kit k = {.fsync_always = true};
	static struct answer a[5000];
	size_t ok = 0, refused_n = 0;

	server_start(&server, NULL);
	kit_redis(&k, &server);
	accepted(&k, "first");
	memset(a, 0, sizeof a);
	k.waiting = 5000; /* the cap is 4096 */
	for (size_t i = 0; i < 5000; i++) {
		struct store_accept r = kit_request(&k, "bulk");

		k.store->ops->accept(k.store, &r, kit_note, &a[i], i);
	}
	kit_turn(&k);
	for (size_t i = 0; i < 5000; i++) {
		ok += a[i].status == STORE_OK;
		refused_n += a[i].status == STORE_UNAVAILABLE;
	}
	assert_int_equal(ok, 4096);
	assert_int_equal(refused_n, 904);
	kit_free(&k);
	server_free(&server);
}

/* Freed with answers outstanding: each comes, as unavailable. */
static void freed_early(void **state)
{
	struct redis_server server;
	struct kit k = {.fsync_always = true};
	static struct answer a[300];

	server_start(&server, NULL);
	kit_redis(&k, &server);
	accepted(&k, "first");
	memset(a, 0, sizeof a);
	k.waiting = 300;
	for (size_t i = 0; i < 300; i++) {
		struct store_accept r = kit_request(&k, "x");

		k.store->ops->accept(k.store, &r, kit_note, &a[i], i);
		if (i == 150)
			k.store->ops->flush(k.store); /* half of them are under way */
	}
	kit_close(&k);
	for (size_t i = 0; i < 300; i++)
		assert_int_equal(a[i].status, STORE_UNAVAILABLE);
	kit_free(&k);
	server_free(&server);
}

/* What a hanging server holds up is answered in time. */
static void hanging(void **state)
{
	struct redis_server server;
	struct kit k = {.fsync_always = true};
	struct store_accept r;
	int64_t began;

	server_start(&server, NULL);
	kit_redis(&k, &server);
	accepted(&k, "first");
	kill(server.pid, SIGSTOP);
	r = kit_request(&k, "task");
	began = clock_mono_ms();
	assert_int_equal(kit_accept(&k, &r)->status, STORE_UNAVAILABLE);
	assert_true(clock_mono_ms() - began >= 7000); /* its time-out, not at once */
	assert_false(k.store->ops->available(k.store));
	kill(server.pid, SIGCONT);
	k.states_ok = 0;
	kit_wait_state(&k, true);
	kit_free(&k);
	server_free(&server);
}

/* ---- the private server ---- */

static void append(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_APPEND);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	close(fd);
}

/* As batond starts it: confined. */
static struct redis_private *private_up(const char *dir, struct problem *why)
{
	const struct redis_private_config c = {.dir = dir, .fsync_always = true, .seccomp = true, .landlock = true};
	struct redis_private *p = redis_private_new(&c, why);

	if (!p || redis_private_start(p, why) == 0)
		return p;
	redis_private_stop(p);
	return NULL;
}

static struct redis_private *private_start(const char *dir, struct redis_server *s)
{
	struct problem why = {""};
	struct redis_private *p = private_up(dir, &why);

	if (!p)
		fail_msg("%s", why.text);
	*s = (struct redis_server){0};
	snprintf(s->url, sizeof s->url, "%s", redis_private_url(p));
	snprintf(s->socket, sizeof s->socket, "%s", redis_private_url(p) + 7);
	server_wait(s);
	return p;
}

static void private_server(void **state)
{
	char base[64], dir[96];
	struct redis_server s;
	struct redis_private *p;
	struct kit k = {.fsync_always = true};
	struct problem why = {""};
	struct store_record r;
	struct stat st;
	int pid;

	kit_folder(base);
	snprintf(dir, sizeof dir, "%s/redis", base);
	p = private_start(dir, &s);
	assert_int_equal(stat(dir, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0700);
	assert_int_equal(stat(s.socket, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0700);
	kit_redis(&k, &s); /* it passes every check of a fit server */
	r = accepted(&k, "kept");
	pid = redis_private_pid(p);
	assert_true(pid > 0);
	k.states_ok = 0;
	kill(pid, SIGKILL);
	kit_wait_state(&k, true); /* started again, connected again */
	assert_true(redis_private_pid(p) != pid);
	assert_int_equal(kit_get(&k, &r.id, true)->status, STORE_OK);
	assert_null(private_up("relative", &why));
	assert_null(private_up("/tmp/with\"quote", &why));
	kit_free(&k);
	pid = redis_private_pid(p);
	redis_private_stop(p);
	assert_int_equal(kill(pid, 0), -1); /* gone */
	kit_remove(base);
}

/* The end of the file is torn in the middle of a MULTI; work goes on; after the next start nothing that was acknowledged, before or
 * after, is missing. */
static void torn_tail(void **state)
{
	static const char torn[] = "*1\r\n$5\r\nMULTI\r\n*3\r\n$3\r\nSET\r\n$1\r\na\r\n$1\r\nb\r\n*3\r\n$3\r\nSE";
	char base[64], dir[96], aof[192];
	struct redis_server s;
	struct redis_private *p;
	struct kit k = {.fsync_always = true};
	struct store_record one, two;

	kit_folder(base);
	snprintf(dir, sizeof dir, "%s/redis", base);
	snprintf(aof, sizeof aof, "%s/appendonlydir/appendonly.aof.1.incr.aof", dir);
	p = private_start(dir, &s);
	kit_redis(&k, &s);
	one = accepted(&k, "before");
	kit_close(&k);
	redis_private_stop(p);
	append(aof, torn);
	p = private_start(dir, &s);
	kit_redis(&k, &s);
	assert_int_equal(kit_get(&k, &one.id, true)->status, STORE_OK);
	two = accepted(&k, "after");
	kit_close(&k);
	redis_private_stop(p);
	p = private_start(dir, &s);
	kit_redis(&k, &s);
	assert_string_equal(kit_get(&k, &one.id, true)->items[0].task, "before");
	assert_string_equal(kit_get(&k, &two.id, true)->items[0].task, "after");
	assert_int_equal(kit_lease(&k, AGENT, 10, LONG_MS)->n_items, 2);
	assert_int_equal(server_say(&s, "EXISTS a"), 0);
	kit_free(&k);
	redis_private_stop(p);
	kit_remove(base);
}

/* Damage that no cutting repairs keeps the server from starting: better no work than wrong work. */
static void damaged_middle(void **state)
{
	char base[64], dir[96], aof[192];
	struct redis_server s;
	struct redis_private *p;
	struct problem why = {""};
	int fd;

	kit_folder(base);
	snprintf(dir, sizeof dir, "%s/redis", base);
	snprintf(aof, sizeof aof, "%s/appendonlydir/appendonly.aof.1.base.rdb", dir);
	p = private_start(dir, &s);
	redis_private_stop(p);
	fd = open(aof, O_WRONLY);
	assert_true(fd >= 0);
	assert_int_equal(pwrite(fd, "garbage!", 8, 0), 8);
	close(fd);
	assert_null(private_up(dir, &why));
	assert_true(why.text[0] != '\0');
	kit_remove(base);
}

static void private_missing(void **state)
{
	char *path = strdup(getenv("PATH"));
	struct problem why = {""};
	char base[64];

	kit_folder(base);
	setenv("PATH", base, 1);
	assert_null(private_up(base, &why));
	setenv("PATH", path, 1);
	assert_non_null(strstr(why.text, "apt-get install redis-server"));
	free(path);
	kit_remove(base);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(killed_under_load),
		cmocka_unit_test(connection_cut), cmocka_unit_test(connection_cut_at_once),
		cmocka_unit_test(emptied),
		cmocka_unit_test(restarted),
		cmocka_unit_test(evicting_refused),
		cmocka_unit_test(everysec_refused),
		cmocka_unit_test(no_fsync_refused),
		cmocka_unit_test(no_aof_refused),
		cmocka_unit_test(truncated_refused),
		cmocka_unit_test(replica_refused),
		cmocka_unit_test(config_forbidden),
		cmocka_unit_test(library_mismatch),
		cmocka_unit_test(wrong_password), cmocka_unit_test(a_password_is_asked_for_at_each_connect),
		cmocka_unit_test(memory_full),
		cmocka_unit_test(full_reconnect),
		cmocka_unit_test(full_at_first),
		cmocka_unit_test(full_at_repeat),
		cmocka_unit_test(error_at_repeat),
		cmocka_unit_test(wake_up),
		cmocka_unit_test(nodes_share_their_keys),
		cmocka_unit_test(two_of_one_name),
		cmocka_unit_test(many_at_once),
		cmocka_unit_test(over_pending),
		cmocka_unit_test(freed_early),
		cmocka_unit_test(hanging),
		cmocka_unit_test(private_server),
		cmocka_unit_test(torn_tail),
		cmocka_unit_test(damaged_middle),
		cmocka_unit_test(private_missing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
