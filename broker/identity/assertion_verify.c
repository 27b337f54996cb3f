/* Is this an assertion that we made, shown by the one it was made for? The way of an access token, with our key, our
 * `typ`, and the claims that assertion.c writes. */
#include <stdlib.h>
#include <string.h>

#include "identity/assertion_priv.h"
#include "identity/jws.h"

struct look {
	const json_t *payload;
	struct arena *arena;
	bool full; /* the arena */
};

static const char *text_of(const json_t *object, const char *name)
{
	const char *s = json_string_value(json_object_get(object, name));

	return s ? s : "";
}

/* The string in the arena; "" when it is not there. */
static const char *keep(struct look *l, const char *name)
{
	const char *s = arena_strdup(l->arena, text_of(l->payload, name));

	if (!s)
		l->full = true;
	return s;
}

static json_int_t whole(const struct look *l, const char *name)
{
	json_int_t v = json_integer_value(json_object_get(l->payload, name));

	return v > 0 ? v : 0;
}

static const char *check_holder(const json_t *payload, const char *audience, const char *receiver_x5t)
{
	if (strcmp(text_of(payload, "aud"), audience) != 0)
		return "the assertion was made for another agent";
	if (strcmp(text_of(json_object_get(payload, "cnf"), "x5t#S256"), receiver_x5t) != 0)
		return "the assertion was made for another certificate";
	return NULL;
}

static const char *read_claims(struct look *l, int64_t now_ms, struct assertion_claims *out, bool *expired)
{
	json_int_t exp = whole(l, "exp");

	if (exp > INT64_MAX / 1000)
		return "the assertion's exp is no time";
	*out = (struct assertion_claims){
		.issuer = keep(l, "iss"), .tenant = keep(l, "tenant"), .route = keep(l, "route"),
			.subject = keep(l, "sub"),
		.handoff_id = keep(l, "handoff_id"), .jti = keep(l, "jti"), .fence = (uint64_t)whole(l, "fence"),
		.attempt = (uint32_t)whole(l, "attempt"), .expires_at_ms = exp * 1000,
	};
	if (l->full)
		return "the broker has no memory left to check the assertion: try again";
	*expired = now_ms >= out->expires_at_ms;
	return *expired ? "the assertion has expired: use the one that came with AssertionRenewed" : NULL;
}

static const char *check_signature(const struct assertion_key *k, const struct jws *j, const struct jws_header *h)
{
	struct jws_verifier *v;
	bool good;

	if (h->alg != k->jwk.alg || !h->has_kid || !slice_eq(slice_of(h->kid, h->kid_n),
							     slice_of(k->jwk.kid, k->jwk.kid_n)))
		return "the assertion is not signed with this broker's key";
	v = jws_verifier_new(&k->jwk);
	good = v && jws_verify(v, j->signed_part, slice_of(j->signature, j->signature_n));
	jws_verifier_free(v);
	return good ? NULL : "the assertion's signature is not good";
}

const char *assertion_verify(const struct assertion_key *k, struct slice token, const char *audience,
			     const char *receiver_x5t, int64_t now_ms,
			     struct arena *arena, struct assertion_claims *out, bool *expired)
{
	struct jws *j = malloc(sizeof *j);
	struct jws_header h;
	struct look l = {.arena = arena};
	json_t *payload = NULL;
	const char *fault = "out of memory", *field = "";

	*expired = false;
	if (!j)
		return fault;
	fault = jws_split(token, j);
	if (!fault)
		fault = jws_read_header(j, ASSERTION_TYP, false, &h, &field);
	if (fault && strcmp(field, "typ") == 0)
		fault = "it is no assertion of a delivery";
	if (!fault)
		fault = check_signature(k, j, &h);
	if (fault)
		goto out;
	l.payload = payload = jws_read_json(slice_of(j->payload, j->payload_n));
	fault = payload ? check_holder(payload, audience, receiver_x5t) : "the assertion's payload is no JSON object";
	if (!fault)
		fault = read_claims(&l, now_ms, out, expired);
out:
	json_decref(payload);
	free(j);
	return fault;
}
