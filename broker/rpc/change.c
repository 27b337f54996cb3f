/* How do watchers and holders on other workers hear that a handoff changed, or that its lease was resumed on another stream? Followers are
 * marked in the shared table; each of their workers gets one message and looks for itself. */
#include <stdlib.h>

#include "rpc/desk.h"
#include "rpc/follow.h"

struct change {
	struct rpc_worker *w;
	struct handoff_id id;
	uint64_t fence;   /* of a lease that was resumed */
	int64_t at_us;
};

static void changed_here(void *arg)
{
	struct change *c = arg;

	watch_changed(c->w, &c->id);
	holding_changed(c->w, &c->id);
	free(c);
}

static void taken_here(void *arg)
{
	struct change *c = arg;

	holding_taken(c->w, &c->id, c->fence, c->at_us);
	free(c);
}

/* One message to each other worker that follows the handoff. */
static void tell_others(struct rpc_worker *w, const struct change *what, void (*hear)(void *arg))
{
	uint64_t who = w->env.workers > 1 ? shared_followers(w->env.shared, &what->id) : 0;

	for (unsigned i = 0; who && i < w->env.workers; i++) {
		struct change *c;

		if (!(who >> i & 1) || i == w->env.index)
			continue;
		c = malloc(sizeof *c);
		if (!c)
			return; /* they poll */
		*c = *what;
		c->w = w->env.rpc[i];
		if (!c->w || !call_post(w->env.peers[i], hear, c))
			free(c);
	}
}

void change_publish(struct rpc_worker *w, const struct handoff_id *id)
{
	watch_changed(w, id);
	tell_others(w, &(struct change){.id = *id}, changed_here);
}

void change_taken(struct rpc_worker *w, const struct handoff_id *id, uint64_t fence, int64_t at_us)
{
	tell_others(w, &(struct change){.id = *id, .fence = fence, .at_us = at_us}, taken_here);
}
