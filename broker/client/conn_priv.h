/* What do conn.c and call.c share? The connection's insides. */
#ifndef BATON_CLIENT_CONN_PRIV_H
#define BATON_CLIENT_CONN_PRIV_H

#include "base/buf.h"
#include "client/conn.h"
#include "wire/grpc.h"
#include "wire/h2.h"

#define CALL_BUCKETS 64

struct addrinfo;
struct ssl_st;

struct client_call {
	struct client *c;
	int32_t stream;
	struct client_call_events ev;
	void *user;
	struct grpc_reader reader;
	struct client_status status;
	int http;                 /* :status of the reply; 0 = not seen */
	bool foreign;             /* the reply is not gRPC */
	bool have_status;
	bool half_closed;         /* our side */
	bool over;                /* unlinked; waits to be freed */
	struct client_call *next; /* in its bucket, or among the dead */
};

struct client {
	const struct client_creds *creds;
	char addr[300], host[256];
	struct addrinfo *found, *trying;
	int fd;
	enum client_state state;
	struct ssl_st *ssl;
	struct h2 *h2;
	struct buf out;           /* pulled from h2, not yet in the socket */
	size_t out_at;
	bool blocked;             /* the socket took no more */
	bool handshake_writes;
	bool more;                /* reading stopped before the socket was empty */
	bool goaway;
	bool local;               /* a unix socket, bare */
	struct client_error why;
	struct client_call *calls[CALL_BUCKETS];
	struct client_call *dead;
	size_t n_calls;
	int depth;                /* > 0: inside callbacks */
};

extern const struct h2_events client_call_h2_events;
/* Ends every call: the connection is over. */
void client_calls_fail(struct client *c);
void client_calls_reap(struct client *c);
void client_set_closed(struct client *c);

#endif
