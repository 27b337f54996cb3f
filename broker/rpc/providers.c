/* Whose tokens count, and has this node their keys? What is issuers' own among resources. They are for all tenants, though who has his roles for one is shown
 * those that speak for it; and since an issuer says who can show the token of an operator, it is changed by whoever has that operator's roles. */
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "base/encode.h"
#include "rpc/caller.h"
#include "rpc/issuerspec.h"
#include "rpc/named.h"

typedef Baton__V1__Issuer issuer;

/* ---- those of the configuration ---- */

static size_t n_given(const struct op *op)
{
	const struct issuers *all = op->world->issuers;
	size_t n = 0;

	for (size_t i = 0; i < issuers_count(all); i++)
		n += !issuers_at(all, i)->rule.registered;
	return n;
}

static const struct issuer_rule *rule_at(const struct op *op, size_t at)
{
	const struct issuers *all = op->world->issuers;
	size_t i = 0;

	while (issuers_at(all, i)->rule.registered || at--)
		i++;
	return &issuers_at(all, i)->rule;
}

static struct named_given given(const struct op *op, size_t at)
{
	return (struct named_given){rule_at(op, at)->name, true};
}

static Baton__V1__Resource *given_at(struct op *op, const struct kind *k, size_t at)
{
	issuer *m = arena_alloc(op->arena, sizeof *m);
	Baton__V1__Resource *r;

	if (!m || !issuerspec_of(op->arena, rule_at(op, at), m))
		return NULL;
	r = kinds_wrap(op, k, &m->base);
	if (r)
		r->is_static = true;
	return r;
}

/* ---- how it is shown ---- */

/* To an operator of one tenant those that may speak for it. tenant: "" = whichever. */
static bool sees(struct op *op, const ProtobufCMessage *m, const char *tenant)
{
	const issuer *s = (const issuer *)m;
	bool any = !*tenant && caller_sees_all(op);

	for (size_t i = 0; i < s->n_tenants; i++)
		any = any || (caller_sees(op, s->tenants[i]) && (!*tenant || strcmp(tenant, s->tenants[i]) == 0));
	return any;
}

/* Nor who changed it for them, and why. */
static void hide_other_tenants(struct op *op, Baton__V1__Resource *r)
{
	issuer *m = r->issuer;
	size_t n = 0, v = 0;

	if (!caller_sees_all(op))
		r->updated_by = r->reason = (char *)protobuf_c_empty_string;
	for (size_t i = 0; i < m->n_tenant_values; i++)
		if (caller_sees(op, m->tenant_values[i]->value))
			m->tenant_values[v++] = m->tenant_values[i];
	m->n_tenant_values = v;

	for (size_t i = 0; i < m->n_tenants; i++)
		if (caller_sees(op, m->tenants[i]))
			m->tenants[n++] = m->tenants[i];
	m->n_tenants = n;
}

static void put_state(struct op *op, issuer *m)
{
	const struct rpc_env *env = &op->w->env;
	struct keys_state state;

	if (!env->keys_state || !env->keys_state(env->arg, m->name, &state))
		return;
	m->keys_fetched_at_ms = state.fetched_at_ms;
	m->keys_failure = arena_strdup(op->arena, state.failure);
	m->introspection_failure = arena_strdup(op->arena, state.unanswered);
}

/* Any of it may be left out when memory is. */
static void put_key_ids(struct op *op, const struct keyset *keys, issuer *m)
{
	m->key_ids = arena_alloc(op->arena, keyset_size(keys) * sizeof *m->key_ids);
	for (size_t i = 0; m->key_ids && i < keyset_size(keys); i++) {
		const char *alg, *kid = keyset_key_name(keys, i, &alg);
		char *text = arena_printf(op->arena, "%s %s", kid, alg);

		if (text)
			m->key_ids[m->n_key_ids++] = text;
	}
}

/* What this node lives by: the keys, and how it goes with them. */
static void dress(struct op *op, Baton__V1__Resource *r)
{
	const struct issuers *all = op->world->issuers;
	size_t at = issuers_place(all, r->issuer->name);
	const struct issuer_entry *e = at < issuers_count(all) ? issuers_at(all, at) : NULL;

	hide_other_tenants(op, r);
	put_state(op, r->issuer);
	if (!e || !e->keys)
		return;
	r->issuer->keys = (uint32_t)keyset_size(e->keys);
	r->issuer->keys_good_until_ms = e->keys_good_until_ms < INT64_MAX ? e->keys_good_until_ms : 0;
	put_key_ids(op, e->keys, r->issuer);
}

/* ---- changes ---- */

/* Who may register is not who runs the nodes, and a node reaches what he does not. */
static bool may_be_fetched(struct op *op, const issuer *s, size_t i)
{
	return !s->allow_private || op->world->allow_private_fetches ||
	       enlist_deny(op, REASON_EGRESS_DENIED, i, "issuer.allow_private", "whoever runs the nodes has to allow that: registry.allow_private_fetches in their configuration is false");
}

/* Nor does he who may register say what the broker proves itself by: that it may, and to whom, stands on the nodes. */
static bool may_be_asked(struct op *op, const issuer *s, size_t i)
{
	return !*s->introspection_url || op->world->has_secrets ||
	       enlist_deny(op, REASON_EGRESS_DENIED, i, *s->introspection_secret ? "issuer.introspection_secret" : "issuer.introspection_cert", "whoever runs the nodes has to allow that: registry.secrets in their configuration names no folder");
}

static bool is_issuer(const struct entry *e)
{
	return !e->removed && strcmp(e->kind->name, "issuer") == 0;
}

