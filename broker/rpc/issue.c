/* How does an agent get a certificate? Its first one for an enrolment token, on the listener where nobody has a certificate; each next one for the certificate
 * that it comes with. Who it is, is decided here, by the registry and the revocations of now; the key that signs is elsewhere (env.issue), and is asked
 * last. A token is bound to the request's public key before anything is issued: what fails after that may be asked for again with the same key. */
#include "rpc/enrol.h"

#include <string.h>

#include "base/clock.h"
#include "base/encode.h"
#include "identity/enrolment.h"
#include "identity/peer.h"
#include "rpc/enrolment.h"
#include "rpc/operator.h"
#include "rpc/pipeline.h"
#include "rpc/rates.h"
#include "rpc/revoked.h"
#include "rpc/standing.h"
#include "rpc/table.h"

#define PUBLIC_KEY_MAX 4096
#define FAILED_RETRY_MS 1000
#define NO_KEEPER "the process that issues certificates has too much to do, or has ended: ask again"
#define RENEWALS_PER_S 1 /* of an agent, on this node */

/* What is on its way, and for whom. */
struct issuance {
	struct issue_ask ask;
	const struct issuing *by;
	const char *tenant, *name, *uuid;
	bool renews;
};

static struct verdict again_later(const char *message)
{
	struct verdict v = verdict_deny(REASON_STORE_UNAVAILABLE, "", "%s", message);

	v.retry_after_ms = FAILED_RETRY_MS;
	return v;
}

static void deny(struct op *op, struct verdict v)
{
	pipeline_deny(op, &v);
}

/* ---- who may have one ---- */

/* An agent of this world: NULL when it is not active, or another one has its name. */
static const struct agent *agent_of(struct op *op, const struct world *w, const char *tenant, const char *name, const char *uuid, const char *spiffe_id)
{
	const struct agent *a = registry_by_name(w->registry, tenant, slice_str(name));
	const char *is = a ? enrol_uuid(op, w, a) : NULL;

	return is && strcmp(is, uuid) == 0 && strcmp(a->spiffe_id, spiffe_id) == 0 ? a : NULL;
}

/* May the agent have a certificate that begins then? By this world: it is judged when it is asked for, and again before it is given away. */
static struct verdict may_have(struct op *op, const struct world *w, const struct issuance *x)
{
	const struct agent *a = agent_of(op, w, x->tenant, x->name, x->uuid, x->ask.spiffe_id);
	const struct revocable who = {.tenant = x->tenant, .agent = x->name, .certificate_issued_at_ms = x->ask.not_before_ms};

	if (!a || !agent_may_show(a, x->ask.not_before_ms))
		return verdict_deny(REASON_UNKNOWN_PEER, "", "the agent is not active, or is another one by now");
	if (grants_bind(w->grants, a->spiffe_id)) /* or whoever may make tokens for it is that operator */
		return verdict_deny(REASON_ROLE_DENIED, "", "an operator has this SPIFFE id, by a role binding: its certificates come from the CA itself (baton ca issue)");
	if (x->renews ? a->certificates.no_renewal : a->certificates.no_enrolment)
		return verdict_deny(REASON_WRONG_STATE, "", "the agent's certificate policy has the broker issue it no %s (certificate.issuance)", x->renews ? "next one" : "first one");
	if (x->ask.ttl_ms > agent_ttl_ms(a, x->by->ttl_ms))
		return again_later("the agent's certificate policy was changed at the same moment: ask again");
	return revoked_judge(w, &who);
}

/* Dated back for clocks that are behind; but a certificate of after a revocation that counts up to some moment, or of after another agent had the
 * SPIFFE id, must not look as if it were of before. */
static struct verdict choose_date(struct op *op, struct issuance *x)
{
	static const int64_t back_ms[] = {CA_BACKDATE_MS, 60000, 0};
	int64_t now = clock_unix_ms();
	struct verdict v = verdict_allow();

