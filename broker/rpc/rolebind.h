/* What does a role binding say, and may it stand there? Between the resource that the store keeps and the roles that operators have. */
#ifndef BATON_RPC_ROLEBIND_H
#define BATON_RPC_ROLEBIND_H

#include "base/arena.h"
#include "baton/v1/admin.pb-c.h"
#include "registry/resources.h"

#define ROLEBIND_PREFIX "role/"
#define ROLEBIND_NAME_MAX (sizeof ROLEBIND_PREFIX + 64)
#define ROLEBIND_ROLES_MAX 16
#define ROLEBIND_CLAIM_MAX 128
#define ROLEBIND_VALUE_MAX 256
/* The resource that says that a first binding was made. */
#define ROLEBIND_INIT "role-init"

/* Bits. An approver is one of a route: which one stands in its text. */
enum role { ROLE_PLATFORM = 1, ROLE_SRE = 2, ROLE_AUDITOR = 4, ROLE_APPROVER = 8 };
#define ROLES_WORDS_MAX 40

/* 0: there is no such role. */
unsigned role_from_text(const char *text);
/* "platform,sre" in the order of the bits; "" for none. */
void role_words(unsigned roles, const char *between, char out[ROLES_WORDS_MAX]);

/* "role/name". */
struct slice rolebind_name(const char *name, char out[ROLEBIND_NAME_MAX]);
/* Is it one, by its name? */
bool rolebind_is(const struct resource *r);
/* What is wrong with it, with `field`; NULL = nothing. The issuer is not looked for. */
const char *rolebind_wrong(const Baton__V1__RoleBinding *m, const char **field);
unsigned rolebind_roles(const Baton__V1__RoleBinding *m);

#endif
