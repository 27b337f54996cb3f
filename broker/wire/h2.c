/* How does an HTTP/2 session begin, take bytes, give bytes and end? One nghttp2 session that reads and writes memory
 * only, so that whoever owns the socket decides when. What arrives is turned into events by h2_recv.c, what leaves is
 * queued by h2_send.c. */
#include "wire/h2_priv.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define CONTINUATIONS_MAX 8
#define SETTINGS_ENTRIES_MAX 32
#define UNSENT_FRAMES_MAX 4096 /* of a server: what a peer that reads nothing can make us keep */

const struct h2_limits h2_limits_default = H2_LIMITS_DEFAULT;

/* ---- beginning and end ---- */

static nghttp2_option *h2_options(const struct h2_limits *l)
{
	nghttp2_option *o = NULL;

	if (nghttp2_option_new(&o) != 0)
		return NULL;
	nghttp2_option_set_no_auto_window_update(o, 1);
	nghttp2_option_set_no_closed_streams(o, 1);
	nghttp2_option_set_max_settings(o, SETTINGS_ENTRIES_MAX);
	nghttp2_option_set_max_continuations(o, CONTINUATIONS_MAX);
	/* h2_budget.c is first by a frame; nghttp2's own limit stands behind it. */
	nghttp2_option_set_stream_reset_rate_limit(o, l->reset_burst, l->reset_rate);
	return o;
}

/* Our SETTINGS and the connection's window. Priorities are off: no tree for the peer to grow (RFC 9218 §2.1). */
static int h2_greet(struct h2 *h)
{
	const struct h2_limits *l = &h->limits;
	nghttp2_settings_entry iv[] = {
		{NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, l->stream_window},
		{NGHTTP2_SETTINGS_MAX_FRAME_SIZE, l->max_frame},
		{NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, l->header_bytes},
		{NGHTTP2_SETTINGS_NO_RFC7540_PRIORITIES, 1},
		{NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, l->max_streams},
	};
	size_t n = sizeof iv / sizeof iv[0];

	if (!h->server) /* a client is sent nothing it did not ask for */
		iv[n - 1] = (nghttp2_settings_entry){NGHTTP2_SETTINGS_ENABLE_PUSH, 0};
	if (nghttp2_submit_settings(h->ng, NGHTTP2_FLAG_NONE, iv, n) != 0)
		return -1;
	return nghttp2_session_set_local_window_size(h->ng, NGHTTP2_FLAG_NONE, 0, (int32_t)l->connection_window);
}

static int h2_open_session(struct h2 *h)
{
	nghttp2_session_callbacks *cbs = NULL;
	nghttp2_option *o = h2_options(&h->limits);
	nghttp2_mem mem = h2_memory(h);
	int rc = -1;

	if (!o || nghttp2_session_callbacks_new(&cbs) != 0)
		goto out;
	h2_recv_callbacks(cbs);
	h2_send_callbacks(cbs);
	if (h->server)
		rc = nghttp2_session_server_new3(&h->ng, cbs, h, o, &mem);
	else
		rc = nghttp2_session_client_new3(&h->ng, cbs, h, o, &mem);
out:
	nghttp2_session_callbacks_del(cbs);
	nghttp2_option_del(o);
	return rc == 0 ? 0 : -1;
}

static struct h2 *h2_new(const struct h2_limits *limits, const struct h2_events *ev, void *user, bool server)
{
	struct h2 *h = calloc(1, sizeof *h);

	if (!h)
		return NULL;
	h2_table_init(&h->streams);
	h->limits = limits ? *limits : h2_limits_default;
	h->ev = ev;
	h->user = user;
	h->server = server;
	h->error = "";
	h2_budget_init(h);
	if (h2_open_session(h) == 0 && h2_greet(h) == 0)
		return h;
	h2_free(h);
	return NULL;
}

struct h2 *h2_new_server(const struct h2_limits *limits, const struct h2_events *ev, void *user)
{
	return h2_new(limits, ev, user, true);
}

struct h2 *h2_new_client(const struct h2_limits *limits, const struct h2_events *ev, void *user)
{
	return h2_new(limits, ev, user, false);
}

void h2_free(struct h2 *h)
{
	if (!h)
		return;
	assert(!h->busy);
	h2_block_free(h->block);
	if (h->no_memory)
		h2_memory_free(h);
	else
		nghttp2_session_del(h->ng); /* calls nothing back */
	h2_table_clear(&h->streams, h2_stream_free);
	free(h);
}

