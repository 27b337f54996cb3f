/* Which tokens had a good signature? Keyed by the SHA-256 of the whole token; bounded; the least recently used gives
 * way. One thread. */
#ifndef BATON_IDENTITY_TOKEN_CACHE_H
#define BATON_IDENTITY_TOKEN_CACHE_H

#include "base/secret.h"
#include "identity/facts.h"

struct token_cache;

/* cap 0: keeps nothing. NULL when memory is out. */
struct token_cache *token_cache_new(size_t cap);
void token_cache_free(struct token_cache *c);
/* Borrowed until the next put; NULL when not there. *epoch: as it was put. */
const struct facts *token_cache_get(struct token_cache *c, const uint8_t digest[SHA256_BYTES], uint64_t *epoch);
/* Takes f (also when it is not kept). Replaces what stood under that digest. */
void token_cache_put(struct token_cache *c, const uint8_t digest[SHA256_BYTES], uint64_t epoch, struct facts *f);

#endif
