/* What may an issuer's rule be? The same for one of the configuration and one that comes another way. Ranges and forms only: whether files
 * are there, and whether two rules collide, is for whoever has them. */
#include "identity/issuer.h"

#include <stdio.h>

#include "base/encode.h"
#include "base/words.h"
#include "identity/claim.h"
#include "identity/introspection.h"
#include "identity/peer.h"

static bool graphic(const char *text)
{
	for (; *text; text++)
		if (*text <= 0x20 || *text >= 0x7f)
			return false;
	return true;
}

const char *issuer_url_wrong(const char *url)
{
	if (strncmp(url, "https://", 8) || !url[8])
		return "an issuer's url begins with https://";
	if (strchr(url, '@'))
		return "a url with user or password is refused";
	if (strpbrk(url, "?#") || !graphic(url))
		return "an issuer's url has no query, fragment or space";
	return NULL;
}

const char *issuer_audience_wrong(const char *audience)
{
	return audience[0] && graphic(audience) && strlen(audience) <= ISSUER_AUDIENCE_MAX
		? NULL : "an audience has 1 to 255 characters, no space and no control character";
}

static const char *name_wrong(const struct issuer_rule *r)
{
	return name_valid(slice_str(r->name)) ? NULL : "give it a name: [a-z0-9][a-z0-9._-]{0,62}";
}

static const char *url_wrong(const struct issuer_rule *r)
{
	return issuer_url_wrong(r->url);
}

static bool lists_tenant(const struct issuer_rule *r, size_t n, const char *tenant)
{
	for (size_t i = 0; i < n; i++)
		if (strcmp(r->tenants[i], tenant) == 0)
			return true;
	return false;
}

static const char *tenants_wrong(const struct issuer_rule *r)
{
	if (r->n_tenants < 1 || r->n_tenants > ISSUER_TENANTS_MAX)
		return "1 to 32 tenants belong here";
	for (size_t i = 0; i < r->n_tenants; i++) {
		if (!name_valid(slice_str(r->tenants[i])))
			return "a tenant is a name: [a-z0-9][a-z0-9._-]{0,62}";
		if (lists_tenant(r, i, r->tenants[i]))
			return "a tenant stands in the list twice";
	}
	return NULL;
}

static bool of_svids(const struct issuer_rule *r)
{
	return r->claims.kind == ISSUER_JWT_SVID;
}

static const char *kind_wrong(const struct issuer_rule *r)
{
	return (unsigned)r->claims.kind < ISSUER_KINDS ? NULL : "oidc or jwt-svid belongs here";
}

static const char *svid_domain_wrong(const struct issuer_rule *r)
{
	if (!of_svids(r))
		return r->claims.trust_domain[0] ? "only JWT-SVIDs are of a trust domain: remove it, or set kind: jwt-svid" : NULL;
	return trust_domain_wrong(r->claims.trust_domain) ? "name the trust domain of its JWT-SVIDs: acme.example" : NULL;
}

static const char *binding_wrong(const struct issuer_rule *r)
{
	return of_svids(r) && !r->binding ? "a JWT-SVID is bound by its sub, whatever stands here: remove it" : NULL;
}

static const char *audiences_wrong(const struct issuer_rule *r)
{
	if (of_svids(r) && r->n_audiences == 0)
		return "list what its JWT-SVIDs may be for: [baton]";
	if (r->n_audiences > ISSUER_AUDIENCES_MAX)
		return "at most 16 audiences are taken";
	for (size_t i = 0; i < r->n_audiences; i++) {
		const char *wrong = issuer_audience_wrong(r->audiences[i]);

		if (wrong)
			return wrong;
		for (size_t j = 0; j < i; j++)
			if (strcmp(r->audiences[i], r->audiences[j]) == 0)
				return "an audience stands in the list twice";
	}
	return NULL;
}

static const char *algorithms_wrong(const struct issuer_rule *r)
{
	unsigned known = 0;

	for (size_t i = 0; token_alg_text(i); i++)
		known |= token_alg_from_text(slice_str(token_alg_text(i)));
	if (of_svids(r) && r->algorithms & ALG_EDDSA)
		return "a JWT-SVID is not signed with EdDSA (JWT-SVID, 2.1): remove it";
	return r->algorithms && !(r->algorithms & ~known) ? NULL : "some of ES256, ES384, EdDSA, PS256, RS256 belong here";
}

