/* What world do the fuzzers of rpc/ live in? One tenant with a sender, a worker and two routes, an issuer whose key and
 * token are always the same, and windows of time so wide that an envelope of the corpus never grows old. */
#ifndef BATON_TESTS_FUZZ_KIT_H
#define BATON_TESTS_FUZZ_KIT_H

#include "identity/peer.h"
#include "rpc/world.h"

#define KIT_TENANT "acme"
#define KIT_SENDER "planner"
#define KIT_WORKER "worker"
#define KIT_ROUTE "refunds" /* of three: "mail" asks for an approval and for a destination, "news" is a broadcast */
#define KIT_SPIFFE(name) "spiffe://acme.example/" name

struct kit {
	struct world *world;
	struct world *fewer;   /* the route "mail" is no longer the sender's */
	struct world *alone;   /* the worker has gone */
	struct world *keyless; /* the issuer's keys have not come yet */
	struct identity_peer sender, worker, stranger;
	char token[1024]; /* of the sender, for both routes */
};

void kit_make(struct kit *k);
void kit_free(struct kit *k);

#endif
