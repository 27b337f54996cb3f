/* Which members has a security profile, and what may stand in each? The tables below say it; profile.c makes the
 * profile of them.
 *
 * Beyond the published example these members are known: identity.tenants and .subject; tools.spec and
 * .max_side_effect; egress; sandbox.limits.max_payload_bytes; delivery; delegation; approvals; guardrails;
 * observability.retention_days. */
#include "policy/profile_priv.h"

#include <string.h>

#include "policy/destination.h"

#define DAY_MS (24 * 3600 * INT64_C(1000))
#define OUTPUT_MAX (16 << 20) /* bytes: what the broker carries at all */
#define OFF(field) offsetof(struct profile_draft, field)

/* ---- shapes of texts ---- */

static bool graphic(struct slice s, size_t max, const char *but)
{
	for (size_t i = 0; i < s.n; i++)
		if (s.p[i] <= 0x20 || s.p[i] >= 0x7f || strchr(but, s.p[i]))
			return false;
	return s.n && s.n <= max;
}

/* RFC 6749 §3.3, as long as a verdict can name. */
static bool is_scope(struct slice s)
{
	return graphic(s, 64, "\"\\");
}

static bool is_issuer(struct slice s)
{
	return s.n > 8 && !memcmp(s.p, "https://", 8) && graphic(s, 512, "?#\\\"@");
}

static bool is_audience(struct slice s)
{
	return graphic(s, 256, "");
}

static bool is_word(struct slice s)
{
	return graphic(s, 64, "\"\\");
}

static bool is_path(struct slice s)
{
	return s.n && s.n <= 1024;
}

static bool is_pattern(struct slice s)
{
	return !host_pattern_check(s);
}

static const struct text_shape name_shape = {"a name: [a-z0-9][a-z0-9._-]{0,62}", name_valid};
static const struct text_shape scope_shape = {"a scope (RFC 6749) of at most 64 bytes", is_scope};
/* Whose JWT-SVIDs: what a trust domain may be says whoever configures the issuer. */
static bool is_issuer_or_domain(struct slice s)
{
	return slice_begins(s, SLICE_LIT("spiffe://")) ? s.n > 9 && graphic(s, 9 + 255, "?#\"@*\\%") && !memchr(s.p + 9, '/', s.n - 9) : is_issuer(s);
}

static const struct text_shape issuer_shape = {"an https URL without query, fragment or user info, nor spiffe:// and a trust domain", is_issuer_or_domain};
static const struct text_shape audience_shape = {"an audience: 1 to 256 printable characters without space",
	is_audience};
static const struct text_shape word_shape = {"a word of 1 to 64 printable characters without space", is_word};
static const struct text_shape path_shape = {"a path", is_path};
static const struct text_shape pattern_shape = {
	"a host in its plain form (lower case, no scheme, port or trailing dot), or \"*.\" before two labels or more",
	is_pattern};

/* ---- choices ---- */

static const struct text_choice subjects[] = {{"any", SUBJECT_ANY}, {"user", SUBJECT_USER},
	{"service", SUBJECT_SERVICE}, {0}};
static const struct text_choice side_effects[] = {
	{"read", SIDE_EFFECT_READ}, {"draft", SIDE_EFFECT_DRAFT}, {"write", SIDE_EFFECT_WRITE},
	{"external_send", SIDE_EFFECT_EXTERNAL_SEND}, {0},
};
static const struct text_choice classes[] = {
	{"internal", CLASS_INTERNAL}, {"partner", CLASS_PARTNER}, {"customer", CLASS_CUSTOMER},
		{"public", CLASS_PUBLIC},
	{"unknown", CLASS_UNKNOWN}, {0},
};
static const struct text_choice trusts[] = {
	{"untrusted", TRUST_UNTRUSTED}, {"internal", TRUST_INTERNAL}, {"user", TRUST_USER}, {0},
};
static const struct text_choice kinds[] = {{"queue", 0}, {"broadcast", 1}, {0}};
static const struct text_choice keepalives[] = {{"stream", 0}, {"progress", 1}, {0}};
static const struct text_choice assertions[] = {{"none", 0}, {"signed", 1}, {0}};
static const struct text_choice actions[] = {{"deny", 0}, {"redact", 1}, {"approve", 2}, {0}};

/* ---- readers of what is no plain value ---- */

/* Room for one element of each member of the object. */
static void *room(struct jsonr *r, const json_t *v, size_t max, size_t size)
{
	void *p;

	if (!json_is_object(v)) {
		jsonr_error(r, "is %s, and an object belongs here", jsonr_kind(v));
		return NULL;
	}
	if (json_object_size(v) > max) {
		jsonr_error(r, "has %zu members, and at most %zu are taken", json_object_size(v), max);
		return NULL;
	}
	p = arena_zalloc(r->arena, (json_object_size(v) + 1) * size);
	if (!p)
		jsonr_error(r, "the file is too large");
	return p;
}

