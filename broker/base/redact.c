/* What in a text looks like a credential, and where does it end? One rule for each kind, tried at each byte that can
 * begin it. When in doubt it is one: a word too many is lost, never a secret written. */
#include "config.h"

#include "base/redact.h"

#include <strings.h>

#define HEADER_MIN 20 /* characters of {"alg":"ES256"} in base64url */

/* One match: text[from, to) is the secret. */
struct hit {
	size_t from, to;
};

/* Where a rule has looked in vain, or what it would find ends where its last hit did: it need not look again before that place. Keeps the scan
 * linear. */
struct scan {
	struct slice s;
	size_t dead_jwt, dead_pem;
	size_t word_end, word_at; /* of the word that was looked at last: its end, and its last '@' */
};

static bool is_b64url(uint8_t c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
}

static bool is_token(uint8_t c) /* RFC 6750 §2.1 b64token, '=' included */
{
	return is_b64url(c) || c == '.' || c == '~' || c == '+' || c == '/' || c == '=';
}

static bool is_blank(uint8_t c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static bool has_at(struct slice s, size_t i, const char *word)
{
	size_t n = strlen(word);

	return s.n - i >= n && memcmp(s.p + i, word, n) == 0;
}

static size_t skip_b64url(struct slice s, size_t i)
{
	while (i < s.n && is_b64url(s.p[i]))
		i++;
	return i;
}

/* "eyJ" begins every base64url of '{"', "ey" and "ew" that of a brace and white space. Three parts or more (JWS, JWE), or two that are
 * both JSON: a token cut short. The rarer beginnings are those of words too: there the first part is as long as a header. */
static bool match_jwt(struct scan *c, size_t i, struct hit *h)
{
	struct slice s = c->s;
	size_t end, parts = 1;
	bool json = false, sure = has_at(s, i, "eyJ");

	if (i < c->dead_jwt || (!sure && !has_at(s, i, "ey") && !has_at(s, i, "ew")))
		return false;
	end = skip_b64url(s, i);
	if (!sure && end - i < HEADER_MIN)
		return false;
	c->dead_jwt = end;
	for (; end < s.n && s.p[end] == '.'; parts++) {
		if (parts == 1)
			json = has_at(s, end + 1, "eyJ");
		end = skip_b64url(s, end + 1);
	}
	*h = (struct hit){i, end};
	if (parts < 3 && !(parts == 2 && json))
		return false;
	c->dead_jwt = end;
	return true;
}

static size_t find(struct slice s, size_t i, const char *word)
{
	size_t n = strlen(word);

	for (; s.n - i >= n; i++)
		if (memcmp(s.p + i, word, n) == 0)
			return i;
	return s.n;
}

/* RFC 7468 label: "RSA PRIVATE KEY", "ENCRYPTED PRIVATE KEY", ... A block without an end reaches to the end of the
 * text. */
static bool match_pem(struct scan *c, size_t i, struct hit *h)
{
	static const char begin[] = "-----BEGIN ", kind[] = "PRIVATE KEY";
	struct slice label;
	size_t end;

	if (i < c->dead_pem || !has_at(c->s, i, begin))
		return false;
	label = slice_of(c->s.p + i + strlen(begin), c->s.n - i - strlen(begin));
	if (label.n > 64)
		label.n = 64;
	label.n = find(label, 0, "-----");
	if (find(label, 0, kind) == label.n)
		return false;
	end = find(c->s, i + strlen(begin), "-----END ");
	c->dead_pem = end;
	if (end < c->s.n) {
		end = find(c->s, end + strlen("-----END "), "-----");
		end = end < c->s.n ? end + 5 : end;
	}
	*h = (struct hit){i, end};
	return true;
}

/* RFC 9110 §11.1: the scheme's case does not matter. The word stays, what follows it goes. */
static bool match_bearer(struct scan *c, size_t i, struct hit *h)
{
	static const char word[] = "bearer";
	struct slice s = c->s;
	size_t from = i + strlen(word), to;

	if (s.n - i <= strlen(word) || !is_blank(s.p[from]) ||
	    strncasecmp((const char *)s.p + i, word, strlen(word)) != 0)
		return false;
	while (from < s.n && is_blank(s.p[from]))
		from++;
	for (to = from; to < s.n && is_token(s.p[to]); to++)
		;
	*h = (struct hit){from, to};
	return to > from;
}

static bool is_url_end(uint8_t c)
{
	return is_blank(c) || c == '"' || c == '\'' || c == '<' || c == '>' || c == '`';
}

/* "host:8443/" is a port, not a password. */
static bool is_port(struct slice s, size_t colon, size_t at)
{
	size_t i = colon + 1;

	while (i < at && s.p[i] >= '0' && s.p[i] <= '9')
		i++;
	return i > colon + 1 && i < at && (s.p[i] == '/' || s.p[i] == '?' || s.p[i] == '#');
}

static void find_word(struct scan *c, size_t i)
{
	c->word_at = 0;
	for (; i < c->s.n && !is_url_end(c->s.p[i]); i++)
		if (c->s.p[i] == '@')
			c->word_at = i;
	c->word_end = i;
}

/* RFC 3986 §3.2.1 userinfo with a colon. Reaches to the last '@' of the word: a password may hold what should have been
 * escaped. */
static bool match_url(struct scan *c, size_t i, struct hit *h)
{
	struct slice s = c->s;
	size_t from = i + 3;
	const uint8_t *colon;

	if (!has_at(s, i, "://"))
		return false;
	if (i >= c->word_end)
		find_word(c, from);
	if (c->word_at < from)
		return false;
	colon = memchr(s.p + from, ':', c->word_at - from);
	if (!colon || is_port(s, (size_t)(colon - s.p), c->word_at))
		return false;
	*h = (struct hit){from, c->word_at};
	return true;
}

static bool match(struct scan *c, size_t i, struct hit *h)
{
	switch (c->s.p[i]) {
	case 'e':
		return match_jwt(c, i, h);
	case '-':
		return match_pem(c, i, h);
	case 'b':
	case 'B':
		return match_bearer(c, i, h);
	case ':':
		return match_url(c, i, h);
	default:
		return false;
	}
}

/* The first hit at or after i. */
static bool find_hit(struct scan *c, size_t i, struct hit *h)
{
	static const bool begins[256] = {['e'] = true, ['-'] = true, ['b'] = true, ['B'] = true, [':'] = true};

	for (; i < c->s.n; i++)
		if (begins[c->s.p[i]] && match(c, i, h))
			return true;
	return false;
}

/* A hit reaches as far as those that begin inside it: "Bearer Bearer x", "Bearer -----BEGIN PRIVATE KEY-----". */
static void widen(struct scan *c, struct hit *h)
{
	struct hit inner;

	for (size_t i = h->from; i < h->to && h->to < c->s.n; i++)
		if (match(c, i, &inner) && inner.to > h->to)
			h->to = inner.to;
}

bool redact_needed(struct slice text)
{
	struct scan c = {.s = text};
	struct hit h;

	return find_hit(&c, 0, &h);
}

bool redact_copy(struct buf *b, struct slice text)
{
	struct scan c = {.s = text};
	struct hit h;
	size_t done = 0;

	while (find_hit(&c, done, &h)) {
		widen(&c, &h);
		buf_put(b, text.p + done, h.from - done);
		buf_put_str(b, "[redacted]");
		done = h.to;
	}
	return done == text.n ? !b->failed : buf_put(b, text.p + done, text.n - done);
}
