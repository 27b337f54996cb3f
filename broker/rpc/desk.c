/* Who is handed the next piece of work on a route? The desk asks the store for as much as the next subscriber in the ring has credit for. It
 * says that it is hungry before it asks, so that work queued meanwhile by another worker is not missed. */
#include "rpc/desk.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "policy/authorize.h"
#include "policy/profile.h"
#include "rpc/revoked.h"
#include "rpc/subscribe.h"

#define LEASE_BATCH 64
#define BARREN_MAX 64 /* so often a store is believed that there is more though it gave nothing; then the poll asks, once a second */

struct lease_ask {
	uint64_t call;             /* the subscriber's rpc_call */
	uint32_t asked;
	char tenant[64], queue[QUEUE_MAX_BYTES + 1];
};

struct desk *desk_find(struct rpc_worker *w, const char *tenant, const char *queue)
{
	char key[QUEUE_KEY_MAX_BYTES + 1];
	struct desk *d = NULL;

	if (queue_key(tenant, queue, key))
		HASH_FIND_STR(w->desks, key, d);
	return d;
}

struct desk *desk_get(struct rpc_worker *w, const char *tenant, const char *queue)
{
	struct desk *d = desk_find(w, tenant, queue);

	if (d)
		return d;
	d = calloc(1, sizeof *d);
	if (!d || !queue_key(tenant, queue, d->key) || !(d->shared = shared_route(w->env.shared, tenant, queue))) {
		free(d);
		return NULL;
	}
	slice_copy_str(slice_str(tenant), d->tenant, sizeof d->tenant);
	slice_copy_str(slice_str(queue), d->queue, sizeof d->queue);
	slice_copy_str(queue_route(slice_str(queue)), d->route, sizeof d->route);
	HASH_ADD_STR(w->desks, key, d);
	if (TABLE_HAS(d, hh))
		return d;
	free(d);
	return NULL;
}

void desks_free(struct rpc_worker *w)
{
	struct desk *d, *t;

	HASH_ITER(hh, w->desks, d, t) {
		HASH_DEL(w->desks, d);
		free(d);
	}
}

void desk_join(struct desk *d, struct subscription *s)
{
	s->desk = d;
	DL_APPEND(d->ring, s);
}

void desk_leave(struct subscription *s)
{
	if (s->desk)
		DL_DELETE(s->desk->ring, s);
	s->desk = NULL;
}

struct verdict subscriber_judge(const struct subscriber *s, const struct desk *d)
{
	const struct registry *r = s->rc->w->world->registry;
	const struct agent *a = registry_by_name(r, s->tenant, slice_str(s->agent));

	if (!a || strcmp(a->spiffe_id, s->rc->peer->spiffe_id) != 0)
		return verdict_deny(REASON_UNKNOWN_PEER, "", "the receiver is no longer registered");
	if (revocations_count(s->rc->w->world->revocations)) {
		struct revocable to = revoked_peer(s->rc->w->world, s->rc->peer);
		struct verdict v;

		to.route = d->route;
		v = revoked_judge(s->rc->w->world, &to);
		if (!verdict_ok(&v))
			return v;
	}
	return authorize_delivery(a, slice_str(d->route), registry_route(r, d->tenant, slice_str(d->route)));
}

static uint32_t credit(const struct desk *d, const struct subscriber *s)
{
	struct verdict v;

	if (!s->open || !outbox_clear(s->rc) || s->in_flight >= s->window)
		return 0;
	v = subscriber_judge(s, d);
	return verdict_ok(&v) ? s->window - s->in_flight : 0;
}

static struct subscription *next_with_credit(struct desk *d)
{
	struct subscription *s;

	DL_FOREACH(d->ring, s) {
		if (!credit(d, s->subscriber))
			continue;
		/* to the end of the ring: the others are asked first next time */
		DL_DELETE(d->ring, s);
		DL_APPEND(d->ring, s);
		return s;
	}
	return NULL;
}

/* Whose credit is gone may be busy, or only asked for: then it comes back when that call is answered. */
static bool credit_is_out(const struct desk *d)
{
	const struct subscription *s;

	DL_FOREACH(d->ring, s)
		if (s->subscriber->asked)
			return true;
	return false;
}

/* Begins behind the route that asked last, so that a busy one does not take every turn. */
static void pump_routes(struct subscriber *s, bool only_starved)
{
	size_t first = s->turn;

	for (size_t i = 0; i < s->n_routes; i++) {
		struct desk *d = s->routes[(first + i) % s->n_routes].desk;

		if (d && (d->starved || !only_starved))
			desk_pump(s->rc->w, d);
	}
}

void subscriber_pump(struct subscriber *s)
{
	pump_routes(s, false);
}

void subscriber_pump_starved(struct subscriber *s)
{
	pump_routes(s, true);
}

static void reserve(struct subscription *next, uint32_t n)
{
	struct subscriber *s = next->subscriber;

	s->in_flight += n;
	s->asked += n;
	s->turn = (size_t)(next - s->routes) + 1;
}

uint64_t desk_offer(struct rpc_worker *w, const char *tenant, const char *route, uint64_t *owner)
{
	struct desk *d = desk_find(w, tenant, route);
	struct subscription *next = !d || d->leasing || w->draining ? NULL : next_with_credit(d);

	if (!next)
		return 0;
	reserve(next, 1);
	*owner = next->subscriber->key;
	return next->subscriber->rc->id;
}