static const struct json_member spec_members[] = {
	{.name = "scopes", .read = jsonr_texts, .offset = offsetof(struct tool_spec, scopes), .max = 32,
		.shape = &scope_shape},
	{.name = "side_effect", .read = jsonr_choice, .offset = offsetof(struct tool_spec, side_effect),
		.choices = side_effects},
	{.name = "destinations", .read = jsonr_texts, .offset = offsetof(struct tool_spec, destinations), .min = 1,
		.max = 64,
	 .shape = &pattern_shape},
	{.name = "input_schema", .read = jsonr_text, .offset = offsetof(struct tool_spec, input_schema),
		.shape = &path_shape},
	{0},
};

static int read_specs(struct jsonr *r, const json_t *v, const struct json_member *m, void *to)
{
	struct profile_draft *d = to;
	struct tool_spec *specs = room(r, v, PROFILE_TOOLS_MAX, sizeof *specs);
	const char *key;
	json_t *spec;

	(void)m;
	if (!specs)
		return -1;
	json_object_foreach((json_t *)v, key, spec) {
		struct tool_spec *s = &specs[d->n_specs++];
		size_t mark = jsonr_enter(r, key, -1);

		s->tool = arena_strdup(r->arena, key);
		s->side_effect = SIDE_EFFECT_WRITE;
		s->has_scopes = json_object_get(spec, "scopes") != NULL;
		if (!s->tool)
			return jsonr_error(r, "the file is too large");
		if (!json_is_object(spec))
			return jsonr_error(r, "is %s, and an object belongs here", jsonr_kind(spec));
		if (jsonr_members(r, spec, spec_members, s))
			return -1;
		jsonr_leave(r, mark);
	}
	d->specs = specs;
	return 0;
}

static int read_classes(struct jsonr *r, const json_t *v, const struct json_member *m, void *to)
{
	static const struct json_member one = {.choices = classes};
	struct profile_draft *d = to;
	struct host_class *c = room(r, v, PROFILE_DOMAINS_MAX, sizeof *c);
	const char *key;
	json_t *cls;

	(void)m;
	if (!c)
		return -1;
	json_object_foreach((json_t *)v, key, cls) {
		const char *bad = host_pattern_check(slice_str(key));
		size_t mark = jsonr_enter(r, key, -1);

		if (bad)
			return jsonr_error(r, "%s", bad);
		c[d->n_classes].pattern = arena_strdup(r->arena, key);
		if (!c[d->n_classes].pattern)
			return jsonr_error(r, "the file is too large");
		if (jsonr_choice(r, cls, &one, &c[d->n_classes].cls))
			return -1;
		d->n_classes++;
		jsonr_leave(r, mark);
	}
	d->classes = c;
	return 0;
}

/* A list of classes → bits. "unknown" is no choice: what is not classified is denied, not asked about. */
static int read_class_set(struct jsonr *r, const json_t *v, const struct json_member *m, void *to)
{
	struct text_list list = {0};
	unsigned *bits = to;

	if (jsonr_texts(r, v, m, &list))
		return -1;
	*bits = 0;
	for (size_t i = 0; i < list.n; i++) {
		size_t mark = jsonr_enter(r, NULL, (long)i);
		int cls = CLASS_UNKNOWN;

		if (jsonr_choice(r, json_array_get(v, i), m, &cls))
			return -1;
		if (cls == CLASS_UNKNOWN)
			return jsonr_error(r,
				"an unknown destination is always denied: it cannot be held for approval");
		*bits |= 1u << cls;
		jsonr_leave(r, mark);
	}
	return 0;
}

static int read_backoff(struct jsonr *r, const json_t *v, const struct json_member *m, void *to)
{
	uint32_t *ms = to;

	if (!json_is_array(v) || json_array_size(v) != 2)
		return jsonr_error(r, "is %s, and a list [least, most] of milliseconds belongs here",
				   json_is_array(v) ? "a list of another length" : jsonr_kind(v));
	for (size_t i = 0; i < 2; i++) {
		size_t mark = jsonr_enter(r, NULL, (long)i);

		if (jsonr_u32(r, json_array_get(v, i), m, &ms[i]))
			return -1;
		jsonr_leave(r, mark);
	}
	return ms[0] <= ms[1] ? 0 : jsonr_error(r, "[least, most]: %u is more than %u", ms[0], ms[1]);
}

