/* Does a stream open, carry bytes both ways, keep its caps and close exactly once: over TCP, a unix socket and TLS? */
#include "config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "net/stream.h"
#include "net_pki.h"

static struct pki pki;
static struct pki_cert server_cert, client_cert;
static struct loop *l;
static struct stream *s;
static struct buf got;
static size_t expected;
static int opened, closed;
static char why[256];
static enum { TAKE_ALL, TAKE_LINES, REFUSE, CLOSE_INSIDE } manner;

/* ---- a server that echoes, blocking, on a thread ---- */

struct echo {
	int listen_fd, port;
	char path[128];
	SSL_CTX *tls;
	pthread_t thread;
};

static void echo_tls(struct echo *e, int fd)
{
	char b[16384];
	SSL *ssl = SSL_new(e->tls);
	int n;

	SSL_set_fd(ssl, fd);
	if (SSL_accept(ssl) == 1)
		while ((n = SSL_read(ssl, b, sizeof b)) > 0 && SSL_write(ssl, b, n) == n)
			;
	SSL_shutdown(ssl);
	SSL_free(ssl);
}

static void echo_plain(int fd)
{
	char b[16384];
	ssize_t n;

	while ((n = recv(fd, b, sizeof b, 0)) > 0 && send(fd, b, (size_t)n, MSG_NOSIGNAL) == n)
		if (n == 1 && b[0] == 'Q')
			break;
}

static void *echo_main(void *arg)
{
	struct echo *e = arg;
	int fd = accept(e->listen_fd, NULL, NULL);

	if (fd < 0)
		return NULL;
	if (e->tls)
		echo_tls(e, fd);
	else
		echo_plain(fd);
	close(fd);
	return NULL;
}

static void echo_start(struct echo *e)
{
	struct sockaddr_un un = {.sun_family = AF_UNIX};
	struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t n = sizeof in;

	e->listen_fd = socket(e->path[0] ? AF_UNIX : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (e->path[0]) {
		strcpy(un.sun_path, e->path);
		assert_int_equal(bind(e->listen_fd, (struct sockaddr *)&un, sizeof un), 0);
	} else {
		assert_int_equal(bind(e->listen_fd, (struct sockaddr *)&in, sizeof in), 0);
		getsockname(e->listen_fd, (struct sockaddr *)&in, &n);
		e->port = ntohs(in.sin_port);
	}
	assert_int_equal(listen(e->listen_fd, 4), 0);
	assert_int_equal(pthread_create(&e->thread, NULL, echo_main, e), 0);
}

static void echo_stop(struct echo *e)
{
	shutdown(e->listen_fd, SHUT_RDWR);
	pthread_join(e->thread, NULL);
	close(e->listen_fd);
	SSL_CTX_free(e->tls);
}

static SSL_CTX *echo_tls_context(const struct pki_cert *c, int max_version)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());

	SSL_CTX_set_security_level(ctx, 0);
	assert_int_equal(SSL_CTX_use_certificate_file(ctx, c->cert_file, SSL_FILETYPE_PEM), 1);
	assert_int_equal(SSL_CTX_use_PrivateKey_file(ctx, c->key_file, SSL_FILETYPE_PEM), 1);
	assert_int_equal(SSL_CTX_load_verify_locations(ctx, pki.ca_file, NULL), 1);
	SSL_CTX_set_max_proto_version(ctx, max_version);
	return ctx;
}

/* ---- the stream's side ---- */

static void on_open(void *user)
{
	opened++;
	if (user)
		assert_true(buf_put_str(stream_out(s), user));
	else
		loop_stop(l);
}

static long on_data(void *user, struct slice b)
{
	const void *line;
	size_t n = b.n;

	switch (manner) {
	case REFUSE:
		return -1;
	case CLOSE_INSIDE:
		stream_close(s);
		s = NULL;
		loop_stop(l);
		return 0;
	case TAKE_LINES:
		line = memchr(b.p, '\n', b.n);
		n = line ? (size_t)((const uint8_t *)line - b.p) + 1 : 0;
		break;
	default:
		break;
	}
	buf_put(&got, b.p, n);
	if (got.n >= expected)
		loop_stop(l);
	return (long)n;
}

