/* Does every audit line reach the file before its ticket says so, and does every line that cannot make its ticket
 * fail? */
#include "config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <inttypes.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "observe/audit.h"

#define JWT "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJhbGljZSJ9.c2lnbmF0dXJl"
#define AT 1795479901123

/* One test's folder, file and the wakes it got. */
struct bench {
	char folder[64];
	char path[96];
	pthread_mutex_t lock;
	pthread_cond_t woke;
	unsigned wakes;
};

static void on_wake(void *arg)
{
	struct bench *b = arg;

	pthread_mutex_lock(&b->lock);
	b->wakes++;
	pthread_cond_signal(&b->woke);
	pthread_mutex_unlock(&b->lock);
}

/* Waits until the lane has settled `ticket` one way or the other; the sync thread's wakes drive it. */
static void wait_settled(struct bench *b, struct audit_lane *l, uint64_t ticket)
{
	pthread_mutex_lock(&b->lock);
	while (audit_durable(l) < ticket && audit_failed(l) < ticket)
		pthread_cond_wait(&b->woke, &b->lock);
	pthread_mutex_unlock(&b->lock);
}

static struct audit *open_audit(struct bench *b, enum audit_sync sync)
{
	struct problem why = {""};
	struct audit *a = audit_open(b->path, sync, "node-1", &why);

	if (!a)
		fail_msg("%s", why.text);
	return a;
}

static uint64_t put(struct audit_lane *l, const char *event, const char *handoff, enum handoff_state s, int64_t at)
{
	const struct audit_record r = {.event = event, .at_ms = at, .handoff_id = slice_str(handoff), .state = s};

	return audit_put(l, &r);
}

static uint64_t put_one(struct audit_lane *l)
{
	return put(l, "decision", "h-1", STATE_QUEUED, AT);
}

static char *file_text(struct bench *b)
{
	struct problem why;
	uint8_t *p = NULL;
	size_t n;

	assert_int_equal(file_read(b->path, 64 << 20, &p, &n, &why), 0);
	return (char *)p;
}

static void assert_file(struct bench *b, const char *text)
{
	char *is = file_text(b);

	assert_string_equal(is, text);
	free(is);
}

static unsigned count(const char *text, const char *word)
{
	unsigned n = 0;

	for (; (text = strstr(text, word)); text++)
		n++;
	return n;
}

