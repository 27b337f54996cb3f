/* Of which kind is the resource that is asked for? Get, List and History of ResourceService, by a row of each kind. */
#include <string.h>

#include "rpc/operator.h"

#define PAGE_DEFAULT 100
#define PAGE_MAX 200

static const struct kind {
	const char *name;
	void (*get)(struct op *op, const Baton__V1__ResourceRef *ref);
	void (*list)(struct op *op, const Baton__V1__ListResourcesRequest *m, size_t page);
	void (*history)(struct op *op, const Baton__V1__ResourceRef *ref);
	bool changes; /* by Apply and Delete; else in the configuration alone */
} kinds[] = {
	{"agent", agents_get, agents_list, agents_history, true},
	{"role", roles_get, roles_list, roles_history, true},
	{"issuer", issuers_get, issuers_list, issuers_history, false},
};

/* NULL: the op has ended with a denial. */
static const struct kind *find(struct op *op, const char *name)
{
	for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
		if (strcmp(kinds[i].name, name) == 0)
			return &kinds[i];
	operator_deny(op, REASON_MALFORMED_ENVELOPE, "kind", "kind: in this version there are `agent`, `role` and `issuer`");
	return NULL;
}

Baton__V1__Resource *kinds_stamped(struct op *op, Baton__V1__Resource *m, const struct resource *r)
{
	m->version = arena_printf(op->arena, "%llu", (unsigned long long)r->version);
	m->updated_at_ms = r->changed_at_ms;
	m->removed = r->removed;
	return m->version ? m : NULL;
}

bool kinds_change(struct op *op, const char *name)
{
	const struct kind *k = find(op, name);

	if (k && !k->changes)
		operator_deny(op, REASON_WRONG_STATE, "kind", "kind: it is changed in the configuration file; send SIGHUP then");
	return k && k->changes;
}

void kinds_on_get(struct rpc_call *rc, struct op *op)
{
	const Baton__V1__ResourceRef *ref = (const Baton__V1__ResourceRef *)op->msg;
	const struct kind *k = find(op, ref->kind);

	(void)rc;
	if (k)
		k->get(op, ref);
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
	k = find(op, m->kind);
	if (k)
		k->list(op, m, m->page_size ? m->page_size : PAGE_DEFAULT);
}

void kinds_on_history(struct rpc_call *rc, struct op *op)
{
	const Baton__V1__ResourceRef *ref = (const Baton__V1__ResourceRef *)op->msg;
	const struct kind *k = find(op, ref->kind);

	(void)rc;
	if (k)
		k->history(op, ref);
}
