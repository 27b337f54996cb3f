/* What do assertion_key.c and assertion.c share? The key, its header, and a pool of signing contexts. */
#ifndef BATON_IDENTITY_ASSERTION_PRIV_H
#define BATON_IDENTITY_ASSERTION_PRIV_H

#include <openssl/evp.h>
#include <pthread.h>

#include "identity/assertion.h"
#include "identity/jwk.h"

#define ASSERTION_TYP "baton-delivery+jwt"
#define ASSERTION_SIGNATURE_BYTES 64 /* ES256 and EdDSA alike */
#define ASSERTION_POOL 64            /* signers kept; more threads at once make one and drop it */
#define ASSERTION_JSON_MAX 32768     /* bytes of claims: then a signed one has ASSERTION_TOKEN_MAX at most */

/* What one signature needs, kept for the next: no thread waits for another's. */
struct assertion_signer {
	EVP_PKEY_CTX *ctx; /* ES256 */
	EVP_MD_CTX *once;  /* EdDSA */
	struct buf json;
};

struct assertion_key {
	struct jwk jwk;      /* key: both halves; kid: the RFC 7638 thumbprint */
	char *header;        /* base64url, with the dot after it */
	size_t header_n;
	char *public_jwk;    /* JSON */
	pthread_mutex_t lock;
	struct assertion_signer *pool[ASSERTION_POOL];
	size_t n_pool;
};

struct assertion_signer *assertion_signer_take(struct assertion_key *k);
void assertion_signer_give(struct assertion_key *k, struct assertion_signer *s);

#endif
