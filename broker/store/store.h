/* What does the broker ask of its store? This vtable: Redis in store/redis.c, and an in-memory twin with the same rules in
 * store/memory.c. Everything is asynchronous and belongs to one worker: a call queues an item, the tick's tail sends all items of
 * one slot and one kind as one Function call, and each item's answer comes through its callback later, exactly once, never
 * inside the call that asked.
 *
 * Blobs go in and come out in the clear; the store seals them (AES-256-GCM; associated data: kind, tenant, route, id,
 * blob token) before they leave the process. One that does not open is never handed out: its answer is STORE_UNSEALABLE and the
 * handoff has been quarantined.
 */
#ifndef BATON_STORE_STORE_H
#define BATON_STORE_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/problem.h"
#include "base/secret_source.h"
#include "base/slice.h"
#include "base/words.h"

#define HANDOFF_ID_BYTES 16
#define HANDOFF_ID_TEXT 27 /* characters: base64url of route tag (4 bytes) and id (16) */

/* A handoff's name inside the store. The id is the nonce: first 128 bits of SHA-256 over (tenant, route, sender, nonce), each
 * length-prefixed. The tag is the first 32 bits of SHA-256 over (tenant, queue): it lets a node find the queue from the text. A broadcast's copies
 * have its id under the tags of their inboxes. */
struct handoff_id {
	uint8_t tag[4];
	uint8_t b[HANDOFF_ID_BYTES];
};

void handoff_id_make(const char *tenant, const char *route, const char *sender, struct slice nonce, struct handoff_id *out);
void handoff_route_tag(const char *tenant, const char *queue, uint8_t tag[4]);
void handoff_id_format(const struct handoff_id *id, char out[HANDOFF_ID_TEXT + 1]);
bool handoff_id_parse(struct slice text, struct handoff_id *out); /* false: not 27 characters of canonical base64url */
/* First 64 bits of SHA-256 over (tenant, agent): what a record keeps of its sender and its owner. */
uint64_t store_agent_key(const char *tenant, const char *agent);

enum store_status {
	STORE_OK,
	STORE_REPLAYED,     /* accept: this nonce was used; same_bytes says whether by the same envelope */
	STORE_DUPLICATE,    /* accept: same idempotency key and fingerprint; id and state are the first handoff's */
	STORE_CONFLICT,     /* accept: same idempotency key, other fingerprint */
	STORE_QUOTA,        /* accept: over the cap that `over` names; event: max_events */
	STORE_STALE,        /* accept: issued at or before the slot's floor + skew: stamp anew */
	STORE_LOST,         /* extend, event, finish: the fence is not the current one */
	STORE_NOT_FOUND,    /* no such record (purged, or never was) */
	STORE_WRONG_STATE,  /* cancel of a terminal one, ... : `state` says which */
	STORE_CLOSED,       /* accept: an operator closed the route to new work */
	STORE_UNSEALABLE,   /* what is stored does not open: quarantined */
	STORE_BEHIND,       /* accept, publish, replay, lease: the slot has a barrier, and this node does not live by what it demands: nothing was done
	                       (extend, event, finish: UNAVAILABLE) */
	STORE_UNAVAILABLE,  /* no connection, time-out, read-only, loading, out of memory: the outcome may be unknown */
};
const char *store_status_text(enum store_status s);

/* Which cap did an accept run into? */
enum store_cap {
	CAP_MEMORY,         /* the store's memory is at its admission limit */
	CAP_SENDER, CAP_SENDER_BYTES, /* what waits of this sender on this route */
	CAP_ROUTE, CAP_ROUTE_BYTES,   /* what waits on this route */
	CAPS,
};

struct store_slot {
	const char *tenant; /* names, checked by the caller */
	const char *route;  /* of a queue: a route, or an inbox, "route/agent" */
};

