/* Can a foreign server hurt `baton`? The first byte picks the method that is called; the rest is what the server sends on the connection, once
 * its SETTINGS have come. Three calls are open, of which one takes little. Each ends once; each answer that can be read is shown as JSON that
 * parses, and as text that no terminal obeys. */
#include <jansson.h>
#include <string.h>

#include "base/encode.h"
#include "baton/v1/handoff.pb-c.h"
#include "cli/pbjson.h"
#include "cli/text.h"
#include "client/conn_priv.h"
#include "client/pb.h"
#include "fuzz.h"

#define CALLS 3
#define SMALL 64
#define PIECE 61

struct user {
	const ProtobufCMethodDescriptor *method;
	struct client_call *call; /* NULL once ended */
	size_t max;
};

static struct arena *arena;
unsigned fuzz_good;

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	arena = arena_new(16 << 20);
	NEED(arena);
	return 0;
}

static void show(const ProtobufCMessage *m)
{
	struct jsonw w;
	struct buf b;
	json_t *j;

	buf_init(&b, 16 << 20);
	jsonw_init(&w, &b);
	pbjson_object(&w, NULL, m);
	j = json_loadb((const char *)b.p, b.n, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, NULL);
	NEED(!b.failed && json_is_object(j));
	json_decref(j);
	buf_clear(&b);
	fuzz_good++;
}

static void on_message(void *user, struct client_call *call, struct slice message)
{
	const struct user *u = user;
	struct prescan_fault fault;
	ProtobufCMessage *m;
	char text[256];

	NEED(call == u->call && message.n <= u->max);
	arena_reset(arena);
	m = pb_unpack(u->method->output, message, arena, &fault);
	if (m)
		show(m);
	text_safe(message, text, sizeof text);
	NEED(utf8_is_text(slice_str(text)));
}

static void on_end(void *user, struct client_call *call, const struct client_status *s)
{
	struct user *u = user;

	NEED(call == u->call && s->code <= GRPC_UNAUTHENTICATED);
	NEED(utf8_is_text(slice_str(s->message)) && utf8_is_text(slice_str(s->trace_id)) && utf8_is_text(slice_str(s->handoff_id)) &&
	     utf8_is_text(slice_str(s->policy_version)));
	NEED(s->retry_after_ms >= -1 && s->server_time_ms >= 0);
	u->call = NULL;
}

static const struct client_call_events events = {on_message, on_end, NULL};

static bool turn(struct client *c, struct slice bytes)
{
	int rc;

	c->depth++;
	rc = h2_feed(c->h2, bytes);
	buf_reset(&c->out);
	if (h2_pull(c->h2, &c->out, 1 << 16) != 0)
		rc = -1;
	c->depth--;
	client_calls_reap(c);
	NEED(rc == 0 || h2_error(c->h2)[0]);
	return rc == 0;
}

static void begin(struct client *c, struct user *u, size_t max)
{
	struct client_call_spec spec = {.path = "/baton.v1.HandoffService/Any", .token = "t", .timeout_ms = 1000, .max_message = max,
					.events = &events, .user = u};

	u->max = max;
	u->call = client_call_start(c, &spec);
	NEED(u->call);
	client_call_send(u->call, SLICE_LIT("question"));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const ProtobufCServiceDescriptor *service = &baton__v1__handoff_service__descriptor;
	struct h2_limits limits = h2_limits_default;
	struct client *c = calloc(1, sizeof *c);
	struct user users[CALLS] = {{0}};
	bool good;

	NEED(c);
	if (!size)
		goto out;
	limits.header_bytes = 32 * 1024; /* as client/conn.c has it */
	limits.stream_window = 1024 * 1024;
	c->fd = -1;
	c->state = CLIENT_READY;
	snprintf(c->addr, sizeof c->addr, "broker.example:7443");
	buf_init(&c->out, 1 << 20);
	c->h2 = h2_new_client(&limits, &client_call_h2_events, c);
	NEED(c->h2);
	for (size_t i = 0; i < CALLS; i++) {
		users[i].method = &service->methods[data[0] % service->n_methods];
		begin(c, &users[i], i ? 1 << 20 : SMALL);
	}
	client_call_half_close(users[1].call);
	good = turn(c, SLICE_LIT("\0\0\0\4\0\0\0\0\0"));
	for (size_t at = 1; good && at < size; at += PIECE)
		good = turn(c, slice_of(data + at, size - at < PIECE ? size - at : PIECE));
	NEED(utf8_is_text(slice_str(c->why.what)));
	client_calls_fail(c);
	for (size_t i = 0; i < CALLS; i++)
		NEED(!users[i].call);
out:
	client_free(c);
	return 0;
}
