/* What is in an audit line? The table below says; which events there are, audit_event.c. A line is one flat JSON
 * object; every string in it was redacted. How lines reach the file is in audit_file.c, when they are durable in
 * audit_sync.c. */
#include "config.h"

#include "observe/audit_internal.h"

#include <stddef.h>

#include "base/clock.h"
#include "base/encode.h"
#include "base/jsonw.h"
#include "base/log.h"
#include "base/redact.h"

enum field_kind {
	FIELD_TEXT,
	FIELD_OURS, /* made by us or out of a closed set of characters: no credential can be in it */
	FIELD_SIDE_EFFECT,
	FIELD_OUTCOME,
	FIELD_REASON,
	FIELD_STATE,
	FIELD_U32,
	FIELD_U64,
	FIELD_BOOL,
};

#define FIELD(kind, name) {kind, #name, offsetof(struct audit_record, name)}

static const struct {
	enum field_kind kind;
	const char *key;
	size_t offset;
} fields[] = {
	FIELD(FIELD_OUTCOME, outcome),
	FIELD(FIELD_REASON, reason),
	FIELD(FIELD_TEXT, field),
	FIELD(FIELD_TEXT, message),
	FIELD(FIELD_OURS, policy_version),
	FIELD(FIELD_OURS, handoff_id),
	FIELD(FIELD_STATE, state),
	FIELD(FIELD_TEXT, parent_handoff_id),
	FIELD(FIELD_TEXT, approval_id),
	FIELD(FIELD_OURS, trace_id),
	FIELD(FIELD_OURS, span_id),
	FIELD(FIELD_OURS, tenant),
	FIELD(FIELD_OURS, agent),
	FIELD(FIELD_OURS, spiffe_id),
	FIELD(FIELD_OURS, certificate_sha256),
	FIELD(FIELD_OURS, remote),
	FIELD(FIELD_TEXT, issuer),
	FIELD(FIELD_TEXT, subject),
	FIELD(FIELD_TEXT, client_id),
	FIELD(FIELD_TEXT, token_tenant),
	FIELD(FIELD_TEXT, jti),
	FIELD(FIELD_TEXT, scopes),
	FIELD(FIELD_TEXT, audience),
	FIELD(FIELD_OURS, roles),
	FIELD(FIELD_OURS, rpc),
	FIELD(FIELD_TEXT, route),
	FIELD(FIELD_TEXT, tool),
	FIELD(FIELD_SIDE_EFFECT, side_effect),
	FIELD(FIELD_TEXT, destination),
	FIELD(FIELD_TEXT, idempotency_key),
	FIELD(FIELD_U32, attempt),
	FIELD(FIELD_U64, fence),
	FIELD(FIELD_OURS, assignee),
	FIELD(FIELD_OURS, assertion_jti),
	FIELD(FIELD_TEXT, stop_reason),
	FIELD(FIELD_TEXT, side_effect_id),
	FIELD(FIELD_OURS, payload_sha256),
	FIELD(FIELD_OURS, retention),
	FIELD(FIELD_BOOL, reconciled),
};

/* Redacts first and cuts after: half a token must not pass because its other half is gone. */
static void put_text(struct jsonw *w, struct buf *scratch, const char *key, struct slice v)
{
	if (!v.n)
		return;
	if (redact_needed(v)) {
		buf_reset(scratch);
		v = redact_copy(scratch, v) ? buf_slice(scratch) : SLICE_LIT("[redacted]");
	}
	v.n = utf8_cut(v, AUDIT_VALUE_BYTES);
	jsonw_slice(w, key, v);
}

static void put_word(struct jsonw *w, const char *key, unsigned v, const char *text)
{
	if (v)
		jsonw_str(w, key, text);
}

static void put_number(struct jsonw *w, const char *key, uint64_t v)
{
	if (v)
		jsonw_int(w, key, v < INT64_MAX ? (int64_t)v : INT64_MAX);
}

