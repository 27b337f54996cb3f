/* Where would data leave to? One strict reader, so that what is judged is what an HTTP client would connect to:
 * anything that two readers could see differently (user info, back-slashes, escapes, white space, odd addresses) is
 * refused. */
#include "policy/destination.h"

#include "policy/address.h"

#define DESTINATION_MAX 512
#define LABEL_MAX 63

static bool lower_equal(struct slice s, const char *lower)
{
	size_t n = strlen(lower);

	if (s.n < n)
		return false;
	for (size_t i = 0; i < n; i++)
		if ((s.p[i] >= 'A' && s.p[i] <= 'Z' ? s.p[i] | 0x20 : s.p[i]) != (uint8_t)lower[i])
			return false;
	return true;
}

static struct slice skip(struct slice s, size_t n)
{
	return slice_of(s.p + n, s.n - n);
}

static size_t find(struct slice s, const char *any)
{
	size_t i = 0;

	while (i < s.n && !strchr(any, s.p[i]))
		i++;
	return i;
}

/* Cuts the authority out of a URL; text without a scheme is one already. */
static const char *take_authority(struct slice *s, struct destination *out)
{
	bool url = true;

	if (lower_equal(*s, "https://"))
		*s = skip(*s, 8);
	else if (lower_equal(*s, "http://"))
		*s = skip(*s, 7), out->plain_http = true;
	else
		url = false;
	if (url)
		s->n = find(*s, "/?#");
	if (find(*s, "@") < s->n)
		return "user info (@) is not taken";
	if (!url && find(*s, "/?#") < s->n)
		return "neither a host, host:port nor an https URL";
	return s->n ? NULL : "there is no host";
}

static const char *read_port(struct slice s, uint16_t *port)
{
	unsigned v = 0;

	if (!s.n || s.n > 5 || s.p[0] == '0')
		return "the port is not 1..65535";
	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] < '0' || s.p[i] > '9')
			return "the port is not 1..65535";
		v = v * 10 + (s.p[i] - '0');
	}
	if (v > 65535)
		return "the port is not 1..65535";
	*port = (uint16_t)v;
	return NULL;
}

/* "[v6]" or "[v6]:port" or "name" or "name:port" → the host and whether it stood in brackets. */
static const char *split_port(struct slice s, struct slice *host, bool *bracketed, uint16_t *port)
{
	size_t end;

	*bracketed = s.p[0] == '[';
	end = *bracketed ? find(s, "]") : find(s, ":");
	if (*bracketed && end == s.n)
		return "a [ without a ]";
	*host = *bracketed ? slice_of(s.p + 1, end - 1) : slice_of(s.p, end);
	s = skip(s, end + (*bracketed ? 1 : 0));
	if (!s.n)
		return NULL;
	if (s.p[0] != ':')
		return "something stands between host and port";
	return read_port(skip(s, 1), port);
}

/* Letters, digits and hyphens in labels of 1..63 (RFC 1123 §2.1); host is lower case already. */
static const char *check_name(const char *host)
{
	size_t label = 0;
	char last = '\0';

	for (const char *c = host;; last = *c++) {
		if (*c == '.' || !*c) {
			if (!label || label > LABEL_MAX)
				return "a label of the host is empty or over 63 characters";
			if (last == '-')
				return "a label of the host ends in a hyphen";
			if (!*c)
				return NULL;
			label = 0;
			continue;
		}
		if (!(*c >= 'a' && *c <= 'z') && !(*c >= '0' && *c <= '9') && !(*c == '-' && label))
			return "the host has a character that no host name has (write an IDN as punycode)";
		label++;
	}
}

static const char *read_host(struct slice s, bool bracketed, struct destination *out)
{
	char address[64];

	if (!bracketed && s.n > 1 && s.p[s.n - 1] == '.')
		s.n--;
	if (!s.n || !slice_copy_str(s, out->host, sizeof out->host))
		return s.n ? "the host is over 253 characters" : "there is no host";
	for (char *c = out->host; *c; c++)
		if (*c >= 'A' && *c <= 'Z')
			*c |= 0x20;
	switch (address_classify(slice_str(out->host), bracketed, address, &out->private_network)) {
	case ADDRESS_ODD:
		return "an IP address in an unusual form: write a.b.c.d or [v6]";
	case ADDRESS_V4:
	case ADDRESS_V6:
		memcpy(out->host, address, strlen(address) + 1);
		return NULL;
	case ADDRESS_NONE:
		break;
	}
	out->private_network = address_name_is_local(slice_str(out->host));
	return check_name(out->host);
}

const char *destination_parse(struct slice text, struct destination *out)
{
	struct slice host = {0};
	bool bracketed = false;
	const char *why;

	memset(out, 0, sizeof *out);
	if (!text.n || text.n > DESTINATION_MAX)
		return text.n ? "over 512 bytes" : "there is no host";
	for (size_t i = 0; i < text.n; i++)
		if (text.p[i] <= 0x20 || text.p[i] >= 0x7f || text.p[i] == '\\')
			return "white space, a back-slash or a character outside ASCII (write an IDN as punycode)";
	why = take_authority(&text, out);
	if (!why)
		why = split_port(text, &host, &bracketed, &out->port);
	if (!why)
		why = read_host(host, bracketed, out);
	if (why)
		out->host[0] = '\0';
	return why;
}

const char *host_pattern_check(struct slice pattern)
{
	bool wild = pattern.n > 2 && pattern.p[0] == '*' && pattern.p[1] == '.';
	struct slice host = wild ? skip(pattern, 2) : pattern;
	struct destination d;
	const char *why = destination_parse(host, &d);

	if (why)
		return why;
	if (!slice_is(host, d.host))
		return "not a host in its plain form: lower case, no scheme, port or trailing dot";
	if (wild && (!strchr(d.host, '.') || d.host[0] == '['))
		return "\"*.\" stands before a name of two labels or more";
	if (wild && address_classify(host, false, (char[64]){0}, &(bool){false}) != ADDRESS_NONE)
		return "\"*.\" cannot stand before an address";
	return NULL;
}

bool host_pattern_matches(const char *pattern, const char *host)
{
	size_t p = strlen(pattern), h = strlen(host);

	if (strncmp(pattern, "*.", 2))
		return !strcmp(pattern, host);
	/* from the dot on; at least one character of a label before it */
	return h > p - 1 && !memcmp(host + h - (p - 1), pattern + 1, p - 1);
}

bool host_pattern_covers(const char *outer, const char *inner)
{
	if (strncmp(inner, "*.", 2))
		return host_pattern_matches(outer, inner);
	return !strcmp(outer, inner) || (!strncmp(outer, "*.", 2) && host_pattern_matches(outer, inner + 2));
}
