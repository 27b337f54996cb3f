/* Which life events did a crash keep out of the audit? After an unclean stop the store is asked what changed at the end, and lines that are
 * missing are written with "reconciled": true. */
#ifndef BATON_RPC_RECONCILE_H
#define BATON_RPC_RECONCILE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/slice.h"
#include "base/words.h"

#define RECONCILE_WINDOW_MS (10 * 60000) /* of the audit's tail that is read */

struct reconcile;
struct rpc_worker;

struct reconcile *reconcile_new(void);
void reconcile_free(struct reconcile *r);
/* A line of the audit's tail (the callback of audit_tail). */
void reconcile_seen(void *reconcile, struct slice event, struct slice handoff_id, enum handoff_state state);
/* The newest line's time; 0 = the audit was empty, as after a rotation: then from `run_ms` on, when the run that crashed began. owed_ms: what an earlier
 * run compared from and did not come to an end with; 0 = none. */
void reconcile_since(struct reconcile *r, int64_t newest_ms, int64_t run_ms, int64_t owed_ms);
int64_t reconcile_from(const struct reconcile *r);
/* Only what the calls of this store did, and of others that are named so, is missing here; other nodes write down what theirs did. When none
 * is named, all of it is. */
void reconcile_by(struct reconcile *r, uint32_t head);
/* A line that was asked for is in the file, or never will be. */
void reconcile_line(struct reconcile *r, bool written);

/* All was compared, the second time too: nothing is owed any more. From any thread; NULL: nothing was. */
bool reconcile_settled(const struct reconcile *r);

/* On worker 0, at each tick until it has begun: begins when the store is there. */
void reconcile_tick(struct rpc_worker *w);

#endif
