/* Which assertion goes with a delivery? Private to rpc/. */
#ifndef BATON_RPC_ASSERT_H
#define BATON_RPC_ASSERT_H

#include "rpc/desk.h"
#include "rpc/task.h"

/* Has one signed for this delivery; on_signed follows. Meanwhile op rests: what is given away then is judged anew, by the world of then. false: it cannot be now. */
bool assertion_ask(struct op *op, const struct holding *h, const pb_task *t, const pb_envelope *e, uint32_t attempt,
		   void (*on_signed)(struct op *op, const struct sign_answer *a));
/* It was: h is marked for renewal, unless it lasts to the deadline. */
void assertion_given(struct holding *h, int64_t deadline_ms, int64_t expires_at_ms);
/* Reads the task again, signs anew and sends AssertionRenewed in the stream. */
void assertion_renew(struct rpc_worker *w, struct holding *h);

#endif
