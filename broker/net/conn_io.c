/* How do a connection's bytes move? In: SSL_read straight from the socket into one buffer of the worker, a record at
 * a time, and on to the HTTP/2 session. Out: once a tick, everything that the session gives, as few large records;
 * only what the socket does not take is kept, in a buffer of the connection that goes away when it is empty. */
#include "config.h"

#include <errno.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "net/link.h"
#include "net/worker.h"

#define RECORDS_A_TICK 16           /* read from one connection before the others have their turn */
#define PULL_BYTES (64 * 1024)
#define FLUSH_BYTES (1024 * 1024)   /* written to one connection a round */
#define WASTE_MAX 64
#define BARREN_MAX 20000            /* a record that comes byte by byte stays below it */

static void want(struct conn *c)
{
	bool write = (c->write_blocked && !c->write_wants_read) || c->read_wants_write;

	if (c->watch)
		loop_fd_want(c->watch, LOOP_READ | (write ? LOOP_WRITE : 0));
}

/* ---- out ---- */

static void write_progress(struct conn *c, enum tls_step step)
{
	c->write_blocked = step == TLS_WANT_READ || step == TLS_WANT_WRITE;
	c->write_wants_read = step == TLS_WANT_READ;
	if (!c->write_blocked) {
		c->blocked_since_ms = 0;
	} else if (!c->blocked_since_ms) {
		c->blocked_since_ms = clock_mono_ms();
		conn_check_by(c, c->blocked_since_ms + c->worker->limits.stalled_ms);
	}
}

/* Returns how many bytes the socket took; *step: TLS_DONE when all. */
static size_t write_some(struct conn *c, const struct buf *b, enum tls_step *step)
{
	size_t done = 0, n;

	*step = TLS_DONE;
	while (done < b->n && *step == TLS_DONE) {
		*step = link_write(c->fd, c->tls, b->p + done, b->n - done, &n);
		done += n;
	}
	if (done)
		c->blocked_since_ms = 0; /* it takes something: not stalled */
	write_progress(c, *step);
	return done;
}

static bool write_failed(struct conn *c, enum tls_step step)
{
	if (step != TLS_FAILED && step != TLS_EOF)
		return false;
	if (c->state == CONN_LINGER)
		conn_die(c);
	else
		conn_abort(c, "connection_broken");
	return true;
}

/* What was left last time. False when some still is. */
static bool flush_pending(struct conn *c)
{
	enum tls_step step;
	size_t n;

	if (!c->pending.n)
		return true;
	n = write_some(c, &c->pending, &step);
	if (write_failed(c, step))
		return false;
	buf_drop(&c->pending, n);
	if (c->pending.n)
		return false;
	buf_clear(&c->pending);
	return true;
}

/* One helping from the session. False when there was none, or the socket took not all of it. */
static bool flush_pulled(struct conn *c)
{
	struct buf *b = &c->worker->scratch;
	enum tls_step step;
	size_t n;

	buf_reset(b);
	if (h2_pull(c->h2, b, PULL_BYTES) < 0)
		c->h2_over = true;
	if (!b->n)
		return false;
	n = write_some(c, b, &step);
	if (write_failed(c, step))
		return false;
	if (n == b->n)
		return true;
	if (!buf_put(&c->pending, b->p + n, b->n - n)) {
		conn_abort(c, "out_of_memory");
		return false;
	}
	return false;
}

/* Draining, or over: when nothing is left to say, it closes. */
static void settle(struct conn *c)
{
	if (!conn_live(c) || c->pending.n)
		return;
	if (c->h2_over)
		conn_close(c, 0, h2_error(c->h2));
	else if (c->goaway_final && !c->calls)
		conn_close(c, 0, "drained");
	else if (h2_done(c->h2))
		conn_close(c, 0, "done");
}

