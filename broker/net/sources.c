/* What does one address have, and what has it had of late? See sources.h. An address without connections is remembered
 * while its budget is not whole again, so that nobody gets a new one by closing: in a list, oldest first, under a cap of
 * its own. */
#include "config.h"

#include "net/sources.h"

#include <netinet/in.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <utlist.h>

#include "base/bucket.h"
#include "base/table.h"

#define REMEMBERED_MAX 65536 /* addresses without a connection */
#define REMEMBERED_MS 2000   /* an empty budget is whole again: it holds two seconds' worth */
#define BURST_S 2

struct source {
	struct source_key key;
	uint32_t n, shaking;
	struct bucket budget;
	int64_t left_ms;           /* n is 0 since */
	struct source *prev, *next; /* in sources.left while n is 0 */
	UT_hash_handle hh;
};

struct sources {
	pthread_mutex_t lock;
	struct source *table;
	struct source *left;
	unsigned n_left;
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
	} else {
		memset(k.bytes, 0xff, sizeof k.bytes); /* this machine, by a unix socket: no host has that address */
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

static struct source *find(struct sources *s, const struct source_key *k)
{
	struct source *e;

	HASH_FIND(hh, s->table, k, sizeof *k, e);
	return e;
}

static struct source *add(struct sources *s, const struct source_key *k, uint32_t per_s, int64_t now_ms)
{
	struct source *e = calloc(1, sizeof *e);

	if (!e)
		return NULL;
	e->key = *k;
	bucket_fill(&e->budget, BURST_S * per_s, now_ms);
	HASH_ADD(hh, s->table, key, sizeof e->key, e);
	if (TABLE_HAS(e, hh))
		return e;
	free(e);
	return NULL;
}

/* ---- those without a connection ---- */

static void remember(struct sources *s, struct source *e, int64_t now_ms)
{
	e->left_ms = now_ms;
	DL_APPEND(s->left, e);
	s->n_left++;
}

static void recall(struct sources *s, struct source *e)
{
	DL_DELETE(s->left, e);
	s->n_left--;
}

/* Two at most: the list shrinks faster than it can grow. */
static void forget_old(struct sources *s, int64_t now_ms)
{
	for (int i = 0; i < 2 && s->left; i++) {
		struct source *e = s->left;

		if (s->n_left <= REMEMBERED_MAX && now_ms - e->left_ms < REMEMBERED_MS)
			return;
		recall(s, e);
		HASH_DEL(s->table, e);
		free(e);
	}
}

/* ---- in and out ---- */

static const char *judge(struct source *e, const struct source_caps *caps, int64_t now_ms)
{
	if (!bucket_take(&e->budget, BURST_S * caps->per_s, caps->per_s, now_ms))
		return "source_rate";
	if (e->n >= caps->connections)
		return "source_limit";
	if (e->shaking >= caps->handshakes)
		return "source_handshakes";
	return NULL;
}

const char *sources_enter(struct sources *s, const struct source_key *k, const struct source_caps *caps, int64_t now_ms)
{
	const char *why = "out_of_memory";
	struct source *e;

	pthread_mutex_lock(&s->lock);
	forget_old(s, now_ms);
	e = find(s, k);
	if (e && !e->n)
		recall(s, e);
	else if (!e)
		e = add(s, k, caps->per_s, now_ms);
	if (e) {
		why = judge(e, caps, now_ms);
		e->n += !why;
		e->shaking += !why;
		if (!e->n)
			remember(s, e, now_ms);
	}
	pthread_mutex_unlock(&s->lock);
	return why;
}

void sources_shaken(struct sources *s, const struct source_key *k)
{
	struct source *e;

	pthread_mutex_lock(&s->lock);
	e = find(s, k);
	if (e && e->shaking)
		e->shaking--;
	pthread_mutex_unlock(&s->lock);
}

void sources_leave(struct sources *s, const struct source_key *k, int64_t now_ms)
{
	struct source *e;

	pthread_mutex_lock(&s->lock);
	e = find(s, k);
	if (e && --e->n == 0)
		remember(s, e, now_ms);
	pthread_mutex_unlock(&s->lock);
}
