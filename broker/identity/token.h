/* Is this access token good, here and now, on this connection? RFC 7515, 7519, 8725, 9068, 8705. One verifier a worker. */
#ifndef BATON_IDENTITY_TOKEN_H
#define BATON_IDENTITY_TOKEN_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/slice.h"
#include "base/words.h"
#include "identity/answers.h"
#include "identity/claims.h"
#include "identity/issuer.h"

#define TOKEN_MAX_BYTES 8192

struct token_verifier;
/* cache: how many verified signatures are remembered (keyed by SHA-256 of the whole token; it remembers only "key K of issuer I at
 * generation G signed these bytes" and the parsed claims; every claim is judged anew at each use; failures are not remembered). */
struct token_verifier *token_verifier_new(size_t cache);
void token_verifier_free(struct token_verifier *v);
/* From now on these; cached signatures of keys that are gone no longer count. */
void token_verifier_set_issuers(struct token_verifier *v, struct issuers *i);
/* What issuers said of opaque tokens; it outlives v. Without it (NULL, as it begins) every token is taken for a JWT. */
void token_verifier_set_answers(struct token_verifier *v, struct answers *answers);
uint64_t token_verifier_hits(const struct token_verifier *v);
uint64_t token_verifier_misses(const struct token_verifier *v);

struct token_context {
	const char *x5t_s256;       /* of the peer's certificate; NULL: no connection (baton token verify without --cert): a bound token is then
	                               refused with token_binding */
	const char *spiffe_id;      /* of the peer's certificate; NULL: none, and a JWT-SVID is refused with token_binding */
	const char *client;         /* what the token's client must be: the agent's client id; NULL: not judged */
	const char *client_alt;     /* or this (its SPIFFE id); NULL = none */
	const char *audience;       /* demanded; NULL: not judged */
	const char *tenant;         /* the agent's; NULL: not judged. The issuer must speak for it, and a tenant claim must equal it */
	const char *const *allowed_issuers; /* the profile's list of issuer URLs; NULL: any configured */
	size_t n_allowed_issuers;
	bool issuer_alias_any;      /* reserved: false */
	int64_t now_ms;
	int64_t mono_ms;            /* monotonic, for the age of what issuers said of opaque tokens */
	int64_t leeway_ms;          /* ≤ 60 s, for exp, nbf, iat */
};

struct token_answer {
	struct verdict verdict;     /* reasons: missing_token, invalid_token, expired_token, wrong_issuer, wrong_audience, token_binding,
	                               identity_mismatch, keys_unavailable, tenant_boundary */
	struct claims claims;       /* set when the signature was good, or the issuer said that it is active, whatever the verdict, for the audit */
	bool have_claims;
	bool want_answer;           /* the token is opaque, and its issuer was not asked about it: keys_unavailable until it has answered, and then again */
	uint8_t source[SHA256_BYTES], question[SHA256_BYTES]; /* then: who is to be asked (introspection_source()), and under what the answer is kept */
	int want_keys;              /* index of the issuer whose keys should be fetched (unknown kid, none yet): then the verdict is
	                               keys_unavailable or invalid_token for now, and asking again after a fetch may help; -1 = no */
	uint64_t want_kid;          /* which of its keys: a digest of the token's kid, which is hostile input; 0 = any */
};

/* Order: form (three canonical segments, allowed characters, ≤ 8 KiB) → header (alg, typ, crit, duplicate members, b64) → iss is configured →
 * typ at+jwt, or none that says anything where the issuer's rule takes that → key by kid and alg → signature → claims present and of the
 * right type (iss exp aud sub client_id iat jti, as the rule names them) → with such a typ: no ID token by its claims → lifetime cap → exp →
 * nbf → aud, among the rule's → tenant → cnf → client. An ID token is refused; a token with cnf.jkt (DPoP) is refused as Bearer. A JWT-SVID need
 * not have iss, iat, jti or a client; its sub is the client, and must be the peer's SPIFFE id.
 * A token that is no compact JWS is judged by what its issuer says of it, from `exp` on, where an issuer that is asked speaks for the context's tenant; see
 * introspection.h. One of nobody's tenant is never shown to anybody: it could be another issuer's than the one that is asked. */
void token_verify(struct token_verifier *v, struct slice token, const struct token_context *cx, struct arena *arena, struct token_answer *out);

#endif
