/* What becomes of a stream whose token expires? It was begun, and is renewed, on the authority of an access token: a minute before that ends whoever can renew it
 * in the stream is told (NOTICE_KIND_TOKEN_EXPIRING), and ten seconds after it the stream ends as expired_token; a stream that cannot be given another token ends with it. What was acknowledged on it stays. Private to rpc/. */
#ifndef BATON_RPC_EXPIRING_H
#define BATON_RPC_EXPIRING_H

#include "identity/claims.h"
#include "rpc/op.h"

/* The stream goes on with this token, which has been verified. */
void expiring_begin(struct rpc_call *rc, const struct claims *c);
/* Each second. */
void expiring_look(struct rpc_worker *w);

#endif
