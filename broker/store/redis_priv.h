/* What do the files of the Redis backend share? Items (one question of a caller), queues of them per slot and kind, and batches (one
 * Function call with its answers). redis.c takes items in, redis_send.c makes batches of them, redis_answer.c reads the answers,
 * redis_check.c those of an operator's check, redis_fetch.c fetches and opens blobs, redis_slot.c keeps the slots, redis_primary.c the servers,
 * redis_cluster.c which of them has a slot, redis_shared.c has what no route does.
 *
 * An item's life:   queued in its slot ──> in a batch, sent ──> answered, or in a fetch until its blobs are open ──> answered
 *                      ↑                        │
 *                      └── connection lost (once, within its time-out), slot to be opened first
 */
#ifndef BATON_STORE_REDIS_PRIV_H
#define BATON_STORE_REDIS_PRIV_H

#include "base/table.h"
#include "store/record.h"
#include "store/redis_conn.h"
#include "store/remember.h"

#define BATCH_ITEMS 256
#define BATCH_BYTES (1u << 20)          /* of blobs; a larger one travels alone */
#define BATCHES_UNDER_WAY 4             /* per slot and kind; what comes meanwhile makes the next one larger */
#define PENDING_BYTES (64u << 20)       /* of sealed blobs queued or under way */
#define LEASE_BUDGET (4u << 20)         /* bytes of tasks one lease or list call may hand out */
#define FETCH_BYTES (4u << 20)          /* of blobs in one MGET */
#define WAITING_CAPS 4                  /* of a route and of a sender on it: handoffs, bytes */
#define TRIES_MAX 2                     /* the first time, and once more after a lost connection */
#define OPENS_MAX 3                     /* an item may find its slot closed that often */

/* The order is the order of sending within a slot: reports of progress before the report that ends. */
enum kind {
	KIND_ACCEPT, KIND_EXTEND, KIND_EVENT, KIND_FINISH, KIND_CANCEL, KIND_LEASE, KIND_GET, KIND_EVENTS, KIND_LIST, KIND_TICK,
	KIND_PUBLISH, KIND_ROUTE, KIND_DEAD, KIND_DROP, KIND_REPLAY, KIND_LOOK, KIND_MEND, KIND_CHANGE, KIND_FEED, KIND_VERSIONS,
	KIND_BARRIER, KIND_ASIDE,
	KIND_QUEUED, /* number of kinds that callers queue */
	KIND_OPEN = KIND_QUEUED, KIND_QUARANTINE, KIND_FETCH, KIND_MEMORY, KIND_UNLINK,
	KINDS,
};

struct kind_row {
	const char *function;
	const char *keys;   /* letters of slot_keys */
	unsigned width;     /* bytes of an item's request */
	unsigned max;       /* items a call */
	bool opens;         /* the Function may answer 'O' */
	bool stands_behind; /* the Function may answer 'R': the node is behind the slot's barrier */
	bool admits;        /* it takes new work in, and is refused when memory is full */
	bool tells;         /* its answer tells somebody of a change that must last: with store.replicas it waits for them */
};
extern const struct kind_row kind_rows[KINDS];

/* It makes a handoff of what was submitted. */
static inline bool kind_accepts(uint8_t kind)
{
	return kind == KIND_ACCEPT || kind == KIND_PUBLISH;
}

struct slot;

struct item {
	struct item *next;
	struct slot *slot;
	store_done *done;
	void *user;
	uint64_t op;
	int64_t deadline_ms; /* monotonic */
	uint8_t kind, tries, opens;
	bool blobs;          /* get, list, dead: wanted */
	enum store_status failed; /* answered without Redis: queued for the tick's tail */
	uint32_t retry_after_ms;
	uint8_t request[REQUEST_MAX_BYTES];
	uint8_t *body;       /* sealed; owned */
	char *inboxes;       /* publish: names; owned */
	uint64_t generation; /* by which the node lived when it asked */
	size_t body_n;
};

struct items {
	struct item *first, **last;
	size_t n;
};

