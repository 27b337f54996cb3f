/* Does every limit and every time-out of struct server_limits hold, and leave alone whoever keeps to it? */
#include "config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "net_client.h"
#include "net_echo.h"

static struct pki pki;
static struct pki_cert server_cert, agent;
static struct echo e;
static struct client c;
static struct server_limits limits;

static int setup(void **state)
{
	limits = server_limits_default;
	return 0;
}

static int teardown(void **state)
{
	echo_stop(&e);
	assert_int_equal(atomic_load(&e.opened), atomic_load(&e.gone));
	assert_int_equal(atomic_load(&e.connections), 0);
	assert_int_equal(atomic_load(&e.identities), 0);
	return 0;
}

static void begin(void)
{
	echo_start(&e, &pki, &server_cert, 1, &limits);
}

static void enter(void)
{
	begin();
	assert_int_equal(client_open_as(&c, e.port, &pki, &agent), 0);
}

static int plain(void)
{
	struct sockaddr_in in = {
		.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons((uint16_t)e.port)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_int_equal(connect(fd, (struct sockaddr *)&in, sizeof in), 0);
	return fd;
}

static bool ends(int fd)
{
	char b[256];
	ssize_t n;

	while ((n = recv(fd, b, sizeof b, 0)) > 0)
		;
	return n <= 0;
}

static void test_handshake_timeout(void **state)
{
	limits.handshake_ms = 100;
	begin();
	int fd = plain();
	assert_true(ends(fd));
	assert_true(echo_saw_handshake(&e, "timeout"));
	assert_true(echo_saw_close(&e, "handshake_timeout"));
	close(fd);
	/* Half a record is no handshake either. */
	fd = plain();
	assert_int_equal(send(fd, "\x16\x03\x01\x02\x00\x01", 6, 0), 6);
	assert_true(ends(fd));
	close(fd);
}

/* A record that claims to be larger than any may be. */
static void test_garbage_before_the_handshake(void **state)
{
	begin();
	int fd = plain();
	assert_int_equal(send(fd, "\x16\x03\x01\xff\xff\xff\xff\xff\xff", 9, 0), 9);
	assert_true(ends(fd));
	assert_true(echo_saw_handshake(&e, "not_tls"));
	assert_true(echo_saw_close(&e, "not_tls"));
	close(fd);
}

/* Nine bytes that announce a ClientHello of 128 KiB: closed before there is a TLS session. */
static void test_hello_too_large(void **state)
{
	begin();
	int fd = plain();
	assert_int_equal(send(fd, "\x16\x03\x01\x40\x00\x01\x01\xff\xff", 9, 0), 9);
	assert_true(ends(fd));
	assert_true(echo_saw_handshake(&e, "hello_too_large"));
	assert_true(echo_saw_close(&e, "hello_too_large"));
	close(fd);
}

/* A byte and then the end; and nothing but the end. */
static void test_hello_that_ends(void **state)
{
	begin();
	for (size_t n = 0; n < 2; n++) {
		int fd = plain();
		assert_int_equal(send(fd, "\x16", n, 0), n);
		shutdown(fd, SHUT_WR);
		assert_true(ends(fd));
		close(fd);
	}
	assert_true(echo_saw_handshake(&e, "closed"));
}

static void test_half_handshakes_give_way(void **state)
{
	int fds[4];

	limits.handshakes_open = 3;
	begin();
	for (int i = 0; i < 4; i++) {
		fds[i] = plain();
		assert_int_equal(send(fds[i], "\x16\x03\x01\x02\x00\x01\x00\x01\xfc", 9, 0), 9);
	}
	assert_true(ends(fds[0])); /* the oldest */
	assert_true(echo_saw_handshake(&e, "evicted"));
	assert_int_equal(recv(fds[3], &(char){0}, 1, MSG_DONTWAIT), -1); /* the newest stays */
	/* An agent that means it is faster than they come. */
	assert_int_equal(client_open_as(&c, e.port, &pki, &agent), 0);
	assert_int_equal(client_unary(&c, "/test/Echo", "x"), GRPC_OK);
	client_close(&c);
	for (int i = 0; i < 4; i++)
		close(fds[i]);
}

static void test_half_handshakes_of_one_source(void **state)
{
	int a, b, over;

	limits.handshakes_open_per_source = 2;
	enter(); /* one that is finished does not count */
	a = plain();
	b = plain();
	over = plain();
	assert_true(ends(over));
	assert_true(echo_saw_close(&e, "source_handshakes"));
	assert_int_equal(client_unary(&c, "/test/Echo", "x"), GRPC_OK);
	close(a);
	close(b);
	close(over);
	client_close(&c);
}

/* Closed at once, and none of what all may do in a second is used up by it. */
static void test_one_source_comes_too_fast(void **state)
{
	int fds[20];

	limits.connections_per_source_per_s = 1;
	limits.handshakes_per_s = 3;
	enter();
	for (int i = 0; i < 20; i++)
		fds[i] = plain();
	assert_true(ends(fds[19]));
	assert_true(echo_saw_close(&e, "source_rate"));
	assert_int_equal(client_unary(&c, "/test/Echo", "x"), GRPC_OK);
	for (int i = 0; i < 20; i++)
		close(fds[i]);
	client_close(&c);
}

static void test_chain_too_large(void **state)
{
	struct client_options o = {.cert = &agent, .alpn = "\2h2", .chain = 120}; /* 50 KiB */

	begin();
	client_open(&c, e.port, &pki, &o);
	assert_true(echo_saw_handshake(&e, "protocol"));
	assert_true(client_wait_eof(&c));
	client_close(&c);
	o.chain = 10;
	assert_int_equal(client_open(&c, e.port, &pki, &o), 0);
	assert_int_equal(client_unary(&c, "/test/Echo", "x"), GRPC_OK);
	client_close(&c);
}

/* ---- turns ---- */

#define CROWD 64

static size_t client_hello(uint8_t *out, size_t size)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
	SSL *ssl = SSL_new(ctx);
	BIO *in = BIO_new(BIO_s_mem()), *to = BIO_new(BIO_s_mem());
	int n;

	SSL_set_alpn_protos(ssl, (const unsigned char *)"\2h2", 3);
	SSL_set_bio(ssl, in, to);
	SSL_connect(ssl);
	n = BIO_read(to, out, (int)size);
	SSL_free(ssl);
	SSL_CTX_free(ctx);
	assert_true(n > 0);
	return (size_t)n;
}

