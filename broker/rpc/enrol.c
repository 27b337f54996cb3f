/* Who gives an agent its enrolment token? An operator with platform: CreateToken makes one, keeps its digest where all nodes find it, and shows it once, when
 * they know it. */
#include "rpc/enrol.h"

#include <inttypes.h>
#include <string.h>

#include "base/clock.h"
#include "base/encode.h"
#include "identity/enrolment.h"
#include "rpc/await.h"
#include "rpc/caller.h"
#include "rpc/enlist.h"
#include "rpc/enrolment.h"
#include "rpc/operator.h"
#include "rpc/pipeline.h"
#include "rpc/registered.h"
#include "rpc/unpacked.h"

#define TRIES 3
#define PATIENCE_MS 5000 /* a node that has not heard by then refuses the token until it has */

struct minting {
	char token[ENROLMENT_TOKEN_TEXT + 1];
	uint64_t agent;
	struct enrolment kept;
	unsigned tries;
};

const struct issuing *enrol_issuing(struct op *op)
{
	const struct issuing *i = op->world->issuing;

	if (i && !atomic_load(&i->unvouched))
		return i;
	operator_deny(op, REASON_WRONG_STATE, "", i ? "this broker issues no certificates now: its bundle does not vouch for them, and its log says what to do"
						    : "this broker issues no certificates: whoever runs it names `issuing` in its configuration");
	return NULL;
}

const char *enrol_uuid(struct op *op, const struct world *w, const struct agent *a)
{
	char text[REGISTERED_NAME_MAX];
	const struct resource *r = a->registered ? resources_find(w->resources, registered_name(a->tenant, a->name, text)) : NULL;
	const Baton__V1__Resource *m = r && !r->removed ? resource_unpack(op->arena, r, BATON__V1__RESOURCE__SPEC_AGENT) : NULL;

	if (arena_failed(op->arena))
		return NULL;
	return m ? m->agent->uuid : "";
}

bool enrol_keep(struct op *op, struct slice name, uint64_t version, const struct enrolment *e, void (*on_answer)(struct op *op, const struct store_answer *a))
{
	struct store_change c = {.name = op_keep(op, name), .version = version};
	struct store *s = op->w->env.store;
	struct buf b;

	buf_init(&b, sizeof *e);
	if (enrolment_put(&b, e))
		c.value = op_keep(op, buf_slice(&b));
	buf_clear(&b);
	if (!c.value.n || !c.name.n)
		return false;
	op->on_answer = on_answer;
	s->ops->change(s, &c, 1, op_store_done, op->w, op->id);
	return true;
}

/* ---- for whom ---- */

/* Of an agent that is not active the registry knows nothing. */
static void deny_absent(struct op *op, const Baton__V1__ResourceRef *ref, bool sees)
{
	char text[REGISTERED_NAME_MAX];
	const struct resource *r = sees ? resources_find(op->world->resources, registered_name(ref->tenant, ref->name, text)) : NULL;

	if (r && !r->removed)
		operator_deny(op, REASON_WRONG_STATE, "agent", "agent: it is not active, and gets no certificate: release it first (baton agent release)");
	else
		operator_deny(op, REASON_NOT_FOUND, "agent", "agent: there is no such agent: register it first (baton agent register)");
}

static const struct agent *find(struct op *op, const Baton__V1__ResourceRef *ref)
{
	bool sees = ref && caller_sees(op, ref->tenant);
	const struct agent *a = sees ? registry_by_name(op->world->registry, ref->tenant, slice_str(ref->name)) : NULL;

	if (!a && ref)
		deny_absent(op, ref, sees);
	else if (!a)
		operator_deny(op, REASON_MALFORMED_ENVELOPE, "agent", "agent: whose token?");
	return a;
}

static bool is_of_domain(struct op *op, const struct agent *a, const struct issuing *i)
{
	const struct verdict v = verdict_deny(REASON_WRONG_STATE, "agent", "agent: it is %.200s, and this broker issues for trust domain %s alone", a->spiffe_id, i->trust_domain);
	struct spiffe_id id;

	if (!spiffe_parse(slice_str(a->spiffe_id), &id) && slice_is(id.trust_domain, i->trust_domain))
		return true;
	pipeline_deny(op, &v);
	return false;
}

static bool is_enrolled(struct op *op, const struct agent *a)
{
	if (!a->certificates.no_enrolment)
		return true;
	operator_deny(op, REASON_WRONG_STATE, "agent", "agent: its certificate policy has it enrolled by nobody (certificate.issuance): its certificates come from elsewhere");
	return false;
}

/* An operator is not who may be made by whoever registers agents. */
static bool is_no_operator(struct op *op, const struct agent *a)
{
	if (!grants_bind(op->world->grants, a->spiffe_id))
		return true;
	operator_deny(op, REASON_WRONG_STATE, "agent", "agent: an operator has its SPIFFE id, by a role binding: its certificate comes from the CA itself (baton ca issue)");
	return false;
}

