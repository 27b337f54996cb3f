/* Of several routes' handoffs, each newest first, which is the newest of all, and where does the next page go on? Pure: what a store knows is
 * put in, nothing is asked for here. Private to rpc/. */
#ifndef BATON_RPC_MERGE_H
#define BATON_RPC_MERGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "registry/registry.h"
#include "store/store.h"

#define MERGE_ROUTES_MAX (2 * AGENT_ROUTES_MAX)
#define MERGE_CHUNK 64           /* entries of a route that are known at once */
#define MERGE_END 1              /* positions count from 1: before it is nothing */
#define MERGE_POSITION_MAX (1ull << 53)

struct merge_entry {
	uint64_t position;
	int64_t accepted_at_ms;
	bool read;               /* item says what the caller sees of it; */
	void *item;              /* NULL = nothing */
};

struct merge_route {
	uint64_t before;         /* what stands here or later is dealt with; 0 = nothing is yet, MERGE_END = all is */
	uint64_t from;           /* where the entries after the known ones begin; MERGE_END = there are none */
	struct merge_entry entries[MERGE_CHUNK];
	size_t n;
};

struct merge {
	struct merge_route *routes;
	size_t n;
	size_t at[MERGE_ROUTES_MAX]; /* by route: the first entry that was not taken */
};

/* n routes from their newest on; false when memory is out. */
bool merge_init(struct merge *m, struct arena *a, size_t n);
/* Goes on where merge_format() was. False for what it never gives for this number of routes; "" is the beginning. */
bool merge_parse(struct merge *m, const char *token);
/* One position a route: "p1.p2.p3". "" when every route is at its end, NULL when memory is out. */
char *merge_format(const struct merge *m, struct arena *a);
bool merge_ended(const struct merge *m);
/* The first route of which nothing is known and more is to be asked for, or m->n. */
size_t merge_hungry(const struct merge *m);
/* What a store listed of a hungry route before its `from`: at most MERGE_CHUNK items, next as in struct store_answer. */
void merge_put(struct merge *m, size_t route, const struct store_item *items, size_t n, uint64_t next);
/* The route of the newest entry, the first of equals; m->n when a route is hungry or nothing is left. */
size_t merge_newest(const struct merge *m);
struct merge_entry *merge_first(struct merge *m, size_t route);
/* How many entries of the newest one's route stand among the next `max`, as far as that is known. */
size_t merge_share(const struct merge *m, size_t max);
/* The route's first entry is dealt with. */
void merge_take(struct merge *m, size_t route);

#endif
