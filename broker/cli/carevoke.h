/* Which certificates does `baton ca crl --revoke` name? Those of the CA's own record, and those that a broker's keeper issued with the CA's intermediate
 * (keeper.record): by serial number, by SPIFFE id, or by the certificate itself. */
#ifndef BATON_CLI_CAREVOKE_H
#define BATON_CLI_CAREVOKE_H

#include "cli/carecord.h"

struct carevoke {
	const struct cafolder *folder;
	const char *keeper_record; /* NULL: there is none */
	int64_t now_ms;
	enum ca_reason reason;
};

/* All that is named is written down as revoked, or nothing is. 0, or -1 with why. */
int carevoke(const struct carevoke *r, const char *const *names, size_t n, struct problem *why);

#endif
