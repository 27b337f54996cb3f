/* How is somebody stopped in an incident, everywhere, and when is that true? Revoke and Lift of ContainmentService. A revocation is written down, which
 * each node hears of; each lives by it once nothing that began before is under way there, and one that is silent has fenced itself after 10 seconds.
 * Then every queue gets a barrier, so that a node that comes back late takes nothing in and hands nothing out, and what waits is put
 * aside. Whoever asked is told node by node; that he goes away stops nothing. */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/encode.h"
#include "base/secret.h"
#include "policy/profile.h"
#include "rpc/await.h"
#include "rpc/caller.h"
#include "rpc/contain_priv.h"
#include "rpc/pipeline.h"
#include "rpc/registered.h"

#define HERE_MS 5000
#define PATIENCE_MS 15000 /* a silent node has fenced itself after 10 s */
#define ID_BYTES (REVOKED_ID_TEXT / 2)
#define NO_SUCH "no such revocation: see `baton revocation list`"

/* ---- its end ---- */

static void tell_audit(struct op *op, const struct contain *x)
{
	const char *text = arena_printf(op->arena, "%s%s %s (%s): %u nodes confirmed, %u fenced, %u missing; %llu connections closed, %llu handoffs %s: %s", x->dry ? "(dry run) " : "",
					x->lifts ? "lifted" : "revoked", x->text, x->m->id, x->confirmed, x->fenced, x->missing, (unsigned long long)x->closed,
					(unsigned long long)x->sweep.found, x->lifts ? "released" : "put aside", x->lifts ? x->m->lift_reason : x->m->reason);

	op->audit.message = slice_str(text ? text : "");
	op->audit.outcome = OUTCOME_ALLOW;
}

static void end_release(struct op *op, bool durable)
{
	struct contain *x = op->state;
	struct rpc_call *rc = op_call(op);
	Baton__V1__RevokeProgress p = contain_progress(x);

	p.done = true;
	p.handoffs_quarantined = x->sweep.found;
	p.nodes_missing = x->missing;
	p.connections_closed = x->closed;
	revocations_unref(x->about);
	x->about = NULL;
	if (rc && durable && !x->sweep.failed && !x->bar_failed) {
		reply_send(rc, &p.base);
		call_end(rc->c, GRPC_OK, NULL, NULL, 0);
	} else if (rc) {
		reply_error(rc, REASON_STORE_UNAVAILABLE, "", x->dry ? "the store did not answer: ask again"
			    : !durable ? "it is in force, but the audit file cannot be written"
			    : "it is in force on the nodes that were named, but the store did not answer for every queue: see its log, and ask again");
	}
	op_end(op);
}

void contain_conclude(struct op *op)
{
	struct contain *x = op->state;

	tell_audit(op, x);
	if (!x->dry && !x->lifts)
		contain_say_aside(op, x);
	op_after_audit(op, op_audit(op, x->dry ? "rpc" : "revocation.confirmed"), end_release);
}

/* ---- its course ---- */

static void barred(struct op *op)
{
	struct contain *x = op->state;

	x->bar_failed = x->sweep.failed;
	x->sweep.then = contain_conclude;
	sweep_run(op);
}

/* By the store's clock, as it stands on what was put aside meanwhile. */
static void count_since(const struct op *op, struct contain *x)
{
	char name[REVOKED_NAME_MAX];
	const struct resource *r = resources_find(op->w->world->resources, revoked_name(x->m->id, name));

	if (r)
		x->sweep.since_ms = r->changed_at_ms;
}

static void nodes_live_by_it(struct op *op)
{
	struct contain *x = op->state;

	contain_look_for_missing(op);
	count_since(op, x);
	x->sweep.then = barred;
	if (!x->lifts)
		sweep_bar(op, x->generation);
	else if (x->release)
		barred(op);
	else
		contain_conclude(op);
}

void contain_drop(struct op *op)
{
	struct contain *x = op->state;

	revocations_unref(x->about);
	x->about = NULL;
}

