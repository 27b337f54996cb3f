/* How does a worker stay with a server that has slots? Its connection comes and goes, and with it what is under way there: what waits for replies
 * is asked again, or its outcome is unknown. Mostly there is one such server; a Redis Cluster has several (redis_cluster.c). */
#include <stdio.h>
#include <stdlib.h>
#include <utlist.h>

#include "base/clock.h"
#include "base/log.h"
#include "store/redis_priv.h"

static void tell_state(struct primary *p, bool ok, const char *why, const char *remedy)
{
	const struct redis_url *at = redis_conn_at(p->conn);
	const struct store_redis_config *config = &p->s->config;
	struct redis *s = p->s;

	if (ok)
		log_event(LOG_INFO, "store.ready", F_STR("url", *config->cluster ? config->cluster : *config->sentinels ? config->sentinels : config->url),
			F_STR("at", at->host), F_INT("port", at->port));
	else
		log_event(LOG_WARN, "store.down", F_STR("at", at->host), F_INT("port", at->port), F_STR("why", why), F_STR("remedy", remedy));
	snprintf(p->why, sizeof p->why, "%s", why);
	snprintf(p->remedy, sizeof p->remedy, "%s", remedy);
	if (s->cluster)
		cluster_on_change(s, ok);
	else if (s->config.on_state)
		s->config.on_state(s->config.user, ok, why, remedy);
}

void redis_wake_all_slots(struct redis *s)
{
	struct slot *slot, *next;

	HASH_ITER(hh, s->slots, slot, next) {
		for (int k = 0; k < KIND_QUEUED; k++)
			if (slot->queue[k].n)
				slot_dirty(s, slot);
	}
}

/* Newest first, so that putting each item back at the front restores the order. */
static void abandon_all(struct primary *p)
{
	struct batch *b = p->sent_first, *reversed = NULL, *next;

	p->sent_first = NULL;
	p->sent_last = &p->sent_first;
	for (; b; b = next) {
		next = b->next;
		b->next = reversed;
		reversed = b;
	}
	for (b = reversed; b; b = next) {
		next = b->next;
		batch_abandon(p->s, b);
	}
}

static void on_joined(void *user, bool welcome)
{
	struct primary *p = user;

	p->s->joined = welcome;
}

static void on_ready(void *user, const char *replid)
{
	struct primary *p = user;
	struct redis *s = p->s;

	memcpy(p->replid, replid, sizeof p->replid);
	p->was_ready = true;
	p->unreachable = false;
	s->polled_ms = 0;
	tell_state(p, true, "", "");
	redis_wake_all_slots(s);
}

static bool on_reply(void *user, redisReply *r)
{
	return redis_on_reply(user, r);
}

static void on_down(void *user, bool fault, const char *why, const char *remedy)
{
	struct primary *p = user;
	struct redis *s = p->s;

	s->now_ms = clock_mono_ms();
	if (fault || !p->was_ready)
		p->unreachable = true;
	p->was_ready = false;
	abandon_all(p);
	if (s->cluster)
		cluster_look_soon(s);
	tell_state(p, false, why, remedy);
	redis_wake_all_slots(s);
}

static const struct conn_events conn_events = {on_joined, on_ready, on_reply, on_down};

bool primary_ready(const struct primary *p)
{
	return p && redis_conn_ready(p->conn) && p->s->joined;
}

void primary_check_time(struct primary *p)
{
	struct redis *s = p->s;

	if (p->sent_first && s->now_ms - p->sent_first->sent_ms > s->config.timeout_ms)
		redis_conn_fail(p->conn, false, "Redis did not answer in time", "see its load, its disk and store.timeout");
}

void primary_poll_memory(struct primary *p)
{
	struct batch *b;

	if (p->polling || !primary_ready(p))
		return;
	b = batch_new(KIND_MEMORY, NULL);
	if (!b)
		return;
	b->primary = p;
	if (batch_send(p->s, b))
		p->polling = true;
	else
		batch_free(b);
}

struct primary *primary_new(struct redis *s, const struct redis_url *at, struct problem *why)
{
	struct primary *p = calloc(1, sizeof *p);

	if (!p) {
		problem_set(why, "out of memory");
		return NULL;
	}
	p->s = s;
	p->sent_last = &p->sent_first;
	p->conn = redis_conn_new(s->loop, &s->config, CONN_COMMANDS, at, s->channel, &conn_events, p, why);
	if (!p->conn) {
		free(p);
		return NULL;
	}
	DL_APPEND(s->primaries, p);
	return p;
}

void primary_free(struct primary *p)
{
	struct slot *slot, *next;

	abandon_all(p);
	redis_conn_free(p->conn);
	HASH_ITER(hh, p->s->slots, slot, next)
		if (slot->primary == p)
			slot->primary = NULL;
	DL_DELETE(p->s->primaries, p);
	free(p);
}
