/* What does the peer say? nghttp2's callbacks for what was received, turned into struct h2_events. Header blocks are
 * gathered here under a cap before anybody sees them; nuisance is counted by h2_budget.c. */
#include "wire/h2_priv.h"

#include <stdlib.h>

#define HEADER_OVERHEAD 32 /* RFC 9113 §6.5.2 */
#define BLOCK_FIRST 16     /* headers before the block grows */

/* One block is under way at a time on a connection (RFC 9113 §4.3). The names and values are nghttp2's, counted
 * references. */
struct h2_block {
	int32_t stream;
	size_t n, room;
	size_t bytes;
	struct h2_header *headers;
	nghttp2_rcbuf **refs; /* two a header */
};

void h2_block_free(struct h2_block *b)
{
	if (!b)
		return;
	for (size_t i = 0; i < b->n * 2; i++)
		nghttp2_rcbuf_decref(b->refs[i]);
	free(b->headers);
	free(b->refs);
	free(b);
}

static void h2_block_drop(struct h2 *h)
{
	h2_block_free(h->block);
	h->block = NULL;
}

static bool h2_block_grow(struct h2_block *b)
{
	size_t room = b->room ? b->room * 2 : BLOCK_FIRST;
	struct h2_header *headers = realloc(b->headers, room * sizeof *headers);

	if (!headers)
		return false;
	b->headers = headers;
	nghttp2_rcbuf **refs = realloc(b->refs, room * 2 * sizeof *refs);
	if (!refs)
		return false;
	b->refs = refs;
	b->room = room;
	return true;
}

static struct slice h2_rcbuf_slice(nghttp2_rcbuf *r)
{
	nghttp2_vec v = nghttp2_rcbuf_get_buf(r);

	return slice_of(v.base, v.len);
}

/* False over a cap or out of memory. */
static bool h2_block_add(struct h2_block *b, const struct h2_limits *l, nghttp2_rcbuf *name, nghttp2_rcbuf *value)
{
	struct h2_header hd = {h2_rcbuf_slice(name), h2_rcbuf_slice(value)};

	b->bytes += hd.name.n + hd.value.n + HEADER_OVERHEAD;
	if (b->bytes > l->header_bytes || b->n >= l->header_count)
		return false;
	if (b->n == b->room && !h2_block_grow(b))
		return false;
	nghttp2_rcbuf_incref(name);
	nghttp2_rcbuf_incref(value);
	b->refs[b->n * 2] = name;
	b->refs[b->n * 2 + 1] = value;
	b->headers[b->n++] = hd;
	return true;
}

static struct slice h2_block_find(const struct h2_block *b, const char *name)
{
	for (size_t i = 0; i < b->n; i++) {
		if (slice_is(b->headers[i].name, name))
			return b->headers[i].value;
	}
	return slice_of(NULL, 0);
}

/* ---- header blocks ---- */

static int on_begin_headers(nghttp2_session *ng, const nghttp2_frame *f, void *arg)
{
	struct h2 *h = arg;
	bool request = f->hd.type == NGHTTP2_HEADERS && f->headers.cat == NGHTTP2_HCAT_REQUEST;

	h2_block_drop(h);
	h->block = calloc(1, sizeof *h->block);
	if (h->block)
		h->block->stream = f->hd.stream_id;
	if (h->block && (!request || h2_table_add(&h->streams, f->hd.stream_id)))
		return 0;
	/* Nothing of it was looked at: safe to try again (RFC 9113 §8.7). */
	(void)nghttp2_submit_rst_stream(ng, NGHTTP2_FLAG_NONE, f->hd.stream_id, NGHTTP2_REFUSED_STREAM);
	return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
}

static int on_header(nghttp2_session *ng, const nghttp2_frame *f, nghttp2_rcbuf *name, nghttp2_rcbuf *value,
		     uint8_t flags, void *arg)
{
	struct h2 *h = arg;

	if (h->block && h2_block_add(h->block, &h->limits, name, value))
		return 0;
	/* nghttp2 decodes what is left of the block, to keep its table right, and shows none of it. */
	h2_block_drop(h);
	(void)nghttp2_submit_rst_stream(ng, NGHTTP2_FLAG_NONE, f->hd.stream_id, NGHTTP2_ENHANCE_YOUR_CALM);
	return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
}

static void h2_refuse(struct h2 *h, int32_t stream, uint32_t code)
{
	(void)nghttp2_submit_rst_stream(h->ng, NGHTTP2_FLAG_NONE, stream, code);
}

/* CONNECT has neither; nobody here tunnels. */
static bool h2_request_whole(const struct h2_block *b)
{
	return h2_block_find(b, ":path").n && h2_block_find(b, ":scheme").n;
}

static void h2_show_request(struct h2 *h, struct h2_stream *s, const struct h2_block *b, bool end)
{
	if (!h2_request_whole(b)) {
		h2_refuse(h, s->id, NGHTTP2_PROTOCOL_ERROR);
		return;
	}
	s->shown = true;
	h->ev->on_headers(h->user, s->id, b->headers, b->n, end);
}

