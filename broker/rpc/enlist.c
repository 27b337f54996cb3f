/* How does an agent come into the registry, change there and leave? Apply and Delete of ResourceService: everything is judged first, then written in one
 * call of the store, all or none; the answer says which nodes live by it. What is said of role bindings in such a call, roles.c judges. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/secret.h"
#include "base/words.h"
#include "policy/profile.h"
#include "rpc/await.h"
#include "rpc/caller.h"
#include "rpc/enlist.h"
#include "rpc/fleet.h"
#include "rpc/operator.h"
#include "rpc/pipeline.h"
#include "rpc/registered.h"
#include "rpc/specdiff.h"

#define PATIENCE_MS 5000      /* then the answer says who is missing */
#define DIFF_MAX 16384
#define AUDIT_TEXT_MAX 4096
#define TAKEN "it is that of another agent" /* whose it is, an operator of one tenant is not told */

bool enlist_deny(struct op *op, enum reason r, size_t i, const char *field, const char *what)
{
	const char *text = arena_printf(op->arena, "resources[%zu].%s: %s", i, field, what);

	operator_deny(op, r, field, text ? text : what);
	return false;
}

/* ---- what is there ---- */

static bool look_up(struct op *op, const Baton__V1__AgentSpec *s, struct entry *e, size_t i, bool anew)
{
	char text[REGISTERED_NAME_MAX];
	const struct resource *r = resources_find(op->world->resources, registered_name(s->tenant, s->name, text));

	*e = (struct entry){.kind = "agent", .tenant = s->tenant, .name = s->name, .version = r ? r->version : 0, .before = r && !r->removed ? agents_resource(op, r) : NULL};
	if (e->before && anew && e->before->agent->status == BATON__V1__AGENT_STATUS__AGENT_STATUS_RETIRED)
		e->before = NULL;
	if (!e->before && registry_by_name(op->world->registry, s->tenant, slice_str(s->name)))
		return enlist_deny(op, REASON_WRONG_STATE, i, "agent.name", "the agent stands in the configuration file: it is static, and changes there alone");
	return true;
}

bool enlist_check_version(struct op *op, const char *version, const struct entry *e, size_t i)
{
	bool role = e->role;

	if (!e->before && *version)
		return enlist_deny(op, REASON_NOT_FOUND, i, "version", role ? "there is no such role binding: leave version out to make it"
					: "there is no such agent: leave version out to register it");
	if (e->before && !*version)
		return enlist_deny(op, REASON_WRONG_STATE, i, role ? "role.name" : "agent.name", role ? "the role binding is there already: give its version to change it"
					: "the agent is registered already: give its version to change it");
	if (e->before && strcmp(version, e->before->version) != 0)
		return enlist_deny(op, REASON_WRONG_STATE, i, "version",
			    arena_printf(op->arena, "it is %s by now, not %.40s: somebody else changed it; look at it again", e->before->version, version));
	return true;
}

static bool check_retired(struct op *op, const struct entry *e, size_t i)
{
	if (e->before && e->before->agent->status == BATON__V1__AGENT_STATUS__AGENT_STATUS_RETIRED)
		return enlist_deny(op, REASON_WRONG_STATE, i, "agent.status", "the agent was retired, which cannot be undone: register it anew, without a version");
	return true;
}

/* ---- what it shall be ---- */

/* Inboxes are known by a tag of their names, and one in some thousand million pairs has the same. */
static bool check_queue(struct op *op, size_t i, const char *field, const char *tenant, const char *queue)
{
	struct handoff_id id;
	const struct world_route *there;

	handoff_route_tag(tenant, queue, id.tag);
	there = world_route_of(op->world, tenant, &id);
	if (!there && HASH_COUNT(op->world->routes) >= QUEUES_MAX)
		return enlist_deny(op, REASON_QUOTA_EXCEEDED, i, field, "there are as many queues as a store keeps apart: 16384 routes and inboxes of broadcasts");
	if (!there || strcmp(there->queue, queue) == 0)
		return true;
	return enlist_deny(op, REASON_WRONG_STATE, i, field, arena_printf(op->arena, "the inbox %s has the tag of %s: give the agent another name", queue, there->queue));
}

/* It had this route before: nobody is kept from taking other rights away because one of the routes is gone. */
static bool stands(const struct entry *e, const char *route, bool serves)
{
	const Baton__V1__AgentSpec *was = e->before ? e->before->agent : NULL;
	size_t n = !was ? 0 : serves ? was->n_may_serve : was->n_may_call;

	for (size_t i = 0; i < n; i++)
		if (strcmp(route, serves ? was->may_serve[i] : was->may_call[i]) == 0)
			return true;
	return false;
}

