/* See audit_search.h. A search's life, each step by the reader's thread, which does a piece of one and goes on to the next:
 *
 *     begun --go--> back --all, limit, bound--> telling --said how far--> (over), or following
 *
 * On the way back it notes where what it found stands; `telling` reads that again, and judges it again, for the file is not ours alone. */
#include "config.h"

#include "observe/audit_search.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "observe/audit_files.h"

#define STEP_BYTES (512 * 1024)      /* more than a line */
#define BATCH_BYTES (256 * 1024)     /* and one line more */
#define FOLLOW_MS 200                /* between two looks at what was written */
#define CLOCK_SLACK_MS 300000        /* lines are in the order in which they were written: a clock that steps moves them apart */
#define JOBS_MAX (4 * AUDIT_SEARCHES) /* with those that are over and not yet put away */

enum stage { STAGE_BEGUN, STAGE_BACK, STAGE_TELLING, STAGE_FOLLOWING, STAGE_OVER };

/* Where something stands. */
struct spot {
	dev_t dev;
	ino_t ino;
	off_t at;
	size_t n;
};

struct job {
	struct job *next;
	uint64_t id;
	/* under the reader's lock */
	bool gone, full, going;
	/* the thread's, but while full: whoever takes the batch */
	struct audit_batch out;
	/* the thread's alone, once it goes */
	struct audit_ask ask;
	enum stage stage;
	struct audit_open_file file;
	off_t end;                       /* back: what stands before this is still to be read; following: what stands behind it */
	bool inside;
	struct spot *spots;              /* found, the newest first */
	size_t n_spots;
	struct audit_looked looked;
	int64_t worked_us;               /* on it, the turns of others not counted */
	int64_t look_at_ms;              /* monotonic */
	struct audit_open_file live;     /* following begins there, at live.size */
	bool live_inside;
};

struct audit_reader {
	struct audit *audit;
	pthread_t thread;
	pthread_cond_t work;             /* monotonic clock */
	pthread_mutex_t lock;
	bool stop;
	uint64_t ids;
	struct job *jobs;
	uint8_t *p;                      /* STEP_BYTES, the thread's */
};

void audit_batch_init(struct audit_batch *b)
{
	memset(b, 0, sizeof *b);
	buf_init(&b->bytes, BATCH_BYTES + AUDIT_LINE_BYTES);
}

void audit_batch_clear(struct audit_batch *b)
{
	buf_clear(&b->bytes);
	b->n = 0;
	b->has_looked = false;
}

/* ---- reading ---- */

/* How many of the n bytes at `at` there are. */
static size_t read_at(int fd, uint8_t *p, off_t at, size_t n)
{
	size_t done = 0;
	ssize_t got;

	while (done < n) {
		got = pread(fd, p + done, n - done, at + (off_t)done);
		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			break;
		done += (size_t)got;
	}
	return done;
}

/* What a step does with its lines. */
struct piece {
	struct audit_reader *r;
	struct job *j;
	off_t from;                      /* of r->p */
	bool past;                       /* older than all that is asked for */
};

/* ---- back ---- */

static void back_ends(struct job *j, enum audit_end end)
{
	j->looked.end = end;
	if (end == AUDIT_END_BOUND && j->looked.from_ms)
		j->looked.from_ms += AUDIT_LANE_SLACK_MS; /* what is asked for next begins here: something twice is better than something never */
	j->stage = STAGE_TELLING;
	audit_file_close(&j->file);
}

static bool note(void *arg, size_t at, size_t n)
{
	struct piece *x = arg;
	struct job *j = x->j;
	struct slice line = slice_of(x->r->p + at, n);
	struct audit_found found;
	int64_t at_ms;
	enum audit_match m = n < AUDIT_LINE_BYTES ? audit_line_glance(&j->ask.query, line, &at_ms) : AUDIT_MATCH_FOREIGN;

	if (m == AUDIT_MATCH_YES) {
		m = audit_line_match(&j->ask.query, line, &found);
		at_ms = found.at_ms;
	}
	j->looked.skipped += m == AUDIT_MATCH_FOREIGN;
	if (m == AUDIT_MATCH_FOREIGN)
		return true;
	if (at_ms >= 0) { /* else it was not seen, of a line that is none anyhow */
		j->looked.from_ms = at_ms;
		x->past = at_ms < j->ask.query.from_ms - CLOCK_SLACK_MS;
	}
	if (m == AUDIT_MATCH_YES)
		j->spots[j->n_spots++] = (struct spot){j->file.dev, j->file.ino, x->from + (off_t)at, n};
	return !x->past && j->n_spots < j->ask.limit;
}

