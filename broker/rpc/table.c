/* Which calls are there? A newcomer starts here: each row names who may call, what is sent, what is written down and which file answers. What is
 * not in the table is answered UNIMPLEMENTED by its name. */
#include "rpc/table.h"

#include <string.h>

#include "baton/v1/handoff.pb-c.h"
#include "grpc/health/v1/health.pb-c.h"
#include "identity/ca.h"
#include "rpc/enrol.h"
#include "rpc/get.h"
#include "rpc/follow.h"
#include "rpc/operator.h"
#include "rpc/rolebind.h"
#include "rpc/search.h"
#include "rpc/submit.h"
#include "rpc/subscribe.h"
#include "rpc/whoami.h"

#define HANDOFF(method) "/baton.v1.HandoffService/" method, method
#define OPERATE(method) "/baton.v1.OperateService/" method, method
#define ENROL(method) "/baton.v1.EnrolService/" method, method
#define RESOURCE(method) "/baton.v1.ResourceService/" method, method
#define AUDIT(method) "/baton.v1.AuditService/" method, method
#define CONTAIN(method) "/baton.v1.ContainmentService/" method, method
/* The letters of proto/baton/v1/admin.proto. */
#define P ROLE_PLATFORM
#define S ROLE_SRE
#define U ROLE_AUDITOR
#define BY(roles) roles, 0, NULL, false
#define NO_OPERATOR 0, 0, NULL, false
#define KIB 1024u
#define SMALL (64 * KIB)

/* Fields 1-63 of these must be understood (proto/baton/v1/handoff.proto, Evolution). */
static const struct prescan_rule strict[] = {
	{.message = &baton__v1__submit_request__descriptor, .known_below = 64, .max_depth = 4},
	{.message = &baton__v1__task_envelope__descriptor, .known_below = 64, .max_depth = 3, .max_fields = 256},
};
static const struct prescan_rules envelope_rules = {.max_depth = 16, .max_fields = 4096, .rules = strict, .n_rules = 2};

/* What is applied is kept: nothing in it may be of a kind that this version does not know. */
static const struct prescan_rule applied[] = {
	{.message = &baton__v1__resource__descriptor, .known_below = 1u << 20},
	{.message = &baton__v1__agent_spec__descriptor, .known_below = 1u << 20, .max_fields = 512},
	{.message = &baton__v1__certificate_policy__descriptor, .known_below = 1u << 20, .max_fields = 16},
	{.message = &baton__v1__role_binding__descriptor, .known_below = 1u << 20, .max_fields = 64},
	{.message = &baton__v1__issuer__descriptor, .known_below = 1u << 20, .max_fields = 128},
	{.message = &baton__v1__tenant__descriptor, .known_below = 1u << 20, .max_fields = 16},
	{.message = &baton__v1__trust_bundle__descriptor, .known_below = 1u << 20, .max_fields = 768},
};
const struct prescan_rules rpc_applied_rules = {.max_depth = 6, .max_fields = 16384, .rules = applied, .n_rules = sizeof applied / sizeof applied[0]};

static bool is_dry_apply(const ProtobufCMessage *m)
{
	return ((const Baton__V1__ApplyRequest *)m)->dry_run;
}

static bool is_dry_rollback(const ProtobufCMessage *m)
{
	return ((const Baton__V1__RollbackRequest *)m)->dry_run;
}

