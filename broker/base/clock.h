/* What time is it? Asked at the edges only: everything that decides is handed `now`. */
#ifndef BATON_BASE_CLOCK_H
#define BATON_BASE_CLOCK_H

#include <stddef.h>
#include <stdint.h>

#include "base/slice.h"

#define CLOCK_LAST_MS INT64_C(253402300799999) /* the end of the year 9999: RFC 3339 has no later time */

int64_t clock_unix_ms(void);      /* UTC; may step */
int64_t clock_mono_ms(void);      /* for time-outs; never steps */
int64_t clock_mono_us(void);
int64_t clock_thread_us(void);    /* that this thread has run: for how much work something was, whoever else the processor served meanwhile */
/* "2026-11-24T00:25:01.123Z"; out has room for 25 bytes. */
void clock_format_utc(int64_t unix_ms, char out[25]);
/* The time in exactly that form; -1 for any other text. */
int64_t clock_parse_utc(struct slice text);
/* The time in any form of RFC 3339, as "2026-11-24T01:25:01+01:00"; what is less than a millisecond is cut off. -1 for any other text, for what was before
 * 1970, and for a leap second. */
int64_t clock_parse_rfc3339(struct slice text);

#endif
