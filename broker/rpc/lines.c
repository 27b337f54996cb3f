/* How is a change that no call asked for written down? */
#include "rpc/lines.h"

#include "messaging/life.h"
#include "rpc/events.h"
#include "rpc/reconcile.h"
#include "rpc/task.h"

struct line {
	const char *event;   /* static */
	enum line_kind kind;
	char id[HANDOFF_ID_TEXT + 1];
};

static void written(struct op *op, bool durable)
{
	const struct line *l = op->state;

	if (l->kind == LINE_RECONCILED)
		reconcile_line(op->w->env.reconcile, durable);
	op_end(op);
}

static void write_it(struct op *op, const struct store_answer *a)
{
	struct line *l = op->state;
	pb_task *t = a->status == STORE_OK && a->n_items && a->items[0].status == STORE_OK ? task_unpack(op->arena, a->items[0].task) : NULL;
	pb_envelope *e = t ? task_unpack_envelope(op->arena, t) : NULL;

	if (e) {
		op->audit.trace_id = slice_str(t->trace_id);
		op->audit.agent = slice_str(t->sender);
		op->audit.issuer = slice_str(t->issuer);
		op->audit.subject = slice_str(t->subject);
		op->audit.tool = slice_str(e->tool);
		op->audit.policy_version = slice_str(t->policy_version);
	}
	op_after_audit(op, op_audit(op, l->event), written);
}

const char *line_event(const struct store_record *r)
{
	bool published = r->state == STATE_COMPLETED && !r->fence; /* nobody did it: it was sent to inboxes */

	return life_event(published ? STATE_QUEUED : r->state);
}

static bool write_down(struct rpc_worker *w, struct store_slot slot, const struct store_record *r, const char *event, enum line_kind kind, const char *about)
{
	struct op *op = op_new(w, NULL);
	struct line *l = op ? arena_alloc(op->arena, sizeof *l) : NULL;

	if (!l) {
		if (op)
			op_end(op);
		return false;
	}
	l->event = event;
	l->kind = kind;
	handoff_id_format(&r->id, l->id);
	op->audit.handoff_id = slice_str(l->id);
	op->audit.tenant = slice_str(op_str(op, slice_str(slot.tenant)));
	op->audit.route = slice_str(op_str(op, queue_route(slice_str(slot.route))));
	op->audit.state = r->state;
	op->audit.message = about ? slice_str(op_str(op, slice_str(about))) : slice_str(r->unconfirmed ? life_unconfirmed : "");
	op->audit.attempt = r->attempt;
	op->audit.fence = r->fence;
	op->audit.reconciled = kind != LINE_NOW;
	op->state = l;
	op->on_answer = write_it;
	w->env.store->ops->get(w->env.store, slot, &r->id, true, op_store_done, w, op->id);
	return true;
}

bool line_write(struct rpc_worker *w, struct store_slot slot, const struct store_record *r, const char *event, enum line_kind kind)
{
	return write_down(w, slot, r, event, kind, NULL);
}

bool line_write_about(struct rpc_worker *w, struct store_slot slot, const struct store_record *r, const char *event, const char *about)
{
	return write_down(w, slot, r, event, LINE_NOW, about);
}

void rpc_worker_store_late(struct rpc_worker *w, const char *tenant, const char *queue, const struct store_record *r)
{
	line_write(w, (struct store_slot){tenant, queue}, r, line_event(r), LINE_LATE);
}
