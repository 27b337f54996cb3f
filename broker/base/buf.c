/* How does a buffer grow, and what happens at its cap? It doubles up to the cap; a put that would pass it changes
 * nothing and marks the buffer failed, and every later put fails too, so that a hole in the middle cannot go unseen. */
#include "base/buf.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BUF_FIRST_BYTES 256
#define BUF_CAP_BYTES ((size_t)1 << 40) /* sums of sizes below it cannot overflow */

void buf_init(struct buf *b, size_t cap)
{
	*b = (struct buf){.cap = cap < BUF_CAP_BYTES ? cap : BUF_CAP_BYTES};
}

void buf_clear(struct buf *b)
{
	free(b->p);
	buf_init(b, b->cap);
}

void buf_reset(struct buf *b)
{
	b->n = 0;
	b->failed = false;
}

/* Makes sure that n more bytes, and one NUL that vsnprintf wants, have room. */
static bool buf_grow(struct buf *b, size_t n)
{
	size_t want, size = b->size ? b->size : BUF_FIRST_BYTES;
	uint8_t *p;

	if (b->failed)
		return false;
	if (n > b->cap || b->n > b->cap - n)
		goto failed;
	want = b->n + n + 1;
	if (want <= b->size)
		return true;
	while (size < want)
		size *= 2;
	if (size > b->cap + 1)
		size = b->cap + 1;
	p = realloc(b->p, size);
	if (!p)
		goto failed;
	b->p = p;
	b->size = size;
	return true;
failed:
	b->failed = true;
	return false;
}

bool buf_put(struct buf *b, const void *p, size_t n)
{
	if (!buf_grow(b, n))
		return false;
	if (n)
		memcpy(b->p + b->n, p, n);
	b->n += n;
	return true;
}

bool buf_put_slice(struct buf *b, struct slice s)
{
	return buf_put(b, s.p, s.n);
}

bool buf_put_str(struct buf *b, const char *s)
{
	return buf_put_slice(b, slice_str(s));
}

bool buf_put_u8(struct buf *b, uint8_t v)
{
	return buf_put(b, &v, 1);
}

bool buf_printf(struct buf *b, const char *fmt, ...)
{
	va_list ap, again;
	bool ok = false;
	int n;

	va_start(ap, fmt);
	va_copy(again, ap);
	n = vsnprintf(NULL, 0, fmt, ap);
	if (n < 0)
		b->failed = true;
	else if (buf_grow(b, (size_t)n)) {
		vsnprintf((char *)b->p + b->n, (size_t)n + 1, fmt, again);
		b->n += (size_t)n;
		ok = true;
	}
	va_end(again);
	va_end(ap);
	return ok;
}

uint8_t *buf_reserve(struct buf *b, size_t n)
{
	return buf_grow(b, n) ? b->p + b->n : NULL;
}

void buf_drop(struct buf *b, size_t n)
{
	if (n > b->n)
		n = b->n;
	if (!n)
		return;
	b->n -= n;
	if (b->n)
		memmove(b->p, b->p + n, b->n);
}
