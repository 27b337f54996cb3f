/* How is a version of what all nodes share sealed? As that name's, in that version, removed or not: what another name or version had does not open
 * in its place. Private to store/. */
#ifndef BATON_STORE_SHARED_H
#define BATON_STORE_SHARED_H

#include "store/record.h"

/* 1..STORE_CHANGES_MAX changes of different names, none too long or too big; a version is 1 or more. */
bool shared_changes_valid(const struct store_change *v, size_t n);
/* out has room for value.n + seal_overhead(s). 0, or -1. */
int shared_seal(struct seal *s, const struct store_change *c, uint8_t *out);
/* Of r its name, version and `removed`. Sets status and value, which lies in out (room for sealed.n). */
void shared_open(struct seal *s, struct store_resource *r, struct slice sealed, uint8_t *out);

#endif
