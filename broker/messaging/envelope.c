/* Is this task envelope well formed, in time and within caps? Form first (a table of texts, then the numbers and
 * lists), then size, then times. Whether it is allowed is policy's question. */
#include "messaging/envelope.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "base/encode.h"

#define TIME_MAX (INT64_C(1) << 53) /* what a double, and so JSON, can hold */
#define SCOPES_MAX 32
#define LABELS_MAX 16
#define PRIORITY_MAX 9

/* ---- texts ---- */

static bool printable(struct slice s)
{
	for (size_t i = 0; i < s.n; i++)
		if (s.p[i] < 0x20 || s.p[i] > 0x7e)
			return false;
	return true;
}

static bool token_characters(struct slice s)
{
	for (size_t i = 0; i < s.n; i++) {
		uint8_t c = s.p[i];

		if (!(c >= 'A' && c <= 'Z') && !(c >= 'a' && c <= 'z') && !(c >= '0' && c <= '9') && c != '_' &&
			c != '-')
			return false;
	}
	return true;
}

/* RFC 6749 §3.3: printable ASCII without space, quote and back-slash. */
static bool scope_characters(struct slice s)
{
	for (size_t i = 0; i < s.n; i++)
		if (s.p[i] <= 0x20 || s.p[i] > 0x7e || s.p[i] == '"' || s.p[i] == '\\')
			return false;
	return true;
}

struct text_rule {
	const char *field;
	size_t offset;
	bool required;
	size_t min, max; /* bytes, when it is there */
	bool (*ok)(struct slice s);
	const char *what;
};

#define TEXT(member) #member, offsetof(struct envelope, member)
#define A_NAME "a name: [a-z0-9][a-z0-9._-]{0,62}"

static const struct text_rule texts[] = {
	{TEXT(route), true, 1, NAME_MAX_BYTES, name_valid, A_NAME},
	{TEXT(tool), true, 1, NAME_MAX_BYTES, name_valid, A_NAME},
	{TEXT(content_type), false, 1, 127, printable, "printable ASCII of 1 to 127 characters"},
	{TEXT(nonce), true, 16, 64, token_characters, "16 to 64 characters of A-Z a-z 0-9 _ -"},
	{TEXT(idempotency_key), false, 1, 128, printable, "printable ASCII of 1 to 128 characters"},
	{TEXT(destination), false, 1, 512, printable,
		"printable ASCII of at most 512 characters (write an IDN as punycode)"},
	{TEXT(tenant), false, 1, NAME_MAX_BYTES, name_valid, A_NAME},
	{TEXT(parent_handoff_id), false, 1, 64, token_characters, "the id of a handoff"},
	{TEXT(traceparent), false, 1, 512, utf8_is_text, "text of at most 512 bytes"},
	{TEXT(tracestate), false, 1, 512, utf8_is_text, "text of at most 512 bytes"},
};

static struct verdict check_texts(const struct envelope *e)
{
	for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
		const struct text_rule *t = &texts[i];
		struct slice s = *(const struct slice *)((const char *)e + t->offset);

		if (!s.n && t->required)
			return verdict_deny(REASON_MALFORMED_ENVELOPE, t->field, "%s is missing: %s", t->field,
				t->what);
		if (s.n && (s.n < t->min || s.n > t->max || !t->ok(s)))
			return verdict_deny(REASON_MALFORMED_ENVELOPE, t->field, "%s is not %s", t->field, t->what);
	}
	return verdict_allow();
}

/* ---- numbers and lists ---- */

static struct verdict check_numbers(const struct envelope *e)
{
	const struct {
		const char *field;
		int64_t at_ms;
	} times[] = {
		{"issued_at_ms", e->issued_at_ms}, {"expires_at_ms", e->expires_at_ms}, {"deadline_ms", e->deadline_ms},
		{"start_at_ms", e->start_at_ms},
	};

	if (e->side_effect < SIDE_EFFECT_READ || e->side_effect > SIDE_EFFECT_EXTERNAL_SEND)
		return verdict_deny(REASON_MALFORMED_ENVELOPE, "side_effect",
			"side_effect %d is none of read, draft, write, external_send (1 to 4)",
				    e->side_effect);
	if (e->trust < TRUST_UNSPECIFIED || e->trust > TRUST_USER)
		return verdict_deny(REASON_MALFORMED_ENVELOPE, "trust",
			"trust %d is none of untrusted, internal, user (1 to 3)", e->trust);
	if (e->priority > PRIORITY_MAX)
		return verdict_deny(REASON_MALFORMED_ENVELOPE, "priority", "priority %u is not 0 to 9", e->priority);
	for (size_t i = 0; i < sizeof times / sizeof times[0]; i++)
		if (times[i].at_ms < 0 || times[i].at_ms >= TIME_MAX)
			return verdict_deny(REASON_MALFORMED_ENVELOPE, times[i].field, "%s is no time: 0 <= ms < 2^53",
				times[i].field);
	return verdict_allow();
}

static struct verdict check_scopes(const struct envelope *e)
{
	if (e->n_scopes > SCOPES_MAX)
		return verdict_deny(REASON_MALFORMED_ENVELOPE, "scopes", "%zu scopes, and at most 32 are taken",
			e->n_scopes);
	for (size_t i = 0; i < e->n_scopes; i++) {
		if (!e->scopes[i].n || e->scopes[i].n > 64 || !scope_characters(e->scopes[i]))
			return verdict_deny(REASON_MALFORMED_ENVELOPE, "scopes",
				"scope number %zu is no scope (RFC 6749) of 1 to 64 bytes", i + 1);
		for (size_t j = 0; j < i; j++)
			if (slice_eq(e->scopes[i], e->scopes[j]))
				return verdict_deny(REASON_MALFORMED_ENVELOPE, "scopes",
					"scope number %zu stands there twice", i + 1);
	}
	return verdict_allow();
}

