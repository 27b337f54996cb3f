/* How is a role given and taken away, and who sees which? What is role bindings' own among resources. They are for all tenants, so who has his roles for one
 * alone does nothing here; nobody gives a role that he has not himself, nor takes one away; and nobody does by the admin socket, which whatever runs as the
 * broker's user may open. */
#include <stddef.h>
#include <string.h>

#include "base/words.h"
#include "identity/spiffe.h"
#include "rpc/caller.h"
#include "rpc/named.h"
#include "rpc/pipeline.h"
#include "rpc/registered.h"

typedef Baton__V1__RoleBinding binding;

static bool deny(struct op *op, const struct verdict v)
{
	pipeline_deny(op, &v);
	return false;
}

/* He has each role of the binding, for its tenant or for all. */
static bool has_all(struct op *op, const binding *m)
{
	const struct caller *c = op->caller;
	const char *tenant = m && *m->tenant ? m->tenant : NULL;

	for (size_t i = 0; m && i < m->n_roles; i++)
		if (!grants_give_text(c->v, c->n, m->roles[i], tenant))
			return deny(op, verdict_deny(REASON_ROLE_DENIED, "role.roles", "nobody gives or takes away a role that he has not, or says who has it: %.200s has not %s for %s (role binding %s)", c->name,
						     m->roles[i], tenant ? tenant : "all tenants", m->name));
	return true;
}

bool roles_has_all_of(struct op *op, bool (*is)(const struct op *op, const binding *m, const char *name), const char *name)
{
	if (!worker_is_fresh(op->w)) { /* it may not know yet which bindings there are */
		operator_no_store(op);
		return false;
	}
	for (size_t i = 0; i < grants_count(op->world->grants); i++)
		if (is(op, grants_at(op->world->grants, i), name) && !has_all(op, grants_at(op->world->grants, i)))
			return false;
	return true;
}

/* Who shows the token, or the certificate. */
static struct slice guard(const struct op *op, const ProtobufCMessage *m, size_t i, char out[NAMED_NAME_MAX])
{
	const binding *b = (const binding *)m;
	char domain[256] = "";
	struct spiffe_id id;

	if (i == 0)
		return *b->issuer ? named_bound("issuer", b->issuer, out) : slice_of(NULL, 0);
	if (*b->spiffe_id && !spiffe_parse(slice_str(b->spiffe_id), &id))
		slice_copy_str(id.trust_domain, domain, sizeof domain);
	else if (*b->issuer)
		slice_copy_str(slice_str(providers_domain(op, b->issuer)), domain, sizeof domain);
	return *domain ? named_bound("trust", domain, out) : slice_of(NULL, 0);
}

static bool may(struct op *op, const ProtobufCMessage *was, const ProtobufCMessage *is, size_t i)
{
	(void)i;
	return has_all(op, (const binding *)was) && has_all(op, (const binding *)is);
}

/* Before anything is said of what is there. */
static bool fits(struct op *op, const ProtobufCMessage *m, const struct entry *e, size_t i)
{
	const char *issuer = ((const binding *)m)->issuer, *id = ((const binding *)m)->spiffe_id;
	char text[REGISTERED_ID_MAX];

	if (*issuer && !(e && enlist_makes(e, i, "issuer", slice_str(issuer))) && issuers_place(op->world->issuers, issuer) == issuers_count(op->world->issuers))
		return enlist_deny(op, REASON_NOT_FOUND, i, "role.issuer", "there is no issuer of this name");
	if (*id && !enlist_vouched(op, e, i, "role.spiffe_id", id)) /* the first binding is made once: a slip in it would leave nobody */
		return false;
	if (*id && (resources_find(op->world->resources, registered_id_name(id, text)) || (op->world->issuing && registry_by_spiffe(op->world->registry, id))))
		return enlist_deny(op, REASON_WRONG_STATE, i, "role.spiffe_id", "it is, or was, an agent's: whoever may register agents can have its certificate. Take one of its own");
	return true;
}

static bool not_local(struct op *op)
{
	return !op->caller->local || deny(op, verdict_deny(REASON_ROLE_DENIED, "", "roles are not given or taken away on the admin socket: the first one by baton admin init, "
							   "others on listen.admin by somebody who has them"));
}

bool roles_judge(struct op *op, const struct kind *k, const Baton__V1__Resource *m, struct entry *e, size_t i)
{
	return not_local(op) && named_judge(op, k, m, e, i);
}

bool roles_judge_removal(struct op *op, const struct kind *k, const Baton__V1__DeleteRequest *m, struct entry *e)
{
	return not_local(op) && named_judge_removal(op, k, m, e);
}

/* Who may set back may not do by it what Apply keeps for platform. */
bool roles_set_back(struct op *op, const Baton__V1__Resource *now, Baton__V1__Resource *m)
{
	const struct verdict v = caller_judge(op, ROLE_PLATFORM, ROLE_PLATFORM);

	(void)now;
	(void)m;
	if (!verdict_ok(&v))
		pipeline_deny(op, &v);
	return verdict_ok(&v);
}

static const char *name_wrong(const char *name)
{
	return name_valid(slice_str(name)) ? NULL : "a binding's name is [a-z0-9][a-z0-9._-]{0,62}";
}

static const char *wrong(const ProtobufCMessage *m, const char **field, struct problem *why)
{
	(void)why;
	return rolebind_wrong((const binding *)m, field);
}

static bool sees(struct op *op, const ProtobufCMessage *m, const char *tenant)
{
	(void)op;
	return !*tenant || strcmp(((const binding *)m)->tenant, tenant) == 0;
}

static const binding none = BATON__V1__ROLE_BINDING__INIT;

const struct named named_roles = {
	.prefix = ROLEBIND_PREFIX, .what = "role binding", .field = "role.name", .made = "granted", .none = &none.base, .name = offsetof(binding, name), .max = GRANTS_MAX,
	.name_wrong = name_wrong, .wrong = wrong, .fits = fits, .may = may, .guard = guard, .sees = sees, .all_tenants = true,
};
