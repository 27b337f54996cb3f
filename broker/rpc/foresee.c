/* What would a revocation close, on every node? See foresee.h. */
#include "rpc/foresee.h"

#include "rpc/worker.h"

#define ARENA_MAX 65536

uint64_t rpc_worker_asked(const struct rpc_worker *w, uint64_t after, struct revocations **about)
{
	const struct resource *r = resources_find(w->world->resources, SLICE_LIT(FORESEE_NAME));
	const pb_revocation *m;
	struct arena *a;

	if (!r || r->removed || r->generation == after)
		return 0;
	a = arena_new(ARENA_MAX);
	m = a ? revoked_unpack(a, r) : NULL;
	*about = m ? revoked_alone(m) : NULL;
	if (a)
		arena_free(a);
	return *about ? r->generation : 0;
}
