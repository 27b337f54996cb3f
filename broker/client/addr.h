/* What is the host and what the port of "host:port"? Names are not resolved here. */
#ifndef BATON_CLIENT_ADDR_H
#define BATON_CLIENT_ADDR_H

#include <stdbool.h>
#include <stddef.h>

#include "base/problem.h"

#define ADDR_MAX 280
#define ADDR_LOCAL "unix:" /* before the path of a socket */
#define ADDR_ADVICE "Write host:port, e.g. broker.acme.example:7443 or [::1]:7443."

struct addr {
	char host[256]; /* without brackets */
	char port[8];   /* "1" to "65535" */
};

/* "host:port", "v4:port", "[v6]:port". 0, or -1 with why. */
int addr_split(const char *text, struct addr *out, struct problem *why);

#endif
