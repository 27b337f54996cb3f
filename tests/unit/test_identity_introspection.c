/* What is made of what an issuer says of an opaque token, whom is one shown to, and for how long is an answer used? Every refusal stands beside the honest answer that
 * differs from it in that one thing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/encode.h"
#include "base/secret.h"
#include "identity/askgate.h"
#include "identity/introspection.h"
#include "identity/token.h"

#define URL "https://login.acme.example"
#define NOW INT64_C(1764000000) /* seconds */
#define MONO 5000000
#define CACHE_MS 60000
#define X5T "bwcK0esc3ACC3DB2Y5_lESsXE8o9ltc05O89jdN-dg0"
#define TOKEN "mF_9.B5f-4-1JqM+/~opaque=="
#define HONEST "\"active\":true,\"token_type\":\"Bearer\",\"iss\":\"" URL "\",\"sub\":\"alice\",\"aud\":\"baton\",\"client_id\":\"planner\",\"iat\":1763999990,\"tenant\":\"acme\"," \
	"\"scope\":\"orders:read orders:write\",\"cnf\":{\"x5t#S256\":\"" X5T "\"}"

static struct arena *arena;
static struct answers *answers;
static struct issuer_rule rule;
static const char *why;

static void honest_rule(struct issuer_rule *r, const char *name, const char *tenant)
{
	memset(r, 0, sizeof *r);
	strcpy(r->name, name);
	strcpy(r->url, URL);
	strcpy(r->tenants[0], tenant);
	r->n_tenants = 1;
	r->algorithms = ALG_ES256;
	r->binding = true;
	r->max_lifetime_ms = 3600 * 1000;
	dialect_preset(DIALECT_STANDARD, &r->claims);
	strcpy(r->introspection.url, URL "/introspect");
	strcpy(r->introspection.client_id, "the broker");
	strcpy(r->introspection.secret_file, "/secret");
	r->introspection.cache_ms = CACHE_MS;
}

static int up(void **state)
{
	arena = arena_new(1 << 20);
	answers = answers_new();
	honest_rule(&rule, "corp", "acme");
	return arena && answers ? 0 : -1;
}

static int down(void **state)
{
	answers_free(answers);
	arena_free(arena);
	return 0;
}

static struct answer *hear(const char *body)
{
	const struct introspection_heard h = {.rule = &rule, .token = SLICE_LIT(TOKEN), .body = slice_str(body), .now_ms = NOW * 1000, .mono_ms = MONO};
	struct answer *a = introspection_read(&h, &why);

	assert_true((a == NULL) == (*why != '\0'));
	return a;
}

/* REASON_UNSPECIFIED: it was no answer. */
static enum reason made_of(const char *body)
{
	struct answer *a = hear(body);
	enum reason r = a ? a->reason : REASON_UNSPECIFIED;

	if (a && r == REASON_ALLOWED)
		assert_true(a->active && a->facts && !a->fault[0]);
	if (a && r != REASON_ALLOWED)
		assert_true(!a->facts && a->fault[0] && a->until_ms == MONO + INTROSPECTION_REFUSED_MS);
	answer_free(a);
	return r;
}

static void an_honest_answer(void **state)
{
	struct answer *a = hear("{" HONEST ",\"exp\":1764000300,\"jti\":\"j-1\",\"more\":[1]}");
	uint8_t digest[SHA256_BYTES];

	assert_non_null(a);
	assert_int_equal(a->reason, REASON_ALLOWED);
	assert_string_equal(facts_text(a->facts, a->facts->subject), "alice");
	assert_string_equal(facts_text(a->facts, a->facts->client), "planner");
	assert_string_equal(facts_text(a->facts, a->facts->jti), "j-1");
	assert_int_equal(a->facts->n_scopes, 2);
	sha256(SLICE_LIT(TOKEN), digest);
	assert_memory_equal(a->facts->signed_sha256, digest, sizeof digest);
	answer_free(a);
}

