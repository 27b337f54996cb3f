/* Are the lines of the audit's files found, each once, wherever a piece that is read begins or ends, and is nothing found that is none? */
#include "config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "observe/audit_search.h"

#define LINE(seq, tenant, more) "{\"at\":\"2026-11-24T00:25:01.123Z\",\"node\":\"n\",\"seq\":" #seq ",\"event\":\"decision\",\"tenant\":\"" tenant "\"" more "}"

/* ---- borders ---- */

struct heard {
	struct slice of;
	struct slice line[16];
	size_t n, stop_at;
};

static bool hear(void *arg, size_t at, size_t n)
{
	struct heard *h = arg;

	assert_true(at + n < h->of.n && h->of.p[at + n] == '\n' && h->n < 16);
	h->line[h->n++] = slice_of(h->of.p + at, n);
	return h->n != h->stop_at;
}

/* The whole text, read back in pieces of this size. */
static void read_back(const char *text, size_t piece, struct heard *h)
{
	size_t end = strlen(text);
	bool inside = true;

	*h = (struct heard){.n = 0};
	while (end) {
		size_t from = end > piece ? end - piece : 0;

		h->of = slice_of(text + from, end - from);
		end = from + audit_lines_back(h->of, from == 0, &inside, hear, h);
	}
}

static void lines_are_found_back_over_each_border(void **state)
{
	static const char text[] = "one\ntwo\n\nfour is longer\nfive\ntorn";
	static const char *const want[] = {"five", "four is longer", "", "two", "one"};
	struct heard h;

	(void)state;
	for (size_t piece = 16; piece < sizeof text + 3; piece++) {
		read_back(text, piece, &h);
		assert_int_equal(h.n, 5);
		for (size_t i = 0; i < 5; i++)
			assert_true(slice_is(h.line[i], want[i]));
	}
	for (size_t piece = 1; piece < 15; piece++) { /* too small for the longest, which is passed over */
		read_back(text, piece, &h);
		assert_true(h.n < 5);
		for (size_t i = 0; i < h.n; i++)
			assert_false(slice_begins(h.line[i], slice_str("four")));
	}
	read_back("torn alone", 4, &h);
	assert_int_equal(h.n, 0);
	read_back("\n", 4, &h);
	assert_int_equal(h.n, 1);
	read_back("", 4, &h);
	assert_int_equal(h.n, 0);
}

static void who_has_enough_is_told_no_more_and_can_go_on_there(void **state)
{
	static const char text[] = "one\ntwo\nthree\n";
	struct heard h = {.of = slice_str(text), .stop_at = 2};
	bool inside = true;

	(void)state;
	assert_int_equal(audit_lines_back(h.of, true, &inside, hear, &h), 4);
	assert_true(h.n == 2 && slice_is(h.line[1], "two") && !inside);
	h = (struct heard){.of = slice_str(text), .stop_at = 1};
	inside = true; /* the first is the rest of a line */
	assert_int_equal(audit_lines_on(h.of, &inside, hear, &h), 8);
	assert_true(h.n == 1 && slice_is(h.line[0], "two"));
	h = (struct heard){.of = slice_str("no border")};
	inside = false;
	assert_int_equal(audit_lines_on(h.of, &inside, hear, &h), 0);
}

/* ---- one line ---- */

static struct audit_query all(void)
{
	return (struct audit_query){.scope = {.all = true}};
}

static enum audit_match match(const struct audit_query *q, struct slice line)
{
	struct audit_found f;
	int64_t at_ms;
	enum audit_match m = audit_line_glance(q, line, &at_ms), judged = audit_line_match(q, line, &f);

	if (judged == AUDIT_MATCH_YES) /* at a glance nothing is lost */
		assert_true(m == AUDIT_MATCH_YES && (at_ms < 0 || at_ms == f.at_ms));
	return judged;
}

