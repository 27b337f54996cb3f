/* How is /readyz asked by hand? One request on one socket with time-outs; the status line and the body are
 * read. */
#include "config.h"

#include "cli/readyz.h"

#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "client/addr.h"

#define ANSWER_MAX READYZ_BODY_MAX

static int dial(const char *addr, int timeout_ms, struct problem *why)
{
	struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM}, *found = NULL;
	struct timeval tv = {.tv_sec = timeout_ms / 1000, .tv_usec = timeout_ms % 1000 * 1000};
	struct addr to;
	int fd = -1;

	if (addr_split(addr, &to, why))
		return -1;
	if (getaddrinfo(to.host, to.port, &hints, &found) != 0)
		return problem_set(why, "cannot connect to %.200s", addr);
	for (struct addrinfo *a = found; a; a = a->ai_next) {
		fd = socket(a->ai_family, a->ai_socktype | SOCK_CLOEXEC, a->ai_protocol);
		if (fd < 0)
			continue;
		setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof tv);
		setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof tv); /* bounds connect too */
		if (connect(fd, a->ai_addr, a->ai_addrlen) == 0)
			break;
		close(fd);
		fd = -1;
	}
	freeaddrinfo(found);
	if (fd < 0)
		problem_set(why, "cannot connect to %.200s", addr);
	return fd;
}

/* answer ends in NUL. */
static void copy_body(const char *answer, char *body, size_t size)
{
	const char *at = strstr(answer, "\r\n\r\n");

	snprintf(body, size, "%s", at ? at + 4 : "");
}

int readyz_get(const char *addr, int timeout_ms, char *body, unsigned long size, struct problem *why)
{
	char request[400], answer[ANSWER_MAX + 1];
	size_t n = 0;
	ssize_t got;
	int fd = dial(addr, timeout_ms, why), status = -1;
	int len = snprintf(request, sizeof request, "GET /readyz HTTP/1.0\r\nHost: %.200s\r\n\r\n", addr);

	if (fd < 0)
		return -1;
	if (send(fd, request, (size_t)len, MSG_NOSIGNAL) != len)
		goto out;
	while (n < ANSWER_MAX && (got = recv(fd, answer + n, ANSWER_MAX - n, 0)) > 0)
		n += (size_t)got;
	answer[n] = '\0';
	if (n >= 12 && memcmp(answer, "HTTP/1.", 7) == 0)
		status = atoi(answer + 9);
	if (body && status > 0)
		copy_body(answer, body, size);
out:
	close(fd);
	return status > 0 ? status : problem_set(why, "%.200s gave no answer", addr);
}
