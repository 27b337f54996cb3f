/* Which assertion goes with a delivery? A short-lived one, signed for the receiver and its certificate; a fresh one follows in the stream
 * before it runs out. */
#include "rpc/assert.h"

#include "base/clock.h"
#include "base/encode.h"
#include "base/secret.h"

#define ASSERTION_MS (5 * 60 * 1000)
#define RENEW_MS 60000       /* before it runs out */
#define RENEW_AGAIN_MS 5000  /* while one is under way, or failed */

static const char *sign(struct op *op, struct holding *h, const pb_task *t, const pb_envelope *e, const struct agent *receiver,
			uint32_t attempt, int64_t *expires_at_ms)
{
	char id[HANDOFF_ID_TEXT + 1], jti[B64URL_LEN(16) + 1];
	int64_t now = clock_unix_ms();
	struct assertion a = {
		.issuer = op->w->env.assertion_issuer, .audience = receiver->spiffe_id, .receiver_x5t = op->x5t_s256,
		.tenant = t->tenant, .route = t->route, .tool = e->tool, .destination = e->destination,
		.side_effect = side_effect_text((enum side_effect)t->side_effect), .handoff_id = id, .fence = h->fence,
		.attempt = attempt, .subject = t->subject, .subject_issuer = t->issuer, .sender_spiffe_id = t->sender_spiffe_id,
		.scopes = (const char *const *)t->scopes, .n_scopes = t->n_scopes, .trace_id = t->trace_id, .jti = jti, .now_ms = now,
		.expires_at_ms = now + ASSERTION_MS < t->deadline_ms ? now + ASSERTION_MS : t->deadline_ms,
	};
	uint8_t random[16];
	const char *jwt;

	handoff_id_format(&h->id, id);
	random_bytes(random, sizeof random);
	b64url_encode(random, sizeof random, jti);
	sha256(slice_of(e->payload.data, e->payload.len), a.payload_sha256);
	jwt = assertion_sign(op->w->env.assertion, &a, op->arena);
	*expires_at_ms = a.expires_at_ms;
	if (jwt) /* one that lasts to the deadline is the last one */
		h->assert_at_ms = a.expires_at_ms < t->deadline_ms ? a.expires_at_ms - RENEW_MS : INT64_MAX;
	op->audit.assertion_jti = slice_str(op_str(op, slice_str(jti)));
	return jwt;
}

const char *assertion_first(struct op *op, struct holding *h, const pb_task *t, const pb_envelope *e, const struct agent *receiver,
			    const struct store_record *r, int64_t *expires_at_ms)
{
	return sign(op, h, t, e, receiver, r->attempt, expires_at_ms);
}

struct renew {
	struct handoff_id id;
	uint64_t fence;
	const char *jwt;
	int64_t expires_at_ms;
};

static void renew_release(struct op *op, bool durable)
{
	Baton__V1__BrokerFrame f = BATON__V1__BROKER_FRAME__INIT;
	Baton__V1__AssertionRenewed m = BATON__V1__ASSERTION_RENEWED__INIT;
	Baton__V1__Lease lease = BATON__V1__LEASE__INIT;
	struct renew *n = op->state;
	struct holding *h = holding_find(op->w, &n->id, n->fence);
	char text[HANDOFF_ID_TEXT + 1];

	if (h && (!durable || !outbox_clear(h->subscriber->rc))) {
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

static void renew_read(struct op *op, const struct store_answer *a)
{
	struct renew *n = op->state;
	struct holding *h = holding_find(op->w, &n->id, n->fence);
	const struct agent *receiver = h ? registry_by_name(op->world->registry, h->subscriber->tenant, slice_str(h->subscriber->agent)) : NULL;
	pb_task *t = receiver && a->status == STORE_OK && a->n_items && a->items[0].status == STORE_OK
			    ? task_unpack(op->arena, a->items[0].task) : NULL;
	pb_envelope *e = t ? task_unpack_envelope(op->arena, t) : NULL;
	char *text = e ? arena_alloc(op->arena, HANDOFF_ID_TEXT + 1) : NULL;

	n->jwt = text && !h->settling && judged(op, h, t, e) && (h->origin || holding_origin(h, t, e))
			 ? sign(op, h, t, e, receiver, a->items[0].record.attempt, &n->expires_at_ms) : NULL;
	if (!n->jwt) {
		op_end(op);
		return;
	}
	handoff_id_format(&n->id, text);
	op->audit.handoff_id = slice_str(text);
	op->audit.tenant = slice_str(t->tenant);
	op->audit.route = slice_str(t->route);
	op->audit.assignee = slice_str(receiver->name);
	op->audit.trace_id = slice_str(t->trace_id);
	op->audit.fence = n->fence;
	op_after_audit(op, op_audit(op, "assertion.issued"), renew_release);
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
