/* What do all nodes share, whichever backend keeps it? Resources have versions that nobody skips, changes that are whole or not at all, and one order
 * in which every node hears of them. What Redis says in their place does not open. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store_kit.h"

#define ALL 256

/* Each scenario has names of its own, after its route. */
static const char *named(const struct kit *k, const char *name)
{
	static char names[16][64];
	static unsigned turn;
	char *out = names[turn++ % 16];

	snprintf(out, sizeof names[0], "agent/%s/%s", k->slot.route, name);
	return out;
}

static struct store_change to(struct kit *k, const char *name, uint64_t version, const char *value)
{
	return (struct store_change){.name = slice_str(named(k, name)), .version = version, .removed = !value, .value = slice_str(value ? value : "gone")};
}

static uint64_t changed(struct kit *k, const char *name, uint64_t version, const char *value)
{
	struct store_change c = to(k, name, version, value);
	struct answer *a = kit_change(k, &c, 1);

	assert_int_equal(a->status, STORE_OK);
	return a->generation;
}

static void assert_conflict(struct kit *k, const struct store_change *v, size_t n, uint32_t at, uint64_t version)
{
	struct answer *a = kit_change(k, v, n);

	assert_int_equal(a->status, STORE_CONFLICT);
	assert_int_equal(a->at, at);
	assert_int_equal(a->version, version);
}

static struct answer *after(struct kit *k, uint64_t generation, uint32_t max)
{
	struct store_feed f = {.after = generation, .confirmed = generation, .report = SLICE_LIT("as told"), .max = max};
	struct answer *a = kit_feed(k, &f);

	assert_int_equal(a->status, STORE_OK);
	return a;
}

static uint64_t now(struct kit *k)
{
	return after(k, UINT64_C(1) << 47, 1)->generation;
}

static void assert_is(const struct kit *k, const struct kit_resource *r, const char *name, uint64_t version, const char *value)
{
	assert_string_equal(r->name, named(k, name));
	assert_int_equal(r->status, STORE_OK);
	assert_int_equal(r->version, version);
	assert_int_equal(r->removed, !value);
	assert_string_equal(r->value, value ? value : "gone");
}

/* ---- scenarios ---- */

static void life(struct kit *k)
{
	uint64_t before = now(k), first = changed(k, "a", 1, "one"), g;
	struct store_change again = to(k, "a", 1, "other"), skip = to(k, "a", 3, "three"), none = to(k, "b", 2, "two");
	struct answer *a;

	assert_true(first > before);
	a = after(k, before, ALL);
	assert_int_equal(a->n_resources, 1);
	assert_is(k, &a->resources[0], "a", 1, "one");
	assert_int_equal(a->resources[0].generation, first);
	assert_int_equal(a->generation, first);
	assert_int_equal(a->next, first);
	assert_false(a->more);
	assert_conflict(k, &again, 1, 0, 1);
	assert_conflict(k, &skip, 1, 0, 1);
	assert_conflict(k, &none, 1, 0, 0);
	g = changed(k, "a", 2, "two");
	assert_true(g > first);
	a = after(k, before, ALL); /* once, as it is now */
	assert_int_equal(a->n_resources, 1);
	assert_is(k, &a->resources[0], "a", 2, "two");
	changed(k, "a", 3, NULL);
	a = after(k, g, ALL);
	assert_int_equal(a->n_resources, 1);
	assert_is(k, &a->resources[0], "a", 3, NULL);
	assert_conflict(k, &again, 1, 0, 3); /* removed is not forgotten */
	changed(k, "a", 4, "back");
	assert_int_equal(after(k, now(k), ALL)->n_resources, 0);
}

static struct store_change forget(struct kit *k, const char *name, uint64_t version, int64_t after_ms)
{
	return (struct store_change){.name = slice_str(named(k, name)), .version = version, .forget_after_ms = after_ms};
}

