/* What does the registry say of a trust domain? Between the resource that the store keeps and the bundle that certificates are judged against. */
#ifndef BATON_RPC_BUNDLESPEC_H
#define BATON_RPC_BUNDLESPEC_H

#include "base/arena.h"
#include "baton/v1/admin.pb-c.h"
#include "identity/peer.h"

#define BUNDLE_PREFIX "trust/"
#define BUNDLES_MAX 128            /* with those of the configuration */
#define BUNDLE_BYTES_MAX (256u << 10)

/* What is wrong with it, with `field`; the text may stand in *why. NULL = nothing. */
const char *bundlespec_wrong(const Baton__V1__TrustBundle *m, const char **field, struct problem *why);
/* The domain of one with which nothing is wrong; it points into m and the arena. false: memory is out. */
bool bundlespec_domain(struct arena *a, const Baton__V1__TrustBundle *m, struct trust_domain_config *out);

#endif