	for (size_t i = 0; i < sizeof back_ms / sizeof back_ms[0]; i++) {
		x->ask.not_before_ms = (now - back_ms[i]) / 1000 * 1000; /* as a certificate has it */
		v = may_have(op, op->world, x);
		if (v.reason != REASON_REVOKED && v.reason != REASON_UNKNOWN_PEER)
			break;
	}
	return v;
}

/* ---- the bundle ---- */

static ProtobufCBinaryData *bundle_of(struct op *op, const struct issuing *i, size_t *n)
{
	ProtobufCBinaryData *v = arena_alloc(op->arena, i->n_bundle * sizeof *v);

	for (size_t k = 0; v && k < i->n_bundle; k++)
		v[k] = (ProtobufCBinaryData){i->bundle[k].n, (uint8_t *)i->bundle[k].p};
	*n = v ? i->n_bundle : 0;
	return v;
}

/* What everybody may know leaves no line. */
void issue_on_bundle(struct rpc_call *rc, struct op *op)
{
	const struct issuing *i = enrol_issuing(op);
	Baton__V1__Bundle m;

	if (!i)
		return;
	baton__v1__bundle__init(&m);
	m.bundle_der = bundle_of(op, i, &m.n_bundle_der);
	if (m.bundle_der)
		reply_unary(rc, &m.base);
	else
		reply_error(rc, REASON_QUOTA_EXCEEDED, "", "out of memory");
	op_end(op);
}

/* ---- the answer ---- */

static bool put_certificate(struct op *op, const struct issuance *x, const struct issue_answer *a, Baton__V1__Certificate *m)
{
	ProtobufCBinaryData *chain = arena_alloc(op->arena, 2 * sizeof *chain);
	const struct slice leaf = op_keep(op, a->certificate), issuer = op_keep(op, a->issuer);
	int64_t now = clock_unix_ms();

	if (!chain || !leaf.n || !issuer.n)
		return false;
	baton__v1__certificate__init(m);
	chain[0] = (ProtobufCBinaryData){leaf.n, (uint8_t *)leaf.p};
	chain[1] = (ProtobufCBinaryData){issuer.n, (uint8_t *)issuer.p};
	m->chain_der = chain;
	m->n_chain_der = 2;
	m->bundle_der = bundle_of(op, x->by, &m->n_bundle_der);
	m->expires_at_ms = a->not_after_ms;
	m->renew_at_ms = now + (a->not_after_ms - now) / 3 * 2;
	return m->bundle_der;
}

/* By the same digest as the audit has a peer's. */
static const char *describe(struct op *op, const struct issuance *x, const struct issue_answer *a)
{
	uint8_t print[SHA256_BYTES];
	char text[B64URL_LEN(SHA256_BYTES) + 1], until[25];

	sha256(a->certificate, print);
	b64url_encode(print, sizeof print, text);
	clock_format_utc(a->not_after_ms, until);
	return arena_printf(op->arena, "certificate %s for %s, until %s", text, x->ask.spiffe_id, until);
}

static void on_issued(struct op *op, const struct issue_answer *a)
{
	const struct issuance *x = op->state;
	Baton__V1__Certificate *m = arena_alloc(op->arena, sizeof *m);
	const char *text = a->result == ISSUE_OK ? describe(op, x, a) : "";
	const struct rpc_call *rc = op_call(op);
	struct verdict v = may_have(op, op->w->world, x); /* what was taken away meanwhile holds */

	if (verdict_ok(&v) && rc)
		v = standing_now(op, rc);
	if (!verdict_ok(&v))
		deny(op, v);
	else if (a->result == ISSUE_REFUSED)
		deny(op, verdict_deny(REASON_WRONG_STATE, "", "no certificate was issued: %.*s", (int)a->why.n, (const char *)a->why.p));
	else if (a->result != ISSUE_OK)
		deny(op, again_later(a->result == ISSUE_BUSY ? "too many certificates are asked for, or too many for this agent within a minute: ask again"
			: "the process that issues certificates could not: ask again, and whoever runs the broker finds more in its log"));
	else if (!m || !text || !put_certificate(op, x, a, m))
		deny(op, pipeline_no_memory());
	else {
		op->audit.message = slice_str(text);
		pipeline_answer(op, &m->base);
	}
}

