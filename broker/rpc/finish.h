/* How does a handoff leave a lease? One call of the store, its audit line, and word to whoever follows it. Private to rpc/. */
#ifndef BATON_RPC_FINISH_H
#define BATON_RPC_FINISH_H

#include "rpc/op.h"

struct finish {
	struct store_slot slot;
	struct handoff_id id;
	uint64_t fence, owner;
	enum store_finish_kind kind;
	uint32_t delay_ms;
	enum reason reason;          /* of an end that nobody reported */
	const char *note;            /* why, for people; borrowed */
	struct slice result, failure; /* packed baton.v1 messages */
	const char *policy_version;  /* that decided so, when one did; borrowed */
	const char *trace_id;        /* the handoff's, when known; borrowed */
};

/* Sends it; op->on_answer must be set, op->audit gets what is known. false: memory, nothing was sent. */
bool finish_send(struct op *op, const struct finish *f);
/* On its own, answered to nobody: audited and published. */
void finish_alone(struct rpc_worker *w, const struct finish *f);
/* Writes the life event of the state that was reached; the ticket. */
uint64_t finish_audit(struct op *op, const struct store_record *r, enum store_finish_kind kind);

#endif
