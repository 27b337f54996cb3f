/* Who has an issuer's keys fetched, though nobody needs them now? */
#ifndef BATON_RPC_KEYS_H
#define BATON_RPC_KEYS_H

/* A resource of this name and the issuer's: each version of it has every node fetch them. */
#define KEYS_REFRESH_PREFIX "keys-refresh/"

#endif
