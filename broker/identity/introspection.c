/* What does an issuer say of a token that only it can read? See introspection.h. What is read of an answer is judged by token_judge.c like a JWT's claims; here is
 * what an answer must be for that: of an active access token, of this issuer, of one that has not expired. */
#include "identity/introspection.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <openssl/evp.h>

#include "identity/jws.h"
#include "identity/token_kind.h"

/* ---- whom a token is shown to ---- */

bool introspection_is_opaque(struct slice token)
{
	const uint8_t *at = token.p, *end = token.p + token.n;
	size_t dots = 0;

	while (at < end && (at = memchr(at, '.', (size_t)(end - at)))) {
		dots++;
		at++;
	}
	return dots != 2 && dots != 4;
}

static bool is_unreserved(uint8_t c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '.' || c == '_';
}

const char *introspection_token_wrong(struct slice token)
{
	size_t n = token.n;

	if (n < OPAQUE_MIN_BYTES || n > OPAQUE_MAX_BYTES)
		return "a token that is no JWT has 16 to 4096 bytes";
	while (n && token.p[n - 1] == '=')
		n--;
	for (size_t i = 0; i < n; i++)
		if (!is_unreserved(token.p[i]) && !memchr("~+/", token.p[i], 3))
			return "a token holds a character that RFC 6750 does not allow: send it as it was issued";
	return n ? NULL : "a token is more than padding";
}

static bool speaks_for(const struct issuer_rule *r, const char *tenant)
{
	for (size_t i = 0; i < r->n_tenants; i++)
		if (strcmp(r->tenants[i], tenant) == 0)
			return true;
	return false;
}

size_t introspection_issuer(const struct issuers *all, const char *tenant)
{
	size_t n = issuers_count(all), at = n, found = 0;

	for (size_t i = 0; i < n; i++) {
		const struct issuer_rule *r = &issuers_at(all, i)->rule;

		if (!r->introspection.url[0] || !speaks_for(r, tenant))
			continue;
		found++;
		at = i;
	}
	return found == 1 ? at : n;
}

const char *introspection_shared_tenant(const struct issuer_rule *a, const struct issuer_rule *b)
{
	if (!a->introspection.url[0] || !b->introspection.url[0])
		return NULL;
	for (size_t i = 0; i < a->n_tenants; i++)
		if (speaks_for(b, a->tenants[i]))
			return a->tenants[i];
	return NULL;
}

void introspection_source(const struct issuer_rule *r, uint8_t out[SHA256_BYTES])
{
	const struct introspection_rule *i = &r->introspection;
	const struct slice parts[] = {slice_str(r->name), slice_str(r->url), slice_str(r->ca_file), slice_of(&r->claims, sizeof r->claims), slice_str(i->url),
		slice_str(i->client_id), slice_str(i->secret_file), slice_str(i->secret), slice_str(i->cert), slice_str(i->cert_file), slice_str(i->key_file)};

	sha256_parts(parts, sizeof parts / sizeof parts[0], out);
}

/* ---- where a secret may be sent ---- */

#define HOST_NAME_MAX_BYTES 253 /* of a host: RFC 1035 §2.3.4 */
#define HTTPS_PORT 443

static bool is_word(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
}

/* 0: it is none. */
static long read_port(const char *text, size_t n)
{
	long port = 0;

	if (n < 1 || n > 5 || *text == '0')
		return 0;
	for (size_t i = 0; i < n; i++) {
		if (text[i] < '0' || text[i] > '9')
			return 0;
		port = port * 10 + (text[i] - '0');
	}
	return port <= 65535 ? port : 0;
}

/* Words with one dot between. Anything else could be read otherwise by whoever connects. */
static bool put_name(const char *text, size_t n, char *out)
{
	for (size_t i = 0; i < n; i++) {
		char c = text[i] >= 'A' && text[i] <= 'Z' ? (char)(text[i] + ('a' - 'A')) : text[i];

		if (!is_word(c) && (c != '.' || i == 0 || text[i - 1] == '.' || i + 1 == n))
			return false;
		out[i] = c;
	}
	out[n] = '\0';
	return n;
}

