/* Do agents get in when they may, and only then; do their calls come and go as call.h promises? */
#include "config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "net_client.h"
#include "net_echo.h"

static struct pki pki, stranger_pki;
static struct pki_cert server_cert, agent, revoked, stranger;
static struct echo e;
static struct client c;

static int setup(void **state)
{
	echo_start(&e, &pki, &server_cert, 1, NULL);
	return 0;
}

static int setup_two_workers(void **state)
{
	echo_start(&e, &pki, &server_cert, 2, NULL);
	return 0;
}

static int teardown(void **state)
{
	echo_stop(&e);
	/* Whatever happened: every call and every peer was told of exactly once, nothing is left. */
	assert_int_equal(atomic_load(&e.opened), atomic_load(&e.gone));
	assert_int_equal(atomic_load(&e.connections), 0);
	assert_int_equal(atomic_load(&e.identities), 0);
	assert_int_equal(atomic_load(&e.started), e.config.workers);
	assert_int_equal(atomic_load(&e.stopped), e.config.workers);
	return 0;
}

static void enter(void)
{
	assert_int_equal(client_open_as(&c, e.port, &pki, &agent), 0);
}

/* ---- TLS ---- */

static void test_handshake_ok(void **state)
{
	enter();
	assert_int_equal(client_unary(&c, "/test/Echo", "hello"), GRPC_OK);
	assert_int_equal(c.streams[0].messages, 1);
	assert_memory_equal(c.streams[0].last.p, "hello", 5);
	assert_true(echo_saw_handshake(&e, "ok"));
	client_close(&c);
	assert_true(echo_wait(&e, &e.peers_gone, 1));
}

static void refused(const struct client_options *o, const char *label)
{
	int rc = client_open(&c, e.port, &pki, o);

	assert_true(rc < 0 || client_wait_eof(&c));
	assert_true(echo_saw_handshake(&e, label));
	assert_true(echo_saw_close(&e, label));
	assert_int_equal(atomic_load(&e.by_worker[0]), 0); /* not even asked whether to admit it */
	client_close(&c);
}

static void test_no_certificate(void **state)
{
	refused(&client_no_cert, "no_certificate");
	assert_non_null(strstr(c.error, "certificate required"));
}

static void test_hook_refuses(void **state)
{
	refused(&(struct client_options){.cert = &revoked, .alpn = "\2h2"}, "certificate:revoked");
	assert_non_null(strstr(c.error, "certificate revoked"));
}

static void test_unknown_ca(void **state)
{
	refused(&(struct client_options){.cert = &stranger, .alpn = "\2h2"}, "certificate:untrusted");
	assert_non_null(strstr(c.error, "unknown ca"));
}

static void test_tls12_refused(void **state)
{
	refused(&(struct client_options){.cert = &agent, .alpn = "\2h2", .max_version = TLS1_2_VERSION}, "protocol");
}

static void test_no_alpn_refused(void **state)
{
	refused(&(struct client_options){.cert = &agent}, "alpn");
}

static void test_wrong_alpn_refused(void **state)
{
	refused(&(struct client_options){.cert = &agent, .alpn = "\10http/1.1"}, "alpn");
}

static void test_second_alpn_is_found(void **state)
{
	struct client_options o = {.cert = &agent, .alpn = "\10http/1.1\2h2"};

	assert_int_equal(client_open(&c, e.port, &pki, &o), 0);
	assert_int_equal(client_unary(&c, "/test/Echo", "x"), GRPC_OK);
	client_close(&c);
}

/* No ticket is given, so nothing can be resumed. */
static void test_no_session_to_resume(void **state)
{
	enter();
	assert_int_equal(client_unary(&c, "/test/Echo", "x"), GRPC_OK);
	assert_false(SSL_SESSION_is_resumable(SSL_get_session(c.ssl)));
	client_close(&c);
}

static void test_client_ca_list_is_empty(void **state)
{
	enter();
	assert_true(sk_X509_NAME_num(SSL_get_client_CA_list(c.ssl)) <= 0);
	client_close(&c);
}