static void what_is_forgotten_is_as_if_it_never_was(struct kit *k)
{
	struct store_change early = forget(k, "a", 3, kit_now() + 60000), other = forget(k, "a", 2, 1), due = forget(k, "a", 3, 1), none = forget(k, "b", 9, kit_now() + 60000), none_due = forget(k, "b", 9, 1);
	struct store_change both[] = {to(k, "c", 1, "three"), forget(k, "a", 3, kit_now() + 60000)}, odd = forget(k, "a", 3, 1);
	uint64_t before, g;

	changed(k, "a", 1, "one");
	changed(k, "a", 2, "two");
	before = now(k);
	assert_conflict(k, &early, 1, 0, 2);
	assert_conflict(k, &other, 1, 0, 2); /* it is another version than the one that was looked at */
	assert_conflict(k, both, 2, 1, 2);
	odd.value = SLICE_LIT("x");
	assert_int_equal(kit_change(k, &odd, 1)->status, STORE_UNAVAILABLE);
	assert_int_equal(now(k), before);
	assert_int_equal(kit_versions(k, named(k, "a"), 0, 10)->n_resources, 2);
	assert_conflict(k, &none, 1, 0, 0); /* who asks has one, and a clock that is ahead */
	assert_int_equal(kit_change(k, &none_due, 1)->status, STORE_OK);
	for (int i = 0; i < 2; i++) { /* by another node as well */
		assert_int_equal(kit_change(k, &due, 1)->status, STORE_OK);
		assert_int_equal(now(k), before);
		assert_int_equal(kit_versions(k, named(k, "a"), 0, 10)->status, STORE_NOT_FOUND);
	}
	g = changed(k, "c", 1, "three");
	assert_true(g == before + 1);
	assert_int_equal(after(k, before, ALL)->n_resources, 1);
	changed(k, "a", 1, "anew");
	assert_int_equal(kit_versions(k, named(k, "a"), 0, 10)->n_resources, 1);
	both[0] = to(k, "c", 2, "four");
	both[1] = forget(k, "a", 2, 1);
	assert_int_equal(kit_change(k, both, 2)->status, STORE_OK);
	assert_is(k, &after(k, now(k) - 1, ALL)->resources[0], "c", 2, "four");
	assert_int_equal(kit_versions(k, named(k, "a"), 0, 10)->status, STORE_NOT_FOUND);
}

static void all_or_none(struct kit *k)
{
	uint64_t before = now(k);
	struct store_change v[] = {to(k, "a", 1, "x"), to(k, "b", 1, "y"), to(k, "c", 2, "z")};
	struct answer *a;

	assert_conflict(k, v, 3, 2, 0);
	assert_int_equal(now(k), before);
	assert_int_equal(kit_versions(k, named(k, "a"), 0, 10)->status, STORE_NOT_FOUND);
	v[2].version = 1;
	assert_int_equal(kit_change(k, v, 3)->status, STORE_OK);
	a = after(k, before, ALL);
	assert_int_equal(a->n_resources, 3);
	assert_is(k, &a->resources[0], "a", 1, "x");
	assert_is(k, &a->resources[2], "c", 1, "z");
	assert_int_equal(a->resources[2].generation, before + 3);
}

static void pages(struct kit *k)
{
	uint64_t at = now(k);
	struct store_change v[5];
	char names[5][8];
	struct answer *a;

	for (int i = 0; i < 5; i++) {
		snprintf(names[i], sizeof names[i], "p%d", i);
		v[i] = to(k, names[i], 1, "v");
	}
	assert_int_equal(kit_change(k, v, 5)->status, STORE_OK);
	for (int seen = 0; seen < 5; at = a->next) {
		a = after(k, at, 2);
		assert_int_equal(a->n_resources, seen == 4 ? 1 : 2);
		assert_int_equal(a->more, seen < 4);
		for (size_t i = 0; i < a->n_resources; i++)
			assert_is(k, &a->resources[i], names[seen++], 1, "v");
	}
	assert_int_equal(at, now(k));
}

