/* How is a message walked by its descriptor? protobuf-c says for each field its type, its place in the struct and
 * its quantifier. */
#include "config.h"

#include "cli/pbjson.h"

#include <ctype.h>
#include <string.h>

#include "base/encode.h"
#include "base/json.h"
#include "baton/v1/admin.pb-c.h"
#include "cli/text.h"

#define JSON_MAX (64 * 1024 * 1024)
#define DEPTH_MAX 16

static void put_message(struct jsonw *w, const char *key, const ProtobufCMessage *m, unsigned depth);

/* "HandoffState" and "HANDOFF_STATE_QUEUED" -> "queued". */
static void put_enum(struct jsonw *w, const char *key, const ProtobufCEnumDescriptor *d, int value)
{
	const ProtobufCEnumValue *v = protobuf_c_enum_descriptor_get_value(d, value);
	const char *name;
	char text[64];
	size_t i = 0;

	if (!v) {
		jsonw_int(w, key, value);
		return;
	}
	name = v->name;
	for (const char *t = d->short_name; *t; t++) { /* step over the type's name, its humps written with "_" */
		if (t != d->short_name && isupper((unsigned char)*t) && *name == '_')
			name++;
		if (*name != toupper((unsigned char)*t)) {
			name = v->name;
			break;
		}
		name++;
	}
	if (name != v->name && *name == '_')
		name++;
	for (; name[i] && i < sizeof text - 1; i++)
		text[i] = (char)tolower((unsigned char)name[i]);
	text[i] = '\0';
	jsonw_str(w, key, text);
}

/* Bytes that are JSON stand there as JSON. The broker has looked; so do we. */
static bool put_json(struct jsonw *w, const char *key, const ProtobufCFieldDescriptor *f, struct slice s)
{
	bool is = protobuf_c_message_descriptor_get_field_by_name(&baton__v1__agent_spec__descriptor, "card") == f;
	json_t *json = is ? json_read(s, NULL) : NULL;
	struct buf b;

	if (!json)
		return false;
	json_decref(json);
	buf_init(&b, JSON_MAX);
	if (json_compact(s, &b))
		jsonw_json(w, key, buf_slice(&b));
	buf_clear(&b);
	return true;
}

static void put_bytes(struct jsonw *w, const char *key, struct slice s)
{
	char name[80];
	struct buf b;

	if (text_is_plain(s)) {
		jsonw_slice(w, key, s);
		return;
	}
	snprintf(name, sizeof name, "%s_base64", key ? key : "bytes");
	buf_init(&b, JSON_MAX);
	b64_encode(&b, s);
	jsonw_slice(w, key ? name : NULL, buf_slice(&b));
	buf_clear(&b);
}

/* `at` points to one value of the field's type. unset: leave zero values out. */
static void put_value(struct jsonw *w, const char *key, const ProtobufCFieldDescriptor *f, const void *at, bool unset,
	unsigned depth)
{
	switch (f->type) {
	case PROTOBUF_C_TYPE_INT32:
	case PROTOBUF_C_TYPE_SINT32:
	case PROTOBUF_C_TYPE_SFIXED32:
		if (!unset || *(const int32_t *)at)
			jsonw_int(w, key, *(const int32_t *)at);
		break;
	case PROTOBUF_C_TYPE_UINT32:
	case PROTOBUF_C_TYPE_FIXED32:
		if (!unset || *(const uint32_t *)at)
			jsonw_int(w, key, *(const uint32_t *)at);
		break;
	case PROTOBUF_C_TYPE_INT64:
	case PROTOBUF_C_TYPE_SINT64:
	case PROTOBUF_C_TYPE_SFIXED64:
	case PROTOBUF_C_TYPE_UINT64:
	case PROTOBUF_C_TYPE_FIXED64:
		if (!unset || *(const int64_t *)at)
			jsonw_int(w, key, *(const int64_t *)at);
		break;
	case PROTOBUF_C_TYPE_BOOL:
		if (!unset || *(const protobuf_c_boolean *)at)
			jsonw_bool(w, key, *(const protobuf_c_boolean *)at);
		break;
	case PROTOBUF_C_TYPE_ENUM:
		if (!unset || *(const int *)at)
			put_enum(w, key, f->descriptor, *(const int *)at);
		break;
	case PROTOBUF_C_TYPE_STRING:
		if (!unset || **(const char *const *)at)
			jsonw_str(w, key, *(const char *const *)at);
		break;
	case PROTOBUF_C_TYPE_BYTES: {
		const ProtobufCBinaryData *b = at;

		if ((!unset || b->len) && !put_json(w, key, f, slice_of(b->data, b->len)))
			put_bytes(w, key, slice_of(b->data, b->len));
		break;
	}
	case PROTOBUF_C_TYPE_MESSAGE:
		if (*(const ProtobufCMessage *const *)at)
			put_message(w, key, *(const ProtobufCMessage *const *)at, depth + 1);
		break;
	default: /* float, double: not in this contract */
		break;
	}
}

