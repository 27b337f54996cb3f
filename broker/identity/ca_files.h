/* Where do a CA's certificate and its key come from? From two PEM files; the key's lets nobody else in. What they mean is ca.h. */
#ifndef BATON_IDENTITY_CA_FILES_H
#define BATON_IDENTITY_CA_FILES_H

#include "identity/ca.h"

/* The first block of that kind in the file, its DER appended. 0, or -1 with why, which names the file; so it is with the others. */
int ca_read_pem(const char *path, enum ca_pem kind, struct buf *out, struct problem *why);
/* A private key that is not encrypted; refused when its file lets others in (base/secret.h). Owned, or NULL with why. */
struct ca_key *ca_read_key(const char *path, struct problem *why);
/* The certificate, its DER appended to `der`, with its key. Owned, or NULL with why. */
struct ca_issuer *ca_read_issuer(const char *cert_path, const char *key_path, struct buf *der, struct problem *why);

#endif
