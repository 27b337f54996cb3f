/* How does an agent's card get from a file to the broker, and back to somebody's eyes? Whether it is one the broker says. */
#ifndef BATON_CLI_CARD_H
#define BATON_CLI_CARD_H

#include <protobuf-c/protobuf-c.h>

#include "base/arena.h"
#include "base/problem.h"
#include "base/slice.h"

#define CARD_FILE_MAX (1024 * 1024) /* bytes, with the blanks, that are not sent */

/* JSON as it is kept: without blanks; in the arena. 0, or -1 with why: "LINE:COLUMN: what". */
int card_take(struct slice text, struct arena *arena, ProtobufCBinaryData *out, struct problem *why);
/* "NAME VERSION, 2 skills, 812 bytes, sha256:...". With what somebody else wrote in it: for text_line(). NULL: memory is out. */
const char *card_line(const ProtobufCBinaryData *card, struct arena *arena);

#endif