static bool check_route(struct op *op, const struct entry *e, size_t i, const char *field, const char *route, bool serves)
{
	const char *tenant = e->spec->tenant;
	const struct profile *p = registry_route_of_any(op->world->registry, tenant, slice_str(route));
	const struct world_route *r = world_route(op->world, tenant, route);
	char queue[QUEUE_MAX_BYTES + 1];

	if (!p)
		return enlist_deny(op, REASON_NOT_FOUND, i, field, arena_printf(op->arena, "tenant %s has no route %s: add its profile first", tenant, route));
	if (!serves || !p->broadcast)
		return true;
	world_queue(p, e->spec->name, queue);
	if (r && r->n_inboxes + i >= INBOXES_MAX && !world_route(op->world, tenant, queue)) /* i: those before it in this call */
		return enlist_deny(op, REASON_QUOTA_EXCEEDED, i, field, arena_printf(op->arena, "%s is a broadcast, and %d agents may serve it already", route, INBOXES_MAX));
	return check_queue(op, i, field, tenant, queue);
}

static bool check_routes(struct op *op, const struct entry *e, size_t i, const char *field, char *const *v, size_t n, bool serves)
{
	bool back = e->before && e->before->agent->status != e->spec->status && e->spec->status == BATON__V1__AGENT_STATUS__AGENT_STATUS_ACTIVE;

	for (size_t k = 0; k < n; k++) {
		bool there = registry_route_of_any(op->world->registry, e->spec->tenant, slice_str(v[k]));

		if ((!stands(e, v[k], serves) || (back && there)) && !check_route(op, e, i, field, v[k], serves))
			return false;
	}
	return true;
}

/* A SPIFFE id names one agent. */
static bool check_id(struct op *op, const struct entry *e, size_t i)
{
	bool active = e->spec->status == BATON__V1__AGENT_STATUS__AGENT_STATUS_ACTIVE, same = e->before && strcmp(e->before->agent->spiffe_id, e->spec->spiffe_id) == 0;
	const struct agent *other = registry_by_spiffe(op->world->registry, e->spec->spiffe_id);
	const struct resource *claim;
	char text[REGISTERED_ID_MAX], own[REGISTERED_NAME_MAX];

	if (same && !active)
		return true;
	if (other && (strcmp(other->name, e->spec->name) != 0 || strcmp(other->tenant, e->spec->tenant) != 0))
		return enlist_deny(op, REASON_WRONG_STATE, i, "agent.spiffe_id", !caller_sees(op, other->tenant) ? TAKEN :
				   arena_printf(op->arena, "it is that of agent %s of tenant %s", other->name, other->tenant));
	claim = resources_find(op->world->resources, registered_id_name(e->spec->spiffe_id, text));
	if (claim && !claim->removed && !slice_eq(claim->value, registered_name(e->spec->tenant, e->spec->name, own)))
		return enlist_deny(op, REASON_WRONG_STATE, i, "agent.spiffe_id", !caller_sees_all(op) ? TAKEN :
				   arena_printf(op->arena, "it is that of %.*s", (int)claim->value.n, (const char *)claim->value.p));
	return true;
}

static char *new_uuid(struct arena *a)
{
	uint8_t b[16];

	random_bytes(b, sizeof b);
	b[6] = (uint8_t)(0x40 | (b[6] & 0x0f)); /* RFC 9562, 5.4 */
	b[8] = (uint8_t)(0x80 | (b[8] & 0x3f));
	return arena_printf(a, "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7], b[8],
			    b[9], b[10], b[11], b[12], b[13], b[14], b[15]);
}

/* What the broker gives, whatever was sent. false: memory is out. */
static bool complete(struct op *op, struct entry *e)
{
	const Baton__V1__AgentSpec *was = e->before ? e->before->agent : NULL;
	Baton__V1__AgentSpec *s = e->spec;

	s->uuid = was ? was->uuid : new_uuid(op->arena);
	s->registered_at_ms = was ? was->registered_at_ms : clock_unix_ms();
	if (s->status == BATON__V1__AGENT_STATUS__AGENT_STATUS_UNSPECIFIED)
		s->status = was ? was->status : BATON__V1__AGENT_STATUS__AGENT_STATUS_ACTIVE;
	return s->uuid;
}

static const char *action_of(const struct entry *e)
{
	const Baton__V1__AgentSpec *was = e->before ? e->before->agent : NULL;

	if (!was)
		return "registered";
	if (was->status == e->spec->status)
		return "updated";
	return e->spec->status == BATON__V1__AGENT_STATUS__AGENT_STATUS_RETIRED ? "retired"
		: e->spec->status == BATON__V1__AGENT_STATUS__AGENT_STATUS_QUARANTINED ? "quarantined" : "released";
}

