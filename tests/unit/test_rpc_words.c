/* Do the enums of base/words.h equal those of the contract, number by number and name by name? */
#include <ctype.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/words.h"
#include "baton/v1/decision.pb-c.h"
#include "baton/v1/handoff.pb-c.h"

/* "REASON_MISSING_SCOPE" -> "missing_scope" */
static void short_name(const char *full, const char *prefix, char *out)
{
	assert_true(strncmp(full, prefix, strlen(prefix)) == 0);
	for (full += strlen(prefix); *full; full++)
		*out++ = (char)tolower((unsigned char)*full);
	*out = '\0';
}

static const char *reason_name(int v)
{
	return reason_text((enum reason)v);
}
static const char *outcome_name(int v)
{
	return outcome_text((enum outcome)v);
}
static const char *state_name(int v)
{
	return state_text((enum handoff_state)v);
}
static const char *effect_name(int v)
{
	return side_effect_text((enum side_effect)v);
}
static const char *trust_name(int v)
{
	return content_trust_text((enum content_trust)v);
}

static void same(const ProtobufCEnumDescriptor *d, const char *prefix, const char *(*text)(int))
{
	char name[64];

	for (unsigned i = 0; i < d->n_values; i++) {
		short_name(d->values[i].name, prefix, name);
		assert_string_equal(text(d->values[i].value), name);
	}
}

static void test_every_value_has_the_contracts_name(void **state)
{
	(void)state;
	same(&baton__v1__reason__descriptor, "REASON_", reason_name);
	same(&baton__v1__outcome__descriptor, "OUTCOME_", outcome_name);
	same(&baton__v1__handoff_state__descriptor, "HANDOFF_STATE_", state_name);
	same(&baton__v1__side_effect__descriptor, "SIDE_EFFECT_", effect_name);
	same(&baton__v1__content_trust__descriptor, "CONTENT_TRUST_", trust_name);
}

static void test_no_reason_is_missing_from_the_contract(void **state)
{
	(void)state;
	for (int r = 1; r < REASON_MAX; r++)
		if (reason_info((enum reason)r)->reason == (enum reason)r)
			assert_non_null(protobuf_c_enum_descriptor_get_value(&baton__v1__reason__descriptor, r));
}

/* The statuses that decision.proto's comments promise. */
static void test_statuses_are_as_promised(void **state)
{
	static const struct { enum reason r; enum grpc_status s; } want[] = {
		{REASON_UNKNOWN_PEER, GRPC_UNAUTHENTICATED}, {REASON_MALFORMED_ENVELOPE, GRPC_INVALID_ARGUMENT},
		{REASON_STALE_ENVELOPE, GRPC_INVALID_ARGUMENT}, {REASON_PAYLOAD_TOO_LARGE, GRPC_RESOURCE_EXHAUSTED},
		{REASON_MISSING_TOKEN, GRPC_UNAUTHENTICATED}, {REASON_KEYS_UNAVAILABLE, GRPC_UNAVAILABLE},
		{REASON_STATUS_UNAVAILABLE, GRPC_UNAVAILABLE},
		{REASON_REVOKED, GRPC_PERMISSION_DENIED}, {REASON_MISSING_SCOPE, GRPC_PERMISSION_DENIED},
		{REASON_MISSING_IDEMPOTENCY_KEY, GRPC_INVALID_ARGUMENT}, {REASON_EGRESS_DENIED, GRPC_PERMISSION_DENIED},
		{REASON_APPROVAL_REQUIRED, GRPC_OK}, {REASON_REPLAYED_NONCE, GRPC_ALREADY_EXISTS},
		{REASON_IDEMPOTENCY_CONFLICT, GRPC_ALREADY_EXISTS}, {REASON_STORE_UNAVAILABLE, GRPC_UNAVAILABLE},
		{REASON_QUOTA_EXCEEDED, GRPC_RESOURCE_EXHAUSTED}, {REASON_DRAINING, GRPC_UNAVAILABLE},
		{REASON_LEASE_LOST, GRPC_ABORTED}, {REASON_NOT_FOUND, GRPC_NOT_FOUND}, {REASON_WRONG_STATE, GRPC_FAILED_PRECONDITION},
	};

	(void)state;
	for (size_t i = 0; i < sizeof want / sizeof want[0]; i++)
		assert_int_equal(reason_info(want[i].r)->grpc, want[i].s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_value_has_the_contracts_name),
		cmocka_unit_test(test_no_reason_is_missing_from_the_contract),
		cmocka_unit_test(test_statuses_are_as_promised),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
