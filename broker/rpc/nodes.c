/* How do the nodes do, and how does one go? Status and Drain of OperateService. What is known of the others is what they told the store of themselves
 * (nodereport.h); a node drains by a resource that names its run (nodes.h), so that it does so once, and another run of it never. */
#include "rpc/nodes.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "rpc/await.h"
#include "rpc/caller.h"
#include "rpc/enlist.h"
#include "rpc/fleet.h"
#include "rpc/operator.h"
#include "rpc/pipeline.h"

#define TIMEOUT_MAX_S 600
#define DRAIN_NAME_MAX (sizeof NODE_DRAIN_PREFIX + NAME_MAX_BYTES)
#define BIT(n) (UINT64_C(1) << (n))

typedef Baton__V1__NodeStatus status;
typedef Baton__V1__StatusResponse statuses;

/* Why a node is not ready, beside its own checks. */
enum lack { LACK_FENCED = HEALTH_COUNT, LACK_UNKNOWN, LACK_OTHER, LACKS };

static const char *const lack_texts[LACKS] = {[LACK_FENCED] = "fenced", [LACK_UNKNOWN] = "unknown", [LACK_OTHER] = "other"};

/* All nodes, as one op sees them. */
struct sight {
	struct fleet_node v[FLEET_MAX];
	size_t n;
	struct fleet_sight all;
	const char *drained; /* the run that has just been told to go; NULL: none */
};

struct drain {
	const Baton__V1__DrainRequest *m;
	char run[NODE_RUN_MAX + 1];
	bool here;
	uint32_t epoch;      /* of the store's data: after another one it says nothing of who has gone */
	struct store_change changes[2], lift;
	uint64_t known;      /* of lift.name: the version that this node knows */
};

/* ---- what is known ---- */

static struct slice drain_name(const char *node, char out[DRAIN_NAME_MAX])
{
	snprintf(out, DRAIN_NAME_MAX, NODE_DRAIN_PREFIX "%.*s", NAME_MAX_BYTES, node);
	return slice_str(out);
}

bool nodes_drains(const struct resource *r, const char *node, const char *run)
{
	char name[DRAIN_NAME_MAX];

	return *run && slice_eq(r->name, drain_name(node, name)) && slice_is(r->value, run);
}

static int64_t lag_ms(const struct sight *s, const struct fleet_node *v)
{
	return v->silent_ms + s->all.age_ms;
}

static bool is_silent(const struct sight *s, const struct fleet_node *v)
{
	return lag_ms(s, v) >= STORE_NODE_LEASE_MS;
}

/* A node that is heard of and does not say it a while later never heard it: the store lost it. */
static bool is_told(const struct op *op, const struct sight *s, const struct fleet_node *v)
{
	char name[DRAIN_NAME_MAX];
	const struct resource *r = resources_find(op->world->resources, drain_name(v->name, name));

	return r && nodes_drains(r, v->name, v->report.run) && (is_silent(s, v) || clock_unix_ms() - r->changed_at_ms < STORE_NODE_LEASE_MS);
}

static bool drains(const struct op *op, const struct sight *s, const struct fleet_node *v)
{
	return v->report.not_ready & BIT(HEALTH_DRAINING) || is_told(op, s, v) || (s->drained && strcmp(s->drained, v->report.run) == 0);
}

/* A bit for each check, and for each enum lack; 0: it is ready. */
static uint64_t lacks(const struct op *op, const struct sight *s, const struct fleet_node *v)
{
	uint64_t own = v->report.not_ready;

	return (own & (BIT(HEALTH_COUNT) - 1)) | (own >> HEALTH_COUNT ? BIT(LACK_OTHER) : 0) | (drains(op, s, v) ? BIT(HEALTH_DRAINING) : 0) |
	       (is_silent(s, v) ? BIT(LACK_FENCED) : 0) | (v->report.run[0] ? 0 : BIT(LACK_UNKNOWN));
}

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct fleet_node *)a)->name, ((const struct fleet_node *)b)->name);
}

