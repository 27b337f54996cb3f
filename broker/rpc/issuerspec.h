/* What does the registry say of an issuer? Between the resource that the store keeps and the rule that its tokens are judged by. */
#ifndef BATON_RPC_ISSUERSPEC_H
#define BATON_RPC_ISSUERSPEC_H

#include "base/arena.h"
#include "baton/v1/admin.pb-c.h"
#include "identity/issuer.h"

#define ISSUER_PREFIX "issuer/"
#define ISSUERS_MAX 64           /* with those of the configuration */
#define ISSUER_KEYS_MAX (256u << 10)

/* Its rule. NULL; or what is wrong with it, with `field`: the text may stand in *why. */
const char *issuerspec_rule(const Baton__V1__Issuer *m, struct issuer_rule *out, const char **field, struct problem *why);
/* A rule as it is shown; it points into the rule and the arena. false: memory is out. */
bool issuerspec_of(struct arena *a, const struct issuer_rule *rule, Baton__V1__Issuer *out);
/* Two rules that cannot both be there: what they have in common, "name", "url", "trust_domain" or "introspection"; NULL: nothing. */
const char *issuerspec_collide(const struct issuer_rule *a, const struct issuer_rule *b);
/* Would it be asked about tokens of this tenant? */
bool issuerspec_is_asked(const Baton__V1__Issuer *m, const char *tenant);

#endif
