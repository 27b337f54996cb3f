/* Which leases do streams of this worker hold, and how are they kept, stopped or left to lapse? The broker renews a lease while its
 * stream lives; where the profile says keepalive: progress, only the worker's own words do once it has the work, by the store's call for each
 * (report.c), and here the store is asked when the lease should have ended. When the stream is cut the lease gets the route's resume time. */
#include "rpc/assert.h"
#include "rpc/desk.h"

#include <stdlib.h>
#include <utlist.h>

#include "base/clock.h"
#include "base/log.h"
#include "baton/v1/handoff.pb-c.h"
#include "policy/profile.h"
#include "rpc/finish.h"
#include "rpc/follow.h"
#include "rpc/revoked.h"

#define LOOK_AGAIN_MS 500

struct holding *holding_add(struct subscriber *s, struct desk *d, const struct handoff_id *id, uint64_t fence)
{
	struct rpc_worker *w = s->rc->w;
	struct holding *h = NULL;

	HASH_FIND(hh, w->holdings, id, sizeof *id, h);
	if (h)
		holding_drop(w, h); /* an older lease of the same handoff, lapsed unseen */
	h = calloc(1, sizeof *h);
	if (!h)
		return NULL;
	h->id = *id;
	h->fence = fence;
	h->subscriber = s;
	h->desk = d;
	h->assert_at_ms = INT64_MAX;
	h->since_us = clock_mono_us();
	HASH_ADD(hh, w->holdings, id, sizeof(struct handoff_id), h);
	if (!TABLE_HAS(h, hh)) {
		free(h);
		return NULL;
	}
	if (w->env.workers > 1 && !shared_follow(w->env.shared, id, w->env.index)) {
		HASH_DEL(w->holdings, h);
		free(h);
		return NULL;
	}
	DL_APPEND2(s->holdings, h, sub_prev, sub_next);
	s->in_flight++;
	metrics_add(w->env.metrics, METRIC_IN_FLIGHT, d->route, NULL, 1);
	return h;
}

/* The end of an older stream of the agent, on another node, may cut a lease that was resumed here down to resume_ms. */
void holding_keep(struct holding *h, const struct profile *p, int64_t until_ms)
{
	h->lease_ms = profile_hold_ms(p);
	h->until_ms = until_ms;
	h->by_progress = p->renew_by_progress && !h->unsent; /* who has not got it has nothing to say of it */
	h->renew_ms = h->by_progress ? p->lease_ms : (p->resume_ms && p->resume_ms < h->lease_ms ? p->resume_ms : h->lease_ms) / 3;
	h->renew_at_ms = clock_mono_ms() + h->renew_ms;
}

void holding_said(struct holding *h, int64_t until_ms)
{
	if (h->by_progress && until_ms > h->until_ms)
		h->renew_at_ms += until_ms - h->until_ms; /* the two clocks go alike, whatever they show */
	h->until_ms = until_ms;
}

void holding_sent(struct rpc_worker *w, struct holding *h)
{
	const struct profile *p = registry_route(w->world->registry, h->desk->tenant, slice_str(h->desk->route));

	h->unsent = false;
	if (p && p->renew_by_progress)
		holding_keep(h, p, h->until_ms);
}

/* The profile says another thing than when it was leased. */
static void keep_as_today(struct rpc_worker *w, struct holding *h)
{
	const struct profile *p = registry_route(w->world->registry, h->desk->tenant, slice_str(h->desk->route));

	if (!p || h->unsent || p->renew_by_progress == h->by_progress)
		return;
	holding_keep(h, p, h->until_ms);
	if (!h->by_progress)
		h->renew_at_ms = clock_mono_ms(); /* the last word may be long ago */
}

void holding_limit(struct holding *h, const struct profile *p, int64_t deadline_ms)
{
	int64_t run_until = p->max_runtime_ms ? clock_unix_ms() + p->max_runtime_ms : INT64_MAX;

	h->deadline_ms = deadline_ms;
	h->run_deadline_ms = run_until < deadline_ms ? run_until : deadline_ms;
	h->run_until_ms = p->max_runtime_ms ? clock_mono_ms() + p->max_runtime_ms : INT64_MAX;
}

