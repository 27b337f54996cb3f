/* What can stand in a file of resources? The tables, and how a field of a row is got at. See reskind.h. */
#include "config.h"

#include "cli/reskind.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/words.h"
#include "cli/options.h"
#include "cli/pem.h"
#include "identity/crl.h"
#include "identity/introspection.h"
#include "identity/issuer.h"
#include "identity/peer.h"
#include "identity/spiffe.h"

/* ---- agents ---- */

typedef Baton__V1__AgentSpec agent;

#define AT(field) offsetof(agent, field)

static const char *name_wrong(const char *text)
{
	return name_valid(slice_str(text)) ? NULL : "this is no name";
}

static const char *id_wrong(const char *text)
{
	struct spiffe_id id;

	return spiffe_parse(slice_str(text), &id);
}

#define NAME_FORM "[a-z0-9][a-z0-9._-]{0,62}"
#define NAME_TODO "write a name: " NAME_FORM
#define PEM_TODO "each is a PEM block behind `- >-`, or its base64 on one line"
#define ROUTE_TODO "write the name of a route: " NAME_FORM

static const struct res_word agent_status[] = {
	{"active", BATON__V1__AGENT_STATUS__AGENT_STATUS_ACTIVE}, {"quarantined", BATON__V1__AGENT_STATUS__AGENT_STATUS_QUARANTINED}, {NULL, 0},
};

static const struct res_word agent_issuance[] = {
	{"all", BATON__V1__CERTIFICATE_ISSUANCE__CERTIFICATE_ISSUANCE_UNSPECIFIED}, {"enrolment", BATON__V1__CERTIFICATE_ISSUANCE__CERTIFICATE_ISSUANCE_ENROLMENT},
	{"renewal", BATON__V1__CERTIFICATE_ISSUANCE__CERTIFICATE_ISSUANCE_RENEWAL}, {"none", BATON__V1__CERTIFICATE_ISSUANCE__CERTIFICATE_ISSUANCE_NONE}, {NULL, 0},
};

#define CERTIFICATE(field) \
	.at = offsetof(Baton__V1__CertificatePolicy, field), .within = AT(certificate), .inner = &baton__v1__certificate_policy__descriptor, .sent = #field

static const struct res_field agent_fields[] = {
	{.name = "tenant", .type = RES_TEXT, .at = AT(tenant), .required = true, .wrong = name_wrong, .todo = NAME_TODO},
	{.name = "name", .type = RES_TEXT, .at = AT(name), .required = true, .wrong = name_wrong, .todo = NAME_TODO},
	{.name = "spiffe_id", .type = RES_TEXT, .at = AT(spiffe_id), .required = true, .unique = true, .wrong = id_wrong,
	 .todo = "write the URI of the agent's certificate, as spiffe://acme.example/planner"},
	{.name = "owner", .type = RES_TEXT, .at = AT(owner), .required = true, .todo = "write whose agent it is: an e-mail address or a team"},
	{.name = "client", .type = RES_TEXT, .at = AT(client)},
	{.name = "may_call", .type = RES_WORDS, .at = AT(may_call), .count = AT(n_may_call), .wrong = name_wrong, .todo = ROUTE_TODO},
	{.name = "may_serve", .type = RES_WORDS, .at = AT(may_serve), .count = AT(n_may_serve), .wrong = name_wrong, .todo = ROUTE_TODO},
	{.name = "scope_ceiling", .type = RES_WORDS, .at = AT(scope_ceiling), .count = AT(n_scope_ceiling)},
	{.name = "may_originate", .type = RES_BOOL, .at = AT(may_originate), .shown = true},
	{.name = "max_in_flight", .type = RES_NUMBER, .at = AT(max_in_flight), .min = 1, .max = 1000000},
	{.name = "rate_per_s", .type = RES_NUMBER, .at = AT(rate_per_s), .max = 1000000},
	{.name = "status", .type = RES_CHOICE, .at = AT(status), .stays = true, .shown = true, .words = agent_status, .todo = "an agent is retired by `baton agent retire`"},
	{.name = "certificate_max_ttl_s", .type = RES_NUMBER, CERTIFICATE(max_ttl_s), .min = 30, .max = 86400},
	{.name = "certificate_issuance", .type = RES_CHOICE, CERTIFICATE(issuance), .words = agent_issuance},
	{.name = "certificate_max_accepted_ttl_s", .type = RES_NUMBER, CERTIFICATE(max_accepted_ttl_s), .min = 30, .max = 315360000},
	{.name = "card", .type = RES_BYTES, .at = AT(card), .json = true, .from_file = "card_file"},
	{.name = "expires_at", .type = RES_TIME, .at = AT(expires_at_ms), .sent = "expires_at_ms"},
	{.name = "labels", .type = RES_PAIRS, .at = AT(labels), .count = AT(n_labels), .entry = &baton__v1__agent_spec__labels_entry__descriptor, .wrong = name_wrong,
	 .todo = "write a name as the key: " NAME_FORM},
};
#define AGENT_FIELDS (sizeof agent_fields / sizeof agent_fields[0])
#define FITS(fields) _Static_assert(sizeof fields / sizeof fields[0] <= RES_FIELDS_MAX, "given[] has room for each")
FITS(agent_fields);

