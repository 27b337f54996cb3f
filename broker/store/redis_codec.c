/* How does Baton speak RESP2? See redis_codec.h. The scanner below walks through the headers with one level of count an array; the
 * bytes of strings are jumped over, so it costs next to nothing. */
#include "store/redis_codec.h"

#include <stdlib.h>
#include <string.h>

#include "base/encode.h"

struct resp_reader {
	redisReader *hiredis;
	char line[RESP_LINE_MAX];
	size_t line_n;
	size_t skip;        /* bytes of a string and its CRLF still to come */
	size_t reply_bytes; /* of the reply under way */
	size_t elements;
	unsigned depth;
	size_t left[RESP_DEPTH_MAX]; /* elements each open array still waits for */
	size_t ready;       /* whole replies that hiredis has and nobody took */
};

static size_t digits(size_t v)
{
	size_t n = 1;

	while (v >= 10) {
		v /= 10;
		n++;
	}
	return n;
}

static uint8_t *put_header(uint8_t *p, char type, size_t v)
{
	*p++ = (uint8_t)type;
	p += decimal_encode(v, (char *)p);
	*p++ = '\r';
	*p++ = '\n';
	return p;
}

bool resp_put(struct buf *b, const struct slice *argv, size_t n)
{
	size_t size = digits(n) + 3;
	uint8_t *p;

	for (size_t i = 0; i < n; i++)
		size += digits(argv[i].n) + 5 + argv[i].n;
	p = buf_reserve(b, size);
	if (!p)
		return false;
	p = put_header(p, '*', n);
	for (size_t i = 0; i < n; i++) {
		p = put_header(p, '$', argv[i].n);
		if (argv[i].n)
			memcpy(p, argv[i].p, argv[i].n);
		p += argv[i].n;
		*p++ = '\r';
		*p++ = '\n';
	}
	b->n += size;
	return true;
}

struct resp_reader *resp_reader_new(void)
{
	struct resp_reader *r = calloc(1, sizeof *r);

	if (!r)
		return NULL;
	r->hiredis = redisReaderCreate();
	if (!r->hiredis) {
		free(r);
		return NULL;
	}
	r->hiredis->maxbuf = 1u << 20; /* 16 KiB would free and allocate for every larger batch */
	return r;
}

void resp_reader_free(struct resp_reader *r)
{
	if (!r)
		return;
	redisReaderFree(r->hiredis);
	free(r);
}

/* One element is whole; so may be the arrays around it. */
static void element_done(struct resp_reader *r)
{
	while (r->depth) {
		if (--r->left[r->depth - 1])
			return;
		r->depth--;
	}
	r->ready++;
	r->reply_bytes = 0;
	r->elements = 0;
}

/* The number after the type's letter: -1, or 0 to max. -2: something else. */
static long long header_number(const char *p, size_t n, size_t max)
{
	size_t v = 0;

	if (n == 2 && p[0] == '-' && p[1] == '1')
		return -1;
	if (n == 0 || n > 9)
		return -2;
	for (size_t i = 0; i < n; i++) {
		if (p[i] < '0' || p[i] > '9')
			return -2;
		v = v * 10 + (size_t)(p[i] - '0');
	}
	return v <= max ? (long long)v : -2;
}

static int on_bulk(struct resp_reader *r, long long n)
{
	if (n < -1)
		return -1;
	if (n == -1) {
		element_done(r);
		return 0;
	}
	r->skip = (size_t)n + 2;
	return 0;
}

static int on_array(struct resp_reader *r, long long n)
{
	if (n < -1)
		return -1;
	if (n <= 0) {
		element_done(r);
		return 0;
	}
	if (r->depth == RESP_DEPTH_MAX)
		return -1;
	r->left[r->depth++] = (size_t)n;
	return 0;
}

/* line without its CRLF */
static int on_line(struct resp_reader *r)
{
	const char *p = r->line;
	size_t n = r->line_n;

	if (n == 0 || ++r->elements > RESP_ELEMENTS_MAX)
		return -1;
	switch (p[0]) {
	case '+':
	case '-':
		element_done(r);
		return 0;
	case ':':
		if (n > 21)
			return -1;
		element_done(r);
		return 0;
	case '$':
		return on_bulk(r, header_number(p + 1, n - 1, RESP_BULK_MAX));
	case '*':
		return on_array(r, header_number(p + 1, n - 1, RESP_ARRAY_MAX));
	default:
		return -1;
	}
}

static int scan(struct resp_reader *r, struct slice b)
{
	size_t i = 0;

	while (i < b.n) {
		const uint8_t *end;
		size_t n;

		if (r->skip) {
			n = b.n - i < r->skip ? b.n - i : r->skip;
			r->skip -= n;
			r->reply_bytes += n;
			i += n;
			if (r->reply_bytes > RESP_REPLY_MAX)
				return -1;
			if (!r->skip)
				element_done(r);
			continue;
		}
		end = memchr(b.p + i, '\n', b.n - i);
		n = end ? (size_t)(end - (b.p + i)) + 1 : b.n - i;
		if (r->line_n + n > sizeof r->line)
			return -1;
		memcpy(r->line + r->line_n, b.p + i, n);
		r->line_n += n;
		r->reply_bytes += n;
		i += n;
		if (!end)
			break;
		if (r->line_n < 2 || r->line[r->line_n - 2] != '\r')
			return -1;
		r->line_n -= 2;
		if (on_line(r) != 0)
			return -1;
		r->line_n = 0;
	}
	return 0;
}

int resp_reader_feed(struct resp_reader *r, struct slice bytes)
{
	if (scan(r, bytes) != 0)
		return -1;
	return redisReaderFeed(r->hiredis, (const char *)bytes.p, bytes.n) == REDIS_OK ? 0 : -1;
}

redisReply *resp_reader_next(struct resp_reader *r)
{
	void *reply = NULL;

	if (!r->ready || redisReaderGetReply(r->hiredis, &reply) != REDIS_OK)
		return NULL;
	if (reply)
		r->ready--;
	return reply;
}

bool resp_reader_broken(const struct resp_reader *r)
{
	return r->hiredis->err != 0;
}

struct slice resp_bytes(const redisReply *r)
{
	if (r && (r->type == REDIS_REPLY_STRING || r->type == REDIS_REPLY_STATUS))
		return slice_of(r->str, r->len);
	return SLICE_LIT(""); /* somewhere, so that a place behind its head may be named before its length is judged */
}

bool resp_error_is(const redisReply *r, const char *code)
{
	size_t n = strlen(code);

	return r && r->type == REDIS_REPLY_ERROR && r->len >= n && memcmp(r->str, code, n) == 0;
}
