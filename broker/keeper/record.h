/* What did the keeper give away? A line of JSON for each certificate, added and synced before the certificate leaves the process: time, SPIFFE id, serial
 * number, key id of the issuing CA and SHA-256 in hex, end. And a line for each minute in which it signed assertions: how many. Nothing in it is secret; who can change the broker's own
 * audit cannot change this one when the keeper has a user of its own, and a signature that no audit line speaks of shows in the sums. */
#ifndef BATON_KEEPER_RECORD_H
#define BATON_KEEPER_RECORD_H

#include "base/problem.h"
#include "identity/ca.h"

/* Assertions, since a time of the wall clock. */
struct record_count {
	int64_t since_ms;
	uint64_t given, refused;
};

struct record;
/* Mode 0600; made when it is not there. NULL with why. */
struct record *record_open(const char *path, struct problem *why);
/* 0, or -1 with why: then the certificate must not leave. */
int record_add(struct record *r, const struct ca_cert_info *leaf, int64_t now_ms, struct problem *why);
int record_add_count(struct record *r, const struct record_count *c, int64_t now_ms, struct problem *why);
void record_close(struct record *r);

#endif
