/* What do we say to the peer? Requests, responses, data and trailers, each stream with a queue of its own. A queue is
 * copied once, straight into the buffer that goes to the socket; it is freed when it runs dry, so that a silent
 * stream costs only its struct. Streams take turns, TURN bytes each, so that a long one holds back no short one. */
#include "wire/h2_priv.h"

#include <stdlib.h>
#include <string.h>

#define SEND_HEADERS_MAX 64       /* headers or trailers in one block that we send */
#define SEND_HEADERS_BYTES 65536  /* their names and values; nghttp2 sends no more */
#define TURN (64 * 1024)
#define OVER_CAP 3                /* times send_high that may be added to a queue that is full */
#define QUEUE_FIRST 512           /* bytes */

/* One allocation: the nvs, then the bytes they point into. */
struct h2_trailers {
	size_t n;
	nghttp2_nv nv[];
};

/* ---- streams ---- */

void h2_stream_free(struct h2_stream *s)
{
	free(s->queue);
	free(s->trailers);
	free(s);
}

static size_t h2_stream_queued(const struct h2_stream *s)
{
	return s->q_end - s->q_start;
}

static void h2_unlist(struct h2 *h, struct h2_stream *s)
{
	struct h2_stream **p = &h->writable;

	for (; *p && *p != s; p = &(*p)->next_writable)
		;
	if (*p)
		*p = s->next_writable;
	for (p = &h->yielded; *p && *p != s; p = &(*p)->next_yielded)
		;
	if (*p)
		*p = s->next_yielded;
}

void h2_stream_closed(struct h2 *h, struct h2_stream *s, uint32_t code)
{
	/* A client's request that never left was surely not processed; nor one that the peer says so of. */
	bool refused = !h->server && (!s->flying || (code == NGHTTP2_REFUSED_STREAM && !s->reset));
	bool shown = s->shown;
	int32_t id = s->id;

	if (s->untaken)
		(void)nghttp2_session_consume_connection(h->ng, s->untaken);
	h2_table_remove(&h->streams, s);
	if (s->listed || s->waits)
		h2_unlist(h, s);
	h->queued -= h2_stream_queued(s);
	h2_stream_free(s);
	if (shown && h->ev->on_closed)
		h->ev->on_closed(h->user, id, code, refused);
}

/* ---- the queue of a stream ---- */

size_t h2_queued(const struct h2 *h, int32_t stream)
{
	const struct h2_stream *s = h2_table_find(&h->streams, stream);

	return s ? h2_stream_queued(s) : 0;
}

/* Room for n more bytes. What was sent is closed up when it is at least half, so that each byte moves once on
 * average. */
static bool h2_queue_room(struct h2_stream *s, size_t n)
{
	size_t queued = h2_stream_queued(s), size = s->q_size ? s->q_size : QUEUE_FIRST;

	if (s->q_size - s->q_end >= n)
		return true;
	if (s->q_start >= queued && s->q_size - queued >= n) {
		memmove(s->queue, s->queue + s->q_start, queued);
	} else {
		while (size - queued < n)
			size *= 2;
		uint8_t *p = malloc(size);
		if (!p)
			return false;
		if (queued)
			memcpy(p, s->queue + s->q_start, queued);
		free(s->queue);
		s->queue = p;
		s->q_size = size;
	}
	s->q_start = 0;
	s->q_end = queued;
	return true;
}

static void h2_queue_put(struct h2 *h, struct h2_stream *s, struct slice b)
{
	if (b.n)
		memcpy(s->queue + s->q_end, b.p, b.n);
	s->q_end += b.n;
	h->queued += b.n;
}

static void h2_queue_take(struct h2 *h, struct h2_stream *s, size_t n)
{
	s->q_start += n;
	s->turn += n;
	h->queued -= n;
	if (s->q_start == s->q_end) {
		free(s->queue);
		s->queue = NULL;
		s->q_start = s->q_end = s->q_size = 0;
	}
	if (s->above && !s->listed && h2_stream_queued(s) <= h->limits.send_low) {
		s->listed = true;
		s->next_writable = h->writable;
		h->writable = s;
	}
}

