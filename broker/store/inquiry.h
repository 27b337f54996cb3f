/* Who of several servers answers a question? They are asked one after the other, each over a connection of its own, until one does: sentinels, where
 * the primary is; nodes of a Redis Cluster, who has which slots. Whether it is true, whoever acts on it must look for himself. */
#ifndef BATON_STORE_INQUIRY_H
#define BATON_STORE_INQUIRY_H

#include "net/loop.h"
#include "store/redis_codec.h"
#include "store/redis_url.h"
#include "store/store.h"

#define INQUIRY_MAX 96 /* servers */

struct inquiry;

struct inquiry_config {
	const char *whom;                  /* a word for one of them */
	const char *const *question;       /* its words, at most 4, NULL-terminated if fewer */
	const char *user, *password_file;  /* "" = none */
	const struct store_redis_config *store; /* certificates, time-out; borrowed like all of these */
	/* NULL: that is an answer; or why it is none. `from` said it. */
	const char *(*take)(void *arg, const redisReply *r, const struct redis_url *from);
	/* Exactly one of these after each inquiry_ask(), never inside it: the answer was taken, or nobody had one; why is of the last asked. */
	void (*on_answer)(void *arg);
	void (*on_nobody)(void *arg, const char *why);
	void *arg;
};

struct inquiry *inquiry_new(struct loop *l, const struct inquiry_config *c); /* NULL: out of memory */
void inquiry_free(struct inquiry *q); /* no callback follows */
/* Whom to ask; copied. n: 1..INQUIRY_MAX. Not while it asks. */
void inquiry_set(struct inquiry *q, const struct redis_url *urls, size_t n);
/* Asks; begins with the one after the last that was asked, so that one that is wrong does not stand in the way for ever. */
void inquiry_ask(struct inquiry *q);
void inquiry_stop(struct inquiry *q); /* no callback follows, until the next inquiry_ask(); NULL is fine */

#endif