static void lines_hold_what_was_given(void **state)
{
	struct bench *b = *state;
	struct audit *a = open_audit(b, AUDIT_SYNC_EVERYSEC);
	struct audit_lane *l = audit_lane_new(a, on_wake, b);
	const struct audit_record r = {
		.event = "decision",
		.at_ms = AT,
		.trace_id = SLICE_LIT("4bf92f3577b34da6a3ce929d0e0e4736"),
		.tenant = SLICE_LIT("acme"),
		.agent = SLICE_LIT("planner"),
		.scopes = SLICE_LIT("a b"),
		.side_effect = SIDE_EFFECT_DRAFT,
		.outcome = OUTCOME_DENY,
		.reason = REASON_MISSING_SCOPE,
		.field = SLICE_LIT("scope"),
		.message = SLICE_LIT("the token " JWT " lacks\nit"),
		.attempt = 2,
		.fence = 9007199254740993,
		.reconciled = true,
	};
	struct stat st;

	assert_int_equal(audit_put(l, &r), 1);
	assert_int_equal(audit_durable(l), 0); /* not before it is in the file */
	assert_file(b, "");
	assert_int_equal(put(l, "handoff.leased", "h-1", STATE_LEASED, AT + 1), 2);
	assert_int_equal(audit_flush(l), 0);
	assert_int_equal(audit_durable(l), 2);
	assert_int_equal(audit_failed(l), 0);
	assert_file(b, "{\"at\":\"2026-11-24T00:25:01.123Z\",\"node\":\"node-1\",\"seq\":1,\"event\":\"decision\","
		       "\"outcome\":\"deny\",\"reason\":\"missing_scope\",\"field\":\"scope\","
		       "\"message\":\"the token [redacted] lacks\\nit\","
		       "\"trace_id\":\"4bf92f3577b34da6a3ce929d0e0e4736\",\"tenant\":\"acme\",\"agent\":\"planner\","
		       "\"scopes\":\"a b\",\"side_effect\":\"draft\",\"attempt\":2,\"fence\":9007199254740993,"
		       "\"reconciled\":true}\n"
		       "{\"at\":\"2026-11-24T00:25:01.124Z\",\"node\":\"node-1\",\"seq\":2,"
		       "\"event\":\"handoff.leased\","
		       "\"handoff_id\":\"h-1\",\"state\":\"leased\"}\n");
	assert_int_equal(stat(b->path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	audit_lane_free(l);
	audit_close(a);
}

static void unknown_events_are_refused(void **state)
{
	struct bench *b = *state;
	struct audit *a = open_audit(b, AUDIT_SYNC_EVERYSEC);
	struct audit_lane *l = audit_lane_new(a, on_wake, b);

	assert_int_equal(put(l, "handoff.progress", "h-1", STATE_WORKING, AT), 0);
	assert_int_equal(put(l, "decision ", "h-1", STATE_WORKING, AT), 0);
	assert_int_equal(put(l, NULL, "h-1", STATE_WORKING, AT), 0);
	assert_int_equal(put_one(l), 1);
	assert_int_equal(audit_flush(l), 0);
	assert_int_equal(audit_durable(l), 1);
	audit_lane_free(l);
	audit_close(a);
}

static void synced_tickets_wait_for_the_disk(void **state)
{
	struct bench *b = *state;
	struct audit *a = open_audit(b, AUDIT_SYNC_ALWAYS);
	struct audit_lane *l = audit_lane_new(a, on_wake, b), *other = audit_lane_new(a, on_wake, b);
	uint64_t i;

	for (i = 1; i <= 50; i++) {
		assert_int_equal(put_one(l), i);
		assert_int_equal(audit_flush(l), 0);
	}
	assert_int_equal(put_one(other), 1);
	assert_int_equal(audit_flush(other), 0);
	wait_settled(b, l, 50);
	wait_settled(b, other, 1);
	assert_int_equal(audit_durable(l), 50);
	assert_int_equal(audit_durable(other), 1);
	assert_int_equal(audit_failed(l), 0);
	assert_true(b->wakes >= 1);
	audit_lane_free(other);
	audit_lane_free(l);
	audit_close(a);
}

/* Connections that come and go must not cost a write to the disk each; the next line that an answer waits for takes them along. */
static void lines_that_nobody_waits_for_are_synced_together(void **state)
{
	const struct audit_record r = {.event = "peer.connected", .at_ms = AT};
	struct bench *b = *state;
	struct audit *a = open_audit(b, AUDIT_SYNC_ALWAYS);
	struct audit_lane *l = audit_lane_new(a, on_wake, b);
	int64_t begun = clock_mono_ms();
	uint64_t i;

	for (i = 1; i <= 200; i++) {
		audit_note(l, &r);
		assert_int_equal(audit_flush(l), 0);
	}
	wait_settled(b, l, 200);
	assert_int_equal(audit_durable(l), 200);
	assert_true(b->wakes <= 1 + (unsigned)((clock_mono_ms() - begun) / 1000)); /* each sync wakes once */
	audit_note(l, &r);
	assert_int_equal(put_one(l), 202);
	assert_int_equal(audit_flush(l), 0);
	wait_settled(b, l, 202);
	assert_int_equal(audit_durable(l), 202);
	audit_lane_free(l);
	audit_close(a);
}

/* ---- a disk that fails ---- */

/* Instead of the library's: while `held` it waits, then says what `rc` says. */
static struct {
	pthread_mutex_t lock;
	pthread_cond_t change;
	bool held, in;
	int rc;
} disk = {.lock = PTHREAD_MUTEX_INITIALIZER, .change = PTHREAD_COND_INITIALIZER};

int fdatasync(int fd)
{
	int rc;

	pthread_mutex_lock(&disk.lock);
	disk.in = true;
	pthread_cond_broadcast(&disk.change);
	while (disk.held)
		pthread_cond_wait(&disk.change, &disk.lock);
	disk.in = false;
	rc = disk.rc;
	pthread_mutex_unlock(&disk.lock);
	errno = EIO;
	return rc < 0 ? rc : (int)syscall(SYS_fdatasync, fd);
}

static void disk_set(bool held, int rc)
{
	pthread_mutex_lock(&disk.lock);
	disk.held = held;
	disk.rc = rc;
	pthread_cond_broadcast(&disk.change);
	pthread_mutex_unlock(&disk.lock);
}

static void disk_wait_for_sync(void)
{
	pthread_mutex_lock(&disk.lock);
	while (!disk.in)
		pthread_cond_wait(&disk.change, &disk.lock);
	pthread_mutex_unlock(&disk.lock);
}

/* What somebody waited for and was lost must not keep the sync thread busy, with its lock, once the disk is back. */
static void a_disk_that_could_not_sync_comes_back_and_work_goes_on(void **state)
{
	struct bench *b = *state;
	struct audit *a = open_audit(b, AUDIT_SYNC_ALWAYS);
	struct audit_lane *l = audit_lane_new(a, on_wake, b);
	uint64_t ticket;

	disk_set(true, -1);
	assert_int_equal(put_one(l), 1);
	assert_int_equal(audit_flush(l), 0);
	disk_wait_for_sync();
	assert_int_equal(put_one(l), 2); /* nobody knows yet */
	disk_set(false, -1);
	while (audit_healthy(a))
		sched_yield();
	assert_int_equal(audit_flush(l), -1);
	wait_settled(b, l, 2);
	assert_int_equal(audit_failed(l), 2);
	disk_set(true, 0);
	disk_wait_for_sync(); /* the next try */
	audit_flush(l);
	disk_set(false, 0);
	while (!audit_healthy(a))
		sched_yield();
	ticket = put_one(l);
	assert_int_equal(ticket, 3);
	assert_int_equal(audit_flush(l), 0);
	wait_settled(b, l, ticket);
	assert_int_equal(audit_durable(l), ticket);
	audit_lane_free(l);
	audit_close(a);
}

struct writer {
	struct bench *bench;
	struct audit *audit;
	char name[8];
};

static void *write_much(void *arg)
{
	struct writer *w = arg;
	struct audit_lane *l = audit_lane_new(w->audit, on_wake, w->bench);
	uint64_t i, ticket = 0;

	for (i = 0; i < 3000; i++) {
		ticket = put(l, "handoff.accepted", w->name, STATE_QUEUED, AT + (int64_t)i);
		if (i % 7 == 6)
			audit_flush(l);
	}
	audit_flush(l);
	while (audit_durable(l) < ticket && audit_failed(l) < ticket)
		usleep(1000);
	audit_lane_free(l);
	return (void *)(uintptr_t)(ticket == 3000 && audit_healthy(w->audit));
}

struct seen {
	unsigned lines;
	unsigned by_state[16];
	char last[64];
};

static void on_line(void *arg, struct slice event, struct slice handoff_id, enum handoff_state s)
{
	struct seen *seen = arg;

	seen->lines++;
	seen->by_state[s]++;
	assert_true(slice_copy_str(handoff_id, seen->last, sizeof seen->last));
	assert_true(event.n > 0);
}

static void lanes_do_not_mix_their_lines(void **state)
{
	static const enum audit_sync modes[] = {AUDIT_SYNC_ALWAYS, AUDIT_SYNC_EVERYSEC};
	struct bench *b = *state;
	struct problem why;
	unsigned m, i;

	for (m = 0; m < 2; m++) {
		struct audit *a = open_audit(b, modes[m]);
		struct writer w[4];
		struct seen seen = {0};
		pthread_t threads[4];
		void *ok;

		for (i = 0; i < 4; i++) {
			w[i] = (struct writer){.bench = b, .audit = a};
			snprintf(w[i].name, sizeof w[i].name, "w-%u", i);
			assert_int_equal(pthread_create(&threads[i], NULL, write_much, &w[i]), 0);
		}
		assert_int_equal(audit_reopen(a, &why), 0); /* while they write */
		for (i = 0; i < 4; i++) {
			pthread_join(threads[i], &ok);
			assert_non_null(ok);
		}
		audit_close(a);
		assert_int_equal(audit_tail(b->path, INT64_MAX, on_line, &seen, &why), AT + 2999);
		assert_int_equal(seen.lines, 12000 * (m + 1));
		assert_int_equal(seen.by_state[STATE_QUEUED], 12000 * (m + 1));
	}
}

static void a_torn_line_is_closed_first(void **state)
{
	struct bench *b = *state;
	struct problem why;
	struct seen seen = {0};
	struct audit_lane *l;
	struct audit *a;
	char *text;
	const struct slice torn = SLICE_LIT("{\"at\":\"2026-11-24T00:25:01.123Z\",\"event\":\"deci");

	assert_int_equal(file_write_atomic(b->path, torn, 0600, &why), 0);
	a = open_audit(b, AUDIT_SYNC_EVERYSEC);
	l = audit_lane_new(a, on_wake, b);
	assert_int_equal(put_one(l), 1);
	assert_int_equal(audit_flush(l), 0);
	text = file_text(b);
	assert_int_equal(count(text, "\n"), 2);
	assert_non_null(strstr(text, "\"deci\n{\"at\":"));
	free(text);
	assert_int_equal(audit_tail(b->path, 1000, on_line, &seen, &why), AT);
	assert_int_equal(seen.lines, 1);
	audit_lane_free(l);
	audit_close(a);
}

static void assert_counted(struct metrics *m, const char *line)
{
	struct buf b;

	buf_init(&b, 1 << 20);
	assert_int_equal(metrics_render(m, &b), 0);
	assert_true(buf_put_u8(&b, 0));
	if (!strstr((const char *)b.p, line))
		fail_msg("%s is not in %s", line, (const char *)b.p);
	buf_clear(&b);
}

/* The ticket fails in the flush itself, nothing is taken while the file is bad, and another file makes it good
 * again. */
static void a_full_disk_fails_tickets_then_recovers(void **state)
{
	struct bench *b = *state;
	struct metrics *m = metrics_new();
	struct audit_lane *l, *other;
	struct problem why;
	struct audit *a;
	char *text;

	assert_int_equal(symlink("/dev/full", b->path), 0);
	a = open_audit(b, AUDIT_SYNC_ALWAYS);
	audit_set_metrics(a, m);
	l = audit_lane_new(a, on_wake, b);
	other = audit_lane_new(a, on_wake, b);
	assert_true(audit_healthy(a));
	assert_int_equal(put_one(l), 1);
	assert_int_equal(put_one(l), 2);
	assert_int_equal(put_one(other), 1);
	assert_int_equal(audit_flush(l), -1);
	assert_false(audit_healthy(a));
	assert_int_equal(audit_durable(l), 0);
	assert_int_equal(audit_failed(l), 2);
	assert_int_equal(put_one(l), 0);
	assert_int_equal(audit_flush(l), -1); /* tried again, and still full */
	assert_int_equal(unlink(b->path), 0);
	assert_int_equal(audit_reopen(a, &why), 0);
	assert_true(audit_healthy(a));
	assert_int_equal(audit_flush(other), 0); /* what had not been tried is not lost */
	assert_int_equal(put_one(l), 3);
	assert_int_equal(audit_flush(l), 0);
	wait_settled(b, l, 3);
	wait_settled(b, other, 1);
	assert_int_equal(audit_durable(l), 3);
	assert_int_equal(audit_durable(other), 1);
	text = file_text(b);
	assert_int_equal(count(text, "\n"), 3);
	assert_non_null(strstr(text, "\"event\":\"audit.recovered\",\"message\":\"3 lines before this one are missing, "
				     "the file could not be written: No space left on device\"}\n"));
	free(text);
	audit_lane_free(other);
	audit_lane_free(l);
	audit_close(a);
	assert_counted(m, "baton_audit_records_total{event=\"decision\"} 4\n");
	assert_counted(m, "baton_audit_failures_total 3\n");
	metrics_free(m);
}

static void limit_files(rlim_t bytes)
{
	struct rlimit r;

	assert_int_equal(getrlimit(RLIMIT_FSIZE, &r), 0);
	r.rlim_cur = bytes;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &r), 0);
}

