/* What becomes of open streams when rights are taken away? Leases that their holder may no longer keep go back, work whose sender was revoked is put
 * aside, a watch of a route that the agent no longer sees ends, and so does every stream of an agent that is gone or revoked, or on the authority of a
 * token that is. Unary calls end by themselves. */
#include "rpc/revoke.h"

#include <string.h>

#include "base/clock.h"
#include "rpc/desk.h"
#include "rpc/follow.h"
#include "rpc/lookup.h"
#include "rpc/pipeline.h"
#include "rpc/registered.h"
#include "rpc/revoked.h"
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

#define STALL_MS 5000 /* less than a node may be silent before others take it for fenced */

/* Its peer, or on whose authority it was begun. */
static struct verdict not_revoked(const struct rpc_worker *w, const struct rpc_call *rc)
{
	const struct revocable peer = revoked_peer(w->world, rc->peer);
	struct verdict v = revoked_judge(w->world, &peer);

	return verdict_ok(&v) && rc->whose ? revoked_judge(w->world, rc->whose) : v;
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
	v = revocations_count(w->world->revocations) ? not_revoked(w, rc) : v;
	if (!verdict_ok(&v)) {
		if (rc->subscriber)
			subscribe_revoked(rc, "this agent is no longer registered: the stream closes next");
		pipeline_end_at_once(rc, &v);
		return;
	}
	v = a && a->key == rc->agent_key ? registered_shows(a, rc->peer) : verdict_deny(REASON_UNKNOWN_PEER, "", "%.200s is no longer that registered agent", rc->peer->spiffe_id);
	if (!verdict_ok(&v)) {
		if (rc->subscriber)
			subscribe_revoked(rc, "this agent is no longer registered: the stream closes next");
	} else if (rc->watch && !watch_visible(rc->watch, a)) {
		v = lookup_not_found();
	} else if (rc->subscriber && is_moved(w, rc->subscriber)) {
		v = verdict_deny(REASON_DRAINING, "", "the kind of a route that this stream serves was changed: subscribe again");
	}
	if (!verdict_ok(&v))
		pipeline_end(rc, &v);
}

/* What was taken away may still wait for its peer to take it. */
static void forget_taken(void *arg, uint64_t id, void *thing)
{
	struct rpc_call *rc = thing;
	struct subscriber *s = rc->subscriber;
	bool forget = s && s->taken && s->unsent;

	(void)arg;
	(void)id;
	if (s)
		s->taken = false;
	if (forget)
		call_forget(rc->c);
}

/* Before anybody is told to stop. What a peer takes at once has left then, and is no reason to end its stream. */
static void look_for_unsent(void *arg, uint64_t id, void *thing)
{
	struct rpc_call *rc = thing;

	(void)arg;
	(void)id;
	if (rc->subscriber)
		rc->subscriber->unsent = rc->subscriber->holdings && !call_push(rc->c);
}

static void forget_unsent(void *arg, uint64_t id, void *thing)
{
	struct rpc_call *rc = thing;

	(void)arg;
	(void)id;
	if (rc->subscriber && rc->subscriber->holdings && !call_is_sent(rc->c))
		call_forget(rc->c);
}

void revoke_after_stall(struct rpc_worker *w)
{
	int64_t now = clock_mono_ms();

	if (w->ticked_ms && now - w->ticked_ms > STALL_MS)
		slots_each(w->calls, forget_unsent, w);
	w->ticked_ms = now;
}

void revoke_streams(struct rpc_worker *w)
{
	slots_each(w->calls, look_for_unsent, w);
	holdings_judge(w);
	slots_each(w->calls, forget_taken, w);
	slots_each(w->calls, judge, w);
}
