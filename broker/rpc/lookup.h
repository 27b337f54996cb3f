/* Which handoff is meant, and may the caller see it? Shared by Get, Watch, Cancel and List. Private to rpc/. */
#ifndef BATON_RPC_LOOKUP_H
#define BATON_RPC_LOOKUP_H

#include "rpc/principal.h"
#include "rpc/task.h"

/* What the caller showed for one route. */
struct viewer {
	const struct world_route *route;
	bool has_token;
	struct token_answer token;
};

/* Finds the route that the id names in the caller's tenant and verifies the caller's token, when there is one, as that route demands it. A
 * verdict that is not ALLOW is the answer: not_found for what is missing or foreign, or the token's fault. */
enum principal_result lookup_begin(struct rpc_call *rc, struct op *op, const char *id_text, struct handoff_id *id, struct viewer *v,
				   struct verdict *verdict);
/* Sender with the same principal and today's right to call the route, or (when may_assignee) the agent whose lease it is or was. */
bool lookup_visible(const struct op *op, const struct viewer *v, const struct store_record *r, const pb_task *t, bool may_assignee);
struct verdict lookup_not_found(void);
/* A route that the agent may neither call nor serve is as good as missing. */
bool lookup_route_visible(const struct agent *a, struct slice route);

#endif
