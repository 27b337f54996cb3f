/* May this envelope be accepted? The steps of the design, one line each in decide(); every step is a pure check elsewhere. */
#include "rpc/decide.h"

#include <string.h>

#include "base/clock.h"
#include "base/redact.h"
#include "base/secret.h"
#include "rpc/revoked.h"

/* The envelope is stored, hashed and delivered as it came, so no credential may be in it: neither this request's own token nor, in the
 * fields that people and logs read, anything that looks like one. */
static struct verdict no_secret_inside(const struct envelope *e, struct slice token)
{
	/* The end of a token, its signature, says which one it is, and a short needle is found fast. */
	struct slice mark = token.n > 64 ? slice_of(token.p + token.n - 64, 64) : token;
	const struct { const char *name; struct slice s; } fields[] = {
		{"idempotency_key", e->idempotency_key}, {"destination", e->destination}, {"tracestate", e->tracestate},
		{"content_type", e->content_type}, {"nonce", e->nonce}, {"traceparent", e->traceparent},
		{"parent_handoff_id", e->parent_handoff_id},
	};

	for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++)
		if (redact_needed(fields[i].s))
			return verdict_deny(REASON_MALFORMED_ENVELOPE, fields[i].name, "%s looks like a credential: a token goes beside the envelope",
					    fields[i].name);
	for (size_t i = 0; i < e->n_scopes; i++)
		if (redact_needed(e->scopes[i]))
			return verdict_deny(REASON_MALFORMED_ENVELOPE, "scopes", "a scope looks like a credential: a token goes beside the envelope");
	for (size_t i = 0; i < e->n_labels; i++)
		if (redact_needed(e->labels[i].key) || redact_needed(e->labels[i].value))
			return verdict_deny(REASON_MALFORMED_ENVELOPE, "labels", "a label looks like a credential: a token goes beside the envelope");
	if (mark.n >= 16 && e->payload.n >= mark.n && memmem(e->payload.p, e->payload.n, mark.p, mark.n))
		return verdict_deny(REASON_MALFORMED_ENVELOPE, "payload", "the access token is inside the payload: send it beside the envelope only");
	return verdict_allow();
}

/* What this version does not do yet is refused, never skipped. */
static struct verdict not_here_yet(const struct agent *agent, const Baton__V1__SubmitRequest *rq, const struct envelope *e)
{
	if (rq->signature.len)
		return verdict_deny(REASON_MALFORMED_ENVELOPE, "signature", "signed envelopes are not in this version: leave `signature` out");
	if (e->parent_handoff_id.n)
		return verdict_deny(REASON_DELEGATION_INVALID, "parent_handoff_id", "delegation is not in this version: leave it out");
	if (!agent->may_originate)
		return verdict_deny(REASON_DELEGATION_INVALID, "parent_handoff_id", "this agent may not start a tree of handoffs (may_originate)");
	return verdict_allow();
}

static struct verdict size_check(const struct profile *p, const struct envelope *e)
{
	if (p && p->max_payload && e->payload.n > p->max_payload)
		return verdict_deny(REASON_PAYLOAD_TOO_LARGE, "payload", "%zu bytes, and the route takes %u", e->payload.n, p->max_payload);
	return verdict_allow();
}

static void audit_envelope(struct op *op, const struct envelope *e, const struct profile *p)
{
	op->audit.route = p ? slice_str(p->route) : e->route;
	op->audit.tool = e->tool;
	op->audit.destination = e->destination;
	op->audit.parent_handoff_id = e->parent_handoff_id;
	op->audit.idempotency_key = e->idempotency_key;
	op->audit.side_effect = (enum side_effect)e->side_effect;
	if (p) {
		op->audit.policy_version = slice_str(p->version);
		op->audit.retention = slice_str(p->retention);
	}
	if (op->world->audit_payload_hash) {
		char *hex = arena_alloc(op->arena, 2 * SHA256_BYTES + 1);
		uint8_t digest[SHA256_BYTES];

		sha256(e->payload, digest);
		if (hex) {
			hex_encode(digest, sizeof digest, hex);
			op->audit.payload_sha256 = slice_str(hex);
		}
	}
}

/* Design step 4, of what is asked for: who asks, and on whose authority, was judged before. */
static struct verdict not_revoked(struct op *op, const struct profile *p, const struct envelope *e)
{
	struct revocable what = {.tenant = op->agent->tenant, .route = p->route};

	if (!revocations_count(op->world->revocations))
		return verdict_allow();
	what.tool = op_str(op, e->tool);
	return revoked_judge(op->world, &what);
}

/* The envelope's own traceparent beats the call's. */
static void continue_trace(struct op *op, const struct envelope *e)
{
	if (!e->traceparent.n)
		return;
	trace_begin(&op->trace, e->traceparent, e->tracestate);
	op->audit.trace_id = slice_str(op->trace.trace_id);
	op->audit.span_id = slice_str(op->trace.span_id);
}

enum principal_result decide(struct rpc_call *rc, struct op *op, const Baton__V1__SubmitRequest *rq, const struct envelope *e,
			     struct decided *out)
{
	int64_t now = clock_unix_ms();
	struct access_request access;
	struct slice token;

	memset(out, 0, sizeof *out);
	out->policy_version = "";
	continue_trace(op, e);
	out->verdict = envelope_check(e, &op->world->envelope, now, &out->times);
	if (!verdict_ok(&out->verdict))
		return PRINCIPAL_JUDGED;
	out->profile = registry_route(op->world->registry, op->agent->tenant, e->route);
	if (out->profile && !agent_may_call(op->agent, e->route))
		out->profile = NULL; /* invisible is as good as missing */
	audit_envelope(op, e, out->profile);
	token = principal_token(rc, slice_str(rq->access_token), &out->verdict);
	if (verdict_ok(&out->verdict))
		out->verdict = no_secret_inside(e, token);
	if (verdict_ok(&out->verdict))
		out->verdict = size_check(out->profile, e);
	if (!verdict_ok(&out->verdict))
		return PRINCIPAL_JUDGED;
	if (out->profile)
		out->policy_version = out->profile->version;
	if (principal_verify(op, token, out->profile, &out->token) == PRINCIPAL_PARKED)
		return PRINCIPAL_PARKED;
	out->verdict = out->token.verdict;
	if (verdict_ok(&out->verdict) && out->profile)
		out->verdict = not_revoked(op, out->profile, e);
	if (!verdict_ok(&out->verdict))
		return PRINCIPAL_JUDGED;
	access = task_access(e);
	out->verdict = authorize(op->agent, &out->token.claims, &access, out->profile, &out->grant);
	if (out->verdict.outcome != OUTCOME_DENY) {
		struct verdict v = not_here_yet(op->agent, rq, e);

		if (verdict_ok(&v))
			v = envelope_deadline(e, out->profile->default_deadline_ms, out->profile->max_deadline_ms, now, &out->deadline_ms);
		if (!verdict_ok(&v))
			out->verdict = v;
	}
	return PRINCIPAL_JUDGED;
}
