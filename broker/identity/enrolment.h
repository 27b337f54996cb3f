/* How does an agent ask for its own certificate, and is what comes back one? With a token, the first time; a request that names nobody, for whoever
 * issues knows who asks; and the rules that a broker judges peers by (peer.h), turned on the answer before it is kept. */
#ifndef BATON_IDENTITY_ENROLMENT_H
#define BATON_IDENTITY_ENROLMENT_H

#include "base/secret.h"
#include "identity/ca.h"

/* ---- the token ---- */

#define ENROLMENT_TOKEN_TEXT 99 /* characters */

/* "baton-enrol.SECRET.PIN" (EnrolToken of admin.proto): SECRET is the agent's number (8 bytes), by which the broker finds what it kept of the token, and
 * 24 random bytes; PIN is what the CA bundle is known by. */
void enrolment_token(uint64_t agent_key, const uint8_t pin[SHA256_BYTES], char out[ENROLMENT_TOKEN_TEXT + 1]);
/* NULL: it has the form of one; *agent_key is whose it says it is. Else static text: what is wrong, with nothing of the token in it; *agent_key is 0. */
const char *enrolment_token_read(struct slice text, uint64_t *agent_key, uint8_t pin[SHA256_BYTES]);
/* What a bundle is known by: the SHA-256 of its certificates (DER), one after the other. false: there are none, or more than 4 MiB, or no memory. */
bool enrolment_pin(const struct slice *der, size_t n, uint8_t out[SHA256_BYTES]);

/* ---- the request, and the answer ---- */

/* Appends a PKCS #10 request (RFC 2986) with an empty subject and no attributes, signed with that key. 0, or -1 with why. */
int enrolment_request(const struct ca_key *key, struct buf *out, struct problem *why);

/* Is chain[0], with those above it behind it, a certificate for this key and this id, that the CAs of `bundle` vouch for now? All as DER. 0, or -1
 * with why. */
int enrolment_check(const struct ca_key *key, const char *spiffe_id, const struct slice *chain, size_t n_chain, const struct slice *bundle, size_t n_bundle,
		    int64_t now_ms, struct problem *why);

#endif
