/* How much nuisance may a peer make? HTTP/2 has frames that cost their sender nothing and their receiver work (RFC
 * 9113 §10.5): each kind draws on a token bucket here, and who empties one gets GOAWAY ENHANCE_YOUR_CALM. Decoded
 * header bytes are capped in h2_recv.c, queued bytes in h2_send.c, CONTINUATION and SETTINGS entries by nghttp2's own
 * options. */
#include "wire/h2_priv.h"

#include "base/clock.h"

#define WINDOW_CREDIT_PER_DATA 4 /* one for the stream, one for the connection, and some that come in halves */
#define WINDOW_CREDIT_MAX 65536
#define PING_CREDIT 2 /* gRPC clients measure the bandwidth by a PING for what comes, one at a time */

enum h2_kind { KIND_FREE, KIND_CONTROL, KIND_PING, KIND_RESET, KIND_WINDOW };

static const uint8_t h2_kinds[] = {
	[NGHTTP2_DATA] = KIND_FREE,         [NGHTTP2_HEADERS] = KIND_FREE,
	[NGHTTP2_PRIORITY] = KIND_CONTROL,  [NGHTTP2_RST_STREAM] = KIND_RESET,
	[NGHTTP2_SETTINGS] = KIND_CONTROL,  [NGHTTP2_PUSH_PROMISE] = KIND_CONTROL,
	[NGHTTP2_PING] = KIND_PING,         [NGHTTP2_GOAWAY] = KIND_CONTROL,
	[NGHTTP2_WINDOW_UPDATE] = KIND_WINDOW, [NGHTTP2_CONTINUATION] = KIND_CONTROL,
};

void h2_budget_init(struct h2 *h)
{
	int64_t now = clock_mono_ms();

	bucket_fill(&h->resets, h->limits.reset_burst, now);
	bucket_fill(&h->control, h->limits.control_burst, now);
	bucket_fill(&h->pings, h->limits.ping_burst, now);
}

static int h2_budget_control(struct h2 *h)
{
	if (bucket_take(&h->control, h->limits.control_burst, h->limits.control_rate, clock_mono_ms()))
		return 0;
	return h2_fail(h, NGHTTP2_ENHANCE_YOUR_CALM, "too_many_control_frames");
}

/* A server alone can be hurt by resets: a client asked for each stream itself. */
static int h2_budget_reset(struct h2 *h)
{
	if (!h->server || bucket_take(&h->resets, h->limits.reset_burst, h->limits.reset_rate, clock_mono_ms()))
		return 0;
	return h2_fail(h, NGHTTP2_ENHANCE_YOUR_CALM, "too_many_resets");
}

static int h2_budget_ping(struct h2 *h)
{
	if (h->ping_credit) {
		h->ping_credit--;
		return 0;
	}
	if (bucket_take(&h->pings, h->limits.ping_burst, h->limits.ping_rate, clock_mono_ms()))
		return h2_budget_control(h);
	return h2_fail(h, NGHTTP2_ENHANCE_YOUR_CALM, "too_many_pings");
}

/* A WINDOW_UPDATE that answers DATA of ours is free, any other is nuisance. */
static int h2_budget_window(struct h2 *h)
{
	if (h->window_credit == 0)
		return h2_budget_control(h);
	h->window_credit--;
	return 0;
}

int h2_budget_frame(struct h2 *h, const nghttp2_frame_hd *hd)
{
	/* Of types that nobody knows nghttp2 tells nothing: it skips them by their length. */
	uint8_t kind = hd->type < sizeof h2_kinds ? h2_kinds[hd->type] : (uint8_t)KIND_CONTROL;
	bool ack = (hd->type == NGHTTP2_PING || hd->type == NGHTTP2_SETTINGS) && (hd->flags & NGHTTP2_FLAG_ACK);

	if (ack)
		return 0; /* a PING's is judged by h2_budget_ping_ack(), a SETTINGS' by nghttp2 */
	switch (kind) {
	case KIND_CONTROL:
		return h2_budget_control(h);
	case KIND_PING:
		return h2_budget_ping(h);
	case KIND_RESET:
		return h2_budget_reset(h);
	case KIND_WINDOW:
		return h2_budget_window(h);
	default:
		return 0;
	}
}

/* A client's server may end each of its streams with one; a server's client has no use for them. */
int h2_budget_empty_data(struct h2 *h)
{
	return h->server ? h2_budget_control(h) : 0;
}

int h2_budget_ping_ack(struct h2 *h)
{
	if (h->pings_out == 0)
		return h2_budget_control(h);
	h->pings_out--;
	return 0;
}

int h2_budget_provoked(struct h2 *h)
{
	return h2_budget_reset(h);
}

void h2_budget_sent(struct h2 *h, bool data)
{
	h->ping_credit = PING_CREDIT;
	if (data && h->window_credit < WINDOW_CREDIT_MAX)
		h->window_credit += WINDOW_CREDIT_PER_DATA;
}
