/* What does the store keep of an accepted envelope, and how is it read again? baton.internal.v1.Task, made and judged. Private to rpc/. */
#ifndef BATON_RPC_TASK_H
#define BATON_RPC_TASK_H

#include "baton/internal/v1/record.pb-c.h"
#include "baton/v1/handoff.pb-c.h"
#include "policy/authorize.h"
#include "rpc/op.h"

typedef Baton__Internal__V1__Task pb_task;
typedef Baton__V1__TaskEnvelope pb_envelope;

/* Borrows everything from pb; scopes and labels are laid out in the arena. false: memory. */
bool task_envelope(struct arena *a, const pb_envelope *pb, struct envelope *out);
/* What the policy is asked about such an envelope. */
struct access_request task_access(const struct envelope *e);

/* What was decided about an envelope. */
struct decided {
	struct verdict verdict;
	const struct profile *profile; /* NULL when the route is not there */
	struct token_answer token;
	struct access_grant grant;
	struct envelope_times times;
	int64_t deadline_ms;
	enum handoff_state state;      /* to be accepted in */
	const char *policy_version;    /* "" before a profile was chosen */
};

/* What is to be stored; borrows from op and d. NULL when memory is out. */
pb_task *task_make(struct op *op, struct slice envelope_bytes, const struct decided *d);
/* Its bytes, in the arena, empty when memory is out. The task's envelope lies in them from now on. */
struct slice task_pack(struct op *op, pb_task *t);
/* NULL when the bytes are not a Task. */
pb_task *task_unpack(struct arena *a, struct slice bytes);
pb_envelope *task_unpack_envelope(struct arena *a, const pb_task *t);
/* The claims as they were verified when the work was accepted. false: memory. */
bool task_claims(struct arena *a, const pb_task *t, struct claims *out);
/* Today's judgement of stored work: is its sender still what it was, and would it be let in now? (design: "Then deliver") */
struct verdict task_judge(struct arena *a, const struct world *w, const pb_task *t, const pb_envelope *e, int64_t now_ms);

Baton__V1__Agent *task_agent(struct arena *a, const char *spiffe_id, const char *tenant, const char *name);

#endif
