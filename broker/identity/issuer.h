/* Which keys may sign tokens, and what is such a token allowed to say? Rules come from the configuration; keys from a JWKS (RFC 7517).
 * Both are immutable and refcounted, so that a reload or a key rotation swaps them whole. */
#ifndef BATON_IDENTITY_ISSUER_H
#define BATON_IDENTITY_ISSUER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/problem.h"
#include "base/slice.h"

enum token_alg { ALG_NONE = 0, ALG_ES256 = 1, ALG_ES384 = 2, ALG_RS256 = 4, ALG_PS256 = 8, ALG_EDDSA = 16 };
/* 0 for any other text; case-sensitive. */
enum token_alg token_alg_from_text(struct slice text);
#define TOKEN_ALGS 5
/* The name of the one at this place; NULL: there are fewer. */
const char *token_alg_text(size_t at);

#define ISSUER_TENANTS_MAX 32

struct issuer_rule {
	char name[64];
	char url[513];              /* `iss` is this, to the byte */
	char jwks_file[1025];       /* static keys; "" = discovery at url */
	char tenants[ISSUER_TENANTS_MAX][64];
	size_t n_tenants;           /* 0 = none: it speaks for nobody */
	unsigned algorithms;        /* enum token_alg bits */
	bool binding;               /* certificate (RFC 8705) demanded; default true */
	int64_t max_lifetime_ms;    /* exp - iat */
	int64_t keys_refresh_ms;    /* keys are fetched again this long after they were, at the latest */
	int64_t keys_stale_ms;      /* and serve this much longer when that fails */
	char claim_tenant[64], claim_client[64], claim_scope[64]; /* "tenant" "client_id" "scope" */
	char user_claim[64];        /* a token with this claim speaks for a user; "" = when sub differs from the client */
	char ca_file[1025];         /* for discovery; "" = the system's */
	bool allow_private;         /* its address may be private or loopback */
	bool registered;            /* while the node runs: not of the configuration */
};

/* What is wrong with it as the url of an issuer (OIDC Discovery §4, without a query or fragment), as a claim's name; NULL = nothing. */
const char *issuer_url_wrong(const char *url);
const char *issuer_claim_wrong(const char *name);
#define ISSUER_ALGORITHMS_DEFAULT (ALG_ES256 | ALG_EDDSA | ALG_PS256 | ALG_RS256)

/* How long the keys of an answer with this Cache-Control max-age (seconds; -1: none) are taken for fresh. A shorter time than keys_refresh_ms
 * is the issuer's to choose, down to ISSUER_FRESH_MIN_MS; a longer one is not, so that a key that was taken away stops working in time. */
#define ISSUER_FRESH_MIN_MS 5000
int64_t issuer_fresh_ms(const struct issuer_rule *r, int64_t max_age_s);

struct keyset;
/* Reads a JWKS: unknown members and key types are skipped; `use`, `key_ops`, `alg` are honoured; `oct` and private keys are never loaded;
 * RSA ≥ 2048; at most 64 keys, 256 KiB. A set without one usable key is an error. Each key is imported once. */
struct keyset *keyset_parse(struct slice json, unsigned algorithms, uint64_t generation, struct problem *why);
struct keyset *keyset_ref(struct keyset *k);
void keyset_unref(struct keyset *k);
size_t keyset_size(const struct keyset *k);
uint64_t keyset_generation(const struct keyset *k);

/* Reads an OpenID provider's discovery document: `issuer` must equal url to the byte, `jwks_uri` must be https with the same origin rules.
 * jwks_uri is written to out. */
int discovery_parse(struct slice json, const char *url, char *out, size_t size, struct problem *why);

/* All issuers of a configuration with their present keys (NULL = not had yet). Built anew for each change; refcounted. */
struct issuer_entry {
	struct issuer_rule rule;
	struct keyset *keys;        /* may be NULL */
	int64_t keys_good_until_ms; /* after it they are unusable: keys_unavailable. INT64_MAX for a file */
};
struct issuers;
struct issuers *issuers_new(const struct issuer_entry *entries, size_t n); /* copies; refs the keys */
struct issuers *issuers_ref(struct issuers *i);
void issuers_unref(struct issuers *i);
size_t issuers_count(const struct issuers *i);
const struct issuer_entry *issuers_at(const struct issuers *i, size_t at);
size_t issuers_place(const struct issuers *i, const char *name); /* issuers_count(): none has this name */

#endif
