/* What is in the secret files of the configured issuers? The keeper is asked for all of them before an introspector is made, so that a start, or a reload, is decided
 * with all of it at hand, and nobody waits meanwhile. */
#ifndef BATON_APP_GATHERING_H
#define BATON_APP_GATHERING_H

#include <stdbool.h>

#include "base/secret_source.h"
#include "identity/issuer.h"
#include "net/loop.h"

struct gathering;
/* done(arg): once, when each is here or is not to be had, 5 s later at most; never inside this call. The source is borrowed. NULL: memory is out. */
struct gathering *gathering_new(struct loop *l, const struct secret_source *from, const struct issuer_rule *issuers, size_t n, void (*done)(void *arg), void *arg);
/* One that was gathered: empty, and *why says why, when it could not be had. */
struct slice gathering_find(const struct gathering *g, const char *file, const char **why);
/* One is missing that nobody refused: another time it may be had. */
bool gathering_is_late(const struct gathering *g);
/* Wipes; no callback follows. NULL is fine. */
void gathering_free(struct gathering *g);

#endif
