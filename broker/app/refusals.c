/* Which refused handshakes are worth a log line? See refusals.h. */
#include "app/refusals.h"

#include "base/clock.h"

#define LINES_AT_ONCE 50
#define LINES_PER_S 5

void refusals_init(struct refusals *r)
{
	pthread_mutex_init(&r->lock, NULL);
	bucket_fill(&r->budget, LINES_AT_ONCE, clock_mono_ms());
	r->unlogged = 0;
}

void refusals_clear(struct refusals *r)
{
	pthread_mutex_destroy(&r->lock);
}

int64_t refusals_note(struct refusals *r)
{
	int64_t unlogged = -1;

	pthread_mutex_lock(&r->lock);
	if (bucket_take(&r->budget, LINES_AT_ONCE, LINES_PER_S, clock_mono_ms())) {
		unlogged = r->unlogged;
		r->unlogged = 0;
	} else {
		r->unlogged++;
	}
	pthread_mutex_unlock(&r->lock);
	return unlogged;
}
