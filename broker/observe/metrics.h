/* What is counted? The families in the table of observe/metrics.c, and nothing else; labels are drawn from the
 * configuration (routes, reasons), never from what a stranger sent. Thread-safe; a count is one relaxed atomic add
 * after a small lookup. */
#ifndef BATON_OBSERVE_METRICS_H
#define BATON_OBSERVE_METRICS_H

#include <stdint.h>

#include "base/buf.h"

enum metric {
	METRIC_BUILD_INFO,             /* gauge   version */
	METRIC_CONNECTIONS,            /* gauge   listener */
	METRIC_HANDSHAKES,             /* counter listener, result (ok or why not) */
	METRIC_CONNECTIONS_CLOSED,     /* counter listener, why */
	METRIC_RPCS,                   /* counter method, status */
	METRIC_DECISIONS,              /* counter route, reason */
	METRIC_HANDOFFS,               /* counter route, state: entered */
	METRIC_REDELIVERIES,           /* counter route */
	METRIC_SUBSCRIBERS,            /* gauge   route */
	METRIC_IN_FLIGHT,              /* gauge   route */
	METRIC_WAITING,                /* gauge   tenant, route */
	METRIC_TENANT_WAITING,         /* gauge   tenant */
	METRIC_TENANT_WAITING_BYTES,   /* gauge   tenant */
	METRIC_OLDEST,                 /* gauge   tenant, route: when the oldest that is ready was accepted, seconds since 1970; 0 = none is */
	METRIC_DEAD_LETTERS,           /* gauge   tenant, route */
	METRIC_ROUTE_STATE,            /* gauge   tenant, route: 1 paused + 2 closed */
	METRIC_TOKEN_CACHE,            /* counter result: hit, miss */
	METRIC_TOKEN_UNBOUND,          /* counter issuer: verified with binding: none */
	METRIC_KEYS_FETCHES,           /* counter issuer, result */
	METRIC_KEYS_LOOKUPS,           /* counter issuer, result: of a token whose key is not known */
	METRIC_INTROSPECTIONS,         /* counter issuer, result: questions about opaque tokens */
	METRIC_KEYS_USABLE,            /* gauge   issuer: seconds until its keys may no longer be used */
	METRIC_STORE_CALLS,            /* counter function, result */
	METRIC_STORE_ITEMS,            /* counter function: items in those calls */
	METRIC_STORE_CONNECTED,        /* gauge */
	METRIC_STORE_PARTIAL,          /* gauge */
	METRIC_STORE_SEAL_FAILURES,    /* counter kind */
	METRIC_STORE_LOST,             /* counter route: handoffs that were acknowledged and are gone */
	METRIC_AUDIT_RECORDS,          /* counter event */
	METRIC_AUDIT_FAILURES,         /* counter */
	METRIC_AUDIT_SEARCHES,         /* counter result: all, limit, bound, refused */
	METRIC_CERTIFICATE_EXPIRY,     /* gauge   subject: seconds since 1970 */
	METRIC_KEEPER,                 /* gauge: 1 while the process that holds the keys of assertions and certificates is there */
	METRIC_ASSERTIONS,             /* counter result: assertions that were to be signed */
	METRIC_SECRETS,                /* counter result: secrets that the keeper was asked for */
	METRIC_ISSUED,                 /* counter result: certificates that were asked for */
	METRIC_CRL_EXPIRY,             /* gauge   domain: seconds since 1970 */
	METRIC_CRL_LEFT,               /* gauge   domain: seconds */
	METRIC_CRL_FETCHES,            /* counter domain, result: ok, unchanged, refused, failed */
	METRIC_OCSP_ANSWERS,           /* counter domain, result: good, revoked, unknown, refused, failed */
	METRIC_OCSP_LEFT,              /* gauge   domain: seconds */
	METRIC_RELOADS,                /* counter result */
	METRIC_AGENTS,                 /* gauge   status: of those that are registered: active, inactive, refused */
	METRIC_REVOCATIONS,            /* gauge   kind: that are in force, or will end by themselves */
	METRIC_REVOKED_CLOSED,         /* counter listener: connections closed because their peers are revoked */
	METRIC_CONFINEMENT,            /* gauge   part: seccomp 0 or 1, landlock its ABI */
	METRIC_ACCEPT_SECONDS,         /* histogram route: submit received -> receipt sent */
	METRIC_CYCLE_SECONDS,          /* histogram route: accepted -> terminal */
	METRIC_COUNT
};

struct metrics;

struct metrics *metrics_new(void);
void metrics_free(struct metrics *m);
/* Labels as the family wants them; NULL where it has fewer. A family holds at most 4,096 series; more go to "other". */
void metrics_add(struct metrics *m, enum metric id, const char *label1, const char *label2, int64_t n);
void metrics_set(struct metrics *m, enum metric id, const char *label1, const char *label2, int64_t value);
/* What it was about is there no more: it is not shown until it is set again. */
void metrics_forget(struct metrics *m, enum metric id, const char *label1, const char *label2);
void metrics_observe_us(struct metrics *m, enum metric id, const char *label1, int64_t us);
/* Appends the Prometheus text exposition format 0.0.4, clean for `promtool check metrics`. */
int metrics_render(struct metrics *m, struct buf *out);

#endif