static struct crowd {
	int fds[CROWD];
	int answered, most, turns;
	atomic_bool over;
} crowd;

static int crowd_answered(void)
{
	int n = 0;

	for (int i = 0; i < CROWD; i++)
		n += recv(crowd.fds[i], &(char){0}, 1, MSG_PEEK | MSG_DONTWAIT) == 1;
	return n;
}

/* Posted anew by itself: once a turn of the loop. The first one waits until all have spoken. */
static void look(void *arg)
{
	int n;

	if (!crowd.turns++)
		usleep(300000);
	n = crowd_answered();
	if (n - crowd.answered > crowd.most)
		crowd.most = n - crowd.answered;
	crowd.answered = n;
	if (n == CROWD || crowd.turns > 10000)
		atomic_store(&crowd.over, true);
	else
		loop_post(e.loops[0], look, NULL);
}

/* Many who shake hands at once are served a few at a time, so that others have their turns between them. */
static void test_handshakes_take_turns_with_others(void **state)
{
	uint8_t hello[2048];
	size_t n = client_hello(hello, sizeof hello);

	begin();
	for (int i = 0; i < CROWD; i++)
		crowd.fds[i] = plain();
	usleep(100000); /* all are accepted */
	loop_post(e.loops[0], look, NULL);
	usleep(100000);
	for (int i = 0; i < CROWD; i++)
		assert_int_equal(send(crowd.fds[i], hello, n, 0), n);
	for (int i = 0; i < 1000 && !atomic_load(&crowd.over); i++)
		usleep(10000);
	assert_int_equal(crowd.answered, CROWD);
	assert_in_range(crowd.most, 1, 16); /* eight a turn; what is posted may run before or after them */
	for (int i = 0; i < CROWD; i++)
		close(crowd.fds[i]);
}