/* In the arena; NULL, and the op has ended: memory is out. */
static struct sight *look(struct op *op)
{
	struct sight *s = arena_zalloc(op->arena, sizeof *s);

	if (!s) {
		operator_no_memory(op);
		return NULL;
	}
	s->n = fleet_see(op->w->env.fleet, clock_mono_ms(), s->v, &s->all);
	if (s->n > 1)
		qsort(s->v + 1, s->n - 1, sizeof *s->v, by_name);
	return s;
}

/* ---- what is shown ---- */

static void put_lacks(struct op *op, status *m, uint64_t bits)
{
	m->not_ready = arena_alloc(op->arena, LACKS * sizeof *m->not_ready);
	for (unsigned i = 0; m->not_ready && i < LACKS; i++)
		if (bits & BIT(i))
			m->not_ready[m->n_not_ready++] = (char *)(i < HEALTH_COUNT ? health_text(i) : lack_texts[i]);
}

static status *show(struct op *op, const struct sight *s, const struct fleet_node *v)
{
	status *m = arena_alloc(op->arena, sizeof *m);
	uint64_t bits = lacks(op, s, v);
	int64_t lag = lag_ms(s, v);

	if (!m)
		return NULL;
	baton__v1__node_status__init(m);
	m->node = (char *)v->name;
	m->version = (char *)v->report.version;
	m->ready = !bits;
	put_lacks(op, m, bits);
	m->peers = v->report.peers;
	m->feed_lag_ms = lag < UINT32_MAX ? (uint32_t)lag : UINT32_MAX;
	m->certificate_expires_at_ms = v->report.certificate_expires_at_ms;
	m->next_crl_expiry_ms = v->report.next_crl_expiry_ms;
	m->keys_good_until_ms = v->report.keys_good_until_ms;
	m->store_ok = !(bits & (BIT(HEALTH_STORE) | BIT(LACK_UNKNOWN)));
	m->draining = bits & BIT(HEALTH_DRAINING);
	m->started_at_ms = v->report.started_at_ms;
	return m;
}

static void answer(struct op *op, const struct sight *s, bool drained)
{
	statuses *m = arena_alloc(op->arena, sizeof *m);

	if (m) {
		baton__v1__status_response__init(m);
		m->nodes = arena_alloc(op->arena, (s->n + 1) * sizeof *m->nodes);
		for (size_t i = 0; m->nodes && i < s->n; i++)
			m->nodes[m->n_nodes++] = show(op, s, &s->v[i]);
		m->store_epoch = arena_printf(op->arena, "%u", s->all.epoch);
		m->not_shown = (uint32_t)s->all.hidden;
		m->drained = drained;
	}
	pipeline_answer(op, (ProtobufCMessage *)m); /* a denial when memory was out */
}

/* false: the op has ended. */
static bool for_all_tenants(struct op *op)
{
	struct verdict denied;

	if (caller_sees_all(op))
		return true;
	denied = caller_elsewhere(op, "nodes are no tenant's");
	pipeline_deny(op, &denied);
	return false;
}

void nodes_on_status(struct rpc_call *rc, struct op *op)
{
	const struct sight *s = for_all_tenants(op) ? look(op) : NULL;

	(void)rc;
	if (s)
		answer(op, s, false);
}

/* ---- Drain ---- */

static bool deny(struct op *op, enum reason r, const char *field, const char *message)
{
	operator_deny(op, r, field, message);
	return false;
}

/* Has this run gone? A node of that name that tells nothing may still be it. */
static bool is_gone(const struct sight *s, const struct drain *x)
{
	for (size_t i = 0; i < s->n; i++)
		if (strcmp(s->v[i].name, x->m->node) == 0 && (!s->v[i].report.run[0] || strcmp(s->v[i].report.run, x->run) == 0))
			return false;
	return true;
}

/* The store was emptied, or is an older copy: neither who is there nor whether the node hears of it is known. */
static bool is_lost(const struct sight *s, const struct drain *x)
{
	return !x->here && s->all.epoch != x->epoch;
}