/* Same file, no reopening: space returns, and the flush after it writes. A write that came halfway leaves a torn
 * line. */
static void space_returns_and_flush_goes_on(void **state)
{
	struct bench *b = *state;
	struct audit *a = open_audit(b, AUDIT_SYNC_EVERYSEC);
	struct audit_lane *l = audit_lane_new(a, on_wake, b);
	struct seen seen = {0};
	struct problem why;
	struct rlimit was;
	char *text;

	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &was), 0);
	assert_int_equal(put(l, "decision", "h-1", STATE_QUEUED, AT), 1);
	assert_int_equal(audit_flush(l), 0);
	limit_files(150);
	assert_int_equal(put(l, "decision", "h-2", STATE_QUEUED, AT), 2);
	assert_int_equal(audit_flush(l), -1);
	assert_int_equal(audit_durable(l), 1);
	assert_int_equal(audit_failed(l), 2);
	assert_false(audit_healthy(a));
	assert_int_equal(audit_flush(l), -1);
	limit_files(was.rlim_cur);
	assert_int_equal(audit_flush(l), 0); /* empty: only the probe (or the sync thread was first) */
	assert_true(audit_healthy(a));
	assert_int_equal(put(l, "decision", "h-3", STATE_QUEUED, AT), 3);
	assert_int_equal(audit_flush(l), 0);
	assert_int_equal(audit_durable(l), 3);
	text = file_text(b);
	assert_int_equal(count(text, "\n"), 4);
	assert_int_equal(count(text, "audit.recovered"), 1);
	free(text);
	assert_int_equal(audit_tail(b->path, INT64_MAX, on_line, &seen, &why) > AT - 1, 1);
	assert_int_equal(seen.lines, 2);
	assert_string_equal(seen.last, "h-3");
	audit_lane_free(l);
	audit_close(a);
}