static void test_preface_timeout(void **state)
{
	limits.preface_ms = 100;
	enter(); /* the HTTP/2 session has said nothing yet */
	assert_true(echo_saw_close(&e, "preface_timeout"));
	client_close(&c);
}

static void test_headers_timeout(void **state)
{
	static const uint8_t head[] = {0, 0, 16, 1, 0, 0, 0, 0, 1, 0x82}; /* HEADERS, 16 bytes, one of them comes */

	limits.headers_ms = 150;
	enter();
	assert_int_equal(client_unary(&c, "/test/Echo", "x"), GRPC_OK);
	client_write_raw(&c, head, sizeof head);
	assert_true(echo_saw_close(&e, "headers_timeout"));
	assert_true(client_wait_eof(&c));
	assert_int_equal(c.goaways, 1);
	client_close(&c);
}

static void test_whole_headers_have_no_timeout(void **state)
{
	limits.headers_ms = 50;
	enter();
	struct client_stream *s = client_call(&c, "/test/Echo", NULL, 0, false);
	assert_false(client_run_for(&c, 200));
	client_send(&c, s, "x", 1, true);
	assert_true(client_finish(&c, s));
	assert_int_equal(s->status, GRPC_OK);
	client_close(&c);
}

static void test_message_timeout(void **state)
{
	static const uint8_t half[] = {0, 0, 0, 0, 9, 'x'};

	limits.message_ms = 100;
	enter();
	struct client_stream *s = client_call(&c, "/test/Echo", NULL, 0, false);
	client_send(&c, s, "whole", 5, false);
	assert_false(client_run_for(&c, 250));
	assert_false(s->closed); /* between messages there is time */
	client_send_raw(&c, s, half, sizeof half, false);
	assert_true(client_finish(&c, s));
	assert_int_equal(s->status, GRPC_DEADLINE_EXCEEDED);
	assert_int_equal(client_unary(&c, "/test/Echo", "x"), GRPC_OK);
	client_close(&c);
}

static void test_first_message_timeout(void **state)
{
	limits.message_ms = 100;
	enter();
	struct client_stream *s = client_call(&c, "/test/Hang", NULL, 0, false);
	assert_true(client_finish(&c, s));
	assert_int_equal(s->status, GRPC_DEADLINE_EXCEEDED);
	assert_int_equal(client_unary(&c, "/test/Echo", "x"), GRPC_OK);
	client_close(&c);
}

static bool one_closed(const struct client *cl)
{
	return cl->streams[0].closed + cl->streams[1].closed + cl->streams[2].closed == 1;
}

/* Announced, begun and never ended, on many streams at once. */
static void test_partial_messages(void **state)
{
	static uint8_t most[5 + 30000] = {0, 0, 0, 0x9c, 0x40}; /* of 40,000 bytes */

	limits.partial_bytes = 85000;
	enter();
	struct client_stream *s[3];
	for (int i = 0; i < 3; i++) {
		s[i] = client_call(&c, "/test/Echo", NULL, 0, false);
		client_send_raw(&c, s[i], most, sizeof most, false);
	}
	assert_true(client_run(&c, one_closed));
	for (int i = 0; i < 3; i++) { /* the others may still end theirs, and leave room */
		if (s[i]->closed) {
			assert_int_equal(s[i]->status, GRPC_RESOURCE_EXHAUSTED);
			assert_string_equal(s[i]->retry_after, "1000");
			continue;
		}
		client_send_raw(&c, s[i], most + 5, 10000, true);
		assert_true(client_finish(&c, s[i]));
		assert_int_equal(s[i]->status, GRPC_OK);
		assert_int_equal(s[i]->last.n, 40000);
	}
	assert_int_equal(client_unary(&c, "/test/Echo", "x"), GRPC_OK);
	client_close(&c);
}

