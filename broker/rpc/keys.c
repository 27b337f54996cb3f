/* Are an issuer's keys to be had? TestIssuer has this node fetch them and says what came of it; RefreshKeys has all nodes fetch them, by a change that all hear
 * of: an issuer that is away, or has a new key, is seen at once. */
#include "rpc/keys.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "rpc/caller.h"
#include "rpc/kinds.h"
#include "rpc/named.h"

/* Its place among the world's, when the caller may see it; else the op has ended. */
static bool find(struct op *op, const Baton__V1__ResourceRef *ref, size_t *at)
{
	const struct issuers *all = op->world->issuers;
	bool seen = caller_sees_all(op);

	*at = ref ? issuers_place(all, ref->name) : issuers_count(all);
	for (size_t i = 0; *at < issuers_count(all) && i < issuers_at(all, *at)->rule.n_tenants; i++)
		seen = seen || caller_sees(op, issuers_at(all, *at)->rule.tenants[i]);
	if (*at < issuers_count(all) && seen)
		return true;
	operator_deny(op, REASON_NOT_FOUND, "name", "no such issuer");
	return false;
}

/* NULL: their keys were given, and nothing is fetched. */
static bool discovers(struct op *op, size_t at)
{
	const struct rpc_env *env = &op->w->env;
	struct keys_state state;

	return env->keys_state && env->keys_state(env->arg, issuers_at(op->world->issuers, at)->rule.name, &state) && state.discovers;
}

/* A fetch that began after the question answers it: the op waits for that as one waits that has a token of unknown keys. */
void keys_on_test(struct rpc_call *rc, struct op *op)
{
	const Baton__V1__ResourceRef *ref = (const Baton__V1__ResourceRef *)op->msg;
	struct key_want want = {.agent = op->asker, .since_ms = op->parked_ms};
	int64_t now = clock_mono_ms();

	(void)rc;
	if (!find(op, ref, &want.issuer))
		return;
	if (discovers(op, want.issuer) && op_may_park(op, now) && op->w->env.want_keys(op->w->env.arg, &want) && op_park(op, want.issuer, now))
		return;
	named_get(op, kinds_find("issuer"), ref);
}

static bool write_refresh(struct op *op, struct enlist *x, struct entry *e)
{
	char text[NAMED_NAME_MAX];
	int n = snprintf(text, sizeof text, KEYS_REFRESH_PREFIX "%.63s", e->name);

	enlist_add(x, op_keep(op, slice_of(text, (size_t)n)), e->version + 1, false, slice_of(NULL, 0));
	return !arena_failed(op->arena);
}

void keys_on_refresh(struct rpc_call *rc, struct op *op)
{
	static const struct kind refreshed = {.name = "issuer", .write = write_refresh, .event = "issuers.changed"};
	const Baton__V1__RefreshKeysRequest *m = (const Baton__V1__RefreshKeysRequest *)op->msg;
	const struct resource *last;
	char text[NAMED_NAME_MAX];
	struct enlist *x;
	size_t at;

	(void)rc;
	if (!find(op, m->issuer, &at))
		return;
	if (!discovers(op, at)) {
		operator_deny(op, REASON_WRONG_STATE, "issuer", "its keys were given, and nothing is fetched: give it others by baton issuer add --jwks, or in the configuration file");
		return;
	}
	x = enlist_new(op, m->reason);
	if (!x)
		return;
	snprintf(text, sizeof text, KEYS_REFRESH_PREFIX "%.63s", m->issuer->name);
	last = resources_find(op->world->resources, slice_str(text));
	x->v[x->n++] = (struct entry){.kind = &refreshed, .tenant = "", .name = m->issuer->name, .version = last ? last->version : 0, .action = "refreshed", .diff = ""};
	enlist_carry_out(op, x);
}
