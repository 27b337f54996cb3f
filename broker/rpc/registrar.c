/* How does an agent come into the registry, change there and leave? What Apply and Delete judge of agents, and write of them. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/secret.h"
#include "base/words.h"
#include "policy/profile.h"
#include "registry/card.h"
#include "rpc/caller.h"
#include "rpc/headcount.h"
#include "rpc/kinds.h"
#include "rpc/named.h"
#include "rpc/pipeline.h"
#include "rpc/registered.h"

#define TAKEN "it is that of another agent" /* whose it is, an operator of one tenant is not told */
#define WHAT "agent", "agent.name"

static Baton__V1__AgentSpec *spec_of(const struct entry *e)
{
	return (Baton__V1__AgentSpec *)e->spec;
}

/* ---- what is there ---- */

static bool look_up(struct op *op, const struct kind *k, const Baton__V1__AgentSpec *s, struct entry *e, size_t i, bool anew)
{
	char text[REGISTERED_NAME_MAX];
	const struct resource *r = resources_find(op->world->resources, registered_name(s->tenant, s->name, text));

	*e = (struct entry){.kind = k, .tenant = s->tenant, .name = s->name, .version = r ? r->version : 0, .before = r && !r->removed ? kinds_read(op, k, r) : NULL};
	if (e->before && anew && e->before->agent->status == BATON__V1__AGENT_STATUS__AGENT_STATUS_RETIRED)
		e->before = NULL;
	if (!e->before && registry_by_name(op->world->registry, s->tenant, slice_str(s->name)))
		return enlist_deny(op, REASON_WRONG_STATE, i, "agent.name", "the agent stands in the configuration file: it is static, and changes there alone");
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
	const char *tenant = spec_of(e)->tenant;
	const struct profile *p = registry_route_of_any(op->world->registry, tenant, slice_str(route));
	const struct world_route *r = world_route(op->world, tenant, route);
	char queue[QUEUE_MAX_BYTES + 1];

	if (!p)
		return enlist_deny(op, REASON_NOT_FOUND, i, field, arena_printf(op->arena, "tenant %s has no route %s: add its profile first", tenant, route));
	if (!serves || !p->broadcast)
		return true;
	world_queue(p, spec_of(e)->name, queue);
	if (r && r->n_inboxes + i >= INBOXES_MAX && !world_route(op->world, tenant, queue)) /* i: those before it in this call */
		return enlist_deny(op, REASON_QUOTA_EXCEEDED, i, field, arena_printf(op->arena, "%s is a broadcast, and %d agents may serve it already", route, INBOXES_MAX));
	return check_queue(op, i, field, tenant, queue);
}

static bool check_routes(struct op *op, const struct entry *e, size_t i, const char *field, char *const *v, size_t n, bool serves)
{
	bool back = e->before && e->before->agent->status != spec_of(e)->status && spec_of(e)->status == BATON__V1__AGENT_STATUS__AGENT_STATUS_ACTIVE;

	for (size_t k = 0; k < n; k++) {
		bool there = registry_route_of_any(op->world->registry, spec_of(e)->tenant, slice_str(v[k]));

		if ((!stands(e, v[k], serves) || (back && there)) && !check_route(op, e, i, field, v[k], serves))
			return false;
	}
	return true;
}