/* Something to send, or the end. */
static void h2_wake(struct h2 *h, struct h2_stream *s)
{
	if (!s->idle || s->waits)
		return;
	s->idle = false;
	(void)nghttp2_session_resume_data(h->ng, s->id);
}

bool h2_has_room(const struct h2 *h, size_t n)
{
	return n <= h->limits.connection_queue && h->queued <= h->limits.connection_queue - n;
}

/* What counts is what was added to a full queue: one large message may fill it many times over, and small ones that cannot wait must
 * still have room behind it. */
static bool h2_may_queue(const struct h2 *h, struct h2_stream *s, size_t n)
{
	if (!h2_has_room(h, n))
		return false;
	if (h2_stream_queued(s) < h->limits.send_high) {
		s->over = 0;
		return true;
	}
	if (s->over >= (size_t)h->limits.send_high * OVER_CAP)
		return false;
	s->over += n;
	return true;
}

enum h2_send_result h2_send(struct h2 *h, int32_t stream, struct slice head, struct slice body)
{
	struct h2_stream *s = h2_find(h, stream);
	size_t n = head.n + body.n;

	if (!s || s->reset || s->finished || (h->server && !s->answered))
		return H2_GONE;
	if (!h2_may_queue(h, s, n) || !h2_queue_room(s, n)) {
		(void)h2_reset(h, stream, NGHTTP2_INTERNAL_ERROR);
		return H2_GONE;
	}
	h2_queue_put(h, s, head);
	h2_queue_put(h, s, body);
	if (h2_stream_queued(s) > h->limits.send_low)
		s->above = true;
	if (n)
		h2_wake(h, s);
	return h2_stream_queued(s) > h->limits.send_high ? H2_FULL : H2_SENT;
}

/* ---- what nghttp2 asks for ---- */

static ssize_t h2_yield(struct h2 *h, struct h2_stream *s, bool turn_over)
{
	s->idle = true;
	s->turn = 0;
	if (turn_over) {
		s->waits = true;
		s->next_yielded = h->yielded;
		h->yielded = s;
	}
	return NGHTTP2_ERR_DEFERRED;
}

/* How many bytes can the stream send? They are copied by on_send_data. */
static ssize_t on_read(nghttp2_session *ng, int32_t stream, uint8_t *buf, size_t max, uint32_t *flags,
		       nghttp2_data_source *src, void *arg)
{
	struct h2 *h = arg;
	struct h2_stream *s = src->ptr;
	size_t queued = h2_stream_queued(s), n = queued < max ? queued : max;

	if (n == 0 && !s->finished)
		return h2_yield(h, s, false);
	if (n && s->turn >= TURN)
		return h2_yield(h, s, true);
	*flags |= NGHTTP2_DATA_FLAG_NO_COPY;
	if (n < queued || !s->finished)
		return (ssize_t)n;
	*flags |= NGHTTP2_DATA_FLAG_EOF;
	if (s->trailers) {
		*flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
		if (nghttp2_submit_trailer(ng, stream, s->trailers->nv, s->trailers->n) != 0)
			return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
		free(s->trailers);
		s->trailers = NULL;
	}
	return (ssize_t)n;
}

static int on_send_data(nghttp2_session *ng, nghttp2_frame *f, const uint8_t *head, size_t n, nghttp2_data_source *src,
			void *arg)
{
	struct h2 *h = arg;
	struct h2_stream *s = src->ptr;
	size_t need = H2_FRAME_HEAD + n, room = h->out->cap > h->out->n ? h->out->cap - h->out->n : 0;
	uint8_t *p = need <= room ? buf_reserve(h->out, need) : NULL;

	if (!p)
		return NGHTTP2_ERR_WOULDBLOCK; /* asked again at the next pull */
	memcpy(p, head, H2_FRAME_HEAD);
	if (n)
		memcpy(p + H2_FRAME_HEAD, s->queue + s->q_start, n);
	h->out->n += need;
	h2_queue_take(h, s, n);
	return h->out->n >= h->out_end ? NGHTTP2_ERR_PAUSE : 0;
}

