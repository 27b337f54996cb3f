/* How long is waited after a failure, of one who is asked again and again? A second, then twice as long each time, up to a bound. */
#ifndef BATON_BASE_BACKOFF_H
#define BATON_BASE_BACKOFF_H

#include <stdint.h>

#define BACKOFF_FIRST_MS 1000

/* was_ms: what was waited the last time; 0: it did not fail then. */
static inline int64_t backoff_next_ms(int64_t was_ms, int64_t max_ms)
{
	int64_t ms = was_ms ? was_ms * 2 : BACKOFF_FIRST_MS;

	return ms < max_ms ? ms : max_ms;
}

#endif
