/* Which secrets does the keeper hand out, to whoever asks? Each that it does not stands beside the one that it does and that differs in one thing. */
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

#include "folder.h"
#include "keeper/lender.h"

#define URL "https://login.acme.example/introspect"
#define NOW 1764000000000
#define MONO 1000

static char registered[64], password[64], key[64];
static const char *const files[] = {password, "/srv/elsewhere/x"};
static const char *const own[] = {key, "", "/nowhere/record"};
static const struct keeper_secrets secrets = {files, 2, registered};
static struct keeper_lender *lender;

static int up(void **state)
{
	if (!mkdtemp(folder) || mkdir(in("r"), 0700) || mkdir(in("sub"), 0700) || mkdir(in("r/login.acme.example"), 0700) || mkdir(in("r/other.example:8443"), 0755))
		return -1;
	snprintf(registered, sizeof registered, "%s/r", folder);
	snprintf(password, sizeof password, "%s/password", folder);
	snprintf(key, sizeof key, "%s/key", folder);
	lender = keeper_lender_new(&secrets, own, 3, MONO);
	return lender ? 0 : -1;
}

static int down(void **state)
{
	keeper_lender_free(lender);
	return folder_remove();
}

/* It answers so, and says this: the secret, or why not. */
static void answers(const struct secret_wanted *w, enum keeper_status status, const char *says)
{
	const struct keeper_ask ask = {.kind = KEEPER_SECRET, .tag = 5, .until_ms = MONO, .secret = *w};
	struct keeper_answer a;

	keeper_lender_answer(lender, &ask, NOW, MONO, &a);
	if (a.status != status)
		fail_msg("%s %s: %d %.*s", w->file, w->name, a.status, (int)a.why.n, (const char *)a.why.p);
	assert_true(a.tag == 5 && (status == KEEPER_OK) == !a.why.n && (status == KEEPER_OK) == (a.secret.n > 0));
	if (status == KEEPER_OK)
		assert_true(slice_is(a.secret, says));
	else if (!strstr((const char *)a.why.p, says))
		fail_msg("%s %s: %.*s", w->file, w->name, (int)a.why.n, (const char *)a.why.p);
	keeper_lender_forget(lender);
}

static void file(const char *path, enum keeper_status status, const char *says)
{
	answers(&(struct secret_wanted){path, "", ""}, status, says);
}

static void named(const char *url, const char *name, enum keeper_status status, const char *says)
{
	answers(&(struct secret_wanted){"", url, name}, status, says);
}

static void a_file_that_it_was_told_of_and_those_beside_it(void **state)
{
	put("password", "s3cret\n", 0600);
	put("another", "next", 0400);
	put("sub/deep", "deep", 0600);
	file(in("password"), KEEPER_OK, "s3cret");
	file(in("another"), KEEPER_OK, "next");
	file(in("missing"), KEEPER_REFUSED, "No such file");
	file(in("sub/deep"), KEEPER_REFUSED, "told of");
	file(in("sub/../password"), KEEPER_REFUSED, "told of");
	file(in("./password"), KEEPER_REFUSED, "told of");
	file(in("/password"), KEEPER_REFUSED, "told of");
	file(in(".."), KEEPER_REFUSED, "told of");
	file(in(""), KEEPER_REFUSED, "told of");
	file("/etc/passwd", KEEPER_REFUSED, "told of");
	file("password", KEEPER_REFUSED, "told of");
	file("//", KEEPER_REFUSED, "told of");
	file(in("sub"), KEEPER_REFUSED, "not a regular file");
	put("password", "second", 0600); /* renamed into its place */
	file(in("password"), KEEPER_OK, "second");
}

/* By any name. */
static void no_key_whatever_it_is_called(void **state)
{
	put("key", "its own, and short", 0600);
	put("pem", "a line\n-----BEGIN PRIVATE KEY-----\nAAAA\n", 0600);
	put("no-pem", "a line\n----BEGIN", 0600);
	file(in("key"), KEEPER_REFUSED, "own");
	assert_int_equal(link(key, in("hard")), 0);
	file(in("hard"), KEEPER_REFUSED, "own");
	assert_int_equal(symlink(key, in("soft")), 0);
	file(in("soft"), KEEPER_REFUSED, "own");
	assert_int_equal(link(key, in("r/login.acme.example/hard")), 0);
	named(URL, "hard", KEEPER_REFUSED, "own");
	put("key", "the next one", 0600);
	file(in("key"), KEEPER_REFUSED, "own");
	file(in("soft"), KEEPER_REFUSED, "own");
	file(in("pem"), KEEPER_REFUSED, "PEM");
	file(in("no-pem"), KEEPER_OK, "a line\n----BEGIN");
}

static void a_secret_is_for_its_host_alone(void **state)
{
	put("r/login.acme.example/acme", "s3cret\n", 0600);
	put("r/other.example:8443/other", "another", 0400);
	named(URL, "acme", KEEPER_OK, "s3cret");
	named("https://LOGIN.acme.example:443/any/path", "acme", KEEPER_OK, "s3cret");
	named("https://other.example:8443", "other", KEEPER_OK, "another");
	named(URL, "other", KEEPER_REFUSED, "No such file");
	named("https://other.example/", "other", KEEPER_REFUSED, "cannot be opened");
	named("https://evil.example/login.acme.example", "acme", KEEPER_REFUSED, "cannot be opened");
	named("https://../", "acme", KEEPER_REFUSED, "no host");
	named("http://login.acme.example/", "acme", KEEPER_REFUSED, "no host");
	named(URL, "../other.example:8443/other", KEEPER_REFUSED, "a name here has");
	named(URL, "..", KEEPER_REFUSED, "a name here has");
	named(URL, "ca.pem", KEEPER_REFUSED, "ca.pem");
}

