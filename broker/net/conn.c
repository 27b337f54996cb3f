/* How does an accepted connection live? The states are drawn in worker.h; here are the steps between them. Whoever
 * decides that it ends only says so: the tail of the tick tells the handlers, sends the GOAWAY and lets the memory
 * go, so that no callback ever returns into something that was freed. */
#include "config.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <utlist.h>

#include "base/clock.h"
#include "base/log.h"
#include "net/address.h"
#include "net/hello.h"
#include "net/local.h"
#include "net/worker.h"

#define PENDING_CAP (256 * 1024)
#define LINGER_MS 500
#define STRANGER_STREAMS 4
#define STRANGER_MS 60000 /* of a connection that shows no certificate */

static void on_headers(void *user, int32_t stream, const struct h2_header *h, size_t n, bool end)
{
	call_on_headers(user, stream, h, n, end);
}

static void on_data(void *user, int32_t stream, struct slice data)
{
	call_on_data(user, stream, data);
}

static void on_trailers(void *user, int32_t stream, const struct h2_header *h, size_t n)
{
	/* gRPC's requests have none; what comes is ignored, the end that follows is not. */
}

static void on_end(void *user, int32_t stream)
{
	call_on_end(user, stream);
}

static void on_writable(void *user, int32_t stream)
{
	call_on_writable(user, stream);
}

static void on_closed(void *user, int32_t stream, uint32_t code, bool refused)
{
	call_on_closed(user, stream, code);
}

static const struct h2_events events = {
	.on_headers = on_headers,
	.on_data = on_data,
	.on_trailers = on_trailers,
	.on_end = on_end,
	.on_writable = on_writable,
	.on_closed = on_closed,
};

static const struct server_observer *observer(const struct conn *c)
{
	return &c->worker->server->config.observer;
}

static void say_handshake(const struct conn *c, const char *result)
{
	const struct server_observer *o = observer(c);

	if (o->on_handshake)
		o->on_handshake(o->arg, c->listener->name, result, c->peer.remote);
}

static void say_closed(struct conn *c)
{
	const struct server_observer *o = observer(c);

	if (c->said)
		return;
	c->said = true;
	if (o->on_closed)
		o->on_closed(o->arg, c->listener->name, c->why);
}

static void say_connection(struct conn *c, int delta)
{
	const struct server_observer *o = observer(c);

	if (o->on_connection)
		o->on_connection(o->arg, c->listener->name, delta);
}

static void shaken(struct conn *c)
{
	struct worker *w = c->worker;

	DL_DELETE2(w->shaking, c, shake_prev, shake_next);
	w->n_shaking--;
	sources_shaken(listener_sources(c->listener), &c->source);
}

void conn_set_state(struct conn *c, enum conn_state to)
{
	static const char *const names[] = {"handshake", "preface", "open", "draining", "closing", "linger", "dead"};
	bool was_live = c->state <= CONN_CLOSING, was_shaking = c->state == CONN_HANDSHAKE;

	if (log_enabled(LOG_DEBUG))
		log_event(LOG_DEBUG, "conn.state", F_INT("connection", c->peer.connection), F_STR("from",
			names[c->state]),
			  F_STR("to", names[to]), F_STR("why", c->why));
	c->state = to;
	if (was_shaking)
		shaken(c);
	if (was_live && to > CONN_CLOSING) {
		worker_judged(c);
		worker_conn_over(c->worker);
	}
}

static void link_conn(struct worker *w, struct conn *c)
{
	c->next = w->conns;
	c->at = &w->conns;
	if (c->next)
		c->next->at = &c->next;
	w->conns = c;
	w->n_live++;
	DL_APPEND2(w->shaking, c, shake_prev, shake_next);
	w->n_shaking++;
}

/* The socket says nothing before there is enough to judge. */
static void prepare_socket(int fd)
{
	int one = 1, hello = HELLO_BYTES;

	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
	setsockopt(fd, SOL_SOCKET, SO_RCVLOWAT, &hello, sizeof hello);
}

static void admit(struct conn *c)
{
	const struct server_config *cfg = &c->worker->server->config;
	const char *why = cfg->admit ? cfg->admit(cfg->arg, c->worker->index, &c->peer) : NULL;

	if (why) {
		conn_close(c, 0, why);
		return;
	}
	c->admitted = true;
	say_connection(c, 1);
	if (c->worker->draining)
		conn_close(c, 0, "draining");
}

