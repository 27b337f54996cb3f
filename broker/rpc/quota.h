/* May this agent, and its tenant, have more? What they may is kept count of elsewhere; here it is judged, and said in words that name who is
 * over which limit and what to do. */
#ifndef BATON_RPC_QUOTA_H
#define BATON_RPC_QUOTA_H

#include "rpc/op.h"

/* The rate of submits. Before anything of the message is read, so that what is too much costs little. true: go on if v allows it, else it is
 * denied by v. false: the connection was ended, the message is as if it had not come. */
bool quota_rate(struct op *op, struct rpc_call *rc, struct verdict *v);

/* What the op's tenant has in the store. Allowed: n handoffs of so many bytes in all are counted for it until quota_tenant_leave(). */
struct verdict quota_tenant_enter(const struct op *op, size_t n, size_t bytes);
void quota_tenant_leave(const struct op *op, size_t n, size_t bytes);

/* The denial when the store said that a cap was met. */
struct verdict quota_cap(const struct op *op, const char *route, enum store_cap over, uint32_t retry_after_ms);

#endif
