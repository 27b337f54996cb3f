/* What did an issuer say of an opaque token a moment ago? Only its answer is remembered: whether what it says is good here and now is judged for each envelope, by
 * token_judge.c. All workers of a node share one; any thread. */
#ifndef BATON_IDENTITY_ANSWERS_H
#define BATON_IDENTITY_ANSWERS_H

#include <stdbool.h>

#include "base/arena.h"
#include "base/secret.h"
#include "base/words.h"
#include "identity/facts.h"

#define ANSWERS_MAX 8192               /* the one that was used longest ago gives way */
#define ANSWER_TEXT_MAX (8u << 10)     /* bytes of an answer's facts; so all of them have 64 MiB at most */

struct answer {
	bool active;                    /* the issuer says so; the reason says what is made of it */
	enum reason reason;             /* REASON_ALLOWED: it is active, and `facts` is what it says; else why the token is refused */
	char field[CLAIM_NAME_MAX + 1]; /* of a refusal: which claim, and what of it (static) */
	const char *fault;
	struct facts *facts;            /* owned; NULL: refused */
	int64_t until_ms;               /* monotonic: then it is forgotten */
};

void answer_free(struct answer *a);

struct answers;
struct answers *answers_new(void);      /* NULL when memory is out */
void answers_free(struct answers *s);
/* Under what the answer to this token is kept. source: of the issuer as it is configured now (introspection_source()), so that what it said as it was before is
 * never found again. */
void answers_key(const struct answers *s, const uint8_t source[SHA256_BYTES], struct slice token, uint8_t key[SHA256_BYTES]);
/* Takes a. */
void answers_put(struct answers *s, const uint8_t key[SHA256_BYTES], struct answer *a);
/* A copy, its facts in the arena. false: there is none, or no memory for it. */
bool answers_find(struct answers *s, const uint8_t key[SHA256_BYTES], int64_t now_ms, struct arena *arena, struct answer *out);
bool answers_have(struct answers *s, const uint8_t key[SHA256_BYTES], int64_t now_ms);

#endif
