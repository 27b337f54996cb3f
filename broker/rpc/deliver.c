/* How does leased work reach its subscriber? It is judged once more with today's policy, an assertion for this receiver alone is had signed, the
 * lease is written down, and then the frame goes out. The envelope travels as the exact bytes that were accepted. */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "messaging/life.h"
#include "rpc/assert.h"
#include "rpc/desk.h"
#include "rpc/finish.h"
#include "rpc/follow.h"
#include "rpc/lines.h"
#include "rpc/task.h"

#define HEAD_MAX 16
#define ENVELOPE_FIELD 2 /* of Delivery */
#define SOON_MS 50
#define LATER_MS 1000

struct delivery {
	struct slice frame;          /* a packed BrokerFrame */
	struct handoff_id id;
	uint64_t fence;
	const pb_task *task;         /* NULL until it is needed: made of `stored` */
	const pb_envelope *envelope;
	struct slice stored;
};

/* What is to be delivered to whom. */
struct context {
	struct op *op;
	struct subscriber *s;
	struct desk *desk;
	const struct store_record *record;
	const pb_task *task;
	const pb_envelope *envelope;
	struct slice stored;         /* "" when task and envelope live as long as op */
	const struct profile *profile;
};

/* What stands before a length-delimited field of n bytes; behind it. */
static uint8_t *put_head(uint8_t *p, unsigned number, uint64_t n)
{
	*p++ = (uint8_t)(number << 3 | 2);
	for (; n >= 0x80; n >>= 7)
		*p++ = (uint8_t)(n | 0x80);
	*p++ = (uint8_t)n;
	return p;
}

/* BrokerFrame{delivery}, with the envelope's bytes put in as they are: never a re-serialisation. In one go: it may be 16 MiB. */
static struct slice frame_pack(struct arena *a, const Baton__V1__Delivery *d, struct slice envelope)
{
	uint8_t head[HEAD_MAX], *frame, *p;
	size_t n = (size_t)(put_head(head, ENVELOPE_FIELD, envelope.n) - head);
	size_t inner = baton__v1__delivery__get_packed_size(d) + n + envelope.n;

	frame = arena_alloc(a, HEAD_MAX + inner);
	if (!frame)
		return slice_of(NULL, 0);
	p = put_head(frame, BATON__V1__BROKER_FRAME__FRAME_DELIVERY, inner);
	p += baton__v1__delivery__pack(d, p);
	memcpy(p, head, n);
	if (envelope.n)
		memcpy(p + n, envelope.p, envelope.n);
	return slice_of(frame, (size_t)(p - frame) + n + envelope.n);
}

/* Back to the queue: as if it had never been leased, or as a try that failed. */
static void give_up(struct rpc_worker *w, struct holding *h, enum store_finish_kind kind, const char *note)
{
	struct finish f = {.slot = {h->desk->tenant, h->desk->queue}, .id = h->id, .fence = h->fence, .owner = h->subscriber->key,
		.kind = kind, .delay_ms = LATER_MS, .note = note};

	finish_alone(w, &f);
	holding_drop(w, h);
}

static void take_back(struct rpc_worker *w, struct holding *h, const char *note)
{
	give_up(w, h, FINISH_RELEASE, note);
}

/* The configuration may have changed while it waited. False: it was taken back. */
static bool still_allowed(struct op *op, struct holding *h)
{
	struct delivery *d = op->state;

	if (op->world == op->w->world)
		return true;
	if (!d->task && (d->task = task_unpack(op->arena, d->stored)))
		d->envelope = task_unpack_envelope(op->arena, d->task);
	if (!d->envelope) {
		take_back(op->w, h, "out of memory");
		return false;
	}
	return holding_task_stands(op->w, h, op->arena, d->task, d->envelope);
}

/* A lease that ended while its delivery waited to be sent is not spoken of. */
static void send_frame(struct rpc_call *rc, struct op *op)
{
	struct delivery *d = op->state;
	struct holding *h = holding_find(op->w, &d->id, d->fence);

	if (!h || !h->unsent)
		return;
	if (!worker_is_fresh(op->w)) {
		take_back(op->w, h, "this node has not heard of revocations for too long");
		return;
	}
	if (still_allowed(op, h)) {
		holding_sent(op->w, h);
		call_send(rc->c, d->frame);
	} else if (arena_failed(op->arena)) {
		take_back(op->w, h, "out of memory");
	}
}

