/* What does a worker say about a delivery it holds? Accept, progress, artifact, complete, fail, reject, release, in the stream or by Report:
 * same fields, same checks, same answer. Each is fenced by the lease, stored, written down, and only then answered. */
#include <string.h>

#include "base/clock.h"
#include "base/secret.h"
#include "baton/internal/v1/record.pb-c.h"
#include "baton/v1/handoff.pb-c.h"
#include "messaging/life.h"
#include "messaging/pacing.h"
#include "policy/authorize.h"
#include "rpc/desk.h"
#include "rpc/finish.h"
#include "rpc/follow.h"
#include "rpc/table.h"
#include "rpc/task.h"

#define EVENTS_MAX 1000
#define NOTE_MAX 1024

/* A frame of either message: its kind and its body. The two oneofs have the same bodies under other numbers. */
enum report_kind { REPORT_NONE, REPORT_ACCEPT, REPORT_PROGRESS, REPORT_ARTIFACT, REPORT_COMPLETE, REPORT_FAIL, REPORT_REJECT, REPORT_RELEASE };

struct report {
	enum report_kind kind;
	const Baton__V1__Lease *lease;
	Baton__V1__Progress *progress;
	Baton__V1__Artifact *artifact;
	Baton__V1__Complete *complete;
	Baton__V1__Fail *fail;
	Baton__V1__Reject *reject;
	Baton__V1__Release *release;

	bool unary;
	const struct world_route *route;
	struct handoff_id id;
	char id_text[HANDOFF_ID_TEXT + 1];
	enum store_finish_kind finish;
	/* the answer */
	bool ok;
	enum reason reason;
	enum handoff_state state;
};

#define TAKE(KIND, from, field) (r->kind = KIND, r->field = (from)->field, r->lease = (from)->field->lease)

static void read_frame(struct report *r, const Baton__V1__SubscriberFrame *f)
{
	switch (f->frame_case) {
	case BATON__V1__SUBSCRIBER_FRAME__FRAME_ACCEPT:
		r->kind = REPORT_ACCEPT;
		r->lease = f->accept->lease;
		break;
	case BATON__V1__SUBSCRIBER_FRAME__FRAME_PROGRESS: TAKE(REPORT_PROGRESS, f, progress); break;
	case BATON__V1__SUBSCRIBER_FRAME__FRAME_ARTIFACT: TAKE(REPORT_ARTIFACT, f, artifact); break;
	case BATON__V1__SUBSCRIBER_FRAME__FRAME_COMPLETE: TAKE(REPORT_COMPLETE, f, complete); break;
	case BATON__V1__SUBSCRIBER_FRAME__FRAME_FAIL: TAKE(REPORT_FAIL, f, fail); break;
	case BATON__V1__SUBSCRIBER_FRAME__FRAME_REJECT: TAKE(REPORT_REJECT, f, reject); break;
	case BATON__V1__SUBSCRIBER_FRAME__FRAME_RELEASE: TAKE(REPORT_RELEASE, f, release); break;
	default: break;
	}
}

static void read_report(struct report *r, const Baton__V1__ReportRequest *f)
{
	switch (f->report_case) {
	case BATON__V1__REPORT_REQUEST__REPORT_ACCEPT:
		r->kind = REPORT_ACCEPT;
		r->lease = f->accept->lease;
		break;
	case BATON__V1__REPORT_REQUEST__REPORT_PROGRESS: TAKE(REPORT_PROGRESS, f, progress); break;
	case BATON__V1__REPORT_REQUEST__REPORT_ARTIFACT: TAKE(REPORT_ARTIFACT, f, artifact); break;
	case BATON__V1__REPORT_REQUEST__REPORT_COMPLETE: TAKE(REPORT_COMPLETE, f, complete); break;
	case BATON__V1__REPORT_REQUEST__REPORT_FAIL: TAKE(REPORT_FAIL, f, fail); break;
	case BATON__V1__REPORT_REQUEST__REPORT_REJECT: TAKE(REPORT_REJECT, f, reject); break;
	case BATON__V1__REPORT_REQUEST__REPORT_RELEASE: TAKE(REPORT_RELEASE, f, release); break;
	default: break;
	}
}

/* ---- answering ---- */