static void history(struct kit *k)
{
	char value[16];
	struct answer *a;

	for (int i = 1; i <= STORE_VERSIONS_KEPT + 6; i++) {
		snprintf(value, sizeof value, "v%d", i);
		changed(k, "h", (uint64_t)i, i == 3 ? NULL : value);
	}
	a = kit_versions(k, named(k, "h"), 0, 2);
	assert_int_equal(a->status, STORE_OK);
	assert_int_equal(a->n_resources, 2);
	assert_true(a->more);
	assert_is(k, &a->resources[0], "h", 70, "v70");
	assert_is(k, &a->resources[1], "h", 69, "v69");
	a = kit_versions(k, named(k, "h"), 8, 10);
	assert_int_equal(a->n_resources, 2); /* of those before the present one so many are kept */
	assert_false(a->more);
	assert_is(k, &a->resources[0], "h", 7, "v7");
	assert_is(k, &a->resources[1], "h", 6, "v6");
	assert_int_equal(kit_versions(k, named(k, "h"), 2, 10)->n_resources, 0);
	assert_int_equal(kit_versions(k, named(k, "never"), 0, 10)->status, STORE_NOT_FOUND);
	assert_int_equal(kit_versions(k, named(k, "never"), 5, 10)->status, STORE_NOT_FOUND);
}

/* Nothing of it is written. */
static void nonsense(struct kit *k)
{
	static uint8_t big[STORE_RESOURCE_VALUE_MAX + 1], name[STORE_RESOURCE_NAME_MAX + 1];
	struct store_change twice[] = {to(k, "a", 1, "x"), to(k, "a", 1, "y")}, many[STORE_CHANGES_MAX + 1], c = to(k, "a", 0, "x");
	char names[STORE_CHANGES_MAX + 1][64];
	uint64_t before = now(k);

	memset(name, 'n', sizeof name);
	assert_int_equal(kit_change(k, &c, 1)->status, STORE_UNAVAILABLE);
	assert_int_equal(kit_change(k, &c, 0)->status, STORE_UNAVAILABLE);
	assert_int_equal(kit_change(k, twice, 2)->status, STORE_UNAVAILABLE);
	c = (struct store_change){.name = slice_of("", 0), .version = 1};
	assert_int_equal(kit_change(k, &c, 1)->status, STORE_UNAVAILABLE);
	c.name = slice_of("a\0b", 3);
	assert_int_equal(kit_change(k, &c, 1)->status, STORE_UNAVAILABLE);
	c.name = slice_of(name, sizeof name);
	assert_int_equal(kit_change(k, &c, 1)->status, STORE_UNAVAILABLE);
	c = to(k, "big", 1, "");
	c.value = slice_of(big, sizeof big);
	assert_int_equal(kit_change(k, &c, 1)->status, STORE_UNAVAILABLE);
	for (int i = 0; i <= STORE_CHANGES_MAX; i++) {
		snprintf(names[i], sizeof names[i], "agent/%s/many%d", k->slot.route, i);
		many[i] = (struct store_change){.name = slice_str(names[i]), .version = 1, .value = slice_str("v")};
	}
	assert_int_equal(kit_change(k, many, STORE_CHANGES_MAX + 1)->status, STORE_UNAVAILABLE);
	assert_int_equal(now(k), before);
	/* and at the limits it is */
	c.value.n--;
	assert_int_equal(kit_change(k, &c, 1)->status, STORE_OK);
	c = (struct store_change){.name = slice_of(name, STORE_RESOURCE_NAME_MAX), .version = 1, .value = slice_of("\r\n\0{/}", 6)};
	assert_int_equal(kit_change(k, &c, 1)->status, STORE_OK);
	c.version = 2;
	assert_int_equal(kit_change(k, &c, 1)->status, STORE_OK);
	assert_int_equal(kit_change(k, many, STORE_CHANGES_MAX)->status, STORE_OK);
	assert_int_equal(now(k), before + STORE_CHANGES_MAX + 3);
}

