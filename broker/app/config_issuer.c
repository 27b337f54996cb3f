/* How does an issuer of the configuration become a rule? What is a list or depends on the dialect is read here; what a rule may be says
 * issuer_rule_wrong(). */
#include <string.h>

#include "app/config_priv.h"
#include "base/near.h"
#include "base/words.h"
#include "identity/introspection.h"

/* A node as an error shows it. */
static const char *quote(const struct yaml_node *e, char quoted[64])
{
	return e->kind == YAML_TEXT ? near_show(slice_str(e->text), quoted) : "a list or mapping";
}

int config_issuer_algorithms(struct config_reader *r, const struct yaml_node *node, const char *shown, void *to)
{
	struct issuer_rule *rule = to;
	unsigned *bits = &rule->algorithms;

	*bits = 0;
	if (!node) {
		*bits = ISSUER_ALGORITHMS_DEFAULT;
		return 0;
	}
	if (node->kind != YAML_LIST || !node->n)
		return config_error(r, node, "%s: a list belongs here: [ES256, EdDSA, PS256, RS256]", shown);
	for (const struct yaml_node *e = node->first; e; e = e->next) {
		enum token_alg alg = e->kind == YAML_TEXT ? token_alg_from_text(slice_str(e->text)) : ALG_NONE;
		char quoted[64];

		if (!alg)
			return config_error(r, e, "%s: \"%s\" is none of ES256, ES384, EdDSA, PS256, RS256", shown, quote(e, quoted));
		if (*bits & alg)
			return config_error(r, e, "%s: %s stands in the list twice", shown, e->text);
		*bits |= alg;
	}
	return 0;
}

int config_issuer_audiences(struct config_reader *r, const struct yaml_node *node, const char *shown, void *to)
{
	struct issuer_rule *rule = to;

	if (!node)
		return 0;
	if (node->kind != YAML_LIST || !node->n || node->n > ISSUER_AUDIENCES_MAX)
		return config_error(r, node, "%s: a list of 1 to %d audiences belongs here; without it, tokens may be for any", shown, ISSUER_AUDIENCES_MAX);
	for (const struct yaml_node *e = node->first; e; e = e->next) {
		const char *wrong = e->kind == YAML_TEXT ? issuer_audience_wrong(e->text) : "an audience is a text";

		if (wrong)
			return config_error(r, e, "%s: %s", shown, wrong);
		if (rule->n_audiences && issuer_serves(rule, e->text))
			return config_error(r, e, "%s: %s stands in the list twice", shown, e->text);
		slice_copy_str(slice_str(e->text), rule->audiences[rule->n_audiences++], sizeof rule->audiences[0]);
	}
	return 0;
}

static int read_name(struct config_reader *r, const struct yaml_node *e, const char *shown, struct claim_names *names)
{
	if (e->kind != YAML_TEXT)
		return config_error(r, e, "%s: a claim's name belongs here, not a list or mapping", shown);
	if (names->n == CLAIM_NAMES_MAX || strlen(e->text) > CLAIM_NAME_MAX)
		return config_error(r, e, "%s: at most %d claims can be named, each with at most %d bytes", shown, CLAIM_NAMES_MAX, CLAIM_NAME_MAX);
	slice_copy_str(slice_str(e->text), names->name[names->n++], sizeof names->name[0]);
	return 0;
}

/* One name, or a list of them. */
int config_issuer_names(struct config_reader *r, const struct yaml_node *node, const char *shown, void *to)
{
	if (!node)
		return 0;
	if (node->kind == YAML_TEXT)
		return read_name(r, node, shown, to);
	if (node->kind != YAML_LIST)
		return config_error(r, node, "%s: a claim's name belongs here, or a list of them", shown);
	for (const struct yaml_node *e = node->first; e; e = e->next)
		if (read_name(r, e, shown, to))
			return -1;
	return 0;
}

