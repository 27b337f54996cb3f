/* Which assertion goes with a delivery? Private to rpc/. */
#ifndef BATON_RPC_ASSERT_H
#define BATON_RPC_ASSERT_H

#include "rpc/desk.h"
#include "rpc/task.h"

/* Signs the first one and marks h for renewal. NULL: it could not be signed. */
const char *assertion_first(struct op *op, struct holding *h, const pb_task *t, const pb_envelope *e, const struct agent *receiver,
			    const struct store_record *r, int64_t *expires_at_ms);
/* Reads the task again, signs anew and sends AssertionRenewed in the stream. */
void assertion_renew(struct rpc_worker *w, struct holding *h);

#endif
