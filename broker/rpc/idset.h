/* Which ids were seen? A set of handoffs' ids in one piece of memory that does not grow: what has no room is not in it. Private to rpc/. */
#ifndef BATON_RPC_IDSET_H
#define BATON_RPC_IDSET_H

#include "base/arena.h"
#include "store/store.h"

struct idset;

/* Room for n ids, 32 to 64 bytes each, in the arena. NULL: over its cap, or memory is out. */
struct idset *idset_new(struct arena *a, size_t n);
/* false: no room. */
bool idset_add(struct idset *s, const uint8_t id[HANDOFF_ID_BYTES]);
bool idset_has(const struct idset *s, const uint8_t id[HANDOFF_ID_BYTES]);

#endif
