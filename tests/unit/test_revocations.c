/* Does a revocation hit what it is about, when it was issued then, as long as it lasts, and nothing beside it? */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/encode.h"
#include "registry/revocations.h"

#define NOW 1000000
#define ISS "https://login.example"

static const uint8_t digest[SHA256_BYTES] = {1, 2, 3};

static struct revocable somebody(void)
{
	return (struct revocable){.tenant = "acme", .agent = "planner", .certificate = "x5t", .certificate_issued_at_ms = 500, .issuer = ISS, .subject = "ana",
		.jti = "j1", .key_id = "k1", .token_sha256 = digest, .token_issued_at_ms = 700, .route = "refunds", .tool = "orders.lookup"};
}

static struct revocations *with(enum revoked_kind kind, const char *within, const char *what, int64_t before, int64_t until)
{
	struct revocations *r = revocations_new();

	assert_non_null(r);
	assert_true(revocations_add(r, &(struct revocation){.id = "one", .kind = kind, .within = within, .what = what, .issued_before_ms = before, .until_ms = until}));
	return r;
}

static bool hits(enum revoked_kind kind, const char *within, const char *what, int64_t before, int64_t until)
{
	struct revocations *r = with(kind, within, what, before, until);
	const struct revocable of = somebody();
	const struct revocation *v = revocations_find(r, &of, NOW);
	bool hit = v;

	if (v) {
		assert_string_equal(v->id, "one");
		assert_int_equal(v->kind, kind);
	}
	revocations_unref(r);
	return hit;
}

static void each_kind(void **state)
{
	char token[B64URL_LEN(SHA256_BYTES) + 1];
	const struct { enum revoked_kind kind; const char *within, *what, *not_within, *not_what; } rows[] = {
		{REVOKED_AGENT, "acme", "planner", "globex", "planner2"}, {REVOKED_CERTIFICATE, "", "x5t", "", "x5"}, {REVOKED_KEY, ISS, "k1", ISS "/", "k2"},
		{REVOKED_ISSUER, "", ISS, "", ISS "/"}, {REVOKED_SUBJECT, ISS, "ana", "ana", "an"}, {REVOKED_JTI, ISS, "j1", "j1", "j"},
		{REVOKED_TOKEN, "", token, "", "other"}, {REVOKED_TENANT, "", "acme", "", "acm"}, {REVOKED_ROUTE, "acme", "refunds", "globex", "refund"},
		{REVOKED_TOOL, "acme", "orders.lookup", "globex", "orders"},
	};

	(void)state;
	b64url_encode(digest, sizeof digest, token);
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		assert_true(hits(rows[i].kind, rows[i].within, rows[i].what, INT64_MAX, INT64_MAX));
		assert_false(hits(rows[i].kind, rows[i].within, rows[i].not_what, INT64_MAX, INT64_MAX));
		if (*rows[i].within)
			assert_false(hits(rows[i].kind, rows[i].not_within, rows[i].what, INT64_MAX, INT64_MAX));
	}
	assert_true(hits(REVOKED_SUBJECT, "", "ana", INT64_MAX, INT64_MAX)); /* of any issuer */
	assert_true(hits(REVOKED_TOOL, "", "orders.lookup", INT64_MAX, INT64_MAX));
	assert_false(hits(REVOKED_AGENT, "", "planner", INT64_MAX, INT64_MAX)); /* a name alone is no agent */
}

/* RFC 7519: iat has whole seconds; what was issued in the very moment is old. */
static void issue_time(void **state)
{
	(void)state;
	assert_true(hits(REVOKED_AGENT, "acme", "planner", 500, INT64_MAX));
	assert_false(hits(REVOKED_AGENT, "acme", "planner", 499, INT64_MAX));
	assert_true(hits(REVOKED_SUBJECT, "", "ana", 700, INT64_MAX));
	assert_false(hits(REVOKED_SUBJECT, "", "ana", 699, INT64_MAX));
	assert_true(hits(REVOKED_SUBJECT, "", "ana", 700, NOW + 1));
	assert_false(hits(REVOKED_SUBJECT, "", "ana", 700, NOW));
}

/* What is not known is not taken for new. */
static void unknown_time(void **state)
{
	struct revocations *r = with(REVOKED_SUBJECT, "", "ana", 100, INT64_MAX);
	struct revocable of = {.subject = "ana", .issuer = ISS};

	(void)state;
	assert_non_null(revocations_find(r, &of, NOW));
	of.subject = NULL;
	assert_null(revocations_find(r, &of, NOW));
	assert_null(revocations_find(NULL, &of, NOW));
	revocations_unref(r);
}

