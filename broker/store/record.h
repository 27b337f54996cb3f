/* How is a handoff's record laid out? Fixed widths, big-endian, as the head of baton2.lua says; here are the same numbers from 0. And
 * how do items travel to the Functions? In fixed widths too, so that a call has few arguments however many items it carries. */
#ifndef BATON_STORE_RECORD_H
#define BATON_STORE_RECORD_H

#include "store/seal.h"

#define TOKEN_BYTES SEAL_TOKEN_BYTES

enum {
	RECORD_BYTES = 119,
	ENTRY_BYTES = 2 + HANDOFF_ID_BYTES + RECORD_BYTES, /* status, flags, id, record */
	LEASED_BYTES = HANDOFF_ID_BYTES + RECORD_BYTES,
	HEAD_BYTES = 1 + 6 + 6 + 6 + 6 + 4,
	ROUTE_VIEW_BYTES = HEAD_BYTES + 6 * 6,
	OPEN_BYTES = HEAD_BYTES + 1 + 6 + 6 + 8 + 6 + 6 + 40,
	EVENT_HEAD_BYTES = 4 + 6 + 1 + 1 + 8 + 8,
	/* requests */
	ACCEPT_BYTES = 111,
	LEASE_BYTES = 14,
	EXTEND_BYTES = 42,
	EVENT_BYTES = 50,
	FINISH_BYTES = 50,
	CANCEL_BYTES = 29,
	ROUTE_BYTES = 2,
	DEAD_BYTES = HANDOFF_ID_BYTES + 8 + 4,
	REPLAY_BYTES = ACCEPT_BYTES + HANDOFF_ID_BYTES,
	ASIDE_BYTES = HANDOFF_ID_BYTES + TOKEN_BYTES + 1,
	ASIDE_TAKES = 128, /* beside the state that it goes to */
	BARRIER_BYTES = 8,
	TICK_BYTES = 24,
	LOOK_BYTES = 1 + 8 + 8 + 8,
	MEND_BYTES = 2 + HANDOFF_ID_BYTES + STORE_KEY_BYTES + 5 * 8 + STORE_MARK,
	RESOURCE_HEAD_BYTES = 6 + 6 + 6 + 1, /* version, generation, time, removed */
	REQUEST_MAX_BYTES = REPLAY_BYTES,
};

enum { OPENED_ANEW = 1, OPENED_PAUSED = 2 }; /* flags of an answer of open */

/* What a record holds besides struct store_record. */
struct record {
	struct store_record r;
	uint32_t task_size, outcome_size; /* sealed; 0: none */
	uint8_t task_token[TOKEN_BYTES], outcome_token[TOKEN_BYTES];
};

struct record_head {
	int64_t now_ms;
	uint64_t waiting, waiting_bytes, extra;
	uint32_t epoch;
};

void be_put(uint8_t *p, unsigned width, uint64_t v);
uint64_t be_get(const uint8_t *p, unsigned width);

/* id: HANDOFF_ID_BYTES, and the slot's tag; p: RECORD_BYTES. false: not a record. */
bool record_decode(const uint8_t tag[4], const uint8_t *id, const uint8_t *p, struct record *out);
/* false: too short or another letter than 'K'. */
bool record_head_decode(struct slice answer, struct record_head *out);
/* The rest of what the Function route says. false: not of that form. */
bool record_route_decode(struct slice answer, const struct record_head *h, struct store_route *out);
/* body of out still sealed; *token points into entry. */
bool record_event_decode(struct slice entry, struct store_event *out, const uint8_t **token);

void request_accept(const struct store_accept *a, const uint8_t token[TOKEN_BYTES], size_t sealed, uint8_t out[ACCEPT_BYTES]);
void request_lease(const struct store_lease *a, uint8_t out[LEASE_BYTES]);
void request_extend(const struct store_extend *a, uint8_t out[EXTEND_BYTES]);
void request_event(const struct store_event_put *a, const uint8_t token[TOKEN_BYTES], uint8_t out[EVENT_BYTES]);
void request_finish(const struct store_finish *a, const uint8_t token[TOKEN_BYTES], size_t sealed, uint8_t out[FINISH_BYTES]);
void request_look(enum store_place place, uint64_t cursor, int64_t since_ms, int64_t keep_ms, uint8_t out[LOOK_BYTES]);
void request_mend(const struct store_mend *r, int64_t keep_ms, uint8_t out[MEND_BYTES]);
void request_cancel(const struct handoff_id *id, const uint8_t token[TOKEN_BYTES], size_t sealed, uint8_t out[CANCEL_BYTES]);
/* Where the body of a finish or cancel is: see baton2.lua. */
enum body_place { BODY_NONE = 0, BODY_BESIDE = 1, BODY_ARGUMENT = 2 };
enum { ACCEPT_AT_TOKEN = 45, ACCEPT_AT_OWNER = 99, EVENT_AT_TOKEN = 37, EVENT_AT_REPEAT = 45, FINISH_AT_KIND = 32, FINISH_AT_TOKEN = 37,
       FINISH_AT_PLACE = 49, CANCEL_AT_TOKEN = 16, CANCEL_AT_PLACE = 28 };
/* Where this report leads, if the handoff is not dead-lettered by it. */
enum handoff_state finish_state(enum store_finish_kind k);
/* A report that ends the handoff, whose body is a blob of its own. */
bool finish_is_last(enum store_finish_kind k);

#endif
