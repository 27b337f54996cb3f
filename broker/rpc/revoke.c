/* What becomes of open streams when a new configuration takes rights away? Leases that their holder may no longer keep go back, a watch of
 * a route that the agent no longer sees ends, and so does every stream of an agent that is gone. Unary calls end by themselves. */
#include "rpc/revoke.h"

#include "rpc/desk.h"
#include "rpc/follow.h"
#include "rpc/lookup.h"
#include "rpc/pipeline.h"
#include "rpc/subscribe.h"
#include "rpc/table.h"

static void judge(void *arg, uint64_t id, void *thing)
{
	struct rpc_worker *w = arg;
	struct rpc_call *rc = thing;
	const struct agent *a = registry_by_spiffe(w->world->registry, rc->peer->spiffe_id);
	struct verdict v = verdict_allow();

	(void)id;
	if (!rc->agent_key || rc->closing || !rpc_row_lives_on(rc->row))
		return; /* a first message is judged when it comes */
	if (!a || a->key != rc->agent_key) {
		v = verdict_deny(REASON_UNKNOWN_PEER, "", "%.200s is no longer that registered agent", rc->peer->spiffe_id);
		if (rc->subscriber)
			subscribe_revoked(rc);
	} else if (rc->watch && !watch_visible(rc->watch, a)) {
		v = lookup_not_found();
	}
	if (!verdict_ok(&v))
		pipeline_end(rc, &v);
}

void revoke_streams(struct rpc_worker *w)
{
	holdings_judge(w);
	slots_each(w->calls, judge, w);
}