static void note_time(int64_t *at_ms, const struct audit_reader *r, size_t n, bool inside)
{
	static const struct audit_query any = {.scope = {.all = true}};
	const uint8_t *from = r->p, *end;
	size_t left = n;

	*at_ms = -1;
	while (*at_ms < 0 && left && (end = memchr(from, '\n', left))) {
		if (!inside)
			audit_line_glance(&any, slice_of(from, (size_t)(end - from)), at_ms);
		inside = false;
		left -= (size_t)(end - from) + 1;
		from = end + 1;
	}
}

/* What was written long after all that is asked for is not gone through: where it begins is found by halves. */
static off_t end_for(struct audit_reader *r, struct job *j)
{
	off_t low = 0, high = j->file.size;

	while (j->ask.query.to_ms && high - low > 2 * STEP_BYTES) {
		off_t middle = low + (high - low) / 2;
		size_t n = read_at(j->file.fd, r->p, middle, STEP_BYTES);
		int64_t at_ms;

		j->looked.bytes += n;
		note_time(&at_ms, r, n, middle > 0);
		if (at_ms < 0)
			break;
		if (at_ms > j->ask.query.to_ms + CLOCK_SLACK_MS)
			high = middle;
		else
			low = middle;
	}
	return high;
}

static void go_back_in(struct audit_reader *r, struct job *j)
{
	j->end = end_for(r, j);
	j->inside = true; /* behind its last newline a line may be under way, or torn */
}

static void older_file(struct audit_reader *r, struct job *j)
{
	struct audit_open_file f;
	bool lost;

	if (audit_file_before(r->audit, &j->file, &f, &lost) < 0) {
		back_ends(j, lost ? AUDIT_END_BOUND : AUDIT_END_ALL);
		return;
	}
	audit_file_close(&j->file);
	j->file = f;
	go_back_in(r, j);
}

static void step_back(struct audit_reader *r, struct job *j)
{
	size_t n = j->end < STEP_BYTES ? (size_t)j->end : STEP_BYTES;
	struct piece x = {.r = r, .j = j, .from = j->end - (off_t)n};
	bool was_inside = j->inside;
	size_t left;

	if (!n) {
		older_file(r, j);
		return;
	}
	if (j->looked.bytes >= (uint64_t)AUDIT_SEARCH_BYTES || j->worked_us > AUDIT_SEARCH_MS * INT64_C(1000)) {
		back_ends(j, AUDIT_END_BOUND);
		return;
	}
	if (read_at(j->file.fd, r->p, x.from, n) < n) { /* it was cut short, and copied elsewhere */
		j->looked.skipped++;
		older_file(r, j);
		return;
	}
	j->looked.bytes += n;
	left = audit_lines_back(slice_of(r->p, n), x.from == 0, &j->inside, note, &x);
	j->looked.skipped += !was_inside && j->inside;
	j->end = x.from + (off_t)left;
	if (j->n_spots == j->ask.limit)
		back_ends(j, AUDIT_END_LIMIT);
	else if (x.past)
		back_ends(j, AUDIT_END_ALL);
}

/* ---- telling ---- */

static bool room(const struct audit_batch *b)
{
	return b->n < AUDIT_BATCH_HITS && b->bytes.n < BATCH_BYTES;
}

static void put(struct job *j, const struct audit_found *f, off_t at)
{
	struct audit_batch *b = &j->out;
	struct audit_hit *h = &b->hits[b->n];

	h->at = b->bytes.n;
	h->at_ms = f->at_ms;
	h->seq = (uint64_t)at;
	memcpy(h->event, f->event, sizeof h->event);
	memcpy(h->node, f->node, sizeof h->node);
	if (buf_put_slice(&b->bytes, f->before) && buf_put_slice(&b->bytes, f->after)) {
		h->n = b->bytes.n - h->at;
		b->n++;
	} else {
		b->bytes.n = h->at;
		b->bytes.failed = false;
		j->looked.skipped++;
	}
}

