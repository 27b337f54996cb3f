/* What does the registry say of an agent? Between the resource that the store keeps and the agent that decisions are made with. */
#ifndef BATON_RPC_REGISTERED_H
#define BATON_RPC_REGISTERED_H

#include "base/arena.h"
#include "base/words.h"
#include "baton/v1/admin.pb-c.h"
#include "identity/peer.h"
#include "registry/registry.h"

#define REGISTERED_PREFIX "agent/"
#define REGISTERED_NAME_MAX (sizeof REGISTERED_PREFIX + 2 * 64)
#define REGISTERED_LABELS_MAX 16

/* "agent/tenant/name". */
struct slice registered_name(const char *tenant, const char *name, char out[REGISTERED_NAME_MAX]);
/* Who has a SPIFFE id: one resource for each, so that two admins cannot give the same one away at once. */
#define REGISTERED_ID_PREFIX "spiffe/"
#define REGISTERED_ID_MAX 80
struct slice registered_id_name(const char *spiffe_id, char out[REGISTERED_ID_MAX]);

/* What is wrong with it, with `field`; NULL = nothing. Routes are not looked for. */
const char *registered_wrong(const Baton__V1__AgentSpec *m, const char **field);
/* *out points into m and the arena. false: memory is out. */
bool registered_agent(struct arena *a, const Baton__V1__AgentSpec *m, struct agent *out);
/* Is the certificate that it comes with one of its own, and as short-lived as it must be? */
struct verdict registered_shows(const struct agent *a, const struct identity_peer *p);
/* Whether it may do anything at this time. */
bool registered_active(const Baton__V1__AgentSpec *m, int64_t now_ms);

#endif
