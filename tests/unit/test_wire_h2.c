/* Do two h2 sessions, client and server joined in memory, understand each other? Exchanges, back-pressure, ends and
 * refusals as an honest peer sees them; test_wire_h2_abuse.c has the others. */
#include "wire/h2.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define STREAMS 256
#define HDR(n, v) {SLICE_LIT(n), SLICE_LIT(v)}

static const struct h2_header request_headers[] = {
	HDR(":method", "POST"), HDR(":scheme", "https"), HDR(":path", "/x.Y/Z"), HDR(":authority", "localhost"),
	HDR("te", "trailers"), HDR("content-type", "application/grpc"),
};
static const struct h2_header response_headers[] = {HDR(":status", "200"), HDR("content-type", "application/grpc")};
static const struct h2_header trailers[] = {HDR("grpc-status", "0"), HDR("grpc-message", "")};
#define N(a) (sizeof(a) / sizeof(a)[0])

/* One side: what its callbacks saw, as text, and what it does about it. */
struct side {
	struct h2 *h;
	char log[8192];
	size_t got[STREAMS]; /* bytes of data, by stream */
	struct buf data;     /* the data itself, all streams */
	struct buf out;
	bool hold;           /* does not consume */
	void (*on_request)(struct side *s, int32_t stream);
	void (*on_end)(struct side *s, int32_t stream);
	void (*on_writable)(struct side *s, int32_t stream);
};