static const char *lifetime_wrong(const struct issuer_rule *r)
{
	return r->max_lifetime_ms >= ISSUER_LIFETIME_MIN_MS && r->max_lifetime_ms <= ISSUER_LIFETIME_MAX_MS ? NULL : "it must be within 1s..7d";
}

static const char *refresh_wrong(const struct issuer_rule *r)
{
	return r->keys_refresh_ms >= ISSUER_REFRESH_MIN_MS && r->keys_refresh_ms <= ISSUER_REFRESH_MAX_MS ? NULL : "it must be within 1s..1d";
}

static const char *stale_wrong(const struct issuer_rule *r)
{
	return r->keys_stale_ms >= ISSUER_STALE_MIN_MS && r->keys_stale_ms <= ISSUER_STALE_MAX_MS ? NULL : "it must be within 1s..7d";
}

static const char *dialect_wrong(const struct issuer_rule *r)
{
	if (of_svids(r) && r->claims.dialect != DIALECT_STANDARD)
		return "JWT-SVIDs have no dialect: remove it";
	return (unsigned)r->claims.dialect < DIALECTS ? NULL : "standard, entra, okta, keycloak or auth0 belongs here";
}

static const char *typ_wrong(const struct issuer_rule *r)
{
	return (unsigned)r->claims.typ < TOKEN_TYPS ? NULL : "at+jwt or jwt belongs here";
}

static const char *names_wrong(const struct claim_names *names)
{
	if (names->n < 1 || names->n > CLAIM_NAMES_MAX)
		return "1 to 4 names of claims belong here";
	for (size_t i = 0; i < names->n; i++) {
		const char *wrong = claim_name_wrong(names->name[i]);

		if (wrong)
			return wrong;
		for (size_t j = 0; j < i; j++)
			if (strcmp(names->name[i], names->name[j]) == 0)
				return "a claim stands in the list twice";
	}
	return NULL;
}

static const char *client_wrong(const struct issuer_rule *r)
{
	return names_wrong(&r->claims.client);
}

static const char *scope_wrong(const struct issuer_rule *r)
{
	return names_wrong(&r->claims.scope);
}

static const char *jti_wrong(const struct issuer_rule *r)
{
	return r->claims.jti_optional && r->claims.jti.n == 0 ? NULL : names_wrong(&r->claims.jti);
}

static const char *tenant_wrong(const struct issuer_rule *r)
{
	return claim_name_wrong(r->claims.tenant);
}

static const char *user_wrong(const struct issuer_rule *r)
{
	if (of_svids(r) && (r->claims.user[0] || r->claims.service[0]))
		return "a JWT-SVID never speaks for a user: remove it";
	return r->claims.user[0] ? claim_name_wrong(r->claims.user) : NULL;
}

static const char *service_wrong(const struct issuer_rule *r)
{
	if (!r->claims.service[0])
		return NULL;
	if (strcmp(r->claims.service, r->claims.user) == 0)
		return "it is claims.user: a token would be both";
	return claim_name_wrong(r->claims.service);
}

static const char *tenant_values_wrong(const struct issuer_rule *r)
{
	if (r->n_tenant_values > TENANT_VALUES_MAX)
		return "at most 32 values are taken";
	for (size_t i = 0; i < r->n_tenant_values; i++) {
		struct slice value = slice_str(r->tenant_values[i].value);

		if (!value.n || !utf8_is_text(value))
			return "a tenant claim's value has 1 to 127 bytes, none of them a control character";
		if (!lists_tenant(r, r->n_tenants, r->tenant_values[i].tenant))
			return "a value means a tenant that the issuer does not speak for: list it under tenants, or remove the value";
		for (size_t j = 0; j < i; j++)
			if (strcmp(r->tenant_values[i].value, r->tenant_values[j].value) == 0)
				return "a value stands there twice";
	}
	return NULL;
}

static const char *introspection_url_wrong(const struct issuer_rule *r)
{
	const struct introspection_rule *i = &r->introspection;
	char host[INTROSPECTION_HOST_MAX + 1];

	if (!i->url[0])
		return i->client_id[0] || i->secret_file[0] || i->secret[0] || i->cert[0] || i->cert_file[0] || i->key_file[0] ? "name the url that is asked about tokens, or remove the section" : NULL;
	if (of_svids(r))
		return "a JWT-SVID is never opaque: remove the section";
	if (issuer_url_wrong(i->url))
		return "it begins with https://, and has no user, query or space";
	return r->registered && !introspection_host(i->url, host) ? "its host is a name or an IPv4 address, and a port may follow: secrets are kept by host" : NULL;
}