static bool label_text(struct slice s)
{
	return s.n && s.n <= 128 && utf8_is_text(s);
}

static struct verdict check_labels(const struct envelope *e)
{
	if (e->n_labels > LABELS_MAX)
		return verdict_deny(REASON_MALFORMED_ENVELOPE, "labels", "%zu labels, and at most 16 are taken",
			e->n_labels);
	for (size_t i = 0; i < e->n_labels; i++) {
		if (!label_text(e->labels[i].key) || !label_text(e->labels[i].value))
			return verdict_deny(REASON_MALFORMED_ENVELOPE, "labels",
				"label number %zu: key and value are text of 1 to 128 bytes",
					    i + 1);
		for (size_t j = 0; j < i; j++)
			if (slice_eq(e->labels[i].key, e->labels[j].key))
				return verdict_deny(REASON_MALFORMED_ENVELOPE, "labels",
					"label number %zu has a key that is there already",
						    i + 1);
	}
	return verdict_allow();
}

static struct verdict check_size(const struct envelope *e, const struct envelope_limits *l)
{
	if (e->payload.n > l->max_payload)
		return verdict_deny(REASON_PAYLOAD_TOO_LARGE, "payload", "%zu bytes, and the broker takes %zu",
			e->payload.n, l->max_payload);
	return verdict_allow();
}

/* ---- times ---- */

/* "4 m 12 s", "3 h", "250 ms", for a person. */
static const char *span(int64_t ms, char out[32])
{
	long long s = ms / 1000;

	if (ms < 1000)
		snprintf(out, 32, "%lld ms", (long long)ms);
	else if (s < 60)
		snprintf(out, 32, "%lld s", s);
	else if (s < 3600)
		snprintf(out, 32, "%lld m %lld s", s / 60, s % 60);
	else
		snprintf(out, 32, "%lld h %lld m", s / 3600, s / 60 % 60);
	return out;
}

static struct verdict check_order(const struct envelope *e)
{
	if (!e->issued_at_ms)
		return verdict_deny(REASON_MALFORMED_ENVELOPE, "issued_at_ms",
			"issued_at_ms is missing: Unix time in ms");
	if (e->expires_at_ms && e->expires_at_ms <= e->issued_at_ms)
		return verdict_deny(REASON_MALFORMED_ENVELOPE, "expires_at_ms",
			"expires_at_ms is not after issued_at_ms");
	if (e->start_at_ms && e->deadline_ms && e->start_at_ms >= e->deadline_ms)
		return verdict_deny(REASON_MALFORMED_ENVELOPE, "start_at_ms", "start_at_ms is not before deadline_ms");
	return verdict_allow();
}

static struct verdict check_fresh(const struct envelope *e, const struct envelope_limits *l, int64_t now_ms,
	struct envelope_times *out)
{
	int64_t latest = e->issued_at_ms + l->window_ms;
	bool own = e->expires_at_ms && e->expires_at_ms <= latest; /* the sender's own bound, not the broker's */
	char a[32], b[32];

	out->expires_at_ms = own ? e->expires_at_ms : latest;
	out->deadline_ms = e->deadline_ms;
	if (e->issued_at_ms > now_ms + l->clock_skew_ms)
		return verdict_deny(REASON_STALE_ENVELOPE, "issued_at_ms",
			"issued_at is %s in the future for the broker, and %s are taken: set "
				    "the sender's clock", span(e->issued_at_ms - now_ms, a), span(l->clock_skew_ms, b));
	if (out->expires_at_ms > now_ms)
		return verdict_allow();
	if (own)
		return verdict_deny(REASON_STALE_ENVELOPE, "expires_at_ms", "expired %s ago: make a new envelope",
				    span(now_ms - out->expires_at_ms, a));
	return verdict_deny(REASON_STALE_ENVELOPE, "issued_at_ms",
		"issued %s ago, and an envelope may be presented for %s: make a new one",
			    span(now_ms - e->issued_at_ms, a), span(l->window_ms, b));
}

struct verdict envelope_check(const struct envelope *e, const struct envelope_limits *l, int64_t now_ms,
	struct envelope_times *out)
{
	static struct verdict (*const forms[])(const struct envelope *e) = {
		check_texts, check_numbers, check_scopes, check_labels, check_order,
	};
	struct verdict v = verdict_allow();

	*out = (struct envelope_times){0};
	for (size_t i = 0; i < sizeof forms / sizeof forms[0] && verdict_ok(&v); i++)
		v = forms[i](e);
	if (verdict_ok(&v))
		v = check_size(e, l);
	if (verdict_ok(&v))
		v = check_fresh(e, l, now_ms, out);
	return v;
}

struct verdict envelope_deadline(const struct envelope *e, int64_t default_ms, int64_t max_ms, int64_t now_ms,
	int64_t *deadline_ms)
{
	int64_t from = e->start_at_ms > now_ms ? e->start_at_ms : now_ms, wanted = e->deadline_ms ? e->deadline_ms
		: from + default_ms;
	char a[32];

	*deadline_ms = wanted < now_ms + max_ms ? wanted : now_ms + max_ms;
	if (*deadline_ms <= now_ms)
		return verdict_deny(REASON_MALFORMED_ENVELOPE, "deadline_ms", "the deadline was %s ago",
			span(now_ms - *deadline_ms, a));
	if (e->start_at_ms && *deadline_ms <= e->start_at_ms)
		return verdict_deny(REASON_MALFORMED_ENVELOPE, "start_at_ms",
			"start_at_ms is not before the deadline, which is at most %s away",
				    span(max_ms, a));
	return verdict_allow();
}
