/* What does a server session do with a peer that breaks or bends HTTP/2 (RFC 9113 §10.5)? Frames are written here by
 * hand. Each refusal has its honest twin: the same one step below the limit. */
#include "wire/h2.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define PREFACE "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

enum { DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION };
enum { END_STREAM = 1, ACK = 1, END_HEADERS = 4, PADDED = 8 };

/* HPACK: :authority "h", then :method POST, :scheme https, :path / from the static table. */
#define AUTH "\x01\x01h"
#define ASK AUTH "\x83\x87\x84"
#define REQUEST SLICE_LIT(ASK)

struct victim {
	struct h2 *h;
	struct buf in, out;
	int shown, trailers, ended, closed;
	uint32_t code; /* of the stream closed last */
	bool reply;    /* ends each request at once */
	struct slice status; /* what the peer was shown last; static text or NULL */
};

static void on_headers(void *user, int32_t stream, const struct h2_header *h, size_t n, bool end)
{
	static const struct h2_header response[] = {{{(const uint8_t *)":status", 7}, {(const uint8_t *)"200", 3}}};
	struct victim *v = user;

	v->shown++;
	if (v->reply)
		assert_int_equal(h2_respond(v->h, stream, response, 1, true), 0);
}

static void on_data(void *user, int32_t stream, struct slice data)
{
	struct victim *v = user;

	h2_consume(v->h, stream, data.n);
}

static void on_trailers(void *user, int32_t stream, const struct h2_header *h, size_t n)
{
	((struct victim *)user)->trailers++;
}

static void on_end(void *user, int32_t stream)
{
	((struct victim *)user)->ended++;
}

static void on_closed(void *user, int32_t stream, uint32_t code, bool refused)
{
	struct victim *v = user;

	v->closed++;
	v->code = code;
}

static const struct h2_events events = {
	.on_headers = on_headers, .on_data = on_data, .on_trailers = on_trailers, .on_end = on_end,
	.on_closed = on_closed,
};

/* Budgets that do not refill, so that no test depends on time. */
static struct h2_limits limits(void)
{
	struct h2_limits l = h2_limits_default;

	l.reset_rate = l.control_rate = l.ping_rate = 0;
	l.reset_burst = l.control_burst = l.ping_burst = 20;
	return l;
}

static void frame(struct victim *v, uint8_t type, uint8_t flags, uint32_t stream, struct slice body)
{
	uint8_t head[9] = {(uint8_t)(body.n >> 16), (uint8_t)(body.n >> 8), (uint8_t)body.n, type, flags,
			   (uint8_t)(stream >> 24), (uint8_t)(stream >> 16), (uint8_t)(stream >> 8), (uint8_t)stream};

	assert_true(buf_put(&v->in, head, sizeof head));
	assert_true(buf_put_slice(&v->in, body));
}

static int feed(struct victim *v)
{
	int rc = h2_feed(v->h, buf_slice(&v->in));

	buf_reset(&v->in);
	return rc;
}

static int pull(struct victim *v)
{
	buf_reset(&v->out);
	return h2_pull(v->h, &v->out, SIZE_MAX);
}

static void greeted(struct victim *v, struct h2_limits l)
{
	memset(v, 0, sizeof *v);
	v->h = h2_new_server(&l, &events, v);
	assert_non_null(v->h);
	buf_init(&v->in, 8 << 20);
	buf_init(&v->out, 8 << 20);
	buf_put_str(&v->in, PREFACE);
	frame(v, SETTINGS, 0, 0, SLICE_LIT(""));
	assert_int_equal(feed(v), 0);
	assert_int_equal(pull(v), 0);
}

/* The client's SETTINGS cost one token of control. */
static struct victim *victim_new(struct h2_limits l)
{
	struct victim *v = malloc(sizeof *v);

	greeted(v, l);
	return v;
}

static void victim_free(struct victim *v)
{
	h2_free(v->h);
	buf_clear(&v->in);
	buf_clear(&v->out);
	free(v);
}

