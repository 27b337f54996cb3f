/* Who serves which route on this worker, and what do they hold? A desk for each queue (a route, or an agent's inbox on a broadcast route), a
 * subscriber for each Subscribe stream, a holding for each lease. Private to rpc/. */
#ifndef BATON_RPC_DESK_H
#define BATON_RPC_DESK_H

#include "base/table.h"
#include "rpc/op.h"
#include "rpc/task.h"

struct profile;

#define SUBSCRIBER_ROUTES_MAX 16
#define WINDOW_MAX 1000

struct subscription {
	struct desk *desk;
	struct subscriber *subscriber;
	struct subscription *prev, *next; /* in the desk's ring */
};

struct subscriber {
	struct rpc_call *rc;
	char tenant[64], agent[64];
	uint64_t key;                     /* store_agent_key() */
	uint32_t window;                  /* granted */
	uint32_t in_flight;               /* leases held, and lease slots asked for */
	uint32_t asked;                   /* those of them that lease calls under way have asked for */
	bool open;
	bool unsent, taken;               /* when something is revoked: not all that it was given has left; some of that was taken away */
	size_t n_routes, turn;            /* turn: whose route is looked at first */
	struct subscription routes[SUBSCRIBER_ROUTES_MAX];
	struct holding *holdings;         /* list by ->sub_next */
};

/* A lease held by a stream on this worker. */
struct holding {
	struct handoff_id id;             /* hash key: a broadcast's copies differ in the tag alone */
	uint64_t fence;
	struct subscriber *subscriber;
	struct desk *desk;
	int64_t until_ms;                 /* when the lease ends, by the store's clock, as last heard */
	int64_t renew_at_ms;              /* by progress: when the store is asked whether it has ended */
	int64_t deadline_ms, run_deadline_ms; /* Unix: of the work, of this delivery; the latter is never later */
	int64_t run_until_ms;             /* how long it may run, on the clock that never steps */
	int64_t assert_at_ms;             /* Unix: a fresh assertion is due; INT64_MAX: never */
	int64_t since_us;                 /* clock_mono_us(): when this stream got it */
	uint32_t lease_ms, renew_ms, attempt;
	bool unsent;                      /* its delivery has not gone out: nobody knows of this lease */
	bool by_progress;                 /* only what its worker says renews it, not the stream */
	bool renewing, settling;          /* an extend or a look, or a terminal report, is under way */
	struct revocable *origin;         /* whose work it is; NULL after a resume, until it was read */
	char trace_id[33];                /* "" after a resume: read when it is needed */
	struct holding *sub_prev, *sub_next;
	UT_hash_handle hh;
};

struct desk {
	char key[QUEUE_KEY_MAX_BYTES + 1];
	char tenant[64], route[64], queue[QUEUE_MAX_BYTES + 1]; /* queue: the route itself, or an inbox of it */
	struct shared_route *shared;
	struct subscription *ring;        /* who is asked next; doubly linked list (utlist) */
	bool leasing;                     /* a lease call is under way */
	bool again;                       /* something came meanwhile */
	bool dry;                         /* nothing waited when the store was asked last, and nobody has said since that something does */
	bool paused;                      /* the store said so when it was asked last */
	bool starved;                     /* found no credit because other desks' calls have asked for it */
	int64_t keep_at_ms;               /* nothing is due there before then, unless something is stirred (worker 0) */
	unsigned barren;                  /* answers in a row that brought nothing */
	UT_hash_handle hh;
};

/* ---- desk.c ---- */
struct desk *desk_get(struct rpc_worker *w, const char *tenant, const char *queue); /* made when new; NULL: memory */
struct desk *desk_find(struct rpc_worker *w, const char *tenant, const char *queue);
void desk_join(struct desk *d, struct subscription *s);
void desk_leave(struct subscription *s);
/* Today's answer to: may this subscriber be handed work of this desk, and keep it? */
struct verdict subscriber_judge(const struct subscriber *s, const struct desk *d);
/* Leases for whoever has credit; does nothing while a call is under way, or nothing waits. */
void desk_pump(struct rpc_worker *w, struct desk *d);
void desk_wake(struct rpc_worker *w, struct desk *d); /* the same, when something may wait */
void subscriber_pump(struct subscriber *s);
void subscriber_pump_starved(struct subscriber *s); /* only desks that found no credit because it was asked for */
/* Work is about to be stored that could be leased at once: the call (id) of a subscriber with credit, some of which is kept for it until
 * desk_offer_over(); 0: it has to queue. *owner: the agent. */
