/* What do the files of the CA share? Its two handles, how OpenSSL's failures are told, and names as certificates have them. */
#ifndef BATON_IDENTITY_CA_PRIV_H
#define BATON_IDENTITY_CA_PRIV_H

#include <openssl/evp.h>
#include <openssl/x509v3.h>

#include "identity/ca.h"

struct ca_key {
	EVP_PKEY *pkey;
};

struct ca_issuer {
	X509 *cert;
	struct ca_key *key;
	char id[sizeof "spiffe://" + 255]; /* its URI SAN: the trust domain's */
};

/* "WHAT failed: OpenSSL's reason". Returns -1. */
int ca_failed(struct problem *why, const char *what);
/* The digest that a key of this kind signs with; NULL: it has its own. */
const EVP_MD *ca_digest_for(const EVP_PKEY *key);
/* NULL with why unless it is a public key that peers may have. Owned. */
EVP_PKEY *ca_public_key(struct slice der, struct problem *why);
/* Is it of a kind that peers may have, and none of those that others could use as well? NULL, or static text. */
const char *ca_key_fault(EVP_PKEY *key);

/* Appends what i2d writes. */
int ca_put_x509(X509 *cert, struct buf *out, struct problem *why);

/* Both owned, NULL with why: a name that is no name. uri may be NULL. */
GENERAL_NAMES *ca_names(const char *uri, const struct ca_servers *servers, struct problem *why);
NAME_CONSTRAINTS *ca_constraints(const char *trust_domain, const struct ca_servers *servers, struct problem *why);
bool ca_servers_any(const struct ca_servers *servers);

#endif
