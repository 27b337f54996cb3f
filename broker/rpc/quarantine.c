/* How does an SRE put work aside in an incident, and let it go again? Quarantine and ReleaseHandoffs of ContainmentService: of ids one after the other, each
 * with its answer; of a route, a sender or a trace by a sweep (sweep.c), which goes on when whoever asked has gone. What is let go is judged as if it came
 * now, so that what is revoked stays; and once more when it is delivered. */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "rpc/caller.h"
#include "rpc/operator.h"
#include "rpc/pipeline.h"
#include "rpc/sweep.h"
#include "rpc/task.h"

#define IDS_MAX 256
#define GONE "the store did not answer: ask again"
#define SEALED "what is stored of it does not open"

typedef Baton__V1__SelectHandoffs pb_select;

struct selection {
	const pb_select *m;
	bool back;
	struct sweep sweep;
	Baton__V1__CountResponse *answer;
	/* of ids */
	size_t at;
	bool gone;                       /* the store did not answer for one: it is not asked about the rest */
	const struct world_route *route; /* of the present one */
	struct handoff_id id;
};

static struct store_slot slot_of(const struct world_route *r)
{
	return (struct store_slot){r->tenant, r->queue};
}

/* ---- its end ---- */

/* "put aside 12 handoffs, route work, sender planner: the reason" */
static const char *summary(struct op *op, const struct selection *s)
{
	const pb_select *m = s->m;
	const char *text = arena_printf(op->arena, "%s%s %llu handoffs%s%s%s%s%s%s: %s", m->dry_run ? "(dry run) " : "", s->back ? "released" : "put aside",
					(unsigned long long)s->answer->count, *m->route ? ", route " : "", m->route, *m->sender ? ", sender " : "", m->sender,
					*m->trace_id ? ", trace " : "", m->trace_id, m->reason);

	return text ? text : "";
}

static void conclude(struct op *op)
{
	struct selection *s = op->state;

	op->audit.handoff_id = slice_str("");
	op->audit.tenant = slice_str(*s->m->tenant && caller_sees(op, s->m->tenant) ? s->m->tenant : "");
	op->audit.route = slice_str(s->m->route);
	op->audit.message = slice_str(summary(op, s));
	if (!s->m->dry_run)
		op->event = s->back ? "handoffs.released" : "handoffs.quarantined";
	pipeline_answer(op, &s->answer->base);
}

static void swept(struct op *op)
{
	struct selection *s = op->state;
	const char *text;

	s->answer->count = s->sweep.found;
	s->answer->kept = s->sweep.kept;
	if (!s->sweep.failed) {
		conclude(op);
		return;
	}
	text = arena_printf(op->arena, "the store did not answer for every queue; %llu handoffs were %s until then: ask again",
			    (unsigned long long)s->sweep.found, s->back ? "released" : "put aside");
	operator_deny(op, REASON_STORE_UNAVAILABLE, "", text ? text : "the store did not answer: ask again");
}

/* ---- by id ---- */

static void go_on(struct op *op);

static void next_id(struct op *op)
{
	struct selection *s = op->state;

	s->at++;
	go_on(op);
}

static void leave(struct op *op, enum reason r, const char *message)
{
	struct selection *s = op->state;
	Baton__V1__LeftAlone *l = arena_alloc(op->arena, sizeof *l);

	if (l) {
		baton__v1__left_alone__init(l);
		l->handoff_id = s->m->handoff_ids[s->at];
		l->reason = (Baton__V1__Reason)r;
		l->message = (char *)op_str(op, slice_str(message));
		s->answer->left[s->answer->n_left++] = l;
	}
	next_id(op);
}

static void leave_as_it_is(struct op *op, enum handoff_state state)
{
	const struct selection *s = op->state;
	char text[80];

	snprintf(text, sizeof text, "it is %s%s", state_text(state), s->back ? ", not in quarantine" : state == STATE_QUARANTINED ? " already" : ": it is over");
	leave(op, REASON_WRONG_STATE, text);
}