static void release(struct op *op, bool durable)
{
	struct delivery *d = op->state;
	struct rpc_worker *w = op->w;
	struct rpc_call *rc = op_call(op);
	struct holding *h = holding_find(w, &d->id, d->fence);

	if (h && durable && rc) {
		outbox_send(rc, op, send_frame);
		return;
	}
	if (h)
		take_back(w, h, "the audit file could not be written");
	op_end(op);
}

static void audit_fill(struct context *x, const char *id_text)
{
	struct audit_record *a = &x->op->audit;

	a->trace_id = slice_str(x->task->trace_id);
	a->tenant = slice_str(x->task->tenant);
	a->agent = slice_str(x->task->sender);
	a->issuer = slice_str(x->task->issuer);
	a->subject = slice_str(x->task->subject);
	a->route = slice_str(x->task->route);
	a->tool = slice_str(x->envelope->tool);
	a->destination = slice_str(x->envelope->destination);
	a->handoff_id = slice_str(id_text);
	a->policy_version = slice_str(x->profile ? x->profile->version : "");
	a->retention = slice_str(x->profile ? x->profile->retention : "");
	a->state = STATE_LEASED;
	a->attempt = x->record->attempt;
	a->fence = x->record->fence;
	a->assignee = slice_str(x->s->agent);
}

static struct holding *hold(struct context *x)
{
	const struct store_record *r = x->record;
	struct holding *h = holding_add(x->s, x->desk, &r->id, r->fence);

	if (!h)
		return NULL;
	h->unsent = true;
	holding_keep(h, x->profile, r->lease_until_ms);
	h->attempt = r->attempt;
	holding_limit(h, x->profile, x->task->deadline_ms);
	slice_copy_str(slice_str(x->task->trace_id), h->trace_id, sizeof h->trace_id);
	if (holding_origin(h, x->task, x->envelope))
		return h;
	holding_drop(x->op->w, h);
	return NULL;
}

/* The message without its envelope. */
static void delivery_fill(struct context *x, Baton__V1__Delivery *d, Baton__V1__Claims *c)
{
	d->attempt = x->record->attempt;
	d->max_attempts = x->record->max_attempts;
	d->lease_ms = x->profile->lease_ms;
	d->sender = task_agent(x->op->arena, x->task->sender_spiffe_id, x->task->tenant, x->task->sender);
	c->issuer = x->task->issuer;
	c->subject = x->task->subject;
	c->client_id = x->task->client_id;
	c->tenant = x->task->tenant;
	c->scopes = x->task->scopes;
	c->n_scopes = x->task->n_scopes;
	c->token_expires_at_ms = x->task->token_expires_at_ms;
	c->jti = x->task->jti;
	d->claims = c;
	d->policy_version = (char *)x->profile->version;
}

/* The frame, with an assertion ("": without); then the lease is written down. false: out of memory. */
static bool send_with(struct context *x, struct holding *h, const char *assertion, int64_t expires_at_ms)
{
	Baton__V1__Delivery d = BATON__V1__DELIVERY__INIT;
	Baton__V1__Claims claims = BATON__V1__CLAIMS__INIT;
	Baton__V1__Lease lease = BATON__V1__LEASE__INIT;
	struct delivery *state = arena_zalloc(x->op->arena, sizeof *state);
	struct trace_context span = {.flags = (uint8_t)x->task->trace_flags};
	char *id_text = arena_alloc(x->op->arena, HANDOFF_ID_TEXT + 1), traceparent[56];

	if (!state || !id_text)
		return false;
	handoff_id_format(&x->record->id, id_text);
	lease.handoff_id = id_text;
	lease.fencing_token = x->record->fence;
	d.lease = &lease;
	delivery_fill(x, &d, &claims);
	d.run_deadline_ms = h->run_deadline_ms;
	slice_copy_str(slice_str(x->task->trace_id), span.trace_id, sizeof span.trace_id);
	slice_copy_str(slice_str(x->task->span_id), span.span_id, sizeof span.span_id);
	trace_format(&span, traceparent);
	d.traceparent = traceparent;
	d.assertion = (char *)assertion;
	d.assertion_expires_at_ms = expires_at_ms;
	audit_fill(x, id_text);
	state->frame = frame_pack(x->op->arena, &d, slice_of(x->task->envelope.data, x->task->envelope.len));
	if (!state->frame.n || arena_failed(x->op->arena))
		return false;
	state->id = x->record->id;
	state->fence = x->record->fence;
	state->task = x->stored.n ? NULL : x->task;
	state->envelope = x->stored.n ? NULL : x->envelope;
	state->stored = x->stored;
	x->op->state = state;
	metrics_add(x->op->w->env.metrics, METRIC_HANDOFFS, x->profile->route, state_text(STATE_LEASED), 1);
	op_after_audit(x->op, op_audit(x->op, life_event(STATE_LEASED)), release);
	change_publish(x->op->w, &state->id);
	return true;
}

