/* What does a token say, once its signature is good? These facts, in one piece of memory that the cache can keep:
 * nothing here is judged. */
#ifndef BATON_IDENTITY_FACTS_H
#define BATON_IDENTITY_FACTS_H

#include <jansson.h>

#include "base/arena.h"
#include "identity/claims.h"
#include "identity/issuer.h"

#define FACTS_AUDIENCES_MAX 16

enum confirmation { CNF_NONE, CNF_CERTIFICATE, CNF_OTHER /* DPoP's jkt, or a proof that no connection gives */ };

struct facts {
	int64_t issued_at_ms, not_before_ms, expires_at_ms;
	bool undated; /* it does not say when it was issued: facts_issued_at() */
	enum confirmation confirmation;
	uint8_t signed_sha256[SHA256_BYTES]; /* of header.payload, or of a whole opaque token; the verifier's */
	bool user; /* it speaks for somebody else than its client */
	uint16_t n_audiences, n_scopes;
	/* where in text; lists: one string after the other */
	uint16_t subject, client, tenant, jti, x5t, key_id, audiences, scopes;
	uint32_t text_n;
	char text[]; /* strings, each with its NUL */
};

static inline size_t facts_size(const struct facts *f)
{
	return sizeof *f + f->text_n;
}

/* By the map alone, so that facts hold for as long as it is the same: memcmp() says. key_id: of the key that signed it, by what the issuer calls it. Owned (free()); NULL with *fault (static text; NULL when memory is out) and *field. */
struct facts *facts_read(const json_t *payload, const struct claim_map *map, struct slice key_id, const char **fault, const char **field);
/* When it was issued; of one that does not say, as early as the rule lets it have been, so that what is revoked by time takes it too. */
int64_t facts_issued_at(const struct facts *f, const struct issuer_rule *rule);
static inline const char *facts_text(const struct facts *f, uint16_t at)
{
	return f->text + at;
}
/* The audience as the token holds it, or NULL when it does not name it. */
const char *facts_find_audience(const struct facts *f, const char *audience);
/* tenant is what the rule calls it. Copies all into the arena; false when that is full. `audience` and `bound` are the judge's, and the digest of what was signed is in f. */
bool facts_to_claims(const struct facts *f, const struct issuer_rule *rule, struct arena *arena, struct claims *out);

#endif