/* What a record says. Times are Redis TIME in Unix ms. */
struct store_record {
	struct handoff_id id;
	enum handoff_state state;
	uint64_t fence;          /* of the current or last lease; 0 = never leased */
	uint32_t attempt, max_attempts;
	uint8_t priority;
	uint64_t sender, owner;  /* store_agent_key(); owner 0 = nobody */
	int64_t accepted_at_ms, updated_at_ms, deadline_ms, lease_until_ms;
	uint64_t cursor;         /* number of the last event, 1 = accepted */
	int64_t first_leased_at_ms;
	uint64_t position;       /* in the route's list of all handoffs: grows */
	bool stop_requested;     /* cancelled while leased: the worker is to be told */
	bool unconfirmed;        /* HELD since a fail-over, until its sender submits it again under its idempotency key */
	uint64_t by, accepted_by; /* the call (accept, report, cancel) that was the last, and the one that accepted it: store_redis_config.head and
				   * a number; 0 = not known */
};

/* An event between the first and the last, from the handoff's list. */
struct store_event {
	uint64_t cursor;
	int64_t at_ms;
	enum handoff_state state; /* after it */
	uint32_t attempt;
	uint64_t owner;
	struct slice body;        /* opened; "" for a change of state alone */
};

struct store_item {
	enum store_status status;  /* OK, or UNSEALABLE: then no blob */
	struct store_record record;
	struct slice task;         /* opened first blob; lease and get */
	struct slice outcome;      /* opened last blob; get of a terminal one, "" when it has none */
};

/* What an operator sees of a slot. */
struct store_route {
	bool paused;               /* nothing is leased */
	bool closed;               /* nothing new is accepted */
	uint64_t waiting, waiting_bytes; /* queued, scheduled, backing off, held */
	uint64_t queued;           /* of them, ready to be leased; cancelled ones count until they are skipped */
	uint64_t delayed;          /* scheduled, backing off, and held ones that have a deadline */
	uint64_t held, dead, quarantined;
	int64_t oldest_ms;         /* when the oldest that is ready was accepted; 0 = none is */
};

/* What a check looks at, one bounded part of it a call. The first and the queues are for who looks at the records: a queued one is a suspect
 * only when it stands in no queue, which are read from the end to the front, so that none that stood there at the first look is missed. */
enum store_place {
	PLACE_COUNTERS,            /* the mark, ids queued (seen); nothing moved while the mark stays the same */
	PLACE_QUEUE,               /* and the two after it: ids, by class of priority */
	PLACE_RECORDS = 4,
	PLACE_KEYS,                /* idempotency keys */
	PLACE_HELD, PLACE_DEAD, PLACE_QUARANTINED, PLACE_LISTED,
	PLACE_DELAYED, PLACE_HINTS, PLACE_SKIPPED, /* the last: three queues. What is stale here is skipped when its turn comes */
	PLACE_BLOBS = 15,          /* of all slots, and lists of events */
};

/* What may be wrong. */
enum store_fault {
	FAULT_NONE,
	FAULT_TASK,                /* not at its end, and its task is gone; repaired: quarantined */
	FAULT_QUEUED, FAULT_SCHEDULED, FAULT_HELD, FAULT_DEADLINE, /* stands nowhere, or nothing watches the deadline of a held one */
	FAULT_LEASED,              /* its lease has ended, and nothing tells the tick */
	FAULT_QUARANTINED, FAULT_DEAD, /* not in their lists */
	FAULT_ENDED,               /* nothing will forget it */
	FAULT_UNLISTED,
	FAULT_KEY,                 /* idempotency key of nothing */
	FAULT_IN_HELD, FAULT_IN_DEAD, FAULT_IN_QUARANTINED, FAULT_IN_LIST, /* listed, and is not so, or not there */
	FAULT_BLOB, FAULT_EVENTS,  /* no record names it */
	FAULT_COUNTERS,            /* of what waits; the slot's own */
	FAULTS,
};

#define STORE_KEY_BYTES 16
#define STORE_MARK 40

struct store_suspect {
	enum store_fault fault;
	enum handoff_state state;  /* UNSPECIFIED: there is no record, or it is a duplicate's */
	struct handoff_id id;
	uint8_t key[STORE_KEY_BYTES]; /* idempotency key, or the blob's token */
	char tenant[64], route[QUEUE_MAX_BYTES + 1]; /* of PLACE_BLOBS; else "" */
};

