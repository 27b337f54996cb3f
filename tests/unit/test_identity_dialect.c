/* Are tokens read as their issuer's rule says, each provider's as it writes them, and no ID token among them? Every refusal stands beside the
 * honest token that differs from it in that one thing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "identity/claim.h"
#include "identity/issuer.h"
#include "identity/token.h"
#include "test_identity_jwt.h"

#define URL "https://login.acme.example"
#define NOW 1764000000 /* seconds */
#define GUID "72f988bf-86f1-41af-91ab-2d7cd011db47"
#define AT_JWT "{\"alg\":\"ES256\",\"typ\":\"at+jwt\",\"kid\":\"a\"}"
#define JWT "{\"alg\":\"ES256\",\"typ\":\"JWT\",\"kid\":\"a\"}"
#define UNTYPED "{\"alg\":\"ES256\",\"kid\":\"a\"}"

static EVP_PKEY *key;
static struct keyset *keys;
static struct token_verifier *verifier;
static struct arena *arena;
static struct token_answer answer;
static struct token_context cx;
static struct issuer_rule rule;

/* ---- the world ---- */

static void use_rule(void)
{
	struct issuer_entry e = {.rule = rule, .keys = keys, .keys_good_until_ms = INT64_MAX};
	struct issuers *i = issuers_new(&e, 1);

	assert_non_null(i);
	token_verifier_set_issuers(verifier, i);
	issuers_unref(i);
}

static void use_dialect(enum dialect d)
{
	memset(&rule, 0, sizeof rule);
	strcpy(rule.name, "corp");
	strcpy(rule.url, URL);
	strcpy(rule.tenants[0], "acme");
	rule.n_tenants = 1;
	rule.algorithms = ALG_ES256;
	rule.max_lifetime_ms = 3600 * 1000;
	rule.keys_refresh_ms = rule.keys_stale_ms = 60000;
	dialect_preset(d, &rule.claims);
	use_rule();
}

static int up(void **state)
{
	struct problem why = {{0}};

	jwt_begin();
	arena = arena_new(1 << 20);
	key = jwt_ec("P-256");
	keys = keyset_parse(slice_str(arena_printf(jwt_arena, "{\"keys\":[%s]}", jwt_jwk(key, ",\"kid\":\"a\""))), ALG_ES256, 1, &why);
	verifier = token_verifier_new(8);
	assert_non_null(keys);
	return 0;
}

static int down(void **state)
{
	token_verifier_free(verifier);
	keyset_unref(keys);
	EVP_PKEY_free(key);
	arena_free(arena);
	jwt_end();
	return 0;
}

static int fresh(void **state)
{
	cx = (struct token_context){.client = "planner", .audience = "baton", .tenant = "acme", .now_ms = NOW * 1000LL};
	use_dialect(DIALECT_STANDARD);
	return 0;
}

/* A token with iss and times, and these members beside them: name, raw JSON, ... up to a NULL name. The last of a name counts; raw NULL:
 * left out. */
static const char *token(const char *header, const char *name, ...)
{
	const char *given[32][2] = {{"iss", "\"" URL "\""}, {"iat", "1763999990"}, {"exp", "1764000300"}}, *text = "";
	size_t n = 3;
	va_list ap;

	va_start(ap, name);
	for (; name; name = va_arg(ap, const char *)) {
		const char *value = va_arg(ap, const char *);
		size_t at = 0;

		while (at < n && strcmp(given[at][0], name) != 0)
			at++;
		n += at == n;
		assert_true(n < 32);
		given[at][0] = name;
		given[at][1] = value;
	}
	va_end(ap);
	for (size_t i = 0; i < n; i++)
		if (given[i][1])
			text = arena_printf(jwt_arena, "%s%s\"%s\":%s", text, *text ? "," : "", given[i][0], given[i][1]);
	return jwt_sign(key, "ES256", header, arena_printf(jwt_arena, "{%s}", text));
}

#define STANDARD "sub", "\"alice\"", "aud", "\"baton\"", "client_id", "\"planner\"", "jti", "\"t\"", "tenant", "\"acme\""
#define ENTRA "ver", "\"2.0\"", "sub", "\"AAAA\"", "oid", "\"o\"", "aud", "\"baton\"", "azp", "\"planner\"", "azpacr", "\"2\"", "uti", "\"u1\"", \
	"tid", "\"" GUID "\""
#define OKTA "ver", "1", "jti", "\"AT.x\"", "sub", "\"alice@acme.example\"", "aud", "\"baton\"", "cid", "\"planner\"", "uid", "\"00u1\"", \
	"scp", "[\"orders:read\",\"refunds:draft\"]"
#define KEYCLOAK "jti", "\"j\"", "sub", "\"8f3a\"", "aud", "[\"account\",\"baton\"]", "typ", "\"Bearer\"", "azp", "\"planner\"", "sid", "\"s\"", \
	"scope", "\"profile orders:read\"", "realm_access", "{\"roles\":[\"agents\",\"uma\"]}"
#define AUTH0 "sub", "\"auth0|1\"", "aud", "[\"baton\",\"https://acme.eu.auth0.com/userinfo\"]", "azp", "\"planner\"", "scope", "\"openid orders:read\""

static enum reason verify(const char *text)
{
	arena_reset(arena);
	token_verify(verifier, slice_str(text), &cx, arena, &answer);
	return answer.verdict.reason;
}

static void expect(const char *text, enum reason reason, const char *field, int line)
{
	enum reason got = verify(text);

	if (got != reason || strcmp(answer.verdict.field, field) != 0)
		fail_msg("line %d: %s field \"%s\" (%s), wanted %s field \"%s\"", line, reason_text(got), answer.verdict.field,
			 answer.verdict.message, reason_text(reason), field);
}
#define allowed(text) expect((text), REASON_ALLOWED, "", __LINE__)
#define refused(text, reason, field) expect((text), (reason), (field), __LINE__)

