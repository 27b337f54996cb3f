/* How do tests make tokens, honest and hostile? Raw: header and payload are texts, so that nothing repairs them on the
 * way. */
#ifndef BATON_TEST_IDENTITY_JWT_H
#define BATON_TEST_IDENTITY_JWT_H

#include <openssl/evp.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "base/arena.h"
#include "base/slice.h"

/* A test that cannot be set up has failed. */
#define NEED(x)                                                                                                        \
	do {                                                                                                           \
		if (!(x))                                                                                              \
			abort();                                                                                       \
	} while (0)

/* All texts live in this arena until jwt_end(). */
extern struct arena *jwt_arena;
void jwt_begin(void);
void jwt_end(void);

EVP_PKEY *jwt_ec(const char *group);
EVP_PKEY *jwt_rsa(unsigned bits);
EVP_PKEY *jwt_ed25519(void);
/* The public half as a JWK; members: more of them, e.g. ",\"kid\":\"a\"" */
const char *jwt_jwk(EVP_PKEY *key, const char *members);
const char *jwt_b64(const void *p, size_t n);
/* alg says how the bytes are signed, whatever the header says: "ES256" "RS384" "PS512" ... "EdDSA", "PS256/20": with a salt
 * of 20 bytes, "DER": ECDSA as OpenSSL writes it. */
const char *jwt_sign(EVP_PKEY *key, const char *alg, const char *header, const char *payload);
const char *jwt_hmac(struct slice secret, const char *header, const char *payload);
/* header and payload as they are, already encoded. */
const char *jwt_sign_encoded(EVP_PKEY *key, const char *alg, const char *signed_part);

#endif