/* RFC 7662 §4: cached no later than exp. */
static void it_is_kept_no_longer_than_exp_or_the_cache(void **state)
{
	struct answer *a = hear("{" HONEST ",\"exp\":1764000300}");

	assert_int_equal(a->until_ms, MONO + CACHE_MS);
	answer_free(a);
	a = hear("{" HONEST ",\"exp\":1764000020}");
	assert_int_equal(a->until_ms, MONO + 20000);
	answer_free(a);
	a = hear("{" HONEST ",\"exp\":1764000000.25}");
	assert_int_equal(a->until_ms, MONO + 250);
	answer_free(a);
	assert_int_equal(made_of("{" HONEST ",\"exp\":1764000000}"), REASON_EXPIRED_TOKEN);
	assert_int_equal(made_of("{" HONEST ",\"exp\":1}"), REASON_EXPIRED_TOKEN);
	assert_int_equal(made_of("{" HONEST "}"), REASON_INVALID_TOKEN); /* it does not say when it expires */
}

static void what_is_no_answer(void **state)
{
	static const char *const bodies[] = {"", "null", "true", "[]", "\"active\"", "{", "{}", "{\"active\":null}", "{\"active\":1}", "{\"active\":\"true\"}",
		"{\"Active\":true}", "{\"active\":true,\"active\":true}", "{\"active\":false,\"\\u0061ctive\":true}", "{\"active\":true} x",
		"{" HONEST ",\"exp\":1764000300,\"sub\":\"bob\"}", "{" HONEST ",\"exp\":1764000300,\"cnf\":{\"a\":1,\"a\":2}}"};

	for (size_t i = 0; i < sizeof bodies / sizeof bodies[0]; i++)
		assert_int_equal(made_of(bodies[i]), REASON_UNSPECIFIED);
}

static void inactive(void **state)
{
	struct answer *a = hear("{\"active\":false}");

	assert_true(a && !a->active && a->reason == REASON_INVALID_TOKEN);
	answer_free(a);
	assert_int_equal(made_of("{\"active\":false,\"exp\":1764000300,\"sub\":\"alice\"}"), REASON_INVALID_TOKEN);
}

static void what_is_no_access_token_of_this_issuer(void **state)
{
	static const struct { const char *body; enum reason reason; } rows[] = {
		{"{\"active\":true,\"token_type\":\"bearer\",\"sub\":\"a\",\"aud\":\"baton\",\"client_id\":\"c\",\"iat\":1763999990,\"exp\":1764000300}", REASON_ALLOWED},
		{"{\"active\":true,\"sub\":\"a\",\"aud\":\"baton\",\"client_id\":\"c\",\"iat\":1763999990,\"exp\":1764000300}", REASON_INVALID_TOKEN}, /* a refresh token's */
		{"{\"active\":true,\"token_type\":\"DPoP\",\"sub\":\"a\",\"aud\":\"baton\",\"client_id\":\"c\",\"iat\":1763999990,\"exp\":1764000300}", REASON_INVALID_TOKEN},
		{"{\"active\":true,\"token_type\":1,\"sub\":\"a\",\"aud\":\"baton\",\"client_id\":\"c\",\"iat\":1763999990,\"exp\":1764000300}", REASON_INVALID_TOKEN},
		{"{\"active\":true,\"token_type\":\"Bearer\",\"iss\":\"" URL "/\",\"sub\":\"a\",\"aud\":\"baton\",\"client_id\":\"c\",\"iat\":1763999990,\"exp\":1764000300}", REASON_WRONG_ISSUER},
		{"{\"active\":true,\"token_type\":\"Bearer\",\"iss\":[\"" URL "\"],\"sub\":\"a\",\"aud\":\"baton\",\"client_id\":\"c\",\"iat\":1763999990,\"exp\":1764000300}", REASON_WRONG_ISSUER},
		{"{\"active\":true,\"token_type\":\"Bearer\",\"sub\":\"a\",\"aud\":\"c\",\"client_id\":\"c\",\"iat\":1763999990,\"exp\":1764000300}", REASON_INVALID_TOKEN},
		{"{\"active\":true,\"token_type\":\"Bearer\",\"sub\":\"a\",\"aud\":\"baton\",\"client_id\":\"c\",\"iat\":1763999990,\"exp\":1764000300,\"nonce\":\"n\"}", REASON_INVALID_TOKEN},
		{"{\"active\":true,\"token_type\":\"Bearer\",\"sub\":\"a\",\"aud\":\"baton\",\"client_id\":\"c\",\"iat\":1763999990,\"exp\":\"1764000300\"}", REASON_INVALID_TOKEN},
		{"{\"active\":true,\"token_type\":\"Bearer\",\"sub\":\"a\\u0000b\",\"aud\":\"baton\",\"client_id\":\"c\",\"iat\":1763999990,\"exp\":1764000300}", REASON_INVALID_TOKEN},
	};

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		enum reason r = made_of(rows[i].body);

		/* jansson takes no NUL in a string: then it is no JSON */
		assert_true(r == rows[i].reason || (i == sizeof rows / sizeof rows[0] - 1 && r == REASON_UNSPECIFIED));
	}
}