static const struct res_refused agent_refused[] = {
	{"uuid", "the broker gives it", NULL}, {"registered_at_ms", "the broker gives it", NULL}, {"certificates_from_ms", "the broker gives it", NULL}, {"registered_at", "the broker gives it", NULL},
	{"expires_at_ms", "a time is written as RFC 3339 has it", "expires_at"},
	{"id", "it has another name here", "spiffe_id"}, {"call", "it has another name here", "may_call"}, {"serve", "it has another name here", "may_serve"},
	{"rate", "it has another name here", "rate_per_s"},
	{"certificate", "each part has a line of its own", "certificate_max_ttl_s"}, {NULL, NULL, NULL},
};

/* Who may call a route may begin, when nothing is said: as `baton agent register` has it. */
static void agent_finish(ProtobufCMessage *spec, const bool *given)
{
	agent *a = (agent *)spec;

	for (size_t i = 0; i < AGENT_FIELDS; i++) {
		if (given[i])
			continue;
		if (agent_fields[i].at == AT(may_originate))
			a->may_originate = a->n_may_call > 0;
		else if (agent_fields[i].at == AT(status))
			a->status = BATON__V1__AGENT_STATUS__AGENT_STATUS_ACTIVE;
	}
}

static bool agent_gone(const ProtobufCMessage *spec)
{
	return ((const agent *)spec)->status == BATON__V1__AGENT_STATUS__AGENT_STATUS_RETIRED;
}

/* ---- issuers ---- */

#undef AT
#define AT(field) offsetof(Baton__V1__Issuer, field)

static const char *binding_wrong(const char *text)
{
	return strcmp(text, "certificate") == 0 || strcmp(text, "none") == 0 ? NULL : "this is neither";
}

static const char *tokens_wrong(const char *text)
{
	return strcmp(text, "oidc") == 0 || strcmp(text, "jwt-svid") == 0 ? NULL : "this is neither";
}

static const char *dialect_wrong(const char *text)
{
	return dialect_from_text(slice_str(text)) < DIALECTS ? NULL : "this is none of them";
}

static const char *typ_wrong(const char *text)
{
	return token_typ_from_text(slice_str(text)) < TOKEN_TYPS ? NULL : "this is neither";
}

static const char *algorithm_wrong(const char *text)
{
	return token_alg_from_text(slice_str(text)) ? NULL : "this is none of them";
}

#define DAY_S 86400