static void send_settled(struct rpc_call *rc, struct op *op)
{
	struct report *r = op->state;
	Baton__V1__BrokerFrame f = BATON__V1__BROKER_FRAME__INIT;
	Baton__V1__Settled s = BATON__V1__SETTLED__INIT;
	Baton__V1__Lease lease = BATON__V1__LEASE__INIT;

	if (r->lease)
		lease = *r->lease;
	s.lease = &lease;
	s.ok = r->ok;
	s.reason = (Baton__V1__Reason)r->reason;
	s.state = (Baton__V1__HandoffState)r->state;
	if (r->unary) {
		reply_unary(rc, &s.base);
		return;
	}
	f.frame_case = BATON__V1__BROKER_FRAME__FRAME_SETTLED;
	f.settled = &s;
	reply_send(rc, &f.base);
}

static bool wants_settled(const struct report *r)
{
	return r->unary || r->kind >= REPORT_COMPLETE || (r->kind == REPORT_ARTIFACT && r->artifact->last_chunk) || !r->ok;
}

static void released(struct op *op, bool durable)
{
	struct report *r = op->state;
	struct rpc_call *rc = op_call(op);

	if (!durable) {
		r->ok = false;
		r->reason = REASON_STORE_UNAVAILABLE;
	}
	if (rc && wants_settled(r))
		outbox_send(rc, op, send_settled);
	else
		op_end(op);
}

/* Nothing was changed: a decision like any other. */
static void settle(struct op *op, enum reason why)
{
	struct report *r = op->state;

	r->ok = false;
	r->reason = why;
	op->audit.outcome = OUTCOME_DENY;
	op->audit.reason = why;
	metrics_add(op->w->env.metrics, METRIC_DECISIONS, r->route ? r->route->route : "", reason_text(why), 1);
	op_after_audit(op, op_audit(op, "decision"), released);
}

/* ---- checking ---- */

/* 1..64 of [a-z0-9_]. */
static bool code_valid(const char *code)
{
	size_t n = strspn(code, "abcdefghijklmnopqrstuvwxyz0123456789_");

	return n >= 1 && n <= 64 && !code[n];
}

static enum reason check_sizes(const struct report *r, const struct profile *p)
{
	switch (r->kind) {
	case REPORT_PROGRESS:
		return strlen(r->progress->message) > NOTE_MAX || r->progress->percent > 100 ? REASON_MALFORMED_ENVELOPE : REASON_ALLOWED;
	case REPORT_ARTIFACT:
		if (!*r->artifact->artifact_id || strlen(r->artifact->artifact_id) > 64 || strlen(r->artifact->name) > 255 ||
		    strlen(r->artifact->content_type) > 127)
			return REASON_MALFORMED_ENVELOPE;
		return r->artifact->data.len > (1u << 20) ? REASON_PAYLOAD_TOO_LARGE : REASON_ALLOWED;
	case REPORT_COMPLETE:
		if (!r->complete->result)
			return REASON_ALLOWED;
		if (strlen(r->complete->result->stop_reason) > 64 || strlen(r->complete->result->side_effect_id) > 128 ||
		    strlen(r->complete->result->content_type) > 127)
			return REASON_MALFORMED_ENVELOPE;
		return r->complete->result->payload.len > p->max_output ? REASON_PAYLOAD_TOO_LARGE : REASON_ALLOWED;
	case REPORT_FAIL:
		if (!r->fail->failure || strlen(r->fail->failure->message) > NOTE_MAX)
			return REASON_MALFORMED_ENVELOPE;
		return code_valid(r->fail->failure->code) ? REASON_ALLOWED : REASON_MALFORMED_ENVELOPE;
	case REPORT_REJECT:
		return strlen(r->reject->reason) > NOTE_MAX ? REASON_MALFORMED_ENVELOPE : REASON_ALLOWED;
	default:
		return REASON_ALLOWED;
	}
}

/* The lease names a handoff of this tenant, on a route that the agent serves: anything else looks like a lost lease. */
static enum reason check(struct op *op, struct report *r)
{
	if (!r->lease || !handoff_id_parse(slice_str(r->lease->handoff_id), &r->id) || !r->lease->fencing_token)
		return REASON_LEASE_LOST;
	r->route = world_route_of(op->world, op->agent->tenant, &r->id);
	if (!r->route || !agent_may_serve(op->agent, slice_str(r->route->route)))
		return REASON_LEASE_LOST;
	handoff_id_format(&r->id, r->id_text);
	op->audit.handoff_id = slice_str(r->id_text);
	op->audit.route = slice_str(r->route->route);
	op->audit.fence = r->lease->fencing_token;
	op->audit.assignee = slice_str(op->agent->name);
	return check_sizes(r, r->route->profile);
}

