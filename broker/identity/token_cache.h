/* What is known of a token? Facts of one whose signature was good, or an issuer's answer. Keyed by a SHA-256 of the whole token; bounded;
 * the least recently used gives way. One thread, or one lock. */
#ifndef BATON_IDENTITY_TOKEN_CACHE_H
#define BATON_IDENTITY_TOKEN_CACHE_H

#include <stddef.h>
#include <stdint.h>

#include "base/secret.h"

struct token_cache;

/* cap 0: keeps nothing. drop: frees what was put. NULL when memory is out. */
struct token_cache *token_cache_new(size_t cap, void (*drop)(void *known));
void token_cache_free(struct token_cache *c);
/* Borrowed until the next put; NULL when not there. *epoch: as it was put. */
const void *token_cache_get(struct token_cache *c, const uint8_t digest[SHA256_BYTES], uint64_t *epoch);
/* Takes known (also when it is not kept). Replaces what stood under that digest. */
void token_cache_put(struct token_cache *c, const uint8_t digest[SHA256_BYTES], uint64_t epoch, void *known);

#endif