struct store_look {
	uint64_t next;             /* where to go on in this place; 0 = it was seen */
	int64_t now_ms;            /* of the store */
	uint64_t seen, waiting, waiting_bytes; /* records, those of them that wait, and their bytes; summed up by the caller */
	uint64_t stale;            /* entries that name nothing */
	const struct store_suspect *suspects;
	size_t n_suspects;
	struct slice ids;          /* a queue's, HANDOFF_ID_BYTES each */
	char mark[STORE_MARK + 1];
};

/* Whether a suspect is guilty, as it is now; FAULT_COUNTERS says what was counted since the mark was taken. */
struct store_mend {
	struct store_slot slot;
	enum store_fault fault;
	struct handoff_id id;
	uint8_t key[STORE_KEY_BYTES];
	bool repair;               /* puts it right in the same step */
	int64_t due_ms;            /* SCHEDULED: when it is to be queued */
	uint64_t seen, waiting, waiting_bytes;
	const char *mark;
};

/* ---- what all nodes share ---- */

/* An agent, an issuer, a revocation: a name, a version that grows by one with each change, and a value that only who has the sealing keys can read,
 * and only as what this name had in this version. What was removed keeps its version, so that nobody brings an older one back; what is forgotten does not,
 * and is for names that are never given again. Each change to any of
 * them has a number of its own, the generation, greater than those of all before it, also after a fail-over. */
#define STORE_RESOURCE_NAME_MAX 512      /* bytes, 1 or more */
#define STORE_RESOURCE_VALUE_MAX (1u << 20)
#define STORE_RESOURCES_MAX 65536        /* of a store, removed ones too */
#define STORE_CHANGES_MAX 128            /* of a call; all values together at most twice VALUE_MAX */
#define STORE_VERSIONS_KEPT 64           /* of a resource, before the present one */
#define STORE_NODE_LEASE_MS 10000        /* a node that was not heard of for so long has fenced itself */
#define STORE_REPORT_MAX 512             /* bytes that a node tells of itself */

struct store_resource {
	enum store_status status;  /* OK, or UNSEALABLE: then no value */
	struct slice name;
	uint64_t version, generation;
	int64_t changed_at_ms;
	bool removed;
	struct slice value;
};

struct store_change {
	struct slice name;
	uint64_t version;          /* the new one: 1, or one more than what is there */
	bool removed;
	struct slice value;        /* also of a removed one */
	int64_t forget_after_ms;   /* not 0: nothing is kept of this name, not even its version, once the store's own clock is past that; no value then */
};

struct store_feed {
	uint64_t after;            /* changes of later generations; 0 = all */
	uint64_t confirmed;        /* this node lives by all changes up to it */
	uint32_t max;              /* 0..256; 0: only to confirm */
	struct slice report;       /* what this node tells the others of itself, at most STORE_REPORT_MAX; borrowed for the call */
	bool leaving;              /* nobody is to wait for this node from now on */
};

/* Another node: what it has confirmed, what it tells of itself, and how long ago it was heard of. */
struct store_node {
	struct slice name;
	uint64_t confirmed;
	struct slice report;       /* at most STORE_REPORT_MAX bytes, which anybody may have written who writes to the store */
	int64_t silent_ms;
};

