/* Which tenants are there, and how much may each use up? Those that an agent, an issuer or a route names, and those that are kept, with the limits that they
 * were given: made ready to be asked at each submit. Immutable. What waits is counted in tenants.h. */
#ifndef BATON_RPC_TENANCY_H
#define BATON_RPC_TENANCY_H

#include "base/table.h"
#include "baton/v1/admin.pb-c.h"
#include "identity/issuer.h"
#include "registry/registry.h"
#include "registry/resources.h"
#include "store/store.h"

#define TENANT_PREFIX "tenant/"
#define TENANTS_KEPT_MAX 4096                      /* each change of what nodes share reads all */
#define TENANT_WAITING_MAX 1000000000u             /* as limits.waiting_per_tenant */
#define TENANT_BYTES_MAX (UINT64_C(1) << 40)       /* as limits.waiting_bytes_per_tenant */
#define TENANT_AGENTS_MAX STORE_RESOURCES_MAX      /* as limits.agents_per_tenant */

#define TENANCY_SPARE 4096 /* of the store's names: revocations alone may take these, so that nobody fills it against those who contain him */

struct tenancy_entry {
	char name[64];
	uint64_t max_waiting, max_bytes, max_agents; /* its own limits; 0 = it has none */
	bool unread;                      /* what is kept of it does not read: it may have had limits */
	uint32_t agents;                  /* that are active */
	UT_hash_handle hh;
};

struct tenancy;
/* NULL: memory is out. */
struct tenancy *tenancy_new(const struct registry *r, const struct issuers *i, const struct resources *s);
void tenancy_free(struct tenancy *t);
size_t tenancy_count(const struct tenancy *t);
/* In no order. */
const struct tenancy_entry *tenancy_at(const struct tenancy *t, size_t i);
/* NULL: there is none. */
const struct tenancy_entry *tenancy_find(const struct tenancy *t, const char *name);
/* How many have agents. */
size_t tenancy_peopled(const struct tenancy *t);

/* What is wrong with it as it is kept, with `field`; NULL = nothing. */
const char *tenancy_wrong(const Baton__V1__Tenant *m, const char **field);

/* How much of a tenant may be, and who says so. */
enum limit_source { LIMIT_NONE, LIMIT_CONFIGURED, LIMIT_OWN };
struct tenancy_limit {
	uint64_t max;                     /* 0 = no cap */
	enum limit_source source;
};
struct tenancy_limits {
	struct tenancy_limit waiting, bytes;
	bool unknown;                     /* it may have had a cap, and now has none: nothing more may wait */
};
/* Its own limits (e NULL: it is not known) before those that are configured, where 0 = none. Who cannot read the former goes by the latter, which must cap. */
struct tenancy_limits tenancy_judge(const struct tenancy_entry *e, uint64_t waiting, uint64_t bytes);
/* How many agents it may have: the same. */
struct tenancy_limit tenancy_agents(const struct tenancy_entry *e, uint64_t configured);
/* Is there room in the store, which has `taken` names, for so many new ones that are no revocations? */
bool tenancy_names_fit(size_t taken, size_t anew);

#endif
