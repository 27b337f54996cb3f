/* What is to be done when the connection to Redis breaks? Words, by what broke it. */
#ifndef BATON_STORE_REDIS_REMEDY_H
#define BATON_STORE_REDIS_REMEDY_H

#include <stddef.h>

/* Never NULL, static; names the key of the configuration where there is one. why: what net/stream.h said. */
const char *redis_remedy(const char *why);
/* The same, with the key that says where in place of store.url. */
void redis_remedy_put(char *out, size_t size, const char *why, const char *key);

#endif
