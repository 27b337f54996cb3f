/* Are the claims of a token all there, and of the right type? RFC 9068 §2.2, RFC 7519 §4.1 and SPIFFE's JWT-SVID §3, read once into one piece
 * of memory. Whether they are good here and now is judged anew at each use: token_judge.c. */
#include "identity/facts.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/encode.h"
#include "base/secret.h"
#include "identity/claim.h"
#include "identity/spiffe.h"
#include "identity/token.h"

#define NUMBER_MAX 9007199254740992 /* 2^53: what every JSON reader holds exactly */
#define STRING_MAX 2048             /* a SPIFFE id may stand in sub, client_id and aud */
#define JTI_MAX 256
#define SCOPE_MAX 64
/* what is copied is shorter than the JSON it comes from, but one claim may serve as two */
#define TEXT_MAX (TOKEN_MAX_BYTES * 2)

struct reader {
	const json_t *payload;
	const char *field, *fault;
	struct facts *f;
};

static bool refuse(struct reader *r, const char *field, const char *fault)
{
	r->field = field;
	r->fault = fault;
	return false;
}

static bool put(struct reader *r, const char *field, struct slice s, uint16_t *at)
{
	if (s.n + 1 > TEXT_MAX - r->f->text_n)
		return refuse(r, field, "the token says too much");
	*at = (uint16_t)r->f->text_n;
	memcpy(r->f->text + r->f->text_n, s.p, s.n);
	r->f->text[r->f->text_n + s.n] = '\0';
	r->f->text_n += (uint32_t)s.n + 1;
	return true;
}

static struct slice string_slice(const json_t *v)
{
	return slice_of(json_string_value(v), json_string_length(v));
}

static bool read_text(struct reader *r, const char *field, const json_t *v, size_t max, uint16_t *at)
{
	struct slice s;

	if (!json_is_string(v))
		return refuse(r, field, v ? "this claim must be a string" : "this claim is missing (RFC 9068, 2.2)");
	s = string_slice(v);
	if (s.n == 0 || s.n > max)
		return refuse(r, field, "this claim is empty or too long");
	if (!utf8_is_text(s))
		return refuse(r, field, "this claim holds control characters");
	return put(r, field, s, at);
}

/* A claim under the first of these names that is there; *v NULL: under none. */
static bool find(struct reader *r, const struct claim_names *names, const char *fallback, const json_t **v, const char **name)
{
	return claim_find_first(r->payload, names, fallback, v, name) ||
	       refuse(r, *name, "on the way to this claim stands something that is no object");
}

static bool find_one(struct reader *r, const char *name, const json_t **v)
{
	*v = NULL;
	return !name[0] || claim_find(r->payload, name, v) || refuse(r, name, "on the way to this claim stands something that is no object");
}

static bool read_named(struct reader *r, const struct claim_names *names, const char *fallback, size_t max, bool needed, uint16_t *at)
{
	const char *name;
	const json_t *v;

	if (!find(r, names, fallback, &v, &name))
		return false;
	return (!v && !needed) || read_text(r, name, v, max, at);
}

/* NumericDate (RFC 7519 §2): seconds, fractions allowed. */
static bool read_time(struct reader *r, const char *field, bool needed, int64_t *ms)
{
	const json_t *v = json_object_get(r->payload, field);
	double d;

	if (!v && !needed)
		return true;
	if (!json_is_number(v))
		return refuse(r, field,
			      v ? "this claim must be a number of seconds" : "this claim is missing (RFC 9068, 2.2)");
	if (json_is_integer(v)) {
		json_int_t i = json_integer_value(v);

		if (i < 0 || i > NUMBER_MAX)
			return refuse(r, field, "this claim is no time");
		*ms = (int64_t)i * 1000;
		return true;
	}
	d = json_real_value(v);
	if (!isfinite(d) || signbit(d) || d > (double)NUMBER_MAX)
		return refuse(r, field, "this claim is no time");
	*ms = (int64_t)(d * 1000.0);
	return true;
}

static bool read_times(struct reader *r)
{
	if (!read_time(r, "exp", true, &r->f->expires_at_ms) || !read_time(r, "iat", true, &r->f->issued_at_ms))
		return false;
	r->f->not_before_ms = r->f->issued_at_ms;
	return read_time(r, "nbf", false, &r->f->not_before_ms);
}

static bool read_audiences(struct reader *r)
{
	const json_t *v = json_object_get(r->payload, "aud"), *one;
	uint16_t at;
	size_t i;

	r->f->audiences = (uint16_t)r->f->text_n;
	r->f->n_audiences = 1;
	if (!json_is_array(v))
		return read_text(r, "aud", v, STRING_MAX, &at);
	if (json_array_size(v) == 0 || json_array_size(v) > FACTS_AUDIENCES_MAX)
		return refuse(r, "aud", "aud must name 1 to 16 audiences");
	r->f->n_audiences = (uint16_t)json_array_size(v);
	json_array_foreach((json_t *)v, i, one)
		if (!read_text(r, "aud", one, STRING_MAX, &at))
			return false;
	return true;
}

