/* What becomes of dead-lettered work? Operators list it, look at it, put new work in its place, or let go of it. Nobody is shown a payload. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/secret.h"
#include "messaging/life.h"
#include "policy/profile.h"
#include "rpc/get.h"
#include "rpc/operator.h"
#include "rpc/pipeline.h"
#include "rpc/task.h"

#define PAGE_DEFAULT 50
#define PAGE_MAX 200
#define PAGE_BYTES (8u << 20) /* of memory: beyond it nothing more is read for this page */
#define CHUNK 16              /* read at a time: their payloads come along */
#define IDS_MAX 256
#define LOOKS_MAX 64          /* of one page: what does not open is not shown, and must not keep it for ever */
#define NONE "-"
#define TOKEN_MAX 320

static struct store_slot slot_of(const struct world_route *r)
{
	return (struct store_slot){r->tenant, r->queue};
}

static const char *id_text(struct op *op, const struct handoff_id *id)
{
	char *text = arena_alloc(op->arena, HANDOFF_ID_TEXT + 1);

	if (!text)
		return "";
	handoff_id_format(id, text);
	return text;
}

/* What operators see of an item. NULL: it does not open, or memory is out. */
static Baton__V1__Handoff *shown(struct op *op, const struct store_item *item)
{
	pb_task *t = item->status == STORE_OK ? task_unpack(op->arena, item->task) : NULL;

	return t ? get_handoff_bare(op, item, t) : NULL;
}

/* ---- list ---- */

struct listing {
	const struct world_route **routes;
	size_t n, at, page, looks;
	bool has_after;
	struct handoff_id after;
	int64_t after_ms;
	Baton__V1__ListResponse *answer;
};

static void list_on(struct op *op);

/* "tenant queue id ms": what comes next stands behind this one; id "-": the route's first. */
static char *token_of(struct op *op, const struct listing *l)
{
	const struct world_route *r = l->routes[l->at];
	char *text = arena_alloc(op->arena, TOKEN_MAX);

	if (text)
		snprintf(text, TOKEN_MAX, "%s %s %s %lld", r->tenant, r->queue, l->has_after ? id_text(op, &l->after) : NONE, (long long)l->after_ms);
	return text;
}

static bool token_take(struct listing *l, const char *token)
{
	char text[TOKEN_MAX], *save = NULL, *tenant, *queue, *id, *ms, *end;

	if (!*token)
		return true;
	if (!slice_copy_str(slice_str(token), text, sizeof text))
		return false;
	tenant = strtok_r(text, " ", &save);
	queue = strtok_r(NULL, " ", &save);
	id = strtok_r(NULL, " ", &save);
	ms = strtok_r(NULL, " ", &save);
	if (!ms || strtok_r(NULL, " ", &save))
		return false;
	l->has_after = strcmp(id, NONE) != 0;
	if (l->has_after && !handoff_id_parse(slice_str(id), &l->after))
		return false;
	l->after_ms = strtoll(ms, &end, 10);
	while (l->at < l->n && (strcmp(l->routes[l->at]->tenant, tenant) != 0 || strcmp(l->routes[l->at]->queue, queue) != 0))
		l->at++;
	return !*end && l->after_ms >= 0;
}

static void list_end(struct op *op, struct listing *l)
{
	if (l->at < l->n && !(l->answer->next_page_token = token_of(op, l)))
		operator_no_memory(op);
	else
		pipeline_answer(op, &l->answer->base);
}

static void on_listed(struct op *op, const struct store_answer *a)
{
	struct listing *l = op->state;

	if (a->status != STORE_OK) {
		operator_no_store(op);
		return;
	}
	for (size_t i = 0; i < a->n_items; i++) {
		Baton__V1__Handoff *h = shown(op, &a->items[i]);

		if (h)
			l->answer->handoffs[l->answer->n_handoffs++] = h;
		l->has_after = true;
		l->after = a->items[i].record.id;
		l->after_ms = a->items[i].record.updated_at_ms;
	}
	if (!a->more || !a->n_items) {
		l->at++;
		l->has_after = false;
	}
	list_on(op);
}

