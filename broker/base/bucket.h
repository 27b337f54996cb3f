/* How often may something happen? A token bucket: `burst` at once, `rate` a second in the long run. The time comes from the
 * caller, milliseconds of one clock that does not go back (clock_mono_ms). No lock: who shares one brings it. */
#ifndef BATON_BASE_BUCKET_H
#define BATON_BASE_BUCKET_H

#include <stdbool.h>
#include <stdint.h>

/* Tokens are thousandths, so that slow rates refill smoothly. */
struct bucket {
	int64_t milli;
	int64_t at_ms;
};

void bucket_fill(struct bucket *b, uint32_t burst, int64_t now_ms);
/* One token; false when there is none. */
bool bucket_take(struct bucket *b, uint32_t burst, uint32_t rate, int64_t now_ms);
/* One token back, that was taken for nothing. */
void bucket_return(struct bucket *b);
/* Milliseconds from the last bucket_take() until a token is there, at least 1. rate: not 0. */
int64_t bucket_wait_ms(const struct bucket *b, uint32_t rate);
/* Nothing is owed any more: the bucket need not be remembered. */
bool bucket_full(const struct bucket *b, uint32_t burst, uint32_t rate, int64_t now_ms);

#endif
