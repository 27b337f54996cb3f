/* Does the pre-scan refuse what protobuf-c would swallow, and let honest messages through unchanged? Most bytes are
 * written by hand, against the messages of baton.v1; small descriptors made here have what those lack (self-nesting,
 * packed numbers, odd maps). */
#include "wire/prescan.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/buf.h"
#include "baton/v1/handoff.pb-c.h"

#define ENVELOPE (&baton__v1__task_envelope__descriptor)
#define SUBMIT (&baton__v1__submit_request__descriptor)
#define EVENT (&baton__v1__handoff_event__descriptor)
#define LIST (&baton__v1__list_response__descriptor)

/* ---- writing ---- */

static void put_varint(struct buf *b, uint64_t v)
{
	for (; v >= 0x80; v >>= 7)
		buf_put_u8(b, (uint8_t)(v | 0x80));
	buf_put_u8(b, (uint8_t)v);
}

static void put_number(struct buf *b, uint32_t field, uint64_t v)
{
	put_varint(b, (uint64_t)field << 3);
	put_varint(b, v);
}

static void put_bytes(struct buf *b, uint32_t field, struct slice s)
{
	put_varint(b, (uint64_t)field << 3 | 2);
	put_varint(b, s.n);
	buf_put_slice(b, s);
}

static void put_text(struct buf *b, uint32_t field, const char *s)
{
	put_bytes(b, field, slice_str(s));
}

/* ---- judging ---- */

static const struct prescan_rule strict[] = {
	{.message = &baton__v1__task_envelope__descriptor, .known_below = 64, .max_depth = 2},
	{.message = &baton__v1__submit_request__descriptor, .known_below = 64},
};
static const struct prescan_rules rules = {.max_depth = 16, .max_fields = 4096, .rules = strict, .n_rules = 2};

static void passes_by(const struct prescan_rules *r, const ProtobufCMessageDescriptor *d, struct slice bytes)
{
	struct prescan_fault f;

	if (prescan_check(d, bytes, r, &f) != 0)
		fail_msg("refused: %s (%s)", f.what, f.field);
}

static void refused_by(const struct prescan_rules *r, const ProtobufCMessageDescriptor *d, struct slice bytes,
		       const char *what, const char *field)
{
	struct prescan_fault f = {0};

	assert_int_equal(prescan_check(d, bytes, r, &f), -1);
	assert_string_equal(f.what, what);
	assert_string_equal(f.field, field);
	assert_int_equal(prescan_check(d, bytes, r, NULL), -1);
}

#define passes(d, s) passes_by(&rules, d, s)
#define refused(d, s, what, field) refused_by(&rules, d, s, what, field)

/* ---- the wire format ---- */

static void truncated_and_long_varints(void **state)
{
	passes(SUBMIT, SLICE_LIT("\x18\x05"));
	refused(SUBMIT, SLICE_LIT("\x18"), "ends in the middle of a varint", "ref");
	refused(SUBMIT, SLICE_LIT("\x18\x80"), "ends in the middle of a varint", "ref");
	refused(SUBMIT, SLICE_LIT("\x98"), "ends in the middle of a varint", "");
	passes(SUBMIT, SLICE_LIT("\x18\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"));
	refused(SUBMIT, SLICE_LIT("\x18\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02"),
		"varint does not fit 64 bits", "ref");
	refused(SUBMIT, SLICE_LIT("\x18\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01"),
		"varint does not fit 64 bits", "ref");
	refused(SUBMIT, SLICE_LIT("\x98\x80\x80\x80\x80\x00\x05"), "varint is too long", "");
	refused(SUBMIT, SLICE_LIT("\x12\x81\x80\x80\x80\x80\x00x"), "varint is too long", "access_token");
}

static void lengths_beyond_the_end(void **state)
{
	passes(SUBMIT, SLICE_LIT("\x12\x03" "abc"));
	refused(SUBMIT, SLICE_LIT("\x12\x04" "abc"), "length goes beyond the end", "access_token");
	refused(SUBMIT, SLICE_LIT("\x12\xff\xff\xff\xff\x0f" "abc"), "length goes beyond the end", "access_token");
	/* the submessage's own field goes beyond the submessage, not beyond the whole */
	refused(SUBMIT, SLICE_LIT("\x0a\x02\x0a\x05" "abcde"), "length goes beyond the end", "envelope.route");
}

