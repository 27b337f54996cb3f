/* How is what waits in the queues kept from being handed out, or let go again, because of a revocation or of an operator's word? Through all queues that it
 * is about, one after the other, a page at a time. Private to rpc/. */
#ifndef BATON_RPC_SWEEP_H
#define BATON_RPC_SWEEP_H

#include "registry/revocations.h"
#include "rpc/op.h"

enum sweep_kind {
	SWEEP_COUNT,  /* what waits is counted */
	SWEEP_ASIDE,  /* and put into quarantine */
	SWEEP_BACK,   /* what it put into quarantine, and would be let in by today's policy, is queued again */
	SWEEP_COUNT_BACK, /* or counted */
};

struct sweep {
	enum sweep_kind kind;
	const struct world_route **routes;   /* in the op's arena */
	size_t n_routes;
	const struct revocations *about;     /* of one revocation: whose work is meant; NULL: an operator means all that the next two pick */
	uint64_t sender;                     /* store_agent_key(): nobody else's; 0: anybody's */
	const char *trace_id;                /* NULL: any */
	bool leased;                         /* what a worker has is taken, or counted, too */
	bool by_record;                      /* who sent it, or where it is, decides: the task need not be read */
	int64_t since_ms;                    /* what was put into quarantine since then, by others, counts too; 0 = nothing does */
	const char *id;                      /* of the revocation */
	enum reason reason;                  /* for the handoff's events, */
	const char *note;
	const char *by, *cause;              /* of them for operators alone; NULL: nobody's */
	const char *line;                    /* for the audit's line of each; NULL: nothing */
	void (*then)(struct op *op);
	/* what came of it */
	uint64_t found;
	uint64_t kept;                       /* BACK: that were meant, and are not let in by now, or do not open */
	bool failed;                         /* the store did not answer everywhere */
	/* its own */
	size_t at, pending;
	uint64_t before;
	struct slice body;
	struct store_record *todo;           /* BACK: of a page, those that may be meant; in the op's arena */
	size_t n_todo;
};

/* All routes' slots refuse nodes that do not live by this generation; then s->then(op). s is in the op's arena, as op->sweep. */
void sweep_bar(struct op *op, uint64_t generation);
/* Goes through; then s->then(op). */
void sweep_run(struct op *op);

/* ---- one alone, by op->sweep; its body is made first ---- */

void sweep_body(struct op *op);
/* It was put aside, or back: watchers, workers and the audit hear of it. */
void sweep_told(struct op *op, const struct world_route *route, const struct store_record *r);

#endif
