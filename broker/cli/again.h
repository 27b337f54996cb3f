/* Is a stream that broke worth beginning anew? What the commands that follow something share. */
#ifndef BATON_CLI_AGAIN_H
#define BATON_CLI_AGAIN_H

#include <stdbool.h>

#define AGAIN_MAX 6 /* times, without anything having come */

struct cli;
struct client_status;

/* The broker, or the way to it, went away; or the token is over, and there may be another. */
bool again_worth(const struct client_status *s);
/* Has whoever keeps the token's file fresh written another one since? The connection is made anew with it; the stream must be gone by then. */
bool again_other_token(struct cli *c, int (*connect)(struct cli *c));
/* tries: since something came. */
void again_pause(int tries);

#endif
