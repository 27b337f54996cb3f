/* Where do the tokens of a provider say who asks and what he may? RFC 9068 has names for it; providers that are older than it have their
 * own. A dialect is what one of them emits as it comes; each claim of it can be named otherwise. */
#ifndef BATON_IDENTITY_DIALECT_H
#define BATON_IDENTITY_DIALECT_H

#include <stdbool.h>
#include <stddef.h>

#include "base/slice.h"

enum dialect { DIALECT_STANDARD, DIALECT_ENTRA, DIALECT_OKTA, DIALECT_KEYCLOAK, DIALECT_AUTH0, DIALECTS };

/* What the header's typ must be. */
enum token_typ {
	TYP_AT_JWT, /* at+jwt: RFC 9068, 2.1 */
	TYP_JWT,    /* or JWT, or nothing; such a token is then looked at for signs of an ID token: token_kind.h */
	TOKEN_TYPS
};

/* What its tokens are. */
enum issuer_kind {
	ISSUER_OIDC,     /* access tokens */
	ISSUER_JWT_SVID, /* SPIFFE's JWT-SVIDs: who a workload is, and that it may come to an audience */
	ISSUER_KINDS
};

#define TRUST_DOMAIN_MAX 255 /* bytes */
#define CLAIM_NAME_MAX 127 /* bytes */
#define CLAIM_NAMES_MAX 4

/* Each is the name of a claim, or where to find one: claim.h. */
struct claim_names {
	char name[CLAIM_NAMES_MAX][CLAIM_NAME_MAX + 1]; /* the first that is there counts */
	size_t n;
};

/* All that decides what facts a payload is read to, and nothing else: facts read by another map are never used again. Made whole of zeroes
 * it is the standard's, but without a tenant. */
struct claim_map {
	enum issuer_kind kind;
	char trust_domain[TRUST_DOMAIN_MAX + 1]; /* of JWT-SVIDs: sub is an id in it; "" for other kinds */
	enum dialect dialect;
	enum token_typ typ;
	struct claim_names client;  /* none = client_id */
	struct claim_names scope;   /* none = scope. A string of scopes with spaces between, or an array of them */
	struct claim_names jti;     /* none = jti */
	bool jti_optional;          /* a token need not have one: then it is revoked by its digest or its key */
	char tenant[CLAIM_NAME_MAX + 1];  /* "" = its tokens name no tenant */
	char user[CLAIM_NAME_MAX + 1];    /* a token with this claim speaks for a user; "" = when sub differs from the client */
	char service[CLAIM_NAME_MAX + 1]; /* a token with this one speaks for its client alone. Where both are named it has exactly one of them */
};

/* DIALECTS, TOKEN_TYPS: there is none of this name; case-sensitive. */
enum dialect dialect_from_text(struct slice text);
enum token_typ token_typ_from_text(struct slice text);
const char *dialect_text(enum dialect d);
/* All that this dialect sets. */
void dialect_preset(enum dialect d, struct claim_map *out);
/* What of a dialect nobody can change. */
const char *dialect_self_suffix(enum dialect d); /* a client that speaks for itself has this after its id in sub; "" = nothing */
bool dialect_says_bearer(enum dialect d); /* an access token's payload has typ Bearer, other tokens' another */

#endif
