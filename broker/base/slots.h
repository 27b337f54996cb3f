/* How does work that finishes later name what it was for? By a 64-bit id with a generation, never by a pointer: an id
 * whose thing has gone, or whose place was taken by another, finds nothing. One thread each. */
#ifndef BATON_BASE_SLOTS_H
#define BATON_BASE_SLOTS_H

#include <stddef.h>
#include <stdint.h>

struct slots;

struct slots *slots_new(size_t cap);
void slots_free(struct slots *s); /* the things in it are the caller's */
/* Returns the id of `thing` (never 0), or 0 at the cap. */
uint64_t slots_add(struct slots *s, void *thing);
void *slots_get(const struct slots *s, uint64_t id); /* NULL when gone; 0 is allowed */
void *slots_drop(struct slots *s, uint64_t id);      /* removes; returns what was there */
size_t slots_count(const struct slots *s);
/* Calls fn for each; fn may drop the thing it is given, and add none. */
void slots_each(struct slots *s, void (*fn)(void *arg, uint64_t id, void *thing), void *arg);

#endif