static bool has(const char *scope)
{
	return claims_has_scope(&answer.claims, slice_str(scope));
}

static void set_names(struct claim_names *names, const char *a, const char *b)
{
	memset(names, 0, sizeof *names);
	strcpy(names->name[names->n++], a);
	if (b)
		strcpy(names->name[names->n++], b);
}

/* ---- audiences of an issuer ---- */

static void issuer_speaks_to_its_audiences_only(void **state)
{
	allowed(token(AT_JWT, STANDARD, NULL));
	strcpy(rule.audiences[0], "baton");
	rule.n_audiences = 1;
	use_rule();
	allowed(token(AT_JWT, STANDARD, NULL));
	allowed(token(AT_JWT, STANDARD, "aud", "[\"x\",\"baton\"]", NULL));
	refused(token(AT_JWT, STANDARD, "aud", "\"x\"", NULL), REASON_WRONG_AUDIENCE, "aud");
	cx.audience = "ledger"; /* another service, which this issuer may not speak to although its token says so */
	refused(token(AT_JWT, STANDARD, "aud", "[\"baton\",\"ledger\"]", NULL), REASON_WRONG_AUDIENCE, "aud");
	assert_non_null(strstr(answer.verdict.message, "may not speak to ledger"));
	assert_non_null(strstr(answer.verdict.message, "audiences"));
	strcpy(rule.audiences[1], "ledger");
	rule.n_audiences = 2;
	use_rule();
	allowed(token(AT_JWT, STANDARD, "aud", "[\"baton\",\"ledger\"]", NULL));
	refused(token(AT_JWT, STANDARD, "aud", "\"baton\"", NULL), REASON_WRONG_AUDIENCE, "aud");
	cx.audience = "Ledger";
	refused(token(AT_JWT, STANDARD, "aud", "\"Ledger\"", NULL), REASON_WRONG_AUDIENCE, "aud");
}

static void without_a_demand_the_token_is_for_one_of_them(void **state)
{
	cx.audience = NULL;
	allowed(token(AT_JWT, STANDARD, "aud", "\"x\"", NULL));
	strcpy(rule.audiences[0], "ledger");
	rule.n_audiences = 1;
	use_rule();
	refused(token(AT_JWT, STANDARD, "aud", "[\"x\",\"y\"]", NULL), REASON_WRONG_AUDIENCE, "aud");
	allowed(token(AT_JWT, STANDARD, "aud", "[\"x\",\"ledger\"]", NULL));
}

/* ---- claims and where they stand ---- */

static void the_first_claim_that_is_there_counts(void **state)
{
	set_names(&rule.claims.client, "azp", "appid");
	set_names(&rule.claims.scope, "scp", "roles");
	set_names(&rule.claims.jti, "jti", "uti");
	use_rule();
	allowed(token(AT_JWT, STANDARD, "client_id", "\"worker\"", "azp", "\"planner\"", "appid", "\"worker\"", NULL));
	allowed(token(AT_JWT, STANDARD, "appid", "\"planner\"", "scp", "\"a b\"", "roles", "[\"c\"]", NULL));
	assert_true(has("a") && has("b") && !has("c"));
	allowed(token(AT_JWT, STANDARD, "appid", "\"planner\"", "roles", "[\"c\"]", "jti", NULL, "uti", "\"u\"", NULL));
	assert_true(has("c"));
	assert_string_equal(answer.claims.jti, "u");
	allowed(token(AT_JWT, STANDARD, "azp", "\"planner\"", "scp", "\"\"", "roles", "[\"c\"]", NULL));
	assert_int_equal(answer.claims.n_scopes, 0); /* there, and without scopes */
	/* one that is there and wrong is not passed over */
	refused(token(AT_JWT, STANDARD, "azp", "7", "appid", "\"planner\"", NULL), REASON_INVALID_TOKEN, "azp");
	refused(token(AT_JWT, STANDARD, "azp", "null", "appid", "\"planner\"", NULL), REASON_INVALID_TOKEN, "azp");
	refused(token(AT_JWT, STANDARD, "azp", "\"\"", "appid", "\"planner\"", NULL), REASON_INVALID_TOKEN, "azp");
	refused(token(AT_JWT, STANDARD, "azp", "\"worker\"", "appid", "\"planner\"", NULL), REASON_IDENTITY_MISMATCH, "client_id");
	refused(token(AT_JWT, STANDARD, "azp", "\"planner\"", "scp", "7", "roles", "[\"c\"]", NULL), REASON_INVALID_TOKEN, "scope");
	refused(token(AT_JWT, STANDARD, "azp", "\"planner\"", "scp", "{\"c\":1}", NULL), REASON_INVALID_TOKEN, "scope");
	refused(token(AT_JWT, STANDARD, NULL), REASON_INVALID_TOKEN, "azp");
}

