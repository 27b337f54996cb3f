/* On whose authority is this asked? Finds the one token that counts and has it verified for the route that is asked for. */
#include "rpc/principal.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/clock.h"
#include "base/secret.h"
#include "rpc/expiring.h"
#include "rpc/pipeline.h"
#include "rpc/revoked.h"
#include "rpc/table.h"

#define ASK_RETRY_MS 1000

struct slice principal_token(struct rpc_call *rc, struct slice in_request, struct verdict *v)
{
	struct slice header;
	size_t n = 0;

	*v = verdict_allow();
	header = call_metadata(rc->c, "authorization", &n);
	if (n > 1) {
		*v = verdict_deny(REASON_INVALID_TOKEN, "authorization", "`authorization` was sent %zu times: send it once", n);
		return slice_of(NULL, 0);
	}
	if (in_request.n)
		return in_request;
	if (rc->token)
		return slice_str(rc->token);
	if (!n)
		return slice_of(NULL, 0);
	if (header.n < 8 || strncasecmp((const char *)header.p, "bearer ", 7) != 0) {
		*v = verdict_deny(REASON_INVALID_TOKEN, "authorization", "`authorization` is not of the form: Bearer TOKEN");
		return slice_of(NULL, 0);
	}
	return slice_of(header.p + 7, header.n - 7);
}

static void audit_claims(struct op *op, const struct claims *c)
{
	op->audit.issuer = slice_str(c->issuer);
	op->audit.subject = slice_str(c->subject);
	op->audit.client_id = slice_str(c->client_id);
	op->audit.token_tenant = slice_str(c->tenant);
	op->audit.jti = slice_str(c->jti);
	op->audit.audience = slice_str(c->audience);
	op->audit.scopes = op_join(op, (const char *const *)c->scopes, c->n_scopes);
}

/* Waits for keys while that may help. */
static bool wait_for_keys(struct op *op, const struct token_answer *a)
{
	const struct key_want want = {.issuer = (size_t)a->want_keys, .agent = op->asker, .kid = a->want_kid,
		.since_ms = op->parked_ms};
	int64_t now = clock_mono_ms();

	return a->want_keys >= 0 && op_may_park(op, now) && op->w->env.want_keys(op->w->env.arg, &want) &&
	       op_park(op, want.issuer, now);
}

/* The issuer of an opaque token is asked about it, once for each time that the request waits for that. */
static bool wait_for_answer(struct op *op, struct slice token, const struct token_context *cx, struct token_answer *a)
{
	const struct token_question q = {.source = a->source, .key = a->question, .token = token, .agent = op->asker};
	uint64_t what = question_wait(a->question);
	int64_t now = clock_mono_ms();
	enum question_result r;

	a->verdict.retry_after_ms = ASK_RETRY_MS;
	if (op->told == what || !op->w->env.ask_issuer || !op_may_park(op, now))
		return false;
	r = op->w->env.ask_issuer(op->w->env.arg, &q);
	if (r == QUESTION_ANSWERED)
		token_verify(op->w->verifier, token, cx, op->arena, a);
	else if (r == QUESTION_SPENT)
		a->verdict = verdict_deny(REASON_QUOTA_EXCEEDED, "", "too many of this agent's tokens turned out to be no good: its issuer is asked about no other for a while");
	return r == QUESTION_ASKED && op_park(op, what, now);
}

/* What is said on a stream later, and what it is sent, is on the same authority: that is kept, to be judged again when something is revoked. */
static void judge_revoked(struct op *op, struct token_answer *out)
{
	const struct revocable whose = revoked_claims(op->agent ? op->agent->tenant : NULL, &out->claims); /* an operator is of no tenant */
	struct rpc_call *rc = op_call(op);
	struct revocable *kept;

	out->verdict = revoked_judge(op->world, &whose);
	if (!verdict_ok(&out->verdict) || !rc || !rc->row->on_writable)
		return;
	kept = revocable_copy(&whose);
	if (!kept) {
		out->verdict = pipeline_no_memory();
		return;
	}
	free(rc->whose);
	rc->whose = kept;
}

/* A Credential came before it, and is not judged yet: which token is the stream's then is not known. */
static bool wait_for_credential(struct op *op)
{
	const struct rpc_call *rc = op_call(op);
	int64_t now = clock_mono_ms();

	if (!rc || !rc->credential || rc->credential == op->id || !slots_get(op->w->ops, rc->credential))
		return false;
	return op_may_park(op, now) && op_park(op, rc->credential_for, now);
}

enum principal_result principal_verify(struct op *op, struct slice token, const struct profile *p, struct token_answer *out)
{
	struct token_context cx = {
		.x5t_s256 = op->x5t_s256,
		.spiffe_id = op->spiffe_id,
		.client = op->agent->client,
		.client_alt = op->agent->spiffe_id,
		.tenant = op->agent->tenant,
		.now_ms = clock_unix_ms(),
		.mono_ms = clock_mono_ms(),
		.leeway_ms = op->world->envelope.clock_skew_ms,
	};

	if (wait_for_credential(op))
		return PRINCIPAL_PARKED;
	if (p) {
		cx.audience = p->required_audience;
		cx.allowed_issuers = p->allowed_issuers;
		cx.n_allowed_issuers = p->n_allowed_issuers;
	}
	return principal_judge(op, token, &cx, out);
}

