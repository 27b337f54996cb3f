/* What is said on the pipe between the broker and its keeper? See pipe.h. A packet that has a byte too many or too few, a number out of its range or
 * a name that is too long is none. */
#include "keeper/pipe.h"

#include <stddef.h>
#include <string.h>

#include "identity/spiffe.h"

#define VERSION 1
#define WHY_MAX 512

/* An assertion's texts, in the order of the packet. */
#define TEXT(field) offsetof(struct assertion, field)
static const size_t texts[] = {
	TEXT(audience), TEXT(receiver_x5t), TEXT(tenant), TEXT(route), TEXT(tool), TEXT(destination), TEXT(side_effect), TEXT(handoff_id),
	TEXT(subject), TEXT(subject_issuer), TEXT(sender_spiffe_id), TEXT(scope), TEXT(trace_id), TEXT(jti),
};
#define N_TEXTS (sizeof texts / sizeof texts[0])

/* ---- writing ---- */

static void put_u64(struct buf *b, uint64_t v)
{
	for (int shift = 56; shift >= 0; shift -= 8)
		buf_put_u8(b, (uint8_t)(v >> shift));
}

static bool put_slice(struct buf *b, struct slice s, size_t max)
{
	if (s.n > max)
		return false;
	buf_put_u8(b, (uint8_t)(s.n >> 8));
	buf_put_u8(b, (uint8_t)s.n);
	buf_put_slice(b, s);
	return true;
}

static bool put_issue(struct buf *b, const struct keeper_ask *a)
{
	put_u64(b, (uint64_t)a->ttl_ms);
	put_u64(b, (uint64_t)a->not_before_ms);
	return put_slice(b, a->spiffe_id, SPIFFE_ID_MAX) && put_slice(b, a->public_key, KEEPER_KEY_MAX);
}

static bool put_nothing(struct buf *b, const struct keeper_ask *a)
{
	(void)b, (void)a;
	return true;
}

/* With the 0 that ends it. */
static bool put_text(struct buf *b, const char *text)
{
	return put_slice(b, slice_of(text, strlen(text) + 1), KEEPER_TEXT_MAX);
}

static bool put_sign(struct buf *b, const struct keeper_ask *a)
{
	const struct assertion *s = &a->assertion;
	bool fits = true;

	put_u64(b, (uint64_t)s->expires_at_ms);
	put_u64(b, s->fence);
	for (int shift = 24; shift >= 0; shift -= 8)
		buf_put_u8(b, (uint8_t)(s->attempt >> shift));
	buf_put(b, s->payload_sha256, sizeof s->payload_sha256);
	for (size_t i = 0; i < N_TEXTS; i++)
		fits = fits && put_text(b, *(const char *const *)((const char *)s + texts[i]));
	return fits;
}

static bool put_secret(struct buf *b, const struct keeper_ask *a)
{
	return put_text(b, a->secret.file) && put_text(b, a->secret.url) && put_text(b, a->secret.name);
}

bool keeper_put_ask(struct buf *b, const struct keeper_ask *a)
{
	static bool (*const bodies[KEEPER_KINDS])(struct buf *b, const struct keeper_ask *a) = {
		[KEEPER_ISSUE] = put_issue, [KEEPER_RELOAD] = put_nothing, [KEEPER_SIGN] = put_sign, [KEEPER_SECRET] = put_secret};
	bool fits;

	buf_put_u8(b, VERSION);
	buf_put_u8(b, (uint8_t)a->kind);
	put_u64(b, a->tag);
	put_u64(b, (uint64_t)a->until_ms);
	fits = bodies[a->kind](b, a);
	return fits && !b->failed;
}

bool keeper_put_answer(struct buf *b, const struct keeper_answer *a)
{
	bool fits;

	buf_put_u8(b, VERSION);
	buf_put_u8(b, (uint8_t)a->status);
	put_u64(b, a->tag);
	put_u64(b, (uint64_t)a->not_before_ms);
	put_u64(b, (uint64_t)a->not_after_ms);
	fits = put_slice(b, slice_of(a->why.p, a->why.n < WHY_MAX ? a->why.n : WHY_MAX), WHY_MAX) && put_slice(b, a->certificate, KEEPER_CERT_MAX) &&
	       put_slice(b, a->issuer, KEEPER_CERT_MAX) && put_slice(b, a->token, ASSERTION_TOKEN_MAX) && put_slice(b, a->secret, KEEPER_SECRET_MAX);
	return fits && !b->failed;
}

/* ---- reading ---- */

