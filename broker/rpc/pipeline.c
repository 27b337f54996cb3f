/* Through which gates does every message go, whatever it asks? Peer, role, form, draining, in this order, for every row of the table; then
 * the row's handler. Also the glue between net/'s calls and rpc_call. */
#include "rpc/pipeline.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/secret.h"
#include "rpc/caller.h"
#include "rpc/desk.h"
#include "rpc/follow.h"
#include "rpc/quota.h"
#include "rpc/registered.h"
#include "rpc/revoke.h"
#include "rpc/revoked.h"
#include "rpc/standing.h"
#include "rpc/table.h"

#define BESIDE_PAYLOAD (1u << 20) /* of an envelope and its request */
#define STRANGER_MAX (64u << 10)
#define NO_MEMORY_RETRY_MS 1000
#define STRANGERS_TOLD 60 /* at once, and one a second */

static void free_secret(char *s)
{
	if (s)
		secret_wipe(s, strlen(s));
	free(s);
}

/* What a message of the call may have, before anything of it is held: little from a stranger, for an envelope what is configured. */
static size_t message_max(const struct rpc_call *rc)
{
	const struct rpc_row *row = rc->row;
	const struct world *w = rc->w->world;
	size_t envelope = w->envelope.max_payload + BESIDE_PAYLOAD, max = row->max_message;

	if ((row->peer == PEER_REGISTERED && !registry_by_spiffe(w->registry, rc->peer->spiffe_id)) || (row->peer == PEER_OPERATOR && !caller_may_have_roles(rc)))
		max = max < STRANGER_MAX ? max : STRANGER_MAX;
	return row->replay_checked && envelope < max ? envelope : max;
}

size_t pipeline_on_open(void *user, struct call *c, struct slice path)
{
	struct rpc_worker *w = user;
	const struct rpc_row *row = rpc_row_find(path, call_peer(c)->listener);
	struct rpc_call *rc;
	char text[160];

	if (!row) {
		snprintf(text, sizeof text, "%.*s is not served on this port", (int)(path.n > 100 ? 100 : path.n), (const char *)path.p);
		call_end(c, GRPC_UNIMPLEMENTED, text, NULL, 0);
		return 0;
	}
	rc = calloc(1, sizeof *rc);
	if (!rc || !(rc->id = slots_add(w->calls, rc))) {
		free(rc);
		call_end_exhausted(c, "too many calls under way");
		return 0;
	}
	rc->w = w;
	rc->row = row;
	rc->c = c;
	rc->peer = call_peer(c)->identity;
	call_set_data(c, rc);
	return message_max(rc);
}

void pipeline_on_gone(void *user, struct call *c, enum grpc_status why)
{
	struct rpc_worker *w = user;
	struct rpc_call *rc = call_data(c);

	if (!rc)
		return;
	metrics_add(w->env.metrics, METRIC_RPCS, rc->row->name, grpc_status_text(why), 1);
	if (rc->row->on_gone)
		rc->row->on_gone(rc);
	free(rc->whose);
	slots_drop(w->calls, rc->id);
	outbox_drop(rc);
	if (rc->denial)
		op_end(slots_get(w->ops, rc->denial));
	free_secret(rc->token);
	free(rc);
}

/* What every line about this op says. */
static void audit_begin(struct op *op, const struct rpc_call *rc)
{
	struct audit_record *a = &op->audit;

	a->rpc = slice_str(rc->row->name);
	a->remote = slice_str(op_str(op, slice_str(call_peer(rc->c)->remote)));
	a->spiffe_id = slice_str(op->spiffe_id);
	a->certificate_sha256 = slice_str(op->x5t_s256);
	a->trace_id = slice_str(op->trace.trace_id);
	a->span_id = slice_str(op->trace.span_id);
	if (op->agent) {
		a->tenant = slice_str(op->agent->tenant);
		a->agent = slice_str(op->agent->name);
	}
}