enum slot_key { KEY_M, KEY_S, KEY_I, KEY_Z, KEY_0, KEY_1, KEY_2, KEY_N, KEY_L, KEY_F, KEY_D, KEY_X, KEY_H, KEY_GUARD, SLOT_KEYS };
#define SLOT_KEY_LETTERS "msiz012nlfdxh"
#define SLOT_PREFIX_MAX (QUEUE_KEY_MAX_BYTES + 6) /* "{tenant/route}:", "{tenant/route}:@agent:" */

struct slot {
	char name[QUEUE_KEY_MAX_BYTES + 1];
	char tenant[NAME_MAX_BYTES + 1], route[QUEUE_MAX_BYTES + 1]; /* route: the queue's name */
	uint8_t tag[4];
	char key[SLOT_KEYS][SLOT_PREFIX_MAX + 4];
	char of[SLOT_PREFIX_MAX + 4]; /* of an inbox: the key m of its route; "" */
	size_t prefix_n;
	struct items queue[KIND_QUEUED];
	unsigned under_way[KIND_QUEUED];
	bool opening;
	bool dirty;               /* in the list of slots to look at */
	struct slot *next_dirty;
	uint64_t waiting;
	uint32_t replicas;        /* that must have what is told of it */
	struct remembered *seen;
	struct primary *primary;  /* who has it, as last known; NULL: nobody known (Cluster) */
	unsigned sent;            /* batches of it that wait for replies there */
	uint16_t hash;            /* Cluster: the hash slot */
	bool shared;              /* no route's: what all nodes share */
	bool whole;               /* Cluster: no route's, but stands for all that its primary keeps */
	unsigned hops;            /* Cluster: redirections in a row */
	int64_t moving_ms, held_ms; /* Cluster: moves since then; nothing is sent until then; 0 = not */
	UT_hash_handle hh;
};

struct fetch;
struct doubt;

struct batch {
	struct batch *next;
	enum kind kind;
	struct slot *slot;
	struct primary *primary;  /* to whom it goes, or went */
	bool sent;
	bool asking;              /* Cluster: to whom the slot moves */
	unsigned hops;            /* Cluster: of a fetch: it was sent on so often */
	struct items items;
	unsigned replies, seen;   /* expected, come */
	bool exec;                /* wrapped in MULTI, MSET */
	bool inlined;             /* bodies as arguments, because memory is full */
	int64_t sent_ms;
	char error[320];          /* of an inner reply */
	uint32_t replicas;        /* that WAIT waits for */
	bool waits;               /* the last reply is WAIT's; the one before it is kept until then */
	bool lacking;             /* too few replicas have it: the outcome is unknown */
	redisReply *answer;
	struct fetch *fetch;
};

/* A server that has slots: the only one, or one of a Cluster's primaries. */
struct primary {
	struct primary *prev, *next;
	struct redis *s;
	struct conn *conn;
	struct batch *sent_first, **sent_last;
	uint64_t used, max;       /* memory, as it said last */
	bool polling, memory_full;
	bool was_ready;           /* before the last on_down */
	bool unreachable;         /* an attempt to come back failed: answer at once */
	char replid[REPLID_BYTES + 1];
	char why[256], remedy[256]; /* of the last on_down */
};

struct redis {
	struct store base;        /* first */
	struct loop *loop;
	struct store_redis_config config;
	char *strings[14];        /* copies of the configuration's */
	char *channel;
	struct primary *primaries;
	struct cluster *cluster;  /* NULL: there is one server, the first of these */
	struct remembered nothing; /* of slots that are no route's */
	struct conn *listener;
	int64_t listener_asked_ms; /* when the PING went out that it has not answered; 0 = none */
	struct seal *seal;
	struct remember *remember;
	struct slot *slots;       /* hash by name */
	struct slot *dirty_first, **dirty_last;
	struct items failed;      /* to be answered at the tail */
	struct item *free_items;
	size_t n_free;
	size_t pending, pending_bytes;
	struct loop_tail tail;
	struct loop_timer *timer;
	int64_t now_ms;           /* monotonic, of this tick */
	int64_t polled_ms;
	bool joined;              /* this node's sealing keys are those of what is kept here */
	bool freeing;
	int64_t timer_ms;
	char caps[WAITING_CAPS][24], skew[24]; /* as accept takes them */
	uint64_t generation;      /* by which the node lives */
	uint8_t token_head[4];
	char asker[9];            /* the same as text: who opens a slot */
	uint32_t token_next;
	struct doubt *doubts;
	size_t n_doubts;
	uint64_t doubt_next;
	struct buf scratch;       /* item bytes and blob names of the batch being written */
	struct slice *argv;
};

