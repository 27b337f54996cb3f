/* Did the holder of this key sign these bytes? Compact JWS (RFC 7515) with the algorithms of RFC 7518 and 8037 that
 * Baton takes. */
#ifndef BATON_IDENTITY_JWS_H
#define BATON_IDENTITY_JWS_H

#include <jansson.h>
#include <stdbool.h>

#include "identity/jwk.h"
#include "identity/token.h"

/* The three segments, decoded. One a worker: no allocation a token. */
struct jws {
	uint8_t header[TOKEN_MAX_BYTES], payload[TOKEN_MAX_BYTES], signature[1024];
	size_t header_n, payload_n, signature_n;
	struct slice signed_part; /* borrowed from the token */
};

struct jws_header {
	enum token_alg alg;
	bool untyped; /* typ is JWT, or absent: it does not say which kind of token it is */
	bool jose;    /* typ is JOSE, which says no more */
	bool has_kid;
	size_t kid_n;
	char kid[JWK_KID_MAX + 1];
};

#define JWS_NO_ACCESS_TOKEN "its typ says it is no access token: send one with typ at+jwt (RFC 9068), not an ID token"

/* NULL when fine, else static text. */
const char *jws_split(struct slice token, struct jws *out);
/* typ: the media type without "application/" that is demanded; untyped_too: one that is `untyped` or `jose` is read as well. *field: which member is
 * at fault. */
const char *jws_read_header(const struct jws *j, const char *typ, bool untyped_too, struct jws_header *out, const char **field);
/* Owned; NULL when it is no JSON object or holds a member twice; or, with errno ENOMEM, when memory is out. */
json_t *jws_read_json(struct slice json);

/* A key made ready to verify many times, by one thread. */
struct jws_verifier;
struct jws_verifier *jws_verifier_new(const struct jwk *k);
void jws_verifier_free(struct jws_verifier *v);
bool jws_verify(struct jws_verifier *v, struct slice signed_part, struct slice signature);

#endif