/* What comes first is not HTTP/2. */
static void test_bytes_that_are_no_preface(void **state)
{
	static const char http1[] = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";

	enter();
	client_write_raw(&c, http1, sizeof http1 - 1);
	while (!c.eof && !client_run_for(&c, 5))
		;
	assert_true(echo_saw_close(&e, "bad_preface"));
	client_close(&c);
}

static void test_admission_refused(void **state)
{
	e.refuse_admission = "agent_limit";
	enter();
	assert_true(client_wait_eof(&c));
	assert_int_equal(c.goaways, 1);
	assert_string_equal(c.goaway_text, "agent_limit");
	assert_true(echo_saw_close(&e, "agent_limit"));
	assert_int_equal(atomic_load(&e.peers_gone), 0);
	client_close(&c);
}

/* What was answered before goes out; all calls are over, and what comes behind the message is not looked at. */
static void test_handler_ends_the_connection(void **state)
{
	struct client_stream *hanging, *s;

	enter();
	assert_int_equal(client_unary(&c, "/test/Echo", "hello"), GRPC_OK);
	hanging = client_call(&c, "/test/Hang", NULL, 0, false);
	client_send(&c, hanging, "x", 1, false);
	s = client_call(&c, "/test/Enough", NULL, 0, false);
	for (int i = 0; i < 3; i++)
		client_send(&c, s, "x", 1, false);
	assert_true(client_wait_eof(&c));
	assert_int_equal(c.goaways, 1);
	assert_int_equal(c.goaway_code, 11);
	assert_string_equal(c.goaway_text, "enough");
	assert_true(echo_saw_close(&e, "enough"));
	assert_true(echo_wait(&e, &e.peers_gone, 1));
	assert_int_equal(atomic_load(&e.gone), 3);
	assert_int_equal(atomic_load(&e.messages), 3); /* of all calls */
	client_close(&c);
}

/* ---- gRPC requests ---- */

static struct h2_header good[] = {
	{SLICE_LIT(":method"), SLICE_LIT("POST")},
	{SLICE_LIT(":scheme"), SLICE_LIT("https")},
	{SLICE_LIT(":path"), SLICE_LIT("/test/Echo")},
	{SLICE_LIT(":authority"), SLICE_LIT("localhost")},
	{SLICE_LIT("te"), SLICE_LIT("trailers")},
	{SLICE_LIT("content-type"), SLICE_LIT("application/grpc+proto")},
	{SLICE_LIT("user-agent"), SLICE_LIT("test")},
};
#define GOOD (sizeof good / sizeof good[0])

/* The good request with one header changed. */
static struct client_stream *with(size_t i, const char *name, const char *value)
{
	struct h2_header h[GOOD];
	struct client_stream *s;

	memcpy(h, good, sizeof h);
	h[i] = (struct h2_header){slice_str(name), slice_str(value)};
	s = client_request(&c, h, GOOD, true);
	assert_non_null(s);
	assert_true(client_finish(&c, s));
	return s;
}

static void test_requests(void **state)
{
	struct client_stream *s;

	enter();
	s = with(6, "x-other", "y"); /* the honest twin */
	assert_int_equal(s->http, 200);
	assert_int_equal(s->status, GRPC_OK);
	assert_int_equal(with(5, "content-type", "application/json")->http, 415);
	assert_int_equal(with(5, "content-type", "application/grpcx")->http, 415);
	assert_int_equal(with(5, "x-type", "application/grpc")->http, 415);
	assert_int_equal(with(0, ":method", "GET")->http, 405);
	s = with(4, "x-te", "trailers");
	assert_int_equal(s->http, 400);
	assert_int_equal(s->status, GRPC_INTERNAL);
	s = with(6, "content-type", "application/json"); /* twice */
	assert_int_equal(s->http, 400);
	s = with(6, "grpc-timeout", "1");
	assert_int_equal(s->http, 200);
	assert_int_equal(s->status, GRPC_INVALID_ARGUMENT);
	s = with(6, "x-name", "caf\xc3\xa9");
	assert_int_equal(s->http, 400);
	s = with(2, ":path", "/");
	assert_int_equal(s->http, 400);
	s = with(2, ":path", "/test/Unknown");
	assert_int_equal(s->http, 200);
	assert_int_equal(s->status, GRPC_UNIMPLEMENTED);
	assert_int_equal(atomic_load(&e.opened), 1);
	client_close(&c);
}

