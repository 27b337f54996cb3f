/* Who asks OCSP responders about the certificates of connected peers, and when again? RFC 6960, on the control loop: one question about a certificate at a time, however
 * many connections and calls wait for it; a good answer counts until its nextUpdate, ocsp.max_age at the longest, and is asked for anew when half of that is
 * over, while the peer is there. Only responders that a trust domain names, in the configuration or in a registered bundle, are asked, never one that a certificate does, and only about certificates whose chain has been
 * verified. What the answers are is identity/ocsp.c. */
#ifndef BATON_APP_CERTSTATUS_H
#define BATON_APP_CERTSTATUS_H

#include "base/problem.h"
#include "identity/peer.h"
#include "net/loop.h"
#include "observe/audit.h"
#include "observe/metrics.h"
#include "rpc/worker.h"

struct certstatus;
struct responders;

struct certstatus_config {
	struct loop *loop;           /* the control loop; every function but certstatus_of() runs there */
	struct metrics *metrics;
	struct audit_lane *audit;
	const char *state_dir;       /* lives longer; NULL: nothing is kept for the next run */
	struct trust *(*trust)(void *arg); /* by whose lists responders' certificates are judged; a ref */
	/* A question is over, well or not. workers: a bit for each in which something waits for it. */
	void (*on_answered)(void *arg, uint64_t workers, const uint8_t key[SHA256_BYTES]);
	/* Whom a good answer let in is let in no more: its connections close. status: why. */
	void (*on_fallen)(void *arg, const uint8_t key[SHA256_BYTES], enum peer_status status);
	void *arg;
};

struct certstatus *certstatus_new(const struct certstatus_config *c); /* NULL when memory is out */
/* What is under way is dropped, and nobody hears of it; what is known is kept for the next run. After the workers. */
void certstatus_free(struct certstatus *s);

/* Those of the domains that have one: made beside what runs. NULL with why. */
struct responders *responders_new(struct certstatus *s, const struct trust_domain_config *v, size_t n, struct problem *why);
void responders_free(struct responders *r);
/* They are asked from now on; takes r. Answers of those that are the same go on; whoever else's peers are asked about anew. */
void certstatus_install(struct certstatus *s, struct responders *r);

bool certstatus_asks(const struct certstatus *s); /* from any thread: is there anybody to ask? */
/* From any thread: for the worker of this index. May have a question asked; with PEER_STATUS_ASKED on_answered() follows, for this worker too. */
enum peer_status certstatus_of(struct certstatus *s, unsigned worker, const struct identity_peer *p);
/* From any thread: is it known, without asking, that the peer's certificate is not good? */
bool certstatus_refuses(struct certstatus *s, const struct identity_peer *p);
/* From a worker's thread: is it this that is known of the peer, so that its connection is to close? Only once who waited for it had time to hear it. */
bool certstatus_condemns(struct certstatus *s, unsigned worker, const struct identity_peer *p, enum peer_status status);
/* From any thread: does it go badly with the responder of this domain? Then why. */
bool certstatus_fails(struct certstatus *s, const char *domain, char *why, size_t size);

#endif
