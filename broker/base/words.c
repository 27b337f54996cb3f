/* Which text, gRPC status and HTTP status belongs to each shared word? The tables below say; nothing else in the
 * broker spells a reason. The statuses follow proto/baton/v1/decision.proto; HTTP follows RFC 6750 §3.1 (401 for
 * what is wrong with the credential, 403 for what it does not reach) and RFC 9110. */
#include "base/words.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/encode.h"

#define COUNT(a) (sizeof(a) / sizeof(a)[0])
#define ROW(r, t, g, h, again) [REASON_##r] = {REASON_##r, t, GRPC_##g, h, again}

static const struct reason_info reasons[REASON_MAX] = {
	ROW(UNSPECIFIED, "unspecified", INTERNAL, 500, false),
	ROW(ALLOWED, "allowed", OK, 200, false),
	ROW(UNKNOWN_PEER, "unknown_peer", UNAUTHENTICATED, 401, false),
	ROW(MALFORMED_ENVELOPE, "malformed_envelope", INVALID_ARGUMENT, 400, false),
	ROW(STALE_ENVELOPE, "stale_envelope", INVALID_ARGUMENT, 400, false),
	ROW(PAYLOAD_TOO_LARGE, "payload_too_large", RESOURCE_EXHAUSTED, 413, false),
	ROW(MISSING_TOKEN, "missing_token", UNAUTHENTICATED, 401, false),
	ROW(INVALID_TOKEN, "invalid_token", UNAUTHENTICATED, 401, false),
	ROW(EXPIRED_TOKEN, "expired_token", UNAUTHENTICATED, 401, false),
	ROW(WRONG_ISSUER, "wrong_issuer", UNAUTHENTICATED, 401, false),
	ROW(WRONG_AUDIENCE, "wrong_audience", UNAUTHENTICATED, 401, false),
	ROW(TOKEN_BINDING, "token_binding", UNAUTHENTICATED, 401, false),
	ROW(IDENTITY_MISMATCH, "identity_mismatch", UNAUTHENTICATED, 401, false),
	ROW(KEYS_UNAVAILABLE, "keys_unavailable", UNAVAILABLE, 503, true),
	ROW(STATUS_UNAVAILABLE, "status_unavailable", UNAVAILABLE, 503, true),
	ROW(REVOKED, "revoked", PERMISSION_DENIED, 403, false),
	ROW(TENANT_BOUNDARY, "tenant_boundary", PERMISSION_DENIED, 403, false),
	ROW(ROUTE_DENIED, "route_denied", PERMISSION_DENIED, 403, false),
	ROW(ROUTE_DISABLED, "route_disabled", PERMISSION_DENIED, 403, false),
	ROW(TOOL_DENIED, "tool_denied", PERMISSION_DENIED, 403, false),
	ROW(MISSING_SCOPE, "missing_scope", PERMISSION_DENIED, 403, false),
	ROW(SIDE_EFFECT_DENIED, "side_effect_denied", PERMISSION_DENIED, 403, false),
	ROW(ROLE_DENIED, "role_denied", PERMISSION_DENIED, 403, false),
	ROW(MISSING_IDEMPOTENCY_KEY, "missing_idempotency_key", INVALID_ARGUMENT, 400, false),
	ROW(EGRESS_DENIED, "egress_denied", PERMISSION_DENIED, 403, false),
	ROW(DELEGATION_WIDENED, "delegation_widened", PERMISSION_DENIED, 403, false),
	ROW(DELEGATION_INVALID, "delegation_invalid", PERMISSION_DENIED, 403, false),
	ROW(GUARDRAIL_DENIED, "guardrail_denied", PERMISSION_DENIED, 403, false),
	ROW(APPROVAL_REQUIRED, "approval_required", OK, 202, false),
	ROW(APPROVAL_DENIED, "approval_denied", PERMISSION_DENIED, 403, false),
	ROW(REPLAYED_NONCE, "replayed_nonce", ALREADY_EXISTS, 409, false),
	ROW(IDEMPOTENCY_CONFLICT, "idempotency_conflict", ALREADY_EXISTS, 409, false),
	ROW(STORE_UNAVAILABLE, "store_unavailable", UNAVAILABLE, 503, true),
	ROW(QUOTA_EXCEEDED, "quota_exceeded", RESOURCE_EXHAUSTED, 429, true),
	ROW(DRAINING, "draining", UNAVAILABLE, 503, true),
	ROW(LEASE_LOST, "lease_lost", ABORTED, 409, false),
	ROW(NOT_FOUND, "not_found", NOT_FOUND, 404, false),
	ROW(WRONG_STATE, "wrong_state", FAILED_PRECONDITION, 409, false),
	ROW(CANCELLED, "cancelled", CANCELLED, 409, false),
	ROW(DEADLINE_EXCEEDED, "deadline_exceeded", DEADLINE_EXCEEDED, 504, false),
};

