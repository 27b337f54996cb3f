/* Who vouches for identities on this node? The issuers and trust domains of the configuration, and those that were registered while nodes run: one list of
 * each. */
#ifndef BATON_APP_VOUCHING_H
#define BATON_APP_VOUCHING_H

#include "app/certstatus.h"
#include "app/crlfeed.h"
#include "app/introspector.h"
#include "app/keyfeed.h"
#include "identity/peer.h"
#include "registry/resources.h"

/* Made beside what runs, then swapped in whole. */
struct vouching {
	struct keyfeed *feed;
	struct introspector *introspector;
	struct crlfeed *crls;        /* NULL: those that run go on, and so does the trust */
	struct trust *trust;
	struct responders *responders; /* NULL: as crls */
	bool lists_made;             /* of what was, once it was swapped out: other lists run now */
	size_t refused;              /* resources that were left out: see why */
	size_t conflicts;            /* of them those that the configuration stands in the way of */
	struct problem why;          /* of the last one that was */
};

struct vouching_from {
	const struct keyfeed_config *feed;
	const struct introspector_config *asking;
	const struct issuer_rule *issuers; /* configured */
	size_t n_issuers;
	struct trust *configured;          /* borrowed */
	const struct trust_domain_config *domains; /* what it is of */
	size_t n_domains;
	const struct crlfeed_config *crls;
	struct certstatus *certstatus;     /* by which responders will be asked */
	bool allow_private;                /* registry.allow_private_fetches */
	const struct resources *resources;
	const struct keyfeed *running;     /* whose keys go on; NULL: none */
	const struct introspector *running_introspector; /* the same, of secrets */
	const struct crlfeed *running_crls; /* the same, of lists */
	struct trust *running_trust;
	bool read_files;                   /* keys and secrets of files are read anew, and bundles are looked at */
	bool bundles;                      /* a trust bundle changed; else, and without read_files, trust and lists go on as they are */
};

/* What cannot be had of the resources, or is more than there may be, is left out, so that its tokens and certificates are refused: nothing that is stored keeps
 * a node from living by the rest. -1: the configured ones cannot be had, or memory is out. */
int vouching_make(const struct vouching_from *from, struct vouching *out, struct problem *why);
void vouching_clear(struct vouching *v);
/* Is the resource of this name one that vouching_make() reads? */
bool vouching_is(struct slice name);

#endif