/* oidc-provider and others know a token by itself. */
static void the_token_is_kept_nowhere(void **state)
{
	struct answer *a = hear("{" HONEST ",\"exp\":1764000300,\"jti\":\"" TOKEN "\"}");

	assert_true(a && a->reason == REASON_ALLOWED);
	assert_string_equal(facts_text(a->facts, a->facts->jti), "");
	answer_free(a);
	assert_int_equal(made_of("{" HONEST ",\"exp\":1764000300,\"jti\":\"x" TOKEN "\"}"), REASON_INVALID_TOKEN);
	assert_int_equal(made_of("{\"active\":true,\"token_type\":\"Bearer\",\"sub\":\"" TOKEN "\",\"aud\":\"baton\",\"client_id\":\"c\",\"iat\":1763999990,\"exp\":1764000300}"),
			 REASON_INVALID_TOKEN);
}

static void too_much_is_not_kept(void **state)
{
	char big[1800];

	memset(big, 'a', sizeof big - 1);
	big[sizeof big - 1] = '\0';
	assert_int_equal(made_of(arena_printf(arena, "{\"active\":true,\"token_type\":\"Bearer\",\"sub\":\"a\",\"aud\":[\"%s\",\"%s\"],\"client_id\":\"c\",\"iat\":1763999990,\"exp\":1764000300}",
					      big, big)), REASON_ALLOWED);
	assert_int_equal(made_of(arena_printf(arena, "{\"active\":true,\"token_type\":\"Bearer\",\"sub\":\"a\",\"aud\":[\"%s\",\"%s\",\"%s\",\"%s\",\"%s\"],\"client_id\":\"c\",\"iat\":1763999990,\"exp\":1764000300}",
					      big, big, big, big, big)), REASON_INVALID_TOKEN);
}

/* ---- the question ---- */

static void which_tokens_are_opaque(void **state)
{
	assert_true(introspection_is_opaque(SLICE_LIT("2YotnFZFEjr1zCsicMWpAA")));
	assert_true(introspection_is_opaque(SLICE_LIT("ya29.a0AfH6SMBx")));
	assert_false(introspection_is_opaque(SLICE_LIT("eyJhbGciOiJub25lIn0.e30.")));
	assert_false(introspection_is_opaque(SLICE_LIT("a.b.c.d.e"))); /* JWE */
}

static void which_tokens_may_be_asked_about(void **state)
{
	char longest[OPAQUE_MAX_BYTES + 1];

	memset(longest, 'a', sizeof longest);
	assert_null(introspection_token_wrong(slice_of(longest, OPAQUE_MAX_BYTES)));
	assert_non_null(introspection_token_wrong(slice_of(longest, OPAQUE_MAX_BYTES + 1)));
	assert_null(introspection_token_wrong(slice_of(longest, OPAQUE_MIN_BYTES)));
	assert_non_null(introspection_token_wrong(slice_of(longest, OPAQUE_MIN_BYTES - 1)));
	assert_null(introspection_token_wrong(SLICE_LIT(TOKEN)));
	assert_non_null(introspection_token_wrong(SLICE_LIT("================")));
	for (int c = 0; c < 256; c++) {
		bool fine = c && strchr("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~+/", c);

		longest[7] = (char)c;
		assert_int_equal(introspection_token_wrong(slice_of(longest, 20)) == NULL, fine);
	}
}

