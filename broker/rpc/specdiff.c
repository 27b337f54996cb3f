/* What is different between two messages of a kind, for people? See specdiff.h. */
#include "rpc/specdiff.h"

#include <stdio.h>
#include <string.h>

#include "base/encode.h"
#include "base/secret.h"

#define VALUE_MAX (4u << 20) /* all that a call may hold, as text */
#define SHOWN_MAX 4096       /* what is longer is told by its digest */
#define NAME_MAX_SHOWN 128  /* characters of a message's name */
#define PRINT_SHOWN 16       /* bytes of a digest: nobody makes two that are the same */

static const void *member(const ProtobufCMessage *m, unsigned offset)
{
	return (const char *)m + offset;
}

static void put_enum(const ProtobufCEnumDescriptor *d, int value, struct buf *out)
{
	const ProtobufCEnumValue *v = protobuf_c_enum_descriptor_get_value(d, value);

	if (!value) /* nothing is said */
		return;
	if (v)
		buf_put_str(out, v->name);
	else
		buf_printf(out, "%d", value);
}

/* "key=value" of an entry of a map. */
static void put_pair(const ProtobufCMessage *m, struct buf *out)
{
	for (unsigned i = 0; i < m->descriptor->n_fields && i < 2; i++) {
		const char *text = *(char *const *)member(m, m->descriptor->fields[i].offset);

		buf_printf(out, "%s%s", i ? "=" : "", text ? text : "");
	}
}

/* Bytes are for machines: which ones they are is told by their digest. */
static void put_print(const ProtobufCBinaryData *b, struct buf *out)
{
	uint8_t print[SHA256_BYTES];
	char text[2 * PRINT_SHOWN + 1];

	if (!b->len)
		return;
	sha256(slice_of(b->data, b->len), print);
	hex_encode(print, PRINT_SHOWN, text);
	buf_printf(out, "sha256:%s", text);
}

static void put_one(const ProtobufCFieldDescriptor *f, const void *at, struct buf *out)
{
	switch (f->type) {
	case PROTOBUF_C_TYPE_STRING:
		buf_put_str(out, *(char *const *)at ? *(char *const *)at : "");
		break;
	case PROTOBUF_C_TYPE_UINT32:
		buf_printf(out, "%lu", (unsigned long)*(const uint32_t *)at);
		break;
	case PROTOBUF_C_TYPE_UINT64:
		buf_printf(out, "%llu", (unsigned long long)*(const uint64_t *)at);
		break;
	case PROTOBUF_C_TYPE_INT64:
		buf_printf(out, "%lld", (long long)*(const int64_t *)at);
		break;
	case PROTOBUF_C_TYPE_BOOL:
		buf_put_str(out, *(const protobuf_c_boolean *)at ? "true" : "false");
		break;
	case PROTOBUF_C_TYPE_ENUM:
		put_enum(f->descriptor, *(const int *)at, out);
		break;
	case PROTOBUF_C_TYPE_BYTES:
		put_print(at, out);
		break;
	case PROTOBUF_C_TYPE_MESSAGE:
		put_pair(*(ProtobufCMessage *const *)at, out);
		break;
	default:
		break;
	}
}

static size_t width_of(const ProtobufCFieldDescriptor *f)
{
	switch (f->type) {
	case PROTOBUF_C_TYPE_STRING:
	case PROTOBUF_C_TYPE_MESSAGE:
		return sizeof(void *);
	case PROTOBUF_C_TYPE_BYTES:
		return sizeof(ProtobufCBinaryData);
	case PROTOBUF_C_TYPE_UINT64:
	case PROTOBUF_C_TYPE_INT64:
		return 8;
	default:
		return 4;
	}
}

/* "" when nothing is set. */
static void put_value(const ProtobufCMessage *m, const ProtobufCFieldDescriptor *f, struct buf *out)
{
	if (!m)
		return;
	if (f->label != PROTOBUF_C_LABEL_REPEATED) {
		put_one(f, member(m, f->offset), out);
		return;
	}
	for (size_t i = 0; i < *(const size_t *)member(m, f->quantifier_offset); i++) {
		if (i)
			buf_put_str(out, ", ");
		put_one(f, *(const char *const *)member(m, f->offset) + i * width_of(f), out);
	}
}

/* Of a number or a bool; of texts "" alone. */
static bool is_nothing(const ProtobufCFieldDescriptor *f, struct slice text)
{
	bool is_text = f->type == PROTOBUF_C_TYPE_STRING || f->type == PROTOBUF_C_TYPE_BYTES || f->type == PROTOBUF_C_TYPE_MESSAGE;

	return !text.n || (!is_text && (slice_is(text, "0") || slice_is(text, "false")));
}

static void put_shown(struct slice text, struct buf *out)
{
	const ProtobufCBinaryData all = {text.n, (uint8_t *)(uintptr_t)text.p};

	if (text.n <= SHOWN_MAX) {
		buf_put_slice(out, text.n ? text : slice_str("-"));
		return;
	}
	buf_printf(out, "%zu bytes, ", text.n);
	put_print(&all, out);
}

/* Where it is written: what stands before each name, and whether there was anything before. */
struct place {
	const char *within;
	bool anew;
	struct buf *out;
};

static void diff_field(const struct place *to, const ProtobufCFieldDescriptor *f, const ProtobufCMessage *before, const ProtobufCMessage *after)
{
	struct buf was, is;

	buf_init(&was, VALUE_MAX);
	buf_init(&is, VALUE_MAX);
	put_value(before, f, &was);
	put_value(after, f, &is);
	if (!slice_eq(buf_slice(&was), buf_slice(&is)) && !(is_nothing(f, buf_slice(&was)) && is_nothing(f, buf_slice(&is)))) {
		buf_printf(to->out, "%s%s%s: ", to->out->n ? "; " : "", to->within, f->name);
		if (!to->anew) {
			put_shown(buf_slice(&was), to->out);
			buf_put_str(to->out, " -> ");
		}
		put_shown(buf_slice(&is), to->out);
	}
	buf_clear(&was);
	buf_clear(&is);
}

static bool is_within(const ProtobufCFieldDescriptor *f)
{
	return f->type == PROTOBUF_C_TYPE_MESSAGE && f->label != PROTOBUF_C_LABEL_REPEATED;
}

static const ProtobufCMessage *within(const ProtobufCMessage *m, const ProtobufCFieldDescriptor *f)
{
	return m ? *(const ProtobufCMessage *const *)member(m, f->offset) : NULL;
}

/* Of a message within: its fields under its name. */
static void diff_within(const struct place *to, const ProtobufCFieldDescriptor *f, const ProtobufCMessage *before, const ProtobufCMessage *after)
{
	const ProtobufCMessageDescriptor *d = f->descriptor;
	char name[NAME_MAX_SHOWN];
	const struct place in = {name, to->anew, to->out};

	snprintf(name, sizeof name, "%s%s.", to->within, f->name);
	for (unsigned i = 0; i < d->n_fields; i++)
		if (!is_within(&d->fields[i]))
			diff_field(&in, &d->fields[i], before, after);
}

void specdiff(const ProtobufCMessage *before, const ProtobufCMessage *after, struct buf *out)
{
	const struct place to = {"", !before, out};

	for (unsigned i = 0; i < after->descriptor->n_fields; i++) {
		const ProtobufCFieldDescriptor *f = &after->descriptor->fields[i];

		if (is_within(f))
			diff_within(&to, f, within(before, f), within(after, f));
		else
			diff_field(&to, f, before, after);
	}
}