/* An agent has one budget of keys to be fetched, whichever port it comes by. */
static uint64_t asker_of(const struct op *op, const struct agent *a)
{
	uint8_t print[SHA256_BYTES];
	uint64_t key;

	if (a)
		return a->key;
	sha256(slice_str(op->spiffe_id), print);
	memcpy(&key, print, sizeof key);
	return key;
}

/* Who asks, under which trace. An operator is one by his roles, be he an agent too or not. */
static void identify(struct op *op, const struct rpc_call *rc)
{
	size_t n = 0, m = 0;
	struct slice parent = call_metadata(rc->c, "traceparent", &n), state = call_metadata(rc->c, "tracestate", &m);
	const struct agent *a = registry_by_spiffe(op->world->registry, op->spiffe_id);
	const struct verdict shows = a ? registered_shows(a, rc->peer) : verdict_allow();

	op->agent = rc->row->peer == PEER_OPERATOR || !verdict_ok(&shows) ? NULL : a;
	op->asker = asker_of(op, a);
	trace_begin(&op->trace, n == 1 ? parent : slice_str(""), m == 1 ? state : slice_str(""));
	audit_begin(op, rc);
}

/* Ends the call with the denial that waits for it, once no receipt is owed: what was stored is told first. */
static void end_denied(struct rpc_call *rc)
{
	struct op *op = rc->pipe_open ? NULL : slots_get(rc->w->ops, rc->denial);

	if (!op)
		return;
	rc->denial = 0;
	reply_denied(rc, op, op->state, "", NULL);
	op_end(op);
}

static void deny_release(struct op *op, bool durable)
{
	struct rpc_call *rc = op_call(op);

	if (!durable)
		*(struct verdict *)op->state = verdict_deny(REASON_STORE_UNAVAILABLE, "", "the audit file cannot be written");
	if (!rc || rc->denial)
		op_end(op);
	else
		rc->denial = op->id;
	if (rc)
		end_denied(rc);
}

void pipeline_receipt_sent(struct rpc_call *rc)
{
	rc->pipe_open--;
	end_denied(rc);
	if (!rc->pipe_open && rc->half_closed && !rc->closing)
		call_end(rc->c, GRPC_OK, NULL, NULL, 0);
}

/* Those who have no certificate do not fill the audit's disk: of what they are refused some is written down, and all of it counted. */
static bool is_told(const struct op *op)
{
	return !op->row || op->row->peer != PEER_STRANGER || bucket_take(&op->w->strangers, STRANGERS_TOLD, 1, clock_mono_ms());
}

void pipeline_deny(struct op *op, const struct verdict *v)
{
	struct verdict *keep = arena_alloc(op->arena, sizeof *keep);
	struct rpc_call *rc = op_call(op);

	if (rc) {
		rc->closing = true;
		rc->pipe_open -= op->owes_receipt;
	}
	op->owes_receipt = false;
	if (!keep) {
		if (rc)
			reply_error(rc, v->reason, v->field, v->message);
		op_end(op);
		return;
	}
	*keep = *v;
	op->state = keep;
	op->audit.outcome = v->outcome;
	op->audit.reason = v->reason;
	op->audit.field = slice_str(keep->field);
	op->audit.message = slice_str(keep->message);
	metrics_add(op->w->env.metrics, METRIC_DECISIONS, "", reason_text(v->reason), 1);
	if (is_told(op)) {
		op_after_audit(op, op_audit(op, "decision"), deny_release);
		return;
	}
	if (rc)
		reply_denied(rc, op, v, "", NULL);
	op_end(op);
}

void pipeline_end(struct rpc_call *rc, const struct verdict *v)
{
	struct op *op = op_new(rc->w, rc);

	if (!op) {
		reply_error(rc, v->reason, v->field, v->message);
		return;
	}
	identify(op, rc);
	pipeline_deny(op, v);
}

