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
	size_t hidden;            /* silent ones too */
	uint32_t epoch;
	int64_t heard_ms;
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
	f->hidden++;
}

/* The place of a node that is told of by name; NULL: it is not. */
static struct fleet_node *put(struct fleet *f, struct slice name, uint64_t confirmed, int64_t silent_ms)
{
	struct fleet_node *to = f->n < FLEET_MAX ? &f->v[f->n] : NULL;

	if (!to || !node_name_valid(name)) {
		put_rest(f, confirmed, silent_ms);
		return NULL;
	}
	*to = (struct fleet_node){.confirmed = confirmed, .silent_ms = silent_ms};
	slice_copy_str(name, to->name, sizeof to->name);
	f->n++;
	return to;
}

static void put_other(struct fleet *f, const struct store_node *other)
{
	struct fleet_node *to = put(f, other->name, other->confirmed, other->silent_ms);

	if (to)
		node_report_read(other->report, &to->report);
}

void fleet_set(struct fleet *f, const char *self, uint64_t confirmed, const struct node_report *own, const struct store_node *others, size_t n)
{
	struct fleet_node *me;

	pthread_mutex_lock(&f->lock);
	f->n = f->rest = f->hidden = 0;
	me = put(f, slice_str(self), confirmed, 0);
	if (me)
		me->report = *own;
	for (size_t i = 0; i < n; i++)
		put_other(f, &others[i]);
	pthread_mutex_unlock(&f->lock);
}

void fleet_tell(struct fleet *f, const char *self, const struct node_report *own)
{
	pthread_mutex_lock(&f->lock);
	if (!f->n)
		put(f, slice_str(self), 0, 0);
	f->v[0].report = *own;
	pthread_mutex_unlock(&f->lock);
}

void fleet_heard(struct fleet *f, uint32_t epoch, int64_t now_ms)
{
	pthread_mutex_lock(&f->lock);
	f->epoch = epoch;
	f->heard_ms = now_ms;
	pthread_mutex_unlock(&f->lock);
}

size_t fleet_see(struct fleet *f, int64_t now_ms, struct fleet_node out[FLEET_MAX], struct fleet_sight *sight)
{
	size_t n;

	pthread_mutex_lock(&f->lock);
	n = f->n;
	memcpy(out, f->v, n * sizeof *out);
	*sight = (struct fleet_sight){.age_ms = now_ms > f->heard_ms ? now_ms - f->heard_ms : 0, .epoch = f->epoch, .hidden = f->hidden};
	pthread_mutex_unlock(&f->lock);
	return n;
}

size_t fleet_get(struct fleet *f, struct fleet_node out[FLEET_MAX])
{
	struct fleet_sight sight;

	return fleet_see(f, 0, out, &sight);
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
