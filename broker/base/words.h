/* Which words do all layers share? Outcomes, reasons, states and the other enums of the contract, with their texts,
 * gRPC and HTTP statuses. The numbers equal those in proto/baton/v1 (tests/unit/test_rpc_words.c compares them). */
#ifndef BATON_BASE_WORDS_H
#define BATON_BASE_WORDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/slice.h"

/* google.rpc.Code, as gRPC carries it in grpc-status. */
enum grpc_status {
	GRPC_OK = 0,
	GRPC_CANCELLED = 1,
	GRPC_UNKNOWN = 2,
	GRPC_INVALID_ARGUMENT = 3,
	GRPC_DEADLINE_EXCEEDED = 4,
	GRPC_NOT_FOUND = 5,
	GRPC_ALREADY_EXISTS = 6,
	GRPC_PERMISSION_DENIED = 7,
	GRPC_RESOURCE_EXHAUSTED = 8,
	GRPC_FAILED_PRECONDITION = 9,
	GRPC_ABORTED = 10,
	GRPC_OUT_OF_RANGE = 11,
	GRPC_UNIMPLEMENTED = 12,
	GRPC_INTERNAL = 13,
	GRPC_UNAVAILABLE = 14,
	GRPC_DATA_LOSS = 15,
	GRPC_UNAUTHENTICATED = 16,
};

enum outcome { OUTCOME_UNSPECIFIED = 0, OUTCOME_ALLOW = 1, OUTCOME_DENY = 2, OUTCOME_HOLD = 3 };

enum reason {
	REASON_UNSPECIFIED = 0,
	REASON_ALLOWED = 1,
	REASON_UNKNOWN_PEER = 2,
	REASON_MALFORMED_ENVELOPE = 3,
	REASON_STALE_ENVELOPE = 4,
	REASON_PAYLOAD_TOO_LARGE = 5,
	REASON_MISSING_TOKEN = 10,
	REASON_INVALID_TOKEN = 11,
	REASON_EXPIRED_TOKEN = 12,
	REASON_WRONG_ISSUER = 13,
	REASON_WRONG_AUDIENCE = 14,
	REASON_TOKEN_BINDING = 15,
	REASON_IDENTITY_MISMATCH = 16,
	REASON_KEYS_UNAVAILABLE = 17,
	REASON_STATUS_UNAVAILABLE = 18,
	REASON_REVOKED = 20,
	REASON_TENANT_BOUNDARY = 21,
	REASON_ROUTE_DENIED = 22,
	REASON_ROUTE_DISABLED = 23,
	REASON_TOOL_DENIED = 24,
	REASON_MISSING_SCOPE = 25,
	REASON_SIDE_EFFECT_DENIED = 26,
	REASON_ROLE_DENIED = 27,
	REASON_MISSING_IDEMPOTENCY_KEY = 30,
	REASON_EGRESS_DENIED = 31,
	REASON_DELEGATION_WIDENED = 32,
	REASON_DELEGATION_INVALID = 33,
	REASON_GUARDRAIL_DENIED = 34,
	REASON_APPROVAL_REQUIRED = 40,
	REASON_APPROVAL_DENIED = 41,
	REASON_REPLAYED_NONCE = 50,
	REASON_IDEMPOTENCY_CONFLICT = 51,
	REASON_STORE_UNAVAILABLE = 52,
	REASON_QUOTA_EXCEEDED = 60,
	REASON_DRAINING = 61,
	REASON_LEASE_LOST = 62,
	REASON_NOT_FOUND = 63,
	REASON_WRONG_STATE = 64,
	REASON_CANCELLED = 65,
	REASON_DEADLINE_EXCEEDED = 66,
	REASON_MAX = 67, /* one past the last */
};

struct reason_info {
	enum reason reason;
	const char *text;      /* lower case, as in trailers, audit, metrics and CLI */
	enum grpc_status grpc; /* OK for allowed and approval_required */
	int http;
	bool retry;            /* the same bytes may succeed later */
};

/* Never NULL: an unknown number gives REASON_UNSPECIFIED's row. */
const struct reason_info *reason_info(enum reason r);
static inline const char *reason_text(enum reason r)
{
	return reason_info(r)->text;
}
/* REASON_UNSPECIFIED when the text names none. */
enum reason reason_from_text(struct slice text);
const char *outcome_text(enum outcome o); /* "allow" "deny" "hold" "unspecified" */
const char *grpc_status_text(enum grpc_status s); /* "INVALID_ARGUMENT"; "UNKNOWN" for a number outside the table */

