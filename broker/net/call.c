/* What does the RPC layer see of a connection? See call.h. Here a stream of HTTP/2 becomes a call of gRPC: its
 * request is checked, its bytes are cut into messages under a cap, its deadline is kept, its answer is framed.
 *
 * Flow control: the bytes of a message under way are given back to the peer's window at once, so that a message may
 * be larger than the window, unless the handler already has a window's worth of whole messages that it has not
 * consumed: then they are kept back, and a call never holds more than a window and one message. */
#include "config.h"

#include "net/call.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/encode.h"
#include "net/trailers.h"
#include "net/worker.h"

enum { H2_NO_ERROR = 0, H2_REFUSED_STREAM = 7, H2_CANCEL = 8, H2_ENHANCE_YOUR_CALM = 11 };

static struct call **bucket_of(struct conn *c, int32_t stream)
{
	return &c->buckets[((uint32_t)stream >> 1) % CALL_BUCKETS];
}

static struct call *find(struct conn *c, int32_t stream)
{
	struct call *call = *bucket_of(c, stream);

	while (call && call->stream != stream)
		call = call->bucket_next;
	return call;
}

static struct worker *worker_of(const struct call *call)
{
	return call->conn->worker;
}

/* The handler is told of nothing once the connection closes, but for on_gone. */
static bool handler_hears(const struct call *call)
{
	return call->taken && !call->gone && !call->ended && conn_live(call->conn);
}

static void on_deadline(void *arg)
{
	call_fail(arg, GRPC_DEADLINE_EXCEEDED, "the deadline has passed");
}

static struct call *call_new(struct conn *c, int32_t stream, const struct h2_header *h, size_t n)
{
	struct call *call = calloc(1, sizeof *call);
	struct call **bucket = bucket_of(c, stream);

	if (!call)
		return NULL;
	call->metadata = metadata_new(h, n);
	if (!call->metadata) {
		free(call);
		return NULL;
	}
	call->conn = c;
	call->stream = stream;
	call->timer = (struct wheel_node){.fn = on_deadline, .arg = call};
	call->bucket_next = *bucket;
	*bucket = call;
	call->next = c->calls;
	call->at = &c->calls;
	if (call->next)
		call->next->at = &call->next;
	c->calls = call;
	c->idle_since_ms = 0;
	return call;
}

static void call_free(struct call *call)
{
	struct worker *w = worker_of(call);
	struct call **at = bucket_of(call->conn, call->stream);

	call->conn->partial -= call->partial;
	while (*at != call)
		at = &(*at)->bucket_next;
	*at = call->bucket_next;
	*call->at = call->next;
	if (call->next)
		call->next->at = call->at;
	wheel_stop(w->wheel, &call->timer);
	if (call->id)
		slots_drop(w->calls, call->id);
	grpc_reader_clear(&call->reader);
	metadata_free(call->metadata);
	free(call);
}

/* ---- the peer speaks ---- */

static void gone(struct call *call, enum grpc_status why)
{
	struct worker *w = worker_of(call);

	if (call->gone)
		return;
	call->gone = true;
	wheel_stop(w->wheel, &call->timer);
	if (call->taken)
		w->handler->on_gone(w->handler->user, call, why);
	if (call->id)
		slots_drop(w->calls, call->id);
	call->id = 0;
}

/* Nothing more is read: all that is held goes back to the window, and what came of a message is forgotten. */
static void stop_reading(struct call *call)
{
	h2_consume(call->conn->h2, call->stream, call->held + call->held_partial);
	call->held = call->held_partial = call->backlog = call->backlog_n = 0;
	call->message_since_ms = 0;
}

/* n bytes of an unfinished message are held for it. */
static void count_partial(struct call *call, size_t n)
{
	call->conn->partial += n - call->partial;
	call->partial = n;
}

static void respond_http(struct call *call, const struct request *r)
{
	struct trailers t;

	trailers_init(&t);
	trailers_refuse(&t, r->http, r->status, r->message);
	h2_respond(call->conn->h2, call->stream, t.h, t.n, true);
	call->responded = call->ended = true;
	trailers_clear(&t);
	conn_touch(call->conn);
}