static void a_line_is_matched_by_its_members_alone(void **state)
{
	static char tenants[][64] = {"acme"};
	struct audit_query q = all();
	static const struct { const char *line; enum audit_match want; } rows[] = {
		{LINE(1, "acme", ",\"tool\":\"x\""), AUDIT_MATCH_YES},
		{LINE(1, "acme", ",\"message\":\"\\\",\\\"tool\\\":\\\"x\""), AUDIT_MATCH_NO},
		{LINE(1, "acme", ",\"message\":\"tool\",\"tools\":\"x\""), AUDIT_MATCH_NO},
		{LINE(1, "acme", ",\"t\\u006fol\":\"x\""), AUDIT_MATCH_YES},
		{LINE(1, "acme", ",\"tool\":\"\\u0078\""), AUDIT_MATCH_YES},
		{LINE(1, "acme", ",\"tool\":\"x\",\"n\":-1.5E+3,\"ok\":true"), AUDIT_MATCH_YES},
		{"{\"\\u0061t\":\"2026-11-24T00:25:01.123Z\",\"event\":\"e\",\"tool\":\"x\",\"tenant\":\"acme\"}", AUDIT_MATCH_YES},
		{"{\"at\":\"2026-11-24T00:25:01.123\\u005a\",\"event\":\"e\",\"tool\":\"x\"}", AUDIT_MATCH_YES},
		{"{\"at\":\"2026-11-24T00:25:01.123\\u005b\",\"event\":\"e\",\"tool\":\"x\"}", AUDIT_MATCH_FOREIGN},
		{"{\"at\":\r\"2026-11-24T00:25:01.123Z\",\"event\":\"e\",\"tool\":\"x\"}", AUDIT_MATCH_FOREIGN},
		{LINE(1, "acme", ",\"tool\": \"x\""), AUDIT_MATCH_FOREIGN},
		{LINE(1, "acme", ",\"tool\":\"x\",\"n\":1 "), AUDIT_MATCH_FOREIGN},
		{LINE(1, "acme", ",\"tool\":x"), AUDIT_MATCH_FOREIGN},
		{LINE(1, "acme", ",\"tool\":[\"x\"]"), AUDIT_MATCH_FOREIGN},
		{LINE(1, "acme", ",\"tool\":\"y\",\"tool\":\"x\""), AUDIT_MATCH_FOREIGN},
		{LINE(1, "acme", ",\"tool\":\"x\"") "}", AUDIT_MATCH_FOREIGN},
		{LINE(1, "acme", ",\"tool\":\"x\",\"a\":\"\xff\""), AUDIT_MATCH_FOREIGN},
		{LINE(1, "acme", ",\"tool\":\"x\",\"a\":\"\\u0000\""), AUDIT_MATCH_FOREIGN},
		{"{\"tool\":\"x\"}", AUDIT_MATCH_FOREIGN},
		{"{}", AUDIT_MATCH_FOREIGN},
		{"", AUDIT_MATCH_FOREIGN},
	};

	(void)state;
	strcpy(q.tool, "x");
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
		assert_int_equal(match(&q, slice_str(rows[i].line)), rows[i].want);
	q.scope = (struct audit_scope){.n = 1, .tenants = tenants};
	assert_int_equal(match(&q, slice_str(rows[0].line)), AUDIT_MATCH_YES);
	assert_int_equal(match(&q, slice_str(LINE(1, "globex", ",\"tool\":\"x\""))), AUDIT_MATCH_NO);
	assert_int_equal(match(&q, slice_str(LINE(1, "acme2", ",\"tool\":\"x\""))), AUDIT_MATCH_NO);
	assert_int_equal(match(&q, slice_str("{\"at\":\"2026-11-24T00:25:01.123Z\",\"event\":\"decision\",\"tool\":\"x\"}")), AUDIT_MATCH_NO);
}

static void who_sees_single_tenants_is_not_shown_the_number(void **state)
{
	static char tenants[][64] = {"acme"};
	struct audit_query q = {.scope = {.n = 1, .tenants = tenants}};
	struct audit_found f;
	char text[256];

	(void)state;
	assert_int_equal(audit_line_match(&q, slice_str(LINE(17, "acme", "")), &f), AUDIT_MATCH_YES);
	snprintf(text, sizeof text, "%.*s%.*s", (int)f.before.n, (const char *)f.before.p, (int)f.after.n, (const char *)f.after.p);
	assert_string_equal(text, "{\"at\":\"2026-11-24T00:25:01.123Z\",\"node\":\"n\",\"event\":\"decision\",\"tenant\":\"acme\"}");
	assert_int_equal(audit_line_match(&q, slice_str("{\"s\\u0065q\":1,\"at\":\"2026-11-24T00:25:01.123Z\",\"event\":\"decision\",\"tenant\":\"acme\"}"), &f), AUDIT_MATCH_FOREIGN);
	assert_int_equal(audit_line_match(&q, slice_str("{\"at\":\"2026-11-24T00:25:01.123Z\",\"event\":\"decision\",\"tenant\":\"acme\",\"seq\":1}"), &f), AUDIT_MATCH_FOREIGN);
}

/* ---- files, and the thread ---- */

