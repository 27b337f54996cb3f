/* What do the newest audit lines say? Read from the file's end: back in steps until a line is older than the window,
 * then forward. Lines are the ones that audit.c writes, flat and in one piece; what is anything else is passed over. */
#include "config.h"

#include "observe/audit_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "observe/audit_line.h"

#define STEP_BYTES (256 * 1024)
#define TAIL_BYTES (STEP_BYTES + AUDIT_LINE_BYTES)

struct tail {
	int fd;
	off_t size;
	uint8_t *p; /* TAIL_BYTES */
	int64_t newest_ms;
};

/* The parts of one line that matter; empty when absent. */
struct tail_line {
	int64_t at_ms;
	struct slice event, handoff_id, state;
};

static void line_member(struct tail_line *l, struct slice key, struct slice value)
{
	if (slice_is(key, "at"))
		l->at_ms = clock_parse_utc(value);
	else if (slice_is(key, "event"))
		l->event = value;
	else if (slice_is(key, "handoff_id"))
		l->handoff_id = value;
	else if (slice_is(key, "state"))
		l->state = value;
}

/* s: without its newline. False when it is torn or foreign. */
static bool line_parse(struct slice s, struct tail_line *l)
{
	struct audit_members all = audit_members_of(s);
	struct audit_member m;

	*l = (struct tail_line){.at_ms = -1};
	while (audit_member_next(&all, &m))
		if (m.plain)
			line_member(l, m.key, m.value);
	return all.whole && l->at_ms >= 0 && l->event.n;
}

/* Bytes to read at `at`: a line over the step's end is whole in it. */
static size_t step_size(const struct tail *t, off_t at)
{
	return t->size - at < TAIL_BYTES ? (size_t)(t->size - at) : TAIL_BYTES;
}

static int read_at(struct tail *t, off_t at, size_t n, struct problem *why)
{
	size_t done = 0;
	ssize_t got;

	while (done < n) {
		got = pread(t->fd, t->p + done, n - done, at + (off_t)done);
		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return problem_set(why, "cannot read the audit file: %s",
					   got < 0 ? strerror(errno) : "it became shorter");
		done += (size_t)got;
	}
	return 0;
}

typedef void line_fn(void *arg, struct tail *t, const struct tail_line *l);

/* Calls fn for each whole line in the first n bytes; returns how many bytes those took. `first`: the start may be
 * inside a line, which is then passed over. */
static size_t each_line(struct tail *t, size_t n, bool first, line_fn *fn, void *arg)
{
	struct tail_line l;
	size_t i = 0;
	uint8_t *end;

	while (i < n && (end = memchr(t->p + i, '\n', n - i))) {
		if (!first && line_parse(slice_of(t->p + i, (size_t)(end - (t->p + i))), &l))
			fn(arg, t, &l);
		first = false;
		i = (size_t)(end - t->p) + 1;
	}
	return i;
}

static void note_oldest(void *arg, struct tail *t, const struct tail_line *l)
{
	int64_t *oldest = arg;

	if (l->at_ms > t->newest_ms)
		t->newest_ms = l->at_ms;
	if (*oldest < 0 || l->at_ms < *oldest)
		*oldest = l->at_ms;
}

/* Steps back until what is there is older than the window. Returns where to begin, or -1. */
static off_t find_start(struct tail *t, int64_t window_ms, struct problem *why)
{
	off_t at = t->size;

	while (at > 0) {
		off_t from = at > STEP_BYTES ? at - STEP_BYTES : 0;
		size_t n = step_size(t, from);
		int64_t oldest = -1;

		if (read_at(t, from, n, why) < 0)
			return -1;
		each_line(t, n, from > 0, note_oldest, &oldest);
		at = from;
		if (oldest >= 0 && oldest < t->newest_ms - window_ms - AUDIT_LANE_SLACK_MS)
			break;
	}
	return at;
}

struct report {
	int64_t since_ms;
	void (*fn)(void *arg, struct slice event, struct slice handoff_id, enum handoff_state state);
	void *arg;
};

static void report_line(void *arg, struct tail *t, const struct tail_line *l)
{
	struct report *r = arg;

	(void)t;
	if (l->at_ms >= r->since_ms && l->handoff_id.n)
		r->fn(r->arg, l->event, l->handoff_id, state_from_text(l->state));
}

static int report_from(struct tail *t, off_t at, struct report *r, struct problem *why)
{
	bool inside = at > 0;
	size_t n, used;

	while (at < t->size) {
		n = step_size(t, at);
		if (read_at(t, at, n, why) < 0)
			return -1;
		used = each_line(t, n, inside, report_line, r);
		inside = !used; /* a line longer than any of ours: pass over it */
		at += (off_t)(used ? used : n);
	}
	return 0;
}

int64_t audit_tail(const char *path, int64_t window_ms,
		   void (*fn)(void *arg, struct slice event, struct slice handoff_id, enum handoff_state state),
		   void *arg, struct problem *why)
{
	struct tail t = {.fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY)};
	struct report r = {.fn = fn, .arg = arg};
	int64_t rc = -1;
	struct stat st;
	off_t at;

	if (t.fd < 0 && errno == ENOENT)
		return 0;
	if (t.fd < 0)
		return problem_set(why, "cannot open the audit file %s: %s", path, strerror(errno));
	if (fstat(t.fd, &st) < 0 || !S_ISREG(st.st_mode)) {
		problem_set(why, "the audit file %s is not a regular file", path);
		goto out;
	}
	t.size = st.st_size;
	t.p = malloc(TAIL_BYTES);
	if (!t.p) {
		problem_set(why, "out of memory");
		goto out;
	}
	at = find_start(&t, window_ms, why);
	if (at < 0)
		goto out;
	r.since_ms = t.newest_ms - window_ms;
	if (report_from(&t, at, &r, why) == 0)
		rc = t.newest_ms;
out:
	free(t.p);
	close(t.fd);
	return rc;
}
