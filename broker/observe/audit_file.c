/* How do a worker's lines reach the file? In one write(2) a flush, under one lock, so that a short write of one
 * worker cannot be split by another's line. A write that fails loses its lines for good (their callers refuse); the
 * next flush, or the sync thread a second later, tries again and first closes the torn line and says what is
 * missing. */
#include "config.h"

#include "observe/audit_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"

void audit_set_health(struct audit *a)
{
	bool ok = !a->write_bad && !a->sync_bad;

	if (atomic_exchange(&a->healthy, ok) == ok)
		return;
	if (ok)
		log_event(LOG_WARN, "audit.recovered", F_STR("file", a->path));
	else
		log_event(LOG_ERROR, "audit.unwritable", F_STR("file", a->path),
			  F_STR("error", strerror(a->lost_errno)),
			  F_STR("remedy", "free space on its disk or make it writable; until then work is refused"));
}

/* All of it, or -1; then torn says whether the file now ends inside a line. */
static int write_lines(struct audit *a, struct slice s)
{
	size_t done = 0;
	ssize_t put;

	if (a->fd < 0) {
		errno = EBADF;
		return -1;
	}
	while (done < s.n) {
		put = write(a->fd, s.p + done, s.n - done);
		if (put < 0 && errno == EINTR)
			continue;
		if (put == 0)
			errno = ENOSPC;
		if (put <= 0)
			break;
		done += (size_t)put;
	}
	if (done) {
		a->torn = s.p[done - 1] != '\n';
		a->dirty = true;
	}
	return done == s.n ? 0 : -1;
}

static int write_failed(struct audit *a)
{
	a->lost_errno = errno;
	a->write_bad = true;
	audit_set_health(a);
	return -1;
}

static int close_torn_line(struct audit *a)
{
	return a->torn ? write_lines(a, SLICE_LIT("\n")) : 0;
}

int audit_recover(struct audit *a)
{
	struct audit_record r = {.event = "audit.recovered", .at_ms = clock_unix_ms()};
	struct buf line, scratch;
	uint64_t refused = atomic_load(&a->refused);
	struct problem what;
	int rc = -1;

	buf_init(&line, AUDIT_LINE_BYTES);
	buf_init(&scratch, AUDIT_LINE_BYTES);
	problem_set(&what, "%llu lines before this one are missing, the file could not be written: %s",
		    (unsigned long long)(a->lost_lines + refused), strerror(a->lost_errno));
	r.message = slice_str(what.text);
	if ((a->fd < 0 && audit_swap(a, NULL) < 0) || close_torn_line(a) < 0 || !audit_format(a, &line, &scratch, &r) ||
	    write_lines(a, buf_slice(&line)) < 0) {
		write_failed(a);
		goto out;
	}
	a->write_bad = false;
	a->lost_lines = 0;
	atomic_fetch_sub(&a->refused, refused);
	audit_set_health(a);
	rc = 0;
out:
	buf_clear(&line);
	buf_clear(&scratch);
	return rc;
}

int audit_write(struct audit *a, struct slice lines)
{
	if (a->write_bad && audit_recover(a) < 0)
		return -1;
	if (!lines.n)
		return 0;
	if (close_torn_line(a) < 0 || write_lines(a, lines) < 0)
		return write_failed(a);
	return 0;
}

/* Opens path; *torn: it ends inside a line. */
static int file_open(const char *path, bool *torn, struct problem *why)
{
	int fd = open(path, O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0600);
	struct stat st;
	char last;

	if (fd < 0)
		return problem_set(why, "cannot open the audit file %s for append: %s", path, strerror(errno));
	if (fstat(fd, &st) < 0 || (!S_ISREG(st.st_mode) && !S_ISCHR(st.st_mode))) {
		close(fd);
		errno = EINVAL;
		return problem_set(why, "the audit file %s is not a regular file", path);
	}
	*torn = S_ISREG(st.st_mode) && st.st_size && (pread(fd, &last, 1, st.st_size - 1) != 1 || last != '\n');
	if (S_ISREG(st.st_mode) && !st.st_size)
		file_sync_folder(path); /* a file that is just made; when it fails the file itself still counts */
	return fd;
}

void audit_retire(struct audit *a)
{
	if (a->fd >= 0)
		a->retired[a->n_retired++] = a->fd;
	a->fd = -1;
}

int audit_swap(struct audit *a, struct problem *why)
{
	bool torn = false;
	int fd;

	if (a->n_retired == AUDIT_RETIRED_MAX) {
		errno = EBUSY;
		return problem_set(why, "the audit file %s was just reopened several times: try again", a->path);
	}
	fd = file_open(a->path, &torn, why);
	if (fd < 0)
		return -1;
	audit_retire(a);
	a->fd = fd;
	a->torn = torn;
	a->dirty = true;
	pthread_cond_signal(&a->work);
	return 0;
}