bool h2_send_round(struct h2 *h)
{
	bool any = h->yielded || h->writable;
	struct h2_stream *s;

	if (h->no_memory)
		return false;
	while ((s = h->yielded)) {
		h->yielded = s->next_yielded;
		s->waits = false;
		h2_wake(h, s);
	}
	while ((s = h->writable)) {
		h->writable = s->next_writable;
		s->listed = s->above = false;
		if (h2_stream_queued(s) > h->limits.send_low)
			s->above = true; /* somebody sent again meanwhile */
		else if (!s->reset && !s->finished && h->ev->on_writable)
			h->ev->on_writable(h->user, s->id);
	}
	return any;
}

static bool h2_ends(const nghttp2_frame *f)
{
	return (f->hd.type == NGHTTP2_HEADERS || f->hd.type == NGHTTP2_DATA) && (f->hd.flags & NGHTTP2_FLAG_END_STREAM);
}

static int on_frame_sent(nghttp2_session *ng, const nghttp2_frame *f, void *arg)
{
	struct h2 *h = arg;
	struct h2_stream *s;

	switch (f->hd.type) {
	case NGHTTP2_HEADERS:
		h2_budget_sent(h, false);
		s = h->server ? NULL : h2_table_find(&h->streams, f->hd.stream_id);
		if (s)
			s->flying = true;
		break;
	case NGHTTP2_DATA:
		h2_budget_sent(h, true);
		break;
	case NGHTTP2_RST_STREAM:
		s = h2_table_find(&h->streams, f->hd.stream_id);
		if ((!s || !s->reset) && f->rst_stream.error_code != NGHTTP2_NO_ERROR)
			(void)h2_budget_provoked(h);
		break;
	case NGHTTP2_GOAWAY:
		h->goaway_sent = f->goaway.error_code;
		break;
	default:
		break;
	}
	/* All is said: the peer need not go on (RFC 9113 §8.1). */
	if (h->server && h2_ends(f) && nghttp2_session_get_stream_remote_close(ng, f->hd.stream_id) == 0)
		(void)nghttp2_submit_rst_stream(ng, NGHTTP2_FLAG_NONE, f->hd.stream_id, NGHTTP2_NO_ERROR);
	return 0;
}

/* Headers that cannot be sent (too large, out of memory) must not leave a stream behind that never ends. */
static int on_frame_not_sent(nghttp2_session *ng, const nghttp2_frame *f, int why, void *arg)
{
	struct h2 *h = arg;

	if (f->hd.type == NGHTTP2_HEADERS && h->server && h2_table_find(&h->streams, f->hd.stream_id))
		(void)nghttp2_submit_rst_stream(ng, NGHTTP2_FLAG_NONE, f->hd.stream_id, NGHTTP2_INTERNAL_ERROR);
	return 0;
}

void h2_send_callbacks(nghttp2_session_callbacks *cbs)
{
	nghttp2_session_callbacks_set_send_data_callback(cbs, on_send_data);
	nghttp2_session_callbacks_set_on_frame_send_callback(cbs, on_frame_sent);
	nghttp2_session_callbacks_set_on_frame_not_send_callback(cbs, on_frame_not_sent);
}

/* ---- what the user says ---- */

static bool h2_headers_fit(const struct h2_header *h, size_t n)
{
	size_t bytes = 0;

	for (size_t i = 0; i < n; i++)
		bytes += h[i].name.n + h[i].value.n;
	return n <= SEND_HEADERS_MAX && bytes <= SEND_HEADERS_BYTES;
}

static nghttp2_nv h2_nv(struct slice name, struct slice value)
{
	return (nghttp2_nv){
		.name = (uint8_t *)(uintptr_t)name.p, .namelen = name.n,
		.value = (uint8_t *)(uintptr_t)value.p, .valuelen = value.n,
	};
}

