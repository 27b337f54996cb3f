/* How does an agent serve routes? Open comes first and once: routes are checked, leases resumed, then deliveries flow within the window.
 * Reports in the stream are report.c's. */
#include "rpc/subscribe.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "base/clock.h"
#include "baton/v1/handoff.pb-c.h"
#include "policy/authorize.h"
#include "rpc/desk.h"
#include "rpc/follow.h"
#include "rpc/pipeline.h"
#include "rpc/principal.h"

#define RESUME_MAX 1000

static struct verdict check_routes(struct op *op, const Baton__V1__Open *o)
{
	if (!o->n_routes || o->n_routes > SUBSCRIBER_ROUTES_MAX)
		return verdict_deny(REASON_MALFORMED_ENVELOPE, "open.routes", "%zu routes: 1 to %d are allowed", o->n_routes, SUBSCRIBER_ROUTES_MAX);
	if (strlen(o->instance) > 64)
		return verdict_deny(REASON_MALFORMED_ENVELOPE, "open.instance", "longer than 64 bytes");
	if (o->n_resume > RESUME_MAX)
		return verdict_deny(REASON_MALFORMED_ENVELOPE, "open.resume", "%zu leases: at most %d", o->n_resume, RESUME_MAX);
	for (size_t i = 0; i < o->n_routes; i++) {
		struct slice route = slice_str(o->routes[i]);
		struct verdict v = authorize_delivery(op->agent, route, registry_route(op->world->registry, op->agent->tenant, route));

		if (!verdict_ok(&v))
			return v;
		for (size_t j = 0; j < i; j++)
			if (strcmp(o->routes[i], o->routes[j]) == 0)
				return verdict_deny(REASON_MALFORMED_ENVELOPE, "open.routes", "%.63s is named twice", o->routes[i]);
	}
	return verdict_allow();
}

static uint32_t window_of(const struct agent *a, uint32_t asked)
{
	uint32_t cap = a->max_in_flight && a->max_in_flight < WINDOW_MAX ? a->max_in_flight : WINDOW_MAX;

	return asked < cap ? asked : cap;
}

static struct subscriber *subscriber_new(struct rpc_call *rc, const struct op *op, const Baton__V1__Open *o)
{
	struct subscriber *s = calloc(1, sizeof *s);
	char queue[QUEUE_MAX_BYTES + 1];

	if (!s)
		return NULL;
	s->rc = rc;
	memcpy(s->tenant, op->agent->tenant, sizeof s->tenant);
	memcpy(s->agent, op->agent->name, sizeof s->agent);
	s->key = store_agent_key(s->tenant, s->agent);
	s->window = window_of(op->agent, o->max_in_flight ? o->max_in_flight : 1);
	for (size_t i = 0; i < o->n_routes; i++) {
		world_queue(registry_route(op->world->registry, s->tenant, slice_str(o->routes[i])), s->agent, queue);
		s->routes[i].subscriber = s;
		s->routes[i].desk = desk_get(rc->w, s->tenant, queue);
		if (!s->routes[i].desk) {
			free(s);
			return NULL;
		}
	}
	for (size_t i = 0; i < o->n_routes; i++) {
		desk_join(s->routes[i].desk, &s->routes[i]);
		metrics_add(rc->w->env.metrics, METRIC_SUBSCRIBERS, s->routes[i].desk->route, NULL, 1);
	}
	s->n_routes = o->n_routes;
	rc->subscriber = s;
	return s;
}

/* ---- opening ---- */

struct opening {
	size_t pending, n_kept;          /* extends under way; leases kept */
	struct handoff_id id[RESUME_MAX];
	uint64_t fence[RESUME_MAX];
	bool kept[RESUME_MAX];
	size_t n;
	bool begun;
	bool unknown;                    /* the store did not say whether one of them still stands */
};

struct resume {
	uint64_t opening;                /* op id */
	size_t at;
	char queue[QUEUE_MAX_BYTES + 1];
};

