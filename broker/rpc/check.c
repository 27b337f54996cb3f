/* What in the store belongs nowhere? CheckStore tells of it, RepairStore puts it right too. Route by route, place by place (store.h), then
 * the blobs of all; each call does a bounded part, and where the next goes on is its page token. What a look suspects is judged again, alone
 * and as it is then, before it is told: work goes on meanwhile. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "rpc/caller.h"
#include "rpc/idset.h"
#include "rpc/operator.h"
#include "rpc/pipeline.h"
#include "rpc/task.h"

#define QUEUED_MAX (1u << 20) /* ids of a route's queues that are remembered, up to 64 bytes each */
#define LOOKS 512             /* a call, beside those at queues */
#define FINDINGS 100          /* a call; what one look sees may come on top */

_Static_assert((int)FAULT_COUNTERS == (int)BATON__V1__STORE_FAULT__STORE_FAULT_COUNTERS, "faults have one number inside and outside");

/* By enum store_fault. */
static const char *const what[FAULTS] = {
	[FAULT_TASK] = "its task is gone",
	[FAULT_QUEUED] = "stands in no queue",
	[FAULT_SCHEDULED] = "nothing will begin it",
	[FAULT_HELD] = "is not among what is held",
	[FAULT_DEADLINE] = "nothing watches its deadline",
	[FAULT_LEASED] = "its lease has ended, and nothing will take it back",
	[FAULT_QUARANTINED] = "is not among what is quarantined",
	[FAULT_DEAD] = "is not among the dead letters, and nothing will forget it",
	[FAULT_ENDED] = "has ended, and nothing will forget it",
	[FAULT_UNLISTED] = "is not in the list of all",
	[FAULT_KEY] = "an idempotency key names it, and it is not there",
	[FAULT_IN_HELD] = "is listed as held, and is not",
	[FAULT_IN_DEAD] = "is listed as dead-lettered, and is not",
	[FAULT_IN_QUARANTINED] = "is listed as quarantined, and is not",
	[FAULT_IN_LIST] = "is in the list of all, and is not there",
	[FAULT_BLOB] = "a blob that nothing names",
	[FAULT_EVENTS] = "events of what is not there",
	[FAULT_COUNTERS] = "how much waits is not what was counted",
};

/* Where the check is; with the counts, what a page token says. */
struct place {
	size_t route;               /* in routes; n = the blobs of all */
	enum store_place place;
	uint64_t cursor;
	uint64_t seen, waiting, waiting_bytes; /* of the route's records so far */
	char mark[STORE_MARK + 1];
};

struct checking {
	const Baton__V1__CheckStoreRequest *m;
	bool repair;
	const struct world_route **routes;
	size_t n;
	struct place at;
	uint64_t records_at;        /* where to go on in the records, while queues are read */
	int64_t since_ms;           /* when that began */
	struct idset *queued;       /* NULL: not read, or too many */
	unsigned looks;
	struct store_suspect *suspects; /* of the last look, and the next of them to be judged */
	size_t n_suspects, suspect, suspects_max;
	uint64_t next;              /* where that look said to go on */
	const struct world_route *route; /* of the suspect under way */
	struct store_mend mend;
	Baton__V1__CheckStoreResponse *answer;
	size_t findings_max, gaps_max;
};

static void go_on(struct op *op);
static void judge(struct op *op);

static void out_of_memory(struct op *op)
{
	operator_no_memory(op);
}

/* Room for one more pointer. */
static bool make_room(struct op *op, void *vector, size_t n, size_t *max)
{
	void ***v = vector, **more;

	if (n < *max)
		return true;
	more = arena_alloc(op->arena, (2 * *max + 16) * sizeof *more);
	if (!more)
		return false;
	if (n)
		memcpy(more, *v, n * sizeof *more);
	*v = more;
	*max = 2 * *max + 16;
	return true;
}

/* ---- page tokens ---- */

