/* Who gives the first role? InitAdmin, once in the life of a deployment and by the admin socket alone. That it was done stands in what all nodes share, and
 * in a mark in the state folder of each node that has seen it: whoever empties Redis does not open it again. The mark is made before the binding is. */
#include <stdio.h>
#include <string.h>

#include "rpc/caller.h"
#include "rpc/named.h"
#include "rpc/pipeline.h"

#define DONE "a first role binding was made before: who has platform gives others by baton role grant. Where nobody has it any more, see LOST ADMINISTRATORS in batond(8)"

/* Whatever becomes of it, the mark stays: it may have been done, or somebody else was first. */
static bool on_failed(struct op *op, const struct store_answer *a)
{
	if (a->status == STORE_CONFLICT)
		operator_deny(op, REASON_WRONG_STATE, "", "somebody else made the first role binding at the same moment: this one was not made");
	else if (a->status != STORE_QUOTA)
		operator_deny(op, REASON_STORE_UNAVAILABLE, "", "the store did not answer, so it is not known whether the binding was made: see baton role list. When it "
			      "was not, see LOST ADMINISTRATORS in batond(8)");
	return a->status != STORE_QUOTA;
}

/* false: the op has ended. */
static bool is_first(struct op *op, bool make)
{
	const struct rpc_env *env = &op->w->env;
	struct problem why = {""};
	int made = env->initialised ? env->initialised(env->arg, make, &why) : 0;

	if (resources_find(op->world->resources, SLICE_LIT(ROLEBIND_INIT)) || made > 0)
		operator_deny(op, REASON_WRONG_STATE, "", DONE);
	else if (made < 0)
		operator_deny(op, REASON_STORE_UNAVAILABLE, "", op_str(op, slice_str(why.text)));
	else
		return true;
	return false;
}

static bool look_up(struct op *op, const struct kind *k, Baton__V1__RoleBinding *m, struct entry *e)
{
	char text[NAMED_NAME_MAX];
	const struct resource *r = resources_find(op->world->resources, named_name(k->named, m->name, text));

	*e = (struct entry){.kind = k, .tenant = "", .name = m->name, .spec = &m->base, .version = r ? r->version : 0};
	if (r && !r->removed) {
		operator_deny(op, REASON_WRONG_STATE, "role.name", "there is a role binding of this name: take another one");
		return false;
	}
	return enlist_compare(op, e, NULL, &m->base, k->named->made);
}

void init_on_message(struct rpc_call *rc, struct op *op)
{
	const Baton__V1__InitAdminRequest *m = (const Baton__V1__InitAdminRequest *)op->msg;
	const struct kind *k = kinds_of(BATON__V1__RESOURCE__SPEC_ROLE);
	struct enlist *x;

	(void)rc;
	if (!m->role) {
		operator_deny(op, REASON_MALFORMED_ENVELOPE, "role", "role: which binding?");
		return;
	}
	if (!worker_is_fresh(op->w)) { /* who else was first, the store alone knows */
		operator_no_store(op);
		return;
	}
	if (!is_first(op, false) || !named_well_formed(op, k, &m->role->base, NULL, 0) || !(x = enlist_new(op, m->reason)) || !look_up(op, k, m->role, &x->v[0]))
		return;
	x->n = 1;
	x->on_failed = on_failed;
	enlist_add(x, SLICE_LIT(ROLEBIND_INIT), 1, false, slice_str(m->role->name));
	if (is_first(op, true))
		enlist_carry_out(op, x);
}