static void only_a_pointer_leads_into_objects_rfc6901(void **state)
{
	set_names(&rule.claims.scope, "/realm_access/roles", NULL);
	strcpy(rule.claims.tenant, "/org/in.a~1b/~0id");
	use_rule();
	allowed(token(AT_JWT, STANDARD, "realm_access", "{\"roles\":[\"a\",\"b\"]}", "org", "{\"in.a/b\":{\"~id\":\"acme\"}}", NULL));
	assert_true(has("a") && has("b"));
	assert_string_equal(answer.claims.tenant, "acme");
	refused(token(AT_JWT, STANDARD, "org", "{\"in.a/b\":{\"~id\":\"globex\"}}", NULL), REASON_TENANT_BOUNDARY, "tenant");
	/* nothing there: no scopes, and no tenant, whatever the usual names say */
	allowed(token(AT_JWT, STANDARD, "realm_access", "{}", "scope", "\"a\"", "tenant", "\"globex\"", NULL));
	assert_int_equal(answer.claims.n_scopes, 0);
	assert_string_equal(answer.claims.tenant, "");
	/* a claim that is called as the pointer is spelled is not it */
	allowed(token(AT_JWT, STANDARD, "/realm_access/roles", "[\"a\"]", "realm_access.roles", "[\"a\"]", NULL));
	assert_int_equal(answer.claims.n_scopes, 0);
	refused(token(AT_JWT, STANDARD, "realm_access", "\"roles\"", NULL), REASON_INVALID_TOKEN, "/realm_access/roles");
	refused(token(AT_JWT, STANDARD, "realm_access", "[{\"roles\":[\"a\"]}]", NULL), REASON_INVALID_TOKEN, "/realm_access/roles");
	refused(token(AT_JWT, STANDARD, "realm_access", "null", NULL), REASON_INVALID_TOKEN, "/realm_access/roles");
	refused(token(AT_JWT, STANDARD, "realm_access", "{\"roles\":{\"a\":1}}", NULL), REASON_INVALID_TOKEN, "scope");
	refused(token(AT_JWT, STANDARD, "org", "{\"in.a/b\":7}", NULL), REASON_INVALID_TOKEN, "/org/in.a~1b/~0id");
}

static void a_plain_name_is_the_name_whatever_is_in_it(void **state)
{
	strcpy(rule.claims.tenant, "https://acme.example/tenant");
	set_names(&rule.claims.scope, "a.b", "/~1c");
	use_rule();
	allowed(token(AT_JWT, STANDARD, "tenant", "\"globex\"", "https://acme.example/tenant", "\"acme\"", "a.b", "\"x\"", "a", "{\"b\":\"y\"}", NULL));
	assert_true(has("x") && !has("y"));
	refused(token(AT_JWT, STANDARD, "https://acme.example/tenant", "\"globex\"", NULL), REASON_TENANT_BOUNDARY, "tenant");
	refused(token(AT_JWT, STANDARD, "https://acme.example/tenant", "[\"acme\"]", NULL), REASON_INVALID_TOKEN, "https://acme.example/tenant");
	allowed(token(AT_JWT, STANDARD, "a", "{\"b\":\"y\"}", "/c", "\"z\"", NULL));
	assert_true(has("z") && !has("y"));
}

static void names_of_claims_are_checked(void **state)
{
	static const char *const good[] = {"a", "https://acme.example/tenant", "a.b", "~", "a~2", "/a", "/a/b/c/d", "/~0/~1", "/a~01"};
	static const char *const bad[] = {"", " ", "a b", "a\n", "\x7f", "\xc3\xa4", "/", "/a/", "//a", "/a//b", "/a/b/c/d/e", "/~", "/a~2", "/a~/b"};
	char longest[CLAIM_NAME_MAX + 2];

	for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
		assert_null(claim_name_wrong(good[i]));
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		assert_non_null(claim_name_wrong(bad[i]));
	memset(longest, 'x', sizeof longest);
	longest[CLAIM_NAME_MAX + 1] = '\0';
	assert_non_null(claim_name_wrong(longest));
	longest[CLAIM_NAME_MAX] = '\0';
	assert_null(claim_name_wrong(longest));
}

/* ---- tenants by value ---- */

static void tenant_values_name_the_tenant(void **state)
{
	strcpy(rule.tenants[1], "globex");
	rule.n_tenants = 2;
	strcpy(rule.tenant_values[0].value, GUID);
	strcpy(rule.tenant_values[0].tenant, "acme");
	strcpy(rule.tenant_values[1].value, "other");
	strcpy(rule.tenant_values[1].tenant, "globex");
	rule.n_tenant_values = 2;
	use_rule();
	allowed(token(AT_JWT, STANDARD, "tenant", "\"" GUID "\"", NULL));
	assert_string_equal(answer.claims.tenant, "acme");
	refused(token(AT_JWT, STANDARD, "tenant", "\"other\"", NULL), REASON_TENANT_BOUNDARY, "tenant");
	refused(token(AT_JWT, STANDARD, "tenant", "\"acme\"", NULL), REASON_TENANT_BOUNDARY, "tenant"); /* no value that is listed */
	refused(token(AT_JWT, STANDARD, "tenant", "\"72F988BF-86F1-41AF-91AB-2D7CD011DB47\"", NULL), REASON_TENANT_BOUNDARY, "tenant");
	refused(token(AT_JWT, STANDARD, "tenant", NULL, NULL), REASON_TENANT_BOUNDARY, "tenant");
	refused(token(AT_JWT, STANDARD, "tenant", "[\"" GUID "\"]", NULL), REASON_INVALID_TOKEN, "tenant");
	cx.tenant = "globex";
	allowed(token(AT_JWT, STANDARD, "tenant", "\"other\"", NULL));
	refused(token(AT_JWT, STANDARD, "tenant", "\"" GUID "\"", NULL), REASON_TENANT_BOUNDARY, "tenant");
	cx.tenant = NULL; /* an operator's: of no tenant that is not listed either */
	allowed(token(AT_JWT, STANDARD, "tenant", "\"other\"", NULL));
	refused(token(AT_JWT, STANDARD, "tenant", "\"globex\"", NULL), REASON_TENANT_BOUNDARY, "tenant");
}

/* ---- each provider's tokens ---- */

