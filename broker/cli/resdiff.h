/* What is different between a resource as it is and as it shall be? Field by field; lists and labels are sets, in whatever order they stand. */
#ifndef BATON_CLI_RESDIFF_H
#define BATON_CLI_RESDIFF_H

#include <stdio.h>

#include "base/buf.h"
#include "cli/reskind.h"

/* Whether a field says the same in both. */
bool resdiff_same(const struct res_field *f, const ProtobufCMessage *was, const ProtobufCMessage *is);
/* Whether nothing differs. */
bool resdiff_none(const struct res_kind *k, const ProtobufCMessage *was, const ProtobufCMessage *is);
/* Puts what is only in another order into the order that `was` has: the broker compares bytes. */
void resdiff_arrange(const struct res_kind *k, const ProtobufCMessage *was, ProtobufCMessage *is);
/* For people: a line for each value that goes (-) or comes (+), lists entry by entry. was NULL: all of it comes. */
void resdiff_print(FILE *out, const struct res_kind *k, const ProtobufCMessage *was, const ProtobufCMessage *is);
/* On one line: "field: old -> new", with "; " between. */
void resdiff_line(struct buf *out, const struct res_kind *k, const ProtobufCMessage *was, const ProtobufCMessage *is);

#endif