static void put_field(struct jsonw *w, struct buf *scratch, size_t i, const struct audit_record *r)
{
	const void *at = (const uint8_t *)r + fields[i].offset;
	const char *key = fields[i].key;

	switch (fields[i].kind) {
	case FIELD_TEXT:
		put_text(w, scratch, key, *(const struct slice *)at);
		break;
	case FIELD_OURS:
		if (((const struct slice *)at)->n)
			jsonw_slice(w, key, *(const struct slice *)at);
		break;
	case FIELD_SIDE_EFFECT:
		put_word(w, key, r->side_effect, side_effect_text(r->side_effect));
		break;
	case FIELD_OUTCOME:
		put_word(w, key, r->outcome, outcome_text(r->outcome));
		break;
	case FIELD_REASON:
		put_word(w, key, r->reason, reason_text(r->reason));
		break;
	case FIELD_STATE:
		put_word(w, key, r->state, state_text(r->state));
		break;
	case FIELD_U32:
		put_number(w, key, *(const uint32_t *)at);
		break;
	case FIELD_U64:
		put_number(w, key, *(const uint64_t *)at);
		break;
	case FIELD_BOOL:
		if (*(const bool *)at)
			jsonw_bool(w, key, true);
		break;
	}
}

bool audit_format(struct audit *a, struct buf *line, struct buf *scratch, const struct audit_record *r)
{
	struct jsonw w;
	char at[25];
	size_t i;

	buf_reset(line);
	clock_format_utc(r->at_ms, at);
	jsonw_init(&w, line);
	jsonw_object(&w, NULL);
	jsonw_str(&w, "at", at);
	put_text(&w, scratch, "node", slice_str(a->node));
	jsonw_int(&w, "seq", (int64_t)(atomic_fetch_add_explicit(&a->seq, 1, memory_order_relaxed) + 1));
	jsonw_str(&w, "event", r->event);
	for (i = 0; i < sizeof fields / sizeof fields[0]; i++)
		put_field(&w, scratch, i, r);
	jsonw_end_object(&w);
	buf_put_u8(line, '\n');
	return !line->failed;
}

static uint64_t put_line(struct audit_lane *l, const struct audit_record *r)
{
	if (!audit_event_known(r->event)) {
		log_event(LOG_ERROR, "audit.unknown_event", F_STR("name", r->event));
		return 0;
	}
	if (!audit_healthy(l->audit)) {
		atomic_fetch_add(&l->audit->refused, 1);
		return 0;
	}
	if (!audit_format(l->audit, &l->line, &l->scratch, r)) {
		log_event(LOG_ERROR, "audit.line_too_long", F_STR("name", r->event));
		return 0;
	}
	if (l->line.n > AUDIT_LANE_BYTES - l->lines.n || !buf_put_slice(&l->lines, buf_slice(&l->line)))
		return 0;
	return ++l->put;
}

void audit_set_metrics(struct audit *a, struct metrics *m)
{
	a->metrics = m;
}

void audit_count_lost(struct audit *a, uint64_t lines)
{
	if (a->metrics && lines)
		metrics_add(a->metrics, METRIC_AUDIT_FAILURES, NULL, NULL, (int64_t)lines);
}

static uint64_t put_counted(struct audit_lane *l, const struct audit_record *r)
{
	uint64_t ticket = put_line(l, r);

	if (!ticket)
		audit_count_lost(l->audit, 1);
	else if (l->audit->metrics)
		metrics_add(l->audit->metrics, METRIC_AUDIT_RECORDS, r->event, NULL, 1);
	return ticket;
}

uint64_t audit_put(struct audit_lane *l, const struct audit_record *r)
{
	uint64_t ticket = put_counted(l, r);

	l->awaited = l->awaited || ticket;
	return ticket;
}

void audit_note(struct audit_lane *l, const struct audit_record *r)
{
	put_counted(l, r);
}
