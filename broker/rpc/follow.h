/* Who wants to hear what becomes of a handoff? Watchers on this worker, and how they hear of changes made by other workers. Private to
 * rpc/. */
#ifndef BATON_RPC_FOLLOW_H
#define BATON_RPC_FOLLOW_H

#include "base/table.h"
#include "rpc/op.h"

/* ---- watch.c ---- */
/* Begins to send events after `cursor` on this call (Watch, Run); ends it after the terminal one. */
void watch_begin(struct rpc_call *rc, const char *tenant, const char *queue, const struct handoff_id *id, uint64_t cursor);
void watch_end(struct rpc_call *rc);
/* May the agent still call or serve the route of what it watches? */
bool watch_visible(const struct watch *w, const struct agent *a);
void watch_writable(struct rpc_call *rc);
void watches_poll(struct rpc_worker *w);
/* This worker's watchers of the handoff look again. */
void watch_changed(struct rpc_worker *w, const struct handoff_id *id);

/* ---- change.c ---- */
/* A handoff's record changed by this worker: watchers on every worker of this process hear of it, and holders on the others. */
void change_publish(struct rpc_worker *w, const struct handoff_id *id);
/* A stream of this worker resumed this lease at that time: whoever held it in this process lets go. */
void change_taken(struct rpc_worker *w, const struct handoff_id *id, uint64_t fence, int64_t at_us);

#endif
