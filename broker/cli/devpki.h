/* Who vouches for agents on a developer's machine? A throw-away CA that `baton dev up` makes. Not for production: its key lies beside its
 * certificate. */
#ifndef BATON_CLI_DEVPKI_H
#define BATON_CLI_DEVPKI_H

#include "identity/ca.h"

#define DEVPKI_DOMAIN "dev.baton"

/* Writes a root of that trust domain. Key files are 0600. now in ms. 0, or -1 with why. */
int devpki_make_ca(const char *cert_path, const char *key_path, int64_t now_ms, int64_t days, struct problem *why);
/* A leaf with a key of its own, signed by that root; its serial number is chosen here. */
int devpki_make_leaf(const char *ca_cert, const char *ca_key, struct ca_leaf leaf, const char *cert_path, const char *key_path, struct problem *why);

#endif
