/* Who of this machine may speak to the broker without a certificate? Those whom the kernel vouches for: root and the broker's own user, on
 * a unix socket of mode 0600. */
#ifndef BATON_NET_LOCAL_H
#define BATON_NET_LOCAL_H

#include <stdbool.h>

#include "base/problem.h"

/* A listening socket at path. One that a broker left behind is replaced, one that somebody listens on is not. Call it while there is one
 * thread. -1 with why, which names the remedy. */
int local_listen(const char *path, struct problem *why);
/* The user at the other end of a connection is root, or the one that this process runs as. */
bool local_peer_allowed(int fd);
/* "uid=0 pid=4711" */
void local_peer_format(int fd, char out[64]);

#endif
