/* Which agents do the resources make that all nodes share? See roster.h. */
#include "rpc/roster.h"

#include <string.h>

#include "rpc/registered.h"
#include "rpc/unpacked.h"

#define ARENA_MAX (4u << 20)

/* What may do nothing now must not be somebody else meanwhile. */
static int is_there(const struct registry *r, const struct agent *a, struct problem *why)
{
	if (!registry_by_name(r, a->tenant, slice_str(a->name)))
		return 0;
	return problem_set(why, "agent %s stands in tenant %s twice", a->name, a->tenant);
}

/* 0, also when it was left out; -1: memory is out. */
static int add(struct registry *r, struct arena *a, const struct resource *from, int64_t now_ms, struct roster *out)
{
	Baton__V1__Resource *m = resource_unpack(a, from, BATON__V1__RESOURCE__SPEC_AGENT);
	const char *field, *wrong = m ? registered_wrong(m->agent, &field) : "it is no agent";
	struct agent agent;
	int rc;

	if (arena_failed(a))
		return -1;
	if (wrong) {
		out->refused++;
		problem_set(&out->why, "%.*s: %s", (int)from->name.n, (const char *)from->name.p, wrong);
		return 0;
	}
	if (m->agent->card.len && registry_add_card(r, m->agent->tenant, m->agent->card.len) < 0)
		return -1;
	if (m->agent->status == BATON__V1__AGENT_STATUS__AGENT_STATUS_RETIRED) {
		out->others++;
		return 0;
	}
	if (!registered_agent(a, m->agent, &agent))
		return -1;
	rc = registered_active(m->agent, now_ms) ? registry_add_agent(r, &agent, &out->why) : is_there(r, &agent, &out->why);
	if (rc == -2)
		return -1;
	if (rc) {
		problem_prefix(&out->why, "registered agent %s of tenant %s", agent.name, agent.tenant);
		out->refused++;
		out->conflicts++;
		return 0;
	}
	if (!registered_active(m->agent, now_ms)) {
		out->others++;
		return 0;
	}
	out->active++;
	if (m->agent->expires_at_ms && m->agent->expires_at_ms < out->next_expiry_ms)
		out->next_expiry_ms = m->agent->expires_at_ms;
	return 0;
}

int roster_add(struct registry *r, const struct resources *s, int64_t now_ms, struct roster *out)
{
	const struct slice prefix = SLICE_LIT(REGISTERED_PREFIX);
	struct arena *a = arena_new(ARENA_MAX);
	int rc = a ? 0 : -1;

	*out = (struct roster){.next_expiry_ms = INT64_MAX};
	for (size_t i = resources_place(s, prefix); i < resources_count(s) && !rc; i++) {
		const struct resource *from = resources_at(s, i);

		if (!slice_begins(from->name, prefix))
			break;
		if (from->removed)
			continue;
		rc = add(r, a, from, now_ms, out);
		arena_reset(a);
	}
	if (a)
		arena_free(a);
	return rc;
}