struct store_answer {
	enum store_status status;
	bool same_bytes;           /* REPLAYED */
	enum store_cap over;       /* QUOTA of an accept or a replay */
	bool paused;               /* lease: the route is paused, nothing was leased */
	bool leased;               /* accept: it was leased to the owner that was named; the record has the fence */
	bool confirmed;            /* accept: DUPLICATE whose first was held since a fail-over, and is queued by this */
	struct store_record record;/* accept, event, finish, cancel, get: as it is now (for DUPLICATE: the first one's) */
	const struct store_item *items; /* lease, get (one), list; borrowed for the callback */
	size_t n_items;
	const struct store_event *events; /* events */
	size_t n_events;
	struct slice copies;       /* publish: one byte for each inbox, enum store_copy */
	struct slice outcome;      /* accept: DUPLICATE whose first is terminal: its outcome blob if kept */
	const struct store_route *route; /* route */
	const struct store_look *look; /* look */
	bool repaired;             /* mend */
	const struct store_resource *resources; /* feed: in the order of generations; versions: the newest first */
	size_t n_resources;
	const struct store_node *nodes; /* feed */
	size_t n_nodes;
	uint64_t generation;       /* change: of the last of them; feed: the highest that there is */
	uint32_t incarnation;      /* feed: grows when the store came back as another, which may lack changes that were seen */
	uint32_t at;               /* change, CONFLICT: the first that is of another version, */
	uint64_t version;          /* which is this one; 0 = there is none */
	uint64_t next;             /* list: position to go on from; 0 = the end. feed: the generation to go on after */
	bool more;                 /* events, dead, feed: not all of them came, ask again after the last one. tick: more is due now */
	bool busy;                 /* tick: work waits or is leased */
	uint32_t retry_after_ms;   /* QUOTA, UNAVAILABLE */
};

/* What became of an inbox's copy. */
enum store_copy {
	COPY_STORED,
	COPY_FULL,          /* over a cap of the inbox: it is there, and dead-lettered */
	COPY_CLOSED,        /* an operator closed the inbox: it has none */
	COPIES,
};

/* op: the caller's own number (a slots id), echoed. */
typedef void store_done(void *user, uint64_t op, const struct store_answer *a);

struct store_accept {
	struct store_slot slot;
	struct handoff_id id;
	uint8_t bytes_print[8];    /* first bytes of SHA-256 of the envelope: same bytes again or others */
	uint64_t sender;
	bool has_idempotency;
	uint8_t idempotency[16];       /* of tenant, sender, principal, route and key */
	uint8_t idempotency_print[16]; /* of payload, tool, side effect, destination, parent, scopes */
	enum handoff_state state;      /* QUEUED, SCHEDULED or HELD */
	int64_t issued_at_ms, deadline_ms, start_at_ms;
	uint8_t priority;              /* 0..9 */
	uint8_t max_attempts;
	uint64_t owner;                /* not 0: when it is to be queued and nothing waits on the route, it is leased to this agent at once */
	uint32_t lease_ms;             /* for that; the same for all of a route */
	struct slice task;             /* copied (sealed) within the call */
};

struct store_lease {
	struct store_slot slot;
	uint32_t max;              /* 0..256; 0: only to confirm */
	uint64_t owner;            /* the agent */
	uint32_t lease_ms;
};

struct store_extend {
	struct store_slot slot;
	struct handoff_id id;
	uint64_t fence;
	uint64_t owner;
	uint32_t lease_ms;
	int64_t shorten_ms;        /* not 0: only a lease that ends then (lease_until_ms) is touched, and never prolonged */
};

struct store_event_put {
	struct store_slot slot;
	struct handoff_id id;
	uint64_t fence, owner;
	enum handoff_state state;  /* WORKING; UNSPECIFIED = as it is */
	struct slice body;         /* sealed; "" for a change of state alone */
	uint32_t max_events;       /* at it STORE_QUOTA; 1000 */
	uint32_t lease_ms;         /* not 0: the lease lasts so long from now, or longer; at max_events too */
};

enum store_aside {
	ASIDE_WAITING,      /* what waits becomes QUARANTINED */
	ASIDE_BACK,         /* what is QUARANTINED waits again as it did: QUEUED, SCHEDULED, HELD or backing off, over any cap */
	ASIDE_LEASED,       /* as ASIDE_WAITING; and what is leased is taken from who has it, whose reports are LOST from then on */
};

enum store_finish_kind {
	FINISH_COMPLETED, FINISH_FAILED, FINISH_REJECTED,
	FINISH_RETRY,       /* a failed attempt: back to the queue after delay_ms, or dead-lettered at max_attempts */
	FINISH_RELEASE,     /* given back after delay_ms; costs no attempt */
	FINISH_QUARANTINED, /* by the re-check at delivery */
	FINISH_EXPIRED,
};