static void keep_deadline(struct call *call, int64_t timeout_ms)
{
	if (!timeout_ms)
		return;
	call->deadline_ms = clock_mono_ms() + timeout_ms;
	wheel_set(worker_of(call)->wheel, &call->timer, call->deadline_ms);
}

static void open_call(struct call *call, const struct request *r)
{
	struct worker *w = worker_of(call);
	size_t max;

	call->id = slots_add(w->calls, call);
	if (!call->id) {
		call_end_exhausted(call, "too many calls");
		return;
	}
	if (call->conn->goaway_final) {
		call_end(call, GRPC_UNAVAILABLE, "draining", NULL, 0);
		return;
	}
	keep_deadline(call, r->timeout_ms);
	max = w->handler->on_open(w->handler->user, call, r->path);
	if (max) {
		call->taken = true;
		grpc_reader_init(&call->reader, max);
		return;
	}
	if (!call->ended)
		call_end(call, GRPC_INTERNAL, "refused", NULL, 0);
	gone(call, GRPC_OK); /* nobody is told: it was not taken */
}

void call_on_headers(struct conn *c, int32_t stream, const struct h2_header *h, size_t n, bool end)
{
	struct request r;
	struct call *call = conn_live(c) ? call_new(c, stream, h, n) : NULL;

	if (!call) { /* nothing of it was looked at: safe to try again (RFC 9113 §8.7) */
		h2_reset(c->h2, stream, H2_REFUSED_STREAM);
		return;
	}
	if (request_read(h, n, &r) < 0)
		respond_http(call, &r);
	else
		open_call(call, &r);
	if (end) {
		call_on_end(c, stream);
	} else if (handler_hears(call)) { /* its first message is awaited, as the rest of one would be */
		call->message_since_ms = clock_mono_ms();
		conn_check_by(c, call->message_since_ms + c->worker->limits.message_ms);
	}
}

static void read_failed(struct call *call, enum grpc_read what)
{
	const struct call_handler *h = worker_of(call)->handler;
	char text[80];

	switch (what) {
	case GRPC_READ_TOO_LARGE:
		if (h->on_too_large) {
			call->deaf = true;
			call->message_since_ms = 0;
			h->on_too_large(h->user, call, call->reader.max);
			break;
		}
		snprintf(text, sizeof text, "the message is larger than %zu bytes", call->reader.max);
		call_fail(call, GRPC_RESOURCE_EXHAUSTED, text);
		break;
	case GRPC_READ_COMPRESSED:
		call_fail(call, GRPC_UNIMPLEMENTED, "compressed messages are not supported");
		break;
	default:
		call_fail(call, GRPC_INVALID_ARGUMENT, "the message's head is malformed");
	}
}

/* `used`: bytes of the stream that this message took from what has just come. */
static void deliver(struct call *call, struct slice message, size_t used)
{
	struct worker *w = worker_of(call);

	call->held += used + call->held_partial;
	call->held_partial = 0;
	call->message_since_ms = 0;
	count_partial(call, 0);
	call->backlog += message.n + GRPC_HEAD_BYTES;
	call->backlog_n++;
	w->handler->on_message(w->handler->user, call, message);
}

static bool backlog_high(const struct call *call)
{
	return call->backlog >= worker_of(call)->limits.h2.stream_window;
}

static void hold_partial(struct call *call, size_t n)
{
	struct conn *c = call->conn;

	if (grpc_reader_idle(&call->reader) && !n)
		return;
	if (!call->message_since_ms) {
		call->message_since_ms = c->worker->now_ms;
		conn_check_by(c, call->message_since_ms + c->worker->limits.message_ms);
	}
	count_partial(call, call->reader.body.n);
	if (c->partial > c->worker->limits.partial_bytes) {
		h2_consume(c->h2, call->stream, n);
		call_end_exhausted(call, "too many bytes of unfinished messages on this connection");
		gone(call, GRPC_RESOURCE_EXHAUSTED);
		grpc_reader_clear(&call->reader);
		count_partial(call, 0);
		return;
	}
	if (backlog_high(call))
		call->held_partial += n;
	else
		h2_consume(c->h2, call->stream, n);
}

