/* Which tenants are there, and how much may each use up? See tenancy.h. */
#include "rpc/tenancy.h"

#include <stdlib.h>
#include <string.h>

#include "base/words.h"
#include "rpc/unpacked.h"

#define ARENA_MAX (4u << 20) /* of one resource */

struct tenancy {
	struct tenancy_entry *by_name;
	struct tenancy_entry **v;  /* all of them */
	size_t peopled;
	bool failed;               /* while it is made: memory is out */
};

const char *tenancy_wrong(const Baton__V1__Tenant *m, const char **field)
{
	const struct { const char *field, *wrong; } rows[] = {
		{"tenant.name", name_valid(slice_str(m->name)) ? NULL : "a tenant's name is [a-z0-9][a-z0-9._-]{0,62}"},
		{"tenant.max_waiting", m->max_waiting <= TENANT_WAITING_MAX ? NULL : "at most 1,000,000,000; 0: as the configuration says"},
		{"tenant.max_bytes", m->max_bytes <= TENANT_BYTES_MAX ? NULL : "at most 1 TiB; 0: as the configuration says"},
		{"tenant.max_agents", m->max_agents <= TENANT_AGENTS_MAX ? NULL : "at most 65,536; 0: as the configuration says"},
	};

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		*field = rows[i].field;
		if (rows[i].wrong)
			return rows[i].wrong;
	}
	return NULL;
}

/* ---- making it ---- */

/* Added if it is not there. NULL: memory is out, or it is no name. */
static struct tenancy_entry *entry_of(struct tenancy *t, struct slice name)
{
	struct tenancy_entry *e = NULL;

	if (!name_valid(name))
		return NULL;
	HASH_FIND(hh, t->by_name, name.p, name.n, e);
	if (e)
		return e;
	e = calloc(1, sizeof *e);
	if (e) {
		memcpy(e->name, name.p, name.n);
		HASH_ADD(hh, t->by_name, name, name.n, e);
		if (TABLE_HAS(e, hh))
			return e;
		free(e);
	}
	t->failed = true;
	return NULL;
}

static void add_agent(void *arg, const struct agent *a)
{
	struct tenancy *t = arg;
	struct tenancy_entry *e = entry_of(t, slice_str(a->tenant));

	if (e)
		t->peopled += !e->agents++;
}

static void add_route(void *arg, const char *tenant, const struct profile *p)
{
	(void)p;
	entry_of(arg, slice_str(tenant));
}

static void add_issuers(struct tenancy *t, const struct issuers *all)
{
	for (size_t i = 0; all && i < issuers_count(all); i++)
		for (size_t k = 0; k < issuers_at(all, i)->rule.n_tenants; k++)
			entry_of(t, slice_str(issuers_at(all, i)->rule.tenants[k]));
}

/* What stands under another's name is not believed either. */
static void add_kept(struct tenancy *t, struct arena *a, const struct resource *r, struct slice name)
{
	struct tenancy_entry *e = entry_of(t, name);
	Baton__V1__Resource *m = resource_unpack(a, r, BATON__V1__RESOURCE__SPEC_TENANT);
	const char *field;

	t->failed = t->failed || arena_failed(a);
	if (!e)
		return;
	e->unread = !m || tenancy_wrong(m->tenant, &field) || !slice_is(name, m->tenant->name);
	if (e->unread)
		return;
	e->max_waiting = m->tenant->max_waiting;
	e->max_bytes = m->tenant->max_bytes;
	e->max_agents = m->tenant->max_agents;
}

static void add_resources(struct tenancy *t, const struct resources *s)
{
	const struct slice prefix = SLICE_LIT(TENANT_PREFIX);
	struct arena *a = arena_new(ARENA_MAX);

	t->failed = t->failed || !a;
	for (size_t i = resources_place(s, prefix); a && i < resources_count(s); i++) {
		const struct resource *r = resources_at(s, i);

		if (!slice_begins(r->name, prefix))
			break;
		if (!r->removed)
			add_kept(t, a, r, slice_of(r->name.p + prefix.n, r->name.n - prefix.n));
		arena_reset(a);
	}
	if (a)
		arena_free(a);
}

static void number(struct tenancy *t)
{
	size_t n = 0;

	t->v = calloc(HASH_COUNT(t->by_name) + 1, sizeof *t->v);
	t->failed = t->failed || !t->v;
	for (struct tenancy_entry *e = t->by_name; t->v && e; e = e->hh.next)
		t->v[n++] = e;
}

struct tenancy *tenancy_new(const struct registry *r, const struct issuers *i, const struct resources *s)
{
	struct tenancy *t = calloc(1, sizeof *t);

	if (!t)
		return NULL;
	registry_each_agent(r, add_agent, t);
	registry_each_route(r, add_route, t);
	add_issuers(t, i);
	add_resources(t, s);
	number(t);
	if (!t->failed)
		return t;
	tenancy_free(t);
	return NULL;
}

void tenancy_free(struct tenancy *t)
{
	struct tenancy_entry *e, *next;

	if (!t)
		return;
	HASH_ITER(hh, t->by_name, e, next) {
		HASH_DEL(t->by_name, e);
		free(e);
	}
	free(t->v);
	free(t);
}

/* ---- asking it ---- */

size_t tenancy_count(const struct tenancy *t)
{
	return HASH_COUNT(t->by_name);
}

const struct tenancy_entry *tenancy_at(const struct tenancy *t, size_t i)
{
	return t->v[i];
}

const struct tenancy_entry *tenancy_find(const struct tenancy *t, const char *name)
{
	struct tenancy_entry *e = NULL;

	HASH_FIND_STR(t->by_name, name, e);
	return e;
}

size_t tenancy_peopled(const struct tenancy *t)
{
	return t->peopled;
}

static struct tenancy_limit limit_of(uint64_t own, uint64_t configured)
{
	if (own)
		return (struct tenancy_limit){own, LIMIT_OWN};
	return (struct tenancy_limit){configured, configured ? LIMIT_CONFIGURED : LIMIT_NONE};
}

struct tenancy_limits tenancy_judge(const struct tenancy_entry *e, uint64_t waiting, uint64_t bytes)
{
	return (struct tenancy_limits){
		.waiting = limit_of(e ? e->max_waiting : 0, waiting),
		.bytes = limit_of(e ? e->max_bytes : 0, bytes),
		.unknown = e && e->unread && (!waiting || !bytes),
	};
}

struct tenancy_limit tenancy_agents(const struct tenancy_entry *e, uint64_t configured)
{
	return limit_of(e ? e->max_agents : 0, configured);
}

bool tenancy_names_fit(size_t taken, size_t anew)
{
	const size_t most = STORE_RESOURCES_MAX - TENANCY_SPARE;

	return !anew || (anew <= most && taken <= most - anew);
}