bool introspection_host(const char *url, char out[INTROSPECTION_HOST_MAX + 1])
{
	const char *host = strncmp(url, "https://", 8) == 0 ? url + 8 : "";
	size_t whole = strcspn(host, "/"), n = strcspn(host, "/:");
	long port = n < whole ? read_port(host + n + 1, whole - n - 1) : HTTPS_PORT;

	if (n > HOST_NAME_MAX_BYTES || !port || !put_name(host, n, out))
		return false;
	if (port != HTTPS_PORT)
		snprintf(out + n, INTROSPECTION_HOST_MAX + 1 - n, ":%ld", port);
	return true;
}

/* A key is sent to nobody, as a secret would be. */
const char *introspection_secret_name_wrong(const char *name)
{
	const struct slice s = slice_str(name);

	if (strcmp(name, INTROSPECTION_CA) == 0)
		return "ca.pem is the name of certificates";
	if (slice_ends(s, slice_str(INTROSPECTION_CERT)) || slice_ends(s, slice_str(INTROSPECTION_KEY)))
		return "what ends in .crt or .key is the file of a certificate or its key: a name is without that";
	for (size_t i = 0; i < s.n; i++)
		if (!is_word(name[i]) && !(name[i] >= 'A' && name[i] <= 'Z') && (name[i] != '.' || i == 0))
			return "a name here has letters, digits, -, _ and ., and does not begin with a .";
	return s.n >= 1 && s.n <= INTROSPECTION_NAME_MAX ? NULL : "a name here has 1 to 64 characters";
}

/* ---- the question ---- */

/* As in application/x-www-form-urlencoded. */
static char *put_encoded(char *out, struct slice s)
{
	static const char hex[] = "0123456789ABCDEF";

	for (size_t i = 0; i < s.n; i++) {
		if (is_unreserved(s.p[i])) {
			*out++ = (char)s.p[i];
			continue;
		}
		*out++ = '%';
		*out++ = hex[s.p[i] >> 4];
		*out++ = hex[s.p[i] & 15];
	}
	return out;
}

static char *put(char *out, const char *text)
{
	size_t n = strlen(text);

	memcpy(out, text, n);
	return out + n;
}

/* A client that proves itself by its certificate still says which one it is (RFC 8705 §2); with a secret the header says it. */
size_t introspection_form(const struct issuer_rule *r, struct slice token, char *out)
{
	char *at = put_encoded(put(out, "token="), token);

	at = put(at, "&token_type_hint=access_token");
	if (!r->introspection.secret_file[0] && !r->introspection.secret[0])
		at = put_encoded(put(at, "&client_id="), slice_str(r->introspection.client_id));
	return (size_t)(at - out);
}

bool introspection_basic(const struct issuer_rule *r, struct slice secret, char *out)
{
	char pair[3 * (INTROSPECTION_CLIENT_MAX + INTROSPECTION_SECRET_MAX) + 2], *at;

	if (secret.n > INTROSPECTION_SECRET_MAX)
		return false;
	at = put_encoded(pair, slice_str(r->introspection.client_id));
	*at++ = ':';
	at = put_encoded(at, secret);
	EVP_EncodeBlock((unsigned char *)put(out, "Basic "), (const unsigned char *)pair, (int)(at - pair));
	secret_wipe(pair, sizeof pair);
	return true;
}

/* ---- the answer ---- */

static struct answer *answer_new(enum reason reason, const char *field, const char *fault, int64_t until_ms)
{
	struct answer *a = calloc(1, sizeof *a);

	if (!a)
		return NULL;
	a->reason = reason;
	a->fault = fault;
	a->until_ms = until_ms;
	slice_copy_str(slice_str(field), a->field, sizeof a->field);
	return a;
}

static struct answer *refusal(const struct introspection_heard *h, enum reason reason, const char *field, const char *fault)
{
	return answer_new(reason, field, fault, h->mono_ms + INTROSPECTION_REFUSED_MS);
}

static struct slice text_of(const json_t *v)
{
	return slice_of(json_string_value(v), json_string_length(v));
}

/* Providers answer for refresh tokens too; only an access token has a type (RFC 7662 §2.2, RFC 6749 §5.1). One that is bound to a certificate is Bearer. */
static bool is_access_token(const json_t *answer)
{
	const char *type = json_string_value(json_object_get(answer, "token_type"));

	return type && strcasecmp(type, "Bearer") == 0;
}