struct store_finish {
	struct store_slot slot;
	struct handoff_id id;
	uint64_t fence, owner;     /* of the lease that finishes */
	enum store_finish_kind kind;
	uint32_t delay_ms;
	struct slice outcome;      /* sealed: the last blob; for RETRY the event's body. May be "" */
};

/* What the node's operator configured for a slot; the caller may pass the same each time. */
struct store_slot_limits {
	uint64_t max_waiting, max_waiting_bytes;
	uint64_t max_per_sender, max_bytes_per_sender; /* of that, one sender; 0 = no cap of its own */
	uint32_t clock_skew_ms;
	int64_t keep_finished_ms;  /* retention of finished records: at least window + skew */
	int64_t keep_dead_ms;      /* of dead-lettered ones; 0 = until an operator drops them */
	uint64_t max_lost;         /* more handoffs gone than this when the slot is opened anew: it is paused */
	int64_t hold_ms;           /* keyed work accepted so long before a fail-over is held until its sender confirms it; 0 = none is */
	uint32_t backoff_min_ms, backoff_max_ms; /* not 0: a lapse backs off, and takes the fence; else it queues at once, and a late finish counts */
};

static inline uint64_t store_cap_value(uint64_t cap)
{
	return cap ? cap : UINT64_MAX;
}

struct store;

