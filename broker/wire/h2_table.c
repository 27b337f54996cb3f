/* Which streams are open on a session? A small hash table from stream id to stream. Ids count up by two, so id / 2
 * spreads them evenly; four buckets inside the session serve the usual peer with one or two long streams without an
 * allocation. */
#include "wire/h2_priv.h"

#include <stdlib.h>

static struct h2_stream **h2_table_bucket(const struct h2_table *t, int32_t id)
{
	return &t->buckets[((uint32_t)id >> 1) & (t->n_buckets - 1)];
}

void h2_table_init(struct h2_table *t)
{
	*t = (struct h2_table){.n_buckets = H2_TABLE_INLINE};
	t->buckets = t->inlined;
}

void h2_table_clear(struct h2_table *t, void (*free_stream)(struct h2_stream *s))
{
	for (size_t i = 0; i < t->n_buckets; i++) {
		for (struct h2_stream *s = t->buckets[i], *next; s; s = next) {
			next = s->next;
			free_stream(s);
		}
	}
	if (t->buckets != t->inlined)
		free(t->buckets);
	h2_table_init(t);
}

struct h2_stream *h2_table_find(const struct h2_table *t, int32_t id)
{
	struct h2_stream *s = *h2_table_bucket(t, id);

	while (s && s->id != id)
		s = s->next;
	return s;
}

static void h2_table_link(struct h2_table *t, struct h2_stream *s)
{
	struct h2_stream **b = h2_table_bucket(t, s->id);

	s->next = *b;
	*b = s;
}

/* Failing to grow costs speed, nothing else. */
static void h2_table_grow(struct h2_table *t)
{
	size_t n = t->n_buckets;
	struct h2_stream **old = t->buckets, **wider = calloc(n * 4, sizeof *wider);

	if (!wider)
		return;
	t->buckets = wider;
	t->n_buckets = n * 4;
	for (size_t i = 0; i < n; i++) {
		for (struct h2_stream *s = old[i], *next; s; s = next) {
			next = s->next;
			h2_table_link(t, s);
		}
	}
	if (old != t->inlined)
		free(old);
}

struct h2_stream *h2_table_add(struct h2_table *t, int32_t id)
{
	struct h2_stream *s = calloc(1, sizeof *s);

	if (!s)
		return NULL;
	if (t->n >= t->n_buckets * 2)
		h2_table_grow(t);
	s->id = id;
	h2_table_link(t, s);
	t->n++;
	return s;
}

void h2_table_remove(struct h2_table *t, struct h2_stream *s)
{
	struct h2_stream **p = h2_table_bucket(t, s->id);

	while (*p != s)
		p = &(*p)->next;
	*p = s->next;
	t->n--;
}
