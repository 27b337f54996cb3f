/* Is it an access token, although its header does not say so? */
#ifndef BATON_IDENTITY_TOKEN_KIND_H
#define BATON_IDENTITY_TOKEN_KIND_H

#include "identity/facts.h"

/* NULL: by all that can be told. Else static text, and *field. f: what was read of this payload. */
const char *token_kind_fault(const json_t *payload, const struct facts *f, enum dialect dialect, const char **field);

#endif