static void give_credit_back(struct subscriber *s, uint32_t n)
{
	s->in_flight -= n;
	s->asked -= n;
}

struct subscriber *desk_offer_over(struct rpc_worker *w, uint64_t call)
{
	struct rpc_call *rc = slots_get(w->calls, call);

	if (!rc || !rc->subscriber)
		return NULL;
	give_credit_back(rc->subscriber, 1);
	return rc->subscriber;
}

/* Subscribers are told of it when it changes. */
static void desk_paused(struct desk *d, const struct store_answer *a)
{
	struct subscription *s;

	if (a->status != STORE_OK || d->paused == a->paused)
		return;
	d->paused = a->paused;
	DL_FOREACH(d->ring, s)
		if (s->subscriber->open)
			subscribe_paused(s->subscriber->rc, d);
}

/* Answers of the store: each item goes to the subscriber that it was leased for, or is given back. */
static void leased(struct op *op, const struct store_answer *a)
{
	struct rpc_worker *w = op->w;
	struct lease_ask *ask = op->state;
	struct rpc_call *rc = slots_get(w->calls, ask->call);
	struct subscriber *s = rc ? rc->subscriber : NULL;
	struct desk *d = desk_find(w, ask->tenant, ask->queue);
	bool more = false, brought = false, promised;

	if (s)
		give_credit_back(s, ask->asked);
	if (d && a->n_items)
		shared_route_stir(d->shared);
	for (size_t i = 0; d && a->status == STORE_OK && i < a->n_items; i++) {
		brought |= a->items[i].status == STORE_OK;
		deliver_item(w, s, d, &a->items[i]);
	}
	if (d) {
		promised = a->n_items >= ask->asked || a->next;
		desk_paused(d, a);
		d->barren = promised && !brought ? d->barren + 1 : 0;
		more = d->again || (a->status == STORE_OK && promised && d->barren < BARREN_MAX);
		d->dry = a->status == STORE_OK && !more;
		d->leasing = false;
		d->again = false;
	}
	if (s)
		subscriber_pump_starved(s);
	if (more)
		desk_pump(w, d);
	op_end(op);
}

void desk_wake(struct rpc_worker *w, struct desk *d)
{
	d->dry = false;
	desk_pump(w, d);
}

void desk_pump(struct rpc_worker *w, struct desk *d)
{
	struct subscription *next;
	struct lease_ask *ask;
	struct store_lease rq;
	const struct profile *p;
	struct op *op;

	if (d->dry)
		return;
	if (d->leasing) {
		d->again = true;
		return;
	}
	p = registry_route(w->world->registry, d->tenant, slice_str(d->route));
	next = w->draining || !p || !worker_is_fresh(w) ? NULL : next_with_credit(d);
	d->starved = !next && credit_is_out(d);
	if (!next)
		return;
	op = op_new(w, NULL);
	ask = op ? arena_zalloc(op->arena, sizeof *ask) : NULL;
	if (!ask) {
		if (op)
			op_end(op);
		return; /* the poll tries again */
	}
	ask->call = next->subscriber->rc->id;
	ask->asked = credit(d, next->subscriber);
	if (ask->asked > LEASE_BATCH)
		ask->asked = LEASE_BATCH;
	memcpy(ask->tenant, d->tenant, sizeof ask->tenant);
	memcpy(ask->queue, d->queue, sizeof ask->queue);
	op->state = ask;
	op->on_answer = leased;
	rq = (struct store_lease){.slot = {d->tenant, d->queue}, .max = ask->asked, .owner = next->subscriber->key, .lease_ms = profile_hold_ms(p)};
	reserve(next, ask->asked);
	d->leasing = true;
	shared_route_hungry(d->shared, w->env.index);
	w->env.store->ops->lease(w->env.store, &rq, op_store_done, w, op->id);
}

struct wake {
	struct rpc_worker *w;
	char tenant[64], queue[QUEUE_MAX_BYTES + 1];
};

static void wake_here(void *arg)
{
	struct wake *k = arg;
	struct desk *d = desk_find(k->w, k->tenant, k->queue);

	if (d)
		desk_wake(k->w, d);
	free(k);
}

static void wake_other(struct rpc_worker *w, unsigned index, const char *tenant, const char *queue)
{
	struct wake *k = calloc(1, sizeof *k);

	if (!k)
		return; /* that worker polls */
	k->w = w->env.rpc[index];
	slice_copy_str(slice_str(tenant), k->tenant, sizeof k->tenant);
	slice_copy_str(slice_str(queue), k->queue, sizeof k->queue);
	if (!k->w || !call_post(w->env.peers[index], wake_here, k))
		free(k);
}

void desk_stir(struct rpc_worker *w, const char *tenant, const char *queue)
{
	struct desk *d = desk_get(w, tenant, queue);

	if (d)
		shared_route_stir(d->shared);
}

void desk_announce(struct rpc_worker *w, const char *tenant, const char *queue)
{
	struct desk *d = desk_get(w, tenant, queue);
	uint64_t hungry;

	if (!d)
		return;
	shared_route_stir(d->shared);
	hungry = shared_route_take_hungry(d->shared); /* before this desk asks, which says anew that it is */
	desk_wake(w, d);
	for (unsigned i = 0; hungry && i < w->env.workers; i++)
		if ((hungry >> i & 1) && i != w->env.index)
			wake_other(w, i, tenant, queue);
}

void rpc_worker_store_wake(void *worker, const char *tenant, const char *queue)
{
	desk_announce(worker, tenant, queue);
}
