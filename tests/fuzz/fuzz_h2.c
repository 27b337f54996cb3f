/* Can any bytes hurt a server session? The preface is given; the rest is the input, fed in two halves. The user
 * answers as a gRPC server would, with a reset or a late consume now and then, and counts that each stream shown is
 * closed once. */
#include "wire/h2.h"

#include <stdlib.h>

#define PREFACE "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
#define STREAMS_MOST 64

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

struct user {
	struct h2 *h;
	int32_t open[STREAMS_MOST];
	size_t n_open;
	size_t held; /* bytes of the first stream that were not given back */
};

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

	if (where(u, stream) != u->n_open || u->n_open == STREAMS_MOST)
		abort();
	for (size_t i = 0; i < n; i++) {
		if (h[i].name.p[h[i].name.n] || h[i].value.p[h[i].value.n])
			abort();
	}
	u->open[u->n_open++] = stream;
	(void)h2_respond(u->h, stream, response, 1, n % 5 == 4);
}

static void on_data(void *user, int32_t stream, struct slice data)
{
	struct user *u = user;

	if (where(u, stream) == u->n_open)
		abort();
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

	if (where(u, stream) == u->n_open)
		abort();
	h2_consume(u->h, 1, u->held);
	u->held = 0;
}

static void on_end(void *user, int32_t stream)
{
	struct user *u = user;

	if (where(u, stream) == u->n_open)
		abort();
	(void)h2_finish(u->h, stream, trailer, 1);
}

static void on_writable(void *user, int32_t stream)
{
	struct user *u = user;

	if (where(u, stream) == u->n_open)
		abort();
	(void)h2_send(u->h, stream, SLICE_LIT("again"), SLICE_LIT(""));
}

static void on_closed(void *user, int32_t stream, uint32_t code, bool refused)
{
	struct user *u = user;
	size_t i = where(u, stream);

	if (i == u->n_open || refused)
		abort();
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
	if (rc != 0 && h2_error(u->h)[0] == '\0')
		abort();
	buf_clear(&out);
	return rc;
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	struct h2_limits l = h2_limits_default;
	struct user u = {0};

	l.max_streams = STREAMS_MOST / 2;
	l.control_burst = l.reset_burst = l.ping_burst = 30;
	l.send_high = 2048;
	l.send_low = 512;
	u.h = h2_new_server(&l, &events, &u);
	if (!u.h)
		abort();
	if (turn(&u, SLICE_LIT(PREFACE "\0\0\0\4\0\0\0\0\0")) == 0 && turn(&u, slice_of(p, n / 2)) == 0)
		(void)turn(&u, slice_of(p + n / 2, n - n / 2));
	(void)h2_done(u.h);
	h2_free(u.h);
	return 0;
}