static void no_link_is_followed_below_that_folder(void **state)
{
	char to[96];

	snprintf(to, sizeof to, "%s/login.acme.example", registered);
	assert_int_equal(symlink(to, in("r/linked.example")), 0);
	named("https://linked.example/", "acme", KEEPER_REFUSED, "linked.example cannot be opened");
	assert_int_equal(symlink(password, in("r/login.acme.example/link")), 0);
	named(URL, "link", KEEPER_REFUSED, "it is a link");
	named(URL, "acme", KEEPER_OK, "s3cret");
}

static void what_others_can_reach_is_not_lent(void **state)
{
	static const struct { const char *name; mode_t bad, good; const char *say; } rows[] = {
		{"r/login.acme.example/acme", 0640, 0600, "0600"}, {"r/login.acme.example", 0770, 0750, "others can write"}, {"r", 0707, 0755, "others can write"},
	};

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		assert_int_equal(chmod(in(rows[i].name), rows[i].bad), 0);
		named(URL, "acme", KEEPER_REFUSED, rows[i].say);
		assert_int_equal(chmod(in(rows[i].name), rows[i].good), 0);
		named(URL, "acme", KEEPER_OK, "s3cret");
	}
	assert_int_equal(chmod(password, 0604), 0);
	file(password, KEEPER_REFUSED, "0600");
	assert_int_equal(chmod(password, 0600), 0);
	if (geteuid() != 0)
		return;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) { /* only root can give a file away */
		assert_int_equal(chown(in(rows[i].name), 12345, 12345), 0);
		named(URL, "acme", KEEPER_REFUSED, "belongs to uid 12345");
		assert_int_equal(chown(in(rows[i].name), 0, 0), 0);
		named(URL, "acme", KEEPER_OK, "s3cret");
	}
	assert_int_equal(chown(password, 12345, 12345), 0);
	file(password, KEEPER_REFUSED, "belongs to uid 12345");
	assert_int_equal(chown(password, 0, 0), 0);
	file(password, KEEPER_OK, "second");
}

static void what_is_empty_too_large_or_no_file_is_not_lent(void **state)
{
	static char large[KEEPER_SECRET_MAX + 2];

	memset(large, 'x', sizeof large - 1);
	put("large", large, 0600);
	file(in("large"), KEEPER_REFUSED, "larger than");
	large[KEEPER_SECRET_MAX] = '\0';
	put("large", large, 0600);
	file(in("large"), KEEPER_OK, large);
	put("r/login.acme.example/large", large, 0600);
	named(URL, "large", KEEPER_REFUSED, "larger than");
	put("empty", "\n", 0600);
	file(in("empty"), KEEPER_REFUSED, "is empty");
	assert_int_equal(mkfifo(in("fifo"), 0600), 0);
	file(in("fifo"), KEEPER_REFUSED, "regular file"); /* and nobody waits for its other end */
}

static void where_no_folder_is_configured_nothing_is_registered(void **state)
{
	const struct keeper_secrets none = {files, 2, ""};
	struct keeper_lender *k = lender;

	lender = keeper_lender_new(&none, own, 3, MONO);
	named(URL, "acme", KEEPER_REFUSED, "registry.secrets");
	file(in("password"), KEEPER_OK, "second");
	keeper_lender_free(lender);
	lender = k;
}

static void so_many_a_second_and_each_is_counted(void **state)
{
	struct keeper_lender *k = keeper_lender_new(&secrets, own, 3, MONO);
	struct keeper_ask ask = {.kind = KEEPER_SECRET, .until_ms = MONO, .secret = {password, "", ""}}, bad = ask, other = ask;
	struct keeper_answer a;

	bad.secret.file = "/etc/passwd";
	other.secret = (struct secret_wanted){"", URL, "acme"};
	for (int i = 0; i < KEEPER_SECRETS_BURST; i++) { /* who guesses has no more tries */
		keeper_lender_answer(k, i % 2 ? &ask : &bad, NOW + i, MONO, &a);
		assert_int_equal(a.status, i % 2 ? KEEPER_OK : KEEPER_REFUSED);
	}
	keeper_lender_answer(k, &ask, NOW, MONO, &a);
	assert_int_equal(a.status, KEEPER_BUSY);
	assert_true(!a.secret.n && a.why.n);
	keeper_lender_answer(k, &other, NOW, MONO, &a); /* one kind takes no room of the other */
	assert_int_equal(a.status, KEEPER_OK);
	ask.until_ms = MONO + 1000;
	keeper_lender_answer(k, &ask, NOW, MONO + 1000, &a);
	assert_int_equal(a.status, KEEPER_OK);
	keeper_lender_answer(k, &ask, NOW, MONO + 1001, &a); /* nobody waits for it */
	assert_int_equal(a.status, KEEPER_BUSY);
	assert_true(keeper_lender_count(k)->given == KEEPER_SECRETS_BURST / 2 + 2 && keeper_lender_count(k)->refused == KEEPER_SECRETS_BURST / 2 + 2 && keeper_lender_count(k)->since_ms == NOW);
	keeper_lender_free(k);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_file_that_it_was_told_of_and_those_beside_it), cmocka_unit_test(no_key_whatever_it_is_called), cmocka_unit_test(a_secret_is_for_its_host_alone),
		cmocka_unit_test(no_link_is_followed_below_that_folder), cmocka_unit_test(what_others_can_reach_is_not_lent),
		cmocka_unit_test(what_is_empty_too_large_or_no_file_is_not_lent), cmocka_unit_test(where_no_folder_is_configured_nothing_is_registered),
		cmocka_unit_test(so_many_a_second_and_each_is_counted),
	};

	return cmocka_run_group_tests(tests, up, down);
}