static void groups_and_bad_field_numbers(void **state)
{
	refused(SUBMIT, SLICE_LIT("\xa3\x06\xa4\x06"), "wire type is a group or unknown", "100");
	refused(SUBMIT, SLICE_LIT("\xa6\x06"), "wire type is a group or unknown", "100");
	refused(SUBMIT, SLICE_LIT("\x00\x05"), "field number is out of range", "");
	passes(SUBMIT, SLICE_LIT("\xf8\xff\xff\xff\x0f\x05"));
	refused(SUBMIT, SLICE_LIT("\x80\x80\x80\x80\x10\x05"), "field number is out of range", "");
}

static void wire_type_must_fit_the_field(void **state)
{
	refused(SUBMIT, SLICE_LIT("\x10\x05"), "wire type does not fit the field", "access_token");
	refused(SUBMIT, SLICE_LIT("\x1a\x01x"), "wire type does not fit the field", "ref");
	refused(SUBMIT, SLICE_LIT("\x1d\0\0\0\0"), "wire type does not fit the field", "ref");
	refused(SUBMIT, SLICE_LIT("\x08\x05"), "wire type does not fit the field", "envelope");
	passes(SUBMIT, SLICE_LIT("\xa5\x06\0\0\0\0\xa1\x06\0\0\0\0\0\0\0\0")); /* unknown ones may be anything */
	refused(SUBMIT, SLICE_LIT("\xa5\x06\0\0\0"), "ends in the middle of a field", "100");
	refused(SUBMIT, SLICE_LIT("\xa1\x06\0\0\0\0\0\0\0"), "ends in the middle of a field", "100");
}

static void numbers_must_fit_their_range(void **state)
{
	passes(SUBMIT, SLICE_LIT("\x20\x01"));
	refused(SUBMIT, SLICE_LIT("\x20\x02"), "number is out of range", "dry_run");
	passes(ENVELOPE, SLICE_LIT("\x18\xff\xff\xff\xff\x07")); /* enum INT32_MAX */
	passes(ENVELOPE, SLICE_LIT("\x18\x80\x80\x80\x80\xf8\xff\xff\xff\xff\x01")); /* INT32_MIN */
	refused(ENVELOPE, SLICE_LIT("\x18\x80\x80\x80\x80\x08"), "number is out of range", "side_effect"); /* 2^31 */
	passes(ENVELOPE, SLICE_LIT("\x90\x01\xff\xff\xff\xff\x0f"));
	refused(ENVELOPE, SLICE_LIT("\x90\x01\x80\x80\x80\x80\x10"), "number is out of range", "priority"); /* 2^32 */
	passes(ENVELOPE, SLICE_LIT("\x38\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01")); /* int64 -1 */
}

/* ---- strings ---- */

static void strings_are_clean_text(void **state)
{
	passes(ENVELOPE, SLICE_LIT("\x0a\x04" "a\xc3\xa9" "b"));
	passes(ENVELOPE, SLICE_LIT("\x0a\x00"));
	refused(ENVELOPE, SLICE_LIT("\x0a\x03" "a\0b"), "text is not UTF-8 or has control characters", "route");
	refused(ENVELOPE, SLICE_LIT("\x0a\x03" "a\nb"), "text is not UTF-8 or has control characters", "route");
	refused(ENVELOPE, SLICE_LIT("\x0a\x03" "a\tb"), "text is not UTF-8 or has control characters", "route");
	refused(ENVELOPE, SLICE_LIT("\x0a\x02" "a\xff"), "text is not UTF-8 or has control characters", "route");
	refused(ENVELOPE, SLICE_LIT("\x0a\x02\xc0\x80"), "text is not UTF-8 or has control characters", "route");
	refused(ENVELOPE, SLICE_LIT("\x0a\x03\xed\xa0\x80"), "text is not UTF-8 or has control characters", "route");
	passes(ENVELOPE, SLICE_LIT("\x22\x03" "a\0\xff")); /* bytes may hold anything */
}

/* ---- once ---- */

