/* What do all nodes share, as this one knows it? A sorted array of pointers: snapshots have the resources in common that did not change. */
#include "registry/resources.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

struct entry {
	atomic_int refs;
	struct resource r;
	uint8_t room[]; /* name and value */
};

struct resources {
	atomic_int refs;
	size_t n;
	struct entry *v[];
};

static void entry_unref(struct entry *e)
{
	if (e && atomic_fetch_sub_explicit(&e->refs, 1, memory_order_acq_rel) == 1)
		free(e);
}

static struct entry *entry_ref(struct entry *e)
{
	atomic_fetch_add_explicit(&e->refs, 1, memory_order_relaxed);
	return e;
}

static struct entry *entry_new(const struct resource *r)
{
	struct entry *e = malloc(sizeof *e + r->name.n + r->value.n);

	if (!e)
		return NULL;
	atomic_init(&e->refs, 1);
	e->r = *r;
	e->r.name = slice_of(e->room, r->name.n);
	e->r.value = slice_of(e->room + r->name.n, r->value.n);
	memcpy(e->room, r->name.p, r->name.n);
	if (r->value.n)
		memcpy(e->room + r->name.n, r->value.p, r->value.n);
	return e;
}

static struct resources *make(size_t room)
{
	struct resources *r = calloc(1, sizeof *r + room * sizeof r->v[0]);

	if (r)
		atomic_init(&r->refs, 1);
	return r;
}

struct resources *resources_new(void)
{
	return make(0);
}

struct resources *resources_ref(struct resources *r)
{
	atomic_fetch_add_explicit(&r->refs, 1, memory_order_relaxed);
	return r;
}

void resources_unref(struct resources *r)
{
	if (!r || atomic_fetch_sub_explicit(&r->refs, 1, memory_order_acq_rel) != 1)
		return;
	for (size_t i = 0; i < r->n; i++)
		entry_unref(r->v[i]);
	free(r);
}

/* ---- look-up ---- */

size_t resources_count(const struct resources *r)
{
	return r->n;
}

const struct resource *resources_at(const struct resources *r, size_t i)
{
	return &r->v[i]->r;
}

size_t resources_place(const struct resources *r, struct slice name)
{
	size_t low = 0, high = r->n;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (slice_compare(r->v[mid]->r.name, name) < 0)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

const struct resource *resources_find(const struct resources *r, struct slice name)
{
	size_t i = resources_place(r, name);

	return i < r->n && slice_eq(r->v[i]->r.name, name) ? &r->v[i]->r : NULL;
}

/* ---- the next snapshot ---- */

static int by_name(const void *a, const void *b)
{
	return slice_compare((*(const struct resource *const *)a)->name, (*(const struct resource *const *)b)->name);
}

static bool is_newer(const struct resource *r, const struct resource *known)
{
	return r->version > known->version || (r->version == known->version && r->generation > known->generation);
}

/* Those that are newer than what is known, by name. */
static size_t pick(const struct resources *old, const struct resource *v, size_t n, const struct resource **out, size_t *behind)
{
	size_t k = 0;

	for (size_t i = 0; i < n; i++) {
		const struct resource *known = resources_find(old, v[i].name);

		if (!known || is_newer(&v[i], known))
			out[k++] = &v[i];
		else
			*behind += v[i].version < known->version;
	}
	qsort(out, k, sizeof *out, by_name);
	return k;
}

/* false: out of memory; what was put in so far is out's. */
static bool merge(const struct resources *old, const struct resource *const *fresh, size_t n, struct resources *out)
{
	size_t i = 0, j = 0;

	while (i < old->n || j < n) {
		int rc = i == old->n ? 1 : j == n ? -1 : slice_compare(old->v[i]->r.name, fresh[j]->name);
		struct entry *e = rc < 0 ? entry_ref(old->v[i]) : entry_new(fresh[j]);

		if (!e)
			return false;
		out->v[out->n++] = e;
		i += rc <= 0;
		j += rc >= 0;
	}
	return true;
}

struct resources *resources_with(const struct resources *old, const struct resource *v, size_t n, size_t *behind)
{
	const struct resource **fresh = malloc((n + 1) * sizeof *fresh);
	struct resources *out = make(old->n + n);
	size_t k;

	*behind = 0;
	k = fresh && out ? pick(old, v, n, fresh, behind) : 0;
	if (fresh && out && merge(old, fresh, k, out)) {
		free(fresh);
		return out;
	}
	free(fresh);
	resources_unref(out);
	return NULL;
}

struct resources *resources_without(const struct resources *old, const struct resource *v, size_t n)
{
	struct resources *out = make(old->n);
	size_t j = 0;

	for (size_t i = 0; out && i < old->n; i++) {
		const struct resource *r = &old->v[i]->r;

		while (j < n && slice_compare(v[j].name, r->name) < 0)
			j++;
		if (j == n || !slice_eq(v[j].name, r->name) || v[j].version != r->version)
			out->v[out->n++] = entry_ref(old->v[i]);
	}
	return out;
}
