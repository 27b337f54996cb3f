/* Of which kind is the resource that is asked for? Get, List and History of ResourceService, by a row of each kind. */
#include "rpc/kinds.h"

#include <string.h>

#include "rpc/named.h"
#include "rpc/pipeline.h"
#include "rpc/unpacked.h"

#define PAGE_DEFAULT 100
#define PAGE_MAX 200
#define SPEC(kind) BATON__V1__RESOURCE__SPEC_##kind
#define SHOWN(row) &row, named_get, named_list, named_look, named_see, named_gone, named_kept

static const struct kind kinds[] = {
	{"agent", SPEC(AGENT), NULL, agents_get, agents_list, agents_look, agents_see, agents_gone, agents_kept, agents_judge, agents_judge_removal, agents_set_back, agents_write, "agents.changed"},
	{"role", SPEC(ROLE), SHOWN(named_roles), roles_judge, roles_judge_removal, roles_set_back, named_write, "roles.changed"},
	{"issuer", SPEC(ISSUER), SHOWN(named_issuers), named_judge, named_judge_removal, NULL, named_write, "issuers.changed"},
	{"tenant", SPEC(TENANT), SHOWN(named_tenants), named_judge, named_judge_removal, NULL, named_write, "tenants.changed"},
	{"trust", SPEC(BUNDLE), SHOWN(named_bundles), named_judge, named_judge_removal, NULL, named_write, "trust.changed"},
};
#define KINDS (sizeof kinds / sizeof kinds[0])

const struct kind *kinds_find(const char *name)
{
	for (size_t i = 0; i < KINDS; i++)
		if (strcmp(kinds[i].name, name) == 0)
			return &kinds[i];
	return NULL;
}

const struct kind *kinds_of(Baton__V1__Resource__SpecCase spec)
{
	for (size_t i = 0; i < KINDS; i++)
		if (kinds[i].spec == spec)
			return &kinds[i];
	return NULL;
}

const struct kind *kinds_asked(struct op *op, const char *name)
{
	const struct kind *k = kinds_find(name);

	if (!k)
		operator_deny(op, REASON_MALFORMED_ENVELOPE, "kind", "kind: in this version there are `agent`, `role`, `issuer`, `tenant` and `trust`");
	return k;
}

/* All kinds' messages are pointers in one union. */
ProtobufCMessage *kinds_spec(const Baton__V1__Resource *m)
{
	return (ProtobufCMessage *)m->agent;
}

Baton__V1__Resource *kinds_wrap(struct op *op, const struct kind *k, ProtobufCMessage *spec)
{
	Baton__V1__Resource *m = arena_alloc(op->arena, sizeof *m);

	if (!m)
		return NULL;
	baton__v1__resource__init(m);
	m->spec_case = k->spec;
	m->agent = (Baton__V1__AgentSpec *)spec;
	return m;
}

Baton__V1__Resource *kinds_read(struct op *op, const struct kind *k, const struct resource *r)
{
	Baton__V1__Resource *m = resource_unpack(op->arena, r, k->spec);

	if (!m)
		return NULL;
	m->version = arena_printf(op->arena, "%llu", (unsigned long long)r->version);
	m->updated_at_ms = r->changed_at_ms;
	m->removed = r->removed;
	return m->version ? m : NULL;
}

bool kinds_may_list(struct op *op, const struct kind *k)
{
	return !k->named || named_may_show(op, k);
}

uint64_t kinds_stamp(struct op *op, const Baton__V1__Resource *m)
{
	size_t n = baton__v1__resource__get_packed_size(m);
	uint8_t *bytes = arena_alloc(op->arena, n + 1), print[SHA256_BYTES];
	uint64_t stamp;

	if (!bytes)
		return 1;
	baton__v1__resource__pack(m, bytes);
	sha256(slice_of(bytes, n), print);
	memcpy(&stamp, print, sizeof stamp);
	return stamp | 1;
}

/* ---- the calls ---- */

void kinds_on_get(struct rpc_call *rc, struct op *op)
{
	const Baton__V1__ResourceRef *ref = (const Baton__V1__ResourceRef *)op->msg;
	const struct kind *k = kinds_asked(op, ref->kind);

	(void)rc;
	if (k)
		k->get(op, k, ref);
}

void kinds_on_list(struct rpc_call *rc, struct op *op)
{
	const Baton__V1__ListResourcesRequest *m = (const Baton__V1__ListResourcesRequest *)op->msg;
	const struct kind *k;

	(void)rc;
	if (m->page_size > PAGE_MAX) {
		operator_deny(op, REASON_MALFORMED_ENVELOPE, "page_size", "page_size: at most 200");
		return;
	}
	k = kinds_asked(op, m->kind);
	if (k)
		k->list(op, k, m, m->page_size ? m->page_size : PAGE_DEFAULT);
}

Baton__V1__ListResourcesResponse *kinds_page(struct op *op, size_t page)
{
	Baton__V1__ListResourcesResponse *answer = arena_alloc(op->arena, sizeof *answer);

	if (answer)
		baton__v1__list_resources_response__init(answer);
	if (answer)
		answer->resources = arena_alloc(op->arena, (page + 1) * sizeof *answer->resources);
	if (answer && answer->resources)
		return answer;
	operator_no_memory(op);
	return NULL;
}

static void on_versions(struct op *op, const struct store_answer *a)
{
	const struct kind *k = op->state;
	Baton__V1__ListResourcesResponse *answer;

	if (a->status != STORE_OK) {
		operator_no_store(op);
		return;
	}
	answer = kinds_page(op, a->n_resources);
	for (size_t i = 0; answer && i < a->n_resources; i++) {
		const struct store_resource *s = &a->resources[i];
		const struct resource r = {.version = s->version, .changed_at_ms = s->changed_at_ms, .removed = s->removed, .value = s->value};
		Baton__V1__Resource *m = s->status == STORE_OK ? kinds_read(op, k, &r) : NULL;

		if (m)
			answer->resources[answer->n_resources++] = m;
	}
	if (answer)
		pipeline_answer(op, &answer->base);
}

void kinds_on_history(struct rpc_call *rc, struct op *op)
{
	const Baton__V1__ResourceRef *ref = (const Baton__V1__ResourceRef *)op->msg;
	const struct kind *k = kinds_asked(op, ref->kind);
	const struct resource *r = k ? k->kept(op, k, ref) : NULL;
	struct store *s = op->w->env.store;

	(void)rc;
	if (!r)
		return;
	op->state = (void *)(uintptr_t)k;
	op->on_answer = on_versions;
	s->ops->versions(s, r->name, 0, STORE_VERSIONS_KEPT, op_store_done, op->w, op->id);
}
