/* How are fields read off the protobuf wire? The reader that prescan.c and unpack.c share; private to wire/. */
#ifndef BATON_WIRE_WIREFMT_H
#define BATON_WIRE_WIREFMT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/slice.h"

enum wirefmt_type { WIREFMT_VARINT = 0, WIREFMT_I64 = 1, WIREFMT_LEN = 2, WIREFMT_I32 = 5 };

struct wirefmt_field {
	uint32_t number;
	enum wirefmt_type type;
	uint64_t value;     /* VARINT, I64, I32 */
	struct slice bytes; /* LEN; borrowed */
};

/* Takes one field from the front of *in. NULL, or what is wrong (static text). */
const char *wirefmt_read(struct slice *in, struct wirefmt_field *f);
/* A varint of at most `most` bytes, 10 for 64 bits. NULL, or what is wrong. */
const char *wirefmt_varint(struct slice *in, unsigned most, uint64_t *v);
/* The first field of that number; false when there is none before the end or a fault. */
bool wirefmt_find(struct slice message, uint32_t number, struct wirefmt_field *f);

#endif
