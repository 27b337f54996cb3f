/* How does an agent ask for its own certificate, and is what comes back one? A request that names nobody, for whoever issues knows who asks; and the
 * rules that a broker judges peers by (peer.h), turned on the answer before it is kept. */
#ifndef BATON_IDENTITY_ENROLMENT_H
#define BATON_IDENTITY_ENROLMENT_H

#include "identity/ca.h"

/* Appends a PKCS #10 request (RFC 2986) with an empty subject and no attributes, signed with that key. 0, or -1 with why. */
int enrolment_request(const struct ca_key *key, struct buf *out, struct problem *why);

/* Is chain[0], with those above it behind it, a certificate for this key and this id, that the CAs of `bundle` vouch for now? All as DER. 0, or -1
 * with why. */
int enrolment_check(const struct ca_key *key, const char *spiffe_id, const struct slice *chain, size_t n_chain, const struct slice *bundle, size_t n_bundle,
		    int64_t now_ms, struct problem *why);

#endif