/* The lease may be over, its stream gone, which gave it back, or another stream have taken it over, for another certificate. */
static struct holding *still_to_send(struct op *op, const struct store_record *r)
{
	struct holding *h = holding_find(op->w, &r->id, r->fence);

	return h && h->unsent && h->subscriber->rc == op_call(op) ? h : NULL;
}

static void on_signed(struct op *op, const struct sign_answer *a)
{
	struct context *x = op->state;
	struct holding *h = still_to_send(op, x->record);
	const char *jwt = h && a->token.n ? op_str(op, a->token) : NULL;

	if (jwt) {
		x->s = h->subscriber;
		assertion_given(h, x->task->deadline_ms, a->expires_at_ms);
		if (send_with(x, h, jwt, a->expires_at_ms))
			return;
	}
	if (h && a->token.n)
		give_up(op->w, h, FINISH_RETRY, "out of memory"); /* as in deliver() */
	else if (h)
		give_up(op->w, h, a->never ? FINISH_RETRY : FINISH_RELEASE, "no assertion was signed");
	op_end(op);
}

/* What x borrows is kept until the assertion has come. When none can be had now it is taken back. false: out of memory. */
static bool sign_first(struct context *x, struct holding *h)
{
	struct op *op = x->op;
	struct context *kept = arena_alloc(op->arena, sizeof *kept);
	struct store_record *record = arena_alloc(op->arena, sizeof *record);

	if (!kept || !record)
		return false;
	if (x->stored.n) {
		x->task = task_unpack(op->arena, x->stored);
		x->envelope = x->task ? task_unpack_envelope(op->arena, x->task) : NULL;
		x->stored = slice_of(NULL, 0);
	}
	if (!x->envelope)
		return false;
	*record = *x->record;
	*kept = *x;
	kept->record = record;
	op->state = kept;
	if (assertion_ask(op, h, kept->task, kept->envelope, record->attempt, on_signed))
		return true;
	if (arena_failed(op->arena))
		return false;
	take_back(op->w, h, "no assertion can be signed now");
	op_end(op);
	return true;
}

static bool send_it(struct context *x)
{
	struct holding *h;

	if (x->stored.n && !(x->stored = op_keep(x->op, x->stored)).n)
		return false;
	h = hold(x);
	if (h && (x->profile->assertion && x->op->w->env.sign ? sign_first(x, h) : send_with(x, h, "", 0)))
		return true;
	if (h)
		holding_drop(x->op->w, h);
	return false;
}

/* Leased, but it goes nowhere: back to the queue, or aside. */
static void give_back(struct rpc_worker *w, struct desk *d, const struct store_record *r, enum store_finish_kind kind, enum reason reason,
		      const char *note, const char *trace_id)
{
	const struct profile *p = registry_route(w->world->registry, d->tenant, slice_str(d->route));
	struct finish f = {.slot = {d->tenant, d->queue}, .id = r->id, .fence = r->fence, .owner = r->owner, .kind = kind,
		.reason = reason, .note = note, .policy_version = p ? p->version : NULL, .trace_id = trace_id,
		.delay_ms = kind == FINISH_RELEASE ? SOON_MS : kind == FINISH_RETRY ? LATER_MS : 0};

	finish_alone(w, &f);
}

