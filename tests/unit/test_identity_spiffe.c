/* Which texts are SPIFFE ids? (SPIFFE-ID §2) */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "identity/spiffe.h"

static void honest_ids_are_taken_apart(void **state)
{
	static const struct {
		const char *text, *domain, *path;
	} rows[] = {
		{"spiffe://acme.example/planner", "acme.example", "/planner"},
		{"spiffe://a/b", "a", "/b"},
		{"spiffe://acme_1-x.example/ns/Default/sa/web-1_2.3", "acme_1-x.example", "/ns/Default/sa/web-1_2.3"},
		{"spiffe://1.2.3.4/x", "1.2.3.4", "/x"},
		{"spiffe://acme.example/...", "acme.example", "/..."},
		{"spiffe://acme.example/.a/..b", "acme.example", "/.a/..b"},
	};
	struct spiffe_id id;

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		assert_null(spiffe_parse(slice_str(rows[i].text), &id));
		assert_true(slice_is(id.trust_domain, rows[i].domain));
		assert_true(slice_is(id.path, rows[i].path));
	}
}

static void other_texts_are_refused(void **state)
{
	static const char *const bad[] = {
		"", "spiffe:", "spiffe:/", "spiffe://", "spiffe:///", "spiffe:///x", "spiffe://acme.example",
			"spiffe://acme.example/",
		"SPIFFE://acme.example/x", "Spiffe://acme.example/x", "http://acme.example/x", "https://acme.example/x",
			"spiffe//acme.example/x",
		" spiffe://acme.example/x", "spiffe://acme.example/x ", "spiffe://Acme.example/x",
			"spiffe://acme.example:443/x",
		"spiffe://acme.example:/x", "spiffe://user@acme.example/x", "spiffe://u:p@acme.example/x",
			"spiffe://[::1]/x",
		"spiffe://acme.example?x/y", "spiffe://acme.example/x?y", "spiffe://acme.example/x#y",
			"spiffe://acme.example/%78",
		"spiffe://acme%2eexample/x", "spiffe://acme.example/x/", "spiffe://acme.example//x",
			"spiffe://acme.example/x//y",
		"spiffe://acme.example/.", "spiffe://acme.example/..", "spiffe://acme.example/x/.",
			"spiffe://acme.example/../y",
		"spiffe://acme.example/x/../y", "spiffe://acme.example/x/./y", "spiffe://acme.example/\xc3\xa4",
			"spiffe://\xc3\xa4.example/x",
		"spiffe://acme.example/x\n", "spiffe://acme.example/x\\y", "spiffe://acme.example\\x",
			"spiffe://acme.example/x*", "spiffe://*/x",
		"spiffe://acme.example/x;y", "spiffe://acme.example/x:y", "spiffe://acme.example/x@y",
			"spiffe://acme.example/~x",
	};
	static const char nul[] = "spiffe://acme.example/x\0y";
	struct spiffe_id id;

	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		if (!spiffe_parse(slice_str(bad[i]), &id))
			fail_msg("taken: %s", bad[i]);
	assert_null(spiffe_parse(slice_of(nul, 23), &id));
	assert_non_null(spiffe_parse(slice_of(nul, 24), &id));
	assert_non_null(spiffe_parse(slice_of(nul, 25), &id));
}

static void lengths_are_bounded(void **state)
{
	char text[SPIFFE_ID_MAX + 2] = "spiffe://a/";
	struct spiffe_id id;

	memset(text + 11, 'x', sizeof text - 11);
	assert_null(spiffe_parse(slice_of(text, SPIFFE_ID_MAX), &id));
	assert_non_null(spiffe_parse(slice_of(text, SPIFFE_ID_MAX + 1), &id));
	memset(text + 9, 'd', 256);
	text[9 + 255] = '/';
	assert_null(spiffe_parse(slice_of(text, 9 + 255 + 2), &id));
	text[9 + 255] = 'd';
	text[9 + 256] = '/';
	assert_non_null(spiffe_parse(slice_of(text, 9 + 256 + 2), &id));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(honest_ids_are_taken_apart),
		cmocka_unit_test(other_texts_are_refused),
		cmocka_unit_test(lengths_are_bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