/* RFC 6749 §3.3: scope-token. */
static bool put_scope(struct reader *r, struct slice s)
{
	uint16_t at;

	if (s.n == 0 || s.n > SCOPE_MAX)
		return refuse(r, "scope", "scopes have 1 to 64 characters, with one space between two");
	for (size_t i = 0; i < s.n; i++)
		if (s.p[i] < 0x21 || s.p[i] > 0x7e || s.p[i] == '"' || s.p[i] == '\\')
			return refuse(r, "scope", "a scope holds a character that RFC 6749 does not allow");
	if (r->f->n_scopes == CLAIMS_SCOPES_MAX)
		return refuse(r, "scope", "a token has at most 128 scopes");
	r->f->n_scopes++;
	return put(r, "scope", s, &at);
}

static bool read_scope_string(struct reader *r, struct slice s)
{
	size_t start = 0;

	if (s.n == 0)
		return true;
	for (size_t i = 0; i <= s.n; i++) {
		if (i < s.n && s.p[i] != ' ')
			continue;
		if (!put_scope(r, slice_of(s.p + start, i - start)))
			return false;
		start = i + 1;
	}
	return true;
}

static bool read_scopes(struct reader *r, const struct claim_names *names)
{
	const json_t *v, *one;
	const char *name;
	size_t i;

	r->f->scopes = (uint16_t)r->f->text_n;
	if (!find(r, names, "scope", &v, &name))
		return false;
	if (!v)
		return true;
	if (json_is_string(v))
		return read_scope_string(r, string_slice(v));
	if (!json_is_array(v))
		return refuse(r, "scope", "scopes must be a string, or an array of strings");
	json_array_foreach((json_t *)v, i, one) {
		if (!json_is_string(one))
			return refuse(r, "scope", "scopes must be a string, or an array of strings");
		if (!put_scope(r, string_slice(one)))
			return false;
	}
	return true;
}

/* Beside a certificate's hash, another key (RFC 7800 §3.1, DPoP's jkt) still asks for a proof that a Bearer token does not
 * give. */
static bool asks_for_another_proof(const json_t *cnf)
{
	static const char *const members[] = {"jkt", "jwk", "jwe", "jku"};

	for (size_t i = 0; i < sizeof members / sizeof members[0]; i++)
		if (json_object_get(cnf, members[i]))
			return true;
	return false;
}

/* RFC 7800 §3.1, RFC 8705 §3.1. */
static bool read_confirmation(struct reader *r)
{
	const json_t *cnf = json_object_get(r->payload, "cnf"), *x5t;
	uint8_t digest[SHA256_BYTES];

	if (!cnf)
		return true;
	if (!json_is_object(cnf))
		return refuse(r, "cnf", "cnf must be an object");
	x5t = json_object_get(cnf, "x5t#S256");
	r->f->confirmation = x5t && !asks_for_another_proof(cnf) ? CNF_CERTIFICATE : CNF_OTHER;
	if (!x5t)
		return true;
	if (!json_is_string(x5t) || b64url_decode(string_slice(x5t), digest, sizeof digest) != (long)sizeof digest)
		return refuse(r, "cnf", "cnf.x5t#S256 must be the base64url SHA-256 of a certificate");
	return put(r, "cnf", string_slice(x5t), &r->f->x5t);
}

static bool read_tenant(struct reader *r, const char *name)
{
	const json_t *v;

	return find_one(r, name, &v) && (!v || read_text(r, name, v, STRING_MAX, &r->f->tenant));
}

static bool is_said(const json_t *v)
{
	return v && !json_is_null(v) && !json_is_false(v);
}

/* sub is the client's id, or that with what its issuer puts behind it. */
static bool is_own_subject(const struct facts *f, enum dialect dialect)
{
	const char *subject = facts_text(f, f->subject), *client = facts_text(f, f->client), *suffix = dialect_self_suffix(dialect);
	size_t n = strlen(client);

	if (strncmp(subject, client, n) != 0)
		return false;
	return subject[n] == '\0' || (suffix[0] && strcmp(subject + n, suffix) == 0);
}

/* Where both kinds have a mark, a token with both or with none is of neither kind. */
static bool read_user(struct reader *r, const struct claim_map *map)
{
	const json_t *user, *service;

	if (!find_one(r, map->user, &user) || !find_one(r, map->service, &service))
		return false;
	if (map->user[0] && map->service[0] && is_said(user) == is_said(service))
		return refuse(r, map->user, "it cannot be told whether the token speaks for a user or for its client");
	if (map->user[0])
		r->f->user = is_said(user);
	else
		r->f->user = !is_said(service) && !is_own_subject(r->f, map->dialect);
	return true;
}

static bool read_all(struct reader *r, const struct claim_map *map, struct slice key_id)
{
	return read_times(r) && read_text(r, "sub", json_object_get(r->payload, "sub"), STRING_MAX, &r->f->subject) &&
	       read_named(r, &map->client, "client_id", STRING_MAX, true, &r->f->client) &&
	       read_named(r, &map->jti, "jti", JTI_MAX, !map->jti_optional, &r->f->jti) && read_audiences(r) && read_scopes(r, &map->scope) &&
	       read_tenant(r, map->tenant) && read_confirmation(r) && (!key_id.n || put(r, "kid", key_id, &r->f->key_id)) &&
	       read_user(r, map);
}

