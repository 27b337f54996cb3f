/* Who has which hash slots of a Redis Cluster? Pure functions over what its nodes say: the answer to CLUSTER SLOTS, and errors that send a call
 * elsewhere. Nothing of it is believed beyond that an address is one: whoever connects looks for himself. */
#ifndef BATON_STORE_CLUSTER_MAP_H
#define BATON_STORE_CLUSTER_MAP_H

#include "store/redis_codec.h"
#include "store/redis_hash.h"
#include "store/redis_url.h"
#include "store/store.h"

#define CLUSTER_NOBODY 0xff

struct cluster_map {
	size_t n;
	struct redis_url primary[STORE_PRIMARIES_MAX]; /* in the order of their first slots */
	uint8_t owner[CLUSTER_SLOTS];                    /* index, or CLUSTER_NOBODY */
};

/* The answer of *from to CLUSTER SLOTS; its address stands for a node that does not say its own, and its TLS holds for all. NULL, or why it is not
 * taken: then *out is of no use. */
const char *cluster_map_read(const redisReply *r, const struct redis_url *from, struct cluster_map *out);

enum redirect {
	REDIRECT_NONE,  /* another error */
	REDIRECT_MOVED, /* the slot is at *at */
	REDIRECT_ASK,   /* the slot moves to *at, and what was asked for is there already, or nowhere */
	REDIRECT_LATER, /* it moves, or the cluster is down */
};

/* Whether a call was refused because of where its slot is; nothing of it was carried out then. *at is set by MOVED and ASK alone: it begins as *from,
 * who said it. Malformed ones are REDIRECT_LATER. */
enum redirect cluster_redirect(const char *error, const struct redis_url *from, struct redis_url *at);

#endif
