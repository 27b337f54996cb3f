/* How does a protobuf message become JSON for -o json? Field by field by its descriptor: names as in the .proto,
 * what is not set left out, enums in lower case without their prefix, bytes as text where they are text, else as
 * NAME_base64. */
#ifndef BATON_CLI_PBJSON_H
#define BATON_CLI_PBJSON_H

#include <protobuf-c/protobuf-c.h>
#include <stdio.h>

#include "base/jsonw.h"

void pbjson_object(struct jsonw *w, const char *key, const ProtobufCMessage *m);
/* One line on out. */
void pbjson_print(FILE *out, const ProtobufCMessage *m);

#endif
