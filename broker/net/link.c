/* How do bytes pass through a socket that does not block, under TLS or bare? See link.h. */
#include "config.h"

#include "net/link.h"

#include <errno.h>
#include <sys/socket.h>

enum tls_step link_read(int fd, struct tls_io *tls, void *p, size_t n, size_t *got)
{
	ssize_t r;

	if (tls)
		return tls_io_read(tls, p, n, got);
	do
		r = recv(fd, p, n, 0);
	while (r < 0 && errno == EINTR);
	*got = r > 0 ? (size_t)r : 0;
	if (r > 0)
		return TLS_DONE;
	if (r == 0)
		return TLS_EOF;
	return errno == EAGAIN || errno == EWOULDBLOCK ? TLS_WANT_READ : TLS_FAILED;
}

enum tls_step link_write(int fd, struct tls_io *tls, const void *p, size_t n, size_t *put)
{
	ssize_t r;

	if (tls)
		return tls_io_write(tls, p, n, put);
	do
		r = send(fd, p, n, MSG_NOSIGNAL);
	while (r < 0 && errno == EINTR);
	*put = r > 0 ? (size_t)r : 0;
	if (r >= 0)
		return TLS_DONE;
	return errno == EAGAIN || errno == EWOULDBLOCK ? TLS_WANT_WRITE : TLS_FAILED;
}

void link_shutdown(int fd, struct tls_io *tls)
{
	if (tls)
		tls_io_shutdown(tls);
	shutdown(fd, SHUT_WR);
}
