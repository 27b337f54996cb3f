/* Where does an OpenID provider keep its keys? Its discovery document says so (OIDC Discovery §4.3); it is believed
 * only when it speaks for the very issuer that is configured, and only about an address of that issuer's own origin. */
#include <errno.h>
#include <string.h>
#include <strings.h>

#include "base/json.h"
#include "identity/issuer.h"

#define DISCOVERY_MAX (64 * 1024)
#define HTTPS "https://"

struct origin {
	struct slice host;
	long port;
};

static bool plain_url(struct slice url)
{
	for (size_t i = 0; i < url.n; i++)
		if (url.p[i] <= ' ' || url.p[i] >= 0x7f || strchr("\"<>\\^`{|}#", url.p[i]))
			return false;
	return true;
}

/* Digits 1 to 65535, nothing else; -1 when it is not. */
static long read_port(struct slice s)
{
	long port = 0;

	for (size_t i = 0; i < s.n && i < 6; i++) {
		if (s.p[i] < '0' || s.p[i] > '9')
			return -1;
		port = port * 10 + (s.p[i] - '0');
	}
	return s.n > 0 && s.n <= 5 && port > 0 && port <= 65535 ? port : -1;
}

/* RFC 6454 §4. False for what is not a plain https URL with a host and without user information. */
static bool read_origin(struct slice url, struct origin *out)
{
	const size_t head = sizeof HTTPS - 1;
	size_t end = head, colon = 0;

	if (url.n <= head || strncasecmp((const char *)url.p, HTTPS, head) != 0 || !plain_url(url))
		return false;
	for (; end < url.n && url.p[end] != '/' && url.p[end] != '?'; end++) {
		if (url.p[end] == '@')
			return false;
		if (url.p[end] == ']')
			colon = 0; /* what came before were the colons of an IPv6 address */
		else if (url.p[end] == ':')
			colon = end;
	}
	if (url.p[head] == '[' && !memchr(url.p + head, ']', end - head))
		return false;
	out->host = slice_of(url.p + head, (colon ? colon : end) - head);
	out->port = colon ? read_port(slice_of(url.p + colon + 1, end - colon - 1)) : 443;
	return out->host.n > 0 && out->port > 0 && (out->host.p[0] == '[' || !memchr(out->host.p, ':', out->host.n));
}

static bool same_origin(struct slice a, struct slice b)
{
	struct origin x, y;

	return read_origin(a, &x) && read_origin(b, &y) && x.port == y.port && x.host.n == y.host.n &&
	       strncasecmp((const char *)x.host.p, (const char *)y.host.p, x.host.n) == 0;
}

static struct slice member(const json_t *root, const char *name)
{
	const json_t *v = json_object_get(root, name);

	return json_is_string(v) ? slice_of(json_string_value(v), json_string_length(v)) : slice_of(NULL, 0);
}

static int check(const json_t *root, const char *url, char *out, size_t size, struct problem *why)
{
	struct slice issuer = member(root, "issuer"), jwks = member(root, "jwks_uri");

	if (!slice_is(issuer, url))
		return problem_set(why,
				   "the discovery document speaks for another issuer than %.512s: set its url to what it calls itself", url);
	if (jwks.n == 0)
		return problem_set(why, "the discovery document of %.512s has no jwks_uri", url);
	if (!same_origin(jwks, slice_str(url)))
		return problem_set(why,
				   "the jwks_uri of %.512s is no https address of the same host and port: use jwks_file", url);
	if (!slice_copy_str(jwks, out, size))
		return problem_set(why, "the jwks_uri of %.512s is longer than %zu bytes", url, size - 1);
	return 0;
}

int discovery_parse(struct slice json, const char *url, char *out, size_t size, struct problem *why)
{
	json_error_t e;
	json_t *root;
	int rc;

	out[0] = '\0';
	if (json.n > DISCOVERY_MAX)
		return problem_set(why, "a discovery document is at most 64 KiB");
	root = json_read(json, &e);
	if (!root && errno == ENOMEM)
		return problem_set(why, "out of memory");
	if (!root)
		return problem_set(why, "not a discovery document: JSON is wrong at line %d column %d", e.line,
				   e.column);
	rc = check(root, url, out, size, why);
	json_decref(root);
	return rc;
}