static void entra_users_and_applications(void **state)
{
	use_dialect(DIALECT_ENTRA);
	strcpy(rule.tenant_values[0].value, GUID);
	strcpy(rule.tenant_values[0].tenant, "acme");
	rule.n_tenant_values = 1;
	use_rule();
	allowed(token(JWT, ENTRA, "scp", "\"orders:read refunds:draft\"", "roles", "[\"admin\"]", NULL));
	assert_true(answer.claims.subject_is_user);
	assert_true(has("orders:read") && has("refunds:draft") && !has("admin"));
	assert_string_equal(answer.claims.tenant, "acme");
	assert_string_equal(answer.claims.jti, "u1");
	allowed(token(JWT, ENTRA, "roles", "[\"orders:read\"]", NULL));
	assert_false(answer.claims.subject_is_user);
	assert_true(has("orders:read"));
	allowed(token(JWT, ENTRA, "ver", "\"1.0\"", "azp", NULL, "appid", "\"planner\"", "roles", "[\"orders:read\"]", NULL));
	refused(token(JWT, ENTRA, "uti", NULL, NULL), REASON_INVALID_TOKEN, "jti");
	refused(token(JWT, ENTRA, "azp", NULL, NULL), REASON_INVALID_TOKEN, "azp");
	refused(token(JWT, ENTRA, "tid", "\"9188040d-6c67-4c5b-b112-36a304b66dad\"", NULL), REASON_TENANT_BOUNDARY, "tenant");
	/* its ID tokens: without azp, with nonce, for the client */
	refused(token(JWT, "ver", "\"2.0\"", "sub", "\"AAAA\"", "aud", "\"planner\"", "uti", "\"u\"", "tid", "\"" GUID "\"", NULL), REASON_INVALID_TOKEN,
		"azp");
	refused(token(JWT, ENTRA, "scp", "\"x\"", "nonce", "\"n\"", NULL), REASON_INVALID_TOKEN, "nonce");
}

static void okta_users_and_clients(void **state)
{
	use_dialect(DIALECT_OKTA);
	allowed(token(UNTYPED, OKTA, NULL));
	assert_true(answer.claims.subject_is_user);
	assert_true(has("orders:read") && has("refunds:draft"));
	assert_string_equal(answer.claims.jti, "AT.x");
	allowed(token(UNTYPED, OKTA, "uid", NULL, "sub", "\"planner\"", NULL));
	assert_false(answer.claims.subject_is_user);
	refused(token("{\"alg\":\"ES256\",\"typ\":\"application/okta-internal-at+jwt\",\"kid\":\"a\"}", OKTA, NULL), REASON_INVALID_TOKEN, "typ");
	refused(token(UNTYPED, OKTA, "jti", NULL, NULL), REASON_INVALID_TOKEN, "jti");
	refused(token(UNTYPED, "jti", "\"ID.x\"", "sub", "\"00u1\"", "aud", "\"planner\"", "at_hash", "\"h\"", NULL), REASON_INVALID_TOKEN, "cid");
}

static void keycloak_users_and_service_accounts(void **state)
{
	use_dialect(DIALECT_KEYCLOAK);
	allowed(token(AT_JWT, KEYCLOAK, NULL));
	assert_true(answer.claims.subject_is_user);
	assert_true(has("orders:read"));
	/* a client's own token: sub is its service account's id, and there is no session */
	allowed(token(AT_JWT, KEYCLOAK, "sid", NULL, "client_id", "\"planner\"", NULL));
	assert_false(answer.claims.subject_is_user);
	refused(token(AT_JWT, KEYCLOAK, "client_id", "\"planner\"", NULL), REASON_INVALID_TOKEN, "sid"); /* both */
	refused(token(AT_JWT, KEYCLOAK, "sid", NULL, NULL), REASON_INVALID_TOKEN, "sid");              /* neither */
	/* as it comes it says JWT, which its rule takes only when told to */
	refused(token(JWT, KEYCLOAK, NULL), REASON_INVALID_TOKEN, "typ");
	assert_non_null(strstr(answer.verdict.message, "typ: jwt"));
	rule.claims.typ = TYP_JWT;
	use_rule();
	allowed(token(JWT, KEYCLOAK, NULL));
	refused(token(JWT, KEYCLOAK, "typ", "\"ID\"", NULL), REASON_INVALID_TOKEN, "typ");
	refused(token(JWT, KEYCLOAK, "typ", "\"Refresh\"", NULL), REASON_INVALID_TOKEN, "typ");
	refused(token(JWT, KEYCLOAK, "typ", "\"bearer\"", NULL), REASON_INVALID_TOKEN, "typ");
	refused(token(JWT, KEYCLOAK, "typ", "[\"Bearer\"]", NULL), REASON_INVALID_TOKEN, "typ");
	refused(token(JWT, KEYCLOAK, "typ", NULL, NULL), REASON_INVALID_TOKEN, "typ");
	refused(token(JWT, KEYCLOAK, "aud", "[\"planner\",\"baton\"]", NULL), REASON_INVALID_TOKEN, "aud");
	set_names(&rule.claims.scope, "/realm_access/roles", NULL);
	use_rule();
	allowed(token(JWT, KEYCLOAK, NULL));
	assert_true(has("agents") && !has("orders:read"));
}

static void auth0_of_both_profiles(void **state)
{
	use_dialect(DIALECT_AUTH0);
	strcpy(rule.claims.tenant, "https://acme.example/tenant");
	rule.claims.typ = TYP_JWT;
	use_rule();
	allowed(token(JWT, AUTH0, "https://acme.example/tenant", "\"acme\"", NULL));
	assert_true(answer.claims.subject_is_user);
	assert_string_equal(answer.claims.jti, "");
	allowed(token(JWT, AUTH0, "sub", "\"planner@clients\"", "gty", "\"client-credentials\"", NULL));
	assert_false(answer.claims.subject_is_user);
	allowed(token(JWT, AUTH0, "sub", "\"worker@clients\"", NULL)); /* another's is not its own */
	assert_true(answer.claims.subject_is_user);
	allowed(token(JWT, AUTH0, "sub", "\"planner@clients.example\"", NULL));
	assert_true(answer.claims.subject_is_user);
	allowed(token(AT_JWT, AUTH0, "azp", NULL, "client_id", "\"planner\"", "jti", "\"j\"", NULL));
	assert_string_equal(answer.claims.jti, "j");
	refused(token(JWT, AUTH0, "jti", "7", NULL), REASON_INVALID_TOKEN, "jti"); /* not needed, but a string if it is there */
	refused(token(JWT, AUTH0, "https://acme.example/tenant", "\"globex\"", NULL), REASON_TENANT_BOUNDARY, "tenant");
	/* an ID token of a client that calls itself as the audience is called */
	refused(token(JWT, AUTH0, "azp", "\"baton\"", "aud", "\"baton\"", NULL), REASON_INVALID_TOKEN, "aud");
	use_dialect(DIALECT_AUTH0);
	refused(token(JWT, AUTH0, NULL), REASON_INVALID_TOKEN, "typ");
	use_dialect(DIALECT_STANDARD);
	allowed(token(AT_JWT, STANDARD, "sub", "\"planner@clients\"", NULL));
	assert_true(answer.claims.subject_is_user); /* what is behind the id means nothing elsewhere */
}

