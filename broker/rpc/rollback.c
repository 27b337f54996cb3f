/* How does a resource become again what it was? Rollback of ResourceService: one of the versions that the store keeps is applied anew, under the present one, by the
 * judges of Apply (enlist.h). What was let in once may not be by now. */
#include <stdlib.h>
#include <string.h>

#include "rpc/kinds.h"
#include "rpc/table.h"

#define INCIDENT_MAX 128
#define DIGITS_MAX 15 /* the store counts to 2^48 */

struct rollback {
	const struct kind *kind;
	const struct resource *now;
	uint64_t to;
	struct enlist *x;
};

static void deny(struct op *op, enum reason r, const char *what)
{
	const struct rollback *b = op->state;

	operator_deny(op, r, "to_version", arena_printf(op->arena, "to_version: %llu %s", (unsigned long long)b->to, what));
}

/* ---- the version ---- */

/* In the arena. NULL: the op has ended. */
static Baton__V1__Resource *read_version(struct op *op, const struct store_resource *s)
{
	const struct rollback *b = op->state;
	const struct resource r = {.version = s->version, .changed_at_ms = s->changed_at_ms, .removed = s->removed, .value = s->value};
	bool whole = s->status == STORE_OK, known = true;
	Baton__V1__Resource *m = NULL;
	struct prescan_fault fault;

	if (whole)
		known = !prescan_check(&baton__v1__resource__descriptor, s->value, &rpc_applied_rules, &fault);
	if (whole && known)
		m = kinds_read(op, b->kind, &r);
	if (m)
		return m;
	if (arena_failed(op->arena))
		operator_no_memory(op);
	else if (whole && !known)
		deny(op, REASON_WRONG_STATE, "has something in it that this node's version of the broker does not know: ask a node of the version that wrote it");
	else
		deny(op, REASON_WRONG_STATE, "does not open: its key is gone, or it was changed in the store. Name another version, or apply what it shall be");
	return NULL;
}

/* What is to be judged: the version, as a change of what is there. NULL: the op has ended. */
static Baton__V1__Resource *take(struct op *op, const struct store_resource *s)
{
	const struct rollback *b = op->state;
	Baton__V1__Resource *m = read_version(op, s), *now;

	if (!m)
		return NULL;
	if (m->removed) {
		deny(op, REASON_WRONG_STATE, "is the one by which it was removed: to have it removed again use Delete, to have it back name an older version");
		return NULL;
	}
	now = b->now->removed ? NULL : kinds_read(op, b->kind, b->now);
	m->version = now ? now->version : (char *)protobuf_c_empty_string;
	return !b->kind->set_back || b->kind->set_back(op, now, m) ? m : NULL;
}

static void on_version(struct op *op, const struct store_answer *a)
{
	const struct rollback *b = op->state;
	struct enlist *x = b->x;
	Baton__V1__Resource *m;

	if (a->status != STORE_OK && a->status != STORE_NOT_FOUND) {
		operator_no_store(op);
		return;
	}
	if (!a->n_resources || a->resources[0].version != b->to) {
		deny(op, REASON_NOT_FOUND, "is not kept: the last 64 are, see its history");
		return;
	}
	m = take(op, &a->resources[0]);
	if (!m || !enlist_judge(op, m, &x->v[0], 0))
		return;
	x->n = 1;
	enlist_carry_out(op, x);
}

/* ---- the call ---- */

/* 0: it is no version. */
static uint64_t version_of(const char *text)
{
	size_t n = strspn(text, "0123456789");

	return *text != '0' && n <= DIGITS_MAX && !text[n] ? strtoull(text, NULL, 10) : 0;
}

static const char *note(struct op *op, const Baton__V1__RollbackRequest *m)
{
	bool incident = *m->incident_id;

	return arena_printf(op->arena, ": set back to version %s%s%s", m->to_version, incident ? ", for incident " : "", incident ? m->incident_id : "");
}

/* Is it well formed? Else the op has ended. */
static bool check(struct op *op, const Baton__V1__RollbackRequest *m)
{
	if (!m->ref)
		operator_deny(op, REASON_MALFORMED_ENVELOPE, "ref", "ref: kind and name of what is to be set back, and of an agent its tenant");
	else if (!version_of(m->to_version))
		operator_deny(op, REASON_MALFORMED_ENVELOPE, "to_version", "to_version: the number of one of the versions that its history shows");
	else if (strlen(m->incident_id) > INCIDENT_MAX)
		operator_deny(op, REASON_MALFORMED_ENVELOPE, "incident_id", "incident_id: at most 128 bytes");
	else
		return true;
	return false;
}

void rollback_on_message(struct rpc_call *rc, struct op *op)
{
	const Baton__V1__RollbackRequest *m = (const Baton__V1__RollbackRequest *)op->msg;
	struct rollback *b = arena_zalloc(op->arena, sizeof *b);
	struct store *s = op->w->env.store;

	(void)rc;
	if (!b) {
		operator_no_memory(op);
		return;
	}
	if (!check(op, m) || !(b->kind = kinds_asked(op, m->ref->kind)) || !(b->x = enlist_new(op, m->reason)) || !(b->now = b->kind->kept(op, b->kind, m->ref)))
		return;
	b->to = version_of(m->to_version);
	b->x->note = note(op, m);
	b->x->dry = m->dry_run;
	op->state = b;
	op->on_answer = on_version;
	s->ops->versions(s, b->now->name, b->to + 1, 1, op_store_done, op->w, op->id);
}
