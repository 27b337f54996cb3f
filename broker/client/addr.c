/* How is an address taken apart? At its last colon; a host with colons of its own stands in brackets. The port is
 * checked here, because getaddrinfo() takes 70000 for 4464. */
#include "config.h"

#include "client/addr.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/slice.h"

static bool port_ok(const char *port)
{
	size_t n = strspn(port, "0123456789");
	long value = n && n < 8 ? strtol(port, NULL, 10) : 0;

	return !port[n] && value >= 1 && value <= UINT16_MAX;
}

int addr_split(const char *text, struct addr *out, struct problem *why)
{
	const char *colon = strrchr(text, ':');
	const char *from = text, *to = colon;

	if (colon && text[0] == '[' && colon > text && colon[-1] == ']') {
		from = text + 1;
		to = colon - 1;
	} else if (colon && memchr(text, ':', (size_t)(colon - text))) {
		colon = NULL;
	}
	if (!colon || !colon[1] || to <= from || strlen(text) >= ADDR_MAX ||
	    !slice_copy_str(slice_of(from, (size_t)(to - from)), out->host, sizeof out->host))
		return problem_set(why, "`%.200s` is not an address", text);
	if (!port_ok(colon + 1))
		return problem_set(why, "`%.200s` is not an address: the port is 1 to 65535", text);
	return slice_copy_str(slice_str(colon + 1), out->port, sizeof out->port) ? 0 : -1;
}
