/* Which ids were seen? See idset.h. Open addressing, at most half full. Ids are hashes of what senders chose, so that where one is looked
 * for depends on a secret too: nobody makes them all fall on one place. */
#include "rpc/idset.h"

#include <string.h>

#include "base/secret.h"

struct idset {
	size_t n, max, mask;
	uint64_t secret[2];
	bool has_zero;                   /* the id of zeros, which marks a free place */
	uint8_t (*v)[HANDOFF_ID_BYTES];
};

static const uint8_t zero[HANDOFF_ID_BYTES];

struct idset *idset_new(struct arena *a, size_t n)
{
	struct idset *s = arena_zalloc(a, sizeof *s);
	size_t places = 16;

	while (places < 2 * n)
		places *= 2;
	if (!s)
		return NULL;
	s->max = n;
	s->mask = places - 1;
	s->v = arena_zalloc(a, places * sizeof *s->v);
	random_bytes(s->secret, sizeof s->secret);
	return s->v ? s : NULL;
}

static uint64_t mix(uint64_t x)
{
	x ^= x >> 32;
	x *= 0xd6e8feb86659fd93u;
	x ^= x >> 32;
	x *= 0xd6e8feb86659fd93u;
	return x ^ x >> 32;
}

/* Where it is, or where it would be. */
static uint8_t *place_of(const struct idset *s, const uint8_t *id)
{
	uint64_t half[2];
	size_t at;

	memcpy(half, id, sizeof half);
	for (at = mix(mix(half[0] ^ s->secret[0]) + (half[1] ^ s->secret[1])) & s->mask;; at = (at + 1) & s->mask)
		if (memcmp(s->v[at], id, HANDOFF_ID_BYTES) == 0 || memcmp(s->v[at], zero, HANDOFF_ID_BYTES) == 0)
			return s->v[at];
}

bool idset_add(struct idset *s, const uint8_t id[HANDOFF_ID_BYTES])
{
	uint8_t *p;

	if (idset_has(s, id))
		return true;
	if (s->n == s->max)
		return false;
	s->n++;
	if (memcmp(id, zero, HANDOFF_ID_BYTES) == 0) {
		s->has_zero = true;
		return true;
	}
	p = place_of(s, id);
	memcpy(p, id, HANDOFF_ID_BYTES);
	return true;
}

bool idset_has(const struct idset *s, const uint8_t id[HANDOFF_ID_BYTES])
{
	if (memcmp(id, zero, HANDOFF_ID_BYTES) == 0)
		return s->has_zero;
	return memcmp(place_of(s, id), id, HANDOFF_ID_BYTES) == 0;
}
