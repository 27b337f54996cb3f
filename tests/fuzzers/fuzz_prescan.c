/* Can any bytes get past the pre-scan and then hurt protobuf-c, or be read by it as something else? The first two bytes pick the message:
 * each request and each answer of every service, and what the store keeps. What passed is unpacked within a memory cap, compared value by
 * value with the bytes that it came from, and written and read once more. */
#include <string.h>

#include "baton/internal/v1/record.pb-c.h"
#include "baton/v1/admin.pb-c.h"
#include "baton/v1/handoff.pb-c.h"
#include "client/pb.h"
#include "fuzz.h"
#include "grpc/health/v1/health.pb-c.h"
#include "rpc/table.h"
#include "wire/prescan.h"
#include "wire/wirefmt.h"

#define ANSWER 0x40 /* in the first byte: what the method returns, not what it takes */
#define SMALL 0x80  /* in the first byte: an arena that is soon full */
#define MEMORY_MAX (4u << 20) /* what 4,096 fields in 64 KiB may become */
#define INPUT_MAX (64u << 10)

/* In this order for good: the corpus counts them. */
static const ProtobufCServiceDescriptor *const services[] = {
	&baton__v1__handoff_service__descriptor, &grpc__health__v1__health__descriptor, &baton__v1__resource_service__descriptor,
	&baton__v1__containment_service__descriptor, &baton__v1__enrol_service__descriptor, &baton__v1__approval_service__descriptor,
	&baton__v1__audit_service__descriptor, &baton__v1__operate_service__descriptor,
};
static const ProtobufCMessageDescriptor *const stored[] = {
	&baton__internal__v1__task__descriptor, &baton__internal__v1__report__descriptor, &baton__v1__task_envelope__descriptor,
	&baton__v1__result__descriptor, &baton__v1__failure__descriptor, &baton__v1__progress__descriptor, &baton__v1__artifact__descriptor,
	&baton__v1__decision__descriptor,
};
#define N(array) (sizeof(array) / sizeof(array)[0])

unsigned fuzz_good;

/* The rules of the broker's own table, where it serves the method. */
static const ProtobufCMessageDescriptor *pick(const uint8_t p[2], const struct prescan_rules **rules)
{
	unsigned at = (p[0] & 0x3f) % (N(services) + 1);
	const ProtobufCMethodDescriptor *method;
	const struct rpc_row *row;
	char path[128];

	*rules = NULL;
	if (at == N(services))
		return stored[p[1] % N(stored)];
	method = &services[at]->methods[p[1] % services[at]->n_methods];
	if (p[0] & ANSWER)
		return method->output;
	snprintf(path, sizeof path, "/%s/%s", services[at]->name, method->name);
	row = rpc_row_find(slice_str(path), "agents");
	if (!row)
		row = rpc_row_find(slice_str(path), RPC_LISTENER_ADMIN);
	NEED(!row || row->request == method->input);
	*rules = row ? row->rules : NULL;
	return method->input;
}

/* ---- is the message what the bytes say? ---- */

static void same(const ProtobufCMessage *m, struct slice bytes);

static size_t width(ProtobufCType type)
{
	switch (type) {
	case PROTOBUF_C_TYPE_INT64:
	case PROTOBUF_C_TYPE_SINT64:
	case PROTOBUF_C_TYPE_SFIXED64:
	case PROTOBUF_C_TYPE_UINT64:
	case PROTOBUF_C_TYPE_FIXED64:
	case PROTOBUF_C_TYPE_DOUBLE:
		return 8;
	case PROTOBUF_C_TYPE_STRING:
	case PROTOBUF_C_TYPE_MESSAGE:
		return sizeof(void *);
	case PROTOBUF_C_TYPE_BYTES:
		return sizeof(ProtobufCBinaryData);
	default:
		return 4;
	}
}

static uint64_t zigzag(uint64_t v)
{
	return v >> 1 ^ (0 - (v & 1));
}

static void same_number(ProtobufCType type, const void *at, uint64_t v)
{
	uint64_t got = 0;

	if (type == PROTOBUF_C_TYPE_SINT32 || type == PROTOBUF_C_TYPE_SINT64)
		v = zigzag(v);
	if (width(type) == 4)
		v &= UINT32_MAX;
	memcpy(&got, at, width(type)); /* little-endian, as all that this runs on */
	NEED(got == v);
}

static void same_value(const ProtobufCFieldDescriptor *d, const void *at, const struct wirefmt_field *f)
{
	const ProtobufCBinaryData *b = at;

	if (d->type == PROTOBUF_C_TYPE_MESSAGE) {
		const ProtobufCMessage *m = *(const ProtobufCMessage *const *)at;

		NEED(m && m->descriptor == d->descriptor);
		same(m, f->bytes);
	} else if (d->type == PROTOBUF_C_TYPE_STRING) {
		NEED(slice_eq(slice_str(*(const char *const *)at), f->bytes));
	} else if (d->type == PROTOBUF_C_TYPE_BYTES) {
		NEED(slice_eq(slice_of(b->data, b->len), f->bytes));
	} else {
		same_number(d->type, at, f->value);
	}
}

static bool is_packed(const ProtobufCFieldDescriptor *d, const struct wirefmt_field *f)
{
	return f->type == WIREFMT_LEN && d->type != PROTOBUF_C_TYPE_STRING && d->type != PROTOBUF_C_TYPE_BYTES &&
	       d->type != PROTOBUF_C_TYPE_MESSAGE;
}