/* "tenant queue place cursor seen waiting bytes mark"; of the blobs tenant and queue are "-". */
static char *token_of(struct op *op, const struct checking *s)
{
	const struct place *p = &s->at;
	bool blobs = p->route == s->n;

	return arena_printf(op->arena, "%s %s %u %llu %llu %llu %llu %s", blobs ? "-" : s->routes[p->route]->tenant,
			    blobs ? "-" : s->routes[p->route]->queue, (unsigned)p->place, (unsigned long long)p->cursor, (unsigned long long)p->seen,
			    (unsigned long long)p->waiting, (unsigned long long)p->waiting_bytes, p->mark[0] ? p->mark : "-");
}

static bool take_number(char **save, uint64_t max, uint64_t *out)
{
	const char *text = strtok_r(NULL, " ", save);
	char *end;

	if (!text || *text < '0' || *text > '9')
		return false;
	*out = strtoull(text, &end, 10);
	return !*end && *out <= max;
}

static bool token_take(struct checking *s, const char *token)
{
	const uint64_t most = UINT64_MAX >> 1;
	char text[448], *save = NULL, *tenant, *queue, *mark;
	struct place *p = &s->at;
	uint64_t place;

	if (!*token)
		return true;
	if (!slice_copy_str(slice_str(token), text, sizeof text))
		return false;
	tenant = strtok_r(text, " ", &save);
	queue = strtok_r(NULL, " ", &save);
	if (!queue || !take_number(&save, PLACE_BLOBS, &place) || !take_number(&save, most, &p->cursor) || !take_number(&save, most, &p->seen) ||
	    !take_number(&save, most, &p->waiting) || !take_number(&save, most, &p->waiting_bytes))
		return false;
	mark = strtok_r(NULL, " ", &save);
	if (!mark || strtok_r(NULL, " ", &save) || !slice_copy_str(slice_str(mark), p->mark, sizeof p->mark))
		return false;
	p->place = (enum store_place)place;
	while (p->route < s->n && (strcmp(s->routes[p->route]->tenant, tenant) != 0 || strcmp(s->routes[p->route]->queue, queue) != 0))
		p->route++;
	return (p->route == s->n) == (strcmp(tenant, "-") == 0) && (p->route == s->n) == (p->place == PLACE_BLOBS) &&
	       (p->place == PLACE_COUNTERS || p->place >= PLACE_RECORDS);
}

/* ---- what is told ---- */

static bool add_finding(struct op *op, struct checking *s, enum handoff_state state, bool repaired)
{
	Baton__V1__StoreFinding *f = arena_alloc(op->arena, sizeof *f);
	char *id = arena_zalloc(op->arena, HANDOFF_ID_TEXT + 1);

	if (!f || !id || !make_room(op, &s->answer->findings, s->answer->n_findings, &s->findings_max))
		return false;
	if (s->mend.fault != FAULT_COUNTERS)
		handoff_id_format(&s->mend.id, id);
	baton__v1__store_finding__init(f);
	f->tenant = (char *)s->route->tenant;
	f->route = (char *)s->route->queue;
	f->fault = (Baton__V1__StoreFault)s->mend.fault;
	f->handoff_id = id;
	f->state = (Baton__V1__HandoffState)state;
	f->what = (char *)what[s->mend.fault];
	f->repaired = repaired;
	s->answer->findings[s->answer->n_findings++] = f;
	return true;
}

static bool add_gap(struct op *op, struct checking *s, const char *text)
{
	Baton__V1__StoreGap *g = arena_alloc(op->arena, sizeof *g);

	if (!g || !make_room(op, &s->answer->gaps, s->answer->n_gaps, &s->gaps_max))
		return false;
	baton__v1__store_gap__init(g);
	g->tenant = (char *)s->routes[s->at.route]->tenant;
	g->route = (char *)s->routes[s->at.route]->queue;
	g->what = (char *)text;
	s->answer->gaps[s->answer->n_gaps++] = g;
	return true;
}

