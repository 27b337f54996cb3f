/* What is one running batond? A node: everything that main() needs to start, reload, drain and stop. Only app/ sees all parts. */
#ifndef BATON_APP_NODE_H
#define BATON_APP_NODE_H

#include "app/config.h"
#include "base/problem.h"

struct node;

/* Takes over the configuration. Starts nothing yet but opens what can fail: audit, keys, certificates. */
struct node *node_new(struct config *c, const char *config_path, const char *version, struct problem *why);
/* Serves until SIGTERM or SIGINT, reloading on SIGHUP. The exit status. */
int node_run(struct node *n);
void node_free(struct node *n);

#endif
