/* Who vouches for agents on a developer's machine? A throw-away CA that `baton dev up` makes: P-256, SHA-256. Not
 * for production: its key lies beside its certificate. */
#ifndef BATON_CLIENT_DEVPKI_H
#define BATON_CLIENT_DEVPKI_H

#include <stdbool.h>
#include <stdint.h>

#include "base/problem.h"

#define DEVPKI_DOMAIN "dev.baton"

/* Writes a self-signed CA (CN "Baton dev CA"; the URI SAN spiffe://dev.baton). Key files are 0600. now in ms. 0, or
 * -1 with why. */
int devpki_make_ca(const char *cert_path, const char *key_path, int64_t now_ms, int64_t days, struct problem *why);

struct devpki_leaf {
	const char *name;        /* CN */
	const char *spiffe_id;   /* URI SAN; NULL = none */
	const char *const *dns;  /* NULL-terminated; NULL = none */
	const char *const *ips;  /* the same */
	bool server, client;     /* extended key usage */
	int64_t not_before_ms, not_after_ms;
};
/* A leaf with its own key, signed by that CA: critical keyUsage digitalSignature, not a CA. */
int devpki_make_leaf(const char *ca_cert, const char *ca_key, const struct devpki_leaf *leaf, const char *cert_path,
		     const char *key_path, struct problem *why);

#endif
