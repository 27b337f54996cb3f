/* Which revocations are there? ListRevocations of ContainmentService. */
#include "base/clock.h"
#include "rpc/contain_priv.h"
#include "rpc/pipeline.h"

#define LIST_PAGE 200

static bool is_shown(const pb_revocation *m, bool with_lifted)
{
	return with_lifted || (!m->lifted_at_ms && (!m->until_ms || m->until_ms > clock_unix_ms()));
}

void contain_on_list(struct rpc_call *rc, struct op *op)
{
	const Baton__V1__ListRevocationsRequest *asked = (const Baton__V1__ListRevocationsRequest *)op->msg;
	const struct slice prefix = SLICE_LIT(REVOKED_PREFIX);
	const struct resources *s = op->world->resources;
	Baton__V1__ListRevocationsResponse *m = arena_alloc(op->arena, sizeof *m);
	char name[REVOKED_NAME_MAX];
	size_t i;

	(void)rc;
	if (m)
		baton__v1__list_revocations_response__init(m);
	if (!m || !(m->revocations = arena_alloc(op->arena, LIST_PAGE * sizeof *m->revocations))) {
		operator_no_memory(op);
		return;
	}
	i = resources_place(s, *asked->page_token ? revoked_name(asked->page_token, name) : prefix);
	for (; i < resources_count(s); i++) {
		const struct resource *r = resources_at(s, i);
		pb_revocation *v;

		if (!slice_begins(r->name, prefix))
			break;
		v = r->name.n > prefix.n ? revoked_unpack(op->arena, r) : NULL;
		if (!v || r->removed || !contain_sees(op, v) || !is_shown(v, asked->with_lifted))
			continue;
		if (m->n_revocations == LIST_PAGE) {
			m->next_page_token = v->id;
			break;
		}
		m->revocations[m->n_revocations++] = v;
	}
	pipeline_answer(op, &m->base);
}
