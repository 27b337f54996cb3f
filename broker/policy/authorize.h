/* May this be done? A pure function of the agent, the verified claims, the request, the profile and the time. It is
 * asked when an envelope arrives and again, with the stored grant, when it is delivered. Order of reasons: the
 * design's steps 5 to 8, 10 and 11. */
#ifndef BATON_POLICY_AUTHORIZE_H
#define BATON_POLICY_AUTHORIZE_H

#include "base/words.h"
#include "identity/claims.h"
#include "policy/profile.h"
#include "registry/registry.h"

struct access_request {
	struct slice route, tool, destination, tenant; /* tenant "" = the agent's */
	enum side_effect side_effect;
	bool has_idempotency_key;
	const struct slice *scopes;  /* asked for; n 0 = what the tool needs */
	size_t n_scopes;
	enum content_trust trust;
	size_t payload_bytes;
};

#define GRANT_SCOPES_MAX 32

struct access_grant {
	const char *scopes[GRANT_SCOPES_MAX]; /* narrowed to this task; point into the profile */
	size_t n_scopes;
	enum side_effect side_effect;         /* as declared, which is never less than pinned */
	enum destination_class cls;
	char host[254];
};

/* profile NULL: the route does not exist in this tenant, or is invisible: route_denied after the tenant check.
 * Verdict ALLOW, HOLD (approval_required) or DENY. grant is filled in for ALLOW and HOLD.
 *   tenant_boundary         request's tenant, claims' tenant, profile's tenants
 *   route_denied            agent may not call it; the profile does not take such a subject
 *   tool_denied             not one of the route's tools
 *   missing_scope           the claims lack what the tool needs, it is above the agent's ceiling, or what is asked for is not inside claims ∩ route
 *   side_effect_denied      declared lower than pinned, or above the route's maximum
 *   missing_idempotency_key anything but READ without a key
 *   egress_denied           EXTERNAL_SEND without a destination; not allowed, unknown class, not well formed, not one
 *                           of the tool's
 *   payload_too_large       more than the route takes
 *   guardrail_denied        content trust below what the route takes
 *   approval_required       the tool, or the destination's class */
struct verdict authorize(const struct agent *agent, const struct claims *claims, const struct access_request *rq,
			 const struct profile *profile, struct access_grant *grant);

/* The same for receiving: may this agent be handed the stored work now? */
struct verdict authorize_delivery(const struct agent *receiver, struct slice route, const struct profile *profile);

#endif
