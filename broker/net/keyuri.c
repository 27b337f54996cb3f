/* See keyuri.h. What a provider understands of a URI is its own affair; here is judged what must never reach one, or a log: a PIN in the clear, a
 * program that would tell one, a module that is loaded by the way. */
#include "config.h"

#include "net/keyuri.h"

#include <ctype.h>
#include <stddef.h>
#include <string.h>
#include <strings.h>

#include "base/slice.h"

#define SCHEME_LETTERS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+.-"
#define IN_THE_CLEAR                                                                                                                        \
	"a PIN or password in the URI would stand in the clear: put it into a file of mode 0600, and name that: ?pin-source=file:/etc/baton/tls.pin"

bool keyuri_is(const char *text)
{
	size_t n = strspn(text, SCHEME_LETTERS);

	return n > 1 && text[n] == ':' && isalpha((unsigned char)text[0]);
}

/* By its words, with - _ . between: user-pin and userpin are, cache-pins is not. */
bool keyuri_names_secret(const char *name)
{
	static const char *const ends[] = {"pin", "pass", "password", "passwd", "passphrase", "secret"};

	for (size_t n; *name; name += n + (name[n] != '\0')) {
		n = strcspn(name, "-_.");
		for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++)
			if (n >= strlen(ends[i]) && !strncasecmp(name + n - strlen(ends[i]), ends[i], strlen(ends[i])))
				return true;
	}
	return false;
}

/* ---- attributes: name=value, with ; or & between ---- */

struct attribute {
	struct slice name, value;
	bool has_value;
};

/* Takes the first off *text; false: there is none any more. */
static bool take(const char **text, const char *end, struct attribute *a)
{
	const char *from = *text, *stop = from, *equals;

	if (from > end)
		return false;
	while (stop < end && *stop != ';' && *stop != '&')
		stop++;
	*text = stop + 1;
	equals = memchr(from, '=', (size_t)(stop - from));
	a->has_value = equals != NULL;
	a->name = slice_of(from, (size_t)((equals ? equals : stop) - from));
	a->value = equals ? slice_of(equals + 1, (size_t)(stop - equals - 1)) : slice_of(NULL, 0);
	return true;
}

static bool named(const struct attribute *a, const char *name)
{
	return a->name.n == strlen(name) && !strncasecmp((const char *)a->name.p, name, a->name.n);
}

static const char *judge(const struct attribute *a)
{
	char name[64];

	if (memchr(a->name.p, '%', a->name.n))
		return "a name of an attribute has a %: write it as it is";
	if (named(a, "module-path") || named(a, "module-name"))
		return "a URI does not say which module is loaded: name it under parameters of tls.providers";
	if (!a->has_value)
		return NULL;
	if (!slice_copy_str(a->name, name, sizeof name))
		return "a name of an attribute is too long";
	return keyuri_names_secret(name) ? IN_THE_CLEAR : NULL;
}

static const char *judge_path(const char *from, const char *end)
{
	const char *wrong = NULL;
	struct attribute a;

	while (!wrong && take(&from, end, &a))
		wrong = named(&a, "pin-source") ? "pin-source belongs behind a ?" : judge(&a);
	return wrong;
}

/* "//user:password@host": where other schemes have one. */
static bool has_userinfo(const char *from, const char *end)
{
	const char *at;

	if (end - from < 2 || strncmp(from, "//", 2) != 0)
		return false;
	at = memchr(from, '@', (size_t)(end - from));
	return at && memchr(from, ':', (size_t)(at - from));
}

/* ---- pin-source=file:/... ---- */

static int hex(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

static bool decode(struct slice in, char *out, size_t size)
{
	const char *p = (const char *)in.p, *end = p + in.n;
	size_t n = 0;

	while (p < end && n + 1 < size) {
		int high = *p == '%' && end - p > 2 ? hex(p[1]) : -1, low = high < 0 ? -1 : hex(p[2]);

		if (*p == '%' && (low < 0 || (high | low) == 0))
			return false;
		out[n++] = *p == '%' ? (char)(high << 4 | low) : *p;
		p += *p == '%' ? 3 : 1;
	}
	out[n] = '\0';
	return p == end;
}

static const char *read_pin_source(struct slice value, struct keyuri *out)
{
	static const char wanted[] = "pin-source is file: and an absolute path: ?pin-source=file:/etc/baton/tls.pin";
	char path[KEYURI_MAX + 1];
	const char *at = path;

	if (out->pin_file[0])
		return "pin-source stands in the URI twice";
	if (!decode(value, path, sizeof path) || strncasecmp(path, "file:", 5) != 0)
		return wanted;
	at += 5;
	if (!strncmp(at, "//", 2)) /* file:///etc: with a host, that is empty */
		at += 2;
	if (at[0] != '/' || at[1] == '/')
		return wanted;
	for (const char *c = at; *c; c++)
		if ((unsigned char)*c < 0x20 || *c == 0x7f)
			return wanted;
	memcpy(out->pin_file, at, strlen(at) + 1);
	return NULL;
}

static const char *read_query(const char *from, struct keyuri *out)
{
	const char *end = from + strlen(from), *wrong = NULL;
	size_t n = strlen(out->store);
	char separator = '?';
	struct attribute a;

	while (!wrong && take(&from, end, &a)) {
		if (named(&a, "pin-source")) {
			wrong = read_pin_source(a.value, out);
			continue;
		}
		wrong = judge(&a);
		if (wrong)
			break;
		out->store[n++] = separator;
		memcpy(out->store + n, a.name.p, (size_t)(from - 1 - (const char *)a.name.p));
		n += (size_t)(from - 1 - (const char *)a.name.p);
		separator = '&';
	}
	out->store[n] = '\0';
	return wrong;
}

const char *keyuri_parse(const char *text, struct keyuri *out)
{
	size_t n = strspn(text, SCHEME_LETTERS), to_query = strcspn(text, "?");
	const char *wrong;

	memset(out, 0, sizeof *out);
	if (!keyuri_is(text) || n >= sizeof out->scheme)
		return "a path that begins with / belongs here, or a URI such as pkcs11:token=baton;object=server";
	if (strlen(text) > KEYURI_MAX)
		return "the URI is over 1024 bytes";
	for (const char *c = text; *c; c++)
		if (*c <= 0x20 || *c >= 0x7f || *c == '#')
			return "the URI has a space, a # or a character that is not ASCII: write %20 for a space";
	for (size_t i = 0; i < n; i++)
		out->scheme[i] = (char)tolower((unsigned char)text[i]);
	if (!strcmp(out->scheme, "file"))
		return "a file is named by its path alone: /etc/baton/tls/server.key";
	memcpy(out->shown, text, to_query);
	memcpy(out->store, text, to_query);
	wrong = has_userinfo(text + n + 1, text + to_query) ? IN_THE_CLEAR : judge_path(text + n + 1, text + to_query);
	return wrong || !text[to_query] ? wrong : read_query(text + to_query + 1, out);
}
