/* What would a revocation hit? It is asked of all nodes (foresee.h), each of which tells how many connections it would close; what waits in the queues is counted here. */
#include "base/clock.h"
#include "rpc/await.h"
#include "rpc/contain_priv.h"
#include "rpc/foresee.h"

#define ASK_AGAIN 3

static void count_waiting(struct op *op)
{
	struct contain *x = op->state;

	x->sweep.then = contain_conclude;
	op_rest(op);
	sweep_run(op);
}

static void nodes_have_counted(struct op *op)
{
	struct contain *x = op->state;
	struct fleet_node now[FLEET_MAX];
	struct fleet_sight all;
	size_t n = fleet_see(op->w->env.fleet, clock_mono_ms(), now, &all);

	for (size_t i = 0; i < n; i++) {
		bool counted = now[i].report.asked == x->generation;

		x->confirmed += counted;
		x->missing += !counted;
		contain_say_node(op, x, &now[i], counted, counted ? "" : now[i].silent_ms >= STORE_NODE_LEASE_MS ? "silent: what it would close is not known" :
			 "it has not counted, or somebody else asked meanwhile: ask again");
	}
	x->missing += all.hidden; /* what those counted is not known */
	count_waiting(op);
}

static void ask_nodes(struct op *op, struct contain *x);

static void on_asked(struct op *op, const struct store_answer *a)
{
	struct contain *x = op->state;

	if (a->status == STORE_OK) {
		x->generation = a->generation;
		await_nodes(op, a->generation, FORESEE_MS, nodes_have_counted);
	} else if (a->status == STORE_CONFLICT && x->asked++ < ASK_AGAIN) { /* this node has not heard of the last question yet */
		x->version = a->version;
		ask_nodes(op, x);
	} else {
		contain_drop(op);
		operator_deny(op, REASON_STORE_UNAVAILABLE, "", "the store did not answer, or others ask too: ask again");
	}
}

static void ask_nodes(struct op *op, struct contain *x)
{
	struct store *s = op->w->env.store;
	struct store_change c;

	if (!contain_change(op, x, SLICE_LIT(FORESEE_NAME), x->version, &c)) {
		contain_drop(op);
		operator_no_memory(op);
		return;
	}
	op->on_answer = on_asked;
	s->ops->change(s, &c, 1, op_store_done, op->w, op->id);
}

void contain_dry(struct op *op, struct contain *x)
{
	const struct resource *last = resources_find(op->world->resources, SLICE_LIT(FORESEE_NAME));

	x->begun_ms = clock_mono_ms();
	x->version = last ? last->version : 0;
	if (revocations_of_peers(x->about)) /* else it closes none anywhere */
		ask_nodes(op, x);
	else
		count_waiting(op);
}