static bool is_ttl(struct op *op, uint32_t ttl_s)
{
	if (!ttl_s || (ttl_s >= ENROLMENT_TTL_MIN_S && ttl_s <= ENROLMENT_TTL_MAX_S))
		return true;
	operator_deny(op, REASON_MALFORMED_ENVELOPE, "ttl_s", "ttl_s: 60 to 86400 seconds, or 0 for an hour");
	return false;
}

/* ---- the answer ---- */

static void answer(struct op *op)
{
	struct minting *x = op->state;
	Baton__V1__EnrolToken *m = arena_alloc(op->arena, sizeof *m);
	char *digest = arena_alloc(op->arena, 2 * SHA256_BYTES + 1), until[25];
	const char *text;

	clock_format_utc(x->kept.expires_at_ms, until);
	text = arena_printf(op->arena, "an enrolment token for %s, until %s", x->kept.spiffe_id, until);
	if (!m || !digest || !text) {
		operator_no_memory(op);
		return;
	}
	baton__v1__enrol_token__init(m);
	hex_encode(op->world->issuing->sha256, SHA256_BYTES, digest);
	m->token = x->token;
	m->expires_at_ms = x->kept.expires_at_ms;
	m->ca_sha256 = digest;
	op->audit.tenant = slice_str(x->kept.tenant);
	op->audit.agent = slice_str(x->kept.name);
	op->audit.message = slice_str(text);
	pipeline_answer(op, &m->base);
}

static void keep(struct op *op, struct minting *x, uint64_t version);

/* The one before may have been used, or made, on a node that this one has not heard from yet: the newest token counts, so this one takes that one's place. */
static void on_kept(struct op *op, const struct store_answer *a)
{
	struct minting *x = op->state;

	if (a->status == STORE_OK)
		await_nodes(op, a->generation, PATIENCE_MS, answer);
	else if (a->status == STORE_CONFLICT && x->tries++ < TRIES)
		keep(op, x, a->version + 1);
	else if (a->status == STORE_CONFLICT)
		operator_deny(op, REASON_WRONG_STATE, "agent", "agent: others made or used tokens of it at the same moment: ask again");
	else if (a->status == STORE_QUOTA)
		operator_deny(op, REASON_QUOTA_EXCEEDED, "agent", "the registry is full: 65,536 names, retired ones too");
	else
		operator_no_store(op);
}

static void keep(struct op *op, struct minting *x, uint64_t version)
{
	char text[ENROLMENT_NAME_MAX];

	if (!enrol_keep(op, enrolment_name(x->agent, text), version, &x->kept, on_kept))
		operator_no_memory(op);
}

/* NULL: memory is out. */
static struct minting *mint(struct op *op, const struct agent *a, const struct issuing *i, uint32_t ttl_s)
{
	struct minting *x = arena_zalloc(op->arena, sizeof *x);
	const char *uuid = enrol_uuid(op, op->world, a);

	if (!x || !uuid)
		return NULL;
	enrolment_token(a->key, i->sha256, x->token);
	sha256(slice_str(x->token), x->kept.token);
	x->agent = a->key;
	x->kept.expires_at_ms = clock_unix_ms() + (ttl_s ? ttl_s : ENROLMENT_TTL_S) * INT64_C(1000);
	slice_copy_str(slice_str(uuid), x->kept.uuid, sizeof x->kept.uuid);
	slice_copy_str(slice_str(a->tenant), x->kept.tenant, sizeof x->kept.tenant);
	slice_copy_str(slice_str(a->name), x->kept.name, sizeof x->kept.name);
	slice_copy_str(slice_str(a->spiffe_id), x->kept.spiffe_id, sizeof x->kept.spiffe_id);
	return x;
}

void enrol_on_create(struct rpc_call *rc, struct op *op)
{
	const Baton__V1__CreateEnrolTokenRequest *m = (const Baton__V1__CreateEnrolTokenRequest *)op->msg;
	const struct issuing *i = enrol_issuing(op);
	const struct agent *a = i ? find(op, m->agent) : NULL;
	char text[ENROLMENT_NAME_MAX];
	const struct resource *was;
	struct minting *x;

	(void)rc;
	if (!a || !is_of_domain(op, a, i) || !is_enrolled(op, a) || !is_no_operator(op, a) || !is_ttl(op, m->ttl_s))
		return;
	if (!worker_is_fresh(op->w)) {
		operator_no_store(op);
		return;
	}
	was = resources_find(op->world->resources, enrolment_name(a->key, text));
	if (!enlist_names_fit(op, !was, "agent"))
		return;
	x = mint(op, a, i, m->ttl_s);
	if (!x) {
		operator_no_memory(op);
		return;
	}
	op->state = x;
	keep(op, x, was ? was->version + 1 : 1);
}
