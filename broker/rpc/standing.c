/* Is the certificate of whoever asks still good? See standing.h. Who is asked is app/certask.c, what is known of it app/certknown.c; here the first messages wait, as those
 * with an opaque token do, and those whom a bad answer is about hear it. */
#include "rpc/standing.h"

#include <string.h>

#include "base/clock.h"
#include "rpc/desk.h"
#include "rpc/pipeline.h"
#include "rpc/subscribe.h"
#include "rpc/table.h"

#define RETRY_MS 1000

static struct verdict verdict_of(enum peer_status status)
{
	struct verdict v;

	switch (status) {
	case PEER_STATUS_GOOD:
		return verdict_allow();
	case PEER_STATUS_REVOKED:
		return verdict_deny(REASON_REVOKED, "", "this certificate is revoked: the OCSP responder of its trust domain says so");
	case PEER_STATUS_UNKNOWN:
		return verdict_deny(REASON_UNKNOWN_PEER, "", "the OCSP responder of its trust domain does not know this certificate");
	default:
		v = verdict_deny(REASON_STATUS_UNAVAILABLE, "", "the OCSP responder of its trust domain has not said whether this certificate is good: try again");
		v.retry_after_ms = RETRY_MS;
		return v;
	}
}

/* Whoever is not registered would be refused after the wait too, and must not take the place of one who is. */
static bool wait_for_answer(struct op *op, const struct rpc_call *rc)
{
	int64_t now = clock_mono_ms();

	if (!op->agent && rc->row->peer == PEER_REGISTERED)
		return false;
	return op_may_park(op, now) && op_park(op, question_wait(ocsp_subject_key(rc->peer->subject)), now);
}

struct verdict standing_now(const struct op *op, const struct rpc_call *rc)
{
	const struct rpc_env *env = &op->w->env;
	enum peer_status status = env->peer_status && rc->peer->subject ? env->peer_status(env->arg, rc->peer) : PEER_STATUS_GOOD;

	return verdict_of(status == PEER_STATUS_ASKED ? PEER_STATUS_GOOD : status);
}

/* What comes on a call stays in its order: a message does not overtake one that waits. */
bool standing_judge(struct op *op, struct rpc_call *rc, struct verdict *v)
{
	const struct rpc_env *env = &op->w->env;
	bool first = !rc->standing || rc->standing == op->id || !slots_get(op->w->ops, rc->standing);
	enum peer_status status = PEER_STATUS_GOOD;

	if (env->peer_status && rc->peer->subject)
		status = first ? env->peer_status(env->arg, rc->peer) : PEER_STATUS_ASKED;
	if (status == PEER_STATUS_ASKED && wait_for_answer(op, rc)) {
		rc->standing = first ? op->id : rc->standing;
		return false;
	}
	rc->standing = first ? 0 : rc->standing;
	*v = verdict_of(status);
	return true;
}

struct fallen {
	const uint8_t *key;
	struct verdict verdict;
};

/* What a subscriber has not taken yet it does not get. */
static void end_stream(void *arg, uint64_t id, void *thing)
{
	const struct fallen *f = arg;
	struct rpc_call *rc = thing;
	struct subscriber *s = rc->subscriber;

	(void)id;
	if (rc->closing || !rc->peer->subject || memcmp(ocsp_subject_key(rc->peer->subject), f->key, SHA256_BYTES) != 0 || !rpc_row_lives_on(rc->row))
		return;
	if (s && s->holdings && !call_is_sent(rc->c)) {
		call_forget(rc->c);
		return;
	}
	if (s)
		subscribe_revoked(rc, f->verdict.message);
	pipeline_end_at_once(rc, &f->verdict);
}

void rpc_worker_peer_fallen(struct rpc_worker *w, const uint8_t key[SHA256_BYTES], enum peer_status status)
{
	struct fallen f = {key, verdict_of(status)};

	slots_each(w->calls, end_stream, &f);
}
