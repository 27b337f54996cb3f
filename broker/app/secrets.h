/* What may this node send or show of itself, and to whom? The folder registry.secrets, DIR: the file DIR/HOST/NAME is a secret for HOST alone (introspection_host()),
 * DIR/HOST/NAME.crt and DIR/HOST/NAME.key a certificate and its key, and DIR/HOST/ca.pem, if it is there, whom that host's certificate is to be of. So who registers
 * an issuer picks some of what was put there for the host that he names, and neither a file, nor a host, nor who vouches for it. */
#ifndef BATON_APP_SECRETS_H
#define BATON_APP_SECRETS_H

#include "base/problem.h"
#include "base/slice.h"
#include "base/secret.h"

struct secrets_found {
	uint8_t *secret;  /* owned; secrets_clear() wipes it */
	size_t n;
	char *ca_pem;     /* owned; NULL: whoever the system trusts */
	char *cert_pem;   /* owned; the leaf first; NULL: no certificate was asked for, as of the next */
	uint8_t *key_pem; /* owned; secrets_clear() wipes it */
	size_t key_n;
	int64_t cert_end_ms;
};

/* folder: "" = the configuration names none. url: where it is to be sent; its path does not matter. secret, cert: their names; "" = without. 0, or -1 with why. No
 * link is followed below the folder; nobody but root and the broker's user may be able to write to anything. */
int secrets_find(const char *folder, const char *url, const char *secret, const char *cert, struct secrets_found *out, struct problem *why);
void secrets_clear(struct secrets_found *f);

#endif