bool holding_origin(struct holding *h, const pb_task *t, const pb_envelope *e)
{
	const struct revocable of = revoked_task(t, e->tool);

	free(h->origin);
	h->origin = revocable_copy(&of);
	return h->origin;
}

struct holding *holding_find(struct rpc_worker *w, const struct handoff_id *id, uint64_t fence)
{
	struct holding *h = NULL;

	HASH_FIND(hh, w->holdings, id, sizeof *id, h);
	return h && h->fence == fence ? h : NULL;
}

void holding_drop(struct rpc_worker *w, struct holding *h)
{
	struct subscriber *s = h->subscriber;

	if (w->env.workers > 1)
		shared_unfollow(w->env.shared, &h->id, w->env.index);
	metrics_add(w->env.metrics, METRIC_IN_FLIGHT, h->desk->route, NULL, -1);
	HASH_DEL(w->holdings, h);
	DL_DELETE2(s->holdings, h, sub_prev, sub_next);
	s->in_flight--;
	free(h->origin);
	free(h);
}

static void lease_of(const struct holding *h, Baton__V1__Lease *l, char text[HANDOFF_ID_TEXT + 1])
{
	baton__v1__lease__init(l);
	handoff_id_format(&h->id, text);
	l->handoff_id = text;
	l->fencing_token = h->fence;
}

/* At once, even on a stream that is full: there is one for each lease at most, and no new lease until the peer has read. */
static void send_stop(const struct holding *h, enum reason why)
{
	Baton__V1__BrokerFrame f = BATON__V1__BROKER_FRAME__INIT;
	Baton__V1__Stop stop = BATON__V1__STOP__INIT;
	char text[HANDOFF_ID_TEXT + 1];
	Baton__V1__Lease lease;

	lease_of(h, &lease, text);
	stop.lease = &lease;
	stop.reason = (Baton__V1__Reason)why;
	f.frame_case = BATON__V1__BROKER_FRAME__FRAME_STOP;
	f.stop = &stop;
	reply_send(h->subscriber->rc, &f.base);
}

void holding_stop(struct rpc_worker *w, struct holding *h, enum reason why)
{
	struct subscriber *s = h->subscriber;

	if (!h->unsent)
		send_stop(h, why);
	holding_drop(w, h);
	subscriber_pump(s);
}

static enum reason stop_reason(enum handoff_state s)
{
	return s == STATE_CANCELLED ? REASON_CANCELLED : s == STATE_EXPIRED ? REASON_DEADLINE_EXCEEDED : REASON_LEASE_LOST;
}

/* Ended by the worker's own report, on another connection: nobody needs to be told. Dead-lettered by that too, or by a lapse, after its
 * lease's end. */
static bool reported(const struct store_record *r)
{
	return r->state == STATE_COMPLETED || r->state == STATE_FAILED || r->state == STATE_REJECTED ||
		(r->state == STATE_DEAD_LETTERED && r->updated_at_ms < r->lease_until_ms);
}

static bool over(const struct store_record *r, uint64_t fence)
{
	return r->fence != fence || (r->state != STATE_LEASED && r->state != STATE_WORKING);
}

struct renewal {
	struct handoff_id id;
	uint64_t fence;
};

static void renewed(struct op *op, const struct store_answer *a)
{
	struct renewal *r = op->state;
	struct holding *h = holding_find(op->w, &r->id, r->fence);

	if (h) {
		h->renewing = false;
		if (a->status == STORE_OK) {
			h->until_ms = a->record.lease_until_ms;
			h->renew_at_ms = clock_mono_ms() + h->renew_ms;
		} else if (a->status == STORE_UNAVAILABLE)
			h->renew_at_ms = clock_mono_ms() + 500;
		else if (!h->settling)
			holding_stop(op->w, h, stop_reason(a->record.state));
	}
	op_end(op);
}

/* Asks the store for `lease_ms`, from now. shorten_ms: see struct store_extend. */
static void extend(struct rpc_worker *w, struct holding *h, uint32_t lease_ms, int64_t shorten_ms)
{
	struct op *op = op_new(w, NULL);
	struct renewal *r = op ? arena_alloc(op->arena, sizeof *r) : NULL;
	struct store_extend rq = {.slot = {h->desk->tenant, h->desk->queue}, .id = h->id, .fence = h->fence,
		.owner = h->subscriber->key, .lease_ms = lease_ms, .shorten_ms = shorten_ms};

	if (!r) {
		if (op)
			op_end(op);
		return;
	}
	*r = (struct renewal){h->id, h->fence};
	op->state = r;
	op->on_answer = renewed;
	h->renewing = true;
	w->env.store->ops->extend(w->env.store, &rq, op_store_done, w, op->id);
}

