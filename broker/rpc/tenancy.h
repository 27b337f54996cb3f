/* Which tenants are there, and how much of each may wait? Those that an agent, an issuer or a route names, and those that are kept, with the limits that they
 * were given: made ready to be asked at each submit. Immutable. What waits is counted in tenants.h. */
#ifndef BATON_RPC_TENANCY_H
#define BATON_RPC_TENANCY_H

#include "base/table.h"
#include "baton/v1/admin.pb-c.h"
#include "identity/issuer.h"
#include "registry/registry.h"
#include "registry/resources.h"

#define TENANT_PREFIX "tenant/"
#define TENANTS_KEPT_MAX 4096                      /* each change of what nodes share reads all */
#define TENANT_WAITING_MAX 1000000000u             /* as limits.waiting_per_tenant */
#define TENANT_BYTES_MAX (UINT64_C(1) << 40)       /* as limits.waiting_bytes_per_tenant */

struct tenancy_entry {
	char name[64];
	uint64_t max_waiting, max_bytes;  /* its own limits; 0 = it has none */
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

/* How much of a tenant may wait, and who says so. */
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

#endif
