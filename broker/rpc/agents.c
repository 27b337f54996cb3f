/* Which agents are there, and what were they before? Get, List and History of ResourceService: those that are registered, and those of the configuration,
 * which are static. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/words.h"
#include "rpc/caller.h"
#include "rpc/kinds.h"
#include "rpc/pipeline.h"
#include "rpc/registered.h"

static char **names(struct arena *a, const char (*list)[64], size_t n)
{
	char **out = arena_alloc(a, (n + 1) * sizeof *out);

	for (size_t i = 0; out && i < n; i++)
		out[i] = (char *)list[i];
	return out;
}

/* An agent of the configuration. */
static Baton__V1__Resource *static_resource(struct op *op, const struct agent *a)
{
	Baton__V1__Resource *m = arena_alloc(op->arena, sizeof *m);
	Baton__V1__AgentSpec *s = arena_alloc(op->arena, sizeof *s);

	if (!m || !s)
		return NULL;
	baton__v1__resource__init(m);
	baton__v1__agent_spec__init(s);
	m->is_static = true;
	m->spec_case = BATON__V1__RESOURCE__SPEC_AGENT;
	m->agent = s;
	s->tenant = (char *)a->tenant;
	s->name = (char *)a->name;
	s->spiffe_id = (char *)a->spiffe_id;
	s->client = (char *)a->client;
	s->may_call = names(op->arena, a->call, a->n_call);
	s->n_may_call = s->may_call ? a->n_call : 0;
	s->may_serve = names(op->arena, a->serve, a->n_serve);
	s->n_may_serve = s->may_serve ? a->n_serve : 0;
	s->max_in_flight = a->max_in_flight;
	s->rate_per_s = a->rate_per_s;
	s->may_originate = a->may_originate;
	s->status = BATON__V1__AGENT_STATUS__AGENT_STATUS_ACTIVE;
	return m;
}

/* ---- all of them, by name ---- */

/* One of the two. */
struct found {
	struct slice name;              /* "agent/tenant/name" */
	const struct resource *resource;
	const struct agent *configured;
};

struct gathering {
	struct op *op;
	const char *tenant;
	struct found *v;
	size_t n;
};

static bool is_of(struct slice name, const char *tenant)
{
	size_t n = sizeof REGISTERED_PREFIX - 1, t = strlen(tenant);

	return !t || (name.n > n + t && memcmp(name.p + n, tenant, t) == 0 && name.p[n + t] == '/');
}

/* Those that are registered and active stand in the registry too. */
static void gather_configured(void *arg, const struct agent *a)
{
	struct gathering *g = arg;
	char text[REGISTERED_NAME_MAX];
	struct slice name = registered_name(a->tenant, a->name, text);

	if (g->v && !a->registered && is_of(name, g->tenant) && caller_sees(g->op, a->tenant))
		g->v[g->n++] = (struct found){op_keep(g->op, name), NULL, a};
}

/* A name that was retired here may stand in the configuration since; and of other tenants than his an operator is shown nothing. */
static bool is_hidden(const struct gathering *g, struct slice name)
{
	struct slice rest = slice_of(name.p + sizeof REGISTERED_PREFIX - 1, name.n - (sizeof REGISTERED_PREFIX - 1));
	const uint8_t *slash = memchr(rest.p, '/', rest.n);
	const struct agent *a = NULL;
	char tenant[64];

	if (!slash || !slice_copy_str(slice_of(rest.p, (size_t)(slash - rest.p)), tenant, sizeof tenant) || !caller_sees(g->op, tenant))
		return true;
	a = registry_by_name(g->op->world->registry, tenant, slice_of(slash + 1, (size_t)(rest.p + rest.n - slash - 1)));
	return a && !a->registered;
}

static int by_name(const void *a, const void *b)
{
	return slice_compare(((const struct found *)a)->name, ((const struct found *)b)->name);
}

/* v NULL: memory is out. tenant: "" = all. */
static struct gathering gather(struct op *op, const char *tenant)
{
	const struct slice prefix = SLICE_LIT(REGISTERED_PREFIX);
	const struct resources *s = op->world->resources;
	struct gathering g = {op, tenant, NULL, 0};

