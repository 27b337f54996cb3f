/* Where do lists of revoked certificates come from, and when are they fetched again? From URLs of a trust domain: at start, before they end, and at least each
 * tls.crl_refresh. What comes is judged by identity/crl.c; what was good last is kept in the state folder (app/crlkept.c). One fetch at a time of a URL. */
#ifndef BATON_APP_CRLFEED_H
#define BATON_APP_CRLFEED_H

#include <stdbool.h>

#include "base/problem.h"
#include "identity/crl.h"
#include "net/loop.h"
#include "observe/audit.h"
#include "observe/metrics.h"
#include "rpc/worker.h"

struct crlfeed;

struct crlfeed_config {
	struct loop *loop;               /* the control loop; every function but crlfeed_state() runs there */
	struct metrics *metrics;
	struct audit_lane *audit;
	const char *state_dir;           /* lives longer */
	int64_t refresh_ms, grace_ms;    /* tls.crl_refresh, tls.crl_stale */
	/* New lists came: crlfeed_trust() has them. false: they cannot be taken, for want of memory, and are tried again. */
	bool (*on_lists)(void *arg);
	void *arg;
};

/* A URL of a domain; borrowed for the call. */
struct crl_source {
	const char *domain, *url;
	const char *ca_file;             /* as fetch_rules; "" or NULL = the system's */
	bool allow_private;
	const char *ca_pem;              /* the same, as they are; NULL: none */
};

/* base: the domains, with their own lists; takes a ref. What `running` (may be NULL) has of the same URLs goes on, as far as base vouches for it; of others the
 * kept copies are read. Nothing is fetched or written before crlfeed_begin(). NULL with why. */
struct crlfeed *crlfeed_new(const struct crlfeed_config *c, const struct crl_source *v, size_t n, struct trust *base, const struct crlfeed *running,
			    struct problem *why);
/* old: the one in whose place it stands, or NULL; what was kept of URLs that are no more is removed. */
void crlfeed_begin(struct crlfeed *k, const struct crlfeed *old);
void crlfeed_free(struct crlfeed *k);
/* The base with the lists; owned. NULL with why. */
struct trust *crlfeed_trust(const struct crlfeed *k, struct problem *why);
/* From any thread: how it goes with this domain's lists. false: it has no URL. */
bool crlfeed_state(struct crlfeed *k, const char *domain, struct lists_state *out);

#endif