/* By their bytes: a text for people need not show every difference. */
static bool same(struct op *op, const ProtobufCMessage *a, const ProtobufCMessage *b)
{
	size_t n = protobuf_c_message_get_packed_size(a), m = protobuf_c_message_get_packed_size(b);
	uint8_t *x = arena_alloc(op->arena, n + 1), *y = arena_alloc(op->arena, m + 1);

	if (!x || !y || n != m)
		return false;
	protobuf_c_message_pack(a, x);
	protobuf_c_message_pack(b, y);
	return memcmp(x, y, n) == 0;
}

bool enlist_compare(struct op *op, struct entry *e, const ProtobufCMessage *was, const ProtobufCMessage *is, const char *action)
{
	struct buf b;

	buf_init(&b, DIFF_MAX);
	specdiff(was, is, &b);
	e->diff = arena_strndup(op->arena, b.p, b.n);
	e->action = was && same(op, was, is) ? NULL : action;
	buf_clear(&b);
	return e->diff;
}

static bool compare(struct op *op, struct entry *e)
{
	return enlist_compare(op, e, e->before ? &e->before->agent->base : NULL, &e->spec->base, action_of(e));
}

/* ---- what is written ---- */

void enlist_add(struct enlist *x, struct slice name, uint64_t version, bool removed, struct slice value)
{
	x->changes[x->n_changes++] = (struct store_change){.name = name, .version = version, .removed = removed, .value = value};
}

bool enlist_pack(struct op *op, const struct enlist *x, Baton__V1__Resource *m, struct slice *out)
{
	size_t n;
	uint8_t *bytes;

	m->reason = (char *)x->reason;
	m->updated_by = (char *)op->caller->name;
	n = baton__v1__resource__get_packed_size(m);
	bytes = arena_alloc(op->arena, n);
	if (bytes)
		*out = slice_of(bytes, baton__v1__resource__pack(m, bytes));
	return bytes;
}

static void add_claim(struct op *op, struct enlist *x, const char *spiffe_id, struct slice whose, bool removed)
{
	char text[REGISTERED_ID_MAX];
	struct slice name = registered_id_name(spiffe_id, text);
	const struct resource *r = resources_find(op->world->resources, name);

	if (!r || r->removed != removed)
		enlist_add(x, op_keep(op, name), r ? r->version + 1 : 1, removed, whose);
}

/* false: memory is out. */
static bool write_down(struct op *op, struct enlist *x, struct entry *e)
{
	Baton__V1__Resource m = BATON__V1__RESOURCE__INIT;
	bool stays = e->spec->status != BATON__V1__AGENT_STATUS__AGENT_STATUS_RETIRED;
	char text[REGISTERED_NAME_MAX];
	struct slice name = op_keep(op, registered_name(e->spec->tenant, e->spec->name, text)), bytes;

	m.spec_case = BATON__V1__RESOURCE__SPEC_AGENT;
	m.agent = e->spec;
	if (!name.n || !enlist_pack(op, x, &m, &bytes))
		return false;
	enlist_add(x, name, e->version + 1, false, bytes);
	if (e->before && (!stays || strcmp(e->before->agent->spiffe_id, e->spec->spiffe_id) != 0))
		add_claim(op, x, e->before->agent->spiffe_id, name, true);
	if (stays)
		add_claim(op, x, e->spec->spiffe_id, name, false);
	return !arena_failed(op->arena);
}

/* Two of a call for one name, or for one id. */
static bool check_twice(struct op *op, const struct enlist *x)
{
	for (size_t i = 0; i < x->n_changes; i++)
		for (size_t j = 0; j < i; j++)
			if (slice_eq(x->changes[i].name, x->changes[j].name)) {
				operator_deny(op, REASON_MALFORMED_ENVELOPE, "resources", "resources: two of them are for the same agent, role binding or SPIFFE id");
				return false;
			}
	return true;
}

/* ---- the answer ---- */

static bool put_changes(struct op *op, const struct enlist *x, Baton__V1__ApplyResponse *m)
{
	m->changes = arena_alloc(op->arena, (x->n + 1) * sizeof *m->changes);
	for (size_t i = 0; m->changes && i < x->n; i++) {
		const struct entry *e = &x->v[i];
		Baton__V1__Change *c = arena_alloc(op->arena, sizeof *c);
		Baton__V1__ResourceRef *ref = arena_alloc(op->arena, sizeof *ref);

		if (!c || !ref)
			return false;
		baton__v1__change__init(c);
		baton__v1__resource_ref__init(ref);
		ref->kind = (char *)e->kind;
		ref->tenant = (char *)e->tenant;
		ref->name = (char *)e->name;
		c->ref = ref;
		c->action = (char *)(e->action ? e->action : "unchanged");
		c->diff = (char *)e->diff;
		c->version = arena_printf(op->arena, "%llu", (unsigned long long)(e->version + (e->action && !x->dry)));
		m->changes[m->n_changes++] = c;
	}
	return m->changes;
}

