/* Which revocation lists does a CA's folder publish? One file, crl.pem, with the list of the root and that of each intermediate that is good: the
 * broker looks at the whole chain. */
#ifndef BATON_CLI_CACRL_H
#define BATON_CLI_CACRL_H

#include "cli/cafolder.h"

#define CACRL_DAYS 7 /* of the lists that `init` and `rotate` make */

struct cacrl_said {
	size_t revoked;         /* entries on the new lists */
	uint64_t number;        /* of the current intermediate's list */
	int64_t next_update_ms; /* the earliest of all lists: by then there must be new ones */
	bool root_kept;         /* the root's key is offline, its list stays as it was */
};

/* Writes crl.pem anew from what is revoked. The root's list, for which its key must be there, is good as long as the current intermediate: whoever makes
 * another makes another list. said may be NULL. 0, or -1 with why. */
int cacrl_write(const struct cafolder *f, int64_t now_ms, int64_t days, struct cacrl_said *said, struct problem *why);

#endif
