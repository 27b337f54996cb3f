/* Which operator asks, and what may he see and do? See caller.h. On the admin socket the kernel says who comes. On listen.admin his certificate's SPIFFE
 * id and, if he shows one, the claims of his token are looked for among the role bindings; what both give adds up. */
#include "rpc/caller.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/encode.h"
#include "identity/members.h"
#include "rpc/pipeline.h"
#include "rpc/table.h"

#define SUBJECT_SHOWN 128 /* bytes: with the issuer's name it fits into a denial whole */
#define LOCAL_ROLES (ROLE_PLATFORM | ROLE_SRE | ROLE_AUDITOR)

static const Baton__V1__RoleBinding here = BATON__V1__ROLE_BINDING__INIT;
static const struct grant local_grant = {LOCAL_ROLES, &here};

bool caller_is_local(const struct rpc_call *rc)
{
	return strcmp(call_peer(rc->c)->listener, RPC_LISTENER_ADMIN) == 0;
}

static bool has_none(const void *arg, const char *claim, const char *value)
{
	return false;
}

bool caller_may_have_roles(const struct rpc_call *rc)
{
	size_t n = 0;

	call_metadata(rc->c, "authorization", &n);
	return n || caller_is_local(rc) || grants_find(rc->w->world->grants, rc->peer->spiffe_id, NULL, has_none, NULL, NULL, 1);
}

/* ---- who it is ---- */

static bool has(const void *arg, const char *claim, const char *value)
{
	return token_members_have(arg, claim, value);
}

/* false: memory is out. */
static bool find(struct op *op, const char *issuer, const struct token_members *said)
{
	const struct grants *g = op->world->grants;
	struct caller *c = op->caller;

	c->n = grants_find(g, op->spiffe_id, issuer, has, said, NULL, SIZE_MAX);
	c->v = arena_alloc(op->arena, (c->n + 1) * sizeof *c->v);
	if (c->v)
		grants_find(g, op->spiffe_id, issuer, has, said, c->v, c->n);
	return c->v;
}

/* Like an agent's token, but for the audience of operators, and without a client or tenant that it must be of. */
static enum principal_result verify(struct op *op, struct slice token, struct token_answer *out)
{
	const struct token_context cx = {
		.x5t_s256 = op->x5t_s256, .spiffe_id = op->spiffe_id, .audience = op->world->admin_audience, .now_ms = clock_unix_ms(), .leeway_ms = op->world->envelope.clock_skew_ms,
	};

	return principal_judge(op, token, &cx, out);
}

static void by_token(struct op *op, struct slice token, const struct claims *claims, struct verdict *v)
{
	struct token_members *said = token_members_open(token);

	op->caller->name = arena_printf(op->arena, "%.*s of %s", (int)utf8_cut(slice_str(claims->subject), SUBJECT_SHOWN), claims->subject, claims->issuer_name);
	if (!said || !op->caller->name || !find(op, claims->issuer_name, said))
		*v = pipeline_no_memory();
	token_members_free(said);
}

static enum principal_result identify_remote(struct rpc_call *rc, struct op *op, struct verdict *v)
{
	struct slice token = principal_token(rc, slice_of(NULL, 0), v);
	struct token_answer answer;

	op->caller->name = op->spiffe_id;
	if (!verdict_ok(v))
		return PRINCIPAL_JUDGED;
	if (!token.n) {
		if (!find(op, NULL, NULL))
			*v = pipeline_no_memory();
		return PRINCIPAL_JUDGED;
	}
	if (!op->world->admin_audience[0]) {
		*v = verdict_deny(REASON_INVALID_TOKEN, "authorization", "no token of an operator is taken here: send none, or have admin.audience set");
		return PRINCIPAL_JUDGED;
	}
	if (verify(op, token, &answer) == PRINCIPAL_PARKED)
		return PRINCIPAL_PARKED;
	if (verdict_ok(&answer.verdict))
		by_token(op, token, &answer.claims, v);
	else
		*v = answer.verdict;
	return PRINCIPAL_JUDGED;
}

static void identify_local(struct op *op, struct verdict *v)
{
	struct caller *c = op->caller;

	c->local = true;
	c->name = op_str(op, op->audit.remote);
	c->v = arena_alloc(op->arena, sizeof *c->v);
	if (!c->v) {
		*v = pipeline_no_memory();
		return;
	}
	c->v[0] = &local_grant;
	c->n = 1;
}

enum principal_result caller_identify(struct rpc_call *rc, struct op *op, struct verdict *v)
{
	op->caller = arena_zalloc(op->arena, sizeof *op->caller);
	if (!op->caller) {
		*v = pipeline_no_memory();
		return PRINCIPAL_JUDGED;
	}
	if (caller_is_local(rc)) {
		identify_local(op, v);
		return PRINCIPAL_JUDGED;
	}
	if (worker_is_fresh(op->w))
		return identify_remote(rc, op, v);
	*v = verdict_deny(REASON_STORE_UNAVAILABLE, "", "this node has not heard of changes for too long, and does not know who has which role now: try another, or the admin socket");
	v->retry_after_ms = 500;
	return PRINCIPAL_JUDGED;
}

/* ---- what he may ---- */

static unsigned roles_of(const struct caller *c)
{
	unsigned roles = 0;

	for (size_t i = 0; i < c->n; i++)
		roles |= c->v[i]->roles;
	return roles;
}

static struct verdict deny(const struct op *op, unsigned roles)
{
	char needed[ROLES_WORDS_MAX], had[ROLES_WORDS_MAX];

	role_words(roles, " or ", needed);
	role_words(roles_of(op->caller), ", ", had);
	if (!roles)
		return verdict_deny(REASON_ROLE_DENIED, "", "nobody may make this call");
	if (!grants_count(op->world->grants))
		return verdict_deny(REASON_ROLE_DENIED, "", "this call needs the role %s, and nobody has one yet: root makes the first on the broker's machine, by baton admin init", needed);
	return verdict_deny(REASON_ROLE_DENIED, "", "this call needs the role %s, and %.200s has %s: somebody who has that role and platform gives it, by baton role grant", needed,
			    op->caller->name, *had ? had : "none");
}

struct verdict caller_judge(struct op *op, unsigned roles, unsigned named)
{
	unsigned used = roles_of(op->caller) & roles;
	char text[ROLES_WORDS_MAX];

	op->caller->needs = roles;
	role_words(used ? used : roles_of(op->caller), ",", text);
	op->audit.roles = slice_str(op_str(op, slice_str(text)));
	return used ? verdict_allow() : deny(op, named);
}

bool caller_sees(const struct op *op, const char *tenant)
{
	return grants_give(op->caller->v, op->caller->n, op->caller->needs, tenant);
}

bool caller_sees_all(const struct op *op)
{
	return caller_sees(op, NULL);
}

struct verdict caller_elsewhere(const struct op *op, const char *what)
{
	char needed[ROLES_WORDS_MAX];

	role_words(op->caller->needs & roles_of(op->caller), " and ", needed);
	return verdict_deny(REASON_ROLE_DENIED, "tenant", "%s, and %.200s is %s of single tenants alone: a binding without a tenant is needed", what, op->caller->name, needed);
}