struct store_ops {
	void (*accept)(struct store *s, const struct store_accept *r, store_done *done, void *user, uint64_t op);
	/* Of a broadcast route: r as for accept, QUEUED or SCHEDULED, for its copies; it stays itself COMPLETED and is never leased (owner is not
	 * looked at). inboxes: the agents' names, with spaces between, at most INBOXES_MAX; each agent's inbox takes a copy in the same step. The
	 * answer is accept's, and on OK its `copies` say what became of each. */
	void (*publish)(struct store *s, const struct store_accept *r, const char *inboxes, store_done *done, void *user, uint64_t op);
	/* Nothing while the slot is paused; accept still takes, and leases nothing at once. Nothing of an inbox while its route is.
	 * Items of another state were not leased: EXPIRED were past their deadline, HELD are since a fail-over. */
	void (*lease)(struct store *s, const struct store_lease *r, store_done *done, void *user, uint64_t op);
	void (*extend)(struct store *s, const struct store_extend *r, store_done *done, void *user, uint64_t op);
	void (*event)(struct store *s, const struct store_event_put *r, store_done *done, void *user, uint64_t op);
	void (*finish)(struct store *s, const struct store_finish *r, store_done *done, void *user, uint64_t op);
	/* Waiting, held, scheduled or quarantined: CANCELLED at once. Leased: stop_requested is set and the state becomes CANCELLED when the
	 * worker is told (the caller finishes it): here it becomes CANCELLED at once, and later reports of that fence are LOST.
	 * A duplicate's id stands for its first handoff's. */
	void (*cancel)(struct store *s, struct store_slot slot, const struct handoff_id *id, struct slice outcome,
		       store_done *done, void *user, uint64_t op);
	void (*get)(struct store *s, struct store_slot slot, const struct handoff_id *id, bool blobs, store_done *done,
		    void *user, uint64_t op);
	/* Listed events with cursor > after, at most max; the implicit ones (accepted = 1, the first lease when its cursor is 2 and
	 * it is not listed, the terminal = record.cursor) are the caller's to add from `record`. */
	void (*events)(struct store *s, struct store_slot slot, const struct handoff_id *id, uint64_t after, uint32_t max,
		       store_done *done, void *user, uint64_t op);
	/* Newest first from position `before` (0 = the end), looking at most at 512 records; items whose sender or owner is `agent`,
	 * state when not UNSPECIFIED. No blobs when `blobs` is false. */
	void (*list)(struct store *s, struct store_slot slot, uint64_t agent, enum handoff_state state, uint64_t before,
		     uint32_t max, bool blobs, store_done *done, void *user, uint64_t op);
	/* ---- what operators ask ---- */
	/* Sets which of the two hold (paused, closed), when `set`; the answer's route says how it is now. */
	void (*route)(struct store *s, struct store_slot slot, bool set, bool paused, bool closed, store_done *done, void *user, uint64_t op);
	/* Dead-lettered ones, the last one first; after (and when that was): of the last one known, NULL = from the newest. The answer's
	 * items, at most max (≤ 256). */
	void (*dead)(struct store *s, struct store_slot slot, const struct handoff_id *after, int64_t after_ms, uint32_t max, bool blobs,
		     store_done *done, void *user, uint64_t op);
	/* Puts new work in the place of a dead-lettered one: r as for accept, of state QUEUED, with an id that is new; the idempotency key is taken
	 * over, r's is not looked at. OK; NOT_FOUND, WRONG_STATE: the dead one is not there, or no longer among the dead; QUOTA. */
	void (*replay)(struct store *s, const struct store_accept *r, const struct handoff_id *dead, store_done *done, void *user, uint64_t op);
	/* Lets go of a dead-lettered one: it is kept no longer than what has finished. OK also when it was let go of before; NOT_FOUND,
	 * WRONG_STATE: it is not there, or not dead-lettered. */
	void (*drop)(struct store *s, struct store_slot slot, const struct handoff_id *id, store_done *done, void *user, uint64_t op);
	/* A part of what a check looks at; cursor 0 = from the beginning. since_ms: records that changed later are not suspected to be in no queue.
	 * PLACE_BLOBS looks at all slots, whichever is named. */
	void (*look)(struct store *s, struct store_slot slot, enum store_place place, uint64_t cursor, int64_t since_ms,
		     const struct store_slot_limits *limits, store_done *done, void *user, uint64_t op);
	/* OK: it is wrong, or was until now (`repaired`); NOT_FOUND: it is not; WRONG_STATE: work moved, it cannot be judged. */
	void (*mend)(struct store *s, const struct store_mend *r, const struct store_slot_limits *limits, store_done *done, void *user, uint64_t op);
	/* Housekeeping of one slot: due lapses, promotions (scheduled, backing off), expiries, purge of old finished records; bounded
	 * work a call: with `more` in the answer it is to be called again at once. The answer's items are the records that changed
	 * state by it (for audit and watchers). After the slot was opened anew no lease of before lapses for a while: nobody could renew it. */
#define STORE_SPARED_MS 5000
	void (*tick)(struct store *s, struct store_slot slot, const struct store_slot_limits *limits, store_done *done,
		     void *user, uint64_t op);
	/* ---- what all nodes share ---- */
	/* All of them or none, 1..STORE_CHANGES_MAX, of different names. OK; CONFLICT: one is of another version; QUOTA: there would be more than
	 * STORE_RESOURCES_MAX. Allowed when memory is full. All nodes are told, this one too. Of what is to be forgotten: OK also when there is none of the
	 * name; CONFLICT also when it is too early, whether there is one or not; no node is told, and the generation stays. */
	void (*change)(struct store *s, const struct store_change *v, size_t n, store_done *done, void *user, uint64_t op);
	/* What changed, each resource as it is now. Renews the node's lease. */
	void (*feed)(struct store *s, const struct store_feed *r, store_done *done, void *user, uint64_t op);
	/* A resource as it is, and was; before: versions lower than that, 0 = all. At most max (≤ STORE_VERSIONS_KEPT). NOT_FOUND: it never was. */
	void (*versions)(struct store *s, struct slice name, uint64_t before, uint32_t max, store_done *done, void *user, uint64_t op);
	/* From now on the slot takes nothing in, no reports either, and hands nothing out by a node that does not live by this generation (live_by): STORE_BEHIND. It never goes
	 * back. Allowed when memory is full, and before the slot was opened. */
	void (*barrier)(struct store *s, struct store_slot slot, uint64_t generation, store_done *done, void *user, uint64_t op);
	/* Into quarantine, or out of it. note: sealed, the event's body. OK, also when it was done by this very call before; NOT_FOUND; WRONG_STATE. */
	void (*aside)(struct store *s, struct store_slot slot, const struct handoff_id *id, enum store_aside how, struct slice note, store_done *done, void *user,
		      uint64_t op);
	/* What is asked for from now on was judged by all changes up to this generation. At once. */
	void (*live_by)(struct store *s, uint64_t generation);
	/* So many replicas must have what is told of this slot from now on, or it is UNAVAILABLE; never more than store_redis_config.replicas,
	 * which is the default. At once. */
	void (*set_replicas)(struct store *s, struct store_slot slot, uint32_t replicas);
	/* Sends what is queued now. The Redis backend does this by itself at LOOP_STAGE_STORE. In the twin it also delivers answers. */
	void (*flush)(struct store *s);
	bool (*available)(const struct store *s);
	/* Waiting handoffs as last seen by this worker, for metrics. */
	uint64_t (*waiting)(const struct store *s, struct store_slot slot);
	void (*free)(struct store *s); /* pending items are answered UNAVAILABLE first */
};

