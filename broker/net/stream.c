/* How does Baton talk to a server of its own choosing? See stream.h. Opening is dial.c, TLS is tls_io.c; here is the
 * life of the connection and its two buffers.
 *
 *     DIALING ──> HANDSHAKE (TLS only) ──> OPEN ──> DEAD
 *        └────────────┴── failed, timed out ────────↑
 *
 * DEAD is entered once: by a failure, which calls on_close, or by stream_close(), which calls nothing. Memory goes
 * at the tick's tail, so that a callback may close the stream it was called for. */
#include "config.h"

#include "net/stream.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/secret.h"
#include "net/dial.h"
#include "net/link.h"

#define READ_CHUNK 65536
#define OUT_KEPT (1u << 20) /* bytes of an empty write buffer's memory that stay allocated */
#define READS_A_TICK 16 /* then the others have their turn */

enum stream_state { STREAM_DIALING, STREAM_HANDSHAKE, STREAM_OPEN, STREAM_DEAD };

struct stream {
	enum stream_state state;
	struct loop *loop;
	struct stream_events ev;
	void *user;
	char *host;
	int64_t give_up_ms; /* opening must be done by then */
	struct dial *dial;
	struct tls_client *tls_client;
	struct tls_io *tls;
	int fd;
	struct loop_fd *watch;
	struct loop_timer *timer;
	struct loop_tail flush, reap, fail;
	bool blocked;       /* the socket took no more: wait until it is writable */
	bool secret;        /* what is in out is to be wiped */
	bool read_blocked;  /* a TLS read that waits for the socket to be writable */
	char why[160];      /* of a failure that is told at the tail */
	struct buf out, in;
};

static void set_state(struct stream *s, enum stream_state to)
{
	s->state = to;
	if (to == STREAM_DEAD)
		loop_defer(s->loop, &s->reap);
}

static void release(struct stream *s)
{
	dial_cancel(s->dial);
	s->dial = NULL;
	loop_defer_cancel(s->loop, &s->flush);
	loop_defer_cancel(s->loop, &s->fail);
	loop_fd_free(s->watch);
	s->watch = NULL;
	loop_timer_stop(s->timer);
	if (s->tls) {
		tls_io_shutdown(s->tls);
		tls_io_free(s->tls);
		s->tls = NULL;
	}
	if (s->fd >= 0)
		close(s->fd);
	s->fd = -1;
}

/* All of it: what was moved to the front left a copy behind. */
static void wipe_out(struct stream *s)
{
	if (s->secret)
		secret_wipe(s->out.p, s->out.size);
	s->secret = false;
}

static void reap(void *arg)
{
	struct stream *s = arg;

	loop_timer_free(s->timer);
	tls_client_free(s->tls_client);
	wipe_out(s);
	buf_clear(&s->out);
	buf_clear(&s->in);
	free(s->host);
	free(s);
}

static void die(struct stream *s, const char *why)
{
	if (s->state == STREAM_DEAD)
		return;
	set_state(s, STREAM_DEAD);
	s->ev.on_close(s->user, why);
	release(s); /* after the call: `why` may lie in what this frees */
}

static void fail_later(void *arg)
{
	struct stream *s = arg;

	die(s, s->why);
}

static void want(struct stream *s)
{
	if (s->watch)
		loop_fd_want(s->watch, LOOP_READ | (s->blocked || s->read_blocked ? LOOP_WRITE : 0));
}

/* A server that does not like our certificate says so only after the handshake (RFC 8446 §4.4.2.4). */
static const char *broken(struct stream *s)
{
	if (!s->tls || !*tls_io_detail(s->tls))
		return "connection broken";
	snprintf(s->why, sizeof s->why, "TLS: %s", tls_io_detail(s->tls));
	return s->why;
}

static void flush(void *arg)
{
	struct stream *s = arg;
	size_t done = 0, n;
	enum tls_step step = TLS_DONE;

	if (s->state != STREAM_OPEN)
		return;
	if (s->out.failed) {
		die(s, "write buffer full");
		return;
	}
	while (done < s->out.n && step == TLS_DONE) {
		step = link_write(s->fd, s->tls, s->out.p + done, s->out.n - done, &n);
		done += n;
	}
	if (step == TLS_FAILED || step == TLS_EOF) {
		die(s, broken(s));
		return;
	}
	buf_drop(&s->out, done);
	if (!s->out.n)
		wipe_out(s);
	if (!s->out.n && s->out.size > OUT_KEPT)
		buf_clear(&s->out);
	s->blocked = step == TLS_WANT_WRITE; /* after WANT_READ the next read tries again */
	want(s);
}

/* Shows what lies in `in`, or else `fresh` itself. false when the stream is dead after it. */
static bool show(struct stream *s, struct slice fresh)
{
	long taken;
	struct slice all = fresh;

	if (s->in.n) {
		if (!buf_put_slice(&s->in, fresh)) {
			die(s, "read buffer full");
			return false;
		}
		all = buf_slice(&s->in);
	}
	taken = s->ev.on_data(s->user, all);
	if (s->state == STREAM_DEAD)
		return false;
	if (taken < 0 || (size_t)taken > all.n) {
		die(s, "closed by the reader of its data");
		return false;
	}
	if (s->in.n) {
		buf_drop(&s->in, (size_t)taken);
		if (!s->in.n)
			buf_clear(&s->in);
	} else if ((size_t)taken < fresh.n && !buf_put(&s->in, fresh.p + taken, fresh.n - (size_t)taken)) {
		die(s, "read buffer full");
		return false;
	}
	return true;
}

