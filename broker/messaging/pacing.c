/* When is a failed attempt tried again? The n-th retry comes within [least·2^(n-1), least·2^n), at random so that
 * those who failed together do not come back together; the upper end stops at the profile's most. */
#include "messaging/pacing.h"

uint32_t pacing_backoff_ms(uint32_t attempt, uint32_t min_ms, uint32_t max_ms, uint32_t random)
{
	uint32_t doublings = attempt < 32 ? attempt : 32;
	uint64_t high = min_ms ? min_ms : 1, low;

	if (max_ms <= min_ms)
		return min_ms;
	high <<= doublings;
	if (high > max_ms)
		high = max_ms;
	low = high / 2 < min_ms ? min_ms : high / 2;
	return (uint32_t)(low + ((high - low + 1) * random >> 32));
}
