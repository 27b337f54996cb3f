/* How do bytes travel between the socket, TLS and HTTP/2? By client_io(): it does what the socket allows now and
 * never waits. Calls are call.c; words for what goes wrong are fault.c. */
#include "config.h"

#include "client/conn.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"
#include "client/addr.h"
#include "client/conn_priv.h"
#include "client/transport.h"

#define READ_CHUNK 16384
#define READS_A_ROUND 16
#define WRITE_CHUNK 65536
#define OUT_CAP (WRITE_CHUNK * 4)

static const struct h2_limits client_limits = {
	.max_streams = 128,
	.header_bytes = 32 * 1024,
	.header_count = 64,
	.stream_window = 1024 * 1024,
	.connection_window = 4 * 1024 * 1024,
	.max_frame = 16384,
	.send_high = 512 * 1024,
	.send_low = 64 * 1024,
	.connection_queue = 256u << 20,
	.reset_burst = 10000, .reset_rate = 1000, /* the broker is no attacker: its own budgets are for peers */
	.control_burst = 10000, .control_rate = 1000,
	.ping_burst = 1000, .ping_rate = 100,
};

void client_set_closed(struct client *c)
{
	if (c->state == CLIENT_CLOSED)
		return;
	if (c->why.fault == CLIENT_FINE)
		client_error_set(&c->why, CLIENT_FAULT_UNREACHABLE, "the connection to %s is over", c->addr);
	c->state = CLIENT_CLOSED;
	if (c->fd >= 0)
		close(c->fd);
	c->fd = -1;
	client_calls_fail(c);
}

/* Host and port of addr, for getaddrinfo(). 0, or -1 with why. */
static int take_addr(struct client *c, const char *addr, struct addr *out, struct client_error *why)
{
	struct problem p = {""};

	if (addr_split(addr, out, &p)) {
		client_error_set(why, CLIENT_FAULT_CONFIG, "%s", p.text);
		client_error_todo(why, "%s", ADDR_ADVICE);
		return -1;
	}
	snprintf(c->addr, sizeof c->addr, "%s", addr);
	snprintf(c->host, sizeof c->host, "%s", out->host);
	return 0;
}

static void try_next_address(struct client *c, int error)
{
	for (; c->trying; c->trying = c->trying->ai_next) {
		struct addrinfo *a = c->trying;
		int one = 1, idle = 30, every = 10, times = 3;

		if (c->fd >= 0)
			close(c->fd);
		c->fd = socket(a->ai_family, a->ai_socktype | SOCK_NONBLOCK | SOCK_CLOEXEC, a->ai_protocol);
		if (c->fd < 0) {
			error = errno;
			continue;
		}
		setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
		setsockopt(c->fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof one); /* a long wait notices a dead broker in a minute */
		setsockopt(c->fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof idle);
		setsockopt(c->fd, IPPROTO_TCP, TCP_KEEPINTVL, &every, sizeof every);
		setsockopt(c->fd, IPPROTO_TCP, TCP_KEEPCNT, &times, sizeof times);
		if (connect(c->fd, a->ai_addr, a->ai_addrlen) == 0 || errno == EINPROGRESS)
			return;
		error = errno;
	}
	client_error_set(&c->why, CLIENT_FAULT_UNREACHABLE, "cannot connect to %s: %s", c->addr, strerror(error));
	if (error == ECONNREFUSED)
		client_error_todo(&c->why, "Is batond running there, and is this the port of %s?", client_creds_named(c->creds) ? "listen.agents" : client_creds_port(c->creds));
	client_set_closed(c);
}

static void local_failed(struct client *c, int error)
{
	client_error_set(&c->why, CLIENT_FAULT_UNREACHABLE, "cannot connect to %s: %s", c->addr, strerror(error));
	client_error_todo(&c->why, error == EACCES || error == EPERM ? "The socket is for root and the user that batond runs as."
		: "Is batond running here, and is this its listen.admin_socket?");
	client_set_closed(c);
}

/* No TLS: whoever may open the socket is who he is by the kernel's word. */
static void local_begin(struct client *c, const char *path)
{
	struct sockaddr_un sa = {.sun_family = AF_UNIX};

	c->local = true;
	snprintf(c->addr, sizeof c->addr, ADDR_LOCAL "%.*s", (int)sizeof sa.sun_path, path);
	snprintf(c->host, sizeof c->host, "localhost");
	c->h2 = h2_new_client(&client_limits, &client_call_h2_events, c);
	c->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (!slice_copy_str(slice_str(path), sa.sun_path, sizeof sa.sun_path))
		local_failed(c, ENAMETOOLONG);
	else if (!c->h2 || c->fd < 0)
		local_failed(c, errno ? errno : ENOMEM);
	else if (connect(c->fd, (struct sockaddr *)&sa, sizeof sa) != 0)
		local_failed(c, errno);
}

