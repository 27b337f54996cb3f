/* What does a worker believe at this moment? The snapshot's life: made whole, shared, dropped by its last user. */
#include "rpc/world.h"

#include <stdlib.h>
#include <string.h>

#include "policy/profile.h"

static void route_key(uint8_t key[4 + 64], const uint8_t tag[4], const char *tenant)
{
	memset(key, 0, 4 + 64);
	memcpy(key, tag, 4);
	memcpy(key + 4, tenant, strnlen(tenant, 63));
}

struct index {
	struct world *world;
	bool failed;
};

static void index_route(void *arg, const char *tenant, const struct profile *p)
{
	struct index *x = arg;
	struct world_route *r = calloc(1, sizeof *r), *other = NULL;
	uint8_t tag[4];

	if (!r) {
		x->failed = true;
		return;
	}
	handoff_route_tag(tenant, p->route, tag);
	route_key(r->key, tag, tenant);
	memcpy(r->tenant, tenant, strnlen(tenant, 63));
	memcpy(r->route, p->route, sizeof r->route);
	r->profile = p;
	HASH_FIND(hh, x->world->routes, r->key, sizeof r->key, other);
	if (other) {
		x->failed = true;
		free(r);
		return;
	}
	HASH_ADD(hh, x->world->routes, key, sizeof r->key, r);
	if (TABLE_HAS(r, hh))
		return;
	x->failed = true;
	free(r);
}

struct world *world_new(struct registry *r, struct issuers *i, const struct envelope_limits *limits, const struct world_quotas *quotas,
			bool audit_payload_hash)
{
	struct world *w = calloc(1, sizeof *w);
	struct index x = {w, false};

	if (!w) {
		registry_unref(r);
		issuers_unref(i);
		return NULL;
	}
	atomic_init(&w->refs, 1);
	w->registry = r;
	w->issuers = i;
	w->envelope = *limits;
	w->quotas = *quotas;
	w->audit_payload_hash = audit_payload_hash;
	registry_each_route(r, index_route, &x);
	if (x.failed) {
		world_unref(w);
		return NULL;
	}
	return w;
}

struct world *world_with_issuers(const struct world *w, struct issuers *i)
{
	return world_new(registry_ref(w->registry), i, &w->envelope, &w->quotas, w->audit_payload_hash);
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
		free(r);
	}
	registry_unref(w->registry);
	issuers_unref(w->issuers);
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