static void the_form_and_the_header(void **state)
{
	char *form = arena_alloc(arena, INTROSPECTION_FORM_MAX), *basic = arena_alloc(arena, INTROSPECTION_BASIC_MAX);
	char secret[INTROSPECTION_SECRET_MAX + 1];
	size_t n = introspection_form(&rule, SLICE_LIT(TOKEN), form);
	uint8_t pair[64] = "";

	assert_true(slice_is(slice_of(form, n), "token=mF_9.B5f-4-1JqM%2B%2F%7Eopaque%3D%3D&token_type_hint=access_token"));
	rule.introspection.secret_file[0] = '\0';
	n = introspection_form(&rule, SLICE_LIT(TOKEN), form);
	assert_true(slice_is(slice_of(form, n), "token=mF_9.B5f-4-1JqM%2B%2F%7Eopaque%3D%3D&token_type_hint=access_token&client_id=the%20broker"));
	assert_true(introspection_basic(&rule, SLICE_LIT("p:w d%"), basic));
	assert_memory_equal(basic, "Basic ", 6);
	assert_true(b64_decode(slice_str(basic + 6), pair, sizeof pair - 1) > 0);
	assert_string_equal((char *)pair, "the%20broker:p%3Aw%20d%25");
	memset(secret, '%', sizeof secret);
	memset(rule.introspection.client_id, '%', INTROSPECTION_CLIENT_MAX);
	assert_true(introspection_basic(&rule, slice_of(secret, INTROSPECTION_SECRET_MAX), basic));
	assert_true(strlen(basic) < INTROSPECTION_BASIC_MAX);
	assert_false(introspection_basic(&rule, slice_of(secret, INTROSPECTION_SECRET_MAX + 1), basic));
	memset(secret, '~', sizeof secret);
	n = introspection_form(&rule, slice_of(arena_zalloc(arena, OPAQUE_MAX_BYTES), OPAQUE_MAX_BYTES), form);
	assert_true(n <= INTROSPECTION_FORM_MAX);
}

/* ---- whom it is shown to ---- */

static struct issuers *two(const struct issuer_rule *a, const struct issuer_rule *b)
{
	struct issuer_entry e[2] = {{.rule = *a}, {.rule = *b}};

	return issuers_new(e, 2);
}

static void only_the_one_issuer_of_the_tenant_is_asked(void **state)
{
	struct issuer_rule other;
	struct issuers *all;

	honest_rule(&other, "other", "globex");
	all = two(&rule, &other);
	assert_int_equal(introspection_issuer(all, "acme"), 0);
	assert_int_equal(introspection_issuer(all, "globex"), 1);
	assert_int_equal(introspection_issuer(all, "initech"), 2);
	assert_null(introspection_shared_tenant(&rule, &other));
	issuers_unref(all);
	strcpy(other.tenants[other.n_tenants++], "acme");
	all = two(&rule, &other);
	assert_int_equal(introspection_issuer(all, "acme"), 2); /* either could have issued it */
	assert_string_equal(introspection_shared_tenant(&rule, &other), "acme");
	issuers_unref(all);
	other.introspection.url[0] = '\0';
	all = two(&rule, &other);
	assert_int_equal(introspection_issuer(all, "acme"), 0);
	assert_int_equal(introspection_issuer(all, "globex"), 2);
	issuers_unref(all);
}

/* ---- where the broker's secret may be sent ---- */

static void a_secret_is_kept_by_host(void **state)
{
	static const struct { const char *url, *host; } rows[] = {
		{"https://login.acme.example/introspect", "login.acme.example"}, {"https://LOGIN.acme.Example", "login.acme.example"},
		{"https://login.acme.example:443/x", "login.acme.example"}, {"https://login.acme.example:8443/x", "login.acme.example:8443"},
		{"https://127.0.0.1:65535", "127.0.0.1:65535"}, {"https://my_idp/x:y@z", "my_idp"},
		{"http://login.acme.example/", NULL}, {"https://", NULL}, {"https:///etc", NULL}, {"https://..", NULL}, {"https://../x", NULL}, {"https://.a", NULL}, {"https://a.", NULL},
		{"https://a..b", NULL}, {"https://a:", NULL}, {"https://a:0", NULL}, {"https://a:0443", NULL}, {"https://a:65536", NULL}, {"https://a:99999999999", NULL}, {"https://a:4a", NULL},
		{"https://:443", NULL}, {"https://[::1]/x", NULL}, {"https://a@b/x", NULL}, {"https://a:b@c/x", NULL}, {"https://a%2f..%2fb/", NULL}, {"https://a\\b/", NULL}, {"https://a?b", NULL},
		{"https://a#b", NULL}, {"https://a b/", NULL}, {"https://\xc3\xa4.example/", NULL},
	};
	char host[INTROSPECTION_HOST_MAX + 1], url[320] = "https://";

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		assert_int_equal(introspection_host(rows[i].url, host), rows[i].host != NULL);
		if (rows[i].host)
			assert_string_equal(host, rows[i].host);
	}
	memset(url + 8, 'a', 254);
	assert_false(introspection_host(url, host));
	strcpy(url + 8 + 253, ":12345");
	assert_true(introspection_host(url, host));
	assert_int_equal(strlen(host), INTROSPECTION_HOST_MAX);
}