static struct client *blank(const struct client_creds *creds, struct client_error *why)
{
	struct client *c = calloc(1, sizeof *c);

	if (!c) {
		client_error_set(why, CLIENT_FAULT_CONFIG, "out of memory");
		return NULL;
	}
	c->fd = -1;
	c->creds = creds;
	buf_init(&c->out, OUT_CAP);
	return c;
}

struct client *client_new_local(const char *path, struct client_error *why)
{
	struct client *c = blank(NULL, why);

	if (!c)
		return NULL;
	local_begin(c, path);
	if (c->state != CLIENT_CLOSED)
		return c;
	*why = c->why;
	client_free(c);
	return NULL;
}

struct client *client_new(const struct client_creds *creds, const char *addr, struct client_error *why)
{
	struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
	struct client *c = blank(creds, why);
	struct addr a;
	int rc;

	if (!c)
		return NULL;
	if (take_addr(c, addr, &a, why))
		goto fail;
	rc = getaddrinfo(c->host, a.port, &hints, &c->found);
	if (rc) {
		client_error_set(why, CLIENT_FAULT_UNREACHABLE, "cannot connect to %s: %s", addr, gai_strerror(rc));
		client_error_todo(why, "Check the host name and the port.");
		goto fail;
	}
	c->h2 = h2_new_client(&client_limits, &client_call_h2_events, c);
	c->ssl = client_creds_ssl(creds, c->host);
	if (!c->h2 || !c->ssl) {
		client_error_set(why, CLIENT_FAULT_CONFIG, "out of memory");
		goto fail;
	}
	c->trying = c->found;
	try_next_address(c, 0);
	if (c->state == CLIENT_CLOSED) {
		*why = c->why;
		goto fail;
	}
	return c;
fail:
	client_free(c);
	return NULL;
}

void client_free(struct client *c)
{
	if (!c)
		return;
	for (size_t i = 0; i < CALL_BUCKETS; i++)
		while (c->calls[i])
			client_call_drop(c->calls[i]);
	c->depth = 0;
	client_calls_reap(c);
	h2_free(c->h2);
	if (c->ssl && c->fd >= 0 && c->state >= CLIENT_OPENING) {
		SSL_shutdown(c->ssl);
		ERR_clear_error();
	}
	SSL_free(c->ssl);
	if (c->fd >= 0)
		close(c->fd);
	if (c->found)
		freeaddrinfo(c->found);
	buf_clear(&c->out);
	free(c);
}

static void on_connected(struct client *c)
{
	int error = 0;
	socklen_t n = sizeof error;

	if (getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &n) != 0)
		error = errno;
	if (error && c->local) {
		local_failed(c, error);
		return;
	}
	if (error) {
		c->trying = c->trying->ai_next;
		try_next_address(c, error);
		return;
	}
	if (c->local) {
		c->state = CLIENT_OPENING;
		return;
	}
	if (SSL_set_fd(c->ssl, c->fd) != 1) {
		client_error_set(&c->why, CLIENT_FAULT_CONFIG, "out of memory");
		client_set_closed(c);
		return;
	}
	c->state = CLIENT_HANDSHAKE;
}

static void on_handshake(struct client *c)
{
	const unsigned char *alpn = NULL;
	unsigned n = 0;
	int rc;

	ERR_clear_error();
	errno = 0;
	rc = SSL_connect(c->ssl);
	if (rc != 1) {
		int e = SSL_get_error(c->ssl, rc);

		c->handshake_writes = e == SSL_ERROR_WANT_WRITE;
		if (e != SSL_ERROR_WANT_READ && e != SSL_ERROR_WANT_WRITE)
			transport_tls_failed(c, rc, true);
		return;
	}
	SSL_get0_alpn_selected(c->ssl, &alpn, &n);
	if (n != 2 || memcmp(alpn, "h2", 2) != 0) {
		client_error_set(&c->why, CLIENT_FAULT_PROTOCOL, "cannot connect to %s: the peer does not offer HTTP/2 (no ALPN h2)",
			c->addr);
		client_error_todo(&c->why, "Use the port of %s.", client_creds_port(c->creds));
		client_set_closed(c);
		return;
	}
	c->state = CLIENT_OPENING;
}