static bool look_whether_gone(struct op *op)
{
	struct sight s;

	s.n = fleet_see(op->w->env.fleet, clock_mono_ms(), s.v, &s.all);
	return is_lost(&s, op->state) || is_gone(&s, op->state);
}

static void tell(struct op *op)
{
	const struct drain *x = op->state;
	struct sight *s = look(op);
	bool gone;

	if (!s)
		return;
	if (is_lost(s, x)) {
		deny(op, REASON_STORE_UNAVAILABLE, "", "the store was emptied, or failed over, meanwhile: whether the node goes is not known: look at baton node list, and ask again");
		return;
	}
	gone = is_gone(s, x);
	s->drained = x->run;
	op->audit.message = slice_str(arena_printf(op->arena, "node %s %s", x->m->node, gone ? "has gone" : x->here ? "goes" : "has not gone yet"));
	answer(op, s, gone);
}

/* Who drains itself does so once its answer is on its way. */
static void wait_for_it(struct op *op)
{
	const struct drain *x = op->state;

	if (x->here)
		tell(op);
	else
		await_nodes_look(op, UINT64_MAX, x->m->timeout_s * INT64_C(1000), look_whether_gone, tell);
}

static void not_written(struct op *op, enum store_status s)
{
	if (s == STORE_CONFLICT)
		deny(op, REASON_WRONG_STATE, "node", "somebody else drains a node at the same time, and this was not done: look at baton node list, and ask again");
	else if (s == STORE_QUOTA)
		deny(op, REASON_QUOTA_EXCEEDED, "", "the store has no room for another name: 65,536 of agents, revocations and nodes; send the node SIGTERM where it runs");
	else
		deny(op, REASON_STORE_UNAVAILABLE, "", "the store did not answer: no node hears of it before it is back, and it may carry it out then; or send the node SIGTERM where it runs");
}

static void put(struct op *op, const struct store_change *v, size_t n, void (*then)(struct op *op, const struct store_answer *a))
{
	struct store *store = op->w->env.store;

	op->on_answer = then;
	store->ops->change(store, v, n, op_store_done, op->w, op->id);
}

static void on_written(struct op *op, const struct store_answer *a);
static void lift_from(struct op *op, struct drain *x, uint64_t there);

static void on_lifted(struct op *op, const struct store_answer *a)
{
	struct drain *x = op->state;

	if (a->status == STORE_OK)
		lift_from(op, x, x->lift.version);
	else if (a->status == STORE_CONFLICT)
		lift_from(op, x, a->version); /* others lift it too */
	else
		not_written(op, a->status);
}

/* A store that was emptied, or is an older copy, has a version of before: it gets the one that nodes know, as a drain of nobody, step by step. They would not hear of
 * less, and of two who ask at once both would be done. */
static void lift_from(struct op *op, struct drain *x, uint64_t there)
{
	x->lift.version = there + 1;
	if (there < x->known)
		put(op, &x->lift, 1, on_lifted);
	else
		put(op, x->changes, 2, on_written);
}

static void on_written(struct op *op, const struct store_answer *a)
{
	struct drain *x = op->state;

	if (a->status == STORE_OK) {
		op->audit.message = slice_str(arena_printf(op->arena, "node %s drains: %s", x->m->node, x->m->reason));
		op->audit.outcome = OUTCOME_ALLOW;
		op_audit(op, "node.drain");
		wait_for_it(op);
	} else if (a->status == STORE_CONFLICT && a->at < 2 && a->version + 1 < x->changes[a->at].version) {
		x->lift = (struct store_change){.name = x->changes[a->at].name};
		x->known = x->changes[a->at].version - 1;
		lift_from(op, x, a->version);
	} else {
		not_written(op, a->status);
	}
}