struct bench {
	char folder[64], path[96];
	struct audit *audit;
	struct audit_lane *lane;
	struct audit_reader *reader;
	struct audit_batch batch;
	pthread_mutex_t lock;
	pthread_cond_t woke;
	unsigned wakes;
	int64_t at_ms;
};

static void on_wake(void *arg)
{
	struct bench *b = arg;

	pthread_mutex_lock(&b->lock);
	b->wakes++;
	pthread_cond_signal(&b->woke);
	pthread_mutex_unlock(&b->lock);
}

static void bench_open(struct bench *b)
{
	struct problem why = {""};

	*b = (struct bench){.at_ms = 1795479901123};
	snprintf(b->folder, sizeof b->folder, "/tmp/test-search-XXXXXX");
	assert_non_null(mkdtemp(b->folder));
	snprintf(b->path, sizeof b->path, "%s/audit.jsonl", b->folder);
	pthread_mutex_init(&b->lock, NULL);
	pthread_cond_init(&b->woke, NULL);
	b->audit = audit_open(b->path, AUDIT_SYNC_EVERYSEC, "node-1", &why);
	b->reader = b->audit ? audit_reader_new(b->audit, &why) : NULL;
	if (!b->reader)
		fail_msg("%s", why.text);
	b->lane = audit_lane_new(b->audit, NULL, NULL);
	audit_batch_init(&b->batch);
}

static void bench_close(struct bench *b)
{
	char command[96];

	audit_reader_free(b->reader);
	audit_lane_free(b->lane);
	audit_close(b->audit);
	audit_batch_clear(&b->batch);
	snprintf(command, sizeof command, "rm -r %s", b->folder);
	assert_int_equal(system(command), 0);
	pthread_mutex_destroy(&b->lock);
	pthread_cond_destroy(&b->woke);
}

/* n lines, a second apart, numbered from `first`, with a text of so many bytes. */
static void write_lines(struct bench *b, unsigned first, unsigned n, size_t text)
{
	char handoff[24], *long_text = malloc(text + 1);

	memset(long_text, 'x', text);
	for (unsigned i = first; i < first + n; i++) {
		struct audit_record r = {.event = "decision", .at_ms = b->at_ms += 1000, .tenant = slice_str(i % 2 ? "acme" : "globex"), .message = slice_of(long_text, text)};

		snprintf(handoff, sizeof handoff, "h-%u", i);
		r.handoff_id = slice_str(handoff);
		assert_true(audit_put(b->lane, &r));
		if (i % 64 == 0)
			assert_int_equal(audit_flush(b->lane), 0);
	}
	assert_int_equal(audit_flush(b->lane), 0);
	free(long_text);
}

static uint64_t begin(struct bench *b, struct audit_query q, uint32_t limit, bool follow)
{
	struct audit_ask ask = {.query = q, .limit = limit, .follow = follow, .connection = (uint64_t)rand(), .wake = on_wake, .arg = b};
	uint64_t id = 0;

	assert_int_equal(audit_search_begin(b->reader, &ask, &id), AUDIT_BEGUN);
	audit_search_go(b->reader, id);
	return id;
}

static void take(struct bench *b, uint64_t id)
{
	while (!audit_search_take(b->reader, id, &b->batch)) {
		pthread_mutex_lock(&b->lock);
		while (!b->wakes)
			pthread_cond_wait(&b->woke, &b->lock);
		b->wakes = 0;
		pthread_mutex_unlock(&b->lock);
	}
}

/* What comes is h-first, then each `step`th, n of them. Returns how far it was looked. */
static struct audit_looked expect(struct bench *b, uint64_t id, unsigned first, unsigned step, unsigned n, bool ends)
{
	unsigned got = 0;
	char want[40];

	do {
		take(b, id);
		for (size_t i = 0; i < b->batch.n; i++, got++) {
			const struct audit_hit *h = &b->batch.hits[i];
			struct slice line = slice_of(b->batch.bytes.p + h->at, h->n);

			snprintf(want, sizeof want, "\"handoff_id\":\"h-%u\"", first + got * step);
			assert_non_null(memmem(line.p, line.n, want, strlen(want)));
			assert_string_equal(h->node, "node-1");
		}
	} while (got < n || (ends && !b->batch.has_looked));
	assert_int_equal(got, n);
	if (ends)
		audit_search_end(b->reader, id);
	return b->batch.looked;
}