/* Until the worker has looked at a failure, no later ticket may become durable and hide it. */
static void an_unseen_failure_is_not_overtaken(void **state)
{
	struct bench *b = *state;
	struct audit *a = open_audit(b, AUDIT_SYNC_EVERYSEC);
	struct audit_lane *l = audit_lane_new(a, on_wake, b), *other = audit_lane_new(a, on_wake, b);
	struct rlimit was;

	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &was), 0);
	limit_files(10);
	assert_int_equal(put_one(l), 1);
	assert_int_equal(audit_flush(l), -1);
	limit_files(was.rlim_cur);
	assert_int_equal(audit_flush(other), 0); /* another lane finds the space first */
	assert_int_equal(put_one(l), 2);
	assert_int_equal(audit_flush(l), -1);
	assert_int_equal(audit_durable(l), 0);
	assert_int_equal(audit_failed(l), 2); /* now it is seen */
	assert_int_equal(put_one(l), 3);
	assert_int_equal(audit_flush(l), 0);
	assert_int_equal(audit_durable(l), 3);
	audit_lane_free(other);
	audit_lane_free(l);
	audit_close(a);
}

static void a_full_lane_refuses(void **state)
{
	struct bench *b = *state;
	struct audit *a = open_audit(b, AUDIT_SYNC_EVERYSEC);
	struct audit_lane *l = audit_lane_new(a, on_wake, b);
	uint64_t n = 0, ticket;
	char *text;

	while ((ticket = put_one(l))) {
		n = ticket;
		assert_true(n < 100000);
	}
	assert_true(n > 20000); /* 4 MiB of short lines */
	assert_int_equal(audit_flush(l), 0);
	assert_int_equal(audit_durable(l), n);
	assert_int_equal(put_one(l), n + 1);
	assert_int_equal(audit_flush(l), 0);
	text = file_text(b);
	assert_int_equal(count(text, "\n"), n + 1);
	free(text);
	audit_lane_free(l);
	audit_close(a);
}