static bool put_nodes(struct op *op, const struct enlist *x, Baton__V1__ApplyResponse *m)
{
	struct fleet_node *v = arena_alloc(op->arena, FLEET_MAX * sizeof *v);
	size_t n = v ? fleet_get(op->w->env.fleet, v) : 0;

	m->nodes = arena_alloc(op->arena, (n + 1) * sizeof *m->nodes);
	for (size_t i = 0; m->nodes && i < n; i++) {
		Baton__V1__NodeState *s = arena_alloc(op->arena, sizeof *s);

		if (!s)
			return false;
		baton__v1__node_state__init(s);
		s->node = v[i].name;
		s->confirmed = v[i].confirmed >= x->generation;
		s->error = !s->confirmed && v[i].silent_ms >= STORE_NODE_LEASE_MS ? "silent: it takes and hands out nothing until it has heard of this" : "";
		m->nodes[m->n_nodes++] = s;
	}
	return m->nodes;
}

/* Who changed what is the pipeline's to write; this says from what to what, and why. */
static void tell_audit(struct op *op, const struct enlist *x)
{
	struct buf b;
	char *text;

	buf_init(&b, AUDIT_TEXT_MAX);
	for (size_t i = 0; i < x->n; i++)
		if (x->v[i].action)
			buf_printf(&b, "%s%s %s/%s (%s)", b.n ? "; " : "", x->v[i].action, x->v[i].role ? x->v[i].kind : x->v[i].tenant, x->v[i].name, x->v[i].diff);
	if (b.failed) /* too long: the history has it all */
		buf_reset(&b);
	if (!b.n)
		buf_printf(&b, "%zu resources", x->n);
	buf_printf(&b, "%s: %s", x->dry ? " (dry run)" : "", x->reason);
	text = arena_strndup(op->arena, b.p, b.n);
	buf_clear(&b);
	op->audit.message = slice_str(text ? text : "");
}

static void answer(struct op *op)
{
	const struct enlist *x = op->state;
	Baton__V1__ApplyResponse *m = arena_alloc(op->arena, sizeof *m);

	if (m)
		baton__v1__apply_response__init(m);
	tell_audit(op, x);
	if (m && put_changes(op, x, m) && (!x->generation || put_nodes(op, x, m)))
		pipeline_answer(op, &m->base);
	else
		operator_deny(op, REASON_QUOTA_EXCEEDED, "", x->generation ? "out of memory: what was asked for was done" : "out of memory");
}

static void on_changed(struct op *op, const struct store_answer *a)
{
	struct enlist *x = op->state;

	if (a->status == STORE_OK) {
		x->generation = a->generation;
		await_nodes(op, a->generation, PATIENCE_MS, answer);
	} else if (x->on_failed && x->on_failed(op, a)) {
		return;
	} else if (a->status == STORE_CONFLICT) {
		operator_deny(op, REASON_WRONG_STATE, "version", "somebody else changed one of these at the same time, so this was not done, or was before that: look at them again");
	} else if (a->status == STORE_QUOTA) {
		operator_deny(op, REASON_QUOTA_EXCEEDED, "resources", "the registry is full: 65,536 names, retired ones too");
	} else {
		operator_no_store(op);
	}
}

void enlist_carry_out(struct op *op, struct enlist *x)
{
	struct store *s = op->w->env.store;

	for (size_t i = 0; i < x->n; i++) {
		struct entry *e = &x->v[i];

		if (e->role)
			op->event = "roles.changed";
		if (e->action && !(e->role ? roles_write : write_down)(op, x, e)) {
			operator_no_memory(op);
			return;
		}
	}
	if (!check_twice(op, x))
		return;
	op->state = x;
	if (x->dry || !x->n_changes) {
		answer(op);
		return;
	}
	op->on_answer = on_changed;
	s->ops->change(s, x->changes, x->n_changes, op_store_done, op->w, op->id);
}

/* ---- the calls ---- */

