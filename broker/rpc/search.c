/* How is the audit looked through for an operator? The reader (observe/audit_search.h) finds, this sends, and asks for more when the call takes more. What he may see is
 * fixed when he asks: each second, and with each new world, his message goes through all gates again, and when he may see something else by then the search is
 * over. Each search is written down before it begins. */
#include "rpc/search.h"

#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "base/clock.h"
#include "baton/v1/admin.pb-c.h"
#include "observe/audit_search.h"
#include "rpc/caller.h"
#include "rpc/operator.h"
#include "rpc/pipeline.h"

#define LIMIT_DEFAULT 100
#define MESSAGE_KEPT (64u << 10)
#define JUDGE_MS 1000
#define BUSY_RETRY_MS 2000
#define MINUTE_MS 60000
#define TEXT_KEPT 4096

typedef Baton__V1__AuditQuery query;

struct search {
	struct rpc_call *rc;
	uint64_t id;                     /* the reader's; 0: it is over */
	struct buf message;              /* to be judged again */
	struct audit_scope scope;        /* by which it began */
	bool follow;
	int64_t from_ms;                 /* as asked for */
	struct audit_batch batch;
	size_t at;                       /* of its hits, the next */
	bool blocked;                    /* the call takes no more now */
	bool held;                       /* it is being judged */
	uint64_t judging;                /* the op that does, or did */
	int64_t judge_at_ms;             /* monotonic */
	struct search *prev, *next;
};

/* ---- what he may see ---- */

static void scope_add(struct audit_scope *s, const char *tenant)
{
	if (!audit_scope_has(s, tenant) && slice_copy_str(slice_str(tenant), s->tenants[s->n], sizeof s->tenants[0]))
		s->n++;
}

/* By the roles that the call needs. false: memory is out. */
static bool scope_of(const struct op *op, struct audit_scope *s)
{
	const struct caller *c = op->caller;

	*s = (struct audit_scope){.all = caller_sees_all(op), .tenants = calloc(c->n + 1, sizeof s->tenants[0])};
	for (size_t i = 0; s->tenants && i < c->n && !s->all; i++)
		if (c->v[i]->roles & c->needs)
			scope_add(s, c->v[i]->m->tenant);
	return s->tenants;
}

static bool scope_same(const struct audit_scope *a, const struct audit_scope *b)
{
	bool same = a->all == b->all && a->n == b->n;

	for (size_t i = 0; i < a->n && same; i++)
		same = audit_scope_has(b, a->tenants[i]);
	return same;
}

/* ---- what is asked ---- */

static bool wrong(struct op *op, const char *field, const char *what)
{
	const char *text = arena_printf(op->arena, "%s: %s", field, what);

	operator_deny(op, REASON_MALFORMED_ENVELOPE, field, text ? text : what);
	return false;
}

static bool is_name(const char *text)
{
	return !*text || name_valid(slice_str(text));
}

static bool is_handoff(const char *text)
{
	struct handoff_id id;

	return !*text || handoff_id_parse(slice_str(text), &id);
}

static bool is_asked_well(struct op *op, const query *m)
{
	const struct { bool ok; const char *field, *what; } rows[] = {
		{!*m->trace_id || trace_id_valid(slice_str(m->trace_id)), "trace_id", "32 hex characters, lower case"},
		{is_name(m->agent), "agent", "an agent's name, [a-z0-9][a-z0-9._-]{0,62}"},
		{is_name(m->tenant), "tenant", "a tenant's name, [a-z0-9][a-z0-9._-]{0,62}"},
		{is_handoff(m->handoff_id), "handoff_id", "no handoff has such an id"},
		{!*m->event || audit_event_known(m->event), "event", "there is no such event: batond(8), AUDIT, names them"},
		{strlen(m->tool) < sizeof ((struct audit_query *)0)->tool, "tool", "at most 128 bytes"},
		{strlen(m->subject) < sizeof ((struct audit_query *)0)->subject, "subject", "at most 1024 bytes"},
		{!m->reason || reason_info((enum reason)m->reason)->reason == (enum reason)m->reason, "reason", "there is no such reason"},
		{m->limit <= AUDIT_SEARCH_LIMIT, "limit", "1 to 1000"},
		{m->from_ms >= 0 && m->from_ms <= CLOCK_LAST_MS, "from_ms", "a time since 1970, in milliseconds"},
		{m->to_ms >= 0 && m->to_ms <= CLOCK_LAST_MS, "to_ms", "a time since 1970, in milliseconds"},
		{!m->to_ms || m->to_ms >= m->from_ms, "to_ms", "it is before from_ms"},
		{!m->to_ms || !m->follow, "to_ms", "who follows does so without end"},
	};

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
		if (!rows[i].ok)
			return wrong(op, rows[i].field, rows[i].what);
	return true;
}