/* ---- other kinds of token under the same keys: RFC 8725, 2.8 ---- */

static void an_untyped_token_is_none_by_default_rfc9068_4(void **state)
{
	allowed(token(AT_JWT, STANDARD, NULL));
	refused(token(JWT, STANDARD, NULL), REASON_INVALID_TOKEN, "typ");
	refused(token(UNTYPED, STANDARD, NULL), REASON_INVALID_TOKEN, "typ");
	rule.claims.typ = TYP_JWT;
	use_rule();
	allowed(token(AT_JWT, STANDARD, NULL));
	allowed(token(JWT, STANDARD, NULL));
	allowed(token(UNTYPED, STANDARD, NULL));
}

static void a_typ_of_another_kind_is_refused_everywhere(void **state)
{
	static const char *const typs[] = {"\"logout+jwt\"", "\"secevent+jwt\"", "\"dpop+jwt\"", "\"token-introspection+jwt\"", "\"oauth-id-jag+jwt\"",
					   "\"id+jwt\"", "\"JWS\"", "\"\"", "null", "7", "[\"JWT\"]"};

	rule.claims.typ = TYP_JWT;
	use_rule();
	for (size_t i = 0; i < sizeof typs / sizeof typs[0]; i++)
		refused(token(arena_printf(jwt_arena, "{\"alg\":\"ES256\",\"typ\":%s,\"kid\":\"a\"}", typs[i]), STANDARD, NULL), REASON_INVALID_TOKEN, "typ");
	allowed(token("{\"alg\":\"ES256\",\"typ\":\"application/jwt\",\"kid\":\"a\"}", STANDARD, NULL));
}

static void an_untyped_id_token_is_refused_rfc8725_2_8(void **state)
{
	static const char *const marks[] = {"nonce", "at_hash", "c_hash", "s_hash", "events", "token_introspection"};

	rule.claims.typ = TYP_JWT;
	use_rule();
	for (size_t i = 0; i < sizeof marks / sizeof marks[0]; i++) {
		refused(token(JWT, STANDARD, marks[i], "\"x\"", NULL), REASON_INVALID_TOKEN, marks[i]);
		refused(token(JWT, STANDARD, marks[i], "null", NULL), REASON_INVALID_TOKEN, marks[i]);
		allowed(token(AT_JWT, STANDARD, marks[i], "\"x\"", NULL)); /* this one says what it is */
	}
	refused(token(JWT, STANDARD, "aud", "[\"baton\",\"planner\"]", NULL), REASON_INVALID_TOKEN, "aud");
	allowed(token(AT_JWT, STANDARD, "aud", "[\"baton\",\"planner\"]", NULL));
	allowed(token(JWT, STANDARD, "aud", "[\"baton\",\"planner2\"]", NULL));
	refused(token(JWT, STANDARD, "typ", "\"ID\"", NULL), REASON_INVALID_TOKEN, "typ");
	refused(token(JWT, STANDARD, "typ", "null", NULL), REASON_INVALID_TOKEN, "typ");
	allowed(token(JWT, STANDARD, "typ", "\"Bearer\"", NULL));
}

/* ---- JWT-SVIDs ---- */

#define ID "spiffe://acme.example/planner"
#define SVID "iss", NULL, "iat", NULL, "sub", "\"" ID "\"", "aud", "[\"baton\"]"

static void use_svids(void)
{
	use_dialect(DIALECT_STANDARD);
	rule.claims.kind = ISSUER_JWT_SVID;
	strcpy(rule.claims.trust_domain, "acme.example");
	rule.claims.jti_optional = true;
	rule.binding = true;
	strcpy(rule.audiences[0], "baton");
	rule.n_audiences = 1;
	use_rule();
	cx.spiffe_id = cx.client_alt = ID;
}

static void a_jwt_svid_is_the_peers_own(void **state)
{
	use_svids();
	allowed(token(UNTYPED, SVID, NULL));
	assert_string_equal(answer.claims.client_id, ID);
	assert_string_equal(answer.claims.subject, ID);
	assert_string_equal(answer.claims.issuer, "spiffe://acme.example");
	assert_string_equal(answer.claims.jti, "");
	assert_true(answer.claims.bound);
	assert_false(answer.claims.subject_is_user);
	allowed(token(JWT, SVID, "iss", "\"" URL "\"", "iat", "1763999990", "jti", "\"j\"", NULL));
	assert_string_equal(answer.claims.jti, "j");
	allowed(token("{\"alg\":\"ES256\",\"typ\":\"JOSE\",\"kid\":\"a\"}", SVID, NULL));
	/* another workload's, on this one's connection, or on none */
	refused(token(JWT, SVID, "sub", "\"spiffe://acme.example/worker\"", NULL), REASON_TOKEN_BINDING, "sub");
	cx.spiffe_id = "spiffe://acme.example/worker";
	refused(token(JWT, SVID, NULL), REASON_TOKEN_BINDING, "sub");
	cx.spiffe_id = NULL;
	refused(token(JWT, SVID, NULL), REASON_TOKEN_BINDING, "sub");
	cx.spiffe_id = ID;
	refused(token(JWT, SVID, "cnf", "{\"jkt\":\"x\"}", NULL), REASON_TOKEN_BINDING, "cnf");
	cx.client = cx.spiffe_id = cx.client_alt = "spiffe://other.example/planner"; /* of another trust domain: nobody here vouches for it */
	refused(token(JWT, SVID, "sub", "\"spiffe://other.example/planner\"", NULL), REASON_INVALID_TOKEN, "iss");
	refused(token(JWT, SVID, "iss", "\"" URL "\"", "sub", "\"spiffe://other.example/planner\"", NULL), REASON_INVALID_TOKEN, "sub");
}

