/* Who does the broker think the caller is, and is the node serving? WhoAmI and grpc.health.v1. Private to rpc/. */
#ifndef BATON_RPC_WHOAMI_H
#define BATON_RPC_WHOAMI_H

#include "rpc/op.h"

void whoami_on_message(struct rpc_call *rc, struct op *op);
void health_check_on_message(struct rpc_call *rc, struct op *op);
void health_watch_on_message(struct rpc_call *rc, struct op *op);
/* Tells the watches of a change. */
void health_poll(struct rpc_worker *w);

#endif
