/* Is what the broker answered a certificate for us? Judged before anything of it is written. */
#ifndef BATON_CLI_CERTANSWER_H
#define BATON_CLI_CERTANSWER_H

#include "base/problem.h"
#include "base/slice.h"
#include "baton/v1/admin.pb-c.h"
#include "client/certinfo.h"
#include "identity/ca.h"

#define CERTANSWER_CHAIN_MAX 4    /* with the anchor, five: what a broker takes (identity/peer.h) */
#define CERTANSWER_BUNDLE_MAX 256 /* as many as a trust domain may have */
#define CERTANSWER_DER_MAX 16384 /* bytes of one certificate */

#define CERTANSWER_SKEW_MS 300000 /* by so much this machine's clock may be behind the broker's */

struct client;

/* Points into the message. */
struct certanswer {
	struct slice chain[CERTANSWER_CHAIN_MAX], bundle[CERTANSWER_BUNDLE_MAX];
	size_t n_chain, n_bundle;
	struct certinfo leaf;
	char clock[200]; /* "": it has begun. Else when it begins, and what this machine's clock says */
	bool is_early;   /* it begins later than by CERTANSWER_SKEW_MS, and was refused for that */
};

/* Takes at most max, none of them empty or over CERTANSWER_DER_MAX. How many; 0 with why: none, or more, or one of another size. */
size_t certanswer_slices(const ProtobufCBinaryData *v, size_t n, struct slice *out, size_t max, struct problem *why);
/* It is for that key and, unless spiffe_id is NULL, that id; its chain ends in its bundle; and that bundle vouches for the broker at the other end of
 * conn, so that nobody locks himself out by keeping it. One that begins within CERTANSWER_SKEW_MS is judged as of then, for the broker's clock counts: a->clock
 * is a warning. 0, or -1 with why. */
int certanswer_judge(struct certanswer *a, const Baton__V1__Certificate *m, const struct ca_key *key, const char *spiffe_id, const struct client *conn,
		     int64_t now_ms, struct problem *why);

#endif