static void on_close(void *user, const char *text)
{
	closed++;
	snprintf(why, sizeof why, "%s", text);
	s = NULL;
	loop_stop(l);
}

static const struct stream_events events = {on_open, on_data, on_close};

static void open_stream(const struct stream_target *t, char *greeting)
{
	s = stream_open(l, t, &events, greeting);
	assert_non_null(s);
	assert_int_equal(opened + closed, 0); /* nothing inside the call */
	assert_null(stream_out(s));
	loop_run(l);
}

static int setup(void **state)
{
	l = loop_new();
	buf_init(&got, 64u << 20);
	opened = closed = 0;
	why[0] = '\0';
	expected = 5;
	manner = TAKE_ALL;
	return 0;
}

static int teardown(void **state)
{
	stream_close(s);
	s = NULL;
	loop_free(l);
	buf_clear(&got);
	return 0;
}

static struct stream_target tcp(int port)
{
	return (struct stream_target){.host = "127.0.0.1", .port = port, .connect_timeout_ms = 5000,
		.write_cap = 64u << 20};
}

static struct stream_target secure(int port)
{
	struct stream_target t = tcp(port);

	t.tls = true;
	t.ca_file = pki.ca_file;
	return t;
}

static void test_unix_socket_echo(void **state)
{
	struct echo e = {0};
	struct stream_target t = {.unix_path = e.path, .connect_timeout_ms = 5000, .write_cap = 4096};

	snprintf(e.path, sizeof e.path, "%s/echo", pki.dir);
	echo_start(&e);
	open_stream(&t, "hello");
	assert_int_equal(opened, 1);
	assert_memory_equal(got.p, "hello", 5);
	stream_close(s);
	s = NULL;
	echo_stop(&e);
	unlink(e.path);
	assert_int_equal(closed, 0); /* stream_close() calls nothing */
}

static void test_tcp_echo(void **state)
{
	struct echo e = {0};

	echo_start(&e);
	struct stream_target t = tcp(e.port);
	open_stream(&t, "hello");
	assert_memory_equal(got.p, "hello", 5);
	stream_close(s);
	s = NULL;
	echo_stop(&e);
}

/* By name: on a helper thread. */
static void test_name_echo(void **state)
{
	struct echo e = {0};

	echo_start(&e);
	struct stream_target t = tcp(e.port);
	t.host = "localhost";
	open_stream(&t, "hello");
	assert_memory_equal(got.p, "hello", 5);
	stream_close(s);
	s = NULL;
	echo_stop(&e);
}

/* The name's answer comes when nobody waits any more, perhaps after the loop has gone. */
static void test_close_during_lookup(void **state)
{
	struct stream_target t = tcp(1);
	struct loop_timer *timer;

	t.host = "localhost";
	for (int i = 0; i < 8; i++) {
		s = stream_open(l, &t, &events, NULL);
		timer = loop_timer_new(l, (void (*)(void *))loop_stop, l);
		loop_timer_set(timer, 0);
		loop_run(l);
		loop_timer_free(timer);
		if (s)
			stream_close(s);
		s = NULL;
	}
}

static void test_connection_refused(void **state)
{
	struct echo e = {0};
	int port;

	echo_start(&e);
	port = e.port;
	echo_stop(&e); /* now nobody listens there */
	struct stream_target t = tcp(port);
	open_stream(&t, "hello");
	assert_int_equal(opened, 0);
	assert_int_equal(closed, 1);
	assert_non_null(strstr(why, "refused"));
}

static void test_missing_unix_socket(void **state)
{
	struct stream_target t = {.unix_path = "/nonexistent/socket", .connect_timeout_ms = 5000, .write_cap = 4096};

	open_stream(&t, "hello");
	assert_int_equal(closed, 1);
	assert_non_null(strstr(why, "No such file"));
}

