/* What is the RPC layer of one worker, seen from app/? A call handler for net/, a few hooks, and the snapshot it works with. */
#ifndef BATON_RPC_WORKER_H
#define BATON_RPC_WORKER_H

#include <stdbool.h>
#include <stdint.h>

#include "identity/answers.h"
#include "identity/assertion.h"
#include "identity/peer.h"
#include "net/call.h"
#include "observe/audit.h"
#include "observe/health.h"
#include "observe/metrics.h"
#include "rpc/issuing.h"
#include "rpc/shared.h"
#include "rpc/world.h"
#include "store/store.h"

struct fleet;     /* rpc/fleet.h */
struct rates;     /* rpc/rates.h */
struct tenants;   /* rpc/tenants.h */
struct reconcile; /* rpc/reconcile.h */

/* Keys that a token needs and that are not there. */
struct key_want {
	size_t issuer;               /* index among the world's */
	uint64_t agent;              /* whose request it is: agent.key */
	uint64_t kid;                /* token_answer.want_kid */
	int64_t since_ms;            /* monotonic: the request waits since then; 0: it has not waited yet */
};

/* An opaque token that an issuer is to be asked about: token_answer.want_answer. */
struct token_question {
	const uint8_t *source, *key;   /* SHA256_BYTES each: token_answer's source and question */
	struct slice token;          /* copied, and wiped */
	uint64_t agent;              /* whose request it is */
};

enum question_result {
	QUESTION_ASKED,              /* an answer, or that there is none, follows within seconds: rpc_worker_answered() */
	QUESTION_ANSWERED,           /* it has just come */
	QUESTION_SPENT,              /* too many of the agent's tokens turned out to be no good */
	QUESTION_BUSY,               /* too many questions are under way, or nobody can be asked */
	QUESTION_RESULTS
};
/* What an op waits for that waits for an answer; never an issuer's place. */
uint64_t question_wait(const uint8_t key[SHA256_BYTES]);

/* What is known of a peer's certificate, where somebody is asked about it. */
enum peer_status {
	PEER_STATUS_GOOD,            /* or nobody is asked */
	PEER_STATUS_ASKED,           /* an answer, or that there is none, follows within seconds: rpc_worker_answered() with its key */
	PEER_STATUS_REVOKED,
	PEER_STATUS_UNKNOWN,         /* to whoever should know it */
	PEER_STATUS_SILENT           /* there is no answer */
};

/* How it goes with an issuer's keys. */
#define KEYS_FAILURE_MAX 200
struct keys_state {
	bool discovers;              /* they are fetched */
	int64_t fetched_at_ms;       /* wall clock; 0: never */
	char failure[KEYS_FAILURE_MAX]; /* why the last fetch failed; "" when it did not */
	char unanswered[KEYS_FAILURE_MAX]; /* why it cannot be asked about opaque tokens, or did not answer the last time; "" when it did, or is not asked */
};

/* How it goes with the lists of revoked certificates that are fetched for a trust domain. */
struct lists_state {
	int64_t fetched_at_ms;       /* wall clock: of the URL that answered longest ago; 0: one never did */
	char failure[KEYS_FAILURE_MAX]; /* where and why a last fetch failed; "": none did */
};

struct sign_answer {
	struct slice token;          /* "": it was not signed */
	int64_t expires_at_ms;       /* of the token */
	bool never;                  /* it was not, and will not be another time */
};

/* What app/ lends to a worker; all of it outlives the worker. */
struct rpc_env {
	unsigned index;              /* of this worker */
	unsigned workers;            /* in all, ≤ SHARED_WORKERS_MAX */
	struct call_worker *calls;
	struct call_worker *const *peers; /* every worker's, by index: for messages between them */
	struct rpc_worker *const *rpc;    /* and their RPC layers */
	struct store *store;
	struct audit_lane *audit;
	struct audit_reader *audit_reader; /* NULL: the audit is not searched */
	void (*audit_found)(void *arg);    /* on its thread: have rpc_worker_audit_found() run on this worker's */
	struct metrics *metrics;
	struct health *health;
	struct shared *shared;
	struct fleet *fleet;
	unsigned (*connections)(void *arg, const char *spiffe_id, int64_t *certificate_ends_ms); /* to this node; 0: none. NULL: nobody knows */
	bool (*revoke_here)(void *arg, struct slice name, struct slice value); /* without the store; this node lives by it soon. false: out of memory */
	void (*settled)(void *arg);  /* this worker lives by its present world alone. NULL: nobody asks */
	const atomic_llong *fresh_until_ms; /* monotonic: then this node has not heard of changes to agents for too long. NULL: it always has */
	struct rates *rates;
	struct tenants *tenants;
	void (*ask_tail)(void *arg); /* have rpc_worker_tail() run at this tick's tail */
	/* These keys should be fetched. True: a fetch is under way or will be, and rpc_worker_keys_settled() will follow. False: it was looked
	 * for already, or the agent has asked too often. */
	bool (*want_keys)(void *arg, const struct key_want *want);
	struct answers *answers;     /* what issuers said of opaque tokens; NULL: such tokens are none */
	/* An issuer is to be asked about a token. */
	enum question_result (*ask_issuer)(void *arg, const struct token_question *q); /* NULL: none is asked */
	enum peer_status (*peer_status)(void *arg, const struct identity_peer *p); /* NULL: nobody is asked about certificates */
	bool (*keys_state)(void *arg, const char *issuer, struct keys_state *out); /* false: there is no such issuer. NULL: nobody knows */
	bool (*lists_state)(void *arg, const char *domain, struct lists_state *out); /* false: nothing is fetched for it. NULL: nobody knows */
	/* Does the OCSP responder of this domain give no answer that counts? Then why. NULL: nobody knows. */
	bool (*responder_fails)(void *arg, const char *domain, char why[KEYS_FAILURE_MAX]);
	/* The mark in the state folder that a first role binding was made. make: leave it. 0: it was not there; 1: it was; -1, why: it cannot be read or made.
	 * NULL: this node keeps none. */
	int (*initialised)(void *arg, bool make, struct problem *why);
	/* An assertion is to be signed, all but its issuer and its times; until expires_at_ms at the latest. true: rpc_worker_signed() will follow, within seconds, on
	 * this worker's thread. false: nobody can now, or there is too much to do. NULL: none are signed. */
	bool (*sign)(void *arg, uint64_t op, const struct assertion *a);
	/* A certificate is to be issued. true: rpc_worker_issued() will follow, within seconds, on this worker's thread. false: nobody can now, or there is too much
	 * to do. ask NULL: could it be asked now? NULL: this node issues none. */
	bool (*issue)(void *arg, const struct issue_ask *ask);
	void (*peer_gone)(void *arg, const struct call_peer *p); /* a connection is over */
	void *arg;
	atomic_ullong *aside;        /* handoffs that were put aside for revocations are counted here. NULL: nobody asks */
	const char *node, *version;
	struct store_slot_limits slot_limits;
	struct reconcile *reconcile; /* worker 0 after an unclean stop; else NULL */
};

