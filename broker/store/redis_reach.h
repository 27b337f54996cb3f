/* How is a Redis, or a sentinel, reached? The address with what the configuration says of TLS, and the password. */
#ifndef BATON_STORE_REDIS_REACH_H
#define BATON_STORE_REDIS_REACH_H

#include "base/secret_source.h"
#include "net/stream.h"
#include "store/redis_url.h"
#include "store/store.h"

/* Borrows the strings of both. */
struct stream_target redis_target(const struct store_redis_config *c, const struct redis_url *at, int64_t timeout_ms, size_t write_cap);

/* A connection's wait for the password that it has to show. It is asked for each time, so that a new one serves the next connection. */
struct redis_login {
	const struct secret_source *from; /* NULL: files are read at once */
	/* why NULL: this is the password, empty when none is configured; gone after the call. */
	void (*on_password)(void *user, struct slice password, const char *why);
	void *user;
	uint64_t asked;                   /* 0: nobody is */
};

/* file: "" = none. on_password follows, once, maybe inside. Not while it waits. */
void redis_login_begin(struct redis_login *l, const char *file);
void redis_login_stop(struct redis_login *l); /* on_password does not follow */
/* Writes AUTH to s, and sees to it that no copy of it is left once it is sent. false: there is no room. */
bool redis_auth_put(struct stream *s, const char *user, struct slice password);

#endif
