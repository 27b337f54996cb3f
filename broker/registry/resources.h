/* What do all nodes share, as this one knows it? An immutable, refcounted snapshot of resources: each a name, its latest version and its value. A
 * change makes a new snapshot; no resource in it is older than it was in the one before. A version that was lost with a fail-over may be given again,
 * to another change: of two of the same version the later generation counts. */
#ifndef BATON_REGISTRY_RESOURCES_H
#define BATON_REGISTRY_RESOURCES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/slice.h"

struct resource {
	struct slice name;             /* "agent/acme/planner" */
	uint64_t version, generation;  /* as the store counts them */
	int64_t changed_at_ms;
	bool removed;
	struct slice value;
};

struct resources;
struct resources *resources_new(void); /* empty */
struct resources *resources_ref(struct resources *r);
void resources_unref(struct resources *r); /* NULL is fine */
/* r, and these in the place of what it has of their names, copied; the names differ. Those that are not newer are left out: *behind counts those of
 * an older version. NULL: out of memory. */
struct resources *resources_with(const struct resources *r, const struct resource *v, size_t n, size_t *behind);
/* r without those of these names that are of this version still; v is in the order of the names. NULL: out of memory. */
struct resources *resources_without(const struct resources *r, const struct resource *v, size_t n);

/* In the order of their names. */
size_t resources_count(const struct resources *r);
const struct resource *resources_at(const struct resources *r, size_t i);
const struct resource *resources_find(const struct resources *r, struct slice name); /* NULL: it never was */
/* Of the first whose name is not before this one; resources_count() when all are. */
size_t resources_place(const struct resources *r, struct slice name);

#endif