static void singular_fields_come_once(void **state)
{
	refused(SUBMIT, SLICE_LIT("\x18\x05\x18\x05"), "field appears twice", "ref");
	refused(SUBMIT, SLICE_LIT("\x12\x01x\x20\x01\x12\x01y"), "field appears twice", "access_token");
	refused(SUBMIT, SLICE_LIT("\x0a\x00\x18\x05\x0a\x00"), "field appears twice", "envelope"); /* would be merged */
	refused(SUBMIT, SLICE_LIT("\x0a\x06\x0a\x01x\x0a\x01y"), "field appears twice", "envelope.route");
	passes(ENVELOPE, SLICE_LIT("\x6a\x01x\x6a\x01x")); /* repeated: scopes */
	passes(SUBMIT, SLICE_LIT("\xa0\x06\x01\xa0\x06\x01")); /* unknown ones are not judged */
}

static void a_oneof_has_one_member(void **state)
{
	const ProtobufCMessageDescriptor *frame = &baton__v1__subscriber_frame__descriptor;

	passes(frame, SLICE_LIT("\x12\x00"));
	refused(frame, SLICE_LIT("\x12\x00\x1a\x00"), "two members of one oneof", "accept");
	refused(frame, SLICE_LIT("\x12\x00\x12\x00"), "field appears twice", "flow");
}

static void label(struct buf *b, const char *key, const char *value)
{
	struct buf e;

	buf_init(&e, 600);
	if (key)
		put_text(&e, 1, key);
	if (value)
		put_text(&e, 2, value);
	put_bytes(b, 20, buf_slice(&e));
	buf_clear(&e);
}

static void map_keys_come_once(void **state)
{
	struct buf b;

	buf_init(&b, 4096);
	label(&b, "a", "1");
	label(&b, "b", "1");
	label(&b, NULL, "empty key");
	passes(ENVELOPE, buf_slice(&b));
	label(&b, "a", "2");
	refused(ENVELOPE, buf_slice(&b), "map key appears twice", "labels");
	buf_reset(&b);
	label(&b, "", NULL);
	label(&b, NULL, NULL); /* the same key, left out */
	refused(ENVELOPE, buf_slice(&b), "map key appears twice", "labels");
	buf_reset(&b);
	put_bytes(&b, 20, SLICE_LIT("\x0a\x01" "a\x0a\x01" "b")); /* one entry, two keys */
	refused(ENVELOPE, buf_slice(&b), "field appears twice", "labels.key");
	buf_clear(&b);
}

/* Two messages of one list may each have the key. */
static void map_keys_are_compared_inside_one_message(void **state)
{
	struct buf inner, list;

	buf_init(&inner, 256);
	buf_init(&list, 512);
	put_bytes(&inner, 19, SLICE_LIT("\x0a\x01" "a"));
	put_bytes(&list, 1, buf_slice(&inner));
	put_bytes(&list, 1, buf_slice(&inner));
	passes(LIST, buf_slice(&list));
	put_bytes(&inner, 19, SLICE_LIT("\x0a\x01" "a"));
	put_bytes(&list, 1, buf_slice(&inner));
	refused(LIST, buf_slice(&list), "map key appears twice", "handoffs.labels");
	buf_clear(&inner);
	buf_clear(&list);
}

static void maps_have_a_cap(void **state)
{
	struct buf b;
	char key[8];

	buf_init(&b, 1 << 16);
	for (int i = 0; i < 256; i++) {
		snprintf(key, sizeof key, "%03x", (unsigned)i & 0xfff);
		label(&b, key, "v");
	}
	passes(ENVELOPE, buf_slice(&b));
	label(&b, "one more", "v");
	refused(ENVELOPE, buf_slice(&b), "map has too many entries", "labels");
	buf_clear(&b);
}

/* ---- descriptors made here ---- */

/* message Node { Node child = 1; repeated sint32 numbers = 2; repeated fixed64 wide = 3; map<uint32, bool> flags = 4;
 * bool on = 5; } Only its descriptor is needed: it is never unpacked. */