void pipeline_end_at_once(struct rpc_call *rc, const struct verdict *v)
{
	struct op *op = op_new(rc->w, rc);

	rc->closing = true;
	if (op) {
		identify(op, rc);
		op->audit.outcome = v->outcome;
		op->audit.reason = v->reason;
		op->audit.field = slice_str(op_str(op, slice_str(v->field)));
		op->audit.message = slice_str(op_str(op, slice_str(v->message)));
		op_audit(op, "decision");
		op_end(op);
	}
	metrics_add(rc->w->env.metrics, METRIC_DECISIONS, "", reason_text(v->reason), 1);
	reply_error(rc, v->reason, v->field, v->message);
}

void pipeline_before_io(void *user)
{
	revoke_after_stall(user);
}

void pipeline_on_too_large(void *user, struct call *c, size_t max)
{
	struct rpc_call *rc = call_data(c);
	struct verdict v = verdict_deny(REASON_PAYLOAD_TOO_LARGE, "", "the message is larger than the %zu bytes that this call takes", max);

	(void)user;
	if (rc && !rc->closing)
		pipeline_end(rc, &v);
}

static void answer_release(struct op *op, bool durable)
{
	struct rpc_call *rc = op_call(op);

	if (rc && durable)
		reply_unary(rc, op->msg);
	else if (rc)
		reply_error(rc, REASON_STORE_UNAVAILABLE, "", "the audit file cannot be written");
	op_end(op);
}

struct verdict pipeline_no_memory(void)
{
	struct verdict v = verdict_deny(REASON_QUOTA_EXCEEDED, "", "out of memory: try again");

	v.retry_after_ms = NO_MEMORY_RETRY_MS;
	return v;
}

void pipeline_answer(struct op *op, ProtobufCMessage *m)
{
	struct verdict v = pipeline_no_memory();

	if (arena_failed(op->arena)) { /* half an answer is none */
		pipeline_deny(op, &v);
		return;
	}
	op->msg = m;
	op->audit.outcome = OUTCOME_ALLOW;
	op_after_audit(op, op_audit(op, op->event ? op->event : op->row->event), answer_release);
}

/* An operator's call, once it is known whose it is: what a stranger sent is not looked at. */
static struct verdict may_ask(struct op *op, const struct rpc_row *row)
{
	return row->peer == PEER_OPERATOR ? caller_judge(op, row->roles | row->dry_roles, row->roles) : verdict_allow();
}

static struct verdict may_do(struct op *op, const struct rpc_row *row)
{
	unsigned roles = row->is_dry && row->is_dry(op->msg) ? row->dry_roles : row->roles;

	return row->peer == PEER_OPERATOR ? caller_judge(op, roles, roles) : verdict_allow();
}

/* Of whoever asks: his certificate, his name, his tenant. */
static struct verdict not_revoked(const struct op *op, const struct rpc_call *rc)
{
	struct revocable peer;

	if (!rc->peer->spiffe_id[0] || !revocations_of_peers(op->world->revocations))
		return verdict_allow(); /* it came in by the local socket, or nobody is revoked */
	peer = revoked_peer(op->world, rc->peer);
	return revoked_judge(op->world, &peer);
}

/* Why the peer is no agent. */
static struct verdict not_registered(const struct op *op, const struct rpc_call *rc)
{
	const struct agent *a = registry_by_spiffe(op->world->registry, op->spiffe_id);

	return a ? registered_shows(a, rc->peer)
		 : verdict_deny(REASON_UNKNOWN_PEER, "", "%.200s is not a registered, active agent: register it, or add it under `agents`", op->spiffe_id);
}

/* Design step 1 and the first half of step 2. */
static struct verdict gates(struct op *op, struct rpc_call *rc)
{
	struct prescan_fault fault = {0};
	struct verdict v = not_revoked(op, rc);

