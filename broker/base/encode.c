/* How do bytes become text, and text bytes again? Base64 in both alphabets, hex and percent-encoding; UTF-8 is in
 * utf8.c. Decoders refuse what an encoder would not have written. */
#include "base/encode.h"

static const char b64_alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
static const char b64url_alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
static const char hex_alphabet[] = "0123456789abcdef";

/* Writes B64URL_LEN(n) characters, no padding, no NUL; returns how many. */
static size_t b64_write(const uint8_t *p, size_t n, const char *alphabet, char *out)
{
	char *o = out;
	uint32_t v;

	for (; n >= 3; p += 3, n -= 3) {
		v = (uint32_t)p[0] << 16 | (uint32_t)p[1] << 8 | p[2];
		*o++ = alphabet[v >> 18];
		*o++ = alphabet[v >> 12 & 63];
		*o++ = alphabet[v >> 6 & 63];
		*o++ = alphabet[v & 63];
	}
	if (n) {
		v = (uint32_t)p[0] << 16 | (n == 2 ? (uint32_t)p[1] << 8 : 0);
		*o++ = alphabet[v >> 18];
		*o++ = alphabet[v >> 12 & 63];
		if (n == 2)
			*o++ = alphabet[v >> 6 & 63];
	}
	return (size_t)(o - out);
}

static int b64_digit(uint8_t c, const char *alphabet)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	if (c == (uint8_t)alphabet[62])
		return 62;
	return c == (uint8_t)alphabet[63] ? 63 : -1;
}

/* text without padding. Canonical: the bits that fill up the last character are zero. */
static long b64_read(struct slice text, const char *alphabet, uint8_t *out, size_t size)
{
	size_t i, n = text.n / 4 * 3 + (text.n % 4 ? text.n % 4 - 1 : 0), at = 0;
	uint32_t v = 0;
	int d, bits = 0;

	if (text.n % 4 == 1 || n > size)
		return -1;
	for (i = 0; i < text.n; i++) {
		if ((d = b64_digit(text.p[i], alphabet)) < 0)
			return -1;
		v = (v << 6 | (uint32_t)d) & 0xfffff;
		bits += 6;
		if (bits >= 8) {
			bits -= 8;
			out[at++] = (uint8_t)(v >> bits);
		}
	}
	return v & ((1u << bits) - 1) ? -1 : (long)at;
}

void b64url_encode(const void *p, size_t n, char *out)
{
	out[b64_write(p, n, b64url_alphabet, out)] = '\0';
}

long b64url_decode(struct slice text, uint8_t *out, size_t size)
{
	return b64_read(text, b64url_alphabet, out, size);
}

long b64_decode(struct slice text, uint8_t *out, size_t size)
{
	size_t pad = 0;

	while (pad < 2 && text.n && text.p[text.n - 1] == '=') {
		text.n--;
		pad++;
	}
	if (pad && (text.n + pad) % 4)
		return -1;
	return b64_read(text, b64_alphabet, out, size);
}

bool b64_encode(struct buf *b, struct slice bytes)
{
	size_t n;
	char *p;

	if (bytes.n > b->cap || !(p = (char *)buf_reserve(b, (bytes.n + 2) / 3 * 4))) {
		b->failed = true;
		return false;
	}
	n = b64_write(bytes.p, bytes.n, b64_alphabet, p);
	while (n % 4)
		p[n++] = '=';
	b->n += n;
	return true;
}

void hex_encode(const void *p, size_t n, char *out)
{
	const uint8_t *b = p;
	size_t i;

	for (i = 0; i < n; i++) {
		out[2 * i] = hex_alphabet[b[i] >> 4];
		out[2 * i + 1] = hex_alphabet[b[i] & 15];
	}
	out[2 * n] = '\0';
}

static int hex_digit_lower(uint8_t c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

long hex_decode_lower(struct slice text, uint8_t *out, size_t size)
{
	size_t i, n = text.n / 2;
	int high, low;

	if (text.n % 2 || n > size)
		return -1;
	for (i = 0; i < n; i++) {
		high = hex_digit_lower(text.p[2 * i]);
		low = hex_digit_lower(text.p[2 * i + 1]);
		if (high < 0 || low < 0)
			return -1;
		out[i] = (uint8_t)(high << 4 | low);
	}
	return (long)n;
}

size_t decimal_encode(uint64_t v, char *out)
{
	char digits[DECIMAL_MAX];
	size_t n = 0;

	do
		digits[n++] = (char)('0' + v % 10);
	while (v /= 10);
	for (size_t i = 0; i < n; i++)
		out[i] = digits[n - 1 - i];
	return n;
}

bool percent_encode(struct buf *b, struct slice s)
{
	static const char digits[] = "0123456789ABCDEF";
	size_t i;

	for (i = 0; i < s.n; i++) {
		uint8_t c = s.p[i];
		char escaped[3] = {'%', digits[c >> 4], digits[c & 15]};

		if (c >= 0x20 && c <= 0x7e && c != '%' ? !buf_put_u8(b, c) : !buf_put(b, escaped, 3))
			return false;
	}
	return true;
}

static int hex_digit(uint8_t c)
{
	return hex_digit_lower(c >= 'A' && c <= 'F' ? (uint8_t)(c + ('a' - 'A')) : c);
}

bool percent_decode(struct buf *b, struct slice s)
{
	size_t i;

	for (i = 0; i < s.n; i++) {
		uint8_t c = s.p[i];

		if (c == '%' && s.n - i > 2 && hex_digit(s.p[i + 1]) >= 0 && hex_digit(s.p[i + 2]) >= 0) {
			c = (uint8_t)(hex_digit(s.p[i + 1]) << 4 | hex_digit(s.p[i + 2]));
			i += 2;
		}
		if (!buf_put_u8(b, c))
			return false;
	}
	return true;
}
