/* What did the CA issue, and what of it counts no more? Two files of its folder to which lines are added, never changed, and synced before anybody
 * hears of it:
 *
 *	issued     SERIAL ISSUER NOT-AFTER SHA-256 SPIFFE-ID
 *	revoked    SERIAL ISSUER NOT-AFTER REVOKED-AT REASON
 *
 * Serial numbers and digests in hex, times in UTC, ISSUER an intermediate's name or "root". The caller holds the folder's lock. */
#ifndef BATON_CLI_CARECORD_H
#define BATON_CLI_CARECORD_H

#include "base/problem.h"
#include "cli/cafolder.h"

struct carevoked {
	struct ca_revoked entry;
	char issuer[CAFOLDER_NAME];
	int64_t not_after_ms;
};

/* 0, or -1 with why: then the certificate must not leave. */
int carecord_add_issued(const char *dir, const struct ca_cert_info *leaf, const char *issuer, struct problem *why);
/* Calls fn for each, with its serial number, who issued it and when it ends, and its SPIFFE id, until fn says -1. 0, or -1 with why. */
int carecord_each_issued(const char *dir, int (*fn)(void *arg, const struct carevoked *one, const char *spiffe_id, struct problem *why), void *arg, struct problem *why);

/* Appends to an array of *n, which begins as NULL and is the caller's to free. false: it is too long, or memory is out. */
bool carecord_append(struct carevoked **all, size_t *n, const struct carevoked *one);

int carecord_add_revoked(const char *dir, const struct carevoked *one, struct problem *why);
/* All of them; the caller frees *out. 0, or -1 with why, also when a line cannot be read: it may be one that matters. */
int carecord_read_revoked(const char *dir, struct carevoked **out, size_t *n, struct problem *why);

#endif
