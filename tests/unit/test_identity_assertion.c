/* What does Baton vouch for, and who may show it? Assertions are read back here with jansson and OpenSSL, as a receiver
 * would. */
#include "config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include <jansson.h>
#include <openssl/pem.h>
#include <pthread.h>

#include "base/encode.h"
#include "identity/assertion.h"
#include "identity/jws.h"
#include "identity/token.h"
#include "test_identity_jwt.h"

#define NOW 1764000000LL
#define X5T "bwcK0esc3ACC3DB2Y5_lESsXE8o9ltc05O89jdN-dg0"
#define X5T_OTHER "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
#define WORKER "spiffe://acme.example/worker"

static char folder[] = "/tmp/baton-assertion-XXXXXX";
static char es_path[128], ed_path[128], path[128];
static struct assertion_key *es, *ed;
static struct arena *arena;
static struct problem why;

static struct assertion honest(void)
{
	return (struct assertion){
		.issuer = "baton:node-1", .audience = WORKER, .receiver_x5t = X5T, .tenant = "acme", .route = "refunds",
			.tool = "refund.issue",
		.destination = "payments", .side_effect = "write", .handoff_id = "h-1", .fence = 7, .attempt = 2,
			.payload_sha256 = {1, 2, 3},
		.subject = "alice", .subject_issuer = "https://login.acme.example",
			.sender_spiffe_id = "spiffe://acme.example/planner", .scope = "orders:read orders:write",
		.trace_id = "4bf92f3577b34da6a3ce929d0e0e4736", .now_ms = NOW * 1000 + 999,
			.expires_at_ms = (NOW + 60) * 1000, .jti = "j-1",
	};
}

static void write_key(const char *to, EVP_PKEY *key, mode_t mode)
{
	FILE *f = fopen(to, "w");

	assert_non_null(f);
	PEM_write_PrivateKey(f, key, NULL, NULL, 0, NULL, NULL);
	fclose(f);
	assert_int_equal(chmod(to, mode), 0);
}

static int world_up(void **state)
{
	EVP_PKEY *key = jwt_ed25519();

	jwt_begin();
	arena = arena_new(1 << 20);
	assert_non_null(mkdtemp(folder));
	snprintf(es_path, sizeof es_path, "%s/es.pem", folder);
	snprintf(ed_path, sizeof ed_path, "%s/ed.pem", folder);
	snprintf(path, sizeof path, "%s/other.pem", folder);
	write_key(ed_path, key, 0600);
	EVP_PKEY_free(key);
	if (assertion_key_create(es_path, &why) < 0)
		fail_msg("%s", why.text);
	es = assertion_key_load(es_path, &why);
	ed = assertion_key_load(ed_path, &why);
	assert_non_null(es);
	assert_non_null(ed);
	return 0;
}

static int world_down(void **state)
{
	assertion_key_free(es);
	assertion_key_free(ed);
	assertion_key_free(NULL);
	arena_free(arena);
	unlink(es_path);
	unlink(ed_path);
	unlink(path);
	jwt_end();
	return rmdir(folder);
}

/* Segment 0 or 1 as JSON; the caller frees it. */
static json_t *segment(const char *token, int which)
{
	const char *start = which ? strchr(token, '.') + 1 : token;
	uint8_t bytes[8192];
	long n = b64url_decode(slice_of(start, (size_t)(strchr(start, '.') - start)), bytes, sizeof bytes);
	json_t *j = n > 0 ? json_loadb((const char *)bytes, (size_t)n, JSON_REJECT_DUPLICATES, NULL) : NULL;

	assert_non_null(j);
	return j;
}

static const char *member(const json_t *j, const char *name)
{
	const char *s = json_string_value(json_object_get(j, name));

	return s ? s : "(absent)";
}

static struct keyset *published(const struct assertion_key *k)
{
	struct keyset *set;
	struct buf out;

	buf_init(&out, 4096);
	assert_int_equal(assertion_key_jwks(k, &out), 0);
	set = keyset_parse(buf_slice(&out), ALG_ES256 | ALG_EDDSA, 1, &why);
	assert_non_null(set);
	assert_int_equal(keyset_size(set), 1);
	buf_clear(&out);
	return set;
}