static uint32_t u32(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

/* The nth frame of that type that the victim sent in its last pull; its body, p == NULL when there is none. */
static struct slice sent(const struct victim *v, uint8_t type, size_t nth, uint32_t *stream)
{
	for (size_t i = 0; i + 9 <= v->out.n;) {
		const uint8_t *p = v->out.p + i;
		size_t n = u32(p) >> 8;

		if (p[3] == type && nth-- == 0) {
			if (stream)
				*stream = u32(p + 5);
			return slice_of(p + 9, n);
		}
		i += 9 + n;
	}
	return slice_of(NULL, 0);
}

static void assert_goaway(struct victim *v, uint32_t code, const char *debug)
{
	struct slice g;

	assert_int_equal(pull(v), -1);
	g = sent(v, GOAWAY, 0, NULL);
	assert_non_null(g.p);
	assert_int_equal(u32(g.p + 4), code);
	if (debug) {
		assert_true(slice_is(slice_of(g.p + 8, g.n - 8), debug));
		assert_string_equal(h2_error(v->h), debug);
	}
	assert_true(h2_error(v->h)[0] != '\0');
	assert_int_equal(h2_feed(v->h, SLICE_LIT("more")), -1);
}

static void assert_fine(struct victim *v)
{
	assert_int_equal(pull(v), 0);
	assert_null(sent(v, GOAWAY, 0, NULL).p);
	assert_string_equal(h2_error(v->h), "");
}

/* ---- the session ---- */

static void bad_preface_ends_the_session(void **state)
{
	struct victim v = {0};

	v.h = h2_new_server(NULL, &events, &v);
	buf_init(&v.out, 4096);
	assert_int_equal(h2_feed(v.h, SLICE_LIT("GET / HTTP/1.1\r\nHost: x\r\n\r\n")), -1);
	assert_goaway(&v, H2_CODE_PROTOCOL_ERROR, "bad_preface");
	buf_clear(&v.out);
	h2_free(v.h);
}

static void broken_frames_end_the_session(void **state)
{
	static const struct {
		uint8_t type, flags;
		uint32_t stream;
		struct slice body;
		uint32_t code;
	} rows[] = {
		{SETTINGS, 0, 0, SLICE_LIT("12345"), H2_CODE_FRAME_SIZE_ERROR},
		{SETTINGS, ACK, 0, SLICE_LIT(""), H2_CODE_PROTOCOL_ERROR}, /* a second ACK */
		{PING, 0, 0, SLICE_LIT("1234567"), H2_CODE_FRAME_SIZE_ERROR},
		{PING, 0, 1, SLICE_LIT("12345678"), H2_CODE_PROTOCOL_ERROR},
		{DATA, 0, 0, SLICE_LIT("x"), H2_CODE_PROTOCOL_ERROR},
		{DATA, 0, 7, SLICE_LIT("x"), H2_CODE_PROTOCOL_ERROR}, /* idle stream */
		{HEADERS, END_HEADERS, 2, SLICE_LIT(ASK), H2_CODE_PROTOCOL_ERROR}, /* even id */
		{HEADERS, END_HEADERS, 1, SLICE_LIT("\xff\xff\xff\xff\xff\xff\xff"), H2_CODE_COMPRESSION_ERROR},
		{PUSH_PROMISE, END_HEADERS, 1, SLICE_LIT("\0\0\0\2" ASK), H2_CODE_PROTOCOL_ERROR},
		{WINDOW_UPDATE, 0, 0, SLICE_LIT("\0\0\0\0"), H2_CODE_PROTOCOL_ERROR},
		{WINDOW_UPDATE, 0, 0, SLICE_LIT("\x7f\xff\xff\xff"), H2_CODE_FLOW_CONTROL_ERROR},
		{CONTINUATION, END_HEADERS, 1, SLICE_LIT("\x83"), H2_CODE_PROTOCOL_ERROR},
		{RST_STREAM, 0, 9, SLICE_LIT("\0\0\0\x8"), H2_CODE_PROTOCOL_ERROR}, /* idle stream */
	};

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct victim *v = victim_new(limits());

		frame(v, SETTINGS, ACK, 0, SLICE_LIT(""));
		assert_int_equal(feed(v), 0);
		assert_fine(v);
		frame(v, rows[i].type, rows[i].flags, rows[i].stream, rows[i].body);
		(void)feed(v);
		assert_goaway(v, rows[i].code, NULL);
		victim_free(v);
	}
}

