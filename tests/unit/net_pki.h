/* Where do the network tests get certificates from? They make them: one CA, P-256 keys, PEM files in a temporary
 * folder. */
#ifndef BATON_TESTS_NET_PKI_H
#define BATON_TESTS_NET_PKI_H

#include <openssl/ssl.h>

struct pki {
	char dir[64];
	char ca_file[128];
	EVP_PKEY *ca_key;
	X509 *ca;
};

struct pki_cert {
	char cert_file[128], key_file[128]; /* mode 0600 */
};

void pki_init(struct pki *p);
void pki_clear(struct pki *p); /* removes the folder */
/* name: of the files. uri, dns: subject alternative names; dns may be an IP address; either may be NULL. seconds: of
 * validity from now; negative: it ended that long ago. */
struct pki_cert pki_issue(struct pki *p, const char *name, const char *uri, const char *dns, long seconds);

#endif