/* redis_slot.c */
struct slot *slot_find(const struct redis *s, struct store_slot at); /* NULL: not asked for yet */
struct slot *slot_get(struct redis *s, struct store_slot at); /* NULL: a bad name, or the cap */
/* Whose key m that is, "{tenant/route}:m" or "{tenant/route}:@agent:m". false: nobody's. */
bool slot_of_key(struct slice key, char tenant[NAME_MAX_BYTES + 1], char queue[QUEUE_MAX_BYTES + 1]);
/* The one that is all nodes'. NULL: out of memory. */
struct slot *slot_shared(struct redis *s);
/* One that stands for all that p keeps, by a name that no route has. NULL: out of memory, or the cap. */
struct slot *slot_whole(struct redis *s, const char *name, struct primary *p);
void slot_dirty(struct redis *s, struct slot *slot);
void slots_free_all(struct redis *s);
/* "{tenant/route}:b:" id token; returns its length. */
#define BLOB_NAME_MAX (SLOT_PREFIX_MAX + 2 + HANDOFF_ID_BYTES + TOKEN_BYTES)
size_t slot_blob_name(const struct slot *slot, const uint8_t *id, const uint8_t *token, uint8_t *out);

void items_init(struct items *q);
void items_put(struct items *q, struct item *i);
void items_put_first(struct items *q, struct item *i);
struct item *items_take(struct items *q);

/* redis.c */
void item_answer(struct redis *s, struct item *i, const struct store_answer *a); /* calls back, frees i */
void item_fail(struct redis *s, struct item *i, enum store_status status, uint32_t retry_after_ms);
void item_requeue(struct redis *s, struct item *i);
/* A cancel that is to be asked for under the first handoff's id: seals its body for that and queues it. false: i is as it was. */
bool item_rename(struct redis *s, struct item *i, const uint8_t *id);
void redis_token(struct redis *s, uint8_t out[TOKEN_BYTES]);
/* A new item of the slot (NULL: there is none), or NULL when it was refused: then its answer is on its way. */
struct item *item_of(struct redis *s, enum kind k, struct slot *slot, store_done *done, void *user, uint64_t op);
void item_queue(struct redis *s, struct item *i);

/* redis_primary.c */
/* at: of a Cluster's; NULL = where the configuration says. NULL with why. */
struct primary *primary_new(struct redis *s, const struct redis_url *at, struct problem *why);
void primary_free(struct primary *p); /* abandons what is under way */
bool primary_ready(const struct primary *p); /* NULL is not */
void primary_check_time(struct primary *p);
void primary_poll_memory(struct primary *p);
void redis_wake_all_slots(struct redis *s);

/* May what a slot has be sent now? */
enum outlook {
	OUTLOOK_SEND,
	OUTLOOK_WAIT, /* within the items' time-out */
	OUTLOOK_FAIL, /* nobody is there, and will not be soon */
};

/* redis_cluster.c: only with s->cluster, but for cluster_free() */
int cluster_begin(struct redis *s, struct problem *why);
void cluster_free(struct redis *s);
const struct redis_url *cluster_seed(const struct redis *s);
void cluster_check_time(struct redis *s);
void cluster_look_soon(struct redis *s); /* asks for the map */
void cluster_on_change(struct redis *s, bool came); /* a primary came, or went */
void cluster_on_deaf(struct redis *s);   /* the listener lost its server */
bool cluster_whole(const struct redis *s); /* all primaries are there */
enum outlook cluster_outlook(struct redis *s, struct slot *slot);
/* Is the error of b's call that its slot is elsewhere, or moves? true: its items wait for another attempt. */
bool cluster_took(struct redis *s, struct batch *b, const char *error);
/* Does b->error say so? Then: where to read what b did not find; NULL: nowhere now. */
bool cluster_elsewhere(const struct batch *b);
struct primary *cluster_follow(struct redis *s, struct batch *b, bool *asking);
void cluster_settled(struct redis *s, const struct batch *b); /* a call was carried out */
/* A look at all blobs: the slot to name, and the cursor there. NULL: that primary is gone. */
struct slot *cluster_look_at(struct redis *s, uint64_t *cursor);
uint64_t cluster_look_next(const struct redis *s, const struct primary *p, uint64_t next);