int config_issuer_tenant_values(struct config_reader *r, const struct yaml_node *node, const char *shown, void *to)
{
	struct issuer_rule *rule = to;

	if (!node)
		return 0;
	if (node->kind != YAML_MAP || !node->n || node->n > TENANT_VALUES_MAX)
		return config_error(r, node, "%s: 1 to %d values with the tenant of each belong here: {VALUE: acme}", shown, TENANT_VALUES_MAX);
	for (const struct yaml_node *e = node->first; e; e = e->next) {
		struct tenant_value *v = &rule->tenant_values[rule->n_tenant_values++];
		char quoted[64];

		if (!slice_copy_str(slice_str(e->key->text), v->value, sizeof v->value))
			return config_error(r, e->key, "%s: a value has at most %d bytes", shown, TENANT_VALUE_MAX);
		if (e->kind != YAML_TEXT || !name_valid(slice_str(e->text)))
			return config_error(r, e, "%s: \"%s\" is not a tenant's name: [a-z0-9][a-z0-9._-]{0,62}", shown, quote(e, quoted));
		slice_copy_str(slice_str(e->text), v->tenant, sizeof v->tenant);
	}
	return 0;
}

/* Of JWT-SVIDs the specification says where everything stands; iat and jti need not. */
static int settle_svids(struct config_reader *r, const struct yaml_node *node, const char *shown, struct issuer_rule *rule)
{
	static const char *const none[] = {"dialect", "typ"}, *const no_claims[] = {"client", "user", "service", "jti"};
	const struct yaml_node *claims = yaml_tree_get(node, "claims"), *given = NULL;

	for (size_t i = 0; i < sizeof none / sizeof none[0] && !given; i++)
		given = yaml_tree_get(node, none[i]);
	for (size_t i = 0; i < sizeof no_claims / sizeof no_claims[0] && !given; i++)
		given = yaml_tree_get(claims, no_claims[i]);
	if (given)
		return config_error(r, given, "%s: %s is not for JWT-SVIDs: remove it", shown, given->key->text);
	if (!yaml_tree_get(node, "algorithms"))
		rule->algorithms = ISSUER_ALGORITHMS_SVID;
	rule->claims.jti_optional = true;
	return 0;
}

/* What the file does not say is as the dialect has it. */
static void fill(struct claim_map *m, const struct yaml_node *node)
{
	static const struct { const char *key; size_t offset, size; } fields[] = {
#define FIELD(key, field) {key, offsetof(struct claim_map, field), sizeof(((struct claim_map *)0)->field)}
		FIELD("tenant", tenant), FIELD("client", client), FIELD("scope", scope), FIELD("jti", jti), FIELD("jti", jti_optional),
		FIELD("user", user), FIELD("service", service),
#undef FIELD
	};
	const struct yaml_node *claims = yaml_tree_get(node, "claims");
	struct claim_map preset;

	dialect_preset(m->dialect, &preset);
	if (!yaml_tree_get(node, "typ"))
		m->typ = preset.typ;
	for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++)
		if (!yaml_tree_get(claims, fields[i].key))
			memcpy((char *)m + fields[i].offset, (const char *)&preset + fields[i].offset, fields[i].size);
	if (yaml_tree_get(claims, "jti"))
		m->jti_optional = m->jti.n == 0; /* jti: [] */
}

int config_issuer_settle(struct config_reader *r, const struct yaml_node *node, const char *shown, void *to)
{
	struct issuer_rule *rule = to;
	const char *field = "", *wrong;

	fill(&rule->claims, node);
	if (rule->claims.kind == ISSUER_JWT_SVID && settle_svids(r, node, shown, rule))
		return -1;
	wrong = issuer_rule_wrong(rule, &field);
	if (wrong)
		return config_error(r, node, "%s.%s: %s", shown, field, wrong);
	for (const struct issuer_rule *other = r->config->issuers; other < rule; other++) {
		if (!strcmp(other->name, rule->name))
			return config_error(r, node, "two issuers have the name %s", rule->name);
		if (!strcmp(other->url, rule->url))
			return config_error(r, node, "issuers %s and %s have the same url", other->name, rule->name);
		if (introspection_shared_tenant(other, rule))
			return config_error(r, node, "issuers %s and %s both have introspection and speak for tenant %s: whose an opaque token of it is could not be told. Remove one's introspection, or the tenant from one",
					    other->name, rule->name, introspection_shared_tenant(other, rule));
		if (rule->claims.trust_domain[0] && !strcmp(other->claims.trust_domain, rule->claims.trust_domain))
			return config_error(r, node, "issuers %s and %s have the same trust domain", other->name, rule->name);
	}
	return 0;
}
