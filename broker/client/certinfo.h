/* What does this certificate file say? Dates, names and the thumbprint that tokens are bound to. Nothing is judged
 * here. */
#ifndef BATON_CLIENT_CERTINFO_H
#define BATON_CLIENT_CERTINFO_H

#include <stdbool.h>
#include <stdint.h>

#include "base/problem.h"
#include "base/slice.h"

struct certinfo {
	char spiffe_id[2049];    /* the first URI SAN; "" = none */
	char x5t_s256[44];       /* unpadded base64url of the SHA-256 of the DER (RFC 8705 §3.1) */
	char subject[256], issuer[256];
	int64_t not_before_ms, not_after_ms;
	unsigned uri_sans;
	bool is_ca;
};

/* The first certificate of a PEM file. 0, or -1 with why. */
int certinfo_read(const char *path, struct certinfo *out, struct problem *why);
/* One as DER, the whole of it. false: it is none. */
bool certinfo_der(struct slice der, struct certinfo *out);
struct x509_st;
void certinfo_of(struct x509_st *cert, struct certinfo *out);

#endif
