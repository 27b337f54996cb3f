/* What stands in for batond in the client's and the command line's unit tests? A small server in a thread: TLS 1.3
 * with client certificates, HTTP/2 by wire/h2, and of the service just enough. It checks no policy: the route's
 * name says how it behaves.
 *
 *   any            stored, delivered to the subscriber, settled
 *   deny           PERMISSION_DENIED with the trailers of a missing_scope
 *   silent         never answered
 *   cut            accepted; the connection breaks when it is first delivered
 *   html           answered by HTTP 502 without gRPC
 *   goaway         GOAWAY, then the connection closes
 *   young          stale_envelope twice (the store has just begun), then any
 *   skewed         stale_envelope, with a broker's clock that is far away
 *   storm          Settled says store_unavailable once, then ok
 *   away           store_unavailable; also for the handoff of that id
 *   stop           stopped (cancelled) 200 ms after it was accepted by the worker */
#ifndef BATON_TESTS_FAKE_BROKER_H
#define BATON_TESTS_FAKE_BROKER_H

#include <stdbool.h>

struct fake_options {
	const char *cert, *key; /* the broker's own */
	const char *ca;         /* whom it trusts; NULL: asks for no client certificate */
	int port;               /* 0 = any */
	bool no_alpn;
	bool plain;             /* speaks no TLS at all */
};

struct fake;
struct fake *fake_start(const struct fake_options *o);
void fake_stop(struct fake *f);
int fake_port(const struct fake *f);
/* What was seen so far. */
int fake_connections(const struct fake *f);
int fake_resumed(const struct fake *f);   /* leases that an Open asked to keep */
int fake_released(const struct fake *f);
int fake_settled(const struct fake *f);
const char *fake_last_result(const struct fake *f); /* payload of the last Complete, or code of the last Fail */

#endif
