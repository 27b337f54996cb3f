/* May this be done? One step a reason, in a table whose order is the order of reasons; the first that fails names
 * it. */
#include "policy/authorize.h"

#include <stdio.h>

#include "policy/destination.h"

struct access {
	const struct agent *agent;
	const struct claims *claims;
	const struct access_request *rq;
	const struct profile *profile;
	const struct profile_tool *tool; /* from the tool step on */
	struct access_grant *grant;
};

static bool list_has(const char *const *list, size_t n, struct slice text)
{
	for (size_t i = 0; i < n; i++)
		if (slice_is(text, list[i]))
			return true;
	return false;
}

static struct verdict check_tenant(struct access *a)
{
	const char *tenant = a->agent->tenant;

	if (a->rq->tenant.n && !slice_is(a->rq->tenant, tenant))
		return verdict_deny(REASON_TENANT_BOUNDARY, "tenant",
			"the envelope names another tenant than this agent's, %s: leave it out",
				    tenant);
	if (a->claims->tenant && a->claims->tenant[0] && strcmp(a->claims->tenant, tenant))
		return verdict_deny(REASON_TENANT_BOUNDARY, "tenant",
			"the token speaks for another tenant than this agent's, %s", tenant);
	if (a->profile && a->profile->n_tenants &&
	    !list_has(a->profile->tenants, a->profile->n_tenants, slice_str(tenant)))
		return verdict_deny(REASON_TENANT_BOUNDARY, "tenant", "the route is not there for tenant %s", tenant);
	return verdict_allow();
}

/* A route that is missing, and one that this agent may not call, are told apart by nobody. */
static struct verdict check_route(struct access *a)
{
	static const char *const takes[] = {"", "a token of a user", "a token of a service, not of a user"};
	enum profile_subject wants;

	if (!a->profile || !slice_is(a->rq->route, a->profile->route) || !agent_may_call(a->agent, a->rq->route))
		return verdict_deny(REASON_ROUTE_DENIED, "route", "there is no such route that %s may call",
			a->agent->name);
	wants = a->profile->subject;
	if (wants != SUBJECT_ANY && (wants == SUBJECT_USER) != a->claims->subject_is_user)
		return verdict_deny(REASON_ROUTE_DENIED, "sub", "%s takes %s", a->profile->route, takes[wants]);
	return verdict_allow();
}

static struct verdict check_tool(struct access *a)
{
	a->tool = profile_tool(a->profile, a->rq->tool);
	if (!a->tool)
		return verdict_deny(REASON_TOOL_DENIED, "tool", "%.*s is not a tool of %s",
				    name_valid(a->rq->tool) ? (int)a->rq->tool.n : 0, (const char *)a->rq->tool.p,
				    a->profile->route);
	return verdict_allow();
}

/* ---- scopes ---- */

struct scope_list {
	const char *v[8]; /* as many as a verdict names */
	size_t n;
};

static void lacking(const struct claims *c, const char *const *needed, size_t n, struct scope_list *out)
{
	for (size_t i = 0; i < n && out->n < sizeof out->v / sizeof out->v[0]; i++) {
		struct slice scope = slice_str(needed[i]);

		if (!list_has(c->scopes, c->n_scopes, scope) && !list_has(out->v, out->n, scope))
			out->v[out->n++] = needed[i];
	}
}

/* "a, b, c", cut where it would be too long for a message. */
static const char *join(const char *const *v, size_t n, char *out, size_t size)
{
	size_t at = 0;

	out[0] = '\0';
	for (size_t i = 0; i < n; i++) {
		size_t need = strlen(v[i]) + 8;

		if (at + need >= size) {
			memcpy(out + at, ", ...", 6);
			break;
		}
		at += (size_t)snprintf(out + at, size - at, "%s%s", i ? ", " : "", v[i]);
	}
	return out;
}

static struct verdict scopes_missing(const struct access *a, const struct scope_list *missing)
{
	char needs[180], has[120];
	struct verdict v;

	v = verdict_deny(REASON_MISSING_SCOPE, "scope", "%s on %s needs %s; the token carries %s", a->tool->name,
		a->profile->route,
			 join(missing->v, missing->n, needs, sizeof needs),
			 a->claims->n_scopes ? join(a->claims->scopes, a->claims->n_scopes, has, sizeof has) : "none");
	for (size_t i = 0; i < missing->n; i++)
		slice_copy_str(slice_str(missing->v[i]), v.missing_scopes[i], sizeof v.missing_scopes[i]);
	return v;
}