static void reopening_follows_logrotate(void **state)
{
	struct bench *b = *state;
	struct audit *a = open_audit(b, AUDIT_SYNC_ALWAYS);
	struct audit_lane *l = audit_lane_new(a, on_wake, b);
	struct problem why;
	char moved[128], *text;

	snprintf(moved, sizeof moved, "%s.1", b->path);
	assert_int_equal(put_one(l), 1);
	assert_int_equal(audit_flush(l), 0);
	assert_int_equal(rename(b->path, moved), 0);
	assert_int_equal(audit_reopen(a, &why), 0);
	assert_int_equal(put_one(l), 2);
	assert_int_equal(audit_flush(l), 0);
	wait_settled(b, l, 2);
	assert_int_equal(audit_durable(l), 2);
	text = file_text(b);
	assert_int_equal(count(text, "\n"), 1);
	assert_non_null(strstr(text, "\"seq\":2,"));
	free(text);
	audit_lane_free(l);
	audit_close(a);
}

/* Descriptors are exhausted (by connections, say): lines are written and synced all the same; only another file cannot be opened. */
static void no_descriptor_is_needed(void **state)
{
	struct bench *b = *state;
	struct audit *a = open_audit(b, AUDIT_SYNC_ALWAYS);
	struct audit_lane *l = audit_lane_new(a, on_wake, b);
	struct rlimit before, none;
	struct problem why = {""};

	assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
	none = (struct rlimit){0, before.rlim_max};
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	assert_int_equal(audit_reopen(a, &why), -1);
	for (uint64_t i = 1; i <= 3; i++) {
		assert_int_equal(put_one(l), i);
		assert_int_equal(audit_flush(l), 0);
		wait_settled(b, l, i);
	}
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
	assert_non_null(strstr(why.text, "Too many open files"));
	assert_int_equal(audit_durable(l), 3);
	assert_int_equal(audit_failed(l), 0);
	assert_true(audit_healthy(a));
	assert_int_equal(audit_reopen(a, &why), 0);
	audit_lane_free(l);
	audit_close(a);
}

