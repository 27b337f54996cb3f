/* What is one request on its way through the broker? An op: made for each message, with an arena of its own; it lives from the message
 * until its answer is on its way, whether or not the call is still there. Private to rpc/. */
#ifndef BATON_RPC_OP_H
#define BATON_RPC_OP_H

#include <protobuf-c/protobuf-c.h>
#include <stdatomic.h>

#include "base/arena.h"
#include "base/bucket.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/secret.h"
#include "base/slots.h"
#include "baton/v1/decision.pb-c.h"
#include "baton/v1/handoff.pb-c.h"
#include "identity/claims.h"
#include "identity/peer.h"
#include "identity/token.h"
#include "messaging/envelope.h"
#include "net/call.h"
#include "observe/audit.h"
#include "observe/trace.h"
#include "registry/registry.h"
#include "rpc/issuing.h"
#include "rpc/worker.h"
#include "store/store.h"

struct rpc_row;
struct sweep;
struct rpc_call;
struct caller; /* rpc/caller.h */
struct op;

#define MESSAGE_MAX (17u << 20) /* that we read: the hard cap of a payload is 16 MiB */
#define ARENA_CAP (6 * MESSAGE_MAX) /* an op's. Get takes most: task, envelope, report and result are copies of copies */
#define ARENA_POOL 256
#define OPS_MAX 65536
#define PARKED_MAX 1024            /* requests of a worker that wait for keys; one agent's: a quarter of it, and of the bytes */
#define PARKED_BYTES_MAX (64u << 20)
#define KEYS_OF_NONE (KEYS_OF_ALL - 1)

/* Something that waits until the audit lines written before it are durable. */
struct held {
	uint64_t ticket;
	struct op *op;
	void (*release)(struct op *op, bool durable);
	struct held *next;
};

struct rpc_worker {
	struct rpc_env env;
	struct call_handler handler;
	struct world *world;
	struct token_verifier *verifier;
	struct slots *ops;
	struct slots *calls;             /* rpc_call by id, for what must find one later */
	struct arena *pool[ARENA_POOL];
	size_t n_pool;
	struct held *held_head, **held_tail;
	struct op *parked, **parked_tail; /* wait for keys, in the order in which they came */
	struct parked_sum { size_t n, bytes; } parked_sum;
	size_t n_out;                    /* ops in the outboxes of all calls */
	size_t acting, older;            /* ops that may still change something; those of them that began in an older world */
	atomic_bool settled;             /* none of the latter is left */
	int64_t ticked_ms;               /* monotonic */
	struct waiting *waiting;         /* for other nodes: rpc/await.h */
	struct buf scratch;              /* for packing one message */
	struct desk *desks;              /* routes served here: rpc/desk.h */
	struct holding *holdings;        /* leases held by streams here */
	struct follower *followers;      /* watchers here */
	struct search *searches;         /* of the audit: rpc/search.h */
	struct reswatch *reswatches;     /* of resources: rpc/reswatch.c */
	size_t n_reswatches;
	uint64_t worlds;                 /* that it has had */
	int64_t next_housekeeping_ms, next_poll_ms;
	unsigned rounds;                 /* of housekeeping */
	uint64_t seen_hits, seen_misses; /* of the token cache, already counted */
	struct bucket strangers;         /* refusals that are still written down of those who have no certificate */
	bool draining, last_ready;
};

/* One RPC on one stream. */
struct rpc_call {
	struct rpc_worker *w;
	const struct rpc_row *row;
	struct call *c;                  /* valid while this struct lives: on_gone ends both */
	uint64_t id;                     /* in w->calls */
	const struct identity_peer *peer;
	uint64_t agent_key;              /* of the agent whose messages came on it; 0 = none yet */
	unsigned messages;               /* seen so far */
	bool half_closed;
	char *token;                     /* the stream's present default token when a Credential replaced the metadata's; wiped */
	uint64_t credential, credential_for; /* the op of a Credential that waits for keys or an answer, and what for; what comes after it waits too. 0 = none */
	uint64_t standing;               /* the op that waits for what is said of the certificate; what comes after it waits too. 0 = none */
	int64_t token_until_ms;          /* when the token expires that the stream goes on with; 0: it has none yet, or needs none */
	bool token_warned;
	uint8_t principal[SHA256_BYTES]; /* of the token that the stream began with, which a Credential must match */
	bool has_principal;
	struct revocable *whose;         /* Watch, Run, Subscribe: on whose authority, as last verified (Subscribe: a certificate's alone); owned; NULL: nobody's */
	struct watch *watch;             /* Watch and Run */
	struct reswatch *reswatch;       /* Watch of resources */
	struct subscriber *subscriber;   /* Subscribe */
	unsigned pipe_open;              /* Pipe: submits whose receipts are owed */
	bool closing;                    /* denied: what comes now is not looked at */
	uint64_t denial;                 /* the op that ends it once pipe_open is 0; 0 = none waits */
	struct search *search;           /* of the audit */
	bool watches_health;
	uint64_t out_first, out_last;    /* the outbox: ids of ops whose answers wait for the peer to read; 0 = none */
	unsigned out_n;
};

