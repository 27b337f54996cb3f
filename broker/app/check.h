/* Would batond start with this configuration? */
#ifndef BATON_APP_CHECK_H
#define BATON_APP_CHECK_H

#include "app/config.h"

/* Reads everything that the configuration names and that start would read: profiles, trust bundles, the server's certificate and key,
 * issuers' key files. Starts and connects nothing. 0, or -1 with why; *warn: what this version does not carry out. */
struct issuing;
/* What certificates are issued with, when `issuing` is set: its bundle, which must vouch for the issuing certificate (DER; "": that is not looked at), and for
 * tls.cert. NULL with why. */
struct issuing *config_issuing(const struct config *c, const char *trust_domain, struct slice issuer, struct problem *why);

int check_config(const struct config *c, struct problem *why, struct problem *warn);

#endif
