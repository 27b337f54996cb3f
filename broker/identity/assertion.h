/* What does Baton vouch for to the receiver of a delivery? A short-lived JWT, signed by Baton's assertion key for that receiver's certificate
 * alone, bound to the delivery. It is never accepted as an access token (RFC 8725 §3.11: typ "baton-delivery+jwt"). */
#ifndef BATON_IDENTITY_ASSERTION_H
#define BATON_IDENTITY_ASSERTION_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/problem.h"
#include "base/slice.h"

struct assertion_key; /* thread-safe */

/* PEM private key (P-256 → ES256, Ed25519 → EdDSA), 0600 or refused. */
struct assertion_key *assertion_key_load(const char *path, struct problem *why);
/* Makes a P-256 key file when it does not exist. */
int assertion_key_create(const char *path, struct problem *why);
void assertion_key_free(struct assertion_key *k);
/* The public half as a JWKS, for receivers. */
int assertion_key_jwks(const struct assertion_key *k, struct buf *out);

#define ASSERTION_LIFE_MS (5 * 60 * 1000) /* at most */
#define ASSERTION_TOKEN_MAX 45056         /* bytes of one that is signed */

struct assertion {
	const char *issuer;          /* this broker: "baton:<node>" or as configured */
	const char *audience;        /* the receiver's SPIFFE id */
	const char *receiver_x5t;    /* cnf.x5t#S256 */
	const char *tenant, *route, *tool, *destination;
	const char *side_effect;     /* text */
	const char *handoff_id;
	uint64_t fence;
	uint32_t attempt;
	uint8_t payload_sha256[32];
	const char *subject, *subject_issuer; /* the principal */
	const char *sender_spiffe_id;         /* act.sub */
	const char *scope;           /* RFC 8693 §4.2: a space between two; "" = none */
	const char *trace_id;
	int64_t now_ms, expires_at_ms;
	const char *jti;
};

/* The compact JWS, in the arena; NULL when memory is out or signing failed. */
const char *assertion_sign(struct assertion_key *k, const struct assertion *a, struct arena *arena);

/* What a presented assertion says: a child's submit may show the one of its parent's delivery instead of a token. */
struct assertion_claims {
	const char *issuer, *tenant, *route, *subject, *handoff_id, *jti; /* in the arena */
	uint64_t fence;
	uint32_t attempt;
	int64_t expires_at_ms;
};

/* NULL when this key signed it, it has not expired, and it was made for this receiver and this certificate; else static text, with *expired
 * saying whether time is what was wrong. That the delivery it names is held now is for the caller to check. */
const char *assertion_verify(const struct assertion_key *k, struct slice token, const char *audience, const char *receiver_x5t, int64_t now_ms,
			     struct arena *arena, struct assertion_claims *out, bool *expired);

#endif