static void pump(struct stream *s)
{
	uint8_t chunk[READ_CHUNK];
	enum tls_step step = TLS_DONE;
	size_t n;

	for (int i = 0; i < READS_A_TICK && step == TLS_DONE; i++) {
		step = link_read(s->fd, s->tls, chunk, sizeof chunk, &n);
		if (step == TLS_DONE && !show(s, slice_of(chunk, n)))
			return;
		if (!s->tls && n < sizeof chunk)
			break; /* the socket is empty; were it not, it would be told again */
	}
	if (step == TLS_EOF) {
		die(s, "closed by the server");
		return;
	}
	if (step == TLS_FAILED) {
		die(s, broken(s));
		return;
	}
	s->read_blocked = step == TLS_WANT_WRITE;
	if (s->out.n)
		loop_defer(s->loop, &s->flush);
	want(s);
}

static void opened(struct stream *s)
{
	loop_timer_stop(s->timer);
	set_state(s, STREAM_OPEN);
	want(s);
	s->ev.on_open(s->user);
}

static void shake(struct stream *s)
{
	enum tls_step step = tls_io_handshake(s->tls);

	switch (step) {
	case TLS_DONE:
		opened(s);
		break;
	case TLS_WANT_READ:
		loop_fd_want(s->watch, LOOP_READ);
		break;
	case TLS_WANT_WRITE:
		loop_fd_want(s->watch, LOOP_WRITE);
		break;
	default:
		snprintf(s->why, sizeof s->why, "TLS: %s", tls_io_detail(s->tls));
		die(s, s->why);
	}
}

static void on_ready(void *arg, int what)
{
	struct stream *s = arg;

	if (s->state == STREAM_HANDSHAKE) {
		shake(s);
		return;
	}
	if (s->state != STREAM_OPEN)
		return;
	if (what & LOOP_WRITE) {
		s->blocked = false;
		loop_defer(s->loop, &s->flush);
	}
	if (what & LOOP_READ || s->read_blocked)
		pump(s);
}

static void on_dialed(void *arg, int fd, const char *why)
{
	struct stream *s = arg;

	s->dial = NULL;
	if (fd < 0) {
		die(s, why);
		return;
	}
	s->fd = fd;
	s->watch = loop_fd_new(s->loop, fd, on_ready, s);
	if (s->watch && !s->tls_client) {
		opened(s);
		return;
	}
	s->tls = s->watch ? tls_io_client(s->tls_client, fd, s->host) : NULL;
	if (!s->tls) {
		die(s, "out of memory");
		return;
	}
	set_state(s, STREAM_HANDSHAKE);
	loop_timer_set(s->timer, s->give_up_ms - clock_mono_ms());
	shake(s);
}

static void on_timeout(void *arg)
{
	die(arg, "TLS: timed out");
}

/* 0, or -1 with s->why. */
static int begin(struct stream *s, const struct stream_target *t)
{
	struct problem why = {""};
	struct dial_target d = {
		.unix_path = t->unix_path, .host = t->host, .port = t->port, .timeout_ms = t->connect_timeout_ms};

	if (t->tls) {
		s->tls_client = tls_client_new(t->ca_file, t->cert_file, t->key_file, &why);
		if (!s->tls_client) {
			snprintf(s->why, sizeof s->why, "TLS: %.150s", why.text);
			return -1;
		}
	}
	s->dial = dial_start(s->loop, &d, on_dialed, s);
	if (s->dial)
		return 0;
	snprintf(s->why, sizeof s->why, "out of memory");
	return -1;
}

struct stream *stream_open(struct loop *l, const struct stream_target *t, const struct stream_events *ev, void *user)
{
	struct stream *s = calloc(1, sizeof *s);

	if (!s)
		return NULL;
	s->loop = l;
	s->ev = *ev;
	s->user = user;
	s->fd = -1;
	s->give_up_ms = clock_mono_ms() + t->connect_timeout_ms;
	s->flush = (struct loop_tail){.fn = flush, .arg = s, .stage = LOOP_STAGE_SEND};
	s->fail = (struct loop_tail){.fn = fail_later, .arg = s, .stage = LOOP_STAGE_SEND};
	s->reap = (struct loop_tail){.fn = reap, .arg = s, .stage = LOOP_STAGE_REAP};
	buf_init(&s->out, t->write_cap);
	buf_init(&s->in, STREAM_READ_CAP + READ_CHUNK);
	s->host = strdup(t->host ? t->host : "localhost");
	s->timer = loop_timer_new(l, on_timeout, s);
	if (!s->host || !s->timer) {
		reap(s);
		return NULL;
	}
	if (begin(s, t) < 0)
		loop_defer(l, &s->fail);
	return s;
}

void stream_close(struct stream *s)
{
	if (!s || s->state == STREAM_DEAD)
		return;
	set_state(s, STREAM_DEAD);
	release(s);
}

struct buf *stream_out(struct stream *s)
{
	if (s->state != STREAM_OPEN || s->out.failed || s->out.n >= s->out.cap)
		return NULL;
	loop_defer(s->loop, &s->flush);
	return &s->out;
}

struct buf *stream_out_secret(struct stream *s, size_t n)
{
	struct buf *out = stream_out(s);

	if (!out || !buf_reserve(out, n)) /* where it grew later it would leave a copy */
		return NULL;
	s->secret = true;
	return out;
}