/* What is asked for by name lies inside the route's scopes and the token's. */
static struct verdict scopes_asked(const struct access *a)
{
	const struct profile *p = a->profile;

	for (size_t i = 0; i < a->rq->n_scopes; i++) {
		struct slice s = a->rq->scopes[i];
		struct verdict v;
		bool known = list_has(p->required_scopes, p->n_required_scopes, s) ||
			list_has(a->tool->scopes, a->tool->n_scopes, s);

		if (known && list_has(a->claims->scopes, a->claims->n_scopes, s))
			continue;
		v = verdict_deny(REASON_MISSING_SCOPE, "scopes",
			"the scope asked for, number %zu of `scopes`, is none that %s on %s takes%s", i + 1,
				 a->tool->name, p->route, known ? " and the token carries" : "");
		if (known)
			slice_copy_str(s, v.missing_scopes[0], sizeof v.missing_scopes[0]);
		return v;
	}
	return verdict_allow();
}

static bool asked(const struct access_request *rq, const char *scope)
{
	for (size_t i = 0; i < rq->n_scopes; i++)
		if (slice_is(rq->scopes[i], scope))
			return true;
	return rq->n_scopes == 0;
}

/* What user and agent both may: the token's scopes, and the agent's ceiling over them. */
static struct verdict scopes_above(const struct access *a, const char *const *needed, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		struct verdict v;

		if (agent_may_use(a->agent, slice_str(needed[i])))
			continue;
		v = verdict_deny(REASON_MISSING_SCOPE, "scope_ceiling", "%s on %s needs %s, which is above the scope ceiling of agent %s", a->tool->name, a->profile->route, needed[i],
				 a->agent->name);
		slice_copy_str(slice_str(needed[i]), v.missing_scopes[0], sizeof v.missing_scopes[0]);
		return v;
	}
	return verdict_allow();
}

static struct verdict check_scopes(struct access *a)
{
	struct scope_list missing = {.n = 0};
	struct verdict v;

	lacking(a->claims, a->profile->required_scopes, a->profile->n_required_scopes, &missing);
	lacking(a->claims, a->tool->scopes, a->tool->n_scopes, &missing);
	if (missing.n)
		return scopes_missing(a, &missing);
	v = scopes_above(a, a->profile->required_scopes, a->profile->n_required_scopes);
	if (verdict_ok(&v))
		v = scopes_above(a, a->tool->scopes, a->tool->n_scopes);
	if (verdict_ok(&v))
		v = scopes_asked(a);
	if (!verdict_ok(&v))
		return v;
	for (size_t i = 0; i < a->tool->n_scopes && a->grant->n_scopes < GRANT_SCOPES_MAX; i++)
		if (asked(a->rq, a->tool->scopes[i]))
			a->grant->scopes[a->grant->n_scopes++] = a->tool->scopes[i];
	return verdict_allow();
}

/* ---- effect and egress ---- */

static struct verdict check_side_effect(struct access *a)
{
	enum side_effect declared = a->rq->side_effect, pinned = a->tool->side_effect;

	if (declared < SIDE_EFFECT_READ || declared > SIDE_EFFECT_EXTERNAL_SEND)
		return verdict_deny(REASON_SIDE_EFFECT_DENIED, "side_effect", "no side effect is declared; %s is %s",
			a->tool->name,
				    side_effect_text(pinned));
	if (declared < pinned)
		return verdict_deny(REASON_SIDE_EFFECT_DENIED, "side_effect", "declared %s, and %s is %s%s",
			side_effect_text(declared),
				    a->tool->name, side_effect_text(pinned), a->tool->has_spec ? ""
					: " (its profile does not say: write)");
	if (declared > a->profile->max_side_effect)
		return verdict_deny(REASON_SIDE_EFFECT_DENIED, "side_effect", "declared %s, and %s goes up to %s",
			side_effect_text(declared),
				    a->profile->route, side_effect_text(a->profile->max_side_effect));
	a->grant->side_effect = declared;
	return verdict_allow();
}

static struct verdict check_idempotency(struct access *a)
{
	if (a->grant->side_effect != SIDE_EFFECT_READ && !a->rq->has_idempotency_key)
		return verdict_deny(REASON_MISSING_IDEMPOTENCY_KEY, "idempotency_key",
			"%s with side effect %s needs an idempotency key",
				    a->tool->name, side_effect_text(a->grant->side_effect));
	return verdict_allow();
}

