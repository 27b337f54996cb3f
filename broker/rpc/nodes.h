/* How is a node told to go away? By a resource of this name and its own, whose value is the run that is to drain: every other run lets it be. */
#ifndef BATON_RPC_NODES_H
#define BATON_RPC_NODES_H

#include "registry/resources.h"

/* The same without a node's name has a version more each time, so that of two who ask at once one is refused: each might take the other's node for one that stays. */
#define NODE_DRAIN_PREFIX "drain/"

/* Does it say that this run of the node drains? */
bool nodes_drains(const struct resource *r, const char *node, const char *run);

#endif