struct reader {
	struct slice left;
	bool bad;
};

static uint64_t get(struct reader *r, size_t bytes)
{
	uint64_t v = 0;

	r->bad = r->bad || r->left.n < bytes;
	for (size_t i = 0; !r->bad && i < bytes; i++)
		v = v << 8 | r->left.p[i];
	if (!r->bad)
		r->left = slice_of(r->left.p + bytes, r->left.n - bytes);
	return v;
}

/* A time or a span: never below 0. */
static int64_t get_ms(struct reader *r)
{
	uint64_t v = get(r, 8);

	r->bad = r->bad || v > INT64_MAX;
	return r->bad ? 0 : (int64_t)v;
}

static struct slice get_slice(struct reader *r, size_t max)
{
	size_t n = get(r, 2);
	struct slice s = r->left;

	r->bad = r->bad || n > max || n > r->left.n;
	if (r->bad)
		return slice_of(NULL, 0);
	r->left = slice_of(r->left.p + n, r->left.n - n);
	return slice_of(s.p, n);
}

static unsigned get_enum(struct reader *r, unsigned end)
{
	unsigned v = (unsigned)get(r, 1);

	r->bad = r->bad || v >= end;
	return v;
}

static struct reader begin(struct slice packet)
{
	struct reader r = {.left = packet};

	r.bad = get(&r, 1) != VERSION || r.bad;
	return r;
}

static bool whole(const struct reader *r)
{
	return !r->bad && !r->left.n;
}

static void get_issue(struct reader *r, struct keeper_ask *out)
{
	out->ttl_ms = get_ms(r);
	out->not_before_ms = get_ms(r);
	out->spiffe_id = get_slice(r, SPIFFE_ID_MAX);
	out->public_key = get_slice(r, KEEPER_KEY_MAX);
}

static void get_nothing(struct reader *r, struct keeper_ask *out)
{
	(void)r, (void)out;
}

/* With the 0 that ends it, and none before. */
static const char *get_text(struct reader *r)
{
	struct slice s = get_slice(r, KEEPER_TEXT_MAX);

	r->bad = r->bad || !s.n || memchr(s.p, 0, s.n) != s.p + s.n - 1;
	return r->bad ? "" : (const char *)s.p;
}

static void get_sign(struct reader *r, struct keeper_ask *out)
{
	struct assertion *s = &out->assertion;

	s->expires_at_ms = get_ms(r);
	s->fence = get(r, 8);
	s->attempt = (uint32_t)get(r, 4);
	for (size_t i = 0; i < sizeof s->payload_sha256; i++)
		s->payload_sha256[i] = (uint8_t)get(r, 1);
	for (size_t i = 0; i < N_TEXTS; i++)
		*(const char **)((char *)s + texts[i]) = get_text(r);
}

static void get_secret(struct reader *r, struct keeper_ask *out)
{
	struct secret_wanted *w = &out->secret;

	w->file = get_text(r);
	w->url = get_text(r);
	w->name = get_text(r);
	r->bad = r->bad || !*w->file == !*w->url || !*w->url != !*w->name;
}

bool keeper_get_ask(struct slice packet, struct keeper_ask *out)
{
	static void (*const bodies[KEEPER_KINDS])(struct reader *r, struct keeper_ask *out) = {
		[KEEPER_ISSUE] = get_issue, [KEEPER_RELOAD] = get_nothing, [KEEPER_SIGN] = get_sign, [KEEPER_SECRET] = get_secret};
	struct reader r = begin(packet);

	*out = (struct keeper_ask){.kind = get_enum(&r, KEEPER_KINDS)};
	out->tag = get(&r, 8);
	out->until_ms = get_ms(&r);
	if (!r.bad)
		bodies[out->kind](&r, out);
	return whole(&r);
}

bool keeper_get_answer(struct slice packet, struct keeper_answer *out)
{
	struct reader r = begin(packet);

	*out = (struct keeper_answer){.status = get_enum(&r, KEEPER_STATUSES)};
	out->tag = get(&r, 8);
	out->not_before_ms = get_ms(&r);
	out->not_after_ms = get_ms(&r);
	out->why = get_slice(&r, WHY_MAX);
	out->certificate = get_slice(&r, KEEPER_CERT_MAX);
	out->issuer = get_slice(&r, KEEPER_CERT_MAX);
	out->token = get_slice(&r, ASSERTION_TOKEN_MAX);
	out->secret = get_slice(&r, KEEPER_SECRET_MAX);
	return whole(&r);
}
