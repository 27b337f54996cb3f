/* Is this access token good, here and now, on this connection? Here: the way from bytes to a verified signature, and
 * the memory of it. Splitting is jws.c, types of claims facts.c, judging token_judge.c. Until the signature is good,
 * nothing of the payload is used but `iss`, or a workload's `sub`, and that only to choose whose keys are tried. */
#include "identity/token.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "identity/facts.h"
#include "identity/introspection.h"
#include "identity/jws.h"
#include "identity/spiffe.h"
#include "identity/token_cache.h"
#include "identity/token_judge.h"
#include "identity/token_kind.h"

#define TYP "at+jwt"

/* One issuer, as this worker uses it. */
struct live {
	uint64_t epoch;              /* changes when signatures seen before no longer count */
	struct jws_verifier **keys;  /* by place in the keyset; made when first needed */
	uint8_t source[SHA256_BYTES]; /* of an issuer that is asked: introspection_source() */
};

struct token_verifier {
	struct issuers *issuers;
	struct live *live; /* one an issuer */
	struct token_cache *cache;
	struct answers *answers; /* about opaque tokens; borrowed; NULL: none is taken */
	bool asks; /* one of the issuers is asked about such */
	uint64_t epochs, hits, misses;
	struct jws jws;
};

/* One token on its way. */
struct check {
	struct token_verifier *v;
	const struct token_context *cx;
	struct token_answer *out;
	struct jws_header header;
	size_t issuer, key; /* indices */
	const struct issuer_entry *entry;
};

struct token_verifier *token_verifier_new(size_t cache)
{
	struct token_verifier *v = calloc(1, sizeof *v);

	if (v && (v->cache = token_cache_new(cache, free)))
		return v;
	free(v);
	return NULL;
}

static void free_live(struct live *live, const struct issuers *issuers)
{
	for (size_t i = 0; live && i < issuers_count(issuers); i++) {
		for (size_t k = 0; live[i].keys && k < keyset_size(issuers_at(issuers, i)->keys); k++)
			jws_verifier_free(live[i].keys[k]);
		free(live[i].keys);
	}
	free(live);
}

void token_verifier_free(struct token_verifier *v)
{
	if (!v)
		return;
	free_live(v->live, v->issuers);
	issuers_unref(v->issuers);
	token_cache_free(v->cache);
	free(v);
}

/* Would the same token bytes be verified by the same keys and read to the same facts? What is judged anew each time is not asked about. */
static bool same_issuer(const struct issuer_entry *a, const struct issuer_entry *b)
{
	const struct issuer_rule *x = &a->rule, *y = &b->rule;

	return strcmp(x->url, y->url) == 0 && x->algorithms == y->algorithms && memcmp(&x->claims, &y->claims, sizeof x->claims) == 0 &&
	       keyset_same(a->keys, b->keys);
}

static uint64_t epoch_for(struct token_verifier *v, const struct issuer_entry *entry)
{
	for (size_t i = 0; v->live && i < issuers_count(v->issuers); i++)
		if (same_issuer(issuers_at(v->issuers, i), entry))
			return v->live[i].epoch;
	return ++v->epochs;
}

/* NULL when memory is out: then a token is answered keys_unavailable, and the next one tries again. */
static struct live *live_new(struct token_verifier *v, const struct issuers *issuers)
{
	size_t n = issuers_count(issuers);
	struct live *live = calloc(n ? n : 1, sizeof *live);

	for (size_t i = 0; live && i < n; i++) {
		const struct issuer_entry *entry = issuers_at(issuers, i);
		size_t keys = keyset_size(entry->keys);

		live[i].epoch = epoch_for(v, entry);
		if (entry->rule.introspection.url[0])
			introspection_source(&entry->rule, live[i].source);
		live[i].keys = calloc(keys ? keys : 1, sizeof *live[i].keys);
		if (!live[i].keys) {
			free_live(live, issuers);
			live = NULL;
		}
	}
	return live;
}

void token_verifier_set_issuers(struct token_verifier *v, struct issuers *i)
{
	struct live *live = i ? live_new(v, i) : NULL;

	free_live(v->live, v->issuers);
	issuers_ref(i);
	issuers_unref(v->issuers);
	v->issuers = i;
	v->live = live;
	v->asks = false;
	for (size_t at = 0; at < issuers_count(i); at++)
		v->asks |= issuers_at(i, at)->rule.introspection.url[0] != 0;
}

