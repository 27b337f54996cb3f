/* What does this node show of itself to a host, and who vouches for that host? The folder registry.secrets, DIR: DIR/HOST/NAME.crt and DIR/HOST/NAME.key are a
 * certificate and its key, for HOST alone (introspection_host()), and DIR/HOST/ca.pem, if it is there, whom that host's certificate is to be of. DIR/HOST/NAME is a
 * secret that is sent there: the keeper hands it out (keeper/lender.h). So who registers an issuer picks some of what was put there for the host that he names, and
 * neither a file, nor a host, nor who vouches for it. */
#ifndef BATON_APP_SECRETS_H
#define BATON_APP_SECRETS_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/problem.h"

struct secrets_found {
	char *ca_pem;     /* owned; NULL: whoever the system trusts */
	char *cert_pem;   /* owned; the leaf first; NULL: no certificate was asked for, as of the next */
	uint8_t *key_pem; /* owned; secrets_clear() wipes it */
	size_t key_n;
	int64_t cert_end_ms;
};

/* folder: "" = the configuration names none. url: where it is to be sent; its path does not matter. secret, cert: their names; "" = without. owner: the keeper's user. */
struct secrets_asked {
	const char *folder, *url, *secret, *cert;
	uid_t owner;
};

/* All but the secret, whose name is judged. 0, or -1 with why. No link is followed below the folder. Nobody but root and the owner may be able to write to the folders
 * and ca.pem, nobody but root and the broker's user to the certificate and its key. */
int secrets_find(const struct secrets_asked *a, struct secrets_found *out, struct problem *why);
void secrets_clear(struct secrets_found *f);

#endif
