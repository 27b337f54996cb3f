/* How is a change that no call asked for written down? With the handoff's own trace, sender and tool, read from its task. Private to rpc/. */
#ifndef BATON_RPC_LINES_H
#define BATON_RPC_LINES_H

#include "rpc/op.h"

/* Writes `event` about the record; reads the task first, and leaves its fields out when it cannot be read. A reconciled one tells
 * reconcile_line() what became of it. false: memory, nothing will be written. */
bool line_write(struct rpc_worker *w, struct store_slot slot, const struct store_record *r, const char *event, bool reconciled);

#endif