static void test_refused_in_on_open(void **state)
{
	enter();
	assert_int_equal(client_unary(&c, "/test/Refuse", "x"), GRPC_PERMISSION_DENIED);
	assert_string_equal(c.streams[0].message, "100%25 no");
	assert_string_equal(c.streams[0].details, "AAEC/w");
	assert_int_equal(atomic_load(&e.gone), 0); /* on_open did not take it */
	client_close(&c);
}

static void test_metadata(void **state)
{
	struct h2_header h = {SLICE_LIT("authorization"), SLICE_LIT("Bearer abc")};
	struct client_stream *s;

	enter();
	s = client_call(&c, "/test/Meta", &h, 1, false);
	client_send(&c, s, "x", 1, true);
	assert_true(client_finish(&c, s));
	assert_int_equal(s->last.n, 10);
	assert_memory_equal(s->last.p, "Bearer abc", 10);
	client_close(&c);
}

static void test_empty_message(void **state)
{
	enter();
	assert_int_equal(client_unary(&c, "/test/Echo", ""), GRPC_OK);
	assert_int_equal(c.streams[0].messages, 1);
	assert_int_equal(c.streams[0].last.n, 0);
	client_close(&c);
}

static void test_message_larger_than_the_window(void **state)
{
	struct client_stream *s;
	size_t n = 1 << 20;
	uint8_t *big = malloc(n);

	for (size_t i = 0; i < n; i++)
		big[i] = (uint8_t)(i * 31 >> 3);
	enter();
	s = client_call(&c, "/test/Echo", NULL, 0, false);
	client_send(&c, s, big, n, true);
	assert_true(client_finish(&c, s));
	assert_int_equal(s->status, GRPC_OK);
	assert_int_equal(s->last.n, n);
	assert_memory_equal(s->last.p, big, n);
	free(big);
	client_close(&c);
}

static void test_message_too_large(void **state)
{
	char text[1001];

	enter();
	memset(text, 'x', sizeof text);
	text[1000] = '\0';
	assert_int_equal(client_unary(&c, "/test/Small", text), GRPC_OK);
	struct client_stream *s = client_call(&c, "/test/Small", NULL, 0, false);
	client_send(&c, s, text, 1001, true);
	assert_true(client_finish(&c, s));
	assert_int_equal(s->status, GRPC_RESOURCE_EXHAUSTED);
	assert_int_equal(atomic_load(&e.messages), 1);
	assert_int_equal(client_unary(&c, "/test/Echo", "still alive"), GRPC_OK);
	client_close(&c);
}

/* Four gigabytes announced: refused by the head alone. */
static void test_huge_length_is_refused_at_once(void **state)
{
	static const uint8_t head[] = {0, 0xff, 0xff, 0xff, 0xff};

	enter();
	struct client_stream *s = client_call(&c, "/test/Echo", NULL, 0, false);
	client_send_raw(&c, s, head, sizeof head, false);
	assert_true(client_finish(&c, s));
	assert_int_equal(s->status, GRPC_RESOURCE_EXHAUSTED);
	assert_true(echo_wait(&e, &e.gone, 1));
	client_close(&c);
}

static void test_compressed_message(void **state)
{
	static const uint8_t m[] = {1, 0, 0, 0, 1, 'x'};
	struct h2_header h = {SLICE_LIT("grpc-encoding"), SLICE_LIT("gzip")};

	enter();
	struct client_stream *s = client_call(&c, "/test/Echo", &h, 1, false);
	client_send_raw(&c, s, m, sizeof m, true);
	assert_true(client_finish(&c, s));
	assert_int_equal(s->status, GRPC_UNIMPLEMENTED);
	assert_string_equal(s->encoding, "identity");
	client_close(&c);
}

static void test_end_inside_a_message(void **state)
{
	static const uint8_t m[] = {0, 0, 0, 0, 9, 'x'};

	enter();
	struct client_stream *s = client_call(&c, "/test/Echo", NULL, 0, false);
	client_send_raw(&c, s, m, sizeof m, true);
	assert_true(client_finish(&c, s));
	assert_int_equal(s->status, GRPC_INVALID_ARGUMENT);
	assert_int_equal(atomic_load(&e.messages), 0);
	client_close(&c);
}

