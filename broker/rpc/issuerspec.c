/* What does the registry say of an issuer? See issuerspec.h. The bounds are those of `issuers` in baton.yaml(5). */
#include "rpc/issuerspec.h"

#include <stdlib.h>
#include <string.h>

#include "base/words.h"
#include "identity/peer.h"

#define DAY_S 86400u
#define LIFETIME_S 3600u /* when nothing is said; so are these two */
#define REFRESH_S 300u
#define STALE_S 900u

typedef Baton__V1__Issuer issuer;

char *issuerspec_ca(const issuer *m)
{
	struct slice *der = calloc(m->n_ca_der + 1, sizeof *der);
	char *pem;

	for (size_t i = 0; der && i < m->n_ca_der; i++)
		der[i] = slice_of(m->ca_der[i].data, m->ca_der[i].len);
	pem = der ? trust_pem(der, m->n_ca_der) : NULL;
	free(der);
	return pem;
}

/* ---- what may stand there ---- */

static const char *url_wrong(const char *url)
{
	return strlen(url) < sizeof((struct issuer_rule *)0)->url ? issuer_url_wrong(url) : "an issuer's url has at most 512 bytes";
}

static const char *tenants_wrong(const issuer *m)
{
	if (!m->n_tenants || m->n_tenants > ISSUER_TENANTS_MAX)
		return "list the tenants that it speaks for: 1 to 32";
	for (size_t i = 0; i < m->n_tenants; i++) {
		if (!name_valid(slice_str(m->tenants[i])))
			return "a tenant's name is [a-z0-9][a-z0-9._-]{0,62}";
		for (size_t j = 0; j < i; j++)
			if (strcmp(m->tenants[i], m->tenants[j]) == 0)
				return "a tenant stands there twice";
	}
	return NULL;
}

/* 0: one of them is none, or stands there twice. */
static unsigned algorithms(const issuer *m)
{
	unsigned bits = 0;

	for (size_t i = 0; i < m->n_algorithms; i++) {
		enum token_alg alg = token_alg_from_text(slice_str(m->algorithms[i]));

		if (!alg || bits & alg)
			return 0;
		bits |= alg;
	}
	return m->n_algorithms ? bits : ISSUER_ALGORITHMS_DEFAULT;
}

static const char *claim_wrong(const char *name)
{
	return strlen(name) < sizeof((struct issuer_rule *)0)->claim_tenant ? issuer_claim_wrong(name) : "a claim's name has at most 63 bytes";
}

static const char *keys_wrong(const issuer *m, struct problem *why)
{
	struct keyset *keys;

	if (!m->jwks.len)
		return NULL;
	if (m->jwks.len > ISSUER_KEYS_MAX)
		return "a JWKS has at most 256 KiB";
	keys = keyset_parse(slice_of(m->jwks.data, m->jwks.len), algorithms(m), 1, why);
	keyset_unref(keys);
	return keys ? NULL : why->text;
}

static const char *ca_wrong(const issuer *m)
{
	size_t bytes = 0;
	char *pem;

	for (size_t i = 0; i < m->n_ca_der; i++)
		bytes += m->ca_der[i].len;
	if (!m->n_ca_der)
		return NULL;
	if (m->jwks.len)
		return "its keys are given, so nothing is fetched: leave one of the two out";
	if (bytes > ISSUER_CA_MAX)
		return "at most 64 KiB of certificates";
	pem = issuerspec_ca(m);
	free(pem);
	return pem ? NULL : "one of them is no certificate (DER)";
}

static const char *binding_wrong(const char *text)
{
	return !*text || strcmp(text, "certificate") == 0 || strcmp(text, "none") == 0 ? NULL : "certificate or none; empty: certificate";
}

