/* How does a command line tool call? It waits: one call at a time, each with a deadline, messages packed and
 * unpacked for it. */
#ifndef BATON_CLIENT_STREAM_H
#define BATON_CLIENT_STREAM_H

#include <protobuf-c/protobuf-c.h>

#include "base/arena.h"
#include "client/conn.h"

#define CLIENT_SERVICE "/baton.v1.HandoffService/"
#define CLIENT_MESSAGE_MAX (20 * 1024 * 1024) /* a payload's hard cap is 16 MiB */

struct client_stream;

enum client_got { CLIENT_GOT_MESSAGE, CLIENT_GOT_END, CLIENT_GOT_TIMEOUT };

/* method: "Watch", or with another service "/baton.v1.OperateService/ListRoutes". token may be NULL. timeout_ms: told to the broker; 0 = none. NULL when the connection takes no
 * call. */
struct client_stream *client_stream_open(struct client *c, const char *method, const char *token, int64_t timeout_ms);
void client_stream_free(struct client_stream *s); /* cancels when it has not ended */
/* Both copy. */
void client_stream_send(struct client_stream *s, const ProtobufCMessage *m);
void client_stream_send_bytes(struct client_stream *s, struct slice message);
void client_stream_half_close(struct client_stream *s);
/* *message is borrowed until the next call. */
enum client_got client_stream_receive(struct client_stream *s, int64_t deadline_mono_ms, struct slice *message);
/* A message that is there already, without touching the socket. */
bool client_stream_next(struct client_stream *s, struct slice *message);
bool client_stream_ended(const struct client_stream *s);
const struct client_status *client_stream_status(const struct client_stream *s); /* once ended */

/* One question, one answer, in the arena. NULL with *status when the broker refuses, the connection breaks
 * (status->local), the time is over (GRPC_DEADLINE_EXCEEDED, local) or the answer cannot be read (GRPC_INTERNAL,
 * local). */
ProtobufCMessage *client_unary(struct client *c, const char *method, const char *token,
	const ProtobufCMessage *question,
			       const ProtobufCMessageDescriptor *answer, int64_t timeout_ms, struct arena *arena,
			       struct client_status *status);
ProtobufCMessage *client_unary_bytes(struct client *c, const char *method, const char *token, struct slice question,
				     const ProtobufCMessageDescriptor *answer, int64_t timeout_ms, struct arena *arena,
				     struct client_status *status);

#endif