/* Waits for the sync thread's next look. */
static void wait_healthy(struct audit *a, bool ok)
{
	while (audit_healthy(a) != ok)
		usleep(5000);
}

/* Nobody said SIGHUP: the thread sees it itself. */
static void a_file_that_is_gone_is_noticed(void **state)
{
	struct bench *b = *state;
	struct audit *a = open_audit(b, AUDIT_SYNC_ALWAYS);
	struct audit_lane *l = audit_lane_new(a, on_wake, b);
	char moved[128], *text;
	struct stat st;

	snprintf(moved, sizeof moved, "%s.1", b->path);
	assert_int_equal(rename(b->path, moved), 0);
	while (stat(b->path, &st) < 0)
		usleep(5000);
	assert_true(audit_healthy(a));
	assert_int_equal(put_one(l), 1);
	assert_int_equal(audit_flush(l), 0);
	wait_settled(b, l, 1);
	assert_int_equal(audit_durable(l), 1);
	assert_int_equal(unlink(moved), 0);
	snprintf(moved, sizeof moved, "%s.1", b->folder);
	assert_int_equal(rename(b->folder, moved), 0); /* cannot be made anew */
	wait_healthy(a, false);
	assert_int_equal(put_one(l), 0);
	assert_int_equal(rename(moved, b->folder), 0);
	wait_healthy(a, true);
	assert_int_equal(put_one(l), 2);
	assert_int_equal(audit_flush(l), 0);
	wait_settled(b, l, 2);
	assert_int_equal(audit_durable(l), 2);
	text = file_text(b);
	assert_non_null(strstr(text, "1 lines before this one are missing, "
				     "the file could not be written: No such file"));
	assert_int_equal(count(text, "\n"), 3);
	free(text);
	audit_lane_free(l);
	audit_close(a);
}

static void what_cannot_be_an_audit_file_is_refused(void **state)
{
	struct bench *b = *state;
	struct problem why = {""};

	assert_null(audit_open(b->folder, AUDIT_SYNC_ALWAYS, "n", &why));
	assert_true(why.text[0]);
	assert_int_equal(mkfifo(b->path, 0600), 0);
	assert_null(audit_open(b->path, AUDIT_SYNC_ALWAYS, "n", &why));
	assert_int_equal(audit_tail(b->path, 1000, on_line, NULL, &why), -1);
	assert_null(audit_open("/nowhere/at/all/audit.jsonl", AUDIT_SYNC_ALWAYS, "n", &why));
	assert_int_equal(audit_tail(b->folder, 1000, on_line, NULL, &why), -1);
}

static void the_tail_is_a_window(void **state)
{
	struct bench *b = *state;
	struct audit *a = open_audit(b, AUDIT_SYNC_EVERYSEC);
	struct audit_lane *l = audit_lane_new(a, on_wake, b);
	struct seen seen = {0};
	struct problem why;
	char id[16];
	int i;

	assert_int_equal(audit_tail(b->path, 1000, on_line, &seen, &why), 0);
	for (i = 0; i < 20000; i++) { /* 1.9 MB: many steps back; one line a second */
		snprintf(id, sizeof id, "h-%d", i);
		assert_true(put(l, "handoff.completed", id, STATE_COMPLETED, AT + i * 1000));
	}
	assert_true(put(l, "node.stopped", NULL, STATE_UNSPECIFIED, AT + 19999 * 1000));
	audit_lane_free(l);
	audit_close(a);
	assert_int_equal(audit_tail(b->path, 60000, on_line, &seen, &why), AT + 19999 * 1000);
	assert_int_equal(seen.lines, 61);
	assert_string_equal(seen.last, "h-19999");
	seen = (struct seen){0};
	assert_int_equal(audit_tail(b->path, INT64_MAX, on_line, &seen, &why), AT + 19999 * 1000);
	assert_int_equal(seen.lines, 20000);
	seen = (struct seen){0};
	assert_int_equal(audit_tail("/tmp/no/such/file", 1000, on_line, &seen, &why), 0);
	assert_int_equal(seen.lines, 0);
}