static void handshake_done(struct conn *c)
{
	struct worker *w = c->worker;
	struct h2_limits few = w->limits.h2;
	int64_t now = clock_mono_ms();

	few.max_streams = STRANGER_STREAMS;
	say_handshake(c, "ok");
	c->peer.identity = c->tls ? tls_io_identity(c->tls) : c->listener->local;
	c->expires_unix_ms = c->listener->strangers ? clock_unix_ms() + STRANGER_MS : c->tls ? tls_io_identity_not_after_ms(c->tls) : INT64_MAX;
	c->h2 = c->listener->strangers ? h2_new_server(&few, &events, c) : h2_new_server(&w->limits.h2, &events, c);
	if (!c->h2) {
		conn_abort(c, "out_of_memory");
		return;
	}
	c->since_ms = c->read_ms = c->idle_since_ms = now;
	conn_set_state(c, CONN_PREFACE);
	conn_check_by(c, now);
	conn_touch(c); /* our SETTINGS */
	conn_judge(c); /* a peer may take its time between its certificate and the end of the handshake, and nobody waits for it */
	if (conn_live(c))
		admit(c);
}

void conn_new(struct worker *w, struct listener *l, int fd, const struct sockaddr *sa, const struct source_key *source)
{
	struct conn *c = calloc(1, sizeof *c);

	if (!c) {
		close(fd);
		sources_shaken(listener_sources(l), source);
		sources_leave(listener_sources(l), source, clock_mono_ms());
		atomic_fetch_sub(listener_connections(l), 1);
		return;
	}
	c->worker = w;
	c->listener = l;
	c->fd = fd;
	c->source = *source;
	c->why = "";
	c->check = (struct wheel_node){.fn = conn_check, .arg = c};
	c->since_ms = clock_mono_ms();
	c->recheck = w->recheck;
	c->peer.connection = atomic_fetch_add(&w->server->next_connection, 1) + 1;
	c->peer.listener = l->name;
	if (l->local)
		local_peer_format(fd, c->peer.remote);
	else
		address_format(sa, c->peer.remote);
	buf_init(&c->pending, PENDING_CAP);
	link_conn(w, c);
	if (!l->local)
		prepare_socket(fd);
	c->watch = loop_fd_new(w->loop, fd, conn_on_ready, c);
	if (!c->watch) {
		conn_abort(c, "out_of_memory");
		return;
	}
	conn_check_by(c, c->since_ms + w->limits.handshake_ms);
	loop_fd_want(c->watch, LOOP_READ);
	if (l->local)
		handshake_done(c);
}

void conn_touch(struct conn *c)
{
	struct worker *w = c->worker;

	if (c->dirty || c->state >= CONN_LINGER)
		return;
	c->dirty = true;
	c->dirty_next = w->dirty;
	w->dirty = c;
	loop_defer(w->loop, &w->send);
}

/* ---- the handshake ---- */

/* No TLS session was made: there is nothing to say, and nobody to say it to. */
static void turned_away(struct conn *c, const char *why)
{
	say_handshake(c, why);
	conn_abort(c, why);
}

static void begin_tls(struct conn *c)
{
	struct tls_server *tls = listener_tls(c->listener);
	int one = 1;

	setsockopt(c->fd, SOL_SOCKET, SO_RCVLOWAT, &one, sizeof one);
	c->tls = tls_io_server(tls, c->fd);
	tls_server_unref(tls);
	if (!c->tls)
		conn_abort(c, "out_of_memory");
}

/* Looks at the first bytes without taking them. */
static void greet(struct conn *c)
{
	uint8_t first[HELLO_BYTES];
	ssize_t n = recv(c->fd, first, sizeof first, MSG_PEEK);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	switch (hello_judge(slice_of(first, n > 0 ? (size_t)n : 0))) {
	case HELLO_TLS:
		begin_tls(c);
		break;
	case HELLO_NOT_TLS:
		turned_away(c, "not_tls");
		break;
	case HELLO_TOO_LARGE:
		turned_away(c, "hello_too_large");
		break;
	case HELLO_MORE: /* so few come only with the end of all that comes */
		turned_away(c, "closed");
	}
}