static void receiver_can_read_and_verify_it(void **state)
{
	struct assertion_key *const keys[] = {es, ed};

	for (int i = 0; i < 2; i++) {
		struct assertion a = honest();
		const char *token = assertion_sign(keys[i], &a, arena);
		struct keyset *set = published(keys[i]);
		const struct jwk *jwk = keyset_at(set, 0);
		struct jws_verifier *v = jws_verifier_new(jwk);
		json_t *h = segment(token, 0), *p = segment(token, 1);
		struct jws *j = malloc(sizeof *j);

		assert_string_equal(member(h, "alg"), i ? "EdDSA" : "ES256");
		assert_string_equal(member(h, "typ"), "baton-delivery+jwt");
		assert_string_equal(member(h, "kid"), jwk->kid);
		assert_int_equal(jwk->kid_n, 43);
		assert_null(jws_split(slice_str(token), j));
		assert_int_equal(j->signature_n, 64);
		assert_true(jws_verify(v, j->signed_part, slice_of(j->signature, j->signature_n)));
		assert_string_equal(member(p, "iss"), "baton:node-1");
		assert_string_equal(member(p, "aud"), WORKER);
		assert_string_equal(member(p, "sub"), "alice");
		assert_string_equal(member(p, "sub_iss"), "https://login.acme.example");
		assert_string_equal(member(p, "jti"), "j-1");
		assert_string_equal(member(json_object_get(p, "cnf"), "x5t#S256"), X5T);
		assert_string_equal(member(json_object_get(p, "act"), "sub"), "spiffe://acme.example/planner");
		assert_string_equal(member(p, "tenant"), "acme");
		assert_string_equal(member(p, "route"), "refunds");
		assert_string_equal(member(p, "tool"), "refund.issue");
		assert_string_equal(member(p, "destination"), "payments");
		assert_string_equal(member(p, "side_effect"), "write");
		assert_string_equal(member(p, "handoff_id"), "h-1");
		assert_string_equal(member(p, "scope"), "orders:read orders:write");
		assert_string_equal(member(p, "trace_id"), "4bf92f3577b34da6a3ce929d0e0e4736");
		assert_string_equal(member(p, "payload_sha256"), "AQIDAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA");
		assert_int_equal(json_integer_value(json_object_get(p, "iat")), NOW);
		assert_int_equal(json_integer_value(json_object_get(p, "exp")), NOW + 60);
		assert_int_equal(json_integer_value(json_object_get(p, "fence")), 7);
		assert_int_equal(json_integer_value(json_object_get(p, "attempt")), 2);
		json_decref(h);
		json_decref(p);
		free(j);
		jws_verifier_free(v);
		keyset_unref(set);
	}
}

static void absent_values_are_absent_members(void **state)
{
	struct assertion a = honest();
	json_t *p;

	a.tool = "";
	a.destination = NULL;
	a.scope = "";
	p = segment(assertion_sign(es, &a, arena), 1);
	assert_null(json_object_get(p, "tool"));
	assert_null(json_object_get(p, "destination"));
	assert_null(json_object_get(p, "scope"));
	assert_string_equal(member(p, "route"), "refunds");
	json_decref(p);
}

static void hostile_values_stay_values(void **state)
{
	struct assertion a = honest();
	json_t *p;

	a.subject = "x\",\"aud\":\"spiffe://evil.example/x";
	a.tool = "line\nbreak\x7f";
	p = segment(assertion_sign(es, &a, arena), 1);
	assert_string_equal(member(p, "sub"), a.subject);
	assert_string_equal(member(p, "tool"), a.tool);
	assert_string_equal(member(p, "aud"), WORKER);
	json_decref(p);
}

static void memory_that_is_out_gives_no_assertion(void **state)
{
	struct arena *tiny = arena_new(128);
	struct assertion a = honest();

	assert_null(assertion_sign(es, &a, tiny));
	assert_non_null(assertion_sign(es, &a, arena));
	arena_free(tiny);
}