static const struct rpc_row rows[] = {
	{HANDOFF("Submit"), &baton__v1__submit_request__descriptor, &envelope_rules, PEER_REGISTERED, STREAM_UNARY, true, NULL,
	 MESSAGE_MAX, submit_on_message, NULL, NULL, NULL, NULL, submit_always, false, NO_OPERATOR},
	{HANDOFF("Run"), &baton__v1__submit_request__descriptor, &envelope_rules, PEER_REGISTERED, STREAM_UNARY, true, NULL,
	 MESSAGE_MAX, run_on_message, NULL, watch_writable, watch_end, NULL, submit_always, false, NO_OPERATOR},
	{HANDOFF("Pipe"), &baton__v1__pipe_frame__descriptor, &envelope_rules, PEER_REGISTERED, STREAM_IN, true, NULL,
	 MESSAGE_MAX, pipe_on_message, pipe_on_half_close, NULL, NULL, pipe_on_refused, pipe_is_submit, false, NO_OPERATOR},
	{HANDOFF("Subscribe"), &baton__v1__subscriber_frame__descriptor, NULL, PEER_REGISTERED, STREAM_IN, false, "rpc",
	 MESSAGE_MAX, subscribe_on_message, subscribe_on_half_close, subscribe_on_writable, subscribe_on_gone, NULL, NULL, true, NO_OPERATOR},
	{HANDOFF("Report"), &baton__v1__report_request__descriptor, NULL, PEER_REGISTERED, STREAM_UNARY, false, NULL,
	 MESSAGE_MAX, report_on_message, NULL, NULL, NULL, NULL, NULL, true, NO_OPERATOR},
	{HANDOFF("Watch"), &baton__v1__watch_request__descriptor, NULL, PEER_REGISTERED, STREAM_UNARY, false, "rpc",
	 SMALL, watch_on_message, NULL, watch_writable, watch_end, NULL, NULL, false, NO_OPERATOR},
	{HANDOFF("Get"), &baton__v1__get_request__descriptor, NULL, PEER_REGISTERED, STREAM_UNARY, false, "rpc",
	 SMALL, get_on_message, NULL, NULL, NULL, NULL, NULL, false, NO_OPERATOR},
	{HANDOFF("List"), &baton__v1__list_request__descriptor, NULL, PEER_REGISTERED, STREAM_UNARY, false, "rpc",
	 SMALL, list_on_message, NULL, NULL, NULL, NULL, NULL, false, NO_OPERATOR},
	{HANDOFF("Cancel"), &baton__v1__cancel_request__descriptor, NULL, PEER_REGISTERED, STREAM_UNARY, false, "rpc",
	 SMALL, cancel_on_message, NULL, NULL, NULL, NULL, NULL, false, NO_OPERATOR},
	{HANDOFF("WhoAmI"), &baton__v1__who_am_irequest__descriptor, NULL, PEER_REGISTERED, STREAM_UNARY, false, "rpc",
	 SMALL, whoami_on_message, NULL, NULL, NULL, NULL, NULL, false, NO_OPERATOR},
	{ENROL("Renew"), &baton__v1__renew_request__descriptor, NULL, PEER_REGISTERED, STREAM_UNARY, false, "certificate.issued",
	 SMALL, issue_on_renew, NULL, NULL, NULL, NULL, NULL, false, NO_OPERATOR},
	{ENROL("Enrol"), &baton__v1__enrol_request__descriptor, NULL, PEER_STRANGER, STREAM_UNARY, false, "certificate.issued",
	 CA_REQUEST_MAX + 512, issue_on_enrol, NULL, NULL, NULL, NULL, NULL, false, NO_OPERATOR},
	{ENROL("GetBundle"), &baton__v1__get_bundle_request__descriptor, NULL, PEER_STRANGER, STREAM_UNARY, false, NULL,
	 256, issue_on_bundle, NULL, NULL, NULL, NULL, NULL, false, NO_OPERATOR},
	{ENROL("CreateToken"), &baton__v1__create_enrol_token_request__descriptor, NULL, PEER_OPERATOR, STREAM_UNARY, false, "enrolment.token",
	 SMALL, enrol_on_create, NULL, NULL, NULL, NULL, NULL, false, BY(P)},
	{OPERATE("ListRoutes"), &baton__v1__list_routes_request__descriptor, NULL, PEER_OPERATOR, STREAM_UNARY, false, "rpc",
	 SMALL, routes_on_list, NULL, NULL, NULL, NULL, NULL, false, BY(P | S | U)},
	{CONTAIN("SetRouteState"), &baton__v1__set_route_state_request__descriptor, NULL, PEER_OPERATOR, STREAM_UNARY, false, "route.state",
	 SMALL, routes_on_set, NULL, NULL, NULL, NULL, NULL, false, BY(S)},
	{CONTAIN("Revoke"), &baton__v1__revoke_request__descriptor, NULL, PEER_OPERATOR, STREAM_UNARY, false, "rpc",
	 SMALL, contain_on_revoke, NULL, NULL, NULL, NULL, NULL, false, BY(S)},
	{CONTAIN("Lift"), &baton__v1__lift_request__descriptor, NULL, PEER_OPERATOR, STREAM_UNARY, false, "rpc",
	 SMALL, contain_on_lift, NULL, NULL, NULL, NULL, NULL, false, BY(S)},
	{CONTAIN("ListRevocations"), &baton__v1__list_revocations_request__descriptor, NULL, PEER_OPERATOR, STREAM_UNARY, false, "rpc",
	 SMALL, contain_on_list, NULL, NULL, NULL, NULL, NULL, false, BY(P | S | U)},
	{CONTAIN("Quarantine"), &baton__v1__select_handoffs__descriptor, NULL, PEER_OPERATOR, STREAM_UNARY, false, "rpc",
	 SMALL, quarantine_on_add, NULL, NULL, NULL, NULL, NULL, false, BY(S)},
	{CONTAIN("ReleaseHandoffs"), &baton__v1__select_handoffs__descriptor, NULL, PEER_OPERATOR, STREAM_UNARY, false, "rpc",
	 SMALL, quarantine_on_release, NULL, NULL, NULL, NULL, NULL, false, BY(S)},
	{OPERATE("ListHandoffs"), &baton__v1__admin_list_request__descriptor, NULL, PEER_OPERATOR, STREAM_UNARY, false, "rpc",
	 SMALL, list_all_on_message, NULL, NULL, NULL, NULL, NULL, false, BY(S | U)},
	{OPERATE("GetHandoff"), &baton__v1__get_request__descriptor, NULL, PEER_OPERATOR, STREAM_UNARY, false, "rpc",
	 SMALL, letters_on_get, NULL, NULL, NULL, NULL, NULL, false, BY(S | U)},
	{OPERATE("ListDeadLetters"), &baton__v1__list_dead_letters_request__descriptor, NULL, PEER_OPERATOR, STREAM_UNARY, false, "rpc",
	 SMALL, letters_on_list, NULL, NULL, NULL, NULL, NULL, false, BY(S | U)},
	{OPERATE("ReplayDeadLetters"), &baton__v1__dead_letters_request__descriptor, NULL, PEER_OPERATOR, STREAM_UNARY, false, "rpc",
	 SMALL, letters_on_replay, NULL, NULL, NULL, NULL, NULL, false, BY(S)},
	{OPERATE("PurgeDeadLetters"), &baton__v1__dead_letters_request__descriptor, NULL, PEER_OPERATOR, STREAM_UNARY, false, "rpc",
	 SMALL, letters_on_purge, NULL, NULL, NULL, NULL, NULL, false, BY(S)},
	{OPERATE("Status"), &baton__v1__status_request__descriptor, NULL, PEER_OPERATOR, STREAM_UNARY, false, "rpc",
	 SMALL, nodes_on_status, NULL, NULL, NULL, NULL, NULL, false, BY(P | S | U)},
	{OPERATE("Drain"), &baton__v1__drain_request__descriptor, NULL, PEER_OPERATOR, STREAM_UNARY, false, "rpc",
	 SMALL, nodes_on_drain, NULL, NULL, NULL, NULL, NULL, false, BY(S)},
	{OPERATE("CheckStore"), &baton__v1__check_store_request__descriptor, NULL, PEER_OPERATOR, STREAM_UNARY, false, "rpc",
	 SMALL, check_on_check, NULL, NULL, NULL, NULL, NULL, false, BY(S | U)},
	{OPERATE("RepairStore"), &baton__v1__check_store_request__descriptor, NULL, PEER_OPERATOR, STREAM_UNARY, false, "rpc",
	 SMALL, check_on_repair, NULL, NULL, NULL, NULL, NULL, false, BY(S)},
	{AUDIT("Search"), &baton__v1__audit_query__descriptor, NULL, PEER_OPERATOR, STREAM_UNARY, false, "rpc",
	 SMALL, search_on_message, NULL, search_on_writable, search_on_gone, NULL, NULL, false, BY(S | U)},
	{RESOURCE("Get"), &baton__v1__resource_ref__descriptor, NULL, PEER_OPERATOR, STREAM_UNARY, false, "rpc",
	 SMALL, kinds_on_get, NULL, NULL, NULL, NULL, NULL, false, BY(P | S | U)},
	{RESOURCE("List"), &baton__v1__list_resources_request__descriptor, NULL, PEER_OPERATOR, STREAM_UNARY, false, "rpc",
	 SMALL, kinds_on_list, NULL, NULL, NULL, NULL, NULL, false, BY(P | S | U)},
	{RESOURCE("History"), &baton__v1__resource_ref__descriptor, NULL, PEER_OPERATOR, STREAM_UNARY, false, "rpc",
	 SMALL, kinds_on_history, NULL, NULL, NULL, NULL, NULL, false, BY(P | S | U)},
	{RESOURCE("Watch"), &baton__v1__list_resources_request__descriptor, NULL, PEER_OPERATOR, STREAM_UNARY, false, "rpc",
	 SMALL, reswatch_on_message, NULL, reswatch_writable, reswatch_end, NULL, NULL, false, BY(P | S | U)},
	{RESOURCE("TestIssuer"), &baton__v1__resource_ref__descriptor, NULL, PEER_OPERATOR, STREAM_UNARY, false, "rpc",
	 SMALL, keys_on_test, NULL, NULL, NULL, NULL, NULL, false, BY(P | S)},
	{RESOURCE("RefreshKeys"), &baton__v1__refresh_keys_request__descriptor, NULL, PEER_OPERATOR, STREAM_UNARY, false, "issuers.changed",
	 SMALL, keys_on_refresh, NULL, NULL, NULL, NULL, NULL, false, BY(P | S)},
	{RESOURCE("Apply"), &baton__v1__apply_request__descriptor, &rpc_applied_rules, PEER_OPERATOR, STREAM_UNARY, false, "agents.changed",
	 4 * KIB * KIB, enlist_on_apply, NULL, NULL, NULL, NULL, NULL, false, P, P | S | U, is_dry_apply, false},
	{RESOURCE("Delete"), &baton__v1__delete_request__descriptor, NULL, PEER_OPERATOR, STREAM_UNARY, false, "agents.changed",
	 SMALL, enlist_on_delete, NULL, NULL, NULL, NULL, NULL, false, BY(P)},
	{RESOURCE("Rollback"), &baton__v1__rollback_request__descriptor, NULL, PEER_OPERATOR, STREAM_UNARY, false, "agents.changed",
	 SMALL, rollback_on_message, NULL, NULL, NULL, NULL, NULL, false, P | S, P | S | U, is_dry_rollback, false},
	{RESOURCE("InitAdmin"), &baton__v1__init_admin_request__descriptor, &rpc_applied_rules, PEER_OPERATOR, STREAM_UNARY, false, "roles.changed",
	 SMALL, init_on_message, NULL, NULL, NULL, NULL, NULL, false, P, 0, NULL, true},
	{"/grpc.health.v1.Health/Check", "HealthCheck", &grpc__health__v1__health_check_request__descriptor, NULL, PEER_ANY,
	 STREAM_UNARY, false, NULL, SMALL, health_check_on_message, NULL, NULL, NULL, NULL, NULL, false, NO_OPERATOR},
	{"/grpc.health.v1.Health/Watch", "HealthWatch", &grpc__health__v1__health_check_request__descriptor, NULL, PEER_ANY,
	 STREAM_UNARY, false, NULL, SMALL, health_watch_on_message, NULL, NULL, NULL, NULL, NULL, false, NO_OPERATOR},
};

static bool served(const struct rpc_row *r, const char *listener)
{
	bool local = strcmp(listener, RPC_LISTENER_ADMIN) == 0, operators = local || strcmp(listener, RPC_LISTENER_ADMIN_TLS) == 0;
	bool strangers = strcmp(listener, RPC_LISTENER_ENROL) == 0;

	if (strangers || r->peer == PEER_STRANGER)
		return strangers && r->peer == PEER_STRANGER;
	return r->peer == PEER_ANY || ((r->peer == PEER_OPERATOR) == operators && (local || !r->local));
}

const struct rpc_row *rpc_row_find(struct slice path, const char *listener)
{
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
		if (slice_is(path, rows[i].path))
			return served(&rows[i], listener) ? &rows[i] : NULL;
	return NULL;
}