static void note(struct side *s, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void note(struct side *s, const char *fmt, ...)
{
	size_t n = strlen(s->log);
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(s->log + n, sizeof s->log - n, fmt, ap);
	va_end(ap);
}

static struct slice header(const struct h2_header *h, size_t n, const char *name)
{
	for (size_t i = 0; i < n; i++) {
		if (slice_is(h[i].name, name))
			return h[i].value;
	}
	return slice_str(NULL);
}

static void on_headers(void *user, int32_t stream, const struct h2_header *h, size_t n, bool end)
{
	struct side *s = user;
	struct slice path = header(h, n, ":path"), status = header(h, n, ":status");

	note(s, "H%d:%.*s%.*s%s ", stream, (int)path.n, (const char *)path.p, (int)status.n, (const char *)status.p,
	     end ? "." : "");
	if (s->on_request)
		s->on_request(s, stream);
}

static void on_data(void *user, int32_t stream, struct slice data)
{
	struct side *s = user;

	s->got[stream % STREAMS] += data.n;
	buf_put_slice(&s->data, data);
	if (!s->hold)
		h2_consume(s->h, stream, data.n);
}

static void on_trailers(void *user, int32_t stream, const struct h2_header *h, size_t n)
{
	struct slice status = header(h, n, "grpc-status");

	note(user, "T%d:%.*s ", stream, (int)status.n, (const char *)status.p);
}

static void on_end(void *user, int32_t stream)
{
	struct side *s = user;

	note(s, "E%d ", stream);
	if (s->on_end)
		s->on_end(s, stream);
}

static void on_writable(void *user, int32_t stream)
{
	struct side *s = user;

	note(s, "W%d ", stream);
	if (s->on_writable)
		s->on_writable(s, stream);
}

static void on_closed(void *user, int32_t stream, uint32_t code, bool refused)
{
	note(user, "C%d:%u%s ", stream, code, refused ? "r" : "");
}

static void on_goaway(void *user, int32_t last, uint32_t code, struct slice debug)
{
	note(user, "G%d:%u:%.*s ", last, code, (int)debug.n, (const char *)debug.p);
}

static const struct h2_events events = {on_headers, on_data, on_trailers, on_end, on_writable, on_closed, on_goaway};

struct pair {
	struct side c, s;
};

static void pair_init(struct pair *p, const struct h2_limits *server_limits)
{
	memset(p, 0, sizeof *p);
	p->c.h = h2_new_client(NULL, &events, &p->c);
	p->s.h = h2_new_server(server_limits, &events, &p->s);
	assert_non_null(p->c.h);
	assert_non_null(p->s.h);
	buf_init(&p->c.out, 64 << 20);
	buf_init(&p->s.out, 64 << 20);
	buf_init(&p->c.data, 64 << 20);
	buf_init(&p->s.data, 64 << 20);
}

static void pair_clear(struct pair *p)
{
	h2_free(p->c.h);
	h2_free(p->s.h);
	buf_clear(&p->c.out);
	buf_clear(&p->s.out);
	buf_clear(&p->c.data);
	buf_clear(&p->s.data);
}

/* Moves what `from` has to say, in pieces of `step` bytes. Whether there was any. */
static bool carry(struct side *from, struct side *to, size_t step)
{
	buf_reset(&from->out);
	(void)h2_pull(from->h, &from->out, SIZE_MAX);
	for (size_t i = 0; i < from->out.n; i += step)
		(void)h2_feed(to->h, slice_of(from->out.p + i, from->out.n - i < step ? from->out.n - i : step));
	return from->out.n > 0;
}

static void pump_by(struct pair *p, size_t step)
{
	bool more = true;

	while (more) {
		more = carry(&p->c, &p->s, step);
		more = carry(&p->s, &p->c, step) || more;
	}
}

static void pump(struct pair *p)
{
	pump_by(p, SIZE_MAX);
}

static int32_t ask(struct pair *p, bool end)
{
	return h2_request(p->c.h, request_headers, N(request_headers), end);
}

static void answer(struct side *s, int32_t stream)
{
	assert_int_equal(h2_respond(s->h, stream, response_headers, N(response_headers), false), 0);
	assert_int_equal(h2_send(s->h, stream, SLICE_LIT("he"), SLICE_LIT("llo")), H2_SENT);
	assert_int_equal(h2_finish(s->h, stream, trailers, N(trailers)), 0);
}

static void accept_only(struct side *s, int32_t stream)
{
	assert_int_equal(h2_respond(s->h, stream, response_headers, N(response_headers), false), 0);
}

static void fill(struct side *s, int32_t stream, size_t n)
{
	uint8_t *p = calloc(1, n);

	(void)h2_send(s->h, stream, slice_of(p, n), slice_of(NULL, 0));
	free(p);
}

/* ---- exchanges ---- */

static void unary_by(size_t step)
{
	struct pair p;

	pair_init(&p, NULL);
	p.s.on_end = answer;
	assert_int_equal(ask(&p, false), 1);
	assert_int_equal(h2_send(p.c.h, 1, SLICE_LIT("ping"), slice_of(NULL, 0)), H2_SENT);
	assert_int_equal(h2_finish(p.c.h, 1, NULL, 0), 0);
	pump_by(&p, step);
	assert_string_equal(p.s.log, "H1:/x.Y/Z E1 C1:0 ");
	assert_string_equal(p.c.log, "H1:200 T1:0 E1 C1:0 ");
	assert_true(slice_is(buf_slice(&p.s.data), "ping"));
	assert_true(slice_is(buf_slice(&p.c.data), "hello"));
	assert_int_equal(h2_streams(p.s.h) + h2_streams(p.c.h), 0);
	pair_clear(&p);
}

static void unary_exchange(void **state)
{
	unary_by(SIZE_MAX);
}

static void unary_exchange_byte_by_byte(void **state)
{
	unary_by(1);
	unary_by(7);
}

static void request_without_a_body(void **state)
{
	struct pair p;

	pair_init(&p, NULL);
	p.s.on_request = answer;
	assert_int_equal(ask(&p, true), 1);
	assert_int_equal(h2_send(p.c.h, 1, SLICE_LIT("no"), slice_of(NULL, 0)), H2_GONE);
	pump(&p);
	assert_string_equal(p.s.log, "H1:/x.Y/Z. C1:0 ");
	assert_string_equal(p.c.log, "H1:200 T1:0 E1 C1:0 ");
	pair_clear(&p);
}

static void streams_both_ways(void **state)
{
	struct pair p;
	char text[16];

	pair_init(&p, NULL);
	p.s.on_request = accept_only;
	ask(&p, false);
	for (int i = 0; i < 50; i++) {
		snprintf(text, sizeof text, "%02d ", i);
		assert_int_equal(h2_send(p.c.h, 1, slice_str(text), slice_of(NULL, 0)), H2_SENT);
		pump(&p);
		assert_int_equal(h2_send(p.s.h, 1, slice_str(text), SLICE_LIT("!")), H2_SENT);
		pump(&p);
		assert_int_equal(p.s.got[1], 3 * (i + 1));
		assert_int_equal(p.c.got[1], 4 * (i + 1));
	}
	assert_int_equal(h2_finish(p.c.h, 1, NULL, 0), 0);
	pump(&p);
	assert_string_equal(p.s.log, "H1:/x.Y/Z E1 ");
	assert_int_equal(h2_finish(p.s.h, 1, trailers, N(trailers)), 0);
	pump(&p);
	assert_string_equal(p.c.log, "H1:200 T1:0 E1 C1:0 ");
	assert_string_equal(p.s.log, "H1:/x.Y/Z E1 C1:0 ");
	pair_clear(&p);
}

static void refuse_at_once(struct side *s, int32_t stream)
{
	static const struct h2_header only[] = {
		HDR(":status", "200"), HDR("content-type", "application/grpc"), HDR("grpc-status", "7"),
	};

	assert_int_equal(h2_respond(s->h, stream, only, N(only), true), 0);
	assert_int_equal(h2_respond(s->h, stream, only, N(only), true), -1);
	assert_int_equal(h2_send(s->h, stream, SLICE_LIT("x"), SLICE_LIT("")), H2_GONE);
}

/* The client still has its half open: it is reset with NO_ERROR, which is no failure. */
static void trailers_only_reply_ends_both_halves(void **state)
{
	struct pair p;

	pair_init(&p, NULL);
	p.s.on_request = refuse_at_once;
	ask(&p, false);
	pump(&p);
	assert_string_equal(p.s.log, "H1:/x.Y/Z C1:0 ");
	assert_string_equal(p.c.log, "H1:200. C1:0 ");
	assert_int_equal(h2_send(p.c.h, 1, SLICE_LIT("late"), SLICE_LIT("")), H2_GONE);
	pair_clear(&p);
}

static void many_streams_share_one_pull(void **state)
{
	struct pair p;
	size_t frames = 0;

	pair_init(&p, NULL);
	p.s.on_end = answer;
	pump(&p);
	for (int i = 0; i < 64; i++) {
		int32_t id = ask(&p, false);

		h2_send(p.c.h, id, SLICE_LIT("0123456789"), SLICE_LIT("abc"));
		h2_finish(p.c.h, id, NULL, 0);
	}
	assert_int_equal(h2_streams(p.c.h), 64);
	buf_reset(&p.c.out);
	assert_int_equal(h2_pull(p.c.h, &p.c.out, SIZE_MAX), 0);
	assert_false(h2_wants_write(p.c.h));
	for (size_t i = 0; i < p.c.out.n; frames++)
		i += 9 + ((size_t)p.c.out.p[i] << 16 | (size_t)p.c.out.p[i + 1] << 8 | p.c.out.p[i + 2]);
	assert_int_equal(frames, 128); /* HEADERS and DATA each, END_STREAM rides on the data */
	assert_int_equal(h2_feed(p.s.h, buf_slice(&p.c.out)), 0);
	pump(&p);
	assert_int_equal(p.c.data.n, 64 * 5);
	assert_int_equal(h2_streams(p.c.h) + h2_streams(p.s.h), 0);
	pair_clear(&p);
}

/* Whatever the caller's buffer holds, no byte is lost. */
static void small_buffers_lose_nothing(void **state)
{
	struct pair p;
	struct buf tiny;

	pair_init(&p, NULL);
	p.s.on_end = answer;
	ask(&p, false);
	fill(&p.c, 1, 40000);
	h2_finish(p.c.h, 1, NULL, 0);
	buf_init(&tiny, 17000); /* a frame fits, not two */
	while (h2_wants_write(p.c.h)) {
		buf_reset(&tiny);
		assert_int_equal(h2_pull(p.c.h, &tiny, 1), 0);
		assert_true(tiny.n > 0);
		assert_false(tiny.failed);
		assert_int_equal(h2_feed(p.s.h, buf_slice(&tiny)), 0);
	}
	assert_int_equal(p.s.got[1], 40000);
	assert_non_null(strstr(p.s.log, "E1"));
	buf_clear(&tiny);
	buf_init(&tiny, 20); /* not even the reply's headers fit at once */
	while (h2_wants_write(p.s.h)) {
		buf_reset(&tiny);
		assert_int_equal(h2_pull(p.s.h, &tiny, SIZE_MAX), 0);
		assert_true(tiny.n > 0 && !tiny.failed);
		assert_int_equal(h2_feed(p.c.h, buf_slice(&tiny)), 0);
	}
	assert_string_equal(p.c.log, "H1:200 T1:0 E1 C1:0 ");
	buf_clear(&tiny);
	pair_clear(&p);
}

/* ---- flow control ---- */

static void unread_bytes_hold_the_sender_back(void **state)
{
	struct pair p;

	pair_init(&p, NULL);
	p.s.hold = true;
	ask(&p, false);
	pump(&p);
	fill(&p.c, 1, 700 * 1024);
	h2_finish(p.c.h, 1, NULL, 0);
	pump(&p);
	assert_int_equal(p.s.got[1], h2_limits_default.stream_window);
	assert_int_equal(h2_queued(p.c.h, 1), 700 * 1024 - h2_limits_default.stream_window);
	h2_consume(p.s.h, 1, 200 * 1024);
	pump(&p);
	assert_int_equal(p.s.got[1], h2_limits_default.stream_window + 200 * 1024);
	h2_consume(p.s.h, 1, SIZE_MAX); /* more than was shown: as much as was */
	h2_consume(p.s.h, 1, 1 << 20);  /* and not twice */
	pump(&p);
	assert_int_equal(p.s.got[1], 700 * 1024);
	assert_string_equal(p.s.log, "H1:/x.Y/Z E1 ");
	pair_clear(&p);
}

static void the_connection_window_bounds_all_streams(void **state)
{
	struct pair p;
	size_t got = 0;

	pair_init(&p, NULL);
	p.s.hold = true;
	pump(&p);
	for (int i = 0; i < 8; i++)
		fill(&p.c, ask(&p, false), 256 * 1024);
	pump(&p);
	for (int i = 0; i < STREAMS; i++)
		got += p.s.got[i];
	assert_int_equal(got, h2_limits_default.connection_window);
	pair_clear(&p);
}

/* Streams that die with bytes nobody took must not eat the connection's window. */
static void a_closed_stream_gives_its_bytes_back(void **state)
{
	struct pair p;

	pair_init(&p, NULL);
	p.s.hold = true;
	pump(&p);
	for (int i = 0; i < 20; i++) {
		int32_t id = ask(&p, false);

		fill(&p.c, id, 200 * 1024);
		pump(&p);
		assert_int_equal(p.s.got[id], 200 * 1024);
		h2_reset(p.c.h, id, H2_CODE_CANCEL);
		pump(&p);
		h2_consume(p.s.h, id, 200 * 1024); /* too late, harmless */
	}
	pair_clear(&p);
}

static void a_full_queue_says_so_and_when_it_is_not(void **state)
{
	struct pair p;
	enum h2_send_result r = H2_SENT;
	char block[32 * 1024] = {0};
	int sent = 0;

	pair_init(&p, NULL);
	p.s.hold = true;
	ask(&p, false);
	pump(&p);
	fill(&p.c, 1, 256 * 1024); /* uses the window up */
	pump(&p);
	p.c.log[0] = '\0';
	while (r == H2_SENT) {
		r = h2_send(p.c.h, 1, slice_of(block, sizeof block), slice_of(NULL, 0));
		sent++;
	}
	assert_int_equal(r, H2_FULL);
	assert_int_equal(sent, 256 / 32 + 1);
	pump(&p);
	assert_string_equal(p.c.log, "");
	h2_consume(p.s.h, 1, 128 * 1024);
	pump(&p);
	assert_int_equal(h2_queued(p.c.h, 1), 160 * 1024); /* above the low mark still */
	assert_string_equal(p.c.log, "");
	h2_consume(p.s.h, 1, 128 * 1024);
	pump(&p);
	assert_string_equal(p.c.log, "W1 ");
	assert_int_equal(h2_send(p.c.h, 1, slice_of(block, 1), slice_of(NULL, 0)), H2_SENT);
	pair_clear(&p);
}

static void who_ignores_full_loses_the_stream(void **state)
{
	struct pair p;
	char block[64 * 1024] = {0};
	int i = 0;

	pair_init(&p, NULL);
	ask(&p, false);
	while (h2_send(p.c.h, 1, slice_of(block, sizeof block), slice_of(NULL, 0)) != H2_GONE)
		assert_true(++i <= 16);
	assert_int_equal(i, 16); /* four times 256 KiB */
	pump(&p);
	assert_string_equal(p.c.log, "C1:2r "); /* it never left */
	assert_int_equal(h2_streams(p.c.h), 0);
	pair_clear(&p);
}

/* What is counted is what was added to a full queue, not how full it is. */
static void small_ones_fit_behind_a_large_one(void **state)
{
	struct pair p;
	uint8_t *large = calloc(1, 4 << 20);
	char small[64] = {0};

	pair_init(&p, NULL);
	ask(&p, false);
	assert_int_equal(h2_send(p.c.h, 1, slice_of(large, 4 << 20), slice_of(NULL, 0)), H2_FULL);
	for (int i = 0; i < 1000; i++)
		assert_int_equal(h2_send(p.c.h, 1, slice_of(small, sizeof small), slice_of(NULL, 0)), H2_FULL);
	assert_int_equal(h2_queued(p.c.h, 1), (4 << 20) + 1000 * sizeof small);
	free(large);
	pair_clear(&p);
}

/* However many streams there are: one that would go over what the connection may queue is reset, the others stay. */
static void all_queues_of_a_connection_have_a_cap(void **state)
{
	struct h2_limits l = h2_limits_default;
	struct pair p;
	char block[1000] = {0};

	l.connection_queue = 2500;
	pair_init(&p, &l);
	p.s.on_request = accept_only;
	for (int i = 0; i < 3; i++)
		ask(&p, false);
	pump(&p);
	assert_int_equal(h2_send(p.s.h, 1, slice_of(block, sizeof block), slice_of(NULL, 0)), H2_SENT);
	assert_int_equal(h2_send(p.s.h, 3, slice_of(block, sizeof block), slice_of(NULL, 0)), H2_SENT);
	assert_int_equal(h2_send(p.s.h, 5, slice_of(block, sizeof block), slice_of(NULL, 0)), H2_GONE);
	assert_int_equal(h2_send(p.s.h, 1, slice_of(block, 500), slice_of(NULL, 0)), H2_SENT);
	pump(&p);
	assert_int_equal(p.c.got[1], 1500);
	assert_int_equal(p.c.got[3], 1000);
	/* What was sent, or went with its stream, makes room. */
	assert_int_equal(h2_send(p.s.h, 1, slice_of(block, sizeof block), slice_of(block, sizeof block)), H2_SENT);
	assert_int_equal(h2_reset(p.s.h, 1, H2_CODE_CANCEL), 0);
	pump(&p);
	assert_int_equal(h2_send(p.s.h, 3, slice_of(block, sizeof block), slice_of(block, sizeof block)), H2_SENT);
	pair_clear(&p);
}

static void refill(struct side *s, int32_t stream)
{
	fill(s, stream, 200 * 1024);
}

/* One stream with no end of data does not keep a short answer waiting. */
static void streams_take_turns(void **state)
{
	struct pair p;

	pair_init(&p, NULL);
	p.s.on_request = accept_only;
	p.c.hold = true;
	ask(&p, false);
	ask(&p, false);
	pump(&p);
	p.s.on_writable = refill;
	fill(&p.s, 1, 250 * 1024);
	h2_send(p.s.h, 3, SLICE_LIT("short"), SLICE_LIT(""));
	buf_reset(&p.s.out);
	h2_pull(p.s.h, &p.s.out, 96 * 1024);
	assert_int_equal(h2_feed(p.c.h, buf_slice(&p.s.out)), 0);
	assert_int_equal(p.c.got[3], 5);
	assert_true(p.c.got[1] >= 64 * 1024);
	pair_clear(&p);
}

/* Small windows, much data: WINDOW_UPDATEs that answer DATA are no abuse. */
static void window_updates_for_data_are_free(void **state)
{
	struct h2_limits l = h2_limits_default;
	struct pair p;

	l.control_burst = 20;
	l.control_rate = 0;
	pair_init(&p, &l);
	p.s.on_request = accept_only;
	ask(&p, false);
	pump(&p);
	for (int i = 0; i < 200; i++) {
		fill(&p.s, 1, 200 * 1024);
		pump(&p);
		fill(&p.s, 1, 10);
		pump(&p);
	}
	assert_string_equal(h2_error(p.s.h), "");
	assert_int_equal(p.c.got[1], 200 * (200 * 1024 + 10));
	pair_clear(&p);
}

/* ---- ends ---- */

static void resets_reach_the_other_side(void **state)
{
	struct pair p;

	pair_init(&p, NULL);
	p.s.on_request = accept_only;
	for (int i = 0; i < 3; i++)
		ask(&p, false);
	pump(&p);
	p.c.log[0] = p.s.log[0] = '\0';
	assert_int_equal(h2_reset(p.c.h, 1, H2_CODE_CANCEL), 0);
	assert_int_equal(h2_reset(p.c.h, 1, H2_CODE_CANCEL), -1);
	assert_int_equal(h2_send(p.c.h, 1, SLICE_LIT("x"), SLICE_LIT("")), H2_GONE);
	pump(&p);
	assert_string_equal(p.c.log, "C1:8 ");
	assert_string_equal(p.s.log, "C1:8 ");
	p.c.log[0] = p.s.log[0] = '\0';
	h2_reset(p.s.h, 3, H2_CODE_INTERNAL_ERROR);
	h2_reset(p.s.h, 5, H2_CODE_REFUSED_STREAM);
	pump(&p);
	assert_string_equal(p.c.log, "C3:2 C5:7r ");
	assert_string_equal(p.s.log, "C3:2 C5:7 ");
	pair_clear(&p);
}

static void a_request_that_never_left_was_refused(void **state)
{
	struct pair p;

	pair_init(&p, NULL);
	ask(&p, false);
	h2_reset(p.c.h, 1, H2_CODE_CANCEL);
	pump(&p);
	assert_string_equal(p.c.log, "C1:8r ");
	assert_string_equal(p.s.log, "");
	pair_clear(&p);
}

static void graceful_goaway(void **state)
{
	struct pair p;

	pair_init(&p, NULL);
	p.s.on_end = answer;
	ask(&p, false);
	pump(&p);
	assert_int_equal(h2_goaway(p.s.h, false, H2_CODE_NO_ERROR, "draining"), 0);
	ask(&p, true); /* on the wire before the GOAWAY is seen */
	p.s.on_request = NULL;
	pump(&p);
	assert_non_null(strstr(p.c.log, "G2147483647:0: "));
	assert_non_null(strstr(p.s.log, "H3:"));
	assert_int_equal(ask(&p, true), -1);
	answer(&p.s, 3);
	pump(&p);
	assert_non_null(strstr(p.c.log, "T3:0 E3 C3:0 "));
	assert_int_equal(h2_goaway(p.s.h, true, H2_CODE_NO_ERROR, "draining"), 0);
	pump(&p);
	assert_non_null(strstr(p.c.log, "G3:0:draining "));
	assert_false(h2_done(p.s.h));
	h2_finish(p.c.h, 1, NULL, 0);
	pump(&p);
	assert_non_null(strstr(p.c.log, "T1:0 E1 C1:0 "));
	assert_true(h2_done(p.s.h));
	assert_true(h2_done(p.c.h));
	assert_string_equal(h2_error(p.s.h), "");
	pair_clear(&p);
}

static void what_crosses_the_last_goaway_was_refused(void **state)
{
	struct pair p;

	pair_init(&p, NULL);
	ask(&p, false);
	pump(&p);
	h2_goaway(p.s.h, true, H2_CODE_NO_ERROR, NULL);
	buf_reset(&p.s.out);
	h2_pull(p.s.h, &p.s.out, SIZE_MAX);
	ask(&p, true);
	carry(&p.c, &p.s, SIZE_MAX);
	h2_feed(p.c.h, buf_slice(&p.s.out));
	pump(&p);
	assert_string_equal(p.c.log, "G1:0: C3:7r ");
	assert_string_equal(p.s.log, "H1:/x.Y/Z ");
	pair_clear(&p);
}

/* The limit is not known yet when the client starts; later it keeps to it by itself. */
static void streams_above_the_limit_are_refused(void **state)
{
	struct h2_limits l = h2_limits_default;
	struct pair p;

	l.max_streams = 2;
	pair_init(&p, &l);
	for (int i = 0; i < 3; i++)
		assert_int_equal(ask(&p, false), 2 * i + 1);
	pump(&p);
	assert_string_equal(p.c.log, "C5:7r ");
	assert_string_equal(p.s.log, "H1:/x.Y/Z H3:/x.Y/Z ");
	assert_int_equal(ask(&p, false), -1);
	h2_reset(p.c.h, 1, H2_CODE_CANCEL);
	pump(&p);
	assert_int_equal(ask(&p, false), 7);
	pump(&p);
	assert_non_null(strstr(p.s.log, "H7:"));
	pair_clear(&p);
}

static void header_blocks_over_a_cap_reset_their_stream(void **state)
{
	static char value[17000];
	struct h2_limits l = h2_limits_default;
	struct h2_header h[N(request_headers) + 8];
	struct pair p;

	l.header_count = N(request_headers) + 7;
	memset(value, 'v', sizeof value);
	memcpy(h, request_headers, sizeof request_headers);
	for (size_t i = N(request_headers); i < N(h); i++)
		h[i] = (struct h2_header)HDR("x-more", "1");
	pair_init(&p, &l);
	pump(&p);
	assert_int_equal(h2_request(p.c.h, h, N(h), true), 1); /* one too many */
	pump(&p);
	assert_string_equal(p.c.log, "C1:11 ");
	h[N(request_headers)].value = slice_of(value, 16 * 1024);
	assert_int_equal(h2_request(p.c.h, h, N(request_headers) + 1, true), 3); /* too large */
	pump(&p);
	assert_string_equal(p.c.log, "C1:11 C3:11 ");
	assert_string_equal(p.s.log, "");
	h[N(request_headers)].value = slice_of(value, 15000);
	assert_int_equal(h2_request(p.c.h, h, N(request_headers) + 1, true), 5); /* large */
	assert_int_equal(h2_request(p.c.h, h, N(h) - 1, true), 7);              /* many and large */
	pump(&p);
	assert_string_equal(p.s.log, "H5:/x.Y/Z. H7:/x.Y/Z. ");
	h[N(request_headers)].value = slice_of(value, 1 << 16);
	assert_int_equal(h2_request(p.c.h, h, N(request_headers) + 1, true), -1); /* we do not send that */
	pair_clear(&p);
}

static void pings_are_counted_until_answered(void **state)
{
	struct pair p;

	pair_init(&p, NULL);
	pump(&p);
	assert_int_equal(h2_ping(p.s.h), 0);
	assert_int_equal(h2_ping(p.s.h), 0);
	assert_int_equal(h2_pings_unanswered(p.s.h), 2);
	pump(&p);
	assert_int_equal(h2_pings_unanswered(p.s.h), 0);
	pair_clear(&p);
}

static void calls_about_unknown_streams_do_nothing(void **state)
{
	struct pair p;

	pair_init(&p, NULL);
	assert_int_equal(h2_respond(p.s.h, 9, response_headers, N(response_headers), false), -1);
	assert_int_equal(h2_send(p.s.h, 9, SLICE_LIT("x"), SLICE_LIT("")), H2_GONE);
	assert_int_equal(h2_finish(p.s.h, 9, NULL, 0), -1);
	assert_int_equal(h2_reset(p.s.h, 9, 8), -1);
	assert_int_equal(h2_queued(p.s.h, 9), 0);
	h2_consume(p.s.h, 9, 100);
	assert_int_equal(h2_request(p.s.h, request_headers, N(request_headers), true), -1); /* a server asks nothing */
	pump(&p);
	assert_string_equal(p.s.log, "");
	pair_clear(&p);
}

/* Under ASan: nothing leaks, whatever is under way. */
static void free_with_everything_open(void **state)
{
	struct pair p;
	struct h2_header big = {SLICE_LIT("x-big"), {NULL, 0}};
	char value[3000];

	pair_init(&p, NULL);
	p.s.on_request = accept_only;
	for (int i = 0; i < 40; i++)
		ask(&p, false);
	pump(&p);
	for (int i = 0; i < 40; i++) {
		fill(&p.s, 2 * i + 1, 5000);
		h2_finish(p.s.h, 2 * i + 1, trailers, N(trailers));
	}
	buf_reset(&p.s.out);
	h2_pull(p.s.h, &p.s.out, 3000);
	memset(value, 'v', sizeof value);
	big.value = slice_of(value, sizeof value);
	struct h2_header h[] = {request_headers[0], request_headers[1], request_headers[2], request_headers[3], big};
	h2_request(p.c.h, h, N(h), false);
	buf_reset(&p.c.out);
	h2_pull(p.c.h, &p.c.out, SIZE_MAX);
	h2_feed(p.s.h, slice_of(p.c.out.p, p.c.out.n - 10)); /* a header block half read */
	assert_int_equal(h2_streams(p.s.h), 41);
	pair_clear(&p);
	h2_free(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(unary_exchange),
		cmocka_unit_test(unary_exchange_byte_by_byte),
		cmocka_unit_test(request_without_a_body),
		cmocka_unit_test(streams_both_ways),
		cmocka_unit_test(trailers_only_reply_ends_both_halves),
		cmocka_unit_test(many_streams_share_one_pull),
		cmocka_unit_test(small_buffers_lose_nothing),
		cmocka_unit_test(unread_bytes_hold_the_sender_back),
		cmocka_unit_test(the_connection_window_bounds_all_streams),
		cmocka_unit_test(a_closed_stream_gives_its_bytes_back),
		cmocka_unit_test(a_full_queue_says_so_and_when_it_is_not),
		cmocka_unit_test(who_ignores_full_loses_the_stream),
		cmocka_unit_test(small_ones_fit_behind_a_large_one),
		cmocka_unit_test(all_queues_of_a_connection_have_a_cap),
		cmocka_unit_test(streams_take_turns),
		cmocka_unit_test(window_updates_for_data_are_free),
		cmocka_unit_test(resets_reach_the_other_side),
		cmocka_unit_test(a_request_that_never_left_was_refused),
		cmocka_unit_test(graceful_goaway),
		cmocka_unit_test(what_crosses_the_last_goaway_was_refused),
		cmocka_unit_test(streams_above_the_limit_are_refused),
		cmocka_unit_test(header_blocks_over_a_cap_reset_their_stream),
		cmocka_unit_test(pings_are_counted_until_answered),
		cmocka_unit_test(calls_about_unknown_streams_do_nothing),
		cmocka_unit_test(free_with_everything_open),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