/* Ends the lease in the store, as nobody reported. */
static void finish_it(struct rpc_worker *w, const struct holding *h, enum store_finish_kind kind, enum reason reason, const char *note)
{
	struct finish f = {.slot = {h->desk->tenant, h->desk->queue}, .id = h->id, .fence = h->fence, .owner = h->subscriber->key,
		.kind = kind, .reason = reason, .note = note, .trace_id = h->trace_id};

	finish_alone(w, &f);
}

/* The work's own deadline ends it; a delivery that ran too long is tried again while attempts last. */
static void expire(struct rpc_worker *w, struct holding *h, bool over)
{
	finish_it(w, h, over ? FINISH_EXPIRED : FINISH_RETRY, REASON_DEADLINE_EXCEEDED,
		  over ? "its deadline passed while it was worked on" : "it ran longer than the profile's max_runtime_ms");
	holding_stop(w, h, REASON_DEADLINE_EXCEEDED);
}

static void revoke(struct rpc_worker *w, struct holding *h, enum store_finish_kind kind, const struct verdict *why)
{
	log_event(LOG_WARN, "lease.revoked", F_STR("route", h->desk->route), F_STR("agent", h->subscriber->agent),
		  F_STR("reason", reason_text(why->reason)));
	finish_it(w, h, kind, why->reason, why->message);
	holding_stop(w, h, REASON_REVOKED);
}

bool holding_may_stay(struct rpc_worker *w, struct holding *h)
{
	struct verdict v = subscriber_judge(h->subscriber, h->desk);

	if (!verdict_ok(&v))
		revoke(w, h, FINISH_RELEASE, &v);
	return verdict_ok(&v);
}

bool holding_task_stands(struct rpc_worker *w, struct holding *h, struct arena *a, const pb_task *t, const pb_envelope *e)
{
	struct verdict v = task_judge(a, w->world, t, e, clock_unix_ms());

	if (arena_failed(a))
		return false; /* not judged: nothing is taken away for that */
	if (!verdict_ok(&v))
		revoke(w, h, v.reason == REASON_DEADLINE_EXCEEDED ? FINISH_EXPIRED : FINISH_QUARANTINED, &v);
	return verdict_ok(&v);
}

static bool origin_stands(struct rpc_worker *w, struct holding *h)
{
	struct verdict v = verdict_allow();

	if (h->origin)
		v = revoked_judge(w->world, h->origin);
	else if (revocations_count(w->world->revocations))
		holding_read(w, h);
	if (!verdict_ok(&v)) {
		h->subscriber->taken = true;
		revoke(w, h, FINISH_QUARANTINED, &v);
	}
	return verdict_ok(&v);
}

/* What ends by a worker's report is left alone: that it was done is to be known. */
void holdings_judge(struct rpc_worker *w)
{
	struct holding *h, *t;

	HASH_ITER(hh, w->holdings, h, t)
		if (!h->settling && holding_may_stay(w, h) && origin_stands(w, h))
			keep_as_today(w, h);
}

/* ---- whose work it is, after a resume ---- */

struct reading {
	struct handoff_id id;
	uint64_t fence;
};

static void origin_read(struct op *op, const struct store_answer *a)
{
	struct reading *r = op->state;
	struct holding *h = holding_find(op->w, &r->id, r->fence);
	pb_task *t = h && a->status == STORE_OK && a->n_items && a->items[0].status == STORE_OK ? task_unpack(op->arena, a->items[0].task) : NULL;
	pb_envelope *e = t ? task_unpack_envelope(op->arena, t) : NULL;

	if (e && !h->settling && holding_task_stands(op->w, h, op->arena, t, e))
		holding_origin(h, t, e);
	op_end(op);
}

