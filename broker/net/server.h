/* How do agents' connections come to the workers? N workers, each a thread with a loop and a listening socket of its own
 * (SO_REUSEPORT); a connection stays with the worker that accepted it. */
#ifndef BATON_NET_SERVER_H
#define BATON_NET_SERVER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/problem.h"
#include "net/call.h"
#include "net/loop.h"
#include "net/tls.h"
#include "wire/h2.h"

struct server_limits {
	uint32_t connections;            /* in all */
	uint32_t connections_per_source; /* one IP address */
	uint32_t connections_per_source_per_s; /* new ones of one IP address a second, twice as many at once; over it: closed */
	uint32_t handshakes_per_s;       /* in all; over it they wait to be accepted */
	uint32_t handshakes_open;        /* unfinished, in all: then the oldest gives way to the newest */
	uint32_t handshakes_open_per_source;
	uint32_t handshake_ms;           /* accept -> TLS done: 10 s */
	uint32_t preface_ms;             /* TLS done -> client preface and SETTINGS: 5 s */
	uint32_t headers_ms;             /* a header block's first byte -> its end: 10 s */
	uint32_t message_ms;             /* a call's HEADERS -> its first message, a message's first byte -> its last: 60 s */
	size_t partial_bytes;            /* of unfinished messages, one connection: 64 MiB */
	uint32_t idle_ms;                /* no stream open: 10 min */
	uint32_t stalled_ms;             /* bytes to send and the peer takes none, or less than 16 KiB of a stream's: 60 s */
	uint32_t keepalive_ms;           /* silent that long: PING: 30 s */
	uint32_t keepalive_timeout_ms;   /* PING unanswered: 20 s */
	struct h2_limits h2;
};
extern const struct server_limits server_limits_default;

/* net/ counts through this; app/ binds it to the metrics. Called on the workers' threads, several at once. result: "ok", "timeout", "not_tls",
 * "hello_too_large", "evicted" (the oldest when too many were open), "no_certificate", "certificate:<why of the hook>", "alpn", "own_key" (its provider did not sign), "protocol",
 * "closed". why and result live as long as the server. */
struct server_observer {
	void (*on_connection)(void *arg, const char *listener, int delta);
	void (*on_handshake)(void *arg, const char *listener, const char *result, const char *remote);
	void (*on_closed)(void *arg, const char *listener, const char *why);
	void *arg;
};

struct server;

/* One worker thread is started for each of `workers`; worker_start(arg, i, loop, call_worker) runs first on each (it makes the
 * worker's store, caches, lanes and returns its call handler), worker_stop last. */
struct server_config {
	unsigned workers;
	struct server_limits limits;
	struct server_observer observer;
	const struct call_handler *(*worker_start)(void *arg, unsigned i, struct loop *l, struct call_worker *w);
	void (*worker_stop)(void *arg, unsigned i);
	/* Asked after the TLS handshake, before the connection counts: a per-agent cap, a revocation. NULL = fine, else static why. */
	const char *(*admit)(void *arg, unsigned i, const struct call_peer *p);
	/* On worker i's thread: no peer of it is left to be judged anew. NULL: nobody asks. */
	void (*rechecked)(void *arg, unsigned i);
	void *arg;
};

struct server *server_new(const struct server_config *c, struct problem *why);
/* "0.0.0.0:7443", "[::1]:0". Before server_start. listener is borrowed: it must outlive the server. The port that was bound: server_port(). tls is ref'd. */
int server_listen(struct server *s, const char *listener, const char *address, struct tls_server *tls, struct problem *why);
/* A unix socket that listens (net/local.h), without TLS, served by the first worker. Owns fd from here on, also when it fails. identity: what each
 * connection's call_peer has; borrowed. */
int server_listen_local(struct server *s, const char *listener, int fd, const void *identity, struct problem *why);
/* The listener's connections are counted by themselves, up to this many, and not among limits.connections: whatever comes in by the other ones keeps
 * nobody out here, nor the other way round. Before server_start. */
void server_reserve(struct server *s, const char *listener, unsigned connections);
int server_port(const struct server *s, const char *listener);
int server_start(struct server *s, struct problem *why);
/* New connections use it from now on; from any thread. */
void server_set_tls(struct server *s, const char *listener, struct tls_server *tls);
void server_set_limits(struct server *s, const struct server_limits *l);
/* What the hook judges by has changed: asks it again about every live connection's certificate, and closes those that it refuses
 * now, within seconds. From any thread. */
void server_recheck_peers(struct server *s);
/* Was every peer that was there then judged anew, or is gone? From any thread. */
bool server_rechecked(const struct server *s);
/* Runs fn(arg, i) on every worker's thread and returns when all have run it. Not from a worker. */
void server_each_worker(struct server *s, void (*fn)(void *arg, unsigned i), void *arg);
unsigned server_workers(const struct server *s);
/* Closes connections on worker i for which pick() is true, with GOAWAY and `why`. On that worker's thread. Returns how many. */
unsigned server_close_peers(struct server *s, unsigned i, bool (*pick)(void *arg, const struct call_peer *p), void *arg, const char *why);
/* Graceful: stops listening, GOAWAY on all, waits until calls are over or `timeout_ms`, then closes the rest. Blocks. */
void server_drain(struct server *s, int64_t timeout_ms);
void server_free(struct server *s); /* stops and joins the workers */

#endif
