/* Whose tokens count, and has this node their keys? What ResourceService says of issuers. They stand in the configuration. */
#include <string.h>

#include "rpc/caller.h"
#include "rpc/operator.h"
#include "rpc/pipeline.h"

/* Those that the caller may see. */
static bool put_tenants(struct op *op, const struct issuer_rule *rule, Baton__V1__Issuer *to)
{
	to->tenants = arena_alloc(op->arena, (rule->n_tenants + 1) * sizeof *to->tenants);
	for (size_t i = 0; to->tenants && i < rule->n_tenants; i++)
		if (caller_sees(op, rule->tenants[i]))
			to->tenants[to->n_tenants++] = (char *)rule->tenants[i];
	return to->tenants;
}

static bool put_algorithms(struct op *op, const struct issuer_rule *rule, Baton__V1__Issuer *to)
{
	const char *text;

	to->algorithms = arena_alloc(op->arena, TOKEN_ALGS * sizeof *to->algorithms);
	for (size_t i = 0; to->algorithms && (text = token_alg_text(i)); i++)
		if (rule->algorithms & token_alg_from_text(slice_str(text)))
			to->algorithms[to->n_algorithms++] = (char *)text;
	return to->algorithms;
}

/* NULL: memory is out. */
static char *joined(struct op *op, const struct claim_names *names)
{
	const char *all = "";

	for (size_t i = 0; all && i < names->n; i++)
		all = arena_printf(op->arena, "%s%s%s", all, i ? ", " : "", names->name[i]);
	return (char *)all;
}

static bool put_claims(struct op *op, const struct claim_map *map, Baton__V1__Issuer *to)
{
	to->tenant_claim = (char *)map->tenant;
	to->client_claim = joined(op, &map->client);
	to->scope_claim = joined(op, &map->scope);
	return to->client_claim && to->scope_claim;
}

static bool put_audiences(struct op *op, const struct issuer_rule *rule, Baton__V1__Issuer *to)
{
	to->audiences = arena_alloc(op->arena, (rule->n_audiences + 1) * sizeof *to->audiences);
	for (size_t i = 0; to->audiences && i < rule->n_audiences; i++)
		to->audiences[to->n_audiences++] = (char *)rule->audiences[i];
	return to->audiences;
}

static Baton__V1__Resource *shown(struct op *op, const struct issuer_entry *e)
{
	Baton__V1__Resource *m = arena_alloc(op->arena, sizeof *m);
	Baton__V1__Issuer *to = arena_alloc(op->arena, sizeof *to);
	const struct issuer_rule *rule = &e->rule;

	if (!m || !to)
		return NULL;
	baton__v1__resource__init(m);
	baton__v1__issuer__init(to);
	m->is_static = true;
	m->spec_case = BATON__V1__RESOURCE__SPEC_ISSUER;
	m->issuer = to;
	to->name = (char *)rule->name;
	to->url = (char *)rule->url;
	to->max_lifetime_s = (uint32_t)(rule->max_lifetime_ms / 1000);
	to->binding = (char *)(rule->claims.kind == ISSUER_JWT_SVID ? "spiffe-id" : rule->binding ? "certificate" : "none");
	to->keys = e->keys ? (uint32_t)keyset_size(e->keys) : 0;
	to->keys_good_until_ms = e->keys && e->keys_good_until_ms < INT64_MAX ? e->keys_good_until_ms : 0;
	return put_tenants(op, rule, to) && put_audiences(op, rule, to) && put_algorithms(op, rule, to) && put_claims(op, &rule->claims, to) ? m : NULL;
}

/* An operator of one tenant is shown those that may speak for it. tenant: "" = whichever. */
static bool is_meant(const struct op *op, const struct issuer_rule *rule, const char *tenant)
{
	bool any = !*tenant && caller_sees_all(op);

	for (size_t i = 0; i < rule->n_tenants; i++)
		any = any || (caller_sees(op, rule->tenants[i]) && (!*tenant || strcmp(tenant, rule->tenants[i]) == 0));
	return any;
}

/* NULL: the op has ended with a denial. */
static const struct issuer_entry *find(struct op *op, const Baton__V1__ResourceRef *ref)
{
	const struct issuers *all = op->world->issuers;
	size_t at = issuers_place(all, ref->name);

	if (at < issuers_count(all) && is_meant(op, &issuers_at(all, at)->rule, ref->tenant))
		return issuers_at(all, at);
	operator_deny(op, REASON_NOT_FOUND, "name", "no such issuer");
	return NULL;
}

void issuers_get(struct op *op, const Baton__V1__ResourceRef *ref)
{
	const struct issuer_entry *e = find(op, ref);
	Baton__V1__Resource *m = e ? shown(op, e) : NULL;

	if (m)
		pipeline_answer(op, &m->base);
	else if (e)
		operator_no_memory(op);
}

void issuers_history(struct op *op, const Baton__V1__ResourceRef *ref)
{
	if (find(op, ref))
		operator_deny(op, REASON_WRONG_STATE, "name", "it stands in the configuration file, which has no history here");
}

/* From the place on. false: memory is out. */
static bool fill(struct op *op, const Baton__V1__ListResourcesRequest *m, size_t from, size_t page, Baton__V1__ListResourcesResponse *answer)
{
	const struct issuers *all = op->world->issuers;
	size_t i = from;

	for (; i < issuers_count(all) && answer->n_resources < page; i++) {
		const struct issuer_entry *e = issuers_at(all, i);

		if (m->n_labels || !is_meant(op, &e->rule, m->tenant)) /* an issuer has no labels */
			continue;
		answer->resources[answer->n_resources] = shown(op, e);
		if (!answer->resources[answer->n_resources++])
			return false;
	}
	if (i < issuers_count(all) && answer->n_resources)
		answer->next_page_token = (char *)issuers_at(all, i - 1)->rule.name;
	return true;
}

void issuers_list(struct op *op, const Baton__V1__ListResourcesRequest *m, size_t page)
{
	Baton__V1__ListResourcesResponse *answer = arena_alloc(op->arena, sizeof *answer);
	size_t at = *m->page_token ? issuers_place(op->world->issuers, m->page_token) + 1 : 0;

	if (at > issuers_count(op->world->issuers)) {
		operator_deny(op, REASON_MALFORMED_ENVELOPE, "page_token", "page_token: not one that List gave, or its issuer is no longer configured");
		return;
	}
	if (answer)
		baton__v1__list_resources_response__init(answer);
	if (answer)
		answer->resources = arena_alloc(op->arena, page * sizeof *answer->resources);
	if (answer && answer->resources && fill(op, m, at, page, answer))
		pipeline_answer(op, &answer->base);
	else
		operator_no_memory(op);
}