/* JWT-SVID §3.1: a SPIFFE id of the trust domain whose keys were used. */
static bool read_workload(struct reader *r, const struct claim_map *map)
{
	const json_t *sub = json_object_get(r->payload, "sub");
	struct spiffe_id id;

	if (!read_text(r, "sub", sub, STRING_MAX, &r->f->subject))
		return false;
	if (spiffe_parse(string_slice(sub), &id) || !slice_is(id.trust_domain, map->trust_domain))
		return refuse(r, "sub", "sub must be a SPIFFE id of the issuer's trust domain");
	r->f->client = r->f->subject;
	return true;
}

/* JWT-SVID §3: exp, aud and sub are there; iat, nbf and jti may be. */
static bool read_svid(struct reader *r, const struct claim_map *map, struct slice key_id)
{
	r->f->undated = !json_object_get(r->payload, "iat");
	if (!read_time(r, "exp", true, &r->f->expires_at_ms) || !read_time(r, "iat", false, &r->f->issued_at_ms))
		return false;
	r->f->not_before_ms = r->f->issued_at_ms;
	return read_time(r, "nbf", false, &r->f->not_before_ms) && read_workload(r, map) && read_audiences(r) &&
	       read_named(r, &map->jti, "jti", JTI_MAX, !map->jti_optional, &r->f->jti) && read_scopes(r, &map->scope) &&
	       read_tenant(r, map->tenant) && read_confirmation(r) && (!key_id.n || put(r, "kid", key_id, &r->f->key_id));
}

int64_t facts_issued_at(const struct facts *f, const struct issuer_rule *rule)
{
	return f->undated ? f->expires_at_ms - rule->max_lifetime_ms : f->issued_at_ms;
}

struct facts *facts_read(const json_t *payload, const struct claim_map *map, struct slice key_id, const char **fault, const char **field)
{
	struct reader r = {.payload = payload, .field = "", .f = malloc(sizeof *r.f + TEXT_MAX)};
	struct facts *f = NULL;

	if (r.f) {
		memset(r.f, 0, sizeof *r.f);
		r.f->text[0] = '\0'; /* at 0: the empty string, for what is absent */
		r.f->text_n = 1;
		if (map->kind == ISSUER_JWT_SVID ? read_svid(&r, map, key_id) : read_all(&r, map, key_id))
			f = realloc(r.f, sizeof *f + r.f->text_n);
	}
	if (!f)
		free(r.f);
	*fault = r.fault;
	*field = r.field;
	return f;
}

const char *facts_find_audience(const struct facts *f, const char *audience)
{
	const char *a = facts_text(f, f->audiences);

	for (uint16_t i = 0; i < f->n_audiences; i++, a += strlen(a) + 1)
		if (strcmp(a, audience) == 0)
			return a;
	return NULL;
}

bool facts_to_claims(const struct facts *f, const struct issuer_rule *rule, struct arena *arena, struct claims *out)
{
	const char *tenant = issuer_tenant(rule, facts_text(f, f->tenant));
	char issuer[ISSUER_ID_MAX];
	size_t url_n = strlen(issuer_id(rule, issuer)) + 1, name_n = strlen(rule->name) + 1, tenant_n = tenant ? strlen(tenant) + 1 : 0;
	char *text = arena_alloc(arena, f->text_n + url_n + name_n + tenant_n);
	const char **scopes = f->n_scopes ? arena_alloc(arena, f->n_scopes * sizeof *scopes) : NULL;
	const char *s;

	if (!text || (f->n_scopes && !scopes))
		return false;
	memcpy(text, f->text, f->text_n);
	memcpy(text + f->text_n, issuer, url_n);
	memcpy(text + f->text_n + url_n, rule->name, name_n);
	if (tenant)
		memcpy(text + f->text_n + url_n + name_n, tenant, tenant_n);
	s = text + f->scopes;
	for (uint16_t i = 0; i < f->n_scopes; i++, s += strlen(s) + 1)
		scopes[i] = s;
	*out = (struct claims){
		.issuer = text + f->text_n,
		.issuer_name = text + f->text_n + url_n,
		.subject = text + f->subject,
		.client_id = text + f->client,
		.tenant = tenant ? text + f->text_n + url_n + name_n : text + f->tenant, /* the latter for the audit: it is refused */
		.jti = text + f->jti,
		.key_id = text + f->key_id,
		.audience = text,
		.scopes = scopes,
		.n_scopes = f->n_scopes,
		.issued_at_ms = facts_issued_at(f, rule),
		.not_before_ms = f->not_before_ms,
		.expires_at_ms = f->expires_at_ms,
		.subject_is_user = f->user,
	};
	memcpy(out->token_sha256, f->signed_sha256, SHA256_BYTES);
	return true;
}

bool claims_has_scope(const struct claims *c, struct slice scope)
{
	for (size_t i = 0; i < c->n_scopes; i++)
		if (slice_is(scope, c->scopes[i]))
			return true;
	return false;
}