void call_on_data(struct conn *c, int32_t stream, struct slice data)
{
	struct call *call = find(c, stream);
	struct slice message;
	size_t before;
	enum grpc_read what = GRPC_READ_MESSAGE;

	while (call && handler_hears(call) && !call->deaf && what == GRPC_READ_MESSAGE) {
		before = data.n;
		what = grpc_reader_next(&call->reader, &data, &message);
		if (what == GRPC_READ_MESSAGE)
			deliver(call, message, before - data.n);
		else if (what == GRPC_READ_MORE)
			hold_partial(call, before);
		else
			h2_consume(c->h2, stream, before);
	}
	if (call && !handler_hears(call)) { /* ended by the last message, whose bytes lie here still */
		grpc_reader_clear(&call->reader);
		count_partial(call, 0);
	}
	if (call && what > GRPC_READ_MESSAGE)
		read_failed(call, what);
	else if (what == GRPC_READ_MESSAGE) /* nobody listens, or not any more */
		h2_consume(c->h2, stream, data.n);
	conn_touch(c); /* window updates */
}

void call_on_end(struct conn *c, int32_t stream)
{
	struct call *call = find(c, stream);

	if (!call || call->half_closed)
		return;
	call->half_closed = true;
	if (!handler_hears(call) || call->deaf)
		return;
	if (!grpc_reader_idle(&call->reader))
		call_fail(call, GRPC_INVALID_ARGUMENT, "the stream ended inside a message");
	else if (c->worker->handler->on_half_close)
		c->worker->handler->on_half_close(c->worker->handler->user, call);
}

void call_on_writable(struct conn *c, int32_t stream)
{
	struct call *call = find(c, stream);

	if (!call || !call->full)
		return;
	call->full = false;
	if (handler_hears(call) && c->worker->handler->on_writable)
		c->worker->handler->on_writable(c->worker->handler->user, call);
}

void call_on_closed(struct conn *c, int32_t stream, uint32_t code)
{
	struct call *call = find(c, stream);

	if (!call)
		return;
	gone(call, code == H2_NO_ERROR && call->ended ? GRPC_OK : GRPC_CANCELLED);
	call_free(call);
	if (!c->calls) {
		c->idle_since_ms = clock_mono_ms();
		conn_check_by(c, c->idle_since_ms + c->worker->limits.idle_ms);
	}
	conn_touch(c);
}

/* ---- net/ ends it ---- */

void call_fail(struct call *call, enum grpc_status status, const char *message)
{
	if (call->ended && !call->gone) {
		/* Its answer is on the way; only that it takes so long is new. */
		call_abort(call, status, H2_CANCEL);
		return;
	}
	call_end(call, status, message, NULL, 0);
	gone(call, status);
}

void call_abort(struct call *call, enum grpc_status status, uint32_t h2_code)
{
	stop_reading(call);
	call->ended = true;
	h2_reset(call->conn->h2, call->stream, h2_code);
	conn_touch(call->conn);
	gone(call, status);
}

/* Whose first message has not even begun to come: it would hold up who drains, and is as well made elsewhere. */
void calls_refuse_silent(struct conn *c)
{
	for (struct call *call = c->calls; call; call = call->next)
		if (call->message_since_ms && grpc_reader_idle(&call->reader) && handler_hears(call))
			call_fail(call, GRPC_UNAVAILABLE, "draining");
}

void calls_drop(struct conn *c)
{
	while (c->calls) {
		gone(c->calls, GRPC_UNAVAILABLE);
		call_free(c->calls);
	}
}

/* ---- the handler speaks ---- */

const struct call_peer *call_peer(const struct call *c)
{
	return &c->conn->peer;
}

struct call_worker *call_worker(const struct call *c)
{
	return &c->conn->worker->face;
}

uint64_t call_id(const struct call *c)
{
	return c->id;
}

struct call *call_find(struct call_worker *w, uint64_t id)
{
	return slots_get(((struct worker *)w)->calls, id);
}

void call_set_data(struct call *c, void *data)
{
	c->data = data;
}

