/* How much has each tenant in the store, on all its routes together: what waits, and all that is kept? As this node knows it: what the store
 * said last of each route (twice a second at least), and what is on its way there from here. Another node's envelopes count once the store has told of them. Thread-safe. */
#ifndef BATON_RPC_TENANTS_H
#define BATON_RPC_TENANTS_H

#include <stddef.h>
#include <stdint.h>

struct tenants;

struct tenants *tenants_new(void);
void tenants_free(struct tenants *t);

/* So much waits on this route. */
void tenants_saw(struct tenants *t, const char *tenant, const char *route, uint64_t handoffs, uint64_t bytes, int64_t now_ms);

/* So many bytes are kept of this route: waiting, leased, finished and not yet forgotten. */
void tenants_keeps(struct tenants *t, const char *tenant, const char *route, uint64_t bytes, int64_t now_ms);
/* The store uses so much of so much; max 0 = it has no limit. */
void tenants_memory(struct tenants *t, uint64_t used, uint64_t max);

#define SHARE_FROM_PERCENT 60 /* of the store's memory: from here on who keeps more than an equal share waits for the others */

enum tenant_over { TENANT_FITS, TENANT_HANDOFFS, TENANT_BYTES, TENANT_SHARE };

struct tenant_room {
	uint64_t max, max_bytes;  /* in: 0 = no cap */
	size_t tenants;           /* in: among so many the memory is shared */
	uint64_t waiting, bytes, kept; /* out, when there is none: what is there */
};
/* n more handoffs of so many bytes in all are on their way to the store, until tenants_leave(). Anything but FITS: there is no room for it. */
enum tenant_over tenants_enter(struct tenants *t, const char *tenant, uint64_t n, uint64_t bytes, struct tenant_room *room);
void tenants_leave(struct tenants *t, const char *tenant, uint64_t n, uint64_t bytes);

/* What waits of it; nothing of one that is not known. */
void tenants_look(struct tenants *t, const char *tenant, uint64_t *handoffs, uint64_t *bytes);
/* Each tenant, after those routes are forgotten that nobody has told of for a minute. fn may not call back. */
void tenants_each(struct tenants *t, int64_t now_ms, void (*fn)(void *arg, const char *tenant, uint64_t handoffs, uint64_t bytes), void *arg);

#endif
