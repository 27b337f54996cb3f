/* How is the protobuf wire format written field by field? Tag, length, bytes (protobuf encoding guide); see pb.h
 * for when. */
#include "config.h"

#include "client/pb.h"

static const struct prescan_rules answer_rules = {.max_depth = 16, .max_fields = 65536}; /* a page of 500 handoffs */

bool pb_pack(struct buf *out, const ProtobufCMessage *m)
{
	size_t n = protobuf_c_message_get_packed_size(m);
	uint8_t *to = buf_reserve(out, n);

	if (!to)
		return false;
	out->n += protobuf_c_message_pack(m, to);
	return true;
}

ProtobufCMessage *pb_unpack(const ProtobufCMessageDescriptor *desc, struct slice bytes, struct arena *arena,
	struct prescan_fault *fault)
{
	return prescan_unpack(desc, bytes, &answer_rules, arena, fault);
}

static bool put_raw(struct buf *out, uint64_t v)
{
	uint8_t tmp[10];
	size_t n = 0;

	do {
		tmp[n++] = (uint8_t)((v & 0x7F) | (v > 0x7F ? 0x80 : 0));
		v >>= 7;
	} while (v);
	return buf_put(out, tmp, n);
}

bool pb_put_bytes(struct buf *out, uint32_t number, struct slice v)
{
	return put_raw(out, (uint64_t)number << 3 | 2) && put_raw(out, v.n) && buf_put_slice(out, v);
}

bool pb_put_varint(struct buf *out, uint32_t number, uint64_t v)
{
	return v == 0 || (put_raw(out, (uint64_t)number << 3) && put_raw(out, v));
}

static bool take_raw(struct slice *in, uint64_t *out)
{
	uint64_t v = 0;

	for (unsigned i = 0; i < 10 && i < in->n; i++) {
		v |= (uint64_t)(in->p[i] & 0x7F) << (7 * i);
		if (!(in->p[i] & 0x80)) {
			*in = slice_of(in->p + i + 1, in->n - i - 1);
			*out = v;
			return true;
		}
	}
	return false;
}

bool pb_next(struct slice *in, struct pb_field *f)
{
	struct slice s = *in;
	uint64_t tag, n;

	if (s.n == 0 || !take_raw(&s, &tag) || tag >> 3 == 0 || tag >> 3 > 536870911)
		return false;
	*f = (struct pb_field){.number = (uint32_t)(tag >> 3), .type = tag & 7};
	switch (f->type) {
	case 0:
		if (!take_raw(&s, &f->value))
			return false;
		break;
	case 1:
	case 5:
		n = f->type == 1 ? 8 : 4;
		if (s.n < n)
			return false;
		s = slice_of(s.p + n, s.n - n);
		break;
	case 2:
		if (!take_raw(&s, &n) || n > s.n)
			return false;
		f->bytes = slice_of(s.p, n);
		s = slice_of(s.p + n, s.n - n);
		break;
	default:
		return false;
	}
	*in = s;
	return true;
}

bool pb_submit_request(struct buf *out, struct slice envelope, uint64_t ref, bool dry_run)
{
	return pb_put_bytes(out, 1, envelope) && pb_put_varint(out, 3, ref) && pb_put_varint(out, 4, dry_run);
}
