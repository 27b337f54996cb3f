/* Which keys may sign tokens, and what is such a token allowed to say? Rules come from the configuration; keys from a JWKS (RFC 7517).
 * Both are immutable and refcounted, so that a reload or a key rotation swaps them whole. */
#ifndef BATON_IDENTITY_ISSUER_H
#define BATON_IDENTITY_ISSUER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/problem.h"
#include "base/slice.h"
#include "identity/dialect.h"

enum token_alg { ALG_NONE = 0, ALG_ES256 = 1, ALG_ES384 = 2, ALG_RS256 = 4, ALG_PS256 = 8, ALG_EDDSA = 16 };
/* 0 for any other text; case-sensitive. */
enum token_alg token_alg_from_text(struct slice text);
#define TOKEN_ALGS 5
/* The name of the one at this place; NULL: there are fewer. */
const char *token_alg_text(size_t at);

#define ISSUER_TENANTS_MAX 32
#define ISSUER_AUDIENCES_MAX 16
#define ISSUER_AUDIENCE_MAX 255 /* bytes */
#define ISSUER_LIFETIME_MIN_MS INT64_C(1000)
#define ISSUER_LIFETIME_MAX_MS (7 * INT64_C(86400000))
#define ISSUER_REFRESH_MIN_MS INT64_C(1000)
#define ISSUER_REFRESH_MAX_MS INT64_C(86400000)
#define ISSUER_STALE_MIN_MS INT64_C(1000)
#define ISSUER_STALE_MAX_MS (7 * INT64_C(86400000))
#define TENANT_VALUES_MAX 32
#define TENANT_VALUE_MAX 127 /* bytes */

/* What the issuer calls a tenant, and what it is called here. */
struct tenant_value {
	char value[TENANT_VALUE_MAX + 1];
	char tenant[64];
};

#define INTROSPECTION_CLIENT_MAX 255 /* bytes */
#define INTROSPECTION_NAME_MAX 64    /* bytes */
#define INTROSPECTION_CACHE_MIN_MS INT64_C(1000)
#define INTROSPECTION_CACHE_MAX_MS INT64_C(600000)

/* Where it is asked about tokens that only it can read (RFC 7662), and what this broker is there. */
struct introspection_rule {
	char url[513];              /* "" = it is not asked: such a token is none */
	char client_id[INTROSPECTION_CLIENT_MAX + 1];
	char secret_file[1025];     /* HTTP Basic (RFC 6749 §2.3.1); "" = without */
	char secret[INTROSPECTION_NAME_MAX + 1]; /* of a registered issuer: the secret's name, of which each node has the file; "" = without */
	char cert[INTROSPECTION_NAME_MAX + 1];   /* the same, of the certificate and its key */
	char cert_file[1025], key_file[1025]; /* mutual TLS (RFC 8705 §2); "" = without */
	int64_t cache_ms;           /* an answer is used so long at most */
};

struct issuer_rule {
	char name[64];
	char url[513];              /* `iss` is this, to the byte */
	char jwks_file[1025];       /* static keys; "" = discovery at url */
	char tenants[ISSUER_TENANTS_MAX][64];
	size_t n_tenants;           /* 0 = none: it speaks for nobody */
	char audiences[ISSUER_AUDIENCES_MAX][ISSUER_AUDIENCE_MAX + 1]; /* the only ones that its tokens count for */
	size_t n_audiences;         /* 0 = any that is demanded */
	unsigned algorithms;        /* enum token_alg bits */
	bool binding;               /* certificate (RFC 8705) demanded; default true. A JWT-SVID is bound by its sub, always */
	int64_t max_lifetime_ms;    /* exp - iat */
	int64_t keys_refresh_ms;    /* keys are fetched again this long after they were, at the latest */
	int64_t keys_stale_ms;      /* and serve this much longer when that fails */
	struct claim_map claims;    /* how its tokens are read: dialect.h */
	struct tenant_value tenant_values[TENANT_VALUES_MAX]; /* each tenant is one of `tenants` */
	size_t n_tenant_values;     /* 0 = the claim holds Baton's names; else a value that is not there is of no tenant */
	struct introspection_rule introspection;
	char ca_file[1025];         /* for discovery and introspection; "" = the system's */
	bool allow_private;         /* its address may be private or loopback */
	bool registered;            /* while the node runs: not of the configuration */
};

#define ISSUER_ALGORITHMS_DEFAULT (ALG_ES256 | ALG_EDDSA | ALG_PS256 | ALG_RS256)
#define ISSUER_ALGORITHMS_SVID (ALG_ES256 | ALG_ES384 | ALG_PS256 | ALG_RS256) /* JWT-SVID, 2.1: without EdDSA */

/* How long the keys of an answer with this Cache-Control max-age (seconds; -1: none) are taken for fresh. A shorter time than keys_refresh_ms
 * is the issuer's to choose, down to ISSUER_FRESH_MIN_MS; a longer one is not, so that a key that was taken away stops working in time. */
#define ISSUER_FRESH_MIN_MS 5000
int64_t issuer_fresh_ms(const struct issuer_rule *r, int64_t max_age_s);

/* What is wrong with a rule, whoever wrote it: static text and *field, its name as the configuration has it ("claims.client"); NULL: nothing.
 * Files are not looked for. */
const char *issuer_rule_wrong(const struct issuer_rule *r, const char **field);
const char *issuer_url_wrong(const char *url);
const char *issuer_audience_wrong(const char *audience);
/* The tenant that a tenant claim's value means; NULL: none, for the rule lists values and not this one. */
const char *issuer_tenant(const struct issuer_rule *r, const char *value);
/* What its tokens are of, for profiles and revocations: its url; of JWT-SVIDs, which name no issuer, "spiffe://" and their trust domain, whatever the url is. */
#define ISSUER_ID_MAX 513
const char *issuer_id(const struct issuer_rule *r, char out[ISSUER_ID_MAX]);
/* May a token of this issuer count for that audience? */
bool issuer_serves(const struct issuer_rule *r, const char *audience);

struct keyset;
/* Reads a JWKS: unknown members and key types are skipped; `use`, `key_ops`, `alg` are honoured; `oct` and private keys are never loaded;
 * RSA ≥ 2048; at most 64 keys, 256 KiB. A set without one usable key is an error. Each key is imported once. */
struct keyset *keyset_parse(struct slice json, unsigned algorithms, uint64_t generation, struct problem *why);
/* The same, for keys that sign JWT-SVIDs when the rule's issuer has those: in a SPIFFE bundle their `use` is jwt-svid. */
struct keyset *keyset_parse_for(const struct issuer_rule *r, struct slice json, uint64_t generation, struct problem *why);
struct keyset *keyset_ref(struct keyset *k);
void keyset_unref(struct keyset *k);
size_t keyset_size(const struct keyset *k);
/* Of the one at this place: its kid ("-": none, or one that is no plain text), and what it is for. Lives as long as the set. */
const char *keyset_key_name(const struct keyset *k, size_t at, const char **alg);
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