static void test_message_in_single_bytes(void **state)
{
	static const uint8_t m[] = {0, 0, 0, 0, 3, 'a', 'b', 'c', 0, 0, 0, 0, 0};

	enter();
	struct client_stream *s = client_call(&c, "/test/Echo", NULL, 0, false);
	for (size_t i = 0; i < sizeof m; i++) {
		client_send_raw(&c, s, m + i, 1, i + 1 == sizeof m);
		client_run_for(&c, 1);
	}
	assert_true(client_finish(&c, s));
	assert_int_equal(s->status, GRPC_OK);
	assert_int_equal(s->messages, 2);
	client_close(&c);
}

static void test_many_calls_at_once(void **state)
{
	char text[32];

	enter();
	for (int i = 0; i < 40; i++) {
		struct client_stream *s = client_call(&c, "/test/Echo", NULL, 0, false);

		snprintf(text, sizeof text, "message %d", i);
		client_send(&c, s, text, strlen(text), true);
	}
	for (int i = 0; i < 40; i++) {
		snprintf(text, sizeof text, "message %d", i);
		assert_true(client_finish(&c, &c.streams[i]));
		assert_int_equal(c.streams[i].last.n, strlen(text));
		assert_memory_equal(c.streams[i].last.p, text, strlen(text));
	}
	client_close(&c);
}

static void test_bidirectional(void **state)
{
	enter();
	struct client_stream *s = client_call(&c, "/test/Echo", NULL, 0, false);
	for (unsigned i = 1; i <= 20; i++) {
		client_send(&c, s, &i, sizeof i, false);
		while (s->messages < i && !client_run_for(&c, 1))
			;
		assert_int_equal(s->messages, i);
	}
	client_send_raw(&c, s, NULL, 0, true);
	assert_true(client_finish(&c, s));
	assert_int_equal(s->status, GRPC_OK);
	client_close(&c);
}

/* ---- deadlines, cancels, ends ---- */

static void test_deadline(void **state)
{
	struct h2_header h = {SLICE_LIT("grpc-timeout"), SLICE_LIT("50m")};
	int64_t begin = clock_mono_ms();

	enter();
	struct client_stream *s = client_call(&c, "/test/Hang", &h, 1, true);
	assert_true(client_finish(&c, s));
	assert_int_equal(s->status, GRPC_DEADLINE_EXCEEDED);
	assert_true(clock_mono_ms() - begin >= 50);
	assert_int_equal(atomic_load(&e.gone), 1);
	assert_int_equal(atomic_load(&e.last_gone), GRPC_DEADLINE_EXCEEDED);
	client_close(&c);
}

static void test_deadline_far_away_does_not_fire(void **state)
{
	struct h2_header h = {SLICE_LIT("grpc-timeout"), SLICE_LIT("99999999H")};

	enter();
	struct client_stream *s = client_call(&c, "/test/Echo", &h, 1, false);
	client_send(&c, s, "x", 1, true);
	assert_true(client_finish(&c, s));
	assert_int_equal(s->status, GRPC_OK);
	client_close(&c);
}

static void test_client_cancels(void **state)
{
	enter();
	struct client_stream *s = client_call(&c, "/test/Hang", NULL, 0, false);
	client_run_for(&c, 5);
	assert_true(echo_wait(&e, &e.opened, 1));
	h2_reset(c.h2, s->id, 8);
	client_run_for(&c, 5);
	assert_true(echo_wait(&e, &e.gone, 1));
	assert_int_equal(atomic_load(&e.last_gone), GRPC_CANCELLED);
	assert_int_equal(client_unary(&c, "/test/Echo", "x"), GRPC_OK);
	client_close(&c);
}

static void test_connection_breaks_with_calls(void **state)
{
	enter();
	for (int i = 0; i < 5; i++)
		client_call(&c, "/test/Hang", NULL, 0, false);
	client_run_for(&c, 5);
	assert_true(echo_wait(&e, &e.opened, 5));
	client_close(&c);
	assert_true(echo_wait(&e, &e.gone, 5));
	assert_true(echo_wait(&e, &e.peers_gone, 1));
	assert_int_equal(atomic_load(&e.last_gone), GRPC_UNAVAILABLE);
}

