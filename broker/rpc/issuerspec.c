/* What does the registry say of an issuer? See issuerspec.h. What a rule may be says issuer_rule_wrong(), as for those of the configuration; here is what the
 * message has beside it, and what it leaves to be filled in. */
#include "rpc/issuerspec.h"

#include <stdlib.h>
#include <string.h>

#include "identity/introspection.h"
#include "identity/peer.h"
#include "rpc/cader.h"

#define LIFETIME_S 3600u /* when nothing is said; so are these three */
#define REFRESH_S 300u
#define STALE_S 900u
#define CACHE_S 60u
#define NO_JTI "-"

typedef Baton__V1__Issuer issuer;

/* A rule while it is made. */
struct making {
	const issuer *m;
	struct issuer_rule *out;
	const char *field, *wrong; /* the first */
};

static void blame(struct making *k, const char *field, const char *wrong)
{
	if (!k->wrong && wrong) {
		k->field = field;
		k->wrong = wrong;
	}
}

/* ---- texts ---- */

static void put(struct making *k, const char *field, const char *text, char *out, size_t size)
{
	if (!slice_copy_str(slice_str(text), out, size))
		blame(k, field, "it is too long");
}

/* "azp appid" in the place of what the dialect has. */
static void put_names(struct making *k, const char *field, const char *text, struct claim_names *out)
{
	if (*text)
		out->n = 0;
	for (const char *w = text; *w;) {
		size_t n = strcspn(w, " ");

		if (!n || out->n == CLAIM_NAMES_MAX || !slice_copy_str(slice_of(w, n), out->name[out->n], sizeof out->name[0])) {
			blame(k, field, "1 to 4 names of claims, with one space between, each of at most 127 bytes");
			return;
		}
		out->n++;
		w += n + (w[n] == ' ');
	}
}

static void put_over(struct making *k, const char *field, const char *text, char *out, size_t size)
{
	if (*text)
		put(k, field, text, out, size);
}

/* ---- lists ---- */

static void put_tenants(struct making *k)
{
	struct issuer_rule *r = k->out;

	if (k->m->n_tenants > ISSUER_TENANTS_MAX)
		blame(k, "issuer.tenants", "at most 32 tenants");
	for (size_t i = 0; i < k->m->n_tenants && i < ISSUER_TENANTS_MAX; i++)
		put(k, "issuer.tenants", k->m->tenants[i], r->tenants[r->n_tenants++], sizeof r->tenants[0]);
}

static void put_audiences(struct making *k)
{
	struct issuer_rule *r = k->out;

	if (k->m->n_audiences > ISSUER_AUDIENCES_MAX)
		blame(k, "issuer.audiences", "at most 16 audiences");
	for (size_t i = 0; i < k->m->n_audiences && i < ISSUER_AUDIENCES_MAX; i++)
		put(k, "issuer.audiences", k->m->audiences[i], r->audiences[r->n_audiences++], sizeof r->audiences[0]);
}

static void put_algorithms(struct making *k)
{
	unsigned *bits = &k->out->algorithms;

	*bits = k->m->n_algorithms ? 0 : k->out->claims.kind == ISSUER_JWT_SVID ? ISSUER_ALGORITHMS_SVID : ISSUER_ALGORITHMS_DEFAULT;
	for (size_t i = 0; i < k->m->n_algorithms; i++) {
		enum token_alg alg = token_alg_from_text(slice_str(k->m->algorithms[i]));

		if (!alg || *bits & alg)
			blame(k, "issuer.algorithms", "of ES256, ES384, EdDSA, PS256, RS256, each once; none: all but ES384");
		*bits |= alg;
	}
}

static void put_tenant_values(struct making *k)
{
	struct issuer_rule *r = k->out;

	if (k->m->n_tenant_values > TENANT_VALUES_MAX)
		blame(k, "issuer.tenant_values", "at most 32 values");
	for (size_t i = 0; i < k->m->n_tenant_values && i < TENANT_VALUES_MAX; i++) {
		struct tenant_value *v = &r->tenant_values[r->n_tenant_values++];

		put(k, "issuer.tenant_values", k->m->tenant_values[i]->key, v->value, sizeof v->value);
		put(k, "issuer.tenant_values", k->m->tenant_values[i]->value, v->tenant, sizeof v->tenant);
	}
}

/* ---- claims ---- */