void holding_read(struct rpc_worker *w, struct holding *h)
{
	struct op *op = op_new(w, NULL);
	struct reading *r = op ? arena_alloc(op->arena, sizeof *r) : NULL;

	if (!r) {
		if (op)
			op_end(op);
		return; /* it is judged when it is renewed, or comes back */
	}
	*r = (struct reading){h->id, h->fence};
	op->state = r;
	op->on_answer = origin_read;
	w->env.store->ops->get(w->env.store, (struct store_slot){h->desk->tenant, h->desk->queue}, &h->id, true, op_store_done, w, op->id);
}

struct look {
	struct handoff_id id;
	uint64_t fence;
	bool for_renewal;                 /* no extend is sent meanwhile */
};

static void looked(struct op *op, const struct store_answer *a)
{
	struct look *l = op->state;
	struct holding *h = holding_find(op->w, &l->id, l->fence);

	if (h && l->for_renewal)
		h->renewing = false;
	if (h && !h->settling && a->status == STORE_OK && over(&a->record, l->fence)) {
		struct subscriber *s = h->subscriber;

		if (reported(&a->record)) {
			holding_drop(op->w, h);
			subscriber_pump(s);
		} else {
			holding_stop(op->w, h, stop_reason(a->record.state));
		}
	} else if (h) {
		int64_t now = clock_mono_ms();

		if (a->status == STORE_OK && a->record.fence == l->fence)
			holding_said(h, a->record.lease_until_ms); /* on another connection, it may be */
		if (h->by_progress && h->renew_at_ms <= now) /* its end is not carried out yet, or the store did not answer */
			h->renew_at_ms = now + LOOK_AGAIN_MS;
	}
	op_end(op);
}

static void look(struct rpc_worker *w, struct holding *h)
{
	struct op *op = op_new(w, NULL);
	struct look *l = op ? arena_alloc(op->arena, sizeof *l) : NULL;

	if (!l) {
		if (op)
			op_end(op);
		return; /* the next renewal finds out */
	}
	*l = (struct look){h->id, h->fence, h->by_progress && !h->renewing};
	op->state = l;
	op->on_answer = looked;
	h->renewing |= l->for_renewal;
	w->env.store->ops->get(w->env.store, (struct store_slot){h->desk->tenant, h->desk->queue}, &l->id, false, op_store_done, w, op->id);
}

void holding_changed(struct rpc_worker *w, const struct handoff_id *id)
{
	struct holding *h = NULL;

	HASH_FIND(hh, w->holdings, id, sizeof *id, h);
	if (h && !h->settling)
		look(w, h);
}

void holdings_tick(struct rpc_worker *w, int64_t now_ms)
{
	int64_t unix_ms = clock_unix_ms();
	bool fresh = worker_is_fresh(w); /* else its holder may have lost his rights */
	struct holding *h, *t;

	HASH_ITER(hh, w->holdings, h, t) {
		if (h->settling)
			continue;
		if (unix_ms >= h->deadline_ms || now_ms >= h->run_until_ms) {
			expire(w, h, unix_ms >= h->deadline_ms);
			continue;
		}
		if (fresh && !h->renewing && now_ms >= h->renew_at_ms) {
			if (!holding_may_stay(w, h))
				continue;
			if (h->by_progress)
				look(w, h);
			else
				extend(w, h, h->lease_ms, 0);
		}
		if (fresh && unix_ms >= h->assert_at_ms && outbox_clear(h->subscriber->rc))
			assertion_renew(w, h);
	}
}

void holding_taken(struct rpc_worker *w, const struct handoff_id *id, uint64_t fence, int64_t at_us)
{
	struct holding *h = holding_find(w, id, fence);
	struct subscriber *s = h ? h->subscriber : NULL;

	if (!h || h->settling || h->since_us >= at_us)
		return;
	holding_drop(w, h);
	subscriber_pump(s);
}

void holdings_abandon(struct subscriber *s)
{
	struct rpc_worker *w = s->rc->w;
	struct holding *h, *t;

	DL_FOREACH_SAFE2(s->holdings, h, t, sub_next) {
		const struct profile *p = registry_route(w->world->registry, h->desk->tenant, slice_str(h->desk->route));

		if (h->unsent) /* nobody saw it: it costs no attempt */
			finish_it(w, h, FINISH_RELEASE, REASON_UNSPECIFIED, "its stream ended before it was sent");
		else if (!h->settling)
			extend(w, h, p ? p->resume_ms : 1000, h->by_progress ? h->until_ms : 0);
		holding_drop(w, h);
	}
}
