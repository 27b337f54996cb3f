/* What lies in the folder of `baton dev up`? A whole small set-up: CA, broker's certificate, agents with tokens,
 * issuer, one route's profile, batond's configuration, and env files that say where it is. Also what bench starts
 * for itself. */
#ifndef BATON_CLI_DEVSET_H
#define BATON_CLI_DEVSET_H

#include <stdbool.h>
#include <stdint.h>

#include "base/problem.h"

#define DEVSET_PATH 1024 /* bytes of DIR at most */
#define DEVSET_ROUTE "support_refund_assistant"
#define DEVSET_AUDIENCE "support-agent-runtime"
#define DEVSET_SCOPE "orders:read refunds:draft"
#define DEVSET_TENANT "acme"
#define DEVSET_TOKEN_MS (8 * 3600 * 1000LL)

struct devset {
	char dir[DEVSET_PATH];    /* absolute */
	const char *fsync;        /* "always" "everysec" */
	const char *assertion;    /* "signed" "none": the profile's delivery.assertion */
	bool only_reads;          /* the route has no tool but orders.lookup: with "everysec" it may have no other */
	int workers;              /* 0 = one per core */
	int max_in_flight;        /* of the worker */
	int agents_port, metrics_port; /* set by devset_make() */
};

/* Makes DIR absolute and checks that it can stand in a configuration file. 0, or -1 with why. */
int devset_init(struct devset *d, const char *dir, struct problem *why);
/* Was one made there? */
bool devset_exists(const struct devset *d);
/* Makes what is missing or about to expire (CA: never replaced; leaves: with less than a day left), fresh tokens,
 * free ports, configuration and env files. Safe to repeat while no batond runs in it. */
int devset_make(struct devset *d, int64_t now_ms, struct problem *why);
/* Fresh tokens for all agents; also while batond runs. */
int devset_tokens(const struct devset *d, int64_t now_ms, struct problem *why);

struct devset_token {
	const char *agent, *subject, *audience, *scope;
	int64_t lifetime_ms;
};
struct buf;
/* A token of DIR's issuer, bound to the agent's certificate. */
int devset_mint(const struct devset *d, const struct devset_token *t, int64_t now_ms, struct buf *out,
	struct problem *why);

#endif