static void put_jti(struct making *k, struct claim_map *to)
{
	bool none = strcmp(k->m->jti_claim, NO_JTI) == 0;

	if (*k->m->jti_claim)
		to->jti_optional = none;
	if (none)
		to->jti.n = 0;
	else
		put_names(k, "issuer.jti_claim", k->m->jti_claim, &to->jti);
}

static void put_claims(struct making *k)
{
	struct claim_map *to = &k->out->claims;
	const issuer *m = k->m;

	put_over(k, "issuer.tenant_claim", m->tenant_claim, to->tenant, sizeof to->tenant);
	put_names(k, "issuer.client_claim", m->client_claim, &to->client);
	put_names(k, "issuer.scope_claim", m->scope_claim, &to->scope);
	put_jti(k, to);
	put_over(k, "issuer.user_claim", m->user_claim, to->user, sizeof to->user);
	put_over(k, "issuer.service_claim", m->service_claim, to->service, sizeof to->service);
}

/* Of JWT-SVIDs the specification says where everything stands; iat and jti need not. */
static void put_svid(struct making *k)
{
	const issuer *m = k->m;
	const struct { const char *field, *text; } none[] = {
		{"issuer.dialect", m->dialect}, {"issuer.typ", m->typ}, {"issuer.client_claim", m->client_claim}, {"issuer.user_claim", m->user_claim},
		{"issuer.service_claim", m->service_claim}, {"issuer.jti_claim", m->jti_claim},
	};

	for (size_t i = 0; i < sizeof none / sizeof none[0]; i++)
		if (*none[i].text)
			blame(k, none[i].field, "it is not for JWT-SVIDs: leave it out");
	k->out->claims.jti_optional = true;
}

static void put_kind(struct making *k)
{
	struct claim_map *to = &k->out->claims;
	const issuer *m = k->m;
	bool svid = strcmp(m->kind, "jwt-svid") == 0;
	enum dialect d = *m->dialect ? dialect_from_text(slice_str(m->dialect)) : DIALECT_STANDARD;
	enum token_typ typ = *m->typ ? token_typ_from_text(slice_str(m->typ)) : TOKEN_TYPS;

	if (*m->kind && !svid && strcmp(m->kind, "oidc") != 0)
		blame(k, "issuer.kind", "oidc or jwt-svid; empty: oidc");
	if (d == DIALECTS)
		blame(k, "issuer.dialect", "standard, entra, okta, keycloak or auth0; empty: standard");
	if (*m->typ && typ == TOKEN_TYPS)
		blame(k, "issuer.typ", "at+jwt or jwt; empty: as the dialect has it");
	dialect_preset(d == DIALECTS ? DIALECT_STANDARD : d, to);
	to->kind = svid ? ISSUER_JWT_SVID : ISSUER_OIDC;
	if (typ != TOKEN_TYPS)
		to->typ = typ;
	put(k, "issuer.trust_domain", m->trust_domain, to->trust_domain, sizeof to->trust_domain);
}

/* ---- keys ---- */

static const char *ca_wrong(const issuer *m)
{
	if (m->n_ca_der && m->jwks.len)
		return "its keys are given, so nothing is fetched: leave one of the two out";
	return cader_wrong(m->ca_der, m->n_ca_der);
}

static const char *keys_wrong(const struct making *k, struct problem *why)
{
	struct slice jwks = slice_of(k->m->jwks.data, k->m->jwks.len);
	struct keyset *keys;

	if (!jwks.n)
		return NULL;
	if (jwks.n > ISSUER_KEYS_MAX)
		return "a JWKS has at most 256 KiB";
	keys = keyset_parse_for(k->out, jwks, 1, why);
	keyset_unref(keys);
	return keys ? NULL : why->text;
}

/* ---- introspection ---- */

static void put_introspection(struct making *k)
{
	struct introspection_rule *to = &k->out->introspection;
	const issuer *m = k->m;

	put(k, "issuer.introspection_url", m->introspection_url, to->url, sizeof to->url);
	put(k, "issuer.introspection_client_id", m->introspection_client_id, to->client_id, sizeof to->client_id);
	put(k, "issuer.introspection_secret", m->introspection_secret, to->secret, sizeof to->secret);
	put(k, "issuer.introspection_cert", m->introspection_cert, to->cert, sizeof to->cert);
	to->cache_ms = (int64_t)(m->introspection_cache_s ? m->introspection_cache_s : CACHE_S) * 1000;
	if (m->introspection_cache_s && !to->url[0])
		blame(k, "issuer.introspection_url", "name the url that is asked about tokens, or leave introspection_cache_s out");
}

