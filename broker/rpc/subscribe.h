/* How does an agent serve routes? The Subscribe stream. Private to rpc/. */
#ifndef BATON_RPC_SUBSCRIBE_H
#define BATON_RPC_SUBSCRIBE_H

#include "rpc/op.h"

struct desk;

void subscribe_on_message(struct rpc_call *rc, struct op *op);
void subscribe_on_half_close(struct rpc_call *rc);
void subscribe_on_writable(struct rpc_call *rc);
void subscribe_on_gone(struct rpc_call *rc);
void report_on_message(struct rpc_call *rc, struct op *op);
/* The stream's agent is gone, or may not go on: it is told so, and ended next by the caller. rc->subscriber is there. */
void subscribe_revoked(struct rpc_call *rc, const char *why);
/* at_ms: when it takes effect. */
void subscribe_notice(struct rpc_call *rc, Baton__V1__NoticeKind kind, const char *message, int64_t at_ms);
/* Tells a stream whether this route of it is paused. */
void subscribe_paused(struct rpc_call *rc, const struct desk *d);
/* Tells every subscriber of the worker that this node goes away. */
void subscribe_drain(struct rpc_worker *w);

#endif
