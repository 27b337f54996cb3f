/* When is the next cycle due? In an open loop cycles begin by the clock, whether or not those before them have ended, and
 * each is timed from when it was due: a broker that stands still for a while is not excused from what it kept waiting. */
#ifndef BATON_CLI_PACE_H
#define BATON_CLI_PACE_H

#include <stdbool.h>
#include <stdint.h>

struct pace {
	int64_t rate;     /* cycles a second; 0: a closed loop, always due */
	int64_t began_us; /* 0 = not yet */
	int64_t begun;    /* cycles */
};

/* When the next one is due, on the clock of now_us; now_us itself in a closed loop, and for the first. */
int64_t pace_due_us(const struct pace *p, int64_t now_us);
/* It begins. Its time. */
int64_t pace_begin(struct pace *p, int64_t now_us);
/* Those that were due and never could begin are forgotten: from now on. */
void pace_restart(struct pace *p);

#endif
