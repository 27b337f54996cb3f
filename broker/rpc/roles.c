/* How is a role given and taken away, and who has which? What ResourceService says of role bindings. They are for all tenants, so who has his roles for one
 * alone does nothing here; nobody gives a role that he has not himself, nor takes one away; and nobody does by the admin socket, which whatever runs as the
 * broker's user may open. Apply and Delete come here from enlist.c. */
#include <stdio.h>
#include <string.h>

#include "base/words.h"
#include "rpc/caller.h"
#include "rpc/enlist.h"
#include "rpc/operator.h"
#include "rpc/pipeline.h"

Baton__V1__Resource *roles_resource(struct op *op, const struct resource *r)
{
	Baton__V1__Resource *m = rolebind_unpack(op->arena, r);

	return m ? kinds_stamped(op, m, r) : NULL;
}

/* ---- who may ---- */

static bool deny(struct op *op, const struct verdict *v)
{
	pipeline_deny(op, v);
	return false;
}

/* false: the op has ended. */
static bool for_all_tenants(struct op *op)
{
	const struct verdict v = caller_elsewhere(op, "role bindings are for all tenants");

	return caller_sees_all(op) || deny(op, &v);
}

static bool may_change(struct op *op)
{
	const struct verdict v = verdict_deny(REASON_ROLE_DENIED, "", "roles are not given or taken away on the admin socket: the first one by baton admin init, "
					      "others on listen.admin by somebody who has them");

	return op->caller->local ? deny(op, &v) : for_all_tenants(op);
}

/* He has each role of the binding, for its tenant or for all. */
static bool has_all(struct op *op, const Baton__V1__RoleBinding *m)
{
	const struct caller *c = op->caller;
	const char *tenant = *m->tenant ? m->tenant : NULL;

	for (size_t i = 0; i < m->n_roles; i++) {
		struct verdict v;

		if (grants_give_text(c->v, c->n, m->roles[i], tenant))
			continue;
		v = verdict_deny(REASON_ROLE_DENIED, "role.roles", "nobody gives or takes away a role that he has not: %.200s has not %s for %s", c->name,
				 m->roles[i], tenant ? tenant : "all tenants");
		return deny(op, &v);
	}
	return true;
}

/* ---- changes ---- */

bool roles_well_formed(struct op *op, const Baton__V1__RoleBinding *m, size_t i)
{
	const char *field, *wrong = rolebind_wrong(m, &field);

	if (wrong)
		return enlist_deny(op, REASON_MALFORMED_ENVELOPE, i, field, wrong);
	if (*m->issuer && issuers_place(op->world->issuers, m->issuer) == issuers_count(op->world->issuers))
		return enlist_deny(op, REASON_NOT_FOUND, i, "role.issuer", "no issuer of this name is configured on this node");
	return true;
}

static void look_up(struct op *op, const char *name, struct entry *e)
{
	char text[ROLEBIND_NAME_MAX];
	const struct resource *r = resources_find(op->world->resources, rolebind_name(name, text));

	*e = (struct entry){.kind = "role", .tenant = "", .name = name, .version = r ? r->version : 0, .before = r && !r->removed ? roles_resource(op, r) : NULL};
}

bool roles_judge(struct op *op, const Baton__V1__Resource *m, struct entry *e, size_t i)
{
	const ProtobufCMessage *was;

	if (!may_change(op) || !roles_well_formed(op, m->role, i))
		return false;
	look_up(op, m->role->name, e);
	e->role = m->role;
	if (!enlist_check_version(op, m->version, e, i) || (e->before && !has_all(op, e->before->role)) || !has_all(op, m->role))
		return false;
	if (!e->before && grants_count(op->world->grants) + i >= GRANTS_MAX)
		return enlist_deny(op, REASON_QUOTA_EXCEEDED, i, "role.name", "there are as many role bindings as there may be: 1024");
	was = e->before ? &e->before->role->base : NULL;
	if (enlist_compare(op, e, was, &m->role->base, was ? "updated" : "granted"))
		return true;
	operator_no_memory(op);
	return false;
}

bool roles_judge_removal(struct op *op, const Baton__V1__DeleteRequest *m, struct entry *e)
{
	static const Baton__V1__RoleBinding none = BATON__V1__ROLE_BINDING__INIT;

	if (!may_change(op))
		return false;
	look_up(op, m->ref->name, e);
	if (!e->before) {
		operator_deny(op, REASON_NOT_FOUND, "ref", "no such role binding");
		return false;
	}
	e->role = e->before->role;
	e->removed = true;
	if (!enlist_check_version(op, m->version, e, 0) || !has_all(op, e->role))
		return false;
	if (enlist_compare(op, e, &e->role->base, &none.base, "removed"))
		return true;
	operator_no_memory(op);
	return false;
}

