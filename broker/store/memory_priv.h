/* What do the files of the in-memory twin share? Slots and handoffs; memory.c is the vtable, memory_slot.c the data and its rules,
 * memory_shared.c what all nodes share, memory_report.c what workers say, memory_hold.c what is held after a fail-over, memory_spoil.c what tests do behind its back. */
#ifndef BATON_STORE_MEMORY_PRIV_H
#define BATON_STORE_MEMORY_PRIV_H

#include <uthash.h>

#include "store/record.h"

#define MEM_SPANS 3 /* LIMIT_SPANS in baton2_hold.lua */

struct mem_bytes {
	uint8_t *p; /* sealed; owned */
	size_t n;
};

struct mem_event {
	struct store_event e; /* body unused */
	uint8_t token[TOKEN_BYTES];
	struct mem_bytes body;
};

struct mem_handoff {
	uint8_t id[HANDOFF_ID_BYTES];
	bool alias;
	uint8_t first[HANDOFF_ID_BYTES]; /* alias: of the first handoff */
	uint8_t bytes_print[8];
	struct record r;
	bool has_idempotency, given_back;
	bool let_go;                     /* dead-lettered, and kept no longer than what has finished */
	uint8_t idempotency[16];
	int64_t confirmed_ms;            /* since a fail-over, by its sender; 0 = not */
	enum handoff_state was;          /* before it was put aside, */
	int64_t was_due_ms;              /* and until when it waited then */
	int64_t due_ms;                  /* start, or end of backing off; 0 = none */
	struct mem_bytes task, outcome;
	struct mem_event *events;
	size_t n_events, events_size;
	int64_t finished_ms;             /* 0 = not; alias: when accepted */
	UT_hash_handle hh;
};

struct mem_key {
	uint8_t idempotency[16], print[16], id[HANDOFF_ID_BYTES];
	UT_hash_handle hh;
};

/* Of whom something waits. */
struct mem_sender {
	uint64_t key, waiting, waiting_bytes;
	UT_hash_handle hh;
};

/* First in, first out. */
struct mem_ids {
	uint8_t (*v)[HANDOFF_ID_BYTES];
	size_t head, n, size; /* v[head..n) */
};

/* Held is what was accepted, or confirmed, between the two and was handed out by no later fence. */
struct mem_span {
	int64_t from_ms, to_ms;
	uint64_t fence;
};

struct mem_slot {
	char name[QUEUE_KEY_MAX_BYTES + 1], tenant[NAME_MAX_BYTES + 1], route[QUEUE_MAX_BYTES + 1]; /* route: the queue's name */
	uint8_t tag[4];
	struct mem_handoff *handoffs;
	struct mem_key *keys;
	struct mem_sender *senders;
	struct mem_ids queue[3]; /* by class of priority */
	struct mem_ids all;      /* by position */
	uint64_t all_base;       /* positions before all.v[0] */
	uint64_t fence, waiting, waiting_bytes;
	int64_t floor_ms, last_ms, changed_ms;
	struct mem_span spans[MEM_SPANS];
	size_t n_spans;
	uint64_t barrier;        /* by which generation a node must live */
	bool paused, closed;     /* nothing is leased; nothing new is accepted */
	UT_hash_handle hh;
};

/* What all nodes share: a resource with all of its versions, the present one last. */
struct mem_version {
	uint64_t version, generation;
	int64_t at_ms;
	bool removed;
	struct mem_bytes sealed;
};

struct mem_resource {
	struct mem_version *v;
	size_t n;
	UT_hash_handle hh;
	size_t name_n;
	char name[];
};

struct mem_answer;

struct memory {
	struct store base; /* first */
	struct store_memory_config config;
	struct seal *seal;
	struct mem_slot *slots;
	struct mem_resource *resources;
	uint64_t generation, lives_by;
	uint32_t incarnation;
	struct mem_answer *first, **last;
	uint64_t next_token;
	bool flushing;
};

/* memory_slot.c */
struct mem_slot *mem_slot_get(struct memory *m, struct store_slot at, bool make);
void mem_slot_free(struct mem_slot *s);
int64_t mem_now(struct memory *m, struct mem_slot *s);
struct mem_handoff *mem_find(struct mem_slot *s, const uint8_t *id); /* follows an alias */
struct mem_handoff *mem_find_exact(struct mem_slot *s, const uint8_t *id);
struct mem_handoff *mem_add(struct mem_slot *s, const uint8_t *id);
void mem_remove(struct mem_slot *s, struct mem_handoff *h);
void mem_queue(struct mem_slot *s, struct mem_handoff *h);
bool mem_push(struct mem_ids *q, const uint8_t *id);
/* One more waits (1), or one less (-1). */
void mem_waiting(struct mem_slot *s, const struct mem_handoff *h, int by);
struct mem_sender *mem_sender(struct mem_slot *s, uint64_t key); /* NULL: nothing of it waits */
/* Another state, the next cursor. */
void mem_move(struct mem_slot *s, struct mem_handoff *h, enum handoff_state to, int64_t now);
/* Its next attempt, leased to owner. */
void mem_lease(struct mem_slot *s, struct mem_handoff *h, uint64_t owner, uint32_t lease_ms, int64_t now);
/* Writes the present state down as an event; takes body. */
void mem_log(struct mem_handoff *h, const uint8_t token[TOKEN_BYTES], struct mem_bytes body);
bool mem_is_leased(const struct mem_handoff *h, uint64_t fence, uint64_t owner);
void mem_quarantine(struct mem_slot *s, struct mem_handoff *h, int64_t now);
/* Sealed copy; p NULL when it failed. */
struct mem_bytes mem_seal(struct memory *m, const struct mem_slot *s, enum seal_kind kind, const uint8_t *id,
			  const uint8_t *token, struct slice plain);