static void copy(const char *from, char *to, size_t size)
{
	slice_copy_str(slice_str(from), to, size); /* it fits: is_asked_well() */
}

static void put_query(const struct op *op, const query *m, struct audit_query *q)
{
	copy(m->tenant, q->tenant, sizeof q->tenant);
	copy(m->event, q->event, sizeof q->event);
	copy(m->agent, q->agent, sizeof q->agent);
	copy(m->trace_id, q->trace_id, sizeof q->trace_id);
	copy(m->handoff_id, q->handoff_id, sizeof q->handoff_id);
	copy(m->tool, q->tool, sizeof q->tool);
	copy(m->subject, q->subject, sizeof q->subject);
	copy(m->reason ? reason_text((enum reason)m->reason) : "", q->reason, sizeof q->reason);
	copy(op->trace.span_id, q->not_span, sizeof q->not_span);
	q->from_ms = m->from_ms;
	q->to_ms = m->to_ms;
}

/* "looked for tenant acme, event decision, at most 100, and followed" */
static void tell_audit(struct op *op, const query *m, const struct audit_scope *s)
{
	const struct { const char *word, *value; } parts[] = {
		{"tenant", m->tenant}, {"event", m->event}, {"agent", m->agent}, {"subject", m->subject}, {"trace", m->trace_id}, {"handoff", m->handoff_id}, {"tool", m->tool},
		{"reason", m->reason ? reason_text((enum reason)m->reason) : ""},
	};
	char at[25];
	struct buf b;

	buf_init(&b, TEXT_KEPT);
	buf_put_str(&b, "looked for");
	for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
		if (*parts[i].value)
			buf_printf(&b, " %s %s,", parts[i].word, parts[i].value);
	if (m->from_ms) {
		clock_format_utc(m->from_ms, at);
		buf_printf(&b, " from %s,", at);
	}
	if (m->to_ms) {
		clock_format_utc(m->to_ms, at);
		buf_printf(&b, " to %s,", at);
	}
	buf_printf(&b, " at most %u%s", m->limit ? m->limit : LIMIT_DEFAULT, m->follow ? ", and followed" : "");
	op->audit.message = op_keep(op, buf_slice(&b));
	buf_clear(&b);
	if (*m->tenant && caller_sees(op, m->tenant))
		op->audit.tenant = slice_str(m->tenant);
	else if (!s->all && s->n == 1)
		op->audit.tenant = slice_str(op_str(op, slice_str(s->tenants[0])));
	op->audit.outcome = OUTCOME_ALLOW;
}

/* ---- its end ---- */

static void stop(struct search *s)
{
	audit_search_end(s->rc->w->env.audit_reader, s->id);
	s->id = 0;
}

void search_on_gone(struct rpc_call *rc)
{
	struct search *s = rc->search;

	if (!s)
		return;
	stop(s);
	rc->search = NULL;
	DL_DELETE(rc->w->searches, s);
	audit_batch_clear(&s->batch);
	buf_clear(&s->message);
	free(s->scope.tenants);
	free(s);
}

/* ---- what was found ---- */

static bool send_hit(struct search *s, const struct audit_hit *h)
{
	Baton__V1__AuditRecord m = BATON__V1__AUDIT_RECORD__INIT;

	m.seq = s->scope.all ? h->seq : 0;
	m.node = (char *)(*h->node ? h->node : s->rc->w->env.node);
	m.at_ms = h->at_ms;
	m.event = (char *)h->event;
	m.json = (ProtobufCBinaryData){h->n, s->batch.bytes.p + h->at};
	return reply_send(s->rc, &m.base);
}

