/* How is a change that no call asked for written down? With the handoff's own trace, sender and tool, read from its task. Private to rpc/. */
#ifndef BATON_RPC_LINES_H
#define BATON_RPC_LINES_H

#include "rpc/op.h"

enum line_kind {
	LINE_NOW,        /* as it happens */
	LINE_LATE,       /* marked as reconciled: the store's answer had not come */
	LINE_RECONCILED, /* marked so, after a crash: reconcile_line() is told what becomes of it */
};

/* What is written down of a record that is as it is. */
const char *line_event(const struct store_record *r);
/* Writes `event` about the record; reads the task first, and leaves its fields out when it cannot be read. false: memory, nothing will be written. */
bool line_write(struct rpc_worker *w, struct store_slot slot, const struct store_record *r, const char *event, enum line_kind kind);
/* As it happens, with a word about it; NULL: none. */
bool line_write_about(struct rpc_worker *w, struct store_slot slot, const struct store_record *r, const char *event, const char *about);

#endif
