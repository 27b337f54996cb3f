/* How does Baton talk to a server of its own choosing (Redis)? One connection, TCP, unix socket or TLS, without blocking: opened
 * with a time-out, written through one capped buffer that is sent at the tick's tail, read through a callback. */
#ifndef BATON_NET_STREAM_H
#define BATON_NET_STREAM_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/problem.h"
#include "base/slice.h"
#include "net/loop.h"

struct stream;

#define STREAM_READ_CAP (16u << 20) /* bytes that on_data may leave for later */

struct stream_target {
	const char *unix_path; /* or */
	const char *host;
	int port;
	bool tls;
	const char *ca_file, *cert_file, *key_file; /* TLS; the host's name is verified. NULL: system's CAs, no certificate */
	int64_t connect_timeout_ms;
	size_t write_cap;      /* bytes waiting to be sent; over it stream_out() fails */
};

struct stream_events {
	void (*on_open)(void *user);
	/* Returns how many bytes were taken; the rest, at most STREAM_READ_CAP, is shown again with what comes next. -1 closes. */
	long (*on_data)(void *user, struct slice bytes);
	/* Once, also when opening failed; the stream frees itself after it. Not called by stream_close(). why is static or valid for
	 * the call. */
	void (*on_close)(void *user, const char *why);
};

/* target's strings are copied. Never NULL but when memory is out: failures come through on_close, later. */
struct stream *stream_open(struct loop *l, const struct stream_target *t, const struct stream_events *ev, void *user);
void stream_close(struct stream *s); /* frees at the tick's tail; no callback follows */
/* The buffer to append to; what is in it is sent at this tick's tail. NULL before on_open, after the end and when over the cap.
 * A put that fails for the cap half-way through a message would leave the peer with half of it, so it closes the stream. */
struct buf *stream_out(struct stream *s);
/* The same, for what nobody may find in memory later: with room for n bytes, and wiped when all that is in it is sent, or at the end. */
struct buf *stream_out_secret(struct stream *s, size_t n);

#endif