static void test_server_closes(void **state)
{
	struct echo e = {0};

	echo_start(&e);
	struct stream_target t = tcp(e.port);
	expected = 1000;
	open_stream(&t, "Q");
	assert_int_equal(opened, 1);
	assert_int_equal(closed, 1);
	assert_int_equal(got.n, 1);
	assert_string_equal(why, "closed by the server");
	echo_stop(&e);
}

static void send_rest(void *arg)
{
	buf_put_str(stream_out(s), "c\nd");
}

static void test_pieces_make_a_line(void **state)
{
	struct echo e = {0};
	struct loop_timer *timer = loop_timer_new(l, send_rest, NULL);

	echo_start(&e);
	struct stream_target t = tcp(e.port);
	manner = TAKE_LINES;
	expected = 4;
	loop_timer_set(timer, 30);
	open_stream(&t, "ab");
	assert_int_equal(got.n, 4);
	assert_memory_equal(got.p, "abc\n", 4);
	loop_timer_free(timer);
	stream_close(s);
	s = NULL;
	echo_stop(&e);
}

static void test_reader_refuses(void **state)
{
	struct echo e = {0};

	echo_start(&e);
	struct stream_target t = tcp(e.port);
	manner = REFUSE;
	open_stream(&t, "hello");
	assert_int_equal(closed, 1);
	echo_stop(&e);
}

static void test_close_inside_on_data(void **state)
{
	struct echo e = {0};

	echo_start(&e);
	struct stream_target t = tcp(e.port);
	manner = CLOSE_INSIDE;
	open_stream(&t, "hello");
	assert_int_equal(closed, 0);
	echo_stop(&e);
}

#define BULK (8u << 20)

static void send_bulk(void *arg)
{
	struct buf *b = stream_out(s);
	uint8_t *p = buf_reserve(b, BULK);

	assert_non_null(p);
	for (size_t i = 0; i < BULK; i++)
		p[i] = (uint8_t)(i * 2654435761u >> 24);
	b->n += BULK;
	loop_run(l);
}

static void assert_bulk(void)
{
	assert_int_equal(got.n, BULK);
	for (size_t i = 0; i < BULK; i++)
		if (got.p[i] != (uint8_t)(i * 2654435761u >> 24))
			fail_msg("byte %zu differs", i);
}

static void bulk(bool tls)
{
	struct echo e = {.tls = tls ? echo_tls_context(&server_cert, TLS1_3_VERSION) : NULL};

	echo_start(&e);
	struct stream_target t = tls ? secure(e.port) : tcp(e.port);
	expected = BULK;
	open_stream(&t, NULL);
	assert_int_equal(opened, 1);
	send_bulk(NULL);
	assert_bulk();
	stream_close(s);
	s = NULL;
	loop_post(l, (void (*)(void *))loop_stop, l);
	loop_run(l); /* the tail that closes */
	echo_stop(&e);
}

static void test_bulk_over_tcp(void **state)
{
	bulk(false);
}

static void test_bulk_over_tls(void **state)
{
	bulk(true);
}

static void overflow(void *arg)
{
	char big[5000] = {0};

	assert_false(buf_put(stream_out(s), big, sizeof big));
	assert_null(stream_out(s));
}

static void test_write_cap_closes(void **state)
{
	struct echo e = {0};

	echo_start(&e);
	struct stream_target t = tcp(e.port);
	t.write_cap = 4096;
	open_stream(&t, NULL);
	loop_post(l, overflow, NULL);
	loop_run(l);
	assert_int_equal(closed, 1);
	assert_string_equal(why, "write buffer full");
	echo_stop(&e);
}

static void test_tls_echo(void **state)
{
	struct echo e = {.tls = echo_tls_context(&server_cert, TLS1_3_VERSION)};

	echo_start(&e);
	struct stream_target t = secure(e.port);
	open_stream(&t, "hello");
	assert_memory_equal(got.p, "hello", 5);
	stream_close(s);
	s = NULL;
	loop_post(l, (void (*)(void *))loop_stop, l);
	loop_run(l);
	echo_stop(&e);
}

