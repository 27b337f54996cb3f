/* By what does an agent that has no certificate yet show who it is? See enrolment.h. */
#include "rpc/enrolment.h"

#include <stdio.h>
#include <string.h>

#define VERSION 1
#define FIXED (1 + 8 + SHA256_BYTES + SHA256_BYTES)

static void put_be(uint8_t *out, uint64_t v)
{
	for (int i = 7; i >= 0; i--, v >>= 8)
		out[i] = (uint8_t)v;
}

static uint64_t get_be(const uint8_t *p)
{
	uint64_t v = 0;

	for (int i = 0; i < 8; i++)
		v = v << 8 | p[i];
	return v;
}

struct slice enrolment_name(uint64_t agent_key, char out[ENROLMENT_NAME_MAX])
{
	int n = snprintf(out, ENROLMENT_NAME_MAX, ENROLMENT_PREFIX "%016llx", (unsigned long long)agent_key);

	return slice_of(out, (size_t)n);
}

bool enrolment_put(struct buf *b, const struct enrolment *e)
{
	const char *const texts[] = {e->tenant, e->name, e->uuid, e->spiffe_id};
	uint8_t at[8];

	put_be(at, (uint64_t)e->expires_at_ms);
	buf_put_u8(b, VERSION);
	buf_put(b, at, sizeof at);
	buf_put(b, e->token, sizeof e->token);
	buf_put(b, e->key, sizeof e->key);
	for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
		buf_put(b, texts[i], strlen(texts[i]) + 1);
	return !b->failed;
}

/* A text that ends in a NUL. */
static bool take(struct slice *left, char *out, size_t size)
{
	const uint8_t *end = left->n ? memchr(left->p, 0, left->n) : NULL;
	size_t n = end ? (size_t)(end - left->p) : 0;

	if (!end || !slice_copy_str(slice_of(left->p, n), out, size))
		return false;
	*left = slice_of(end + 1, left->n - n - 1);
	return true;
}

bool enrolment_get(struct slice value, struct enrolment *out)
{
	struct slice left;

	memset(out, 0, sizeof *out);
	if (value.n < FIXED || value.p[0] != VERSION)
		return false;
	out->expires_at_ms = (int64_t)(get_be(value.p + 1) & INT64_MAX);
	memcpy(out->token, value.p + 9, SHA256_BYTES);
	memcpy(out->key, value.p + 9 + SHA256_BYTES, SHA256_BYTES);
	left = slice_of(value.p + FIXED, value.n - FIXED);
	return take(&left, out->tenant, sizeof out->tenant) && take(&left, out->name, sizeof out->name) && take(&left, out->uuid, sizeof out->uuid) &&
	       take(&left, out->spiffe_id, sizeof out->spiffe_id) && !left.n;
}

bool enrolment_is_used(const struct enrolment *e)
{
	static const uint8_t none[SHA256_BYTES];

	return memcmp(e->key, none, sizeof none) != 0;
}

enum enrolment_fault enrolment_judge(const struct enrolment *e, struct slice token, const uint8_t key[SHA256_BYTES], int64_t now_ms)
{
	uint8_t digest[SHA256_BYTES];

	sha256(token, digest);
	if (!secret_equal(digest, e->token, sizeof digest))
		return ENROLMENT_UNKNOWN;
	if (e->expires_at_ms <= now_ms)
		return ENROLMENT_EXPIRED;
	if (enrolment_is_used(e) && !secret_equal(e->key, key, SHA256_BYTES))
		return ENROLMENT_USED;
	return ENROLMENT_FINE;
}
