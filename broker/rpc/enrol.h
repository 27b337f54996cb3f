/* How does an agent come by a certificate of this broker? enrol.c has the operator's part, a token; issue.c has the agent's: its first certificate for the
 * token, and each next one for the certificate that it has. Private to rpc/. */
#ifndef BATON_RPC_ENROL_H
#define BATON_RPC_ENROL_H

#include "rpc/enrolment.h"
#include "rpc/issuing.h"
#include "rpc/op.h"

void enrol_on_create(struct rpc_call *rc, struct op *op);

void issue_on_bundle(struct rpc_call *rc, struct op *op);
void issue_on_enrol(struct rpc_call *rc, struct op *op);
void issue_on_renew(struct rpc_call *rc, struct op *op);

/* The part of the world that issues. NULL: this broker does not, and the op has ended. */
const struct issuing *enrol_issuing(struct op *op);
/* Keeps it under this name, as this version; on_answer hears of it. false: memory is out. */
bool enrol_keep(struct op *op, struct slice name, uint64_t version, const struct enrolment *e, void (*on_answer)(struct op *op, const struct store_answer *a));
/* The uuid of an agent of this world that is registered, "" of one of the configuration; in the arena. NULL: memory is out. */
const char *enrol_uuid(struct op *op, const struct world *w, const struct agent *a);

#endif
