/* What does a role binding say, and may it stand there? See rolebind.h. Whatever reads like something else than it is has no place in it: names are
 * names, a SPIFFE id is one, and of a claim's value printable ASCII alone is taken, without wildcards, for it is compared to the byte. */
#include "rpc/rolebind.h"

#include <stdio.h>
#include <string.h>

#include "base/words.h"
#include "identity/spiffe.h"

#define APPROVER "approver:"
#define ROLE_FORM "a role is platform, sre, auditor, or approver:TENANT/ROUTE"

static const struct { unsigned role; const char *word; } words[] = {
	{ROLE_PLATFORM, "platform"}, {ROLE_SRE, "sre"}, {ROLE_AUDITOR, "auditor"}, {ROLE_APPROVER, "approver"},
};

/* The tenant and the route of an approver. */
static bool split_approver(const char *text, struct slice *tenant, struct slice *route)
{
	const char *rest = text + sizeof APPROVER - 1, *slash;

	if (strncmp(text, APPROVER, sizeof APPROVER - 1) != 0 || !(slash = strchr(rest, '/')))
		return false;
	*tenant = slice_of(rest, (size_t)(slash - rest));
	*route = slice_str(slash + 1);
	return name_valid(*tenant) && name_valid(*route);
}

unsigned role_from_text(const char *text)
{
	struct slice tenant, route;

	for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
		if (words[i].role != ROLE_APPROVER && strcmp(text, words[i].word) == 0)
			return words[i].role;
	return split_approver(text, &tenant, &route) ? ROLE_APPROVER : 0;
}

void role_words(unsigned roles, const char *between, char out[ROLES_WORDS_MAX])
{
	size_t at = 0;

	out[0] = '\0';
	for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
		if (roles & words[i].role)
			at += (size_t)snprintf(out + at, ROLES_WORDS_MAX - at, "%s%s", at ? between : "", words[i].word);
}

struct slice rolebind_name(const char *name, char out[ROLEBIND_NAME_MAX])
{
	int n = snprintf(out, ROLEBIND_NAME_MAX, ROLEBIND_PREFIX "%.63s", name);

	return slice_of(out, (size_t)n);
}

bool rolebind_is(const struct resource *r)
{
	const struct slice prefix = SLICE_LIT(ROLEBIND_PREFIX);

	return r->name.n > prefix.n && slice_begins(r->name, prefix);
}

unsigned rolebind_roles(const Baton__V1__RoleBinding *m)
{
	unsigned roles = 0;

	for (size_t i = 0; i < m->n_roles; i++)
		roles |= role_from_text(m->roles[i]);
	return roles;
}

/* ---- what may stand there ---- */

static const char *roles_wrong(const Baton__V1__RoleBinding *m)
{
	struct slice tenant, route;

	if (!m->n_roles || m->n_roles > ROLEBIND_ROLES_MAX)
		return "1 to 16 of them";
	for (size_t i = 0; i < m->n_roles; i++) {
		if (!role_from_text(m->roles[i]))
			return ROLE_FORM;
		for (size_t j = 0; j < i; j++)
			if (strcmp(m->roles[i], m->roles[j]) == 0)
				return "a role stands there twice";
		if (*m->tenant && split_approver(m->roles[i], &tenant, &route) && !slice_is(tenant, m->tenant))
			return "an approver of another tenant than the binding's";
	}
	return NULL;
}

/* Printable ASCII, of which nobody can take one character for another, and no pattern. */
static bool plain(const char *text, char from, size_t max)
{
	size_t n = strlen(text);

	for (const char *p = text; *p; p++)
		if (*p < from || *p > '~' || *p == '*')
			return false;
	return n && n <= max && text[0] != ' ' && text[n - 1] != ' ';
}

static bool by_claim(const Baton__V1__RoleBinding *m)
{
	return *m->issuer || *m->claim || *m->value;
}

static const char *id_wrong(const Baton__V1__RoleBinding *m)
{
	struct spiffe_id id;

	if (*m->spiffe_id && by_claim(m))
		return "either a SPIFFE id has the roles, or a claim: issuer, claim and value";
	if (!*m->spiffe_id && !by_claim(m))
		return "say who has the roles: a SPIFFE id; or issuer, claim and value of a token";
	return *m->spiffe_id ? spiffe_parse(slice_str(m->spiffe_id), &id) : NULL;
}

const char *rolebind_wrong(const Baton__V1__RoleBinding *m, const char **field)
{
	bool claim = by_claim(m);
	const struct { const char *field, *wrong; } rows[] = {
		{"role.name", name_valid(slice_str(m->name)) ? NULL : "a binding's name is [a-z0-9][a-z0-9._-]{0,62}"},
		{"role.tenant", !*m->tenant || name_valid(slice_str(m->tenant)) ? NULL : "a tenant's name is [a-z0-9][a-z0-9._-]{0,62}; empty: all tenants"},
		{"role.roles", roles_wrong(m)},
		{"role.spiffe_id", id_wrong(m)},
		{"role.issuer", !claim || name_valid(slice_str(m->issuer)) ? NULL : "the name of a configured issuer, as its `name` in `issuers`"},
		{"role.claim", !claim || plain(m->claim, '!', ROLEBIND_CLAIM_MAX) ? NULL : "the claim's name: 1 to 128 printable ASCII characters, no space and no *"},
		{"role.value", !claim || plain(m->value, ' ', ROLEBIND_VALUE_MAX) ? NULL : "what the claim must hold, to the byte: 1 to 256 printable ASCII characters, no *"},
	};

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		*field = rows[i].field;
		if (rows[i].wrong)
			return rows[i].wrong;
	}
	return NULL;
}