static void refuse(struct rpc_worker *w, struct desk *d, const struct store_record *r, const struct verdict *v, const char *trace_id)
{
	if (v->reason == REASON_DEADLINE_EXCEEDED) {
		give_back(w, d, r, FINISH_EXPIRED, v->reason, v->message, trace_id);
		return;
	}
	metrics_add(w->env.metrics, METRIC_DECISIONS, d->route, reason_text(v->reason), 1);
	log_event(LOG_WARN, "delivery.refused", F_STR("route", d->route), F_STR("reason", reason_text(v->reason)));
	give_back(w, d, r, FINISH_QUARANTINED, v->reason, v->message[0] ? v->message : reason_text(v->reason), trace_id);
}

/* What a record that ended at the pop, or that does not open, leaves behind. */
static void note_change(struct rpc_worker *w, struct desk *d, const struct store_item *item)
{
	const char *event = item->status == STORE_UNSEALABLE ? "record.unsealable" : life_event(item->record.state);

	line_write(w, (struct store_slot){d->tenant, d->queue}, &item->record, event, LINE_NOW);
	metrics_add(w->env.metrics, METRIC_HANDOFFS, d->route, state_text(item->record.state), 1);
	change_publish(w, &item->record.id);
}

/* Today's answer to: may this work go to this subscriber? Then it goes; else back, or aside. Takes x->op. */
static void deliver(struct context *x, bool judge_task)
{
	struct rpc_worker *w = x->op->w;
	struct verdict v = subscriber_judge(x->s, x->desk);

	x->profile = registry_route(w->world->registry, x->desk->tenant, slice_str(x->desk->route));
	if (!verdict_ok(&v)) {
		give_back(w, x->desk, x->record, FINISH_RELEASE, v.reason, v.message, x->task->trace_id);
		op_end(x->op);
		return;
	}
	if (judge_task)
		v = task_judge(x->op->arena, x->op->world, x->task, x->envelope, clock_unix_ms());
	if (arena_failed(x->op->arena) || (verdict_ok(&v) && !send_it(x))) {
		/* costs an attempt: what never fits must not come back for ever */
		give_back(w, x->desk, x->record, FINISH_RETRY, REASON_UNSPECIFIED, "out of memory", x->task->trace_id);
		op_end(x->op);
	} else if (!verdict_ok(&v)) {
		refuse(w, x->desk, x->record, &v, x->task->trace_id);
		op_end(x->op);
	}
}

static struct op *op_for(struct rpc_worker *w, struct subscriber *s, struct desk *d, const struct store_record *r)
{
	struct op *op = s && s->open ? op_new(w, s->rc) : NULL;

	if (!op)
		give_back(w, d, r, FINISH_RELEASE, REASON_UNSPECIFIED, "no subscriber to take it", NULL);
	return op;
}

void deliver_item(struct rpc_worker *w, struct subscriber *s, struct desk *d, const struct store_item *item)
{
	const struct store_record *r = &item->record;
	struct context x = {.s = s, .desk = d, .record = r};

	if (item->status != STORE_OK || r->state != STATE_LEASED) {
		note_change(w, d, item);
		return;
	}
	x.op = op_for(w, s, d, r);
	if (!x.op)
		return;
	x.task = task_unpack(x.op->arena, item->task);
	x.envelope = x.task ? task_unpack_envelope(x.op->arena, x.task) : NULL;
	if (x.envelope) {
		deliver(&x, true);
	} else if (arena_failed(x.op->arena)) {
		give_back(w, d, r, FINISH_RETRY, REASON_UNSPECIFIED, "out of memory", NULL);
		op_end(x.op);
	} else {
		struct verdict v = verdict_deny(REASON_MALFORMED_ENVELOPE, "", "the stored record cannot be read");

		refuse(w, d, r, &v, NULL);
		op_end(x.op);
	}
}

void deliver_at_once(struct op *accepted, struct subscriber *s, const struct store_record *r, const pb_task *task, const pb_envelope *e,
		     struct slice stored)
{
	struct rpc_worker *w = accepted->w;
	struct desk *d = desk_get(w, task->tenant, task->route);
	struct context x = {.s = s, .desk = d, .record = r, .task = task, .envelope = e, .stored = stored};

	if (d)
		shared_route_stir(d->shared);
	x.op = d ? op_for(w, s, d, r) : NULL;
	/* What was decided under this very configuration, a moment ago, need not be decided again. */
	if (x.op)
		deliver(&x, accepted->world != w->world);
}