struct rpc_worker;

/* The listeners whose peers are operators, by the names that app/ opens them under: the unix socket, and listen.admin. */
#define RPC_LISTENER_ADMIN "admin"
#define RPC_LISTENER_ADMIN_TLS "admin_tls"
/* listen.enrol: its peers have no certificate. */
#define RPC_LISTENER_ENROL "enrol"

struct rpc_worker *rpc_worker_new(const struct rpc_env *env, struct world *world);
void rpc_worker_free(struct rpc_worker *w);
const struct call_handler *rpc_worker_handler(struct rpc_worker *w);
/* Takes a ref. Requests under way finish with what they began with; deliveries are judged by the new one, and leases and streams that it
 * no longer allows end. */
void rpc_worker_set_world(struct rpc_worker *w, struct world *world);
/* Is no request under way any more that began in an older world than the present one? From any thread. */
bool rpc_worker_settled(const struct rpc_worker *w);
/* Is this peer, its agent or its tenant revoked? On the worker's thread. */
bool rpc_worker_revokes_peers(const struct rpc_worker *w); /* any at all */
bool rpc_worker_peer_revoked(const struct rpc_worker *w, const struct revocations *by, const struct identity_peer *p); /* by NULL: those in force */
/* Which connections would a revocation close, that somebody thinks of? A question that came, in the present world, after the one of this generation: its own
 * generation, and what rpc_worker_peer_revoked() judges peers by, whose ref is the caller's. 0: there is none, or it cannot be read. On the worker's thread. */
uint64_t rpc_worker_asked(const struct rpc_worker *w, uint64_t after, struct revocations **about);
/* A fetch of this issuer's keys ended, well or not: requests that waited for it are judged again. */
#define KEYS_OF_ALL UINT64_MAX
void rpc_worker_keys_settled(struct rpc_worker *w, uint64_t issuer);
/* The question about a token is over, well or not: what waited for it is judged again. */
void rpc_worker_answered(struct rpc_worker *w, const uint8_t key[SHA256_BYTES]);
/* What became of the assertion of this op. */
void rpc_worker_signed(struct rpc_worker *w, uint64_t op, const struct sign_answer *a);
/* Whose certificate has this key (identity/ocsp.h) is let in no more: its streams end, and say why. The connections are app/'s to close. */
void rpc_worker_peer_fallen(struct rpc_worker *w, const uint8_t key[SHA256_BYTES], enum peer_status status);
/* What became of an issue_ask of this op. */
void rpc_worker_issued(struct rpc_worker *w, uint64_t op, const struct issue_answer *a);
/* The reader of the audit may have something for a search here. */
void rpc_worker_audit_found(struct rpc_worker *w);
/* Writes the audit lines of this tick and lets go the answers whose lines are durable. */
void rpc_worker_tail(struct rpc_worker *w);
/* Ten times a second: leases to renew, deadlines, watchers to look after; on worker 0 the store's housekeeping. */
void rpc_worker_tick(struct rpc_worker *w);
/* Tells subscribers to go elsewhere; new submissions are refused with `draining`. */
void rpc_worker_drain(struct rpc_worker *w);
/* The store is there, perhaps another one than before. */
void rpc_worker_store_ready(struct rpc_worker *w);
/* A store_wake: this slot may have work. */
void rpc_worker_store_wake(void *worker, const char *tenant, const char *route);
/* Something was stored though the store did not say so in time: it is written down. */
void rpc_worker_store_late(struct rpc_worker *w, const char *tenant, const char *route, const struct store_record *r);

#endif
