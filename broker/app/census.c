/* How many connections has each agent on this node, and until when is its certificate good? A counted table under one lock, touched once a handshake and once a close. */
#include "app/census.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/table.h"

/* Connections with certificates that end at the same time. */
struct ending {
	int64_t at_ms;
	uint32_t n;
};

struct counted {
	uint32_t n;
	struct ending *endings; /* as many as it comes with different certificates: one, or two while it renews */
	uint32_t n_endings;
	UT_hash_handle hh;
	char spiffe_id[];
};

struct census {
	pthread_mutex_t lock;
	uint32_t max;
	struct counted *agents;
};

static void counted_free(struct counted *a)
{
	free(a->endings);
	free(a);
}

struct census *census_new(uint32_t max_per_agent)
{
	struct census *c = calloc(1, sizeof *c);

	if (!c)
		return NULL;
	pthread_mutex_init(&c->lock, NULL);
	c->max = max_per_agent;
	return c;
}

void census_free(struct census *c)
{
	struct counted *a, *t;

	if (!c)
		return;
	HASH_ITER(hh, c->agents, a, t) {
		HASH_DEL(c->agents, a);
		counted_free(a);
	}
	pthread_mutex_destroy(&c->lock);
	free(c);
}

void census_set_max(struct census *c, uint32_t max_per_agent)
{
	pthread_mutex_lock(&c->lock);
	c->max = max_per_agent;
	pthread_mutex_unlock(&c->lock);
}

static struct ending *ending_at(struct counted *a, int64_t at_ms)
{
	for (uint32_t i = 0; i < a->n_endings; i++)
		if (a->endings[i].at_ms == at_ms)
			return &a->endings[i];
	return NULL;
}

/* false: memory is out. */
static bool add_ending(struct counted *a, int64_t at_ms)
{
	struct ending *e = ending_at(a, at_ms), *more;

	if (!e) {
		more = realloc(a->endings, (a->n_endings + 1) * sizeof *more);
		if (!more)
			return false;
		a->endings = more;
		e = &more[a->n_endings++];
		*e = (struct ending){.at_ms = at_ms};
	}
	e->n++;
	return true;
}

static void drop_ending(struct counted *a, int64_t at_ms)
{
	struct ending *e = ending_at(a, at_ms);

	if (e && --e->n == 0)
		*e = a->endings[--a->n_endings];
}

/* Nobody is left of it. */
static void drop_if_away(struct census *c, struct counted *a)
{
	if (a->n)
		return;
	HASH_DEL(c->agents, a);
	counted_free(a);
}

/* Under the lock. NULL: memory is out. */
static struct counted *counted_of(struct census *c, const char *spiffe_id)
{
	size_t n = strlen(spiffe_id);
	struct counted *a;

	HASH_FIND(hh, c->agents, spiffe_id, n, a);
	if (!a && (a = calloc(1, sizeof *a + n + 1))) {
		memcpy(a->spiffe_id, spiffe_id, n);
		HASH_ADD_KEYPTR(hh, c->agents, a->spiffe_id, n, a);
		if (!TABLE_HAS(a, hh)) {
			free(a);
			a = NULL;
		}
	}
	return a;
}

bool census_enter(struct census *c, const struct census_entrant *e)
{
	struct counted *a;
	bool ok;

	pthread_mutex_lock(&c->lock);
	a = counted_of(c, e->spiffe_id);
	ok = a && a->n < (e->refused ? (c->max + 1) / 2 : c->max) && add_ending(a, e->certificate_ends_ms);
	if (ok)
		a->n++;
	if (a)
		drop_if_away(c, a);
	pthread_mutex_unlock(&c->lock);
	return ok;
}

uint32_t census_count(struct census *c, const char *spiffe_id, int64_t *certificate_ends_ms)
{
	struct counted *a = NULL;
	uint32_t n;

	pthread_mutex_lock(&c->lock);
	HASH_FIND(hh, c->agents, spiffe_id, strlen(spiffe_id), a);
	n = a ? a->n : 0;
	*certificate_ends_ms = 0;
	for (uint32_t i = 0; a && i < a->n_endings; i++)
		if (a->endings[i].at_ms > *certificate_ends_ms)
			*certificate_ends_ms = a->endings[i].at_ms;
	pthread_mutex_unlock(&c->lock);
	return n;
}

void census_leave(struct census *c, const char *spiffe_id, int64_t certificate_ends_ms)
{
	struct counted *a = NULL;

	pthread_mutex_lock(&c->lock);
	HASH_FIND(hh, c->agents, spiffe_id, strlen(spiffe_id), a);
	if (a) {
		drop_ending(a, certificate_ends_ms);
		a->n--;
		drop_if_away(c, a);
	}
	pthread_mutex_unlock(&c->lock);
}
