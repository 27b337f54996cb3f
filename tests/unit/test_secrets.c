/* Whom does a node find to vouch for a host that it sends a secret to? What it does not take stands beside what it does and that differs in one thing. */
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

#include "app/secrets.h"
#include "folder.h"

#define URL "https://login.acme.example/introspect"

static int up(void **state)
{
	return mkdtemp(folder) && mkdir(in("login.acme.example"), 0700) == 0 && mkdir(in("other.example:8443"), 0755) == 0 ? 0 : -1;
}

static int down(void **state)
{
	return folder_remove();
}

/* The host is found, and whose certificate it must have, NULL: nobody's in particular; or it is not, and the reason holds `say`. */
static void finds(const char *url, const char *name, bool fit, const char *ca, const char *say)
{
	struct secrets_found f;
	struct problem why = {""};
	int rc = secrets_find(&(struct secrets_asked){folder, url, name, "", geteuid()}, &f, &why);

	assert_int_equal(rc == 0, fit);
	if (fit) {
		assert_int_equal(f.ca_pem != NULL, ca != NULL);
		assert_true(!ca || strcmp(f.ca_pem, ca) == 0);
	} else {
		assert_null(f.ca_pem);
		if (!strstr(why.text, say))
			fail_msg("%s", why.text);
	}
	secrets_clear(&f);
}

static void who_vouches_is_found_for_its_host_alone(void **state)
{
	put("login.acme.example/ca.pem", "pem", 0644);
	put("other.example:8443/ca.pem", "another", 0600);
	finds(URL, "acme", true, "pem", NULL);
	finds("https://LOGIN.acme.example:443/any/path", "acme", true, "pem", NULL);
	finds("https://other.example:8443", "other", true, "another", NULL);
	finds("https://other.example/", "other", false, NULL, "cannot be opened");
	finds("https://login.acme.example:8443/", "acme", false, NULL, "cannot be opened");
	finds("https://evil.example/login.acme.example", "acme", false, NULL, "cannot be opened");
	finds("https://../", "acme", false, NULL, "no host");
	finds(URL, "../other.example:8443/other", false, NULL, "none that a file could have");
	finds(URL, "ca.pem", false, NULL, "none that a file could have");
	assert_int_equal(unlink(in("login.acme.example/ca.pem")), 0);
	finds(URL, "acme", true, NULL, NULL);
	assert_int_equal(unlink(in("other.example:8443/ca.pem")), 0);
}

static void where_no_folder_is_configured_nothing_is(void **state)
{
	struct secrets_found f;
	struct problem why = {""};

	assert_int_equal(secrets_find(&(struct secrets_asked){"", URL, "acme", "", geteuid()}, &f, &why), -1);
	assert_non_null(strstr(why.text, "registry.secrets"));
	assert_int_equal(secrets_find(&(struct secrets_asked){"/nowhere", URL, "acme", "", geteuid()}, &f, &why), -1);
	assert_non_null(strstr(why.text, "/nowhere cannot be opened"));
}

static void no_link_is_followed_but_to_the_folder_itself(void **state)
{
	char to[sizeof folder + 32], at[4096];
	struct secrets_found f;
	struct problem why;

	put("login.acme.example/ca.pem", "pem", 0644);
	snprintf(to, sizeof to, "%s/login.acme.example", folder);
	assert_int_equal(symlink(to, in("linked.example")), 0);
	finds("https://linked.example/", "acme", false, NULL, "linked.example cannot be opened");
	snprintf(to, sizeof to, "%s/login.acme.example/ca.pem", folder);
	assert_int_equal(symlink(to, in("other.example:8443/ca.pem")), 0);
	finds("https://other.example:8443/", "other", false, NULL, "it is a link");
	assert_int_equal(unlink(in("other.example:8443/ca.pem")), 0);
	finds("https://other.example:8443/", "other", true, NULL, NULL);
	snprintf(at, sizeof at, "%s-link", folder);
	assert_int_equal(symlink(folder, at), 0);
	assert_int_equal(secrets_find(&(struct secrets_asked){at, URL, "acme", "", geteuid()}, &f, &why), 0);
	secrets_clear(&f);
	assert_int_equal(unlink(at), 0);
}

static void what_others_can_write_is_not_used(void **state)
{
	static const struct { const char *name; mode_t bad, good; } rows[] = {
		{"login.acme.example", 0770, 0750}, {".", 0707, 0755}, {"login.acme.example/ca.pem", 0664, 0644},
	};
	struct secrets_found f;
	struct problem why = {""};

	put("login.acme.example/ca.pem", "pem", 0644);
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		assert_int_equal(chmod(in(rows[i].name), rows[i].bad), 0);
		finds(URL, "acme", false, NULL, "others can write");
		assert_int_equal(chmod(in(rows[i].name), rows[i].good), 0);
		finds(URL, "acme", true, "pem", NULL);
	}
	if (geteuid() != 0)
		return;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) { /* only root can give a file away */
		assert_int_equal(chown(in(rows[i].name), 12345, 12345), 0);
		finds(URL, "acme", false, NULL, "belongs to uid 12345");
		assert_int_equal(secrets_find(&(struct secrets_asked){folder, URL, "acme", "", 12345}, &f, &why), 0); /* the keeper's user is */
		secrets_clear(&f);
		assert_int_equal(chown(in(rows[i].name), 0, 0), 0);
		finds(URL, "acme", true, "pem", NULL);
	}
}

static void what_is_empty_too_large_or_no_file_is_not_used(void **state)
{
	static char large[70000];

	memset(large, 'x', sizeof large - 1);
	put("login.acme.example/ca.pem", "", 0644);
	finds(URL, "acme", false, NULL, "is empty");
	put("login.acme.example/ca.pem", large, 0644);
	finds(URL, "acme", false, NULL, "ca.pem");
	assert_int_equal(unlink(in("login.acme.example/ca.pem")), 0);
	assert_int_equal(mkdir(in("login.acme.example/ca.pem"), 0700), 0);
	finds(URL, "acme", false, NULL, "not a regular file");
	assert_int_equal(rmdir(in("login.acme.example/ca.pem")), 0);
	finds(URL, "acme", true, NULL, NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(who_vouches_is_found_for_its_host_alone), cmocka_unit_test(where_no_folder_is_configured_nothing_is),
		cmocka_unit_test(no_link_is_followed_but_to_the_folder_itself), cmocka_unit_test(what_others_can_write_is_not_used),
		cmocka_unit_test(what_is_empty_too_large_or_no_file_is_not_used),
	};

	return cmocka_run_group_tests(tests, up, down);
}