struct audit *audit_open(const char *path, enum audit_sync sync, const char *node, struct problem *why)
{
	struct audit *a = calloc(1, sizeof *a);

	if (!a) {
		problem_set(why, "out of memory");
		return NULL;
	}
	a->sync = sync;
	a->fd = -1;
	atomic_init(&a->healthy, true);
	pthread_mutex_init(&a->lock, NULL);
	snprintf(a->node, sizeof a->node, "%s", node ? node : "");
	if (!slice_copy_str(slice_str(path), a->path, sizeof a->path))
		problem_set(why, "the audit file's path is too long");
	else
		a->fd = file_open(path, &a->torn, why);
	if (a->fd < 0)
		goto failed;
	if (close_torn_line(a) < 0)
		write_failed(a);
	if (audit_sync_start(a, why) == 0)
		return a;
	close(a->fd);
failed:
	pthread_mutex_destroy(&a->lock);
	free(a);
	return NULL;
}

void audit_close(struct audit *a)
{
	if (!a)
		return;
	audit_sync_stop(a);
	if (a->fd >= 0)
		close(a->fd);
	pthread_mutex_destroy(&a->lock);
	free(a);
}

int audit_reopen(struct audit *a, struct problem *why)
{
	int rc;

	pthread_mutex_lock(&a->lock);
	rc = audit_swap(a, why);
	if (rc == 0 && a->write_bad)
		audit_recover(a);
	pthread_mutex_unlock(&a->lock);
	return rc;
}

bool audit_healthy(const struct audit *a)
{
	return atomic_load_explicit(&a->healthy, memory_order_relaxed);
}

struct audit_lane *audit_lane_new(struct audit *a, void (*wake)(void *arg), void *arg)
{
	struct audit_lane *l = calloc(1, sizeof *l);

	if (!l)
		return NULL;
	l->audit = a;
	l->wake = wake;
	l->arg = arg;
	buf_init(&l->lines, AUDIT_LANE_BYTES);
	buf_init(&l->line, AUDIT_LINE_BYTES);
	buf_init(&l->scratch, AUDIT_LINE_BYTES);
	pthread_mutex_lock(&a->lock);
	l->next = a->lanes;
	a->lanes = l;
	pthread_mutex_unlock(&a->lock);
	return l;
}

void audit_lane_free(struct audit_lane *l)
{
	struct audit_lane **at;

	if (!l)
		return;
	audit_flush(l);
	pthread_mutex_lock(&l->audit->lock);
	for (at = &l->audit->lanes; *at != l; at = &(*at)->next)
		;
	*at = l->next;
	pthread_mutex_unlock(&l->audit->lock);
	buf_clear(&l->lines);
	buf_clear(&l->line);
	buf_clear(&l->scratch);
	free(l);
}

/* Makes a loss known once all that was written before it is durable. True when it did. */
bool audit_lane_publish(struct audit_lane *l)
{
	if (!l->lost || l->lost == atomic_load(&l->failed) || atomic_load(&l->durable) != l->written)
		return false;
	atomic_store(&l->failed, l->lost);
	return true;
}

/* The worker saw the last loss, so that later tickets may be durable again. */
static bool lane_clean(struct audit_lane *l)
{
	if (l->lost && atomic_load(&l->seen) >= l->lost)
		l->lost = 0;
	return !l->lost;
}

static int lane_write(struct audit_lane *l, uint64_t lines)
{
	struct audit *a = l->audit;
	bool awaited = l->awaited;

	l->awaited = false; /* of these lines alone, whatever becomes of them */
	if (!lane_clean(l) || audit_write(a, buf_slice(&l->lines)) < 0) {
		a->lost_lines += lines;
		audit_count_lost(a, lines);
		if (lines)
			l->lost = l->put;
		audit_lane_publish(l);
		return -1;
	}
	l->written = l->put;
	if (a->sync == AUDIT_SYNC_EVERYSEC) {
		atomic_store(&l->durable, l->written);
	} else if (awaited) {
		a->awaited = true;
		pthread_cond_signal(&a->work);
	}
	return 0;
}

int audit_flush(struct audit_lane *l)
{
	struct audit *a = l->audit;
	uint64_t last;
	int rc;

	if (!l->lines.n && audit_healthy(a))
		return 0;
	pthread_mutex_lock(&a->lock);
	last = l->lost > l->written ? l->lost : l->written;
	rc = lane_write(l, l->put > last && l->lines.n ? l->put - last : 0);
	pthread_mutex_unlock(&a->lock);
	buf_reset(&l->lines);
	return rc;
}

uint64_t audit_durable(const struct audit_lane *l)
{
	return atomic_load(&l->durable);
}

uint64_t audit_failed(const struct audit_lane *l)
{
	uint64_t failed = atomic_load(&l->failed);

	atomic_store(&((struct audit_lane *)l)->seen, failed);
	return failed;
}