	if (verdict_ok(&v))
		v = may_ask(op, rc->row);
	if (!verdict_ok(&v))
		return v;
	if (!op->agent && rc->row->peer == PEER_REGISTERED && !worker_is_fresh(op->w))
		return verdict_deny(REASON_STORE_UNAVAILABLE, "", "this node does not know who is registered now: try another, or again");
	if (!op->agent && rc->row->peer == PEER_REGISTERED)
		return not_registered(op, rc);
	op->msg = prescan_unpack(rc->row->request, op->raw, rc->row->rules, op->arena, &fault);
	if (!op->msg && arena_failed(op->arena))
		return pipeline_no_memory();
	if (!op->msg)
		return verdict_deny(REASON_MALFORMED_ENVELOPE, fault.field, "%s%s%s", fault.field, *fault.field ? ": " : "", fault.what);
	if (rc->row->peer == PEER_REGISTERED && !rc->row->when_stale && !worker_is_fresh(op->w))
		return verdict_deny(REASON_STORE_UNAVAILABLE, "", "this node has not heard of changes to agents for too long, and serves nobody until it has: try another");
	if (rc->row->replay_checked && op->w->draining)
		return verdict_deny(REASON_DRAINING, "", "this node is going away: connect again");
	return may_do(op, rc->row);
}

static void run(struct op *op)
{
	struct rpc_call *rc = op_call(op);
	struct verdict v;

	if (!rc) {
		op_end(op);
		return;
	}
	identify(op, rc);
	if (op->agent && !rc->agent_key)
		rc->agent_key = op->agent->key;
	if (!quota_rate(op, rc, &v)) {
		op_end(op);
		return;
	}
	if (verdict_ok(&v) && !standing_judge(op, rc, &v))
		return;
	if (verdict_ok(&v) && rc->row->peer == PEER_OPERATOR && caller_identify(rc, op, &v) == PRINCIPAL_PARKED)
		return;
	if (verdict_ok(&v))
		v = gates(op, rc);
	if (!verdict_ok(&v)) {
		v.retry_after_ms = v.reason == REASON_DRAINING ? 200 : v.retry_after_ms;
		if (rc->row->on_refused)
			rc->row->on_refused(rc, op, &v);
		else
			pipeline_deny(op, &v);
		return;
	}
	rc->row->on_message(rc, op);
}

void pipeline_again(struct op *op)
{
	memset(&op->audit, 0, sizeof op->audit);
	op->state = NULL;
	op->caller = NULL;
	world_unref(op->world); /* by what holds now, not when it came */
	op->world = world_ref(op->w->world);
	op->w->acting += op->rests;
	op->rests = false;
	run(op);
}

uint64_t pipeline_ask_again(struct rpc_call *rc, struct slice message)
{
	struct op *op = op_new(rc->w, rc);
	uint64_t id = op ? op->id : 0;

	if (op) {
		op->raw = message;
		run(op);
	}
	return id;
}

void pipeline_on_message(void *user, struct call *c, struct slice message)
{
	struct rpc_worker *w = user;
	struct rpc_call *rc = call_data(c);
	struct op *op;

	if (!rc || rc->closing) {
		call_consumed(c);
		return;
	}
	if (rc->messages++ && rc->row->stream == STREAM_UNARY) {
		call_consumed(c);
		reply_error(rc, REASON_MALFORMED_ENVELOPE, "", "this call takes one message");
		return;
	}
	op = op_new(w, rc);
	if (!op) {
		call_consumed(c);
		reply_error(rc, REASON_QUOTA_EXCEEDED, "", "too many requests under way on this node");
		return;
	}
	op->owes_window = true;
	op->raw = message;
	run(op);
}

void pipeline_on_half_close(void *user, struct call *c)
{
	struct rpc_call *rc = call_data(c);

	if (!rc)
		return;
	rc->half_closed = true;
	if (!rc->messages)
		reply_error(rc, REASON_MALFORMED_ENVELOPE, "", "the call ended before its first message");
	else if (rc->row->on_half_close)
		rc->row->on_half_close(rc);
}

void pipeline_on_writable(void *user, struct call *c)
{
	struct rpc_call *rc = call_data(c);

	if (!rc)
		return;
	outbox_writable(rc);
	if (rc->row->on_writable)
		rc->row->on_writable(rc);
}
