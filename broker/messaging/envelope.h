/* Is this task envelope well formed, in time and within caps? Pure checks of design step 2, on a plain struct
 * (protobuf stays in rpc/). */
#ifndef BATON_MESSAGING_ENVELOPE_H
#define BATON_MESSAGING_ENVELOPE_H

#include <stddef.h>
#include <stdint.h>

#include "base/slice.h"
#include "base/words.h"

struct label {
	struct slice key, value;
};

/* Field by field baton.v1.TaskEnvelope; everything borrowed. */
struct envelope {
	struct slice route, tool;
	int side_effect;            /* as it came: may be outside the enum */
	struct slice payload, content_type, nonce;
	int64_t issued_at_ms, expires_at_ms, deadline_ms;
	struct slice idempotency_key, destination, tenant;
	const struct slice *scopes;
	size_t n_scopes;
	struct slice parent_handoff_id;
	int trust;
	struct slice traceparent, tracestate;
	uint32_t priority;
	int64_t start_at_ms;
	const struct label *labels;
	size_t n_labels;
};

struct envelope_limits {
	int64_t window_ms;          /* 5 min: cap of expires_at - issued_at */
	int64_t clock_skew_ms;      /* 30 s: how far in the future issued_at may be */
	size_t max_payload;         /* the broker's; the profile may say less */
};

/* Times as they hold after defaults and caps. */
struct envelope_times {
	int64_t expires_at_ms, deadline_ms;
};

/* malformed_envelope (with the field), stale_envelope (expired; or issued too far in the future), payload_too_large.
 * Form first, then sizes, then times. A nonce is 16..64 of [A-Za-z0-9_-]; names as name_valid(); content_type 1..127
 * printable ASCII; idempotency_key 1..128 printable ASCII; scopes ≤ 32, each an RFC 6749 scope-token of ≤ 64 bytes,
 * none twice; labels ≤ 16, key and value 1..128; priority ≤ 9; times ≥ 0 and < 2^53, expires_at > issued_at;
 * tracestate ≤ 512; destination ≤ 512 (its form is policy's); start_at before deadline. An unknown enum value is
 * malformed. */
struct verdict envelope_check(const struct envelope *e, const struct envelope_limits *l, int64_t now_ms,
	struct envelope_times *out);
/* The work's deadline under a route's profile: default, cap. malformed_envelope when it is past already or not after
 * start_at. */
struct verdict envelope_deadline(const struct envelope *e, int64_t default_ms, int64_t max_ms, int64_t now_ms,
	int64_t *deadline_ms);

/* The fingerprint that tells the same request from another under one idempotency key: payload, content type, tool,
 * side effect, destination, parent, scopes (sorted). And the key's own hash, scoped to tenant, sender, principal
 * (issuer, subject) and route. */
void envelope_fingerprint(const struct envelope *e, uint8_t out[16]);
void envelope_idempotency(const char *tenant, const char *sender, const char *issuer, const char *subject,
	struct slice route,
			  struct slice key, uint8_t out[16]);

#endif
