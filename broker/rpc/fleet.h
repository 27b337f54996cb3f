/* Which nodes are there, and by which changes do they live? Told by the control thread, asked by workers. Thread-safe. */
#ifndef BATON_RPC_FLEET_H
#define BATON_RPC_FLEET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "rpc/nodereport.h"
#include "store/store.h"

#define FLEET_MAX 64 /* nodes that are told of by name; more are waited for too */

struct fleet_node {
	char name[NAME_MAX_BYTES + 1];
	uint64_t confirmed;     /* a generation */
	struct node_report report; /* zeros: it told nothing that can be read */
	int64_t silent_ms;      /* over STORE_NODE_LEASE_MS: it has fenced itself */
};

struct fleet;
struct fleet *fleet_new(void);
void fleet_free(struct fleet *f);
/* self: this node's name, the generation that it lives by, and what it tells; others: as the store says. */
void fleet_set(struct fleet *f, const char *self, uint64_t confirmed, const struct node_report *own, const struct store_node *others, size_t n);
/* What this node tells by now. */
void fleet_tell(struct fleet *f, const char *self, const struct node_report *own);
/* The store has just answered; epoch: what its data is known by. now_ms: monotonic. */
void fleet_heard(struct fleet *f, uint32_t epoch, int64_t now_ms);
/* This one first. Returns how many. */
size_t fleet_get(struct fleet *f, struct fleet_node out[FLEET_MAX]);
/* What is known of all of them. */
struct fleet_sight {
	int64_t age_ms;         /* since the store answered: so much older is what the nodes say, and silent_ms is */
	uint32_t epoch;
	size_t hidden;          /* nodes that are not told of by name */
};
/* The same, and that. */
size_t fleet_see(struct fleet *f, int64_t now_ms, struct fleet_node out[FLEET_MAX], struct fleet_sight *sight);
/* Does one of those that are not told of by name? */
bool fleet_rest_lags(struct fleet *f, uint64_t generation);
/* Does any live node not live by this generation yet? */
bool fleet_lags(struct fleet *f, uint64_t generation);

#endif
