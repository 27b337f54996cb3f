/* Which nodes are there, and by which changes do they live? See fleet.h. */
#include "rpc/fleet.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

struct fleet {
	pthread_mutex_t lock;
	struct fleet_node v[FLEET_MAX];
	size_t n, rest;           /* rest: more than there is room for */
	uint64_t rest_confirmed;  /* by each of those, if it is not silent */
};

struct fleet *fleet_new(void)
{
	struct fleet *f = calloc(1, sizeof *f);

	if (f)
		pthread_mutex_init(&f->lock, NULL);
	return f;
}

void fleet_free(struct fleet *f)
{
	if (!f)
		return;
	pthread_mutex_destroy(&f->lock);
	free(f);
}

/* Of those that are not told of it is known by what all of them live. */
static void put_rest(struct fleet *f, uint64_t confirmed, int64_t silent_ms)
{
	if (silent_ms < STORE_NODE_LEASE_MS && (!f->rest || confirmed < f->rest_confirmed))
		f->rest_confirmed = confirmed;
	f->rest += silent_ms < STORE_NODE_LEASE_MS;
}

static void put(struct fleet *f, struct slice name, uint64_t confirmed, uint32_t closed, int64_t silent_ms)
{
	struct fleet_node *to = &f->v[f->n];

	if (f->n == FLEET_MAX || !slice_copy_str(name, to->name, sizeof to->name)) {
		put_rest(f, confirmed, silent_ms);
		return;
	}
	to->confirmed = confirmed;
	to->closed = closed;
	to->silent_ms = silent_ms;
	f->n++;
}

void fleet_set(struct fleet *f, const char *self, uint64_t confirmed, uint32_t closed, const struct store_node *others, size_t n)
{
	pthread_mutex_lock(&f->lock);
	f->n = f->rest = 0;
	put(f, slice_str(self), confirmed, closed, 0);
	for (size_t i = 0; i < n; i++)
		put(f, others[i].name, others[i].confirmed, others[i].closed, others[i].silent_ms);
	pthread_mutex_unlock(&f->lock);
}

void fleet_closed(struct fleet *f, const char *self, uint32_t closed)
{
	pthread_mutex_lock(&f->lock);
	if (!f->n)
		put(f, slice_str(self), 0, closed, 0);
	f->v[0].closed = closed;
	pthread_mutex_unlock(&f->lock);
}

size_t fleet_get(struct fleet *f, struct fleet_node out[FLEET_MAX])
{
	size_t n;

	pthread_mutex_lock(&f->lock);
	n = f->n;
	memcpy(out, f->v, n * sizeof *out);
	pthread_mutex_unlock(&f->lock);
	return n;
}

static bool lags(const struct fleet_node *v, uint64_t generation)
{
	return v->confirmed < generation && v->silent_ms < STORE_NODE_LEASE_MS;
}

static bool rest_lags(const struct fleet *f, uint64_t generation)
{
	return f->rest && f->rest_confirmed < generation;
}

bool fleet_lags(struct fleet *f, uint64_t generation)
{
	bool any;

	pthread_mutex_lock(&f->lock);
	any = rest_lags(f, generation);
	for (size_t i = 0; i < f->n; i++)
		any = any || lags(&f->v[i], generation);
	pthread_mutex_unlock(&f->lock);
	return any;
}

bool fleet_rest_lags(struct fleet *f, uint64_t generation)
{
	bool any;

	pthread_mutex_lock(&f->lock);
	any = rest_lags(f, generation);
	pthread_mutex_unlock(&f->lock);
	return any;
}
