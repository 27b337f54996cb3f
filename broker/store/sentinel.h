/* Who is the primary now? Redis' sentinels are asked, one after the other, until one names it. Whether it is one, whoever connects to it must
 * look for himself: a sentinel may be behind, or lie. */
#ifndef BATON_STORE_SENTINEL_H
#define BATON_STORE_SENTINEL_H

#include "net/loop.h"
#include "store/redis_codec.h"
#include "store/redis_url.h"
#include "store/store.h"

#define SENTINELS_MAX 16

struct sentinel;

struct sentinel_events {
	/* Exactly one of these after each sentinel_ask(), never inside it. What they get is valid for the call. */
	void (*on_primary)(void *user, const struct redis_url *at);
	void (*on_nobody)(void *user, const char *why, const char *remedy);
};

/* c's strings are borrowed. NULL with why: a bad url in c->sentinels. */
struct sentinel *sentinel_new(struct loop *l, const struct store_redis_config *c, const struct sentinel_events *ev, void *user,
			      struct problem *why);
void sentinel_free(struct sentinel *s); /* no callback follows */
/* Asks; begins with the one after the last that was asked, so that one that is wrong does not stand in the way for ever. */
void sentinel_ask(struct sentinel *s);
void sentinel_stop(struct sentinel *s); /* no callback follows, until the next sentinel_ask() */

/* The answer to SENTINEL get-master-addr-by-name: sets host and port of *out. NULL, or why it names no address. */
const char *sentinel_address(const redisReply *r, struct redis_url *out);

#endif