static void values_of_any_size(struct kit *k)
{
	static uint8_t big[STORE_RESOURCE_VALUE_MAX];
	uint64_t at = now(k);
	struct store_change v[] = {to(k, "a", 1, ""), to(k, "b", 1, ""), to(k, "c", 1, "end")};
	size_t seen = 0;
	struct answer *a;

	memset(big, 0xa5, sizeof big);
	v[0].value = v[1].value = slice_of(big, sizeof big - 2);
	assert_int_equal(kit_change(k, v, 3)->status, STORE_OK);
	do { /* large ones come in as many answers as it takes */
		a = after(k, at, ALL);
		for (size_t i = 0; i < a->n_resources; i++, seen++) {
			assert_int_equal(a->resources[i].status, STORE_OK);
			assert_int_equal(a->resources[i].value_n, v[seen].value.n);
		}
		at = a->next;
	} while (a->more);
	assert_int_equal(seen, 3);
}

/* ---- Redis ---- */

static void open_kit(struct kit *k, const char *node)
{
	*k = (struct kit){.node = node, .slot = {"acme", node}};
	kit_redis(k, kit_server());
}

static void field(struct kit *k, const char *name, char *out, size_t size, size_t *n)
{
	const char *argv[] = {"HGET", "{/}:s", named(k, name)};

	*n = (size_t)server_command(k->server, out, size, 3, argv, NULL);
}

static void set_field(struct kit *k, const char *name, const char *value, size_t n)
{
	const char *argv[] = {"HSET", "{/}:s", named(k, name), value};
	const size_t len[] = {4, 5, strlen(named(k, name)), n};

	server_command(k->server, NULL, 0, 4, argv, len);
}

/* What is in Redis opens as what it was sealed as, and as nothing else. */
static void another_in_its_place(void **state)
{
	char a[256], b[256], old[256];
	struct kit k;
	size_t na, nb, n_old;
	uint64_t before;

	open_kit(&k, "spoil");
	before = now(&k);
	changed(&k, "a", 1, "old");
	field(&k, "a", old, sizeof old, &n_old);
	changed(&k, "a", 2, "one");
	changed(&k, "b", 1, "zwei");
	changed(&k, "b", 2, "two");
	field(&k, "a", a, sizeof a, &na);
	field(&k, "b", b, sizeof b, &nb);
	set_field(&k, "a", b, nb); /* another's, whose version it was too */
	assert_int_equal(after(&k, before, ALL)->resources[0].status, STORE_UNSEALABLE);
	memcpy(old, a, 6); /* its own, older one as the present */
	set_field(&k, "a", old, n_old);
	assert_int_equal(after(&k, before, ALL)->resources[0].status, STORE_UNSEALABLE);
	a[18] = 1; /* as if removed */
	set_field(&k, "a", a, na);
	assert_int_equal(after(&k, before, ALL)->resources[0].status, STORE_UNSEALABLE);
	a[18] = 0;
	a[na - 1] ^= 1; /* one bit */
	set_field(&k, "a", a, na);
	assert_int_equal(after(&k, before, ALL)->resources[0].status, STORE_UNSEALABLE);
	a[na - 1] ^= 1;
	set_field(&k, "a", a, na);
	assert_is(&k, &after(&k, before, ALL)->resources[0], "a", 2, "one");
	assert_null(memmem(a, na, "one", 3));
	kit_free(&k);
}

/* An answer that did not come: the same call again, and it is the same change. */
static void asked_again(void **state)
{
	const char *argv[] = {"FCALL", "baton2_change", "4", "{/}:m", "{/}:s", "{/}:z", "{/}:n", "twice", "\0\0\0\0\0\1\0", "sealed"};
	size_t len[] = {5, 13, 1, 5, 5, 5, 5, 5, 7, 6};
	char first[64], second[64];
	struct kit k;
	long long n;

	open_kit(&k, "again");
	n = server_command(k.server, first, sizeof first, 10, argv, len);
	assert_int_equal(server_command(k.server, second, sizeof second, 10, argv, len), n);
	assert_int_equal(first[29], STORE_OK);
	assert_memory_equal(first + 7, second + 7, (size_t)n - 7); /* all but the time: no other generation */
	argv[9] = "SEALED";
	server_command(k.server, second, sizeof second, 10, argv, len);
	assert_int_equal(second[29], STORE_CONFLICT);
	kit_free(&k);
}

