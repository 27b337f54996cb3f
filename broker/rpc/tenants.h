/* How much waits of each tenant, on all its routes together? As this node knows it: what the store said last of each route (twice a second at
 * least), and what is on its way there from here. Another node's envelopes count once the store has told of them. Thread-safe. */
#ifndef BATON_RPC_TENANTS_H
#define BATON_RPC_TENANTS_H

#include <stdbool.h>
#include <stdint.h>

struct tenants;

struct tenants *tenants_new(void);
void tenants_free(struct tenants *t);

/* So much waits on this route. */
void tenants_saw(struct tenants *t, const char *tenant, const char *route, uint64_t handoffs, uint64_t bytes, int64_t now_ms);

struct tenant_room {
	uint64_t max, max_bytes;  /* in: 0 = no cap */
	uint64_t waiting, bytes;  /* out, when there is none: what is there, and which cap it was */
	bool over_bytes;
};
/* One more handoff of so many bytes is on its way to the store, until tenants_leave(). false: there is no room for it. */
bool tenants_enter(struct tenants *t, const char *tenant, uint64_t bytes, struct tenant_room *room);
void tenants_leave(struct tenants *t, const char *tenant, uint64_t bytes);

/* Each tenant, after those routes are forgotten that nobody has told of for a minute. fn may not call back. */
void tenants_each(struct tenants *t, int64_t now_ms, void (*fn)(void *arg, const char *tenant, uint64_t handoffs, uint64_t bytes), void *arg);

#endif
