/* What does a token's text say, unverified? For showing and for error texts only: nothing is ever decided by it. */
#ifndef BATON_CLI_TOKENTEXT_H
#define BATON_CLI_TOKENTEXT_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/slice.h"

/* Part 0 is the header, 1 the claims. Owned, or NULL when it is no JSON object in canonical base64url. */
json_t *tokentext_part(struct slice token, int part);
/* A claim that is text, cnf.x5t#S256 or a named one. false when it is not there or does not fit. */
bool tokentext_binding(struct slice token, char *out, size_t size);
bool tokentext_claim(struct slice token, const char *name, char *out, size_t size);

#endif
