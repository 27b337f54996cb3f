/* What does a route demand? profile_read.c reads the members; here the draft is checked as a whole, its tools and
 * domains are put in order for look-up, and the profile is made of it.
 *
 * How the members add up. Callable tools: allowed and approval_required, the latter held. A tool's spec without
 * `scopes` leaves it at every required scope. A domain of sandbox.network.allowed_domains without a class is
 * `partner`; a class of a host that no listed domain covers allows nothing. Controls that this version does not
 * carry out, and that must not be skipped unnoticed, are named in *warn: guardrails.*.detect and
 * tools.spec.*.input_schema. */
#include "policy/profile.h"

#include <errno.h>
#include <stdlib.h>

#include "base/encode.h"
#include "base/json.h"
#include "base/secret.h"
#include "policy/destination.h"
#include "policy/profile_priv.h"

#define HOLD_MIN_MS 3000
#define PROFILE_MAX (1 << 20)     /* bytes of a file */
#define ARENA_MAX (8 << 20)

struct profile_owned {
	struct profile pub;       /* first: profile_unref casts back */
	struct arena *arena;
};

const char *destination_class_text(enum destination_class c)
{
	static const char *const texts[] = {"unknown", "internal", "partner", "customer", "public"};

	return (unsigned)c < sizeof texts / sizeof texts[0] ? texts[c] : texts[0];
}

