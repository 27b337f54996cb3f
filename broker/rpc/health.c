/* Is this node serving? The standard gRPC health service, for any peer with a valid certificate: "" and baton.v1.HandoffService are known. */
#include <string.h>

#include "grpc/health/v1/health.pb-c.h"
#include "rpc/whoami.h"

#define SERVING GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVING
#define NOT_SERVING GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__NOT_SERVING
#define SERVICE_UNKNOWN GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVICE_UNKNOWN

static bool known(const char *service)
{
	return !*service || strcmp(service, "baton.v1.HandoffService") == 0;
}

static bool ready(const struct rpc_worker *w)
{
	return !w->draining && health_ready(w->env.health);
}

void health_check_on_message(struct rpc_call *rc, struct op *op)
{
	const Grpc__Health__V1__HealthCheckRequest *m = (const Grpc__Health__V1__HealthCheckRequest *)op->msg;
	Grpc__Health__V1__HealthCheckResponse r = GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__INIT;

	if (known(m->service)) {
		r.status = ready(op->w) ? SERVING : NOT_SERVING;
		reply_unary(rc, &r.base);
	} else {
		call_end(rc->c, GRPC_NOT_FOUND, "no such service here", NULL, 0);
	}
	op_end(op);
}

static void send_status(struct rpc_call *rc, bool is_ready)
{
	Grpc__Health__V1__HealthCheckResponse r = GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__INIT;

	r.status = is_ready ? SERVING : NOT_SERVING;
	reply_send(rc, &r.base);
}

void health_watch_on_message(struct rpc_call *rc, struct op *op)
{
	const Grpc__Health__V1__HealthCheckRequest *m = (const Grpc__Health__V1__HealthCheckRequest *)op->msg;

	if (known(m->service)) {
		rc->watches_health = true;
		send_status(rc, ready(op->w));
	} else {
		Grpc__Health__V1__HealthCheckResponse r = GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__INIT;

		r.status = SERVICE_UNKNOWN;
		reply_send(rc, &r.base);
	}
	op_end(op);
}

static void tell(void *arg, uint64_t id, void *thing)
{
	struct rpc_call *rc = thing;

	(void)id;
	if (rc->watches_health)
		send_status(rc, *(bool *)arg);
}

void health_poll(struct rpc_worker *w)
{
	bool now = ready(w);

	if (now == w->last_ready)
		return;
	w->last_ready = now;
	slots_each(w->calls, tell, &now);
}