/* What was not asked for yet is not; when nothing was done, so says the call. */
static void store_gone(struct op *op)
{
	struct selection *s = op->state;

	if (!s->at) {
		operator_no_store(op);
		return;
	}
	s->gone = true;
	leave(op, REASON_STORE_UNAVAILABLE, GONE);
}

static void on_moved(struct op *op, const struct store_answer *a)
{
	struct selection *s = op->state;

	if (a->status == STORE_WRONG_STATE) {
		leave_as_it_is(op, a->record.state);
	} else if (a->status == STORE_NOT_FOUND) {
		leave(op, REASON_NOT_FOUND, "no such handoff");
	} else if (a->status != STORE_OK) {
		store_gone(op);
	} else {
		s->answer->count++;
		sweep_told(op, s->route, &a->record);
		next_id(op);
	}
}

/* Would what is in quarantine be let in now? As sweep.c has it, which waits for an approval waits on. */
static struct verdict judge(struct op *op, const struct store_item *item)
{
	struct arena *room = arena_new(ARENA_CAP);
	pb_task *t = room && item->status == STORE_OK ? task_unpack(room, item->task) : NULL;
	pb_envelope *e = t ? task_unpack_envelope(room, t) : NULL;
	struct verdict v = verdict_deny(REASON_MALFORMED_ENVELOPE, "", SEALED);

	if (e)
		v = task_judge(room, op->w->world, t, e, clock_unix_ms());
	if (!room || arena_failed(room))
		v = pipeline_no_memory();
	arena_free(room);
	return v;
}

static void on_found(struct op *op, const struct store_answer *a)
{
	struct selection *s = op->state;
	const struct store_item *item = a->n_items ? &a->items[0] : NULL;
	struct verdict v = verdict_allow();

	if (a->status == STORE_UNAVAILABLE) {
		store_gone(op);
		return;
	}
	if (!item || a->status == STORE_NOT_FOUND) {
		leave(op, REASON_NOT_FOUND, "no such handoff");
		return;
	}
	if (s->back ? item->record.state != STATE_QUARANTINED : item->record.state >= STATE_QUARANTINED) {
		leave_as_it_is(op, item->record.state);
		return;
	}
	if (s->back)
		v = judge(op, item);
	if (v.outcome == OUTCOME_DENY) {
		leave(op, v.reason, v.message);
		return;
	}
	if (s->m->dry_run) {
		s->answer->count++;
		next_id(op);
		return;
	}
	s->id = item->record.id; /* a duplicate's stands for its first handoff's */
	op->on_answer = on_moved;
	op->w->env.store->ops->aside(op->w->env.store, slot_of(s->route), &s->id, s->back ? ASIDE_BACK : ASIDE_LEASED, s->sweep.body, op_store_done, op->w, op->id);
}

static void go_on(struct op *op)
{
	struct selection *s = op->state;
	const char *text;

	op->on_answer = NULL;
	if (s->at == s->m->n_handoff_ids || arena_failed(op->arena)) {
		conclude(op);
		return;
	}
	if (s->gone) {
		leave(op, REASON_STORE_UNAVAILABLE, GONE);
		return;
	}
	text = s->m->handoff_ids[s->at];
	s->route = handoff_id_parse(slice_str(text), &s->id) ? operator_route_by_tag(op, s->m->tenant, &s->id) : NULL;
	if (!s->route) {
		leave(op, REASON_NOT_FOUND, "no such handoff");
		return;
	}
	op->on_answer = on_found;
	op->w->env.store->ops->get(op->w->env.store, slot_of(s->route), &s->id, s->back, op_store_done, op->w, op->id);
}

/* ---- what is asked for ---- */

