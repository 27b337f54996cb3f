/* What time is it? Asked at the edges only: everything that decides is handed `now`. */
#ifndef BATON_BASE_CLOCK_H
#define BATON_BASE_CLOCK_H

#include <stddef.h>
#include <stdint.h>

#include "base/slice.h"

int64_t clock_unix_ms(void);      /* UTC; may step */
int64_t clock_mono_ms(void);      /* for time-outs; never steps */
int64_t clock_mono_us(void);
/* "2026-11-24T00:25:01.123Z"; out has room for 25 bytes. */
void clock_format_utc(int64_t unix_ms, char out[25]);
/* The time in exactly that form; -1 for any other text. */
int64_t clock_parse_utc(struct slice text);

#endif
