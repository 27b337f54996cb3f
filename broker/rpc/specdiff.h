/* What is different between two messages of a kind, for people? */
#ifndef BATON_RPC_SPECDIFF_H
#define BATON_RPC_SPECDIFF_H

#include <protobuf-c/protobuf-c.h>

#include "base/buf.h"

/* "name: old -> new" for each field that differs, with "; " between; nothing when none does. before NULL: all are new. Fields: text,
 * numbers, enums, bools, bytes (the beginning of their SHA-256), lists of these, maps of text to text, and one message within, whose fields stand under its name: "certificate.max_ttl_s". */
void specdiff(const ProtobufCMessage *before, const ProtobufCMessage *after, struct buf *out);

#endif
