/* How does a program without threads talk to a broker? Over one connection that carries many calls: TLS 1.3 with
 * client certificate, HTTP/2, gRPC. Non-blocking: poll client_fd() for client_events(), then client_io(). What
 * blocks until an answer is there is stream.h.
 *
 *   CONNECTING -> HANDSHAKE -> OPENING -> READY -> CLOSED       (any state can go to CLOSED)
 * OPENING lasts until the first bytes of the broker: with TLS 1.3 only they prove that it took our certificate. */
#ifndef BATON_CLIENT_CONN_H
#define BATON_CLIENT_CONN_H

#include <stdbool.h>
#include <stdint.h>

#include "base/slice.h"
#include "client/creds.h"
#include "client/status.h"

struct client;
struct client_call;

enum client_state { CLIENT_CONNECTING, CLIENT_HANDSHAKE, CLIENT_OPENING, CLIENT_READY, CLIENT_CLOSED };

/* addr: host:port or [v6]:port; names are resolved here, and that blocks. Borrows creds for its life. NULL with why. */
struct client *client_new(const struct client_creds *creds, const char *addr, struct client_error *why);
/* The same over the unix socket of listen.admin_socket, without TLS. */
struct client *client_new_local(const char *path, struct client_error *why);
/* Ends the calls without telling their owners. */
void client_free(struct client *c);
enum client_state client_state(const struct client *c);
const struct client_error *client_why(const struct client *c); /* once CLOSED */
int client_fd(const struct client *c);                         /* -1 when CLOSED; may change while CONNECTING */
short client_events(const struct client *c);                   /* POLLIN, POLLOUT */
bool client_pending(const struct client *c);                   /* call client_io() without waiting for the socket */
void client_io(struct client *c);                              /* callbacks run in here */
/* Sends what is queued, as far as the socket takes it. */
void client_flush(struct client *c);
/* One poll(2) and client_io(), until the deadline on clock_mono_ms(). false when the time was over. */
bool client_wait(struct client *c, int64_t deadline_mono_ms);
/* Waits until READY. 0, or -1 with why. */
int client_connect(struct client *c, int64_t deadline_mono_ms, struct client_error *why);
/* Once READY: would this bundle (DER) vouch for the broker, too? */
bool client_vouched(const struct client *c, const struct slice *bundle, size_t n);
const char *client_tls_text(const struct client *c); /* "TLSv1.3 TLS_AES_128_GCM_SHA256" */

/* on_message borrows for the call. on_end comes exactly once, last, unless client_call_drop() came first; after
 * either the pointer is dead. Both may call client_call_* of any call. */
struct client_call_events {
	void (*on_message)(void *user, struct client_call *call, struct slice message);
	void (*on_end)(void *user, struct client_call *call, const struct client_status *s);
	void (*on_writable)(void *user, struct client_call *call); /* may be NULL */
};

struct client_call_spec {
	const char *path;        /* "/baton.v1.HandoffService/Submit" */
	const char *token;       /* NULL or "" = none */
	int64_t timeout_ms;      /* grpc-timeout; 0 = none. The caller's own clock is the caller's business */
	size_t max_message;      /* bytes; 0 = 4 MiB */
	const struct client_call_events *events;
	void *user;
};

/* NULL when the connection is closed or takes no more calls now. Calls may be started before READY. */
struct client_call *client_call_start(struct client *c, const struct client_call_spec *spec);
/* One message, copied. false: taken, but the queue is full until on_writable. */
bool client_call_send(struct client_call *call, struct slice message);
void client_call_half_close(struct client_call *call);
/* Cancels; no callback comes any more. */
void client_call_drop(struct client_call *call);
size_t client_calls(const struct client *c);

#endif
