/* What did the keeper issue? A line of JSON for each certificate, added and synced before the certificate leaves the process: time, SPIFFE id, serial
 * number and SHA-256 in hex, end. Nothing in it is secret; who can change the broker's own audit cannot change this one when the keeper has a user of its own. */
#ifndef BATON_KEEPER_RECORD_H
#define BATON_KEEPER_RECORD_H

#include "base/problem.h"
#include "identity/ca.h"

struct record;
/* Mode 0600; made when it is not there. NULL with why. */
struct record *record_open(const char *path, struct problem *why);
/* 0, or -1 with why: then the certificate must not leave. */
int record_add(struct record *r, const struct ca_cert_info *leaf, int64_t now_ms, struct problem *why);
void record_close(struct record *r);

#endif
