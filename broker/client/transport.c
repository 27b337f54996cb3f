/* How do bytes get in and out of a client's socket, through TLS or bare? */
#include "config.h"

#include "client/transport.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <string.h>
#include <sys/socket.h>

void transport_tls_failed(struct client *c, int rc, bool opening)
{
	int e = SSL_get_error(c->ssl, rc);

	if (c->goaway) /* it has said why already */
		ERR_clear_error();
	else
		client_explain_tls(&c->why, c->ssl, e, c->addr, opening, c->creds);
	client_set_closed(c);
}

static long tls_read(struct client *c, void *p, size_t n)
{
	int got, e;

	ERR_clear_error();
	errno = 0;
	got = SSL_read(c->ssl, p, (int)n);
	if (got > 0)
		return got;
	e = SSL_get_error(c->ssl, got);
	if (e == SSL_ERROR_WANT_READ || e == SSL_ERROR_WANT_WRITE)
		return 0;
	transport_tls_failed(c, got, c->state == CLIENT_OPENING);
	return -1;
}

static long tls_write(struct client *c, const void *p, size_t n)
{
	int put, e;

	ERR_clear_error();
	errno = 0;
	put = SSL_write(c->ssl, p, (int)n);
	if (put > 0)
		return put;
	e = SSL_get_error(c->ssl, put);
	if (e == SSL_ERROR_WANT_WRITE || e == SSL_ERROR_WANT_READ)
		c->blocked = e == SSL_ERROR_WANT_WRITE;
	else
		c->more = true; /* the reason, an alert, stands in what can still be read */
	if (e == SSL_ERROR_SSL || e == SSL_ERROR_ZERO_RETURN)
		transport_tls_failed(c, put, c->state == CLIENT_OPENING);
	ERR_clear_error();
	return c->state == CLIENT_CLOSED ? -1 : 0;
}

static long bare_failed(struct client *c, const char *why)
{
	if (!c->goaway)
		client_error_set(&c->why, CLIENT_FAULT_UNREACHABLE, "the connection to %s is over: %s", c->addr, why);
	client_set_closed(c);
	return -1;
}

static long bare_read(struct client *c, void *p, size_t n)
{
	ssize_t got = recv(c->fd, p, n, 0);

	if (got > 0)
		return got;
	if (got < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	return bare_failed(c, got ? strerror(errno) : "the broker closed it");
}

static long bare_write(struct client *c, const void *p, size_t n)
{
	ssize_t put = send(c->fd, p, n, MSG_NOSIGNAL);

	if (put >= 0)
		return put;
	c->blocked = errno == EAGAIN;
	if (c->blocked || errno == EINTR)
		return 0;
	c->more = true;
	return 0;
}

long transport_read(struct client *c, void *p, size_t n)
{
	return c->local ? bare_read(c, p, n) : tls_read(c, p, n);
}

long transport_write(struct client *c, const void *p, size_t n)
{
	return c->local ? bare_write(c, p, n) : tls_write(c, p, n);
}
