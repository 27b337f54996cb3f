/* How is JSON written on the hot path? Member by member into a buf, commas and escaping included. Control characters
 * (C0, DEL, C1), and U+2028/2029 that some readers take for line ends, are always escaped, so that a line stays one
 * line. */
#include "base/jsonw.h"

#include <inttypes.h>
#include <string.h>

#include "base/ascii.h"
#include "base/encode.h"

void jsonw_init(struct jsonw *w, struct buf *b)
{
	*w = (struct jsonw){.b = b};
}

static void escape_point(struct buf *b, uint32_t c)
{
	static const char plain[] = {['"'] = '"', ['\\'] = '\\', ['\b'] = 'b', ['\f'] = 'f', ['\n'] = 'n',
				     ['\r'] = 'r', ['\t'] = 't'};

	if (c < sizeof plain && plain[c])
		buf_printf(b, "\\%c", plain[c]);
	else
		buf_printf(b, "\\u%04" PRIx32, c);
}

static bool needs_escape(uint32_t c)
{
	return c < 0x20 || c == '"' || c == '\\' || (c >= 0x7f && c <= 0x9f) || c == 0x2028 || c == 0x2029;
}

/* Printable ASCII but for '"' and '\\': most bytes of most values. */
static const bool is_plain[256] = {[0x20 ... '"' - 1] = true, ['"' + 1 ... '\\' - 1] = true, ['\\' + 1 ... 0x7e] = true};

/* From i on: where the first byte stands that is not. */
static size_t skip_plain(struct slice s, size_t i)
{
	while (s.n - i >= 8 && ascii_printable8(s.p + i) && ascii_lacks8(s.p + i, '"') && ascii_lacks8(s.p + i, '\\'))
		i += 8;
	while (i < s.n && is_plain[s.p[i]])
		i++;
	return i;
}

bool jsonw_escape(struct buf *b, struct slice s)
{
	size_t i, run = 0, n;
	uint32_t c;

	for (i = skip_plain(s, 0); i < s.n; i = skip_plain(s, i)) {
		n = utf8_step(slice_of(s.p + i, s.n - i), &c);
		if (n && !needs_escape(c)) {
			i += n;
			continue;
		}
		buf_put(b, s.p + run, i - run);
		if (n)
			escape_point(b, c);
		else
			buf_put_str(b, "\xef\xbf\xbd");
		i += n ? n : 1;
		run = i;
	}
	return s.n == run ? !b->failed : buf_put(b, s.p + run, s.n - run);
}

static void put_quoted(struct buf *b, struct slice s)
{
	buf_put_u8(b, '"');
	jsonw_escape(b, s);
	buf_put_u8(b, '"');
}

/* Keys are the program's own words: nothing in them needs an escape. */
static void put_key(struct jsonw *w, const char *key)
{
	size_t n = key ? strlen(key) : 0;
	uint8_t *p;

	if (w->comma)
		buf_put_u8(w->b, ',');
	w->comma = true;
	if (!key || !(p = buf_reserve(w->b, n + 3)))
		return;
	*p++ = '"';
	memcpy(p, key, n);
	p[n] = '"';
	p[n + 1] = ':';
	w->b->n += n + 3;
}

static void open_with(struct jsonw *w, const char *key, uint8_t c)
{
	put_key(w, key);
	buf_put_u8(w->b, c);
	w->comma = false;
}

static void close_with(struct jsonw *w, uint8_t c)
{
	buf_put_u8(w->b, c);
	w->comma = true;
}

void jsonw_object(struct jsonw *w, const char *key)
{
	open_with(w, key, '{');
}

void jsonw_array(struct jsonw *w, const char *key)
{
	open_with(w, key, '[');
}

void jsonw_end_object(struct jsonw *w)
{
	close_with(w, '}');
}

void jsonw_end_array(struct jsonw *w)
{
	close_with(w, ']');
}

/* ,"key":"value" in one go, when nothing in it needs an escape. */
static bool put_plain(struct jsonw *w, const char *key, struct slice v)
{
	size_t n = strlen(key);
	uint8_t *p;

	if (skip_plain(v, 0) < v.n)
		return false;
	p = buf_reserve(w->b, n + v.n + 6);
	if (!p)
		return true; /* the buffer has failed, which is what it says */
	if (w->comma)
		*p++ = ',';
	*p++ = '"';
	memcpy(p, key, n);
	p += n;
	memcpy(p, "\":\"", 3);
	p += 3;
	if (v.n)
		memcpy(p, v.p, v.n);
	p[v.n] = '"';
	w->b->n = (size_t)(p - w->b->p) + v.n + 1;
	w->comma = true;
	return true;
}

void jsonw_slice(struct jsonw *w, const char *key, struct slice v)
{
	if (key && put_plain(w, key, v))
		return;
	put_key(w, key);
	put_quoted(w->b, v);
}

void jsonw_str(struct jsonw *w, const char *key, const char *v)
{
	if (v) {
		jsonw_slice(w, key, slice_str(v));
		return;
	}
	put_key(w, key);
	buf_put_str(w->b, "null");
}

void jsonw_int(struct jsonw *w, const char *key, int64_t v)
{
	uint64_t size = v < 0 ? -(uint64_t)v : (uint64_t)v;
	char text[1 + DECIMAL_MAX] = "-";

	put_key(w, key);
	buf_put(w->b, v < 0 ? text : text + 1, decimal_encode(size, text + 1) + (v < 0));
}

void jsonw_json(struct jsonw *w, const char *key, struct slice json)
{
	uint32_t c;

	put_key(w, key);
	for (size_t i = 0, n; i < json.n; i += n) {
		n = utf8_step(slice_of(json.p + i, json.n - i), &c);
		if (!n || (c >= 0x7f && needs_escape(c))) /* a quote or a backslash is JSON's own */
			escape_point(w->b, n ? c : 0xfffd);
		else
			buf_put(w->b, json.p + i, n);
		n = n ? n : 1;
	}
}

void jsonw_bool(struct jsonw *w, const char *key, bool v)
{
	put_key(w, key);
	buf_put_str(w->b, v ? "true" : "false");
}
