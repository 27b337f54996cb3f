/* How is what is known of tokens remembered within a bound? A fixed table of places: chained by hash for finding, and in a
 * ring by use for giving way. The digest is a SHA-256 of bytes that an issuer signed, or has a salt in it, so nobody else chooses its
 * bucket. */
#include "identity/token_cache.h"

#include <stdlib.h>
#include <string.h>

#define CACHE_MAX (1u << 20)
#define NOWHERE UINT32_MAX

struct place {
	uint8_t digest[SHA256_BYTES];
	uint64_t epoch;
	void *known;                /* owned */
	uint32_t chain;             /* next of the same bucket */
	uint32_t newer, older;      /* by use */
};

struct token_cache {
	uint32_t cap, used;
	uint32_t mask;              /* buckets - 1 */
	uint32_t newest, oldest;
	uint32_t *buckets;
	struct place *places;
	void (*drop)(void *known);
};

static uint32_t bucket_of(const struct token_cache *c, const uint8_t digest[SHA256_BYTES])
{
	uint32_t h;

	memcpy(&h, digest, sizeof h);
	return h & c->mask;
}

struct token_cache *token_cache_new(size_t cap, void (*drop)(void *known))
{
	struct token_cache *c = calloc(1, sizeof *c);
	size_t buckets = 1;

	if (!c)
		return NULL;
	c->drop = drop;
	c->cap = cap > CACHE_MAX ? CACHE_MAX : (uint32_t)cap;
	while (buckets < c->cap)
		buckets *= 2;
	c->mask = (uint32_t)buckets - 1;
	c->newest = c->oldest = NOWHERE;
	c->buckets = malloc(buckets * sizeof *c->buckets);
	c->places = calloc(c->cap ? c->cap : 1, sizeof *c->places);
	if (!c->buckets || !c->places) {
		token_cache_free(c);
		return NULL;
	}
	memset(c->buckets, 0xff, buckets * sizeof *c->buckets);
	return c;
}

void token_cache_free(struct token_cache *c)
{
	if (!c)
		return;
	for (uint32_t i = 0; i < c->used; i++)
		c->drop(c->places[i].known);
	free(c->places);
	free(c->buckets);
	free(c);
}

static void ring_remove(struct token_cache *c, uint32_t at)
{
	struct place *p = &c->places[at];

	if (p->newer == NOWHERE)
		c->newest = p->older;
	else
		c->places[p->newer].older = p->older;
	if (p->older == NOWHERE)
		c->oldest = p->newer;
	else
		c->places[p->older].newer = p->newer;
}

static void ring_push(struct token_cache *c, uint32_t at)
{
	struct place *p = &c->places[at];

	p->newer = NOWHERE;
	p->older = c->newest;
	if (c->newest == NOWHERE)
		c->oldest = at;
	else
		c->places[c->newest].newer = at;
	c->newest = at;
}

static uint32_t find(const struct token_cache *c, const uint8_t digest[SHA256_BYTES])
{
	uint32_t at = c->buckets[bucket_of(c, digest)];

	while (at != NOWHERE && memcmp(c->places[at].digest, digest, SHA256_BYTES) != 0)
		at = c->places[at].chain;
	return at;
}

const void *token_cache_get(struct token_cache *c, const uint8_t digest[SHA256_BYTES], uint64_t *epoch)
{
	uint32_t at = find(c, digest);

	if (at == NOWHERE)
		return NULL;
	if (at != c->newest) {
		ring_remove(c, at);
		ring_push(c, at);
	}
	*epoch = c->places[at].epoch;
	return c->places[at].known;
}

/* Takes the oldest place out of its bucket and the ring. */
static uint32_t evict(struct token_cache *c)
{
	uint32_t at = c->oldest, *link = &c->buckets[bucket_of(c, c->places[at].digest)];

	while (*link != at)
		link = &c->places[*link].chain;
	*link = c->places[at].chain;
	ring_remove(c, at);
	c->drop(c->places[at].known);
	return at;
}

void token_cache_put(struct token_cache *c, const uint8_t digest[SHA256_BYTES], uint64_t epoch, void *known)
{
	uint32_t at, *bucket;

	if (c->cap == 0) {
		c->drop(known);
		return;
	}
	at = find(c, digest);
	if (at != NOWHERE) {
		c->drop(c->places[at].known);
		ring_remove(c, at);
	} else {
		at = c->used < c->cap ? c->used++ : evict(c);
		memcpy(c->places[at].digest, digest, SHA256_BYTES);
		bucket = &c->buckets[bucket_of(c, digest)];
		c->places[at].chain = *bucket;
		*bucket = at;
	}
	c->places[at].known = known;
	c->places[at].epoch = epoch;
	ring_push(c, at);
}
