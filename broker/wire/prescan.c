/* Are these foreign bytes fit to be unpacked? A walk over the wire format beside the message's descriptor. It
 * recurses into known submessages only, as deep as the rules allow and never deeper than DEPTH_MOST; it allocates
 * nothing. Reading a field is wirefmt.c's, unpacking what passed unpack.c's. */
#include "wire/prescan.h"

#include <stdio.h>
#include <string.h>

#include "base/encode.h"
#include "wire/wirefmt.h"

#define DEPTH_DEFAULT 16
#define DEPTH_MOST 64
#define FIELDS_DEFAULT 4096
#define DESCRIPTOR_FIELDS 256 /* fields a message type may have: the size of the bitmap */
#define MAP_KEYS 256          /* entries of all maps on the way down to where the walk is */

const struct prescan_rules prescan_defaults = {.max_depth = DEPTH_DEFAULT, .max_fields = FIELDS_DEFAULT};

/* A key that was seen in a map of a message under way. */
struct prescan_key {
	const ProtobufCFieldDescriptor *map;
	uint64_t value;
	struct slice bytes;
};

struct prescan_walk {
	const struct prescan_rules *rules;
	struct prescan_fault *fault; /* may be NULL */
	uint32_t fields;             /* met so far */
	uint32_t max_fields;
	const char *path[DEPTH_MOST]; /* names of the fields above */
	struct prescan_key keys[MAP_KEYS];
	size_t n_keys;
};

/* One message under way. */
struct prescan_level {
	const ProtobufCMessageDescriptor *desc;
	const struct prescan_rule *rule; /* may be NULL */
	uint32_t depth;                  /* the outermost is 1 */
	uint32_t max_depth;              /* for what is below */
	uint32_t fields;
	size_t keys_from;
	unsigned guess; /* fields come in order mostly */
	uint64_t seen[DESCRIPTOR_FIELDS / 64];
};

static int prescan_message(struct prescan_walk *w, const ProtobufCMessageDescriptor *desc, struct slice bytes,
			   uint32_t depth, uint32_t max_depth);

/* ---- faults ---- */

/* leaf: the field's name, NULL when it has none. Returns -1. */
static int prescan_blame(struct prescan_walk *w, const struct prescan_level *l, const char *leaf, const char *what)
{
	struct prescan_fault *f = w->fault;
	size_t n = 0;

	if (!f)
		return -1;
	f->what = what;
	f->field[0] = '\0';
	for (uint32_t i = 0; i < l->depth && n < sizeof f->field; i++) {
		const char *name = i + 1 < l->depth ? w->path[i] : leaf;

		if (name)
			n += (size_t)snprintf(f->field + n, sizeof f->field - n, "%s%s", i ? "." : "", name);
	}
	return -1;
}

static int prescan_blame_number(struct prescan_walk *w, const struct prescan_level *l, uint32_t number,
				const char *what)
{
	char leaf[12];

	(void)snprintf(leaf, sizeof leaf, "%u", (unsigned)number);
	return prescan_blame(w, l, number ? leaf : NULL, what);
}

/* ---- values ---- */

enum prescan_range { RANGE_ALL, RANGE_I32, RANGE_U32, RANGE_BOOL };

static const struct {
	uint8_t wire, range;
} prescan_types[] = {
	[PROTOBUF_C_TYPE_INT32] = {WIREFMT_VARINT, RANGE_I32},   [PROTOBUF_C_TYPE_SINT32] = {WIREFMT_VARINT, RANGE_U32},
	[PROTOBUF_C_TYPE_SFIXED32] = {WIREFMT_I32, RANGE_ALL},   [PROTOBUF_C_TYPE_INT64] = {WIREFMT_VARINT, RANGE_ALL},
	[PROTOBUF_C_TYPE_SINT64] = {WIREFMT_VARINT, RANGE_ALL},  [PROTOBUF_C_TYPE_SFIXED64] = {WIREFMT_I64, RANGE_ALL},
	[PROTOBUF_C_TYPE_UINT32] = {WIREFMT_VARINT, RANGE_U32},  [PROTOBUF_C_TYPE_FIXED32] = {WIREFMT_I32, RANGE_ALL},
	[PROTOBUF_C_TYPE_UINT64] = {WIREFMT_VARINT, RANGE_ALL},  [PROTOBUF_C_TYPE_FIXED64] = {WIREFMT_I64, RANGE_ALL},
	[PROTOBUF_C_TYPE_FLOAT] = {WIREFMT_I32, RANGE_ALL},      [PROTOBUF_C_TYPE_DOUBLE] = {WIREFMT_I64, RANGE_ALL},
	[PROTOBUF_C_TYPE_BOOL] = {WIREFMT_VARINT, RANGE_BOOL},   [PROTOBUF_C_TYPE_ENUM] = {WIREFMT_VARINT, RANGE_I32},
	[PROTOBUF_C_TYPE_STRING] = {WIREFMT_LEN, RANGE_ALL},     [PROTOBUF_C_TYPE_BYTES] = {WIREFMT_LEN, RANGE_ALL},
	[PROTOBUF_C_TYPE_MESSAGE] = {WIREFMT_LEN, RANGE_ALL},
};