static void test_gone_after_end_is_ok(void **state)
{
	enter();
	assert_int_equal(client_unary(&c, "/test/Echo", "x"), GRPC_OK);
	assert_true(echo_wait(&e, &e.gone, 1));
	assert_int_equal(atomic_load(&e.last_gone), GRPC_OK);
	client_close(&c);
}

/* ---- flow control ---- */

static void test_server_stream(void **state)
{
	enter();
	struct client_stream *s = client_call(&c, "/test/Stream", NULL, 0, false);
	client_send(&c, s, "500 20000", 9, true);
	assert_true(client_finish(&c, s));
	assert_int_equal(s->status, GRPC_OK);
	assert_int_equal(s->messages, 500);
	assert_int_equal(s->bytes, 500 * 20005);
	client_close(&c);
}

/* A reader that opens no window: the server queues its high mark and one message, not 100 MB. */
static void test_slow_reader_is_bounded(void **state)
{
	enter();
	c.hold = true;
	struct client_stream *s = client_call(&c, "/test/Stream", NULL, 0, false);
	client_send(&c, s, "1000 100000", 11, true);
	client_run_for(&c, 200);
	assert_false(s->closed);
	assert_true(s->bytes <= h2_limits_default.stream_window);
	assert_true(atomic_load(&e.queued_most) <= h2_limits_default.send_high + 2 * 100000);
	/* The window opens: all of it comes. */
	c.hold = false;
	h2_consume(c.h2, s->id, s->held);
	assert_true(client_finish(&c, s));
	assert_int_equal(s->messages, 1000);
	assert_true(atomic_load(&e.queued_most) <= h2_limits_default.send_high + 2 * 100000);
	client_close(&c);
}

/* A handler that consumes nothing: the sender is held back by the window; other calls go on. */
static void test_slow_handler_holds_the_sender(void **state)
{
	static uint8_t chunk[60000];
	unsigned at_most = (256 * 1024 + (unsigned)sizeof chunk) / (unsigned)sizeof chunk + 1;

	enter();
	struct client_stream *s = client_call(&c, "/test/Hold", NULL, 0, false);
	for (int i = 0; i < 15; i++)
		client_send(&c, s, chunk, sizeof chunk, false);
	client_run_for(&c, 200);
	assert_true(atomic_load(&e.messages) >= 3);
	assert_true(atomic_load(&e.messages) <= 2 * at_most);
	assert_true(h2_queued(c.h2, s->id) > 0);
	assert_int_equal(client_unary(&c, "/test/Echo", "another"), GRPC_OK);
	for (int i = 0; i < 100 && atomic_load(&e.messages) < 16; i++) {
		echo_release(&e);
		client_run_for(&c, 10);
	}
	assert_int_equal(atomic_load(&e.messages), 16);
	client_close(&c);
}

/* Many large messages at once on one connection, together far over its window. */
static void test_partial_messages_do_not_lock_up(void **state)
{
	size_t n = 900000;
	uint8_t *big = calloc(1, n);

	enter();
	for (int i = 0; i < 12; i++)
		client_send(&c, client_call(&c, "/test/Echo", NULL, 0, false), big, n, true);
	for (int i = 0; i < 12; i++) {
		assert_true(client_finish(&c, &c.streams[i]));
		assert_int_equal(c.streams[i].last.n, n);
	}
	free(big);
	client_close(&c);
}

/* ---- the whole ---- */

static bool all(void *arg, const struct call_peer *p)
{
	return true;
}

static bool none(void *arg, const struct call_peer *p)
{
	return false;
}

struct closing {
	bool (*pick)(void *arg, const struct call_peer *p);
	atomic_uint n;
};

static void close_on(void *arg, unsigned i)
{
	struct closing *x = arg;

	atomic_fetch_add(&x->n, server_close_peers(e.server, i, x->pick, NULL, "revoked"));
}