static const ProtobufCMessageDescriptor node_descriptor;
static const ProtobufCFieldDescriptor entry_fields[] = {
	{.name = "key", .id = 1, .label = PROTOBUF_C_LABEL_NONE, .type = PROTOBUF_C_TYPE_UINT32},
	{.name = "value", .id = 2, .label = PROTOBUF_C_LABEL_NONE, .type = PROTOBUF_C_TYPE_BOOL},
};
static const ProtobufCIntRange entry_ranges[] = {{1, 0}, {0, 2}};
static const ProtobufCMessageDescriptor entry_descriptor = {
	.magic = PROTOBUF_C__MESSAGE_DESCRIPTOR_MAGIC, .name = "Node.FlagsEntry", .n_fields = 2, .fields = entry_fields,
	.n_field_ranges = 1, .field_ranges = entry_ranges,
};
static const ProtobufCFieldDescriptor node_fields[] = {
	{.name = "child", .id = 1, .label = PROTOBUF_C_LABEL_OPTIONAL, .type = PROTOBUF_C_TYPE_MESSAGE,
	 .descriptor = &node_descriptor},
	{.name = "numbers", .id = 2, .label = PROTOBUF_C_LABEL_REPEATED, .type = PROTOBUF_C_TYPE_SINT32},
	{.name = "wide", .id = 3, .label = PROTOBUF_C_LABEL_REPEATED, .type = PROTOBUF_C_TYPE_FIXED64},
	{.name = "flags", .id = 4, .label = PROTOBUF_C_LABEL_REPEATED, .type = PROTOBUF_C_TYPE_MESSAGE,
	 .descriptor = &entry_descriptor},
	{.name = "on", .id = 5, .label = PROTOBUF_C_LABEL_NONE, .type = PROTOBUF_C_TYPE_BOOL},
};
static const ProtobufCIntRange node_ranges[] = {{1, 0}, {0, 5}};
static const ProtobufCMessageDescriptor node_descriptor = {
	.magic = PROTOBUF_C__MESSAGE_DESCRIPTOR_MAGIC, .name = "Node", .n_fields = 5, .fields = node_fields,
	.n_field_ranges = 1, .field_ranges = node_ranges,
};

/* `depth` messages, one in the other, through field `field`. */
static void nest(struct buf *b, uint32_t field, size_t depth)
{
	struct buf outer;

	buf_reset(b);
	for (size_t i = 1; i < depth; i++) {
		buf_init(&outer, 1 << 20);
		put_bytes(&outer, field, buf_slice(b));
		buf_clear(b);
		*b = outer;
	}
}

static void nesting_ends_at_the_limit(void **state)
{
	struct prescan_rules deep = {.max_depth = 64, .max_fields = 4096};
	struct buf b;

	buf_init(&b, 1 << 20);
	nest(&b, 1, 16);
	passes_by(&prescan_defaults, &node_descriptor, buf_slice(&b));
	passes_by(NULL, &node_descriptor, buf_slice(&b));
	nest(&b, 1, 17);
	refused_by(&prescan_defaults, &node_descriptor, buf_slice(&b), "nested too deeply",
		   "child.child.child.child.child.child.child.child.child.child.child.child.child.child.child.child");
	nest(&b, 1, 64);
	passes_by(&deep, &node_descriptor, buf_slice(&b));
	deep.max_depth = 1000000; /* the walk's own limit stands */
	nest(&b, 1, 65);
	assert_int_equal(prescan_check(&node_descriptor, buf_slice(&b), &deep, NULL), -1);
	buf_clear(&b);
}

/* Unknown fields are skipped by their length, never entered. */
static void unknown_nesting_is_not_entered(void **state)
{
	struct buf b;

	buf_init(&b, 1 << 20);
	nest(&b, 77, 10000);
	passes_by(&prescan_defaults, &node_descriptor, buf_slice(&b));
	passes(SUBMIT, buf_slice(&b));
	buf_clear(&b);
}

static void a_rule_bounds_what_is_below_its_message(void **state)
{
	const struct prescan_rule flat[] = {{.message = SUBMIT, .max_depth = 1}, {.message = ENVELOPE, .max_depth = 1}};
	const struct prescan_rules shallow = {.max_depth = 16, .max_fields = 100, .rules = flat, .n_rules = 1};
	const struct prescan_rules inner = {.max_depth = 16, .max_fields = 100, .rules = flat + 1, .n_rules = 1};

	refused_by(&shallow, SUBMIT, SLICE_LIT("\x0a\x00"), "nested too deeply", "envelope");
	passes_by(&shallow, SUBMIT, SLICE_LIT("\x12\x01x"));
	passes_by(&inner, SUBMIT, SLICE_LIT("\x0a\x03\x0a\x01x"));
	refused_by(&inner, SUBMIT, SLICE_LIT("\x0a\x03\xa2\x01\x00"), "nested too deeply", "envelope.labels");
	passes(SUBMIT, SLICE_LIT("\x0a\x03\xa2\x01\x00"));
}