static void frame_over_the_size_ends_the_session(void **state)
{
	static uint8_t body[16385];
	struct victim *v = victim_new(limits());

	frame(v, HEADERS, END_HEADERS, 1, REQUEST);
	frame(v, DATA, 0, 1, slice_of(body, 16384));
	assert_int_equal(feed(v), 0);
	assert_fine(v);
	frame(v, DATA, 0, 1, slice_of(body, 16385));
	(void)feed(v);
	assert_goaway(v, H2_CODE_FRAME_SIZE_ERROR, NULL);
	victim_free(v);
}

/* ---- budgets ---- */

/* Feeds `below` frames that must pass, then one more that must not. */
static void flood(uint8_t type, uint8_t flags, uint32_t stream, struct slice body, size_t below, const char *debug)
{
	struct victim *v = victim_new(limits());

	if (stream)
		frame(v, HEADERS, END_HEADERS, stream, REQUEST);
	for (size_t i = 0; i < below; i++)
		frame(v, type, flags, stream, body);
	assert_int_equal(feed(v), 0);
	assert_fine(v);
	frame(v, type, flags, stream, body);
	assert_int_equal(feed(v), -1);
	assert_goaway(v, H2_CODE_ENHANCE_YOUR_CALM, debug);
	victim_free(v);
}

static void control_floods_end_the_session(void **state)
{
	/* The client's SETTINGS took one of 20. */
	flood(SETTINGS, 0, 0, SLICE_LIT(""), 19, "too_many_control_frames");
	flood(PRIORITY, 0, 1, SLICE_LIT("\0\0\0\0\x10"), 19, "too_many_control_frames");
	flood(WINDOW_UPDATE, 0, 0, SLICE_LIT("\0\0\0\1"), 19, "too_many_control_frames");
	flood(WINDOW_UPDATE, 0, 1, SLICE_LIT("\0\0\0\1"), 19, "too_many_control_frames");
	flood(DATA, 0, 1, SLICE_LIT(""), 19, "too_many_control_frames");
	flood(DATA, PADDED, 1, SLICE_LIT("\3\0\0\0"), 19, "too_many_control_frames"); /* padding alone */
	flood(PING, ACK, 0, SLICE_LIT("12345678"), 19, "too_many_control_frames"); /* nobody pinged */
}

/* They are skipped by their length and cost nothing but their bytes (RFC 9113 §5.5). */
static void frames_of_unknown_types_are_skipped(void **state)
{
	struct victim *v = victim_new(limits());

	for (int i = 0; i < 100; i++)
		frame(v, (uint8_t)(0x10 + i), 0xff, 0, SLICE_LIT("whatever"));
	frame(v, HEADERS, END_HEADERS, 1, REQUEST);
	assert_int_equal(feed(v), 0);
	assert_fine(v);
	assert_int_equal(v->shown, 1);
	victim_free(v);
}

static void settings_entries_have_a_cap(void **state)
{
	static const char entry[] = "\0\4\0\1\0\0";
	uint8_t body[33 * 6];
	struct victim *v = victim_new(limits());

	for (size_t i = 0; i < 33; i++)
		memcpy(body + i * 6, entry, 6);
	frame(v, SETTINGS, 0, 0, slice_of(body, 32 * 6));
	assert_int_equal(feed(v), 0);
	assert_fine(v);
	frame(v, SETTINGS, 0, 0, slice_of(body, 33 * 6));
	feed(v);
	pull(v);
	assert_string_not_equal(h2_error(v->h), "");
	victim_free(v);
}

