/* What happens to a task envelope? It is decided, stored and answered, in one way for Submit, Run and Pipe; they differ in how the answer
 * travels. The decision itself is decide.c; what is stored is task.c. */
#include "rpc/submit.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/secret.h"
#include "messaging/life.h"
#include "rpc/decide.h"
#include "rpc/desk.h"
#include "rpc/follow.h"
#include "rpc/pipeline.h"
#include "rpc/quota.h"
#include "wire/prescan.h"

#define PIPE_SUBMIT 1 /* PipeFrame.submit */
#define PIPE_CREDENTIAL 2
#define SUBMIT_REF 3  /* SubmitRequest.ref */
#define COPIES_BYTES_MAX (16u << 20) /* of all copies of one broadcast: Redis makes them in one step */

enum submit_mode { SUBMIT_UNARY, SUBMIT_RUN, SUBMIT_PIPE };

struct submit {
	enum submit_mode mode;
	uint64_t ref;
	bool dry_run;
	struct envelope e;
	struct decided d;
	struct handoff_id id;
	uint64_t offered;                  /* the subscriber (its call) that it could be leased to at once; 0 = none */
	pb_task *task;                     /* as it is stored */
	struct slice stored;
	const struct world_route *broadcast; /* the route, when every agent that serves it has a copy; else NULL */
	size_t entered, entered_bytes;     /* handoffs and bytes that are counted for its tenant until the store has answered */
	char id_text[HANDOFF_ID_TEXT + 1]; /* "" = none to tell */
	Baton__V1__Receipt *receipt;       /* NULL: the verdict is a denial */
};

static void answer(struct op *op, bool durable);

static void count(struct op *op, const struct submit *s)
{
	const char *route = s->d.profile ? s->d.profile->route : "";

	metrics_add(op->w->env.metrics, METRIC_DECISIONS, route, reason_text(s->d.verdict.reason), 1);
	if (s->receipt && s->receipt->state && !s->receipt->duplicate && !s->broadcast) /* its copies were counted */
		metrics_add(op->w->env.metrics, METRIC_HANDOFFS, route, state_text((enum handoff_state)s->receipt->state), 1);
}

/* Writes the decision, then lets the answer go once that is on disk. */
static void conclude(struct op *op)
{
	struct submit *s = op->state;

	op->audit.outcome = s->d.verdict.outcome;
	op->audit.reason = s->d.verdict.reason;
	op->audit.field = slice_str(s->d.verdict.field);
	op->audit.message = slice_str(s->d.verdict.message);
	op->audit.handoff_id = slice_str(s->id_text);
	op->audit.state = s->receipt ? (enum handoff_state)s->receipt->state : STATE_UNSPECIFIED;
	count(op, s);
	op_after_audit(op, op_audit(op, "decision"), answer);
}

static Baton__V1__Receipt *receipt_new(struct op *op, const struct submit *s, enum handoff_state state)
{
	Baton__V1__Receipt *r = arena_alloc(op->arena, sizeof *r);

	if (!r)
		return NULL;
	baton__v1__receipt__init(r);
	r->ref = s->ref;
	r->handoff_id = (char *)s->id_text;
	r->state = (Baton__V1__HandoffState)state;
	r->trace_id = op->trace.trace_id;
	r->accepted_at_ms = clock_unix_ms();
	r->deadline_ms = s->d.deadline_ms;
	r->decision = reply_decision(op->arena, &s->d.verdict, s->d.policy_version);
	return r->decision ? r : NULL;
}

static void deny(struct op *op, struct verdict v)
{
	struct submit *s = op->state;

	s->d.verdict = v;
	s->receipt = NULL;
	if (s->mode == SUBMIT_PIPE || (s->dry_run && s->mode == SUBMIT_UNARY))
		s->receipt = receipt_new(op, s, STATE_UNSPECIFIED);
	conclude(op);
}

/* The first handoff's outcome, when it is a result. */
static Baton__V1__Result *stored_result(struct op *op, struct slice outcome)
{
	struct prescan_fault fault;
	Baton__Internal__V1__Report *o;

	if (!outcome.n)
		return NULL;
	o = (void *)prescan_unpack(&baton__internal__v1__report__descriptor, outcome, NULL, op->arena, &fault);
	if (!o || !o->result.len)
		return NULL;
	return (void *)prescan_unpack(&baton__v1__result__descriptor, slice_of(o->result.data, o->result.len), NULL, op->arena, &fault);
}