	g.v = arena_alloc(op->arena, (resources_count(s) + registry_agents(op->world->registry) + 1) * sizeof *g.v);
	for (size_t i = resources_place(s, prefix); g.v && i < resources_count(s); i++) {
		const struct resource *r = resources_at(s, i);

		if (!slice_begins(r->name, prefix))
			break;
		if (!r->removed && is_of(r->name, tenant) && !is_hidden(&g, r->name))
			g.v[g.n++] = (struct found){r->name, r, NULL};
	}
	registry_each_agent(op->world->registry, gather_configured, &g);
	if (g.v)
		qsort(g.v, g.n, sizeof *g.v, by_name);
	return g;
}

/* Is it who comes by its SPIFFE id? Not one that was retired: another agent may have the id since, of another tenant too. */
static bool has_id(const struct op *op, const Baton__V1__AgentSpec *s)
{
	const struct agent *a = registry_by_spiffe(op->world->registry, s->spiffe_id);

	return a ? strcmp(a->tenant, s->tenant) == 0 && strcmp(a->name, s->name) == 0 : s->status != BATON__V1__AGENT_STATUS__AGENT_STATUS_RETIRED;
}

/* How it is connected here. */
static Baton__V1__Presence *presence(struct op *op, const Baton__V1__AgentSpec *s)
{
	const struct rpc_env *env = &op->w->env;
	int64_t ends = 0;
	unsigned n = env->connections && has_id(op, s) ? env->connections(env->arg, s->spiffe_id, &ends) : 0;
	Baton__V1__Presence *p = n ? arena_alloc(op->arena, sizeof *p) : NULL;

	if (!p)
		return NULL;
	baton__v1__presence__init(p);
	p->connections = n;
	p->certificate_ends_at_ms = ends;
	return p;
}

static Baton__V1__Resource *shown(struct op *op, const struct kind *k, const struct found *f)
{
	Baton__V1__Resource *r = f->resource ? kinds_read(op, k, f->resource) : static_resource(op, f->configured);

	if (r)
		r->presence = presence(op, r->agent);
	return r;
}

static bool has_labels(const Baton__V1__AgentSpec *s, const Baton__V1__ListResourcesRequest *m)
{
	for (size_t i = 0; i < m->n_labels; i++) {
		size_t j = 0;

		while (j < s->n_labels && (strcmp(s->labels[j]->key, m->labels[i]->key) != 0 || strcmp(s->labels[j]->value, m->labels[i]->value) != 0))
			j++;
		if (j == s->n_labels)
			return false;
	}
	return true;
}

/* Bytes of what is looked at for a page: less than the 4 MiB that a gRPC client takes unless it is told otherwise, and than memory that a call may have. */
#define PAGE_BYTES_MAX (2u << 20)

/* Fills the page from the first that stands behind the token on; what does not match is skipped. One of large cards, or of many that do not match, ends early. */
static bool fill(struct op *op, const struct kind *k, const Baton__V1__ListResourcesRequest *m, const struct gathering *g, size_t page, Baton__V1__ListResourcesResponse *answer)
{
	const struct slice token = slice_str(m->page_token);
	size_t i = 0, bytes = 0;

	while (token.n && i < g->n && by_name(&g->v[i], &(struct found){.name = token}) <= 0)
		i++;
	for (; i < g->n && answer->n_resources < page && bytes < PAGE_BYTES_MAX; i++) {
		Baton__V1__Resource *r = shown(op, k, &g->v[i]);

		if (!r && arena_failed(op->arena))
			return false;
		bytes += g->v[i].resource ? g->v[i].resource->value.n : 0;
		if (r && has_labels(r->agent, m))
			answer->resources[answer->n_resources++] = r;
	}
	if (i < g->n && i)
		answer->next_page_token = arena_strndup(op->arena, g->v[i - 1].name.p, g->v[i - 1].name.n);
	return answer->next_page_token;
}

void agents_list(struct op *op, const struct kind *k, const Baton__V1__ListResourcesRequest *m, size_t page)
{
	struct gathering g = gather(op, m->tenant);
	Baton__V1__ListResourcesResponse *answer = kinds_page(op, page);

	if (answer && g.v && fill(op, k, m, &g, page, answer))
		pipeline_answer(op, &answer->base);
	else if (answer)
		operator_no_memory(op);
}

/* ---- as a watch sees them ---- */

struct sights agents_look(struct op *op, const struct kind *k, const Baton__V1__ListResourcesRequest *m)
{
	struct gathering g = gather(op, m->tenant);
	struct sights s = {g.v ? arena_alloc(op->arena, (g.n + 1) * sizeof *s.v) : NULL, 0};

