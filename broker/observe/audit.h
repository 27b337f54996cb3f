/* Who did what, and why was it allowed? One JSON line for each decision and each life event, in the file before the
 * answer leaves.
 *
 * A lane belongs to one worker. audit_put() formats into the lane's buffer; audit_flush(), called once at the tick's
 * tail, hands it all over in one write(2). With AUDIT_SYNC_ALWAYS a thread then calls fdatasync, and tickets become
 * durable when it returns (for lines that nobody waits for, audit_note(), alone it does so within a second); with AUDIT_SYNC_EVERYSEC they are durable, in the sense of "the answer may leave", once
 * written, and fdatasync follows within a second. When the file cannot be written (full disk, gone), tickets fail: the
 * caller refuses. It is tried again at each flush and each second; "audit.recovered" then says what is missing.
 */
#ifndef BATON_OBSERVE_AUDIT_H
#define BATON_OBSERVE_AUDIT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/problem.h"
#include "base/slice.h"
#include "base/words.h"
#include "observe/metrics.h"

enum audit_sync { AUDIT_SYNC_EVERYSEC, AUDIT_SYNC_ALWAYS };

/* What happened. Empty slices, 0 and *_UNSPECIFIED are left out of the line. All slices are borrowed for the call;
 * values pass through redaction. */
struct audit_record {
	const char *event;            /* "decision", "handoff.leased", ...: see the table in observe/audit_event.c */
	int64_t at_ms;
	struct slice trace_id;        /* 32 hex */
	struct slice span_id;
	struct slice tenant, agent, spiffe_id, certificate_sha256, remote;
	struct slice issuer, subject, client_id, token_tenant, jti, scopes; /* scopes: separated by spaces */
	struct slice audience;
	struct slice roles;           /* of an operator, by which he may make the call: "platform,sre" */
	struct slice rpc, route, tool, destination, handoff_id, parent_handoff_id, approval_id;
	enum side_effect side_effect;
	struct slice idempotency_key;
	enum outcome outcome;
	enum reason reason;
	struct slice field, message, policy_version;
	enum handoff_state state;
	uint32_t attempt;
	uint64_t fence;
	struct slice assignee, assertion_jti;
	struct slice stop_reason, side_effect_id;
	struct slice payload_sha256;  /* only when the configuration says audit.payloads: hash */
	struct slice retention;       /* retention class */
	bool reconciled;              /* written after a crash, from the store */
};

/* Is this one of the events that are written? */
bool audit_event_known(const char *event);

struct audit;
struct audit_lane;

/* Opens for append, 0600, creates it; completes a torn last line left by a crash with a newline. */
struct audit *audit_open(const char *path, enum audit_sync sync, const char *node, struct problem *why);
void audit_close(struct audit *a); /* after the lanes; flushes and syncs */
/* Lines that were taken, and those that were not or are lost, are counted there. Before there are lanes; m outlives the audit. */
void audit_set_metrics(struct audit *a, struct metrics *m);
/* Opens the file anew under the same path (logrotate, SIGHUP). */
int audit_reopen(struct audit *a, struct problem *why);
bool audit_healthy(const struct audit *a);

/* `wake(arg)` is called on the sync thread whenever tickets of this lane became durable or failed there; it must
 * only make the worker look at audit_durable() and audit_failed() soon, and call nothing of the audit. What changes
 * inside audit_flush() causes no wake: look after each flush. */
struct audit_lane *audit_lane_new(struct audit *a, void (*wake)(void *arg), void *arg);
void audit_lane_free(struct audit_lane *l);
/* Returns the ticket, growing by 1, or 0 when the lane is full (cap 4 MiB) or the file is unwritable. */
uint64_t audit_put(struct audit_lane *l, const struct audit_record *r);
/* The same of what no answer waits for: connections that come and go. Many of them cost one fdatasync a second, not one each. */
void audit_note(struct audit_lane *l, const struct audit_record *r);
/* 0, or -1 when the lines could not be written; they are gone, and their tickets fail. */
int audit_flush(struct audit_lane *l);
/* The highest ticket whose line is where it must be, so that answers up to it may leave. */
uint64_t audit_durable(const struct audit_lane *l);
/* Tickets in (durable, failed] will never be: answers that wait for them become refusals. 0 = none. Read
 * audit_durable() before it, and act on both: once the worker has seen a failure here, later tickets may become
 * durable and hide it. */
uint64_t audit_failed(const struct audit_lane *l);

/* Reads the lines of the last `window_ms`, counted back from the newest, from the file's tail, oldest first (for
 * reconciliation at start). fn gets event, handoff id and state of each line that has a handoff id. Returns the
 * newest at_ms seen, 0 for an empty file or none, -1 with why. */
int64_t audit_tail(const char *path, int64_t window_ms,
		   void (*fn)(void *arg, struct slice event, struct slice handoff_id, enum handoff_state state),
		   void *arg, struct problem *why);

#endif