static const pb_envelope *envelope_of(const struct op *op, const struct submit *s)
{
	if (s->mode == SUBMIT_PIPE)
		return ((const Baton__V1__PipeFrame *)op->msg)->submit->envelope;
	return ((const Baton__V1__SubmitRequest *)op->msg)->envelope;
}

/* Each inbox's copy is a handoff of its own from here on. */
static void note_copies(struct op *op, const struct store_answer *a)
{
	struct submit *s = op->state;
	const enum handoff_state states[COPIES] = {[COPY_STORED] = s->d.state, [COPY_FULL] = STATE_DEAD_LETTERED};
	const char *agents = s->broadcast->inboxes;
	char queue[QUEUE_MAX_BYTES + 1], id_text[HANDOFF_ID_TEXT + 1];
	struct handoff_id id = s->id;

	for (size_t i = 0; i < a->copies.n; i++) {
		enum handoff_state state = states[a->copies.p[i]];
		struct slice agent = names_take(&agents);

		if (!state)
			continue; /* its inbox is closed */
		queue_inbox(s->d.profile->route, agent, queue);
		handoff_route_tag(op->agent->tenant, queue, id.tag);
		handoff_id_format(&id, id_text);
		op->audit.handoff_id = slice_str(id_text);
		op->audit.assignee = agent;
		op->audit.state = state;
		op->audit.message = slice_str(state == STATE_DEAD_LETTERED ? "its inbox is full" : "");
		op_audit(op, life_event(state));
		metrics_add(op->w->env.metrics, METRIC_HANDOFFS, s->d.profile->route, state_text(state), 1);
		desk_announce(op->w, op->agent->tenant, queue);
	}
	op->audit.assignee = slice_str("");
}

/* What was leased at once was queued first, as its events say. */
static void accepted(struct op *op, const struct store_answer *a, struct subscriber *to)
{
	struct submit *s = op->state;

	if (s->broadcast)
		note_copies(op, a);
	s->receipt = receipt_new(op, s, a->leased ? STATE_QUEUED : a->record.state);
	if (s->receipt && !arena_failed(op->arena)) {
		s->receipt->accepted_at_ms = a->record.accepted_at_ms;
		conclude(op);
	} else {
		deny(op, verdict_deny(REASON_STORE_UNAVAILABLE, "", "out of memory after storing: send the same bytes again"));
	}
	if (a->leased)
		deliver_at_once(op, to, &a->record, s->task, envelope_of(op, s), s->stored);
	else if (a->record.state == STATE_QUEUED)
		desk_announce(op->w, op->agent->tenant, s->d.profile->route);
	else
		desk_stir(op->w, op->agent->tenant, s->d.profile->route);
}

/* Its sender has said after a fail-over that it is to be done: it is queued again. */
static void confirmed(struct op *op)
{
	const struct submit *s = op->state;

	op->audit.handoff_id = slice_str(s->id_text);
	op->audit.state = STATE_QUEUED;
	op_audit(op, "handoff.confirmed");
	metrics_add(op->w->env.metrics, METRIC_HANDOFFS, s->d.profile->route, state_text(STATE_QUEUED), 1);
	change_publish(op->w, &s->id);
	desk_announce(op->w, op->agent->tenant, s->d.profile->route);
}

static void duplicate(struct op *op, const struct store_answer *a)
{
	struct submit *s = op->state;

	s->id = a->record.id;
	handoff_route_tag(op->agent->tenant, s->d.profile->route, s->id.tag);
	handoff_id_format(&s->id, s->id_text);
	if (a->confirmed)
		confirmed(op);
	s->receipt = receipt_new(op, s, a->record.state);
	if (s->receipt && a->record.state == STATE_COMPLETED)
		s->receipt->result = stored_result(op, a->outcome);
	if (!s->receipt || arena_failed(op->arena)) {
		deny(op, verdict_deny(REASON_STORE_UNAVAILABLE, "", "out of memory: send the same bytes again"));
		return;
	}
	s->receipt->duplicate = true;
	s->receipt->accepted_at_ms = a->record.accepted_at_ms;
	s->receipt->deadline_ms = a->record.deadline_ms;
	conclude(op);
}

/* The same sender with the same bytes learns the first handoff's id, so that its retry is safe; nobody else learns it. */
static void replayed(struct op *op, const struct store_answer *a)
{
	struct submit *s = op->state;

	if (a->same_bytes) {
		s->id = a->record.id;
		handoff_route_tag(op->agent->tenant, s->d.profile->route, s->id.tag);
		handoff_id_format(&s->id, s->id_text);
		deny(op, verdict_deny(REASON_REPLAYED_NONCE, "nonce", "these bytes were accepted before, as %s", s->id_text));
	} else {
		s->id_text[0] = '\0';
		deny(op, verdict_deny(REASON_REPLAYED_NONCE, "nonce", "this nonce was used before on this route: make a new one for each envelope"));
	}
}