static void tell_spot(struct audit_reader *r, struct job *j, const struct spot *s)
{
	struct audit_found found;

	if (!audit_file_is(&j->file, s->dev, s->ino)) {
		audit_file_close(&j->file);
		audit_file_again(r->audit, s->dev, s->ino, &j->file);
	}
	if (j->file.fd >= 0 && read_at(j->file.fd, r->p, s->at, s->n) == s->n && audit_line_match(&j->ask.query, slice_of(r->p, s->n), &found) == AUDIT_MATCH_YES)
		put(j, &found, s->at);
	else
		j->looked.skipped++;
}

static void begin_following(struct job *j)
{
	audit_file_close(&j->file);
	j->stage = STAGE_FOLLOWING;
	j->file = j->live;
	j->live.fd = -1;
	j->end = j->file.size;
	j->inside = j->live_inside;
}

static void tell(struct audit_reader *r, struct job *j)
{
	while (j->n_spots && room(&j->out))
		tell_spot(r, j, &j->spots[--j->n_spots]);
	if (j->n_spots)
		return;
	j->out.has_looked = true;
	j->out.looked = j->looked;
	if (j->ask.follow)
		begin_following(j);
	else
		j->stage = STAGE_OVER;
}

/* ---- following ---- */

static bool tell_line(void *arg, size_t at, size_t n)
{
	struct piece *x = arg;
	struct job *j = x->j;
	struct slice line = slice_of(x->r->p + at, n);
	struct audit_found found;
	int64_t at_ms;

	if (n < AUDIT_LINE_BYTES && audit_line_glance(&j->ask.query, line, &at_ms) == AUDIT_MATCH_YES && audit_line_match(&j->ask.query, line, &found) == AUDIT_MATCH_YES)
		put(j, &found, x->from + (off_t)at);
	return room(&j->out);
}

/* Nothing more comes into this file once another one is written; what came last is read after that was seen. torn: bytes at its end that are no line yet. */
static bool next_file(struct audit_reader *r, struct job *j, size_t torn)
{
	struct audit_open_file f;
	struct stat st;

	if (j->file.fd < 0) {
		f.fd = -1;
		audit_file_live(r->audit, &f);
	} else {
		audit_file_after(r->audit, &j->file, &f);
	}
	if (f.fd < 0)
		return false;
	if (j->file.fd >= 0 && fstat(j->file.fd, &st) == 0 && st.st_size > j->end + (off_t)torn) {
		audit_file_close(&f);
		return true; /* first that */
	}
	audit_file_close(&j->file);
	j->file = f;
	j->end = 0;
	j->inside = false;
	return true;
}

static void follow(struct audit_reader *r, struct job *j)
{
	struct piece x = {.r = r, .j = j, .from = j->end};
	struct stat st = {0};
	size_t n, used = 0;
	bool unread;

	if (j->file.fd >= 0 && fstat(j->file.fd, &st) == 0 && st.st_size < j->end) { /* it was copied, and begun anew */
		j->end = x.from = 0;
		j->inside = false;
	}
	n = j->file.fd < 0 ? 0 : read_at(j->file.fd, r->p, j->end, STEP_BYTES);
	if (n)
		used = audit_lines_on(slice_of(r->p, n), &j->inside, tell_line, &x);
	if (n == STEP_BYTES && !used) { /* longer than any line of ours */
		j->inside = true;
		used = n;
	}
	unread = !n && st.st_size > j->end; /* the disk does not give it */
	j->end += (off_t)used;
	if (!used && (unread || !next_file(r, j, n)))
		j->look_at_ms = clock_mono_ms() + FOLLOW_MS;
}

/* ---- the thread ---- */

static void begin(struct audit_reader *r, struct job *j)
{
	uint8_t last = '\n';

	j->stage = STAGE_BACK;
	if (audit_file_live(r->audit, &j->file) < 0) {
		back_ends(j, AUDIT_END_BOUND);
		return;
	}
	j->live = j->file;
	j->live.fd = j->ask.follow ? fcntl(j->file.fd, F_DUPFD_CLOEXEC, 0) : -1;
	if (j->live.size)
		read_at(j->file.fd, &last, j->live.size - 1, 1);
	j->live_inside = last != '\n';
	go_back_in(r, j);
}