/* To who sees single tenants: by the minute, and nothing of lines that are older than all he asked for, for they are anybody's. */
static int64_t looked_from(const struct search *s, int64_t from_ms)
{
	if (s->scope.all || !from_ms)
		return from_ms;
	return from_ms < s->from_ms ? s->from_ms : (from_ms / MINUTE_MS + 1) * MINUTE_MS;
}

static bool send_looked(struct search *s)
{
	static const char *const words[] = {[AUDIT_END_ALL] = "all", [AUDIT_END_LIMIT] = "limit", [AUDIT_END_BOUND] = "bound"};
	const struct audit_looked *l = &s->batch.looked;
	Baton__V1__AuditRecord m = BATON__V1__AUDIT_RECORD__INIT;
	Baton__V1__AuditLooked x = BATON__V1__AUDIT_LOOKED__INIT;

	x.end = (Baton__V1__AuditEnd)l->end;
	x.from_ms = looked_from(s, l->from_ms);
	x.bytes = s->scope.all ? l->bytes : 0;
	x.skipped = s->scope.all ? l->skipped : 0;
	m.node = (char *)s->rc->w->env.node;
	m.looked = &x;
	metrics_add(s->rc->w->env.metrics, METRIC_AUDIT_SEARCHES, words[l->end], NULL, 1);
	return reply_send(s->rc, &m.base);
}

/* Behind the last one. */
static void send_end(struct search *s)
{
	s->batch.has_looked = false;
	s->blocked = !send_looked(s);
	if (s->follow)
		return;
	stop(s);
	call_end(s->rc->c, GRPC_OK, NULL, NULL, 0);
}

static bool has_some(struct search *s)
{
	if (s->at < s->batch.n || s->batch.has_looked)
		return true;
	if (!audit_search_take(s->rc->w->env.audit_reader, s->id, &s->batch))
		return false;
	s->at = 0;
	return true;
}

static void send_on(struct search *s)
{
	while (s->id && !s->rc->closing && !s->held && !s->blocked && has_some(s)) {
		if (s->at < s->batch.n)
			s->blocked = !send_hit(s, &s->batch.hits[s->at++]);
		else
			send_end(s);
	}
}

void search_on_writable(struct rpc_call *rc)
{
	if (!rc->search)
		return;
	rc->search->blocked = false;
	send_on(rc->search);
}

void rpc_worker_audit_found(struct rpc_worker *w)
{
	struct search *s, *next;

	DL_FOREACH_SAFE(w->searches, s, next)
		send_on(s);
}

/* ---- is it still allowed ---- */

static void judge(struct search *s)
{
	struct rpc_worker *w = s->rc->w;
	const uint64_t call = s->rc->id;
	struct rpc_call *rc;
	uint64_t op;

	if (!s->id || s->rc->closing || slots_get(w->ops, s->judging))
		return;
	s->held = true;
	s->judge_at_ms = clock_mono_ms() + JUDGE_MS;
	op = pipeline_ask_again(s->rc, buf_slice(&s->message));
	rc = slots_get(w->calls, call);
	if (rc && rc->search)
		rc->search->judging = op;
}

static void judged_again(struct search *s, struct op *op)
{
	struct audit_scope now;
	bool same = scope_of(op, &now) && scope_same(&now, &s->scope);

	free(now.tenants);
	s->held = false;
	if (same) {
		op_end(op);
		send_on(s);
		return;
	}
	stop(s);
	operator_deny(op, REASON_ROLE_DENIED, "", "the roles by which this search began have changed: ask again");
}

void searches_judge(struct rpc_worker *w)
{
	struct search *s, *next;

	DL_FOREACH_SAFE(w->searches, s, next)
		judge(s);
}

void searches_tick(struct rpc_worker *w, int64_t now_ms)
{
	struct search *s, *next;

	DL_FOREACH_SAFE(w->searches, s, next)
		if (now_ms >= s->judge_at_ms)
			judge(s);
	rpc_worker_audit_found(w);
}

