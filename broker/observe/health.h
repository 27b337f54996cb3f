/* Is this node fit to serve? Each part reports its check; /readyz is their conjunction. Thread-safe. */
#ifndef BATON_OBSERVE_HEALTH_H
#define BATON_OBSERVE_HEALTH_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"

/* Nodes tell each other of them by these numbers: a new one stands at the end. */
enum health_check {
	HEALTH_STORE,
	HEALTH_REGISTRY,
	HEALTH_AUDIT,
	HEALTH_KEYS,
	HEALTH_INTROSPECTION,
	HEALTH_CERTIFICATE,
	HEALTH_TRUST,
	HEALTH_LISTENERS,
	HEALTH_DRAINING,
	HEALTH_COUNT
};

struct health;

struct health *health_new(int64_t now_ms);
void health_free(struct health *h);
/* Until a check is set for the first time it is "starting" and not ok. `since` moves when ok changes. remedy: what
 * to do, for people; copied. */
void health_set(struct health *h, enum health_check c, bool ok, const char *remedy, int64_t now_ms);
/* One of several parts' word on a check, which is ok when all of them are: the last word decides, in whatever order
 * threads speak. part: 0..parts-1; parts: 1..64, the same each time. While another one is not ok, "" keeps what was said. */
void health_set_part(struct health *h, enum health_check c, unsigned part, unsigned parts, bool ok, const char *remedy, int64_t now_ms);
const char *health_text(enum health_check c); /* "store" */
/* A bit for each check that is not ok. */
uint64_t health_missing(const struct health *h);
bool health_ok(const struct health *h, enum health_check c);
bool health_ready(const struct health *h);
/* {"ready":false,"checks":[{"check":"store","ok":false,"since":"2026-...Z","remedy":"..."}]} */
int health_render(struct health *h, struct buf *out);

#endif