bool roles_write(struct op *op, struct enlist *x, struct entry *e)
{
	Baton__V1__Resource m = BATON__V1__RESOURCE__INIT;
	char text[ROLEBIND_NAME_MAX];
	struct slice name = op_keep(op, rolebind_name(e->name, text)), bytes;

	m.spec_case = BATON__V1__RESOURCE__SPEC_ROLE;
	m.role = e->role;
	if (!name.n || !enlist_pack(op, x, &m, &bytes))
		return false;
	enlist_add(x, name, e->version + 1, e->removed, bytes);
	return !arena_failed(op->arena); /* what is there may have been left out for want of memory, and not been judged */
}

/* ---- what there is ---- */

/* The binding of this name, or what is left of it; NULL: the op has ended. */
static const struct resource *find(struct op *op, const Baton__V1__ResourceRef *ref, bool removed_too)
{
	char text[ROLEBIND_NAME_MAX];
	const struct resource *r;

	if (!for_all_tenants(op))
		return NULL;
	r = name_valid(slice_str(ref->name)) ? resources_find(op->world->resources, rolebind_name(ref->name, text)) : NULL;
	if (r && (removed_too || !r->removed))
		return r;
	operator_deny(op, REASON_NOT_FOUND, "name", "no such role binding");
	return NULL;
}

void roles_get(struct op *op, const Baton__V1__ResourceRef *ref)
{
	const struct resource *r = find(op, ref, false);
	Baton__V1__Resource *m = r ? roles_resource(op, r) : NULL;

	if (m)
		pipeline_answer(op, &m->base);
	else if (r && arena_failed(op->arena))
		operator_no_memory(op);
	else if (r)
		operator_deny(op, REASON_NOT_FOUND, "name", "what is stored under this name is no role binding, and gives no role: make it anew");
}

void roles_history(struct op *op, const Baton__V1__ResourceRef *ref)
{
	const struct resource *r = find(op, ref, true);

	if (r)
		agents_versions(op, r->name);
}

static bool is_asked_for(const Baton__V1__Resource *m, const char *tenant)
{
	return m && (!*tenant || strcmp(m->role->tenant, tenant) == 0);
}

/* false: memory is out. */
static bool fill(struct op *op, const Baton__V1__ListResourcesRequest *m, size_t page, Baton__V1__ListResourcesResponse *answer)
{
	const struct resources *s = op->world->resources;
	const struct slice token = slice_str(m->page_token);
	size_t i = resources_place(s, token.n ? token : SLICE_LIT(ROLEBIND_PREFIX));

	for (; i < resources_count(s) && rolebind_is(resources_at(s, i)) && answer->n_resources < page; i++) {
		const struct resource *r = resources_at(s, i);
		Baton__V1__Resource *one = r->removed || slice_eq(r->name, token) ? NULL : roles_resource(op, r);

		if (is_asked_for(one, m->tenant))
			answer->resources[answer->n_resources++] = one;
	}
	if (answer->n_resources == page && i < resources_count(s) && rolebind_is(resources_at(s, i)))
		answer->next_page_token = arena_strndup(op->arena, resources_at(s, i - 1)->name.p, resources_at(s, i - 1)->name.n);
	return answer->next_page_token && !arena_failed(op->arena);
}

void roles_list(struct op *op, const Baton__V1__ListResourcesRequest *m, size_t page)
{
	Baton__V1__ListResourcesResponse *answer;

	if (!for_all_tenants(op))
		return;
	if (*m->page_token && strncmp(m->page_token, ROLEBIND_PREFIX, sizeof ROLEBIND_PREFIX - 1) != 0) {
		operator_deny(op, REASON_MALFORMED_ENVELOPE, "page_token", "page_token: not one that List gave");
		return;
	}
	answer = arena_alloc(op->arena, sizeof *answer);
	if (answer)
		baton__v1__list_resources_response__init(answer);
	if (answer)
		answer->resources = arena_alloc(op->arena, page * sizeof *answer->resources);
	if (answer && answer->resources && fill(op, m, page, answer))
		pipeline_answer(op, &answer->base);
	else
		operator_no_memory(op);
}
