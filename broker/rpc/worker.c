/* What is the RPC layer of one worker? Its tables, made and freed; its tick and its tail. Every call goes through pipeline.c. */
#include "rpc/worker.h"

#include <stdlib.h>

#include "base/clock.h"
#include "messaging/life.h"
#include "policy/profile.h"
#include "rpc/await.h"
#include "rpc/desk.h"
#include "rpc/expiring.h"
#include "rpc/follow.h"
#include "rpc/lines.h"
#include "rpc/pipeline.h"
#include "rpc/reconcile.h"
#include "rpc/reswatch.h"
#include "rpc/revoke.h"
#include "rpc/revoked.h"
#include "rpc/search.h"
#include "rpc/subscribe.h"
#include "rpc/tenants.h"
#include "rpc/whoami.h"

#define TOKEN_CACHE 4096
#define CALLS_MAX (1u << 20)
#define ANSWER_MAX (36u << 20) /* a handoff with its envelope and its result */
#define HOUSEKEEPING_MS 500
#define QUIET_MS 5000       /* between two looks at a queue in which nothing waits and nothing is leased */
#define LOOKS_APART 10 /* rounds of housekeeping between two looks at what the gauges say */
#define KEEP_CALLS_MAX 32 /* of one route in one round of housekeeping */
#define POLL_MS 1000

/* Nothing is kept by peer here: every call is gone already. */
bool rpc_worker_settled(const struct rpc_worker *w)
{
	return atomic_load(&w->settled);
}

bool rpc_worker_revokes_peers(const struct rpc_worker *w)
{
	return revocations_of_peers(w->world->revocations);
}

bool rpc_worker_peer_revoked(const struct rpc_worker *w, const struct revocations *by, const struct identity_peer *p)
{
	struct revocable peer;

	if (!p->spiffe_id[0])
		return false; /* it came in by the local socket */
	peer = revoked_peer(w->world, p);
	return revocations_find(by ? by : w->world->revocations, &peer, clock_unix_ms());
}

static void on_peer_gone(void *user, const struct call_peer *p)
{
	struct rpc_worker *w = user;

	w->env.peer_gone(w->env.arg, p);
}

struct rpc_worker *rpc_worker_new(const struct rpc_env *env, struct world *world)
{
	struct rpc_worker *w = calloc(1, sizeof *w);

	if (!w)
		return NULL;
	w->env = *env;
	w->handler = (struct call_handler){pipeline_on_open, pipeline_on_message, pipeline_on_half_close, pipeline_on_writable,
					   pipeline_on_too_large, pipeline_on_gone, pipeline_before_io, on_peer_gone, w};
	w->verifier = token_verifier_new(TOKEN_CACHE);
	w->ops = slots_new(OPS_MAX);
	w->calls = slots_new(CALLS_MAX);
	w->held_tail = &w->held_head;
	w->parked_tail = &w->parked;
	buf_init(&w->scratch, ANSWER_MAX);
	if (!w->verifier || !w->ops || !w->calls) {
		rpc_worker_free(w);
		return NULL;
	}
	token_verifier_set_answers(w->verifier, env->answers);
	rpc_worker_set_world(w, world);
	return w;
}

static void drop_op(void *arg, uint64_t id, void *thing)
{
	struct rpc_worker *w = arg;
	struct op *op = thing;

	slots_drop(w->ops, id);
	world_unref(op->world);
	arena_free(op->arena);
}

void rpc_worker_free(struct rpc_worker *w)
{
	if (!w)
		return;
	if (w->ops)
		slots_each(w->ops, drop_op, w);
	while (w->n_pool)
		arena_free(w->pool[--w->n_pool]);
	desks_free(w);
	buf_clear(&w->scratch);
	token_verifier_free(w->verifier);
	slots_free(w->ops);
	slots_free(w->calls);
	world_unref(w->world);
	free(w);
}

const struct call_handler *rpc_worker_handler(struct rpc_worker *w)
{
	return &w->handler;
}

/* What a profile leaves to the store is more than the store takes. */
static void demand_replicas(struct rpc_worker *w)
{
	for (const struct world_route *r = w->world->routes; r; r = r->hh.next)
		w->env.store->ops->set_replicas(w->env.store, (struct store_slot){r->tenant, r->queue}, r->profile->replicas);
}

