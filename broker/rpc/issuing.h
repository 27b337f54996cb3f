/* What does this broker issue certificates with? An immutable, refcounted part of the world: for which trust domain, for how long, and what agents are to verify
 * the broker by. The key is the keeper's (keeper/keeper.h), whom app/ asks for rpc/. */
#ifndef BATON_RPC_ISSUING_H
#define BATON_RPC_ISSUING_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/problem.h"
#include "base/secret.h"
#include "base/slice.h"

#define ISSUING_BUNDLE_MAX 16 /* certificates */
#define ISSUING_BUNDLE_FILE_MAX (256u << 10)

struct issuing {
	atomic_int refs;
	char trust_domain[256];         /* "acme.example" */
	int64_t ttl_ms;
	struct slice bundle[ISSUING_BUNDLE_MAX]; /* DER, owned */
	size_t n_bundle;
	uint8_t sha256[SHA256_BYTES];   /* what it is known by: enrolment_pin() */
	atomic_bool unvouched;          /* none of them signed what is issued with now: nothing is issued until one has */
};

/* From the PEM of the bundle: CA certificates, 1 to ISSUING_BUNDLE_MAX. NULL with why. */
struct issuing *issuing_new(const char *trust_domain, struct slice bundle_pem, int64_t ttl_ms, struct problem *why);
/* Did a CA of the bundle sign a certificate of this chain, PEM? */
bool issuing_vouches(const struct issuing *i, struct slice chain_pem);
/* … this one, DER? */
bool issuing_vouches_for(const struct issuing *i, struct slice der);
struct issuing *issuing_ref(struct issuing *i);
void issuing_unref(struct issuing *i); /* NULL is fine */

/* ---- what rpc/ asks app/ for, and hears of it ---- */

struct issue_ask {
	uint64_t op;               /* who asks */
	const char *spiffe_id;
	struct slice public_key;   /* DER */
	int64_t ttl_ms, not_before_ms;
};

enum issue_result { ISSUE_OK, ISSUE_REFUSED, ISSUE_BUSY, ISSUE_FAILED };

struct issue_answer {
	enum issue_result result;
	struct slice certificate, issuer; /* DER */
	int64_t not_before_ms, not_after_ms;
	struct slice why;          /* "" when OK */
};

#endif