static void a_jwt_svid_has_what_it_must_svid_3(void **state)
{
	static const char *const subs[] = {"\"alice\"", "\"\"", "7", "null", "\"spiffe://acme.example\"", "\"spiffe://acme.example/a/../b\"",
					   "\"spiffe://ACME.example/planner\"", "[\"" ID "\"]"};

	use_svids();
	refused(token(JWT, SVID, "aud", NULL, NULL), REASON_INVALID_TOKEN, "aud");
	refused(token(JWT, SVID, "aud", "[]", NULL), REASON_INVALID_TOKEN, "aud");
	refused(token(JWT, SVID, "aud", "\"other\"", NULL), REASON_WRONG_AUDIENCE, "aud");
	refused(token(JWT, SVID, "exp", "\"1764000300\"", NULL), REASON_INVALID_TOKEN, "exp");
	refused(token(JWT, SVID, "exp", NULL, NULL), REASON_INVALID_TOKEN, "exp");
	refused(token(JWT, SVID, "exp", "1763999999", NULL), REASON_EXPIRED_TOKEN, "exp");
	refused(token(JWT, SVID, "iat", "\"x\"", NULL), REASON_INVALID_TOKEN, "iat");
	refused(token(JWT, SVID, "nbf", "1764000100", NULL), REASON_INVALID_TOKEN, "nbf");
	refused(token(JWT, SVID, "iss", "\"https://other.example\"", NULL), REASON_WRONG_ISSUER, "iss");
	refused(token(JWT, SVID, "iss", "7", NULL), REASON_INVALID_TOKEN, "iss");
	refused(token(JWT, SVID, "jti", "7", NULL), REASON_INVALID_TOKEN, "jti");
	refused(token(AT_JWT, SVID, NULL), REASON_INVALID_TOKEN, "typ");
	for (size_t i = 0; i < sizeof subs / sizeof subs[0]; i++)
		refused(token(JWT, SVID, "iss", "\"" URL "\"", "sub", subs[i], NULL), REASON_INVALID_TOKEN, "sub");
	cx.audience = NULL; /* where none is demanded, it is still for the broker */
	allowed(token(JWT, SVID, NULL));
	refused(token(JWT, SVID, "aud", "\"other\"", NULL), REASON_WRONG_AUDIENCE, "aud");
}

/* Without iat it counts as issued as early as may be: what is revoked by time takes it, and it cannot end later than it may live. */
static void an_undated_svid_is_as_old_as_can_be(void **state)
{
	use_svids();
	allowed(token(JWT, SVID, NULL));
	assert_int_equal(answer.claims.issued_at_ms, (1764000300 - 3600) * 1000LL);
	allowed(token(JWT, SVID, "exp", "1764003600", NULL));
	assert_int_equal(answer.claims.issued_at_ms, NOW * 1000LL);
	refused(token(JWT, SVID, "exp", "1764003601", NULL), REASON_INVALID_TOKEN, "exp");
	allowed(token(JWT, SVID, "iat", "1763999990", NULL));
	assert_int_equal(answer.claims.issued_at_ms, 1763999990000);
	refused(token(JWT, SVID, "iat", "1763999990", "exp", "1764003591", NULL), REASON_INVALID_TOKEN, "exp");
	refused(token(JWT, SVID, "iat", "1764000001", NULL), REASON_INVALID_TOKEN, "iat");
	rule.max_lifetime_ms = 600 * 1000; /* by today's rule, also when it is known */
	use_rule();
	allowed(token(JWT, SVID, NULL));
	assert_int_equal(answer.claims.issued_at_ms, (1764000300 - 600) * 1000LL);
}

static void other_issuers_give_no_svids(void **state)
{
	cx.spiffe_id = cx.client_alt = ID;
	refused(token(JWT, SVID, NULL), REASON_INVALID_TOKEN, "iss");
	refused(token(JWT, SVID, "iss", "\"" URL "\"", NULL), REASON_INVALID_TOKEN, "typ");
	rule.claims.typ = TYP_JWT;
	use_rule();
	refused(token("{\"alg\":\"ES256\",\"typ\":\"JOSE\",\"kid\":\"a\"}", STANDARD, NULL), REASON_INVALID_TOKEN, "typ");
	allowed(token(JWT, STANDARD, NULL));
	use_svids(); /* and this one no access tokens */
	refused(token(AT_JWT, STANDARD, NULL), REASON_INVALID_TOKEN, "typ");
	refused(token(JWT, STANDARD, NULL), REASON_INVALID_TOKEN, "sub");
}

static size_t usable_keys(const char *use)
{
	struct problem why = {{0}};
	const char *json = arena_printf(jwt_arena, "{\"keys\":[%s]}", jwt_jwk(key, arena_printf(jwt_arena, ",\"kid\":\"a\"%s", use)));
	struct keyset *k = keyset_parse_for(&rule, slice_str(json), 1, &why);
	size_t n = keyset_size(k);

	keyset_unref(k);
	return n;
}