static void test_close_peers(void **state)
{
	struct closing x = {.pick = none};

	enter();
	client_call(&c, "/test/Hang", NULL, 0, false);
	client_run_for(&c, 5);
	assert_true(echo_wait(&e, &e.opened, 1));
	server_each_worker(e.server, close_on, &x);
	assert_int_equal(x.n, 0);
	x.pick = all;
	server_each_worker(e.server, close_on, &x);
	assert_int_equal(x.n, 1);
	assert_true(client_wait_eof(&c));
	assert_int_equal(c.goaways, 1);
	assert_string_equal(c.goaway_text, "revoked");
	assert_true(echo_saw_close(&e, "revoked"));
	assert_true(echo_wait(&e, &e.gone, 1));
	assert_true(echo_wait(&e, &e.peers_gone, 1));
	assert_int_equal(e.peers_gone, 1);
	client_close(&c);
}

static void *drain(void *arg)
{
	server_drain(e.server, *(int *)arg);
	return NULL;
}

static bool two_goaways(const struct client *x)
{
	return x->goaways == 2;
}

/* A call under way may finish; new ones are not taken; the connection then ends. */
static void test_drain(void **state)
{
	int timeout = 10000;
	pthread_t t;

	enter();
	struct client_stream *s = client_call(&c, "/test/Echo", NULL, 0, false);
	client_send(&c, s, "a", 1, false);
	while (!s->messages && !client_run_for(&c, 1))
		;
	pthread_create(&t, NULL, drain, &timeout);
	assert_true(client_run(&c, two_goaways));
	assert_int_equal(c.goaway_code, 0);
	assert_string_equal(c.goaway_text, "draining");
	assert_int_equal(c.last_stream, s->id);
	assert_null(client_call(&c, "/test/Echo", NULL, 0, false));
	client_send(&c, s, "b", 1, true);
	assert_true(client_finish(&c, s));
	assert_int_equal(s->status, GRPC_OK);
	assert_int_equal(s->messages, 2);
	pthread_join(t, NULL);
	assert_true(client_wait_eof(&c));
	assert_true(echo_saw_close(&e, "drained"));
	client_close(&c);
	/* Nobody listens any more. */
	assert_int_equal(client_open_as(&c, e.port, &pki, &agent), -1);
	client_close(&c);
}

static void test_drain_timeout(void **state)
{
	int timeout = 200;

	enter();
	struct client_stream *s = client_call(&c, "/test/Hang", NULL, 0, false);
	client_send(&c, s, "x", 1, false); /* it has begun: what has said nothing is refused at once */
	client_run_for(&c, 5);
	assert_true(echo_wait(&e, &e.opened, 1));
	drain(&timeout);
	assert_true(echo_saw_close(&e, "drain_timeout"));
	assert_int_equal(atomic_load(&e.gone), 1);
	assert_int_equal(atomic_load(&e.last_gone), GRPC_UNAVAILABLE);
	client_close(&c);
}

static void test_drain_of_nobody(void **state)
{
	int timeout = 10000;

	drain(&timeout);
	drain(&timeout);
}

static void test_free_with_calls(void **state)
{
	enter();
	client_call(&c, "/test/Hang", NULL, 0, false);
	client_run_for(&c, 5);
	assert_true(echo_wait(&e, &e.opened, 1));
	echo_stop(&e);
	assert_int_equal(atomic_load(&e.gone), 1);
	assert_int_equal(atomic_load(&e.peers_gone), 1);
	assert_true(client_wait_eof(&c));
	client_close(&c);
	echo_start(&e, &pki, &server_cert, 1, NULL);
}

static X509 *server_leaf(void)
{
	return SSL_get0_peer_certificate(c.ssl);
}

static void test_tls_reload(void **state)
{
	struct pki_cert next = pki_issue(&pki, "next", NULL, "127.0.0.1", 3600);
	struct problem why = {""};
	struct tls_server *t = tls_server_new(next.cert_file, next.key_file, NULL, &e.hook, &why);
	struct client old;
	char cn[64];

	assert_non_null(t);
	assert_string_not_equal(tls_server_fingerprint(t), tls_server_fingerprint(e.tls));
	assert_int_equal(client_open_as(&old, e.port, &pki, &agent), 0);
	server_set_tls(e.server, "test", t);
	tls_server_unref(t);
	enter();
	X509_NAME_get_text_by_NID(X509_get_subject_name(server_leaf()), NID_commonName, cn, sizeof cn);
	assert_string_equal(cn, "next");
	assert_int_equal(client_unary(&old, "/test/Echo", "x"), GRPC_OK);
	assert_int_equal(client_unary(&c, "/test/Echo", "x"), GRPC_OK);
	client_close(&old);
	client_close(&c);
}

