/* How much of a tenant may wait, and how much does? What is tenants' own among resources. Who has his roles for one tenant is shown that one, and changes
 * none: a limit protects the others. A tenant that others name is there without being kept. */
#include <stddef.h>
#include <string.h>

#include "rpc/caller.h"
#include "rpc/named.h"
#include "rpc/tenancy.h"
#include "rpc/tenants.h"

#define ENVELOPE_ROOM (1u << 20) /* what an envelope takes beside its payload, as limits.waiting_bytes_per_tenant allows for it */

typedef Baton__V1__Tenant tenant;

/* ---- those that others name ---- */

static size_t n_given(const struct op *op)
{
	return tenancy_count(op->world->tenancy);
}

static struct named_given given(const struct op *op, size_t at)
{
	return (struct named_given){tenancy_at(op->world->tenancy, at)->name, false};
}

static Baton__V1__Resource *given_at(struct op *op, const struct kind *k, size_t at)
{
	tenant *m = arena_alloc(op->arena, sizeof *m);

	if (!m)
		return NULL;
	baton__v1__tenant__init(m);
	m->name = (char *)given(op, at).name;
	return kinds_wrap(op, k, &m->base);
}

/* ---- how it is shown ---- */

static bool sees(struct op *op, const ProtobufCMessage *m, const char *of)
{
	const char *name = ((const tenant *)m)->name;

	return caller_sees(op, name) && (!*of || strcmp(of, name) == 0);
}

static void dress(struct op *op, Baton__V1__Resource *m)
{
	const struct tenancy_entry *e = tenancy_find(op->world->tenancy, m->tenant->name);

	tenants_look(op->w->env.tenants, m->tenant->name, &m->tenant->waiting, &m->tenant->waiting_bytes);
	m->tenant->agents = e ? e->agents : 0;
}

/* ---- changes ---- */

static const char *name_wrong(const char *name)
{
	const tenant m = {.base = PROTOBUF_C_MESSAGE_INIT(&baton__v1__tenant__descriptor), .name = (char *)(uintptr_t)name};
	const char *field;

	return tenancy_wrong(&m, &field);
}

static const char *wrong(const ProtobufCMessage *m, const char **field, struct problem *why)
{
	(void)why;
	return tenancy_wrong((const tenant *)m, field);
}

/* A cap under which the largest envelope that is taken would never fit is a mistake, as it is in the configuration. */
static bool fits(struct op *op, const ProtobufCMessage *m, const struct entry *e, size_t i)
{
	uint64_t bytes = ((const tenant *)m)->max_bytes, least = op->world->envelope.max_payload + ENVELOPE_ROOM;

	(void)e;
	if (!bytes || bytes >= least)
		return true;
	return enlist_deny(op, REASON_MALFORMED_ENVELOPE, i, "tenant.max_bytes",
			   arena_printf(op->arena, "too small for one payload of envelope.max_payload: at least %llu (that and 1 MiB); 0: as the configuration says", (unsigned long long)least));
}

/* named_judge() asks for all tenants; more is not needed. */
static bool may(struct op *op, const ProtobufCMessage *was, const ProtobufCMessage *is, size_t i)
{
	(void)op;
	(void)was;
	(void)is;
	(void)i;
	return true;
}

static void strip(ProtobufCMessage *m)
{
	tenant *t = (tenant *)m;

	t->waiting = t->waiting_bytes = 0;
	t->agents = 0;
}

static const tenant none = BATON__V1__TENANT__INIT;

const struct named named_tenants = {
	.prefix = TENANT_PREFIX, .what = "tenant", .field = "tenant.name", .made = "created", .none = &none.base, .name = offsetof(tenant, name), .max = TENANTS_KEPT_MAX,
	.name_wrong = name_wrong, .strip = strip, .wrong = wrong, .fits = fits, .may = may, .sees = sees, .for_all = "what becomes of tenants is decided for all of them together",
	.n_given = n_given, .given = given, .given_at = given_at, .dress = dress,
};