/* ---- the tables ---- */

static const struct json_member identity_members[] = {
	{.name = "allowed_issuers", .read = jsonr_texts, .offset = OFF(allowed_issuers), .required = true, .min = 1,
		.max = 32,
	 .shape = &issuer_shape},
	{.name = "required_audience", .read = jsonr_text, .offset = OFF(required_audience), .required = true,
		.shape = &audience_shape},
	{.name = "required_scopes", .read = jsonr_texts, .offset = OFF(required_scopes), .required = true, .max = 32,
		.shape = &scope_shape},
	{.name = "tenants", .read = jsonr_texts, .offset = OFF(tenants), .min = 1, .max = 64, .shape = &name_shape},
	{.name = "subject", .read = jsonr_choice, .offset = OFF(subject), .choices = subjects},
	{0},
};
static const struct json_member tools_members[] = {
	{.name = "allowed", .read = jsonr_texts, .offset = OFF(tools_allowed), .max = PROFILE_TOOLS_MAX,
		.shape = &name_shape},
	{.name = "approval_required", .read = jsonr_texts, .offset = OFF(tools_held), .max = PROFILE_TOOLS_MAX,
		.shape = &name_shape},
	{.name = "spec", .read = read_specs},
	{.name = "max_side_effect", .read = jsonr_choice, .offset = OFF(max_side_effect), .choices = side_effects},
	{0},
};
static const struct json_member egress_members[] = {
	{.name = "classes", .read = read_classes},
	{.name = "approval_for_classes", .read = read_class_set, .offset = OFF(approval_classes), .max = 4,
		.choices = classes},
	{0},
};
static const struct json_member network_members[] = {
	{.name = "allowed_domains", .read = jsonr_texts, .offset = OFF(domains), .max = PROFILE_DOMAINS_MAX,
		.shape = &pattern_shape},
	{.name = "block_private_networks", .read = jsonr_bool, .offset = OFF(block_private_networks)},
	{.name = "require_tls", .read = jsonr_bool, .offset = OFF(require_tls)},
	{0},
};
static const struct json_member limits_members[] = {
	{.name = "max_runtime_ms", .read = jsonr_u32, .offset = OFF(max_runtime_ms), .min = 1, .max = DAY_MS},
	{.name = "max_output_bytes", .read = jsonr_u32, .offset = OFF(max_output), .min = 1, .max = OUTPUT_MAX},
	{.name = "max_payload_bytes", .read = jsonr_u32, .offset = OFF(max_payload), .min = 1, .max = OUTPUT_MAX},
	{0},
};
static const struct json_member sandbox_members[] = {
	{.name = "filesystem", .read = jsonr_text, .offset = OFF(kept.filesystem), .shape = &word_shape},
	{.name = "workspace", .read = jsonr_text, .offset = OFF(kept.workspace), .shape = &path_shape},
	{.name = "network", .read = jsonr_object, .members = network_members},
	{.name = "limits", .read = jsonr_object, .members = limits_members},
	{0},
};
static const struct json_member delivery_members[] = {
	{.name = "kind", .read = jsonr_choice, .offset = OFF(kind), .choices = kinds},
	{.name = "lease_ms", .read = jsonr_u32, .offset = OFF(lease_ms), .min = 1000, .max = 3600000},
	{.name = "resume_ms", .read = jsonr_u32, .offset = OFF(resume_ms), .max = 3600000},
	{.name = "keepalive", .read = jsonr_choice, .offset = OFF(keepalive), .choices = keepalives},
	{.name = "max_attempts", .read = jsonr_u32, .offset = OFF(max_attempts), .min = 1, .max = 100},
	{.name = "backoff_ms", .read = read_backoff, .offset = OFF(backoff_ms), .max = DAY_MS},
	{.name = "default_deadline_ms", .read = jsonr_i64, .offset = OFF(default_deadline_ms), .min = 1000,
		.max = 366 * DAY_MS},
	{.name = "max_deadline_ms", .read = jsonr_i64, .offset = OFF(max_deadline_ms), .min = 1000,
		.max = 366 * DAY_MS},
	{.name = "assertion", .read = jsonr_choice, .offset = OFF(assertion), .choices = assertions},
	{.name = "replicas", .read = jsonr_u32, .offset = OFF(replicas), .max = 8},
	{0},
};
static const struct json_member delegation_members[] = {
	{.name = "max_depth", .read = jsonr_u32, .offset = OFF(kept.max_depth), .max = 8},
	{.name = "max_children", .read = jsonr_u32, .offset = OFF(kept.max_children), .max = 1024},
	{0},
};
static const struct json_member approvals_members[] = {
	{.name = "approvers", .read = jsonr_texts, .offset = OFF(kept.approvers), .min = 1, .max = 32,
		.shape = &word_shape},
	{.name = "needed", .read = jsonr_u32, .offset = OFF(kept.needed), .min = 1, .max = 16},
	{.name = "expires_ms", .read = jsonr_i64, .offset = OFF(kept.expires_ms), .min = 1000, .max = 366 * DAY_MS},
	{.name = "self_approval", .read = jsonr_bool, .offset = OFF(kept.self_approval)},
	{0},
};
static const struct json_member input_members[] = {
	{.name = "max_trust_required", .read = jsonr_choice, .offset = OFF(min_trust), .choices = trusts},
	{.name = "detect", .read = jsonr_texts, .offset = OFF(detect_input), .max = 64, .shape = &word_shape},
	{.name = "action", .read = jsonr_choice, .offset = OFF(action_input), .choices = actions},
	{0},
};
static const struct json_member output_members[] = {
	{.name = "detect", .read = jsonr_texts, .offset = OFF(detect_output), .max = 64, .shape = &word_shape},
	{.name = "action", .read = jsonr_choice, .offset = OFF(action_output), .choices = actions},
	{0},
};
static const struct json_member guardrails_members[] = {
	{.name = "input", .read = jsonr_object, .members = input_members},
	{.name = "output", .read = jsonr_object, .members = output_members},
	{0},
};
static const struct json_member observability_members[] = {
	{.name = "required_trace_fields", .read = jsonr_texts, .offset = OFF(kept.trace_fields), .max = 64,
		.shape = &word_shape},
	{.name = "redact", .read = jsonr_texts, .offset = OFF(kept.redact), .max = 256, .shape = &word_shape},
	{.name = "retention_days", .read = jsonr_u32, .offset = OFF(retention_days), .min = 1, .max = 3660},
	{0},
};
static const struct json_member root_members[] = {
	{.name = "route", .read = jsonr_text, .offset = OFF(route), .required = true, .shape = &name_shape},
	{.name = "risk_class", .read = jsonr_text, .offset = OFF(risk_class), .shape = &word_shape},
	{.name = "identity", .read = jsonr_object, .required = true, .members = identity_members},
	{.name = "tools", .read = jsonr_object, .required = true, .members = tools_members},
	{.name = "egress", .read = jsonr_object, .members = egress_members},
	{.name = "sandbox", .read = jsonr_object, .members = sandbox_members},
	{.name = "delivery", .read = jsonr_object, .members = delivery_members},
	{.name = "delegation", .read = jsonr_object, .members = delegation_members},
	{.name = "approvals", .read = jsonr_object, .members = approvals_members},
	{.name = "guardrails", .read = jsonr_object, .members = guardrails_members},
	{.name = "observability", .read = jsonr_object, .members = observability_members},
	{0},
};

