/* Where is the Redis that an URL names? redis://host[:port][/db], rediss://..., unix:///path. */
#ifndef BATON_STORE_REDIS_URL_H
#define BATON_STORE_REDIS_URL_H

#include <stdbool.h>

#include "base/problem.h"

struct redis_url {
	char unix_path[108]; /* "" = TCP */
	char host[256];
	int port, db;
	bool tls;
};

/* 0, or -1 with why: another scheme, a password in it, a bad port. The problem never repeats what stands before an '@'. */
int redis_url_parse(const char *text, struct redis_url *out, struct problem *why);

#endif
