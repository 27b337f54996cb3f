/* Which certificates do the client's tests use? A throw-away folder with a CA, a broker and agents, made by
 * identity/ca. */
#ifndef BATON_TESTS_CLIENT_PKI_H
#define BATON_TESTS_CLIENT_PKI_H

#include <stdbool.h>

struct client_pki {
	char dir[64];
};

void client_pki_make(struct client_pki *p);
void client_pki_remove(struct client_pki *p);
/* The path of a file in it; good for the next three calls. */
const char *client_pki_path(const struct client_pki *p, const char *name);
/* NAME.pem and NAME.key, signed by ca.pem, or other-ca.pem. */
void client_pki_leaf(const struct client_pki *p, const char *name, const char *ca, bool server, const char *host,
	long long from_ms,
		     long long to_ms);

#endif