	(void)k;
	for (; s.v && s.n < g.n; s.n++) {
		const struct found *f = &g.v[s.n];
		const Baton__V1__Resource *r = f->resource ? NULL : static_resource(op, f->configured);

		s.v[s.n] = (struct sight){f->name, f->resource ? f->resource->generation : r ? kinds_stamp(op, r) : 1, f->resource ? f->resource->value.n : 0, f};
	}
	return s;
}

Baton__V1__Resource *agents_see(struct op *op, const struct kind *k, const struct sight *s, const Baton__V1__ListResourcesRequest *m)
{
	Baton__V1__Resource *r = shown(op, k, s->found);

	return r && has_labels(r->agent, m) ? r : NULL;
}

Baton__V1__Resource *agents_gone(struct op *op, const struct kind *k, struct slice name)
{
	struct slice rest = slice_of(name.p + sizeof REGISTERED_PREFIX - 1, name.n - (sizeof REGISTERED_PREFIX - 1));
	const uint8_t *slash = memchr(rest.p, '/', rest.n);
	Baton__V1__AgentSpec *s = arena_alloc(op->arena, sizeof *s);

	if (!slash || !s)
		return NULL;
	baton__v1__agent_spec__init(s);
	s->tenant = arena_strndup(op->arena, rest.p, (size_t)(slash - rest.p));
	s->name = arena_strndup(op->arena, slash + 1, (size_t)(rest.p + rest.n - slash - 1));
	return s->tenant && s->name ? kinds_wrap(op, k, &s->base) : NULL;
}

/* ---- one of them ---- */

/* By its whole name: what is registered, unless the configuration has it since. */
static bool find_of(struct op *op, const Baton__V1__ResourceRef *ref, struct found *out)
{
	const struct agent *a = registry_by_name(op->world->registry, ref->tenant, slice_str(ref->name));
	char text[REGISTERED_NAME_MAX];
	const struct resource *r = resources_find(op->world->resources, registered_name(ref->tenant, ref->name, text));

	*out = (struct found){.resource = r && !r->removed && (!a || a->registered) ? r : NULL, .configured = a};
	return out->resource || a;
}

/* The only one of the name; else the op has ended with a denial. */
static bool find(struct op *op, const Baton__V1__ResourceRef *ref, struct found *out)
{
	struct gathering g;
	size_t n = 0, want = strlen(ref->name);

	if (*ref->tenant) {
		if (name_valid(slice_str(ref->tenant)) && name_valid(slice_str(ref->name)) && caller_sees(op, ref->tenant) && find_of(op, ref, out))
			return true;
		operator_deny(op, REASON_NOT_FOUND, "name", "no such agent");
		return false;
	}
	g = gather(op, "");
	for (size_t i = 0; g.v && i < g.n; i++) {
		struct slice name = g.v[i].name;

		if (name.n > want && memcmp(name.p + name.n - want, ref->name, want) == 0 && name.p[name.n - want - 1] == '/') {
			*out = g.v[i];
			n++;
		}
	}
	if (!g.v)
		operator_no_memory(op);
	else if (!want || !n)
		operator_deny(op, REASON_NOT_FOUND, "name", "no such agent");
	else if (n > 1)
		operator_deny(op, REASON_MALFORMED_ENVELOPE, "tenant", "tenant: more than one tenant has an agent of this name: name one");
	return g.v && want && n == 1;
}

void agents_get(struct op *op, const struct kind *k, const Baton__V1__ResourceRef *ref)
{
	Baton__V1__Resource *m;
	struct found f;

	if (!find(op, ref, &f))
		return;
	m = shown(op, k, &f);
	if (m)
		pipeline_answer(op, &m->base);
	else if (arena_failed(op->arena))
		operator_no_memory(op);
	else
		operator_deny(op, REASON_NOT_FOUND, "name", "what is stored under this name is no agent: register it anew");
}

const struct resource *agents_kept(struct op *op, const struct kind *k, const Baton__V1__ResourceRef *ref)
{
	struct found f;

	(void)k;
	if (!find(op, ref, &f))
		return NULL;
	if (!f.resource)
		operator_deny(op, REASON_WRONG_STATE, "name", "it stands in the configuration file, which has no history here");
	return f.resource;
}