static void ping_flood_is_named_as_grpc_does(void **state)
{
	struct h2_limits l = limits();
	struct victim *v;

	l.control_burst = 1000;
	v = victim_new(l);
	for (int i = 0; i < 20; i++)
		frame(v, PING, 0, 0, SLICE_LIT("12345678"));
	assert_int_equal(feed(v), 0);
	assert_fine(v);
	assert_true(slice_is(sent(v, PING, 19, NULL), "12345678")); /* each answered */
	frame(v, PING, 0, 0, SLICE_LIT("12345678"));
	assert_int_equal(feed(v), -1);
	assert_goaway(v, H2_CODE_ENHANCE_YOUR_CALM, "too_many_pings");
	victim_free(v);
}

/* gRPC's clients send one for the DATA that comes, to measure the way: as many as we send is no flood. */
static void pings_that_answer_our_data_are_free(void **state)
{
	static const struct h2_header ok[] = {{SLICE_LIT(":status"), SLICE_LIT("200")}};
	struct victim *v = victim_new(limits());

	frame(v, HEADERS, END_HEADERS, 1, REQUEST);
	assert_int_equal(feed(v), 0);
	assert_int_equal(h2_respond(v->h, 1, ok, 1, false), 0);
	for (int i = 0; i < 200; i++) {
		assert_int_equal(h2_send(v->h, 1, SLICE_LIT("x"), SLICE_LIT("")), H2_SENT);
		assert_int_equal(pull(v), 0);
		frame(v, PING, 0, 0, SLICE_LIT("12345678"));
		assert_int_equal(feed(v), 0);
	}
	assert_fine(v);
	for (int i = 0; i < 30; i++)
		frame(v, PING, 0, 0, SLICE_LIT("12345678"));
	assert_int_equal(feed(v), -1);
	victim_free(v);
}

static void data_that_is_not_empty_is_free(void **state)
{
	struct victim *v = victim_new(limits());

	frame(v, HEADERS, END_HEADERS, 1, REQUEST);
	for (int i = 0; i < 1000; i++)
		frame(v, DATA, 0, 1, SLICE_LIT("x"));
	frame(v, DATA, END_STREAM, 1, SLICE_LIT("")); /* an end is no nuisance */
	assert_int_equal(feed(v), 0);
	assert_fine(v);
	assert_int_equal(v->ended, 1);
	victim_free(v);
}

static void rapid_reset_ends_the_session(void **state)
{
	struct victim *v = victim_new(limits());
	uint32_t id = 1;

	for (int i = 0; i < 20; i++, id += 2) {
		frame(v, HEADERS, END_HEADERS, id, REQUEST);
		frame(v, RST_STREAM, 0, id, SLICE_LIT("\0\0\0\x8"));
	}
	assert_int_equal(feed(v), 0);
	assert_fine(v);
	assert_int_equal(v->shown, 20);
	assert_int_equal(v->closed, 20);
	assert_int_equal(v->code, H2_CODE_CANCEL);
	for (int i = 0; i < 500; i++, id += 2) {
		frame(v, HEADERS, END_HEADERS, id, REQUEST);
		frame(v, RST_STREAM, 0, id, SLICE_LIT("\0\0\0\x8"));
	}
	assert_int_equal(feed(v), -1);
	assert_int_equal(v->shown, 21); /* it stopped at once */
	assert_goaway(v, H2_CODE_ENHANCE_YOUR_CALM, "too_many_resets");
	victim_free(v);
}

/* The peer makes us reset: each stream gets a WINDOW_UPDATE of nothing, a stream error. */
static void provoked_resets_end_the_session_too(void **state)
{
	struct h2_limits l = limits();
	struct victim *v;
	uint32_t id = 1;

	l.control_burst = 1000;
	v = victim_new(l);
	for (int i = 0; i < 20; i++, id += 2) {
		frame(v, HEADERS, END_HEADERS, id, REQUEST);
		frame(v, WINDOW_UPDATE, 0, id, SLICE_LIT("\x7f\xff\xff\xff"));
	}
	assert_int_equal(feed(v), 0);
	assert_fine(v);
	assert_non_null(sent(v, RST_STREAM, 19, NULL).p);
	frame(v, HEADERS, END_HEADERS, id, REQUEST);
	frame(v, WINDOW_UPDATE, 0, id, SLICE_LIT("\x7f\xff\xff\xff"));
	(void)feed(v);
	(void)pull(v);
	assert_int_equal(h2_feed(v->h, SLICE_LIT("x")), -1);
	assert_string_equal(h2_error(v->h), "too_many_resets");
	victim_free(v);
}

