/* Where is the Redis that an URL names? redis://host[:port][/db], rediss://..., unix:///path. */
#ifndef BATON_STORE_REDIS_URL_H
#define BATON_STORE_REDIS_URL_H

#include <stdbool.h>
#include <stddef.h>

#include "base/problem.h"
#include "base/slice.h"

struct redis_url {
	char unix_path[108]; /* "" = TCP */
	char host[256];
	int port, db;
	bool tls;
};

/* 0, or -1 with why: another scheme, a password in it, a bad port. The problem never repeats what stands before an '@'. */
int redis_url_parse(const char *text, struct redis_url *out, struct problem *why);
/* 1 to max of them with commas between: all redis://host:port, or all rediss://host:port. key: of the configuration, for why. */
int redis_urls_parse(const char *list, const char *key, struct redis_url *v, size_t max, size_t *n, struct problem *why);
/* Sets host and port to what a server named. false: that is no host or no port; then *u is as it was. */
bool redis_url_aim(struct redis_url *u, struct slice host, long port);
/* One host and port, both with TLS or both without. */
bool redis_url_same(const struct redis_url *a, const struct redis_url *b);

#endif