const char *issuerspec_wrong(const issuer *m, const char **field, struct problem *why)
{
	const struct { const char *field, *wrong; } rows[] = {
		{"issuer.name", name_valid(slice_str(m->name)) ? NULL : "an issuer's name is [a-z0-9][a-z0-9._-]{0,62}"},
		{"issuer.url", url_wrong(m->url)},
		{"issuer.tenants", tenants_wrong(m)},
		{"issuer.audiences", m->n_audiences ? "audiences are demanded by profiles (identity.required_audience): leave them out" : NULL},
		{"issuer.algorithms", algorithms(m) ? NULL : "of ES256, ES384, EdDSA, PS256, RS256, each once; none: all but ES384"},
		{"issuer.max_lifetime_s", m->max_lifetime_s <= 7 * DAY_S ? NULL : "at most 604800; 0: 3600"},
		{"issuer.binding", binding_wrong(m->binding)},
		{"issuer.tenant_claim", claim_wrong(m->tenant_claim)},
		{"issuer.client_claim", claim_wrong(m->client_claim)},
		{"issuer.scope_claim", claim_wrong(m->scope_claim)},
		{"issuer.user_claim", claim_wrong(m->user_claim)},
		{"issuer.keys_refresh_s", m->keys_refresh_s <= DAY_S ? NULL : "at most 86400; 0: 300"},
		{"issuer.keys_stale_s", m->keys_stale_s <= 7 * DAY_S ? NULL : "at most 604800; 0: 900"},
		{"issuer.ca_der", ca_wrong(m)},
	};

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		*field = rows[i].field;
		if (rows[i].wrong)
			return rows[i].wrong;
	}
	*field = "issuer.jwks";
	return keys_wrong(m, why);
}

/* ---- the rule ---- */

static int64_t ms(uint32_t s, uint32_t otherwise)
{
	return (int64_t)(s ? s : otherwise) * 1000;
}

static void put_claim(const char *name, const char *otherwise, char out[64])
{
	slice_copy_str(slice_str(*name ? name : otherwise), out, 64);
}

void issuerspec_rule(const issuer *m, struct issuer_rule *out)
{
	*out = (struct issuer_rule){
		.algorithms = algorithms(m), .binding = strcmp(m->binding, "none") != 0, .allow_private = m->allow_private, .registered = true,
		.max_lifetime_ms = ms(m->max_lifetime_s, LIFETIME_S), .keys_refresh_ms = ms(m->keys_refresh_s, REFRESH_S), .keys_stale_ms = ms(m->keys_stale_s, STALE_S),
	};
	slice_copy_str(slice_str(m->name), out->name, sizeof out->name);
	slice_copy_str(slice_str(m->url), out->url, sizeof out->url);
	for (size_t i = 0; i < m->n_tenants && i < ISSUER_TENANTS_MAX; i++)
		slice_copy_str(slice_str(m->tenants[i]), out->tenants[out->n_tenants++], sizeof out->tenants[0]);
	put_claim(m->tenant_claim, "tenant", out->claim_tenant);
	put_claim(m->client_claim, "client_id", out->claim_client);
	put_claim(m->scope_claim, "scope", out->claim_scope);
	put_claim(m->user_claim, "", out->user_claim);
}

/* ---- as it is shown ---- */

bool issuerspec_of(struct arena *a, const struct issuer_rule *rule, issuer *out)
{
	const char *text;

	baton__v1__issuer__init(out);
	out->tenants = arena_alloc(a, (rule->n_tenants + 1) * sizeof *out->tenants);
	out->algorithms = arena_alloc(a, TOKEN_ALGS * sizeof *out->algorithms);
	if (!out->tenants || !out->algorithms)
		return false;
	for (size_t i = 0; i < rule->n_tenants; i++)
		out->tenants[out->n_tenants++] = (char *)rule->tenants[i];
	for (size_t i = 0; (text = token_alg_text(i)); i++)
		if (rule->algorithms & token_alg_from_text(slice_str(text)))
			out->algorithms[out->n_algorithms++] = (char *)text;
	out->name = (char *)rule->name;
	out->url = (char *)rule->url;
	out->max_lifetime_s = (uint32_t)(rule->max_lifetime_ms / 1000);
	out->binding = (char *)(rule->binding ? "certificate" : "none");
	out->tenant_claim = (char *)rule->claim_tenant;
	out->client_claim = (char *)rule->claim_client;
	out->scope_claim = (char *)rule->claim_scope;
	out->user_claim = (char *)rule->user_claim;
	out->keys_refresh_s = (uint32_t)(rule->keys_refresh_ms / 1000);
	out->keys_stale_s = (uint32_t)(rule->keys_stale_ms / 1000);
	out->allow_private = rule->allow_private;
	return true;
}
