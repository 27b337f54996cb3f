/* Which folder of this node's is for a host? DIR/HOST, where the configuration's registry.secrets names DIR. Nobody but root and the keeper's user may be able to write
 * to either, and no link is followed below DIR. */
#ifndef BATON_KEEPER_HOSTFOLDER_H
#define BATON_KEEPER_HOSTFOLDER_H

#include <stddef.h>
#include <sys/stat.h>
#include <sys/types.h>

#include "base/problem.h"

#define HOSTFOLDER_PATH_MAX 1400 /* of a file in it, with the 0 */

/* Of the host that the url names (introspection_host()); its path does not matter. dir: "" = the configuration names none. owner: the keeper's user. A descriptor,
 * which the caller closes, and DIR/HOST in path; -1 with why. */
int hostfolder_open(const char *dir, const char *url, uid_t owner, char path[HOSTFOLDER_PATH_MAX], struct problem *why);
/* Is what is there (path is for the message) theirs alone to write? */
int hostfolder_check(const char *path, const struct stat *st, uid_t owner, struct problem *why);

#endif