static void write_down(struct op *op, struct drain *x)
{
	const char *const nodes[] = {x->m->node, ""};
	char name[DRAIN_NAME_MAX];
	size_t anew = 0;

	for (size_t i = 0; i < 2; i++) {
		const struct resource *r = resources_find(op->world->resources, drain_name(nodes[i], name));

		anew += !r;
		x->changes[i] = (struct store_change){.name = op_keep(op, drain_name(nodes[i], name)), .version = r ? r->version + 1 : 1};
	}
	x->changes[0].value = slice_str(x->run);
	if (!x->changes[0].name.n || !x->changes[1].name.n)
		operator_no_memory(op);
	else if (enlist_names_fit(op, anew, "node"))
		put(op, x->changes, 2, on_written);
}

/* The node of that name that is heard of; NULL: there is none, or more than one, or it cannot be told, and the op has ended. */
static const struct fleet_node *find(struct op *op, const struct sight *s, const char *name)
{
	const struct fleet_node *silent = NULL, *found = NULL;

	for (size_t i = 0; i < s->n; i++) {
		const struct fleet_node *v = &s->v[i];

		if (strcmp(v->name, name) != 0)
			continue;
		if (is_silent(s, v) && !drains(op, s, v)) {
			silent = v;
		} else if (found) {
			deny(op, REASON_WRONG_STATE, "node", "node: two nodes have this name: send the one that is meant SIGTERM where it runs, and give the other another name");
			return NULL;
		} else {
			found = v;
		}
	}
	if (!found && silent)
		deny(op, REASON_WRONG_STATE, "node", "node: it was not heard of for 10 seconds, and hears nothing: it has fenced itself; end it where it runs, by SIGKILL if it stands still");
	else if (!found)
		deny(op, REASON_NOT_FOUND, "node", "node: there is none of this name: baton node list shows all");
	else if (!found->report.run[0])
		deny(op, REASON_WRONG_STATE, "node", "node: it tells nothing of itself that can be read, its run neither: send it SIGTERM where it runs");
	return found && found->report.run[0] ? found : NULL;
}

/* Would anybody be served without it? More nodes than are told of are taken for ready. */
static bool may_go(struct op *op, const struct sight *s, const struct fleet_node *v)
{
	bool others = s->all.hidden || lacks(op, s, v);

	for (size_t i = 0; i < s->n && !others; i++)
		others = &s->v[i] != v && !lacks(op, s, &s->v[i]);
	return others || deny(op, REASON_WRONG_STATE, "last", "last: it is the last node that is ready, nothing would be served: say so (--last), or get another one ready first");
}

static bool well_formed(struct op *op, const Baton__V1__DrainRequest *m)
{
	if (!node_name_valid(slice_str(m->node)))
		return deny(op, REASON_MALFORMED_ENVELOPE, "node", "node: the name of a node: baton node list shows all");
	if (m->timeout_s > TIMEOUT_MAX_S)
		return deny(op, REASON_MALFORMED_ENVELOPE, "timeout_s", "timeout_s: 0 to 600");
	if (!operator_reason(op, m->reason))
		return false;
	return worker_is_fresh(op->w) || deny(op, REASON_STORE_UNAVAILABLE, "", "this node has not heard from the store for 10 seconds, and nothing was done: ask again when that is back, or send the node SIGTERM where it runs");
}

void nodes_on_drain(struct rpc_call *rc, struct op *op)
{
	const Baton__V1__DrainRequest *m = (const Baton__V1__DrainRequest *)op->msg;
	const struct fleet_node *v;
	struct sight *s;
	struct drain *x;

	(void)rc;
	if (!for_all_tenants(op) || !well_formed(op, m) || !(s = look(op)) || !(v = find(op, s, m->node)))
		return;
	x = arena_zalloc(op->arena, sizeof *x);
	if (!x) {
		operator_no_memory(op);
		return;
	}
	x->m = m;
	x->here = v == s->v;
	x->epoch = s->all.epoch;
	memcpy(x->run, v->report.run, sizeof x->run);
	op->state = x;
	if (drains(op, s, v))
		wait_for_it(op);
	else if (m->last || may_go(op, s, v))
		write_down(op, x);
}
