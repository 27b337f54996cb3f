/* Which handoff is meant, and may the caller see it? What is missing, foreign or invisible gets one and the same answer. */
#include "rpc/lookup.h"

#include <string.h>

struct verdict lookup_not_found(void)
{
	return verdict_deny(REASON_NOT_FOUND, "handoff_id", "no such handoff for you (a sender shows the token of the same principal)");
}

bool lookup_route_visible(const struct agent *a, struct slice route)
{
	return agent_may_call(a, route) || agent_may_serve(a, route);
}

enum principal_result lookup_begin(struct rpc_call *rc, struct op *op, const char *id_text, struct handoff_id *id, struct viewer *v,
				   struct verdict *verdict)
{
	struct slice token;

	memset(v, 0, sizeof *v);
	if (!handoff_id_parse(slice_str(id_text), id)) {
		*verdict = lookup_not_found();
		return PRINCIPAL_JUDGED;
	}
	op->audit.handoff_id = slice_str(id_text);
	v->route = world_route_of(op->world, op->agent->tenant, id);
	token = principal_token(rc, slice_of(NULL, 0), verdict);
	if (!verdict_ok(verdict))
		return PRINCIPAL_JUDGED;
	if (!v->route || !lookup_route_visible(op->agent, slice_str(v->route->route))) {
		*verdict = lookup_not_found();
		return PRINCIPAL_JUDGED;
	}
	op->audit.route = slice_str(v->route->route);
	v->has_token = token.n > 0;
	if (!v->has_token)
		return PRINCIPAL_JUDGED;
	if (principal_verify(op, token, v->route->profile, &v->token) == PRINCIPAL_PARKED)
		return PRINCIPAL_PARKED;
	*verdict = v->token.verdict;
	return PRINCIPAL_JUDGED;
}

static bool is_sender(const struct op *op, const struct viewer *v, const pb_task *t)
{
	return v->has_token && verdict_ok(&v->token.verdict) && strcmp(t->sender, op->agent->name) == 0 &&
	       strcmp(t->issuer, v->token.claims.issuer) == 0 && strcmp(t->subject, v->token.claims.subject) == 0 &&
	       agent_may_call(op->agent, slice_str(t->route));
}

bool lookup_visible(const struct op *op, const struct viewer *v, const struct store_record *r, const pb_task *t, bool may_assignee)
{
	if (strcmp(t->tenant, op->agent->tenant) != 0)
		return false;
	if (is_sender(op, v, t))
		return true;
	return may_assignee && r->owner && r->owner == op->agent->key &&
	       agent_may_serve(op->agent, slice_str(t->route));
}