void token_verifier_set_answers(struct token_verifier *v, struct answers *answers)
{
	v->answers = answers;
}

uint64_t token_verifier_hits(const struct token_verifier *v)
{
	return v->hits;
}

uint64_t token_verifier_misses(const struct token_verifier *v)
{
	return v->misses;
}

static bool refuse(struct check *k, enum reason reason, const char *field, const char *message)
{
	k->out->verdict = verdict_deny(reason, field, "%s", message);
	return false;
}

static bool out_of_memory(struct check *k)
{
	return refuse(k, REASON_KEYS_UNAVAILABLE, "", "the broker has no memory left to check the token: try again");
}

static bool take_issuer(struct check *k, size_t at)
{
	k->issuer = at;
	k->entry = issuers_at(k->v->issuers, at);
	return token_judge_issuer(&k->entry->rule, k->cx) ||
	       refuse(k, REASON_WRONG_ISSUER, "iss", "not an issuer of the route's profile: use a token of one that is");
}

static bool use_issuer(struct check *k, size_t at)
{
	if (!take_issuer(k, at))
		return false;
	if (k->entry->keys && k->cx->now_ms <= k->entry->keys_good_until_ms)
		return true;
	k->out->want_keys = (int)at;
	return refuse(k, REASON_KEYS_UNAVAILABLE, "iss", "the keys of the token's issuer are not at hand: try again");
}

/* JWT-SVID §2.3: JWT, JOSE or nothing. */
static bool fits_svid(struct check *k)
{
	return k->header.untyped || k->header.jose || refuse(k, REASON_INVALID_TOKEN, "typ", "the typ of a JWT-SVID is JWT, JOSE or left out");
}

/* A token that its header does not call an access token is none, but where the issuer's rule says that its header tells nothing. */
static bool fits_typ(struct check *k, size_t at)
{
	const struct claim_map *map = &issuers_at(k->v->issuers, at)->rule.claims;

	if (map->kind == ISSUER_JWT_SVID)
		return fits_svid(k);
	if (!k->header.jose && (!k->header.untyped || map->typ == TYP_JWT))
		return true;
	if (k->header.jose || map->dialect == DIALECT_STANDARD)
		return refuse(k, REASON_INVALID_TOKEN, "typ", JWS_NO_ACCESS_TOKEN);
	return refuse(k, REASON_INVALID_TOKEN, "typ",
		      "its typ does not say that it is an access token: have the issuer write at+jwt (RFC 9068), or set typ: jwt in its rule");
}

/* A token without iss may be the JWT-SVID of a trust domain: whose, its sub says. The issuer's place; issuers_count(): nobody's. */
static size_t svid_issuer(const struct issuers *all, const json_t *sub)
{
	struct spiffe_id id;
	size_t at = 0;

	if (!json_is_string(sub) || spiffe_parse(slice_of(json_string_value(sub), json_string_length(sub)), &id))
		return issuers_count(all);
	while (at < issuers_count(all) && (issuers_at(all, at)->rule.claims.kind != ISSUER_JWT_SVID ||
	       !slice_is(id.trust_domain, issuers_at(all, at)->rule.claims.trust_domain)))
		at++;
	return at;
}

static bool choose_issuer(struct check *k, const json_t *payload)
{
	const json_t *iss = json_object_get(payload, "iss");
	size_t at = iss ? issuers_count(k->v->issuers) : svid_issuer(k->v->issuers, json_object_get(payload, "sub"));

	if (at < issuers_count(k->v->issuers))
		return fits_typ(k, at) && use_issuer(k, at);
	if (!json_is_string(iss))
		return refuse(k, REASON_INVALID_TOKEN, "iss",
			      iss ? "iss must be a string" : "iss is missing (RFC 9068, 2.2)");
	for (size_t i = 0; i < issuers_count(k->v->issuers); i++)
		if (slice_is(slice_of(json_string_value(iss), json_string_length(iss)),
			     issuers_at(k->v->issuers, i)->rule.url))
			return fits_typ(k, i) && use_issuer(k, i);
	return refuse(k, REASON_WRONG_ISSUER, "iss", "the token's issuer is not configured here");
}

