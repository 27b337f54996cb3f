/* Which tokens are put to the verifier and to its judge? Honest and spoiled ones, for the algorithms that both know. */
#ifndef BATON_TEST_TOKEN_CORPUS_H
#define BATON_TEST_TOKEN_CORPUS_H

#include <openssl/evp.h>
#include <stdint.h>

#include "base/slice.h"

#define CORPUS_KEYS 8
#define CORPUS_URL "https://login.acme.example"
#define CORPUS_NOW 1764000000LL /* seconds: when the honest ones are good */

struct corpus_key {
	const char *kid, *alg; /* the JWK says both */
	const char *group;     /* NULL: RSA */
	EVP_PKEY *key;
};
extern struct corpus_key corpus_keys[CORPUS_KEYS];

struct sample {
	const struct corpus_key *key; /* that signed it, when anybody did */
	struct slice token;           /* until the next one */
};

/* Also begins and ends jwt_*(), whose arena is emptied by corpus_next(), and rules OpenSSL's chance. */
void corpus_begin(uint64_t seed);
void corpus_end(void);
/* Lives in jwt_arena. */
const char *corpus_jwk(const struct corpus_key *k);
struct sample corpus_next(void);

#endif
