/* How many connections has one address? See sources.h. The table holds no more entries than there are connections,
 * whose number has a cap of its own. */
#include "config.h"

#include "net/sources.h"

#include <netinet/in.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define uthash_fatal(msg) abort()
#define HASH_NONFATAL_OOM 1
#include <uthash.h>

struct source {
	struct source_key key;
	uint32_t n;
	UT_hash_handle hh;
};

struct sources {
	pthread_mutex_t lock;
	struct source *table;
};

struct source_key source_key(const struct sockaddr *sa)
{
	struct source_key k = {{0}};

	if (sa->sa_family == AF_INET) {
		k.bytes[10] = k.bytes[11] = 0xff;
		memcpy(k.bytes + 12, &((const struct sockaddr_in *)sa)->sin_addr, 4);
	} else if (sa->sa_family == AF_INET6) {
		const struct in6_addr *a = &((const struct sockaddr_in6 *)sa)->sin6_addr;

		memcpy(k.bytes, a, IN6_IS_ADDR_V4MAPPED(a) ? 16 : 8);
	}
	return k;
}

struct sources *sources_new(void)
{
	struct sources *s = calloc(1, sizeof *s);

	if (s)
		pthread_mutex_init(&s->lock, NULL);
	return s;
}

void sources_free(struct sources *s)
{
	struct source *e, *next;

	if (!s)
		return;
	HASH_ITER(hh, s->table, e, next) {
		HASH_DEL(s->table, e);
		free(e);
	}
	pthread_mutex_destroy(&s->lock);
	free(s);
}

static struct source *find_or_add(struct sources *s, const struct source_key *k)
{
	struct source *e;

	HASH_FIND(hh, s->table, k, sizeof *k, e);
	if (e || !(e = calloc(1, sizeof *e)))
		return e;
	e->key = *k;
	HASH_ADD(hh, s->table, key, sizeof e->key, e);
	if (e->hh.tbl)
		return e;
	free(e);
	return NULL;
}

bool sources_enter(struct sources *s, const struct source_key *k, uint32_t cap)
{
	struct source *e;
	bool ok = false;

	pthread_mutex_lock(&s->lock);
	e = cap ? find_or_add(s, k) : NULL;
	if (e && e->n < cap) {
		e->n++;
		ok = true;
	}
	pthread_mutex_unlock(&s->lock);
	return ok;
}

void sources_leave(struct sources *s, const struct source_key *k)
{
	struct source *e;

	pthread_mutex_lock(&s->lock);
	HASH_FIND(hh, s->table, k, sizeof *k, e);
	if (e && --e->n == 0) {
		HASH_DEL(s->table, e);
		free(e);
	}
	pthread_mutex_unlock(&s->lock);
}
