/* Which issuers are configured now, with which keys? One immutable list, made anew for each change. Keys are jwks.c. */
#include "identity/issuer.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

struct issuers {
	atomic_uint refs;
	size_t n;
	struct issuer_entry entries[];
};

static const struct {
	const char *text;
	enum token_alg alg;
} names[TOKEN_ALGS] = {
	{"ES256", ALG_ES256}, {"ES384", ALG_ES384}, {"RS256", ALG_RS256}, {"PS256", ALG_PS256}, {"EdDSA", ALG_EDDSA},
};

const char *token_alg_text(size_t at)
{
	return at < TOKEN_ALGS ? names[at].text : NULL;
}

enum token_alg token_alg_from_text(struct slice text)
{
	for (size_t i = 0; i < TOKEN_ALGS; i++)
		if (slice_is(text, names[i].text))
			return names[i].alg;
	return ALG_NONE;
}

int64_t issuer_fresh_ms(const struct issuer_rule *r, int64_t max_age_s)
{
	int64_t asked;

	if (max_age_s <= 0 || max_age_s >= r->keys_refresh_ms / 1000) /* no-store is no wish to be asked without end */
		return r->keys_refresh_ms;
	asked = max_age_s * 1000 > ISSUER_FRESH_MIN_MS ? max_age_s * 1000 : ISSUER_FRESH_MIN_MS;
	return asked < r->keys_refresh_ms ? asked : r->keys_refresh_ms;
}

struct issuers *issuers_new(const struct issuer_entry *entries, size_t n)
{
	struct issuers *i = calloc(1, sizeof *i + n * sizeof *entries);

	if (!i)
		return NULL;
	atomic_init(&i->refs, 1);
	i->n = n;
	for (size_t at = 0; at < n; at++) {
		i->entries[at] = entries[at];
		keyset_ref(entries[at].keys);
	}
	return i;
}

struct issuers *issuers_ref(struct issuers *i)
{
	if (i)
		atomic_fetch_add(&i->refs, 1);
	return i;
}

void issuers_unref(struct issuers *i)
{
	if (!i || atomic_fetch_sub(&i->refs, 1) != 1)
		return;
	for (size_t at = 0; at < i->n; at++)
		keyset_unref(i->entries[at].keys);
	free(i);
}

size_t issuers_count(const struct issuers *i)
{
	return i ? i->n : 0;
}

const struct issuer_entry *issuers_at(const struct issuers *i, size_t at)
{
	return &i->entries[at];
}

size_t issuers_place(const struct issuers *i, const char *name)
{
	size_t at = 0;

	while (at < issuers_count(i) && strcmp(issuers_at(i, at)->rule.name, name) != 0)
		at++;
	return at;
}