static void on_written(struct op *op, const struct store_answer *a)
{
	struct contain *x = op->state;

	if (a->status != STORE_OK)
		contain_drop(op);
	if (a->status == STORE_OK) {
		x->generation = a->generation;
		tell_audit(op, x);
		op->audit.message = slice_str(arena_printf(op->arena, "%s %s (%s): %s", x->lifts ? "lifted" : "revoked", x->text, x->m->id, x->lifts ? x->m->lift_reason : x->m->reason));
		op_audit(op, x->lifts ? "revocation.lifted" : "revocation.made");
		await_nodes_look(op, a->generation, PATIENCE_MS, contain_look, nodes_live_by_it);
	} else if (a->status == STORE_CONFLICT && !a->version) { /* only what is lifted was there before */
		operator_deny(op, REASON_NOT_FOUND, "revocation_id", NO_SUCH);
	} else if (a->status == STORE_CONFLICT) {
		operator_deny(op, REASON_WRONG_STATE, "revocation_id", "somebody else changed it at the same time: look at it again");
	} else if (a->status == STORE_QUOTA) {
		operator_deny(op, REASON_QUOTA_EXCEEDED, "", "the store has no room for another: 65,536 names of agents and revocations; or quarantine the agent, which takes none");
	} else {
		operator_deny(op, REASON_STORE_UNAVAILABLE, "", "the store did not answer: no node hears of it before it is back, and it may carry it out then; ask again, or revoke on each node with --local");
	}
}

/* ---- this node alone ---- */

/* In this worker's world, which the others have by the next look, and nothing is under way that began before. */
static bool is_here(struct op *op)
{
	struct contain *x = op->state;
	char name[REVOKED_NAME_MAX];

	if (!resources_find(op->w->world->resources, revoked_name(x->m->id, name)))
		return false;
	for (unsigned i = 0; i < op->w->env.workers; i++)
		if (!rpc_worker_settled(op->w->env.rpc[i]))
			return false;
	return ++x->looks > 1;
}

static void lives_here(struct op *op)
{
	struct contain *x = op->state;
	struct fleet_node now[FLEET_MAX];
	size_t n = fleet_get(op->w->env.fleet, now);
	bool here = x->looks > 1;

	x->confirmed = here;
	x->missing = !here;
	if (n)
		contain_say_node(op, x, &now[0], here, here ? "" : "it has not taken it up: see its log");
	contain_conclude(op);
}

/* No other node hears of it, and no queue, until the store is back. */
static void keep_here(struct op *op, const struct contain *x, const struct store_change *c)
{
	if (!op->w->env.revoke_here || !op->w->env.revoke_here(op->w->env.arg, c->name, c->value)) {
		contain_drop(op);
		operator_no_memory(op);
		return;
	}
	op->audit.message = slice_str(arena_printf(op->arena, "revoked %s (%s) on this node: %s", x->text, x->m->id, x->m->reason));
	op_audit(op, "revocation.made");
	await_nodes_look(op, UINT64_MAX, HERE_MS, is_here, lives_here);
}

bool contain_change(struct op *op, const struct contain *x, struct slice name, uint64_t version, struct store_change *c)
{
	Baton__V1__Resource m = BATON__V1__RESOURCE__INIT;
	uint8_t *bytes;

	m.spec_case = BATON__V1__RESOURCE__SPEC_REVOCATION;
	m.revocation = x->m;
	m.reason = x->lifts ? x->m->lift_reason : x->m->reason;
	m.updated_by = x->lifts ? x->m->lifted_by : x->m->by;
	bytes = arena_alloc(op->arena, baton__v1__resource__get_packed_size(&m));
	*c = (struct store_change){.name = op_keep(op, name), .version = version + 1};
	if (bytes)
		c->value = slice_of(bytes, baton__v1__resource__pack(&m, bytes));
	return bytes && c->name.n;
}

static void write_down(struct op *op, struct contain *x)
{
	struct store *s = op->w->env.store;
	char name[REVOKED_NAME_MAX];
	struct store_change c;

	if (!contain_change(op, x, revoked_name(x->m->id, name), x->version, &c)) {
		contain_drop(op);
		operator_no_memory(op);
		return;
	}
	x->begun_ms = clock_mono_ms();
	x->n_before = fleet_get(op->w->env.fleet, x->before);
	if (x->local) {
		keep_here(op, x, &c);
		return;
	}
	op->on_answer = on_written;
	s->ops->change(s, &c, 1, op_store_done, op->w, op->id);
}