/* NULL, or what is wrong with it. */
static const char *wrong(const pb_select *m, const char **field)
{
	bool picks = *m->route || *m->sender || *m->trace_id;

	*field = "handoff_ids";
	if (m->n_handoff_ids > IDS_MAX)
		return "handoff_ids: at most 256 of them";
	if (m->n_handoff_ids && picks)
		return "handoff_ids: ids, or a route, a sender and a trace that pick them: not both";
	if (!m->n_handoff_ids && !picks)
		return "handoff_ids: name ids, or a route, a sender or a trace";
	return NULL;
}

/* Those of one tenant. false: it was denied. */
static bool choose_routes(struct op *op, struct selection *s)
{
	const pb_select *m = s->m;
	const struct world_route **v = operator_routes(op, m->tenant, m->route, &s->sweep.n_routes);
	size_t n = s->sweep.n_routes;

	if (!v)
		operator_no_memory(op);
	else if (!n)
		operator_deny(op, REASON_NOT_FOUND, *m->route ? "route" : "tenant", "no such route, or no such tenant");
	else if (strcmp(v[0]->tenant, v[n - 1]->tenant) != 0)
		operator_deny(op, REASON_MALFORMED_ENVELOPE, "tenant", "tenant: there is more than one: name it");
	else
		s->sweep.sender = *m->sender ? store_agent_key(v[0]->tenant, m->sender) : 0;
	s->sweep.routes = v;
	return n && v && strcmp(v[0]->tenant, v[n - 1]->tenant) == 0;
}

static void prepare(struct op *op, struct selection *s)
{
	const pb_select *m = s->m;
	enum sweep_kind back = m->dry_run ? SWEEP_COUNT_BACK : SWEEP_BACK, aside = m->dry_run ? SWEEP_COUNT : SWEEP_ASIDE;

	s->sweep.kind = s->back ? back : aside;
	s->sweep.trace_id = *m->trace_id ? m->trace_id : NULL;
	s->sweep.leased = true;
	s->sweep.by_record = !s->back && !*m->trace_id;
	s->sweep.note = s->back ? "released by an operator" : "put aside by an operator"; /* for agents, too */
	s->sweep.by = op->caller->name;
	s->sweep.cause = m->reason;
	s->sweep.line = arena_printf(op->arena, "%s by %s: %s", s->back ? "released" : "put aside", op->caller->name, m->reason);
	s->sweep.then = swept;
	op->sweep = &s->sweep;
}

static bool make(struct op *op, struct selection *s)
{
	s->answer = arena_alloc(op->arena, sizeof *s->answer);
	if (!s->answer)
		return false;
	baton__v1__count_response__init(s->answer);
	s->answer->left = arena_alloc(op->arena, (s->m->n_handoff_ids + 1) * sizeof *s->answer->left);
	return s->answer->left && s->sweep.line;
}

static void begin(struct op *op, bool back)
{
	const pb_select *m = (const pb_select *)op->msg;
	struct selection *s = arena_zalloc(op->arena, sizeof *s);
	const char *field, *fault = wrong(m, &field);

	if (fault) {
		operator_deny(op, REASON_MALFORMED_ENVELOPE, field, fault);
		return;
	}
	if (!operator_reason(op, m->reason))
		return;
	if (s) {
		s->m = m;
		s->back = back;
		prepare(op, s);
	}
	if (!s || !make(op, s)) {
		operator_no_memory(op);
		return;
	}
	if (!m->n_handoff_ids && !choose_routes(op, s))
		return;
	op->state = s;
	op_rest(op); /* it judges by today's rules, step by step */
	if (m->n_handoff_ids) {
		sweep_body(op);
		go_on(op);
	} else {
		sweep_run(op);
	}
}

void quarantine_on_add(struct rpc_call *rc, struct op *op)
{
	(void)rc;
	begin(op, false);
}

void quarantine_on_release(struct rpc_call *rc, struct op *op)
{
	(void)rc;
	begin(op, true);
}
