/* How is an event-driven call made to wait? Messages gather in a buffer while client_wait() turns the connection;
 * the socket is read only when the buffer is empty, so that a slow reader holds the broker back. */
#include "config.h"

#include "client/stream.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "client/pb.h"

#define QUEUE_CAP (CLIENT_MESSAGE_MAX + 4 * 1024 * 1024)

struct client_stream {
	struct client *c;
	struct client_call *call; /* NULL once ended */
	struct buf queue;         /* size_t length, bytes, ... */
	size_t at;
	struct client_status status;
};

static void on_message(void *user, struct client_call *call, struct slice message)
{
	struct client_stream *s = user;
	size_t n = message.n;

	if (buf_put(&s->queue, &n, sizeof n) && buf_put_slice(&s->queue, message))
		return;
	client_status_init(&s->status);
	s->status.code = GRPC_RESOURCE_EXHAUSTED;
	s->status.local = true;
	snprintf(s->status.message, sizeof s->status.message, "the broker sends more than this client can hold");
	s->call = NULL;
	client_call_drop(call);
}

static void on_end(void *user, struct client_call *call, const struct client_status *status)
{
	struct client_stream *s = user;

	s->status = *status;
	s->call = NULL;
}

static const struct client_call_events events = {.on_message = on_message, .on_end = on_end};

struct client_stream *client_stream_open(struct client *c, const char *method, const char *token, int64_t timeout_ms)
{
	struct client_stream *s = calloc(1, sizeof *s);
	char path[128];
	struct client_call_spec spec = {.path = path, .token = token, .timeout_ms = timeout_ms,
		.max_message = CLIENT_MESSAGE_MAX,
					.events = &events, .user = s};

	if (!s)
		return NULL;
	snprintf(path, sizeof path, "%s%s", *method == '/' ? "" : CLIENT_SERVICE, method);
	s->c = c;
	buf_init(&s->queue, QUEUE_CAP);
	s->call = client_call_start(c, &spec);
	if (!s->call) {
		free(s);
		return NULL;
	}
	return s;
}

void client_stream_free(struct client_stream *s)
{
	if (!s)
		return;
	if (s->call)
		client_call_drop(s->call);
	buf_clear(&s->queue);
	free(s);
}

void client_stream_send_bytes(struct client_stream *s, struct slice message)
{
	if (s->call)
		client_call_send(s->call, message);
}

void client_stream_send(struct client_stream *s, const ProtobufCMessage *m)
{
	struct buf b;

	buf_init(&b, CLIENT_MESSAGE_MAX);
	if (pb_pack(&b, m))
		client_stream_send_bytes(s, buf_slice(&b));
	buf_clear(&b);
}

void client_stream_half_close(struct client_stream *s)
{
	if (s->call)
		client_call_half_close(s->call);
}

bool client_stream_next(struct client_stream *s, struct slice *message)
{
	size_t n;

	if (s->at == s->queue.n) {
		buf_reset(&s->queue);
		s->at = 0;
		return false;
	}
	memcpy(&n, s->queue.p + s->at, sizeof n);
	*message = slice_of(s->queue.p + s->at + sizeof n, n);
	s->at += sizeof n + n;
	return true;
}

enum client_got client_stream_receive(struct client_stream *s, int64_t deadline_mono_ms, struct slice *message)
{
	for (;;) {
		if (client_stream_next(s, message))
			return CLIENT_GOT_MESSAGE;
		if (!s->call)
			return CLIENT_GOT_END;
		if (!client_wait(s->c, deadline_mono_ms))
			return CLIENT_GOT_TIMEOUT;
	}
}

bool client_stream_ended(const struct client_stream *s)
{
	return !s->call;
}

const struct client_status *client_stream_status(const struct client_stream *s)
{
	return &s->status;
}

static void local_status(struct client_status *status, enum grpc_status code, const char *text)
{
	client_status_init(status);
	status->code = code;
	status->local = true;
	snprintf(status->message, sizeof status->message, "%s", text);
}

ProtobufCMessage *client_unary_bytes(struct client *c, const char *method, const char *token, struct slice question,
				     const ProtobufCMessageDescriptor *answer, int64_t timeout_ms, struct arena *arena,
				     struct client_status *status)
{
	int64_t deadline = clock_mono_ms() + timeout_ms;
	struct client_stream *s = client_stream_open(c, method, token, timeout_ms);
	ProtobufCMessage *got = NULL;
	struct prescan_fault fault;
	struct slice message;

	if (!s) {
		local_status(status, GRPC_UNAVAILABLE, client_state(c) == CLIENT_CLOSED || client_why(c)->fault != CLIENT_FINE ?
			     client_why(c)->what : "the connection takes no more calls");
		return NULL;
	}
	client_stream_send_bytes(s, question);
	client_stream_half_close(s);
	for (;;) {
		enum client_got what = client_stream_receive(s, deadline, &message);

		if (what == CLIENT_GOT_MESSAGE && !got) {
			got = pb_unpack(answer, message, arena, &fault);
			if (got)
				continue;
			local_status(status, GRPC_INTERNAL, "the broker's answer cannot be read");
			break;
		}
		if (what == CLIENT_GOT_TIMEOUT) {
			got = NULL;
			local_status(status, GRPC_DEADLINE_EXCEEDED, "no answer in time");
			break;
		}
		if (what == CLIENT_GOT_MESSAGE) {
			got = NULL;
			local_status(status, GRPC_INTERNAL, "more than one answer");
			break;
		}
		*status = s->status;
		if (status->code != GRPC_OK)
			got = NULL;
		else if (!got)
			local_status(status, GRPC_INTERNAL, "OK without an answer");
		break;
	}
	client_stream_free(s);
	return got;
}

ProtobufCMessage *client_unary(struct client *c, const char *method, const char *token,
	const ProtobufCMessage *question,
			       const ProtobufCMessageDescriptor *answer, int64_t timeout_ms, struct arena *arena,
			       struct client_status *status)
{
	struct buf b;
	ProtobufCMessage *got = NULL;

	buf_init(&b, CLIENT_MESSAGE_MAX);
	if (pb_pack(&b, question))
		got = client_unary_bytes(c, method, token, buf_slice(&b), answer, timeout_ms, arena, status);
	else
		local_status(status, GRPC_RESOURCE_EXHAUSTED, "the request is too large");
	buf_clear(&b);
	return got;
}
