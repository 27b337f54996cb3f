/* Who hears what becomes of resources? Watch of ResourceService, on this worker. Private to rpc/: rpc/operator.h has the call itself. */
#ifndef BATON_RPC_RESWATCH_H
#define BATON_RPC_RESWATCH_H

#include "rpc/op.h"

/* Those that are due are judged again, and told what is new. */
void reswatches_tick(struct rpc_worker *w, int64_t now_ms);
/* They end: the node goes away. */
void reswatches_drain(struct rpc_worker *w);

#endif
