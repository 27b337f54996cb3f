/* What do trust.c, peer.c and ocsp.c share? The bundle of one trust domain, as OpenSSL wants it. */
#ifndef BATON_IDENTITY_TRUST_PRIV_H
#define BATON_IDENTITY_TRUST_PRIV_H

#include <openssl/x509.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "identity/peer.h"

#define CHAIN_CERTS_MAX 5 /* leaf and anchor counted */

struct trust_domain {
	char name[256];
	X509_STORE *anchors; /* certificates and CRLs; OpenSSL locks it */
	size_t n_anchors;
	bool has_crl, of_file;
	int64_t crl_grace_ms;
	int64_t crl_next_update_ms; /* the earliest; INT64_MAX without a CRL */
	int64_t crl_this_update_ms; /* of that list, when it came by a URL; else 0 */
	int64_t crl_left_out_end_ms; /* the earliest of those that their URL does not give any more; INT64_MAX: there are none */
	bool crl_missing;           /* lists of a URL are still to come: */
	int64_t crl_admit_until_ms; /* from then on certificates are refused */
};

struct trust {
	atomic_uint refs;
	size_t n;
	struct trust_domain domains[];
};

/* With room for n domains, empty; NULL with why. */
struct trust *trust_alloc(size_t n, struct problem *why);
/* Its store is shared: it is never changed once it is loaded. */
void trust_take_domain(struct trust *t, const struct trust_domain *of);
/* NULL when no bundle is configured for it. */
const struct trust_domain *trust_find(const struct trust *t, struct slice domain);
/* A whole certificate, and nothing behind it. Owned; NULL: it is none. */
X509 *trust_x509(struct slice der);
/* RSA of 2048 to 8192 bits, P-256, P-384 or Ed25519; NULL is not. */
bool trust_pkey_is_strong(const EVP_PKEY *key);
bool trust_key_is_strong(X509 *cert);
/* Signed with SHA-256 or better. */
bool trust_signature_is_strong(X509 *cert);
bool trust_algorithm_is_strong(const X509_ALGOR *alg);
/* Does a chain of it end in the bundle, with no list against it? Lists count as they do for peers. In peer.c. */
bool trust_vouches_for(const struct trust_domain *d, X509 *cert, STACK_OF(X509) *untrusted, int64_t now_ms);
/* False when the text in the certificate is no time. */
bool trust_time_ms(const ASN1_TIME *t, int64_t *ms);

#endif