struct op {
	struct rpc_worker *w;
	struct arena *arena;
	uint64_t id;                     /* in w->ops; also the store's op number */
	uint64_t call;                   /* rpc_call's id; 0 = none (housekeeping) */
	const struct rpc_row *row;
	const char *event;               /* the audit's, in the place of the row's; NULL: that */
	const struct agent *agent;       /* borrowed from `world`, which the op holds; NULL: none, or an operator's call */
	struct caller *caller;           /* an operator's call: whose, in the arena */
	uint64_t asker;                  /* who waits for keys: agent.key, or an operator's */
	struct world *world;
	const char *spiffe_id, *x5t_s256, *x5t_twin; /* the peer's, in the arena */
	int64_t certificate_issued_at_ms;
	ProtobufCMessage *msg;
	struct slice raw;                /* the message's bytes; borrowed until the handler returns, then a copy when parked */
	bool owes_window;                /* call_consumed() is still to be said */
	bool owes_receipt;               /* counted in pipe_open */
	struct trace_context trace;
	struct audit_record audit;       /* filled in as more becomes known */
	void (*on_answer)(struct op *op, const struct store_answer *a);
	void (*on_issued)(struct op *op, const struct issue_answer *a);
	void (*on_signed)(struct op *op, const struct sign_answer *a);
	int64_t parked_ms;               /* since when it waits for keys, on and off; 0: it never did */
	uint64_t parked_for;             /* the issuer, or the question about a token: question_wait() */
	uint64_t told;                   /* what it waited for last, when that came to its end; else KEYS_OF_NONE */
	unsigned parks;                  /* how often it waited */
	struct op *next_parked;
	uint64_t out_next;               /* in its call's outbox */
	bool rests;                      /* it changes nothing any more, or will be judged again before it does */
	void (*go)(struct rpc_call *rc, struct op *op);
	struct held held;                /* one at a time */
	void *state;                     /* the handler's, in the arena */
	struct sweep *sweep;             /* through queues, when it makes one; part of its state */
	int64_t begun_us;
};

/* Has this node heard in time of what was taken away? */
static inline bool worker_is_fresh(const struct rpc_worker *w)
{
	return !w->env.fresh_until_ms || atomic_load_explicit(w->env.fresh_until_ms, memory_order_relaxed) > clock_mono_ms();
}

/* ---- op.c ---- */
struct op *op_new(struct rpc_worker *w, struct rpc_call *rc);
/* It waits for something, and what it does then is judged anew: nobody waits for it before a change is confirmed. */
void op_rest(struct op *op);
void op_end(struct op *op); /* gives back window, arena, world */
struct rpc_call *op_call(struct op *op); /* NULL when the call has gone */
/* Runs release(op, durable) once the lines put so far on this worker are durable (false: they never will be). */
void op_after_audit(struct op *op, uint64_t ticket, void (*release)(struct op *op, bool durable));
/* Writes op->audit as `event`; the ticket, 0 when it was refused. */
uint64_t op_audit(struct op *op, const char *event);
/* The store's answer for any op. */
void op_store_done(void *user, uint64_t id, const struct store_answer *a);
/* May the op wait for keys, or for an answer about its token (again)? Then op_park() puts it aside until those of the issuer are settled, or it is answered; false when
 * memory is out. */
bool op_may_park(const struct op *op, int64_t now_ms);
bool op_park(struct op *op, uint64_t what, int64_t now_ms);
/* Judges again what waits for this issuer's keys or this answer, or for anything with KEYS_OF_ALL, and what has waited too long. */
void op_unpark(struct rpc_worker *w, int64_t now_ms, uint64_t what);
void op_release_held(struct rpc_worker *w);
/* Makes the slice outlive what it borrows from. */
struct slice op_keep(struct op *op, struct slice s);
const char *op_str(struct op *op, struct slice s);
/* The words with a space between two, as scopes are written (RFC 8693 §4.2); a 0 follows. p is NULL when memory is out. */
struct slice op_join(struct op *op, const char *const *words, size_t n);

/* ---- outbox.c ---- */
/* go(rc, op) sends what the op has to say, now or when the peer has read what is before it; then the op ends. It ends without, when the
 * call goes before its turn, or when too much waits already: then the call ends with quota_exceeded. */
void outbox_send(struct rpc_call *rc, struct op *op, void (*go)(struct rpc_call *rc, struct op *op));
bool outbox_clear(const struct rpc_call *rc); /* nothing waits, and the call takes more */
void outbox_writable(struct rpc_call *rc);
void outbox_drop(struct rpc_call *rc); /* the call has gone */

/* ---- reply.c ---- */
/* Packs into w->scratch and sends. */
bool reply_send(struct rpc_call *rc, const ProtobufCMessage *m);
/* Ends a unary call with its answer. */
void reply_unary(struct rpc_call *rc, const ProtobufCMessage *m);
/* Ends the call with the verdict as a gRPC error: status, message "reason: text", trailers, details. */
void reply_denied(struct rpc_call *rc, const struct op *op, const struct verdict *v, const char *policy_version, const char *handoff_id);
void reply_error(struct rpc_call *rc, enum reason r, const char *field, const char *message);
/* What streams are told between their answers; at_ms: when it takes effect. message is borrowed. */
Baton__V1__Notice reply_notice(Baton__V1__NoticeKind kind, const char *message, int64_t at_ms);
/* A baton.v1.Decision in the arena. */
typedef Baton__V1__Decision pb_decision;
pb_decision *reply_decision(struct arena *a, const struct verdict *v, const char *policy_version);

/* ---- pipeline.c ---- */
/* Judges a message again from its bytes (after keys came). */
void pipeline_again(struct op *op);
/* Has a call's message go through all gates anew, as if it came now: its row's handler gets it once more, or the call is denied. The bytes are borrowed until the
 * handler returns. The op's id; 0: memory is out. */
uint64_t pipeline_ask_again(struct rpc_call *rc, struct slice message);

#endif
