/* What becomes of open streams when a new configuration takes rights away? Leases that their holder may no longer keep go back, a watch of
 * a route that the agent no longer sees ends, and so does every stream of an agent that is gone. Unary calls end by themselves. */
#include "rpc/revoke.h"

#include <string.h>

#include "rpc/desk.h"
#include "rpc/follow.h"
#include "rpc/lookup.h"
#include "rpc/pipeline.h"
#include "rpc/subscribe.h"
#include "rpc/table.h"

/* A route that it serves has become a broadcast, or is none any more: from here on it is served from another queue. */
static bool is_moved(const struct rpc_worker *w, const struct subscriber *s)
{
	char queue[QUEUE_MAX_BYTES + 1];

	for (size_t i = 0; i < s->n_routes; i++) {
		const struct desk *d = s->routes[i].desk;
		const struct profile *p = d ? registry_route(w->world->registry, d->tenant, slice_str(d->route)) : NULL;

		if (p)
			world_queue(p, s->agent, queue);
		if (p && strcmp(queue, d->queue) != 0)
			return true;
	}
	return false;
}

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
	} else if (rc->subscriber && is_moved(w, rc->subscriber)) {
		v = verdict_deny(REASON_DRAINING, "", "the kind of a route that this stream serves was changed: subscribe again");
	}
	if (!verdict_ok(&v))
		pipeline_end(rc, &v);
}

void revoke_streams(struct rpc_worker *w)
{
	holdings_judge(w);
	slots_each(w->calls, judge, w);
}
