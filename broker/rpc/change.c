/* How do watchers and holders on other workers hear that a handoff changed? Followers are marked in the shared table; each of their
 * workers gets one message and looks for itself. */
#include <stdlib.h>

#include "rpc/desk.h"
#include "rpc/follow.h"

struct change {
	struct rpc_worker *w;
	struct handoff_id id;
};

static void changed_here(void *arg)
{
	struct change *c = arg;

	watch_changed(c->w, &c->id);
	holding_changed(c->w, &c->id);
	free(c);
}

void change_publish(struct rpc_worker *w, const struct handoff_id *id)
{
	uint64_t who = w->env.workers > 1 ? shared_followers(w->env.shared, id) : 0;

	watch_changed(w, id);
	for (unsigned i = 0; who && i < w->env.workers; i++) {
		struct change *c;

		if (!(who >> i & 1) || i == w->env.index)
			continue;
		c = calloc(1, sizeof *c);
		if (!c)
			return; /* they poll */
		c->w = w->env.rpc[i];
		c->id = *id;
		if (!c->w || !call_post(w->env.peers[i], changed_here, c))
			free(c);
	}
}
