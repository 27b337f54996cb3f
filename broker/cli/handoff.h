/* How does a handoff look as a block of lines? handoff_read.c shows it so, and dlq.c. */
#ifndef BATON_CLI_HANDOFF_H
#define BATON_CLI_HANDOFF_H

#include "baton/v1/handoff.pb-c.h"
#include "cli/cli.h"

void handoff_print(const struct cli *c, const Baton__V1__Handoff *h);

#endif