static bool is_of_issuer(const json_t *answer, const struct issuer_rule *r)
{
	const json_t *iss = json_object_get(answer, "iss");

	return !iss || (json_is_string(iss) && slice_is(text_of(iss), r->url));
}

/* Facts are written down, logged and shown. Some providers know a token by the token itself; that is left out, for the digest names it as well. */
static void leave_token_out(json_t *answer, const struct claim_names *names, struct slice token)
{
	for (size_t i = 0; i < names->n || i == 0; i++) {
		const char *name = names->n ? names->name[i] : "jti";
		const json_t *jti = json_object_get(answer, name);

		if (json_is_string(jti) && slice_eq(text_of(jti), token))
			json_object_del(answer, name);
	}
}

static bool repeats(const struct facts *f, struct slice token)
{
	for (size_t i = 0; i + token.n <= f->text_n; i++)
		if (memcmp(f->text + i, token.p, token.n) == 0)
			return true;
	return false;
}

/* NULL: the facts can be kept; else what stands against it. */
static const char *unusable(const struct introspection_heard *h, const json_t *answer, const struct facts *f, const char **field)
{
	const char *fault = token_kind_fault(answer, f, h->rule->claims.dialect, field);

	if (fault)
		return fault;
	*field = "";
	if (repeats(f, h->token))
		return "what the issuer says of the token repeats the token, and is not kept";
	return facts_size(f) > ANSWER_TEXT_MAX ? "the issuer says too much of the token" : NULL;
}

/* Takes f. */
static struct answer *with_facts(const struct introspection_heard *h, struct facts *f)
{
	int64_t left = f->expires_at_ms - h->now_ms, cache = h->rule->introspection.cache_ms;
	struct answer *a = answer_new(REASON_ALLOWED, "", "", h->mono_ms + (left < cache ? left : cache));

	if (!a) {
		free(f);
		return NULL;
	}
	sha256(h->token, f->signed_sha256);
	a->facts = f;
	return a;
}

/* Of an answer that a jti is missing in, the digest stands for it (RFC 7662 §2.2: optional). NULL: memory is out. */
static struct answer *read_active(const struct introspection_heard *h, json_t *answer)
{
	struct claim_map map = h->rule->claims;
	const char *fault = NULL, *field = "";
	struct answer *a;
	struct facts *f;

	if (!is_access_token(answer))
		return refusal(h, REASON_INVALID_TOKEN, "token_type", "the issuer does not say that it is an access token (token_type Bearer): send one");
	if (!is_of_issuer(answer, h->rule))
		return refusal(h, REASON_WRONG_ISSUER, "iss", "the token is of another issuer than the one that was asked about it");
	leave_token_out(answer, &map.jti, h->token);
	map.jti_optional = true;
	f = facts_read(answer, &map, slice_of(NULL, 0), &fault, &field);
	if (f)
		fault = unusable(h, answer, f, &field);
	if (f && !fault && f->expires_at_ms > h->now_ms)
		return with_facts(h, f);
	if (f && !fault)
		a = refusal(h, REASON_EXPIRED_TOKEN, "exp", "the token has expired: get a new one from the issuer");
	else
		a = fault ? refusal(h, REASON_INVALID_TOKEN, field, fault) : NULL;
	free(f);
	return a;
}

struct answer *introspection_read(const struct introspection_heard *h, const char **why)
{
	json_t *answer = jws_read_json(h->body);
	const json_t *active = json_object_get(answer, "active");
	struct answer *a = NULL;

	*why = "";
	if (!answer)
		*why = "the answer is no JSON object, or holds a member twice";
	else if (!json_is_boolean(active))
		*why = "the answer does not say whether the token is active";
	else if (json_is_true(active))
		a = read_active(h, answer);
	else
		a = refusal(h, REASON_INVALID_TOKEN, "", "its issuer says that the token is not active: it was revoked, has expired, or is none of its own");
	if (a)
		a->active = json_is_true(active);
	json_decref(answer);
	if (!a && !**why)
		*why = "out of memory";
	return a;
}