static void handshake_failed(struct conn *c, enum tls_step step)
{
	const char *label = step == TLS_EOF ? "closed" : tls_io_failure(c->tls);

	if (strcmp(label, "certificate") == 0)
		label = server_certificate_label(c->worker->server, tls_io_hook_why(c->tls));
	say_handshake(c, label);
	conn_close(c, 0, label);
}

void conn_handshake_timeout(struct conn *c)
{
	say_handshake(c, "timeout");
	conn_close(c, 0, "handshake_timeout");
}

void conn_evict(struct conn *c)
{
	turned_away(c, "evicted");
}

void conn_shake(struct conn *c)
{
	enum tls_step step;

	if (!c->tls)
		greet(c);
	if (!c->tls || c->state != CONN_HANDSHAKE || !worker_may_shake(c->worker))
		return;
	step = tls_io_handshake(c->tls);
	switch (step) {
	case TLS_DONE:
		loop_fd_want(c->watch, LOOP_READ);
		handshake_done(c);
		break;
	case TLS_WANT_READ:
		loop_fd_want(c->watch, LOOP_READ);
		break;
	case TLS_WANT_WRITE:
		loop_fd_want(c->watch, LOOP_WRITE);
		break;
	default:
		handshake_failed(c, step);
	}
}

/* ---- the end ---- */

void conn_die(struct conn *c)
{
	struct worker *w = c->worker;

	if (c->state == CONN_DEAD)
		return;
	conn_set_state(c, CONN_DEAD);
	loop_fd_free(c->watch);
	c->watch = NULL;
	wheel_stop(w->wheel, &c->check);
	c->dead_next = w->dead;
	w->dead = c;
	loop_defer(w->loop, &w->reap);
}

void conn_close(struct conn *c, uint32_t code, const char *why)
{
	if (c->state >= CONN_CLOSING)
		return;
	if (c->h2 && !c->h2_over && !c->mute)
		h2_goaway(c->h2, true, code, why);
	c->why = why;
	conn_set_state(c, CONN_CLOSING);
	conn_touch(c);
}

void conn_abort(struct conn *c, const char *why)
{
	c->mute = true;
	buf_clear(&c->pending);
	conn_close(c, 0, why);
}

/* At the tail, in CLOSING: the handlers hear that it is over, the last bytes go out. */
void conn_finish(struct conn *c)
{
	const struct call_handler *h = c->worker->handler;

	calls_drop(c);
	if (c->admitted) {
		c->admitted = false;
		if (h->on_peer_gone)
			h->on_peer_gone(h->user, &c->peer);
		say_connection(c, -1);
	}
	say_closed(c);
	conn_flush(c);
	conn_set_state(c, CONN_LINGER);
	c->since_ms = clock_mono_ms();
	h2_free(c->h2);
	c->h2 = NULL;
	if (c->mute || !c->watch || !(c->tls || c->listener->local)) {
		conn_die(c);
		return;
	}
	conn_check_at(c, c->since_ms + LINGER_MS);
	conn_linger(c);
	if (c->worker->stopping)
		conn_die(c);
}

/* Two GOAWAYs (RFC 9113 §6.8): the first still lets in what is on the way, the second names the last call that is
 * served. */
void conn_drain(struct conn *c, bool final)
{
	if (c->state == CONN_HANDSHAKE) {
		conn_close(c, 0, "draining");
		return;
	}
	if (!conn_live(c))
		return;
	h2_goaway(c->h2, final, 0, "draining");
	c->goaway_final = final;
	if (final)
		calls_refuse_silent(c);
	if (c->state != CONN_DRAINING)
		conn_set_state(c, CONN_DRAINING);
	conn_touch(c);
}

void conn_free(struct conn *c)
{
	*c->at = c->next;
	if (c->next)
		c->next->at = c->at;
	tls_io_free(c->tls);
	close(c->fd);
	buf_clear(&c->pending);
	sources_leave(listener_sources(c->listener), &c->source, clock_mono_ms());
	atomic_fetch_sub(listener_connections(c->listener), 1);
	free(c);
}
