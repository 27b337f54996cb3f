/* What is an HTTP/2 connection, without a socket? A session that is fed bytes and gives bytes, for the server's side
 * and the client's alike, over nghttp2. Streams are plain HTTP/2 streams; gRPC's framing is wire/grpc.
 *
 * Callbacks run inside h2_feed() or h2_pull(). They may call any h2_* function but h2_feed, h2_pull and h2_free. Flow
 * control: the receive window of a stream and of the connection open again only by h2_consume(), so that bytes nobody
 * has taken hold the sender back. One thread each.
 */
#ifndef BATON_WIRE_H2_H
#define BATON_WIRE_H2_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/slice.h"

struct h2;

/* RFC 9113 §7 */
enum h2_code {
	H2_CODE_NO_ERROR = 0,
	H2_CODE_PROTOCOL_ERROR = 1,
	H2_CODE_INTERNAL_ERROR = 2,
	H2_CODE_FLOW_CONTROL_ERROR = 3,
	H2_CODE_SETTINGS_TIMEOUT = 4,
	H2_CODE_STREAM_CLOSED = 5,
	H2_CODE_FRAME_SIZE_ERROR = 6,
	H2_CODE_REFUSED_STREAM = 7,
	H2_CODE_CANCEL = 8,
	H2_CODE_COMPRESSION_ERROR = 9,
	H2_CODE_CONNECT_ERROR = 10,
	H2_CODE_ENHANCE_YOUR_CALM = 11,
	H2_CODE_INADEQUATE_SECURITY = 12,
	H2_CODE_HTTP_1_1_REQUIRED = 13,
};

struct h2_header {
	struct slice name; /* lower case */
	struct slice value;
};

struct h2_events {
	/* A whole header block. Server: a request's, pseudo-headers included and validated (RFC 9113 §8.3). Client: a
	 * response's (interim 1xx are dropped). `end`: nothing follows, and on_end is not called. The headers are
	 * borrowed for the call; name and value end in a NUL that n does not count. */
	void (*on_headers)(void *user, int32_t stream, const struct h2_header *h, size_t n, bool end);
	/* Borrowed for the call. Each byte must be given back with h2_consume() once, now or later. What was not
	 * given back when the stream closes is given back then; a later h2_consume() does nothing. */
	void (*on_data)(void *user, int32_t stream, struct slice data);
	void (*on_trailers)(void *user, int32_t stream, const struct h2_header *h, size_t n);
	void (*on_end)(void *user, int32_t stream); /* the peer's half is closed (after data and trailers) */
	/* What was queued by h2_send has fallen to the low mark or below after having been above it. Only inside
	 * h2_pull(). */
	void (*on_writable)(void *user, int32_t stream);
	/* Once for each stream that on_headers showed, or that h2_request opened; h2_free() calls it for none. code:
	 * H2_CODE_NO_ERROR when both halves ended. `refused`: the peer certainly did not process it (client only). A
	 * server that ends its half first resets the other one with NO_ERROR (RFC 9113 §8.1); that too shows as
	 * NO_ERROR. */
	void (*on_closed)(void *user, int32_t stream, uint32_t code, bool refused);
	void (*on_goaway)(void *user, int32_t last_stream, uint32_t code, struct slice debug);
};

struct h2_limits {
	uint32_t max_streams;        /* concurrent, that the peer may open: 128 */
	uint32_t header_bytes;       /* decoded, a block: 16 KiB (names + values + 32 each) */
	uint32_t header_count;       /* 64 */
	uint32_t stream_window;      /* 256 KiB */
	uint32_t connection_window;  /* 1 MiB */
	uint32_t max_frame;          /* 16 KiB */
	uint32_t send_high;          /* bytes queued a stream before h2_send says full: 256 KiB + one message */
	uint32_t send_low;           /* 64 KiB */
	uint32_t connection_queue;   /* bytes queued in all, of all streams: over it the stream that asks is reset: 64 MiB */
	/* Nuisance, frames at once and a second. Then GOAWAY ENHANCE_YOUR_CALM. */
	uint32_t reset_burst, reset_rate;     /* resets by the peer, or provoked by it: 1000, 100 */
	/* SETTINGS, PRIORITY, empty DATA, WINDOW_UPDATE that answers no DATA of ours...: 1000, 100 */
	uint32_t control_burst, control_rate;
	uint32_t ping_burst, ping_rate;       /* PING alone, "too_many_pings" as gRPC names it: 100, 10 */
};

