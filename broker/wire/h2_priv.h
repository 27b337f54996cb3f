/* What do the files of wire/h2 share? The session, its streams and the token buckets. h2.c has the session's life,
 * h2_recv.c what the peer sends, h2_send.c what is sent to it, h2_budget.c the buckets, h2_table.c the streams by id, h2_memory.c nghttp2's
 * allocations.
 */
#ifndef BATON_WIRE_H2_PRIV_H
#define BATON_WIRE_H2_PRIV_H

#include <nghttp2/nghttp2.h>

#include "base/bucket.h"
#include "wire/h2.h"

#define H2_TABLE_INLINE 4 /* buckets before the table grows */
#define H2_FRAME_HEAD 9

struct h2_block; /* a header block under way, h2_recv.c */
struct h2_trailers; /* what h2_finish() keeps until the data is out, h2_send.c */

/* A stream's life: nothing shown -> shown -> closed, when it leaves the table. Its halves are nghttp2's business. */
struct h2_stream {
	struct h2_stream *next; /* in its bucket */
	struct h2_stream *next_writable, *next_yielded; /* in the session's lists */
	int32_t id;
	bool shown : 1;      /* on_headers or h2_request told the user of it */
	bool answered : 1;   /* server: h2_respond was called. client: a final response came */
	bool flying : 1;     /* client: HEADERS left */
	bool reset : 1;      /* h2_reset was called */
	bool idle : 1;       /* nghttp2 waits for h2_wake() */
	bool finished : 1;   /* h2_finish was called, or there is no body */
	bool above : 1;      /* queued more than send_low: on_writable is owed */
	bool listed : 1;     /* is in h2.writable */
	bool waits : 1;      /* is in h2.yielded */
	size_t untaken;      /* bytes shown by on_data and not given back */
	uint8_t *queue;      /* bytes q_start..q_end wait */
	size_t q_start, q_end, q_size;
	size_t over;         /* bytes queued since send_high was reached */
	size_t turn;         /* bytes sent since it last let others go first */
	struct h2_trailers *trailers;
};

struct h2_table {
	struct h2_stream **buckets;
	struct h2_stream *inlined[H2_TABLE_INLINE];
	size_t n_buckets; /* a power of two */
	size_t n;
};

struct h2 {
	nghttp2_session *ng;
	struct h2_piece *pieces; /* all its memory */
	const struct h2_events *ev;
	void *user;
	struct h2_limits limits;
	struct h2_table streams;
	struct h2_block *block;
	struct h2_stream *writable; /* owed an on_writable at the end of this pull */
	struct h2_stream *yielded;  /* had their turn */
	struct bucket resets, control, pings;
	uint32_t window_credit; /* WINDOW_UPDATEs that our own DATA explains */
	uint32_t ping_credit;   /* PINGs that measure the way of what we sent */
	int64_t pings_out;      /* ours, unanswered */
	size_t queued;          /* bytes, of all streams */
	struct buf *out;        /* during h2_pull */
	size_t out_end;         /* h2_pull stops when out->n reaches it */
	const uint8_t *left;    /* what did not fit: nghttp2's memory, valid until its next send */
	size_t left_n;
	const char *error;
	bool server;
	bool over;
	bool no_memory; /* over, and nghttp2 must not be called again */
	uint32_t goaway_sent; /* code of our last GOAWAY */
	bool goaway_seen;     /* the peer sent one */
	bool busy; /* inside h2_feed or h2_pull */
};

/* h2_table.c */
void h2_table_init(struct h2_table *t);
void h2_table_clear(struct h2_table *t, void (*free_stream)(struct h2_stream *s));
struct h2_stream *h2_table_find(const struct h2_table *t, int32_t id);
/* A zeroed stream; NULL when memory is out. */
struct h2_stream *h2_table_add(struct h2_table *t, int32_t id);
void h2_table_remove(struct h2_table *t, struct h2_stream *s); /* s stays the caller's */

/* h2_budget.c */
void h2_budget_init(struct h2 *h);
/* Counts a frame of the peer by its header. 0, or -1 when a budget is overrun: the GOAWAY is queued then. */
int h2_budget_frame(struct h2 *h, const nghttp2_frame_hd *hd);
int h2_budget_empty_data(struct h2 *h);
int h2_budget_ping_ack(struct h2 *h);
/* Counts a reset that the peer provoked. */
int h2_budget_provoked(struct h2 *h);
void h2_budget_sent(struct h2 *h, bool data); /* HEADERS or DATA of ours */

/* h2.c: ends the session with GOAWAY. why: static. Returns -1. */
int h2_fail(struct h2 *h, uint32_t code, const char *why);
/* NULL too when the session may not be asked for anything more. */
struct h2_stream *h2_find(const struct h2 *h, int32_t stream);

/* h2_memory.c */
nghttp2_mem h2_memory(struct h2 *h);
void h2_memory_free(struct h2 *h);

/* h2_recv.c */
void h2_recv_callbacks(nghttp2_session_callbacks *cbs);
void h2_block_free(struct h2_block *b);

/* h2_send.c */
void h2_send_callbacks(nghttp2_session_callbacks *cbs);
void h2_stream_free(struct h2_stream *s);
/* Takes s out of the table and all lists, tells the user, frees it. */
void h2_stream_closed(struct h2 *h, struct h2_stream *s, uint32_t code);
/* Puts the streams that yielded in line again, tells of those that became writable. Whether there was any. */
bool h2_send_round(struct h2 *h);

#endif