static void packed_numbers_are_looked_into(void **state)
{
	passes_by(NULL, &node_descriptor, SLICE_LIT("\x12\x03\x01\x80\x01\x10\x05")); /* packed, then unpacked */
	refused_by(NULL, &node_descriptor, SLICE_LIT("\x12\x02\x01\x80"), "ends in the middle of a varint", "numbers");
	refused_by(NULL, &node_descriptor, SLICE_LIT("\x12\x05\xff\xff\xff\xff\x1f"),
		"number is out of range", "numbers");
	passes_by(NULL, &node_descriptor, SLICE_LIT("\x1a\x08" "12345678\x19" "12345678"));
	refused_by(NULL, &node_descriptor, SLICE_LIT("\x1a\x07" "1234567"),
		"packed field ends in the middle of a number", "wide");
	refused_by(NULL, &node_descriptor, SLICE_LIT("\x2a\x01\x01"),
		"wire type does not fit the field", "on"); /* not repeated */
}

static void map_keys_that_are_numbers(void **state)
{
	passes_by(NULL, &node_descriptor, SLICE_LIT("\x22\x04\x08\x01\x10\x01\x22\x04\x08\x02\x10\x01"));
	refused_by(NULL, &node_descriptor, SLICE_LIT("\x22\x02\x08\x01\x22\x03\x08\x81\x00"),
		"map key appears twice", "flags");
	refused_by(NULL, &node_descriptor, SLICE_LIT("\x22\x02\x08\x00\x22\x02\x10\x01"),
		"map key appears twice", "flags");
}

static void a_type_with_too_many_fields_is_refused(void **state)
{
	ProtobufCMessageDescriptor wide = node_descriptor;

	wide.n_fields = 257;
	refused_by(NULL, &wide, SLICE_LIT(""), "message type has too many fields", "");
}

/* ---- numbers of fields, unknown ones ---- */

static void fields_are_counted(void **state)
{
	const struct prescan_rule few[] = {{.message = ENVELOPE, .max_fields = 3}};
	const struct prescan_rules r = {.max_depth = 16, .max_fields = 4096, .rules = few, .n_rules = 1};
	struct buf b;

	buf_init(&b, 1 << 20);
	for (int i = 0; i < 4096; i++)
		put_text(&b, 13, "s");
	passes(ENVELOPE, buf_slice(&b));
	refused_by(&r, ENVELOPE, buf_slice(&b), "too many fields", "scopes");
	put_text(&b, 13, "s");
	refused(ENVELOPE, buf_slice(&b), "too many fields", "scopes");
	buf_reset(&b);
	for (int i = 0; i < 2048; i++)
		put_bytes(&b, 1, SLICE_LIT("\x0a\x00")); /* two fields each: the entry and its id */
	passes(LIST, buf_slice(&b));
	put_text(&b, 2, "");
	refused(LIST, buf_slice(&b), "too many fields", "next_page_token");
	buf_reset(&b);
	for (int i = 0; i < 4097; i++)
		put_number(&b, 100, 1);
	refused(ENVELOPE, buf_slice(&b), "too many fields", "100");
	buf_clear(&b);
}

static void unknown_fields_below_the_line_are_refused(void **state)
{
	refused(ENVELOPE, SLICE_LIT("\xa8\x01\x01"), "unknown field", "21");
	refused(ENVELOPE, SLICE_LIT("\xf8\x03\x01"), "unknown field", "63");
	passes(ENVELOPE, SLICE_LIT("\x80\x04\x01")); /* 64 */
	refused(SUBMIT, SLICE_LIT("\x0a\x03\xa8\x01\x01"), "unknown field", "envelope.21");
	refused(SUBMIT, SLICE_LIT("\x30\x01"), "unknown field", "6");
	passes(EVENT, SLICE_LIT("\xc8\x01\x01")); /* no rule: 25 is ignored */
	passes_by(&prescan_defaults, ENVELOPE, SLICE_LIT("\xa8\x01\x01"));
}