static size_t element_size(const ProtobufCFieldDescriptor *f)
{
	switch (f->type) {
	case PROTOBUF_C_TYPE_STRING:
	case PROTOBUF_C_TYPE_MESSAGE:
		return sizeof(void *);
	case PROTOBUF_C_TYPE_BYTES:
		return sizeof(ProtobufCBinaryData);
	case PROTOBUF_C_TYPE_INT64:
	case PROTOBUF_C_TYPE_SINT64:
	case PROTOBUF_C_TYPE_SFIXED64:
	case PROTOBUF_C_TYPE_UINT64:
	case PROTOBUF_C_TYPE_FIXED64:
	case PROTOBUF_C_TYPE_DOUBLE:
		return 8;
	default:
		return 4;
	}
}

/* map<string, string>: entries become members. */
static bool is_map(const ProtobufCFieldDescriptor *f)
{
	const ProtobufCMessageDescriptor *d = f->type == PROTOBUF_C_TYPE_MESSAGE ? f->descriptor : NULL;
	size_t n = d ? strlen(d->short_name) : 0;

	return d && n > 5 && strcmp(d->short_name + n - 5, "Entry") == 0 && d->n_fields == 2 &&
	       d->fields[0].type == PROTOBUF_C_TYPE_STRING && d->fields[1].type == PROTOBUF_C_TYPE_STRING;
}

static void put_map(struct jsonw *w, const ProtobufCFieldDescriptor *f, const ProtobufCMessage *const *entries,
	size_t n)
{
	const ProtobufCMessageDescriptor *d = f->descriptor;

	jsonw_object(w, f->name);
	for (size_t i = 0; i < n; i++)
		jsonw_str(w, *(const char *const *)((const char *)entries[i] + d->fields[0].offset),
			  *(const char *const *)((const char *)entries[i] + d->fields[1].offset));
	jsonw_end_object(w);
}

static void put_repeated(struct jsonw *w, const ProtobufCFieldDescriptor *f, const ProtobufCMessage *m, unsigned depth)
{
	size_t n = *(const size_t *)((const char *)m + f->quantifier_offset);
	const char *values = *(const char *const *)((const char *)m + f->offset);

	if (n == 0)
		return;
	if (is_map(f)) {
		put_map(w, f, (const ProtobufCMessage *const *)(const void *)values, n);
		return;
	}
	jsonw_array(w, f->name);
	for (size_t i = 0; i < n; i++)
		put_value(w, NULL, f, values + i * element_size(f), false, depth);
	jsonw_end_array(w);
}

static void put_message(struct jsonw *w, const char *key, const ProtobufCMessage *m, unsigned depth)
{
	const ProtobufCMessageDescriptor *d = m->descriptor;

	jsonw_object(w, key);
	for (unsigned i = 0; depth < DEPTH_MAX && i < d->n_fields; i++) {
		const ProtobufCFieldDescriptor *f = &d->fields[i];
		const char *at = (const char *)m + f->offset;

		if (f->label == PROTOBUF_C_LABEL_REPEATED) {
			put_repeated(w, f, m, depth);
		} else if (f->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) {
			if (*(const uint32_t *)((const char *)m + f->quantifier_offset) == f->id)
				put_value(w, f->name, f, at, false, depth);
		} else {
			put_value(w, f->name, f, at, true, depth);
		}
	}
	jsonw_end_object(w);
}

void pbjson_object(struct jsonw *w, const char *key, const ProtobufCMessage *m)
{
	put_message(w, key, m, 0);
}

void pbjson_print(FILE *out, const ProtobufCMessage *m)
{
	struct buf b;
	struct jsonw w;

	buf_init(&b, JSON_MAX);
	jsonw_init(&w, &b);
	put_message(&w, NULL, m, 0);
	buf_put_u8(&b, '\n');
	fwrite(b.p, 1, b.n, out);
	buf_clear(&b);
}
