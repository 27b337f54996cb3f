/* Can any bytes hurt a server session? The preface is given; the rest is the input, fed in two halves. The user
 * answers as a gRPC server would, with a reset or a late consume now and then, and counts that each stream shown is
 * closed once. What follows the frames beside the session (net/framewatch) must say the same however they were cut. */
#include "fuzz.h"
#include "net/framewatch.h"
#include "wire/h2.h"

#define PREFACE "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
#define STREAMS_MOST 64


unsigned fuzz_good;

struct user {
	struct h2 *h;
	int32_t open[STREAMS_MOST];
	size_t n_open;
	size_t held; /* bytes of the first stream that were not given back */
};

static struct h2_limits limits;
static const struct h2_header response[] = {{{(const uint8_t *)":status", 7}, {(const uint8_t *)"200", 3}}};
static const struct h2_header trailer[] = {{{(const uint8_t *)"grpc-status", 11}, {(const uint8_t *)"0", 1}}};

static size_t where(const struct user *u, int32_t stream)
{
	size_t i = 0;

	while (i < u->n_open && u->open[i] != stream)
		i++;
	return i;
}

static void on_headers(void *user, int32_t stream, const struct h2_header *h, size_t n, bool end)
{
	struct user *u = user;

	size_t bytes = 0;

	fuzz_good++;
	NEED(where(u, stream) == u->n_open && u->n_open < STREAMS_MOST);
	for (size_t i = 0; i < n; i++) {
		NEED(!h[i].name.p[h[i].name.n] && !h[i].value.p[h[i].value.n]);
		bytes += h[i].name.n + h[i].value.n + 32;
	}
	NEED(n <= limits.header_count && bytes <= limits.header_bytes);
	u->open[u->n_open++] = stream;
	(void)h2_respond(u->h, stream, response, 1, n % 5 == 4);
}

static void on_data(void *user, int32_t stream, struct slice data)
{
	struct user *u = user;

	NEED(where(u, stream) != u->n_open);
	(void)h2_send(u->h, stream, SLICE_LIT("\0\0\0\0"), data);
	if (data.n % 7 == 3)
		(void)h2_reset(u->h, stream, H2_CODE_CANCEL);
	if (stream == 1)
		u->held += data.n;
	else
		h2_consume(u->h, stream, data.n);
}

static void on_trailers(void *user, int32_t stream, const struct h2_header *h, size_t n)
{
	struct user *u = user;

	NEED(where(u, stream) != u->n_open);
	h2_consume(u->h, 1, u->held);
	u->held = 0;
}

static void on_end(void *user, int32_t stream)
{
	struct user *u = user;

	NEED(where(u, stream) != u->n_open);
	(void)h2_finish(u->h, stream, trailer, 1);
}

static void on_writable(void *user, int32_t stream)
{
	struct user *u = user;

	NEED(where(u, stream) != u->n_open);
	(void)h2_send(u->h, stream, SLICE_LIT("again"), SLICE_LIT(""));
}

static void on_closed(void *user, int32_t stream, uint32_t code, bool refused)
{
	struct user *u = user;
	size_t i = where(u, stream);

	NEED(i != u->n_open && !refused);
	u->open[i] = u->open[--u->n_open];
}

static void on_goaway(void *user, int32_t last, uint32_t code, struct slice debug)
{
	struct user *u = user;

	(void)h2_goaway(u->h, code != 0, 0, "bye");
}

static const struct h2_events events = {on_headers, on_data, on_trailers, on_end, on_writable, on_closed, on_goaway};

static int turn(struct user *u, struct slice bytes)
{
	struct buf out;
	int rc = h2_feed(u->h, bytes);

	buf_init(&out, 1 << 20);
	if (h2_pull(u->h, &out, 1 << 19) != 0)
		rc = -1;
	NEED(rc == 0 || h2_error(u->h)[0]);
	buf_clear(&out);
	return rc;
}

static void watch_frames(struct slice bytes)
{
	struct framewatch whole = {0}, pieces = {0};
	struct slice preface = SLICE_LIT(PREFACE);

	framewatch_feed(&whole, preface);
	framewatch_feed(&whole, bytes);
	for (size_t i = 0; i < preface.n; i++)
		framewatch_feed(&pieces, slice_of(preface.p + i, 1));
	for (size_t i = 0; i < bytes.n; i++)
		framewatch_feed(&pieces, slice_of(bytes.p + i, 1));
	NEED(whole.units == pieces.units && framewatch_inside(&whole) == framewatch_inside(&pieces));
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	struct user u = {0};

	limits = h2_limits_default;
	limits.max_streams = STREAMS_MOST / 2;
	limits.control_burst = limits.reset_burst = limits.ping_burst = 30;
	limits.send_high = 2048;
	limits.send_low = 512;
	u.h = h2_new_server(&limits, &events, &u);
	NEED(u.h);
	if (turn(&u, SLICE_LIT(PREFACE "\0\0\0\4\0\0\0\0\0")) == 0 && turn(&u, slice_of(p, n / 2)) == 0)
		(void)turn(&u, slice_of(p + n / 2, n - n / 2));
	(void)h2_done(u.h);
	h2_free(u.h);
	watch_frames(slice_of(p, n));
	return 0;
}