int h2_fail(struct h2 *h, uint32_t code, const char *why)
{
	if (h->over)
		return -1;
	h->over = true;
	h->error = why;
	(void)nghttp2_submit_goaway(h->ng, NGHTTP2_FLAG_NONE, nghttp2_session_get_last_proc_stream_id(h->ng), code,
				    (const uint8_t *)why, strlen(why));
	return -1;
}

struct h2_stream *h2_find(const struct h2 *h, int32_t stream)
{
	return h->no_memory ? NULL : h2_table_find(&h->streams, stream);
}

/* ---- bytes ---- */

int h2_feed(struct h2 *h, struct slice bytes)
{
	ssize_t n;

	if (h->over)
		return -1;
	assert(!h->busy);
	h->busy = true;
	n = nghttp2_session_mem_recv(h->ng, bytes.p, bytes.n);
	h->busy = false;
	if (n == NGHTTP2_ERR_BAD_CLIENT_MAGIC)
		return h2_fail(h, NGHTTP2_PROTOCOL_ERROR, "bad_preface");
	if (n < 0)
		return h2_fail(h, NGHTTP2_INTERNAL_ERROR, nghttp2_strerror((int)n));
	if (h->server && nghttp2_session_get_outbound_queue_size(h->ng) > UNSENT_FRAMES_MAX)
		return h2_fail(h, NGHTTP2_ENHANCE_YOUR_CALM, "too_many_unsent_frames");
	return h->over ? -1 : 0;
}

/* What nghttp2 gave goes out whole or stays `left`: it cannot be asked for twice. */
static bool h2_put(struct h2 *h)
{
	size_t room = h->out->cap > h->out->n ? h->out->cap - h->out->n : 0;
	size_t n = h->left_n < room ? h->left_n : room;

	if (!buf_put(h->out, h->left, n))
		return false;
	h->left += n;
	h->left_n -= n;
	return h->left_n == 0;
}

static int h2_pull_more(struct h2 *h)
{
	ssize_t n;

	while (h->out->n < h->out_end) {
		if (h->left_n && !h2_put(h))
			return 0;
		n = nghttp2_session_mem_send(h->ng, &h->left);
		if (n < 0)
			return h2_fail(h, NGHTTP2_INTERNAL_ERROR, nghttp2_strerror((int)n));
		h->left_n = (size_t)n;
		if (n == 0 && (h->out->n >= h->out_end || h->out->failed || !h2_send_round(h)))
			return 0;
	}
	return 0;
}

int h2_pull(struct h2 *h, struct buf *out, size_t max)
{
	assert(!h->busy);
	if (h->no_memory)
		return -1;
	h->busy = true;
	h->out = out;
	h->out_end = max > SIZE_MAX - out->n ? SIZE_MAX : out->n + max;
	(void)h2_pull_more(h);
	(void)h2_send_round(h);
	h->out = NULL;
	h->busy = false;
	/* nghttp2 found a fault and said so to the peer: it reads no more. */
	if (!h->over && h->goaway_sent != NGHTTP2_NO_ERROR && !nghttp2_session_want_read(h->ng)) {
		h->over = true;
		h->error = nghttp2_http2_strerror(h->goaway_sent);
	}
	return h->over ? -1 : 0;
}

bool h2_wants_write(const struct h2 *h)
{
	return !h->no_memory && (h->left_n || nghttp2_session_want_write(h->ng));
}

bool h2_done(const struct h2 *h)
{
	return h->no_memory || (!h->left_n && !nghttp2_session_want_read(h->ng) && !nghttp2_session_want_write(h->ng));
}

const char *h2_error(const struct h2 *h)
{
	return h->error;
}

/* ---- the connection as a whole ---- */

size_t h2_streams(const struct h2 *h)
{
	return h->streams.n;
}

int h2_goaway(struct h2 *h, bool final, uint32_t code, const char *debug)
{
	struct slice text = slice_str(debug);

	if (h->over)
		return -1;
	if (!final && h->server)
		return nghttp2_submit_shutdown_notice(h->ng) == 0 ? 0 : -1;
	if (nghttp2_submit_goaway(h->ng, NGHTTP2_FLAG_NONE, nghttp2_session_get_last_proc_stream_id(h->ng), code,
				  text.p, text.n) != 0)
		return -1;
	return 0;
}

int h2_ping(struct h2 *h)
{
	if (h->over || nghttp2_submit_ping(h->ng, NGHTTP2_FLAG_NONE, NULL) != 0)
		return -1;
	h->pings_out++;
	return 0;
}

int64_t h2_pings_unanswered(const struct h2 *h)
{
	return h->pings_out;
}