/* RFC 8446 §4.6.3: each costs the server two keys and brings nothing. */
static void test_key_updates(void **state)
{
	static struct client other;
	int n = 0;

	enter();
	assert_int_equal(client_unary(&c, "/test/Echo", "x"), GRPC_OK);
	assert_int_equal(SSL_key_update(c.ssl, SSL_KEY_UPDATE_NOT_REQUESTED), 1);
	assert_int_equal(client_unary(&c, "/test/Echo", "after an honest one"), GRPC_OK);
	fcntl(c.fd, F_SETFL, fcntl(c.fd, F_GETFL) & ~O_NONBLOCK);
	while (n < 200000 && SSL_key_update(c.ssl, SSL_KEY_UPDATE_NOT_REQUESTED) == 1 && SSL_do_handshake(c.ssl) == 1)
		n++;
	assert_true(n < 200000);
	assert_true(echo_saw_close(&e, "too_many_records"));
	assert_int_equal(client_open_as(&other, e.port, &pki, &agent), 0);
	assert_int_equal(client_unary(&other, "/test/Echo", "x"), GRPC_OK);
	client_close(&other);
	client_close(&c);
}

static void test_idle(void **state)
{
	limits.idle_ms = 100;
	enter();
	client_call(&c, "/test/Hang", NULL, 0, false);
	assert_false(client_run_for(&c, 300)); /* a stream is open */
	h2_reset(c.h2, c.streams[0].id, 8);
	assert_true(client_wait_eof(&c));
	assert_int_equal(c.goaways, 1);
	assert_int_equal(c.goaway_code, 0);
	assert_string_equal(c.goaway_text, "idle");
	assert_true(echo_saw_close(&e, "idle"));
	client_close(&c);
}

static void test_keepalive(void **state)
{
	limits.keepalive_ms = 50;
	limits.keepalive_timeout_ms = 1000;
	enter();
	assert_false(client_run_for(&c, 1500)); /* it answers */
	assert_true(echo_saw_close(&e, "keepalive_timeout")); /* nobody drives the client any more */
	client_close(&c);
}

static void test_stalled_stream(void **state)
{
	limits.stalled_ms = 200;
	enter();
	c.hold = true;
	struct client_stream *s = client_call(&c, "/test/Stream", NULL, 0, false);
	client_send(&c, s, "100 100000", 10, true);
	assert_true(client_finish(&c, s));
	assert_int_equal(s->code, 8);
	assert_int_equal(s->status, -1);
	assert_true(echo_wait(&e, &e.gone, 1));
	assert_int_equal(atomic_load(&e.last_gone), GRPC_UNAVAILABLE);
	c.hold = false;
	assert_int_equal(client_unary(&c, "/test/Echo", "x"), GRPC_OK);
	client_close(&c);
}

/* More answers at once than the connection may queue: those that are too many end with a reason, the others come whole. */
static void test_connection_queue(void **state)
{
	struct client_stream *all[8];
	unsigned whole = 0, refused = 0;

	limits.h2.connection_queue = 512 << 10;
	enter();
	c.hold = true;
	for (int i = 0; i < 8; i++) {
		all[i] = client_call(&c, "/test/Stream", NULL, 0, false);
		client_send(&c, all[i], "4 120000", 8, true);
	}
	client_run_for(&c, 300);
	c.hold = false;
	for (int i = 0; i < 8; i++) {
		h2_consume(c.h2, all[i]->id, all[i]->held);
		all[i]->held = 0;
	}
	for (int i = 0; i < 8; i++) {
		assert_true(client_finish(&c, all[i]));
		whole += all[i]->status == GRPC_OK && all[i]->messages == 4;
		refused += all[i]->status == GRPC_RESOURCE_EXHAUSTED && strcmp(all[i]->retry_after, "1000") == 0;
	}
	assert_int_equal(whole + refused, 8);
	assert_in_range(refused, 1, 7);
	assert_int_equal(client_unary(&c, "/test/Echo", "x"), GRPC_OK);
	client_close(&c);
}

