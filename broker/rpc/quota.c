/* May this agent, and its tenant, have more? See quota.h. Rates are counted in rates.c, what tenants have in tenants.c, what waits of a sender and
 * on a route by the store. */
#include "rpc/quota.h"

#include <inttypes.h>

#include "base/clock.h"
#include "rpc/rates.h"
#include "rpc/standing.h"
#include "rpc/table.h"
#include "rpc/tenants.h"

#define RETRY_MS 1000

static struct verdict later(struct verdict v, uint32_t retry_after_ms)
{
	v.retry_after_ms = retry_after_ms ? retry_after_ms : RETRY_MS;
	return v;
}

/* Whoever is refused for its certificate, as one who stole it, has a budget of its own: it must not use up the agent's. */
static uint64_t budget_of(const struct op *op, const struct rpc_call *rc)
{
	const struct verdict v = standing_now(op, rc);

	return verdict_ok(&v) ? op->agent->key : question_wait(ocsp_subject_key(rc->peer->subject));
}

bool quota_rate(struct op *op, struct rpc_call *rc, struct verdict *v)
{
	uint32_t rate = op->agent && op->agent->rate_per_s ? op->agent->rate_per_s : op->world->quotas.rate_per_agent, wait;
	enum rate_answer answer;

	*v = verdict_allow();
	if (!op->agent || !rate || op->parks || op->w->draining || !rc->row->is_submit || !rc->row->is_submit(op))
		return true;
	answer = rates_take(op->w->env.rates, budget_of(op, rc), rate, clock_mono_ms(), &wait);
	if (answer == RATE_TAKEN)
		return true;
	*v = later(verdict_deny(REASON_QUOTA_EXCEEDED, "", "%s sends more than %u submits a second: wait %u ms, send more slowly, or raise %s",
				op->agent->name, rate, wait, op->agent->rate_per_s ? "its rate_per_s" : "limits.rate_per_agent"), wait);
	if (answer == RATE_FLOOD)
		call_end_connection(rc->c, "too_many_refused");
	return answer == RATE_OVER;
}

/* What to name to who asks for more room. */
static const char *whose(const struct tenancy_limit *l, const char *key)
{
	return l->source == LIMIT_OWN ? "the tenant's own limit" : key;
}

struct verdict quota_tenant_enter(const struct op *op, size_t n, size_t bytes)
{
	const char *tenant = op->agent->tenant;
	const struct world_quotas *q = &op->world->quotas;
	const struct tenancy_limits l = tenancy_judge(tenancy_find(op->world->tenancy, tenant), q->waiting_per_tenant, q->waiting_bytes_per_tenant);
	struct tenant_room room = {.max = l.waiting.max, .max_bytes = l.bytes.max, .tenants = tenancy_peopled(op->world->tenancy)};

	if (l.unknown)
		return later(verdict_deny(REASON_QUOTA_EXCEEDED, "", "the limits that are kept of tenant %s cannot be read, and the configuration has none for all: give it "
					  "limits anew, by baton tenant limit", tenant), 0);
	switch (tenants_enter(op->w->env.tenants, tenant, n, bytes, &room)) {
	case TENANT_FITS:
		return verdict_allow();
	case TENANT_BYTES:
		return later(verdict_deny(REASON_QUOTA_EXCEEDED, "", "%" PRIu64 " bytes wait on the routes of tenant %s, and with this one it would be "
					  "more than %" PRIu64 " (%s): wait until some are served, or cancel some",
					  room.bytes, tenant, room.max_bytes, whose(&l.bytes, "limits.waiting_bytes_per_tenant")), 0);
	case TENANT_SHARE:
		return later(verdict_deny(REASON_QUOTA_EXCEEDED, "", "the store's memory is full to %d %%, and tenant %s keeps %" PRIu64 " bytes in "
					  "it, more than its share: wait until some are served and forgotten (store.keep_finished), or give Redis "
					  "more memory", SHARE_FROM_PERCENT, tenant, room.kept), 0);
	default:
		return later(verdict_deny(REASON_QUOTA_EXCEEDED, "", "%" PRIu64 " handoffs wait on the routes of tenant %s, and no more than %" PRIu64
					  " may (%s): wait until some are served, or cancel some",
					  room.waiting, tenant, room.max, whose(&l.waiting, "limits.waiting_per_tenant")), 0);
	}
}

void quota_tenant_leave(const struct op *op, size_t n, size_t bytes)
{
	tenants_leave(op->w->env.tenants, op->agent->tenant, n, bytes);
}

struct verdict quota_cap(const struct op *op, const char *route, enum store_cap over, uint32_t retry_after_ms)
{
	const struct store_slot_limits *l = &op->w->env.slot_limits;
	const char *who = op->agent->name;

	switch (over) {
	case CAP_SENDER:
		return later(verdict_deny(REASON_QUOTA_EXCEEDED, "route", "%" PRIu64 " handoffs of %s wait on %s, and more may not "
					  "(limits.waiting_per_sender): wait until some are served, or cancel some",
					  l->max_per_sender, who, route), retry_after_ms);
	case CAP_SENDER_BYTES:
		return later(verdict_deny(REASON_QUOTA_EXCEEDED, "route", "with this one more than %" PRIu64 " bytes of %s would wait on %s "
					  "(limits.waiting_bytes_per_sender): wait until some are served, or cancel some",
					  l->max_bytes_per_sender, who, route), retry_after_ms);
	case CAP_ROUTE:
		return later(verdict_deny(REASON_QUOTA_EXCEEDED, "route", "%" PRIu64 " handoffs wait on %s, and more may not "
					  "(limits.waiting_per_route): wait until some are served", l->max_waiting, route), retry_after_ms);
	case CAP_ROUTE_BYTES:
		return later(verdict_deny(REASON_QUOTA_EXCEEDED, "route", "with this one more than %" PRIu64 " bytes would wait on %s "
					  "(limits.waiting_bytes): wait until some are served", l->max_waiting_bytes, route), retry_after_ms);
	default:
		return later(verdict_deny(REASON_QUOTA_EXCEEDED, "", "the store's memory is full to 80 %%, and new work must wait: serve or cancel "
					  "what waits, shorten store.keep_finished, or give Redis more memory"), retry_after_ms);
	}
}
