/* What would a revocation close, on every node? The question is a change that all nodes hear of: each of its workers counts the connections that it has by then, and the
 * node tells the sum beside the generation that it confirms. The last question alone is answered. Private to rpc/. */
#ifndef BATON_RPC_FORESEE_H
#define BATON_RPC_FORESEE_H

#include "rpc/op.h"
#include "rpc/revoked.h"

#define FORESEE_NAME "revoke/asked"
#define FORESEE_MS 5000 /* then a node that has not counted is told of as that */

#endif