/* The certificate may be another one by now, so what was resumed gets its assertions anew, after Opened. */
static void assert_resumed(struct rpc_worker *w, const struct opening *g)
{
	for (size_t i = 0; i < g->n; i++) {
		struct holding *h = g->kept[i] ? holding_find(w, &g->id[i], g->fence[i]) : NULL;
		const struct profile *p = h ? registry_route(w->world->registry, h->desk->tenant, slice_str(h->desk->route)) : NULL;

		if (p && p->assertion && w->env.sign)
			h->assert_at_ms = 0;
	}
}

static void opened_release(struct op *op, bool durable)
{
	Baton__V1__BrokerFrame f = BATON__V1__BROKER_FRAME__INIT;
	Baton__V1__Opened o = BATON__V1__OPENED__INIT;
	struct opening *g = op->state;
	struct rpc_call *rc = op_call(op);
	Baton__V1__Lease **leases = arena_alloc(op->arena, (g->n + 1) * sizeof *leases);

	if (!rc || !rc->subscriber || !durable || !leases) {
		if (rc)
			reply_error(rc, REASON_STORE_UNAVAILABLE, "", "the audit file cannot be written");
		op_end(op);
		return;
	}
	for (size_t i = 0; i < g->n; i++) {
		Baton__V1__Lease *l = g->kept[i] ? arena_alloc(op->arena, sizeof *l) : NULL;

		if (!l)
			continue;
		baton__v1__lease__init(l);
		l->handoff_id = arena_alloc(op->arena, HANDOFF_ID_TEXT + 1);
		if (!l->handoff_id)
			continue;
		handoff_id_format(&g->id[i], l->handoff_id);
		l->fencing_token = g->fence[i];
		leases[o.n_resumed++] = l;
	}
	if (arena_failed(op->arena)) { /* leases that are kept would not be named: the call's end lets them lapse */
		reply_error(rc, REASON_QUOTA_EXCEEDED, "", "out of memory");
		op_end(op);
		return;
	}
	o.resumed = leases;
	o.node = (char *)op->w->env.node;
	o.max_in_flight = rc->subscriber->window;
	f.frame_case = BATON__V1__BROKER_FRAME__FRAME_OPENED;
	f.opened = &o;
	reply_send(rc, &f.base);
	rc->subscriber->open = true;
	for (size_t i = 0; i < rc->subscriber->n_routes; i++)
		if (rc->subscriber->routes[i].desk && rc->subscriber->routes[i].desk->paused)
			subscribe_paused(rc, rc->subscriber->routes[i].desk);
	assert_resumed(op->w, g);
	subscriber_pump(rc->subscriber);
	op_end(op);
}

static void opening_done(struct op *op)
{
	const struct opening *g = op->state;

	if (g->unknown) { /* who is told that it lost a lease stops working, and the lease would still stand */
		struct verdict v = verdict_deny(REASON_STORE_UNAVAILABLE, "open.resume", "whether these leases still stand is not known: open again, and resume");

		pipeline_deny(op, &v);
		return;
	}
	op->audit.outcome = OUTCOME_ALLOW;
	op_after_audit(op, op_audit(op, "rpc"), opened_release);
}

