/* How is a Redis, or a sentinel, reached? The address with what the configuration says of TLS, and the password. */
#ifndef BATON_STORE_REDIS_REACH_H
#define BATON_STORE_REDIS_REACH_H

#include "net/stream.h"
#include "store/redis_url.h"
#include "store/store.h"

/* Borrows the strings of both. */
struct stream_target redis_target(const struct store_redis_config *c, const struct redis_url *at, int64_t timeout_ms, size_t write_cap);

enum redis_auth {
	REDIS_AUTH_NONE,       /* no password is configured: nothing was written */
	REDIS_AUTH_ASKED,      /* one answer will come */
	REDIS_AUTH_UNREADABLE, /* the file: why says what is wrong with it */
	REDIS_AUTH_NO_ROOM,    /* in out */
};

/* Writes AUTH. The file is read each time, so that a new password serves the next connection. user, file: "" = none. */
enum redis_auth redis_auth_put(struct buf *out, const char *user, const char *file, struct problem *why);

#endif