static void refused(struct op *op, enum reason r, const char *field, const char *message, uint32_t retry_ms)
{
	struct submit *s = op->state;
	struct verdict v = verdict_deny(r, field, "%s", message);

	s->id_text[0] = '\0';
	v.retry_after_ms = retry_ms;
	deny(op, v);
}

static void store_answered(struct op *op, const struct store_answer *a)
{
	struct submit *s = op->state;
	struct subscriber *to = s->offered ? desk_offer_over(op->w, s->offered) : NULL;

	op->on_answer = NULL;
	if (s->entered)
		quota_tenant_leave(op, s->entered, s->entered_bytes);
	switch (a->status) {
	case STORE_OK:
		accepted(op, a, to);
		break;
	case STORE_DUPLICATE:
		duplicate(op, a);
		break;
	case STORE_REPLAYED:
		replayed(op, a);
		break;
	case STORE_CONFLICT:
		refused(op, REASON_IDEMPOTENCY_CONFLICT, "idempotency_key", "this key was used for a different request: use a new one", 0);
		break;
	case STORE_CLOSED:
		refused(op, REASON_ROUTE_DISABLED, "route", "the route takes no new work: its operator has closed it", 0);
		break;
	case STORE_QUOTA:
		s->id_text[0] = '\0';
		deny(op, quota_cap(op, s->d.profile->route, a->over, a->retry_after_ms));
		break;
	case STORE_STALE:
		refused(op, REASON_STALE_ENVELOPE, "issued_at_ms",
			"the store was restarted after this envelope was issued: stamp it anew, with a new nonce and the same idempotency key", 0);
		break;
	default:
		refused(op, REASON_STORE_UNAVAILABLE, "", "the store did not answer: the outcome is unknown, send the same bytes again",
			a->retry_after_ms ? a->retry_after_ms : 500);
	}
	if (to)
		subscriber_pump_starved(to);
}

/* What it will take up of its tenant's room. */
static struct verdict enter(struct op *op, struct submit *s)
{
	size_t n = s->broadcast ? s->broadcast->n_inboxes : 1, bytes = n * s->stored.n;
	struct verdict v;

	if (!n)
		return verdict_deny(REASON_ROUTE_DISABLED, "route", "%s is a broadcast route, and no agent may serve it: nobody would have a copy",
				    s->d.profile->route);
	if (n > INBOXES_MAX) /* two operators at once */
		return verdict_deny(REASON_ROUTE_DISABLED, "route", "%s is a broadcast route, and %zu agents may serve it: at most %d can have a copy. Retire some",
				    s->d.profile->route, n, INBOXES_MAX);
	if (bytes > COPIES_BYTES_MAX && n > 1)
		return verdict_deny(REASON_PAYLOAD_TOO_LARGE, "payload", "%zu agents would have a copy of %zu bytes: at most %u MiB in all", n, s->stored.n,
				    COPIES_BYTES_MAX >> 20);
	v = quota_tenant_enter(op, n, bytes);
	if (verdict_ok(&v)) {
		s->entered = n;
		s->entered_bytes = bytes;
	}
	return v;
}

