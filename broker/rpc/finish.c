/* How does a handoff leave a lease? */
#include "rpc/finish.h"

#include <string.h>

#include "baton/internal/v1/record.pb-c.h"
#include "messaging/life.h"
#include "rpc/follow.h"
#include "rpc/desk.h"

static struct slice outcome_pack(struct op *op, const struct finish *f)
{
	Baton__Internal__V1__Report o = BATON__INTERNAL__V1__REPORT__INIT;
	uint8_t *p;

	o.result = (ProtobufCBinaryData){f->result.n, (uint8_t *)f->result.p};
	o.failure = (ProtobufCBinaryData){f->failure.n, (uint8_t *)f->failure.p};
	o.note = (char *)(f->note ? f->note : "");
	o.reason = (uint32_t)f->reason;
	p = arena_alloc(op->arena, protobuf_c_message_get_packed_size(&o.base) + 1);
	return p ? slice_of(p, protobuf_c_message_pack(&o.base, p)) : slice_of(NULL, 0);
}

bool finish_send(struct op *op, const struct finish *f)
{
	struct store_finish rq = {.slot = f->slot, .id = f->id, .fence = f->fence, .owner = f->owner, .kind = f->kind,
		.delay_ms = f->delay_ms};
	char *text = arena_alloc(op->arena, HANDOFF_ID_TEXT + 1);

	rq.outcome = outcome_pack(op, f);
	if (!text || !rq.outcome.p)
		return false;
	handoff_id_format(&f->id, text);
	op->audit.handoff_id = slice_str(text);
	op->audit.tenant = slice_str(op_str(op, slice_str(f->slot.tenant)));
	op->audit.route = slice_str(op_str(op, queue_route(slice_str(f->slot.route))));
	op->audit.fence = f->fence;
	if (f->trace_id)
		op->audit.trace_id = slice_str(op_str(op, slice_str(f->trace_id)));
	if (f->policy_version)
		op->audit.policy_version = slice_str(op_str(op, slice_str(f->policy_version)));
	if (f->reason)
		op->audit.reason = f->reason;
	if (f->note)
		op->audit.message = slice_str(op_str(op, slice_str(f->note)));
	op->w->env.store->ops->finish(op->w->env.store, &rq, op_store_done, op->w, op->id);
	return true;
}

uint64_t finish_audit(struct op *op, const struct store_record *r, enum store_finish_kind kind)
{
	bool back = !state_is_terminal(r->state) && r->state != STATE_QUARANTINED;
	const char *event = !back ? life_event(r->state) : kind == FINISH_RELEASE ? "handoff.released" : "handoff.failed";

	op->audit.state = r->state;
	op->audit.attempt = r->attempt;
	metrics_add(op->w->env.metrics, METRIC_HANDOFFS, (const char *)op->audit.route.p, state_text(r->state), 1);
	if (r->state == STATE_QUARANTINED && op->audit.reason == REASON_REVOKED && op->w->env.aside)
		atomic_fetch_add(op->w->env.aside, 1);
	if (back)
		metrics_add(op->w->env.metrics, METRIC_REDELIVERIES, (const char *)op->audit.route.p, NULL, 1);
	if (state_is_terminal(r->state) && r->accepted_at_ms)
		metrics_observe_us(op->w->env.metrics, METRIC_CYCLE_SECONDS, (const char *)op->audit.route.p,
				   (r->updated_at_ms - r->accepted_at_ms) * 1000);
	return op_audit(op, event);
}

static void alone_written(struct op *op, bool durable)
{
	(void)durable;
	op_end(op);
}

struct alone {
	struct handoff_id id;
	enum store_finish_kind kind;
	char tenant[64], queue[QUEUE_MAX_BYTES + 1];
};

static void alone_answered(struct op *op, const struct store_answer *a)
{
	struct alone *s = op->state;

	if (a->status != STORE_OK) {
		op_end(op); /* the lease lapses by itself */
		return;
	}
	change_publish(op->w, &s->id);
	if (a->record.state == STATE_QUEUED)
		desk_announce(op->w, s->tenant, s->queue);
	op_after_audit(op, finish_audit(op, &a->record, s->kind), alone_written);
}

void finish_alone(struct rpc_worker *w, const struct finish *f)
{
	struct op *op = op_new(w, NULL);
	struct alone *s = op ? arena_zalloc(op->arena, sizeof *s) : NULL;

	if (!op)
		return; /* no memory: the lease lapses by itself */
	if (s) {
		s->id = f->id;
		s->kind = f->kind;
		slice_copy_str(slice_str(f->slot.tenant), s->tenant, sizeof s->tenant);
		slice_copy_str(slice_str(f->slot.route), s->queue, sizeof s->queue);
		op->state = s;
		op->on_answer = alone_answered;
	}
	if (!s || !finish_send(op, f))
		op_end(op);
}