/* One line for each repair, beside the one of the call. */
static void note(struct op *op, const struct checking *s, const struct store_answer *a)
{
	const struct audit_record call = op->audit;
	char id[HANDOFF_ID_TEXT + 1] = "", text[768];

	if (s->mend.fault != FAULT_COUNTERS)
		handoff_id_format(&s->mend.id, id);
	snprintf(text, sizeof text, "%s: %s", what[s->mend.fault], s->m->reason);
	op->audit.outcome = OUTCOME_ALLOW;
	op->audit.tenant = slice_str(s->route->tenant);
	op->audit.route = slice_str(s->route->queue);
	op->audit.handoff_id = slice_str(id);
	op->audit.state = a->record.state;
	op->audit.message = slice_str(text);
	op_audit(op, "store.repaired");
	op->audit = call;
}

static void end(struct op *op, struct checking *s, bool over)
{
	op->on_answer = NULL;
	if (s->repair)
		op->audit.message = slice_str(s->m->reason);
	if (over)
		pipeline_answer(op, &s->answer->base);
	else if ((s->answer->next_page_token = token_of(op, s)))
		pipeline_answer(op, &s->answer->base);
	else
		out_of_memory(op);
}

/* ---- one suspect ---- */

static void on_mended(struct op *op, const struct store_answer *a)
{
	struct checking *s = op->state;
	bool fits = true;

	if (a->status == STORE_OK && a->repaired)
		note(op, s, a);
	if (a->status == STORE_OK)
		fits = add_finding(op, s, a->record.state, a->repaired);
	else if (a->status == STORE_WRONG_STATE)
		fits = add_gap(op, s, "what waits could not be counted: work moved meanwhile");
	if (a->status == STORE_UNAVAILABLE)
		operator_no_store(op);
	else if (!fits)
		out_of_memory(op);
	else
		judge(op);
}

static void send_mend(struct op *op, struct checking *s)
{
	s->mend.slot = (struct store_slot){s->route->tenant, s->route->queue};
	s->mend.repair = s->repair;
	op->on_answer = on_mended;
	op->w->env.store->ops->mend(op->w->env.store, &s->mend, &op->w->env.slot_limits, op_store_done, op->w, op->id);
}

/* When it was to begin stands in its envelope alone. What does not open is quarantined by the asking. */
static void on_task(struct op *op, const struct store_answer *a)
{
	struct checking *s = op->state;
	pb_task *t = a->status == STORE_OK && a->n_items ? task_unpack(op->arena, a->items[0].task) : NULL;
	pb_envelope *e = t ? task_unpack_envelope(op->arena, t) : NULL;

	if (a->status == STORE_UNAVAILABLE)
		operator_no_store(op);
	else if (!e && arena_failed(op->arena))
		out_of_memory(op);
	else if (!e)
		judge(op);
	else {
		s->mend.due_ms = e->start_at_ms > 0 ? e->start_at_ms : 0;
		send_mend(op, s);
	}
}

/* The route of a suspect among those that are checked; NULL: none of them. */
static const struct world_route *route_of(const struct checking *s, const struct store_suspect *x)
{
	if (s->at.route < s->n)
		return s->routes[s->at.route];
	for (size_t i = 0; i < s->n; i++)
		if (strcmp(s->routes[i]->tenant, x->tenant) == 0 && strcmp(s->routes[i]->queue, x->route) == 0)
			return s->routes[i];
	return NULL;
}

/* A queued one is none when it stands in a queue, or when that was not looked at. */
static bool is_suspect(const struct checking *s, const struct store_suspect *x)
{
	return x->fault != FAULT_QUEUED || (s->queued && !idset_has(s->queued, x->id.b));
}

