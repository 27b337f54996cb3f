/* What becomes of open streams when rights are taken away? Private to rpc/. */
#ifndef BATON_RPC_REVOKE_H
#define BATON_RPC_REVOKE_H

#include "rpc/op.h"

/* After w->world was replaced. */
void revoke_streams(struct rpc_worker *w);
/* Before anything is sent: when this process did not run for some seconds, deliveries that wait for their peers may be what was revoked meanwhile,
 * and others were told that this node has fenced itself. They are forgotten. */
void revoke_after_stall(struct rpc_worker *w);

#endif
