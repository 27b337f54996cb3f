/* Where does one gRPC message end and the next begin? A reader that cuts a stream of DATA bytes at the five-byte
 * heads. A message that lies whole in what came is not copied; one that came in pieces is gathered as it arrives, so
 * that a large length alone costs no memory. */
#include "wire/grpc.h"

#include <string.h>

#define FLAG_COMPRESSED 1

void grpc_reader_init(struct grpc_reader *r, size_t max)
{
	*r = (struct grpc_reader){.max = max};
	buf_init(&r->body, max);
}

void grpc_reader_clear(struct grpc_reader *r)
{
	buf_clear(&r->body);
	r->head_n = r->want = 0;
}

bool grpc_reader_idle(const struct grpc_reader *r)
{
	return r->head_n == 0;
}

void grpc_head(uint8_t out[GRPC_HEAD_BYTES], size_t body)
{
	out[0] = 0;
	out[1] = (uint8_t)(body >> 24);
	out[2] = (uint8_t)(body >> 16);
	out[3] = (uint8_t)(body >> 8);
	out[4] = (uint8_t)body;
}

static struct slice grpc_take(struct slice *in, size_t n)
{
	struct slice s = slice_of(in->p, n);

	in->p += n;
	in->n -= n;
	return s;
}

static size_t grpc_least(size_t a, size_t b)
{
	return a < b ? a : b;
}

/* True when the head is whole. */
static bool grpc_read_head(struct grpc_reader *r, struct slice *in)
{
	struct slice part = grpc_take(in, grpc_least(in->n, GRPC_HEAD_BYTES - r->head_n));

	if (part.n)
		memcpy(r->head + r->head_n, part.p, part.n);
	r->head_n += part.n;
	return r->head_n == GRPC_HEAD_BYTES;
}

/* Judges the head. The head stays, so that asking a spent reader again gives the same answer. */
static enum grpc_read grpc_judge_head(struct grpc_reader *r)
{
	const uint8_t *h = r->head;

	r->want = (size_t)h[1] << 24 | (size_t)h[2] << 16 | (size_t)h[3] << 8 | h[4];
	if (h[0] == FLAG_COMPRESSED)
		return GRPC_READ_COMPRESSED;
	if (h[0] != 0)
		return GRPC_READ_BAD;
	return r->want > r->max ? GRPC_READ_TOO_LARGE : GRPC_READ_MESSAGE;
}

static enum grpc_read grpc_read_body(struct grpc_reader *r, struct slice *in, struct slice *message)
{
	size_t missing = r->want - r->body.n;

	if (r->body.n == 0 && in->n >= missing) {
		*message = grpc_take(in, missing);
	} else if (in->n == 0) {
		return GRPC_READ_MORE;
	} else {
		if (!buf_put_slice(&r->body, grpc_take(in, grpc_least(in->n, missing))))
			return GRPC_READ_TOO_LARGE; /* memory is out */
		if (r->body.n < r->want)
			return GRPC_READ_MORE;
		*message = buf_slice(&r->body);
	}
	r->head_n = r->want = 0;
	return GRPC_READ_MESSAGE;
}

enum grpc_read grpc_reader_next(struct grpc_reader *r, struct slice *in, struct slice *message)
{
	enum grpc_read judged;

	if (r->head_n == 0 && r->body.n)
		buf_clear(&r->body); /* the message given last */
	if (r->head_n < GRPC_HEAD_BYTES && !grpc_read_head(r, in))
		return GRPC_READ_MORE;
	judged = grpc_judge_head(r);
	return judged == GRPC_READ_MESSAGE ? grpc_read_body(r, in, message) : judged;
}