static void test_tls_client_certificate(void **state)
{
	struct echo e = {.tls = echo_tls_context(&server_cert, TLS1_3_VERSION)};

	SSL_CTX_set_verify(e.tls, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
	echo_start(&e);
	struct stream_target t = secure(e.port);
	t.cert_file = client_cert.cert_file;
	t.key_file = client_cert.key_file;
	open_stream(&t, "hello");
	assert_memory_equal(got.p, "hello", 5);
	stream_close(s);
	s = NULL;
	loop_post(l, (void (*)(void *))loop_stop, l);
	loop_run(l);
	echo_stop(&e);
}

static void refused_by_tls(const struct pki_cert *cert, int version, const char *ca_file, const char *word)
{
	struct echo e = {.tls = echo_tls_context(cert, version)};

	echo_start(&e);
	struct stream_target t = secure(e.port);
	t.ca_file = ca_file;
	open_stream(&t, "hello");
	assert_int_equal(opened, 0);
	assert_int_equal(closed, 1);
	if (!strstr(why, word))
		fail_msg("\"%s\" does not say \"%s\"", why, word);
	echo_stop(&e);
}

static void test_tls_wrong_name(void **state)
{
	struct pki_cert other = pki_issue(&pki, "other", NULL, "192.0.2.7", 3600);

	refused_by_tls(&other, TLS1_3_VERSION, pki.ca_file, "IP address mismatch");
}

static void test_tls_unknown_ca(void **state)
{
	refused_by_tls(&server_cert, TLS1_3_VERSION, NULL, "certificate");
}

static void test_tls_expired(void **state)
{
	struct pki_cert old = pki_issue(&pki, "old", NULL, "127.0.0.1", -3600);

	refused_by_tls(&old, TLS1_3_VERSION, pki.ca_file, "expired");
}

static void test_tls_too_old(void **state)
{
	refused_by_tls(&server_cert, TLS1_1_VERSION, pki.ca_file, "version");
}

static void test_tls_missing_ca_file(void **state)
{
	struct stream_target t = secure(1);

	t.ca_file = "/nonexistent/ca.pem";
	open_stream(&t, "hello");
	assert_int_equal(closed, 1);
	assert_non_null(strstr(why, "/nonexistent/ca.pem"));
}

/* A server that accepts and says nothing. */
static void test_tls_timeout(void **state)
{
	struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t n = sizeof in;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_int_equal(bind(fd, (struct sockaddr *)&in, sizeof in), 0);
	getsockname(fd, (struct sockaddr *)&in, &n);
	assert_int_equal(listen(fd, 1), 0);
	struct stream_target t = secure(ntohs(in.sin_port));
	t.connect_timeout_ms = 100;
	open_stream(&t, "hello");
	assert_int_equal(closed, 1);
	assert_string_equal(why, "TLS: timed out");
	close(fd);
}

static int group_setup(void **state)
{
	pki_init(&pki);
	server_cert = pki_issue(&pki, "server", NULL, "127.0.0.1", 3600);
	client_cert = pki_issue(&pki, "client", "spiffe://test/agent", NULL, 3600);
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
		T(test_unix_socket_echo), T(test_tcp_echo), T(test_name_echo), T(test_close_during_lookup),
		T(test_connection_refused), T(test_missing_unix_socket), T(test_server_closes),
		T(test_pieces_make_a_line), T(test_reader_refuses), T(test_close_inside_on_data),
		T(test_bulk_over_tcp), T(test_bulk_over_tls), T(test_write_cap_closes), T(test_tls_echo),
		T(test_tls_client_certificate), T(test_tls_wrong_name), T(test_tls_unknown_ca), T(test_tls_expired),
		T(test_tls_too_old), T(test_tls_missing_ca_file), T(test_tls_timeout),
	};

	return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
