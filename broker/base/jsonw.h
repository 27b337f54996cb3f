/* How is JSON written on the hot path? Straight into a buf, one member after the other, with escaping and commas. */
#ifndef BATON_BASE_JSONW_H
#define BATON_BASE_JSONW_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/slice.h"

struct jsonw {
	struct buf *b; /* borrowed */
	bool comma;
};

void jsonw_init(struct jsonw *w, struct buf *b);
void jsonw_object(struct jsonw *w, const char *key); /* "{"; key NULL at top level and in arrays */
void jsonw_array(struct jsonw *w, const char *key);
void jsonw_end_object(struct jsonw *w);
void jsonw_end_array(struct jsonw *w);
void jsonw_str(struct jsonw *w, const char *key, const char *v); /* NULL: writes null */
void jsonw_slice(struct jsonw *w, const char *key, struct slice v); /* bad UTF-8 becomes U+FFFD */
void jsonw_int(struct jsonw *w, const char *key, int64_t v);
void jsonw_bool(struct jsonw *w, const char *key, bool v);
/* A value that is JSON already, of one line; control characters in its texts are escaped. */
void jsonw_json(struct jsonw *w, const char *key, struct slice json);
/* Only the characters of a JSON string, without the quotes. */
bool jsonw_escape(struct buf *b, struct slice s);

#endif
