/* Is this host an IP address, and may data be sent to such an address? Literals only: names are resolved, and judged
 * again, where the socket opens (net/fetch). */
#ifndef BATON_POLICY_ADDRESS_H
#define BATON_POLICY_ADDRESS_H

#include <stdbool.h>

#include "base/slice.h"

enum address_kind {
	ADDRESS_NONE,     /* a name */
	ADDRESS_V4,
	ADDRESS_V6,
	ADDRESS_ODD,      /* not in its usual form, but resolvers may take it: 0x7f.1, 2130706433, 1.2.3.4.5 */
};

/* host: lower case, without brackets and trailing dot; bracketed: it stood in [ ]. Writes the usual form of an
 * address (IPv6 in brackets) to out, and whether it lies outside the public Internet: private, loopback, link-local,
 * metadata, multicast, reserved, translated. */
enum address_kind address_classify(struct slice host, bool bracketed, char out[64], bool *private_network);

/* Names that mean this machine or a cloud's metadata service: localhost, *.localhost, metadata.google.internal, ... */
bool address_name_is_local(struct slice host);

#endif
