/* How much has each tenant in the store, on all its routes together? See tenants.h. A tenant's sum is kept as its routes change, so that nobody has
 * to add them up for an envelope. */
#include "rpc/tenants.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/table.h"
#include "base/words.h"

#define ROUTES_MAX 32768 /* a store knows half as many */
#define TENANTS_MAX 32768
#define FORGET_MS 60000  /* of a route that is configured no more, or of a store that is away */

struct tenant {
	char name[NAME_MAX_BYTES + 1];
	uint64_t waiting, bytes, kept;       /* the sums of its routes */
	uint64_t entering, entering_bytes;
	unsigned routes;
	UT_hash_handle hh;
};

struct route {
	char key[QUEUE_KEY_MAX_BYTES + 1];
	struct tenant *tenant;
	uint64_t waiting, bytes, kept;
	int64_t seen_ms;
	UT_hash_handle hh;
};

struct tenants {
	pthread_mutex_t lock;
	struct tenant *tenants;
	struct route *routes;
	uint64_t kept;            /* the sum of all */
	uint64_t used, max;       /* of the store's memory, as last asked */
	uint64_t since;           /* bytes sent there since */
};

struct tenants *tenants_new(void)
{
	struct tenants *t = calloc(1, sizeof *t);

	if (t)
		pthread_mutex_init(&t->lock, NULL);
	return t;
}

static void drop_route(struct tenants *t, struct route *r)
{
	r->tenant->waiting -= r->waiting;
	r->tenant->bytes -= r->bytes;
	r->tenant->kept -= r->kept;
	t->kept -= r->kept;
	r->tenant->routes--;
	HASH_DEL(t->routes, r);
	free(r);
}

static void drop_tenant(struct tenants *t, struct tenant *of)
{
	HASH_DEL(t->tenants, of);
	free(of);
}

void tenants_free(struct tenants *t)
{
	struct tenant *of, *next_of;
	struct route *r, *next;

	if (!t)
		return;
	HASH_ITER(hh, t->routes, r, next)
		drop_route(t, r);
	HASH_ITER(hh, t->tenants, of, next_of)
		drop_tenant(t, of);
	pthread_mutex_destroy(&t->lock);
	free(t);
}

/* NULL: out of memory, at the cap, or no name. */
static struct tenant *tenant_get(struct tenants *t, const char *name, bool make)
{
	struct tenant *of = NULL;

	HASH_FIND_STR(t->tenants, name, of);
	if (of || !make || HASH_COUNT(t->tenants) >= TENANTS_MAX)
		return of;
	of = calloc(1, sizeof *of);
	if (!of)
		return NULL;
	if (slice_copy_str(slice_str(name), of->name, sizeof of->name)) {
		HASH_ADD_STR(t->tenants, name, of);
		if (TABLE_HAS(of, hh))
			return of;
	}
	free(of);
	return NULL;
}

static struct route *route_get(struct tenants *t, const char *tenant, const char *route)
{
	char key[QUEUE_KEY_MAX_BYTES + 1];
	struct route *r = NULL;
	struct tenant *of;

	if (!queue_key(tenant, route, key))
		return NULL;
	HASH_FIND_STR(t->routes, key, r);
	if (r || HASH_COUNT(t->routes) >= ROUTES_MAX)
		return r;
	of = tenant_get(t, tenant, true);
	r = of ? calloc(1, sizeof *r) : NULL;
	if (!r)
		return NULL;
	slice_copy_str(slice_str(key), r->key, sizeof r->key);
	HASH_ADD_STR(t->routes, key, r);
	if (!TABLE_HAS(r, hh)) {
		free(r);
		return NULL;
	}
	r->tenant = of;
	of->routes++;
	return r;
}

void tenants_saw(struct tenants *t, const char *tenant, const char *route, uint64_t handoffs, uint64_t bytes, int64_t now_ms)
{
	struct route *r;

	pthread_mutex_lock(&t->lock);
	r = route_get(t, tenant, route);
	if (r) {
		r->tenant->waiting += handoffs - r->waiting;
		r->tenant->bytes += bytes - r->bytes;
		r->waiting = handoffs;
		r->bytes = bytes;
		r->seen_ms = now_ms;
	}
	pthread_mutex_unlock(&t->lock);
}