static void take_suspect(struct checking *s, const struct store_suspect *x)
{
	const struct place *p = &s->at;

	s->mend = (struct store_mend){.fault = x->fault, .id = x->id};
	memcpy(s->mend.key, x->key, sizeof s->mend.key);
	if (x->fault != FAULT_COUNTERS)
		return;
	s->mend.seen = p->seen;
	s->mend.waiting = p->waiting;
	s->mend.waiting_bytes = p->waiting_bytes;
	s->mend.mark = p->mark;
}

static void advance(struct checking *s);

/* The next of them; when there is none left, the next look. */
static void judge(struct op *op)
{
	struct checking *s = op->state;

	if (!op_call(op)) {
		op_end(op);
		return;
	}
	for (; s->suspect < s->n_suspects; s->suspect++) {
		const struct store_suspect *x = &s->suspects[s->suspect];

		s->route = route_of(s, x);
		if (!s->route || !is_suspect(s, x))
			continue;
		s->suspect++;
		take_suspect(s, x);
		if (x->fault != FAULT_SCHEDULED || !s->repair) {
			send_mend(op, s);
			return;
		}
		op->on_answer = on_task;
		op->w->env.store->ops->get(op->w->env.store, (struct store_slot){s->route->tenant, s->route->queue}, &x->id, true, op_store_done,
					   op->w, op->id);
		return;
	}
	advance(s);
	go_on(op);
}

/* ---- one look ---- */

/* Before the records: their queues, unless there is too much in them. */
static bool begin_records(struct op *op, struct checking *s, const struct store_look *l)
{
	struct place *p = &s->at;

	s->since_ms = l->now_ms;
	s->queued = l->seen <= QUEUED_MAX ? idset_new(op->arena, l->seen + l->seen / 4 + 1024) : NULL;
	if (!s->records_at) {
		p->seen = p->waiting = p->waiting_bytes = 0;
		memcpy(p->mark, l->mark, sizeof p->mark);
		if (!s->queued && !add_gap(op, s, "more is queued than is remembered: which of it stands in no queue was not judged"))
			return false;
	}
	p->place = s->queued ? PLACE_QUEUE : PLACE_RECORDS;
	p->cursor = s->queued ? 0 : s->records_at;
	return true;
}

/* Where this call goes on after what it saw. */
static void advance(struct checking *s)
{
	struct place *p = &s->at;

	p->cursor = s->next;
	if (s->next)
		return;
	if (p->place == PLACE_RECORDS - 1)
		p->cursor = s->records_at;
	if (p->place < PLACE_BLOBS)
		p->place++;
	if (p->place == PLACE_BLOBS && p->route < s->n) {
		*p = (struct place){.route = p->route + 1};
		p->place = p->route == s->n ? PLACE_BLOBS : PLACE_COUNTERS;
		s->records_at = 0;
		s->queued = NULL;
	} else if (p->place == PLACE_BLOBS) {
		p->route++; /* past the blobs: the end */
	}
}

/* Once all records were seen, the counters are one more. */
static bool keep_suspects(struct op *op, struct checking *s, const struct store_look *l)
{
	size_t n = l->n_suspects + 1;

	s->suspect = s->n_suspects = 0;
	if (n > s->suspects_max) {
		s->suspects = arena_alloc(op->arena, n * sizeof *s->suspects);
		s->suspects_max = s->suspects ? n : 0;
	}
	if (!s->suspects)
		return false;
	if (l->n_suspects)
		memcpy(s->suspects, l->suspects, l->n_suspects * sizeof *s->suspects);
	s->n_suspects = l->n_suspects;
	if (s->at.place == PLACE_RECORDS && !l->next)
		s->suspects[s->n_suspects++] = (struct store_suspect){.fault = FAULT_COUNTERS};
	return true;
}

static void add_records(struct checking *s, const struct store_look *l)
{
	s->at.seen += l->seen;
	s->at.waiting += l->waiting;
	s->at.waiting_bytes += l->waiting_bytes;
	s->answer->records += l->seen;
}

