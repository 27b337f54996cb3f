/* How does a stale id find nothing? An id is a place and the generation of that place; each drop begins a new
 * generation. Free places stand in a list, so that adding and dropping cost the same at any size. */
#include "base/slots.h"

#include <stdlib.h>

#define SLOTS_FIRST 16
#define NO_PLACE UINT32_MAX

struct place {
	void *thing;    /* NULL: free */
	uint32_t gen;   /* 1 and up */
	uint32_t next;  /* of the free list */
};

struct slots {
	struct place *places;
	uint32_t size; /* places allocated */
	uint32_t cap;
	uint32_t count;
	uint32_t free_head;
};

struct slots *slots_new(size_t cap)
{
	struct slots *s = calloc(1, sizeof *s);

	if (!s)
		return NULL;
	s->cap = cap < NO_PLACE ? (uint32_t)cap : NO_PLACE - 1;
	s->free_head = NO_PLACE;
	return s;
}

void slots_free(struct slots *s)
{
	if (!s)
		return;
	free(s->places);
	free(s);
}

static int slots_grow(struct slots *s)
{
	uint64_t want = s->size ? (uint64_t)s->size * 2 : SLOTS_FIRST;
	struct place *p;
	uint32_t i, size = want < s->cap ? (uint32_t)want : s->cap;

	if (size == s->size)
		return -1;
	p = realloc(s->places, size * sizeof *p);
	if (!p)
		return -1;
	for (i = s->size; i < size; i++)
		p[i] = (struct place){.gen = 1, .next = i + 1 < size ? i + 1 : NO_PLACE};
	s->free_head = s->size;
	s->places = p;
	s->size = size;
	return 0;
}

uint64_t slots_add(struct slots *s, void *thing)
{
	uint32_t i;

	if (!thing || (s->free_head == NO_PLACE && slots_grow(s) < 0))
		return 0;
	i = s->free_head;
	s->free_head = s->places[i].next;
	s->places[i].thing = thing;
	s->count++;
	return (uint64_t)s->places[i].gen << 32 | (i + 1);
}

static struct place *slots_find(const struct slots *s, uint64_t id)
{
	uint32_t i = (uint32_t)id - 1; /* id 0 wraps to NO_PLACE, which is never below size */

	if (i >= s->size || s->places[i].gen != id >> 32 || !s->places[i].thing)
		return NULL;
	return &s->places[i];
}

void *slots_get(const struct slots *s, uint64_t id)
{
	struct place *p = slots_find(s, id);

	return p ? p->thing : NULL;
}

void *slots_drop(struct slots *s, uint64_t id)
{
	struct place *p = slots_find(s, id);
	void *thing;

	if (!p)
		return NULL;
	thing = p->thing;
	p->thing = NULL;
	if (++p->gen == 0)
		p->gen = 1;
	p->next = s->free_head;
	s->free_head = (uint32_t)(p - s->places);
	s->count--;
	return thing;
}

size_t slots_count(const struct slots *s)
{
	return s->count;
}

void slots_each(struct slots *s, void (*fn)(void *arg, uint64_t id, void *thing), void *arg)
{
	uint32_t i;

	for (i = 0; i < s->size; i++)
		if (s->places[i].thing)
			fn(arg, (uint64_t)s->places[i].gen << 32 | (i + 1), s->places[i].thing);
}
