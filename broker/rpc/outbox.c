/* When does an answer go out on a stream whose peer is slow to read? At once while the call takes more. Else its op waits here, in order,
 * and keeps the flow-control window that its message took: who does not read is soon not read either. */
#include "rpc/op.h"

#define OUTBOX_MAX 4096         /* of a call: more than real requests fit into a window of 256 KiB; deliveries are far fewer */
#define OUTBOX_WORKER_MAX 16384 /* of all calls: most ops are left to those that do not wait */

bool outbox_clear(const struct rpc_call *rc)
{
	return !rc->out_n && call_writable(rc->c);
}

static void put(struct rpc_call *rc, struct op *op)
{
	struct op *last = slots_get(rc->w->ops, rc->out_last);

	if (last)
		last->out_next = op->id;
	else
		rc->out_first = op->id;
	rc->out_last = op->id;
	rc->out_n++;
	rc->w->n_out++;
}

static struct op *take(struct rpc_call *rc)
{
	struct op *op = slots_get(rc->w->ops, rc->out_first);

	if (!op)
		return NULL;
	rc->out_first = op->out_next;
	if (!rc->out_first)
		rc->out_last = 0;
	rc->out_n--;
	rc->w->n_out--;
	return op;
}

static void find_fattest(void *arg, uint64_t id, void *thing)
{
	struct rpc_call **most = arg, *rc = thing;

	(void)id;
	if (rc->out_n > (*most)->out_n)
		*most = rc;
}

static void refuse(struct rpc_call *rc)
{
	reply_error(rc, REASON_QUOTA_EXCEEDED, "", "too many answers wait on this stream: read them");
}

/* At the cap of the worker, whoever makes most wait goes: not who comes next. */
static bool room(struct rpc_call *rc)
{
	struct rpc_call *most = rc;

	if (rc->out_n >= OUTBOX_MAX)
		return false;
	if (rc->w->n_out < OUTBOX_WORKER_MAX)
		return true;
	slots_each(rc->w->calls, find_fattest, &most);
	if (most == rc)
		return false;
	refuse(most);
	outbox_drop(most);
	return true;
}

void outbox_send(struct rpc_call *rc, struct op *op, void (*go)(struct rpc_call *rc, struct op *op))
{
	if (outbox_clear(rc)) {
		go(rc, op);
		op_end(op);
	} else if (room(rc)) {
		op_rest(op);
		op->go = go;
		put(rc, op);
	} else {
		refuse(rc);
		op_end(op);
	}
}

void outbox_writable(struct rpc_call *rc)
{
	struct op *op;

	while (call_writable(rc->c) && (op = take(rc))) {
		op->go(rc, op);
		op_end(op);
	}
}

void outbox_drop(struct rpc_call *rc)
{
	struct op *op;

	while ((op = take(rc)))
		op_end(op);
}