static void bad_session(struct client *c)
{
	client_error_set(&c->why, CLIENT_FAULT_PROTOCOL, "the peer at %s broke HTTP/2: %s", c->addr, h2_error(c->h2));
	client_flush(c);
	client_set_closed(c);
}

static void read_some(struct client *c)
{
	uint8_t chunk[READ_CHUNK];

	c->more = false;
	for (int i = 0; i < READS_A_ROUND && c->state != CLIENT_CLOSED; i++) {
		long n = transport_read(c, chunk, sizeof chunk);

		if (n <= 0)
			return;
		c->state = CLIENT_READY;
		if (h2_feed(c->h2, slice_of(chunk, (size_t)n)) != 0) {
			bad_session(c);
			return;
		}
	}
	c->more = true;
}

static void write_some(struct client *c)
{
	c->blocked = false;
	while (c->state == CLIENT_OPENING || c->state == CLIENT_READY) {
		long n;

		if (c->out_at == c->out.n) {
			buf_reset(&c->out);
			c->out_at = 0;
			h2_pull(c->h2, &c->out, WRITE_CHUNK); /* a session that is over gives its GOAWAY, then nothing */
			if (c->out.n == 0)
				return;
		}
		n = transport_write(c, c->out.p + c->out_at, c->out.n - c->out_at);
		if (n <= 0)
			return;
		c->out_at += (size_t)n;
	}
}

void client_flush(struct client *c)
{
	c->depth++; /* h2_pull runs callbacks */
	write_some(c);
	c->depth--;
	client_calls_reap(c);
}

void client_io(struct client *c)
{
	c->depth++;
	if (c->state == CLIENT_CONNECTING)
		on_connected(c);
	if (c->state == CLIENT_HANDSHAKE)
		on_handshake(c);
	if (c->state == CLIENT_OPENING || c->state == CLIENT_READY)
		read_some(c);
	if (c->state == CLIENT_OPENING || c->state == CLIENT_READY)
		client_flush(c);
	if (c->state == CLIENT_READY && h2_done(c->h2))
		client_set_closed(c);
	c->depth--;
	client_calls_reap(c);
}

enum client_state client_state(const struct client *c)
{
	return c->state;
}

const struct client_error *client_why(const struct client *c)
{
	return &c->why;
}

int client_fd(const struct client *c)
{
	return c->fd;
}

short client_events(const struct client *c)
{
	switch (c->state) {
	case CLIENT_CONNECTING:
		return POLLOUT;
	case CLIENT_HANDSHAKE:
		return c->handshake_writes ? POLLOUT : POLLIN;
	case CLIENT_OPENING:
	case CLIENT_READY:
		return (short)(POLLIN | (c->blocked || h2_wants_write(c->h2) ? POLLOUT : 0));
	default:
		return 0;
	}
}

bool client_pending(const struct client *c)
{
	return c->state == CLIENT_CLOSED ? false : c->more || (c->state >= CLIENT_OPENING && c->ssl && SSL_has_pending(c->ssl));
}

bool client_wait(struct client *c, int64_t deadline_mono_ms)
{
	int64_t left = deadline_mono_ms - clock_mono_ms();
	struct pollfd p = {.fd = c->fd, .events = client_events(c)};

	if (c->state == CLIENT_CLOSED)
		return true;
	if (left <= 0)
		return false;
	if (client_pending(c))
		left = 0;
	else if (left > 60000)
		left = 60000;
	if (poll(&p, 1, (int)left) > 0 || left == 0)
		client_io(c);
	return true;
}

int client_connect(struct client *c, int64_t deadline_mono_ms, struct client_error *why)
{
	while (c->state != CLIENT_READY && c->state != CLIENT_CLOSED)
		if (!client_wait(c, deadline_mono_ms)) {
			client_error_set(why, CLIENT_FAULT_TIMEOUT, "cannot connect to %s: no answer in time (%s)", c->addr,
					 c->state == CLIENT_CONNECTING ? "TCP" : "TLS handshake");
			client_error_todo(why, "Check the address and the firewall, or allow more with --timeout.");
			return -1;
		}
	if (c->state == CLIENT_READY)
		return 0;
	*why = c->why;
	return -1;
}

bool client_vouched(const struct client *c, const struct slice *bundle, size_t n)
{
	return c->ssl && client_creds_vouched(c->ssl, c->host, bundle, n);
}

const char *client_tls_text(const struct client *c)
{
	static char text[128];

	if (!c->ssl)
		return "a local socket";
	snprintf(text, sizeof text, "%s %s", SSL_get_version(c->ssl), SSL_get_cipher_name(c->ssl));
	return text;
}