static void rotate(struct bench *b, unsigned upto)
{
	char from[128], to[128];
	struct problem why;

	for (unsigned k = upto; k; k--) {
		snprintf(to, sizeof to, "%s.%u", b->path, k);
		snprintf(from, sizeof from, k > 1 ? "%s.%u" : "%s", b->path, k - 1);
		assert_int_equal(rename(from, to), 0);
	}
	assert_int_equal(audit_reopen(b->audit, &why), 0);
}

static void the_newest_are_found_over_files_and_pieces(void **state)
{
	struct bench b;
	struct audit_query q = all();
	struct audit_looked l;

	(void)state;
	bench_open(&b);
	write_lines(&b, 0, 3000, 700); /* more than two pieces a file */
	rotate(&b, 1);
	write_lines(&b, 3000, 3000, 700);
	rotate(&b, 2);
	write_lines(&b, 6000, 10, 10);
	l = expect(&b, begin(&b, q, 5, false), 6005, 1, 5, true);
	assert_int_equal(l.end, AUDIT_END_LIMIT);
	expect(&b, begin(&b, q, 1000, false), 5010, 1, 1000, true);
	strcpy(q.handoff_id, "h-2");
	l = expect(&b, begin(&b, q, 10, false), 2, 1, 1, true);
	assert_true(l.end == AUDIT_END_ALL && l.skipped == 0 && l.from_ms == 1795479902123);
	q = all();
	q.to_ms = 1795479901123 + 2000 * 1000; /* h-1999 */
	l = expect(&b, begin(&b, q, 10, false), 1990, 1, 10, true);
	assert_true(l.bytes < 6 << 20);
	q.from_ms = q.to_ms - 4000;
	l = expect(&b, begin(&b, q, 10, false), 1995, 1, 5, true);
	assert_int_equal(l.end, AUDIT_END_ALL);
	q = all();
	q.scope = (struct audit_scope){.n = 1, .tenants = calloc(1, 64)};
	strcpy(q.scope.tenants[0], "acme");
	expect(&b, begin(&b, q, 4, false), 6003, 2, 4, true);
	bench_close(&b);
}

/* By a rotation that links; one is empty, so that no bound of what is read ends it. */
static void a_file_of_two_names_is_read_once(void **state)
{
	struct bench b;
	char one[128], two[128], three[128];

	(void)state;
	bench_open(&b);
	write_lines(&b, 1, 10, 10);
	rotate(&b, 1);
	write_lines(&b, 11, 10, 10);
	snprintf(one, sizeof one, "%s.1", b.path);
	snprintf(two, sizeof two, "%s.2", b.path);
	snprintf(three, sizeof three, "%s.3", b.path);
	assert_int_equal(link(one, two), 0);
	assert_int_equal(expect(&b, begin(&b, all(), 1000, false), 1, 1, 20, true).end, AUDIT_END_ALL);
	assert_int_equal(truncate(one, 0), 0);
	assert_int_equal(link(one, three), 0);
	assert_int_equal(expect(&b, begin(&b, all(), 1000, false), 11, 1, 10, true).end, AUDIT_END_ALL);
	bench_close(&b);
}

static void who_writes_a_time_so_that_it_is_not_seen_at_once_ends_no_search(void **state)
{
	struct bench b;
	struct audit_query q = all();
	struct audit_looked l;
	FILE *f;

	(void)state;
	bench_open(&b);
	q.from_ms = b.at_ms;
	write_lines(&b, 0, 10, 10);
	f = fopen(b.path, "a");
	assert_non_null(f);
	fputs("{\"at\":\"2026-11-24T00:25:12.123\\u005a\",\"node\":\"node-1\",\"event\":\"decision\",\"handoff_id\":\"h-10\"}\n", f);
	assert_int_equal(fclose(f), 0);
	write_lines(&b, 11, 5, 10);
	l = expect(&b, begin(&b, q, 100, false), 0, 1, 16, true);
	assert_true(l.end == AUDIT_END_ALL && l.skipped == 0);
	strcpy(q.handoff_id, "h-3"); /* the line is none that is asked for */
	l = expect(&b, begin(&b, q, 100, false), 3, 1, 1, true);
	assert_true(l.end == AUDIT_END_ALL && l.skipped == 0 && l.from_ms > 0);
	bench_close(&b);
}

static void what_is_followed_comes_once_through_rotations(void **state)
{
	struct bench b;
	uint64_t id;

	(void)state;
	bench_open(&b);
	write_lines(&b, 0, 10, 10);
	id = begin(&b, all(), 3, true);
	expect(&b, id, 7, 1, 3, false);
	assert_true(b.batch.has_looked);
	write_lines(&b, 10, 5, 10);
	expect(&b, id, 10, 1, 5, false);
	write_lines(&b, 15, 2000, 700);
	rotate(&b, 1);
	write_lines(&b, 2015, 5, 10);
	rotate(&b, 2);
	write_lines(&b, 2020, 5, 10);
	rotate(&b, 3);
	write_lines(&b, 2025, 5, 10);
	expect(&b, id, 15, 1, 2015, false);
	audit_search_end(b.reader, id);
	bench_close(&b);
}

