/* Is this text a SPIFFE id? A byte-for-byte reading of SPIFFE-ID §2: nothing is normalised, decoded or repaired, so
 * that two texts name the same workload only when they are the same bytes. */
#include "identity/spiffe.h"

#define SCHEME "spiffe://"
#define TRUST_DOMAIN_MAX 255

static bool is_lower_or_digit(uint8_t c)
{
	return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

static bool is_domain_char(uint8_t c)
{
	return is_lower_or_digit(c) || c == '.' || c == '-' || c == '_';
}

static bool is_path_char(uint8_t c)
{
	return is_domain_char(c) || (c >= 'A' && c <= 'Z');
}

static const char *check_domain(struct slice d)
{
	if (d.n == 0)
		return "a SPIFFE id needs a trust domain";
	if (d.n > TRUST_DOMAIN_MAX)
		return "the trust domain is longer than 255 bytes";
	for (size_t i = 0; i < d.n; i++)
		if (!is_domain_char(d.p[i]))
			return "the trust domain may hold only a-z 0-9 . - _ (no port, no user, no upper case)";
	return NULL;
}

static const char *check_segment(struct slice s)
{
	if (s.n == 0)
		return "the path has an empty segment";
	if (slice_is(s, ".") || slice_is(s, ".."))
		return "the path has a relative segment";
	for (size_t i = 0; i < s.n; i++)
		if (!is_path_char(s.p[i]))
			return "the path may hold only A-Z a-z 0-9 . - _ and / (no %, no query, no fragment)";
	return NULL;
}

/* path starts with "/". */
static const char *check_path(struct slice path)
{
	size_t start = 1;
	const char *fault = NULL;

	for (size_t i = 1; i <= path.n && !fault; i++) {
		if (i < path.n && path.p[i] != '/')
			continue;
		fault = check_segment(slice_of(path.p + start, i - start));
		start = i + 1;
	}
	return fault;
}

const char *spiffe_parse(struct slice text, struct spiffe_id *out)
{
	const size_t head = sizeof SCHEME - 1;
	const uint8_t *slash;
	struct slice rest;
	const char *fault;

	*out = (struct spiffe_id){{NULL, 0}, {NULL, 0}};
	if (text.n > SPIFFE_ID_MAX)
		return "a SPIFFE id is at most 2048 bytes";
	if (text.n < head || memcmp(text.p, SCHEME, head) != 0)
		return "a SPIFFE id starts with spiffe://";
	rest = slice_of(text.p + head, text.n - head);
	slash = rest.n ? memchr(rest.p, '/', rest.n) : NULL;
	out->trust_domain = slice_of(rest.p, slash ? (size_t)(slash - rest.p) : rest.n);
	fault = check_domain(out->trust_domain);
	if (fault)
		return fault;
	if (!slash)
		return "the id names a trust domain, not a workload: it needs a path";
	out->path = slice_of(slash, rest.n - out->trust_domain.n);
	return check_path(out->path);
}
