/* Which agents and routes exist? An immutable, refcounted directory made from the configuration; looked up by SPIFFE
 * id and, inside a tenant, by name. Missing, foreign and invisible look the same: NULL. */
#ifndef BATON_REGISTRY_REGISTRY_H
#define BATON_REGISTRY_REGISTRY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/problem.h"
#include "base/slice.h"

#define AGENT_ROUTES_MAX 64

#define AGENT_ID_MAX 2048      /* bytes of a SPIFFE id (SPIFFE-ID, 2.3) */
#define AGENT_CLIENT_MAX 255
#define AGENT_SCOPES_MAX 64
#define AGENT_SCOPE_MAX 64     /* characters (RFC 6749, 3.3) */

/* Of its certificates; 0: nothing is said. */
struct agent_certificates {
	int64_t max_ttl_ms;            /* of those that the broker issues */
	int64_t max_accepted_ms;       /* of any that it comes with */
	bool no_enrolment, no_renewal; /* the broker issues it no first one, no next one */
};

struct agent {
	char tenant[64], name[64];
	const char *spiffe_id;
	const char *client;            /* what an access token's client must be; default: the name */
	const char (*call)[64];
	size_t n_call;
	const char (*serve)[64];
	size_t n_serve;
	const char (*ceiling)[AGENT_SCOPE_MAX + 1]; /* what it may use of the scopes that tokens carry; n 0: all of them */
	size_t n_ceiling;
	uint32_t max_in_flight;        /* over all its subscriptions on this node; default 1000 */
	uint32_t rate_per_s;           /* submits on this node; 0 = the node's default */
	bool may_originate;            /* may start a tree of handoffs; in the file: true if it has a `call` list */
	int64_t certificates_from_ms;  /* those of before are not its own; 0 = none was another's */
	struct agent_certificates certificates;
	bool registered;               /* while the node runs: not of the configuration */
	uint64_t key;                  /* by registry_add_agent's caller: store_agent_key(); 0 is allowed in tests */
};

struct profile; /* policy/profile.h */

struct registry;
/* A registry is built, then sealed by the first ref'd hand-over. Errors: a name or SPIFFE id twice, a bad name, a
 * route without profile. -2: memory is out. */
struct registry *registry_new(void);
int registry_add_agent(struct registry *r, const struct agent *a, struct problem *why); /* copied, with what it points to */
/* Takes a ref of the profile. tenants come from the profile; one without a list exists in every tenant that an agent
 * has. */
int registry_add_profile(struct registry *r, struct profile *p, struct problem *why);
/* A card of one of a tenant's agents, active or not, is in memory. -2: memory is out. */
int registry_add_card(struct registry *r, const char *tenant, size_t bytes);
/* Adds the agents and the routes of another one. */
int registry_add_all(struct registry *r, const struct registry *of, struct problem *why);
/* After the last add: every route that an agent names must exist in its tenant. */
int registry_check(const struct registry *r, struct problem *why);
struct registry *registry_ref(struct registry *r);
void registry_unref(struct registry *r);

const struct agent *registry_by_spiffe(const struct registry *r, const char *spiffe_id);
const struct agent *registry_by_name(const struct registry *r, const char *tenant, struct slice name);
const struct agent *registry_by_key(const struct registry *r, const char *tenant, uint64_t key);
/* The route's profile when the route exists in this tenant. */
const struct profile *registry_route(const struct registry *r, const char *tenant, struct slice route);
/* The same, though the tenant has no agent yet. */
const struct profile *registry_route_of_any(const struct registry *r, const char *tenant, struct slice route);
/* Can a certificate that begins then be its own, and not that of who had the SPIFFE id before? */
bool agent_may_show(const struct agent *a, int64_t not_before_ms);
/* Is one taken of it that lives so long, from its first moment to its last? */
bool agent_may_show_for(const struct agent *a, int64_t life_ms);
/* How long may one live that the broker issues to it, where those of others live ttl_ms? */
int64_t agent_ttl_ms(const struct agent *a, int64_t ttl_ms);
bool agent_may_call(const struct agent *a, struct slice route);
bool agent_may_serve(const struct agent *a, struct slice route);
/* May it use a scope that its token carries? */
bool agent_may_use(const struct agent *a, struct slice scope);
/* Every (tenant, route) that exists, for housekeeping. */
void registry_each_route(const struct registry *r, void (*fn)(void *arg, const char *tenant, const struct profile *p),
	void *arg);
/* Of all cards of a tenant's agents. */
uint64_t registry_card_bytes(const struct registry *r, const char *tenant);
size_t registry_agents(const struct registry *r);
void registry_each_agent(const struct registry *r, void (*fn)(void *arg, const struct agent *a), void *arg);

#endif