void mem_token(struct memory *m, uint8_t out[TOKEN_BYTES]);

/* memory_report.c */
enum store_status mem_extend(struct memory *m, struct mem_slot *s, const struct store_extend *r, struct mem_handoff **out);
enum store_status mem_event(struct memory *m, struct mem_slot *s, const struct store_event_put *r, struct mem_handoff **out);
enum store_status mem_finish(struct memory *m, struct mem_slot *s, const struct store_finish *r, struct mem_handoff **out);
enum store_status mem_cancel(struct memory *m, struct mem_slot *s, const uint8_t *id, struct slice outcome,
			     struct mem_handoff **out);
/* Body of an event or an outcome; nothing for "". false: it could not be sealed. */
bool mem_seal_report(struct memory *m, struct mem_slot *s, enum seal_kind kind, const uint8_t *id, const uint8_t *token, struct slice plain,
		     struct mem_bytes *out);
/* Calls changed() for every record that changed, or whose backing off ended. */
void mem_tick(struct memory *m, struct mem_slot *s, const struct store_slot_limits *l,
	      void (*changed)(void *arg, struct mem_handoff *h), void *arg);

/* memory.c */
struct mem_answer *mem_answer(struct memory *m, store_done *done, void *user, uint64_t op, enum store_status status);
/* About this handoff, as it is now, when there is one. */
void mem_report_done(struct memory *m, const struct mem_slot *s, const struct mem_handoff *h, enum store_status status, store_done *done, void *user,
		     uint64_t op);
/* What it says; lists are borrowed until it was said. */
struct store_answer *mem_answer_of(struct mem_answer *x);
void *mem_answer_keep(struct mem_answer *x, size_t n); /* memory that lives as long as it; never NULL */

/* memory_shared.c */
void mem_change(struct store *st, const struct store_change *v, size_t n, store_done *done, void *user, uint64_t op);
void mem_feed(struct store *st, const struct store_feed *r, store_done *done, void *user, uint64_t op);
void mem_versions(struct store *st, struct slice name, uint64_t before, uint32_t max, store_done *done, void *user, uint64_t op);
void mem_shared_free(struct memory *m);
struct mem_resource *mem_resource(struct memory *m, struct slice name); /* NULL: there never was one */

/* memory_hold.c */
void mem_span_add(struct mem_slot *s, int64_t hold_ms, int64_t now);
bool mem_doubtful(const struct mem_slot *s, const struct mem_handoff *h);
void mem_set_aside(struct mem_slot *s, struct mem_handoff *h, int64_t now);
/* Its sender has sent it again. true: it was held for that, and is queued. */
bool mem_confirm(struct mem_slot *s, struct mem_handoff *h, int64_t now);

/* memory_operate.c */
void mem_barrier(struct store *st, struct store_slot at, uint64_t generation, store_done *done, void *user, uint64_t op);
void mem_aside(struct store *st, struct store_slot at, const struct handoff_id *id, enum store_aside how, struct slice note, store_done *done, void *user, uint64_t op);
void mem_live_by(struct store *st, uint64_t generation);
void mem_view(struct mem_slot *s, struct store_route *out);
/* The dead-lettered one that comes after this id, the last one first; NULL: the first, or no more. after_ms: when that one died, should it be gone. */
struct mem_handoff *mem_next_dead(struct mem_slot *s, const uint8_t *after, int64_t after_ms);
enum store_status mem_drop(struct mem_slot *s, struct mem_handoff *h, int64_t now);

/* For tests: the slot behaves as after another incarnation that lacks so many, or after a fail-over; a stored task is spoilt, or put in another's place. */
void store_memory_reopen(struct store *s, struct store_slot at, uint64_t lost);
void store_memory_fail_over(struct store *s, struct store_slot at);
bool store_memory_spoil(struct store *s, struct store_slot at, const struct handoff_id *id);
bool store_memory_swap(struct store *s, struct store_slot at, const struct handoff_id *a, const struct handoff_id *b);

#endif