/* Which queues it is about, and how what waits there is known to be meant. false: memory is out. */
static bool prepare(struct op *op, struct contain *x)
{
	const struct world_route **inboxes;
	struct revocation v;
	bool whatever;
	const char *route;

	revoked_entry(x->m, &v);
	op->audit.tenant = slice_str(revocation_tenant(&v));
	whatever = v.issued_before_ms == INT64_MAX;
	route = v.kind == REVOKED_ROUTE ? v.what : "";
	x->about = revoked_alone(x->m);
	x->text = revoked_text(op->arena, x->m);
	x->sweep = (struct sweep){.kind = x->dry ? SWEEP_COUNT : x->lifts ? SWEEP_BACK : SWEEP_ASIDE, .about = x->about, .id = x->m->id, .since_ms = clock_unix_ms()};
	inboxes = operator_routes(op, revocation_tenant(&v), route, &x->sweep.n_routes);
	x->sweep.routes = inboxes;
	x->sweep.sender = v.kind == REVOKED_AGENT ? store_agent_key(v.within, v.what) : 0;
	x->sweep.reason = REASON_REVOKED;
	x->sweep.by_record = !x->lifts && whatever && (v.kind == REVOKED_AGENT || v.kind == REVOKED_TENANT || v.kind == REVOKED_ROUTE);
	x->sweep.note = arena_printf(op->arena, x->lifts ? "the revocation %s was lifted" : "revoked: %s", x->m->id);
	x->sweep.line = x->sweep.note;
	op->sweep = &x->sweep;
	return x->about && inboxes && x->text && x->sweep.note;
}

/* ---- Revoke ---- */

struct tool_search {
	const char *tenant, *tool;
	bool found;
};

static void search_tool(void *arg, const char *tenant, const struct profile *p)
{
	struct tool_search *s = arg;

	if (!*s->tenant || strcmp(s->tenant, tenant) == 0)
		s->found = s->found || profile_tool(p, slice_str(s->tool));
}

static bool has_tool(const struct op *op, const struct revocation *v)
{
	struct tool_search s = {v->within, v->what, false};

	registry_each_route(op->world->registry, search_tool, &s);
	return s.found;
}

static bool has_tenant(struct op *op, const char *tenant)
{
	size_t n;

	return operator_routes(op, tenant, "", &n) && n;
}

/* Who is in charge of one tenant revokes inside it alone. */
bool contain_sees(const struct op *op, const pb_revocation *m)
{
	const char *tenant;
	struct revocation v;

	revoked_entry(m, &v);
	tenant = revocation_tenant(&v);
	return *tenant ? caller_sees(op, tenant) : caller_sees_all(op);
}

/* A slip of the pen must not pass for containment. What is only known by tokens and certificates cannot be looked for. */
static const char *not_there(struct op *op, const pb_revocation *m)
{
	struct revocation v;
	char name[REGISTERED_NAME_MAX];

	revoked_entry(m, &v);
	switch (v.kind) {
	case REVOKED_AGENT:
		return registry_by_name(op->world->registry, v.within, slice_str(v.what)) || resources_find(op->world->resources, registered_name(v.within, v.what, name))
			       ? NULL : "no such agent: see `baton agent list`";
	case REVOKED_ROUTE:
		return world_route(op->world, v.within, v.what) ? NULL : "no such route: see `baton route list`";
	case REVOKED_TENANT:
		return has_tenant(op, v.what) ? NULL : "no such tenant: none has a route";
	case REVOKED_TOOL:
		return has_tool(op, &v) ? NULL : "no profile there has a tool of this name";
	default:
		return NULL;
	}
}

/* Another tenant's looks like none; what is no tenant's, he may know of. */
static void refuse_elsewhere(struct op *op, const struct revocation *v)
{
	struct verdict denied = caller_elsewhere(op, "this is revoked for all tenants");

	if (*revocation_tenant(v))
		operator_deny(op, REASON_NOT_FOUND, "target", "there is none of this name");
	else
		pipeline_deny(op, &denied);
}

/* Each is kept, those without an end for good: who is in charge of one tenant leaves room for the others'. */
static bool has_room(struct op *op, const pb_revocation *m)
{
	uint64_t max = op->world->quotas.revocations_per_tenant;
	struct revocation v;

	revoked_entry(m, &v);
	if (!max || caller_sees_all(op) || revocations_kept(op->world->revocations, revocation_tenant(&v)) < max)
		return true;
	operator_deny(op, REASON_QUOTA_EXCEEDED, "target",
		      arena_printf(op->arena, "%llu revocations are kept of tenant %s, lifted ones too, and who has his role for one tenant makes no more (limits.revocations_per_tenant): pause "
				   "the route, quarantine what waits, or ask who has the role for all tenants", (unsigned long long)max, revocation_tenant(&v)));
	return false;
}

