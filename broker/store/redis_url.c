/* Where is the Redis that an URL names? See redis_url.h. */
#include "store/redis_url.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DEFAULT_PORT 6379

/* A decimal number from 0 to max that ends where the text ends. -1: it is not one. */
static long number(const char *p, long max)
{
	char *end;
	long v;

	if (*p < '0' || *p > '9')
		return -1;
	v = strtol(p, &end, 10);
	return *end || v > max ? -1 : v;
}

static int parse_db(char *rest, struct redis_url *out, struct problem *why)
{
	char *slash = strchr(rest, '/');
	long db = 0;

	if (slash) {
		*slash = '\0';
		db = slash[1] ? number(slash + 1, 65535) : 0;
	}
	if (db < 0)
		return problem_set(why, "after the port only /<database number> may follow");
	out->db = (int)db;
	return 0;
}

static int parse_port(char *colon, struct redis_url *out, struct problem *why)
{
	long port = DEFAULT_PORT;

	if (colon) {
		*colon = '\0';
		port = number(colon + 1, 65535);
	}
	if (port < 1)
		return problem_set(why, "the port is not a number from 1 to 65535");
	out->port = (int)port;
	return 0;
}

static int parse_tcp(const char *text, struct redis_url *out, struct problem *why)
{
	char rest[320], *host = rest, *end;

	if (!slice_copy_str(slice_str(text), rest, sizeof rest))
		return problem_set(why, "too long");
	if (strchr(rest, '@'))
		return problem_set(why, "no user or password may stand in it; use store.user and store.password_file");
	if (parse_db(rest, out, why) != 0)
		return -1;
	if (rest[0] == '[') {
		host = rest + 1;
		end = strchr(host, ']');
		if (!end || (end[1] && end[1] != ':'))
			return problem_set(why, "an IPv6 address is written [address] or [address]:port");
		*end++ = '\0';
		if (parse_port(*end ? end : NULL, out, why) != 0)
			return -1;
	} else if (parse_port(strchr(rest, ':'), out, why) != 0) {
		return -1;
	}
	if (!*host || !slice_copy_str(slice_str(host), out->host, sizeof out->host))
		return problem_set(why, "the host is missing or too long");
	return 0;
}

int redis_url_parse(const char *text, struct redis_url *out, struct problem *why)
{
	*out = (struct redis_url){0};
	if (strncmp(text, "unix://", 7) == 0) {
		if (text[7] != '/' || !slice_copy_str(slice_str(text + 7), out->unix_path, sizeof out->unix_path))
			return problem_set(why, "unix:// takes an absolute path of at most 107 bytes");
		return 0;
	}
	if (strncmp(text, "rediss://", 9) == 0) {
		out->tls = true;
		return parse_tcp(text + 9, out, why);
	}
	if (strncmp(text, "redis://", 8) == 0)
		return parse_tcp(text + 8, out, why);
	return problem_set(why, "it must start with redis://, rediss:// or unix://");
}

int redis_urls_parse(const char *list, const char *key, struct redis_url *v, size_t max, size_t *n, struct problem *why)
{
	char one[320];

	for (*n = 0; *list; (*n)++) {
		size_t len = strcspn(list, ",");
		struct redis_url *u = &v[*n];

		if (*n == max)
			return problem_set(why, "%s: more than %zu", key, max);
		if (!slice_copy_str(slice_of(list, len), one, sizeof one))
			return problem_set(why, "%s: an url is too long", key);
		if (redis_url_parse(one, u, why) != 0)
			return problem_prefix(why, "%s", key);
		if (*u->unix_path || u->db || u->tls != v[0].tls)
			return problem_set(why, "%s: all are redis://host:port, or all are rediss://host:port", key);
		list += len + (list[len] == ',');
	}
	return *n ? 0 : problem_set(why, "%s: there is none", key);
}

static bool host_valid(struct slice host)
{
	for (size_t i = 0; i < host.n; i++)
		if (!strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.:_-", host.p[i]) || !host.p[i])
			return false;
	return host.n > 0;
}

bool redis_url_aim(struct redis_url *u, struct slice host, long port)
{
	if (port < 1 || port > 65535 || !host_valid(host) || host.n >= sizeof u->host)
		return false;
	slice_copy_str(host, u->host, sizeof u->host);
	u->port = (int)port;
	return true;
}

bool redis_url_same(const struct redis_url *a, const struct redis_url *b)
{
	return a->port == b->port && a->tls == b->tls && strcmp(a->host, b->host) == 0;
}
