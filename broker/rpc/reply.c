/* How does an answer look on the wire? Packing, and denials as decision.proto promises them: status and message, trailers, details. */
#include "rpc/op.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "baton/v1/decision.pb-c.h"
#include "rpc/table.h"
#include "wire/grpc.h"

#define QUOTA_RETRY_MS 1000

static struct slice pack(struct rpc_worker *w, const ProtobufCMessage *m)
{
	size_t n = protobuf_c_message_get_packed_size(m);
	uint8_t *p;

	buf_reset(&w->scratch);
	p = buf_reserve(&w->scratch, n + 1);
	if (!p)
		return slice_of(NULL, 0);
	w->scratch.n = protobuf_c_message_pack(m, p);
	return slice_of(w->scratch.p, w->scratch.n);
}

bool reply_send(struct rpc_call *rc, const ProtobufCMessage *m)
{
	struct slice bytes = pack(rc->w, m);

	if (!bytes.p) {
		reply_error(rc, REASON_QUOTA_EXCEEDED, "", "the answer is too large");
		return false;
	}
	return call_send(rc->c, bytes);
}

void reply_unary(struct rpc_call *rc, const ProtobufCMessage *m)
{
	reply_send(rc, m);
	call_end(rc->c, GRPC_OK, NULL, NULL, 0);
}

/* Whoever has too much is always told when to come again. */
static uint32_t retry_after(const struct verdict *v)
{
	return v->retry_after_ms || v->reason != REASON_QUOTA_EXCEEDED ? v->retry_after_ms : QUOTA_RETRY_MS;
}

pb_decision *reply_decision(struct arena *a, const struct verdict *v, const char *policy_version)
{
	Baton__V1__Decision *d = arena_alloc(a, sizeof *d);
	size_t n = 0;

	if (!d)
		return NULL;
	baton__v1__decision__init(d);
	d->outcome = (Baton__V1__Outcome)v->outcome;
	d->reason = (Baton__V1__Reason)v->reason;
	d->policy_version = arena_strdup(a, policy_version);
	d->message = arena_strdup(a, v->message);
	d->field = arena_strdup(a, v->field);
	d->retry_after_ms = retry_after(v);
	while (n < 8 && v->missing_scopes[n][0])
		n++;
	d->missing_scopes = n ? arena_alloc(a, n * sizeof *d->missing_scopes) : NULL;
	for (size_t i = 0; d->missing_scopes && i < n; i++)
		d->missing_scopes[i] = arena_strdup(a, v->missing_scopes[i]);
	d->n_missing_scopes = d->missing_scopes ? n : 0;
	return d->policy_version && d->message && d->field ? d : NULL;
}

/* What the trailers say, for clients that read details only. */
static size_t metadata_of(struct grpc_detail m[4], const struct verdict *v, const char *policy, const char *trace_id, const char *handoff_id)
{
	const struct grpc_detail all[4] = {{"field", v->field}, {"policy_version", policy}, {"trace_id", trace_id}, {"handoff_id", handoff_id}};
	size_t n = 0;

	for (size_t i = 0; i < 4; i++)
		if (all[i].value && *all[i].value)
			m[n++] = all[i];
	return n;
}

static struct slice details(struct rpc_worker *w, const struct verdict *v, const char *message, const char *policy, const struct grpc_detail *m,
			    size_t n, struct buf *out)
{
	struct arena *a = arena_new(16384);
	pb_decision *d = a ? reply_decision(a, v, policy) : NULL;
	struct grpc_details g = {.status = reason_info(v->reason)->grpc, .message = slice_str(message),
		.reason = reason_text(v->reason), .metadata = m, .n_metadata = n, .retry_after_ms = retry_after(v)};

	if (d) {
		g.any_type = "type.googleapis.com/baton.v1.Decision";
		g.any_bytes = pack(w, &d->base);
	}
	grpc_details_encode(out, &g);
	arena_free(a);
	return buf_slice(out);
}

struct trailers {
	struct call_trailer t[8];
	size_t n;
};

static void trailer(struct trailers *ts, const char *key, struct slice value)
{
	if (value.n && ts->n < 8)
		ts->t[ts->n++] = (struct call_trailer){key, value};
}

void reply_denied(struct rpc_call *rc, const struct op *op, const struct verdict *v, const char *policy_version, const char *handoff_id)
{
	const char *trace_id = op ? op->trace.trace_id : "";
	struct grpc_detail metadata[4];
	size_t n = metadata_of(metadata, v, policy_version, trace_id, handoff_id);
	struct trailers ts = {.n = 0};
	struct buf out;
	char message[640], now[24], retry[16] = "";

	snprintf(message, sizeof message, "%s%s%s", reason_text(v->reason), v->message[0] ? ": " : "", v->message);
	snprintf(now, sizeof now, "%lld", (long long)clock_unix_ms());
	if (retry_after(v))
		snprintf(retry, sizeof retry, "%u", retry_after(v));
	buf_init(&out, 8192);
	trailer(&ts, "baton-reason", slice_str(reason_text(v->reason)));
	trailer(&ts, "baton-trace-id", slice_str(trace_id));
	trailer(&ts, "baton-policy-version", slice_str(policy_version));
	trailer(&ts, "baton-handoff-id", slice_str(handoff_id));
	trailer(&ts, "baton-retry-after-ms", slice_str(retry));
	trailer(&ts, "grpc-retry-pushback-ms", slice_str(retry));
	trailer(&ts, "baton-server-time-ms", slice_str(now));
	trailer(&ts, "grpc-status-details-bin", details(rc->w, v, message, policy_version ? policy_version : "", metadata, n, &out));
	call_end(rc->c, reason_info(v->reason)->grpc, message, ts.t, ts.n);
	buf_clear(&out);
}

Baton__V1__Notice reply_notice(Baton__V1__NoticeKind kind, const char *message, int64_t at_ms)
{
	Baton__V1__Notice n = BATON__V1__NOTICE__INIT;

	n.kind = kind;
	n.message = (char *)message;
	n.at_ms = at_ms;
	return n;
}

void reply_error(struct rpc_call *rc, enum reason r, const char *field, const char *message)
{
	struct verdict v = verdict_deny(r, field, "%s", message);

	reply_denied(rc, NULL, &v, "", NULL);
}
