/* Which operator asks, and what may he see and do? Private to rpc/. Judged anew for each message, by the bindings that this node knows then. */
#ifndef BATON_RPC_CALLER_H
#define BATON_RPC_CALLER_H

#include "rpc/grants.h"
#include "rpc/op.h"
#include "rpc/principal.h"

struct caller {
	bool local;                       /* by the admin socket: he has all roles of operators here, and may not give them away */
	const char *name;                 /* for the history: his token's subject, else his SPIFFE id, else user and process */
	const struct grant **v;           /* the bindings that hold for him */
	size_t n;
	unsigned needs;                   /* the call's: one of these */
};

/* Did the call come by the admin socket? */
bool caller_is_local(const struct rpc_call *rc);
/* Has he a role, or a token that may give him one? Before anything of a message is held. */
bool caller_may_have_roles(const struct rpc_call *rc);
/* Sets op->caller. *v denies: the node is stale, or the token is bad. PRINCIPAL_PARKED: the op waits for keys, return at once. */
enum principal_result caller_identify(struct rpc_call *rc, struct op *op, struct verdict *v);
/* Has he one of these roles, for some tenant? From here on they are what the call needs. named: which of them a denial speaks of. */
struct verdict caller_judge(struct op *op, unsigned roles, unsigned named);

/* By the roles that the call needs: is he to see what is this tenant's? What he is not to see is not there. */
bool caller_sees(const struct op *op, const char *tenant);
bool caller_sees_all(const struct op *op);
/* The denial of a call, or part of one, that is for all tenants, or for another than his. */
struct verdict caller_elsewhere(const struct op *op, const char *what);

#endif