static struct slice pack(struct op *op, const ProtobufCMessage *m)
{
	uint8_t *p = arena_alloc(op->arena, protobuf_c_message_get_packed_size(m) + 1);

	return p ? slice_of(p, protobuf_c_message_pack(m, p)) : slice_of(NULL, 0);
}

/* ---- the end of a delivery ---- */

static void finished(struct op *op, const struct store_answer *a)
{
	struct report *r = op->state;
	struct rpc_worker *w = op->w;
	struct holding *h = holding_find(w, &r->id, r->lease->fencing_token);

	op->on_answer = NULL;
	if (a->status == STORE_UNAVAILABLE) {
		if (h)
			h->settling = false;
		settle(op, REASON_STORE_UNAVAILABLE);
		return;
	}
	if (h) {
		struct subscriber *s = h->subscriber;

		holding_drop(w, h);
		subscriber_pump(s);
	}
	r->state = a->record.state;
	if (a->status != STORE_OK) {
		settle(op, REASON_LEASE_LOST);
		return;
	}
	r->ok = true;
	r->reason = REASON_ALLOWED;
	change_publish(w, &r->id);
	if (a->record.state == STATE_QUEUED)
		desk_announce(w, op->agent->tenant, r->route->queue);
	op_after_audit(op, finish_audit(op, &a->record, r->finish), released);
}

static void end_delivery(struct op *op, struct report *r, struct finish *f)
{
	struct holding *h = holding_find(op->w, &r->id, r->lease->fencing_token);

	f->slot = (struct store_slot){op->agent->tenant, r->route->queue};
	f->id = r->id;
	f->fence = r->lease->fencing_token;
	f->owner = op->agent->key;
	r->finish = f->kind;
	op->on_answer = finished;
	if (h)
		h->settling = true;
	if (arena_failed(op->arena) || !finish_send(op, f)) { /* a result with holes is not sent: the worker sends it again */
		if (h)
			h->settling = false;
		op->on_answer = NULL;
		settle(op, REASON_STORE_UNAVAILABLE);
	}
}

static void complete(struct op *op, struct report *r)
{
	struct finish f = {.kind = FINISH_COMPLETED};
	Baton__V1__Result empty = BATON__V1__RESULT__INIT, *result = r->complete->result ? r->complete->result : &empty;

	if (!*result->content_type)
		result->content_type = (char *)"application/json";
	op->audit.stop_reason = slice_str(op_str(op, slice_str(result->stop_reason)));
	op->audit.side_effect_id = slice_str(op_str(op, slice_str(result->side_effect_id)));
	f.result = pack(op, &result->base);
	end_delivery(op, r, &f);
}

static void fail(struct op *op, struct report *r)
{
	const struct profile *p = r->route->profile;
	struct finish f = {.kind = r->fail->failure->retryable ? FINISH_RETRY : FINISH_FAILED};
	struct holding *h = holding_find(op->w, &r->id, r->lease->fencing_token);
	uint32_t random;

	random_bytes(&random, sizeof random);
	if (f.kind == FINISH_RETRY)
		f.delay_ms = pacing_backoff_ms(h && h->attempt ? h->attempt : 1, p->backoff_min_ms, p->backoff_max_ms, random);
	op->audit.stop_reason = slice_str(op_str(op, slice_str(r->fail->failure->code)));
	op->audit.message = slice_str(op_str(op, slice_str(r->fail->failure->message)));
	f.failure = pack(op, &r->fail->failure->base);
	end_delivery(op, r, &f);
}

static void reject(struct op *op, struct report *r)
{
	struct finish f = {.kind = FINISH_REJECTED, .note = r->reject->reason};

	end_delivery(op, r, &f);
}

static void release(struct op *op, struct report *r)
{
	struct finish f = {.kind = FINISH_RELEASE, .delay_ms = r->release->delay_ms > 3600000 ? 3600000 : r->release->delay_ms};

	end_delivery(op, r, &f);
}

/* ---- on the way ---- */