/* ---- shown to us ---- */

static struct assertion_claims claims;
static bool expired;

static bool taken(const struct assertion_key *k, const char *token, const char *audience, const char *x5t,
		  int64_t now_ms)
{
	return assertion_verify(k, slice_str(token), audience, x5t, now_ms, arena, &claims, &expired) == NULL;
}

static void only_its_receiver_may_show_it(void **state)
{
	struct assertion a = honest();
	const char *token = assertion_sign(es, &a, arena);

	assert_true(taken(es, token, WORKER, X5T, NOW * 1000));
	assert_string_equal(claims.issuer, "baton:node-1");
	assert_string_equal(claims.tenant, "acme");
	assert_string_equal(claims.route, "refunds");
	assert_string_equal(claims.subject, "alice");
	assert_string_equal(claims.handoff_id, "h-1");
	assert_string_equal(claims.jti, "j-1");
	assert_int_equal(claims.fence, 7);
	assert_int_equal(claims.attempt, 2);
	assert_int_equal(claims.expires_at_ms, (NOW + 60) * 1000);
	assert_false(taken(es, token, "spiffe://acme.example/planner", X5T, NOW * 1000));
	assert_false(expired);
	assert_false(taken(es, token, WORKER, X5T_OTHER, NOW * 1000));
	assert_false(expired);
	assert_true(taken(es, token, WORKER, X5T, (NOW + 60) * 1000 - 1));
	assert_false(taken(es, token, WORKER, X5T, (NOW + 60) * 1000));
	assert_true(expired);
}

static void only_our_own_signature_counts(void **state)
{
	struct assertion a = honest();
	const char *token = assertion_sign(es, &a, arena),
		*payload_text = "{\"aud\":\"" WORKER "\",\"cnf\":{\"x5t#S256\":\"" X5T "\"},\"exp\":1764000060}";
	char *bad = arena_strdup(jwt_arena, token);
	struct keyset *set = published(es);
	EVP_PKEY *stranger = jwt_ec("P-256");
	const char *header;

	assert_true(taken(es, token, WORKER, X5T, NOW * 1000));
	assert_true(taken(ed, assertion_sign(ed, &a, arena), WORKER, X5T, NOW * 1000));
	assert_false(taken(ed, token, WORKER, X5T, NOW * 1000));
	bad[strlen(bad) - 40] = bad[strlen(bad) - 40] == 'A' ? 'B' : 'A';
	assert_false(taken(es, bad, WORKER, X5T, NOW * 1000));
	header = arena_printf(jwt_arena, "{\"alg\":\"ES256\",\"typ\":\"baton-delivery+jwt\",\"kid\":\"%s\"}",
			      keyset_at(set, 0)->kid);
	assert_false(taken(es, jwt_sign(stranger, "ES256", header, payload_text), WORKER, X5T, NOW * 1000));
	assert_false(taken(es, jwt_sign(stranger, "ES256", "{\"alg\":\"ES256\",\"typ\":\"at+jwt\"}", payload_text),
			   WORKER, X5T, NOW * 1000));
	assert_false(taken(es, "", WORKER, X5T, NOW * 1000));
	assert_false(taken(es, "a.b.c", WORKER, X5T, NOW * 1000));
	EVP_PKEY_free(stranger);
	keyset_unref(set);
}

/* RFC 8725 §3.11: even an issuer that had Baton's own key would not make an access token of it. */
static void it_is_no_access_token(void **state)
{
	struct issuer_entry e = {.rule = {.name = "self", .url = "baton:node-1", .algorithms = ALG_ES256,
					  .max_lifetime_ms = 3600000},
				 .keys = published(es), .keys_good_until_ms = INT64_MAX};
	struct issuers *i = issuers_new(&e, 1);
	struct token_verifier *v = token_verifier_new(4);
	struct token_context cx = {.x5t_s256 = X5T, .now_ms = NOW * 1000};
	struct token_answer answer;
	struct assertion a = honest();

	token_verifier_set_issuers(v, i);
	token_verify(v, slice_str(assertion_sign(es, &a, arena)), &cx, arena, &answer);
	assert_int_equal(answer.verdict.reason, REASON_INVALID_TOKEN);
	assert_string_equal(answer.verdict.field, "typ");
	token_verifier_free(v);
	issuers_unref(i);
	keyset_unref(e.keys);
}

