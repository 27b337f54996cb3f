/* Would batond start with this configuration? */
#ifndef BATON_APP_CHECK_H
#define BATON_APP_CHECK_H

#include "app/config.h"

/* Reads everything that the configuration names and that start would read: profiles, trust bundles, the server's certificate and key,
 * issuers' key files. Starts and connects nothing. 0, or -1 with why; *warn: what this version does not carry out. */
int check_config(const struct config *c, struct problem *why, struct problem *warn);

#endif
