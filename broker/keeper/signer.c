/* What does the keeper sign? See signer.h. */
#include "config.h"

#include "keeper/signer.h"

#include <stdlib.h>
#include <string.h>

#include "base/encode.h"
#include "identity/spiffe.h"

#define ARENA_MAX (ASSERTION_TOKEN_MAX + 1024)

struct keeper_signer {
	struct assertion_key *key;
	const char *issuer;
	struct arena *arena;       /* of one answer */
	struct record_count count;
};

static bool is_digest(const char *text)
{
	uint8_t digest[SHA256_BYTES];

	return strlen(text) == B64URL_LEN(sizeof digest) && b64url_decode(slice_str(text), digest, sizeof digest) == (long)sizeof digest;
}

/* NULL: nothing is wrong. Static text. */
static const char *judge(const struct assertion *a)
{
	struct spiffe_id id;

	if (spiffe_parse(slice_str(a->audience), &id))
		return "an assertion is for a receiver that has a SPIFFE id";
	if (!is_digest(a->receiver_x5t))
		return "an assertion is for a receiver's certificate";
	return a->handoff_id[0] && a->fence && a->jti[0] ? NULL : "an assertion is for one delivery";
}

/* Nobody's fault, and no reason to refuse it for ever. NULL: it is in time. Static text. */
static const char *too_late(const struct keeper_ask *ask, int64_t now_ms, int64_t mono_ms)
{
	if (ask->until_ms < mono_ms)
		return "nobody waits for it any more";
	return ask->assertion.expires_at_ms / 1000 <= now_ms / 1000 ? "it would have ended" : NULL; /* its times are whole seconds */
}

static enum keeper_status sign(struct keeper_signer *k, const struct keeper_ask *ask, int64_t now_ms, int64_t mono_ms, struct keeper_answer *out)
{
	struct assertion a = ask->assertion;
	const char *wrong = judge(&a), *late = too_late(ask, now_ms, mono_ms), *token;

	if (wrong) {
		out->why = slice_str(wrong);
		return KEEPER_REFUSED;
	}
	if (late) {
		out->why = slice_str(late);
		return KEEPER_BUSY;
	}
	a.issuer = k->issuer;
	a.now_ms = now_ms;
	if (a.expires_at_ms > now_ms + ASSERTION_LIFE_MS)
		a.expires_at_ms = now_ms + ASSERTION_LIFE_MS;
	token = assertion_sign(k->key, &a, k->arena);
	if (!token) {
		out->why = slice_str("it is too long, or memory is out");
		return KEEPER_REFUSED;
	}
	out->token = slice_str(token);
	out->not_before_ms = now_ms;
	out->not_after_ms = a.expires_at_ms;
	return KEEPER_OK;
}

void keeper_signer_answer(struct keeper_signer *k, const struct keeper_ask *a, int64_t now_ms, int64_t mono_ms, struct keeper_answer *out)
{
	arena_reset(k->arena);
	*out = (struct keeper_answer){.tag = a->tag};
	out->status = sign(k, a, now_ms, mono_ms, out);
	record_count_one(&k->count, out->status == KEEPER_OK, now_ms);
}

struct record_count *keeper_signer_count(struct keeper_signer *k)
{
	return &k->count;
}

struct keeper_signer *keeper_signer_new(const char *key_file, const char *issuer, struct problem *why)
{
	struct keeper_signer *k = calloc(1, sizeof *k);

	if (!k || !(k->arena = arena_new(ARENA_MAX))) {
		free(k);
		problem_set(why, "out of memory");
		return NULL;
	}
	k->issuer = issuer;
	if (assertion_key_create(key_file, why) == 0 && (k->key = assertion_key_load(key_file, why)))
		return k;
	problem_prefix(why, "assertion.key_file");
	keeper_signer_free(k);
	return NULL;
}

void keeper_signer_free(struct keeper_signer *k)
{
	if (!k)
		return;
	assertion_key_free(k->key);
	arena_free(k->arena);
	free(k);
}