void *call_data(const struct call *c)
{
	return c->data;
}

struct slice call_metadata(const struct call *c, const char *key, size_t *n)
{
	return metadata_get(c->metadata, key, n);
}

int64_t call_deadline_mono_ms(const struct call *c)
{
	return c->deadline_ms;
}

/* Which message it was does not matter: each gives back an even share of what is held, the last one the rest. */
void call_consumed(struct call *call)
{
	size_t share;

	if (!call->backlog_n)
		return;
	share = call->held / call->backlog_n;
	call->backlog -= call->backlog / call->backlog_n;
	call->backlog_n--;
	call->held -= share;
	if (call->held_partial && !backlog_high(call)) {
		share += call->held_partial;
		call->held_partial = 0;
	}
	if (!conn_live(call->conn))
		return;
	h2_consume(call->conn->h2, call->stream, share);
	conn_touch(call->conn);
}

static void respond(struct call *call)
{
	struct trailers t;

	if (call->responded)
		return;
	call->responded = true;
	trailers_init(&t);
	trailers_begin(&t);
	h2_respond(call->conn->h2, call->stream, t.h, t.n, false);
	trailers_clear(&t);
}

bool call_send(struct call *call, struct slice message)
{
	uint8_t head[GRPC_HEAD_BYTES];
	struct conn *c = call->conn;

	if (call->ended || call->gone || !conn_live(c))
		return true;
	if (!h2_has_room(c->h2, sizeof head + message.n)) {
		call_end_exhausted(call, "too many bytes wait on this connection for its peer to take them");
		return true;
	}
	respond(call);
	grpc_head(head, message.n);
	call->sent += sizeof head + message.n;
	if (h2_send(c->h2, call->stream, slice_of(head, sizeof head), message) == H2_FULL)
		call->full = true; /* until on_writable, which comes later than the next message that would fit */
	conn_touch(c);
	conn_check_by(c, c->worker->now_ms + c->worker->limits.stalled_ms);
	return !call->full;
}

bool call_writable(const struct call *c)
{
	return !c->ended && !c->gone && !c->full && conn_live(c->conn);
}

bool call_is_sent(const struct call *c)
{
	return !h2_queued(c->conn->h2, c->stream) && !c->conn->pending.n;
}

bool call_push(struct call *c)
{
	conn_flush(c->conn);
	return call_is_sent(c);
}

void call_forget(struct call *c)
{
	struct conn *conn = c->conn;
	bool waits = conn->pending.n;

	call_abort(c, GRPC_PERMISSION_DENIED, H2_CANCEL);
	if (waits)
		conn_abort(conn, "revoked");
}

void call_end(struct call *call, enum grpc_status status, const char *message, const struct call_trailer *extra,
		size_t n)
{
	struct conn *c = call->conn;
	struct trailers t;

	if (call->ended || call->gone)
		return;
	call->ended = true;
	if (!conn_live(c))
		return;
	stop_reading(call);
	trailers_init(&t);
	if (!call->responded)
		trailers_begin(&t);
	trailers_status(&t, status, message, extra, n);
	if (call->responded)
		h2_finish(c->h2, call->stream, t.h, t.n);
	else
		h2_respond(c->h2, call->stream, t.h, t.n, true);
	call->responded = true;
	trailers_clear(&t);
	conn_touch(c);
	conn_check_by(c, c->worker->now_ms + c->worker->limits.stalled_ms);
}

void call_end_exhausted(struct call *call, const char *message)
{
	static const struct call_trailer again[] = {{"baton-reason", SLICE_LIT("quota_exceeded")}, {"baton-retry-after-ms", SLICE_LIT("1000")},
		{"grpc-retry-pushback-ms", SLICE_LIT("1000")}};

	call_end(call, GRPC_RESOURCE_EXHAUSTED, message, again, sizeof again / sizeof again[0]);
}

void call_end_connection(struct call *call, const char *why)
{
	conn_close(call->conn, H2_ENHANCE_YOUR_CALM, why);
}

bool call_post(struct call_worker *w, void (*fn)(void *arg), void *arg)
{
	return loop_post(w->loop, fn, arg);
}
