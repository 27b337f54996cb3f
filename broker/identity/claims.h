/* What does a verified access token say? These claims, copied out; nothing else of it is kept. */
#ifndef BATON_IDENTITY_CLAIMS_H
#define BATON_IDENTITY_CLAIMS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/secret.h"
#include "base/slice.h"

#define CLAIMS_SCOPES_MAX 128

struct claims {
	const char *issuer;      /* the configured URL, of a JWT-SVID issuer_id(); all strings live in the caller's arena */
	const char *issuer_name; /* the configuration's name for it */
	const char *subject;
	const char *client_id;
	const char *tenant;      /* "" when the token has none */
	const char *jti;
	const char *key_id;      /* kid of the key that signed it; "" when it has none */
	uint8_t token_sha256[SHA256_BYTES]; /* of what is signed of it, header.payload: an ECDSA signature can be written in two ways; of an opaque one, of all of it */
	const char *audience;    /* the one that was demanded and found; "" when none was demanded */
	const char **scopes;
	size_t n_scopes;
	int64_t issued_at_ms, not_before_ms, expires_at_ms;
	bool subject_is_user;    /* by the issuer's rule: false = the client speaks for itself */
	bool bound;              /* it is for this connection alone: cnf.x5t#S256 is its certificate, or a JWT-SVID's sub its SPIFFE id */
};

bool claims_has_scope(const struct claims *c, struct slice scope);

#endif
