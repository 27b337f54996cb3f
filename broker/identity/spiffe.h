/* Is this a SPIFFE id, and whose? Strict parsing (SPIFFE-ID §2, X.509-SVID §2). */
#ifndef BATON_IDENTITY_SPIFFE_H
#define BATON_IDENTITY_SPIFFE_H

#include "base/slice.h"

#define SPIFFE_ID_MAX 2048

struct spiffe_id {
	struct slice trust_domain; /* both point into the text parsed */
	struct slice path;         /* with its leading "/"; "" when there is none (then it names no workload) */
};

/* NULL when fine, else static text: what is wrong. Refuses other schemes, upper case in the host, port, userinfo, query, fragment, "%",
 * "." and ".." segments, "//", a trailing "/", more than 2048 bytes, and an id without a path. */
const char *spiffe_parse(struct slice text, struct spiffe_id *out);

#endif