/* What holds when a member is not there. Whatever guards is on. */
static const struct profile_draft defaults = {
	.risk_class = "",
	.subject = SUBJECT_ANY,
	.max_side_effect = SIDE_EFFECT_EXTERNAL_SEND,
	.block_private_networks = true,
	.require_tls = true,
	.max_output = 1 << 20,
	.lease_ms = 30000,
	.replicas = PROFILE_REPLICAS_DEFAULT,
	.resume_ms = 10000,
	.max_attempts = 5,
	.backoff_ms = {1000, 60000},
	.default_deadline_ms = 3600000,
	.max_deadline_ms = DAY_MS,
	.assertion = 1,
	.min_trust = TRUST_UNTRUSTED,
};

int profile_read(struct jsonr *r, const json_t *root, struct profile_draft *d)
{
	*d = defaults;
	if (!json_is_object(root))
		return jsonr_error(r, "the file is %s, and an object belongs there", jsonr_kind(root));
	if (jsonr_members(r, root, root_members, d))
		return -1;
	/* one given without the other moves the other, never past it silently */
	if (!json_object_get(json_object_get(root, "delivery"), "default_deadline_ms") &&
		d->default_deadline_ms > d->max_deadline_ms)
		d->default_deadline_ms = d->max_deadline_ms;
	if (!json_object_get(json_object_get(root, "delivery"), "max_deadline_ms") &&
		d->max_deadline_ms < d->default_deadline_ms)
		d->max_deadline_ms = d->default_deadline_ms;
	if (d->default_deadline_ms > d->max_deadline_ms)
		return jsonr_error(r, "delivery.default_deadline_ms: %lld is more than max_deadline_ms, %lld",
				   (long long)d->default_deadline_ms, (long long)d->max_deadline_ms);
	return 0;
}