static const char *const outcomes[] = {
	[OUTCOME_UNSPECIFIED] = "unspecified",
	[OUTCOME_ALLOW] = "allow",
	[OUTCOME_DENY] = "deny",
	[OUTCOME_HOLD] = "hold",
};

static const char *const grpc_statuses[] = {
	[GRPC_OK] = "OK",
	[GRPC_CANCELLED] = "CANCELLED",
	[GRPC_UNKNOWN] = "UNKNOWN",
	[GRPC_INVALID_ARGUMENT] = "INVALID_ARGUMENT",
	[GRPC_DEADLINE_EXCEEDED] = "DEADLINE_EXCEEDED",
	[GRPC_NOT_FOUND] = "NOT_FOUND",
	[GRPC_ALREADY_EXISTS] = "ALREADY_EXISTS",
	[GRPC_PERMISSION_DENIED] = "PERMISSION_DENIED",
	[GRPC_RESOURCE_EXHAUSTED] = "RESOURCE_EXHAUSTED",
	[GRPC_FAILED_PRECONDITION] = "FAILED_PRECONDITION",
	[GRPC_ABORTED] = "ABORTED",
	[GRPC_OUT_OF_RANGE] = "OUT_OF_RANGE",
	[GRPC_UNIMPLEMENTED] = "UNIMPLEMENTED",
	[GRPC_INTERNAL] = "INTERNAL",
	[GRPC_UNAVAILABLE] = "UNAVAILABLE",
	[GRPC_DATA_LOSS] = "DATA_LOSS",
	[GRPC_UNAUTHENTICATED] = "UNAUTHENTICATED",
};

static const char *const states[] = {
	[STATE_UNSPECIFIED] = "unspecified",
	[STATE_HELD] = "held",
	[STATE_SCHEDULED] = "scheduled",
	[STATE_QUEUED] = "queued",
	[STATE_LEASED] = "leased",
	[STATE_WORKING] = "working",
	[STATE_INPUT_REQUIRED] = "input_required",
	[STATE_QUARANTINED] = "quarantined",
	[STATE_COMPLETED] = "completed",
	[STATE_FAILED] = "failed",
	[STATE_REJECTED] = "rejected",
	[STATE_CANCELLED] = "cancelled",
	[STATE_EXPIRED] = "expired",
	[STATE_DEAD_LETTERED] = "dead_lettered",
};

static const char *const side_effects[] = {
	[SIDE_EFFECT_UNSPECIFIED] = "unspecified",
	[SIDE_EFFECT_READ] = "read",
	[SIDE_EFFECT_DRAFT] = "draft",
	[SIDE_EFFECT_WRITE] = "write",
	[SIDE_EFFECT_EXTERNAL_SEND] = "external_send",
};

static const char *const trusts[] = {
	[TRUST_UNSPECIFIED] = "unspecified",
	[TRUST_UNTRUSTED] = "untrusted",
	[TRUST_INTERNAL] = "internal",
	[TRUST_USER] = "user",
};

/* The text at i, or the one at `other` when the table has a hole there or ends before. */
static const char *word_text(const char *const *table, size_t n, unsigned i, unsigned other)
{
	return i < n && table[i] ? table[i] : table[other];
}

/* The place of text, or 0, which is "unspecified" in each table and is not to be asked for by name. */
static unsigned word_find(const char *const *table, size_t n, struct slice text)
{
	unsigned i;

	for (i = 1; i < n; i++)
		if (table[i] && slice_is(text, table[i]))
			return i;
	return 0;
}

const struct reason_info *reason_info(enum reason r)
{
	unsigned i = (unsigned)r;

	return i < REASON_MAX && reasons[i].text ? &reasons[i] : &reasons[REASON_UNSPECIFIED];
}

