/* What do all nodes share, without Redis? The rules of baton2_shared.lua, for one node that is alone. */
#include <stdlib.h>

#include "base/table.h"
#include "store/memory_priv.h"
#include "store/shared.h"

#define FEED_MAX 256

struct mem_resource *mem_resource(struct memory *m, struct slice name)
{
	struct mem_resource *r = NULL;

	HASH_FIND(hh, m->resources, name.p, name.n, r);
	return r;
}

static struct mem_resource *resource_new(struct memory *m, struct slice name)
{
	struct mem_resource *r = calloc(1, sizeof *r + name.n);

	if (!r)
		abort();
	memcpy(r->name, name.p, name.n);
	r->name_n = name.n;
	HASH_ADD_KEYPTR(hh, m->resources, r->name, r->name_n, r);
	return r;
}

static void resource_drop(struct memory *m, struct mem_resource *r)
{
	HASH_DEL(m->resources, r);
	for (size_t i = 0; i < r->n; i++)
		free(r->v[i].sealed.p);
	free(r->v);
	free(r);
}

void mem_shared_free(struct memory *m)
{
	struct mem_resource *r, *next;

	HASH_ITER(hh, m->resources, r, next)
		resource_drop(m, r);
}

static const struct mem_version *present(const struct mem_resource *r)
{
	return &r->v[r->n - 1];
}

static void add_version(struct memory *m, const struct store_change *c)
{
	struct mem_resource *r = mem_resource(m, c->name);
	struct mem_version *v;

	if (!r)
		r = resource_new(m, c->name);
	if (r->n > STORE_VERSIONS_KEPT) {
		free(r->v[0].sealed.p);
		memmove(r->v, r->v + 1, --r->n * sizeof *r->v);
	}
	r->v = realloc(r->v, (r->n + 1) * sizeof *r->v);
	if (!r->v)
		abort();
	v = &r->v[r->n++];
	*v = (struct mem_version){c->version, ++m->generation, m->config.now_ms(m->config.arg), c->removed,
		{malloc(c->value.n + seal_overhead(m->seal) + 1), c->value.n + seal_overhead(m->seal)}};
	if (!v->sealed.p || shared_seal(m->seal, c, v->sealed.p) != 0)
		abort();
}

/* Names that are new among n changes. */
static size_t new_names(struct memory *m, const struct store_change *v, size_t n)
{
	size_t k = 0;

	for (size_t i = 0; i < n; i++)
		k += !v[i].forget_after_ms && !mem_resource(m, v[i].name);
	return k;
}

static bool may_be_done(struct memory *m, const struct store_change *c, uint64_t have)
{
	if (!c->forget_after_ms)
		return c->version == have + 1;
	return (!have || c->version == have + 1) && m->config.now_ms(m->config.arg) > c->forget_after_ms;
}

static void do_change(struct memory *m, const struct store_change *c)
{
	struct mem_resource *r = mem_resource(m, c->name);

	if (!c->forget_after_ms)
		add_version(m, c);
	else if (r)
		resource_drop(m, r);
}

void mem_change(struct store *st, const struct store_change *v, size_t n, store_done *done, void *user, uint64_t op)
{
	struct memory *m = (struct memory *)st;
	bool valid = shared_changes_valid(v, n);
	struct store_answer *a = mem_answer_of(mem_answer(m, done, user, op, valid ? STORE_OK : STORE_UNAVAILABLE));

	for (size_t i = 0; valid && i < n && a->status == STORE_OK; i++) {
		const struct mem_resource *r = mem_resource(m, v[i].name);
		uint64_t have = r ? present(r)->version : 0;

		if (may_be_done(m, &v[i], have))
			continue;
		a->status = STORE_CONFLICT;
		a->at = (uint32_t)i;
		a->version = have;
	}
	if (a->status == STORE_OK && HASH_COUNT(m->resources) + new_names(m, v, n) > STORE_RESOURCES_MAX)
		a->status = STORE_QUOTA;
	for (size_t i = 0; i < n && a->status == STORE_OK; i++)
		do_change(m, &v[i]);
	a->generation = m->generation;
}

static void show(struct memory *m, struct mem_answer *x, const struct mem_resource *r, const struct mem_version *v, struct store_resource *out)
{
	*out = (struct store_resource){.name = slice_of(r->name, r->name_n), .version = v->version, .generation = v->generation,
		.changed_at_ms = v->at_ms, .removed = v->removed};
	shared_open(m->seal, out, slice_of(v->sealed.p, v->sealed.n), mem_answer_keep(x, v->sealed.n));
}

static int by_generation(const void *a, const void *b)
{
	uint64_t x = present(*(struct mem_resource *const *)a)->generation, y = present(*(struct mem_resource *const *)b)->generation;

	return x < y ? -1 : x > y;
}

void mem_feed(struct store *st, const struct store_feed *f, store_done *done, void *user, uint64_t op)
{
	struct memory *m = (struct memory *)st;
	struct mem_answer *x = mem_answer(m, done, user, op, STORE_OK);
	struct store_answer *a = mem_answer_of(x);
	struct mem_resource **later = mem_answer_keep(x, HASH_COUNT(m->resources) * sizeof *later), *r, *next;
	size_t n = 0, max = f->max < FEED_MAX ? f->max : FEED_MAX;
	struct store_resource *out;

	HASH_ITER(hh, m->resources, r, next)
		if (present(r)->generation > f->after)
			later[n++] = r;
	qsort(later, n, sizeof *later, by_generation);
	out = mem_answer_keep(x, max * sizeof *out);
	a->next = f->after;
	for (; a->n_resources < n && a->n_resources < max; a->n_resources++) {
		r = later[a->n_resources];
		show(m, x, r, present(r), &out[a->n_resources]);
		a->next = present(r)->generation;
	}
	a->resources = out;
	a->more = n > a->n_resources;
	a->generation = m->generation;
	a->incarnation = m->incarnation;
}

void mem_versions(struct store *st, struct slice name, uint64_t before, uint32_t max, store_done *done, void *user, uint64_t op)
{
	struct memory *m = (struct memory *)st;
	const struct mem_resource *r = mem_resource(m, name);
	struct mem_answer *x = mem_answer(m, done, user, op, r ? STORE_OK : STORE_NOT_FOUND);
	struct store_answer *a = mem_answer_of(x);
	struct store_resource *out = mem_answer_keep(x, (STORE_VERSIONS_KEPT + 1) * sizeof *out);

	if (max > STORE_VERSIONS_KEPT)
		max = STORE_VERSIONS_KEPT;
	for (size_t i = r ? r->n : 0; i > 0 && !a->more; i--) {
		const struct mem_version *v = &r->v[i - 1];

		if (before && v->version >= before)
			continue;
		if (a->n_resources == max)
			a->more = true;
		else
			show(m, x, r, v, &out[a->n_resources++]);
	}
	a->resources = out;
	a->generation = m->generation;
}
