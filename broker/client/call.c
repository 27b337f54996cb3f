/* How does a gRPC call live on an HTTP/2 stream? Request headers out, messages both ways, trailers in. The
 * connection is conn.c, the blocking form stream.c. A call is unlinked at once when it ends and freed when no
 * callback runs any more. */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/encode.h"
#include "base/secret.h"
#include "client/conn_priv.h"

#define MESSAGE_MAX_DEFAULT (4 * 1024 * 1024)
#define H2_CANCEL 8
#define CALLS_MAX 4096

static struct client_call **bucket(struct client *c, int32_t stream)
{
	return &c->calls[((uint32_t)stream >> 1) % CALL_BUCKETS];
}

static struct client_call *find(struct client *c, int32_t stream)
{
	struct client_call *call = *bucket(c, stream);

	while (call && call->stream != stream)
		call = call->next;
	return call;
}

static void unlink_call(struct client_call *call)
{
	struct client *c = call->c;
	struct client_call **at = bucket(c, call->stream);

	while (*at && *at != call)
		at = &(*at)->next;
	if (*at)
		*at = call->next;
	c->n_calls--;
	call->over = true;
	call->next = c->dead;
	c->dead = call;
}

void client_calls_reap(struct client *c)
{
	if (c->depth > 0)
		return;
	while (c->dead) {
		struct client_call *call = c->dead;

		c->dead = call->next;
		grpc_reader_clear(&call->reader);
		free(call);
	}
}

static void finish(struct client_call *call)
{
	if (call->over)
		return;
	unlink_call(call);
	call->ev.on_end(call->user, call, &call->status);
}

/* Ends it from here: something is wrong with what the peer sent. */
static void fail(struct client_call *call, enum grpc_status code, const char *message)
{
	call->status.code = code;
	call->status.local = true;
	snprintf(call->status.message, sizeof call->status.message, "%s", message);
	h2_reset(call->c->h2, call->stream, H2_CANCEL);
	finish(call);
}

void client_calls_fail(struct client *c)
{
	c->depth++;
	for (size_t i = 0; i < CALL_BUCKETS; i++)
		while (c->calls[i]) {
			struct client_call *call = c->calls[i];

			if (!call->have_status) {
				call->status.code = GRPC_UNAVAILABLE;
				call->status.local = true;
				snprintf(call->status.message, sizeof call->status.message, "%s", c->why.what);
			}
			finish(call);
		}
	c->depth--;
	client_calls_reap(c);
}

static void on_headers(void *user, int32_t stream, const struct h2_header *h, size_t n, bool end)
{
	struct client_call *call = find(user, stream);
	bool grpc = false;

	if (!call)
		return;
	for (size_t i = 0; i < n; i++) {
		if (slice_is(h[i].name, ":status") && h[i].value.n == 3)
			call->http = (h[i].value.p[0] - '0') * 100 + (h[i].value.p[1] - '0') * 10 + (h[i].value.p[2] - '0');
		if (slice_is(h[i].name, "content-type") && h[i].value.n >= 16 && memcmp(h[i].value.p, "application/grpc", 16) == 0)
			grpc = true;
	}
	call->foreign = call->http != 200 || !grpc;
	if (end || call->foreign)
		call->have_status = client_status_read(&call->status, h, n, call->http);
	if (call->foreign && !call->have_status) {
		call->have_status = true;
		call->status.code = call->http == 200 ? GRPC_UNKNOWN : grpc_status_from_http(call->http);
		snprintf(call->status.message, sizeof call->status.message, "the peer answered HTTP %d without gRPC", call->http);
	}
}

static void on_data(void *user, int32_t stream, struct slice data)
{
	struct client *c = user;
	struct client_call *call = find(c, stream);
	size_t all = data.n;

	c->depth++;
	while (call && !call->over && !call->foreign) {
		struct slice message;
		enum grpc_read r = grpc_reader_next(&call->reader, &data, &message);

		if (r == GRPC_READ_MORE)
			break;
		if (r == GRPC_READ_MESSAGE)
			call->ev.on_message(call->user, call, message);
		else if (r == GRPC_READ_TOO_LARGE)
			fail(call, GRPC_RESOURCE_EXHAUSTED, "the broker's message is larger than this client takes");
		else
			fail(call, GRPC_INTERNAL, "the broker's message is not framed as gRPC says");
	}
	c->depth--;
	h2_consume(c->h2, stream, all);
}

static void on_trailers(void *user, int32_t stream, const struct h2_header *h, size_t n)
{
	struct client_call *call = find(user, stream);

	if (call && !call->foreign)
		call->have_status = client_status_read(&call->status, h, n, 0);
}

static void on_end(void *user, int32_t stream)
{
	struct client_call *call = find(user, stream);

	if (!call)
		return;
	if (!call->have_status) {
		fail(call, GRPC_INTERNAL, "the reply ended without a status");
		return;
	}
	if (!call->half_closed)
		h2_reset(call->c->h2, stream, H2_CANCEL);
	finish(call);
}

