/* Is this the same request as that one? Hashes that say so: each part is length-prefixed, so no two different
 * requests can be written to look alike, and each hash begins with its own label, so that one is never taken for the
 * other. */
#include "messaging/envelope.h"

#include <stdlib.h>

#include "base/secret.h"

#define SCOPES_MAX 32
#define HASH_BYTES 16

static int scope_order(const void *a, const void *b)
{
	const struct slice *x = a, *y = b;
	size_t n = x->n < y->n ? x->n : y->n;
	int c = n ? memcmp(x->p, y->p, n) : 0;

	return c ? c : (x->n > y->n) - (x->n < y->n);
}

static void hash(const struct slice *parts, size_t n, uint8_t out[HASH_BYTES])
{
	uint8_t digest[SHA256_BYTES];

	sha256_parts(parts, n, digest);
	memcpy(out, digest, HASH_BYTES);
}

void envelope_fingerprint(const struct envelope *e, uint8_t out[16])
{
	uint8_t effect = (uint8_t)e->side_effect;
	struct slice parts[7 + SCOPES_MAX] = {
		SLICE_LIT("baton fingerprint 1"),
		e->payload,
		e->content_type.n ? e->content_type : SLICE_LIT("application/json"),
		e->tool,
		slice_of(&effect, 1),
		e->destination,
		e->parent_handoff_id,
	};
	size_t n = e->n_scopes < SCOPES_MAX ? e->n_scopes : SCOPES_MAX;

	if (n) {
		memcpy(parts + 7, e->scopes, n * sizeof *parts);
		qsort(parts + 7, n, sizeof *parts, scope_order);
	}
	hash(parts, 7 + n, out);
}

void envelope_idempotency(const char *tenant, const char *sender, const char *issuer, const char *subject,
	struct slice route,
			  struct slice key, uint8_t out[16])
{
	const struct slice parts[] = {
		SLICE_LIT("baton idempotency 1"), slice_str(tenant), slice_str(sender), slice_str(issuer),
			slice_str(subject), route, key,
	};

	hash(parts, sizeof parts / sizeof parts[0], out);
}
