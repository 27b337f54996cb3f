/* How does one worker stay connected to Redis? This is the life of a connection: it opens, authenticates, makes sure that the server
 * is fit to keep what is acknowledged, loads the library, and comes back with backoff when it breaks. What is asked and answered
 * on it is redis.c's. */
#ifndef BATON_STORE_REDIS_CONN_H
#define BATON_STORE_REDIS_CONN_H

#include "net/loop.h"
#include "store/redis_codec.h"
#include "store/store.h"

#define REPLID_BYTES 40

enum conn_mode {
	CONN_COMMANDS, /* checked, library loaded */
	CONN_LISTEN,   /* subscribed to the channel */
};

struct conn;

struct conn_events {
	void (*on_ready)(void *user, const char *replid); /* REPLID_BYTES characters */
	/* In the order of the commands. true: r was taken; else it is freed after the call. */
	bool (*on_reply)(void *user, redisReply *r);
	/* Was ready and is not any more, or an attempt failed. fault: the server answers but is not fit, remedy says what to do. */
	void (*on_down)(void *user, bool fault, const char *why, const char *remedy);
};

/* c's strings and channel are borrowed. NULL with why: the URL is bad. */
struct conn *redis_conn_new(struct loop *l, const struct store_redis_config *c, enum conn_mode mode, const char *channel,
		      const struct conn_events *ev, void *user, struct problem *why);
void redis_conn_free(struct conn *c); /* no callback follows */
bool redis_conn_ready(const struct conn *c);
const char *redis_conn_host(const struct conn *c); /* of the server, "" = a unix socket */
/* Where to append commands; NULL when not ready or full. */
struct buf *redis_conn_out(struct conn *c);
/* Gives this connection up: on_down follows at once (or, inside on_reply, after it), then a new attempt. */
void redis_conn_fail(struct conn *c, bool fault, const char *why, const char *remedy);

#endif