bool issuerspec_is_asked(const issuer *m, const char *tenant)
{
	for (size_t i = 0; *m->introspection_url && i < m->n_tenants; i++)
		if (strcmp(m->tenants[i], tenant) == 0)
			return true;
	return false;
}

/* ---- all of it ---- */

static int64_t ms(uint32_t s, uint32_t otherwise)
{
	return (int64_t)(s ? s : otherwise) * 1000;
}

static const char *binding_wrong(const char *text)
{
	return !*text || strcmp(text, "certificate") == 0 || strcmp(text, "none") == 0 ? NULL : "certificate or none; empty: certificate";
}

/* The field of the message, by what the configuration calls it. */
static const char *field_of(const char *rule)
{
	static const struct { const char *rule, *field; } rows[] = {
		{"name", "issuer.name"}, {"url", "issuer.url"}, {"kind", "issuer.kind"}, {"trust_domain", "issuer.trust_domain"}, {"tenants", "issuer.tenants"},
		{"audiences", "issuer.audiences"}, {"algorithms", "issuer.algorithms"}, {"binding", "issuer.binding"}, {"max_lifetime", "issuer.max_lifetime_s"},
		{"keys_refresh", "issuer.keys_refresh_s"}, {"keys_stale", "issuer.keys_stale_s"}, {"dialect", "issuer.dialect"}, {"typ", "issuer.typ"},
		{"claims.tenant", "issuer.tenant_claim"}, {"claims.client", "issuer.client_claim"}, {"claims.scope", "issuer.scope_claim"}, {"claims.jti", "issuer.jti_claim"},
		{"claims.user", "issuer.user_claim"}, {"claims.service", "issuer.service_claim"}, {"claims.tenant_values", "issuer.tenant_values"},
		{"introspection.url", "issuer.introspection_url"}, {"introspection.client_id", "issuer.introspection_client_id"},
		{"introspection.secret", "issuer.introspection_secret"}, {"introspection.cert", "issuer.introspection_cert"},
		{"introspection.cache", "issuer.introspection_cache_s"},
	};

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
		if (strcmp(rows[i].rule, rule) == 0)
			return rows[i].field;
	return "issuer";
}

static void judge(struct making *k, struct problem *why)
{
	const char *field = "", *wrong;

	blame(k, "issuer.binding", binding_wrong(k->m->binding));
	wrong = k->wrong ? NULL : issuer_rule_wrong(k->out, &field);
	blame(k, field_of(field), wrong);
	blame(k, "issuer.ca_der", ca_wrong(k->m));
	if (!k->wrong)
		blame(k, "issuer.jwks", keys_wrong(k, why));
}

const char *issuerspec_rule(const issuer *m, struct issuer_rule *out, const char **field, struct problem *why)
{
	struct making k = {.m = m, .out = out};

	*out = (struct issuer_rule){
		.binding = strcmp(m->binding, "none") != 0, .allow_private = m->allow_private, .registered = true, .max_lifetime_ms = ms(m->max_lifetime_s, LIFETIME_S),
		.keys_refresh_ms = ms(m->keys_refresh_s, REFRESH_S), .keys_stale_ms = ms(m->keys_stale_s, STALE_S),
	};
	put(&k, "issuer.name", m->name, out->name, sizeof out->name);
	put(&k, "issuer.url", m->url, out->url, sizeof out->url);
	put_kind(&k);
	put_claims(&k);
	if (out->claims.kind == ISSUER_JWT_SVID)
		put_svid(&k);
	put_tenants(&k);
	put_audiences(&k);
	put_algorithms(&k);
	put_tenant_values(&k);
	put_introspection(&k);
	judge(&k, why);
	*field = k.field;
	return k.wrong;
}

const char *issuerspec_collide(const struct issuer_rule *a, const struct issuer_rule *b)
{
	if (strcmp(a->name, b->name) == 0)
		return "name";
	if (strcmp(a->url, b->url) == 0)
		return "url";
	if (a->claims.trust_domain[0] && strcmp(a->claims.trust_domain, b->claims.trust_domain) == 0)
		return "trust_domain";
	return introspection_shared_tenant(a, b) ? "introspection" : NULL;
}