static bool prescan_in_range(enum prescan_range r, uint64_t v)
{
	switch (r) {
	case RANGE_I32: /* negative ones are sign-extended to 64 bits */
		return v <= INT32_MAX || v >= (uint64_t)INT32_MIN;
	case RANGE_U32:
		return v <= UINT32_MAX;
	case RANGE_BOOL:
		return v <= 1;
	default:
		return true;
	}
}

static const char *prescan_packed(ProtobufCType type, struct slice in)
{
	enum prescan_range range = prescan_types[type].range;
	const char *what;
	uint64_t v;

	if (prescan_types[type].wire == WIREFMT_I32)
		return in.n % 4 ? "packed field ends in the middle of a number" : NULL;
	if (prescan_types[type].wire == WIREFMT_I64)
		return in.n % 8 ? "packed field ends in the middle of a number" : NULL;
	while (in.n) {
		what = wirefmt_varint(&in, 10, &v);
		if (what)
			return what;
		if (!prescan_in_range(range, v))
			return "number is out of range";
	}
	return NULL;
}

static const char *prescan_value(const ProtobufCFieldDescriptor *d, const struct wirefmt_field *f)
{
	uint8_t wire = prescan_types[d->type].wire;

	if (f->type != (enum wirefmt_type)wire) {
		if (d->label == PROTOBUF_C_LABEL_REPEATED && f->type == WIREFMT_LEN)
			return prescan_packed(d->type, f->bytes);
		return "wire type does not fit the field";
	}
	if (!prescan_in_range(prescan_types[d->type].range, f->value))
		return "number is out of range";
	if (d->type == PROTOBUF_C_TYPE_STRING && !utf8_is_text(f->bytes))
		return "text is not UTF-8 or has control characters";
	return NULL;
}

/* ---- what may come once ---- */

static bool prescan_seen(const struct prescan_level *l, unsigned i)
{
	return l->seen[i / 64] >> (i % 64) & 1;
}

/* Members of one oneof share the place where protobuf-c notes which of them is set. */
static bool prescan_oneof_seen(const struct prescan_level *l, const ProtobufCFieldDescriptor *d)
{
	for (unsigned i = 0; i < l->desc->n_fields; i++) {
		const ProtobufCFieldDescriptor *o = &l->desc->fields[i];

		if (prescan_seen(l, i) && (o->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) &&
		    o->quantifier_offset == d->quantifier_offset)
			return true;
	}
	return false;
}

static const char *prescan_once(struct prescan_level *l, const ProtobufCFieldDescriptor *d)
{
	unsigned i = (unsigned)(d - l->desc->fields);

	if (d->label == PROTOBUF_C_LABEL_REPEATED)
		return NULL;
	if (prescan_seen(l, i))
		return "field appears twice";
	if ((d->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) && prescan_oneof_seen(l, d))
		return "two members of one oneof";
	l->seen[i / 64] |= (uint64_t)1 << (i % 64);
	return NULL;
}

/* protobuf-c knows no maps: one is a repeated message {1 key, 2 value} that protoc named after the field. */
static bool prescan_is_map(const ProtobufCFieldDescriptor *d)
{
	const ProtobufCMessageDescriptor *e = d->descriptor;
	size_t n;

	if (d->label != PROTOBUF_C_LABEL_REPEATED || d->type != PROTOBUF_C_TYPE_MESSAGE || e->n_fields != 2)
		return false;
	n = strlen(e->name);
	return n > 5 && strcmp(e->name + n - 5, "Entry") == 0 && e->fields[0].id == 1 && e->fields[1].id == 2 &&
	       strcmp(e->fields[0].name, "key") == 0 && strcmp(e->fields[1].name, "value") == 0;
}

/* An entry that passed. A key that is absent is its type's zero. */
static const char *prescan_map_key(struct prescan_walk *w, const struct prescan_level *l,
				   const ProtobufCFieldDescriptor *d, struct slice entry)
{
	struct wirefmt_field f = {0};
	struct prescan_key *k = &w->keys[w->n_keys];

	if (w->n_keys == MAP_KEYS)
		return "map has too many entries";
	if (!wirefmt_find(entry, 1, &f))
		f = (struct wirefmt_field){0};
	*k = (struct prescan_key){d, f.value, f.bytes};
	for (size_t i = l->keys_from; i < w->n_keys; i++) {
		if (w->keys[i].map == d && w->keys[i].value == k->value && slice_eq(w->keys[i].bytes, k->bytes))
			return "map key appears twice";
	}
	w->n_keys++;
	return NULL;
}

/* ---- the walk ---- */

