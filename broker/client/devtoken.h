/* Who issues access tokens on a developer's machine? An ES256 key that `baton dev up` makes, with its JWKS for
 * batond's jwks_file. */
#ifndef BATON_CLIENT_DEVTOKEN_H
#define BATON_CLIENT_DEVTOKEN_H

#include <stdint.h>

#include "base/buf.h"
#include "base/problem.h"

#define DEVTOKEN_ISSUER "https://dev.baton.invalid"

/* Makes the key (PEM, 0600) and the JWKS with its public half. 0, or -1 with why. */
int devtoken_make_issuer(const char *key_path, const char *jwks_path, struct problem *why);

struct devtoken {
	const char *issuer;    /* NULL = DEVTOKEN_ISSUER */
	const char *subject, *client_id, *audience;
	const char *tenant;    /* NULL = no such claim */
	const char *scope;     /* separated by spaces; NULL = no such claim */
	const char *x5t_s256;  /* cnf; NULL = not bound */
	int64_t issued_at_ms;
	int64_t lifetime_ms;
};
/* Appends a compact JWS (RFC 9068: typ at+jwt, all required claims, a fresh jti). 0, or -1 with why. */
int devtoken_mint(const char *key_path, const struct devtoken *t, struct buf *out, struct problem *why);

#endif