/* Two of the same: the one that is over hides none that lasts. */
static void several(void **state)
{
	struct revocations *r = with(REVOKED_TENANT, "", "acme", INT64_MAX, NOW);
	const struct revocable of = somebody();

	(void)state;
	assert_null(revocations_find(r, &of, NOW));
	assert_true(revocations_of_peers(r));
	for (int i = 0; i < 3; i++)
		assert_true(revocations_add(r, &(struct revocation){.id = "two", .kind = REVOKED_TENANT, .within = "", .what = "acme", .issued_before_ms = INT64_MAX,
								    .until_ms = i == 1 ? INT64_MAX : NOW}));
	assert_string_equal(revocations_find(r, &of, NOW)->id, "two");
	assert_int_equal(revocations_count(r), 4);
	assert_int_equal(revocations_of_kind(r, REVOKED_TENANT), 4);
	revocations_unref(revocations_ref(r));
	revocations_unref(r);
}

static void kept_of_a_tenant(void **state)
{
	static const struct { enum revoked_kind kind; const char *within, *what, *tenant; } rows[] = {
		{REVOKED_AGENT, "acme", "planner", "acme"}, {REVOKED_ROUTE, "acme", "refunds", "acme"}, {REVOKED_TOOL, "acme", "pay", "acme"}, {REVOKED_TOOL, "", "pay", ""},
		{REVOKED_TENANT, "", "globex", "globex"}, {REVOKED_SUBJECT, "https://login.example", "ana", ""}, {REVOKED_KEY, "", "k1", ""},
	};
	struct revocations *r = revocations_new();

	(void)state;
	assert_int_equal(revocations_kept(r, "acme"), 0);
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		const struct revocation v = {.id = "one", .kind = rows[i].kind, .within = rows[i].within, .what = rows[i].what};

		assert_string_equal(revocation_tenant(&v), rows[i].tenant);
		assert_true(revocations_keep(r, revocation_tenant(&v)));
	}
	assert_int_equal(revocations_kept(r, "acme"), 3);
	assert_int_equal(revocations_kept(r, "globex"), 1);
	assert_int_equal(revocations_kept(r, "acm"), 0);
	assert_int_equal(revocations_kept(NULL, "acme"), 0);
	assert_int_equal(revocations_count(r), 0); /* in force */
	revocations_unref(r);
}

/* A name with the boundary in it is another name; one that is too long is in no index. */
static void boundaries(void **state)
{
	struct revocations *r = revocations_new();
	char *big = calloc(1, 9000);
	struct revocation v = {.id = "x", .kind = REVOKED_SUBJECT, .within = "", .what = big, .issued_before_ms = INT64_MAX, .until_ms = INT64_MAX};

	(void)state;
	memset(big, 'x', 8999);
	assert_false(revocations_add(r, &v));
	v.kind = REVOKED_KINDS;
	assert_false(revocations_add(r, &v));
	assert_int_equal(revocations_count(r), 0);
	revocations_unref(r);
	free(big);
}

static void copied(void **state)
{
	struct revocations *r = with(REVOKED_TOOL, "acme", "orders.lookup", INT64_MAX, INT64_MAX);
	const struct revocable of = somebody();
	struct revocable *c = revocable_copy(&of), *none = revocable_copy(&(struct revocable){.tenant = "acme"});

	(void)state;
	assert_non_null(c);
	assert_ptr_not_equal(c->subject, of.subject);
	assert_string_equal(c->subject, "ana");
	assert_memory_equal(c->token_sha256, digest, sizeof digest);
	assert_non_null(revocations_find(r, c, NOW));
	assert_null(none->agent);
	assert_null(none->token_sha256);
	assert_null(revocations_find(r, none, NOW));
	free(c);
	free(none);
	revocations_unref(r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(each_kind), cmocka_unit_test(issue_time), cmocka_unit_test(unknown_time), cmocka_unit_test(several), cmocka_unit_test(kept_of_a_tenant),
					   cmocka_unit_test(boundaries), cmocka_unit_test(copied)};

	cmocka_set_message_output(CM_OUTPUT_STDOUT);
	return cmocka_run_group_tests_name("revocations", tests, NULL, NULL);
}
