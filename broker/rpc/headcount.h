/* May a tenant have another agent? Names and SPIFFE ids are kept for good, and the store has a number of them for all tenants: none of them may use it up. Private to rpc/. */
#ifndef BATON_RPC_HEADCOUNT_H
#define BATON_RPC_HEADCOUNT_H

#include "rpc/kinds.h"

/* The i-th entry of a call, an agent, after those that stand before it. Calls at once are not counted together: they may go over by what they carry. false: the op has
 * ended. */
bool headcount_check(struct op *op, const struct entry *e, size_t i);

#endif
