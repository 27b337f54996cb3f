/* What did the keeper give away? A line of JSON for each certificate, added and synced before the certificate leaves the process: time, SPIFFE id, serial
 * number, key id of the issuing CA and SHA-256 in hex, end. And a line for each minute in which it signed assertions: how many; and one for each in which it handed out
 * secrets. Nothing in it is secret; who can change the broker's own audit cannot change this one when the keeper has a user of its own, and many signatures that no audit
 * line speaks of show in the sums, as do many secrets while no connection was made. A few are of streams that ended meanwhile. */
#ifndef BATON_KEEPER_RECORD_H
#define BATON_KEEPER_RECORD_H

#include <stdbool.h>

#include "base/problem.h"
#include "identity/ca.h"

/* Of one kind, since a time of the wall clock. */
struct record_count {
	int64_t since_ms;
	uint64_t given, refused;
};

void record_count_one(struct record_count *c, bool given, int64_t now_ms);

struct record;
/* Mode 0600; made when it is not there. NULL with why. */
struct record *record_open(const char *path, struct problem *why);
/* 0, or -1 with why: then the certificate must not leave. */
int record_add(struct record *r, const struct ca_cert_info *leaf, int64_t now_ms, struct problem *why);
/* what: "assertions" or "secrets". */
int record_add_count(struct record *r, const char *what, const struct record_count *c, int64_t now_ms, struct problem *why);
void record_close(struct record *r);

#endif