static const struct res_field issuer_fields[] = {
	{.name = "name", .type = RES_TEXT, .at = AT(name), .required = true, .wrong = name_wrong, .todo = NAME_TODO},
	{.name = "url", .type = RES_TEXT, .at = AT(url), .required = true, .unique = true, .wrong = issuer_url_wrong,
	 .todo = "write what `iss` is in its tokens, to the byte: https://login.acme.example"},
	{.name = "tenants", .type = RES_WORDS, .at = AT(tenants), .count = AT(n_tenants), .required = true, .wrong = name_wrong, .todo = "list the tenants that it speaks for: [acme]"},
	{.name = "audiences", .type = RES_WORDS, .at = AT(audiences), .count = AT(n_audiences), .wrong = issuer_audience_wrong, .todo = "write what aud is in its tokens"},
	{.name = "algorithms", .type = RES_WORDS, .at = AT(algorithms), .count = AT(n_algorithms), .wrong = algorithm_wrong, .todo = "write ES256, ES384, EdDSA, PS256 or RS256"},
	{.name = "binding", .type = RES_TEXT, .at = AT(binding), .wrong = binding_wrong, .todo = "write certificate or none"},
	{.name = "max_lifetime_s", .type = RES_NUMBER, .at = AT(max_lifetime_s), .min = 1, .max = 7 * DAY_S},
	{.name = "keys_refresh_s", .type = RES_NUMBER, .at = AT(keys_refresh_s), .min = 1, .max = DAY_S},
	{.name = "keys_stale_s", .type = RES_NUMBER, .at = AT(keys_stale_s), .min = 1, .max = 7 * DAY_S},
	{.name = "tokens", .type = RES_TEXT, .at = AT(kind), .wrong = tokens_wrong, .sent = "kind", .todo = "write oidc or jwt-svid"},
	{.name = "trust_domain", .type = RES_TEXT, .at = AT(trust_domain), .wrong = trust_domain_wrong, .todo = "write the trust domain of its JWT-SVIDs"},
	{.name = "dialect", .type = RES_TEXT, .at = AT(dialect), .wrong = dialect_wrong, .todo = "write standard, entra, okta, keycloak or auth0"},
	{.name = "typ", .type = RES_TEXT, .at = AT(typ), .wrong = typ_wrong, .todo = "write at+jwt or jwt"},
	{.name = "tenant_claim", .type = RES_TEXT, .at = AT(tenant_claim)},
	{.name = "client_claim", .type = RES_TEXT, .at = AT(client_claim)},
	{.name = "scope_claim", .type = RES_TEXT, .at = AT(scope_claim)},
	{.name = "user_claim", .type = RES_TEXT, .at = AT(user_claim)},
	{.name = "jti_claim", .type = RES_TEXT, .at = AT(jti_claim)},
	{.name = "service_claim", .type = RES_TEXT, .at = AT(service_claim)},
	{.name = "tenant_values", .type = RES_PAIRS, .at = AT(tenant_values), .count = AT(n_tenant_values), .entry = &baton__v1__issuer__tenant_values_entry__descriptor},
	{.name = "jwks", .type = RES_BYTES, .at = AT(jwks)},
	{.name = "ca", .type = RES_DER, .at = AT(ca_der), .count = AT(n_ca_der), .label = PEM_CERTIFICATE, .sent = "ca_der", .todo = PEM_TODO},
	{.name = "allow_private", .type = RES_BOOL, .at = AT(allow_private)},
	{.name = "introspection_url", .type = RES_TEXT, .at = AT(introspection_url), .wrong = issuer_url_wrong, .todo = "write where it is asked about opaque tokens: https://login.acme.example/introspect"},
	{.name = "introspection_client_id", .type = RES_TEXT, .at = AT(introspection_client_id)},
	{.name = "introspection_secret", .type = RES_TEXT, .at = AT(introspection_secret), .wrong = introspection_secret_name_wrong,
	 .todo = "write what the secret is called in the nodes' registry.secrets: acme"},
	{.name = "introspection_cert", .type = RES_TEXT, .at = AT(introspection_cert), .wrong = introspection_secret_name_wrong,
	 .todo = "write what the certificate is called in the nodes' registry.secrets: acme"},
	{.name = "introspection_cache_s", .type = RES_NUMBER, .at = AT(introspection_cache_s), .min = 1, .max = 600},
};
FITS(issuer_fields);

