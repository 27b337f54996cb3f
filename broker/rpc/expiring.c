/* What becomes of a stream whose token expires? See expiring.h. A Watch or a Run cannot be given another token: it ends, and is watched again from its last
 * cursor. */
#include "rpc/expiring.h"

#include "base/clock.h"
#include "rpc/pipeline.h"
#include "rpc/submit.h"
#include "rpc/subscribe.h"
#include "rpc/table.h"

#define WARN_MS 60000
#define LATE_MS 10000 /* a Credential may come so much later; meanwhile each message is judged, and refused */

void expiring_begin(struct rpc_call *rc, const struct claims *c)
{
	rc->token_until_ms = c->expires_at_ms;
	rc->token_warned = false;
}

static bool renewable(const struct rpc_call *rc)
{
	return rc->row->stream == STREAM_IN;
}

static void warn(struct rpc_call *rc)
{
	static const char text[] = "the stream's token expires: send a Credential, or the stream ends then";

	rc->token_warned = true;
	if (rc->subscriber)
		subscribe_notice(rc, BATON__V1__NOTICE_KIND__NOTICE_KIND_TOKEN_EXPIRING, text, rc->token_until_ms);
	else if (renewable(rc))
		pipe_notice(rc, BATON__V1__NOTICE_KIND__NOTICE_KIND_TOKEN_EXPIRING, text, rc->token_until_ms);
}

/* For as long as a message with this token would be taken. */
static void look(void *arg, uint64_t id, void *thing)
{
	const struct rpc_worker *w = arg;
	struct rpc_call *rc = thing;
	int64_t now = clock_unix_ms();
	struct verdict v;

	(void)id;
	if (!rc->token_until_ms || rc->closing)
		return;
	if (now >= rc->token_until_ms + w->world->envelope.clock_skew_ms + (renewable(rc) ? LATE_MS : 0)) {
		v = verdict_deny(REASON_EXPIRED_TOKEN, "authorization", "%s", renewable(rc) ?
				 "the stream's token has expired, and no Credential came in its place: begin another with a new one" :
				 "the stream's token has expired: watch again from the last cursor, with a new one");
		pipeline_end(rc, &v);
	} else if (!rc->token_warned && now >= rc->token_until_ms - WARN_MS) {
		warn(rc);
	}
}

void expiring_look(struct rpc_worker *w)
{
	slots_each(w->calls, look, w);
}
