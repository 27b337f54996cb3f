/* What does a revocation say? Between the request that makes one, the resource that the store keeps, and the index that decisions are made with. */
#ifndef BATON_RPC_REVOKED_H
#define BATON_RPC_REVOKED_H

#include "base/arena.h"
#include "baton/v1/admin.pb-c.h"
#include "registry/resources.h"
#include "registry/revocations.h"
#include "rpc/task.h"
#include "rpc/world.h"

#define REVOKED_PREFIX "revocation/"
#define REVOKED_ID_TEXT 16 /* hex digits */
#define REVOKED_NAME_MAX (sizeof REVOKED_PREFIX + REVOKED_ID_TEXT)

typedef Baton__V1__RevokeRequest pb_revocation;

struct slice revoked_name(const char *id, char out[REVOKED_NAME_MAX]);
/* What is wrong with a request, with `field`; NULL = nothing. Whether what it names exists is not looked for. */
const char *revoked_wrong(const pb_revocation *m, const char **field);
/* The form that is kept: digests as base64url, an issuer by its URL, from when on credentials are good again. NULL, or what is wrong. */
const char *revoked_settle(struct arena *a, pb_revocation *m, const struct issuers *issuers, int64_t now_ms, int64_t skew_ms, const char **field);
/* As the index has it; *out points into m. */
void revoked_entry(const pb_revocation *m, struct revocation *out);
/* An index with this one alone, as if it were in force for good. NULL: out of memory. */
struct revocations *revoked_alone(const pb_revocation *m);
/* "agent acme/planner", for people. In the arena; NULL: out of memory. */
const char *revoked_text(struct arena *a, const pb_revocation *m);
/* In the arena. NULL: it is no revocation, or memory is out (then arena_failed()). */
pb_revocation *revoked_unpack(struct arena *a, const struct resource *r);
/* When it may be forgotten, everywhere: REVOKED_SHOWN_MS after it has ended by itself, so that whoever brings it back brings back nothing. INT64_MAX: never, for
 * it is for good, or its lifting let go of what was put aside, which holds for what another one still holds back; or it cannot be read. The arena is used on the way. */
#define REVOKED_SHOWN_MS (7 * INT64_C(86400000))
int64_t revoked_forget_after_ms(struct arena *a, const struct resource *r);
/* Those in force. NULL: out of memory, or one cannot be read. */
struct revocations *revoked_read(const struct resources *s);

/* ---- who and what is judged ---- */

struct revocable revoked_peer(const struct world *w, const struct identity_peer *p); /* points into both */
struct revocable revoked_claims(const char *tenant, const struct claims *c);
struct revocable revoked_task(const pb_task *t, const char *tool);
/* Allowed, or denied as revoked. */
struct verdict revoked_judge(const struct world *w, const struct revocable *of);

#endif