/* Our own decisions are not held against the peer. */
static void resets_of_ours_are_free(void **state)
{
	struct victim *v = victim_new(limits());

	v->reply = true; /* before the request has ended: NO_ERROR */
	for (uint32_t id = 1; id < 200; id += 2)
		frame(v, HEADERS, END_HEADERS, id, REQUEST);
	assert_int_equal(feed(v), 0);
	assert_fine(v);
	assert_int_equal(v->closed, 100);
	assert_int_equal(v->code, H2_CODE_NO_ERROR);
	v->reply = false;
	for (uint32_t id = 201; id < 301; id += 2)
		frame(v, HEADERS, END_HEADERS, id, REQUEST);
	assert_int_equal(feed(v), 0);
	for (int32_t id = 201; id < 301; id += 2)
		assert_int_equal(h2_reset(v->h, id, H2_CODE_INTERNAL_ERROR), 0);
	assert_fine(v);
	victim_free(v);
}

/* A peer that asks and asks and reads nothing: our refusals pile up, but not without end. */
static void refusals_nobody_reads_have_a_cap(void **state)
{
	struct h2_limits l = limits();
	struct victim *v;
	uint32_t id = 1;
	int i = 0;

	l.max_streams = 1;
	v = victim_new(l);
	for (; i < 4000; i++, id += 2)
		frame(v, HEADERS, END_HEADERS, id, REQUEST);
	assert_int_equal(feed(v), 0);
	for (; i < 4200; i++, id += 2)
		frame(v, HEADERS, END_HEADERS, id, REQUEST);
	assert_int_equal(feed(v), -1);
	assert_string_equal(h2_error(v->h), "too_many_unsent_frames");
	assert_int_equal(v->shown, 1);
	victim_free(v);
}

/* ---- header blocks ---- */

static void continuation_flood_ends_the_session(void **state)
{
	struct victim *v = victim_new(limits());

	frame(v, HEADERS, 0, 1, REQUEST);
	for (int i = 0; i < 6; i++)
		frame(v, CONTINUATION, 0, 1, SLICE_LIT(""));
	frame(v, CONTINUATION, END_HEADERS, 1, SLICE_LIT(""));
	assert_int_equal(feed(v), 0);
	assert_fine(v);
	assert_int_equal(v->shown, 1);
	frame(v, HEADERS, 0, 3, REQUEST);
	for (int i = 0; i < 10; i++)
		frame(v, CONTINUATION, 0, 3, SLICE_LIT(""));
	(void)feed(v);
	assert_int_equal(pull(v), -1);
	assert_non_null(sent(v, GOAWAY, 0, NULL).p);
	assert_int_equal(v->shown, 1);
	victim_free(v);
}

/* HPACK bomb: 4 KiB go into the dynamic table once, then one byte repeats them. */
static void header_bomb_resets_its_stream_only(void **state)
{
	static uint8_t block[8000];
	struct victim *v = victim_new(limits());
	uint32_t stream = 0;
	size_t n = REQUEST.n;
	struct slice rst;

	memcpy(block, REQUEST.p, n);
	memcpy(block + n, "\x40\x01x\x7f\xa1\x1e", 6); /* literal, indexed: "x", 4000 bytes */
	n += 6;
	memset(block + n, 'b', 4000);
	n += 4000;
	memset(block + n, 0xbe, sizeof block - n); /* entry 62, again and again */
	frame(v, HEADERS, END_HEADERS | END_STREAM, 1, slice_of(block, sizeof block));
	frame(v, HEADERS, END_HEADERS | END_STREAM, 3, REQUEST);
	assert_int_equal(feed(v), 0);
	assert_fine(v);
	rst = sent(v, RST_STREAM, 0, &stream);
	assert_int_equal(stream, 1);
	assert_int_equal(u32(rst.p), H2_CODE_ENHANCE_YOUR_CALM);
	assert_null(sent(v, RST_STREAM, 1, NULL).p);
	assert_int_equal(v->shown, 1);
	assert_int_equal(v->closed, 0);
	assert_int_equal(h2_streams(v->h), 1);
	victim_free(v);
}