/* ---- unpacking ---- */

static size_t full_submit(uint8_t *out, size_t size)
{
	Baton__V1__TaskEnvelope__LabelsEntry l1 = BATON__V1__TASK_ENVELOPE__LABELS_ENTRY__INIT, l2 = l1;
	Baton__V1__TaskEnvelope__LabelsEntry *labels[] = {&l1, &l2};
	Baton__V1__TaskEnvelope e = BATON__V1__TASK_ENVELOPE__INIT;
	Baton__V1__SubmitRequest m = BATON__V1__SUBMIT_REQUEST__INIT;
	static char *scopes[] = {"refunds:read", "refunds:write"};
	static uint8_t payload[1024] = {0, 1, 2, 255};

	l1.key = "case";
	l1.value = "4711";
	l2.key = "team";
	l2.value = "b\xc3\xbc" "cher";
	e.route = "billing.refunds";
	e.tool = "refund";
	e.side_effect = BATON__V1__SIDE_EFFECT__SIDE_EFFECT_WRITE;
	e.payload = (ProtobufCBinaryData){sizeof payload, payload};
	e.content_type = "application/json";
	e.nonce = "0123456789abcdef";
	e.issued_at_ms = 1764000000000;
	e.expires_at_ms = -1;
	e.deadline_ms = INT64_MAX;
	e.idempotency_key = "order-1";
	e.destination = "https://example.com";
	e.tenant = "acme";
	e.n_scopes = 2;
	e.scopes = scopes;
	e.parent_handoff_id = "h1";
	e.trust = BATON__V1__CONTENT_TRUST__CONTENT_TRUST_USER;
	e.traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
	e.tracestate = "a=b";
	e.priority = 9;
	e.start_at_ms = 5;
	e.n_labels = 2;
	e.labels = labels;
	m.envelope = &e;
	m.access_token = "token";
	m.ref = UINT64_MAX;
	m.dry_run = 1;
	m.signature = (ProtobufCBinaryData){4, payload};
	assert_true(baton__v1__submit_request__get_packed_size(&m) <= size);
	return baton__v1__submit_request__pack(&m, out);
}

static void an_honest_message_is_unpacked_equal(void **state)
{
	uint8_t wire[4096], again[4096];
	size_t n = full_submit(wire, sizeof wire);
	struct arena *a = arena_new(64 * 1024);
	struct prescan_fault f;
	ProtobufCMessage *m = prescan_unpack(SUBMIT, slice_of(wire, n), &rules, a, &f);
	Baton__V1__SubmitRequest *s = (Baton__V1__SubmitRequest *)m;

	assert_non_null(m);
	assert_int_equal(protobuf_c_message_get_packed_size(m), n);
	assert_int_equal(protobuf_c_message_pack(m, again), n);
	assert_memory_equal(wire, again, n);
	memset(wire, 'x', n); /* it holds copies */
	assert_string_equal(s->envelope->route, "billing.refunds");
	assert_string_equal(s->envelope->labels[1]->value, "b\xc3\xbc" "cher");
	assert_int_equal(s->envelope->payload.data[3], 255);
	arena_free(a);
}

/* A number is found among fields whose content nobody looked into; bytes that are no fields are a fault. */
static void number_of(void)
{
	static const uint8_t fields[] = {0x0a, 0x02, 0xff, 0xff, 0x18, 0x96, 0x01}, cut[] = {0x18, 0x07, 0x0a, 0x05, 0x00};
	uint64_t n = 9;

	assert_int_equal(prescan_field_number(slice_of(fields, sizeof fields), 3, &n), 0);
	assert_int_equal(n, 150);
	assert_int_equal(prescan_field_number(slice_of(fields, sizeof fields), 4, &n), 0);
	assert_int_equal(n, 0);
	assert_int_equal(prescan_field_number(slice_of(cut, sizeof cut), 3, &n), -1);
}

