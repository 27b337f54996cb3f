/* Who has which roles? The role bindings that all nodes share, made ready to be asked at each call of an operator. Immutable. */
#ifndef BATON_RPC_GRANTS_H
#define BATON_RPC_GRANTS_H

#include "rpc/rolebind.h"

#define GRANTS_MAX 1024 /* bindings: each call of an operator looks at all */

/* One binding. */
struct grant {
	unsigned roles;
	const Baton__V1__RoleBinding *m;
};

struct grants;
/* Those of the snapshot; what is none, or may not stand there, gives nothing. NULL: memory is out. */
struct grants *grants_new(const struct resources *s);
void grants_free(struct grants *g);
size_t grants_count(const struct grants *g);
const Baton__V1__RoleBinding *grants_at(const struct grants *g, size_t i);

/* Asked for a token that was verified: has it this claim with this value? */
typedef bool grants_has(const void *arg, const char *claim, const char *value);
/* The bindings of a certificate's SPIFFE id ("": none), and of a token of the issuer of this name (NULL: none). At most max of them are put into out
 * (NULL: they are counted only). How many. */
size_t grants_find(const struct grants *g, const char *spiffe_id, const char *issuer, grants_has *has, const void *arg, const struct grant **out, size_t max);
/* Has whoever shows a certificate of this SPIFFE id a role? */
bool grants_bind(const struct grants *g, const char *spiffe_id);
/* Does one of these give one of the roles for this tenant? NULL: for all tenants. */
bool grants_give(const struct grant *const *v, size_t n, unsigned roles, const char *tenant);
/* The same of a role's text, so that an approver is one of this route. */
bool grants_give_text(const struct grant *const *v, size_t n, const char *role, const char *tenant);

#endif
