/* What does a worker believe at this moment? The snapshot's life: made whole, shared, dropped by its last user. */
#include "rpc/world.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "policy/profile.h"
#include "rpc/revoked.h"

static void route_key(uint8_t key[4 + 64], const uint8_t tag[4], const char *tenant)
{
	memset(key, 0, 4 + 64);
	memcpy(key, tag, 4);
	memcpy(key + 4, tenant, strnlen(tenant, 63));
}

static void route_free(struct world_route *r)
{
	free(r->inboxes);
	free(r);
}

struct index {
	struct world *world;
	struct world_route *broadcast; /* whose inboxes are being added */
	bool failed;
};

/* NULL, and x->failed: out of memory, or another queue of the tenant has the same tag. */
static struct world_route *add_queue(struct index *x, const char *tenant, const struct profile *p, const char *queue)
{
	struct world_route *r = calloc(1, sizeof *r), *other = NULL;
	uint8_t tag[4];

	x->failed |= !r;
	if (!r)
		return NULL;
	handoff_route_tag(tenant, queue, tag);
	route_key(r->key, tag, tenant);
	memcpy(r->tenant, tenant, strnlen(tenant, 63));
	memcpy(r->route, p->route, sizeof r->route);
	slice_copy_str(slice_str(queue), r->queue, sizeof r->queue);
	r->profile = p;
	HASH_FIND(hh, x->world->routes, r->key, sizeof r->key, other);
	if (!other)
		HASH_ADD(hh, x->world->routes, key, sizeof r->key, r);
	if (!other && TABLE_HAS(r, hh))
		return r;
	x->failed = true;
	route_free(r);
	return NULL;
}

void world_queue(const struct profile *p, const char *agent, char out[QUEUE_MAX_BYTES + 1])
{
	if (p->broadcast)
		queue_inbox(p->route, slice_str(agent), out);
	else
		slice_copy_str(slice_str(p->route), out, QUEUE_MAX_BYTES + 1);
}

static bool add_name(struct world_route *of, const char *agent)
{
	size_t before = of->inboxes ? strlen(of->inboxes) : 0, n = strlen(agent);
	char *names = realloc(of->inboxes, before + n + 2);

	if (!names)
		return false;
	of->inboxes = names;
	if (before)
		names[before++] = ' ';
	memcpy(names + before, agent, n + 1);
	of->n_inboxes++;
	return true;
}

static void add_inbox(void *arg, const struct agent *a)
{
	struct index *x = arg;
	struct world_route *of = x->broadcast;
	char queue[QUEUE_MAX_BYTES + 1];

	if (strcmp(a->tenant, of->tenant) != 0 || !agent_may_serve(a, slice_str(of->route)))
		return;
	world_queue(of->profile, a->name, queue);
	if (!add_queue(x, of->tenant, of->profile, queue) || !add_name(of, a->name))
		x->failed = true;
}

static void index_route(void *arg, const char *tenant, const struct profile *p)
{
	struct index *x = arg;

	x->broadcast = add_queue(x, tenant, p, p->route);
	if (x->broadcast && p->broadcast)
		registry_each_agent(x->world->registry, add_inbox, x);
}

struct world *world_new(struct registry *r, struct issuers *i, struct resources *s, uint64_t generation, const struct envelope_limits *limits,
			const struct world_quotas *quotas, bool audit_payload_hash)
{
	struct world *w = calloc(1, sizeof *w);
	struct index x = {.world = w};

	s = s ? s : resources_new();
	if (!w || !s) {
		registry_unref(r);
		issuers_unref(i);
		resources_unref(s);
		free(w);
		return NULL;
	}
	atomic_init(&w->refs, 1);
	w->registry = r;
	w->issuers = i;
	w->resources = s;
	w->generation = generation;
	w->made_unix_ms = clock_unix_ms();
	w->revocations = revoked_read(s);
	w->envelope = *limits;
	w->quotas = *quotas;
	w->audit_payload_hash = audit_payload_hash;
	w->grants = grants_new(s);
	w->tenancy = tenancy_new(r, i, s);
	registry_each_route(r, index_route, &x);
	if (!w->revocations || !w->grants || !w->tenancy || x.failed) {
		world_unref(w);
		return NULL;
	}
	return w;
}

void world_set_audience(struct world *w, const char *audience)
{
	slice_copy_str(slice_str(audience), w->admin_audience, sizeof w->admin_audience);
}

void world_set_private_fetches(struct world *w, bool allowed)
{
	w->allow_private_fetches = allowed;
}

void world_set_secrets(struct world *w, bool there)
{
	w->has_secrets = there;
}

void world_set_trust(struct world *w, struct trust *t)
{
	trust_unref(w->trust);
	w->trust = trust_ref(t);
}

void world_set_issuing(struct world *w, struct issuing *i)
{
	issuing_unref(w->issuing);
	w->issuing = issuing_ref(i);
}

static struct world *world_like(const struct world *w, struct registry *r, struct issuers *i, struct resources *s, uint64_t generation)
{
	struct world *now = world_new(r, i, s, generation, &w->envelope, &w->quotas, w->audit_payload_hash);

	if (now) {
		world_set_audience(now, w->admin_audience);
		world_set_private_fetches(now, w->allow_private_fetches);
		world_set_secrets(now, w->has_secrets);
		world_set_trust(now, w->trust);
		world_set_issuing(now, w->issuing);
	}
	return now;
}

struct world *world_with_issuers(const struct world *w, struct issuers *i)
{
	return world_like(w, registry_ref(w->registry), i, resources_ref(w->resources), w->generation);
}

struct world *world_with_agents(const struct world *w, struct registry *r, struct resources *s, uint64_t generation)
{
	return world_like(w, r, issuers_ref(w->issuers), s, generation);
}

struct world *world_ref(struct world *w)
{
	atomic_fetch_add_explicit(&w->refs, 1, memory_order_relaxed);
	return w;
}

void world_unref(struct world *w)
{
	struct world_route *r, *t;

	if (!w || atomic_fetch_sub_explicit(&w->refs, 1, memory_order_acq_rel) != 1)
		return;
	HASH_ITER(hh, w->routes, r, t) {
		HASH_DEL(w->routes, r);
		route_free(r);
	}
	grants_free(w->grants);
	tenancy_free(w->tenancy);
	registry_unref(w->registry);
	issuers_unref(w->issuers);
	trust_unref(w->trust);
	issuing_unref(w->issuing);
	resources_unref(w->resources);
	revocations_unref(w->revocations);
	free(w);
}

const struct world_route *world_route_of(const struct world *w, const char *tenant, const struct handoff_id *id)
{
	struct world_route *r = NULL;
	uint8_t key[4 + 64];

	route_key(key, id->tag, tenant);
	HASH_FIND(hh, w->routes, key, sizeof key, r);
	return r;
}

const struct world_route *world_route(const struct world *w, const char *tenant, const char *route)
{
	struct handoff_id id;

	handoff_route_tag(tenant, route, id.tag);
	return world_route_of(w, tenant, &id);
}

const struct world_route *world_route_by_tag(const struct world *w, const char *tenant, const struct handoff_id *id)
{
	const struct world_route *found = NULL;

	for (const struct world_route *r = w->routes; r; r = r->hh.next) {
		if (memcmp(r->key, id->tag, sizeof id->tag) != 0 || (*tenant && strcmp(r->tenant, tenant) != 0))
			continue;
		if (found)
			return NULL;
		found = r;
	}
	return found;
}