static void list_on(struct op *op)
{
	struct listing *l = op->state;
	size_t left = l->page - l->answer->n_handoffs;

	if (!op_call(op)) {
		op_end(op);
		return;
	}
	if (l->at >= l->n || !left || l->looks++ == LOOKS_MAX || (l->looks > 1 && arena_used(op->arena) > PAGE_BYTES)) {
		list_end(op, l);
		return;
	}
	op->on_answer = on_listed;
	op->w->env.store->ops->dead(op->w->env.store, slot_of(l->routes[l->at]), l->has_after ? &l->after : NULL, l->after_ms,
				    left < CHUNK ? (uint32_t)left : CHUNK, true, op_store_done, op->w, op->id);
}

void letters_on_list(struct rpc_call *rc, struct op *op)
{
	const Baton__V1__ListDeadLettersRequest *m = (const Baton__V1__ListDeadLettersRequest *)op->msg;
	struct listing *l = arena_zalloc(op->arena, sizeof *l);

	(void)rc;
	if (m->page_size > PAGE_MAX) {
		operator_deny(op, REASON_MALFORMED_ENVELOPE, "page_size", "page_size: at most 200");
		return;
	}
	if (l) {
		l->page = m->page_size ? m->page_size : PAGE_DEFAULT;
		l->routes = operator_routes(op, m->tenant, m->route, &l->n);
		l->answer = arena_alloc(op->arena, sizeof *l->answer);
	}
	if (!l || !l->routes || !l->answer) {
		operator_no_memory(op);
		return;
	}
	baton__v1__list_response__init(l->answer);
	l->answer->handoffs = arena_alloc(op->arena, l->page * sizeof *l->answer->handoffs);
	op->state = l;
	if (!l->answer->handoffs)
		operator_no_memory(op);
	else if (*m->route && !l->n)
		operator_deny(op, REASON_NOT_FOUND, "route", "no such route");
	else if (!token_take(l, m->page_token))
		operator_deny(op, REASON_MALFORMED_ENVELOPE, "page_token", "page_token: not one that ListDeadLetters gave");
	else
		list_on(op);
}

/* ---- look at one ---- */

static void on_got(struct op *op, const struct store_answer *a)
{
	Baton__V1__Handoff *h = a->status == STORE_OK && a->n_items ? shown(op, &a->items[0]) : NULL;

	if (a->status == STORE_UNAVAILABLE)
		operator_no_store(op);
	else if (!h && arena_failed(op->arena))
		operator_no_memory(op);
	else if (!h)
		operator_deny(op, REASON_NOT_FOUND, "handoff_id", a->status == STORE_UNSEALABLE ? "what is stored of it does not open" : "no such handoff");
	else
		pipeline_answer(op, &h->base);
}

void letters_on_get(struct rpc_call *rc, struct op *op)
{
	const Baton__V1__GetRequest *m = (const Baton__V1__GetRequest *)op->msg;
	const struct world_route *r = NULL;
	struct handoff_id id;

	(void)rc;
	if (handoff_id_parse(slice_str(m->handoff_id), &id))
		r = operator_route_by_tag(op, "", &id);
	if (m->with_envelope)
		operator_deny(op, REASON_MALFORMED_ENVELOPE, "with_envelope", "with_envelope: operators are not shown payloads");
	else if (!r)
		operator_deny(op, REASON_NOT_FOUND, "handoff_id", "no such handoff");
	if (m->with_envelope || !r)
		return;
	op->audit.tenant = slice_str(r->tenant);
	op->audit.route = slice_str(r->queue);
	op->audit.handoff_id = slice_str(m->handoff_id);
	op->on_answer = on_got;
	op->w->env.store->ops->get(op->w->env.store, slot_of(r), &id, true, op_store_done, op->w, op->id);
}

/* ---- replay, purge ---- */

/* One after the other; each gets its answer. */
struct sorting {
	const Baton__V1__DeadLettersRequest *m;
	size_t at;
	const struct world_route *route; /* of the present one */
	struct handoff_id id, fresh;
	uint8_t digest[SHA256_BYTES];
	pb_task *task;
	void (*begin)(struct op *op);
	Baton__V1__DeadLettersResponse *answer;
};

static void sort_on(struct op *op);

