/* What becomes of open streams when a new configuration takes rights away? Private to rpc/. */
#ifndef BATON_RPC_REVOKE_H
#define BATON_RPC_REVOKE_H

#include "rpc/op.h"

/* After w->world was replaced. */
void revoke_streams(struct rpc_worker *w);

#endif
