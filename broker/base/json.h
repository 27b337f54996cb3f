/* How is JSON read? Strictly, and wholly or not at all. */
#ifndef BATON_BASE_JSON_H
#define BATON_BASE_JSON_H

#include <jansson.h>

#include "base/slice.h"

/* Owned. NULL with *e (which may be NULL) when it is no JSON or holds a member twice, NULL with errno ENOMEM when memory was out: jansson by
 * itself then leaves characters out of a text, and says nothing. errno is 0 otherwise. */
json_t *json_read(struct slice bytes, json_error_t *e);

#endif
