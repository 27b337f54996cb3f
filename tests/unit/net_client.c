/* What does an agent do in the network tests? See net_client.h. */
#include "config.h"

#include "net_client.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <openssl/err.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"

const struct client_options client_no_cert = {.alpn = "\2h2"};

static struct client_stream *find(struct client *c, int32_t id)
{
	for (unsigned i = 0; i < c->n; i++)
		if (c->streams[i].id == id)
			return &c->streams[i];
	return NULL;
}

static void copy(struct slice s, char *out, size_t size)
{
	slice_copy_str(s, out, size);
}

static int number(struct slice s)
{
	char text[16];

	copy(s, text, sizeof text);
	return atoi(text);
}

static void read_headers(struct client_stream *s, const struct h2_header *h, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (slice_is(h[i].name, ":status"))
			s->http = number(h[i].value);
		else if (slice_is(h[i].name, "grpc-status"))
			s->status = number(h[i].value);
		else if (slice_is(h[i].name, "grpc-message"))
			copy(h[i].value, s->message, sizeof s->message);
		else if (slice_is(h[i].name, "grpc-accept-encoding"))
			copy(h[i].value, s->encoding, sizeof s->encoding);
		else if (slice_is(h[i].name, "baton-retry-after-ms"))
			copy(h[i].value, s->retry_after, sizeof s->retry_after);
		else if (slice_is(h[i].name, "test-bin"))
			copy(h[i].value, s->details, sizeof s->details);
	}
}

static void on_headers(void *user, int32_t id, const struct h2_header *h, size_t n, bool end)
{
	struct client_stream *s = find(user, id);

	s->headers = true;
	s->ended |= end;
	read_headers(s, h, n);
}

static void on_data(void *user, int32_t id, struct slice data)
{
	struct client *c = user;
	struct client_stream *s = find(c, id);
	struct slice m;

	s->bytes += data.n;
	s->data_seen = true;
	if (c->hold)
		s->held += data.n;
	else
		h2_consume(c->h2, id, data.n);
	while (grpc_reader_next(&s->reader, &data, &m) == GRPC_READ_MESSAGE) {
		s->messages++;
		buf_reset(&s->last);
		buf_put_slice(&s->last, m);
	}
}

static void on_trailers(void *user, int32_t id, const struct h2_header *h, size_t n)
{
	read_headers(find(user, id), h, n);
}

static void on_end(void *user, int32_t id)
{
	find(user, id)->ended = true;
}

static void on_writable(void *user, int32_t id)
{
}

static void on_closed(void *user, int32_t id, uint32_t code, bool refused)
{
	struct client_stream *s = find(user, id);

	s->closed = true;
	s->code = code;
	s->refused = refused;
}

static void on_goaway(void *user, int32_t last, uint32_t code, struct slice debug)
{
	struct client *c = user;

	c->goaways++;
	c->last_stream = last;
	c->goaway_code = code;
	copy(debug, c->goaway_text, sizeof c->goaway_text);
}

static const struct h2_events events = {on_headers, on_data, on_trailers, on_end, on_writable, on_closed, on_goaway};

static void note_error(struct client *c, const char *what)
{
	unsigned long e = ERR_peek_last_error();

	snprintf(c->error, sizeof c->error, "%s: %s", what, e ? ERR_reason_error_string(e) : strerror(errno));
	ERR_clear_error();
}

static int connect_to(int port, bool small)
{
	int size = 4096;
	struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
		.sin_port = htons((uint16_t)port)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (small)
		setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
	if (connect(fd, (struct sockaddr *)&in, sizeof in) == 0)
		return fd;
	close(fd);
	return -1;
}

static SSL_CTX *context(const struct pki *pki, const struct client_options *o)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());

	SSL_CTX_load_verify_locations(ctx, pki->ca_file, NULL);
	SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
	SSL_CTX_set_mode(ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	if (o->max_version)
		SSL_CTX_set_max_proto_version(ctx, o->max_version);
	if (o->alpn)
		SSL_CTX_set_alpn_protos(ctx, (const unsigned char *)o->alpn, (unsigned)strlen(o->alpn));
	if (o->cert) {
		SSL_CTX_use_certificate_file(ctx, o->cert->cert_file, SSL_FILETYPE_PEM);
		SSL_CTX_use_PrivateKey_file(ctx, o->cert->key_file, SSL_FILETYPE_PEM);
		for (unsigned i = 0; i < o->chain; i++)
			SSL_CTX_add1_chain_cert(ctx, pki->ca);
	}
	return ctx;
}

int client_open(struct client *c, int port, const struct pki *pki, const struct client_options *o)
{
	struct h2_limits limits = h2_limits_default;

	if (o->small)
		limits.stream_window = limits.connection_window = 64u << 20;
	memset(c, 0, sizeof *c);
	c->fd = connect_to(port, o->small);
	c->ctx = context(pki, o);
	c->ssl = SSL_new(c->ctx);
	c->h2 = h2_new_client(&limits, &events, c);
	if (c->fd < 0) {
		note_error(c, "connect");
		return -1;
	}
	SSL_set_fd(c->ssl, c->fd);
	if (SSL_connect(c->ssl) != 1) {
		note_error(c, "handshake");
		c->eof = true;
		return -1;
	}
	fcntl(c->fd, F_SETFL, O_NONBLOCK);
	return 0;
}

