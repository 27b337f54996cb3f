/* What does a worker believe at this moment? One immutable snapshot of registry, issuers and limits; a reload or a key rotation swaps
 * it whole. */
#ifndef BATON_RPC_WORLD_H
#define BATON_RPC_WORLD_H

#include <stdbool.h>
#include <stdatomic.h>
#include <stdint.h>

#include "base/table.h"
#include "identity/issuer.h"
#include "identity/peer.h"
#include "messaging/envelope.h"
#include "registry/registry.h"
#include "registry/resources.h"
#include "registry/revocations.h"
#include "rpc/grants.h"
#include "rpc/issuing.h"
#include "rpc/tenancy.h"
#include "store/store.h"

#define ADMIN_AUDIENCE_MAX 255

/* What agents and tenants may use up; 0 = no cap. */
struct world_quotas {
	uint32_t rate_per_agent;   /* submits a second of an agent that has no rate of its own */
	uint64_t waiting_per_tenant, waiting_bytes_per_tenant;
	uint64_t card_bytes_per_tenant; /* of its agents' cards, which every node has in memory */
	uint64_t revocations_per_tenant; /* that those make who have their role for it alone */
	uint64_t agents_per_tenant; /* names of registered ones, and SPIFFE ids, that are kept for good */
};

struct world {
	atomic_int refs;
	struct registry *registry; /* one ref each of these three */
	struct issuers *issuers;
	struct resources *resources; /* what all nodes share; those agents of it that are active stand in the registry too */
	struct revocations *revocations; /* of them, those in force at */
	int64_t made_unix_ms;
	uint64_t generation;       /* of the latest change to what all nodes share that is in here */
	struct grants *grants;     /* of the resources: who has which roles */
	struct tenancy *tenancy;   /* which tenants there are, and their limits */
	struct trust *trust;       /* whose signatures count; NULL: not said */
	struct issuing *issuing;   /* certificates; NULL: none are issued */
	char admin_audience[ADMIN_AUDIENCE_MAX + 1]; /* of operators' tokens; "" = none is taken */
	bool allow_private_fetches; /* registry.allow_private_fetches */
	bool has_secrets;          /* registry.secrets names a folder */
	struct envelope_limits envelope;
	struct world_quotas quotas;
	bool audit_payload_hash;   /* audit.payloads: hash */
	struct world_route *routes; /* by tag */
};

/* A queue that exists in a tenant, as a handoff id's tag names it: a route, or, of a broadcast route, the inbox of an agent that may serve it. */
struct world_route {
	uint8_t key[4 + 64];       /* tag, tenant (NUL-padded) */
	char tenant[64], route[64], queue[QUEUE_MAX_BYTES + 1]; /* queue: the route itself, or "route/agent" */
	const struct profile *profile; /* the registry's */
	char *inboxes;             /* of a broadcast route itself: whose inboxes there are, names with spaces between; else NULL. Owned */
	size_t n_inboxes;
	UT_hash_handle hh;
};

/* Takes over the caller's refs of the three; resources NULL: none. generation: theirs. NULL, and the refs dropped, when memory is out or two routes of a tenant share a tag (one chance
 * in four thousand million a pair: rename one). */
struct world *world_new(struct registry *r, struct issuers *i, struct resources *s, uint64_t generation, const struct envelope_limits *limits,
			const struct world_quotas *quotas, bool audit_payload_hash);
/* admin.audience, which worlds that are made of this one have too. Before it is shared. */
void world_set_audience(struct world *w, const char *audience);
void world_set_private_fetches(struct world *w, bool allowed); /* the same */
void world_set_secrets(struct world *w, bool there);           /* the same */
/* The same world with other issuers or keys; takes over the issuers' ref. NULL as above. */
struct world *world_with_issuers(const struct world *w, struct issuers *i);
/* The same world with other agents and revocations, as of this generation; takes over both refs. */
struct world *world_with_agents(const struct world *w, struct registry *r, struct resources *s, uint64_t generation);
/* Takes a ref, in the place of what it has. Before it is shared. */
void world_set_trust(struct world *w, struct trust *t);
void world_set_issuing(struct world *w, struct issuing *i);
struct world *world_ref(struct world *w);
void world_unref(struct world *w);
/* The queue from which this agent is served what is sent to the route. */
void world_queue(const struct profile *p, const char *agent, char out[QUEUE_MAX_BYTES + 1]);
/* The route itself, not an inbox; NULL: there is none of that name. */
const struct world_route *world_route(const struct world *w, const char *tenant, const char *route);
/* The route that an id's tag names in any tenant, or in this one when tenant is not ""; NULL: none, or more than one. */
const struct world_route *world_route_by_tag(const struct world *w, const char *tenant, const struct handoff_id *id);
/* The route that an id's tag names inside the tenant, or NULL. */
const struct world_route *world_route_of(const struct world *w, const char *tenant, const struct handoff_id *id);

#endif
