/* Which events make up a handoff's life? Cursor 1 is the acceptance, the record's cursor is the end once it is terminal, a first lease that is
 * not listed is cursor 2; everything else is in the handoff's list. */
#include "rpc/events.h"

#include "wire/prescan.h"

const char life_unconfirmed[] = "held after a fail-over of the store: submit again under the same idempotency key, or cancel";

static const struct store_event *listed(const struct life_view *v, uint64_t cursor)
{
	for (size_t i = 0; i < v->n_events; i++)
		if (v->events[i].cursor == cursor)
			return &v->events[i];
	return NULL;
}

Baton__V1__Agent *life_assignee(struct arena *a, const struct world *w, const char *tenant, uint64_t owner)
{
	const struct agent *g = owner ? registry_by_key(w->registry, tenant, owner) : NULL;

	return g ? task_agent(a, arena_strdup(a, g->spiffe_id), arena_strdup(a, g->tenant), arena_strdup(a, g->name)) : NULL;
}

pb_decision *life_decision(struct arena *a, const pb_task *t)
{
	struct verdict v = verdict_allow();

	v.outcome = (enum outcome)t->outcome;
	v.reason = (enum reason)t->reason;
	slice_copy_str(slice_str(t->held_message), v.message, sizeof v.message);
	return reply_decision(a, &v, t->policy_version);
}

struct life_outcome life_outcome_read(struct arena *a, struct slice bytes)
{
	struct life_outcome out = {NULL, NULL, ""};
	Baton__Internal__V1__Report *o;
	struct prescan_fault f;

	if (!bytes.n || !(o = (void *)prescan_unpack(&baton__internal__v1__report__descriptor, bytes, NULL, a, &f)))
		return out;
	out.note = o->note;
	if (o->result.len)
		out.result = (void *)prescan_unpack(&baton__v1__result__descriptor, slice_of(o->result.data, o->result.len), NULL, a, &f);
	if (o->failure.len)
		out.failure = (void *)prescan_unpack(&baton__v1__failure__descriptor, slice_of(o->failure.data, o->failure.len), NULL, a, &f);
	return out;
}

static void set_receipt(struct arena *a, const struct life_view *v, Baton__V1__HandoffEvent *ev)
{
	Baton__V1__Receipt *r = arena_alloc(a, sizeof *r);

	if (!r)
		return;
	baton__v1__receipt__init(r);
	r->handoff_id = (char *)v->id_text;
	ev->state = (Baton__V1__HandoffState)v->task->accepted_state;
	r->state = ev->state;
	r->trace_id = v->task->trace_id;
	r->accepted_at_ms = v->record->accepted_at_ms;
	r->deadline_ms = v->task->deadline_ms;
	r->decision = life_decision(a, v->task);
	ev->at_ms = v->record->accepted_at_ms;
	ev->attempt = 0;
	ev->detail_case = BATON__V1__HANDOFF_EVENT__DETAIL_RECEIPT;
	ev->receipt = r;
}

static void set_end(struct arena *a, const struct life_view *v, Baton__V1__HandoffEvent *ev)
{
	struct life_outcome o = life_outcome_read(a, v->outcome);

	ev->state = (Baton__V1__HandoffState)v->record->state;
	ev->at_ms = v->record->updated_at_ms;
	ev->attempt = v->record->attempt;
	if (o.result) {
		ev->detail_case = BATON__V1__HANDOFF_EVENT__DETAIL_RESULT;
		ev->result = o.result;
	} else if (o.failure) {
		ev->detail_case = BATON__V1__HANDOFF_EVENT__DETAIL_FAILURE;
		ev->failure = o.failure;
	} else if (*o.note) {
		ev->detail_case = BATON__V1__HANDOFF_EVENT__DETAIL_NOTE;
		ev->note = (char *)o.note;
	}
}

static void set_assignee(struct arena *a, const struct life_view *v, Baton__V1__HandoffEvent *ev, uint64_t owner)
{
	ev->assignee = life_assignee(a, v->world, v->tenant, owner);
	if (ev->assignee)
		ev->detail_case = BATON__V1__HANDOFF_EVENT__DETAIL_ASSIGNEE;
}

static void set_listed(struct arena *a, const struct life_view *v, Baton__V1__HandoffEvent *ev, const struct store_event *e)
{
	Baton__Internal__V1__Report *b = NULL;
	struct prescan_fault f;

	ev->state = (Baton__V1__HandoffState)e->state;
	ev->at_ms = e->at_ms;
	ev->attempt = e->attempt;
	if (e->body.n)
		b = (void *)prescan_unpack(&baton__internal__v1__report__descriptor, e->body, NULL, a, &f);
	if (b && b->progress.len) {
		ev->progress = (void *)prescan_unpack(&baton__v1__progress__descriptor, slice_of(b->progress.data, b->progress.len), NULL, a, &f);
		ev->detail_case = ev->progress ? BATON__V1__HANDOFF_EVENT__DETAIL_PROGRESS : 0;
	} else if (b && b->artifact.len) {
		ev->artifact = (void *)prescan_unpack(&baton__v1__artifact__descriptor, slice_of(b->artifact.data, b->artifact.len), NULL, a, &f);
		ev->detail_case = ev->artifact ? BATON__V1__HANDOFF_EVENT__DETAIL_ARTIFACT : 0;
	} else if (b && b->failure.len) {
		ev->failure = (void *)prescan_unpack(&baton__v1__failure__descriptor, slice_of(b->failure.data, b->failure.len), NULL, a, &f);
		ev->detail_case = ev->failure ? BATON__V1__HANDOFF_EVENT__DETAIL_FAILURE : 0;
	} else if (b && *b->note) {
		ev->note = b->note;
		ev->detail_case = BATON__V1__HANDOFF_EVENT__DETAIL_NOTE;
	} else if (e->state == STATE_LEASED) {
		set_assignee(a, v, ev, e->owner);
	} else if (e->state == STATE_HELD) { /* for an approval it is from the first event on, which is not listed */
		ev->note = (char *)life_unconfirmed;
		ev->detail_case = BATON__V1__HANDOFF_EVENT__DETAIL_NOTE;
	}
}

/* The first lease is not listed, but whatever came next is, and names who held it then. The record's owner may be a later one. */
static uint64_t first_owner(const struct life_view *v)
{
	const struct store_event *next = listed(v, 3);

	return next ? next->owner : v->record->cursor <= 3 ? v->record->owner : 0;
}

Baton__V1__HandoffEvent *life_event_at(struct arena *a, const struct life_view *v, uint64_t cursor)
{
	Baton__V1__HandoffEvent *ev = arena_alloc(a, sizeof *ev);
	const struct store_event *e = listed(v, cursor);

	if (!ev)
		return NULL;
	baton__v1__handoff_event__init(ev);
	ev->handoff_id = (char *)v->id_text;
	ev->cursor = cursor;
	ev->trace_id = v->task->trace_id;
	if (e) {
		set_listed(a, v, ev, e);
	} else if (cursor == 1) {
		set_receipt(a, v, ev);
	} else if (cursor == v->record->cursor && (state_is_terminal(v->record->state) || v->record->state == STATE_QUARANTINED)) {
		set_end(a, v, ev);
	} else if (cursor == 2 && v->record->first_leased_at_ms) {
		ev->state = BATON__V1__HANDOFF_STATE__HANDOFF_STATE_LEASED;
		ev->at_ms = v->record->first_leased_at_ms;
		ev->attempt = 1;
		set_assignee(a, v, ev, first_owner(v));
	} else {
		return NULL;
	}
	return ev;
}
