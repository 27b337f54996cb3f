/* What do the network tests serve? A few methods that echo, stream, hang or hold back, and an observer that
 * remembers what it was told.
 *
 *   /test/Echo    answers each message with itself, ends on half-close
 *   /test/Small   the same, at most 1000 bytes a message
 *   /test/Stream  "N SIZE": N messages of SIZE bytes, then OK
 *   /test/Hang    never answers
 *   /test/Hold    consumes nothing until echo_release()
 *   /test/Refuse  PERMISSION_DENIED in on_open, with test-bin
 *   /test/Enough  ends the connection at the first message
 *   /test/Meta    answers with the value of "authorization" */
#ifndef BATON_TESTS_NET_ECHO_H
#define BATON_TESTS_NET_ECHO_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "net/server.h"
#include "net_pki.h"

#define ECHO_EVENTS 256
#define ECHO_WORKERS 4

struct echo {
	struct server *server;
	struct pki *pki;
	X509_STORE *store;
	struct tls_hook hook;
	struct tls_server *tls;
	struct server_config config;
	int port, own_port;          /* own: a listener with room for one connection, of its own */
	pthread_mutex_t lock; /* guards the strings */
	pthread_cond_t cond;
	char handshakes[ECHO_EVENTS][64], closes[ECHO_EVENTS][64];
	unsigned n_handshakes, n_closes;
	atomic_int connections;      /* gauge */
	atomic_uint peers_gone, opened, gone, messages, half_closed;
	atomic_int last_gone;        /* grpc_status */
	atomic_size_t queued_most;   /* bytes sent ahead in one /test/Stream */
	atomic_uint identities;      /* alive */
	atomic_uint by_worker[ECHO_WORKERS];
	const char *refuse_admission; /* static why */
	struct loop *loops[ECHO_WORKERS];
	struct call_worker *call_workers[ECHO_WORKERS];
	atomic_uint started, stopped;
	atomic_ullong last_call;
};

/* limits NULL: the defaults. */
void echo_start(struct echo *e, struct pki *pki, const struct pki_cert *cert, unsigned workers,
		const struct server_limits *limits);
void echo_stop(struct echo *e);
/* Waits until such a handshake result or close reason has been seen, at most ten seconds. */
bool echo_saw_handshake(struct echo *e, const char *result);
bool echo_saw_close(struct echo *e, const char *why);
bool echo_wait(struct echo *e, atomic_uint *counter, unsigned value);
/* Consumes all that /test/Hold holds; on every worker. */
void echo_release(struct echo *e);

#endif
