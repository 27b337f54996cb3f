/* What does the registry say of an agent? See registered.h. */
#include "rpc/registered.h"

#include <stdio.h>
#include <string.h>

#include "base/encode.h"
#include "base/secret.h"
#include "base/words.h"
#include "identity/spiffe.h"
#include "registry/card.h"
#include "store/store.h"

#define IN_FLIGHT_MAX 1000000
#define RATE_MAX 1000000
#define IN_FLIGHT_DEFAULT 1000
#define OWNER_MAX 256
#define LABEL_MAX 256
#define TTL_MIN_S 30
#define TTL_MAX_S 86400         /* as of issuing.ttl */
#define ACCEPTED_MAX_S 315360000 /* ten years */

struct slice registered_name(const char *tenant, const char *name, char out[REGISTERED_NAME_MAX])
{
	int n = snprintf(out, REGISTERED_NAME_MAX, REGISTERED_PREFIX "%.63s/%.63s", tenant, name);

	return slice_of(out, (size_t)n);
}

struct slice registered_id_name(const char *spiffe_id, char out[REGISTERED_ID_MAX])
{
	uint8_t print[SHA256_BYTES];
	char text[B64URL_LEN(SHA256_BYTES) + 1];
	int n;

	sha256(slice_str(spiffe_id), print);
	b64url_encode(print, sizeof print, text);
	n = snprintf(out, REGISTERED_ID_MAX, REGISTERED_ID_PREFIX "%s", text);
	return slice_of(out, (size_t)n);
}

/* ---- what may stand there ---- */

static bool one_line(const char *text, size_t max)
{
	for (const char *p = text; *p; p++)
		if ((unsigned char)*p < ' ' || *p == 0x7f)
			return false;
	return strlen(text) <= max;
}

static const char *routes_wrong(char *const *v, size_t n)
{
	if (n > AGENT_ROUTES_MAX)
		return "at most 64 routes";
	for (size_t i = 0; i < n; i++) {
		if (!name_valid(slice_str(v[i])))
			return "a route's name is [a-z0-9][a-z0-9._-]{0,62}";
		for (size_t j = 0; j < i; j++)
			if (strcmp(v[i], v[j]) == 0)
				return "a route stands there twice";
	}
	return NULL;
}

/* RFC 6749, 3.3: scope-token. */
static bool is_scope(const char *text)
{
	size_t n = strlen(text);

	for (const char *p = text; *p; p++)
		if (*p < 0x21 || *p > 0x7e || *p == '"' || *p == '\\')
			return false;
	return n && n <= AGENT_SCOPE_MAX;
}

static const char *scopes_wrong(char *const *v, size_t n)
{
	if (n > AGENT_SCOPES_MAX)
		return "at most 64 scopes";
	for (size_t i = 0; i < n; i++) {
		if (!is_scope(v[i]))
			return "a scope has 1 to 64 printable characters, none of them a space, \" or \\";
		for (size_t j = 0; j < i; j++)
			if (strcmp(v[i], v[j]) == 0)
				return "a scope stands there twice";
	}
	return NULL;
}

static const char *labels_wrong(const Baton__V1__AgentSpec *m)
{
	if (m->n_labels > REGISTERED_LABELS_MAX)
		return "at most 16 labels";
	for (size_t i = 0; i < m->n_labels; i++)
		if (!name_valid(slice_str(m->labels[i]->key)) || !one_line(m->labels[i]->value, LABEL_MAX))
			return "a label's key is [a-z0-9][a-z0-9._-]{0,62}, its value one line of at most 256 bytes";
	return NULL;
}

static const char *id_wrong(const char *text)
{
	struct spiffe_id id;

	return spiffe_parse(slice_str(text), &id);
}

static const char *client_wrong(const char *text)
{
	return one_line(text, AGENT_CLIENT_MAX) && !strchr(text, ' ') ? NULL : "a client id has at most 255 bytes, no space and no control character";
}

/* 0, or within. */
static bool is_ttl(uint32_t ttl_s, uint32_t max)
{
	return !ttl_s || (ttl_s >= TTL_MIN_S && ttl_s <= max);
}

