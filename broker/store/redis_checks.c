/* Is this Redis fit to keep what Baton acknowledges? Version, role, eviction, durability, library; each with a remedy. What cannot be
 * read counts as unfit. */
#include "store/redis_checks.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RIGHTS_REMEDY "give store.user all rights of the line in docs/redis.md: ACL SETUSER, then ACL SAVE"

static bool unfit(struct fault *f, const char *why, const char *remedy)
{
	snprintf(f->why, sizeof f->why, "%s", why);
	snprintf(f->remedy, sizeof f->remedy, "%s", remedy);
	return false;
}

bool check_no_error(const redisReply *r, struct fault *f)
{
	if (!r || r->type != REDIS_REPLY_ERROR)
		return true;
	snprintf(f->why, sizeof f->why, "redis: %.200s", r->str);
	if (resp_error_is(r, "NOPERM"))
		snprintf(f->remedy, sizeof f->remedy, RIGHTS_REMEDY);
	else if (resp_error_is(r, "NOAUTH") || resp_error_is(r, "WRONGPASS"))
		snprintf(f->remedy, sizeof f->remedy, "set store.user and store.password_file to what the server expects");
	else if (resp_error_is(r, "OOM"))
		snprintf(f->remedy, sizeof f->remedy, "give Redis more memory (maxmemory): Baton's library is not loaded yet and does not fit in");
	else if (resp_error_is(r, "NOREPLICAS"))
		snprintf(f->remedy, sizeof f->remedy, "start the replicas that min-replicas-to-write and store.replicas demand, and see INFO replication");
	else if (resp_error_is(r, "MISCONF"))
		snprintf(f->remedy, sizeof f->remedy, "Redis cannot write to its disk: see its log");
	else if (resp_error_is(r, "CLUSTERDOWN"))
		snprintf(f->remedy, sizeof f->remedy, "redis-cli --cluster check; with cluster-require-full-coverage no the other primaries go on");
	else if (resp_error_is(r, "ASK ") || resp_error_is(r, "TRYAGAIN"))
		snprintf(f->remedy, sizeof f->remedy, "wait until the slot of {/} has moved, or end its move: redis-cli --cluster check");
	else if (resp_error_is(r, "LOADING"))
		snprintf(f->remedy, sizeof f->remedy, "wait until Redis has read its append-only file");
	else
		snprintf(f->remedy, sizeof f->remedy, "see Redis' log");
	return false;
}

struct slice info_field(struct slice info, const char *name)
{
	size_t n = strlen(name);

	while (info.n) {
		const uint8_t *end = memchr(info.p, '\n', info.n);
		size_t line = end ? (size_t)(end - info.p) : info.n;
		size_t used = end ? line + 1 : line;

		if (line && info.p[line - 1] == '\r')
			line--;
		if (line > n && info.p[n] == ':' && memcmp(info.p, name, n) == 0)
			return slice_of(info.p + n + 1, line - n - 1);
		info = slice_of(info.p + used, info.n - used);
	}
	return slice_of(NULL, 0);
}

static bool check_version(const redisReply *r, const struct demand *d, struct fault *f)
{
	struct slice v = info_field(resp_bytes(r), "redis_version");
	bool in_cluster = slice_is(info_field(resp_bytes(r), "redis_mode"), "cluster");
	char text[32];

	if (!slice_copy_str(v, text, sizeof text) || atoi(text) < 7)
		return unfit(f, "Redis is older than 7.0 or does not say its version", "run Redis 7.0 or later");
	if (in_cluster && !d->cluster)
		return unfit(f, "this Redis is a node of a Redis Cluster", "name its nodes in store.cluster, in place of store.url or store.sentinels");
	if (!in_cluster && d->cluster)
		return unfit(f, "this Redis is no node of a Redis Cluster", "name it in store.url in place of store.cluster");
	return true;
}

bool check_replid(const redisReply *r, char out[REPLID_BYTES + 1])
{
	struct slice info = resp_bytes(r);

	return slice_is(info_field(info, "role"), "master") && info_field(info, "master_replid").n == REPLID_BYTES
		&& slice_copy_str(info_field(info, "master_replid"), out, REPLID_BYTES + 1);
}

static bool check_role(const redisReply *r, const struct demand *d, struct fault *f)
{
	char replid[REPLID_BYTES + 1];

	if (check_replid(r, replid))
		return true;
	if (d->cluster)
		return unfit(f, "this Redis is not a primary any more", "this ends when the nodes of the Redis Cluster agree: redis-cli --cluster check");
	return unfit(f, "this Redis is not a primary", "point store.url at the primary; with store.sentinels this ends when they agree on one");
}

/* CONFIG GET answers name and value. */
static struct slice config_value(const redisReply *r)
{
	if (!r || r->type != REDIS_REPLY_ARRAY || r->elements != 2)
		return slice_of(NULL, 0);
	return resp_bytes(r->element[1]);
}

static bool check_policy(const redisReply *r, const struct demand *d, struct fault *f)
{
	if (slice_is(config_value(r), "noeviction"))
		return true;
	return unfit(f, "maxmemory-policy is not noeviction: Redis would drop nonces and work when memory is short",
		"redis-cli CONFIG SET maxmemory-policy noeviction, and in redis.conf");
}

