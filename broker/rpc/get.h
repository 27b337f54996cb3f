/* What became of a handoff? Get, Watch, Cancel, List. Private to rpc/. */
#ifndef BATON_RPC_GET_H
#define BATON_RPC_GET_H

#include "baton/internal/v1/record.pb-c.h"
#include "baton/v1/handoff.pb-c.h"
#include "rpc/op.h"

void get_on_message(struct rpc_call *rc, struct op *op);
void watch_on_message(struct rpc_call *rc, struct op *op);
void cancel_on_message(struct rpc_call *rc, struct op *op);
void list_on_message(struct rpc_call *rc, struct op *op);
void list_all_on_message(struct rpc_call *rc, struct op *op); /* for operators */
/* A Handoff message in the arena; NULL when memory is out. */
Baton__V1__Handoff *get_handoff(struct op *op, const struct store_item *item, const Baton__Internal__V1__Task *t, bool with_envelope);
/* The same without anything that agents said to each other. */
Baton__V1__Handoff *get_handoff_bare(struct op *op, const struct store_item *item, const Baton__Internal__V1__Task *t);

#endif
