/* See audit_line.h. A line is first looked at without being taken apart, for most are none that is asked for; what may be one is read by base/json.h, which takes
 * nothing twice, and compared member by member. */
#include "config.h"

#include "observe/audit_line.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/json.h"

/* ---- one after the other ---- */

struct audit_members audit_members_of(struct slice line)
{
	return (struct audit_members){.line = line, .at = 0, .whole = false};
}

/* A text, from behind its opening quote. */
static bool take_text(struct slice s, size_t *i, struct slice *out, bool *plain)
{
	size_t from = *i;

	for (; *i < s.n && s.p[*i] != '"'; ++*i)
		if (s.p[*i] == '\\') {
			*plain = false;
			++*i;
		}
	if (*i >= s.n)
		return false;
	*out = slice_of(s.p + from, *i - from);
	++*i;
	return true;
}

/* A number, true, false or null. White space is none: the audit writes it nowhere between its members. */
static bool in_bare_value(uint8_t c)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || c == 'E' || c == '-' || c == '+' || c == '.';
}

static bool take_value(struct slice s, size_t *i, struct slice *out, bool *plain)
{
	size_t from = *i;

	if (*i < s.n && s.p[*i] == '"') {
		++*i;
		return take_text(s, i, out, plain);
	}
	while (*i < s.n && in_bare_value(s.p[*i]))
		++*i;
	*out = slice_of(s.p + from, *i - from);
	return *i > from;
}

bool audit_member_next(struct audit_members *m, struct audit_member *out)
{
	struct slice s = m->line;
	size_t i = m->at + 1; /* behind the brace, or the comma */

	if (m->whole || s.n < 2 || s.p[m->at] != (m->at ? ',' : '{') || s.p[s.n - 1] != '}')
		return false;
	out->plain = true;
	if (i >= s.n || s.p[i++] != '"' || !take_text(s, &i, &out->key, &out->plain) || i >= s.n || s.p[i++] != ':' || !take_value(s, &i, &out->value, &out->plain) ||
	    i >= s.n || (s.p[i] != ',' && (s.p[i] != '}' || i + 1 != s.n)))
		return false;
	m->whole = s.p[i] == '}';
	m->at = i;
	return true;
}

/* ---- what is asked for ---- */

#define FILTER(name) {#name, offsetof(struct audit_query, name)}

static const struct { const char *key; size_t at; } filters[] = {
	FILTER(tenant), FILTER(event), FILTER(agent), FILTER(trace_id), FILTER(handoff_id), FILTER(tool), FILTER(reason), FILTER(subject),
};
#define FILTERS (sizeof filters / sizeof filters[0])

static const char *wanted(const struct audit_query *q, size_t i)
{
	return (const char *)q + filters[i].at;
}

bool audit_scope_has(const struct audit_scope *s, const char *tenant)
{
	for (size_t i = 0; i < s->n; i++)
		if (strcmp(s->tenants[i], tenant) == 0)
			return true;
	return false;
}

static bool scope_shows(const struct audit_scope *s, struct slice tenant)
{
	bool shown = s->all;

	for (size_t i = 0; i < s->n && !shown; i++)
		shown = slice_is(tenant, s->tenants[i]);
	return shown;
}

static bool in_time(const struct audit_query *q, int64_t at_ms)
{
	return at_ms >= q->from_ms && (!q->to_ms || at_ms <= q->to_ms);
}

/* Does this member, plain, say that the line is none? Its bit is added to *seen. */
static bool rules_out(const struct audit_query *q, const struct audit_member *m, unsigned *seen)
{
	for (size_t i = 0; i < FILTERS; i++) {
		if (!slice_is(m->key, filters[i].key))
			continue;
		*seen |= 1u << i;
		return (*wanted(q, i) && !slice_is(m->value, wanted(q, i))) || (i == 0 && !scope_shows(&q->scope, m->value));
	}
	return false;
}

/* Something that is asked for does not stand in it at all. */
static bool lacks(const struct audit_query *q, unsigned seen)
{
	for (size_t i = 0; i < FILTERS; i++)
		if (*wanted(q, i) && !(seen >> i & 1))
			return true;
	return !q->scope.all && !(seen & 1);
}

enum audit_match audit_line_glance(const struct audit_query *q, struct slice line, int64_t *at_ms)
{
	struct audit_members all = audit_members_of(line);
	struct audit_member m;
	bool no = false, odd = false;
	unsigned seen = 0;

