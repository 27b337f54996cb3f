/* When is a failed attempt tried again? Exponential backoff with jitter within the profile's bounds. */
#ifndef BATON_MESSAGING_PACING_H
#define BATON_MESSAGING_PACING_H

#include <stdint.h>

/* attempt: 1 = the first one failed. random: any 32 bits. Result in [min_ms, max_ms]. */
uint32_t pacing_backoff_ms(uint32_t attempt, uint32_t min_ms, uint32_t max_ms, uint32_t random);

#endif