/* redis_doubt.c */
/* An item that was answered UNAVAILABLE: if it was sent, it may have been carried out. */
void doubts_add(struct redis *s, const struct item *i);
void doubts_ask(struct redis *s); /* each second */
void doubts_free(struct redis *s);

/* redis_send.c */
void redis_flush(struct redis *s);
enum outlook redis_outlook(struct redis *s, struct slot *slot); /* of a Cluster: finds its primary anew */
/* Writes b and puts it in the line of those waiting for replies. false: no connection; b is the caller's. */
bool batch_send(struct redis *s, struct batch *b);
struct batch *batch_new(enum kind k, struct slot *slot);
void batch_free(struct batch *b);
/* Fails or requeues what b holds, after a lost connection. */
void batch_abandon(struct redis *s, struct batch *b);
void redis_open_slot(struct redis *s, struct slot *slot);

/* redis_answer.c */
bool redis_on_reply(struct primary *p, redisReply *r); /* true: r was taken */
void redis_counted(struct redis *s, const struct batch *b, const char *result);

/* redis_fetch.c */
struct fetch *fetch_new(void);
void fetch_free(struct fetch *f);
/* Begins the answer of an item; what is added next belongs to it. Takes i. false: out of memory, i is still the caller's. */
bool fetch_begin(struct fetch *f, struct item *i, const struct store_answer *a);
/* Adds a record to it, and asks for its blobs. false: out of memory, nothing was added. */
bool fetch_add(struct fetch *f, const struct record *r, bool task, bool outcome);
/* For an accept whose first handoff has an outcome. */
bool fetch_add_outcome(struct fetch *f, const struct record *r);
/* The answer under way becomes STORE_UNAVAILABLE: what belongs to it could not be added. */
void fetch_give_up(struct fetch *f);
/* Takes f: sends for the blobs, or answers at once when there are none to fetch. */
void fetch_start(struct redis *s, struct slot *slot, struct fetch *f);
size_t fetch_write(struct redis *s, struct batch *b, struct buf *out); /* commands written, 0 = failed */
void fetch_on_reply(struct redis *s, struct batch *b, const redisReply *r);
void fetch_on_quarantined(struct redis *s, struct batch *b, struct slice entries);
void fetch_abandon(struct redis *s, struct batch *b);
void fetch_quarantine_ids(const struct fetch *f, struct buf *out);
/* An answer of events whose bodies are opened in here. */
void events_answer(struct redis *s, struct batch *b, const redisReply *r);

/* redis_shared.c */
void shared_change(struct store *st, const struct store_change *v, size_t n, store_done *done, void *user, uint64_t op);
void shared_feed(struct store *st, const struct store_feed *r, store_done *done, void *user, uint64_t op);
void shared_versions(struct store *st, struct slice name, uint64_t before, uint32_t max, store_done *done, void *user, uint64_t op);
/* The arguments of these calls, as they stand in i->body. Answers how many; at most 3 * STORE_CHANGES_MAX. */
size_t shared_arguments(const struct item *i, struct slice *out);
void shared_on_change(struct redis *s, struct batch *b, struct slice text, const struct record_head *h);
void shared_on_resources(struct redis *s, struct batch *b, const redisReply *r); /* feed, versions */

/* redis_check.c: answers of the Functions look and mend */
void check_on_look(struct redis *s, struct batch *b, struct slice text, const struct record_head *h);
void check_on_mend(struct redis *s, struct batch *b, struct slice text);

#endif