static void h2_show_response(struct h2 *h, struct h2_stream *s, const struct h2_block *b, struct slice status, bool end)
{
	if (status.n == 3 && status.p[0] == '1')
		return; /* interim: the final one follows */
	s->answered = true;
	h->ev->on_headers(h->user, s->id, b->headers, b->n, end);
}

static void h2_show_trailers(struct h2 *h, struct h2_stream *s, const struct h2_block *b, bool end)
{
	if (h->ev->on_trailers)
		h->ev->on_trailers(h->user, s->id, b->headers, b->n);
	if (end && !s->reset && h->ev->on_end)
		h->ev->on_end(h->user, s->id);
}

/* The block is whole. It is taken out of the session first: a callback may do anything but feed. */
static void h2_show_block(struct h2 *h, const nghttp2_frame *f)
{
	struct h2_block *b = h->block;
	struct h2_stream *s = h2_table_find(&h->streams, f->hd.stream_id);
	bool end = f->hd.flags & NGHTTP2_FLAG_END_STREAM;

	h->block = NULL;
	if (!b || !s || s->reset || b->stream != f->hd.stream_id)
		goto out;
	struct slice status = h2_block_find(b, ":status");
	if (h->server && !s->shown)
		h2_show_request(h, s, b, end);
	else if (!h->server && status.n)
		h2_show_response(h, s, b, status, end);
	else
		h2_show_trailers(h, s, b, end);
out:
	h2_block_free(b);
}

/* ---- data ---- */

static int on_data_chunk(nghttp2_session *ng, uint8_t flags, int32_t stream, const uint8_t *p, size_t n, void *arg)
{
	struct h2 *h = arg;
	struct h2_stream *s = h2_table_find(&h->streams, stream);

	if (!s || !s->shown || s->reset) {
		(void)nghttp2_session_consume(ng, stream, n);
		return 0;
	}
	s->untaken += n;
	h->ev->on_data(h->user, stream, slice_of(p, n));
	return 0;
}

void h2_consume(struct h2 *h, int32_t stream, size_t n)
{
	struct h2_stream *s = h2_find(h, stream);

	if (!s)
		return;
	n = n < s->untaken ? n : s->untaken;
	s->untaken -= n;
	if (n)
		(void)nghttp2_session_consume(h->ng, stream, n);
}

static int h2_data_whole(struct h2 *h, const nghttp2_frame *f)
{
	struct h2_stream *s = h2_table_find(&h->streams, f->hd.stream_id);
	bool end = f->hd.flags & NGHTTP2_FLAG_END_STREAM;

	if (!end && f->hd.length == f->data.padlen && h2_budget_empty_data(h) != 0)
		return -1;
	if (end && s && s->shown && !s->reset && h->ev->on_end)
		h->ev->on_end(h->user, s->id);
	return 0;
}

/* ---- frames ---- */

static int on_begin_frame(nghttp2_session *ng, const nghttp2_frame_hd *hd, void *arg)
{
	return h2_budget_frame(arg, hd) == 0 ? 0 : NGHTTP2_ERR_CALLBACK_FAILURE;
}

static void h2_goaway_came(struct h2 *h, const nghttp2_goaway *g)
{
	struct slice debug = slice_of(g->opaque_data, g->opaque_data_len);

	h->goaway_seen = true;
	if (h->ev->on_goaway)
		h->ev->on_goaway(h->user, g->last_stream_id, g->error_code, debug);
}

static int on_frame(nghttp2_session *ng, const nghttp2_frame *f, void *arg)
{
	struct h2 *h = arg;
	int rc = 0;

	switch (f->hd.type) {
	case NGHTTP2_HEADERS:
		h2_show_block(h, f);
		break;
	case NGHTTP2_DATA:
		rc = h2_data_whole(h, f);
		break;
	case NGHTTP2_PING:
		if (f->hd.flags & NGHTTP2_FLAG_ACK)
			rc = h2_budget_ping_ack(h);
		break;
	case NGHTTP2_GOAWAY:
		h2_goaway_came(h, &f->goaway);
		break;
	default:
		break;
	}
	return rc == 0 && !h->over ? 0 : NGHTTP2_ERR_CALLBACK_FAILURE;
}

static int on_stream_close(nghttp2_session *ng, int32_t stream, uint32_t code, void *arg)
{
	struct h2 *h = arg;
	struct h2_stream *s = h2_find(h, stream);

	if (s)
		h2_stream_closed(h, s, code);
	return 0;
}

void h2_recv_callbacks(nghttp2_session_callbacks *cbs)
{
	nghttp2_session_callbacks_set_on_begin_frame_callback(cbs, on_begin_frame);
	nghttp2_session_callbacks_set_on_begin_headers_callback(cbs, on_begin_headers);
	nghttp2_session_callbacks_set_on_header_callback2(cbs, on_header);
	nghttp2_session_callbacks_set_on_data_chunk_recv_callback(cbs, on_data_chunk);
	nghttp2_session_callbacks_set_on_frame_recv_callback(cbs, on_frame);
	nghttp2_session_callbacks_set_on_stream_close_callback(cbs, on_stream_close);
}
