/* Is a batond ready? Its metrics port says so: GET /readyz over plain HTTP/1.0. */
#ifndef BATON_CLI_READYZ_H
#define BATON_CLI_READYZ_H

#include "base/problem.h"

#define READYZ_BODY_MAX (32 * 1024)

/* addr: "127.0.0.1:9464", an IPv4 or [IPv6] address. The HTTP status, or -1 with why. *body (may be NULL): the
 * answer's body as it came, cut to size. */
int readyz_get(const char *addr, int timeout_ms, char *body, unsigned long size, struct problem *why);

#endif