static const char *introspection_client_wrong(const struct issuer_rule *r)
{
	const struct introspection_rule *i = &r->introspection;

	if (!i->url[0])
		return NULL;
	if (!i->client_id[0] || !graphic(i->client_id))
		return "name the client that this broker is at the issuer: 1 to 255 characters, no space";
	if (!i->cert_file[0] != !i->key_file[0])
		return "client_cert and client_key go together";
	return r->registered || i->secret_file[0] || i->cert_file[0] ? NULL : "it proves itself by a secret_file, or by client_cert and client_key: name one of them";
}

/* What is registered names no file: a node that read what an operator names, and sent it where he says, would be his. */
static const char *introspection_secret_wrong(const struct issuer_rule *r)
{
	const struct introspection_rule *i = &r->introspection;

	if (!i->url[0] || !r->registered)
		return NULL;
	if (!i->secret[0])
		return i->cert[0] ? NULL : "name the secret, or the certificate, that this broker proves itself by: each node has it as a file, in the folder registry.secrets";
	return introspection_secret_name_wrong(i->secret);
}

static const char *introspection_cert_wrong(const struct issuer_rule *r)
{
	const struct introspection_rule *i = &r->introspection;

	return i->url[0] && r->registered && i->cert[0] ? introspection_secret_name_wrong(i->cert) : NULL;
}

static const char *introspection_cache_wrong(const struct issuer_rule *r)
{
	const struct introspection_rule *i = &r->introspection;

	return !i->url[0] || (i->cache_ms >= INTROSPECTION_CACHE_MIN_MS && i->cache_ms <= INTROSPECTION_CACHE_MAX_MS) ? NULL : "it must be within 1s..10m";
}

const char *issuer_rule_wrong(const struct issuer_rule *r, const char **field)
{
	static const struct { const char *field; const char *(*wrong)(const struct issuer_rule *); } rows[] = {
		{"name", name_wrong}, {"url", url_wrong}, {"kind", kind_wrong}, {"trust_domain", svid_domain_wrong}, {"tenants", tenants_wrong}, {"audiences", audiences_wrong},
		{"algorithms", algorithms_wrong}, {"binding", binding_wrong}, {"max_lifetime", lifetime_wrong}, {"keys_refresh", refresh_wrong},
		{"keys_stale", stale_wrong}, {"dialect", dialect_wrong}, {"typ", typ_wrong}, {"claims.tenant", tenant_wrong},
		{"claims.client", client_wrong}, {"claims.scope", scope_wrong}, {"claims.jti", jti_wrong}, {"claims.user", user_wrong},
		{"claims.service", service_wrong}, {"claims.tenant_values", tenant_values_wrong}, {"introspection.url", introspection_url_wrong},
		{"introspection.client_id", introspection_client_wrong}, {"introspection.secret", introspection_secret_wrong},
		{"introspection.cert", introspection_cert_wrong}, {"introspection.cache", introspection_cache_wrong},
	};
	const char *wrong = NULL;

	for (size_t i = 0; i < sizeof rows / sizeof rows[0] && !wrong; i++) {
		*field = rows[i].field;
		wrong = rows[i].wrong(r);
	}
	return wrong;
}

const char *issuer_tenant(const struct issuer_rule *r, const char *value)
{
	if (!r->n_tenant_values)
		return value;
	for (size_t i = 0; i < r->n_tenant_values; i++)
		if (strcmp(r->tenant_values[i].value, value) == 0)
			return r->tenant_values[i].tenant;
	return NULL;
}

bool issuer_serves(const struct issuer_rule *r, const char *audience)
{
	for (size_t i = 0; i < r->n_audiences; i++)
		if (strcmp(r->audiences[i], audience) == 0)
			return true;
	return r->n_audiences == 0;
}

const char *issuer_id(const struct issuer_rule *r, char out[ISSUER_ID_MAX])
{
	if (of_svids(r))
		snprintf(out, ISSUER_ID_MAX, "spiffe://%s", r->claims.trust_domain);
	else
		slice_copy_str(slice_str(r->url), out, ISSUER_ID_MAX);
	return out;
}