static bool judge(struct op *op, const Baton__V1__Resource *m, struct entry *e, size_t i)
{
	const char *field = "spec", *wrong = m->spec_case == BATON__V1__RESOURCE__SPEC_AGENT ? NULL : "in this version agents and role bindings are changed; the others stand in the configuration file";

	if (m->spec_case == BATON__V1__RESOURCE__SPEC_ROLE && m->role)
		return roles_judge(op, m, e, i);
	wrong = wrong ? wrong : registered_wrong(m->agent, &field);
	if (wrong)
		return enlist_deny(op, REASON_MALFORMED_ENVELOPE, i, field, wrong);
	if (m->agent->status == BATON__V1__AGENT_STATUS__AGENT_STATUS_RETIRED)
		return enlist_deny(op, REASON_MALFORMED_ENVELOPE, i, "agent.status", "an agent is retired by Delete");
	if (!caller_sees(op, m->agent->tenant)) {
		const struct verdict elsewhere = caller_elsewhere(op, "this is an agent of another tenant");

		pipeline_deny(op, &elsewhere);
		return false;
	}
	if (!look_up(op, m->agent, e, i, !*m->version) || !enlist_check_version(op, m->version, e, i) || !check_retired(op, e, i))
		return false;
	e->spec = m->agent;
	if (!complete(op, e)) {
		operator_no_memory(op);
		return false;
	}
	if (!check_id(op, e, i) || !check_routes(op, e, i, "agent.may_call", m->agent->may_call, m->agent->n_may_call, false) ||
	    !check_routes(op, e, i, "agent.may_serve", m->agent->may_serve, m->agent->n_may_serve, true))
		return false;
	if (compare(op, e))
		return true;
	operator_no_memory(op);
	return false;
}

struct enlist *enlist_new(struct op *op, const char *reason)
{
	struct enlist *x;

	if (!operator_reason(op, reason))
		return NULL;
	x = arena_zalloc(op->arena, sizeof *x);
	if (x)
		x->reason = reason;
	else
		operator_no_memory(op);
	return x;
}

void enlist_on_apply(struct rpc_call *rc, struct op *op)
{
	const Baton__V1__ApplyRequest *m = (const Baton__V1__ApplyRequest *)op->msg;
	struct enlist *x;

	(void)rc;
	if (!m->n_resources || m->n_resources > APPLY_MAX) {
		operator_deny(op, REASON_MALFORMED_ENVELOPE, "resources", "resources: 1 to 32 of them");
		return;
	}
	x = enlist_new(op, m->reason);
	if (!x)
		return;
	x->dry = m->dry_run;
	for (; x->n < m->n_resources; x->n++)
		if (!judge(op, m->resources[x->n], &x->v[x->n], x->n))
			return;
	enlist_carry_out(op, x);
}

/* The same agent, retired. false: the op has ended. */
static bool retire(struct op *op, const Baton__V1__DeleteRequest *m, struct entry *e)
{
	const Baton__V1__AgentSpec name = {.tenant = m->ref->tenant, .name = m->ref->name};

	if (caller_sees(op, name.tenant) && !look_up(op, &name, e, 0, false))
		return false;
	if (!e->before) { /* also what he is not to see */
		operator_deny(op, REASON_NOT_FOUND, "ref", "no such agent");
		return false;
	}
	if (!enlist_check_version(op, m->version, e, 0) || !check_retired(op, e, 0))
		return false;
	e->spec = arena_alloc(op->arena, sizeof *e->spec);
	if (e->spec) {
		*e->spec = *e->before->agent;
		e->spec->status = BATON__V1__AGENT_STATUS__AGENT_STATUS_RETIRED;
	}
	if (e->spec && compare(op, e))
		return true;
	operator_no_memory(op);
	return false;
}

void enlist_on_delete(struct rpc_call *rc, struct op *op)
{
	const Baton__V1__DeleteRequest *m = (const Baton__V1__DeleteRequest *)op->msg;
	bool role = m->ref && strcmp(m->ref->kind, "role") == 0;
	struct enlist *x;

	(void)rc;
	if (!m->ref || !name_valid(slice_str(m->ref->name)) || (!role && !name_valid(slice_str(m->ref->tenant)))) {
		operator_deny(op, REASON_MALFORMED_ENVELOPE, "ref", "ref: kind, tenant and name of the agent; of a role binding, kind and name");
		return;
	}
	if (!*m->version) {
		operator_deny(op, REASON_MALFORMED_ENVELOPE, "version", "version: the one that you saw");
		return;
	}
	x = kinds_change(op, m->ref->kind) ? enlist_new(op, m->reason) : NULL;
	if (!x)
		return;
	x->n = 1;
	if (role ? roles_judge_removal(op, m, &x->v[0]) : retire(op, m, &x->v[0]))
		enlist_carry_out(op, x);
}
