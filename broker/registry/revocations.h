/* What is revoked? An immutable, refcounted index of revocations, asked about whoever asks for something, or once asked for what is stored. The moment
 * that a credential was issued decides where a revocation says so: what was issued later is good again. */
#ifndef BATON_REGISTRY_REVOCATIONS_H
#define BATON_REGISTRY_REVOCATIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/secret.h"

enum revoked_kind {
	REVOKED_AGENT,       /* within its tenant */
	REVOKED_CERTIFICATE, /* x5t#S256: base64url of the SHA-256 of its DER */
	REVOKED_KEY,         /* kid of an issuer's key; within an issuer, or of any */
	REVOKED_ISSUER,      /* its URL */
	REVOKED_SUBJECT,     /* within an issuer, or of any */
	REVOKED_JTI,         /* within an issuer, or of any */
	REVOKED_TOKEN,       /* base64url of the SHA-256 of what is signed of it: its signature may be written in other ways */
	REVOKED_TENANT,
	REVOKED_ROUTE,       /* within its tenant */
	REVOKED_TOOL,        /* within a tenant, or of any */
	REVOKED_KINDS,
};
const char *revoked_kind_text(enum revoked_kind k); /* "agent", "certificate", ... */

struct revocation {
	const char *id;
	enum revoked_kind kind;
	const char *within, *what;  /* within "": anywhere */
	int64_t issued_before_ms;   /* credentials issued then or before; INT64_MAX: whenever */
	int64_t until_ms;           /* from then on it says nothing more; INT64_MAX: for good */
};

/* Who asks, on whose authority, for what. NULL: there is none, or it is not known. */
struct revocable {
	const char *tenant, *agent, *certificate, *certificate_twin; /* the same certificate, written in another way */
	int64_t certificate_issued_at_ms;
	const char *issuer, *subject, *jti, *key_id;
	const uint8_t *token_sha256;
	int64_t token_issued_at_ms;
	const char *route, *tool;
};

/* Whose it is, borrowed from v; "": no tenant's, or all tenants'. */
const char *revocation_tenant(const struct revocation *v);

struct revocations;
struct revocations *revocations_new(void);
/* Copied. false: out of memory. Before the index is shared. */
bool revocations_add(struct revocations *r, const struct revocation *v);
/* There is one more of this tenant, in force or not, that is kept. false: out of memory. Before the index is shared. */
bool revocations_keep(struct revocations *r, const char *tenant);
size_t revocations_kept(const struct revocations *r, const char *tenant); /* r may be NULL */
struct revocations *revocations_ref(struct revocations *r);
void revocations_unref(struct revocations *r); /* NULL is fine */
size_t revocations_count(const struct revocations *r);
size_t revocations_of_kind(const struct revocations *r, enum revoked_kind k);
/* One that is about any of this, at this time; NULL: none is. Borrowed from r, which may be NULL. */
const struct revocation *revocations_find(const struct revocations *r, const struct revocable *of, int64_t now_ms);
/* Is any about a peer: an agent, a certificate, a tenant? */
bool revocations_of_peers(const struct revocations *r);

/* A copy in one piece of memory (free()); NULL: out of memory. */
struct revocable *revocable_copy(const struct revocable *of);

#endif