static bool take_look(struct op *op, struct checking *s, const struct store_look *l)
{
	s->next = l->next;
	s->answer->skipped += l->stale;
	if (s->at.place == PLACE_RECORDS)
		add_records(s, l);
	for (size_t i = 0; s->queued && i < l->ids.n; i += HANDOFF_ID_BYTES)
		idset_add(s->queued, l->ids.p + i); /* one that has no room is judged by itself */
	return keep_suspects(op, s, l);
}

static void on_looked(struct op *op, const struct store_answer *a)
{
	struct checking *s = op->state;
	bool first = s->at.place == PLACE_COUNTERS;

	if (a->status != STORE_OK)
		operator_no_store(op);
	else if (!(first ? begin_records(op, s, a->look) : take_look(op, s, a->look)))
		out_of_memory(op);
	else if (first)
		go_on(op);
	else
		judge(op);
}

/* A page ends where the next call can go on: not among the queues, which are read anew for each part of the records. */
static bool is_full(const struct checking *s)
{
	return (s->at.place == PLACE_COUNTERS || s->at.place >= PLACE_RECORDS) && (s->looks >= LOOKS || s->answer->n_findings >= FINDINGS);
}

static void go_on(struct op *op)
{
	struct checking *s = op->state;
	const struct world_route *r;

	if (!op_call(op)) {
		op_end(op);
		return;
	}
	if (!s->n || s->at.route > s->n || is_full(s)) {
		end(op, s, !s->n || s->at.route > s->n);
		return;
	}
	r = s->routes[s->at.route < s->n ? s->at.route : 0];
	s->looks += s->at.place >= PLACE_RECORDS;
	op->on_answer = on_looked;
	op->w->env.store->ops->look(op->w->env.store, (struct store_slot){r->tenant, r->queue}, s->at.place, s->at.cursor, s->since_ms,
				    &op->w->env.slot_limits, op_store_done, op->w, op->id);
}

static void begin(struct op *op, bool repair)
{
	struct checking *s = arena_zalloc(op->arena, sizeof *s);
	const struct verdict elsewhere = caller_elsewhere(op, "without a tenant all of the store is looked at");

	if (!*((const Baton__V1__CheckStoreRequest *)op->msg)->tenant && !caller_sees_all(op)) {
		pipeline_deny(op, &elsewhere);
		return;
	}
	if (s) {
		s->m = (const Baton__V1__CheckStoreRequest *)op->msg;
		s->repair = repair;
		s->routes = operator_routes(op, s->m->tenant, s->m->route, &s->n);
		s->answer = arena_alloc(op->arena, sizeof *s->answer);
	}
	if (!s || !s->routes || !s->answer) {
		out_of_memory(op);
		return;
	}
	baton__v1__check_store_response__init(s->answer);
	op->state = s;
	op_rest(op); /* lets nobody in and hands nothing out: a revocation need not wait for it */
	if (!s->n && (*s->m->route || *s->m->tenant)) {
		operator_deny(op, REASON_NOT_FOUND, "route", "no such route, or no such tenant");
	} else if (!token_take(s, s->m->page_token)) {
		operator_deny(op, REASON_MALFORMED_ENVELOPE, "page_token", "page_token: not one that this call gave");
	} else {
		if (s->at.place == PLACE_RECORDS) {
			s->records_at = s->at.cursor;
			s->at.place = PLACE_COUNTERS;
		}
		go_on(op);
	}
}

void check_on_check(struct rpc_call *rc, struct op *op)
{
	(void)rc;
	begin(op, false);
}

void check_on_repair(struct rpc_call *rc, struct op *op)
{
	const Baton__V1__CheckStoreRequest *m = (const Baton__V1__CheckStoreRequest *)op->msg;

	(void)rc;
	if (operator_reason(op, m->reason))
		begin(op, true);
}
