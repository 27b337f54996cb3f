/* What do the files of the introspector share? The issuers that are asked, and the questions that are under way. Private to app/introspector.c and app/asker.c. */
#ifndef BATON_APP_INTROSPECTOR_PRIV_H
#define BATON_APP_INTROSPECTOR_PRIV_H

#include <pthread.h>

#include "app/introspector.h"
#include "app/secrets.h"
#include "base/secret.h"
#include "identity/askgate.h"
#include "net/fetch.h"

/* An issuer that is asked. */
struct asker {
	struct introspector *of;
	struct issuer_rule rule;
	uint8_t source[SHA256_BYTES];
	char *authorization;             /* owned; wiped; NULL: the certificate alone says who asks */
	struct secrets_found found;      /* of a registered one; ca_pem NULL: as the rule says */
	uint64_t wanted;                 /* its secret, which is on its way; 0: it is not. Questions wait for the first one */
	bool waits;                      /* under of->lock, as `mute` */
	bool mute;                       /* this node lacks what it is to prove itself by */
	bool again;                      /* nobody refused it: it is asked for again */
	struct fetcher *fetcher;
	struct askgate *gate;            /* under of->lock, as the next */
	size_t under_way;
	unsigned char said;              /* of its certificate's end */
	char told[KEYS_FAILURE_MAX];     /* why it is mute, as it was logged; "": it is not */
	bool fails;                      /* the last question had no answer, and that was logged */
	char failure[KEYS_FAILURE_MAX];  /* why; or why it is mute; "": neither. Written under of->lock */
};

struct question {
	struct asker *asker;
	struct question *next;
	uint8_t key[SHA256_BYTES];
	uint64_t agent;                  /* who was charged for it */
	uint64_t workers;                /* a bit for each in which a request waits; under the lock */
	bool begun;
	size_t token_n;
	char token[];                    /* wiped */
};

struct introspector {
	struct introspector_config c;
	struct asker *askers;
	size_t n;
	pthread_mutex_t lock;
	struct question *questions;      /* under the lock, as the next */
	bool posted;                     /* begin_all() waits in the loop's queue; after the end it frees what is left */
	bool closed;
};

/* ---- asker.c ---- */

/* Of `running` and `as_read`, which may be NULL, see introspector_new(). 0, or -1 with why: then, too, it is to be closed. */
int asker_open(struct introspector *x, struct asker *k, const struct issuer_rule *r, const struct introspector *running, const struct introspector *as_read, struct problem *why);
void asker_close(struct asker *k);
/* It waits for no secret and none was refused, but none came either: asks the keeper once more. */
void asker_look(struct asker *k);
/* The one of x (may be NULL) that asks the same place in the same way. */
struct asker *asker_find_same(const struct introspector *x, const struct asker *k);
/* Do both show the same of this node? A question that is under way points into it. */
bool asker_shows_the_same(const struct asker *a, const struct asker *b);

/* ---- introspector.c ---- */

/* Begins, on the loop, questions that wait. Without memory for that, the next one does, or the next second. */
void introspector_begin_waiting(struct introspector *x);

#endif
