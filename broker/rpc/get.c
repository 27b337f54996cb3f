/* What became of a handoff? Get, Watch and Cancel: the caller's right to see it is the same for all three. List is list.c. */
#include "rpc/get.h"

#include <string.h>

#include "messaging/life.h"
#include "rpc/desk.h"
#include "rpc/events.h"
#include "rpc/follow.h"
#include "rpc/lookup.h"
#include "rpc/pipeline.h"
#include "rpc/table.h"

enum ask_kind { ASK_GET, ASK_WATCH, ASK_CANCEL };

struct ask {
	enum ask_kind kind;
	struct handoff_id id;
	struct viewer viewer;
	bool with_envelope;
	uint64_t after;
	const char *note;
};

static void deny(struct op *op, enum reason r, const char *field, const char *message)
{
	struct verdict v = r == REASON_NOT_FOUND ? lookup_not_found() : verdict_deny(r, field, "%s", message);

	v.retry_after_ms = r == REASON_STORE_UNAVAILABLE ? 500 : 0;
	pipeline_deny(op, &v);
}

static bool copy_labels(struct arena *a, Baton__V1__Handoff *h, const pb_envelope *e)
{
	h->labels = arena_alloc(a, (e->n_labels + 1) * sizeof *h->labels);
	for (size_t i = 0; h->labels && i < e->n_labels; i++) {
		Baton__V1__Handoff__LabelsEntry *l = arena_alloc(a, sizeof *l);

		if (!l)
			return false;
		baton__v1__handoff__labels_entry__init(l);
		l->key = e->labels[i]->key;
		l->value = e->labels[i]->value;
		h->labels[h->n_labels++] = l;
	}
	return h->labels != NULL;
}

Baton__V1__Handoff *get_handoff(struct op *op, const struct store_item *item, const pb_task *t, bool with_envelope)
{
	struct arena *a = op->arena;
	Baton__V1__Handoff *h = arena_alloc(a, sizeof *h);
	char *id = arena_alloc(a, HANDOFF_ID_TEXT + 1);
	pb_envelope *e = task_unpack_envelope(a, t);
	struct life_outcome o = life_outcome_read(a, item->outcome);

	if (!h || !id || !e)
		return NULL;
	baton__v1__handoff__init(h);
	handoff_id_format(&item->record.id, id);
	h->handoff_id = id;
	h->state = (Baton__V1__HandoffState)item->record.state;
	h->route = t->route;
	h->tool = e->tool;
	h->sender = task_agent(a, t->sender_spiffe_id, t->tenant, t->sender);
	h->assignee = life_assignee(a, op->world, t->tenant, item->record.owner);
	h->attempt = item->record.attempt;
	h->accepted_at_ms = item->record.accepted_at_ms;
	h->updated_at_ms = item->record.updated_at_ms;
	h->deadline_ms = t->deadline_ms;
	h->trace_id = t->trace_id;
	h->parent_handoff_id = e->parent_handoff_id;
	h->decision = life_decision(a, t);
	if (item->record.unconfirmed && h->decision)
		h->decision->message = (char *)life_unconfirmed;
	h->result = o.result;
	h->failure = o.failure;
	h->cursor = item->record.cursor;
	h->replay_of = t->replay_of;
	h->envelope = with_envelope ? e : NULL;
	return copy_labels(a, h, e) ? h : NULL;
}

Baton__V1__Handoff *get_handoff_bare(struct op *op, const struct store_item *item, const pb_task *t)
{
	Baton__V1__Handoff *h = get_handoff(op, item, t, false);

	if (h && h->result)
		h->result->payload = (ProtobufCBinaryData){0};
	return h;
}

static void got(struct op *op, const struct store_answer *a);

static void cancelled(struct op *op, const struct store_answer *a)
{
	struct ask *k = op->state;
	const struct viewer *v = &k->viewer;

	if (a->status == STORE_UNAVAILABLE) {
		deny(op, REASON_STORE_UNAVAILABLE, "", "the store did not answer: cancel again");
		return;
	}
	if (a->status == STORE_NOT_FOUND) {
		deny(op, REASON_NOT_FOUND, "", "");
		return;
	}
	if (a->status == STORE_OK) {
		op->audit.state = STATE_CANCELLED;
		op->audit.message = slice_str(k->note);
		metrics_add(op->w->env.metrics, METRIC_HANDOFFS, v->route->route, state_text(STATE_CANCELLED), 1);
		op_audit(op, life_event(STATE_CANCELLED));
		memcpy(k->id.b, a->record.id.b, sizeof k->id.b); /* a duplicate's id names the first handoff from here on */
		change_publish(op->w, &k->id);
		holding_changed(op->w, &k->id);
	}
	/* cancelled, or over already: the state in the answer says which */
	k->kind = ASK_GET;
	op->on_answer = got;
	op->w->env.store->ops->get(op->w->env.store, (struct store_slot){op->agent->tenant, v->route->queue}, &k->id, true, op_store_done,
				   op->w, op->id);
}