static void told(struct op *op, enum reason r, const char *message)
{
	struct sorting *s = op->state;
	Baton__V1__DeadLetter *l = s->answer->letters[s->at];

	l->reason = (Baton__V1__Reason)r;
	l->message = (char *)message;
	s->at++;
	sort_on(op);
}

static void told_status(struct op *op, const struct store_answer *a)
{
	static const struct { enum store_status status; enum reason reason; const char *message; } table[] = {
		{STORE_NOT_FOUND, REASON_NOT_FOUND, "no such handoff"},
		{STORE_WRONG_STATE, REASON_NOT_FOUND, "it is not dead-lettered, or was replayed or purged before"},
		{STORE_UNSEALABLE, REASON_NOT_FOUND, "what is stored of it does not open"},
		{STORE_QUOTA, REASON_QUOTA_EXCEEDED, "too much work waits on this route: try again later"},
	};

	for (size_t i = 0; i < sizeof table / sizeof table[0]; i++)
		if (table[i].status == a->status) {
			told(op, table[i].reason, table[i].message);
			return;
		}
	told(op, REASON_STORE_UNAVAILABLE, "the store did not answer: ask again");
}

/* One line for each, beside the one of the call. */
static void note(struct op *op, const char *event, const char *id, const char *parent, enum handoff_state state)
{
	const struct sorting *s = op->state;

	op->audit.outcome = OUTCOME_ALLOW;
	op->audit.tenant = slice_str(s->route->tenant);
	op->audit.route = slice_str(s->route->queue);
	op->audit.handoff_id = slice_str(id);
	op->audit.parent_handoff_id = slice_str(parent);
	op->audit.state = state;
	op->audit.message = slice_str(s->m->reason);
	op_audit(op, event);
}

static void on_replayed(struct op *op, const struct store_answer *a)
{
	struct sorting *s = op->state;
	Baton__V1__DeadLetter *l = s->answer->letters[s->at];

	if (a->status != STORE_OK) {
		told_status(op, a);
		return;
	}
	l->new_handoff_id = (char *)id_text(op, &s->fresh);
	op->audit.trace_id = slice_str(s->task->trace_id);
	note(op, "handoff.replayed", l->new_handoff_id, l->handoff_id, STATE_QUEUED);
	op->audit.trace_id = slice_str(op->trace.trace_id);
	metrics_add(op->w->env.metrics, METRIC_HANDOFFS, s->route->route, state_text(STATE_QUEUED), 1);
	told(op, REASON_ALLOWED, "");
}

/* The same task with as much time again, by today's rules. */
static void renew(pb_task *t, const struct profile *p, const char *of, int64_t now_ms)
{
	int64_t life = t->deadline_ms - t->accepted_at_ms;

	if (life <= 0 || life > p->max_deadline_ms)
		life = p->default_deadline_ms;
	t->deadline_ms = t->authority_until_ms = now_ms + life;
	t->accepted_at_ms = now_ms;
	t->max_attempts = p->max_attempts;
	t->accepted_state = STATE_QUEUED;
	t->replay_of = (char *)of;
}

static void on_found(struct op *op, const struct store_answer *a)
{
	struct sorting *s = op->state;
	const struct store_item *item = a->n_items ? &a->items[0] : NULL;
	struct store_accept r = {.slot = slot_of(s->route), .state = STATE_QUEUED};

	if (a->status != STORE_OK) {
		told_status(op, a);
		return;
	}
	if (!item || item->record.state != STATE_DEAD_LETTERED) {
		told(op, REASON_NOT_FOUND, "it is not dead-lettered");
		return;
	}
	s->task = task_unpack(op->arena, op_keep(op, item->task));
	if (s->task) {
		renew(s->task, s->route->profile, s->answer->letters[s->at]->handoff_id, clock_unix_ms());
		r.task = task_pack(op, s->task);
	}
	if (!r.task.n) {
		told(op, REASON_QUOTA_EXCEEDED, "out of memory");
		return;
	}
	s->fresh = s->id;
	random_bytes(s->fresh.b, sizeof s->fresh.b);
	r.id = s->fresh;
	r.sender = item->record.sender;
	r.deadline_ms = s->task->deadline_ms;
	r.priority = item->record.priority;
	r.max_attempts = (uint8_t)s->route->profile->max_attempts;
	sha256(slice_of(s->task->envelope.data, s->task->envelope.len), s->digest);
	memcpy(r.bytes_print, s->digest, sizeof r.bytes_print);
	op->on_answer = on_replayed;
	op->w->env.store->ops->replay(op->w->env.store, &r, &s->id, op_store_done, op->w, op->id);
}

