/* Which known word did somebody probably mean? The closest one, when it is close enough to be a slip of the finger. */
#ifndef BATON_BASE_NEAR_H
#define BATON_BASE_NEAR_H

#include <stddef.h>

#include "base/slice.h"

/* The first of `known` at the smallest edit distance (a swap of neighbours counts as one), when that is at most 2
 * and less than half of the word; else NULL. Words over 63 bytes have no neighbour. */
const char *near_word(struct slice word, const char *const *known, size_t n);

/* Text of a file for an error message: printable ASCII of at most 60 bytes, anything else as "?". */
const char *near_show(struct slice text, char out[64]);

#endif
