/* What does the RPC layer see of a connection? A call: one RPC on one stream of one peer, owned by one worker. rpc/ knows no
 * socket, no HTTP/2 and no loop; this header is all it has of net/.
 *
 * Life:  on_open -> on_message* -> on_half_close -> ... call_end() -> on_gone.
 * on_gone comes exactly once for every call that on_open took, last: after call_end() when the peer has everything, or early when
 * the peer cancelled, its deadline passed, or the connection broke. After on_gone the pointer is dead. Keep call_id() for later
 * and ask call_find(). All on the worker's thread.
 */
#ifndef BATON_NET_CALL_H
#define BATON_NET_CALL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/slice.h"
#include "base/words.h"

struct call;
struct call_worker; /* one worker's calls */

/* Who is on the other side: fixed when the handshake is done. */
struct call_peer {
	const void *identity;      /* what the tls hook returned (a struct identity_peer of identity/peer.h); borrowed */
	char remote[64];           /* "192.0.2.1:5555" */
	uint64_t connection;       /* number unique in this process */
	const char *listener;      /* "agents" */
};

struct call_handler {
	/* The path has been read, no message yet. Returns the largest message the call takes, in bytes, or 0 to refuse it after
	 * having called call_end(). */
	size_t (*on_open)(void *user, struct call *c, struct slice path);
	/* One whole message, borrowed. The handler must call call_consumed(c) once for each, now or later: the peer's flow-control
	 * window reopens by it. */
	void (*on_message)(void *user, struct call *c, struct slice message);
	void (*on_half_close)(void *user, struct call *c);
	void (*on_writable)(void *user, struct call *c); /* after call_send() said false */
	/* A message announces more than on_open allowed; nothing of it is held, nothing more of the call is read. The handler ends the call,
	 * now or later. NULL: net/ ends it with RESOURCE_EXHAUSTED. */
	void (*on_too_large)(void *user, struct call *c, size_t max);
	/* why: OK when the peer has the whole answer, CANCELLED when it reset the stream, DEADLINE_EXCEEDED, UNAVAILABLE when the
	 * connection is over or the peer takes nothing, or the status with which net/ itself ended the call (RESOURCE_EXHAUSTED for
	 * a message over the limit, INVALID_ARGUMENT, UNIMPLEMENTED for a compressed one). Also for a call that on_open both
	 * took and ended; not for one that it returned 0 for. */
	void (*on_gone)(void *user, struct call *c, enum grpc_status why);
	/* Before anything is read from, or written to, a connection. NULL: nobody asks. */
	void (*before_io)(void *user);
	/* The connection is over: every call on it is gone already. Once for each peer that was admitted. */
	void (*on_peer_gone)(void *user, const struct call_peer *p);
	void *user;
};

const struct call_peer *call_peer(const struct call *c);
struct call_worker *call_worker(const struct call *c);
uint64_t call_id(const struct call *c);
struct call *call_find(struct call_worker *w, uint64_t id); /* NULL when gone */
void call_set_data(struct call *c, void *data);
void *call_data(const struct call *c);
/* The single value of a metadata key; n counts how often it came (so that "twice" can be refused). Valid as long as the call. */
struct slice call_metadata(const struct call *c, const char *key, size_t *n);
int64_t call_deadline_mono_ms(const struct call *c); /* 0 = none; on clock_mono_ms() */

void call_consumed(struct call *c);
/* One message, copied. true: go on. false: taken, but the queue is full: wait for on_writable before the next one. */
bool call_send(struct call *c, struct slice message);
bool call_writable(const struct call *c);
/* Has all that call_send() took of this call left the process? */
bool call_is_sent(const struct call *c);
/* The same, once what the peer takes now was sent. */
bool call_push(struct call *c);
/* Ends the call, and what of it has not left is forgotten: its stream is reset, and when bytes wait for its connection's socket, which may be this call's,
 * that is closed without a word. on_gone comes before this returns. */
void call_forget(struct call *c);

struct call_trailer {
	const char *key;   /* lower case ASCII; a key that ends in -bin is base64-encoded by net */
	struct slice value;
};
/* Ends the call; later calls of it do nothing. message may be NULL. */
void call_end(struct call *c, enum grpc_status status, const char *message, const struct call_trailer *t, size_t n);

/* RESOURCE_EXHAUSTED that passes: with the reason and when to come again. */
void call_end_exhausted(struct call *c, const char *message);
/* Ends the connection and all calls on it, this one too, once what was sent is out: GOAWAY ENHANCE_YOUR_CALM with `why`, one word, kept. */
void call_end_connection(struct call *c, const char *why);

/* Runs fn(arg) on worker w's thread; from any thread. */
bool call_post(struct call_worker *w, void (*fn)(void *arg), void *arg);

#endif
