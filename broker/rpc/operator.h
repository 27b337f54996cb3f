/* What may operators ask? The calls of the admin listener: routes.c, letters.c, nodes.c, check.c, kinds.c, keys.c, enlist.c, rollback.c, reswatch.c, contain.c, quarantine.c, roles.c, init.c. Private to rpc/. */
#ifndef BATON_RPC_OPERATOR_H
#define BATON_RPC_OPERATOR_H

#include "baton/v1/admin.pb-c.h"
#include "rpc/op.h"

void routes_on_list(struct rpc_call *rc, struct op *op);
void routes_on_set(struct rpc_call *rc, struct op *op);
void letters_on_list(struct rpc_call *rc, struct op *op);
void letters_on_get(struct rpc_call *rc, struct op *op);
void letters_on_replay(struct rpc_call *rc, struct op *op);
void letters_on_purge(struct rpc_call *rc, struct op *op);
void nodes_on_status(struct rpc_call *rc, struct op *op);
void nodes_on_drain(struct rpc_call *rc, struct op *op);
void check_on_check(struct rpc_call *rc, struct op *op);
void check_on_repair(struct rpc_call *rc, struct op *op);

void kinds_on_get(struct rpc_call *rc, struct op *op);
void kinds_on_list(struct rpc_call *rc, struct op *op);
void kinds_on_history(struct rpc_call *rc, struct op *op);
void contain_on_revoke(struct rpc_call *rc, struct op *op);
void contain_on_lift(struct rpc_call *rc, struct op *op);
void contain_on_list(struct rpc_call *rc, struct op *op);
void quarantine_on_add(struct rpc_call *rc, struct op *op);
void quarantine_on_release(struct rpc_call *rc, struct op *op);
void init_on_message(struct rpc_call *rc, struct op *op);
void keys_on_test(struct rpc_call *rc, struct op *op);
void keys_on_refresh(struct rpc_call *rc, struct op *op);
void enlist_on_apply(struct rpc_call *rc, struct op *op);
void enlist_on_delete(struct rpc_call *rc, struct op *op);
void rollback_on_message(struct rpc_call *rc, struct op *op);
void reswatch_on_message(struct rpc_call *rc, struct op *op);
void reswatch_writable(struct rpc_call *rc);
void reswatch_end(struct rpc_call *rc);

/* ---- what they share: routes.c ---- */
/* The world's queues that the caller may see, by tenant and name, all or one tenant's or one, in the arena; NULL when memory is out. A broadcast route's name stands for
 * its inboxes too. */
const struct world_route **operator_routes(struct op *op, const char *tenant, const char *route, size_t *n);
/* The queue that an id's tag names among them, or among those of a tenant; NULL: none, or more than one. */
const struct world_route *operator_route_by_tag(const struct op *op, const char *tenant, const struct handoff_id *id);
/* Ends the op with a denial; the store's silence carries a time to wait. */
void operator_deny(struct op *op, enum reason r, const char *field, const char *message);
void operator_no_memory(struct op *op);
void operator_no_store(struct op *op);
/* A reason that somebody gives for what he does: there, and at most 512 bytes of one line. */
bool operator_reason(struct op *op, const char *reason);

#endif