static void step(struct audit_reader *r, struct job *j)
{
	switch (j->stage) {
	case STAGE_BEGUN:
		begin(r, j);
		break;
	case STAGE_BACK:
		step_back(r, j);
		break;
	case STAGE_TELLING:
		tell(r, j);
		break;
	case STAGE_FOLLOWING:
		follow(r, j);
		break;
	case STAGE_OVER:
		break;
	}
}

static void job_free(struct job *j)
{
	audit_file_close(&j->file);
	audit_file_close(&j->live);
	audit_batch_clear(&j->out);
	free(j->ask.query.scope.tenants);
	free(j->spots);
	free(j);
}

static void put_away_gone(struct audit_reader *r)
{
	struct job **at = &r->jobs, *j;

	while ((j = *at)) {
		if (j->gone) {
			*at = j->next;
			job_free(j);
		} else {
			at = &j->next;
		}
	}
}

/* Whose turn it is goes to the end of the list. *until_ms: until when nobody's is; INT64_MAX: until somebody asks. */
static struct job *take_turn(struct audit_reader *r, int64_t *until_ms)
{
	int64_t now = clock_mono_ms();
	struct job **at, *j = NULL;

	*until_ms = INT64_MAX;
	for (at = &r->jobs; *at; at = &(*at)->next) {
		j = *at;
		if (!j->going || j->full || j->stage == STAGE_OVER)
			continue;
		if (j->look_at_ms <= now)
			break;
		*until_ms = j->look_at_ms < *until_ms ? j->look_at_ms : *until_ms;
	}
	if (!*at)
		return NULL;
	*at = j->next;
	j->next = NULL;
	for (at = &r->jobs; *at; at = &(*at)->next)
		;
	*at = j;
	return j;
}

static void rest(struct audit_reader *r, int64_t until_ms)
{
	struct timespec t = {.tv_sec = until_ms / 1000, .tv_nsec = until_ms % 1000 * 1000000};

	if (until_ms == INT64_MAX)
		pthread_cond_wait(&r->work, &r->lock);
	else
		pthread_cond_timedwait(&r->work, &r->lock, &t);
}

/* With the lock, which is given up while it reads. */
static void work_on(struct audit_reader *r, struct job *j)
{
	int64_t began_us;

	pthread_mutex_unlock(&r->lock);
	began_us = clock_mono_us();
	step(r, j);
	j->worked_us += clock_mono_us() - began_us;
	pthread_mutex_lock(&r->lock);
	if (!j->out.n && !j->out.has_looked)
		return;
	j->full = true;
	if (!j->gone)
		j->ask.wake(j->ask.arg);
}

static void *reader_main(void *arg)
{
	struct audit_reader *r = arg;
	struct job *j;
	int64_t until;

	pthread_mutex_lock(&r->lock);
	while (!r->stop) {
		put_away_gone(r);
		j = take_turn(r, &until);
		if (j)
			work_on(r, j);
		else
			rest(r, until);
	}
	pthread_mutex_unlock(&r->lock);
	return NULL;
}

struct audit_reader *audit_reader_new(struct audit *a, struct problem *why)
{
	struct audit_reader *r = calloc(1, sizeof *r);
	pthread_condattr_t attr;
	int rc = ENOMEM;

	if (r && (r->p = malloc(STEP_BYTES))) {
		r->audit = a;
		pthread_mutex_init(&r->lock, NULL);
		pthread_condattr_init(&attr);
		pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
		pthread_cond_init(&r->work, &attr);
		pthread_condattr_destroy(&attr);
		rc = pthread_create(&r->thread, NULL, reader_main, r);
		if (!rc)
			return r;
		pthread_cond_destroy(&r->work);
		pthread_mutex_destroy(&r->lock);
		free(r->p);
	}
	free(r);
	problem_set(why, "cannot start the thread that reads the audit: %s", strerror(rc));
	return NULL;
}

void audit_reader_free(struct audit_reader *r)
{
	struct job *j, *next;

	if (!r)
		return;
	pthread_mutex_lock(&r->lock);
	r->stop = true;
	pthread_cond_signal(&r->work);
	pthread_mutex_unlock(&r->lock);
	pthread_join(r->thread, NULL);
	for (j = r->jobs; j; j = next) {
		next = j->next;
		job_free(j);
	}
	pthread_cond_destroy(&r->work);
	pthread_mutex_destroy(&r->lock);
	free(r->p);
	free(r);
}