static void resumed(struct op *op, const struct store_answer *a)
{
	struct rpc_worker *w = op->w;
	struct resume *r = op->state;
	struct op *opening = slots_get(w->ops, r->opening);
	struct opening *g = opening ? opening->state : NULL;
	struct rpc_call *rc = opening ? op_call(opening) : NULL;

	if (g && a->status == STORE_UNAVAILABLE)
		g->unknown = true;
	if (g && rc && rc->subscriber && a->status == STORE_OK) {
		struct desk *d = desk_get(w, rc->subscriber->tenant, r->queue);
		const struct profile *p = registry_route(w->world->registry, rc->subscriber->tenant, queue_route(slice_str(r->queue)));
		struct verdict v = d ? subscriber_judge(rc->subscriber, d) : verdict_deny(REASON_QUOTA_EXCEEDED, "", "out of memory"); /* by today's rights */
		struct holding *h = p && verdict_ok(&v) ? holding_add(rc->subscriber, d, &g->id[r->at], g->fence[r->at]) : NULL;

		if (h) {
			holding_keep(h, p, a->record.lease_until_ms);
			change_taken(w, &h->id, h->fence, h->since_us);
			h->attempt = a->record.attempt;
			holding_limit(h, p, a->record.deadline_ms ? a->record.deadline_ms : INT64_MAX);
			g->kept[r->at] = true;
			if (!p->assertion || !w->env.sign) /* else it is read for its assertion */
				holding_read(w, h);
		}
	}
	if (g && --g->pending == 0 && g->begun)
		opening_done(opening);
	op_end(op);
}

static void resume_one(struct op *op, struct subscriber *s, const Baton__V1__Lease *l)
{
	struct opening *g = op->state;
	const struct world_route *route;
	const struct profile *p;
	struct store_extend rq;
	struct resume *r;
	struct op *sub;

	if (!handoff_id_parse(slice_str(l->handoff_id), &g->id[g->n]))
		return;
	route = world_route_of(op->world, s->tenant, &g->id[g->n]);
	p = route ? route->profile : NULL;
	if (!p || !agent_may_serve(op->agent, slice_str(route->route)))
		return;
	sub = op_new(op->w, NULL);
	r = sub ? arena_zalloc(sub->arena, sizeof *r) : NULL;
	if (!r) {
		if (sub)
			op_end(sub);
		return;
	}
	g->fence[g->n] = l->fencing_token;
	*r = (struct resume){.opening = op->id, .at = g->n++};
	memcpy(r->queue, route->queue, sizeof r->queue);
	sub->state = r;
	sub->on_answer = resumed;
	g->pending++;
	rq = (struct store_extend){.slot = {s->tenant, r->queue}, .id = g->id[r->at], .fence = l->fencing_token, .owner = s->key,
		.lease_ms = profile_hold_ms(p)};
	op->w->env.store->ops->extend(op->w->env.store, &rq, op_store_done, op->w, sub->id);
}

static void open_stream(struct rpc_call *rc, struct op *op, const Baton__V1__Open *o)
{
	struct verdict v = check_routes(op, o);
	struct opening *g = arena_zalloc(op->arena, sizeof *g);
	struct subscriber *s;

	if (verdict_ok(&v) && rc->subscriber)
		v = verdict_deny(REASON_MALFORMED_ENVELOPE, "open", "this stream is open already");
	if (verdict_ok(&v) && op->w->draining)
		v = verdict_deny(REASON_DRAINING, "", "this node is going away: connect again");
	s = verdict_ok(&v) && g ? subscriber_new(rc, op, o) : NULL;
	if (verdict_ok(&v) && !s)
		v = verdict_deny(REASON_QUOTA_EXCEEDED, "", "out of memory");
	if (!verdict_ok(&v)) {
		pipeline_deny(op, &v);
		return;
	}
	op->state = g;
	op->audit.route = slice_str(op_str(op, slice_str(o->routes[0])));
	for (size_t i = 0; i < o->n_resume; i++)
		resume_one(op, s, o->resume[i]);
	g->begun = true;
	if (!g->pending)
		opening_done(op);
}

static void flow(struct rpc_call *rc, struct op *op, const Baton__V1__Flow *f)
{
	rc->subscriber->window = window_of(op->agent, f->max_in_flight);
	subscriber_pump(rc->subscriber);
	op_end(op);
}

void subscribe_notice(struct rpc_call *rc, Baton__V1__NoticeKind kind, const char *message, int64_t at_ms)
{
	Baton__V1__BrokerFrame f = BATON__V1__BROKER_FRAME__INIT;
	Baton__V1__Notice n = reply_notice(kind, message, at_ms);

	f.frame_case = BATON__V1__BROKER_FRAME__FRAME_NOTICE;
	f.notice = &n;
	reply_send(rc, &f.base);
}

