/* Which keys does an issuer publish? The usable ones of a JWKS (RFC 7517 §5), imported once and shared by all
 * workers. */
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "base/json.h"
#include "base/encode.h"
#include "base/secret.h"
#include "identity/jwk.h"

#define JWKS_MAX_BYTES (256 * 1024)

struct keyset {
	atomic_uint refs;
	uint64_t generation;
	unsigned algorithms;
	bool of_svids;
	uint8_t digest[SHA256_BYTES]; /* of the text it was read from */
	size_t n;
	struct jwk keys[];
};

/* Owned; NULL with why. */
static json_t *load(struct slice json, struct problem *why)
{
	json_error_t e;
	json_t *root, *list;

	if (json.n > JWKS_MAX_BYTES) {
		problem_set(why, "a JWKS is at most 256 KiB");
		return NULL;
	}
	root = json_read(json, &e);
	if (!root) {
		if (errno == ENOMEM)
			problem_set(why, "out of memory");
		else
			problem_set(why, "not a JWKS: JSON is wrong at line %d column %d", e.line, e.column);
		return NULL;
	}
	list = json_object_get(root, "keys");
	if (json_is_array(list) && json_array_size(list) <= JWK_KEYS_MAX)
		return root;
	problem_set(why, json_is_array(list) ? "a JWKS has at most 64 keys" : "not a JWKS: it has no array \"keys\"");
	json_decref(root);
	return NULL;
}

static struct keyset *parse(struct slice json, unsigned algorithms, bool of_svids, uint64_t generation, struct problem *why)
{
	const char *fault, *last = "it is empty";
	json_t *root = load(json, why), *list;
	struct keyset *k = NULL;

	if (!root)
		return NULL;
	list = json_object_get(root, "keys");
	k = calloc(1, sizeof *k + json_array_size(list) * sizeof *k->keys);
	if (!k) {
		problem_set(why, "out of memory");
		goto out;
	}
	atomic_init(&k->refs, 1);
	k->generation = generation;
	k->algorithms = algorithms;
	k->of_svids = of_svids;
	sha256(json, k->digest);
	errno = 0;
	for (size_t i = 0; i < json_array_size(list); i++) {
		fault = jwk_read(json_array_get(list, i), algorithms, of_svids, &k->keys[k->n]);
		if (fault)
			last = fault;
		else
			k->n++;
	}
	if (k->n && errno != ENOMEM)
		goto out;
	if (errno == ENOMEM) /* then a key that is left out may have been a good one */
		problem_set(why, "out of memory");
	else
		problem_set(why, "the JWKS has no usable key (the last one: %s)", last);
	keyset_unref(k);
	k = NULL;
out:
	json_decref(root);
	return k;
}

struct keyset *keyset_parse(struct slice json, unsigned algorithms, uint64_t generation, struct problem *why)
{
	return parse(json, algorithms, false, generation, why);
}

struct keyset *keyset_parse_for(const struct issuer_rule *r, struct slice json, uint64_t generation, struct problem *why)
{
	return parse(json, r->algorithms, r->claims.kind == ISSUER_JWT_SVID, generation, why);
}

struct keyset *keyset_ref(struct keyset *k)
{
	if (k)
		atomic_fetch_add(&k->refs, 1);
	return k;
}

void keyset_unref(struct keyset *k)
{
	if (!k || atomic_fetch_sub(&k->refs, 1) != 1)
		return;
	for (size_t i = 0; i < k->n; i++)
		jwk_clear(&k->keys[i]);
	free(k);
}

size_t keyset_size(const struct keyset *k)
{
	return k ? k->n : 0;
}

uint64_t keyset_generation(const struct keyset *k)
{
	return k ? k->generation : 0;
}

const char *keyset_key_name(const struct keyset *k, size_t at, const char **alg)
{
	const struct jwk *j = &k->keys[at];

	*alg = "";
	for (size_t i = 0; token_alg_text(i); i++)
		if (token_alg_from_text(slice_str(token_alg_text(i))) == j->alg)
			*alg = token_alg_text(i);
	return j->has_kid && j->kid_n == strlen(j->kid) && utf8_is_text(slice_str(j->kid)) ? j->kid : "-";
}

const struct jwk *keyset_at(const struct keyset *k, size_t at)
{
	return &k->keys[at];
}

bool keyset_same(const struct keyset *a, const struct keyset *b)
{
	if (a == b)
		return a != NULL;
	return a && b && a->generation == b->generation && a->algorithms == b->algorithms && a->of_svids == b->of_svids &&
	       memcmp(a->digest, b->digest, sizeof a->digest) == 0;
}