/* ---- who asks ---- */

static struct job *find(struct audit_reader *r, uint64_t id)
{
	struct job *j = r->jobs;

	while (j && (j->id != id || j->gone))
		j = j->next;
	return j;
}

/* So many of a tenant's are under way. */
static size_t searches_of(const struct audit_reader *r, const char *tenant)
{
	size_t n = 0;

	for (const struct job *j = r->jobs; j; j = j->next)
		n += !j->gone && !j->ask.query.scope.all && audit_scope_has(&j->ask.query.scope, tenant);
	return n;
}

static enum audit_begun has_place(const struct audit_reader *r, const struct audit_ask *ask)
{
	const struct audit_scope *s = &ask->query.scope;
	size_t all = 0, n = 0, bound = 0;

	for (const struct job *j = r->jobs; j; j = j->next) {
		all++;
		n += !j->gone;
		bound += !j->gone && !j->ask.query.scope.all;
		if (!j->gone && j->ask.connection == ask->connection)
			return AUDIT_BUSY_HERE;
	}
	for (size_t i = 0; i < s->n && !s->all; i++)
		if (searches_of(r, s->tenants[i]) >= AUDIT_SEARCHES_TENANT)
			return AUDIT_BUSY_TENANT;
	return all < JOBS_MAX && n < AUDIT_SEARCHES && (s->all || bound < AUDIT_SEARCHES_BOUND) ? AUDIT_BEGUN : AUDIT_BUSY;
}

static struct job *job_new(struct audit_ask *ask)
{
	struct job *j = calloc(1, sizeof *j);

	if (!j)
		return NULL;
	j->spots = calloc(ask->limit, sizeof *j->spots);
	if (!j->spots) {
		free(j);
		return NULL;
	}
	j->file.fd = j->live.fd = -1;
	j->ask = *ask;
	ask->query.scope.tenants = NULL;
	audit_batch_init(&j->out);
	return j;
}

enum audit_begun audit_search_begin(struct audit_reader *r, struct audit_ask *ask, uint64_t *id)
{
	struct audit_open_file f;
	enum audit_begun rc = audit_file_live(r->audit, &f) < 0 ? AUDIT_NO_FILE : AUDIT_BEGUN;
	struct job *j = NULL;

	audit_file_close(&f);
	pthread_mutex_lock(&r->lock);
	if (rc == AUDIT_BEGUN)
		rc = has_place(r, ask);
	if (rc == AUDIT_BEGUN && !(j = job_new(ask)))
		rc = AUDIT_NO_MEMORY;
	if (j) {
		*id = j->id = ++r->ids;
		j->next = r->jobs;
		r->jobs = j;
	}
	pthread_mutex_unlock(&r->lock);
	free(ask->query.scope.tenants);
	ask->query.scope.tenants = NULL;
	return rc;
}

void audit_search_go(struct audit_reader *r, uint64_t id)
{
	struct job *j;

	pthread_mutex_lock(&r->lock);
	j = find(r, id);
	if (j)
		j->going = true;
	pthread_cond_signal(&r->work);
	pthread_mutex_unlock(&r->lock);
}

bool audit_search_take(struct audit_reader *r, uint64_t id, struct audit_batch *b)
{
	struct job *j;
	struct buf bytes;
	bool full;

	pthread_mutex_lock(&r->lock);
	j = find(r, id);
	full = j && j->full;
	if (full) {
		bytes = b->bytes;
		*b = j->out;
		buf_reset(&bytes);
		j->out.bytes = bytes;
		j->out.n = 0;
		j->out.has_looked = false;
		j->full = false;
		pthread_cond_signal(&r->work);
	}
	pthread_mutex_unlock(&r->lock);
	return full;
}

void audit_search_end(struct audit_reader *r, uint64_t id)
{
	struct job *j;

	if (!id)
		return;
	pthread_mutex_lock(&r->lock);
	j = find(r, id);
	if (j)
		j->gone = true;
	pthread_cond_signal(&r->work);
	pthread_mutex_unlock(&r->lock);
}