/* 10 and up are terminal. */
enum handoff_state {
	STATE_UNSPECIFIED = 0,
	STATE_HELD = 1,
	STATE_SCHEDULED = 2,
	STATE_QUEUED = 3,
	STATE_LEASED = 4,
	STATE_WORKING = 5,
	STATE_INPUT_REQUIRED = 6,
	STATE_QUARANTINED = 7,
	STATE_COMPLETED = 10,
	STATE_FAILED = 11,
	STATE_REJECTED = 12,
	STATE_CANCELLED = 13,
	STATE_EXPIRED = 14,
	STATE_DEAD_LETTERED = 15,
};

static inline bool state_is_terminal(enum handoff_state s)
{
	return s >= STATE_COMPLETED;
}
const char *state_text(enum handoff_state s); /* "dead_lettered" */
enum handoff_state state_from_text(struct slice text);

/* Ordered: a larger one does more. */
enum side_effect {
	SIDE_EFFECT_UNSPECIFIED = 0,
	SIDE_EFFECT_READ = 1,
	SIDE_EFFECT_DRAFT = 2,
	SIDE_EFFECT_WRITE = 3,
	SIDE_EFFECT_EXTERNAL_SEND = 4,
};
const char *side_effect_text(enum side_effect e); /* "read" "draft" "write" "external_send" */
enum side_effect side_effect_from_text(struct slice text);

/* Ordered: a larger one is trusted more. */
enum content_trust { TRUST_UNSPECIFIED = 0, TRUST_UNTRUSTED = 1, TRUST_INTERNAL = 2, TRUST_USER = 3 };
const char *content_trust_text(enum content_trust t);
enum content_trust content_trust_from_text(struct slice text);

/* One check's answer, and in the end the decision. REASON_ALLOWED with OUTCOME_ALLOW, or why not. */
struct verdict {
	enum outcome outcome;
	enum reason reason;
	char field[40];     /* the envelope field or claim that decided; "" = none */
	char message[513];  /* safe text that says what to change */
	char missing_scopes[8][65]; /* "" ends it */
	uint32_t retry_after_ms;
};

static inline bool verdict_ok(const struct verdict *v)
{
	return v->outcome == OUTCOME_ALLOW;
}
/* What says nothing stays unset: a verdict is a kilobyte, and a dozen of them allow each envelope. */
static inline struct verdict verdict_allow(void)
{
	struct verdict v;

	v.outcome = OUTCOME_ALLOW;
	v.reason = REASON_ALLOWED;
	v.field[0] = v.message[0] = v.missing_scopes[0][0] = '\0';
	v.retry_after_ms = 0;
	return v;
}
/* The outcome is DENY, but HOLD for REASON_APPROVAL_REQUIRED. fmt makes `message`, cut at its size on a UTF-8
 * boundary. */
struct verdict verdict_deny(enum reason r, const char *field, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* Names of tenants, routes, tools, agents: [a-z0-9][a-z0-9._-]{0,62}. */
#define NAME_MAX_BYTES 63
bool name_valid(struct slice s);
/* Names of nodes: 1..63 letters, digits, . _ and -. */
bool node_name_valid(struct slice s);
/* Names of queues: a route, or an agent's inbox on a broadcast route, "route/agent". */
#define QUEUE_MAX_BYTES (2 * NAME_MAX_BYTES + 1)
bool queue_valid(struct slice s);
/* The route that a queue belongs to: the name up to the slash. */
struct slice queue_route(struct slice queue);
/* The agent whose inbox it is; "" when it is a route's own. */
struct slice queue_agent(struct slice queue);
/* The name of an agent's inbox. Both are names. */
void queue_inbox(const char *route, struct slice agent, char out[QUEUE_MAX_BYTES + 1]);
/* What a queue is called among those of all tenants: "tenant/queue". false: too long for one; *out is untouched. */
#define QUEUE_KEY_MAX_BYTES (NAME_MAX_BYTES + 1 + QUEUE_MAX_BYTES)
bool queue_key(const char *tenant, const char *queue, char out[QUEUE_KEY_MAX_BYTES + 1]);
/* Takes the first of several names with one space between off *names; "" when none is left. */
struct slice names_take(const char **names);
#define QUEUES_MAX 16384   /* a store keeps no more apart */
#define INBOXES_MAX 256    /* of a route: so many agents of a tenant may serve a broadcast, for each has a copy of everything */

#endif