static void ask(struct op *op)
{
	struct issuance *x = op->state;
	const struct rpc_env *env = &op->w->env;

	op->on_issued = on_issued;
	x->ask.op = op->id;
	if (!env->issue || !env->issue(env->arg, &x->ask))
		deny(op, again_later(NO_KEEPER));
}

static bool can_ask(const struct op *op)
{
	return op->w->env.issue && op->w->env.issue(op->w->env.arg, NULL);
}

/* ---- what is asked for ---- */

/* The request's public key, in the arena. */
static struct verdict take_key(struct op *op, const struct agent *a, ProtobufCBinaryData csr, struct slice *out)
{
	struct verdict v = verdict_allow();
	struct problem why = {""};
	struct buf key;

	if (csr.len > CA_REQUEST_MAX)
		return verdict_deny(REASON_MALFORMED_ENVELOPE, "csr_der", "csr_der: a request has at most %d bytes", CA_REQUEST_MAX);
	buf_init(&key, PUBLIC_KEY_MAX);
	if (ca_request_check(slice_of(csr.data, csr.len), a->spiffe_id, &key, &why) < 0)
		v = verdict_deny(REASON_MALFORMED_ENVELOPE, "csr_der", "csr_der: %s", why.text);
	else if (!(*out = op_keep(op, buf_slice(&key))).n)
		v = pipeline_no_memory();
	buf_clear(&key);
	return v;
}

/* NULL: the op has ended. */
static struct issuance *begin(struct op *op, const struct issuing *i, const struct agent *a, ProtobufCBinaryData csr, bool renews)
{
	struct issuance *x = arena_zalloc(op->arena, sizeof *x);
	struct verdict v = x ? verdict_allow() : pipeline_no_memory();

	if (x) {
		*x = (struct issuance){.by = i, .ask = {.spiffe_id = a->spiffe_id, .ttl_ms = agent_ttl_ms(a, i->ttl_ms)}, .tenant = a->tenant, .name = a->name, .uuid = enrol_uuid(op, op->world, a), .renews = renews};
		v = x->uuid ? choose_date(op, x) : pipeline_no_memory();
	}
	if (verdict_ok(&v))
		v = take_key(op, a, csr, &x->ask.public_key);
	if (!verdict_ok(&v)) {
		deny(op, v);
		return NULL;
	}
	op->state = x;
	return x;
}

/* ---- the next certificate ---- */

/* Beside its submits: renewals have a budget of their own, and cost nothing beyond it. */
static bool has_budget(struct rpc_call *rc, struct op *op)
{
	struct verdict v;
	uint32_t wait;

	switch (rates_take(op->w->env.rates, ~op->agent->key, RENEWALS_PER_S, clock_mono_ms(), &wait)) {
	case RATE_TAKEN:
		return true;
	case RATE_OVER:
		v = verdict_deny(REASON_QUOTA_EXCEEDED, "", "%s asks for certificates too often: wait %u ms", op->agent->name, wait);
		v.retry_after_ms = wait;
		deny(op, v);
		return false;
	default:
		call_end_connection(rc->c, "too_many_refused");
		op_end(op);
		return false;
	}
}

void issue_on_renew(struct rpc_call *rc, struct op *op)
{
	const Baton__V1__RenewRequest *m = (const Baton__V1__RenewRequest *)op->msg;
	const struct issuing *i = has_budget(rc, op) ? enrol_issuing(op) : NULL;

	if (i && begin(op, i, op->agent, m->csr_der, true))
		ask(op);
}

/* ---- the first ---- */

