/* By what does an agent that has no certificate yet show who it is? By an enrolment token: made for it, shown once, good for one public key and a short time.
 * The store keeps of it a digest, in a resource of the agent's, so that an agent has one at a time: a new one is the end of the one before. What a token
 * looks like is identity/enrolment.h. */
#ifndef BATON_RPC_ENROLMENT_H
#define BATON_RPC_ENROLMENT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/secret.h"
#include "base/slice.h"
#include "identity/spiffe.h"

#define ENROLMENT_PREFIX "enrol/"
#define ENROLMENT_NAME_MAX (sizeof ENROLMENT_PREFIX + 16)
#define ENROLMENT_UUID_MAX 40
#define ENROLMENT_TTL_MIN_S 60
#define ENROLMENT_TTL_MAX_S 86400
#define ENROLMENT_TTL_S 3600

/* What is kept. */
struct enrolment {
	int64_t expires_at_ms;
	uint8_t token[SHA256_BYTES];     /* of the token's text */
	uint8_t key[SHA256_BYTES];       /* of the public key that it was used with; zeros: it was not yet */
	char tenant[64], name[64], uuid[ENROLMENT_UUID_MAX + 1]; /* whose it is; uuid "": an agent of the configuration */
	char spiffe_id[SPIFFE_ID_MAX + 1];
};

/* "enrol/" and the agent's number in hex. */
struct slice enrolment_name(uint64_t agent_key, char out[ENROLMENT_NAME_MAX]);

bool enrolment_put(struct buf *b, const struct enrolment *e);
/* false: it is none. */
bool enrolment_get(struct slice value, struct enrolment *out);
bool enrolment_is_used(const struct enrolment *e);

enum enrolment_fault { ENROLMENT_FINE, ENROLMENT_UNKNOWN, ENROLMENT_EXPIRED, ENROLMENT_USED };
/* May this token be used with that public key (its digest) now? */
enum enrolment_fault enrolment_judge(const struct enrolment *e, struct slice token, const uint8_t key[SHA256_BYTES], int64_t now_ms);

#endif
