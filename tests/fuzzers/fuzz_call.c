/* Does a call of gRPC keep its books whatever comes on its HTTP/2 stream? The first byte says how the handler behaves, the rest is what the
 * client sends after its preface. net/call.c runs here over a session without a socket. After each piece: what the session says is not given
 * back to the peer's window is what the calls say they hold, and no call is told of its end twice. */
#include <string.h>

#include "fuzz.h"
#include "net/worker.h"
#include "wire/h2_priv.h"

#define PIECE 97
#define CALLS_MAX 256
#define MESSAGE_MAX 4096

enum { HOLD = 1, ECHO = 2, TOO_LARGE = 4, DEADLINES = 8, DRAIN = 16 };

unsigned fuzz_good;

/* ---- what of net/ is not here ---- */

static struct wheel_node *due;

void wheel_stop(struct wheel *w, struct wheel_node *n)
{
	if (!n->at)
		return;
	*n->at = n->next;
	if (n->next)
		n->next->at = n->at;
	n->at = NULL;
}

void wheel_set(struct wheel *w, struct wheel_node *n, int64_t due_ms)
{
	NEED(due_ms > 0);
	wheel_stop(w, n);
	n->next = due;
	n->at = &due;
	if (due)
		due->at = &n->next;
	due = n;
}

static void fire(void)
{
	while (due) {
		struct wheel_node *n = due;

		wheel_stop(NULL, n);
		n->fn(n->arg);
	}
}

void conn_close(struct conn *c, uint32_t code, const char *why)
{
}

void conn_touch(struct conn *c)
{
}

void conn_flush(struct conn *c)
{
}

void conn_abort(struct conn *c, const char *why)
{
}

void conn_check_by(struct conn *c, int64_t due_ms)
{
	NEED(due_ms > 0);
}

bool loop_post(struct loop *l, void (*fn)(void *arg), void *arg)
{
	return false;
}

/* ---- the handler ---- */

static uint8_t how;
static unsigned taken, over;

/* By the first letter: Small, Now ended, Refused; anything else is taken as it is. */
static size_t on_open(void *user, struct call *c, struct slice path)
{
	const struct call_trailer t = {"baton-reason", SLICE_LIT("tool_denied")};

	NEED(path.n >= 2 && call_find(user, call_id(c)) == c);
	if (path.p[1] == 'R') {
		call_end(c, GRPC_PERMISSION_DENIED, "no", &t, 1);
		return 0;
	}
	if (path.p[1] == '?')
		return 0;
	taken++;
	call_set_data(c, (void *)path.p); /* anything */
	return path.p[1] == 'S' ? 64 : MESSAGE_MAX;
}

static void on_message(void *user, struct call *c, struct slice message)
{
	size_t n = 0;

	NEED(call_data(c) && message.n <= MESSAGE_MAX);
	(void)call_metadata(c, "authorization", &n);
	if (how & ECHO)
		(void)call_send(c, message);
	if (!(how & HOLD))
		call_consumed(c);
	if (message.n % 11 == 10)
		call_end(c, GRPC_INVALID_ARGUMENT, "100% no", NULL, 0);
}

static void on_half_close(void *user, struct call *c)
{
	call_consumed(c);
	call_end(c, GRPC_OK, NULL, NULL, 0);
}

static void on_writable(void *user, struct call *c)
{
	NEED(call_writable(c));
	call_consumed(c);
	(void)call_send(c, SLICE_LIT("more"));
}

static void on_too_large(void *user, struct call *c, size_t max)
{
	NEED(max <= MESSAGE_MAX);
	call_end(c, GRPC_RESOURCE_EXHAUSTED, "too large", NULL, 0);
}

static void on_gone(void *user, struct call *c, enum grpc_status why)
{
	NEED(call_data(c) && why <= GRPC_UNAUTHENTICATED);
	fuzz_good += why == GRPC_OK;
	call_set_data(c, NULL);
	over++;
}

/* ---- the connection ---- */

static void h2_on_headers(void *user, int32_t stream, const struct h2_header *h, size_t n, bool end)
{
	call_on_headers(user, stream, h, n, end);
}

static void h2_on_data(void *user, int32_t stream, struct slice data)
{
	call_on_data(user, stream, data);
}

static void h2_on_trailers(void *user, int32_t stream, const struct h2_header *h, size_t n)
{
}

static void h2_on_end(void *user, int32_t stream)
{
	call_on_end(user, stream);
}

static void h2_on_writable(void *user, int32_t stream)
{
	call_on_writable(user, stream);
}

static void h2_on_closed(void *user, int32_t stream, uint32_t code, bool refused)
{
	call_on_closed(user, stream, code);
}

static const struct h2_events events = {h2_on_headers, h2_on_data, h2_on_trailers, h2_on_end, h2_on_writable, h2_on_closed, NULL};

static void check_books(const struct conn *c)
{
	size_t partial = 0;

	for (const struct call *call = c->calls; call; call = call->next) {
		const struct h2_stream *s = h2_table_find(&c->h2->streams, call->stream);

		NEED(s && s->untaken == call->held + call->held_partial);
		NEED(call->backlog_n || (!call->backlog && !call->held));
		NEED(!call->ended || !s->untaken);
		NEED(call->partial <= MESSAGE_MAX);
		partial += call->partial;
	}
	NEED(partial == c->partial && partial <= c->worker->limits.partial_bytes);
}

static bool turn(struct conn *c, struct slice bytes)
{
	struct buf out;
	bool good = h2_feed(c->h2, bytes) == 0;

	buf_init(&out, 1 << 20);
	good &= h2_pull(c->h2, &out, 1 << 16) == 0;
	buf_clear(&out);
	if (good)
		check_books(c);
	return good;
}

static void play(struct conn *c, struct slice in)
{
	bool good = turn(c, SLICE_LIT("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0"));

	while (good && in.n) {
		size_t n = in.n < PIECE ? in.n : PIECE;

		good = turn(c, slice_of(in.p, n));
		in = slice_of(in.p + n, in.n - n);
		if (how & DEADLINES)
			fire();
	}
	if (good && (how & DRAIN)) {
		c->goaway_final = true;
		h2_goaway(c->h2, true, 0, "draining");
		calls_refuse_silent(c);
		(void)turn(c, slice_of(NULL, 0));
	}
	c->state = CONN_CLOSING;
	calls_drop(c);
	NEED(!c->calls && !c->partial && !due);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct worker w = {.now_ms = 1, .limits = {.message_ms = 60000, .stalled_ms = 60000, .partial_bytes = 2 * MESSAGE_MAX}};
	struct call_handler handler = {on_open, on_message, on_half_close, on_writable, NULL, on_gone, NULL, NULL, &w.face};
	struct conn c = {.state = CONN_OPEN, .worker = &w};

	if (!size)
		return 0;
	how = data[0];
	taken = over = 0;
	if (how & TOO_LARGE)
		handler.on_too_large = on_too_large;
	w.handler = &handler;
	w.limits.h2 = h2_limits_default;
	w.limits.h2.stream_window = 2 * MESSAGE_MAX;
	w.limits.h2.max_streams = 8;
	w.limits.h2.send_high = 1024;
	w.limits.h2.send_low = 256;
	w.calls = slots_new(CALLS_MAX);
	c.h2 = h2_new_server(&w.limits.h2, &events, &c);
	NEED(w.calls && c.h2);
	play(&c, slice_of(data + 1, size - 1));
	NEED(taken == over && slots_count(w.calls) == 0);
	h2_free(c.h2);
	slots_free(w.calls);
	return 0;
}