static void requests_that_are_not_http_are_reset_unseen(void **state)
{
	static const struct slice blocks[] = {
		SLICE_LIT(AUTH "\x83\x87"),                     /* no :path */
		SLICE_LIT(AUTH "\x83\x84"),                     /* no :scheme */
		SLICE_LIT(AUTH "\x87\x84"),                     /* no :method */
		SLICE_LIT("\x83\x87\x84"),                      /* no :authority, no host */
		SLICE_LIT(ASK "\x83"),                          /* :method twice */
		SLICE_LIT(ASK "\x00\x01X\x01y"),                /* upper case */
		SLICE_LIT(ASK "\x00\x0a" "connection\x05" "close"),
		SLICE_LIT(ASK "\x00\x11transfer-encoding\x07" "chunked"),
		SLICE_LIT(ASK "\x00\x02te\x04gzip"),
		SLICE_LIT(ASK "\x00\x01x\x03" "a\nb"),          /* a line break in a value */
		SLICE_LIT(AUTH "\x83\x87\x00\x01x\x01y\x84"),   /* a pseudo-header after another */
		SLICE_LIT(ASK "\x88"),                          /* :status */
		SLICE_LIT(AUTH "\x02\x07" "CONNECT"),           /* CONNECT with :authority alone */
	};

	for (size_t i = 0; i < sizeof blocks / sizeof blocks[0]; i++) {
		struct victim *v = victim_new(limits());

		frame(v, HEADERS, END_HEADERS, 1, blocks[i]);
		frame(v, HEADERS, END_HEADERS, 3, SLICE_LIT(ASK "\x00\x02te\x08trailers"));
		assert_int_equal(feed(v), 0);
		assert_fine(v);
		assert_int_equal(v->shown, 1);
		assert_non_null(sent(v, RST_STREAM, 0, NULL).p);
		assert_int_equal(h2_streams(v->h), 1);
		assert_int_equal(v->closed, 0);
		victim_free(v);
	}
}

static void request_trailers_are_shown_as_such(void **state)
{
	struct victim *v = victim_new(limits());

	frame(v, HEADERS, END_HEADERS, 1, REQUEST);
	frame(v, DATA, 0, 1, SLICE_LIT("x"));
	frame(v, HEADERS, END_HEADERS | END_STREAM, 1, SLICE_LIT("\x00\x01x\x01y"));
	assert_int_equal(feed(v), 0);
	assert_fine(v);
	assert_int_equal(v->shown, 1);
	assert_int_equal(v->trailers, 1);
	assert_int_equal(v->ended, 1);
	victim_free(v);
}

/* ---- streams ---- */

static void streams_above_the_limit_are_refused(void **state)
{
	struct h2_limits l = limits();
	struct victim *v;
	uint32_t stream = 0;
	struct slice rst;

	l.max_streams = 3;
	v = victim_new(l);
	for (uint32_t id = 1; id <= 7; id += 2)
		frame(v, HEADERS, END_HEADERS, id, REQUEST);
	assert_int_equal(feed(v), 0);
	assert_fine(v);
	assert_int_equal(v->shown, 3);
	rst = sent(v, RST_STREAM, 0, &stream);
	assert_int_equal(stream, 7);
	assert_int_equal(u32(rst.p), H2_CODE_REFUSED_STREAM);
	frame(v, SETTINGS, ACK, 0, SLICE_LIT("")); /* now it knows the limit */
	frame(v, HEADERS, END_HEADERS, 9, REQUEST);
	(void)feed(v);
	assert_goaway(v, H2_CODE_PROTOCOL_ERROR, NULL);
	victim_free(v);
}