static void test_tls_files(void **state)
{
	struct pki_cert expired = pki_issue(&pki, "expired", NULL, "127.0.0.1", -3600);
	struct problem why = {""};

	assert_null(tls_server_new(server_cert.cert_file, agent.key_file, NULL, &e.hook, &why));
	assert_non_null(strstr(why.text, agent.key_file));
	assert_null(tls_server_new(expired.cert_file, expired.key_file, NULL, &e.hook, &why));
	assert_non_null(strstr(why.text, "expired"));
	assert_null(tls_server_new("/nonexistent.pem", agent.key_file, NULL, &e.hook, &why));
	assert_null(tls_server_new(server_cert.key_file, server_cert.key_file, NULL, &e.hook, &why));
	chmod(agent.key_file, 0644);
	assert_null(tls_server_new(agent.cert_file, agent.key_file, NULL, &e.hook, &why));
	chmod(agent.key_file, 0600);
	struct tls_server *t = tls_server_new(agent.cert_file, agent.key_file, NULL, &e.hook, &why);
	assert_non_null(t);
	assert_true(tls_server_not_after_ms(t) > clock_unix_ms());
	assert_int_equal(strlen(tls_server_fingerprint(t)), 43);
	tls_server_unref(t);
}

/* ---- threads ---- */

struct crossing {
	atomic_uint done;
	struct call_worker *worker;
	uint64_t call;
	bool found;
};

static void end_it(void *arg)
{
	struct crossing *x = arg;
	struct call *call = call_find(x->worker, x->call);

	x->found = call != NULL;
	if (call)
		call_end(call, GRPC_ABORTED, "from another thread", NULL, 0);
	atomic_fetch_add(&x->done, 1);
}

/* Work posted to the call's worker finds it by id, and no more once it has gone. */
static void test_post_across_threads(void **state)
{
	struct crossing x = {0};

	enter();
	struct client_stream *s = client_call(&c, "/test/Hang", NULL, 0, false);
	client_run_for(&c, 5);
	assert_true(echo_wait(&e, &e.opened, 1));
	x.worker = e.call_workers[atomic_load(&e.by_worker[0]) ? 0 : 1];
	x.call = atomic_load(&e.last_call);
	assert_true(call_post(x.worker, end_it, &x));
	assert_true(client_finish(&c, s));
	assert_int_equal(s->status, GRPC_ABORTED);
	assert_true(echo_wait(&e, &x.done, 1));
	assert_true(x.found);
	assert_true(echo_wait(&e, &e.gone, 1));
	assert_true(call_post(x.worker, end_it, &x));
	assert_true(echo_wait(&e, &x.done, 2));
	assert_false(x.found);
	client_close(&c);
}

static void *one_client(void *arg)
{
	struct client mine;
	uintptr_t failed = 0;

	for (int round = 0; round < 5; round++) {
		if (client_open_as(&mine, e.port, &pki, &agent) < 0)
			failed++;
		for (int i = 0; i < 5 && !failed; i++)
			failed += client_unary(&mine, "/test/Echo", "hello") != GRPC_OK;
		if (round % 2)
			client_call(&mine, "/test/Hang", NULL, 0, false);
		client_run_for(&mine, 1);
		client_close(&mine);
	}
	return (void *)failed;
}

static void test_many_clients_on_two_workers(void **state)
{
	pthread_t t[4];
	void *failed;

	for (int i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&t[i], NULL, one_client, NULL), 0);
	for (int i = 0; i < 4; i++) {
		pthread_join(t[i], &failed);
		assert_null(failed);
	}
	assert_true(echo_wait(&e, &e.peers_gone, 20));
	assert_int_equal(atomic_load(&e.peers_gone), 20);
}