enum reason reason_from_text(struct slice text)
{
	unsigned i;

	for (i = 1; i < REASON_MAX; i++)
		if (reasons[i].text && slice_is(text, reasons[i].text))
			return reasons[i].reason;
	return REASON_UNSPECIFIED;
}

const char *outcome_text(enum outcome o)
{
	return word_text(outcomes, COUNT(outcomes), (unsigned)o, OUTCOME_UNSPECIFIED);
}

const char *grpc_status_text(enum grpc_status s)
{
	return word_text(grpc_statuses, COUNT(grpc_statuses), (unsigned)s, GRPC_UNKNOWN);
}

const char *state_text(enum handoff_state s)
{
	return word_text(states, COUNT(states), (unsigned)s, STATE_UNSPECIFIED);
}

enum handoff_state state_from_text(struct slice text)
{
	return (enum handoff_state)word_find(states, COUNT(states), text);
}

const char *side_effect_text(enum side_effect e)
{
	return word_text(side_effects, COUNT(side_effects), (unsigned)e, SIDE_EFFECT_UNSPECIFIED);
}

enum side_effect side_effect_from_text(struct slice text)
{
	return (enum side_effect)word_find(side_effects, COUNT(side_effects), text);
}

const char *content_trust_text(enum content_trust t)
{
	return word_text(trusts, COUNT(trusts), (unsigned)t, TRUST_UNSPECIFIED);
}

enum content_trust content_trust_from_text(struct slice text)
{
	return (enum content_trust)word_find(trusts, COUNT(trusts), text);
}

struct verdict verdict_deny(enum reason r, const char *field, const char *fmt, ...)
{
	struct verdict v = {.outcome = r == REASON_APPROVAL_REQUIRED ? OUTCOME_HOLD : OUTCOME_DENY, .reason = r};
	char text[2048];
	va_list ap;
	size_t n;

	snprintf(v.field, sizeof v.field, "%s", field ? field : "");
	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	n = utf8_cut(slice_str(text), sizeof v.message - 1);
	memcpy(v.message, text, n);
	return v; /* message ends in NUL: the rest of v is zero */
}

bool name_valid(struct slice s)
{
	size_t i;

	if (!s.n || s.n > NAME_MAX_BYTES)
		return false;
	for (i = 0; i < s.n; i++) {
		uint8_t c = s.p[i];
		bool word = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');

		if (!word && !(i && (c == '.' || c == '_' || c == '-')))
			return false;
	}
	return true;
}

bool node_name_valid(struct slice s)
{
	static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";

	if (!s.n || s.n > NAME_MAX_BYTES)
		return false;
	for (size_t i = 0; i < s.n; i++)
		if (!memchr(letters, s.p[i], sizeof letters - 1))
			return false;
	return true;
}

struct slice queue_route(struct slice queue)
{
	const uint8_t *slash = queue.n ? memchr(queue.p, '/', queue.n) : NULL;

	return slash ? slice_of(queue.p, (size_t)(slash - queue.p)) : queue;
}

struct slice queue_agent(struct slice queue)
{
	size_t n = queue_route(queue).n;

	return n < queue.n ? slice_of(queue.p + n + 1, queue.n - n - 1) : slice_of(NULL, 0);
}

bool queue_valid(struct slice s)
{
	struct slice route = queue_route(s);

	return name_valid(route) && (route.n == s.n || name_valid(queue_agent(s)));
}

void queue_inbox(const char *route, struct slice agent, char out[QUEUE_MAX_BYTES + 1])
{
	snprintf(out, QUEUE_MAX_BYTES + 1, "%s/%.*s", route, (int)agent.n, (const char *)agent.p);
}

/* Asked for every message: not by printf. */
bool queue_key(const char *tenant, const char *queue, char out[QUEUE_KEY_MAX_BYTES + 1])
{
	size_t t = strlen(tenant), q = strlen(queue);

	if (t + 1 + q > QUEUE_KEY_MAX_BYTES)
		return false;
	memcpy(out, tenant, t);
	out[t] = '/';
	memcpy(out + t + 1, queue, q + 1);
	return true;
}

struct slice names_take(const char **names)
{
	struct slice first = slice_of(*names, strcspn(*names, " "));

	*names += first.n;
	*names += **names == ' ';
	return first;
}