static struct verdict verdict_of(enum enrolment_fault f)
{
	switch (f) {
	case ENROLMENT_FINE:
		return verdict_allow();
	case ENROLMENT_EXPIRED:
		return verdict_deny(REASON_EXPIRED_TOKEN, "token", "token: it has expired: ask for a new one (baton agent enroll-token)");
	case ENROLMENT_USED:
		return verdict_deny(REASON_INVALID_TOKEN, "token", "token: it was used with another key, and is good once: if that was not you, tell whoever operates the broker");
	default:
		return verdict_deny(REASON_INVALID_TOKEN, "token", "token: it is none of this broker's, or a newer one took its place: ask for a new one (baton agent enroll-token)");
	}
}

/* It is kept that the token was used, and with which key, before the key has a certificate. */
static void on_bound(struct op *op, const struct store_answer *a)
{
	if (a->status == STORE_OK)
		ask(op);
	else if (a->status == STORE_CONFLICT)
		deny(op, again_later("the token was used, or another one made, at the same moment: ask again"));
	else
		operator_no_store(op);
}

static void bind_token(struct op *op, struct enrolment *e, const struct resource *r, const uint8_t key[SHA256_BYTES])
{
	memcpy(e->key, key, SHA256_BYTES);
	if (!enrol_keep(op, r->name, r->version + 1, e, on_bound))
		deny(op, pipeline_no_memory());
}

/* What is kept of this token. false: the op has ended. */
static bool find(struct op *op, struct slice token, const struct resource **r, struct enrolment *e)
{
	char text[ENROLMENT_NAME_MAX];
	uint8_t pin[SHA256_BYTES];
	uint64_t key;

	if (!worker_is_fresh(op->w)) {
		deny(op, again_later("this node has not heard of changes for too long: try another, or again"));
		return false;
	}
	*r = enrolment_token_read(token, &key, pin) ? NULL : resources_find(op->world->resources, enrolment_name(key, text));
	if (*r && !(*r)->removed && enrolment_get((*r)->value, e))
		return true;
	deny(op, verdict_of(ENROLMENT_UNKNOWN));
	return false;
}

/* Of whom the audit speaks: of nobody, before the token is known to be good. */
static void name_agent(struct op *op, const struct enrolment *e)
{
	op->audit.tenant = slice_str(op_str(op, slice_str(e->tenant)));
	op->audit.agent = slice_str(op_str(op, slice_str(e->name)));
	op->audit.spiffe_id = slice_str(op_str(op, slice_str(e->spiffe_id)));
}

static void enrol(struct op *op, const struct issuing *i, struct slice token, ProtobufCBinaryData csr)
{
	uint8_t key[SHA256_BYTES] = {0};
	const struct resource *r;
	struct enrolment e;
	const struct agent *a;
	struct issuance *x;
	struct verdict v;

	if (!find(op, token, &r, &e))
		return;
	v = verdict_of(enrolment_judge(&e, token, e.key, clock_unix_ms()));
	if (verdict_ok(&v) && !can_ask(op))
		v = again_later(NO_KEEPER); /* before the token is bound */
	if (!verdict_ok(&v)) {
		deny(op, v);
		return;
	}
	name_agent(op, &e);
	a = agent_of(op, op->world, e.tenant, e.name, e.uuid, e.spiffe_id);
	if (!a) {
		deny(op, verdict_deny(REASON_UNKNOWN_PEER, "token", "token: the agent that it was made for is not active, or is another one by now"));
		return;
	}
	x = begin(op, i, a, csr, false);
	if (!x)
		return;
	sha256(x->ask.public_key, key);
	v = verdict_of(enrolment_judge(&e, token, key, clock_unix_ms()));
	if (!verdict_ok(&v))
		deny(op, v);
	else if (enrolment_is_used(&e)) /* with this key: its answer was lost */
		ask(op);
	else
		bind_token(op, &e, r, key);
}

void issue_on_enrol(struct rpc_call *rc, struct op *op)
{
	const Baton__V1__EnrolRequest *m = (const Baton__V1__EnrolRequest *)op->msg;
	const struct issuing *i = enrol_issuing(op);

	(void)rc;
	if (i)
		enrol(op, i, slice_str(m->token), m->csr_der);
}