static bool check_aof(const redisReply *r, const struct demand *d, struct fault *f)
{
	if (slice_is(config_value(r), "yes"))
		return true;
	return unfit(f, "appendonly is not yes: a restart of Redis would lose acknowledged work",
		"redis-cli CONFIG SET appendonly yes, and in redis.conf");
}

static bool check_fsync(const redisReply *r, const struct demand *d, struct fault *f)
{
	struct slice v = config_value(r);

	if (slice_is(v, "always") || (!d->fsync_always && slice_is(v, "everysec")))
		return true;
	if (d->fsync_always)
		return unfit(f, "appendfsync is not always: what was acknowledged could be lost when Redis is killed",
			"redis-cli CONFIG SET appendfsync always, or store.fsync: everysec if that loss is acceptable");
	return unfit(f, "appendfsync is neither always nor everysec", "redis-cli CONFIG SET appendfsync everysec");
}

static bool check_truncated(const redisReply *r, const struct demand *d, struct fault *f)
{
	if (slice_is(config_value(r), "no"))
		return true;
	return unfit(f, "aof-load-truncated is not no: after a torn write Redis would start with an open MULTI and lose later work",
		"redis-cli CONFIG SET aof-load-truncated no, and in redis.conf; repair with redis-check-aof --fix before a start");
}

static unsigned long number(struct slice v)
{
	char text[16];

	return slice_copy_str(v, text, sizeof text) ? strtoul(text, NULL, 10) : 0;
}

static bool check_min_replicas(const redisReply *r, const struct demand *d, struct fault *f)
{
	char remedy[sizeof f->remedy];

	if (number(config_value(r)) >= d->replicas)
		return true;
	snprintf(remedy, sizeof remedy, "redis-cli CONFIG SET min-replicas-to-write %u, and in redis.conf of each Redis that may become the primary",
		d->replicas);
	return unfit(f, "min-replicas-to-write is less than store.replicas: a primary that was cut off would go on taking work", remedy);
}

static bool check_max_lag(const redisReply *r, const struct demand *d, struct fault *f)
{
	if (!d->replicas || number(config_value(r)) > 0)
		return true;
	return unfit(f, "min-replicas-max-lag is 0: min-replicas-to-write is not kept to, and store.replicas demands it",
		"redis-cli CONFIG SET min-replicas-max-lag 10, and in redis.conf");
}

const struct check redis_checks[] = {
	{{"INFO", "server"}, check_version},
	{{"INFO", "replication"}, check_role},
	{{"CONFIG", "GET", "maxmemory-policy"}, check_policy},
	{{"CONFIG", "GET", "appendonly"}, check_aof},
	{{"CONFIG", "GET", "appendfsync"}, check_fsync},
	{{"CONFIG", "GET", "aof-load-truncated"}, check_truncated},
	{{"CONFIG", "GET", "min-replicas-to-write"}, check_min_replicas},
	{{"CONFIG", "GET", "min-replicas-max-lag"}, check_max_lag},
};
const size_t redis_checks_n = sizeof redis_checks / sizeof redis_checks[0];

bool check_rights(const redisReply *r, struct fault *f)
{
	char why[sizeof f->why];
	struct slice missing = resp_bytes(r);

	if (!check_no_error(r, f))
		return false;
	if (!missing.n && r->type == REDIS_REPLY_STRING)
		return true;
	snprintf(why, sizeof why, "store.user lacks %.*s", missing.n < 200 ? (int)missing.n : 200, missing.n ? (const char *)missing.p : "");
	return unfit(f, why, RIGHTS_REMEDY);
}

/* The value after `name` in an array of names and values. */
static const redisReply *pair_value(const redisReply *r, const char *name)
{
	if (!r || r->type != REDIS_REPLY_ARRAY)
		return NULL;
	for (size_t i = 0; i + 1 < r->elements; i += 2)
		if (slice_is(resp_bytes(r->element[i]), name))
			return r->element[i + 1];
	return NULL;
}

bool check_library(const redisReply *r, struct fault *f)
{
	const redisReply *code = NULL;

	if (!check_no_error(r, f))
		return false;
	if (r && r->type == REDIS_REPLY_ARRAY && r->elements == 1)
		code = pair_value(r->element[0], "library_code");
	if (slice_is(resp_bytes(code), store_library))
		return true;
	return unfit(f, "Redis holds another library named " STORE_LIBRARY_NAME,
		"another version of Baton keeps its data here, in another form: use that version, or an empty Redis");
}

bool check_joined(const redisReply *r, struct fault *f)
{
	if (r && r->type == REDIS_REPLY_INTEGER && (r->integer == 1 || r->integer == JOINED_NAME_TWICE))
		return true;
	return unfit(f, "what this Redis keeps is sealed with a key that store.keys_file does not have",
		"give this node the key file of the nodes that use this Redis: it is the same for all. A lost one cannot be replaced; only an "
		"emptied Redis takes another");
}