/* ---- the key file ---- */

static void key_file_is_private_and_of_a_known_kind(void **state)
{
	EVP_PKEY *const bad[] = {jwt_rsa(2048), jwt_ec("P-384")};
	EVP_PKEY *good = jwt_ec("P-256");
	struct assertion_key *k;
	FILE *f;

	write_key(path, good, 0644);
	assert_null(assertion_key_load(path, &why));
	assert_int_equal(chmod(path, 0600), 0);
	k = assertion_key_load(path, &why);
	assert_non_null(k);
	assertion_key_free(k);
	for (int i = 0; i < 2; i++) {
		write_key(path, bad[i], 0600);
		assert_null(assertion_key_load(path, &why));
		assert_non_null(strstr(why.text, "P-256 or Ed25519"));
		EVP_PKEY_free(bad[i]);
	}
	f = fopen(path, "w"); /* with a pass phrase: refused without asking for one */
	PEM_write_PrivateKey(f, good, EVP_aes_256_cbc(), NULL, 0, NULL, (void *)"secret");
	fclose(f);
	assert_null(assertion_key_load(path, &why));
	f = fopen(path, "w");
	fputs("hello", f);
	fclose(f);
	assert_null(assertion_key_load(path, &why));
	unlink(path);
	assert_null(assertion_key_load(path, &why));
	EVP_PKEY_free(good);
}

static void key_is_made_once(void **state)
{
	struct assertion_key *a, *b;
	struct keyset *x, *y;
	struct stat st;

	unlink(path);
	assert_int_equal(assertion_key_create(path, &why), 0);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	a = assertion_key_load(path, &why);
	assert_int_equal(assertion_key_create(path, &why), 0); /* stays as it is */
	b = assertion_key_load(path, &why);
	x = published(a);
	y = published(b);
	assert_string_equal(keyset_at(x, 0)->kid, keyset_at(y, 0)->kid);
	keyset_unref(x);
	keyset_unref(y);
	assertion_key_free(a);
	assertion_key_free(b);
	assert_int_equal(assertion_key_create("/nonexistent/folder/key.pem", &why), -1);
}

/* ---- threads ---- */

static void *sign_many(void *arg)
{
	struct arena *own = arena_new(1 << 20);
	struct assertion a = honest();
	struct assertion_claims c;
	bool late;
	intptr_t bad = 0;

	for (int i = 0; i < 100; i++) {
		const char *token = assertion_sign(arg, &a, own);

		if (!token || assertion_verify(arg, slice_str(token), WORKER, X5T, NOW * 1000, own, &c, &late))
			bad++;
		arena_reset(own);
	}
	arena_free(own);
	return (void *)bad;
}

static void many_threads_sign_at_once(void **state)
{
	pthread_t threads[4];
	void *bad;

	for (int i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, sign_many, i % 2 ? es : ed), 0);
	for (int i = 0; i < 4; i++) {
		assert_int_equal(pthread_join(threads[i], &bad), 0);
		assert_null(bad);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(receiver_can_read_and_verify_it),
		cmocka_unit_test(absent_values_are_absent_members),
		cmocka_unit_test(hostile_values_stay_values),
		cmocka_unit_test(memory_that_is_out_gives_no_assertion),
		cmocka_unit_test(only_its_receiver_may_show_it),
		cmocka_unit_test(only_our_own_signature_counts),
		cmocka_unit_test(it_is_no_access_token),
		cmocka_unit_test(key_file_is_private_and_of_a_known_kind),
		cmocka_unit_test(key_is_made_once),
		cmocka_unit_test(many_threads_sign_at_once),
	};

	return cmocka_run_group_tests(tests, world_up, world_down);
}