static bool tool_reaches(const struct profile_tool *t, const char *host)
{
	for (size_t i = 0; i < t->n_destinations; i++)
		if (host_pattern_matches(t->destinations[i], host))
			return true;
	return t->n_destinations == 0;
}

static struct verdict check_egress(struct access *a)
{
	const char *why = NULL;

	if (!a->rq->destination.n) {
		if (a->grant->side_effect == SIDE_EFFECT_EXTERNAL_SEND)
			return verdict_deny(REASON_EGRESS_DENIED, "destination", "external_send needs a destination");
		return verdict_allow();
	}
	if (!profile_classify(a->profile, a->rq->destination, a->grant->host, &a->grant->cls, &why))
		return verdict_deny(REASON_EGRESS_DENIED, "destination", "the destination is not taken: %s", why);
	if (a->grant->cls == CLASS_UNKNOWN)
		return verdict_deny(REASON_EGRESS_DENIED, "destination", "%s is not a destination that %s allows",
			a->grant->host,
				    a->profile->route);
	if (!tool_reaches(a->tool, a->grant->host))
		return verdict_deny(REASON_EGRESS_DENIED, "destination", "%s is not a destination of %s",
			a->grant->host, a->tool->name);
	return verdict_allow();
}

/* ---- content, approval ---- */

static struct verdict check_size(struct access *a)
{
	if (a->profile->max_payload && a->rq->payload_bytes > a->profile->max_payload)
		return verdict_deny(REASON_PAYLOAD_TOO_LARGE, "payload", "%zu bytes, and %s takes %u",
			a->rq->payload_bytes, a->profile->route,
				    a->profile->max_payload);
	return verdict_allow();
}

static struct verdict check_guardrails(struct access *a)
{
	enum content_trust trust = a->rq->trust == TRUST_UNSPECIFIED ? TRUST_UNTRUSTED : a->rq->trust;

	if (trust < a->profile->min_trust || trust > TRUST_USER)
		return verdict_deny(REASON_GUARDRAIL_DENIED, "trust",
			"%s takes content of trust %s or better, this is %s", a->profile->route,
				    content_trust_text(a->profile->min_trust), content_trust_text(trust));
	return verdict_allow();
}

static struct verdict check_approval(struct access *a)
{
	if (a->tool->needs_approval)
		return verdict_deny(REASON_APPROVAL_REQUIRED, "tool", "%s on %s waits for an approval", a->tool->name,
			a->profile->route);
	if (a->grant->cls != CLASS_UNKNOWN && (a->profile->approval_classes >> a->grant->cls & 1))
		return verdict_deny(REASON_APPROVAL_REQUIRED, "destination",
			"%s is a %s destination: it waits for an approval", a->grant->host,
				    destination_class_text(a->grant->cls));
	return verdict_allow();
}

static struct verdict (*const steps[])(struct access *a) = {
	check_tenant, check_route, check_tool, check_scopes, check_side_effect,
	check_idempotency, check_egress, check_size, check_guardrails, check_approval,
};

struct verdict authorize(const struct agent *agent, const struct claims *claims, const struct access_request *rq,
			 const struct profile *profile, struct access_grant *grant)
{
	struct access a = {.agent = agent, .claims = claims, .rq = rq, .profile = profile, .grant = grant};
	struct verdict v = verdict_allow();

	memset(grant, 0, sizeof *grant);
	for (size_t i = 0; i < sizeof steps / sizeof steps[0] && verdict_ok(&v); i++)
		v = steps[i](&a);
	if (v.outcome == OUTCOME_DENY)
		memset(grant, 0, sizeof *grant); /* nobody uses half a grant */
	return v;
}

struct verdict authorize_delivery(const struct agent *receiver, struct slice route, const struct profile *profile)
{
	if (!profile || !slice_is(route, profile->route) || !agent_may_serve(receiver, route))
		return verdict_deny(REASON_ROUTE_DENIED, "route", "there is no such route that %s may serve",
			receiver->name);
	if (profile->n_tenants && !list_has(profile->tenants, profile->n_tenants, slice_str(receiver->tenant)))
		return verdict_deny(REASON_TENANT_BOUNDARY, "tenant", "the route is not there for tenant %s",
			receiver->tenant);
	return verdict_allow();
}