static void keys_of_svids_may_say_so(void **state)
{
	assert_int_equal(usable_keys(",\"use\":\"sig\""), 1);
	assert_int_equal(usable_keys(",\"use\":\"jwt-svid\""), 0);
	use_svids();
	assert_int_equal(usable_keys(""), 1);
	assert_int_equal(usable_keys(",\"use\":\"sig\""), 1);
	assert_int_equal(usable_keys(",\"use\":\"jwt-svid\""), 1);
	assert_int_equal(usable_keys(",\"use\":\"x509-svid\""), 0);
	assert_int_equal(usable_keys(",\"use\":\"enc\""), 0);
}

/* ---- what is remembered ---- */

/* The keys keep their generation, so a signature stays known; what was read of the token does not outlive the way it was read. */
static void another_rule_never_uses_facts_read_by_an_older_one(void **state)
{
	const char *text = token(AT_JWT, STANDARD, "azp", "\"worker\"", "scope", "\"a\"", "roles", "[\"b\"]", "org", "\"globex\"", "uti", "\"u\"", NULL);
	const char *untyped = token(JWT, STANDARD, "nonce", NULL, NULL);
	uint64_t hits;

	allowed(text);
	hits = token_verifier_hits(verifier);
	use_rule(); /* the same rule: still known */
	allowed(text);
	assert_int_equal(token_verifier_hits(verifier), hits + 1);
	set_names(&rule.claims.scope, "roles", NULL);
	use_rule();
	allowed(text);
	assert_true(has("b") && !has("a"));
	set_names(&rule.claims.jti, "uti", NULL);
	use_rule();
	allowed(text);
	assert_string_equal(answer.claims.jti, "u");
	strcpy(rule.claims.service, "roles");
	use_rule();
	allowed(text);
	assert_false(answer.claims.subject_is_user);
	strcpy(rule.claims.user, "aud");
	use_rule();
	refused(text, REASON_INVALID_TOKEN, "aud");
	rule.claims.service[0] = '\0';
	use_rule();
	allowed(text);
	strcpy(rule.claims.tenant, "org");
	use_rule();
	refused(text, REASON_TENANT_BOUNDARY, "tenant");
	strcpy(rule.claims.tenant, "tenant");
	set_names(&rule.claims.client, "azp", NULL);
	use_rule();
	refused(text, REASON_IDENTITY_MISMATCH, "client_id");
	assert_int_equal(token_verifier_hits(verifier), hits + 1);
	/* what a header need not say any more, and then must again */
	use_dialect(DIALECT_STANDARD);
	rule.claims.typ = TYP_JWT;
	use_rule();
	allowed(untyped);
	rule.claims.typ = TYP_AT_JWT;
	use_rule();
	refused(untyped, REASON_INVALID_TOKEN, "typ");
	rule.claims.typ = TYP_JWT;
	rule.claims.dialect = DIALECT_KEYCLOAK;
	use_rule();
	refused(untyped, REASON_INVALID_TOKEN, "typ");
	use_dialect(DIALECT_STANDARD);
	rule.claims.typ = TYP_JWT;
	use_rule();
	allowed(untyped);
	use_svids(); /* and what was an access token is no JWT-SVID */
	refused(untyped, REASON_INVALID_TOKEN, "sub");
}

/* Audiences and the values of tenants are judged each time: a signature stays known, and the answer is today's. */
static void what_is_judged_is_judged_by_todays_rule(void **state)
{
	const char *text = token(AT_JWT, STANDARD, NULL);
	uint64_t hits;

	allowed(text);
	hits = token_verifier_hits(verifier);
	strcpy(rule.audiences[0], "ledger");
	rule.n_audiences = 1;
	use_rule();
	refused(text, REASON_WRONG_AUDIENCE, "aud");
	rule.n_audiences = 0;
	strcpy(rule.tenant_values[0].value, "x");
	strcpy(rule.tenant_values[0].tenant, "acme");
	rule.n_tenant_values = 1;
	use_rule();
	refused(text, REASON_TENANT_BOUNDARY, "tenant");
	strcpy(rule.tenant_values[0].value, "acme");
	use_rule();
	allowed(text);
	assert_int_equal(token_verifier_hits(verifier), hits + 3);
}

/* ---- what a rule may be ---- */

static const char *wrong(void)
{
	const char *field = "";
	const char *text = issuer_rule_wrong(&rule, &field);

	return text ? field : "";
}