struct store {
	const struct store_ops *ops;
};

/* Something for this slot may be ready to lease (a handoff was queued by another worker or node; promotion; lapse): the
 * owner of the store asks again with lease. Called on the worker's thread. */
typedef void store_wake(void *user, const char *tenant, const char *route);

/* ---- keys ---- */
/* The sealing keys: a file of lines "key-id base64url(32 bytes)", mode 0600; the first seals, all open. Shared by all nodes: a node that has
 * none of what seals in its Redis does not get ready. Per-tenant keys are derived from it by HKDF. */
struct seal_keys;
struct seal_keys *seal_keys_load(const char *path, struct problem *why);
/* Makes the file with one random key when it does not exist. */
int seal_keys_create(const char *path, struct problem *why);
void seal_keys_free(struct seal_keys *k);
#define SEAL_MAC_BYTES 32
/* For what is kept beside the store: a MAC by the first key, and whether one of the keys made it. false also when memory is out. */
bool seal_keys_mac(const struct seal_keys *k, struct slice what, uint8_t mac[SEAL_MAC_BYTES]);
bool seal_keys_made(const struct seal_keys *k, struct slice what, const uint8_t mac[SEAL_MAC_BYTES]);

/* ---- backends ---- */
struct store_memory_config {
	const struct seal_keys *keys;  /* NULL: not sealed */
	int64_t (*now_ms)(void *arg);
	void *arg;
	struct store_slot_limits limits;
	store_wake *wake;
	void *user;
};
struct store *store_memory_new(const struct store_memory_config *c);

/* What was found when a slot was opened anew: see on_incarnation. */
struct store_incarnation {
	uint64_t lost;
	bool paused;
	int64_t held_from_ms, held_to_ms;
};

#define STORE_SEEDS_MAX 16     /* nodes of a Redis Cluster that are named */
#define STORE_PRIMARIES_MAX 64 /* of a Redis Cluster: each worker keeps a connection to each */

