/* What stands in grpc-status-details-bin? A google.rpc.Status, written here from its field numbers because nothing
 * else of googleapis is needed: ErrorInfo always, RetryInfo when there is something to wait for, and one message of
 * the caller's. Lengths come before contents on the wire, so each part has a function for its size and one for its
 * bytes. */
#include "wire/grpc.h"

#define TYPE_URL(name) "type.googleapis.com/google.rpc." name
#define DOMAIN "baton"
#define WIRE_VARINT 0
#define WIRE_LEN 2

/* ---- sizes ---- */

static size_t pb_varint_size(uint64_t v)
{
	size_t n = 1;

	for (; v >= 0x80; v >>= 7)
		n++;
	return n;
}

/* Field numbers here are below 16: a tag is one byte. */
static size_t pb_len_size(size_t body)
{
	return 1 + pb_varint_size(body) + body;
}

static size_t pb_text_size(struct slice s)
{
	return s.n ? pb_len_size(s.n) : 0;
}

static size_t pb_number_size(uint64_t v)
{
	return v ? 1 + pb_varint_size(v) : 0;
}

/* ---- bytes; a failed put is sticky in the buf ---- */

static void pb_put_varint(struct buf *b, uint64_t v)
{
	for (; v >= 0x80; v >>= 7)
		buf_put_u8(b, (uint8_t)(v | 0x80));
	buf_put_u8(b, (uint8_t)v);
}

static void pb_put_head(struct buf *b, unsigned field, size_t body)
{
	buf_put_u8(b, (uint8_t)(field << 3 | WIRE_LEN));
	pb_put_varint(b, body);
}

static void pb_put_text(struct buf *b, unsigned field, struct slice s)
{
	if (s.n == 0)
		return;
	pb_put_head(b, field, s.n);
	buf_put_slice(b, s);
}

static void pb_put_number(struct buf *b, unsigned field, uint64_t v)
{
	if (v == 0)
		return;
	buf_put_u8(b, (uint8_t)(field << 3 | WIRE_VARINT));
	pb_put_varint(b, v);
}

/* google.protobuf.Any {1 type_url, 2 value} as Status.details (3); the value follows. */
static void pb_put_any(struct buf *b, const char *type, size_t value)
{
	struct slice url = slice_str(type);

	pb_put_head(b, 3, pb_text_size(url) + pb_len_size(value));
	pb_put_text(b, 1, url);
	pb_put_head(b, 2, value);
}

/* ---- ErrorInfo {1 reason, 2 domain, 3 map metadata} ---- */

static size_t detail_size(const struct grpc_detail *m)
{
	return pb_text_size(slice_str(m->key)) + pb_text_size(slice_str(m->value));
}

static size_t info_size(const struct grpc_details *d)
{
	size_t n = pb_text_size(slice_str(d->reason)) + pb_text_size(SLICE_LIT(DOMAIN));

	for (size_t i = 0; d->metadata && i < d->n_metadata; i++)
		n += pb_len_size(detail_size(&d->metadata[i]));
	return n;
}

static void info_put(struct buf *b, const struct grpc_details *d)
{
	pb_put_any(b, TYPE_URL("ErrorInfo"), info_size(d));
	pb_put_text(b, 1, slice_str(d->reason));
	pb_put_text(b, 2, SLICE_LIT(DOMAIN));
	for (size_t i = 0; d->metadata && i < d->n_metadata; i++) {
		const struct grpc_detail *m = &d->metadata[i];

		pb_put_head(b, 3, detail_size(m));
		pb_put_text(b, 1, slice_str(m->key));
		pb_put_text(b, 2, slice_str(m->value));
	}
}

/* ---- RetryInfo {1 Duration {1 seconds, 2 nanos}} ---- */

static void retry_put(struct buf *b, uint32_t ms)
{
	uint64_t seconds = ms / 1000, nanos = (uint64_t)(ms % 1000) * 1000000;
	size_t duration = pb_number_size(seconds) + pb_number_size(nanos);

	pb_put_any(b, TYPE_URL("RetryInfo"), pb_len_size(duration));
	pb_put_head(b, 1, duration);
	pb_put_number(b, 1, seconds);
	pb_put_number(b, 2, nanos);
}

bool grpc_details_encode(struct buf *out, const struct grpc_details *d)
{
	pb_put_number(out, 1, d->status);
	pb_put_text(out, 2, d->message);
	info_put(out, d);
	if (d->retry_after_ms)
		retry_put(out, d->retry_after_ms);
	if (d->any_type) {
		pb_put_any(out, d->any_type, d->any_bytes.n);
		buf_put_slice(out, d->any_bytes);
	}
	return !out->failed;
}