static void open_window(struct client_stream *s, size_t n)
{
	h2_consume(c.h2, s->id, n);
	s->held -= n;
}

/* A byte now and then is a stall too; who takes what there is, however slowly it comes, is none. */
static void test_trickle(void **state)
{
	limits.stalled_ms = 300;
	enter();
	c.hold = true;
	struct client_stream *s = client_call(&c, "/test/Stream", NULL, 0, false);
	client_send(&c, s, "100 100000", 10, true);
	for (int i = 0; i < 100 && !s->closed; i++) {
		client_run_for(&c, 30);
		open_window(s, s->held < 64 ? s->held : 64);
	}
	assert_true(s->closed);
	assert_int_equal(s->code, 8);
	s = client_call(&c, "/test/Stream", NULL, 0, false);
	client_send(&c, s, "100 10000", 9, true);
	for (int i = 0; i < 1000 && !s->closed; i++) {
		client_run_for(&c, 10);
		open_window(s, s->held < 20000 ? s->held : 20000);
	}
	assert_int_equal(s->messages, 100);
	assert_int_equal(s->status, GRPC_OK);
	client_close(&c);
}

static void test_stalled_socket(void **state)
{
	struct client_options o = {.cert = &agent, .alpn = "\2h2", .small = true};

	limits.stalled_ms = 300;
	begin();
	assert_int_equal(client_open(&c, e.port, &pki, &o), 0);
	client_run_for(&c, 20);
	c.deaf = true;
	for (int i = 0; i < 40; i++)
		client_send(&c, client_call(&c, "/test/Stream", NULL, 0, false), "100 100000", 10, true);
	client_run_for(&c, 50);
	assert_true(echo_saw_close(&e, "stalled"));
	assert_true(echo_wait(&e, &e.gone, 40));
	client_close(&c);
}

static void test_connection_limit(void **state)
{
	struct client more[2];

	limits.connections = 2;
	enter();
	assert_int_equal(client_open_as(&more[0], e.port, &pki, &agent), 0);
	assert_int_equal(client_open_as(&more[1], e.port, &pki, &agent), -1);
	assert_true(echo_saw_close(&e, "connection_limit"));
	client_close(&more[1]);
	assert_int_equal(client_unary(&c, "/test/Echo", "x"), GRPC_OK);
	client_close(&more[0]);
	client_close(&c);
}

/* Where one listener is full, the other lets in. */
static void test_reserved_connections(void **state)
{
	struct client own, more;

	limits.connections = 1;
	enter();
	assert_int_equal(client_open_as(&own, e.own_port, &pki, &agent), 0);
	assert_int_equal(client_open_as(&more, e.own_port, &pki, &agent), -1);
	assert_true(echo_saw_close(&e, "connection_limit"));
	client_close(&more);
	client_close(&c);
	assert_true(echo_wait(&e, &e.peers_gone, 1));
	for (int i = 0; i < 100 && client_open_as(&c, e.port, &pki, &agent) != 0; i++) { /* until the old one is reaped */
		client_close(&c);
		usleep(20000);
	}
	assert_int_equal(client_unary(&c, "/test/Echo", "x"), GRPC_OK);
	assert_int_equal(client_unary(&own, "/test/Echo", "x"), GRPC_OK);
	client_close(&own);
	client_close(&c);
}