static void begin_replay(struct op *op)
{
	struct sorting *s = op->state;

	op->on_answer = on_found;
	op->w->env.store->ops->get(op->w->env.store, slot_of(s->route), &s->id, true, op_store_done, op->w, op->id);
}

static void on_dropped(struct op *op, const struct store_answer *a)
{
	struct sorting *s = op->state;

	if (a->status != STORE_OK) {
		told_status(op, a);
		return;
	}
	note(op, "handoff.let_go", s->answer->letters[s->at]->handoff_id, "", STATE_DEAD_LETTERED);
	told(op, REASON_ALLOWED, "");
}

static void begin_purge(struct op *op)
{
	struct sorting *s = op->state;

	op->on_answer = on_dropped;
	op->w->env.store->ops->drop(op->w->env.store, slot_of(s->route), &s->id, op_store_done, op->w, op->id);
}

static void sort_end(struct op *op, struct sorting *s)
{
	op->audit.handoff_id = op->audit.parent_handoff_id = slice_str("");
	op->audit.tenant = op->audit.route = slice_str("");
	op->audit.state = STATE_UNSPECIFIED;
	op->audit.message = slice_str(s->m->reason);
	pipeline_answer(op, &s->answer->base);
}

static void sort_on(struct op *op)
{
	struct sorting *s = op->state;
	const char *text;

	op->on_answer = NULL;
	if (s->at == s->m->n_handoff_ids || arena_failed(op->arena)) {
		sort_end(op, s);
		return;
	}
	text = s->m->handoff_ids[s->at];
	s->route = handoff_id_parse(slice_str(text), &s->id) ? operator_route_by_tag(op, s->m->tenant, &s->id) : NULL;
	if (s->at && arena_used(op->arena) > PAGE_BYTES)
		told(op, REASON_QUOTA_EXCEEDED, "not begun: ask again for the rest");
	else if (s->route)
		s->begin(op);
	else
		told(op, REASON_NOT_FOUND, "no such handoff");
}

static bool letters_make(struct op *op, struct sorting *s)
{
	s->answer = arena_alloc(op->arena, sizeof *s->answer);
	if (!s->answer)
		return false;
	baton__v1__dead_letters_response__init(s->answer);
	s->answer->letters = arena_alloc(op->arena, s->m->n_handoff_ids * sizeof *s->answer->letters);
	for (size_t i = 0; s->answer->letters && i < s->m->n_handoff_ids; i++) {
		Baton__V1__DeadLetter *l = arena_alloc(op->arena, sizeof *l);

		if (!l)
			return false;
		baton__v1__dead_letter__init(l);
		l->handoff_id = s->m->handoff_ids[i];
		s->answer->letters[s->answer->n_letters++] = l;
	}
	return s->answer->letters;
}

static void sort_begin(struct op *op, void (*begin)(struct op *op))
{
	const Baton__V1__DeadLettersRequest *m = (const Baton__V1__DeadLettersRequest *)op->msg;
	struct sorting *s = arena_zalloc(op->arena, sizeof *s);

	if (m->n_handoff_ids < 1 || m->n_handoff_ids > IDS_MAX) {
		operator_deny(op, REASON_MALFORMED_ENVELOPE, "handoff_ids", "handoff_ids: 1 to 256 of them");
		return;
	}
	if (!operator_reason(op, m->reason))
		return;
	if (s) {
		s->m = m;
		s->begin = begin;
	}
	if (!s || !letters_make(op, s)) {
		operator_no_memory(op);
		return;
	}
	op->state = s;
	sort_on(op);
}

void letters_on_replay(struct rpc_call *rc, struct op *op)
{
	(void)rc;
	sort_begin(op, begin_replay);
}

void letters_on_purge(struct rpc_call *rc, struct op *op)
{
	(void)rc;
	sort_begin(op, begin_purge);
}
