/* May a tenant have another agent? See headcount.h. */
#include "rpc/headcount.h"

#include <inttypes.h>
#include <stdio.h>

#include "rpc/registered.h"
#include "rpc/tenancy.h"

#define PREFIX_MAX REGISTERED_NAME_MAX

static const Baton__V1__AgentSpec *spec_of(const struct entry *e)
{
	return (const Baton__V1__AgentSpec *)e->spec;
}

/* ---- what is there, of those that went as well ---- */

/* "agent/tenant/" or, with the byte after the slash in its place, what comes after all of them. */
static struct slice prefix_of(const char *tenant, char end, char out[PREFIX_MAX])
{
	int n = snprintf(out, PREFIX_MAX, REGISTERED_PREFIX "%s%c", tenant, end);

	return slice_of(out, (size_t)n);
}

static size_t names_of(const struct resources *s, const char *tenant)
{
	char from[PREFIX_MAX], to[PREFIX_MAX];

	return resources_place(s, prefix_of(tenant, '/' + 1, to)) - resources_place(s, prefix_of(tenant, '/', from));
}

static size_t ids_of(const struct resources *s, const char *tenant)
{
	const struct slice ids = SLICE_LIT(REGISTERED_ID_PREFIX);
	char text[PREFIX_MAX];
	struct slice whose = prefix_of(tenant, '/', text);
	size_t n = 0;

	for (size_t i = resources_place(s, ids); i < resources_count(s) && slice_begins(resources_at(s, i)->name, ids); i++)
		n += slice_begins(resources_at(s, i)->value, whose);
	return n;
}

/* ---- what is new ---- */

static bool new_name(const struct op *op, const struct entry *e)
{
	(void)op;
	return !e->version;
}

static bool new_id(const struct op *op, const struct entry *e)
{
	char text[REGISTERED_ID_MAX];

	return !resources_find(op->world->resources, registered_id_name(spec_of(e)->spiffe_id, text));
}

/* Of the call's agents of this tenant, up to this one. */
static size_t more(const struct op *op, const struct entry *e, size_t i, bool (*is_new)(const struct op *op, const struct entry *e))
{
	size_t n = 0;

	for (const struct entry *b = e - i; b <= e; b++)
		n += b->kind == e->kind && strcmp(b->tenant, e->tenant) == 0 && is_new(op, b);
	return n;
}

/* ---- the verdict ---- */

static bool check(struct op *op, const struct entry *e, size_t i, const struct tenancy_limit *l, const char *field, const char *what, size_t n)
{
	if (n <= l->max)
		return true;
	return enlist_deny(op, REASON_QUOTA_EXCEEDED, i, field, arena_printf(op->arena, "with it the registry would keep %zu %s of tenant %s, and no more than %" PRIu64 " may be (%s): what was "
				"retired or given up counts too; take such a name or id again, or have the limit raised (baton tenant limit --max-agents)", n, what, e->tenant, l->max,
				l->source == LIMIT_OWN ? "the tenant's own limit" : "limits.agents_per_tenant"));
}

bool headcount_check(struct op *op, const struct entry *e, size_t i)
{
	const struct tenancy_entry *t = tenancy_find(op->world->tenancy, e->tenant);
	const struct tenancy_limit l = tenancy_agents(t, op->world->quotas.agents_per_tenant);
	const struct resources *s = op->world->resources;
	bool name = new_name(op, e), id = new_id(op, e);

	if (!name && !id)
		return true;
	if (t && t->unread && !l.max)
		return enlist_deny(op, REASON_QUOTA_EXCEEDED, i, "agent.tenant", "the limits that are kept of its tenant cannot be read, and the configuration has none for all: give it limits anew, by "
				   "baton tenant limit");
	if (!l.max)
		return true;
	return (!name || check(op, e, i, &l, "agent.name", "agents", names_of(s, e->tenant) + more(op, e, i, new_name))) &&
	       (!id || check(op, e, i, &l, "agent.spiffe_id", "SPIFFE ids", ids_of(s, e->tenant) + more(op, e, i, new_id)));
}