static void test_source_limit(void **state)
{
	struct client more;

	limits.connections_per_source = 1;
	enter();
	assert_int_equal(client_open_as(&more, e.port, &pki, &agent), -1);
	assert_true(echo_saw_close(&e, "source_limit"));
	client_close(&more);
	client_close(&c);
	assert_true(echo_wait(&e, &e.peers_gone, 1));
	/* The place is free again as soon as the old connection is reaped. */
	for (int i = 0; i < 100; i++) {
		if (client_open_as(&c, e.port, &pki, &agent) == 0)
			break;
		client_close(&c);
		usleep(20000);
	}
	assert_int_equal(client_unary(&c, "/test/Echo", "x"), GRPC_OK);
	client_close(&c);
}

/* Who comes too fast waits; nobody is turned away. */
static void test_handshake_rate(void **state)
{
	struct client all[8];
	int64_t start;

	limits.handshakes_per_s = 5;
	begin();
	start = clock_mono_ms();
	for (int i = 0; i < 8; i++)
		assert_int_equal(client_open_as(&all[i], e.port, &pki, &agent), 0);
	assert_true(clock_mono_ms() - start >= 350); /* three more than the burst, at five a second */
	for (int i = 0; i < 8; i++)
		client_close(&all[i]);
}

static void test_certificate_expires(void **state)
{
	struct pki_cert brief = pki_issue(&pki, "brief", "spiffe://test/brief", NULL, 3);

	begin();
	assert_int_equal(client_open_as(&c, e.port, &pki, &brief), 0);
	assert_int_equal(client_unary(&c, "/test/Echo", "x"), GRPC_OK);
	assert_true(client_wait_eof(&c));
	assert_string_equal(c.goaway_text, "certificate_expired");
	assert_true(echo_saw_close(&e, "certificate_expired"));
	client_close(&c);
}

static void nothing(void *arg, unsigned i)
{
}

static void test_limits_change_while_it_runs(void **state)
{
	struct client other;

	enter();
	limits.connections = 1;
	server_set_limits(e.server, &limits);
	server_each_worker(e.server, nothing, NULL); /* it has been taken by then */
	assert_int_equal(client_open_as(&other, e.port, &pki, &agent), -1);
	client_close(&other);
	client_close(&c);
}

static void test_rapid_reset(void **state)
{
	limits.h2.reset_burst = 20;
	limits.h2.reset_rate = 1;
	enter();
	for (int i = 0; i < 40 && !c.eof; i++) {
		struct client_stream *s = client_call(&c, "/test/Hang", NULL, 0, false);

		if (!s)
			break;
		client_run_for(&c, 1);
		h2_reset(c.h2, s->id, 8);
	}
	assert_true(client_wait_eof(&c));
	assert_int_equal(c.goaway_code, 11);
	assert_true(echo_saw_close(&e, "too_many_resets"));
	client_close(&c);
}

static void test_too_many_streams(void **state)
{
	limits.h2.max_streams = 4;
	enter();
	client_run_for(&c, 20); /* learn the limit */
	for (int i = 0; i < 4; i++)
		assert_non_null(client_call(&c, "/test/Hang", NULL, 0, false));
	assert_null(client_call(&c, "/test/Hang", NULL, 0, false));
	client_close(&c);
}

/* No descriptor left: the first in line is closed, the rest wait, and all is well when some are free again. */
static void test_out_of_descriptors(void **state)
{
	struct rlimit old, tight;
	struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd, fillers[256], n = 0;

	begin();
	in.sin_port = htons((uint16_t)e.port);
	fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	getrlimit(RLIMIT_NOFILE, &old);
	tight = old;
	tight.rlim_cur = (rlim_t)fd + 1;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &tight), 0);
	while (n < 256 && (fillers[n] = dup(fd)) >= 0)
		n++;
	assert_int_equal(connect(fd, (struct sockaddr *)&in, sizeof in), 0);
	assert_true(ends(fd));
	while (n)
		close(fillers[--n]);
	close(fd);
	setrlimit(RLIMIT_NOFILE, &old);
	assert_true(echo_saw_close(&e, "no_descriptors"));
	assert_int_equal(client_open_as(&c, e.port, &pki, &agent), 0);
	assert_int_equal(client_unary(&c, "/test/Echo", "x"), GRPC_OK);
	client_close(&c);
}