static bool kid_fits(const struct jws_header *h, const struct jwk *key)
{
	return !h->has_kid || (key->has_kid && slice_eq(slice_of(h->kid, h->kid_n), slice_of(key->kid, key->kid_n)));
}

static uint64_t kid_digest(const struct jws_header *h)
{
	uint8_t digest[SHA256_BYTES];
	uint64_t short_one;

	sha256(slice_of(h->kid, h->kid_n), digest);
	memcpy(&short_one, digest, sizeof short_one);
	return short_one;
}

/* Exactly one key must have the header's kid (or, without one, be there at all) and be for its algorithm. */
static bool choose_key(struct check *k, size_t *at)
{
	const struct jws_header *h = &k->header;
	size_t named = 0, fit = 0;

	for (size_t i = 0; i < keyset_size(k->entry->keys); i++) {
		const struct jwk *key = keyset_at(k->entry->keys, i);

		if (!kid_fits(h, key))
			continue;
		named++;
		if (key->alg == h->alg && fit++ == 0)
			*at = i;
	}
	if (fit == 1)
		return true;
	if (h->has_kid && named == 0) {
		if (!k->entry->rule.jwks_file[0]) {
			k->out->want_keys = (int)k->issuer;
			k->out->want_kid = kid_digest(h);
		}
		return refuse(k, REASON_INVALID_TOKEN, "kid",
			      "no key of the issuer has the token's kid: if keys were rotated just now, try again");
	}
	if (fit > 1)
		return refuse(k, REASON_INVALID_TOKEN, "kid",
			      "more than one key of the issuer fits: the issuer must name one by a kid of its own");
	return refuse(k, REASON_INVALID_TOKEN, "alg", "the issuer's key is for another algorithm than the token's alg");
}

static bool check_signature(struct check *k)
{
	struct jws_verifier **ready;
	const struct jws *j = &k->v->jws;

	if (!(k->entry->rule.algorithms & k->header.alg))
		return refuse(k, REASON_INVALID_TOKEN, "alg", "the issuer's rule does not allow the token's algorithm");
	if (!choose_key(k, &k->key))
		return false;
	ready = &k->v->live[k->issuer].keys[k->key];
	if (!*ready)
		*ready = jws_verifier_new(keyset_at(k->entry->keys, k->key));
	if (!*ready)
		return out_of_memory(k);
	if (!jws_verify(*ready, j->signed_part, slice_of(j->signature, j->signature_n)))
		return refuse(k, REASON_INVALID_TOKEN, "", "the signature is not good");
	return true;
}

/* Its header leaves open which kind of token it is, so its claims must tell. */
static bool must_show_kind(const struct check *k)
{
	return k->header.untyped && k->entry->rule.claims.kind == ISSUER_OIDC;
}

/* Owned; NULL when refused. */
static struct facts *read_verified(struct check *k, const json_t *payload)
{
	const char *fault = NULL, *field = "";
	const struct jwk *key;
	struct facts *f = NULL;

	if (!choose_issuer(k, payload) || !check_signature(k))
		return NULL;
	key = keyset_at(k->entry->keys, k->key);
	f = facts_read(payload, &k->entry->rule.claims, slice_of(key->kid, key->has_kid ? key->kid_n : 0), &fault, &field);
	if (f && must_show_kind(k))
		fault = token_kind_fault(payload, f, k->entry->rule.claims.dialect, &field);
	if (f && !fault) {
		sha256(k->v->jws.signed_part, f->signed_sha256);
		return f;
	}
	free(f);
	if (fault)
		refuse(k, REASON_INVALID_TOKEN, field, fault);
	else
		out_of_memory(k);
	return NULL;
}

static struct facts *verify(struct check *k, struct slice token)
{
	const char *field = "", *fault = jws_split(token, &k->v->jws);
	struct facts *f = NULL;
	json_t *payload;

	if (!fault)
		fault = jws_read_header(&k->v->jws, TYP, true, &k->header, &field);
	if (fault) {
		refuse(k, REASON_INVALID_TOKEN, field, fault);
		return NULL;
	}
	payload = jws_read_json(slice_of(k->v->jws.payload, k->v->jws.payload_n));
	if (payload)
		f = read_verified(k, payload);
	else
		refuse(k, REASON_INVALID_TOKEN, "", "the payload is no JSON object, or holds a member twice");
	json_decref(payload);
	return f;
}

