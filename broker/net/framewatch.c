/* Is the peer in the middle of a header block? See framewatch.h. */
#include "config.h"

#include "net/framewatch.h"

#include <string.h>

#define PREFACE_BYTES 24 /* RFC 9113 §3.4 */

enum { FRAME_DATA = 0, FRAME_HEADERS = 1, FRAME_CONTINUATION = 9, FLAG_END_HEADERS = 4 };

static uint8_t type_of(const struct framewatch *f)
{
	return f->head[3];
}

static void frame_begins(struct framewatch *f)
{
	f->left = (uint32_t)f->head[0] << 16 | (uint32_t)f->head[1] << 8 | f->head[2];
	if (type_of(f) == FRAME_HEADERS)
		f->block = true;
}

static void frame_ends(struct framewatch *f)
{
	if ((type_of(f) == FRAME_HEADERS || type_of(f) == FRAME_CONTINUATION) && f->head[4] & FLAG_END_HEADERS)
		f->block = false;
	f->head_n = 0;
	if (!f->block)
		f->units++;
}

static size_t least(size_t a, size_t b)
{
	return a < b ? a : b;
}

static struct slice skip(struct slice s, size_t n)
{
	return slice_of(s.p + n, s.n - n);
}

void framewatch_feed(struct framewatch *f, struct slice in)
{
	size_t n = least(in.n, (size_t)PREFACE_BYTES - f->preface);

	f->preface = (uint8_t)(f->preface + n);
	in = skip(in, n);
	while (in.n) {
		if (f->head_n < sizeof f->head) {
			n = least(in.n, sizeof f->head - f->head_n);
			memcpy(f->head + f->head_n, in.p, n);
			f->head_n = (uint8_t)(f->head_n + n);
			in = skip(in, n);
			if (f->head_n < sizeof f->head)
				return;
			frame_begins(f);
		}
		n = least(in.n, f->left);
		f->left -= (uint32_t)n;
		in = skip(in, n);
		if (f->left == 0)
			frame_ends(f);
	}
}

bool framewatch_inside(const struct framewatch *f)
{
	return f->block || (f->head_n && !(f->head_n > 3 && type_of(f) == FRAME_DATA));
}
