/* Who waits until all nodes live by a change? See await.h. A list of ops, looked through at each tick: who waits is an operator, and few do. */
#include "rpc/await.h"

#include "base/clock.h"
#include "rpc/fleet.h"

struct waiting {
	struct waiting *next;
	uint64_t op, generation;
	int64_t until_ms;
	bool (*look)(struct op *op); /* NULL: nobody does */
	void (*then)(struct op *op);
};

void await_nodes(struct op *op, uint64_t generation, int64_t patience_ms, void (*then)(struct op *op))
{
	await_nodes_look(op, generation, patience_ms, NULL, then);
}

void await_nodes_look(struct op *op, uint64_t generation, int64_t patience_ms, bool (*look)(struct op *op), void (*then)(struct op *op))
{
	struct waiting *x = arena_alloc(op->arena, sizeof *x);

	if (!x) {
		then(op);
		return;
	}
	op_rest(op);
	*x = (struct waiting){.next = op->w->waiting, .op = op->id, .generation = generation, .until_ms = clock_mono_ms() + patience_ms, .look = look, .then = then};
	op->w->waiting = x;
}

void await_tick(struct rpc_worker *w)
{
	struct waiting *x = w->waiting, *next;
	int64_t now = x ? clock_mono_ms() : 0;

	w->waiting = NULL;
	for (; x; x = next) {
		struct op *op = slots_get(w->ops, x->op);

		next = x->next; /* x lives in the op's arena */
		if (now < x->until_ms && fleet_lags(w->env.fleet, x->generation) && !(x->look && x->look(op))) {
			x->next = w->waiting;
			w->waiting = x;
		} else {
			x->then(op);
		}
	}
}
