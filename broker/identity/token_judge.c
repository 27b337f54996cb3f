/* Is what this token says good here and now? One check a claim, in the order of token.h; the first that fails answers.
 * No value of the token stands in a message: what is shown is what was expected, from the configuration. */
#include "identity/token_judge.h"

#include <string.h>

#define LEEWAY_MAX_MS 60000
#define SHOWN_MAX 64

struct question {
	const struct facts *f;
	const struct issuer_rule *rule;
	const struct token_context *cx;
	struct claims *c;
	int64_t leeway_ms;
};

bool token_judge_issuer(const struct issuer_rule *rule, const struct token_context *cx)
{
	char issuer[ISSUER_ID_MAX];

	if (!cx->allowed_issuers)
		return true;
	issuer_id(rule, issuer);
	for (size_t i = 0; i < cx->n_allowed_issuers; i++)
		if (strcmp(cx->allowed_issuers[i], issuer) == 0)
			return true;
	return false;
}

/* A configured value, fit for a message: short ones only. */
static const char *shown(const char *configured)
{
	return strlen(configured) <= SHOWN_MAX ? configured : "the one that is configured";
}

static bool judge_lifetime(const struct question *k, struct verdict *v)
{
	int64_t issued_ms = facts_issued_at(k->f, k->rule), life = k->f->expires_at_ms - issued_ms;
	bool ahead = issued_ms > k->cx->now_ms + k->leeway_ms; /* of one that is undated: it ends later than the longest life from now */

	if (life <= 0)
		*v = verdict_deny(REASON_INVALID_TOKEN, "exp", "exp is not after iat: the issuer must set both");
	else if (life > k->rule->max_lifetime_ms || (ahead && k->f->undated))
		*v = verdict_deny(REASON_INVALID_TOKEN, "exp",
				  "the token lives too long: ask the issuer for at most %lld seconds (exp - iat)",
				  (long long)(k->rule->max_lifetime_ms / 1000));
	else if (ahead)
		*v = verdict_deny(REASON_INVALID_TOKEN, "iat",
				  "the token was issued in the future: check the issuer's clock");
	else
		return true;
	return false;
}

static bool judge_expiry(const struct question *k, struct verdict *v)
{
	if (k->cx->now_ms < k->f->expires_at_ms + k->leeway_ms)
		return true;
	*v = verdict_deny(REASON_EXPIRED_TOKEN, "exp", "the token has expired: get a new one from the issuer");
	return false;
}

static bool judge_start(const struct question *k, struct verdict *v)
{
	if (k->f->not_before_ms <= k->cx->now_ms + k->leeway_ms)
		return true;
	*v = verdict_deny(REASON_INVALID_TOKEN, "nbf", "the token is not valid yet (nbf)");
	return false;
}

/* Does one of its audiences stand in the rule's list? */
static bool is_for_service(const struct question *k)
{
	const char *a = facts_text(k->f, k->f->audiences);

	for (uint16_t i = 0; i < k->f->n_audiences; i++, a += strlen(a) + 1)
		if (issuer_serves(k->rule, a))
			return true;
	return false;
}

/* An issuer that may speak to some services only. Where none is demanded, the token is at least for one of them. */
static bool judge_service(const struct question *k, struct verdict *v)
{
	if (k->cx->audience ? issuer_serves(k->rule, k->cx->audience) : is_for_service(k))
		return true;
	*v = verdict_deny(REASON_WRONG_AUDIENCE, "aud",
			  "the token's issuer may not speak to %s: use another's token, or have the audience listed in the issuer's audiences",
			  k->cx->audience ? shown(k->cx->audience) : "what the token is for");
	return false;
}

static bool judge_audience(const struct question *k, struct verdict *v)
{
	const char *found;

	if (!judge_service(k, v))
		return false;
	if (!k->cx->audience)
		return true;
	found = facts_find_audience(k->f, k->cx->audience);
	if (found) { /* the same place in the arena's copy */
		k->c->audience = k->c->audience + (found - k->f->text);
		return true;
	}
	*v = verdict_deny(REASON_WRONG_AUDIENCE, "aud",
			  "the token is for another audience: ask the issuer for one with aud %s",
			  shown(k->cx->audience));
	return false;
}

static bool speaks_for(const struct issuer_rule *rule, const char *tenant)
{
	for (size_t i = 0; i < rule->n_tenants; i++)
		if (strcmp(rule->tenants[i], tenant) == 0)
			return true;
	return false;
}

