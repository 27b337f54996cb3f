/* Who frees what one call allocated? Nobody, piece by piece: an arena gives it all back at once, and has a cap. */
#ifndef BATON_BASE_ARENA_H
#define BATON_BASE_ARENA_H

#include <stdbool.h>
#include <stddef.h>

#include "base/slice.h"

struct arena;

/* cap: bytes that all allocations together may take, block overhead included. NULL when memory is out. */
struct arena *arena_new(size_t cap);
void arena_free(struct arena *a);
/* Forgets every allocation; keeps the first block so that the next call costs no malloc. */
void arena_reset(struct arena *a);
/* Aligned for any type, not zeroed. NULL at the cap or when memory is out. */
void *arena_alloc(struct arena *a, size_t n);
void *arena_zalloc(struct arena *a, size_t n);
/* Copies n bytes and adds a NUL. */
char *arena_strndup(struct arena *a, const void *p, size_t n);
char *arena_strdup(struct arena *a, const char *s);
char *arena_printf(struct arena *a, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
size_t arena_used(const struct arena *a);
/* Something did not fit, or memory was out, since the last reset: what was built here may have holes. */
bool arena_failed(const struct arena *a);
void arena_forgive(struct arena *a); /* what had holes was thrown away */

#endif
