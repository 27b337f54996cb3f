/* Who vouches for a host that this node sends a secret to? The folder registry.secrets, DIR: the file DIR/HOST/NAME is a secret for HOST alone (introspection_host()),
 * which the keeper hands out (keeper/lender.h), and DIR/HOST/ca.pem, if it is there, whom that host's certificate is to be of: that is no secret, and is read here. So
 * who registers an issuer picks one of what was put there for the host that he names, and neither a file, nor a host, nor who vouches for it. */
#ifndef BATON_APP_SECRETS_H
#define BATON_APP_SECRETS_H

#include <sys/types.h>

#include "base/problem.h"

struct secrets_found {
	char *ca_pem;     /* owned; NULL: whoever the system trusts */
};

/* folder: "" = the configuration names none. url: where the secret is to be sent; its path does not matter. 0, or -1 with why. No link is followed below the folder;
 * nobody but root and this owner, the keeper's user, may be able to write to anything. */
int secrets_find(const char *folder, const char *url, const char *name, uid_t owner, struct secrets_found *out, struct problem *why);
void secrets_clear(struct secrets_found *f);

#endif
