/* How are many small allocations given back at once? They are cut from a chain of blocks; the blocks are freed
 * together. The cap counts what the blocks take from the system, headers included. */
#include "base/arena.h"

#include <stdarg.h>
#include <stdalign.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BLOCK_FIRST_BYTES 4096
#define BLOCK_MAX_BYTES (64 * 1024) /* a larger single allocation gets a block of its own size */

struct block {
	struct block *next; /* older one */
	size_t size;        /* bytes in data[] */
	size_t used;
	alignas(max_align_t) uint8_t data[];
};

struct arena {
	size_t cap;
	size_t taken; /* bytes of all blocks with their headers */
	size_t used;  /* bytes handed out, alignment included */
	struct block *last;
	bool failed;
};

struct arena *arena_new(size_t cap)
{
	struct arena *a = calloc(1, sizeof *a);

	if (a)
		a->cap = cap;
	return a;
}

void arena_free(struct arena *a)
{
	struct block *b, *next;

	if (!a)
		return;
	for (b = a->last; b; b = next) {
		next = b->next;
		free(b);
	}
	free(a);
}

void arena_reset(struct arena *a)
{
	struct block *b = a->last, *next;

	for (; b && b->next; b = next) {
		next = b->next;
		free(b);
	}
	a->last = b;
	a->used = 0;
	a->taken = 0;
	a->failed = false;
	if (b) {
		b->used = 0;
		a->taken = sizeof *b + b->size;
	}
}

/* A block with room for n bytes; smaller than usual when the cap is near. */
static struct block *block_new(struct arena *a, size_t n)
{
	size_t left = a->cap - a->taken, size = a->last ? a->last->size * 2 : BLOCK_FIRST_BYTES;
	struct block *b;

	if (left < sizeof *b || n > left - sizeof *b)
		return NULL;
	left -= sizeof *b;
	if (size > BLOCK_MAX_BYTES)
		size = BLOCK_MAX_BYTES;
	if (size > left)
		size = left;
	if (size < n)
		size = n;
	b = malloc(sizeof *b + size);
	if (!b)
		return NULL;
	*b = (struct block){.next = a->last, .size = size};
	a->last = b;
	a->taken += sizeof *b + size;
	return b;
}

void *arena_alloc(struct arena *a, size_t n)
{
	const size_t align = alignof(max_align_t);
	struct block *b = a->last;
	void *p;

	if (n > SIZE_MAX - align)
		goto failed;
	n = n ? (n + align - 1) / align * align : align;
	if ((!b || n > b->size - b->used) && !(b = block_new(a, n)))
		goto failed;
	p = b->data + b->used;
	b->used += n;
	a->used += n;
	return p;
failed:
	a->failed = true;
	return NULL;
}

void *arena_zalloc(struct arena *a, size_t n)
{
	void *p = arena_alloc(a, n);

	return p ? memset(p, 0, n) : NULL;
}

char *arena_strndup(struct arena *a, const void *p, size_t n)
{
	char *s = arena_alloc(a, n < SIZE_MAX ? n + 1 : n);

	if (!s)
		return NULL;
	if (n)
		memcpy(s, p, n);
	s[n] = '\0';
	return s;
}

char *arena_strdup(struct arena *a, const char *s)
{
	return arena_strndup(a, s, strlen(s));
}

char *arena_printf(struct arena *a, const char *fmt, ...)
{
	va_list ap, again;
	char *s = NULL;
	int n;

	va_start(ap, fmt);
	va_copy(again, ap);
	n = vsnprintf(NULL, 0, fmt, ap);
	if (n >= 0)
		s = arena_alloc(a, (size_t)n + 1);
	if (s)
		vsnprintf(s, (size_t)n + 1, fmt, again);
	va_end(again);
	va_end(ap);
	return s;
}

size_t arena_used(const struct arena *a)
{
	return a->used;
}

bool arena_failed(const struct arena *a)
{
	return a->failed;
}

void arena_forgive(struct arena *a)
{
	a->failed = false;
}
