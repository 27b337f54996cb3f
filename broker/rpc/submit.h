/* What happens to a task envelope? Decided, stored, answered: one way for Submit, Run and Pipe. Private to rpc/. */
#ifndef BATON_RPC_SUBMIT_H
#define BATON_RPC_SUBMIT_H

#include "baton/v1/handoff.pb-c.h"
#include "rpc/op.h"

void submit_on_message(struct rpc_call *rc, struct op *op);
void run_on_message(struct rpc_call *rc, struct op *op);
void pipe_on_message(struct rpc_call *rc, struct op *op);
void pipe_on_half_close(struct rpc_call *rc);
void pipe_on_refused(struct rpc_call *rc, struct op *op, const struct verdict *v);
void pipe_notice(struct rpc_call *rc, Baton__V1__NoticeKind kind, const char *message, int64_t at_ms); /* at_ms: when it takes effect */
bool submit_always(const struct op *op);
bool pipe_is_submit(const struct op *op);

#endif
