/* How are fields read off the protobuf wire? Tag, then a varint, four or eight bytes, or a length and so many bytes;
 * nothing is copied and nothing beyond the end is read. Groups (wire types 3 and 4) are history and refused. */
#include "wire/wirefmt.h"

#define TAG_BYTES 5
#define LENGTH_BYTES 5 /* protobuf-c reads no more */
#define VALUE_BYTES 10
#define NUMBER_MAX ((1u << 29) - 1)

static const char *const wirefmt_short = "ends in the middle of a field";

const char *wirefmt_varint(struct slice *in, unsigned most, uint64_t *v)
{
	uint64_t got = 0;

	for (unsigned i = 0; i < most; i++) {
		if (i >= in->n)
			return "ends in the middle of a varint";
		uint8_t byte = in->p[i];
		if (i == VALUE_BYTES - 1 && byte > 1)
			return "varint does not fit 64 bits";
		got |= (uint64_t)(byte & 0x7f) << (7 * i);
		if (byte < 0x80) {
			in->p += i + 1;
			in->n -= i + 1;
			*v = got;
			return NULL;
		}
	}
	return "varint is too long";
}

static const char *wirefmt_fixed(struct slice *in, unsigned bytes, uint64_t *v)
{
	uint64_t got = 0;

	if (in->n < bytes)
		return wirefmt_short;
	for (unsigned i = 0; i < bytes; i++)
		got |= (uint64_t)in->p[i] << (8 * i);
	in->p += bytes;
	in->n -= bytes;
	*v = got;
	return NULL;
}

static const char *wirefmt_len(struct slice *in, struct slice *bytes)
{
	uint64_t n;
	const char *what = wirefmt_varint(in, LENGTH_BYTES, &n);

	if (what)
		return what;
	if (n > in->n)
		return "length goes beyond the end";
	*bytes = slice_of(in->p, n);
	in->p += n;
	in->n -= n;
	return NULL;
}

static const char *wirefmt_tag(struct slice *in, struct wirefmt_field *f)
{
	uint64_t tag;
	const char *what = wirefmt_varint(in, TAG_BYTES, &tag);

	if (what)
		return what;
	if (tag >> 3 == 0 || tag >> 3 > NUMBER_MAX)
		return "field number is out of range";
	f->number = (uint32_t)(tag >> 3);
	f->type = (enum wirefmt_type)(tag & 7);
	return NULL;
}

const char *wirefmt_read(struct slice *in, struct wirefmt_field *f)
{
	const char *what = wirefmt_tag(in, f);

	if (what) {
		f->number = 0;
		return what;
	}
	f->value = 0;
	f->bytes = slice_of(NULL, 0);
	switch (f->type) {
	case WIREFMT_VARINT:
		return wirefmt_varint(in, VALUE_BYTES, &f->value);
	case WIREFMT_I64:
		return wirefmt_fixed(in, 8, &f->value);
	case WIREFMT_LEN:
		return wirefmt_len(in, &f->bytes);
	case WIREFMT_I32:
		return wirefmt_fixed(in, 4, &f->value);
	default:
		return "wire type is a group or unknown";
	}
}

bool wirefmt_find(struct slice message, uint32_t number, struct wirefmt_field *f)
{
	while (message.n) {
		if (wirefmt_read(&message, f))
			return false;
		if (f->number == number)
			return true;
	}
	return false;
}
