/* What else does a verified token say? Any member of it by name: who is asked about is configured while the broker runs, so no list of them is made
 * when a token is verified. */
#ifndef BATON_IDENTITY_MEMBERS_H
#define BATON_IDENTITY_MEMBERS_H

#include <stdbool.h>

#include "base/slice.h"

struct token_members;
/* Of a token that token_verify() has just found to be signed: nothing is verified here. NULL: memory is out. */
struct token_members *token_members_open(struct slice token);
void token_members_free(struct token_members *m);
/* Is the member of this name a string that equals the value, or an array with such a string in it? To the byte. */
bool token_members_have(const struct token_members *m, const char *name, const char *value);

#endif
