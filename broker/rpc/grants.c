/* Who has which roles? See grants.h. There are few bindings: an array, looked through from its beginning. */
#include "rpc/grants.h"

#include <stdlib.h>
#include <string.h>

#include "rpc/unpacked.h"

#define ARENA_MAX (16u << 20) /* the most that GRANTS_MAX of them take */

struct grants {
	struct arena *arena;
	size_t n;
	struct grant v[];
};

/* As many as there may be, removed ones too. */
static size_t count(const struct resources *s, size_t from)
{
	size_t i = from;

	while (i < resources_count(s) && rolebind_is(resources_at(s, i)))
		i++;
	return i - from;
}

/* What stands under another's name is not believed either. */
static void add(struct grants *g, const struct resource *r)
{
	Baton__V1__Resource *m = r->removed ? NULL : resource_unpack(g->arena, r, BATON__V1__RESOURCE__SPEC_ROLE);
	char name[ROLEBIND_NAME_MAX];
	const char *field;

	if (m && !rolebind_wrong(m->role, &field) && slice_eq(rolebind_name(m->role->name, name), r->name))
		g->v[g->n++] = (struct grant){rolebind_roles(m->role), m->role};
}

struct grants *grants_new(const struct resources *s)
{
	size_t from = resources_place(s, SLICE_LIT(ROLEBIND_PREFIX)), n = count(s, from);
	struct grants *g = calloc(1, sizeof *g + n * sizeof g->v[0]);

	if (!g)
		return NULL;
	g->arena = arena_new(ARENA_MAX);
	for (size_t i = 0; g->arena && i < n; i++)
		add(g, resources_at(s, from + i));
	if (g->arena && !arena_failed(g->arena))
		return g;
	grants_free(g);
	return NULL;
}

void grants_free(struct grants *g)
{
	if (!g)
		return;
	if (g->arena)
		arena_free(g->arena);
	free(g);
}

size_t grants_count(const struct grants *g)
{
	return g->n;
}

const Baton__V1__RoleBinding *grants_at(const struct grants *g, size_t i)
{
	return g->v[i].m;
}

static bool is_for(const struct grant *x, const char *spiffe_id, const char *issuer, grants_has *has, const void *arg)
{
	if (*x->m->spiffe_id)
		return strcmp(x->m->spiffe_id, spiffe_id) == 0;
	return issuer && strcmp(x->m->issuer, issuer) == 0 && has(arg, x->m->claim, x->m->value);
}

size_t grants_find(const struct grants *g, const char *spiffe_id, const char *issuer, grants_has *has, const void *arg, const struct grant **out, size_t max)
{
	size_t k = 0;

	for (size_t i = 0; i < g->n && k < max; i++)
		if (is_for(&g->v[i], spiffe_id, issuer, has, arg)) {
			if (out)
				out[k] = &g->v[i];
			k++;
		}
	return k;
}

bool grants_bind(const struct grants *g, const char *spiffe_id)
{
	return grants_find(g, spiffe_id, NULL, NULL, NULL, NULL, 1) > 0;
}

static bool reaches(const struct grant *x, const char *tenant)
{
	return !*x->m->tenant || (tenant && strcmp(x->m->tenant, tenant) == 0);
}

bool grants_give(const struct grant *const *v, size_t n, unsigned roles, const char *tenant)
{
	for (size_t i = 0; i < n; i++)
		if (v[i]->roles & roles && reaches(v[i], tenant))
			return true;
	return false;
}

bool grants_give_text(const struct grant *const *v, size_t n, const char *role, const char *tenant)
{
	for (size_t i = 0; i < n; i++)
		for (size_t k = 0; reaches(v[i], tenant) && k < v[i]->m->n_roles; k++)
			if (strcmp(v[i]->m->roles[k], role) == 0)
				return true;
	return false;
}