static void store_it(struct op *op)
{
	struct submit *s = op->state;
	const struct claims *c = &s->d.token.claims;
	struct slice request = s->mode == SUBMIT_PIPE ? prescan_field_bytes(op->raw, PIPE_SUBMIT) : op->raw;
	struct slice envelope = prescan_field_bytes(request, 1);
	enum handoff_state state = s->d.verdict.outcome == OUTCOME_HOLD ? STATE_HELD
				   : s->e.start_at_ms > clock_unix_ms() ? STATE_SCHEDULED : STATE_QUEUED;
	struct store_accept a = {
		.slot = {op->agent->tenant, s->d.profile->route},
		.sender = op->agent->key,
		.has_idempotency = s->e.idempotency_key.n > 0,
		.state = state,
		.issued_at_ms = s->e.issued_at_ms,
		.deadline_ms = s->d.deadline_ms,
		.start_at_ms = s->e.start_at_ms,
		.priority = (uint8_t)s->e.priority,
		.max_attempts = (uint8_t)s->d.profile->max_attempts,
	};
	uint8_t digest[SHA256_BYTES];
	struct verdict v;

	s->d.state = state;
	if (s->d.profile->broadcast)
		s->broadcast = world_route(op->world, op->agent->tenant, s->d.profile->route);
	handoff_id_make(op->agent->tenant, s->d.profile->route, op->agent->name, s->e.nonce, &s->id);
	handoff_id_format(&s->id, s->id_text);
	a.id = s->id;
	sha256(envelope, digest);
	memcpy(a.bytes_print, digest, sizeof a.bytes_print);
	if (a.has_idempotency) {
		envelope_idempotency(op->agent->tenant, op->agent->name, c->issuer, c->subject, s->e.route, s->e.idempotency_key, a.idempotency);
		envelope_fingerprint(&s->e, a.idempotency_print);
	}
	op->audit.at_ms = clock_unix_ms();
	s->task = task_make(op, envelope, &s->d);
	a.task = s->stored = s->task ? task_pack(op, s->task) : slice_of(NULL, 0);
	if (!a.task.n) {
		deny(op, pipeline_no_memory());
		return;
	}
	v = enter(op, s);
	if (!verdict_ok(&v)) {
		s->id_text[0] = '\0';
		deny(op, v);
		return;
	}
	/* A lease whose answer is lost costs an attempt: the only one is not risked. */
	if (!s->broadcast && state == STATE_QUEUED && s->d.profile->max_attempts > 1)
		s->offered = desk_offer(op->w, op->agent->tenant, s->d.profile->route, &a.owner);
	a.lease_ms = profile_hold_ms(s->d.profile);
	op->on_answer = store_answered;
	if (s->broadcast)
		op->w->env.store->ops->publish(op->w->env.store, &a, s->broadcast->inboxes, op_store_done, op->w, op->id);
	else
		op->w->env.store->ops->accept(op->w->env.store, &a, op_store_done, op->w, op->id);
}

static void begin(struct rpc_call *rc, struct op *op, const Baton__V1__SubmitRequest *rq, enum submit_mode mode)
{
	struct submit *s = arena_zalloc(op->arena, sizeof *s);

	if (!s) {
		struct verdict v = pipeline_no_memory();

		pipeline_deny(op, &v);
		return;
	}
	op->state = s;
	s->mode = mode;
	s->ref = rq->ref;
	s->dry_run = rq->dry_run;
	s->d.policy_version = "";
	if (!rq->envelope) {
		deny(op, verdict_deny(REASON_MALFORMED_ENVELOPE, "envelope", "the request has no envelope"));
		return;
	}
	if (task_envelope(op->arena, rq->envelope, &s->e) && decide(rc, op, rq, &s->e, &s->d) == PRINCIPAL_PARKED)
		return;
	if (arena_failed(op->arena)) /* whatever was decided on half of it */
		s->d.verdict = pipeline_no_memory();
	if (s->d.verdict.outcome == OUTCOME_DENY) {
		deny(op, s->d.verdict);
	} else if (s->dry_run) {
		s->receipt = receipt_new(op, s, STATE_UNSPECIFIED);
		conclude(op);
	} else {
		store_it(op);
	}
}

/* ---- how the answer travels ---- */

static void answer_unary(struct rpc_call *rc, struct op *op, struct submit *s)
{
	if (s->receipt)
		reply_unary(rc, &s->receipt->base);
	else
		reply_denied(rc, op, &s->d.verdict, s->d.policy_version, s->id_text);
}

static void answer_run(struct rpc_call *rc, struct op *op, struct submit *s)
{
	Baton__V1__HandoffEvent ev = BATON__V1__HANDOFF_EVENT__INIT;

	if (!s->receipt) {
		reply_denied(rc, op, &s->d.verdict, s->d.policy_version, s->id_text);
		return;
	}
	ev.handoff_id = s->id_text;
	ev.cursor = 1;
	ev.at_ms = s->receipt->accepted_at_ms;
	ev.state = s->broadcast ? (Baton__V1__HandoffState)s->d.state : s->receipt->state; /* its first event, as Watch shows it */
	ev.trace_id = op->trace.trace_id;
	ev.detail_case = BATON__V1__HANDOFF_EVENT__DETAIL_RECEIPT;
	ev.receipt = s->receipt;
	reply_send(rc, &ev.base);
	if (s->dry_run)
		call_end(rc->c, GRPC_OK, NULL, NULL, 0);
	else
		watch_begin(rc, op->agent->tenant, s->d.profile->route, &s->id, 1);
}

