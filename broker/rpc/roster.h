/* Which agents do the resources make that all nodes share? */
#ifndef BATON_RPC_ROSTER_H
#define BATON_RPC_ROSTER_H

#include "registry/registry.h"
#include "registry/resources.h"

struct roster {
	size_t active, others;       /* quarantined, retired, expired */
	int64_t next_expiry_ms;      /* when the next of them expires; INT64_MAX: none will */
	size_t refused;              /* left out: see why */
	size_t conflicts;            /* of them those that the configuration stands in the way of */
	struct problem why;          /* of the last one that was: who, and what stands in its way */
};

/* Adds those that are active at this time. One that cannot be added (the configuration has one of its name or id, or it is none) is left out, which
 * leaves it without any right. -1: memory is out. */
int roster_add(struct registry *r, const struct resources *s, int64_t now_ms, struct roster *out);

#endif