	*at_ms = -1;
	while (audit_member_next(&all, &m)) {
		odd |= !m.plain; /* what it says is not seen at a glance */
		if (!m.plain)
			continue;
		if (slice_is(m.key, "at"))
			*at_ms = clock_parse_utc(m.value);
		no |= rules_out(q, &m, &seen);
	}
	if (!all.whole || (*at_ms < 0 && !odd))
		return AUDIT_MATCH_FOREIGN;
	if (no || (!odd && lacks(q, seen)))
		return AUDIT_MATCH_NO;
	return *at_ms < 0 || in_time(q, *at_ms) ? AUDIT_MATCH_YES : AUDIT_MATCH_NO;
}

static struct slice text_of(const json_t *line, const char *key)
{
	const json_t *v = json_object_get(line, key);

	return json_is_string(v) ? slice_of(json_string_value(v), json_string_length(v)) : slice_of(NULL, 0);
}

static bool says_all(const struct audit_query *q, const json_t *line)
{
	for (size_t i = 0; i < FILTERS; i++)
		if (*wanted(q, i) && !slice_is(text_of(line, filters[i].key), wanted(q, i)))
			return false;
	return scope_shows(&q->scope, text_of(line, "tenant")) && (!*q->not_span || !slice_is(text_of(line, "span_id"), q->not_span));
}

/* Where its own number stands, with the comma behind it. false: it has one elsewhere than the audit writes it. */
static bool cut_seq(struct slice line, struct audit_found *out)
{
	struct audit_members all = audit_members_of(line);
	struct audit_member m;
	size_t from;

	for (from = 1; audit_member_next(&all, &m); from = all.at + 1)
		if (slice_is(m.key, "seq")) {
			out->before = slice_of(line.p, from);
			out->after = slice_of(line.p + all.at + 1, line.n - all.at - 1);
			return !all.whole;
		}
	return false;
}

enum audit_match audit_line_match(const struct audit_query *q, struct slice line, struct audit_found *out)
{
	enum audit_match r = AUDIT_MATCH_FOREIGN;
	struct audit_members all = audit_members_of(line);
	struct audit_member m;
	json_t *read;

	while (audit_member_next(&all, &m))
		;
	read = all.whole ? json_read(line, NULL) : NULL;
	*out = (struct audit_found){.at_ms = clock_parse_utc(text_of(read, "at")), .before = line};
	if (!json_is_object(read) || out->at_ms < 0 || !text_of(read, "event").n || !slice_copy_str(text_of(read, "event"), out->event, sizeof out->event) ||
	    !slice_copy_str(text_of(read, "node"), out->node, sizeof out->node))
		goto out;
	r = in_time(q, out->at_ms) && says_all(q, read) ? AUDIT_MATCH_YES : AUDIT_MATCH_NO;
	if (r == AUDIT_MATCH_YES && !q->scope.all && json_object_get(read, "seq") && !cut_seq(line, out))
		r = AUDIT_MATCH_FOREIGN;
out:
	json_decref(read);
	return r;
}

/* ---- where lines begin and end ---- */

static const uint8_t *last_border(const uint8_t *p, size_t n)
{
	return n ? memrchr(p, '\n', n) : NULL;
}

size_t audit_lines_back(struct slice s, bool first, bool *inside, bool (*fn)(void *arg, size_t at, size_t n), void *arg)
{
	const uint8_t *border;
	size_t end = s.n;
	bool more = true;

	if (*inside) {
		border = last_border(s.p, s.n);
		if (!border)
			return 0;
		*inside = false;
		end = (size_t)(border - s.p) + 1;
	}
	while (more && end) {
		size_t at;

		border = last_border(s.p, end - 1);
		if (!border && !first)
			break;
		at = border ? (size_t)(border - s.p) + 1 : 0;
		more = fn(arg, at, end - 1 - at);
		end = at;
	}
	if (more && end == s.n && s.n && !first) {
		*inside = true;
		return 0;
	}
	return end;
}

size_t audit_lines_on(struct slice s, bool *inside, bool (*fn)(void *arg, size_t at, size_t n), void *arg)
{
	const uint8_t *border;
	size_t at = 0;
	bool more = true;

	while (more && at < s.n && (border = memchr(s.p + at, '\n', s.n - at))) {
		size_t end = (size_t)(border - s.p);

		more = *inside || fn(arg, at, end - at);
		*inside = false;
		at = end + 1;
	}
	return at;
}
