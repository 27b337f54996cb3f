/* Who looks through the audit of this node? AuditService.Search. Private to rpc/. */
#ifndef BATON_RPC_SEARCH_H
#define BATON_RPC_SEARCH_H

#include "rpc/op.h"

void search_on_message(struct rpc_call *rc, struct op *op);
void search_on_writable(struct rpc_call *rc);
void search_on_gone(struct rpc_call *rc);
/* Each that is under way is judged anew: as if it were asked now. What was judged too long ago is, too. */
void searches_judge(struct rpc_worker *w);
void searches_tick(struct rpc_worker *w, int64_t now_ms);
void searches_drain(struct rpc_worker *w);

#endif