static void answer_pipe(struct rpc_call *rc, struct op *op)
{
	struct submit *s = op->state;
	Baton__V1__PipeReply reply = BATON__V1__PIPE_REPLY__INIT;

	if (!s->receipt) {
		reply_error(rc, REASON_QUOTA_EXCEEDED, "", "out of memory");
		return;
	}
	reply.reply_case = BATON__V1__PIPE_REPLY__REPLY_RECEIPT;
	reply.receipt = s->receipt;
	reply_send(rc, &reply.base);
	pipeline_receipt_sent(rc);
}

static void answer(struct op *op, bool durable)
{
	struct submit *s = op->state;
	struct rpc_call *rc = op_call(op);

	if (!durable) {
		s->d.verdict = verdict_deny(REASON_STORE_UNAVAILABLE, "", "the audit file cannot be written: send the same bytes again");
		s->d.verdict.retry_after_ms = 1000;
		s->receipt = s->mode == SUBMIT_PIPE ? receipt_new(op, s, STATE_UNSPECIFIED) : NULL;
	}
	if (s->d.profile)
		metrics_observe_us(op->w->env.metrics, METRIC_ACCEPT_SECONDS, s->d.profile->route, clock_mono_us() - op->begun_us);
	if (rc && s->mode == SUBMIT_PIPE) {
		outbox_send(rc, op, answer_pipe);
		return;
	}
	if (rc && s->mode == SUBMIT_UNARY)
		answer_unary(rc, op, s);
	else if (rc)
		answer_run(rc, op, s);
	op_end(op);
}

void submit_on_message(struct rpc_call *rc, struct op *op)
{
	begin(rc, op, (const Baton__V1__SubmitRequest *)op->msg, SUBMIT_UNARY);
}

void run_on_message(struct rpc_call *rc, struct op *op)
{
	begin(rc, op, (const Baton__V1__SubmitRequest *)op->msg, SUBMIT_RUN);
}

static void owe_receipt(struct rpc_call *rc, struct op *op)
{
	if (!op->owes_receipt)
		rc->pipe_open++;
	op->owes_receipt = true;
}

void pipe_on_message(struct rpc_call *rc, struct op *op)
{
	const Baton__V1__PipeFrame *f = (const Baton__V1__PipeFrame *)op->msg;

	switch (f->frame_case) {
	case BATON__V1__PIPE_FRAME__FRAME_SUBMIT:
		owe_receipt(rc, op);
		begin(rc, op, f->submit, SUBMIT_PIPE);
		break;
	case BATON__V1__PIPE_FRAME__FRAME_CREDENTIAL:
		principal_credential(rc, op, slice_str(f->credential->access_token));
		break;
	default:
		op_end(op); /* a kind from the future */
	}
}

/* The frame's outer form says which submit it is, also when what is inside cannot be read. */
void pipe_on_refused(struct rpc_call *rc, struct op *op, const struct verdict *v)
{
	struct slice request = prescan_field_bytes(op->raw, PIPE_SUBMIT);
	struct submit *s = arena_zalloc(op->arena, sizeof *s);

	if (v->reason == REASON_UNKNOWN_PEER || !s || !request.n || prescan_field_number(request, SUBMIT_REF, &s->ref) < 0) {
		pipeline_deny(op, v);
		return;
	}
	owe_receipt(rc, op);
	op->state = s;
	s->mode = SUBMIT_PIPE;
	s->d.policy_version = "";
	deny(op, *v);
}

bool submit_always(const struct op *op)
{
	(void)op;
	return true;
}

/* All but a frame that is a credential and nothing else. */
bool pipe_is_submit(const struct op *op)
{
	return prescan_field_bytes(op->raw, PIPE_SUBMIT).p || !prescan_field_bytes(op->raw, PIPE_CREDENTIAL).p;
}

void pipe_notice(struct rpc_call *rc, Baton__V1__NoticeKind kind, const char *message, int64_t at_ms)
{
	Baton__V1__PipeReply reply = BATON__V1__PIPE_REPLY__INIT;
	Baton__V1__Notice n = reply_notice(kind, message, at_ms);

	reply.reply_case = BATON__V1__PIPE_REPLY__REPLY_NOTICE;
	reply.notice = &n;
	reply_send(rc, &reply.base);
}

void pipe_on_half_close(struct rpc_call *rc)
{
	if (!rc->pipe_open && !rc->closing)
		call_end(rc->c, GRPC_OK, NULL, NULL, 0);
}