/* More than a search may read, in a file that takes no room; nothing in it is a line. */
static void what_a_search_may_read_is_bounded(void **state)
{
	struct bench b;
	struct audit_query q = all();
	struct audit_looked l;
	FILE *f;

	(void)state;
	bench_open(&b);
	write_lines(&b, 0, 1, 10);
	f = fopen(b.path, "r+");
	assert_non_null(f);
	assert_int_equal(ftruncate(fileno(f), AUDIT_SEARCH_BYTES + (4 << 20)), 0);
	fseek(f, 0, SEEK_END);
	fputc('\n', f);
	fclose(f);
	write_lines(&b, 1, 3, 10);
	l = expect(&b, begin(&b, q, 10, false), 1, 1, 3, true);
	assert_true(l.end == AUDIT_END_BOUND && l.skipped == 1 && l.from_ms == b.at_ms - 2000 + 10000 && /* of the oldest of three, and what workers' ticks are apart */
		    l.bytes <= (uint64_t)AUDIT_SEARCH_BYTES + (1 << 20));
	bench_close(&b);
}

static enum audit_begun begin_for(struct bench *b, const char *tenant, uint64_t *id)
{
	static uint64_t connections;
	struct audit_ask ask = {.query = all(), .limit = 1, .connection = ++connections, .wake = on_wake, .arg = b};

	if (*tenant) {
		ask.query.scope = (struct audit_scope){.n = 2, .tenants = calloc(2, 64)};
		strcpy(ask.query.scope.tenants[1], tenant);
		snprintf(ask.query.scope.tenants[0], 64, "own-%llu", (unsigned long long)connections);
	}
	return audit_search_begin(b->reader, &ask, id);
}

static void there_is_a_cap_on_searches(void **state)
{
	static char name[2] = "a";
	struct bench b;
	struct audit_ask again = {.query = all(), .limit = 1, .connection = 1, .wake = on_wake, .arg = &b};
	uint64_t id, first = 0;

	(void)state;
	bench_open(&b);
	for (unsigned i = 0; i < AUDIT_SEARCHES_TENANT; i++) {
		assert_int_equal(begin_for(&b, "a", &id), AUDIT_BEGUN);
		first = first ? first : id;
	}
	assert_int_equal(audit_search_begin(b.reader, &again, &id), AUDIT_BUSY_HERE);
	assert_int_equal(begin_for(&b, "a", &id), AUDIT_BUSY_TENANT);
	for (unsigned i = AUDIT_SEARCHES_TENANT; i < AUDIT_SEARCHES_BOUND; i++) { /* others go on */
		name[0] = (char)('a' + i);
		assert_int_equal(begin_for(&b, name, &id), AUDIT_BEGUN);
	}
	assert_int_equal(begin_for(&b, "z", &id), AUDIT_BUSY);
	for (unsigned i = AUDIT_SEARCHES_BOUND; i < AUDIT_SEARCHES; i++)
		assert_int_equal(begin_for(&b, "", &id), AUDIT_BEGUN);
	assert_int_equal(begin_for(&b, "", &id), AUDIT_BUSY);
	audit_search_end(b.reader, first);
	assert_int_equal(begin_for(&b, "a", &id), AUDIT_BEGUN);
	assert_int_equal(begin_for(&b, "a", &id), AUDIT_BUSY_TENANT);
	bench_close(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lines_are_found_back_over_each_border),
		cmocka_unit_test(who_has_enough_is_told_no_more_and_can_go_on_there),
		cmocka_unit_test(a_line_is_matched_by_its_members_alone),
		cmocka_unit_test(who_sees_single_tenants_is_not_shown_the_number),
		cmocka_unit_test(the_newest_are_found_over_files_and_pieces),
		cmocka_unit_test(who_writes_a_time_so_that_it_is_not_seen_at_once_ends_no_search),
		cmocka_unit_test(a_file_of_two_names_is_read_once),
		cmocka_unit_test(what_is_followed_comes_once_through_rotations),
		cmocka_unit_test(what_a_search_may_read_is_bounded),
		cmocka_unit_test(there_is_a_cap_on_searches),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
