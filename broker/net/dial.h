/* How is an outgoing connection opened without blocking? A unix socket or a numeric address at once, a name by
 * getaddrinfo on a helper thread; then the addresses one after the other, inside one time-out. Gives a connected
 * descriptor. */
#ifndef BATON_NET_DIAL_H
#define BATON_NET_DIAL_H

#include <stdint.h>

#include "net/loop.h"

struct dial;

struct dial_target {
	const char *unix_path; /* or */
	const char *host;
	int port;
	int64_t timeout_ms;
};

/* The strings are copied. done comes later, once, on the loop; it owns fd (non-blocking, close-on-exec), or fd is -1
 * and why is valid for the call. The dial frees itself after it. NULL when memory is out. */
struct dial *dial_start(struct loop *l, const struct dial_target *t, void (*done)(void *arg, int fd, const char *why),
		void *arg);
void dial_cancel(struct dial *d); /* no done follows */

#endif
