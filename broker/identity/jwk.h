/* What does one JWK (RFC 7517 §4) become? A public key, imported once, and the ONE algorithm that it verifies (RFC 8725
 * §3.1). */
#ifndef BATON_IDENTITY_JWK_H
#define BATON_IDENTITY_JWK_H

#include <jansson.h>
#include <openssl/evp.h>
#include <stdbool.h>

#include "identity/issuer.h"

#define JWK_KID_MAX 256
#define JWK_KEYS_MAX 64

struct jwk {
	EVP_PKEY *key;
	enum token_alg alg;
	bool has_kid;
	size_t kid_n;
	char kid[JWK_KID_MAX + 1];
	size_t signature_n; /* bytes that a signature by it has, exactly */
};

/* of_svids: the use may be jwt-svid (SPIFFE Trust Domain and Bundle, 4.2.2). NULL when it is usable (jwk_clear() then frees what it holds), else static text: why it is skipped. */
const char *jwk_read(const json_t *object, unsigned algorithms, bool of_svids, struct jwk *out);
void jwk_clear(struct jwk *k);

/* ---- for token.c: the keys of a set, in their order ---- */
const struct jwk *keyset_at(const struct keyset *k, size_t at);
/* Do both hold the same keys of the same generation? */
bool keyset_same(const struct keyset *a, const struct keyset *b);

#endif