static bool judge_tenant(const struct question *k, struct verdict *v)
{
	const char *claimed = issuer_tenant(k->rule, facts_text(k->f, k->f->tenant));

	if (!claimed) {
		*v = verdict_deny(REASON_TENANT_BOUNDARY, "tenant",
				  "the token's tenant is none that the issuer's claims.tenant_values lists: have it listed there");
		return false;
	}
	if (!k->cx->tenant)
		return true;
	if (!speaks_for(k->rule, k->cx->tenant))
		*v = verdict_deny(REASON_TENANT_BOUNDARY, "iss",
				  "the token's issuer does not speak for this agent's tenant");
	else if (!claimed[0] && k->rule->n_tenants > 1) /* an agent's name says who it is only inside its tenant */
		*v = verdict_deny(REASON_TENANT_BOUNDARY, "tenant",
				  "the issuer speaks for more than one tenant, so its tokens must name theirs");
	else if (claimed[0] && strcmp(claimed, k->cx->tenant) != 0)
		*v = verdict_deny(REASON_TENANT_BOUNDARY, "tenant",
				  "the token is for another tenant than this agent's");
	else
		return true;
	return false;
}

/* A JWT-SVID names the workload that it is of, and the certificate proves that the peer is this one: no other can use it. */
static bool is_peers_own(const struct question *k)
{
	return k->rule->claims.kind == ISSUER_JWT_SVID && k->cx->spiffe_id && strcmp(facts_text(k->f, k->f->subject), k->cx->spiffe_id) == 0;
}

static bool judge_binding(const struct question *k, struct verdict *v)
{
	bool svid = k->rule->claims.kind == ISSUER_JWT_SVID;

	if (svid && !is_peers_own(k))
		*v = verdict_deny(REASON_TOKEN_BINDING, "sub",
				  "the JWT-SVID is of another workload than the one whose certificate was shown");
	else if (k->f->confirmation == CNF_OTHER)
		*v = verdict_deny(REASON_TOKEN_BINDING, "cnf",
				  "the token is bound to another proof (DPoP) than a certificate: ask for cnf.x5t#S256");
	else if (k->f->confirmation == CNF_NONE && k->rule->binding && !svid)
		*v = verdict_deny(REASON_TOKEN_BINDING, "cnf",
				  "the token is not bound to a certificate: get it over mutual TLS (RFC 8705)");
	else if (k->f->confirmation == CNF_CERTIFICATE && !k->cx->x5t_s256)
		*v = verdict_deny(REASON_TOKEN_BINDING, "cnf",
				  "the token is bound to a certificate, and none was shown");
	else if (k->f->confirmation == CNF_CERTIFICATE && strcmp(facts_text(k->f, k->f->x5t), k->cx->x5t_s256) != 0)
		*v = verdict_deny(REASON_TOKEN_BINDING, "cnf",
				  "the token is bound to another certificate: get one with the certificate in use now");
	else {
		k->c->bound = svid || k->f->confirmation == CNF_CERTIFICATE;
		return true;
	}
	return false;
}

static bool judge_client(const struct question *k, struct verdict *v)
{
	const char *client = facts_text(k->f, k->f->client);

	if (!k->cx->client || strcmp(client, k->cx->client) == 0)
		return true;
	if (k->cx->client_alt && strcmp(client, k->cx->client_alt) == 0)
		return true;
	*v = verdict_deny(REASON_IDENTITY_MISMATCH, "client_id",
			  "the token was issued to another client than this agent (%s)", shown(k->cx->client));
	return false;
}

struct verdict token_judge(const struct facts *f, const struct issuer_rule *rule, const struct token_context *cx,
			   struct claims *c)
{
	static bool (*const checks[])(const struct question *, struct verdict *) = {
		judge_lifetime, judge_expiry, judge_start, judge_audience, judge_tenant, judge_binding, judge_client,
	};
	struct question k = {f, rule, cx, c, cx->leeway_ms};
	struct verdict v = verdict_allow();

	if (k.leeway_ms < 0)
		k.leeway_ms = 0;
	if (k.leeway_ms > LEEWAY_MAX_MS)
		k.leeway_ms = LEEWAY_MAX_MS;
	for (size_t i = 0; i < sizeof checks / sizeof checks[0]; i++)
		if (!checks[i](&k, &v))
			break;
	return v;
}
