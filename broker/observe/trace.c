/* Which trace does this belong to? W3C Trace Context: traceparent in §3.2, tracestate in §3.3. What does not parse
 * starts a new trace; nobody is refused for it. */
#include "config.h"

#include "observe/trace.h"

#include <stdio.h>

#include "base/encode.h"
#include "base/secret.h"

/* 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01 */
#define PARENT_BYTES 55
#define TRACE_AT 3
#define SPAN_AT 36
#define FLAGS_AT 53
#define FLAG_SAMPLED 0x01
#define STATE_BYTES 512
#define STATE_MEMBERS 32
#define STATE_KEY_BYTES 256
#define STATE_VALUE_BYTES 256

static bool is_zero(const uint8_t *p, size_t n)
{
	while (n && !*p) {
		p++;
		n--;
	}
	return !n;
}

/* 2 * bytes lower-case hex characters that are not all zero. */
static bool id_valid(struct slice s, size_t bytes)
{
	uint8_t id[16];

	return s.n == 2 * bytes && hex_decode_lower(s, id, bytes) == (long)bytes && !is_zero(id, bytes);
}

bool trace_id_valid(struct slice s)
{
	return id_valid(s, 16);
}

static void id_random(char *out, size_t bytes)
{
	uint8_t id[16];

	do
		random_bytes(id, bytes);
	while (is_zero(id, bytes));
	hex_encode(id, bytes, out);
}

static bool parent_parse(struct trace_context *t, struct slice s)
{
	struct slice trace, span;
	uint8_t version, flags;

	if (s.n < PARENT_BYTES || hex_decode_lower(slice_of(s.p, 2), &version, 1) != 1 || version == 0xff)
		return false;
	if (version == 0 ? s.n != PARENT_BYTES : s.n > PARENT_BYTES && s.p[PARENT_BYTES] != '-')
		return false;
	if (s.p[TRACE_AT - 1] != '-' || s.p[SPAN_AT - 1] != '-' || s.p[FLAGS_AT - 1] != '-')
		return false;
	trace = slice_of(s.p + TRACE_AT, 32);
	span = slice_of(s.p + SPAN_AT, 16);
	if (!id_valid(trace, 16) || !id_valid(span, 8) || hex_decode_lower(slice_of(s.p + FLAGS_AT, 2), &flags, 1) != 1)
		return false;
	slice_copy_str(trace, t->trace_id, sizeof t->trace_id);
	slice_copy_str(span, t->parent_id, sizeof t->parent_id);
	t->flags = flags & FLAG_SAMPLED; /* we print version 00, whose other flags are zero */
	return true;
}

static bool is_key_char(uint8_t c, bool first)
{
	if ((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'))
		return true;
	return !first && (c == '_' || c == '-' || c == '*' || c == '/' || c == '@');
}

/* key "=" value, without the blanks around it. */
static bool member_valid(struct slice s)
{
	size_t i, key;

	for (key = 0; key < s.n && is_key_char(s.p[key], key == 0); key++)
		;
	if (!key || key > STATE_KEY_BYTES || key == s.n || s.p[key] != '=')
		return false;
	if (s.n - key - 1 < 1 || s.n - key - 1 > STATE_VALUE_BYTES)
		return false;
	for (i = key + 1; i < s.n; i++)
		if (s.p[i] < 0x20 || s.p[i] > 0x7e || s.p[i] == ',' || s.p[i] == '=')
			return false;
	return true;
}

static bool is_blank(uint8_t c)
{
	return c == ' ' || c == '\t';
}

static struct slice trim(struct slice s)
{
	for (; s.n && is_blank(s.p[0]); s.p++)
		s.n--;
	while (s.n && is_blank(s.p[s.n - 1]))
		s.n--;
	return s;
}

/* Empty members are allowed and do not count (§3.3.1.1). */
static bool state_valid(struct slice s)
{
	size_t members = 0;

	if (s.n > STATE_BYTES)
		return false;
	while (s.n) {
		const uint8_t *comma = memchr(s.p, ',', s.n);
		size_t n = comma ? (size_t)(comma - s.p) : s.n;
		struct slice member = trim(slice_of(s.p, n));

		if (member.n && (++members > STATE_MEMBERS || !member_valid(member)))
			return false;
		n += comma ? 1 : 0;
		s = slice_of(s.p + n, s.n - n);
	}
	return true;
}

void trace_begin(struct trace_context *t, struct slice traceparent, struct slice tracestate)
{
	*t = (struct trace_context){.flags = 0};
	id_random(t->span_id, 8);
	if (!parent_parse(t, traceparent))
		id_random(t->trace_id, 16);
	else if (state_valid(tracestate))
		slice_copy_str(tracestate, t->tracestate, sizeof t->tracestate);
}

void trace_child(struct trace_context *child, const struct trace_context *of)
{
	struct trace_context t = *of;

	memcpy(t.parent_id, of->span_id, sizeof t.parent_id);
	id_random(t.span_id, 8);
	*child = t;
}

void trace_format(const struct trace_context *t, char out[56])
{
	snprintf(out, 56, "00-%.32s-%.16s-%02x", t->trace_id, t->span_id, t->flags & 0xffu);
}
