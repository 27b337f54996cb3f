/* Which time-outs has a connection? A table of checks. Each looks at the connection now and says when it wants to
 * look again; the connection's one place in the worker's wheel is set for the earliest. Activity moves no timer: a
 * check that comes too early simply asks for a later time. */
#include "config.h"

#include "base/clock.h"
#include "net/worker.h"

#define NEVER INT64_MAX
#define TRICKLE 16384
#define CLOCK_STEP_MS 60000 /* the wall clock may step: look at what depends on it at least that often */

enum { H2_NO_ERROR = 0, H2_CANCEL = 8, H2_ENHANCE_YOUR_CALM = 11 };

static int64_t check_preface(struct conn *c, int64_t now)
{
	int64_t due = c->since_ms + c->worker->limits.preface_ms;

	if (c->state != CONN_PREFACE)
		return NEVER;
	if (now >= due)
		conn_close(c, H2_ENHANCE_YOUR_CALM, "preface_timeout");
	return due;
}

static int64_t check_certificate(struct conn *c, int64_t now)
{
	int64_t left = c->expires_unix_ms - clock_unix_ms();

	if (left <= 0)
		conn_close(c, H2_NO_ERROR, c->listener->strangers ? "time_is_up" : "certificate_expired");
	return now + (left < CLOCK_STEP_MS ? left : CLOCK_STEP_MS);
}

void conn_judge(struct conn *c)
{
	const char *why;

	if (c->recheck == c->worker->recheck)
		return;
	c->recheck = c->worker->recheck;
	why = c->tls ? tls_io_recheck(c->tls) : NULL;
	if (why)
		conn_close(c, H2_NO_ERROR, server_certificate_label(c->worker->server, why));
	worker_judged(c);
}

static int64_t check_trust(struct conn *c, int64_t now)
{
	conn_judge(c);
	return NEVER;
}

static int64_t check_headers(struct conn *c, int64_t now)
{
	int64_t due = c->headers_since_ms + c->worker->limits.headers_ms;

	if (!c->headers_since_ms)
		return NEVER;
	if (now >= due)
		conn_close(c, H2_ENHANCE_YOUR_CALM, "headers_timeout");
	return due;
}

static int64_t check_idle(struct conn *c, int64_t now)
{
	int64_t due = c->idle_since_ms + c->worker->limits.idle_ms;

	if (!c->idle_since_ms)
		return NEVER;
	if (now >= due)
		conn_close(c, H2_NO_ERROR, "idle");
	return due;
}

static int64_t check_blocked(struct conn *c, int64_t now)
{
	int64_t due = c->blocked_since_ms + c->worker->limits.stalled_ms;

	if (!c->blocked_since_ms)
		return NEVER;
	if (now >= due)
		conn_abort(c, "stalled");
	return due;
}

static int64_t check_ping(struct conn *c, int64_t now)
{
	int64_t due = c->ping_ms + c->worker->limits.keepalive_timeout_ms;

	if (c->ping_ms && h2_pings_unanswered(c->h2) == 0)
		c->ping_ms = 0;
	if (!c->ping_ms)
		return NEVER;
	if (now >= due)
		conn_abort(c, "keepalive_timeout");
	return due;
}

static int64_t check_silent(struct conn *c, int64_t now)
{
	int64_t due = c->read_ms + c->worker->limits.keepalive_ms;

	if (c->state == CONN_PREFACE || c->ping_ms)
		return NEVER;
	if (now < due)
		return due;
	c->ping_ms = now;
	h2_ping(c->h2);
	conn_touch(c);
	return now + c->worker->limits.keepalive_timeout_ms;
}

/* A message that takes too long to come. */
static int64_t check_message(struct call *call, int64_t now)
{
	int64_t due = call->message_since_ms + call->conn->worker->limits.message_ms;

	if (!call->message_since_ms || call->ended)
		return NEVER;
	if (now < due)
		return due;
	if (call->held_partial) {
		/* It is our own handler that holds it back. */
		call->message_since_ms = now;
		return now + call->conn->worker->limits.message_ms;
	}
	call_fail(call, GRPC_DEADLINE_EXCEEDED, "the message took too long to arrive");
	return NEVER;
}

/* Who takes a byte now and then takes nothing: TRICKLE bytes, or all that waited, or it is a stall. */
static size_t least_taken(const struct call *call)
{
	return call->waiting && call->waiting < TRICKLE ? call->waiting : TRICKLE;
}

/* A stream that has something to send, and a peer that opens no window for it. */
static int64_t check_taken(struct call *call, int64_t now)
{
	uint32_t limit = call->conn->worker->limits.stalled_ms;
	size_t queued = h2_queued(call->conn->h2, call->stream);
	uint64_t taken = call->sent - queued;

	if (!queued && !call->ended) { /* one that has ended may still owe its trailers to a closed window */
		call->stalled_since_ms = 0;
		return NEVER;
	}
	if (!call->stalled_since_ms || taken - call->taken_bytes >= least_taken(call)) {
		call->stalled_since_ms = now;
		call->taken_bytes = taken;
		call->waiting = queued;
	} else if (now >= call->stalled_since_ms + limit) {
		call_abort(call, GRPC_UNAVAILABLE, H2_CANCEL);
		return NEVER;
	}
	return call->stalled_since_ms + limit;
}

static int64_t sooner(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

static int64_t check_calls(struct conn *c, int64_t now)
{
	int64_t due = NEVER;

	/* Calls are freed by the HTTP/2 session's callbacks only, which do not run here. */
	for (struct call *call = c->calls; call; call = call->next) {
		due = sooner(due, check_message(call, now));
		due = sooner(due, check_taken(call, now));
	}
	return due;
}

static int64_t (*const checks[])(struct conn *c, int64_t now) = {
	check_preface, check_certificate, check_trust, check_headers, check_idle, check_blocked, check_ping,
	check_silent, check_calls,
};

static void check_live(struct conn *c, int64_t now)
{
	int64_t due = NEVER;

	for (size_t i = 0; i < sizeof checks / sizeof checks[0]; i++) {
		due = sooner(due, checks[i](c, now));
		if (!conn_live(c))
			return;
	}
	conn_check_by(c, due);
}

void conn_check(void *arg)
{
	struct conn *c = arg;
	int64_t now = clock_mono_ms();

	if (c->state == CONN_HANDSHAKE)
		conn_handshake_timeout(c);
	else if (c->state == CONN_LINGER)
		conn_die(c);
	else if (conn_live(c))
		check_live(c, now);
}

void conn_check_at(struct conn *c, int64_t due_ms)
{
	c->check_due_ms = due_ms;
	wheel_set(c->worker->wheel, &c->check, due_ms);
}

void conn_check_by(struct conn *c, int64_t due_ms)
{
	if (due_ms != NEVER && (!c->check.at || due_ms < c->check_due_ms))
		conn_check_at(c, due_ms);
}