static atomic_bool storm_over;

static void *storm_client(void *arg)
{
	struct client mine;

	while (!atomic_load(&storm_over)) {
		if (client_open_as(&mine, e.port, &pki, &agent) == 0) {
			client_unary(&mine, "/test/Echo", "hello");
			client_call(&mine, "/test/Hang", NULL, 0, false);
			struct client_stream *s = client_call(&mine, "/test/Stream", NULL, 0, false);
			if (s)
				client_send(&mine, s, "100 10000", 9, true);
			client_run_for(&mine, 2);
		}
		client_close(&mine);
	}
	return NULL;
}

/* Clients come and go while they are closed from our side, until the server drains: whatever crosses, teardown()
 * finds each call and each peer told of exactly once. */
static void test_kick_and_reconnect_storm(void **state)
{
	struct closing x = {.pick = all};
	int timeout = 100;
	pthread_t t[4];

	atomic_store(&storm_over, false);
	for (int i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&t[i], NULL, storm_client, NULL), 0);
	for (int i = 0; i < 40; i++) {
		server_each_worker(e.server, close_on, &x);
		usleep(10000);
	}
	assert_true(echo_wait(&e, &e.peers_gone, 20));
	drain(&timeout);
	atomic_store(&storm_over, true);
	for (int i = 0; i < 4; i++)
		pthread_join(t[i], NULL);
	assert_true(x.n > 0);
}

static void bump(void *arg, unsigned i)
{
	assert_true(loop_here(e.loops[i]));
	atomic_fetch_add((atomic_uint *)arg, 1u << (8 * i));
}

static void test_each_worker(void **state)
{
	atomic_uint n = 0;

	server_each_worker(e.server, bump, &n);
	assert_int_equal(atomic_load(&n), 0x0101);
	assert_int_equal(server_workers(e.server), 2);
}

static int group_setup(void **state)
{
	pki_init(&pki);
	pki_init(&stranger_pki);
	server_cert = pki_issue(&pki, "server", NULL, "127.0.0.1", 3600);
	agent = pki_issue(&pki, "agent", "spiffe://test/agent", NULL, 3600);
	revoked = pki_issue(&pki, "revoked", "spiffe://test/revoked", NULL, 3600);
	stranger = pki_issue(&stranger_pki, "agent", "spiffe://test/agent", NULL, 3600);
	return 0;
}

static int group_teardown(void **state)
{
	pki_clear(&pki);
	pki_clear(&stranger_pki);
	return 0;
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
#define T2(name) cmocka_unit_test_setup_teardown(name, setup_two_workers, teardown)
	const struct CMUnitTest tests[] = {
		T(test_handshake_ok), T(test_no_certificate), T(test_hook_refuses), T(test_unknown_ca),
		T(test_tls12_refused),
		T(test_no_alpn_refused), T(test_wrong_alpn_refused), T(test_second_alpn_is_found),
		T(test_no_session_to_resume),
		T(test_client_ca_list_is_empty), T(test_bytes_that_are_no_preface), T(test_admission_refused),
		T(test_handler_ends_the_connection),
		T(test_requests), T(test_refused_in_on_open), T(test_metadata), T(test_empty_message),
		T(test_message_larger_than_the_window), T(test_message_too_large),
		T(test_huge_length_is_refused_at_once),
		T(test_compressed_message), T(test_end_inside_a_message), T(test_message_in_single_bytes),
		T(test_many_calls_at_once), T(test_bidirectional), T(test_deadline),
		T(test_deadline_far_away_does_not_fire),
		T(test_client_cancels), T(test_connection_breaks_with_calls), T(test_gone_after_end_is_ok),
		T(test_server_stream),
		T(test_slow_reader_is_bounded), T(test_slow_handler_holds_the_sender),
		T(test_partial_messages_do_not_lock_up),
		T(test_close_peers), T(test_drain), T(test_drain_timeout), T(test_drain_of_nobody),
		T(test_free_with_calls),
		T(test_tls_reload), T(test_tls_files), T2(test_post_across_threads),
		T2(test_many_clients_on_two_workers),
		T2(test_kick_and_reconnect_storm), T2(test_each_worker),
	};

	return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
