/* How do doctor and whoami ask the broker who we are? */
#ifndef BATON_CLI_WHOAMI_H
#define BATON_CLI_WHOAMI_H

#include "baton/v1/handoff.pb-c.h"
#include "base/arena.h"

struct cli;
struct client_status;

/* In the arena; NULL with *status. */
Baton__V1__WhoAmIResponse *whoami_ask(struct cli *c, struct arena *arena, struct client_status *status);

#endif
