/* May a fetch connect to this address? A pure function of the address and the rules: the door that keeps a URL from
 * reaching what is not meant for the outside (SSRF). */
#ifndef BATON_NET_FETCH_ADDR_H
#define BATON_NET_FETCH_ADDR_H

#include <stdbool.h>
#include <sys/socket.h>

enum address_class {
	ADDRESS_PUBLIC,
	ADDRESS_PRIVATE,   /* private, shared, unique-local or loopback: allowed by the rules */
	ADDRESS_FORBIDDEN, /* link-local, metadata, multicast, unspecified, reserved: never */
};

enum address_class fetch_address_class(const struct sockaddr *sa);
static inline bool fetch_address_allowed(const struct sockaddr *sa, bool allow_private)
{
	enum address_class c = fetch_address_class(sa);

	return c == ADDRESS_PUBLIC || (c == ADDRESS_PRIVATE && allow_private);
}

#endif
