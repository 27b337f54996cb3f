/* What does the store keep of an accepted envelope, and how is it read again? */
#include "rpc/task.h"

#include <string.h>

#include "rpc/revoked.h"
#include "wire/prescan.h"

#define ENVELOPE_FIELD 1 /* of Task */

static struct slice bin(const ProtobufCBinaryData *b)
{
	return slice_of(b->data, b->len);
}

bool task_envelope(struct arena *a, const pb_envelope *pb, struct envelope *out)
{
	struct slice *scopes = pb->n_scopes ? arena_alloc(a, pb->n_scopes * sizeof *scopes) : NULL;
	struct label *labels = pb->n_labels ? arena_alloc(a, pb->n_labels * sizeof *labels) : NULL;

	if ((pb->n_scopes && !scopes) || (pb->n_labels && !labels))
		return false;
	for (size_t i = 0; i < pb->n_scopes; i++)
		scopes[i] = slice_str(pb->scopes[i]);
	for (size_t i = 0; i < pb->n_labels; i++)
		labels[i] = (struct label){slice_str(pb->labels[i]->key), slice_str(pb->labels[i]->value)};
	*out = (struct envelope){
		.route = slice_str(pb->route), .tool = slice_str(pb->tool), .side_effect = (int)pb->side_effect,
		.payload = bin(&pb->payload), .content_type = slice_str(pb->content_type), .nonce = slice_str(pb->nonce),
		.issued_at_ms = pb->issued_at_ms, .expires_at_ms = pb->expires_at_ms, .deadline_ms = pb->deadline_ms,
		.idempotency_key = slice_str(pb->idempotency_key), .destination = slice_str(pb->destination),
		.tenant = slice_str(pb->tenant), .scopes = scopes, .n_scopes = pb->n_scopes,
		.parent_handoff_id = slice_str(pb->parent_handoff_id), .trust = (int)pb->trust,
		.traceparent = slice_str(pb->traceparent), .tracestate = slice_str(pb->tracestate),
		.priority = pb->priority, .start_at_ms = pb->start_at_ms, .labels = labels, .n_labels = pb->n_labels,
	};
	return true;
}

struct access_request task_access(const struct envelope *e)
{
	return (struct access_request){
		.route = e->route, .tool = e->tool, .destination = e->destination, .tenant = e->tenant,
		.side_effect = (enum side_effect)e->side_effect, .has_idempotency_key = e->idempotency_key.n > 0,
		.scopes = e->scopes, .n_scopes = e->n_scopes,
		.trust = e->trust == TRUST_UNSPECIFIED ? TRUST_UNTRUSTED : (enum content_trust)e->trust,
		.payload_bytes = e->payload.n,
	};
}

pb_task *task_make(struct op *op, struct slice envelope_bytes, const struct decided *d)
{
	const struct claims *c = &d->token.claims;
	pb_task *t = arena_alloc(op->arena, sizeof *t);

	if (!t)
		return NULL;
	baton__internal__v1__task__init(t);
	t->envelope = (ProtobufCBinaryData){envelope_bytes.n, (uint8_t *)envelope_bytes.p};
	t->tenant = (char *)op->agent->tenant;
	t->route = (char *)d->profile->route;
	t->sender = (char *)op->agent->name;
	t->sender_spiffe_id = (char *)op->agent->spiffe_id;
	t->issuer = (char *)c->issuer;
	t->subject = (char *)c->subject;
	t->client_id = (char *)c->client_id;
	t->token_tenant = (char *)c->tenant;
	t->jti = (char *)c->jti;
	t->audience = (char *)c->audience;
	t->token_expires_at_ms = c->expires_at_ms;
	t->token_scopes = (char **)c->scopes;
	t->n_token_scopes = c->n_scopes;
	t->scopes = (char **)d->grant.scopes;
	t->n_scopes = d->grant.n_scopes;
	t->subject_is_user = c->subject_is_user;
	t->policy_version = (char *)d->policy_version;
	t->outcome = (uint32_t)d->verdict.outcome;
	t->reason = (uint32_t)d->verdict.reason;
	t->trace_id = op->trace.trace_id;
	t->span_id = op->trace.span_id;
	t->trace_flags = op->trace.flags;
	t->tracestate = op->trace.tracestate;
	t->accepted_at_ms = op->audit.at_ms;
	t->deadline_ms = d->deadline_ms;
	t->side_effect = (uint32_t)d->grant.side_effect;
	t->destination_class = (char *)destination_class_text(d->grant.cls);
	t->authority_until_ms = d->deadline_ms;
	t->max_attempts = d->profile->max_attempts;
	t->certificate_sha256 = (char *)op->x5t_s256;
	t->certificate_twin = (char *)op->x5t_twin;
	t->certificate_issued_at_ms = op->certificate_issued_at_ms;
	t->token_issued_at_ms = c->issued_at_ms;
	t->token_key_id = (char *)c->key_id;
	t->token_sha256 = (ProtobufCBinaryData){SHA256_BYTES, (uint8_t *)c->token_sha256};
	t->held_message = (char *)d->verdict.message;
	t->accepted_state = (uint32_t)d->state;
	return t;
}

