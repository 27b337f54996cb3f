/* How does one worker stay connected to Redis? This is the life of a connection: it opens, authenticates, makes sure that the server
 * is fit to keep what is acknowledged, loads the library, and comes back with backoff when it breaks. What is asked and answered
 * on it is redis.c's. */
#ifndef BATON_STORE_REDIS_CONN_H
#define BATON_STORE_REDIS_CONN_H

#include "net/loop.h"
#include "store/redis_codec.h"
#include "store/redis_url.h"
#include "store/store.h"

#define REPLID_BYTES 40

enum conn_mode {
	CONN_COMMANDS, /* checked, library loaded */
	CONN_LISTEN,   /* subscribed to the channel */
};

struct conn;

struct conn_events {
	/* This server keeps what is no route's, and says whether this node has the sealing keys. Before on_ready; not of one that listens. */
	void (*on_joined)(void *user, bool welcome);
	void (*on_ready)(void *user, const char *replid); /* REPLID_BYTES characters */
	/* In the order of the commands. true: r was taken; else it is freed after the call. */
	bool (*on_reply)(void *user, redisReply *r);
	/* Was ready and is not any more, or an attempt failed. fault: the server answers but is not fit, remedy says what to do. */
	void (*on_down)(void *user, bool fault, const char *why, const char *remedy);
};

/* c's strings and channel are borrowed. at: NULL = where the configuration says. NULL with why: the URL is bad. */
struct conn *redis_conn_new(struct loop *l, const struct store_redis_config *c, enum conn_mode mode, const struct redis_url *at,
		      const char *channel, const struct conn_events *ev, void *user, struct problem *why);
void redis_conn_free(struct conn *c); /* no callback follows */
bool redis_conn_ready(const struct conn *c);
const struct redis_url *redis_conn_at(const struct conn *c); /* where it was or will be opened */
/* From now on it goes there; from where it is it comes back as after a failure. */
void redis_conn_aim(struct conn *c, const struct redis_url *at);
/* Where to append commands; NULL when not ready or full. */
struct buf *redis_conn_out(struct conn *c);
/* Gives this connection up: on_down follows at once (or, inside on_reply, after it), then a new attempt. */
void redis_conn_fail(struct conn *c, bool fault, const char *why, const char *remedy);

#endif
