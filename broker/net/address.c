/* How does "127.0.0.1:7443" become a listening socket? See address.h. */
#include "config.h"

#include "net/address.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BACKLOG 1024

/* Cuts text at its last colon. The port, or -1. */
static int split(const char *text, bool brackets, char *host, size_t size)
{
	const char *colon = strrchr(text, ':');
	char *end;
	size_t n;
	long port;

	if (!colon || (brackets && (colon < text + 2 || colon[-1] != ']')))
		return -1;
	n = (size_t)(colon - text) - (brackets ? 2 : 0);
	port = strtol(colon + 1, &end, 10);
	if (n >= size || end == colon + 1 || *end || port < 0 || port > 65535)
		return -1;
	memcpy(host, text + brackets, n);
	host[n] = '\0';
	return (int)port;
}

int address_parse(const char *text, struct sockaddr_storage *sa, socklen_t *n)
{
	struct sockaddr_in *v4 = (struct sockaddr_in *)sa;
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)sa;
	bool brackets = text[0] == '[';
	char host[INET6_ADDRSTRLEN];
	int port = split(text, brackets, host, sizeof host);

	if (port < 0)
		return -1;
	memset(sa, 0, sizeof *sa);
	if (!brackets && inet_pton(AF_INET, host, &v4->sin_addr) == 1) {
		v4->sin_family = AF_INET;
		v4->sin_port = htons((uint16_t)port);
		*n = sizeof *v4;
		return 0;
	}
	if (!brackets || inet_pton(AF_INET6, host, &v6->sin6_addr) != 1)
		return -1;
	v6->sin6_family = AF_INET6;
	v6->sin6_port = htons((uint16_t)port);
	*n = sizeof *v6;
	return 0;
}

int address_port(const struct sockaddr *sa)
{
	if (sa->sa_family == AF_INET)
		return ntohs(((const struct sockaddr_in *)sa)->sin_port);
	return ntohs(((const struct sockaddr_in6 *)sa)->sin6_port);
}

void address_format(const struct sockaddr *sa, char out[ADDRESS_TEXT_BYTES])
{
	char ip[INET6_ADDRSTRLEN] = "?";
	const struct in6_addr *v6 = &((const struct sockaddr_in6 *)sa)->sin6_addr;
	bool bare = true;

	if (sa->sa_family == AF_INET) {
		inet_ntop(AF_INET, &((const struct sockaddr_in *)sa)->sin_addr, ip, sizeof ip);
	} else if (IN6_IS_ADDR_V4MAPPED(v6)) {
		inet_ntop(AF_INET, v6->s6_addr + 12, ip, sizeof ip);
	} else {
		inet_ntop(AF_INET6, v6, ip, sizeof ip);
		bare = false;
	}
	snprintf(out, ADDRESS_TEXT_BYTES, bare ? "%s:%d" : "[%s]:%d", ip, address_port(sa));
}

static void close_quietly(int fd)
{
	int e = errno;

	close(fd);
	errno = e;
}

static int bound(const struct sockaddr_storage *sa, socklen_t n, bool shared)
{
	int one = 1, fd = socket(sa->ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -1;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
	if (shared)
		setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof one);
	if (bind(fd, (const struct sockaddr *)sa, n) == 0)
		return fd;
	close_quietly(fd);
	return -1;
}

int address_listen(const struct sockaddr_storage *sa, socklen_t n, bool shared)
{
	int fd = bound(sa, n, shared);

	if (fd < 0 || listen(fd, BACKLOG) == 0)
		return fd;
	close_quietly(fd);
	return -1;
}

bool address_free(const struct sockaddr_storage *sa, socklen_t n)
{
	int fd = bound(sa, n, false);

	if (fd < 0)
		return false;
	close(fd);
	return true;
}
