/* What do crl.c and trust_crl.c share? A list, and which of two counts. */
#ifndef BATON_IDENTITY_CRL_PRIV_H
#define BATON_IDENTITY_CRL_PRIV_H

#include "identity/trust_priv.h"

struct crls;

struct crl_list {
	X509_CRL *crl;
	X509 *signer;           /* of an intermediate that is not in the bundle; NULL: it is */
	int64_t this_ms, next_ms;
	int64_t signer_ends_ms; /* its certificate */
	bool left_out;          /* the URL does not give it any more */
};

const struct crl_list *crls_at(const struct crls *c, size_t i);
/* Lists of one issuer's key, about the same certificates. */
bool crl_same_scope(const X509_CRL *a, const X509_CRL *b);
/* Of two of the same scope: is a older than b, by number or by date? */
bool crl_is_behind(const X509_CRL *a, const X509_CRL *b);

#endif
