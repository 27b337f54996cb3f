/* What does a monitoring system see? /metrics, /healthz and /readyz on the metrics address. */
#ifndef BATON_APP_PAGES_H
#define BATON_APP_PAGES_H

#include "base/problem.h"
#include "net/http.h"
#include "observe/health.h"
#include "observe/metrics.h"

struct pages;

struct pages *pages_listen(struct loop *l, const char *address, struct metrics *m, struct health *h, struct problem *why);
void pages_free(struct pages *p);

#endif