void rpc_worker_set_world(struct rpc_worker *w, struct world *world)
{
	struct world *old = w->world;

	w->world = world_ref(world);
	w->worlds++;
	token_verifier_set_issuers(w->verifier, world->issuers);
	demand_replicas(w);
	w->env.store->ops->live_by(w->env.store, world->generation);
	w->older = old ? w->acting : 0;
	atomic_store(&w->settled, false);
	if (!old || old->registry != world->registry) /* other keys alone take no right away from a stream */
		revoke_streams(w);
	searches_judge(w);
	if (!w->older)
		atomic_store(&w->settled, true);
	world_unref(old);
}

void rpc_worker_keys_settled(struct rpc_worker *w, uint64_t issuer)
{
	op_unpark(w, clock_mono_ms(), issuer);
}

uint64_t question_wait(const uint8_t key[SHA256_BYTES])
{
	uint64_t what;

	memcpy(&what, key, sizeof what);
	return what | UINT64_C(1) << 63;
}

void rpc_worker_answered(struct rpc_worker *w, const uint8_t key[SHA256_BYTES])
{
	op_unpark(w, clock_mono_ms(), question_wait(key));
}

void rpc_worker_tail(struct rpc_worker *w)
{
	audit_flush(w->env.audit);
	op_release_held(w);
}

/* ---- housekeeping of the store: worker 0 ---- */

struct keeping {
	char tenant[64], route[64], queue[QUEUE_MAX_BYTES + 1];
	struct store_slot_limits limits;
	unsigned calls;
};

/* A lapse leaves the record its owner, a give-back does not: after it, the end of the wait is no event. Nobody ever had what was scheduled. */
static const char *change_event(const struct store_record *r)
{
	if (r->state != STATE_QUEUED)
		return life_event(r->state);
	return r->owner ? "handoff.lapsed" : r->fence ? NULL : "handoff.queued";
}

static void audit_change(struct op *op, const struct keeping *k, const struct store_record *r)
{
	const char *event = change_event(r);

	if (!event)
		return;
	line_write(op->w, (struct store_slot){k->tenant, k->queue}, r, event, LINE_NOW);
	metrics_add(op->w->env.metrics, METRIC_HANDOFFS, k->route, state_text(r->state), 1);
}

static void keep(struct op *op);

/* What other nodes begin in a quiet queue is found when it is looked at next. */
static void rest(struct rpc_worker *w, const struct keeping *k, bool quiet)
{
	struct desk *d = desk_find(w, k->tenant, k->queue);

	if (d)
		d->keep_at_ms = quiet ? clock_mono_ms() + QUIET_MS : 0;
}

static void kept(struct op *op, const struct store_answer *a)
{
	struct keeping *k = op->state;
	bool queued = false;

	for (size_t i = 0; a->status == STORE_OK && i < a->n_items; i++) {
		const struct store_record *r = &a->items[i].record;

		audit_change(op, k, r);
		change_publish(op->w, &r->id);
		holding_changed(op->w, &r->id);
		queued |= r->state == STATE_QUEUED;
	}
	if (queued)
		desk_announce(op->w, k->tenant, k->queue);
	rest(op->w, k, a->status == STORE_OK && !a->more && !a->busy);
	/* A lease that ran out must not wait behind what one call cannot carry. */
	if (a->status == STORE_OK && a->more && k->calls < KEEP_CALLS_MAX)
		keep(op);
	else
		op_end(op);
}

static void keep(struct op *op)
{
	struct keeping *k = op->state;
	struct rpc_worker *w = op->w;

	k->calls++;
	op->on_answer = kept;
	w->env.store->ops->tick(w->env.store, (struct store_slot){k->tenant, k->queue}, &k->limits, op_store_done, w, op->id);
}

/* What operators want to be told of before they ask. */
static void looked(struct op *op, const struct store_answer *a)
{
	const struct keeping *k = op->state;
	struct metrics *m = op->w->env.metrics;

	if (a->status == STORE_OK && a->route) {
		metrics_set(m, METRIC_OLDEST, k->tenant, k->queue, a->route->oldest_ms / 1000);
		metrics_set(m, METRIC_DEAD_LETTERS, k->tenant, k->queue, (int64_t)a->route->dead);
		metrics_set(m, METRIC_ROUTE_STATE, k->tenant, k->queue, a->route->paused + 2 * a->route->closed);
	}
	op_end(op);
}

static struct op *keeping_new(struct rpc_worker *w, const struct world_route *r)
{
	struct op *op = op_new(w, NULL);
	struct keeping *k = op ? arena_zalloc(op->arena, sizeof *k) : NULL;

	if (!k) {
		if (op)
			op_end(op);
		return NULL;
	}
	memcpy(k->tenant, r->tenant, sizeof k->tenant);
	memcpy(k->route, r->route, sizeof k->route);
	memcpy(k->queue, r->queue, sizeof k->queue);
	k->limits = w->env.slot_limits;
	op->state = k;
	return op;
}