static void cancel(struct op *op, struct ask *k)
{
	Baton__Internal__V1__Report o = BATON__INTERNAL__V1__REPORT__INIT;
	uint8_t *p;
	size_t n;

	o.note = (char *)k->note;
	o.reason = REASON_CANCELLED;
	n = protobuf_c_message_get_packed_size(&o.base);
	p = arena_alloc(op->arena, n + 1);
	if (!p) {
		deny(op, REASON_QUOTA_EXCEEDED, "", "out of memory");
		return;
	}
	protobuf_c_message_pack(&o.base, p);
	op->on_answer = cancelled;
	op->w->env.store->ops->cancel(op->w->env.store, (struct store_slot){op->agent->tenant, k->viewer.route->queue}, &k->id,
				      slice_of(p, n), op_store_done, op->w, op->id);
}

static void watch_release(struct op *op, bool durable)
{
	struct ask *k = op->state;
	struct rpc_call *rc = op_call(op);

	if (rc && durable)
		watch_begin(rc, op->agent->tenant, k->viewer.route->queue, &k->id, k->after);
	else if (rc)
		reply_error(rc, REASON_STORE_UNAVAILABLE, "", "the audit file cannot be written");
	op_end(op);
}

/* The record is here: may the caller see it, and then what was asked. */
static void got(struct op *op, const struct store_answer *a)
{
	struct ask *k = op->state;
	const struct store_item *item = a->n_items ? &a->items[0] : NULL;
	pb_task *t = a->status == STORE_OK && item && item->status == STORE_OK ? task_unpack(op->arena, item->task) : NULL;
	Baton__V1__Handoff *h;

	op->on_answer = NULL;
	if (a->status == STORE_UNAVAILABLE) {
		deny(op, REASON_STORE_UNAVAILABLE, "", "the store did not answer: ask again");
		return;
	}
	if (!t && arena_failed(op->arena)) {
		deny(op, REASON_QUOTA_EXCEEDED, "", "out of memory: ask again");
		return;
	}
	if (!t || !lookup_visible(op, &k->viewer, &item->record, t, k->kind != ASK_CANCEL)) {
		deny(op, REASON_NOT_FOUND, "", "");
		return;
	}
	op->audit.trace_id = slice_str(t->trace_id);
	switch (k->kind) {
	case ASK_CANCEL:
		cancel(op, k);
		break;
	case ASK_WATCH:
		op->audit.outcome = OUTCOME_ALLOW;
		op_after_audit(op, op_audit(op, op->row->event), watch_release);
		break;
	default:
		h = get_handoff(op, item, t, k->with_envelope);
		if (h)
			pipeline_answer(op, &h->base);
		else
			deny(op, REASON_QUOTA_EXCEEDED, "", "out of memory");
	}
}

static void begin(struct rpc_call *rc, struct op *op, struct ask ask, const char *id_text)
{
	struct ask *k = arena_alloc(op->arena, sizeof *k);
	struct verdict v = verdict_deny(REASON_QUOTA_EXCEEDED, "", "out of memory");

	if (k) {
		*k = ask;
		if (lookup_begin(rc, op, id_text, &k->id, &k->viewer, &v) == PRINCIPAL_PARKED)
			return;
		if (arena_failed(op->arena))
			v = pipeline_no_memory();
	}
	if (!verdict_ok(&v)) {
		pipeline_deny(op, &v);
		return;
	}
	op->state = k;
	op->on_answer = got;
	op->w->env.store->ops->get(op->w->env.store, (struct store_slot){op->agent->tenant, k->viewer.route->queue}, &k->id, true,
				   op_store_done, op->w, op->id);
}

void get_on_message(struct rpc_call *rc, struct op *op)
{
	const Baton__V1__GetRequest *m = (const Baton__V1__GetRequest *)op->msg;

	begin(rc, op, (struct ask){.kind = ASK_GET, .with_envelope = m->with_envelope}, m->handoff_id);
}

void watch_on_message(struct rpc_call *rc, struct op *op)
{
	const Baton__V1__WatchRequest *m = (const Baton__V1__WatchRequest *)op->msg;

	begin(rc, op, (struct ask){.kind = ASK_WATCH, .after = m->after_cursor}, m->handoff_id);
}

void cancel_on_message(struct rpc_call *rc, struct op *op)
{
	const Baton__V1__CancelRequest *m = (const Baton__V1__CancelRequest *)op->msg;
	struct verdict v;

	/* cascade: a handoff has no children yet, so all of them are reached */
	if (strlen(m->reason) > 512)
		v = verdict_deny(REASON_MALFORMED_ENVELOPE, "reason", "longer than 512 bytes");
	else
		v = verdict_allow();
	if (!verdict_ok(&v)) {
		pipeline_deny(op, &v);
		return;
	}
	begin(rc, op, (struct ask){.kind = ASK_CANCEL, .note = *m->reason ? m->reason : "cancelled by its sender"}, m->handoff_id);
}
