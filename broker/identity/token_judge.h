/* Is what this token says good here and now? A pure function of the facts, the issuer's rule and the moment (RFC 9068
 * §4). */
#ifndef BATON_IDENTITY_TOKEN_JUDGE_H
#define BATON_IDENTITY_TOKEN_JUDGE_H

#include "identity/facts.h"
#include "identity/token.h"

/* True when the rule's issuer is among those that the context takes. */
bool token_judge_issuer(const struct issuer_rule *rule, const struct token_context *cx);
/* The verdict; sets audience and bound of c. */
struct verdict token_judge(const struct facts *f, const struct issuer_rule *rule, const struct token_context *cx,
			   struct claims *c);

#endif