static void a_secret_is_named_as_a_file_may_be(void **state)
{
	static const char *const good[] = {"acme", "A-c_me.2", "0", "ca.pem.old", "ca", "acme.key.old", "key"}, *const bad[] = {"", ".", "..", ".acme", "a/b", "../acme", "/etc/passwd", "a b", "a\\b", "a:b", "\xc3\xa4", "ca.pem", "acme.key", "acme.crt", "ca.key", ".key"};
	char longest[INTROSPECTION_NAME_MAX + 2] = "";

	for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
		assert_null(introspection_secret_name_wrong(good[i]));
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		assert_non_null(introspection_secret_name_wrong(bad[i]));
	memset(longest, 'x', INTROSPECTION_NAME_MAX);
	assert_null(introspection_secret_name_wrong(longest));
	longest[INTROSPECTION_NAME_MAX] = 'x';
	assert_non_null(introspection_secret_name_wrong(longest));
}

static void a_registered_issuer_has_a_secret_by_name_and_says_no_client(void **state)
{
	struct issuer_rule r = rule;
	char *form = arena_alloc(arena, INTROSPECTION_FORM_MAX);
	uint8_t was[SHA256_BYTES], now[SHA256_BYTES];
	const char *field;

	r.registered = true;
	r.keys_refresh_ms = r.keys_stale_ms = 1000;
	strcpy(r.introspection.client_id, "baton");
	r.introspection.secret_file[0] = '\0';
	assert_non_null(issuer_rule_wrong(&r, &field));
	assert_string_equal(field, "introspection.secret");
	strcpy(r.introspection.secret, "acme");
	assert_null(issuer_rule_wrong(&r, &field));
	introspection_source(&r, was);
	strcpy(r.introspection.secret, "../acme");
	assert_non_null(issuer_rule_wrong(&r, &field));
	strcpy(r.introspection.secret, "acme2");
	introspection_source(&r, now);
	assert_memory_not_equal(was, now, sizeof was);
	form[introspection_form(&r, SLICE_LIT(TOKEN), form)] = '\0';
	assert_null(strstr(form, "client_id"));
	strcpy(r.introspection.cert, "acme");
	assert_null(issuer_rule_wrong(&r, &field));
	introspection_source(&r, was);
	assert_memory_not_equal(was, now, sizeof was);
	r.introspection.secret[0] = '\0'; /* the certificate alone says who asks */
	assert_null(issuer_rule_wrong(&r, &field));
	form[introspection_form(&r, SLICE_LIT(TOKEN), form)] = '\0';
	assert_non_null(strstr(form, "&client_id=baton"));
	strcpy(r.introspection.cert, "acme.key");
	assert_non_null(issuer_rule_wrong(&r, &field));
	assert_string_equal(field, "introspection.cert");
	strcpy(r.introspection.cert, "acme");
	strcpy(r.introspection.url, "https://[::1]/introspect");
	assert_non_null(issuer_rule_wrong(&r, &field));
	assert_string_equal(field, "introspection.url");
	r.registered = false; /* of the configuration, its file stands beside it */
	strcpy(r.introspection.secret_file, "/secret");
	assert_null(issuer_rule_wrong(&r, &field));
}

/* ---- what is remembered ---- */

static struct answer *active(int64_t until_ms)
{
	struct answer *a = hear("{" HONEST ",\"exp\":1764000300,\"jti\":\"j\"}");

	assert_non_null(a);
	a->until_ms = until_ms;
	return a;
}

