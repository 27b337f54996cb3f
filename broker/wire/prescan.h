/* Are these foreign bytes fit to be unpacked? One pass over the protobuf wire format, led by the message's
 * descriptor, before protobuf-c sees them; then unpacking into an arena.
 *
 * protobuf-c 1.4 has no depth limit, cuts strings at NUL, accepts bad UTF-8, merges a submessage that comes twice,
 * and turns 1 MiB of empty submessages into 59 MB. What this pass refuses never reaches it.
 */
#ifndef BATON_WIRE_PRESCAN_H
#define BATON_WIRE_PRESCAN_H

#include <protobuf-c/protobuf-c.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/slice.h"

struct prescan_rule {
	const ProtobufCMessageDescriptor *message;
	uint32_t known_below; /* an unknown field with a smaller number is refused in this message; 0 = none is */
	uint32_t max_depth;   /* of messages below this one, itself = 1; 0 = the general limit */
	uint32_t max_fields;  /* in this message, submessages not counted; 0 = the general limit */
};

struct prescan_rules {
	uint32_t max_depth;   /* 16 */
	uint32_t max_fields;  /* 4,096 in all, submessages included */
	const struct prescan_rule *rules; /* may be NULL */
	size_t n_rules;
};

extern const struct prescan_rules prescan_defaults; /* 16, 4096, no rules */

struct prescan_fault {
	const char *what;  /* static text: "nested too deeply", "field appears twice", ... */
	char field[96];    /* path by names: "envelope.labels"; "" at top level */
};

/* 0, or -1 with the fault. Refuses: truncated or over-long varints, lengths beyond the end, groups, field number 0 or
 * above 2^29-1, a wire type that does not fit the known field (packed and unpacked repeated scalars both fit), depth,
 * number of fields, a singular field (also a submessage) twice, two members of one oneof, the same map key twice, an
 * enum or 32-bit varint out of its 32-bit range, a bool beyond 1, strings with bad UTF-8, NUL or other control
 * characters (tab and newline too), unknown fields below the rule's line, more than 256 entries of maps. */
int prescan_check(const ProtobufCMessageDescriptor *desc, struct slice bytes, const struct prescan_rules *rules,
		  struct prescan_fault *fault);

/* prescan_check, then protobuf_c_message_unpack with the arena as allocator. The message lives as long as the arena.
 * Strings and bytes fields are copies. NULL with the fault; "too large for its arena" when the cap was met. */
ProtobufCMessage *prescan_unpack(const ProtobufCMessageDescriptor *desc, struct slice bytes,
				 const struct prescan_rules *rules, struct arena *arena, struct prescan_fault *fault);

/* The exact bytes of the singular submessage field `number` in a message that passed prescan_check; empty when
 * absent. */
struct slice prescan_field_bytes(struct slice message, uint32_t number);

/* The integer field `number`, 0 when absent, of any bytes: submessages are not looked into. -1: not a row of fields. */
int prescan_field_number(struct slice message, uint32_t number, uint64_t *value);

#endif