/* A fail-over may have lost changes that somebody saw: what comes next is later than they were. */
static void another_incarnation(void **state)
{
	struct kit k;
	uint64_t seen, next;
	uint32_t incarnation;
	struct answer *a;

	open_kit(&k, "incarnation");
	changed(&k, "a", 1, "one");
	a = after(&k, 0, 1);
	incarnation = a->incarnation;
	seen = a->generation;
	server_say(k.server, "HINCRBY {/}:m g -1"); /* as if the last one were lost */
	server_say(k.server, "HSET {/}:m inc another");
	kit_sleep(&k, 20); /* the generation follows time from here */
	next = changed(&k, "b", 1, "two");
	assert_true(next > seen);
	a = after(&k, seen, ALL);
	assert_int_equal(a->incarnation, incarnation + 1);
	assert_int_equal(a->n_resources, 1);
	assert_is(&k, &a->resources[0], "b", 1, "two");
	assert_int_equal(after(&k, seen, ALL)->incarnation, incarnation + 1);
	kit_free(&k);
}

static const struct kit_node *other(const struct answer *a, const char *name)
{
	for (size_t i = 0; i < a->n_nodes; i++)
		if (strcmp(a->nodes[i].name, name) == 0)
			return &a->nodes[i];
	return NULL;
}

/* Nodes see what the others live by, and are woken by their changes; who leaves is waited for by nobody. */
static void nodes(void **state)
{
	struct store_feed leaving = {.leaving = true, .max = 1};
	const struct kit_node *n;
	struct kit one, two;
	uint64_t g;

	open_kit(&one, "one");
	open_kit(&two, "two");
	after(&two, 5, ALL);
	n = other(after(&one, 7, ALL), "two");
	assert_non_null(n);
	assert_int_equal(n->confirmed, 5);
	assert_in_range(n->silent_ms, 0, STORE_NODE_LEASE_MS - 1);
	assert_null(other(after(&one, 7, ALL), "one"));
	one.shared = two.shared = 0;
	g = changed(&one, "a", 1, "one");
	for (int i = 0; i < 200 && !two.shared; i++)
		kit_sleep(&two, 10);
	assert_int_equal(two.shared, 1);
	for (int i = 0; i < 200 && !one.shared; i++)
		kit_sleep(&one, 10);
	assert_int_equal(one.shared, 1);
	after(&two, g, ALL);
	n = other(after(&one, g, ALL), "two");
	assert_int_equal(n->confirmed, g);
	assert_string_equal(n->report, "as told");
	assert_int_equal(kit_feed(&two, &leaving)->status, STORE_OK);
	assert_null(other(after(&one, g, ALL), "two"));
	kit_free(&one);
	kit_free(&two);
}

static void set_now(char *value)
{
	for (int i = 0; i < 6; i++)
		value[i] = (char)((uint64_t)kit_now() >> (8 * (5 - i)));
}

/* A run that ended is forgotten when the next one of its name comes, once it has fenced itself: until then it is waited for. */
static void runs(void **state)
{
	const char *argv[] = {"HSET", "{/}:n", "older-run", NULL};
	const size_t len[] = {4, 5, 9, 16 + 4};
	char value[16 + 4 + 1] = "\0\0\0\0\0\1" "\0\0\0\0\0\2" "\0\2ab" "runs"; /* time, generation, what it tells, name */
	struct kit k;

	open_kit(&k, "runs");
	argv[3] = value; /* last heard of in 1970 */
	server_command(k.server, NULL, 0, 4, argv, len);
	assert_null(other(after(&k, 1, 1), "runs"));
	assert_int_equal(server_say(k.server, "HEXISTS {/}:n older-run"), 0);
	set_now(value);
	server_command(k.server, NULL, 0, 4, argv, len);
	assert_non_null(other(after(&k, 1, 1), "runs"));
	server_say(k.server, "HDEL {/}:n older-run");
	kit_free(&k);
}