static bool take(struct op *op, struct contain *x, const Baton__V1__RevokeRequest *asked)
{
	struct revocation v;
	const char *field = "", *wrong = revoked_wrong(asked, &field), *text;
	uint8_t id[ID_BYTES];
	char *hex = arena_alloc(op->arena, REVOKED_ID_TEXT + 1);

	x->m = arena_alloc(op->arena, sizeof *x->m);
	if (!x->m || !hex) {
		operator_no_memory(op);
		return false;
	}
	*x->m = *asked;
	wrong = wrong ? wrong : revoked_settle(op->arena, x->m, op->world->issuers, clock_unix_ms(), op->world->envelope.clock_skew_ms, &field);
	if (!wrong && x->m->until_ms && x->m->until_ms <= clock_unix_ms()) {
		field = "until_ms";
		wrong = "this time is over";
	}
	if (wrong) {
		text = arena_printf(op->arena, "%s: %s", field, wrong);
		operator_deny(op, REASON_MALFORMED_ENVELOPE, field, text ? text : wrong);
		return false;
	}
	if (!contain_sees(op, x->m)) {
		revoked_entry(x->m, &v);
		refuse_elsewhere(op, &v);
		return false;
	}
	wrong = not_there(op, x->m);
	if (wrong) {
		operator_deny(op, REASON_NOT_FOUND, "target", wrong);
		return false;
	}
	if (!x->dry && !has_room(op, x->m))
		return false;
	random_bytes(id, sizeof id);
	hex_encode(id, sizeof id, hex);
	x->m->id = hex;
	x->m->by = (char *)op->caller->name;
	x->m->at_ms = clock_unix_ms();
	x->m->lifted_by = x->m->lift_reason = (char *)"";
	x->m->lifted_at_ms = 0;
	x->m->lifted_with_release = false;
	x->m->dry_run = x->m->local = false;
	return true;
}

void contain_on_revoke(struct rpc_call *rc, struct op *op)
{
	const Baton__V1__RevokeRequest *asked = (const Baton__V1__RevokeRequest *)op->msg;
	struct contain *x;

	if (!operator_reason(op, asked->reason))
		return;
	x = arena_zalloc(op->arena, sizeof *x);
	if (!x) {
		operator_no_memory(op);
		return;
	}
	op->state = x;
	x->dry = asked->dry_run;
	x->local = asked->local;
	if (x->local && !caller_is_local(rc)) {
		operator_deny(op, REASON_WRONG_STATE, "local", "local: this is asked for on the node's own unix socket");
		return;
	}
	if (!take(op, x, asked))
		return;
	if (!prepare(op, x)) {
		contain_drop(op);
		operator_no_memory(op);
	} else if (x->dry) {
		contain_dry(op, x);
	} else {
		write_down(op, x);
	}
}

/* ---- Lift ---- */

void contain_on_lift(struct rpc_call *rc, struct op *op)
{
	const Baton__V1__LiftRequest *asked = (const Baton__V1__LiftRequest *)op->msg;
	struct contain *x;
	char name[REVOKED_NAME_MAX];
	const struct resource *r;

	(void)rc;
	if (!operator_reason(op, asked->reason))
		return;
	x = arena_zalloc(op->arena, sizeof *x);
	r = strlen(asked->revocation_id) == REVOKED_ID_TEXT ? resources_find(op->world->resources, revoked_name(asked->revocation_id, name)) : NULL;
	if (!x) {
		operator_no_memory(op);
		return;
	}
	op->state = x;
	x->m = r && !r->removed ? revoked_unpack(op->arena, r) : NULL;
	if (x->m && !contain_sees(op, x->m))
		x->m = NULL;
	if (!x->m || x->m->lifted_at_ms) {
		operator_deny(op, x->m ? REASON_WRONG_STATE : REASON_NOT_FOUND, "revocation_id",
			      x->m ? "it was lifted already" : NO_SUCH);
		return;
	}
	x->lifts = true;
	x->release = asked->release_handoffs;
	x->version = r->version;
	x->m->lifted_at_ms = clock_unix_ms();
	x->m->lifted_by = (char *)op->caller->name;
	x->m->lift_reason = (char *)asked->reason;
	x->m->lifted_with_release = asked->release_handoffs;
	if (prepare(op, x)) {
		write_down(op, x);
		return;
	}
	contain_drop(op);
	operator_no_memory(op);
}
