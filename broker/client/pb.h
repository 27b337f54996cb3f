/* How are protobuf bytes made and read on this side? Whole messages by protobuf-c; single fields by hand where the
 * exact bytes count, as for an envelope that is sent again, or where speed does, as in bench. */
#ifndef BATON_CLIENT_PB_H
#define BATON_CLIENT_PB_H

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/slice.h"
#include "wire/prescan.h"

bool pb_pack(struct buf *out, const ProtobufCMessage *m);
/* Checked first (wire/prescan); in the arena. NULL with the fault. */
ProtobufCMessage *pb_unpack(const ProtobufCMessageDescriptor *desc, struct slice bytes, struct arena *arena,
	struct prescan_fault *fault);

bool pb_put_bytes(struct buf *out, uint32_t number, struct slice v);   /* length-delimited, also when empty */
bool pb_put_varint(struct buf *out, uint32_t number, uint64_t v);      /* nothing when 0 */

struct pb_field {
	uint32_t number;
	uint32_t type;      /* 0 varint, 1 64 bit, 2 bytes, 5 32 bit */
	uint64_t value;     /* of a varint */
	struct slice bytes; /* of type 2 */
};
/* Takes one field from the front of *in. false at the end, or when the bytes are no protobuf (then in->n is not 0). */
bool pb_next(struct slice *in, struct pb_field *f);

/* baton.v1.SubmitRequest around the exact bytes of an envelope. */
bool pb_submit_request(struct buf *out, struct slice envelope, uint64_t ref, bool dry_run);

#endif