struct loop;
struct store_redis_config {
	const char *url;           /* redis://host[:port][/db], rediss://..., unix:///path; no password in it */
	const char *cluster;       /* instead of url: 1..16 urls of nodes of a Redis Cluster, all redis:// or all rediss://, with commas between; "" = none */
	const char *sentinels;     /* instead of url: 1..16 urls of sentinels, all redis:// or all rediss://, with commas between; "" = none */
	const char *sentinel_master; /* the name of the primary there */
	const char *sentinel_user, *sentinel_password_file; /* "" = none */
	const char *password_file; /* "" = none */
	const struct secret_source *secrets; /* on this thread, and outlives the store: who reads these files, at each connect. NULL: the store itself */
	const char *acl_user;      /* "" = default */
	const char *ca_file, *cert_file, *key_file; /* rediss */
	int64_t timeout_ms;        /* of one call; then its items are answered UNAVAILABLE and the connection is made anew */
	bool fsync_always;         /* demanded of the server; everysec is accepted only when this is false */
	uint32_t replicas;         /* so many must have a change before it is answered; else it is UNAVAILABLE. min-replicas-to-write is demanded */
	const struct seal_keys *keys;
	struct store_slot_limits limits;
	const char *node;          /* its name: when another node that is connected has the same one, the log says so */
	const char *run;           /* this run of it, in no other node's use: by it other nodes wake it; [a-z0-9][a-z0-9._-]{0,62} */
	uint32_t head;             /* random, of this store alone: its calls are known by it; 0 = it makes one */
	const char *state_dir;     /* remembers sequence numbers per slot, to tell a lost tail */
	uint32_t max_pending;      /* items queued or under way: 65,536; then UNAVAILABLE at once */
	store_wake *wake;
	/* The server is there and fit (version, durability, noeviction, library), or why not. Of a Cluster: at least one primary is; why then says which
	 * is not, if any. On the worker's thread. */
	void (*on_state)(void *user, bool ok, const char *why, const char *remedy);
	/* Another incarnation was found and the slot was opened anew, or more is found missing. lost: sequence numbers that are gone.
	 * paused: more than limits.max_lost, so the slot leases nothing until an operator resumes it: what came back may be an old backup,
	 * which would deliver finished work again. held_from_ms, held_to_ms: keyed work that was accepted between the two is held; 0: none is. */
	void (*on_incarnation)(void *user, const char *tenant, const char *route, const struct store_incarnation *found);
	/* Somebody changed what all nodes share: time for a feed. On the worker that listens. May be NULL. */
	void (*shared)(void *user);
	/* What waits on a route, as Redis has just said. */
	void (*on_waiting)(void *user, const char *tenant, const char *route, uint64_t handoffs, uint64_t bytes);
	/* Bytes of all tasks and outcomes that a route keeps: waiting, leased, finished and not yet forgotten. After each tick. */
	void (*on_kept)(void *user, const char *tenant, const char *route, uint64_t bytes);
	/* Each second: memory that Redis uses, and the most it may (0 = as it likes), of all primaries together. Above 80 % of what its own primary may
	 * accept answers QUOTA. */
	void (*on_memory)(void *user, uint64_t used, uint64_t max);
	/* A call whose answer did not come, so that it was answered UNAVAILABLE, was carried out all the same: as of then; a record QUEUED at cursor 1
	 * was accepted, another one has ended. May be NULL. */
	void (*late)(void *user, const char *tenant, const char *route, const struct store_record *r);
	/* The store is freed while there are calls of which it is not known whether they were carried out. May be NULL. */
	void (*owing)(void *user);
	void (*count)(void *user, const char *function, const char *result, unsigned items); /* metrics */
	void *user;
};
/* One connection (and, on the worker with `listens`, one more for pub/sub), reconnecting with backoff and jitter. */
struct store *store_redis_new(struct loop *l, const struct store_redis_config *c, bool listens, struct problem *why);

/* ---- the private server ---- */
/* redis-server under dir (0700): socket dir/redis.sock, appendonly. A process of its own repairs its append-only file (redis-check-aof --fix
 * on the manifest, a copy kept), starts it, waits for it and starts it again with backoff. None of them outlives the caller. */
struct redis_private;

struct redis_private_config {
	const char *dir;
	bool fsync_always;
	uint64_t max_memory;      /* bytes; 0 = no limit */
	bool seccomp, landlock;   /* confine both processes: to dir, and to no network */
	void (*lost)(void *arg);  /* on a thread of its own: the supervising process is gone, which cannot be mended; may be NULL */
	void *arg;
};

/* Forks that process, which waits: call it before secrets are read, threads begin and executing is given up, on the main thread. NULL with why. */
struct redis_private *redis_private_new(const struct redis_private_config *c, struct problem *why);
/* Starts the server; waits for its first answer, at most 10 s. -1 with why: it ended at once. */
int redis_private_start(struct redis_private *p, struct problem *why);
const char *redis_private_url(const struct redis_private *p); /* unix://... */
int redis_private_pid(const struct redis_private *p); /* of the server; 0 = none */
void redis_private_stop(struct redis_private *p); /* SHUTDOWN by SIGTERM, waits, then frees */

#endif