/* A SPIFFE id names one agent. */
static bool check_id(struct op *op, const struct entry *e, size_t i)
{
	bool active = spec_of(e)->status == BATON__V1__AGENT_STATUS__AGENT_STATUS_ACTIVE, same = e->before && strcmp(e->before->agent->spiffe_id, spec_of(e)->spiffe_id) == 0;
	const struct agent *other = registry_by_spiffe(op->world->registry, spec_of(e)->spiffe_id);
	const struct resource *claim;
	char text[REGISTERED_ID_MAX], own[REGISTERED_NAME_MAX];

	if (same && !active)
		return true;
	if (!same && !enlist_vouched(op, e, i, "agent.spiffe_id", spec_of(e)->spiffe_id))
		return false;
	if (!same && grants_bind(op->world->grants, spec_of(e)->spiffe_id)) /* or whoever may register agents makes himself that operator */
		return enlist_deny(op, REASON_WRONG_STATE, i, "agent.spiffe_id", "it is that of an operator, by a role binding: take another");
	if (other && (strcmp(other->name, spec_of(e)->name) != 0 || strcmp(other->tenant, spec_of(e)->tenant) != 0))
		return enlist_deny(op, REASON_WRONG_STATE, i, "agent.spiffe_id", !caller_sees(op, other->tenant) ? TAKEN :
				   arena_printf(op->arena, "it is that of agent %s of tenant %s", other->name, other->tenant));
	claim = resources_find(op->world->resources, registered_id_name(spec_of(e)->spiffe_id, text));
	if (claim && !claim->removed && !slice_eq(claim->value, registered_name(spec_of(e)->tenant, spec_of(e)->name, own)))
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

/* The id was another agent's: what is left of that one's certificates must not count as this one's. */
static bool had_before(const struct op *op, const char *spiffe_id)
{
	char text[REGISTERED_ID_MAX];

	return resources_find(op->world->resources, registered_id_name(spiffe_id, text));
}

/* One that says nothing is none: else there were two ways to say the same. */
static void drop_empty(Baton__V1__AgentSpec *s)
{
	const Baton__V1__CertificatePolicy *c = s->certificate;

	if (c && !c->max_ttl_s && !c->issuance && !c->max_accepted_ttl_s)
		s->certificate = NULL;
}

/* What the broker gives, whatever was sent. false: memory is out. */
static bool complete(struct op *op, struct entry *e)
{
	const Baton__V1__AgentSpec *was = e->before ? e->before->agent : NULL;
	Baton__V1__AgentSpec *s = spec_of(e);

	drop_empty(s);
	s->uuid = was ? was->uuid : new_uuid(op->arena);
	s->registered_at_ms = was ? was->registered_at_ms : clock_unix_ms();
	s->certificates_from_ms = was && strcmp(was->spiffe_id, s->spiffe_id) == 0 ? was->certificates_from_ms : had_before(op, s->spiffe_id) ? clock_unix_ms() : 0;
	if (s->status == BATON__V1__AGENT_STATUS__AGENT_STATUS_UNSPECIFIED)
		s->status = was ? was->status : BATON__V1__AGENT_STATUS__AGENT_STATUS_ACTIVE;
	return s->uuid;
}

static const char *action_of(const struct entry *e)
{
	const Baton__V1__AgentSpec *was = e->before ? e->before->agent : NULL;

	if (!was)
		return "registered";
	if (was->status == spec_of(e)->status)
		return "updated";
	return spec_of(e)->status == BATON__V1__AGENT_STATUS__AGENT_STATUS_RETIRED ? "retired"
		: spec_of(e)->status == BATON__V1__AGENT_STATUS__AGENT_STATUS_QUARANTINED ? "quarantined" : "released";
}

/* ---- its card ---- */

/* As it is kept: without blanks, so that it is the same whoever wrote it. false: the op has ended. */
static bool take_card(struct op *op, Baton__V1__AgentSpec *s, size_t i)
{
	struct slice card = slice_of(s->card.data, s->card.len);
	struct card_fault f;
	const char *field;
	struct buf b;

	if (!card.n)
		return true;
	if (!card_check(card, &f)) {
		field = f.no_memory ? NULL : arena_printf(op->arena, "agent.card%s%s", *f.field ? "." : "", f.field);
		if (field)
			return enlist_deny(op, REASON_MALFORMED_ENVELOPE, i, field, f.what);
		operator_no_memory(op);
		return false;
	}
	buf_init(&b, CARD_BYTES_MAX);
	card = json_compact(card, &b) ? op_keep(op, buf_slice(&b)) : slice_of(NULL, 0);
	buf_clear(&b);
	s->card = (ProtobufCBinaryData){card.n, (uint8_t *)(uintptr_t)card.p};
	if (!card.n)
		operator_no_memory(op);
	return card.n;
}

static size_t card_was(const struct entry *e)
{
	return e->before ? e->before->agent->card.len : 0;
}

static bool card_grows(const struct entry *e)
{
	return spec_of(e)->card.len > card_was(e);
}

/* What the tenant's cards would have with this one, after those of the call that stand before it. */
static uint64_t cards_with(const struct op *op, const struct entry *e, size_t i)
{
	uint64_t bytes = registry_card_bytes(op->world->registry, spec_of(e)->tenant);

	for (const struct entry *b = e - i; b <= e; b++)
		if (b->kind == e->kind && strcmp(b->tenant, e->tenant) == 0)
			bytes += spec_of(b)->card.len - card_was(b);
	return bytes;
}

/* Every node has the cards of all agents in memory. Nobody is kept from making one smaller. */
static bool check_cards(struct op *op, const struct entry *e, size_t i)
{
	uint64_t max = op->world->quotas.card_bytes_per_tenant, bytes = cards_with(op, e, i);

	if (!max || !card_grows(e) || bytes <= max)
		return true;
	return enlist_deny(op, REASON_QUOTA_EXCEEDED, i, "agent.card",
			   arena_printf(op->arena, "with it the cards of tenant %s have %" PRIu64 " bytes, and no more than %" PRIu64 " may (limits.card_bytes_per_tenant): shorten it, take another's away "
					"(baton agent update NAME --no-card), or have the limit raised", spec_of(e)->tenant, bytes, max));
}

/* ---- what is written ---- */

static void claim(struct op *op, struct enlist *x, const char *spiffe_id, struct slice whose, bool removed)
{
	char text[REGISTERED_ID_MAX];

	enlist_claim(op, x, registered_id_name(spiffe_id, text), whose, removed);
}

bool agents_write(struct op *op, struct enlist *x, struct entry *e)
{
	const Baton__V1__AgentSpec *was = e->before ? e->before->agent : NULL, *is = spec_of(e);
	bool stays = is->status != BATON__V1__AGENT_STATUS__AGENT_STATUS_RETIRED;
	char text[REGISTERED_NAME_MAX], bound[NAMED_NAME_MAX];
	struct slice name = registered_name(is->tenant, is->name, text);

	if (!enlist_put(op, x, e, name))
		return false;
	if (was && (!stays || strcmp(was->spiffe_id, is->spiffe_id) != 0))
		claim(op, x, was->spiffe_id, name, true);
	if (stays)
		claim(op, x, is->spiffe_id, name, false);
	if (card_grows(e)) /* or two calls at once would each fit, and both not */
		enlist_guard(op, x, named_bound("cards", is->tenant, bound));
	return !arena_failed(op->arena);
}

/* ---- the calls ---- */

static bool compare(struct op *op, struct entry *e)
{
	return enlist_compare(op, e, e->before ? &e->before->agent->base : NULL, e->spec, action_of(e));
}

/* Neither a release from quarantine nor a way back from retirement, and nobody inherits what a former agent of his name had. */
bool agents_set_back(struct op *op, const Baton__V1__Resource *now, Baton__V1__Resource *m)
{
	const Baton__V1__AgentSpec *is = now ? now->agent : NULL;
	bool same = is && is->status != BATON__V1__AGENT_STATUS__AGENT_STATUS_RETIRED && strcmp(is->uuid, m->agent->uuid) == 0;

	if (same)
		m->agent->status = BATON__V1__AGENT_STATUS__AGENT_STATUS_UNSPECIFIED; /* it stays: complete() */
	else if (!is)
		operator_deny(op, REASON_NOT_FOUND, "ref", "ref: what is stored under this name now is no agent: register it anew");
	else if (is->status == BATON__V1__AGENT_STATUS__AGENT_STATUS_RETIRED)
		operator_deny(op, REASON_WRONG_STATE, "ref", "ref: the agent was retired, which cannot be undone: register it anew, as another agent");
	else
		operator_deny(op, REASON_WRONG_STATE, "to_version", "to_version: that was another agent, who had the name before it was retired, and nothing of it is inherited: name a version that came after, "
			      "or change the agent by update");
	return same;
}

bool agents_judge(struct op *op, const struct kind *k, const Baton__V1__Resource *m, struct entry *e, size_t i)
{
	Baton__V1__AgentSpec *s = m->agent;
	const char *field, *wrong = registered_wrong(s, &field);

	if (wrong)
		return enlist_deny(op, REASON_MALFORMED_ENVELOPE, i, field, wrong);
	if (s->status == BATON__V1__AGENT_STATUS__AGENT_STATUS_RETIRED)
		return enlist_deny(op, REASON_MALFORMED_ENVELOPE, i, "agent.status", "an agent is retired by Delete");
	if (!caller_sees(op, s->tenant)) {
		const struct verdict elsewhere = caller_elsewhere(op, "this is an agent of another tenant");

		pipeline_deny(op, &elsewhere);
		return false;
	}
	if (!take_card(op, s, i) || !look_up(op, k, s, e, i, !*m->version) || !enlist_check_version(op, m->version, e, i, WHAT) || !check_retired(op, e, i))
		return false;
	e->spec = &s->base;
	if (!complete(op, e)) {
		operator_no_memory(op);
		return false;
	}
	return check_id(op, e, i) && headcount_check(op, e, i) && check_routes(op, e, i, "agent.may_call", s->may_call, s->n_may_call, false) &&
	       check_routes(op, e, i, "agent.may_serve", s->may_serve, s->n_may_serve, true) && check_cards(op, e, i) && compare(op, e);
}

/* The same agent, retired. */
bool agents_judge_removal(struct op *op, const struct kind *k, const Baton__V1__DeleteRequest *m, struct entry *e)
{
	const Baton__V1__AgentSpec name = {.tenant = m->ref->tenant, .name = m->ref->name};
	Baton__V1__AgentSpec *s;

	if (!name_valid(slice_str(name.name)) || !name_valid(slice_str(name.tenant))) {
		operator_deny(op, REASON_MALFORMED_ENVELOPE, "ref", "ref: kind, tenant and name of the agent");
		return false;
	}
	if (caller_sees(op, name.tenant) && !look_up(op, k, &name, e, 0, false))
		return false;
	if (!e->before) { /* also what he is not to see */
		operator_deny(op, REASON_NOT_FOUND, "ref", "no such agent");
		return false;
	}
	if (!enlist_check_version(op, m->version, e, 0, WHAT) || !check_retired(op, e, 0))
		return false;
	s = arena_alloc(op->arena, sizeof *s);
	if (!s) {
		operator_no_memory(op);
		return false;
	}
	*s = *e->before->agent;
	s->status = BATON__V1__AGENT_STATUS__AGENT_STATUS_RETIRED;
	s->card = (ProtobufCBinaryData){0, NULL}; /* nobody looks for it any more */
	e->spec = &s->base;
	return compare(op, e);
}
