/* How do resources come to be, change and go? Apply and Delete of ResourceService: everything is judged first, each by its kind (kinds.h), then written in one
 * call of the store, all or none; the answer says which nodes live by it. */
#include "rpc/enlist.h"

#include <stdio.h>
#include <string.h>

#include "rpc/await.h"
#include "rpc/caller.h"
#include "rpc/fleet.h"
#include "rpc/kinds.h"
#include "rpc/pipeline.h"
#include "rpc/specdiff.h"
#include "rpc/tenancy.h"

#define PATIENCE_MS 5000      /* then the answer says who is missing */
#define DIFF_MAX 16384
#define AUDIT_TEXT_MAX 16384  /* each entry of a call by its name, and a reason */
#define AUDIT_DIFFS_MAX 4096  /* of all entries */
#define REGISTRY_FULL "the registry is full: 65,536 names, retired ones too, of which 4,096 are kept for revocations"
#define VALUES_MAX (2u * STORE_RESOURCE_VALUE_MAX) /* of a call */

bool enlist_deny(struct op *op, enum reason r, size_t i, const char *field, const char *what)
{
	bool one = op->msg->descriptor != &baton__v1__apply_request__descriptor; /* or one of many */
	const char *text = one ? arena_printf(op->arena, "%s: %s", field, what) : arena_printf(op->arena, "resources[%zu].%s: %s", i, field, what);

	operator_deny(op, r, field, text ? text : what);
	return false;
}

bool enlist_check_version(struct op *op, const char *version, const struct entry *e, size_t i, const char *what, const char *field)
{
	if (!e->before && *version)
		return enlist_deny(op, REASON_NOT_FOUND, i, "version", arena_printf(op->arena, "there is no such %s: leave version out to make it", what));
	if (e->before && !*version)
		return enlist_deny(op, REASON_WRONG_STATE, i, field, arena_printf(op->arena, "the %s is there already: give its version to change it", what));
	if (e->before && strcmp(version, e->before->version) != 0)
		return enlist_deny(op, REASON_WRONG_STATE, i, "version",
			    arena_printf(op->arena, "it is %s by now, not %.40s: somebody else changed it; look at it again", e->before->version, version));
	return true;
}

bool enlist_makes(const struct entry *e, size_t i, const char *kind, struct slice name)
{
	for (const struct entry *b = e - i; b < e; b++)
		if (!b->removed && strcmp(b->kind->name, kind) == 0 && slice_is(name, b->name))
			return true;
	return false;
}

bool enlist_vouched(struct op *op, const struct entry *e, size_t i, const char *field, const char *id)
{
	struct spiffe_id parts;

	if (!op->world->trust || trust_knows(op->world->trust, id) || spiffe_parse(slice_str(id), &parts) || (e && enlist_makes(e, i, "trust", parts.trust_domain)))
		return true;
	return enlist_deny(op, REASON_NOT_FOUND, i, field, arena_printf(op->arena, "nobody vouches for trust domain %.*s: add its bundle by baton trust add, or to tls.trust",
									(int)parts.trust_domain.n, (const char *)parts.trust_domain.p));
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
	if (b.failed) {
		buf_reset(&b);
		buf_put_str(&b, "too much to show here: see its history");
	}
	e->diff = arena_strndup(op->arena, b.p, b.n);
	e->action = was && same(op, was, is) ? NULL : action;
	buf_clear(&b);
	if (!e->diff)
		operator_no_memory(op);
	return e->diff;
}

/* ---- what is written ---- */

void enlist_add(struct enlist *x, struct slice name, uint64_t version, bool removed, struct slice value)
{
	x->over = x->over || x->n_changes == STORE_CHANGES_MAX;
	if (!x->over)
		x->changes[x->n_changes++] = (struct store_change){.name = name, .version = version, .removed = removed, .value = value};
}

bool enlist_put(struct op *op, struct enlist *x, const struct entry *e, struct slice name)
{
	Baton__V1__Resource *m = kinds_wrap(op, e->kind, e->spec);
	uint8_t *bytes = NULL;

	name = op_keep(op, name);
	if (m) {
		m->reason = (char *)x->reason;
		m->updated_by = (char *)op->caller->name;
		bytes = arena_alloc(op->arena, baton__v1__resource__get_packed_size(m));
	}
	if (bytes)
		enlist_add(x, name, e->version + 1, e->removed, slice_of(bytes, baton__v1__resource__pack(m, bytes)));
	return !arena_failed(op->arena); /* what is there may have been left out for want of memory, and not been judged */
}

void enlist_claim(struct op *op, struct enlist *x, struct slice name, struct slice whose, bool removed)
{
	const struct resource *r = resources_find(op->world->resources, name);

	if (!r || r->removed != removed)
		enlist_add(x, op_keep(op, name), r ? r->version + 1 : 1, removed, op_keep(op, whose));
}

void enlist_guard(struct op *op, struct enlist *x, struct slice name)
{
	const struct resource *r = resources_find(op->world->resources, name);

	for (size_t i = 0; i < x->n_changes; i++)
		if (slice_eq(x->changes[i].name, name))
			return;
	enlist_add(x, op_keep(op, name), r ? r->version + 1 : 1, false, slice_of(NULL, 0));
}