static void noted(struct op *op, const struct store_answer *a)
{
	struct report *r = op->state;
	bool started = a->status == STORE_OK && r->kind == REPORT_ACCEPT;
	struct holding *h = holding_find(op->w, &r->id, r->lease->fencing_token);

	if (h && (a->status == STORE_OK || a->status == STORE_QUOTA))
		holding_said(h, a->record.lease_until_ms);
	op->on_answer = NULL;
	r->state = a->record.state;
	if (a->status != STORE_OK) {
		settle(op, a->status == STORE_UNAVAILABLE ? REASON_STORE_UNAVAILABLE
			   : a->status == STORE_QUOTA ? REASON_QUOTA_EXCEEDED : REASON_LEASE_LOST);
		return;
	}
	r->ok = true;
	r->reason = REASON_ALLOWED;
	change_publish(op->w, &r->id);
	if (!started) {
		released(op, true);
		return;
	}
	op->audit.state = STATE_WORKING;
	op_after_audit(op, op_audit(op, life_event(STATE_WORKING)), released);
}

static void note(struct op *op, struct report *r)
{
	Baton__Internal__V1__Report e = BATON__INTERNAL__V1__REPORT__INIT;
	struct store_event_put rq = {.slot = {op->agent->tenant, r->route->queue}, .id = r->id, .fence = r->lease->fencing_token,
		.owner = op->agent->key, .state = STATE_WORKING, .max_events = EVENTS_MAX,
		.lease_ms = r->route->profile->renew_by_progress ? r->route->profile->lease_ms : 0};
	struct slice body = slice_of(NULL, 0);

	if (r->kind == REPORT_PROGRESS) {
		r->progress->lease = NULL;
		body = pack(op, &r->progress->base);
		e.progress = (ProtobufCBinaryData){body.n, (uint8_t *)body.p};
	} else if (r->kind == REPORT_ARTIFACT) {
		r->artifact->lease = NULL;
		body = pack(op, &r->artifact->base);
		e.artifact = (ProtobufCBinaryData){body.n, (uint8_t *)body.p};
	}
	if (body.n)
		rq.body = pack(op, &e.base);
	if (arena_failed(op->arena)) {
		settle(op, REASON_STORE_UNAVAILABLE);
		return;
	}
	op->on_answer = noted;
	op->w->env.store->ops->event(op->w->env.store, &rq, op_store_done, op->w, op->id);
}

/* ---- the handoff's own trace ---- */

static void dispatch(struct op *op);

static void traced(struct op *op, const struct store_answer *a)
{
	pb_task *t = a->status == STORE_OK && a->n_items ? task_unpack(op->arena, a->items[0].task) : NULL;

	op->on_answer = NULL;
	if (t)
		op->audit.trace_id = slice_str(t->trace_id);
	dispatch(op);
}

/* Lines about a handoff carry its trace, not that of the call that reports. A lease held here knows it; else it is read. */
static void join_trace(struct op *op, struct report *r)
{
	struct holding *h = holding_find(op->w, &r->id, r->lease->fencing_token);

	op->audit.span_id = slice_of(NULL, 0);
	if (h && h->trace_id[0]) {
		op->audit.trace_id = slice_str(op_str(op, slice_str(h->trace_id)));
		dispatch(op);
		return;
	}
	op->on_answer = traced;
	op->w->env.store->ops->get(op->w->env.store, (struct store_slot){op->agent->tenant, r->route->queue}, &r->id, true, op_store_done,
				   op->w, op->id);
}

static void (*const handlers[])(struct op *, struct report *) = {
	[REPORT_ACCEPT] = note, [REPORT_PROGRESS] = note, [REPORT_ARTIFACT] = note, [REPORT_COMPLETE] = complete,
	[REPORT_FAIL] = fail, [REPORT_REJECT] = reject, [REPORT_RELEASE] = release,
};

static void dispatch(struct op *op)
{
	struct report *r = op->state;

	handlers[r->kind](op, r);
}

void report_handle(struct rpc_call *rc, struct op *op, const ProtobufCMessage *frame)
{
	struct report *r = arena_zalloc(op->arena, sizeof *r);
	enum reason why;

	if (!r) {
		op_end(op);
		reply_error(rc, REASON_QUOTA_EXCEEDED, "", "out of memory");
		return;
	}
	op->state = r;
	r->unary = rc->row->stream == STREAM_UNARY;
	if (r->unary)
		read_report(r, (const Baton__V1__ReportRequest *)frame);
	else
		read_frame(r, (const Baton__V1__SubscriberFrame *)frame);
	if (r->kind == REPORT_NONE) {
		settle(op, REASON_MALFORMED_ENVELOPE);
		return;
	}
	why = check(op, r);
	if (why != REASON_ALLOWED)
		settle(op, why);
	else
		join_trace(op, r);
}