/* Is it the stream's principal, by issuer, subject and client? The first one asked about becomes it. */
static bool is_principal(struct rpc_call *rc, const struct claims *c)
{
	const char *const parts[] = {c->issuer, c->subject, c->client_id};
	uint8_t digest[SHA256_BYTES];
	struct buf b;

	buf_init(&b, 65536);
	for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
		buf_put_str(&b, parts[i]);
		buf_put_u8(&b, 0); /* no part has a NUL, so the boundaries are plain */
	}
	if (b.failed) {
		buf_clear(&b);
		return false;
	}
	sha256(buf_slice(&b), digest);
	buf_clear(&b);
	if (!rc->has_principal)
		memcpy(rc->principal, digest, sizeof digest);
	rc->has_principal = true;
	return memcmp(rc->principal, digest, sizeof digest) == 0;
}

/* The first token of a stream, when it is the stream's own and not a single request's. Whose it is stands from then on: what is opaque cannot be asked about once it has
 * ended, and a Credential may come later. */
static void note_expiry(struct op *op, struct slice token, const struct token_answer *a)
{
	struct rpc_call *rc = op_call(op);
	struct verdict v;

	if (!rc || rc->token_until_ms || !rpc_row_lives_on(rc->row))
		return;
	if (rc->row->stream != STREAM_UNARY && !slice_eq(token, principal_token(rc, slice_of(NULL, 0), &v)))
		return;
	expiring_begin(rc, &a->claims);
	is_principal(rc, &a->claims);
}

enum principal_result principal_judge(struct op *op, struct slice token, const struct token_context *cx, struct token_answer *out)
{
	memset(out, 0, sizeof *out);
	out->want_keys = -1;
	token_verify(op->w->verifier, token, cx, op->arena, out);
	if (!verdict_ok(&out->verdict) && wait_for_keys(op, out))
		return PRINCIPAL_PARKED;
	if (out->want_answer && wait_for_answer(op, token, cx, out))
		return PRINCIPAL_PARKED;
	if (out->have_claims)
		audit_claims(op, &out->claims);
	if (verdict_ok(&out->verdict))
		judge_revoked(op, out);
	if (verdict_ok(&out->verdict))
		note_expiry(op, token, out);
	if (verdict_ok(&out->verdict) && !out->claims.bound)
		metrics_add(op->w->env.metrics, METRIC_TOKEN_UNBOUND, out->claims.issuer_name, NULL, 1);
	return PRINCIPAL_JUDGED;
}

/* The stream began with the token of its metadata, which may have expired by now: whose it is stands before another takes its place. */
static enum principal_result begun_as(struct rpc_call *rc, struct op *op, struct verdict *v)
{
	struct slice token = principal_token(rc, slice_of(NULL, 0), v);
	struct token_answer begun;

	if (rc->has_principal || !verdict_ok(v) || !token.n)
		return PRINCIPAL_JUDGED;
	if (principal_verify(op, token, NULL, &begun) == PRINCIPAL_PARKED)
		return PRINCIPAL_PARKED;
	if (!begun.have_claims)
		*v = begun.verdict;
	else if (!is_principal(rc, &begun.claims))
		*v = verdict_deny(REASON_QUOTA_EXCEEDED, "", "out of memory");
	return PRINCIPAL_JUDGED;
}

static struct verdict replace(struct rpc_call *rc, struct slice token, const struct token_answer *answer)
{
	char *copy;

	if (!verdict_ok(&answer->verdict))
		return answer->verdict;
	if (!is_principal(rc, &answer->claims))
		return verdict_deny(REASON_IDENTITY_MISMATCH, "access_token",
				    "a Credential must name the issuer, subject and client of the token that it replaces");
	copy = malloc(token.n + 1);
	if (!copy)
		return verdict_deny(REASON_QUOTA_EXCEEDED, "", "out of memory");
	slice_copy_str(token, copy, token.n + 1);
	if (rc->token) {
		secret_wipe(rc->token, strlen(rc->token));
		free(rc->token);
	}
	rc->token = copy;
	expiring_begin(rc, &answer->claims);
	return verdict_allow();
}

static enum principal_result judge_credential(struct rpc_call *rc, struct op *op, struct slice token, struct verdict *v)
{
	struct token_answer answer;

	if (begun_as(rc, op, v) == PRINCIPAL_PARKED)
		return PRINCIPAL_PARKED;
	if (!verdict_ok(v))
		return PRINCIPAL_JUDGED;
	if (principal_verify(op, token, NULL, &answer) == PRINCIPAL_PARKED)
		return PRINCIPAL_PARKED;
	*v = replace(rc, token, &answer);
	return PRINCIPAL_JUDGED;
}

void principal_credential(struct rpc_call *rc, struct op *op, struct slice token)
{
	bool first = !rc->credential || rc->credential == op->id;
	struct verdict v;

	if (judge_credential(rc, op, token, &v) == PRINCIPAL_PARKED) {
		if (first) {
			rc->credential = op->id;
			rc->credential_for = op->parked_for;
		}
		return;
	}
	if (first)
		rc->credential = 0;
	if (!verdict_ok(&v))
		pipeline_deny(op, &v);
	else
		op_end(op);
}