struct slice task_pack(struct op *op, pb_task *t)
{
	uint8_t *p = arena_alloc(op->arena, protobuf_c_message_get_packed_size(&t->base) + 1);
	struct slice all, envelope;

	if (!p)
		return slice_of(NULL, 0);
	all = slice_of(p, protobuf_c_message_pack(&t->base, p));
	envelope = prescan_field_bytes(all, ENVELOPE_FIELD);
	t->envelope = (ProtobufCBinaryData){envelope.n, (uint8_t *)envelope.p};
	return all;
}

pb_task *task_unpack(struct arena *a, struct slice bytes)
{
	struct prescan_fault fault;

	return (pb_task *)prescan_unpack(&baton__internal__v1__task__descriptor, bytes, NULL, a, &fault);
}

pb_envelope *task_unpack_envelope(struct arena *a, const pb_task *t)
{
	struct prescan_fault fault;

	return (pb_envelope *)prescan_unpack(&baton__v1__task_envelope__descriptor, bin(&t->envelope), NULL, a, &fault);
}

bool task_claims(struct arena *a, const pb_task *t, struct claims *out)
{
	*out = (struct claims){
		.issuer = t->issuer, .issuer_name = "", .subject = t->subject, .client_id = t->client_id,
		.tenant = t->token_tenant, .jti = t->jti, .audience = t->audience,
		.scopes = (const char **)t->token_scopes, .n_scopes = t->n_token_scopes,
		.expires_at_ms = t->token_expires_at_ms, .subject_is_user = t->subject_is_user, .bound = true,
	};
	return true;
}

static bool issuer_allowed(const struct profile *p, const char *issuer)
{
	for (size_t i = 0; i < p->n_allowed_issuers; i++)
		if (strcmp(p->allowed_issuers[i], issuer) == 0)
			return true;
	return false;
}

struct verdict task_judge(struct arena *a, const struct world *w, const pb_task *t, const pb_envelope *pe, int64_t now_ms)
{
	const struct agent *sender = registry_by_name(w->registry, t->tenant, slice_str(t->sender));
	const struct profile *p = registry_route(w->registry, t->tenant, slice_str(t->route));
	struct access_request rq;
	struct access_grant grant;
	struct envelope e;
	const struct revocable whose = revoked_task(t, pe->tool);
	struct verdict v = revoked_judge(w, &whose);
	struct claims claims;

	if (!verdict_ok(&v))
		return v;
	if (!sender || strcmp(sender->spiffe_id, t->sender_spiffe_id) != 0)
		return verdict_deny(REASON_UNKNOWN_PEER, "sender", "the sender is no longer a registered agent");
	if (now_ms >= t->authority_until_ms)
		return verdict_deny(REASON_DEADLINE_EXCEEDED, "deadline_ms", "its deadline has passed");
	if (!task_envelope(a, pe, &e) || !task_claims(a, t, &claims))
		return verdict_deny(REASON_QUOTA_EXCEEDED, "", "out of memory");
	if (p && !issuer_allowed(p, t->issuer))
		return verdict_deny(REASON_WRONG_ISSUER, "iss", "the route no longer takes tokens of this issuer");
	if (p && strcmp(p->required_audience, t->audience) != 0)
		return verdict_deny(REASON_WRONG_AUDIENCE, "aud", "the route demands another audience by now");
	rq = task_access(&e);
	return authorize(sender, &claims, &rq, p, &grant);
}

Baton__V1__Agent *task_agent(struct arena *a, const char *spiffe_id, const char *tenant, const char *name)
{
	Baton__V1__Agent *g = arena_alloc(a, sizeof *g);

	if (!g)
		return NULL;
	baton__v1__agent__init(g);
	g->spiffe_id = (char *)spiffe_id;
	g->tenant = (char *)tenant;
	g->name = (char *)name;
	return g;
}