static void a_rule_is_checked_whoever_wrote_it(void **state)
{
#define WRONG(change, field)                                                                                           \
	use_dialect(DIALECT_STANDARD);                                                                                 \
	assert_string_equal(wrong(), "");                                                                              \
	change;                                                                                                        \
	assert_string_equal(wrong(), field)
	WRONG(strcpy(rule.name, "Corp"), "name");
	WRONG(rule.name[0] = '\0', "name");
	WRONG(strcpy(rule.url, "http://login.acme.example"), "url");
	WRONG(strcpy(rule.url, "https://u:p@login.acme.example"), "url");
	WRONG(strcpy(rule.url, "https://login.acme.example?x"), "url");
	WRONG(rule.n_tenants = 0, "tenants");
	WRONG(rule.n_tenants = ISSUER_TENANTS_MAX + 1, "tenants");
	WRONG(rule.n_tenants = 2, "tenants");
	WRONG((strcpy(rule.tenants[1], "acme"), rule.n_tenants = 2), "tenants");
	WRONG(rule.n_audiences = 1, "audiences");
	WRONG(rule.n_audiences = ISSUER_AUDIENCES_MAX + 1, "audiences");
	WRONG((strcpy(rule.audiences[0], "a"), strcpy(rule.audiences[1], "a"), rule.n_audiences = 2), "audiences");
	WRONG((strcpy(rule.audiences[0], "a b"), rule.n_audiences = 1), "audiences");
	WRONG(rule.algorithms = 0, "algorithms");
	WRONG(rule.algorithms = 32 | ALG_ES256, "algorithms");
	WRONG(rule.max_lifetime_ms = 999, "max_lifetime");
	WRONG(rule.max_lifetime_ms = ISSUER_LIFETIME_MAX_MS + 1, "max_lifetime");
	WRONG(rule.keys_refresh_ms = 0, "keys_refresh");
	WRONG(rule.keys_stale_ms = ISSUER_STALE_MAX_MS + 1, "keys_stale");
	WRONG(rule.claims.dialect = DIALECTS, "dialect");
	WRONG(rule.claims.typ = TOKEN_TYPS, "typ");
	WRONG(rule.claims.tenant[0] = '\0', "claims.tenant");
	WRONG(strcpy(rule.claims.tenant, "a b"), "claims.tenant");
	WRONG(rule.claims.client.n = 0, "claims.client");
	WRONG(rule.claims.client.n = CLAIM_NAMES_MAX + 1, "claims.client");
	WRONG(set_names(&rule.claims.scope, "x", "x"), "claims.scope");
	WRONG(set_names(&rule.claims.scope, "x", "/"), "claims.scope");
	WRONG(rule.claims.jti.n = 0, "claims.jti");
	WRONG((rule.claims.jti.n = 0, rule.claims.jti_optional = true), "");
	WRONG(rule.claims.kind = ISSUER_KINDS, "kind");
	WRONG(strcpy(rule.claims.trust_domain, "acme.example"), "trust_domain");
	WRONG(rule.claims.kind = ISSUER_JWT_SVID, "trust_domain");
	WRONG((rule.claims.kind = ISSUER_JWT_SVID, strcpy(rule.claims.trust_domain, "a/b")), "trust_domain");
	WRONG((rule.claims.kind = ISSUER_JWT_SVID, strcpy(rule.claims.trust_domain, "Acme")), "trust_domain");
	WRONG((rule.claims.kind = ISSUER_JWT_SVID, strcpy(rule.claims.trust_domain, "acme.example")), "audiences");
	WRONG((use_svids(), rule.algorithms |= ALG_EDDSA), "algorithms");
	WRONG((use_svids(), rule.binding = false), "binding");
	WRONG((use_svids(), rule.claims.dialect = DIALECT_OKTA), "dialect");
	WRONG((use_svids(), strcpy(rule.claims.user, "uid")), "claims.user");
	WRONG((use_svids(), strcpy(rule.claims.service, "uid")), "claims.user");
	WRONG(use_svids(), "");
	WRONG(strcpy(rule.claims.user, " "), "claims.user");
	WRONG(strcpy(rule.claims.service, "//"), "claims.service");
	WRONG((strcpy(rule.claims.user, "x"), strcpy(rule.claims.service, "x")), "claims.service");
	WRONG(rule.n_tenant_values = TENANT_VALUES_MAX + 1, "claims.tenant_values");
	WRONG((strcpy(rule.tenant_values[0].value, "v"), rule.n_tenant_values = 1), "claims.tenant_values");
	WRONG((strcpy(rule.tenant_values[0].tenant, "acme"), rule.n_tenant_values = 1), "claims.tenant_values");
	WRONG((strcpy(rule.tenant_values[0].value, "v"), strcpy(rule.tenant_values[0].tenant, "globex"), rule.n_tenant_values = 1), "claims.tenant_values");
	WRONG((strcpy(rule.tenant_values[0].value, "v"), strcpy(rule.tenant_values[0].tenant, "acme"), rule.tenant_values[1] = rule.tenant_values[0],
	       rule.n_tenant_values = 2), "claims.tenant_values");
	WRONG((strcpy(rule.tenant_values[0].value, "v"), strcpy(rule.tenant_values[0].tenant, "acme"), rule.n_tenant_values = 1), "");
}

static void every_dialect_is_a_rule(void **state)
{
	for (enum dialect d = 0; d < DIALECTS; d++) {
		use_dialect(d);
		assert_string_equal(wrong(), "");
		assert_int_equal(dialect_from_text(slice_str(dialect_text(d))), d);
	}
	assert_int_equal(dialect_from_text(SLICE_LIT("Entra")), DIALECTS);
	assert_int_equal(token_typ_from_text(SLICE_LIT("jwt")), TYP_JWT);
	assert_int_equal(token_typ_from_text(SLICE_LIT("JWT")), TOKEN_TYPS);
}

#define T(test) cmocka_unit_test_setup(test, fresh)
int main(void)
{
	const struct CMUnitTest tests[] = {
		T(issuer_speaks_to_its_audiences_only), T(without_a_demand_the_token_is_for_one_of_them), T(the_first_claim_that_is_there_counts),
		T(only_a_pointer_leads_into_objects_rfc6901), T(a_plain_name_is_the_name_whatever_is_in_it), T(names_of_claims_are_checked),
		T(tenant_values_name_the_tenant), T(entra_users_and_applications), T(okta_users_and_clients), T(keycloak_users_and_service_accounts),
		T(auth0_of_both_profiles), T(an_untyped_token_is_none_by_default_rfc9068_4), T(a_typ_of_another_kind_is_refused_everywhere),
		T(an_untyped_id_token_is_refused_rfc8725_2_8), T(a_jwt_svid_is_the_peers_own), T(a_jwt_svid_has_what_it_must_svid_3),
		T(an_undated_svid_is_as_old_as_can_be), T(other_issuers_give_no_svids), T(keys_of_svids_may_say_so), T(another_rule_never_uses_facts_read_by_an_older_one),
		T(what_is_judged_is_judged_by_todays_rule), T(a_rule_is_checked_whoever_wrote_it), T(every_dialect_is_a_rule),
	};

	return cmocka_run_group_tests(tests, up, down);
}