/* Whoever writes to Redis may write anything there: what is no node's record is taken out, and a node tells no more than it may. */
static void stray(void **state)
{
	static const struct {
		const char *what, *tail;
		size_t n;
		bool node;
	} rows[] = {
		{"a node", "\0\2abstray", 9, true},
		{"tells nothing", "\0\0stray", 7, true},
		{"more than there is", "\0\177stray", 7, false},
		{"no name", "\0\2ab", 4, false},
		{"an escape in its name", "\0\0stray\33[2J", 11, false},
		{"a NUL in its name", "\0\0\0\0stray", 9, false},
		{"nothing", "", 0, false},
	};
	struct store_feed full = {.max = 1};
	static uint8_t much[STORE_REPORT_MAX + 1];
	const char *argv[] = {"HSET", "{/}:n", "stray-run", NULL};
	struct kit k, two;

	open_kit(&k, "nonsense");
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		char value[64] = "\0\0\0\0\0\0" "\0\0\0\0\0\2";
		const size_t len[] = {4, 5, 9, 12 + rows[i].n};

		set_now(value);
		memcpy(value + 12, rows[i].tail, rows[i].n);
		argv[3] = value;
		server_command(k.server, NULL, 0, 4, argv, len);
		if (!!other(after(&k, 1, 1), "stray") != rows[i].node || server_say(k.server, "HEXISTS {/}:n stray-run") != rows[i].node)
			fail_msg("%s", rows[i].what);
		server_say(k.server, "HDEL {/}:n stray-run");
	}
	open_kit(&two, "much");
	full.report = slice_of(much, sizeof much);
	assert_int_equal(kit_feed(&two, &full)->status, STORE_UNAVAILABLE);
	full.report.n--;
	assert_int_equal(kit_feed(&two, &full)->status, STORE_OK);
	assert_int_equal(other(after(&k, 1, 1), "much")->report_n, STORE_REPORT_MAX);
	kit_free(&two);
	kit_free(&k);
}

/* Containment goes on when memory is full. */
static void memory_is_full(void **state)
{
	struct kit k;

	open_kit(&k, "full");
	server_say(k.server, "CONFIG SET maxmemory 1");
	changed(&k, "a", 1, "one");
	assert_int_equal(after(&k, now(&k) - 1, ALL)->n_resources, 1);
	server_say(k.server, "CONFIG SET maxmemory 0");
	kit_free(&k);
}

/* A key of another type is found before anything is written. */
static void other_types(void **state)
{
	struct kit k;
	struct store_change c;
	char key[80];
	uint64_t before;

	open_kit(&k, "types");
	changed(&k, "a", 1, "one");
	before = now(&k);
	snprintf(key, sizeof key, "SET {/}:v:%s x", named(&k, "a"));
	server_say(k.server, key);
	c = to(&k, "a", 2, "two");
	assert_int_equal(kit_change(&k, &c, 1)->status, STORE_UNAVAILABLE);
	assert_int_equal(now(&k), before);
	snprintf(key, sizeof key, "DEL {/}:v:%s", named(&k, "a"));
	server_say(k.server, key);
	changed(&k, "a", 2, "two");
	kit_free(&k);
}

int main(void)
{
	static const struct kit_scenario scenarios[] = {
		{"life", life}, {"forgotten", what_is_forgotten_is_as_if_it_never_was}, {"all_or_none", all_or_none}, {"pages", pages}, {"history", history}, {"nonsense", nonsense},
		{"values_of_any_size", values_of_any_size},
	};
	const struct CMUnitTest own[] = {
		cmocka_unit_test(another_in_its_place), cmocka_unit_test(asked_again), cmocka_unit_test(another_incarnation), cmocka_unit_test(nodes), cmocka_unit_test(stray),
		cmocka_unit_test(runs), cmocka_unit_test(memory_is_full), cmocka_unit_test(other_types),
	};

	return kit_run("store shared", scenarios, sizeof scenarios / sizeof scenarios[0], own, sizeof own / sizeof own[0]);
}
