/* May this envelope be accepted? Design steps 2 to 11 in their order, all but the store. Private to rpc/. */
#ifndef BATON_RPC_DECIDE_H
#define BATON_RPC_DECIDE_H

#include "rpc/principal.h"
#include "rpc/task.h"

/* Judges the envelope with the token beside it; out->verdict is the answer and the audit record is filled in. PRINCIPAL_PARKED: return at
 * once, the message will be judged again. */
enum principal_result decide(struct rpc_call *rc, struct op *op, const Baton__V1__SubmitRequest *rq, const struct envelope *e,
			     struct decided *out);

#endif