static void bytes_of_a_submessage(void **state)
{
	uint8_t wire[4096];
	size_t n = full_submit(wire, sizeof wire);
	struct slice e = prescan_field_bytes(slice_of(wire, n), 1);

	assert_true(e.n > 1024);
	passes(ENVELOPE, e);
	assert_true(slice_is(prescan_field_bytes(e, 1), "billing.refunds"));
	assert_true(slice_is(prescan_field_bytes(slice_of(wire, n), 2), "token"));
	assert_int_equal(prescan_field_bytes(slice_of(wire, n), 9).n, 0);
	assert_int_equal(prescan_field_bytes(slice_of(NULL, 0), 1).n, 0);
	number_of();
}

static void empty_submessages_stop_at_the_arenas_cap(void **state)
{
	struct prescan_rules many = {.max_depth = 16, .max_fields = 10000000};
	struct arena *a = arena_new(1 << 20);
	struct prescan_fault f;
	struct buf b;

	buf_init(&b, 1 << 20);
	while (b.n + 2 <= 1 << 20)
		put_bytes(&b, 1, SLICE_LIT(""));
	passes_by(&many, LIST, buf_slice(&b));
	assert_null(prescan_unpack(LIST, buf_slice(&b), &many, a, &f));
	assert_string_equal(f.what, "too large for its arena");
	assert_true(arena_used(a) <= 1 << 20);
	refused_by(&prescan_defaults, LIST, buf_slice(&b), "too many fields", "handoffs");
	arena_reset(a);
	assert_non_null(prescan_unpack(LIST, slice_of(b.p, 2 * 100), &many, a, &f)); /* a hundred are fine */
	buf_clear(&b);
	arena_free(a);
}

/* Whatever the cap is, running into it is clean. */
static void every_cap_fails_cleanly(void **state)
{
	uint8_t wire[4096];
	size_t n = full_submit(wire, sizeof wire), cap = 64;
	ProtobufCMessage *m = NULL;
	struct prescan_fault f;

	for (; !m && cap < 64 * 1024; cap += 16) {
		struct arena *a = arena_new(cap);

		if (!a)
			continue;
		m = prescan_unpack(SUBMIT, slice_of(wire, n), &rules, a, &f);
		if (!m)
			assert_string_equal(f.what, "too large for its arena");
		arena_free(a);
	}
	assert_non_null(m);
}

static void what_is_refused_is_not_unpacked(void **state)
{
	struct arena *a = arena_new(4096);
	struct prescan_fault f;

	assert_null(prescan_unpack(SUBMIT, SLICE_LIT("\x18\x05\x18\x05"), &rules, a, &f));
	assert_string_equal(f.what, "field appears twice");
	assert_non_null(prescan_unpack(SUBMIT, SLICE_LIT(""), &rules, a, &f)); /* nothing set: a message all the same */
	arena_free(a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(truncated_and_long_varints),
		cmocka_unit_test(lengths_beyond_the_end),
		cmocka_unit_test(groups_and_bad_field_numbers),
		cmocka_unit_test(wire_type_must_fit_the_field),
		cmocka_unit_test(numbers_must_fit_their_range),
		cmocka_unit_test(strings_are_clean_text),
		cmocka_unit_test(singular_fields_come_once),
		cmocka_unit_test(a_oneof_has_one_member),
		cmocka_unit_test(map_keys_come_once),
		cmocka_unit_test(map_keys_are_compared_inside_one_message),
		cmocka_unit_test(maps_have_a_cap),
		cmocka_unit_test(nesting_ends_at_the_limit),
		cmocka_unit_test(unknown_nesting_is_not_entered),
		cmocka_unit_test(a_rule_bounds_what_is_below_its_message),
		cmocka_unit_test(packed_numbers_are_looked_into),
		cmocka_unit_test(map_keys_that_are_numbers),
		cmocka_unit_test(a_type_with_too_many_fields_is_refused),
		cmocka_unit_test(fields_are_counted),
		cmocka_unit_test(unknown_fields_below_the_line_are_refused),
		cmocka_unit_test(an_honest_message_is_unpacked_equal),
		cmocka_unit_test(bytes_of_a_submessage),
		cmocka_unit_test(empty_submessages_stop_at_the_arenas_cap),
		cmocka_unit_test(every_cap_fails_cleanly),
		cmocka_unit_test(what_is_refused_is_not_unpacked),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
