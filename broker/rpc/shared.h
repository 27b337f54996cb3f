/* What do the workers of one process tell each other? That a route has work for one of them who found none (a hungry worker), that something begins
 * there, and that a handoff changed which one of them watches or holds. Thread-safe; everything else in rpc/ belongs to one worker. */
#ifndef BATON_RPC_SHARED_H
#define BATON_RPC_SHARED_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "store/store.h"

#define SHARED_WORKERS_MAX 64

struct shared;
struct shared_route; /* lives as long as the shared table */

struct shared *shared_new(void);
void shared_free(struct shared *s);

/* NULL when memory is out or at the cap of 65,536 routes. */
struct shared_route *shared_route(struct shared *s, const char *tenant, const char *route);
/* This worker has credit and found nothing: tell it when something is queued. */
void shared_route_hungry(struct shared_route *r, unsigned worker);
/* Work was queued: the set of workers to wake, each told once. */
uint64_t shared_route_take_hungry(struct shared_route *r);

/* Work came in or is handed out: whoever keeps house looks at it soon. */
void shared_route_stir(struct shared_route *r);
/* Since this was asked last. */
bool shared_route_take_stirred(struct shared_route *r);

/* This worker follows the handoff (watches it, or holds its lease). Counted. false at the cap of 1,048,576 or when memory is out. */
bool shared_follow(struct shared *s, const struct handoff_id *id, unsigned worker);
void shared_unfollow(struct shared *s, const struct handoff_id *id, unsigned worker);
/* Who follows it. */
uint64_t shared_followers(struct shared *s, const struct handoff_id *id);

#endif