/* ---- as it is shown ---- */

/* NULL: memory is out. */
static char *joined(struct arena *a, const struct claim_names *names)
{
	const char *all = "";

	for (size_t i = 0; all && i < names->n; i++)
		all = arena_printf(a, "%s%s%s", all, i ? " " : "", names->name[i]);
	return (char *)all;
}

static bool show_claims(struct arena *a, const struct claim_map *map, issuer *out)
{
	bool svid = map->kind == ISSUER_JWT_SVID;

	out->kind = (char *)(svid ? "jwt-svid" : "oidc");
	out->trust_domain = (char *)map->trust_domain;
	out->dialect = (char *)dialect_text(map->dialect);
	out->typ = (char *)(map->typ == TYP_JWT ? "jwt" : "at+jwt");
	out->tenant_claim = (char *)map->tenant;
	out->client_claim = joined(a, &map->client);
	out->scope_claim = joined(a, &map->scope);
	out->jti_claim = map->jti.n ? joined(a, &map->jti) : (char *)(map->jti_optional ? NO_JTI : "");
	out->user_claim = (char *)map->user;
	out->service_claim = (char *)map->service;
	return out->client_claim && out->scope_claim && out->jti_claim;
}

static bool show_values(struct arena *a, const struct issuer_rule *rule, issuer *out)
{
	out->tenant_values = arena_alloc(a, (rule->n_tenant_values + 1) * sizeof *out->tenant_values);
	for (size_t i = 0; out->tenant_values && i < rule->n_tenant_values; i++) {
		Baton__V1__Issuer__TenantValuesEntry *e = arena_alloc(a, sizeof *e);

		if (!e)
			return false;
		baton__v1__issuer__tenant_values_entry__init(e);
		e->key = (char *)rule->tenant_values[i].value;
		e->value = (char *)rule->tenant_values[i].tenant;
		out->tenant_values[out->n_tenant_values++] = e;
	}
	return out->tenant_values;
}

static bool show_lists(struct arena *a, const struct issuer_rule *rule, issuer *out)
{
	const char *text;

	out->tenants = arena_alloc(a, (rule->n_tenants + 1) * sizeof *out->tenants);
	out->audiences = arena_alloc(a, (rule->n_audiences + 1) * sizeof *out->audiences);
	out->algorithms = arena_alloc(a, TOKEN_ALGS * sizeof *out->algorithms);
	if (!out->tenants || !out->audiences || !out->algorithms)
		return false;
	for (size_t i = 0; i < rule->n_tenants; i++)
		out->tenants[out->n_tenants++] = (char *)rule->tenants[i];
	for (size_t i = 0; i < rule->n_audiences; i++)
		out->audiences[out->n_audiences++] = (char *)rule->audiences[i];
	for (size_t i = 0; (text = token_alg_text(i)); i++)
		if (rule->algorithms & token_alg_from_text(slice_str(text)))
			out->algorithms[out->n_algorithms++] = (char *)text;
	return true;
}

bool issuerspec_of(struct arena *a, const struct issuer_rule *rule, issuer *out)
{
	baton__v1__issuer__init(out);
	out->name = (char *)rule->name;
	out->url = (char *)rule->url;
	out->max_lifetime_s = (uint32_t)(rule->max_lifetime_ms / 1000);
	out->binding = (char *)(rule->claims.kind == ISSUER_JWT_SVID ? "spiffe-id" : rule->binding ? "certificate" : "none");
	out->keys_refresh_s = (uint32_t)(rule->keys_refresh_ms / 1000);
	out->keys_stale_s = (uint32_t)(rule->keys_stale_ms / 1000);
	out->allow_private = rule->allow_private;
	out->introspection_url = (char *)rule->introspection.url;
	out->introspection_client_id = (char *)rule->introspection.client_id;
	out->introspection_secret = (char *)rule->introspection.secret;
	out->introspection_cert = (char *)rule->introspection.cert;
	out->introspection_cache_s = rule->introspection.url[0] ? (uint32_t)(rule->introspection.cache_ms / 1000) : 0;
	return show_lists(a, rule, out) && show_claims(a, &rule->claims, out) && show_values(a, rule, out);
}