/* One field of the row, into a repeated one; *n counts its elements. */
static void same_element(const ProtobufCMessage *m, const ProtobufCFieldDescriptor *d, struct wirefmt_field f, size_t *n)
{
	const size_t all = *(const size_t *)((const char *)m + d->quantifier_offset);
	const char *values = *(const char *const *)((const char *)m + d->offset);
	struct slice in = f.bytes;

	if (!is_packed(d, &f)) {
		NEED(*n < all);
		same_value(d, values + (*n)++ * width(d->type), &f);
		return;
	}
	while (in.n) { /* packed numbers of this contract are varints, all of them */
		NEED(*n < all && !wirefmt_varint(&in, 10, &f.value));
		same_number(d->type, values + (*n)++ * width(d->type), f.value);
	}
}

static bool is_unset(const ProtobufCMessage *m, const ProtobufCFieldDescriptor *d)
{
	const void *at = (const char *)m + d->offset;
	static const char zero[sizeof(ProtobufCBinaryData)];

	if (d->flags & PROTOBUF_C_FIELD_FLAG_ONEOF)
		return *(const uint32_t *)((const char *)m + d->quantifier_offset) != d->id;
	if (d->type == PROTOBUF_C_TYPE_STRING)
		return !**(const char *const *)at;
	if (d->type == PROTOBUF_C_TYPE_BYTES)
		return !((const ProtobufCBinaryData *)at)->len;
	return memcmp(at, zero, width(d->type)) == 0;
}

static void same(const ProtobufCMessage *m, struct slice bytes)
{
	const ProtobufCMessageDescriptor *desc = m->descriptor;
	size_t n[64] = {0}, unknown = 0; /* how often each field came; elements of a repeated one */
	struct wirefmt_field f;

	NEED(desc->n_fields <= N(n));
	while (bytes.n) {
		const ProtobufCFieldDescriptor *d;

		NEED(!wirefmt_read(&bytes, &f));
		d = protobuf_c_message_descriptor_get_field(desc, f.number);
		if (!d) {
			unknown++;
		} else if (d->label == PROTOBUF_C_LABEL_REPEATED) {
			same_element(m, d, f, &n[d - desc->fields]);
		} else {
			NEED(n[d - desc->fields]++ == 0);
			NEED(!(d->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) || !is_unset(m, d));
			same_value(d, (const char *)m + d->offset, &f);
		}
	}
	NEED(unknown == m->n_unknown_fields);
	for (unsigned i = 0; i < desc->n_fields; i++) {
		const ProtobufCFieldDescriptor *d = &desc->fields[i];

		if (d->label == PROTOBUF_C_LABEL_REPEATED)
			NEED(n[i] == *(const size_t *)((const char *)m + d->quantifier_offset));
		else
			NEED(n[i] || is_unset(m, d));
	}
}

/* The client's own reader of rows of fields says the same. */
static void same_row(struct slice bytes)
{
	struct slice other = bytes;
	struct wirefmt_field f;
	struct pb_field g;

	while (bytes.n) {
		NEED(!wirefmt_read(&bytes, &f) && pb_next(&other, &g));
		NEED(f.number == g.number && (unsigned)f.type == (unsigned)g.type && bytes.n == other.n);
		NEED((f.type != WIREFMT_VARINT || f.value == g.value) && (f.type != WIREFMT_LEN || slice_eq(f.bytes, g.bytes)));
	}
}

/* ---- and back ---- */

/* What was accepted can be written again, and what is written is accepted, and is the same. */
static void again(const ProtobufCMessage *m, const struct prescan_rules *rules, struct arena *arena)
{
	size_t n = protobuf_c_message_get_packed_size(m);
	uint8_t *first = malloc(n + 1), *second = malloc(n + 1);
	struct prescan_fault fault;
	ProtobufCMessage *copy;

	NEED(first && second && protobuf_c_message_pack(m, first) == n);
	arena_reset(arena);
	copy = prescan_unpack(m->descriptor, slice_of(first, n), rules, arena, &fault);
	NEED(copy && protobuf_c_message_get_packed_size(copy) == n && protobuf_c_message_pack(copy, second) == n);
	NEED(memcmp(first, second, n) == 0);
	free(first);
	free(second);
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	const struct prescan_rules *rules;
	const ProtobufCMessageDescriptor *desc;
	struct arena *arena, *other;
	struct prescan_fault fault;
	ProtobufCMessage *m;
	struct slice bytes;
	int passed;

	if (n < 2 || n > INPUT_MAX)
		return 0;
	desc = pick(p, &rules);
	bytes = slice_of(p + 2, n - 2);
	arena = arena_new(p[0] & SMALL ? 2048 : MEMORY_MAX);
	other = arena_new(MEMORY_MAX);
	NEED(arena && other);
	passed = prescan_check(desc, bytes, rules, &fault);
	NEED((passed == 0) == !fault.what[0]);
	m = prescan_unpack(desc, bytes, rules, arena, &fault);
	if (m) {
		fuzz_good++;
		NEED(passed == 0 && m->descriptor == desc);
		same(m, bytes);
		same_row(bytes);
		again(m, rules, other);
	} else {
		while (bytes.n && pb_next(&bytes, &(struct pb_field){0}))
			;
		NEED(fault.what && fault.what[0]);
		NEED(passed != 0 || (p[0] & SMALL)); /* what passes fits */
	}
	(void)prescan_field_bytes(slice_of(p + 2, n - 2), 1);
	arena_free(other);
	arena_free(arena);
	return 0;
}
