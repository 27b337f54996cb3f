/* May an issuer be asked about one more opaque token of this agent's? See askgate.h. Nothing is allocated after the start. */
#include "identity/askgate.h"

#include <stdlib.h>

#include "base/bucket.h"

struct row {
	uint64_t agent;
	int64_t used_ms;
	struct bucket budget;
};

struct askgate {
	size_t n;
	struct row rows[ASKGATE_AGENTS_MAX];
};

struct askgate *askgate_new(void)
{
	return calloc(1, sizeof(struct askgate));
}

void askgate_free(struct askgate *g)
{
	free(g);
}

static struct row *find(struct askgate *g, uint64_t agent)
{
	for (size_t i = 0; i < g->n; i++)
		if (g->rows[i].agent == agent)
			return &g->rows[i];
	return NULL;
}

static struct row *row_new(struct askgate *g, uint64_t agent, int64_t now_ms)
{
	struct row *r = &g->rows[0];

	if (g->n < ASKGATE_AGENTS_MAX)
		r = &g->rows[g->n++];
	else
		for (size_t i = 1; i < g->n; i++)
			if (g->rows[i].used_ms < r->used_ms)
				r = &g->rows[i];
	r->agent = agent;
	bucket_fill(&r->budget, ASKGATE_BURST, now_ms);
	return r;
}

bool askgate_take(struct askgate *g, uint64_t agent, int64_t now_ms)
{
	struct row *r = find(g, agent);

	if (!r)
		r = row_new(g, agent, now_ms);
	r->used_ms = now_ms;
	return bucket_take(&r->budget, ASKGATE_BURST, ASKGATE_PER_S, now_ms);
}

void askgate_return(struct askgate *g, uint64_t agent)
{
	struct row *r = find(g, agent);

	if (r)
		bucket_return(&r->budget);
}