static void data_beyond_the_window_is_refused(void **state)
{
	static uint8_t body[16384];
	struct h2_limits l = limits();
	struct victim *v;

	l.stream_window = 65535;
	v = victim_new(l);
	frame(v, HEADERS, END_HEADERS, 1, REQUEST);
	for (int i = 0; i < 3; i++)
		frame(v, DATA, 0, 1, slice_of(body, sizeof body));
	assert_int_equal(feed(v), 0);
	assert_int_equal(h2_reset(v->h, 1, H2_CODE_CANCEL), 0);
	assert_fine(v);
	victim_free(v);
}

/* ---- a client's view of an odd server ---- */

static void on_client_headers(void *user, int32_t stream, const struct h2_header *h, size_t n, bool end)
{
	struct victim *v = user;

	v->shown++;
	v->status = slice_is(h[0].value, "200") ? SLICE_LIT("200") : slice_of(NULL, 0);
}

static void interim_responses_are_dropped(void **state)
{
	static const struct h2_header request[] = {
		{SLICE_LIT(":method"), SLICE_LIT("POST")}, {SLICE_LIT(":scheme"), SLICE_LIT("https")},
		{SLICE_LIT(":path"), SLICE_LIT("/")},
	};
	struct h2_events ev = events;
	struct victim v = {0};

	ev.on_headers = on_client_headers;
	v.h = h2_new_client(NULL, &ev, &v);
	buf_init(&v.in, 4096);
	buf_init(&v.out, 4096);
	assert_int_equal(h2_request(v.h, request, 3, true), 1);
	assert_int_equal(pull(&v), 0);
	frame(&v, SETTINGS, 0, 0, SLICE_LIT(""));
	frame(&v, HEADERS, END_HEADERS, 1, SLICE_LIT("\x08\x03" "103"));
	assert_int_equal(feed(&v), 0);
	assert_int_equal(v.shown, 0);
	frame(&v, HEADERS, END_HEADERS, 1, SLICE_LIT("\x88")); /* :status 200 */
	frame(&v, HEADERS, END_HEADERS | END_STREAM, 1, SLICE_LIT("\x00\x01x\x01y"));
	assert_int_equal(feed(&v), 0);
	assert_int_equal(v.shown, 1);
	assert_true(slice_is(v.status, "200"));
	assert_int_equal(v.trailers, 1);
	assert_int_equal(v.ended, 1);
	assert_int_equal(v.closed, 1);
	buf_clear(&v.in);
	buf_clear(&v.out);
	h2_free(v.h);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bad_preface_ends_the_session),
		cmocka_unit_test(broken_frames_end_the_session),
		cmocka_unit_test(frame_over_the_size_ends_the_session),
		cmocka_unit_test(control_floods_end_the_session),
		cmocka_unit_test(frames_of_unknown_types_are_skipped),
		cmocka_unit_test(settings_entries_have_a_cap),
		cmocka_unit_test(ping_flood_is_named_as_grpc_does),
		cmocka_unit_test(pings_that_answer_our_data_are_free),
		cmocka_unit_test(data_that_is_not_empty_is_free),
		cmocka_unit_test(rapid_reset_ends_the_session),
		cmocka_unit_test(provoked_resets_end_the_session_too),
		cmocka_unit_test(resets_of_ours_are_free),
		cmocka_unit_test(refusals_nobody_reads_have_a_cap),
		cmocka_unit_test(continuation_flood_ends_the_session),
		cmocka_unit_test(header_bomb_resets_its_stream_only),
		cmocka_unit_test(requests_that_are_not_http_are_reset_unseen),
		cmocka_unit_test(request_trailers_are_shown_as_such),
		cmocka_unit_test(streams_above_the_limit_are_refused),
		cmocka_unit_test(data_beyond_the_window_is_refused),
		cmocka_unit_test(interim_responses_are_dropped),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
