/* Which nodes are there, and by which changes do they live? Told by the control thread, asked by workers. Thread-safe. */
#ifndef BATON_RPC_FLEET_H
#define BATON_RPC_FLEET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "store/store.h"

#define FLEET_MAX 64 /* nodes that are told of by name; more are waited for too */

struct fleet_node {
	char name[256];
	uint64_t confirmed;     /* a generation */
	uint32_t closed;        /* connections, for revocations, in all */
	int64_t silent_ms;      /* over STORE_NODE_LEASE_MS: it has fenced itself */
};

struct fleet;
struct fleet *fleet_new(void);
void fleet_free(struct fleet *f);
/* self: this node's name, the generation that it lives by, and what it closed; others: as the store says. */
void fleet_set(struct fleet *f, const char *self, uint64_t confirmed, uint32_t closed, const struct store_node *others, size_t n);
/* What this node closed, by now. */
void fleet_closed(struct fleet *f, const char *self, uint32_t closed);
/* This one first. Returns how many. */
size_t fleet_get(struct fleet *f, struct fleet_node out[FLEET_MAX]);
/* Does one of those that are not told of by name? */
bool fleet_rest_lags(struct fleet *f, uint64_t generation);
/* Does any live node not live by this generation yet? */
bool fleet_lags(struct fleet *f, uint64_t generation);

#endif