static const struct {
	uint32_t code;
	enum grpc_status status;
	const char *text;
} resets[] = {
	{8, GRPC_CANCELLED, "the broker cancelled the call"},
	{7, GRPC_UNAVAILABLE, "the broker refused the call"},
	{11, GRPC_RESOURCE_EXHAUSTED, "the broker asks to slow down"},
	{12, GRPC_PERMISSION_DENIED, "the broker refused the call (inadequate security)"},
};

static void on_closed(void *user, int32_t stream, uint32_t code, bool refused)
{
	struct client_call *call = find(user, stream);

	if (!call)
		return;
	if (!call->have_status) {
		call->status.code = refused ? GRPC_UNAVAILABLE : GRPC_INTERNAL;
		call->status.local = true;
		call->status.refused = refused;
		snprintf(call->status.message, sizeof call->status.message, "the broker reset the call (HTTP/2 code %u)", code);
		for (size_t i = 0; i < sizeof resets / sizeof resets[0]; i++)
			if (resets[i].code == code) {
				call->status.code = resets[i].status;
				snprintf(call->status.message, sizeof call->status.message, "%s", resets[i].text);
			}
	}
	finish(call);
}

static void on_writable(void *user, int32_t stream)
{
	struct client_call *call = find(user, stream);

	if (call && call->ev.on_writable)
		call->ev.on_writable(call->user, call);
}

static void on_goaway(void *user, int32_t last, uint32_t code, struct slice debug)
{
	struct client *c = user;
	char text[128];

	c->goaway = true;
	if (!utf8_is_text(debug) || !slice_copy_str(debug, text, sizeof text))
		text[0] = '\0';
	client_error_set(&c->why, CLIENT_FAULT_UNREACHABLE, "the broker at %s is closing the connection (%s)", c->addr,
			 text[0] ? text : code ? "error" : "going away");
}

const struct h2_events client_call_h2_events = {
	.on_headers = on_headers,
	.on_data = on_data,
	.on_trailers = on_trailers,
	.on_end = on_end,
	.on_writable = on_writable,
	.on_closed = on_closed,
	.on_goaway = on_goaway,
};

static size_t put(struct h2_header *h, size_t n, const char *name, const char *value)
{
	h[n] = (struct h2_header){slice_str(name), slice_str(value)};
	return n + 1;
}

struct client_call *client_call_start(struct client *c, const struct client_call_spec *spec)
{
	struct client_call *call = NULL;
	struct h2_header h[10];
	char timeout[16], *auth = NULL;
	size_t n = 0;

	if (c->state == CLIENT_CLOSED || c->goaway || c->n_calls >= CALLS_MAX)
		return NULL;
	if (spec->token && *spec->token && asprintf(&auth, "Bearer %s", spec->token) < 0)
		return NULL;
	call = calloc(1, sizeof *call);
	if (!call)
		goto out;
	n = put(h, n, ":method", "POST");
	n = put(h, n, ":scheme", "https");
	n = put(h, n, ":path", spec->path);
	n = put(h, n, ":authority", c->local ? c->host : c->addr);
	n = put(h, n, "te", "trailers");
	n = put(h, n, "content-type", "application/grpc+proto");
	n = put(h, n, "user-agent", "baton/" PACKAGE_VERSION);
	if (spec->timeout_ms > 0) {
		grpc_timeout_format(spec->timeout_ms, timeout);
		n = put(h, n, "grpc-timeout", timeout);
	}
	if (auth)
		n = put(h, n, "authorization", auth);
	call->c = c;
	call->ev = *spec->events;
	call->user = spec->user;
	client_status_init(&call->status);
	grpc_reader_init(&call->reader, spec->max_message ? spec->max_message : MESSAGE_MAX_DEFAULT);
	call->stream = h2_request(c->h2, h, n, false);
	if (call->stream < 0) {
		grpc_reader_clear(&call->reader);
		free(call);
		call = NULL;
		goto out;
	}
	call->next = *bucket(c, call->stream);
	*bucket(c, call->stream) = call;
	c->n_calls++;
out:
	if (auth) {
		secret_wipe(auth, strlen(auth));
		free(auth);
	}
	return call;
}

bool client_call_send(struct client_call *call, struct slice message)
{
	uint8_t head[GRPC_HEAD_BYTES];

	if (call->over || call->half_closed)
		return false;
	grpc_head(head, message.n);
	return h2_send(call->c->h2, call->stream, slice_of(head, sizeof head), message) == H2_SENT;
}

void client_call_half_close(struct client_call *call)
{
	if (call->over || call->half_closed)
		return;
	call->half_closed = true;
	h2_finish(call->c->h2, call->stream, NULL, 0);
}

void client_call_drop(struct client_call *call)
{
	if (call->over)
		return;
	if (call->c->state != CLIENT_CLOSED)
		h2_reset(call->c->h2, call->stream, H2_CANCEL);
	unlink_call(call);
	client_calls_reap(call->c);
}

size_t client_calls(const struct client *c)
{
	return c->n_calls;
}
