/* Whose signatures vouch for which certificates? What is trust bundles' own among resources. They are for all tenants; and since a bundle says who can show the
 * certificate of an operator, it is changed by whoever has that operator's roles. */
#include <stddef.h>
#include <string.h>

#include "identity/spiffe.h"
#include "rpc/bundlespec.h"
#include "rpc/named.h"

typedef Baton__V1__TrustBundle bundle;

/* ---- those of the configuration ---- */

static size_t n_domains(const struct op *op)
{
	return op->world->trust ? trust_count(op->world->trust) : 0;
}

static size_t n_given(const struct op *op)
{
	size_t n = 0;

	for (size_t i = 0; i < n_domains(op); i++)
		n += trust_state(op->world->trust, i).of_file;
	return n;
}

static struct named_given given(const struct op *op, size_t at)
{
	size_t i = 0;

	while (!trust_state(op->world->trust, i).of_file || at--)
		i++;
	return (struct named_given){trust_state(op->world->trust, i).domain, true};
}

static Baton__V1__Resource *given_at(struct op *op, const struct kind *k, size_t at)
{
	bundle *m = arena_alloc(op->arena, sizeof *m);
	Baton__V1__Resource *r;

	if (!m)
		return NULL;
	baton__v1__trust_bundle__init(m);
	m->trust_domain = (char *)given(op, at).name;
	r = kinds_wrap(op, k, &m->base);
	if (r)
		r->is_static = true;
	return r;
}

/* How it goes with its URLs. Any of it may be left out when memory is. */
static void put_fetched(struct op *op, bundle *m)
{
	const struct rpc_env *env = &op->w->env;
	struct lists_state state;

	if (!env->lists_state || !env->lists_state(env->arg, m->trust_domain, &state))
		return;
	m->crls_fetched_at_ms = state.fetched_at_ms;
	m->crls_failure = arena_strdup(op->arena, state.failure);
}

/* How it goes with its responder. */
static void put_asked(struct op *op, bundle *m)
{
	const struct rpc_env *env = &op->w->env;
	char why[KEYS_FAILURE_MAX];

	if (env->responder_fails && env->responder_fails(env->arg, m->trust_domain, why))
		m->ocsp_failure = arena_strdup(op->arena, why);
}

/* What this node lives by. */
static void dress(struct op *op, Baton__V1__Resource *r)
{
	for (size_t i = 0; i < n_domains(op); i++) {
		struct trust_domain_state d = trust_state(op->world->trust, i);

		if (strcmp(d.domain, r->bundle->trust_domain) != 0)
			continue;
		put_fetched(op, r->bundle);
		put_asked(op, r->bundle);
		r->bundle->anchors = (uint32_t)d.anchors;
		r->bundle->crl_next_update_ms = d.crl_next_update_ms < INT64_MAX ? d.crl_next_update_ms : 0;
	}
}

/* ---- changes ---- */

/* A JWT-SVID is as good as the certificate that it is shown with. */
static bool is_of(const struct op *op, const Baton__V1__RoleBinding *m, const char *domain)
{
	struct spiffe_id id;

	if (*m->issuer && strcmp(providers_domain(op, m->issuer), domain) == 0)
		return true;
	return *m->spiffe_id && !spiffe_parse(slice_str(m->spiffe_id), &id) && slice_is(id.trust_domain, domain);
}

static bool may(struct op *op, const ProtobufCMessage *was, const ProtobufCMessage *is, size_t i)
{
	(void)i;
	return roles_has_all_of(op, is_of, ((const bundle *)(is ? is : was))->trust_domain);
}

static const char *wrong(const ProtobufCMessage *m, const char **field, struct problem *why)
{
	return bundlespec_wrong((const bundle *)m, field, why);
}

static bool sees(struct op *op, const ProtobufCMessage *m, const char *tenant)
{
	(void)op;
	(void)m;
	return !*tenant;
}

static void strip(ProtobufCMessage *m)
{
	((bundle *)m)->anchors = 0;
	((bundle *)m)->crl_next_update_ms = ((bundle *)m)->crls_fetched_at_ms = 0;
	((bundle *)m)->crls_failure = ((bundle *)m)->ocsp_failure = (char *)protobuf_c_empty_string;
}

static struct slice guard(const struct op *op, const ProtobufCMessage *m, size_t i, char out[NAMED_NAME_MAX])
{
	(void)op;
	return i == 0 ? named_bound("trust", ((const bundle *)m)->trust_domain, out) : slice_of(NULL, 0);
}

static const bundle none = BATON__V1__TRUST_BUNDLE__INIT;

const struct named named_bundles = {
	.prefix = BUNDLE_PREFIX, .what = "trust bundle", .field = "bundle.trust_domain", .made = "added", .none = &none.base, .name = offsetof(bundle, trust_domain),
	.max = BUNDLES_MAX, .counted = true, .name_wrong = trust_domain_wrong, .strip = strip, .wrong = wrong, .may = may, .guard = guard, .sees = sees, .all_tenants = true, .n_given = n_given, .given = given,
	.given_at = given_at, .dress = dress,
};