static const struct res_refused issuer_refused[] = {
	{"keys", "the broker says it", NULL}, {"keys_good_until_ms", "the broker says it", NULL},
	{"audience", "it has another name here", "audiences"}, {"claims.tenant", "it has another name here", "tenant_claim"},
	{"jwks_file", "the keys themselves stand here", "jwks"}, {"ca_file", "the certificates themselves stand here", "ca"}, {"ca_der", "it has another name here", "ca"},
	{"max_lifetime", "it is a number of seconds", "max_lifetime_s"}, {"keys_refresh", "it is a number of seconds", "keys_refresh_s"},
	{"keys_stale", "it is a number of seconds", "keys_stale_s"}, {"claims", "each claim has a line of its own", "tenant_claim"}, {"client_secret", "the broker verifies tokens and asks for none", NULL},
	{"introspection", "each of its keys has a line of its own", "introspection_url"}, {"introspection_cache", "it is a number of seconds", "introspection_cache_s"},
	{"introspection_secret_file", "no node reads a file that an operator names: the secret's name stands here", "introspection_secret"},
	{"introspection_client_secret", "a secret is never sent: its name stands here", "introspection_secret"},
	{"introspection_client_cert", "no node reads a file that an operator names: the certificate's name stands here", "introspection_cert"},
	{"introspection_client_key", "the key has the certificate's name, which stands here", "introspection_cert"},
	{"introspection_failure", "the broker says it", NULL},
	{NULL, NULL, NULL},
};

/* ---- trust bundles ---- */

static const char *cert_id_wrong(const char *text)
{
	return ocsp_digest_of(text) < 0 ? "this is neither" : NULL;
}

static const char *nonce_wrong(const char *text)
{
	return ocsp_nonce_of(text) < 0 ? "this is neither" : NULL;
}

#undef AT
#define AT(field) offsetof(Baton__V1__TrustBundle, field)

static const struct res_field bundle_fields[] = {
	{.name = "trust_domain", .type = RES_TEXT, .at = AT(trust_domain), .required = true, .wrong = trust_domain_wrong, .todo = "write the trust domain of its SPIFFE ids: acme.example"},
	{.name = "anchors", .type = RES_DER, .at = AT(anchors_der), .count = AT(n_anchors_der), .required = true, .label = PEM_CERTIFICATE, .sent = "anchors_der", .todo = PEM_TODO},
	{.name = "crls", .type = RES_DER, .at = AT(crls_der), .count = AT(n_crls_der), .label = PEM_CRL, .sent = "crls_der", .todo = PEM_TODO},
	{.name = "crl_urls", .type = RES_WORDS, .at = AT(crl_urls), .count = AT(n_crl_urls), .wrong = crl_url_wrong, .todo = "write where the lists are fetched: https://pki.acme.example/acme.crl"},
	{.name = "crl_ca", .type = RES_DER, .at = AT(crl_ca_der), .count = AT(n_crl_ca_der), .label = PEM_CERTIFICATE, .sent = "crl_ca_der", .todo = PEM_TODO},
	{.name = "ocsp_url", .type = RES_TEXT, .at = AT(ocsp_url), .wrong = crl_url_wrong, .todo = "write which responder is asked about its certificates: http://ocsp.acme.example"},
	{.name = "ocsp_ca", .type = RES_DER, .at = AT(ocsp_ca_der), .count = AT(n_ocsp_ca_der), .label = PEM_CERTIFICATE, .sent = "ocsp_ca_der", .todo = PEM_TODO},
	{.name = "ocsp_cert_id", .type = RES_TEXT, .at = AT(ocsp_cert_id), .wrong = cert_id_wrong, .todo = "write sha256 or sha1"},
	{.name = "ocsp_nonce", .type = RES_TEXT, .at = AT(ocsp_nonce), .wrong = nonce_wrong, .todo = "write optional or required"},
	{.name = "ocsp_max_age_s", .type = RES_NUMBER, .at = AT(ocsp_max_age_s), .min = OCSP_AGE_MIN_MS / 1000, .max = OCSP_AGE_MAX_MS / 1000},
	{.name = "ocsp_stale_s", .type = RES_NUMBER, .at = AT(ocsp_stale_s), .max = OCSP_STALE_MAX_MS / 1000},
};
FITS(bundle_fields);

static const struct res_refused bundle_refused[] = {
	{"domain", "it has another name here", "trust_domain"}, {"bundle", "the certificates themselves stand here", "anchors"}, {"crl", "the CRLs themselves stand here", "crls"},
	{"anchors_der", "it has another name here", "anchors"}, {"crls_der", "it has another name here", "crls"}, {"crl_next_update_ms", "the broker says it", NULL},
	{"crl_url", "it has another name here", "crl_urls"}, {"crl_ca_der", "it has another name here", "crl_ca"}, {"crls_failure", "the broker says it", NULL}, {"crls_fetched_at_ms", "the broker says it", NULL},
	{"ocsp_failure", "the broker says it", NULL}, {"ocsp_ca_der", "it has another name here", "ocsp_ca"}, {"ocsp_max_age", "it is a number of seconds", "ocsp_max_age_s"},
	{"ocsp_stale", "it is a number of seconds", "ocsp_stale_s"}, {"ocsp_allow_private", "only the nodes' configuration says it: registry.allow_private_fetches", NULL},
	{"ocsp", "each of its keys has a line of its own", "ocsp_url"},
	{NULL, NULL, NULL},
};

