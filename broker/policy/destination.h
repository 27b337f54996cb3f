/* Where would data leave to? A host, host:port or URL, read strictly into a host that can be compared. */
#ifndef BATON_POLICY_DESTINATION_H
#define BATON_POLICY_DESTINATION_H

#include <stdbool.h>
#include <stdint.h>

#include "base/slice.h"

#define HOST_MAX 253

struct destination {
	char host[HOST_MAX + 1]; /* lower case, no trailing dot; an IPv6 address in [ ] */
	uint16_t port;           /* 0 = none was named */
	bool plain_http;         /* an http:// URL */
	bool private_network;    /* of this machine, a private network or a metadata service */
};

/* NULL when fine, else static text: what is wrong. IDNs come as punycode; user info, white space, "\" and "%" in the
 * host are refused. */
const char *destination_parse(struct slice text, struct destination *out);

/* Is this a pattern that a profile may list: a host as destination_parse() writes it, or "*." and a suffix of two
 * labels or more? NULL when fine, else static text. */
const char *host_pattern_check(struct slice pattern);
/* "*.example.com" stands for every name below example.com, however deep, and not for example.com; anything else for
 * itself alone. */
bool host_pattern_matches(const char *pattern, const char *host);
/* Every host that `inner` stands for is one that `outer` stands for. */
bool host_pattern_covers(const char *outer, const char *inner);

#endif