void searches_drain(struct rpc_worker *w)
{
	struct search *s, *next;

	DL_FOREACH_SAFE(w->searches, s, next) {
		stop(s);
		reply_error(s->rc, REASON_DRAINING, "", "this node is going away");
	}
}

/* ---- its beginning ---- */

/* Nobody looks unseen. */
static void written(struct op *op, bool durable)
{
	struct rpc_call *rc = op_call(op);

	if (rc && rc->search && durable) {
		audit_search_go(op->w->env.audit_reader, rc->search->id);
	} else if (rc && rc->search) {
		stop(rc->search);
		reply_error(rc, REASON_STORE_UNAVAILABLE, "", "the audit file cannot be written, and nobody looks through it unseen: free space on its disk, or make it writable");
	}
	op_end(op);
}

static void refuse(struct op *op, enum audit_begun why)
{
	struct verdict v;

	if (why == AUDIT_NO_MEMORY) {
		operator_no_memory(op);
		return;
	}
	if (why == AUDIT_NO_FILE) {
		operator_deny(op, REASON_WRONG_STATE, "", "this node's audit.file is no file that can be looked through now: look where what it writes to goes");
		return;
	}
	metrics_add(op->w->env.metrics, METRIC_AUDIT_SEARCHES, "refused", NULL, 1);
	v = verdict_deny(REASON_QUOTA_EXCEEDED, "", "%s", why == AUDIT_BUSY_HERE ? "a search is under way on this connection: one at a time"
			 : why == AUDIT_BUSY_TENANT ? "this node's audit is being looked through by as many as may of a tenant that you see: ask again when one of them is done"
			 : "this node's audit is being looked through by as many as may: ask again when one of them is done");
	v.retry_after_ms = BUSY_RETRY_MS;
	pipeline_deny(op, &v);
}

static void found(void *arg)
{
	struct rpc_worker *w = arg;

	w->env.audit_found(w->env.arg);
}

/* false: memory is out; search_on_gone() frees what there is. */
static bool keep(struct rpc_call *rc, struct op *op, struct search *s)
{
	s->rc = rc;
	s->follow = ((const query *)op->msg)->follow;
	s->from_ms = ((const query *)op->msg)->from_ms;
	s->judge_at_ms = clock_mono_ms() + JUDGE_MS;
	buf_init(&s->message, MESSAGE_KEPT);
	audit_batch_init(&s->batch);
	DL_APPEND(rc->w->searches, s);
	rc->search = s;
	return buf_put_slice(&s->message, op->raw) && scope_of(op, &s->scope);
}

static enum audit_begun begin(struct rpc_call *rc, struct op *op)
{
	const query *m = (const query *)op->msg;
	struct search *s = calloc(1, sizeof *s);
	struct audit_ask *ask = arena_zalloc(op->arena, sizeof *ask);

	if (!s || !ask) {
		free(s);
		return AUDIT_NO_MEMORY;
	}
	if (!keep(rc, op, s) || !scope_of(op, &ask->query.scope))
		return AUDIT_NO_MEMORY;
	put_query(op, m, &ask->query);
	ask->limit = m->limit ? m->limit : LIMIT_DEFAULT;
	ask->follow = m->follow;
	ask->connection = call_peer(rc->c)->connection;
	ask->wake = found;
	ask->arg = rc->w;
	return audit_search_begin(rc->w->env.audit_reader, ask, &s->id);
}

void search_on_message(struct rpc_call *rc, struct op *op)
{
	const query *m = (const query *)op->msg;
	enum audit_begun why;

	if (rc->search) {
		judged_again(rc->search, op);
		return;
	}
	if (op->w->draining) {
		operator_deny(op, REASON_DRAINING, "", "this node is going away: ask another");
		return;
	}
	if (!is_asked_well(op, m))
		return;
	why = op->w->env.audit_reader ? begin(rc, op) : AUDIT_NO_FILE;
	if (why != AUDIT_BEGUN) {
		refuse(op, why);
		return;
	}
	tell_audit(op, m, &rc->search->scope);
	op_rest(op);
	op_after_audit(op, op_audit(op, "rpc"), written);
}
