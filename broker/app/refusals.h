/* Which refused handshakes are worth a log line? The first of them: strangers must not be able to fill the disk. All are
 * counted in baton_handshakes_total. */
#ifndef BATON_APP_REFUSALS_H
#define BATON_APP_REFUSALS_H

#include <pthread.h>
#include <stdint.h>

#include "base/bucket.h"

struct refusals {
	pthread_mutex_t lock;
	struct bucket budget;
	int64_t unlogged;
};

void refusals_init(struct refusals *r);
void refusals_clear(struct refusals *r);
/* One more. Log it: how many before it were not logged; or -1: do not. From any thread. */
int64_t refusals_note(struct refusals *r);

#endif
