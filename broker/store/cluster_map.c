/* Who has which hash slots of a Redis Cluster? See cluster_map.h. */
#include "store/cluster_map.h"

#include <stdlib.h>
#include <string.h>

#define NODES_MAX 1024 /* of one range */

static bool is_number(const redisReply *r, long long max)
{
	return r->type == REDIS_REPLY_INTEGER && r->integer >= 0 && r->integer <= max;
}

/* [host, port, id, ...]. A host that is null or "" is the one that was asked; "?" is a name that is not configured. */
static bool read_node(const redisReply *r, const struct redis_url *from, struct redis_url *out)
{
	struct slice host;

	if (r->type != REDIS_REPLY_ARRAY || r->elements < 2 || !is_number(r->element[1], 65535))
		return false;
	host = resp_bytes(r->element[0]);
	*out = *from;
	return redis_url_aim(out, host.n ? host : slice_str(from->host), (long)r->element[1]->integer);
}

static size_t find_primary(const struct cluster_map *m, const struct redis_url *u)
{
	size_t i = 0;

	while (i < m->n && !redis_url_same(&m->primary[i], u))
		i++;
	return i;
}

/* [first, last, primary, replica ...] */
static const char *read_range(const redisReply *r, const struct redis_url *from, struct cluster_map *m)
{
	struct redis_url u;
	size_t i;

	if (r->type != REDIS_REPLY_ARRAY || r->elements < 3 || r->elements > NODES_MAX || !is_number(r->element[0], CLUSTER_SLOTS - 1) ||
	    !is_number(r->element[1], CLUSTER_SLOTS - 1) || r->element[0]->integer > r->element[1]->integer)
		return "does not answer CLUSTER SLOTS as a node does";
	if (!read_node(r->element[2], from, &u))
		return "names a primary without an address that can be used: see cluster-announce-ip and cluster-preferred-endpoint-type";
	i = find_primary(m, &u);
	if (i == STORE_PRIMARIES_MAX)
		return "names more than 64 primaries: Baton keeps a connection to each";
	if (i == m->n)
		m->primary[m->n++] = u;
	for (long long slot = r->element[0]->integer; slot <= r->element[1]->integer; slot++) {
		if (m->owner[slot] != CLUSTER_NOBODY)
			return "gives a slot to two primaries";
		m->owner[slot] = (uint8_t)i;
	}
	return NULL;
}

/* Nodes list their ranges as they like. */
static void sort_primaries(struct cluster_map *m)
{
	struct redis_url sorted[STORE_PRIMARIES_MAX];
	uint8_t place[STORE_PRIMARIES_MAX];
	size_t n = 0;

	memset(place, CLUSTER_NOBODY, sizeof place);
	for (size_t slot = 0; slot < CLUSTER_SLOTS; slot++) {
		uint8_t *owner = &m->owner[slot];

		if (*owner == CLUSTER_NOBODY)
			continue;
		if (place[*owner] == CLUSTER_NOBODY) {
			sorted[n] = m->primary[*owner];
			place[*owner] = (uint8_t)n++;
		}
		*owner = place[*owner];
	}
	memcpy(m->primary, sorted, n * sizeof *sorted);
}

const char *cluster_map_read(const redisReply *r, const struct redis_url *from, struct cluster_map *out)
{
	const char *why = NULL;

	if (r->type == REDIS_REPLY_ERROR && (resp_error_is(r, "NOAUTH") || resp_error_is(r, "WRONGPASS")))
		return "refuses the user or password: see store.user and store.password_file";
	if (r->type == REDIS_REPLY_ERROR && resp_error_is(r, "NOPERM"))
		return "store.user lacks +cluster|slots: give it the rights that docs/redis.md names for a Redis Cluster";
	if (r->type == REDIS_REPLY_ERROR && strstr(r->str, "cluster support disabled"))
		return "is no node of a Redis Cluster: name it in store.url in place of store.cluster";
	if (r->type == REDIS_REPLY_ERROR && resp_error_is(r, "LOADING"))
		return "is still reading its append-only file";
	if (r->type != REDIS_REPLY_ARRAY)
		return "does not answer CLUSTER SLOTS as a node does";
	if (!r->elements)
		return "knows of no slot that is assigned: see redis-cli --cluster check";
	out->n = 0;
	memset(out->owner, CLUSTER_NOBODY, sizeof out->owner);
	for (size_t i = 0; i < r->elements && !why; i++)
		why = read_range(r->element[i], from, out);
	if (!why)
		sort_primaries(out);
	return why;
}

/* "<slot> <host>:<port>" */
static bool read_target(const char *text, const struct redis_url *from, struct redis_url *at)
{
	const char *host = strchr(text, ' '), *colon = strrchr(text, ':');
	char *end;
	long port;

	if (!host || !colon || colon < host)
		return false;
	host++;
	port = strtol(colon + 1, &end, 10);
	*at = *from;
	if (colon[1] < '1' || colon[1] > '9' || *end)
		return false;
	return redis_url_aim(at, colon > host ? slice_of(host, (size_t)(colon - host)) : slice_str(from->host), port);
}

enum redirect cluster_redirect(const char *error, const struct redis_url *from, struct redis_url *at)
{
	static const char *const later[] = {"TRYAGAIN ", "CLUSTERDOWN ", "MOVED ", "ASK "};

	if (strncmp(error, "MOVED ", 6) == 0 && read_target(error + 6, from, at))
		return REDIRECT_MOVED;
	if (strncmp(error, "ASK ", 4) == 0 && read_target(error + 4, from, at))
		return REDIRECT_ASK;
	for (size_t i = 0; i < sizeof later / sizeof later[0]; i++)
		if (strncmp(error, later[i], strlen(later[i])) == 0)
			return REDIRECT_LATER;
	return REDIRECT_NONE;
}