/* ---- tenants ---- */

#undef AT
#define AT(field) offsetof(Baton__V1__Tenant, field)

static const struct res_field tenant_fields[] = {
	{.name = "name", .type = RES_TEXT, .at = AT(name), .required = true, .wrong = name_wrong, .todo = NAME_TODO},
	{.name = "max_waiting", .type = RES_COUNT, .at = AT(max_waiting), .max = 1000000000},
	{.name = "max_bytes", .type = RES_SIZE, .at = AT(max_bytes), .max = UINT64_C(1) << 40},
	{.name = "max_agents", .type = RES_NUMBER, .at = AT(max_agents), .max = 65536},
};
FITS(tenant_fields);

static const struct res_refused tenant_refused[] = {
	{"waiting", "the broker says it", NULL}, {"waiting_bytes", "the broker says it", NULL}, {"agents", "the broker says it", NULL},
	{"waiting_per_tenant", "it has another name here", "max_waiting"}, {"waiting_bytes_per_tenant", "it has another name here", "max_bytes"},
	{"agents_per_tenant", "it has another name here", "max_agents"},
	{"tenant", "it has another name here", "name"}, {NULL, NULL, NULL},
};

/* ---- all kinds: what others need stands first ---- */

const struct res_kind res_kinds[] = {
	{"tenant", BATON__V1__RESOURCE__SPEC_TENANT, &baton__v1__tenant__descriptor, tenant_fields, sizeof tenant_fields / sizeof tenant_fields[0], tenant_refused, RES_NO_TENANT,
	 offsetof(Baton__V1__Tenant, name), NULL, "created", NULL},
	{"trust", BATON__V1__RESOURCE__SPEC_BUNDLE, &baton__v1__trust_bundle__descriptor, bundle_fields, sizeof bundle_fields / sizeof bundle_fields[0], bundle_refused, RES_NO_TENANT,
	 offsetof(Baton__V1__TrustBundle, trust_domain), NULL, "added", NULL},
	{"issuer", BATON__V1__RESOURCE__SPEC_ISSUER, &baton__v1__issuer__descriptor, issuer_fields, sizeof issuer_fields / sizeof issuer_fields[0], issuer_refused, RES_NO_TENANT,
	 offsetof(Baton__V1__Issuer, name), NULL, "added", NULL},
	{"agent", BATON__V1__RESOURCE__SPEC_AGENT, &baton__v1__agent_spec__descriptor, agent_fields, AGENT_FIELDS, agent_refused, offsetof(agent, tenant), offsetof(agent, name), agent_finish,
	 "registered", agent_gone},
};
const size_t n_res_kinds = sizeof res_kinds / sizeof res_kinds[0];

const struct res_refused res_refused_everywhere[] = {
	{"version", "what is there is looked up", NULL}, {"updated_by", "the broker writes it", NULL}, {"updated_at_ms", "the broker writes it", NULL},
	{"is_static", "the broker says it", NULL}, {"reason", "it is given with --reason", NULL}, {NULL, NULL, NULL},
};

const struct res_kind *res_kind_find(const char *name)
{
	for (size_t i = 0; i < n_res_kinds; i++)
		if (strcmp(res_kinds[i].name, name) == 0)
			return &res_kinds[i];
	return NULL;
}

/* All kinds' messages are pointers in one union. */
ProtobufCMessage *res_spec(const struct res_kind *k, const Baton__V1__Resource *r)
{
	return r && (int)r->spec_case == k->spec_case ? (ProtobufCMessage *)r->agent : NULL;
}

void res_set_spec(const struct res_kind *k, Baton__V1__Resource *r, ProtobufCMessage *spec)
{
	r->spec_case = (Baton__V1__Resource__SpecCase)k->spec_case;
	r->agent = (agent *)spec;
}

