/* Where do issuers' keys come from, and when are they fetched again? From files at start, or from the issuer by OpenID discovery over https:
 * at start, before they grow old, and when a token names a key that is not known. One fetch at a time an issuer. All budgets stand in
 * baton.yaml(5), under KEYS OF ISSUERS. */
#ifndef BATON_APP_KEYFEED_H
#define BATON_APP_KEYFEED_H

#include <stdbool.h>

#include "base/problem.h"
#include "identity/issuer.h"
#include "net/fetch.h"
#include "net/loop.h"
#include "observe/health.h"
#include "observe/metrics.h"
#include "rpc/worker.h"

struct keyfeed;

struct keyfeed_config {
	struct loop *loop;           /* the control loop; every function but keyfeed_want() and keyfeed_state() runs there */
	struct metrics *metrics;
	struct health *health;
	/* Keys came, or lapsed: the present entries, in the rules' order (keys may be NULL). When it returns, every worker has them. */
	void (*on_keys)(void *arg, const struct issuer_entry *entries, size_t n);
	/* A fetch ended, well or not; on_keys came before. */
	void (*on_settled)(void *arg, size_t issuer);
	void *arg;
};

/* An issuer, and what of it does not stand in its rule; borrowed. */
struct issuer_source {
	const struct issuer_rule *rule;
	struct slice jwks;           /* static keys; n 0: of rule->jwks_file, or by discovery */
	struct slice ca_pem;         /* for discovery; n 0: rule->ca_file, or the system's */
};

/* Reads the files, but of those that stand in `as_read` (may be NULL) under the same name: their keys are as they were. Discovery begins when
 * keyfeed_begin() is called. */
struct keyfeed *keyfeed_new(const struct keyfeed_config *c, const struct issuer_source *v, size_t n, const struct keyfeed *as_read, struct problem *why);
/* Keys that `old` had by discovery go on for issuers that are the same in both; and when each is asked next, how long it is left alone and why the last fetch
 * failed, but when `anew`: then each is asked in its turn. */
void keyfeed_inherit(struct keyfeed *k, const struct keyfeed *old, bool anew);
void keyfeed_begin(struct keyfeed *k);
void keyfeed_free(struct keyfeed *k);
const struct issuer_entry *keyfeed_entries(const struct keyfeed *k, size_t *n);
/* Each second: takes away keys whose time is over, and tells health and metrics how long the others serve. */
void keyfeed_look(struct keyfeed *k);
/* From any thread: have this issuer's keys fetched soon. True when a fetch is under way or was asked for, so that on_settled will follow; false
 * when it was looked for a moment ago, the agent's budget is used up, or the keys come from a file. */
bool keyfeed_want(struct keyfeed *k, const struct key_want *want);
/* From any thread: how it goes with this issuer's keys. false: there is no such issuer. */
bool keyfeed_state(struct keyfeed *k, const char *issuer, struct keys_state *out);
/* Has them fetched now, or when it is the issuer's turn again. */
void keyfeed_refresh(struct keyfeed *k, struct slice issuer);

#endif
