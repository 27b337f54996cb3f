/* What do the workers of one process tell each other? Two tables of bit sets, one bit a worker: hungry workers by route, followers by
 * handoff. Routes are looked up once per desk; followers cost nothing while nobody follows anything elsewhere. */
#include "rpc/shared.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/table.h"

#define ROUTES_MAX 65536
#define FOLLOWED_MAX (1u << 20)

struct shared_route {
	char key[QUEUE_KEY_MAX_BYTES + 1];
	_Atomic uint64_t hungry;
	atomic_bool stirred;
	UT_hash_handle hh;
};

struct followed {
	struct handoff_id id;
	uint64_t workers;
	uint32_t count[SHARED_WORKERS_MAX]; /* followers on each worker */
	UT_hash_handle hh;
};

struct shared {
	pthread_mutex_t lock;
	struct shared_route *routes;
	struct followed *followed;
	_Atomic uint64_t n_followed;
};

struct shared *shared_new(void)
{
	struct shared *s = calloc(1, sizeof *s);

	if (s)
		pthread_mutex_init(&s->lock, NULL);
	return s;
}

void shared_free(struct shared *s)
{
	struct shared_route *r, *rt;
	struct followed *f, *ft;

	if (!s)
		return;
	HASH_ITER(hh, s->routes, r, rt) {
		HASH_DEL(s->routes, r);
		free(r);
	}
	HASH_ITER(hh, s->followed, f, ft) {
		HASH_DEL(s->followed, f);
		free(f);
	}
	pthread_mutex_destroy(&s->lock);
	free(s);
}

struct shared_route *shared_route(struct shared *s, const char *tenant, const char *route)
{
	struct shared_route *r = NULL;
	char key[QUEUE_KEY_MAX_BYTES + 1];

	if (!queue_key(tenant, route, key))
		return NULL;
	pthread_mutex_lock(&s->lock);
	HASH_FIND_STR(s->routes, key, r);
	if (!r && HASH_COUNT(s->routes) < ROUTES_MAX && (r = calloc(1, sizeof *r))) {
		slice_copy_str(slice_str(key), r->key, sizeof r->key);
		HASH_ADD_STR(s->routes, key, r);
		if (!TABLE_HAS(r, hh)) {
			free(r);
			r = NULL;
		}
	}
	pthread_mutex_unlock(&s->lock);
	return r;
}

void shared_route_hungry(struct shared_route *r, unsigned worker)
{
	atomic_fetch_or_explicit(&r->hungry, UINT64_C(1) << worker, memory_order_seq_cst);
}

uint64_t shared_route_take_hungry(struct shared_route *r)
{
	if (!atomic_load_explicit(&r->hungry, memory_order_relaxed))
		return 0;
	return atomic_exchange_explicit(&r->hungry, 0, memory_order_seq_cst);
}

void shared_route_stir(struct shared_route *r)
{
	if (!atomic_load_explicit(&r->stirred, memory_order_relaxed))
		atomic_store_explicit(&r->stirred, true, memory_order_relaxed);
}

bool shared_route_take_stirred(struct shared_route *r)
{
	return atomic_load_explicit(&r->stirred, memory_order_relaxed) && atomic_exchange_explicit(&r->stirred, false, memory_order_relaxed);
}

bool shared_follow(struct shared *s, const struct handoff_id *id, unsigned worker)
{
	struct followed *f;

	pthread_mutex_lock(&s->lock);
	HASH_FIND(hh, s->followed, id, sizeof *id, f);
	if (!f && HASH_COUNT(s->followed) < FOLLOWED_MAX && (f = calloc(1, sizeof *f))) {
		f->id = *id;
		HASH_ADD(hh, s->followed, id, sizeof f->id, f);
		if (TABLE_HAS(f, hh)) {
			atomic_fetch_add(&s->n_followed, 1);
		} else {
			free(f);
			f = NULL;
		}
	}
	if (f) {
		f->workers |= UINT64_C(1) << worker;
		f->count[worker]++;
	}
	pthread_mutex_unlock(&s->lock);
	return f != NULL;
}

void shared_unfollow(struct shared *s, const struct handoff_id *id, unsigned worker)
{
	struct followed *f;

	pthread_mutex_lock(&s->lock);
	HASH_FIND(hh, s->followed, id, sizeof *id, f);
	if (f && f->count[worker] && --f->count[worker] == 0)
		f->workers &= ~(UINT64_C(1) << worker);
	if (f && !f->workers) {
		HASH_DEL(s->followed, f);
		free(f);
		atomic_fetch_sub(&s->n_followed, 1);
	}
	pthread_mutex_unlock(&s->lock);
}

uint64_t shared_followers(struct shared *s, const struct handoff_id *id)
{
	struct followed *f;
	uint64_t workers = 0;

	if (!atomic_load(&s->n_followed))
		return 0;
	pthread_mutex_lock(&s->lock);
	HASH_FIND(hh, s->followed, id, sizeof *id, f);
	if (f)
		workers = f->workers;
	pthread_mutex_unlock(&s->lock);
	return workers;
}
