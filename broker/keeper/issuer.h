/* What does the keeper do when it is asked? It holds the issuing CA's key, judges each ask as if a stranger had sent it, and issues: for ids of its own
 * trust domain, for no longer than its cap, so often for one id and no more, and not before the certificate is in its record. */
#ifndef BATON_KEEPER_ISSUER_H
#define BATON_KEEPER_ISSUER_H

#include "keeper/pipe.h"

#define KEEPER_TTL_MIN_MS 30000
#define KEEPER_TTL_MAX_MS 86400000   /* whatever the configuration says */
#define KEEPER_PER_MINUTE 20         /* certificates for one id */
#define KEEPER_PER_SECOND 200        /* in all */
#define KEEPER_IDS_MAX 65536         /* that are counted; beyond that none is issued to those that are not */

struct keeper_files {
	const char *cert, *key; /* PEM: the issuing certificate, which must be a CA's of one trust domain; its key, mode 0600 */
	const char *record;     /* see record.h */
};

struct record;
struct keeper_issuer;
/* Reads the files. The strings are borrowed, as long as it lives. NULL with why. */
struct keeper_issuer *keeper_issuer_new(const struct keeper_files *f, int64_t max_ttl_ms, struct problem *why);
/* now_ms: by the wall clock, of which certificates speak; mono_ms: by one that never steps. *out points into the issuer, until the next ask. */
void keeper_issuer_answer(struct keeper_issuer *k, const struct keeper_ask *a, int64_t now_ms, int64_t mono_ms, struct keeper_answer *out);
/* Where it writes down what it issues; until the next ask. */
struct record *keeper_issuer_record(struct keeper_issuer *k);
void keeper_issuer_free(struct keeper_issuer *k);

#endif
