/* Is the certificate of whoever asks still good, where a responder is asked about it (OCSP)? Private to rpc/. */
#ifndef BATON_RPC_STANDING_H
#define BATON_RPC_STANDING_H

#include "rpc/op.h"

/* By what is known now, without a wait: allowed while it is being asked. */
struct verdict standing_now(const struct op *op, const struct rpc_call *rc);
/* false: the op waits for the answer, return at once. Else *v says what is known now. */
bool standing_judge(struct op *op, struct rpc_call *rc, struct verdict *v);

#endif
