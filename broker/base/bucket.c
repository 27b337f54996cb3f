/* How often may something happen? See bucket.h. */
#include "base/bucket.h"

#define TOKEN 1000 /* thousandths: rate tokens a second are rate thousandths a millisecond */

void bucket_fill(struct bucket *b, uint32_t burst, int64_t now_ms)
{
	b->milli = (int64_t)burst * TOKEN;
	b->at_ms = now_ms;
}

/* A burst that was lowered meanwhile takes what is above it away. */
static int64_t level(const struct bucket *b, uint32_t burst, uint32_t rate, int64_t now_ms)
{
	int64_t full = (int64_t)burst * TOKEN, passed = now_ms > b->at_ms ? now_ms - b->at_ms : 0;

	if (b->milli >= full || (rate && passed >= (full - b->milli) / rate + 1))
		return full;
	return b->milli + passed * rate;
}

bool bucket_take(struct bucket *b, uint32_t burst, uint32_t rate, int64_t now_ms)
{
	b->milli = level(b, burst, rate, now_ms);
	b->at_ms = now_ms > b->at_ms ? now_ms : b->at_ms;
	if (b->milli < TOKEN)
		return false;
	b->milli -= TOKEN;
	return true;
}

void bucket_return(struct bucket *b)
{
	b->milli += TOKEN;
}

int64_t bucket_wait_ms(const struct bucket *b, uint32_t rate)
{
	int64_t missing = TOKEN - b->milli;

	return missing > 0 ? missing / rate + 1 : 1;
}

bool bucket_full(const struct bucket *b, uint32_t burst, uint32_t rate, int64_t now_ms)
{
	return level(b, burst, rate, now_ms) >= (int64_t)burst * TOKEN;
}