void tenants_keeps(struct tenants *t, const char *tenant, const char *route, uint64_t bytes, int64_t now_ms)
{
	struct route *r;

	pthread_mutex_lock(&t->lock);
	r = route_get(t, tenant, route);
	if (r) {
		r->tenant->kept += bytes - r->kept;
		t->kept += bytes - r->kept;
		r->kept = bytes;
		r->seen_ms = now_ms;
	}
	pthread_mutex_unlock(&t->lock);
}

void tenants_memory(struct tenants *t, uint64_t used, uint64_t max)
{
	pthread_mutex_lock(&t->lock);
	t->used = used;
	t->max = max;
	t->since = 0;
	pthread_mutex_unlock(&t->lock);
}

/* Does it keep more than an equal part, now that memory is short? */
static bool over_share(const struct tenants *t, const struct tenant *of, const struct tenant_room *room)
{
	if (!t->max || room->tenants < 2 || t->used + t->since < t->max / 100 * SHARE_FROM_PERCENT)
		return false;
	return of->kept > t->kept / room->tenants;
}

static enum tenant_over judge(const struct tenants *t, const struct tenant *of, uint64_t n, uint64_t bytes, struct tenant_room *room)
{
	room->waiting = of->waiting + of->entering;
	room->bytes = of->bytes + of->entering_bytes;
	room->kept = of->kept;
	if (room->max && room->waiting + n > room->max)
		return TENANT_HANDOFFS;
	if (room->max_bytes && room->bytes + bytes > room->max_bytes)
		return TENANT_BYTES;
	return over_share(t, of, room) ? TENANT_SHARE : TENANT_FITS;
}

enum tenant_over tenants_enter(struct tenants *t, const char *tenant, uint64_t n, uint64_t bytes, struct tenant_room *room)
{
	struct tenant *of;
	enum tenant_over over = TENANT_HANDOFFS; /* also without memory to remember it by */

	pthread_mutex_lock(&t->lock);
	of = tenant_get(t, tenant, true);
	if (of)
		over = judge(t, of, n, bytes, room);
	if (!over) {
		of->entering += n;
		of->entering_bytes += bytes;
		t->since += bytes;
	}
	pthread_mutex_unlock(&t->lock);
	return over;
}

void tenants_leave(struct tenants *t, const char *tenant, uint64_t n, uint64_t bytes)
{
	struct tenant *of;

	pthread_mutex_lock(&t->lock);
	of = tenant_get(t, tenant, false);
	if (of && of->entering >= n) {
		of->entering -= n;
		of->entering_bytes -= bytes;
	}
	pthread_mutex_unlock(&t->lock);
}

void tenants_look(struct tenants *t, const char *tenant, uint64_t *handoffs, uint64_t *bytes)
{
	const struct tenant *of;

	pthread_mutex_lock(&t->lock);
	of = tenant_get(t, tenant, false);
	*handoffs = of ? of->waiting : 0;
	*bytes = of ? of->bytes : 0;
	pthread_mutex_unlock(&t->lock);
}

void tenants_each(struct tenants *t, int64_t now_ms, void (*fn)(void *arg, const char *tenant, uint64_t handoffs, uint64_t bytes), void *arg)
{
	struct tenant *of, *next_of;
	struct route *r, *next;

	pthread_mutex_lock(&t->lock);
	HASH_ITER(hh, t->routes, r, next)
		if (now_ms - r->seen_ms > FORGET_MS)
			drop_route(t, r);
	HASH_ITER(hh, t->tenants, of, next_of) {
		fn(arg, of->name, of->waiting, of->bytes);
		if (!of->routes && !of->entering)
			drop_tenant(t, of);
	}
	pthread_mutex_unlock(&t->lock);
}