static void judge(struct check *k, const struct facts *f, struct arena *arena)
{
	struct token_answer *out = k->out;

	if (!facts_to_claims(f, &k->entry->rule, arena, &out->claims)) {
		out_of_memory(k);
		return;
	}
	out->have_claims = true;
	out->verdict = token_judge(f, &k->entry->rule, k->cx, &out->claims);
}

/* The facts of a signature that still counts, and its issuer in k; else NULL. */
static const struct facts *recall(struct token_verifier *v, const uint8_t digest[SHA256_BYTES], size_t *issuer)
{
	uint64_t epoch;
	const struct facts *f = token_cache_get(v->cache, digest, &epoch);

	for (size_t i = 0; f && i < issuers_count(v->issuers); i++) {
		if (v->live[i].epoch == epoch) {
			*issuer = i;
			return f;
		}
	}
	return NULL;
}

/* The place of the issuer that is asked about it; issuers_count(): it is judged as a JWT. */
static size_t who_is_asked(const struct check *k, struct slice token)
{
	const struct issuers *all = k->v->issuers;

	return k->v->asks && k->v->answers && k->cx->tenant && introspection_is_opaque(token) ? introspection_issuer(all, k->cx->tenant) : issuers_count(all);
}

static void verify_opaque(struct check *k, size_t at, struct slice token, struct arena *arena)
{
	const char *wrong = introspection_token_wrong(token);
	struct token_answer *out = k->out;
	struct answer said;

	if (!take_issuer(k, at))
		return;
	if (wrong) {
		refuse(k, REASON_INVALID_TOKEN, "", wrong);
		return;
	}
	memcpy(out->source, k->v->live[at].source, sizeof out->source);
	answers_key(k->v->answers, out->source, token, out->question);
	if (!answers_find(k->v->answers, out->question, k->cx->mono_ms, arena, &said)) {
		out->want_answer = true;
		refuse(k, REASON_KEYS_UNAVAILABLE, "", "the token's issuer has not said whether it is good: try again");
	} else if (said.reason != REASON_ALLOWED) {
		refuse(k, said.reason, said.field, said.fault);
	} else {
		judge(k, said.facts, arena);
	}
}

void token_verify(struct token_verifier *v, struct slice token, const struct token_context *cx, struct arena *arena,
		  struct token_answer *out)
{
	struct check k = {.v = v, .cx = cx, .out = out};
	uint8_t digest[SHA256_BYTES];
	const struct facts *known;
	struct facts *f;
	size_t issuer = 0, asked;

	memset(&out->claims, 0, sizeof out->claims);
	out->have_claims = false;
	out->want_answer = false;
	out->want_keys = -1;
	out->want_kid = 0;
	if (token.n == 0) {
		refuse(&k, REASON_MISSING_TOKEN, "",
		       "send an access token: authorization: Bearer, or the request's access_token");
		return;
	}
	if (token.n > TOKEN_MAX_BYTES) {
		refuse(&k, REASON_INVALID_TOKEN, "", "a token has at most 8192 bytes");
		return;
	}
	if (!v->live && v->issuers)
		v->live = live_new(v, v->issuers);
	if (!v->live) {
		refuse(&k, REASON_KEYS_UNAVAILABLE, "iss", "the broker has no issuers at hand: try again");
		return;
	}
	asked = who_is_asked(&k, token);
	if (asked < issuers_count(v->issuers)) {
		verify_opaque(&k, asked, token, arena);
		return;
	}
	sha256(token, digest);
	known = recall(v, digest, &issuer);
	if (known) {
		v->hits++;
		if (use_issuer(&k, issuer))
			judge(&k, known, arena);
		return;
	}
	v->misses++;
	errno = 0;
	f = verify(&k, token);
	if (!f && errno == ENOMEM) /* jansson and OpenSSL do not say so, malloc() did: the token is not at fault */
		out_of_memory(&k);
	if (!f)
		return;
	judge(&k, f, arena);
	token_cache_put(v->cache, digest, v->live[k.issuer].epoch, f);
}
