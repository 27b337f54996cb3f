/* Who waits until all nodes live by a change? Private to rpc/. */
#ifndef BATON_RPC_AWAIT_H
#define BATON_RPC_AWAIT_H

#include "rpc/op.h"

/* then(op) once no live node lags behind this generation, or `patience_ms` are over. */
void await_nodes(struct op *op, uint64_t generation, int64_t patience_ms, void (*then)(struct op *op));
/* The same, and look(op) at each tick before: true = that is enough. */
void await_nodes_look(struct op *op, uint64_t generation, int64_t patience_ms, bool (*look)(struct op *op), void (*then)(struct op *op));
/* Ten times a second. */
void await_tick(struct rpc_worker *w);

#endif
