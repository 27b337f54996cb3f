/* Which assertion goes with a delivery? A short-lived one, signed for the receiver and its certificate; a fresh one follows in the stream
 * before it runs out. */
#include "rpc/assert.h"

#include "base/clock.h"
#include "base/encode.h"
#include "base/secret.h"

#define RENEW_MS 60000       /* before it runs out */
#define RENEW_AGAIN_MS 5000  /* while one is under way, or failed */

bool assertion_ask(struct op *op, const struct holding *h, const pb_task *t, const pb_envelope *e, uint32_t attempt,
		   void (*on_signed)(struct op *op, const struct sign_answer *a))
{
	const struct agent *receiver = registry_by_name(op->world->registry, h->subscriber->tenant, slice_str(h->subscriber->agent));
	const struct rpc_env *env = &op->w->env;
	char id[HANDOFF_ID_TEXT + 1], jti[B64URL_LEN(16) + 1];
	struct assertion a = {
		.audience = receiver ? receiver->spiffe_id : "", .receiver_x5t = op->x5t_s256, .tenant = t->tenant, .route = t->route,
		.tool = e->tool, .destination = e->destination, .side_effect = side_effect_text((enum side_effect)t->side_effect),
		.handoff_id = id, .fence = h->fence, .attempt = attempt, .subject = t->subject, .subject_issuer = t->issuer,
		.sender_spiffe_id = t->sender_spiffe_id, .scope = (const char *)op_join(op, (const char *const *)t->scopes, t->n_scopes).p, .trace_id = t->trace_id, .jti = jti,
		.expires_at_ms = t->deadline_ms,
	};
	uint8_t random[16];

	handoff_id_format(&h->id, id);
	random_bytes(random, sizeof random);
	b64url_encode(random, sizeof random, jti);
	sha256(slice_of(e->payload.data, e->payload.len), a.payload_sha256);
	op->audit.assertion_jti = slice_str(op_str(op, slice_str(jti)));
	op->on_signed = on_signed;
	if (!a.scope || !receiver || !env->sign(env->arg, op->id, &a))
		return false;
	op_rest(op);
	return true;
}

void assertion_given(struct holding *h, int64_t deadline_ms, int64_t expires_at_ms)
{
	h->assert_at_ms = expires_at_ms < deadline_ms ? expires_at_ms - RENEW_MS : INT64_MAX;
}

struct renew {
	struct handoff_id id;
	uint64_t fence;
	const char *jwt;
	int64_t expires_at_ms, deadline_ms;
};

/* By the stream for whose certificate it is: another one may have resumed the lease. */
static struct holding *still_held(struct op *op)
{
	struct renew *n = op->state;
	struct holding *h = holding_find(op->w, &n->id, n->fence);

	return h && h->subscriber->rc == op_call(op) ? h : NULL;
}

static void renew_release(struct op *op, bool durable)
{
	Baton__V1__BrokerFrame f = BATON__V1__BROKER_FRAME__INIT;
	Baton__V1__AssertionRenewed m = BATON__V1__ASSERTION_RENEWED__INIT;
	Baton__V1__Lease lease = BATON__V1__LEASE__INIT;
	struct renew *n = op->state;
	struct holding *h = still_held(op);
	char text[HANDOFF_ID_TEXT + 1];

	/* A node that stood still meanwhile, or has not heard of revocations for too long, is judged again before it gives anything away. */
	if (h && (!durable || !worker_is_fresh(op->w) || op->world != op->w->world || !outbox_clear(h->subscriber->rc))) {
		h->assert_at_ms = clock_unix_ms() + RENEW_AGAIN_MS;
	} else if (h) {
		handoff_id_format(&n->id, text);
		lease.handoff_id = text;
		lease.fencing_token = n->fence;
		m.lease = &lease;
		m.assertion = (char *)n->jwt;
		m.expires_at_ms = n->expires_at_ms;
		f.frame_case = BATON__V1__BROKER_FRAME__FRAME_ASSERTION;
		f.assertion = &m;
		reply_send(h->subscriber->rc, &f.base);
	}
	op_end(op);
}

/* Nothing is signed for whom, or for what, would not be delivered now. False: the lease was taken away. */
static bool judged(struct op *op, struct holding *h, const pb_task *t, const pb_envelope *e)
{
	return holding_may_stay(op->w, h) && holding_task_stands(op->w, h, op->arena, t, e);
}

static void renew_signed(struct op *op, const struct sign_answer *a)
{
	struct renew *n = op->state;
	struct holding *h = still_held(op);

	n->jwt = h && a->token.n ? op_str(op, a->token) : NULL;
	if (!n->jwt) {
		op_end(op);
		return;
	}
	n->expires_at_ms = a->expires_at_ms;
	assertion_given(h, n->deadline_ms, a->expires_at_ms);
	op_after_audit(op, op_audit(op, "assertion.issued"), renew_release);
}

static void renew_read(struct op *op, const struct store_answer *a)
{
	struct renew *n = op->state;
	struct holding *h = still_held(op);
	pb_task *t = h && a->status == STORE_OK && a->n_items && a->items[0].status == STORE_OK ? task_unpack(op->arena, a->items[0].task) : NULL;
	pb_envelope *e = t ? task_unpack_envelope(op->arena, t) : NULL;
	char *text = e ? arena_alloc(op->arena, HANDOFF_ID_TEXT + 1) : NULL;

	if (!text || h->settling || !judged(op, h, t, e) || !(h->origin || holding_origin(h, t, e))) {
		op_end(op);
		return;
	}
	handoff_id_format(&n->id, text);
	n->deadline_ms = t->deadline_ms;
	op->audit.handoff_id = slice_str(text);
	op->audit.tenant = slice_str(t->tenant);
	op->audit.route = slice_str(t->route);
	op->audit.assignee = slice_str(op_str(op, slice_str(h->subscriber->agent)));
	op->audit.trace_id = slice_str(t->trace_id);
	op->audit.fence = n->fence;
	if (!assertion_ask(op, h, t, e, a->items[0].record.attempt, renew_signed))
		op_end(op);
}

void assertion_renew(struct rpc_worker *w, struct holding *h)
{
	struct op *op = op_new(w, h->subscriber->rc);
	struct renew *n = op ? arena_zalloc(op->arena, sizeof *n) : NULL;

	if (!n) {
		if (op)
			op_end(op);
		return;
	}
	h->assert_at_ms = clock_unix_ms() + RENEW_AGAIN_MS;
	n->id = h->id;
	n->fence = h->fence;
	op->state = n;
	op->on_answer = renew_read;
	w->env.store->ops->get(w->env.store, (struct store_slot){h->desk->tenant, h->desk->queue}, &h->id, true, op_store_done, w, op->id);
}