/* Appends to a warning: "a; b". What does not fit is cut. */
static void warn_add(struct problem *warn, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void warn_add(struct problem *warn, const char *fmt, ...)
{
	size_t at = warn ? strlen(warn->text) : 0;
	va_list ap;

	if (!warn || at + 8 >= sizeof warn->text)
		return;
	if (at) {
		memcpy(warn->text + at, "; ", 3);
		at += 2;
	}
	va_start(ap, fmt);
	vsnprintf(warn->text + at, sizeof warn->text - at, fmt, ap);
	va_end(ap);
}

/* ---- tools ---- */

static int tool_order(const void *a, const void *b)
{
	return strcmp(((const struct profile_tool *)a)->name, ((const struct profile_tool *)b)->name);
}

static void add_tool(struct profile_tool *tools, size_t *n, const struct profile_draft *d, const char *name, bool held)
{
	struct profile_tool *t;

	for (size_t i = 0; i < *n; i++)
		if (!strcmp(tools[i].name, name)) {
			tools[i].needs_approval |= held; /* in both lists: held */
			return;
		}
	t = &tools[(*n)++];
	slice_copy_str(slice_str(name), t->name, sizeof t->name);
	t->scopes = d->required_scopes.v;
	t->n_scopes = d->required_scopes.n;
	t->side_effect = SIDE_EFFECT_WRITE;
	t->needs_approval = held;
}

static bool egress_lists(const struct profile_draft *d, const char *pattern)
{
	for (size_t i = 0; i < d->domains.n; i++)
		if (host_pattern_covers(d->domains.v[i], pattern))
			return true;
	return false;
}

static int apply_spec(struct jsonr *r, const struct profile_draft *d, const struct tool_spec *s,
	struct profile_tool *tools, size_t n)
{
	struct profile_tool *t = NULL;

	jsonr_enter(r, "tools.spec", -1);
	jsonr_enter(r, s->tool, -1);
	for (size_t i = 0; i < n && !t; i++)
		if (!strcmp(tools[i].name, s->tool))
			t = &tools[i];
	if (!t)
		return jsonr_error(r, "the tool is neither in tools.allowed nor in tools.approval_required");
	for (size_t i = 0; i < s->destinations.n; i++)
		if (!egress_lists(d, s->destinations.v[i]))
			return jsonr_error(r, "destinations: \"%s\" is not in sandbox.network.allowed_domains",
				s->destinations.v[i]);
	if (s->side_effect > d->max_side_effect)
		return jsonr_error(r, "side_effect: \"%s\" is above tools.max_side_effect",
			side_effect_text((enum side_effect)s->side_effect));
	jsonr_leave(r, 0);
	t->has_spec = true;
	t->side_effect = (enum side_effect)s->side_effect;
	t->destinations = s->destinations.v;
	t->n_destinations = s->destinations.n;
	if (s->has_scopes) {
		t->scopes = s->scopes.v;
		t->n_scopes = s->scopes.n;
	}
	return 0;
}

static int make_tools(struct jsonr *r, const struct profile_draft *d, struct profile *p, struct problem *warn)
{
	size_t n = d->tools_allowed.n + d->tools_held.n, made = 0;
	struct profile_tool *tools = arena_zalloc(r->arena, (n + 1) * sizeof *tools);

	if (!tools)
		return jsonr_error(r, "the file is too large");
	if (!n)
		return jsonr_error(r,
			"tools: neither `allowed` nor `approval_required` names a tool");
	for (size_t i = 0; i < d->tools_allowed.n; i++)
		add_tool(tools, &made, d, d->tools_allowed.v[i], false);
	for (size_t i = 0; i < d->tools_held.n; i++)
		add_tool(tools, &made, d, d->tools_held.v[i], true);
	for (size_t i = 0; i < d->n_specs; i++)
		if (apply_spec(r, d, &d->specs[i], tools, made))
			return -1;
	qsort(tools, made, sizeof *tools, tool_order);
	for (size_t i = 0; i < made; i++) {
		if (!tools[i].n_scopes && !d->required_scopes.n)
			warn_add(warn, "tools: %s needs no scope at all", tools[i].name);
		if (tools[i].side_effect > (enum side_effect)d->max_side_effect)
			warn_add(warn,
				"tools: %s, without a spec a `write`, is above tools.max_side_effect", tools[i].name);
	}
	p->tools = tools;
	p->n_tools = made;
	return 0;
}

/* ---- domains ---- */

static int domain_order(const void *a, const void *b)
{
	return strcmp(((const struct profile_domain *)a)->pattern, ((const struct profile_domain *)b)->pattern);
}

static bool listed(const struct profile_draft *d, const char *pattern)
{
	for (size_t i = 0; i < d->domains.n; i++)
		if (!strcmp(d->domains.v[i], pattern))
			return true;
	return false;
}

/* The most exact class that covers it; none: a partner's. Of two patterns that cover the same domain the longer is the more exact. */
static enum destination_class class_of(const struct profile_draft *d, const char *pattern)
{
	enum destination_class cls = CLASS_PARTNER;
	size_t best = 0;

	for (size_t i = 0; i < d->n_classes; i++) {
		size_t n = strlen(d->classes[i].pattern);

		if (n <= best || !host_pattern_covers(d->classes[i].pattern, pattern))
			continue;
		best = n;
		cls = (enum destination_class)d->classes[i].cls;
	}
	return cls;
}

static bool covers_a_listed(const struct profile_draft *d, const char *pattern)
{
	for (size_t i = 0; i < d->domains.n; i++)
		if (host_pattern_covers(pattern, d->domains.v[i]))
			return true;
	return false;
}

static void warn_unreachable(const struct profile_draft *d, const char *pattern, struct problem *warn)
{
	struct destination dest;

	if (d->block_private_networks && !destination_parse(slice_str(pattern), &dest) && dest.private_network)
		warn_add(warn,
			"sandbox.network.allowed_domains: %s can never be reached: block_private_networks is on",
			 pattern);
}

/* The listed domains, and of the classes those that a listed wildcard covers: the more exact pattern decides. */
static int make_domains(struct jsonr *r, const struct profile_draft *d, struct profile *p, struct problem *warn)
{
	struct profile_domain *domains = arena_alloc(r->arena, (d->domains.n + d->n_classes + 1) * sizeof *domains);
	size_t n = 0;

	if (!domains)
		return jsonr_error(r, "the file is too large");
	for (size_t i = 0; i < d->domains.n; i++) {
		warn_unreachable(d, d->domains.v[i], warn);
		domains[n++] = (struct profile_domain){d->domains.v[i], class_of(d, d->domains.v[i])};
	}
	for (size_t i = 0; i < d->n_classes; i++) {
		if (listed(d, d->classes[i].pattern))
			continue;
		if (egress_lists(d, d->classes[i].pattern))
			domains[n++] = (struct profile_domain){d->classes[i].pattern,
				(enum destination_class)d->classes[i].cls};
		else if (!covers_a_listed(d, d->classes[i].pattern))
			warn_add(warn,
				"egress.classes: %s is no allowed domain: the class allows nothing",
				 d->classes[i].pattern);
	}
	qsort(domains, n, sizeof *domains, domain_order);
	p->domains = domains;
	p->n_domains = n;
	return 0;
}

/* ---- the whole ---- */

static void warn_not_enforced(const struct profile_draft *d, struct problem *warn)
{
	if (d->detect_input.n)
		warn_add(warn, "not enforced in this version: guardrails.input.detect");
	if (d->detect_output.n)
		warn_add(warn, "not enforced in this version: guardrails.output.detect");
	for (size_t i = 0; i < d->n_specs; i++)
		if (d->specs[i].input_schema)
			warn_add(warn, "not enforced in this version: tools.spec.%s.input_schema", d->specs[i].tool);
}

static void fill(struct profile *p, const struct profile_draft *d)
{
	slice_copy_str(slice_str(d->route), p->route, sizeof p->route);
	p->risk_class = d->risk_class;
	p->allowed_issuers = d->allowed_issuers.v;
	p->n_allowed_issuers = d->allowed_issuers.n;
	p->required_audience = d->required_audience;
	p->required_scopes = d->required_scopes.v;
	p->n_required_scopes = d->required_scopes.n;
	p->tenants = d->tenants.v;
	p->n_tenants = d->tenants.n;
	p->subject = (enum profile_subject)d->subject;
	p->approval_classes = d->approval_classes;
	p->block_private_networks = d->block_private_networks;
	p->require_tls = d->require_tls;
	p->max_payload = d->max_payload;
	p->max_output = d->max_output;
	p->max_runtime_ms = d->max_runtime_ms;
	p->max_side_effect = (enum side_effect)d->max_side_effect;
	p->replicas = d->replicas;
	p->lease_ms = d->lease_ms;
	p->resume_ms = d->resume_ms;
	p->max_attempts = d->max_attempts;
	p->backoff_min_ms = d->backoff_ms[0];
	p->backoff_max_ms = d->backoff_ms[1];
	p->default_deadline_ms = d->default_deadline_ms;
	p->max_deadline_ms = d->max_deadline_ms;
	p->broadcast = d->kind != 0;
	p->renew_by_progress = d->keepalive != 0;
	p->assertion = d->assertion != 0;
	p->min_trust = (enum content_trust)d->min_trust;
	if (d->retention_days)
		snprintf(p->retention, sizeof p->retention, "%ud", d->retention_days);
}

/* Every agent would do it, or ask for it. */
static int check_broadcast(struct jsonr *r, const struct profile *p)
{
	for (size_t i = 0; p->broadcast && i < p->n_tools; i++) {
		const struct profile_tool *t = &p->tools[i];

		if (t->needs_approval)
			return jsonr_error(r, "delivery.kind: broadcast: %s is in tools.approval_required, and what is held cannot be broadcast", t->name);
		if (t->side_effect > SIDE_EFFECT_DRAFT)
			return jsonr_error(r, "delivery.kind: broadcast: every agent would do what %s does: set tools.spec.%s.side_effect to read or draft",
					   t->name, t->name);
	}
	if (p->broadcast && p->approval_classes)
		return jsonr_error(r, "delivery.kind: broadcast: egress.approval_for_classes holds work back, and what is held cannot be broadcast");
	return 0;
}

static void set_version(struct profile *p, struct slice json)
{
	uint8_t digest[SHA256_BYTES];

	sha256(json, digest);
	memcpy(p->version_full, "sha256:", 7);
	hex_encode(digest, sizeof digest, p->version_full + 7);
	memcpy(p->version, p->version_full, 23);
	p->version[23] = '\0';
}

static json_t *parse_json(struct slice json, struct problem *why)
{
	json_error_t error;
	json_t *root;

	if (json.n > PROFILE_MAX) {
		problem_set(why, "%zu bytes, and a profile has at most %d", json.n, PROFILE_MAX);
		return NULL;
	}
	root = json_read(json, &error);
	if (!root && errno == ENOMEM)
		problem_set(why, "out of memory");
	else if (!root)
		problem_set(why, "line %d, column %d: %s", error.line, error.column, error.text);
	return root;
}

struct profile *profile_parse(struct slice json, struct problem *why, struct problem *warn)
{
	struct jsonr r = {.why = why};
	struct profile_owned *p = NULL, *made = NULL;
	struct profile_draft d;
	json_t *root = parse_json(json, why);

	if (warn)
		warn->text[0] = '\0';
	if (!root)
		goto out;
	p = calloc(1, sizeof *p);
	if (!p || !(p->arena = arena_new(ARENA_MAX))) {
		problem_set(why, "out of memory");
		goto out;
	}
	r.arena = p->arena;
	if (profile_read(&r, root, &d) || make_tools(&r, &d, &p->pub, warn) || make_domains(&r, &d, &p->pub, warn))
		goto out;
	warn_not_enforced(&d, warn);
	fill(&p->pub, &d);
	if (check_broadcast(&r, &p->pub))
		goto out;
	set_version(&p->pub, json);
	p->pub.refs = 1;
	made = p;
	p = NULL;
out:
	if (p)
		arena_free(p->arena);
	free(p);
	json_decref(root);
	return made ? &made->pub : NULL;
}

struct profile *profile_ref(struct profile *p)
{
	__atomic_add_fetch(&p->refs, 1, __ATOMIC_RELAXED);
	return p;
}

void profile_unref(struct profile *p)
{
	struct profile_owned *owned = (struct profile_owned *)p;

	if (!p || __atomic_sub_fetch(&p->refs, 1, __ATOMIC_ACQ_REL) != 0)
		return;
	arena_free(owned->arena);
	free(owned);
}

/* ---- look-up ---- */

const struct profile_tool *profile_tool(const struct profile *p, struct slice name)
{
	size_t low = 0, high = p->n_tools;

	while (low < high) {
		size_t mid = low + (high - low) / 2;
		int c = slice_compare(name, slice_str(p->tools[mid].name));

		if (!c)
			return &p->tools[mid];
		if (c < 0)
			high = mid;
		else
			low = mid + 1;
	}
	return NULL;
}

uint32_t profile_hold_ms(const struct profile *p)
{
	uint32_t ms = p->resume_ms > HOLD_MIN_MS ? p->resume_ms : HOLD_MIN_MS;

	return p->renew_by_progress || ms > p->lease_ms ? p->lease_ms : ms;
}

const struct profile_tool *profile_first_effect(const struct profile *p)
{
	for (size_t i = 0; i < p->n_tools; i++)
		if (p->tools[i].side_effect != SIDE_EFFECT_READ)
			return &p->tools[i];
	return NULL;
}

static const struct profile_domain *find_domain(const struct profile *p, const char *pattern)
{
	size_t low = 0, high = p->n_domains;

	while (low < high) {
		size_t mid = low + (high - low) / 2;
		int c = strcmp(pattern, p->domains[mid].pattern);

		if (!c)
			return &p->domains[mid];
		if (c < 0)
			high = mid;
		else
			low = mid + 1;
	}
	return NULL;
}

/* The host itself, then "*." and ever shorter suffixes: the most exact entry decides. */
static enum destination_class host_class(const struct profile *p, const char *host)
{
	const struct profile_domain *d = find_domain(p, host);
	char pattern[HOST_MAX + 3];

	for (const char *dot = host[0] == '[' ? NULL : strchr(host, '.'); !d && dot; dot = strchr(dot + 1, '.')) {
		pattern[0] = '*';
		slice_copy_str(slice_str(dot), pattern + 1, sizeof pattern - 1);
		d = find_domain(p, pattern);
	}
	return d ? d->cls : CLASS_UNKNOWN;
}

bool profile_classify(const struct profile *p, struct slice destination, char host[254], enum destination_class *cls,
	const char **why)
{
	struct destination d;

	*cls = CLASS_UNKNOWN;
	host[0] = '\0';
	*why = destination_parse(destination, &d);
	if (!*why && d.plain_http && p->require_tls)
		*why = "http:// without TLS: the route demands https";
	if (!*why && d.private_network && p->block_private_networks)
		*why = "a private, local or metadata address";
	if (*why)
		return false;
	slice_copy_str(slice_str(d.host), host, HOST_MAX + 1);
	*cls = host_class(p, d.host);
	return true;
}