static void look_at_queue(struct rpc_worker *w, const struct world_route *r)
{
	struct op *op = keeping_new(w, r);
	struct keeping *k;

	if (!op)
		return;
	k = op->state;
	op->on_answer = looked;
	w->env.store->ops->route(w->env.store, (struct store_slot){k->tenant, k->queue}, false, false, false, op_store_done, w, op->id);
}

static bool may_rest(struct rpc_worker *w, const struct world_route *r)
{
	struct desk *d = desk_get(w, r->tenant, r->queue);

	return d && !shared_route_take_stirred(d->shared) && clock_mono_ms() < d->keep_at_ms;
}

void rpc_worker_store_ready(struct rpc_worker *w)
{
	struct desk *d, *t;

	HASH_ITER(hh, w->desks, d, t)
		d->keep_at_ms = 0; /* slots are to be opened anew before work comes */
}

static void keep_queue(struct rpc_worker *w, const struct world_route *r)
{
	struct op *op = may_rest(w, r) ? NULL : keeping_new(w, r);
	const struct store_slot slot = {r->tenant, r->queue};
	const struct profile *p = r->profile;
	struct keeping *k = op ? op->state : NULL;

	if (k && p->renew_by_progress) { /* who fell silent has lost it, also with a profile that backs off for no time */
		k->limits.backoff_min_ms = p->backoff_min_ms;
		k->limits.backoff_max_ms = p->backoff_max_ms ? p->backoff_max_ms : 1;
	}
	if (k)
		keep(op);
	metrics_set(w->env.metrics, METRIC_WAITING, r->tenant, r->queue, (int64_t)w->env.store->ops->waiting(w->env.store, slot));
}

static void each_queue(struct rpc_worker *w, void (*fn)(struct rpc_worker *w, const struct world_route *r))
{
	for (const struct world_route *r = w->world->routes; r; r = r->hh.next)
		fn(w, r);
}

static void poll_desks(struct rpc_worker *w)
{
	struct desk *d, *t;

	HASH_ITER(hh, w->desks, d, t)
		if (d->ring)
			desk_wake(w, d);
}

static void count_cache(struct rpc_worker *w)
{
	uint64_t hits = token_verifier_hits(w->verifier), misses = token_verifier_misses(w->verifier);

	if (hits != w->seen_hits)
		metrics_add(w->env.metrics, METRIC_TOKEN_CACHE, "hit", NULL, (int64_t)(hits - w->seen_hits));
	if (misses != w->seen_misses)
		metrics_add(w->env.metrics, METRIC_TOKEN_CACHE, "miss", NULL, (int64_t)(misses - w->seen_misses));
	w->seen_hits = hits;
	w->seen_misses = misses;
}

static void show_tenant(void *arg, const char *tenant, uint64_t handoffs, uint64_t bytes)
{
	struct rpc_worker *w = arg;

	metrics_set(w->env.metrics, METRIC_TENANT_WAITING, tenant, NULL, (int64_t)handoffs);
	metrics_set(w->env.metrics, METRIC_TENANT_WAITING_BYTES, tenant, NULL, (int64_t)bytes);
}

void rpc_worker_tick(struct rpc_worker *w)
{
	int64_t now = clock_mono_ms();

	revoke_after_stall(w);
	op_unpark(w, now, KEYS_OF_NONE);
	holdings_tick(w, now);
	health_poll(w);
	reconcile_tick(w);
	await_tick(w);
	searches_tick(w, now);
	reswatches_tick(w, now);
	if (now >= w->next_poll_ms) {
		w->next_poll_ms = now + POLL_MS;
		poll_desks(w);
		watches_poll(w);
		expiring_look(w);
		count_cache(w);
	}
	if (w->env.index == 0 && now >= w->next_housekeeping_ms) {
		w->next_housekeeping_ms = now + HOUSEKEEPING_MS;
		each_queue(w, keep_queue);
		if (w->rounds++ % LOOKS_APART == 0)
			each_queue(w, look_at_queue);
		tenants_each(w->env.tenants, now, show_tenant, w);
	}
	rpc_worker_tail(w);
}

void rpc_worker_drain(struct rpc_worker *w)
{
	w->draining = true;
	op_unpark(w, clock_mono_ms(), KEYS_OF_ALL);
	subscribe_drain(w);
	searches_drain(w);
	reswatches_drain(w);
	health_poll(w);
}