static void an_answer_is_found_until_its_time_is_over(void **state)
{
	uint8_t source[SHA256_BYTES] = {1}, key[SHA256_BYTES], other[SHA256_BYTES];
	struct answer out;

	answers_key(answers, source, SLICE_LIT(TOKEN), key);
	assert_false(answers_have(answers, key, MONO));
	answers_put(answers, key, active(MONO + 100));
	assert_true(answers_find(answers, key, MONO + 99, arena, &out));
	assert_string_equal(facts_text(out.facts, out.facts->subject), "alice");
	assert_false(answers_find(answers, key, MONO + 100, arena, &out));
	assert_false(answers_have(answers, key, MONO + 100));
	source[0] = 2; /* the issuer as it is configured now */
	answers_key(answers, source, SLICE_LIT(TOKEN), other);
	assert_false(answers_have(answers, other, MONO));
	answers_key(answers, source, SLICE_LIT(TOKEN "x"), other);
	assert_false(answers_have(answers, other, MONO));
}

static void what_is_remembered_has_a_bound(void **state)
{
	uint8_t source[SHA256_BYTES] = {0}, first[SHA256_BYTES], key[SHA256_BYTES];

	answers_key(answers, source, slice_of("first", 5), first);
	answers_put(answers, first, active(MONO + 100));
	for (uint32_t i = 0; i < ANSWERS_MAX; i++) {
		answers_key(answers, source, slice_of(&i, sizeof i), key);
		answers_put(answers, key, active(MONO + 100));
	}
	assert_true(answers_have(answers, key, MONO));
	assert_false(answers_have(answers, first, MONO));
}

/* Anything that decides whom it is asked, as whom, or how it is read. */
static void another_configuration_is_another_source(void **state)
{
	uint8_t was[SHA256_BYTES], now[SHA256_BYTES];
	struct issuer_rule r = rule;

	introspection_source(&rule, was);
	introspection_source(&r, now);
	assert_memory_equal(was, now, sizeof was);
	strcpy(r.introspection.client_id, "another");
	introspection_source(&r, now);
	assert_memory_not_equal(was, now, sizeof was);
	r = rule;
	strcpy(r.claims.tenant, "org");
	introspection_source(&r, now);
	assert_memory_not_equal(was, now, sizeof was);
	r = rule;
	strcpy(r.introspection.url, URL "/other");
	introspection_source(&r, now);
	assert_memory_not_equal(was, now, sizeof was);
}

/* ---- the verifier ---- */

static struct token_context honest_context(void)
{
	return (struct token_context){.x5t_s256 = X5T, .client = "planner", .audience = "baton", .tenant = "acme", .now_ms = NOW * 1000, .mono_ms = MONO, .leeway_ms = 30000};
}

static struct token_verifier *verifier_of(const struct issuer_rule *r)
{
	struct token_verifier *v = token_verifier_new(4);
	struct issuer_entry e = {.rule = *r};
	struct issuers *i = issuers_new(&e, 1);

	assert_true(v && i);
	token_verifier_set_issuers(v, i);
	issuers_unref(i);
	token_verifier_set_answers(v, answers);
	return v;
}

static enum reason verify(struct token_verifier *v, const struct token_context *cx, struct token_answer *out)
{
	token_verify(v, SLICE_LIT(TOKEN), cx, arena, out);
	return out->verdict.reason;
}

static void every_claim_is_judged_each_time(void **state)
{
	struct token_verifier *v = verifier_of(&rule);
	struct token_context cx = honest_context();
	struct token_answer out;

	assert_int_equal(verify(v, &cx, &out), REASON_KEYS_UNAVAILABLE);
	assert_true(out.want_answer && out.want_keys < 0 && !out.have_claims);
	answers_put(answers, out.question, active(MONO + CACHE_MS));
	assert_int_equal(verify(v, &cx, &out), REASON_ALLOWED);
	assert_true(out.have_claims && !out.want_answer && out.claims.bound);
	assert_string_equal(out.claims.subject, "alice");
	assert_string_equal(out.claims.issuer, URL);
	cx.audience = "ledger";
	assert_int_equal(verify(v, &cx, &out), REASON_WRONG_AUDIENCE);
	cx = honest_context();
	cx.x5t_s256 = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
	assert_int_equal(verify(v, &cx, &out), REASON_TOKEN_BINDING);
	cx = honest_context();
	cx.client = "auditor";
	assert_int_equal(verify(v, &cx, &out), REASON_IDENTITY_MISMATCH);
	cx = honest_context();
	cx.now_ms += 331000; /* a clock that was set on */
	assert_int_equal(verify(v, &cx, &out), REASON_EXPIRED_TOKEN);
	cx = honest_context();
	cx.mono_ms += CACHE_MS;
	assert_int_equal(verify(v, &cx, &out), REASON_KEYS_UNAVAILABLE);
	assert_true(out.want_answer);
	token_verifier_free(v);
}

