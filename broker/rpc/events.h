/* Which events make up a handoff's life, in order and without a gap? Put together from its record, its list and its blobs. Private to rpc/. */
#ifndef BATON_RPC_EVENTS_H
#define BATON_RPC_EVENTS_H

#include "rpc/task.h"

/* What was read of one handoff. */
struct life_view {
	const struct world *world;
	const char *tenant;
	const struct store_record *record;
	const pb_task *task;
	struct slice outcome;
	const struct store_event *events; /* listed ones, by cursor, growing */
	size_t n_events;
	const char *id_text;
};

/* The event with this cursor, in the arena; NULL when the list no longer has it. 1 ≤ cursor ≤ record->cursor. */
Baton__V1__HandoffEvent *life_event_at(struct arena *a, const struct life_view *v, uint64_t cursor);
/* Why a handoff is held that its sender must confirm after a fail-over of the store, and how. */
extern const char life_unconfirmed[];
/* The last blob's parts, in the arena; any may stay NULL. */
struct life_outcome {
	Baton__V1__Result *result;
	Baton__V1__Failure *failure;
	const char *note;
};
struct life_outcome life_outcome_read(struct arena *a, struct slice bytes);
/* The decision as it was made at acceptance. */
pb_decision *life_decision(struct arena *a, const pb_task *t);
/* Who holds or held the lease; NULL when nobody or unknown. */
Baton__V1__Agent *life_assignee(struct arena *a, const struct world *w, const char *tenant, uint64_t owner);

#endif
