/* What must never be written down? Text that looks like a credential; this finds it and writes "[redacted]" over it. */
#ifndef BATON_BASE_REDACT_H
#define BATON_BASE_REDACT_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/slice.h"

/* True when text holds something that looks like a JWT (three base64url parts, the first "eyJ..."), a PEM private key,
 * "Bearer x", or a URL with a password. */
bool redact_needed(struct slice text);
/* Appends text to b with each of those replaced by "[redacted]". */
bool redact_copy(struct buf *b, struct slice text);

#endif