static void where_nobody_is_asked_it_is_no_token(void **state)
{
	struct token_verifier *v = verifier_of(&rule);
	struct token_context cx = honest_context();
	struct token_answer out;

	cx.tenant = "globex";
	assert_int_equal(verify(v, &cx, &out), REASON_INVALID_TOKEN);
	assert_false(out.want_answer);
	cx.tenant = NULL; /* an operator's */
	assert_int_equal(verify(v, &cx, &out), REASON_INVALID_TOKEN);
	assert_false(out.want_answer);
	cx = honest_context();
	cx.allowed_issuers = (const char *const[]){"https://other.example"};
	cx.n_allowed_issuers = 1;
	assert_int_equal(verify(v, &cx, &out), REASON_WRONG_ISSUER);
	assert_false(out.want_answer);
	cx = honest_context();
	token_verifier_set_answers(v, NULL);
	assert_int_equal(verify(v, &cx, &out), REASON_INVALID_TOKEN);
	token_verifier_free(v);
}

static void a_refusal_is_remembered_as_it_was(void **state)
{
	struct token_verifier *v = verifier_of(&rule);
	struct token_context cx = honest_context();
	struct token_answer out;

	verify(v, &cx, &out);
	answers_put(answers, out.question, hear("{" HONEST "}"));
	assert_int_equal(verify(v, &cx, &out), REASON_INVALID_TOKEN);
	assert_string_equal(out.verdict.field, "exp");
	assert_false(out.want_answer || out.have_claims);
	token_verifier_free(v);
}

/* ---- who may have it asked ---- */

static void each_agent_has_a_budget_of_its_own(void **state)
{
	struct askgate *g = askgate_new();

	for (int i = 0; i < ASKGATE_BURST; i++)
		assert_true(askgate_take(g, 7, MONO));
	assert_false(askgate_take(g, 7, MONO));
	assert_true(askgate_take(g, 8, MONO));
	assert_false(askgate_take(g, 7, MONO + 999));
	assert_true(askgate_take(g, 7, MONO + 1000));
	assert_false(askgate_take(g, 7, MONO + 1000));
	askgate_free(g);
}

static void good_tokens_cost_nothing(void **state)
{
	struct askgate *g = askgate_new();

	for (int i = 0; i < 10 * ASKGATE_BURST; i++) {
		assert_true(askgate_take(g, 7, MONO));
		askgate_return(g, 7);
	}
	askgate_return(g, 9); /* nobody knows him any more */
	for (int i = 0; i < ASKGATE_BURST; i++)
		assert_true(askgate_take(g, 7, MONO));
	assert_false(askgate_take(g, 7, MONO));
	for (uint64_t other = 100; other < 100 + ASKGATE_AGENTS_MAX; other++)
		assert_true(askgate_take(g, other, MONO + 1));
	askgate_free(g);
}

#define T(name) cmocka_unit_test_setup_teardown(name, up, down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(an_honest_answer), T(it_is_kept_no_longer_than_exp_or_the_cache), T(what_is_no_answer), T(inactive), T(what_is_no_access_token_of_this_issuer),
		T(the_token_is_kept_nowhere), T(too_much_is_not_kept), T(which_tokens_are_opaque), T(which_tokens_may_be_asked_about), T(the_form_and_the_header),
		T(only_the_one_issuer_of_the_tenant_is_asked), T(an_answer_is_found_until_its_time_is_over), T(what_is_remembered_has_a_bound),
		T(another_configuration_is_another_source), T(every_claim_is_judged_each_time), T(where_nobody_is_asked_it_is_no_token), T(a_refusal_is_remembered_as_it_was),
		T(each_agent_has_a_budget_of_its_own), T(good_tokens_cost_nothing), T(a_secret_is_kept_by_host), T(a_secret_is_named_as_a_file_may_be),
		T(a_registered_issuer_has_a_secret_by_name_and_says_no_client),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