static const ProtobufCFieldDescriptor *prescan_lookup(struct prescan_level *l, uint32_t number)
{
	const ProtobufCMessageDescriptor *d = l->desc;
	const ProtobufCFieldDescriptor *f;

	for (unsigned i = l->guess; i < d->n_fields && i < l->guess + 2; i++) {
		if (d->fields[i].id == number) {
			l->guess = i;
			return &d->fields[i];
		}
	}
	f = protobuf_c_message_descriptor_get_field(d, number);
	if (f)
		l->guess = (unsigned)(f - d->fields);
	return f;
}

static int prescan_submessage(struct prescan_walk *w, struct prescan_level *l, const ProtobufCFieldDescriptor *d,
			      struct slice bytes)
{
	const char *what = NULL;

	if (l->depth >= l->max_depth)
		return prescan_blame(w, l, d->name, "nested too deeply");
	w->path[l->depth - 1] = d->name;
	if (prescan_message(w, d->descriptor, bytes, l->depth + 1, l->max_depth) != 0)
		return -1;
	if (prescan_is_map(d))
		what = prescan_map_key(w, l, d, bytes);
	return what ? prescan_blame(w, l, d->name, what) : 0;
}

static const char *prescan_count(struct prescan_walk *w, struct prescan_level *l)
{
	if (++w->fields > w->max_fields)
		return "too many fields";
	if (++l->fields > (l->rule && l->rule->max_fields ? l->rule->max_fields : UINT32_MAX))
		return "too many fields";
	return NULL;
}

static int prescan_field(struct prescan_walk *w, struct prescan_level *l, struct slice *in)
{
	struct wirefmt_field f = {0};
	const char *what = wirefmt_read(in, &f);
	const ProtobufCFieldDescriptor *d = f.number ? prescan_lookup(l, f.number) : NULL;

	if (!what)
		what = prescan_count(w, l);
	if (!d) {
		if (!what && l->rule && f.number < l->rule->known_below)
			what = "unknown field";
		return what ? prescan_blame_number(w, l, f.number, what) : 0;
	}
	if (!what)
		what = prescan_once(l, d);
	if (!what)
		what = prescan_value(d, &f);
	if (what)
		return prescan_blame(w, l, d->name, what);
	return d->type == PROTOBUF_C_TYPE_MESSAGE ? prescan_submessage(w, l, d, f.bytes) : 0;
}

static const struct prescan_rule *prescan_rule_of(const struct prescan_rules *r, const ProtobufCMessageDescriptor *desc)
{
	for (size_t i = 0; r->rules && i < r->n_rules; i++) {
		if (r->rules[i].message == desc)
			return &r->rules[i];
	}
	return NULL;
}

static int prescan_message(struct prescan_walk *w, const ProtobufCMessageDescriptor *desc, struct slice bytes,
			   uint32_t depth, uint32_t max_depth)
{
	struct prescan_level l = {.desc = desc, .depth = depth, .max_depth = max_depth, .keys_from = w->n_keys};

	l.rule = prescan_rule_of(w->rules, desc);
	if (l.rule && l.rule->max_depth && l.rule->max_depth < max_depth - depth + 1)
		l.max_depth = depth + l.rule->max_depth - 1;
	if (desc->n_fields > DESCRIPTOR_FIELDS)
		return prescan_blame(w, &l, NULL, "message type has too many fields");
	while (bytes.n) {
		if (prescan_field(w, &l, &bytes) != 0)
			return -1;
	}
	w->n_keys = l.keys_from;
	return 0;
}

int prescan_check(const ProtobufCMessageDescriptor *desc, struct slice bytes, const struct prescan_rules *rules,
		  struct prescan_fault *fault)
{
	struct prescan_walk w;
	uint32_t depth;

	if (!rules)
		rules = &prescan_defaults;
	/* Member by member: the tables need no zeroes. */
	w.rules = rules;
	w.fault = fault;
	w.fields = 0;
	w.max_fields = rules->max_fields ? rules->max_fields : FIELDS_DEFAULT;
	w.n_keys = 0;
	depth = rules->max_depth ? rules->max_depth : DEPTH_DEFAULT;
	if (fault)
		*fault = (struct prescan_fault){.what = ""};
	return prescan_message(&w, desc, bytes, 1, depth < DEPTH_MOST ? depth : DEPTH_MOST);
}

struct slice prescan_field_bytes(struct slice message, uint32_t number)
{
	struct wirefmt_field f;

	return wirefmt_find(message, number, &f) ? f.bytes : slice_of(NULL, 0);
}

int prescan_field_number(struct slice message, uint32_t number, uint64_t *value)
{
	struct wirefmt_field f;

	*value = 0;
	while (message.n) {
		if (wirefmt_read(&message, &f))
			return -1;
		if (f.number == number && f.type == WIREFMT_VARINT)
			*value = f.value;
	}
	return 0;
}
