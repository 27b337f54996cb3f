/* What states does a handoff pass through, and what moves it? One state machine; the drawing is in life.c. The store
 * makes each move atomic; this table says which moves there are, which audit event each writes and who may cause it. */
#ifndef BATON_MESSAGING_LIFE_H
#define BATON_MESSAGING_LIFE_H

#include <stdbool.h>

#include "base/words.h"

enum life_cause {
	LIFE_ACCEPT, LIFE_PROMOTE, LIFE_LEASE, LIFE_START, LIFE_COMPLETE, LIFE_FAIL, LIFE_RETRY, LIFE_REJECT,
		LIFE_RELEASE, LIFE_LAPSE,
	LIFE_CANCEL, LIFE_EXPIRE, LIFE_QUARANTINE, LIFE_DEAD_LETTER,
	LIFE_HOLD, LIFE_CONFIRM, /* after a fail-over of the store, what may have been done; by its sender */
};

/* May `cause` move a handoff from `from` to `to`? STATE_UNSPECIFIED = not there yet. */
bool life_move_allowed(enum handoff_state from, enum life_cause cause, enum handoff_state to);
/* The audit event of having entered `state` ("handoff.completed"). */
const char *life_event(enum handoff_state state);

#endif