int client_open_as(struct client *c, int port, const struct pki *pki, const struct pki_cert *cert)
{
	struct client_options o = {.cert = cert, .alpn = "\2h2"};

	return client_open(c, port, pki, &o);
}

void client_close(struct client *c)
{
	SSL_free(c->ssl);
	SSL_CTX_free(c->ctx);
	h2_free(c->h2);
	if (c->fd >= 0)
		close(c->fd);
	for (unsigned i = 0; i < c->n; i++) {
		grpc_reader_clear(&c->streams[i].reader);
		buf_clear(&c->streams[i].last);
	}
}

static bool again(struct client *c, int rc)
{
	int e = SSL_get_error(c->ssl, rc);

	if (e == SSL_ERROR_WANT_READ || e == SSL_ERROR_WANT_WRITE)
		return true;
	if (!c->eof)
		note_error(c, "connection");
	c->eof = true;
	return false;
}

static void write_all(struct client *c, const uint8_t *p, size_t n)
{
	struct pollfd pfd = {.fd = c->fd, .events = POLLOUT};
	int64_t until = clock_mono_ms() + CLIENT_WAIT_MS;
	size_t put;

	while (n && !c->eof && clock_mono_ms() < until) {
		ERR_clear_error();
		int rc = SSL_write_ex(c->ssl, p, n, &put);

		if (rc == 1) {
			p += put;
			n -= put;
		} else if (again(c, rc)) {
			poll(&pfd, 1, 100);
		}
	}
}

void client_write_raw(struct client *c, const void *p, size_t n)
{
	write_all(c, p, n);
}

static void push(struct client *c)
{
	struct buf b;

	buf_init(&b, 64u << 20);
	h2_pull(c->h2, &b, 32u << 20);
	write_all(c, b.p, b.n);
	buf_clear(&b);
}

static bool take(struct client *c)
{
	uint8_t b[16384];
	size_t n;

	if (c->deaf || c->eof)
		return false;
	ERR_clear_error();
	int rc = SSL_read_ex(c->ssl, b, sizeof b, &n);
	if (rc != 1) {
		again(c, rc);
		return false;
	}
	h2_feed(c->h2, slice_of(b, n));
	return true;
}

static bool run(struct client *c, bool (*done)(const struct client *), int ms)
{
	struct pollfd pfd = {.fd = c->fd, .events = POLLIN};
	int64_t until = clock_mono_ms() + ms, left;

	for (;;) {
		push(c);
		while (take(c))
			;
		push(c);
		if (done && done(c))
			return true;
		left = until - clock_mono_ms();
		if (c->eof || left <= 0)
			return false;
		if (c->deaf)
			pfd.events = 0;
		poll(&pfd, 1, (int)(left < 20 ? left : 20));
	}
}

bool client_run(struct client *c, bool (*done)(const struct client *c))
{
	return run(c, done, CLIENT_WAIT_MS);
}

bool client_run_for(struct client *c, int ms)
{
	run(c, NULL, ms);
	return c->eof;
}

bool client_wait_eof(struct client *c)
{
	return client_run_for(c, CLIENT_WAIT_MS);
}

struct client_stream *client_request(struct client *c, const struct h2_header *h, size_t n, bool end)
{
	int32_t id = h2_request(c->h2, h, n, end);
	struct client_stream *s = &c->streams[c->n];

	if (id < 0 || c->n == CLIENT_STREAMS)
		return NULL;
	c->n++;
	s->id = id;
	s->status = -1;
	grpc_reader_init(&s->reader, 16u << 20);
	buf_init(&s->last, 16u << 20);
	return s;
}

struct client_stream *client_call(struct client *c, const char *path, const struct h2_header *more, size_t n, bool end)
{
	struct h2_header h[32] = {
		{SLICE_LIT(":method"), SLICE_LIT("POST")},
		{SLICE_LIT(":scheme"), SLICE_LIT("https")},
		{SLICE_LIT(":path"), slice_str(path)},
		{SLICE_LIT(":authority"), SLICE_LIT("localhost")},
		{SLICE_LIT("te"), SLICE_LIT("trailers")},
		{SLICE_LIT("content-type"), SLICE_LIT("application/grpc")},
	};

	for (size_t i = 0; i < n; i++)
		h[6 + i] = more[i];
	return client_request(c, h, 6 + n, end);
}

void client_send_raw(struct client *c, struct client_stream *s, const void *p, size_t n, bool end)
{
	h2_send(c->h2, s->id, slice_of(p, n), slice_of(NULL, 0));
	if (end)
		h2_finish(c->h2, s->id, NULL, 0);
}

void client_send(struct client *c, struct client_stream *s, const void *p, size_t n, bool end)
{
	uint8_t head[GRPC_HEAD_BYTES];

	grpc_head(head, n);
	h2_send(c->h2, s->id, slice_of(head, sizeof head), slice_of(p, n));
	if (end)
		h2_finish(c->h2, s->id, NULL, 0);
}

bool client_finish(struct client *c, struct client_stream *s)
{
	int64_t until = clock_mono_ms() + CLIENT_WAIT_MS;

	while (!s->closed && !c->eof && clock_mono_ms() < until)
		run(c, NULL, 5);
	return s->closed;
}

int client_unary(struct client *c, const char *path, const char *message)
{
	struct client_stream *s = client_call(c, path, NULL, 0, false);

	if (!s)
		return -2;
	client_send(c, s, message, strlen(message), true);
	return client_finish(c, s) ? s->status : -3;
}