static void h2_nvs(nghttp2_nv *out, const struct h2_header *h, size_t n)
{
	for (size_t i = 0; i < n; i++)
		out[i] = h2_nv(h[i].name, h[i].value);
}

static bool h2_may_request(const struct h2 *h)
{
	uint32_t max = nghttp2_session_get_remote_settings(h->ng, NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS);

	return !h->server && !h->over && !h->goaway_seen && h->streams.n < max;
}

int32_t h2_request(struct h2 *h, const struct h2_header *headers, size_t n, bool end)
{
	nghttp2_nv nv[SEND_HEADERS_MAX];
	int32_t id = (int32_t)nghttp2_session_get_next_stream_id(h->ng), got;
	struct h2_stream *s;

	if (!h2_may_request(h) || !h2_headers_fit(headers, n))
		return -1;
	s = h2_table_add(&h->streams, id);
	if (!s)
		return -1;
	h2_nvs(nv, headers, n);
	nghttp2_data_provider body = {.source.ptr = s, .read_callback = on_read};
	got = nghttp2_submit_request(h->ng, NULL, nv, n, end ? NULL : &body, NULL);
	if (got != id) {
		h2_table_remove(&h->streams, s);
		h2_stream_free(s);
		return -1;
	}
	s->shown = true;
	s->finished = end;
	return id;
}

/* The answer, or its end, cannot be sent: whoever waits for it must hear that. */
static int h2_mute(struct h2 *h, int32_t stream)
{
	(void)h2_reset(h, stream, NGHTTP2_INTERNAL_ERROR);
	return -1;
}

int h2_respond(struct h2 *h, int32_t stream, const struct h2_header *headers, size_t n, bool end)
{
	nghttp2_nv nv[SEND_HEADERS_MAX];
	struct h2_stream *s = h2_find(h, stream);

	if (!s || !h->server || s->reset || s->answered)
		return -1;
	if (!h2_headers_fit(headers, n))
		return h2_mute(h, stream);
	h2_nvs(nv, headers, n);
	nghttp2_data_provider body = {.source.ptr = s, .read_callback = on_read};
	if (nghttp2_submit_response(h->ng, stream, nv, n, end ? NULL : &body) != 0)
		return h2_mute(h, stream);
	s->answered = true;
	s->finished = end;
	return 0;
}

static struct h2_trailers *h2_trailers_copy(const struct h2_header *h, size_t n)
{
	size_t bytes = 0;
	struct h2_trailers *t;

	for (size_t i = 0; i < n; i++)
		bytes += h[i].name.n + h[i].value.n;
	t = malloc(sizeof *t + n * sizeof t->nv[0] + bytes);
	if (!t)
		return NULL;
	uint8_t *p = (uint8_t *)&t->nv[n];
	t->n = n;
	for (size_t i = 0; i < n; i++) {
		t->nv[i] = h2_nv(slice_of(p, h[i].name.n), slice_of(p + h[i].name.n, h[i].value.n));
		memcpy(p, h[i].name.p, h[i].name.n);
		if (h[i].value.n)
			memcpy(p + h[i].name.n, h[i].value.p, h[i].value.n);
		p += h[i].name.n + h[i].value.n;
	}
	return t;
}

int h2_finish(struct h2 *h, int32_t stream, const struct h2_header *trailers, size_t n)
{
	struct h2_stream *s = h2_find(h, stream);

	if (!s || s->reset || s->finished || (h->server && !s->answered))
		return -1;
	if (n) {
		s->trailers = h2_headers_fit(trailers, n) ? h2_trailers_copy(trailers, n) : NULL;
		if (!s->trailers)
			return h2_mute(h, stream);
	}
	s->finished = true;
	h2_wake(h, s);
	return 0;
}

int h2_reset(struct h2 *h, int32_t stream, uint32_t code)
{
	struct h2_stream *s = h2_find(h, stream);

	if (!s || s->reset)
		return -1;
	s->reset = true;
	return nghttp2_submit_rst_stream(h->ng, NGHTTP2_FLAG_NONE, stream, code) == 0 ? 0 : -1;
}
