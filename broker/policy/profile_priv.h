/* What stands between the reader of a profile's members and the profile made of them? This draft. Private to
 * policy/. */
#ifndef BATON_POLICY_PROFILE_PRIV_H
#define BATON_POLICY_PROFILE_PRIV_H

#include <jansson.h>

#include "policy/jsonr.h"
#include "policy/profile.h"

#define PROFILE_TOOLS_MAX 256
#define PROFILE_DOMAINS_MAX 1024

struct tool_spec {
	const char *tool;
	bool has_scopes;
	struct text_list scopes, destinations;
	int side_effect;         /* WRITE when not said */
	const char *input_schema;
};

struct host_class {
	const char *pattern;
	int cls;
};

/* Members as they stand in the file, defaults filled in. */
struct profile_draft {
	const char *route, *risk_class;
	struct text_list allowed_issuers, required_scopes, tenants;
	const char *required_audience;
	int subject;
	struct text_list tools_allowed, tools_held;
	int max_side_effect;
	const struct tool_spec *specs;
	size_t n_specs;
	const struct host_class *classes;
	size_t n_classes;
	unsigned approval_classes;
	struct text_list domains;
	bool block_private_networks, require_tls;
	uint32_t max_payload, max_output, max_runtime_ms;
	uint32_t lease_ms, resume_ms, max_attempts, backoff_ms[2];
	int64_t default_deadline_ms, max_deadline_ms;
	int kind;                /* 1: broadcast */
	uint32_t replicas;
	int keepalive;           /* 1: progress */
	int assertion;
	int min_trust;
	struct text_list detect_input, detect_output;
	int action_input, action_output;
	uint32_t retention_days;
	/* read for their type, acted on elsewhere or later */
	struct {
		const char *filesystem, *workspace;
		struct text_list trace_fields, redact, approvers;
		bool self_approval;
		uint32_t max_depth, max_children, needed;
		int64_t expires_ms;
	} kept;
};

/* Fills in the draft from the JSON's root. 0, or -1 with r->why. */
int profile_read(struct jsonr *r, const json_t *root, struct profile_draft *d);

#endif
