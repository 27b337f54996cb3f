/* Is the certificate of whoever asks still good, where a responder is asked about it (OCSP)? Private to rpc/. */
#ifndef BATON_RPC_STANDING_H
#define BATON_RPC_STANDING_H

#include "rpc/op.h"

/* Is it known, without asking anybody, that the certificate is not good? */
bool standing_refuses(const struct op *op, const struct rpc_call *rc);
/* false: the op waits for the answer, return at once. Else *v says what is known now. */
bool standing_judge(struct op *op, struct rpc_call *rc, struct verdict *v);

#endif