static void notice(struct rpc_call *rc, Baton__V1__NoticeKind kind, const char *message)
{
	subscribe_notice(rc, kind, message, clock_unix_ms());
}

static void unknown_frame(struct rpc_call *rc, struct op *op)
{
	(void)op;
	notice(rc, BATON__V1__NOTICE_KIND__NOTICE_KIND_UNKNOWN_FRAME, "a frame of a kind that this broker does not know was ignored");
}

void subscribe_on_message(struct rpc_call *rc, struct op *op)
{
	const Baton__V1__SubscriberFrame *f = (const Baton__V1__SubscriberFrame *)op->msg;

	if (f->frame_case == BATON__V1__SUBSCRIBER_FRAME__FRAME_OPEN) {
		open_stream(rc, op, f->open);
	} else if (!rc->subscriber) {
		struct verdict v = verdict_deny(REASON_MALFORMED_ENVELOPE, "open", "the first frame of Subscribe is open");

		pipeline_deny(op, &v);
	} else if (f->frame_case == BATON__V1__SUBSCRIBER_FRAME__FRAME_FLOW) {
		flow(rc, op, f->flow);
	} else if (f->frame_case == BATON__V1__SUBSCRIBER_FRAME__FRAME_CREDENTIAL) {
		principal_credential(rc, op, slice_str(f->credential->access_token));
	} else if (f->frame_case == BATON__V1__SUBSCRIBER_FRAME__FRAME__NOT_SET) {
		outbox_send(rc, op, unknown_frame);
	} else {
		report_handle(rc, op, &f->base);
	}
}

void report_on_message(struct rpc_call *rc, struct op *op)
{
	report_handle(rc, op, op->msg);
}

void subscribe_on_half_close(struct rpc_call *rc)
{
	(void)rc; /* deliveries keep coming; they are answered with Report */
}

void subscribe_on_writable(struct rpc_call *rc)
{
	if (rc->subscriber)
		subscriber_pump(rc->subscriber);
}

void subscribe_on_gone(struct rpc_call *rc)
{
	struct subscriber *s = rc->subscriber;

	if (!s)
		return;
	s->open = false;
	holdings_abandon(s);
	for (size_t i = 0; i < s->n_routes; i++) {
		struct desk *d = s->routes[i].desk;

		if (!d)
			continue;
		metrics_add(rc->w->env.metrics, METRIC_SUBSCRIBERS, d->route, NULL, -1);
		desk_leave(&s->routes[i]);
		desk_pump(rc->w, d);
	}
	rc->subscriber = NULL;
	free(s);
}

static void notice_draining(void *arg, uint64_t id, void *thing)
{
	struct rpc_call *rc = thing;

	(void)arg;
	(void)id;
	if (rc->subscriber)
		notice(rc, BATON__V1__NOTICE_KIND__NOTICE_KIND_DRAINING, "this node goes away: connect elsewhere and resume");
}

void subscribe_revoked(struct rpc_call *rc, const char *why)
{
	rc->subscriber->open = false;
	notice(rc, BATON__V1__NOTICE_KIND__NOTICE_KIND_REVOKED, why);
}

void subscribe_paused(struct rpc_call *rc, const struct desk *d)
{
	char text[160];

	snprintf(text, sizeof text, d->paused ? "route %s is paused: nothing is handed out until it is resumed" : "route %s is resumed", d->route);
	notice(rc, d->paused ? BATON__V1__NOTICE_KIND__NOTICE_KIND_ROUTE_PAUSED : BATON__V1__NOTICE_KIND__NOTICE_KIND_ROUTE_RESUMED, text);
}

void subscribe_drain(struct rpc_worker *w)
{
	slots_each(w->calls, notice_draining, w);
}