static bool are_asked(const issuer *a, const issuer *b)
{
	for (size_t i = 0; *a->introspection_url && i < a->n_tenants; i++)
		if (issuerspec_is_asked(b, a->tenants[i]))
			return true;
	return false;
}

static bool is_asked_too(const issuer *s, const struct issuer_rule *other)
{
	for (size_t i = 0; other->introspection.url[0] && i < other->n_tenants; i++)
		if (issuerspec_is_asked(s, other->tenants[i]))
			return true;
	return false;
}

/* Whose an opaque token is cannot be seen: of a tenant's issuers one alone is asked. The other one, that is there, or shall be by what stands before this in the
 * call; NULL: there is none. */
static const char *asked_already(const struct op *op, const issuer *s, const struct entry *e, size_t i)
{
	const struct issuers *all = op->world->issuers;

	for (const struct entry *b = e - i; b < e; b++)
		if (is_issuer(b) && are_asked(s, (const issuer *)b->spec))
			return b->name;
	for (size_t k = 0; k < issuers_count(all); k++) {
		const struct issuer_rule *other = &issuers_at(all, k)->rule;

		if (strcmp(other->name, s->name) != 0 && !enlist_makes(e, i, "issuer", slice_str(other->name)) && is_asked_too(s, other))
			return other->name;
	}
	return NULL;
}

/* Two issuers of one url would be one, and so would two of the JWT-SVIDs of one trust domain. */
static bool fits(struct op *op, const ProtobufCMessage *m, const struct entry *e, size_t i)
{
	const struct issuers *all = op->world->issuers;
	const issuer *s = (const issuer *)m;
	const char *asked;

	if (!may_be_fetched(op, s, i) || !may_be_asked(op, s, i))
		return false;
	asked = asked_already(op, s, e, i);
	if (asked)
		return enlist_deny(op, REASON_WRONG_STATE, i, "issuer.introspection_url", arena_printf(op->arena, "issuer %s is asked about tokens of one of its tenants: whose an opaque token is could not be told", asked));
	for (size_t k = 0; k < issuers_count(all); k++) {
		const struct issuer_rule *other = &issuers_at(all, k)->rule;
		bool domain = *s->trust_domain && strcmp(other->claims.trust_domain, s->trust_domain) == 0;

		if ((domain || strcmp(other->url, s->url) == 0) && strcmp(other->name, s->name) != 0)
			return enlist_deny(op, REASON_WRONG_STATE, i, domain ? "issuer.trust_domain" : "issuer.url", arena_printf(op->arena, "it is that of issuer %s", other->name));
	}
	return true;
}

static struct slice claim(const ProtobufCMessage *m, size_t i, char out[NAMED_NAME_MAX])
{
	const issuer *s = (const issuer *)m;
	uint8_t print[SHA256_BYTES];
	char text[B64URL_LEN(SHA256_BYTES) + 1];
	int n;

	if (i == 1 && !*s->trust_domain)
		return slice_of(NULL, 0);
	sha256(slice_str(i == 0 ? s->url : s->trust_domain), print);
	b64url_encode(print, sizeof print, text);
	n = snprintf(out, NAMED_NAME_MAX, "%s/%s", i == 0 ? "issuer-url" : "issuer-domain", text);
	return slice_of(out, (size_t)n);
}

static struct slice guard(const struct op *op, const ProtobufCMessage *m, size_t i, char out[NAMED_NAME_MAX])
{
	(void)op;
	if (i == 1 && *((const issuer *)m)->introspection_url)
		return named_bound("asked", "issuers", out);
	return i == 0 ? named_bound("issuer", ((const issuer *)m)->name, out) : slice_of(NULL, 0);
}

const char *providers_domain(const struct op *op, const char *name)
{
	const struct issuers *all = op->world->issuers;
	size_t at = issuers_place(all, name);

	return at < issuers_count(all) ? issuers_at(all, at)->rule.claims.trust_domain : "";
}

static bool is_of(const struct op *op, const Baton__V1__RoleBinding *m, const char *name)
{
	(void)op;
	return strcmp(m->issuer, name) == 0;
}

static bool may(struct op *op, const ProtobufCMessage *was, const ProtobufCMessage *is, size_t i)
{
	(void)i;
	return roles_has_all_of(op, is_of, ((const issuer *)(is ? is : was))->name);
}

static const char *name_wrong(const char *name)
{
	return name_valid(slice_str(name)) ? NULL : "an issuer's name is [a-z0-9][a-z0-9._-]{0,62}";
}

static const char *wrong(const ProtobufCMessage *m, const char **field, struct problem *why)
{
	struct issuer_rule rule;

	return issuerspec_rule((const issuer *)m, &rule, field, why);
}

static void strip(ProtobufCMessage *m)
{
	issuer *s = (issuer *)m;

	s->keys = 0;
	s->keys_good_until_ms = s->keys_fetched_at_ms = 0;
	s->keys_failure = (char *)protobuf_c_empty_string;
	s->n_key_ids = 0;
	s->introspection_failure = (char *)protobuf_c_empty_string;
}

static const issuer none = BATON__V1__ISSUER__INIT;

const struct named named_issuers = {
	.prefix = ISSUER_PREFIX, .what = "issuer", .field = "issuer.name", .made = "added", .none = &none.base, .name = offsetof(issuer, name), .max = ISSUERS_MAX, .counted = true,
	.name_wrong = name_wrong, .strip = strip, .wrong = wrong, .fits = fits, .may = may, .guard = guard, .sees = sees, .n_given = n_given, .given = given, .given_at = given_at, .dress = dress,
	.claim = claim, .claimed = {"issuer.url", "issuer.trust_domain"},
};