bool enlist_names_fit(struct op *op, size_t anew, const char *field)
{
	if (tenancy_names_fit(resources_count(op->world->resources), anew))
		return true;
	operator_deny(op, REASON_QUOTA_EXCEEDED, field, REGISTRY_FULL);
	return false;
}

/* Two of a call for one name, or for what one alone may have; or too much of it. */
static bool check_changes(struct op *op, const struct enlist *x)
{
	size_t bytes = 0, anew = 0;

	for (size_t i = 0; i < x->n_changes; i++) {
		bytes += x->changes[i].value.n;
		anew += !resources_find(op->world->resources, x->changes[i].name);
		for (size_t j = 0; j < i; j++)
			if (slice_eq(x->changes[i].name, x->changes[j].name)) {
				operator_deny(op, REASON_MALFORMED_ENVELOPE, "resources", "resources: two of them are for the same name, SPIFFE id, URL or trust domain");
				return false;
			}
	}
	if (!enlist_names_fit(op, anew, "resources"))
		return false;
	if (bytes > VALUES_MAX || x->over)
		operator_deny(op, REASON_PAYLOAD_TOO_LARGE, "resources", "resources: too much for one call, at most 2 MiB and 128 changes in the store: send fewer of them at once");
	return bytes <= VALUES_MAX && !x->over;
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
		ref->kind = (char *)e->kind->name;
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

/* What was done with each: always its name, and its differences as long as there is room for all of them. */
static void put_deeds(const struct enlist *x, size_t room, struct buf *b)
{
	size_t diffs = 0;

	for (size_t i = 0; i < x->n; i++)
		diffs += x->v[i].action ? strlen(x->v[i].diff) : 0;
	for (size_t i = 0; i < x->n; i++) {
		const struct entry *e = &x->v[i];

		if (e->action)
			buf_printf(b, "%s%s %s/%s (%s)", b->n ? "; " : "", e->action, *e->tenant ? e->tenant : e->kind->name, e->name, diffs <= room ? e->diff : "see its history");
	}
}

/* All of them are this tenant's; "": they are not one's alone. */
static const char *tenant_of(const struct enlist *x)
{
	for (size_t i = 0; i < x->n; i++)
		if (strcmp(x->v[i].tenant, x->v[0].tenant) != 0)
			return "";
	return x->n ? x->v[0].tenant : "";
}

/* Who changed what is the pipeline's to write; this says from what to what, and why. */
static void tell_audit(struct op *op, const struct enlist *x)
{
	struct buf b;
	char *text;

	buf_init(&b, AUDIT_TEXT_MAX);
	put_deeds(x, AUDIT_DIFFS_MAX, &b);
	if (!b.n)
		buf_printf(&b, "%zu resources", x->n);
	buf_printf(&b, "%s%s: %s", x->dry ? " (dry run)" : "", x->note ? x->note : "", x->reason);
	text = arena_strndup(op->arena, b.p, b.n);
	buf_clear(&b);
	op->audit.message = slice_str(text ? text : "");
	op->audit.tenant = slice_str(tenant_of(x));
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
		operator_deny(op, REASON_QUOTA_EXCEEDED, "resources", REGISTRY_FULL);
	} else {
		operator_no_store(op);
	}
}

void enlist_carry_out(struct op *op, struct enlist *x)
{
	struct store *s = op->w->env.store;

	for (size_t i = 0; i < x->n; i++) {
		struct entry *e = &x->v[i];

		if (!op->event || e->kind->named) /* of several kinds, what is rarer */
			op->event = e->kind->event;
		if (e->action && !e->kind->write(op, x, e)) {
			operator_no_memory(op);
			return;
		}
	}
	if (!check_changes(op, x))
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

bool enlist_judge(struct op *op, const Baton__V1__Resource *m, struct entry *e, size_t i)
{
	const struct kind *k = kinds_of(m->spec_case);

	if (!k || !kinds_spec(m))
		return enlist_deny(op, REASON_MALFORMED_ENVELOPE, i, "spec", "in this version agents, role bindings, issuers, tenants and trust bundles are changed; the others stand in the configuration file");
	return k->judge(op, k, m, e, i);
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
		if (!enlist_judge(op, m->resources[x->n], &x->v[x->n], x->n))
			return;
	enlist_carry_out(op, x);
}

void enlist_on_delete(struct rpc_call *rc, struct op *op)
{
	const Baton__V1__DeleteRequest *m = (const Baton__V1__DeleteRequest *)op->msg;
	const struct kind *k = m->ref ? kinds_find(m->ref->kind) : NULL;
	struct enlist *x;

	(void)rc;
	if (!k) {
		operator_deny(op, REASON_MALFORMED_ENVELOPE, "ref", "ref: kind and name of what is to go, and of an agent its tenant; kinds are agent, role, issuer, tenant and trust");
		return;
	}
	if (!*m->version) {
		operator_deny(op, REASON_MALFORMED_ENVELOPE, "version", "version: the one that you saw");
		return;
	}
	x = enlist_new(op, m->reason);
	if (!x)
		return;
	x->n = 1;
	if (k->judge_removal(op, k, m, &x->v[0]))
		enlist_carry_out(op, x);
}
