/* Which bytes are UTF-8? RFC 3629: no overlong forms, no surrogates, nothing past U+10FFFF. */
#include "base/ascii.h"
#include "base/encode.h"

size_t utf8_step(struct slice s, uint32_t *point)
{
	static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
	size_t i, n;
	uint32_t c;

	if (!s.n)
		return 0;
	c = s.p[0];
	if (c < 0x80) {
		*point = c;
		return 1;
	}
	n = c >= 0xf0 ? 4 : c >= 0xe0 ? 3 : 2;
	if (c < 0xc2 || c > 0xf4 || n > s.n)
		return 0;
	c &= 0x7fu >> n;
	for (i = 1; i < n; i++) {
		if ((s.p[i] & 0xc0) != 0x80)
			return 0;
		c = c << 6 | (s.p[i] & 0x3f);
	}
	if (c < least[n] || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff))
		return 0;
	*point = c;
	return n;
}

static bool utf8_scan(struct slice s, bool controls)
{
	uint32_t c;
	size_t n;

	for (; s.n; s.p += n, s.n -= n) {
		if (s.n >= 8 && ascii_printable8(s.p)) {
			n = 8;
			continue;
		}
		n = utf8_step(s, &c);
		if (!n || (!controls && (c < 0x20 || (c >= 0x7f && c <= 0x9f))))
			return false;
	}
	return true;
}

bool utf8_valid(struct slice s)
{
	return utf8_scan(s, true);
}

bool utf8_is_text(struct slice s)
{
	return utf8_scan(s, false);
}

size_t utf8_cut(struct slice s, size_t max)
{
	if (s.n <= max)
		return s.n;
	while (max && (s.p[max] & 0xc0) == 0x80)
		max--;
	return max;
}
