/* How is JSON read? Strictly, and wholly or not at all. Two more are for its text, before and after. */
#ifndef BATON_BASE_JSON_H
#define BATON_BASE_JSON_H

#include <jansson.h>

#include "base/buf.h"
#include "base/slice.h"

/* Owned. NULL with *e (which may be NULL) when it is no JSON or holds a member twice, NULL with errno ENOMEM when memory was out: jansson by
 * itself then leaves characters out of a text, and says nothing. errno is 0 otherwise. */
json_t *json_read(struct slice bytes, json_error_t *e);

/* How deep its brackets nest; of text that is no JSON it is some number. For a bound before it is read. */
size_t json_depth(struct slice bytes);
/* Appends it without the blanks between its words; nothing else is another then. Of what json_read() takes. false: out has failed. */
bool json_compact(struct slice bytes, struct buf *out);

#endif