void conn_flush(struct conn *c)
{
	size_t left = FLUSH_BYTES / PULL_BYTES;

	if (c->mute || !c->h2)
		return;
	if (c->write_blocked && c->state != CONN_CLOSING)
		goto out; /* the socket will say when it takes more */
	if (!flush_pending(c))
		goto out;
	while (left && flush_pulled(c))
		left--;
	if (left)
		settle(c);
	else if (conn_live(c))
		conn_touch(c); /* more of it in the next round, after the others */
out:
	want(c);
}

/* ---- in ---- */

static void note_headers(struct conn *c, uint32_t units_before)
{
	if (!framewatch_inside(&c->frames)) {
		c->headers_since_ms = 0;
	} else if (!c->headers_since_ms || c->frames.units != units_before) {
		c->headers_since_ms = c->worker->now_ms;
		conn_check_by(c, c->headers_since_ms + c->worker->limits.headers_ms);
	}
}

static void take(struct conn *c, struct slice bytes)
{
	uint32_t units = c->frames.units;

	c->read_ms = c->worker->now_ms;
	c->barren = 0;
	framewatch_feed(&c->frames, bytes);
	if (h2_feed(c->h2, bytes) < 0) {
		c->h2_over = true;
		conn_close(c, 0, h2_error(c->h2));
		return;
	}
	if (c->state == CONN_PREFACE && c->frames.units) {
		conn_set_state(c, CONN_OPEN);
		conn_check_by(c, c->read_ms + c->worker->limits.keepalive_ms);
	}
	note_headers(c, units);
	conn_touch(c);
}

static void read_ended(struct conn *c, enum tls_step step)
{
	if (step == TLS_FAILED) {
		conn_abort(c, "connection_broken");
		return;
	}
	c->h2_over = true; /* no GOAWAY for who has gone */
	conn_close(c, 0, "peer_closed");
}

static void read_all(struct conn *c)
{
	struct worker *w = c->worker;
	enum tls_step step = TLS_DONE;
	size_t n;

	w->now_ms = clock_mono_ms();
	c->barren++;
	for (int i = 0; i < RECORDS_A_TICK && step == TLS_DONE && conn_live(c); i++) {
		step = link_read(c->fd, c->tls, w->read_buffer, TLS_RECORD_BYTES, &n);
		if (step == TLS_DONE)
			take(c, slice_of(w->read_buffer, n));
	}
	if (!conn_live(c))
		return;
	if (step == TLS_EOF || step == TLS_FAILED) {
		read_ended(c, step);
		return;
	}
	if (c->barren > BARREN_MAX) {
		conn_abort(c, "too_many_records"); /* KeyUpdates, mostly: TLS has no budget for them */
		return;
	}
	c->read_wants_write = step == TLS_WANT_WRITE;
	want(c);
}

/* Until the last bytes are out, and then until the peer has closed too, or the time is over. */
void conn_linger(struct conn *c)
{
	char waste[4096];
	ssize_t n;

	if (!flush_pending(c)) {
		if (c->state == CONN_LINGER)
			loop_fd_want(c->watch, LOOP_WRITE);
		return;
	}
	if (!c->said_bye) {
		c->said_bye = true;
		link_shutdown(c->fd, c->tls);
	}
	loop_fd_want(c->watch, LOOP_READ);
	n = recv(c->fd, waste, sizeof waste, 0);
	if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR) || ++c->wasted > WASTE_MAX)
		conn_die(c);
}

static void before_io(const struct call_handler *h)
{
	if (h->before_io)
		h->before_io(h->user);
}

void conn_on_ready(void *arg, int what)
{
	struct conn *c = arg;

	if (c->state == CONN_HANDSHAKE) {
		conn_shake(c);
	} else if (c->state == CONN_LINGER) {
		conn_linger(c);
	} else if (conn_live(c)) {
		before_io(c->worker->handler);
		if (!conn_live(c))
			return;
		if (what & LOOP_WRITE || c->write_wants_read) {
			c->write_blocked = c->write_wants_read = false;
			conn_touch(c);
		}
		if (what & LOOP_READ || c->read_wants_write)
			read_all(c);
	}
}