bool res_gone(const struct res_kind *k, const ProtobufCMessage *spec)
{
	return k->gone && k->gone(spec);
}

const char *res_tenant(const struct res_kind *k, const ProtobufCMessage *spec)
{
	return k->tenant == RES_NO_TENANT ? "" : *(char **)res_at(spec, k->tenant);
}

const char *res_id(const struct res_kind *k, const ProtobufCMessage *spec)
{
	return *(char **)res_at(spec, k->id);
}

char *res_name(const struct res_kind *k, const char *tenant, const char *id, struct arena *a)
{
	return arena_printf(a, "%s/%s%s%s", k->name, tenant, *tenant ? "/" : "", id);
}

int res_field_find(const struct res_kind *k, const char *name)
{
	for (size_t i = 0; i < k->n_fields; i++)
		if (strcmp(k->fields[i].name, name) == 0)
			return (int)i;
	return -1;
}

/* ---- numbers ---- */

static ProtobufCMessage **inner(const ProtobufCMessage *spec, const struct res_field *f)
{
	return res_at(spec, f->within);
}

bool res_make_inner(const struct res_kind *k, ProtobufCMessage *spec, struct arena *a)
{
	for (size_t i = 0; i < k->n_fields; i++) {
		const struct res_field *f = &k->fields[i];

		if (!f->within || *inner(spec, f))
			continue;
		*inner(spec, f) = arena_alloc(a, f->inner->sizeof_message);
		if (!*inner(spec, f))
			return false;
		protobuf_c_message_init(f->inner, *inner(spec, f));
	}
	return true;
}

int64_t res_number(const ProtobufCMessage *spec, const struct res_field *f)
{
	static const int64_t nothing;
	const ProtobufCMessage *m = f->within ? *inner(spec, f) : spec;
	const void *at = m ? res_at(m, f->at) : &nothing;
	int64_t ms;

	switch (f->type) {
	case RES_BOOL:
		return *(const protobuf_c_boolean *)at != 0;
	case RES_TIME:
		ms = *(const int64_t *)at;
		return ms > CLOCK_LAST_MS ? 0 : ms;
	case RES_CHOICE:
		return *(const int *)at;
	case RES_COUNT:
	case RES_SIZE:
		return (int64_t)*(const uint64_t *)at;
	default:
		return *(const uint32_t *)at;
	}
}

void res_set_number(ProtobufCMessage *spec, const struct res_field *f, int64_t v)
{
	void *at = res_at(f->within ? *inner(spec, f) : spec, f->at);

	switch (f->type) {
	case RES_BOOL:
		*(protobuf_c_boolean *)at = v != 0;
		break;
	case RES_TIME:
		*(int64_t *)at = v;
		break;
	case RES_CHOICE:
		*(int *)at = (int)v;
		break;
	case RES_COUNT:
	case RES_SIZE:
		*(uint64_t *)at = (uint64_t)v;
		break;
	default:
		*(uint32_t *)at = (uint32_t)v;
		break;
	}
}

/* Whole seconds are written without a fraction. */
static void time_text(int64_t ms, char out[RES_NUMBER_MAX])
{
	clock_format_utc(ms, out);
	if (ms % 1000 == 0)
		memcpy(out + 19, "Z", 2);
}

const char *res_number_text(const ProtobufCMessage *spec, const struct res_field *f, char out[RES_NUMBER_MAX])
{
	int64_t v = res_number(spec, f);

	snprintf(out, RES_NUMBER_MAX, "%lld", (long long)v);
	if (f->type == RES_BOOL)
		return v ? "true" : "false";
	if (f->type == RES_TIME)
		time_text(v, out);
	if (f->type == RES_SIZE)
		size_text(v, out);
	for (const struct res_word *w = f->type == RES_CHOICE ? f->words : NULL; w && w->text; w++)
		if (w->value == v)
			return w->text;
	return out;
}

bool res_is_default(const ProtobufCMessage *spec, const struct res_field *f)
{
	if (f->shown)
		return false;
	if (f->type == RES_TEXT)
		return !**res_text(spec, f);
	if (f->type == RES_BYTES)
		return !res_bytes(spec, f)->len;
	if (res_is_many(f))
		return !*res_count(spec, f);
	return !res_number(spec, f);
}
