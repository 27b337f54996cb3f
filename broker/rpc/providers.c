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

static void hide_other_tenants(struct op *op, issuer *m)
{
	size_t n = 0;

	for (size_t i = 0; i < m->n_tenants; i++)
		if (caller_sees(op, m->tenants[i]))
			m->tenants[n++] = m->tenants[i];
	m->n_tenants = n;
}

/* What this node lives by: the rule in full, and the keys. */
static void dress(struct op *op, Baton__V1__Resource *r)
{
	const struct issuers *all = op->world->issuers;
	size_t at = issuers_place(all, r->issuer->name);
	const struct issuer_entry *e = at < issuers_count(all) ? issuers_at(all, at) : NULL;

	hide_other_tenants(op, r->issuer);
	if (!e || !e->keys)
		return;
	r->issuer->keys = (uint32_t)keyset_size(e->keys);
	r->issuer->keys_good_until_ms = e->keys_good_until_ms < INT64_MAX ? e->keys_good_until_ms : 0;
}

/* ---- changes ---- */

/* Two issuers of one url would be one, and so would two of the JWT-SVIDs of one trust domain. */
static bool fits(struct op *op, const ProtobufCMessage *m, const struct entry *e, size_t i)
{
	const struct issuers *all = op->world->issuers;
	const issuer *s = (const issuer *)m;

	(void)e;
	for (size_t k = 0; k < issuers_count(all); k++) {
		const struct issuer_rule *other = &issuers_at(all, k)->rule;
		bool domain = *s->trust_domain && strcmp(other->claims.trust_domain, s->trust_domain) == 0;

		if ((domain || strcmp(other->url, s->url) == 0) && strcmp(other->name, s->name) != 0)
			return enlist_deny(op, REASON_WRONG_STATE, i, domain ? "issuer.trust_domain" : "issuer.url", arena_printf(op->arena, "it is that of issuer %s", other->name));
	}
	return true;
}

static struct slice claim(const ProtobufCMessage *m, char out[NAMED_NAME_MAX])
{
	uint8_t print[SHA256_BYTES];
	char text[B64URL_LEN(SHA256_BYTES) + 1];
	int n;

	sha256(slice_str(((const issuer *)m)->url), print);
	b64url_encode(print, sizeof print, text);
	n = snprintf(out, NAMED_NAME_MAX, "issuer-url/%s", text);
	return slice_of(out, (size_t)n);
}

static bool is_of(const Baton__V1__RoleBinding *m, const char *name)
{
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
	const issuer *s = (const issuer *)m;
	struct issuer_rule rule;

	*field = "issuer.keys";
	return s->keys || s->keys_good_until_ms ? "the broker says it: leave it out" : issuerspec_rule(s, &rule, field, why);
}

static const issuer none = BATON__V1__ISSUER__INIT;

const struct named named_issuers = {
	.prefix = ISSUER_PREFIX, .what = "issuer", .field = "issuer.name", .made = "added", .none = &none.base, .name = offsetof(issuer, name), .max = ISSUERS_MAX,
	.name_wrong = name_wrong, .wrong = wrong, .fits = fits, .may = may, .sees = sees, .n_given = n_given, .given = given, .given_at = given_at, .dress = dress,
	.claim = claim, .claimed = "issuer.url",
};
