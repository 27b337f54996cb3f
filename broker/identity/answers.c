/* What did an issuer say of an opaque token a moment ago? See answers.h. */
#include "identity/answers.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "identity/token_cache.h"

#define SALT_BYTES 16 /* agents choose their tokens, but not where they are kept */

struct answers {
	pthread_mutex_t lock;
	struct token_cache *cache;
	uint8_t salt[SALT_BYTES];
};

void answer_free(struct answer *a)
{
	if (!a)
		return;
	free(a->facts);
	free(a);
}

static void drop(void *known)
{
	answer_free(known);
}

struct answers *answers_new(void)
{
	struct answers *s = calloc(1, sizeof *s);

	if (!s)
		return NULL;
	s->cache = token_cache_new(ANSWERS_MAX, drop);
	if (!s->cache) {
		free(s);
		return NULL;
	}
	pthread_mutex_init(&s->lock, NULL);
	random_bytes(s->salt, sizeof s->salt);
	return s;
}

void answers_free(struct answers *s)
{
	if (!s)
		return;
	token_cache_free(s->cache);
	pthread_mutex_destroy(&s->lock);
	free(s);
}

void answers_key(const struct answers *s, const uint8_t source[SHA256_BYTES], struct slice token, uint8_t key[SHA256_BYTES])
{
	const struct slice parts[] = {slice_of(s->salt, sizeof s->salt), slice_of(source, SHA256_BYTES), token};

	sha256_parts(parts, sizeof parts / sizeof parts[0], key);
}

void answers_put(struct answers *s, const uint8_t key[SHA256_BYTES], struct answer *a)
{
	pthread_mutex_lock(&s->lock);
	token_cache_put(s->cache, key, 0, a);
	pthread_mutex_unlock(&s->lock);
}

/* Under the lock. */
static const struct answer *find(struct answers *s, const uint8_t key[SHA256_BYTES], int64_t now_ms)
{
	uint64_t epoch;
	const struct answer *a = token_cache_get(s->cache, key, &epoch);

	return a && now_ms < a->until_ms ? a : NULL;
}

bool answers_find(struct answers *s, const uint8_t key[SHA256_BYTES], int64_t now_ms, struct arena *arena, struct answer *out)
{
	const struct answer *a;
	bool found;

	pthread_mutex_lock(&s->lock);
	a = find(s, key, now_ms);
	found = a;
	if (a)
		*out = *a;
	if (a && a->facts) {
		out->facts = arena_alloc(arena, facts_size(a->facts));
		found = out->facts;
	}
	if (found && a->facts)
		memcpy(out->facts, a->facts, facts_size(a->facts));
	pthread_mutex_unlock(&s->lock);
	return found;
}

bool answers_have(struct answers *s, const uint8_t key[SHA256_BYTES], int64_t now_ms)
{
	bool found;

	pthread_mutex_lock(&s->lock);
	found = find(s, key, now_ms);
	pthread_mutex_unlock(&s->lock);
	return found;
}
