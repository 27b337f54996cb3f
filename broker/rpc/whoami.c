/* Who does the broker think the caller is? WhoAmI tells a registered agent what its certificate and its token amount to, and is never an
 * error for one. */
#include "rpc/whoami.h"

#include <string.h>

#include "base/clock.h"
#include "baton/v1/handoff.pb-c.h"
#include "rpc/pipeline.h"
#include "rpc/principal.h"
#include "rpc/task.h"

static Baton__V1__Claims *claims_message(struct arena *a, const struct claims *c)
{
	Baton__V1__Claims *m = arena_alloc(a, sizeof *m);

	if (!m)
		return NULL;
	baton__v1__claims__init(m);
	m->issuer = (char *)c->issuer;
	m->subject = (char *)c->subject;
	m->client_id = (char *)c->client_id;
	m->tenant = (char *)c->tenant;
	m->scopes = (char **)c->scopes;
	m->n_scopes = c->n_scopes;
	m->token_expires_at_ms = c->expires_at_ms;
	m->jti = (char *)c->jti;
	return m;
}

static char **names(struct arena *a, const char list[][64], size_t n)
{
	char **out = arena_alloc(a, (n + 1) * sizeof *out);

	for (size_t i = 0; out && i < n; i++)
		out[i] = (char *)list[i];
	return out;
}

static enum principal_result judge(struct rpc_call *rc, struct op *op, struct token_answer *answer)
{
	struct verdict v;
	struct slice token = principal_token(rc, slice_of(NULL, 0), &v);

	memset(answer, 0, sizeof *answer);
	answer->verdict = v;
	if (!verdict_ok(&v))
		return PRINCIPAL_JUDGED;
	if (!token.n) {
		answer->verdict = verdict_deny(REASON_MISSING_TOKEN, "authorization", "no `authorization` metadata was sent with this call");
		return PRINCIPAL_JUDGED;
	}
	return principal_verify(op, token, NULL, answer);
}

void whoami_on_message(struct rpc_call *rc, struct op *op)
{
	static char *features[] = {(char *)"assertions", (char *)"resume", (char *)"schedule", (char *)"dry_run"};
	struct arena *a = op->arena;
	Baton__V1__WhoAmIResponse *m = arena_alloc(a, sizeof *m);
	struct token_answer answer;

	if (!m) {
		reply_error(rc, REASON_QUOTA_EXCEEDED, "", "out of memory");
		op_end(op);
		return;
	}
	if (judge(rc, op, &answer) == PRINCIPAL_PARKED)
		return;
	baton__v1__who_am_iresponse__init(m);
	m->agent = task_agent(a, op->agent->spiffe_id, op->agent->tenant, op->agent->name);
	m->certificate_sha256 = (char *)op->x5t_s256;
	m->certificate_expires_at_ms = rc->peer->not_after_ms;
	m->token = reply_decision(a, &answer.verdict, "");
	m->claims = verdict_ok(&answer.verdict) && answer.have_claims ? claims_message(a, &answer.claims) : NULL;
	m->may_call = names(a, op->agent->call, op->agent->n_call);
	m->n_may_call = m->may_call ? op->agent->n_call : 0;
	m->may_serve = names(a, op->agent->serve, op->agent->n_serve);
	m->n_may_serve = m->may_serve ? op->agent->n_serve : 0;
	m->server_time_ms = clock_unix_ms();
	m->server_version = (char *)op->w->env.version;
	m->features = features;
	m->n_features = sizeof features / sizeof features[0];
	pipeline_answer(op, &m->base);
}