static void test_listen_refusals(void **state)
{
	static const char *const bad[] = {"", "7443", "localhost:7443", "127.0.0.1:", "127.0.0.1:70000", "127.0.0.1:7x",
		"::1:7443",
					  "[::1:7443", "[127.0.0.1]:7443", "127.0.0.1:-1"};
	struct problem why;
	struct server_config config;
	struct server *s;
	char taken[64];

	begin();
	config = e.config;
	config.workers = 0;
	assert_null(server_new(&config, &why));
	config.workers = 2;
	s = server_new(&config, &why);
	assert_non_null(s);
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		assert_int_equal(server_listen(s, "bad", bad[i], e.tls, &why), -1);
	/* Another server has it: SO_REUSEPORT must not hide that. */
	snprintf(taken, sizeof taken, "127.0.0.1:%d", e.port);
	assert_int_equal(server_listen(s, "taken", taken, e.tls, &why), -1);
	assert_non_null(strstr(why.text, "in use"));
	assert_int_equal(server_listen(s, "one", "127.0.0.1:0", e.tls, &why), 0);
	assert_int_equal(server_listen(s, "one", "127.0.0.1:0", e.tls, &why), -1);
	assert_int_equal(server_listen(s, "two", "127.0.0.1:0", e.tls, &why), 0);
	assert_true(server_port(s, "one") > 0 && server_port(s, "two") > 0 && server_port(s, "one") != server_port(s,
		"two"));
	assert_int_equal(server_port(s, "three"), -1);
	server_free(s); /* never started */
}

static const struct call_handler *cannot_start(void *arg, unsigned i, struct loop *l, struct call_worker *w)
{
	return NULL;
}

static void never(void *arg, unsigned i)
{
	abort();
}

static void test_worker_cannot_start(void **state)
{
	struct problem why;
	struct server_config config;
	struct server *s;

	begin();
	config = e.config;
	config.workers = 2;
	config.worker_start = cannot_start;
	config.worker_stop = never;
	s = server_new(&config, &why);
	assert_int_equal(server_start(s, &why), -1);
	assert_non_null(strstr(why.text, "2 of 2"));
	server_free(s);
}

static int group_setup(void **state)
{
	pki_init(&pki);
	server_cert = pki_issue(&pki, "server", NULL, "127.0.0.1", 3600);
	agent = pki_issue(&pki, "agent", "spiffe://test/agent", NULL, 3600);
	return 0;
}

static int group_teardown(void **state)
{
	pki_clear(&pki);
	return 0;
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_handshake_timeout), T(test_garbage_before_the_handshake), T(test_hello_too_large),
		T(test_hello_that_ends), T(test_half_handshakes_give_way), T(test_half_handshakes_of_one_source),
		T(test_one_source_comes_too_fast), T(test_trickle), T(test_connection_queue), T(test_chain_too_large),
		T(test_handshakes_take_turns_with_others), T(test_preface_timeout),
		T(test_headers_timeout),
		T(test_whole_headers_have_no_timeout), T(test_message_timeout),
		T(test_first_message_timeout), T(test_partial_messages), T(test_key_updates), T(test_idle), T(test_keepalive),
		T(test_stalled_stream), T(test_stalled_socket), T(test_connection_limit), T(test_reserved_connections), T(test_source_limit),
		T(test_handshake_rate), T(test_certificate_expires), T(test_limits_change_while_it_runs),
		T(test_rapid_reset),
		T(test_too_many_streams), T(test_out_of_descriptors), T(test_listen_refusals),
		T(test_worker_cannot_start),
	};

	return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