#define H2_LIMITS_DEFAULT                                                                                              \
	{                                                                                                              \
		.max_streams = 128, .header_bytes = 16 * 1024, .header_count = 64, .stream_window = 256 * 1024,        \
		.connection_window = 1024 * 1024, .max_frame = 16 * 1024, .send_high = 256 * 1024,                     \
		.send_low = 64 * 1024, .connection_queue = 64u << 20, .reset_burst = 1000, .reset_rate = 100,          \
		.control_burst = 1000, .control_rate = 100, .ping_burst = 100, .ping_rate = 10,                        \
	}
extern const struct h2_limits h2_limits_default;

struct h2 *h2_new_server(const struct h2_limits *limits, const struct h2_events *ev, void *user);
struct h2 *h2_new_client(const struct h2_limits *limits, const struct h2_events *ev, void *user);
void h2_free(struct h2 *h); /* calls no callback */

/* Bytes from the peer. 0; -1 when the session is over (a bad preface, a budget overrun): pull what is left (GOAWAY),
 * then close. h2_error() says why. Frames that break the protocol queue a GOAWAY; the h2_pull() that takes it out
 * returns -1. */
int h2_feed(struct h2 *h, struct slice bytes);
/* Appends at most about `max` bytes to out (over it by one frame at most, never over out's cap). 0, or -1 as above:
 * then too what was appended must be sent. Nothing appended: nothing to send now. */
int h2_pull(struct h2 *h, struct buf *out, size_t max);
bool h2_wants_write(const struct h2 *h);
/* Neither side has anything more to say: after GOAWAYs and with no stream left. */
bool h2_done(const struct h2 *h);
const char *h2_error(const struct h2 *h); /* static text, "" when fine */

/* Client: opens a stream; its id, or -1 (GOAWAY seen, the server's limit of streams). end: no body. */
int32_t h2_request(struct h2 *h, const struct h2_header *headers, size_t n, bool end);
/* Server: response headers; once a stream. end: they end the stream (trailers-only). 0, or -1 when the stream is
 * gone, or is reset now because they cannot be sent (too large, out of memory). */
int h2_respond(struct h2 *h, int32_t stream, const struct h2_header *headers, size_t n, bool end);
enum h2_send_result { H2_SENT, H2_FULL /* taken, but stop until on_writable */, H2_GONE };
/* H2_GONE: the stream is closed, reset, finished or not answered yet; or whoever called went on after H2_FULL until
 * three times send_high more was queued, or the connection's queue is over its cap: then the stream is reset. */
/* Queues a copy of two pieces as one run (a frame's head and its body; the second may be empty). */
enum h2_send_result h2_send(struct h2 *h, int32_t stream, struct slice head, struct slice body);
/* After everything queued: trailers that end the stream (server), or END_STREAM alone (n = 0). 0, or -1 as above. */
int h2_finish(struct h2 *h, int32_t stream, const struct h2_header *trailers, size_t n);
int h2_reset(struct h2 *h, int32_t stream, uint32_t code);
void h2_consume(struct h2 *h, int32_t stream, size_t n);
size_t h2_queued(const struct h2 *h, int32_t stream);
bool h2_has_room(const struct h2 *h, size_t n); /* for n more bytes in the queues of all streams */
size_t h2_streams(const struct h2 *h); /* open ones */
/* final = false: GOAWAY with the highest id, so that calls under way on the wire still get in; true: with the last
 * one served. debug: opaque text, e.g. "draining"; sent with the final one only. May be NULL. */
int h2_goaway(struct h2 *h, bool final, uint32_t code, const char *debug);
int h2_ping(struct h2 *h);
int64_t h2_pings_unanswered(const struct h2 *h);

#endif