static void the_tail_passes_over_what_is_not_a_line(void **state)
{
	static const char text[] =
		"garbage\n\n{}\n{\"at\":\"yesterday\",\"event\":\"decision\",\"handoff_id\":\"no\"}\n"
		"{\"at\":\"2026-11-24T00:25:01.123Z\",\"handoff_id\":\"no\"}\n"
		"{\"at\":\"2026-11-24T00:25:01.123Z\",\"event\":\"decision\",\"x\":{\"handoff_id\":\"no\"}}\n"
		"{\"at\":\"2026-11-24T00:25:01.123Z\",\"event\":\"decision\",\"handoff_id\":\"n\\u006f\","
		"\"state\":\"queued\"}\n"
		"{\"at\":\"2026-11-24T00:25:01.123Z\",\"event\":\"decision\",\"handoff_id\":\"no\"} trailing\n"
		"{\"at\":\"2026-11-24T00:25:01.123Z\",\"event\":\"decision\",\"message\":\"a\\\"}\",\"seq\":7,"
		"\"handoff_id\":\"yes\",\"state\":\"held\"}\n"
		"{\"at\":\"2026-11-24T00:25:01.123Z\",\"event\":\"decision\",\"handoff_id\":\"no";
	struct bench *b = *state;
	struct seen seen = {0};
	struct problem why;

	assert_int_equal(file_write_atomic(b->path, SLICE_LIT(text), 0600, &why), 0);
	assert_int_equal(audit_tail(b->path, 1000, on_line, &seen, &why), AT);
	assert_int_equal(seen.lines, 1);
	assert_string_equal(seen.last, "yes");
	assert_int_equal(seen.by_state[STATE_HELD], 1);
}

static int bench_new(void **state)
{
	struct bench *b = calloc(1, sizeof *b);

	if (!b)
		return -1;
	strcpy(b->folder, "/tmp/test_audit_XXXXXX");
	pthread_mutex_init(&b->lock, NULL);
	pthread_cond_init(&b->woke, NULL);
	if (!mkdtemp(b->folder))
		return -1;
	snprintf(b->path, sizeof b->path, "%s/audit.jsonl", b->folder);
	log_open(2, LOG_ERROR + 1, true); /* what it logs is not looked at here */
	*state = b;
	return 0;
}

static int bench_free(void **state)
{
	struct bench *b = *state;
	char moved[128];

	snprintf(moved, sizeof moved, "%s.1", b->path);
	unlink(moved);
	unlink(b->path);
	rmdir(b->folder);
	free(b);
	return 0;
}

#define BENCHED(f) cmocka_unit_test_setup_teardown(f, bench_new, bench_free)

int main(void)
{
	const struct CMUnitTest tests[] = {
		BENCHED(lines_hold_what_was_given),
		BENCHED(unknown_events_are_refused),
		BENCHED(synced_tickets_wait_for_the_disk),
		BENCHED(lines_that_nobody_waits_for_are_synced_together),
		BENCHED(a_disk_that_could_not_sync_comes_back_and_work_goes_on),
		BENCHED(lanes_do_not_mix_their_lines),
		BENCHED(a_torn_line_is_closed_first),
		BENCHED(a_full_disk_fails_tickets_then_recovers),
		BENCHED(space_returns_and_flush_goes_on),
		BENCHED(an_unseen_failure_is_not_overtaken),
		BENCHED(a_full_lane_refuses),
		BENCHED(reopening_follows_logrotate),
		BENCHED(no_descriptor_is_needed),
		BENCHED(a_file_that_is_gone_is_noticed),
		BENCHED(what_cannot_be_an_audit_file_is_refused),
		BENCHED(the_tail_is_a_window),
		BENCHED(the_tail_passes_over_what_is_not_a_line),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
