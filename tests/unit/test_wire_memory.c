/* What does a peer hear when memory runs out at any moment of a server's session? An answer, a reset, or the end: never nothing. The linker
 * puts the __wrap functions before malloc() and its like, for our code and, through h2_memory.c, for nghttp2's. */
#include "wire/h2.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define CALLS 9 /* at once: more than nghttp2's first queue holds */
#define HDR(n, v) {SLICE_LIT(n), SLICE_LIT(v)}
#define N(a) (sizeof(a) / sizeof(a)[0])

static long left = -1; /* allocations until one fails, while armed */
static bool armed;

void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t n);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t n);

static bool fails(void)
{
	return armed && left >= 0 && left-- == 0;
}

void *__wrap_malloc(size_t n)
{
	return fails() ? NULL : __real_malloc(n);
}

void *__wrap_calloc(size_t n, size_t size)
{
	return fails() ? NULL : __real_calloc(n, size);
}

void *__wrap_realloc(void *p, size_t n)
{
	return fails() ? NULL : __real_realloc(p, n);
}

static const struct h2_header request[] = {
	HDR(":method", "POST"), HDR(":scheme", "https"), HDR(":path", "/x.Y/Z"), HDR(":authority", "localhost"), HDR("te", "trailers"),
};
static const struct h2_header response[] = {HDR(":status", "200"), HDR("content-type", "application/grpc")};
static const struct h2_header trailers[] = {HDR("grpc-status", "0"), HDR("grpc-message", "")};

struct pair {
	struct h2 *client, *server;
	struct buf out;
	unsigned answered, reset; /* calls, as the client sees it */
	bool server_over;
};

static void ignore_headers(void *user, int32_t stream, const struct h2_header *h, size_t n, bool end)
{
}

static void client_data(void *user, int32_t stream, struct slice data)
{
	h2_consume(((struct pair *)user)->client, stream, data.n);
}

static void client_closed(void *user, int32_t stream, uint32_t code, bool refused)
{
	struct pair *p = user;

	if (code == H2_CODE_NO_ERROR)
		p->answered++;
	else
		p->reset++;
}

static void server_data(void *user, int32_t stream, struct slice data)
{
	h2_consume(((struct pair *)user)->server, stream, data.n);
}

static void server_end(void *user, int32_t stream)
{
	struct pair *p = user;

	if (h2_respond(p->server, stream, response, N(response), false) == 0 &&
	    h2_send(p->server, stream, SLICE_LIT("he"), SLICE_LIT("llo")) != H2_GONE)
		h2_finish(p->server, stream, trailers, N(trailers));
}

static void server_closed(void *user, int32_t stream, uint32_t code, bool refused)
{
}

static const struct h2_events client_events = {.on_headers = ignore_headers, .on_data = client_data, .on_closed = client_closed};
static const struct h2_events server_events = {
	.on_headers = ignore_headers, .on_data = server_data, .on_end = server_end, .on_closed = server_closed,
};

static void call_all(struct pair *p)
{
	for (int i = 0; i < CALLS; i++) {
		int32_t id = h2_request(p->client, request, N(request), false);

		h2_send(p->client, id, SLICE_LIT("ping"), SLICE_LIT(""));
		h2_finish(p->client, id, NULL, 0);
	}
}

static bool to_server(struct pair *p)
{
	buf_reset(&p->out);
	h2_pull(p->client, &p->out, SIZE_MAX);
	armed = true;
	p->server_over |= p->out.n && h2_feed(p->server, buf_slice(&p->out)) < 0;
	armed = false;
	return p->out.n > 0;
}

static bool to_client(struct pair *p)
{
	buf_reset(&p->out);
	armed = true;
	p->server_over |= h2_pull(p->server, &p->out, SIZE_MAX) < 0;
	armed = false;
	if (p->out.n)
		h2_feed(p->client, buf_slice(&p->out));
	return p->out.n > 0;
}

/* Whether the allocation that was to fail was asked for. */
static bool once(long at)
{
	struct pair p = {.answered = 0};

	buf_init(&p.out, 1 << 20);
	assert_non_null(buf_reserve(&p.out, 1 << 16)); /* the owner's buffer is not the session's */
	p.client = h2_new_client(NULL, &client_events, &p);
	left = at;
	armed = true;
	p.server = h2_new_server(NULL, &server_events, &p);
	armed = false;
	call_all(&p);
	while (p.server && !p.server_over) {
		bool more = to_server(&p);

		more = to_client(&p) || more;
		if (!more)
			break;
	}
	/* it was answered, or told, or sees the connection end */
	if (p.server && !p.server_over)
		assert_int_equal(p.answered + p.reset, CALLS);
	if (left >= 0)
		assert_int_equal(p.answered, CALLS);
	h2_free(p.server);
	h2_free(p.client);
	buf_clear(&p.out);
	return left < 0;
}

static void test_session(void **state)
{
	long n = 0;

	while (once(n))
		n++;
	assert_true(n > 50);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_session)};

	return cmocka_run_group_tests_name("wire/memory", tests, NULL, NULL);
}
