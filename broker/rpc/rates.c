/* How fast may each agent submit, on this node? See rates.h. Two budgets an agent: of submits, and of refusals, so that one who does not
 * listen fills the audit no faster than one who may. */
#include "rpc/rates.h"

#include <pthread.h>
#include <stdlib.h>

#include "base/bucket.h"
#include "base/table.h"

#define AGENTS_MAX 8192         /* twice what a configuration may have: those of the one before a reload are still here */
#define REFUSALS_PER_S_MIN 10
#define REFUSALS_AT_ONCE_MIN 256 /* a client that has all its streams under way learns of it on each */
#define FULL_WAIT_MS 1000

struct rate {
	uint64_t agent;
	uint32_t per_s; /* as last asked */
	struct bucket submits, refusals;
	UT_hash_handle hh;
};

struct rates {
	pthread_mutex_t lock;
	struct rate *table;
};

struct rates *rates_new(void)
{
	struct rates *r = calloc(1, sizeof *r);

	if (r)
		pthread_mutex_init(&r->lock, NULL);
	return r;
}

void rates_free(struct rates *r)
{
	struct rate *e, *next;

	if (!r)
		return;
	HASH_ITER(hh, r->table, e, next) {
		HASH_DEL(r->table, e);
		free(e);
	}
	pthread_mutex_destroy(&r->lock);
	free(r);
}

static uint32_t at_least(uint32_t v, uint32_t least)
{
	return v > least ? v : least;
}

static bool refuse(struct rate *e, int64_t now_ms)
{
	return bucket_take(&e->refusals, at_least(RATE_BURST_S * e->per_s, REFUSALS_AT_ONCE_MIN), at_least(e->per_s, REFUSALS_PER_S_MIN), now_ms);
}

/* Whose budgets are whole again owe nothing. */
static void forget_idle(struct rates *r, int64_t now_ms)
{
	struct rate *e, *next;

	HASH_ITER(hh, r->table, e, next) {
		if (!bucket_full(&e->submits, RATE_BURST_S * e->per_s, e->per_s, now_ms))
			continue;
		HASH_DEL(r->table, e);
		free(e);
	}
}

static struct rate *add(struct rates *r, uint64_t agent, uint32_t per_s, int64_t now_ms)
{
	struct rate *e;

	if (HASH_COUNT(r->table) >= AGENTS_MAX)
		forget_idle(r, now_ms);
	e = HASH_COUNT(r->table) < AGENTS_MAX ? calloc(1, sizeof *e) : NULL;
	if (!e)
		return NULL;
	e->agent = agent;
	e->per_s = per_s;
	bucket_fill(&e->submits, RATE_BURST_S * per_s, now_ms);
	bucket_fill(&e->refusals, at_least(RATE_BURST_S * per_s, REFUSALS_AT_ONCE_MIN), now_ms);
	HASH_ADD(hh, r->table, agent, sizeof e->agent, e);
	if (TABLE_HAS(e, hh))
		return e;
	free(e);
	return NULL;
}

static enum rate_answer judge(struct rate *e, int64_t now_ms, uint32_t *wait_ms)
{
	int64_t wait;

	if (bucket_take(&e->submits, RATE_BURST_S * e->per_s, e->per_s, now_ms))
		return RATE_TAKEN;
	wait = bucket_wait_ms(&e->submits, e->per_s);
	*wait_ms = wait < UINT32_MAX ? (uint32_t)wait : UINT32_MAX;
	return refuse(e, now_ms) ? RATE_OVER : RATE_FLOOD;
}

enum rate_answer rates_take(struct rates *r, uint64_t agent, uint32_t per_s, int64_t now_ms, uint32_t *wait_ms)
{
	enum rate_answer answer = RATE_OVER; /* also without memory to remember it by */
	struct rate *e;

	*wait_ms = FULL_WAIT_MS;
	pthread_mutex_lock(&r->lock);
	HASH_FIND(hh, r->table, &agent, sizeof agent, e);
	if (!e)
		e = add(r, agent, per_s, now_ms);
	if (e) {
		e->per_s = per_s;
		answer = judge(e, now_ms, wait_ms);
	}
	pthread_mutex_unlock(&r->lock);
	return answer;
}

size_t rates_count(struct rates *r)
{
	size_t n;

	pthread_mutex_lock(&r->lock);
	n = HASH_COUNT(r->table);
	pthread_mutex_unlock(&r->lock);
	return n;
}
