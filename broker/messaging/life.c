/* What states does a handoff pass through?
 *
 *              accept ┌──────┐
 *            ┌───────>│ HELD │ for an approval, which nobody can give yet
 *            │        └──────┘
 *            │ accept ┌───────────┐ promote ┌────────┐ lease  ┌────────┐ start ┌─────────┐
 *        (nothing)───>│ SCHEDULED │────────>│ QUEUED │───────>│ LEASED │──────>│ WORKING │<─> INPUT_REQUIRED
 *            │        └───────────┘         └────────┘        └────────┘       └─────────┘
 *            │                                ^    ^               │                │
 *            └──── accept, or to LEASED ──────┘    └───────────────┴──────┬─────────┤
 *                                                  retry, release, lapse ─┘    complete, fail, reject, dead-letter
 *        any that is not terminal: cancel, expire, quarantine;   QUARANTINED: cancel;   after a fail-over: QUEUED hold HELD, HELD confirm QUEUED
 *
 * What backs off is QUEUED, too. A report that comes after the lease lapsed but before somebody else was handed the work still counts: its
 * fence is the current one, unless the profile says keepalive: progress. So complete, fail, reject, retry and release may also find the
 * handoff QUEUED; and the first three HELD, since it was popped after a fail-over. tests/model makes these moves and no others. */
#include "messaging/life.h"

#include <stddef.h>

#define BIT(state) (1u << STATE_##state)
#define HELD_BY_WORKER (BIT(LEASED) | BIT(WORKING) | BIT(INPUT_REQUIRED))
#define WAITING (BIT(QUEUED) | BIT(SCHEDULED))
#define REPORTABLE (HELD_BY_WORKER | BIT(QUEUED))
#define LIVE (BIT(HELD) | WAITING | HELD_BY_WORKER)

/* Each cause: from any of `from` to any of `to`. A cause may have more than one row. */
static const struct move {
	enum life_cause cause;
	unsigned from, to;
} moves[] = {
	{LIFE_ACCEPT, BIT(UNSPECIFIED), BIT(HELD) | WAITING | BIT(LEASED)},
	{LIFE_PROMOTE, BIT(SCHEDULED), BIT(QUEUED)},
	{LIFE_LEASE, BIT(QUEUED), BIT(LEASED)},
	{LIFE_START, BIT(LEASED) | BIT(INPUT_REQUIRED), BIT(WORKING)},
	{LIFE_START, BIT(WORKING), BIT(INPUT_REQUIRED)},
	{LIFE_COMPLETE, REPORTABLE | BIT(HELD), BIT(COMPLETED)},
	{LIFE_FAIL, REPORTABLE | BIT(HELD), BIT(FAILED)},
	{LIFE_RETRY, REPORTABLE, BIT(QUEUED)},
	{LIFE_REJECT, REPORTABLE | BIT(HELD), BIT(REJECTED)},
	{LIFE_RELEASE, REPORTABLE, BIT(QUEUED)},
	{LIFE_LAPSE, HELD_BY_WORKER, BIT(QUEUED)},
	{LIFE_CANCEL, LIVE | BIT(QUARANTINED), BIT(CANCELLED)},
	{LIFE_EXPIRE, LIVE, BIT(EXPIRED)},
	{LIFE_QUARANTINE, LIVE, BIT(QUARANTINED)},
	{LIFE_DEAD_LETTER, HELD_BY_WORKER, BIT(DEAD_LETTERED)},
	{LIFE_HOLD, BIT(QUEUED), BIT(HELD)},
	{LIFE_CONFIRM, BIT(HELD), BIT(QUEUED)},
};

bool life_move_allowed(enum handoff_state from, enum life_cause cause, enum handoff_state to)
{
	if ((unsigned)from > STATE_DEAD_LETTERED || (unsigned)to > STATE_DEAD_LETTERED)
		return false;
	for (size_t i = 0; i < sizeof moves / sizeof moves[0]; i++)
		if (moves[i].cause == cause && (moves[i].from >> from & 1) && (moves[i].to >> to & 1))
			return true;
	return false;
}

const char *life_event(enum handoff_state state)
{
	static const char *const events[STATE_DEAD_LETTERED + 1] = {
		[STATE_HELD] = "handoff.held",
		[STATE_SCHEDULED] = "handoff.accepted", /* as QUEUED: the state stands in the line */
		[STATE_QUEUED] = "handoff.accepted",
		[STATE_LEASED] = "handoff.leased",
		[STATE_WORKING] = "handoff.working",
		[STATE_INPUT_REQUIRED] = "handoff.working",
		[STATE_QUARANTINED] = "handoff.quarantined",
		[STATE_COMPLETED] = "handoff.completed",
		[STATE_FAILED] = "handoff.failed",
		[STATE_REJECTED] = "handoff.rejected",
		[STATE_CANCELLED] = "handoff.cancelled",
		[STATE_EXPIRED] = "handoff.expired",
		[STATE_DEAD_LETTERED] = "handoff.dead_lettered",
	};

	return (unsigned)state <= STATE_DEAD_LETTERED && events[state] ? events[state] : "handoff.unknown";
}