uint64_t desk_offer(struct rpc_worker *w, const char *tenant, const char *route, uint64_t *owner);
/* The store has answered: the subscriber, if it is still there. */
struct subscriber *desk_offer_over(struct rpc_worker *w, uint64_t call);
/* Something begins in this queue that time may end. */
void desk_stir(struct rpc_worker *w, const char *tenant, const char *queue);
/* Work was queued here: wakes this worker's desk and hungry workers. */
void desk_announce(struct rpc_worker *w, const char *tenant, const char *queue);
void desks_free(struct rpc_worker *w);

/* ---- holding.c ---- */
struct holding *holding_add(struct subscriber *s, struct desk *d, const struct handoff_id *id, uint64_t fence);
/* How long its lease is and what renews it, as the route's profile says, from now on. until_ms: its end, by the store's clock. */
void holding_keep(struct holding *h, const struct profile *p, int64_t until_ms);
/* Its delivery goes out now: from here on it is kept as the profile says. */
void holding_sent(struct rpc_worker *w, struct holding *h);
/* Its worker said something, which the store has: the lease ends then. */
void holding_said(struct holding *h, int64_t until_ms);
/* Sets both deadlines, from now on. */
void holding_limit(struct holding *h, const struct profile *p, int64_t deadline_ms);
/* Whose work it is, so that it can be taken away when that was revoked. false: out of memory. */
bool holding_origin(struct holding *h, const pb_task *t, const pb_envelope *e);
struct holding *holding_find(struct rpc_worker *w, const struct handoff_id *id, uint64_t fence);
/* Forgets it; the subscriber's credit comes back. */
void holding_drop(struct rpc_worker *w, struct holding *h);
void holdings_tick(struct rpc_worker *w, int64_t now_ms);
/* The handoff changed elsewhere: if its lease here is over, the subscriber is told to stop. */
void holding_changed(struct rpc_worker *w, const struct handoff_id *id);
void holding_stop(struct rpc_worker *w, struct holding *h, enum reason why);
/* Is its holder still allowed to keep it, by today's policy? False: it was taken away (the subscriber is told to stop, REVOKED) and the work
 * went back to the queue. */
bool holding_may_stay(struct rpc_worker *w, struct holding *h);
/* Would its task still be delivered, by today's policy? False: it was taken away as above, and the work ended or went into quarantine; or
 * memory was out (arena_failed()), and it is as it was. */
bool holding_task_stands(struct rpc_worker *w, struct holding *h, struct arena *a, const pb_task *t, const pb_envelope *e);
/* The lease was resumed: reads whose work it is, and judges it. */
void holding_read(struct rpc_worker *w, struct holding *h);
/* Takes away what today's policy no longer lets its holder keep. */
void holdings_judge(struct rpc_worker *w);
/* Another worker's stream resumed this lease at that time: this one lets go of it. */
void holding_taken(struct rpc_worker *w, const struct handoff_id *id, uint64_t fence, int64_t at_us);
/* The stream was cut: its leases get the route's resume time and then lapse; what it was never sent goes back to the queue. */
void holdings_abandon(struct subscriber *s);

/* ---- deliver.c ---- */
/* Judges one leased item and sends it to the subscriber, or gives it back. Borrowed for the call. */
void deliver_item(struct rpc_worker *w, struct subscriber *s, struct desk *d, const struct store_item *item);
/* The same for work that was leased as it was accepted: it is at hand still. stored: the bytes that the store keeps of it. */
void deliver_at_once(struct op *accepted, struct subscriber *s, const struct store_record *r, const pb_task *task, const pb_envelope *e,
		     struct slice stored);

/* ---- report.c ---- */
/* One report of a worker (any of the frames), from a stream or by Report. Owns the op. */
void report_handle(struct rpc_call *rc, struct op *op, const ProtobufCMessage *frame);

#endif