const char *registered_wrong(const Baton__V1__AgentSpec *m, const char **field)
{
	static const Baton__V1__CertificatePolicy none = BATON__V1__CERTIFICATE_POLICY__INIT;
	const Baton__V1__CertificatePolicy *c = m->certificate ? m->certificate : &none;
	const struct { const char *field, *wrong; } rows[] = {
		{"agent.tenant", name_valid(slice_str(m->tenant)) ? NULL : "a tenant's name is [a-z0-9][a-z0-9._-]{0,62}"},
		{"agent.name", name_valid(slice_str(m->name)) ? NULL : "an agent's name is [a-z0-9][a-z0-9._-]{0,62}"},
		{"agent.spiffe_id", id_wrong(m->spiffe_id)},
		{"agent.owner", !*m->owner ? "say whose it is, an e-mail address or a team: somebody must be asked in an incident"
		 : one_line(m->owner, OWNER_MAX) ? NULL : "one line of at most 256 bytes"},
		{"agent.client", client_wrong(m->client)},
		{"agent.may_call", routes_wrong(m->may_call, m->n_may_call)},
		{"agent.may_serve", routes_wrong(m->may_serve, m->n_may_serve)},
		{"agent.scope_ceiling", scopes_wrong(m->scope_ceiling, m->n_scope_ceiling)},
		{"agent.max_in_flight", m->max_in_flight <= IN_FLIGHT_MAX ? NULL : "at most 1000000"},
		{"agent.rate_per_s", m->rate_per_s <= RATE_MAX ? NULL : "at most 1000000"},
		{"agent.expires_at_ms", m->expires_at_ms >= 0 ? NULL : "a time after 1970, or 0 for never"},
		{"agent.status", m->status <= BATON__V1__AGENT_STATUS__AGENT_STATUS_RETIRED ? NULL : "ACTIVE, QUARANTINED or RETIRED"},
		{"agent.labels", labels_wrong(m)},
		{"agent.card", m->card.len <= CARD_BYTES_MAX ? NULL : "it has more than 32768 bytes"}, /* what is in it is looked at when it comes in: registrar.c */
		{"agent.certificate.max_ttl_s", is_ttl(c->max_ttl_s, TTL_MAX_S) ? NULL : "30 to 86400 seconds, or 0 for as long as issuing.ttl says"},
		{"agent.certificate.issuance", c->issuance <= BATON__V1__CERTIFICATE_ISSUANCE__CERTIFICATE_ISSUANCE_NONE ? NULL : "ENROLMENT, RENEWAL, NONE, or nothing for both"},
		{"agent.certificate.max_accepted_ttl_s", is_ttl(c->max_accepted_ttl_s, ACCEPTED_MAX_S) ? NULL : "30 to 315360000 seconds, or 0 for any"},
	};

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		*field = rows[i].field;
		if (rows[i].wrong)
			return rows[i].wrong;
	}
	return NULL;
}

/* ---- what decisions are made with ---- */

static const char (*list(struct arena *a, char *const *v, size_t n))[64]
{
	char(*out)[64] = arena_zalloc(a, (n + 1) * sizeof *out);

	for (size_t i = 0; out && i < n; i++)
		slice_copy_str(slice_str(v[i]), out[i], sizeof out[i]);
	return (const char(*)[64])out;
}

static const char (*scopes(struct arena *a, char *const *v, size_t n))[AGENT_SCOPE_MAX + 1]
{
	char(*out)[AGENT_SCOPE_MAX + 1] = arena_zalloc(a, (n + 1) * sizeof *out);

	for (size_t i = 0; out && i < n; i++)
		slice_copy_str(slice_str(v[i]), out[i], sizeof out[i]);
	return (const char(*)[AGENT_SCOPE_MAX + 1])out;
}

static struct agent_certificates certificates(const Baton__V1__CertificatePolicy *c)
{
	if (!c)
		return (struct agent_certificates){0};
	return (struct agent_certificates){
		.max_ttl_ms = c->max_ttl_s * INT64_C(1000), .max_accepted_ms = c->max_accepted_ttl_s * INT64_C(1000),
		.no_enrolment = c->issuance >= BATON__V1__CERTIFICATE_ISSUANCE__CERTIFICATE_ISSUANCE_RENEWAL,
		.no_renewal = c->issuance == BATON__V1__CERTIFICATE_ISSUANCE__CERTIFICATE_ISSUANCE_ENROLMENT || c->issuance == BATON__V1__CERTIFICATE_ISSUANCE__CERTIFICATE_ISSUANCE_NONE,
	};
}

bool registered_agent(struct arena *a, const Baton__V1__AgentSpec *m, struct agent *out)
{
	*out = (struct agent){
		.spiffe_id = m->spiffe_id, .client = *m->client ? m->client : m->name, .n_call = m->n_may_call, .n_serve = m->n_may_serve,
		.call = list(a, m->may_call, m->n_may_call), .serve = list(a, m->may_serve, m->n_may_serve),
		.ceiling = scopes(a, m->scope_ceiling, m->n_scope_ceiling), .n_ceiling = m->n_scope_ceiling,
		.max_in_flight = m->max_in_flight ? m->max_in_flight : IN_FLIGHT_DEFAULT, .rate_per_s = m->rate_per_s,
		.may_originate = m->may_originate, .certificates_from_ms = m->certificates_from_ms, .certificates = certificates(m->certificate), .registered = true, .key = store_agent_key(m->tenant, m->name),
	};
	slice_copy_str(slice_str(m->tenant), out->tenant, sizeof out->tenant);
	slice_copy_str(slice_str(m->name), out->name, sizeof out->name);
	return out->call && out->serve && out->ceiling;
}

struct verdict registered_shows(const struct agent *a, const struct identity_peer *p)
{
	if (!agent_may_show(a, p->not_before_ms))
		return verdict_deny(REASON_UNKNOWN_PEER, "", "another agent had %.200s before, and the certificate is of that time: it needs a new one", p->spiffe_id);
	if (!agent_may_show_for(a, p->life_ms))
		return verdict_deny(REASON_UNKNOWN_PEER, "certificate", "certificate: it lives %lld s, and of %s none is taken that lives longer than %lld s: it needs a shorter one",
				    (long long)(p->life_ms / 1000), a->name, (long long)(a->certificates.max_accepted_ms / 1000));
	return verdict_allow();
}

bool registered_active(const Baton__V1__AgentSpec *m, int64_t now_ms)
{
	return m->status == BATON__V1__AGENT_STATUS__AGENT_STATUS_ACTIVE && (!m->expires_at_ms || m->expires_at_ms > now_ms);
}
