/* Do digests, seals and key derivation give what their standards say, and are secrets' files refused when others can
 * reach them? FIPS 180-4, SP 800-38D, RFC 5869. */
#include "config.h"

#include <fcntl.h>
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

#include "base/encode.h"
#include "base/file.h"
#include "base/secret.h"

static char folder[] = "/tmp/test_base_XXXXXX";

static const char *in_folder(const char *name)
{
	static char path[2][256];
	static unsigned turn;
	char *p = path[turn++ % 2];

	snprintf(p, sizeof path[0], "%s/%s", folder, name);
	return p;
}

static void put_file(const char *name, const char *text, mode_t mode)
{
	struct problem why;

	assert_int_equal(file_write_atomic(in_folder(name), slice_str(text), mode, &why), 0);
}

static void digests_match_the_standard(void **state)
{
	struct slice ab[2] = {SLICE_LIT("ab"), SLICE_LIT("c")}, bc[2] = {SLICE_LIT("a"), SLICE_LIT("bc")};
	uint8_t one[32], two[32];
	char hex[65];

	sha256(SLICE_LIT("abc"), one);
	hex_encode(one, 32, hex);
	assert_string_equal(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
	sha256(slice_of(NULL, 0), one);
	hex_encode(one, 32, hex);
	assert_string_equal(hex, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
	sha256_parts(ab, 2, one);
	sha256_parts(bc, 2, two);
	assert_memory_not_equal(one, two, 32);
	sha256(slice_of("\0\0\0\2ab\0\0\0\1c", 11), two);
	assert_memory_equal(one, two, 32);
}

static void hkdf_matches_rfc5869_case_3(void **state)
{
	uint8_t key[22], out[42];
	char hex[85];

	memset(key, 0x0b, sizeof key);
	hkdf_sha256(key, sizeof key, slice_of(NULL, 0), out, sizeof out);
	hex_encode(out, sizeof out, hex);
	assert_string_equal(hex, "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d"
				 "9d201395faa4b61a96c8");
	hkdf_sha256(key, sizeof key, SLICE_LIT("tenant:acme"), out, 32);
	assert_memory_not_equal(out, "\x8d\xa4\xe7\x75", 4);
}

static void seals_open_only_as_they_were_made(void **state)
{
	static const uint8_t key[AEAD_KEY_BYTES] = {1, 2, 3}, other_key[AEAD_KEY_BYTES] = {1, 2, 4};
	struct slice aad = SLICE_LIT("grant|acme|7"), plain = SLICE_LIT("the grant's bytes");
	struct aead *a = aead_new(key), *other = aead_new(other_key);
	uint8_t sealed[64], again[64], out[64];
	size_t n = plain.n + AEAD_OVERHEAD, i;

	assert_int_equal(aead_seal(a, aad, plain, sealed), 0);
	assert_int_equal(aead_open(a, aad, slice_of(sealed, n), out), 0);
	assert_memory_equal(out, plain.p, plain.n);
	assert_int_equal(aead_seal(a, aad, plain, again), 0);
	assert_memory_not_equal(sealed, again, n); /* another nonce */
	for (i = 0; i < n; i++) {
		memset(out, 0xee, sizeof out);
		sealed[i] ^= 1;
		assert_int_equal(aead_open(a, aad, slice_of(sealed, n), out), -1);
		assert_int_equal(out[0] | out[plain.n - 1], 0); /* wiped */
		sealed[i] ^= 1;
	}
	assert_int_equal(aead_open(a, SLICE_LIT("grant|acme|8"), slice_of(sealed, n), out), -1);
	assert_int_equal(aead_open(a, slice_of(NULL, 0), slice_of(sealed, n), out), -1);
	assert_int_equal(aead_open(other, aad, slice_of(sealed, n), out), -1);
	assert_int_equal(aead_open(a, aad, slice_of(sealed, n - 1), out), -1);
	assert_int_equal(aead_open(a, aad, slice_of(sealed, AEAD_OVERHEAD - 1), out), -1);
	assert_int_equal(aead_open(a, aad, slice_of(sealed, n), out), 0); /* a refusal spoils nothing */
	assert_int_equal(aead_seal(a, slice_of(NULL, 0), slice_of(NULL, 0), sealed), 0);
	assert_int_equal(aead_open(a, slice_of(NULL, 0), slice_of(sealed, AEAD_OVERHEAD), out), 0);
	aead_free(a);
	aead_free(other);
	aead_free(NULL);
}

static void random_wipe_and_equal(void **state)
{
	uint8_t a[32] = {0}, b[32] = {0};

	random_bytes(a, sizeof a);
	random_bytes(b, sizeof b);
	assert_false(secret_equal(a, b, sizeof a));
	memcpy(b, a, sizeof b);
	assert_true(secret_equal(a, b, sizeof a));
	secret_wipe(a, sizeof a);
	secret_wipe(b, sizeof b);
	assert_int_equal(a[0] | a[31] | b[0] | b[31], 0);
	secret_wipe(NULL, 0);
}

static int read_secret(const char *name, size_t max, char *text, size_t size)
{
	struct problem why = {""};
	uint8_t *p;
	size_t n;
	int rc = secret_read_file(in_folder(name), max, &p, &n, &why);

	assert_int_equal(rc < 0, p == NULL);
	assert_int_equal(rc < 0, why.text[0] != '\0');
	if (p) {
		assert_true(slice_copy_str(slice_of(p, n), text, size));
		free(p);
	}
	return rc;
}

static void secrets_must_be_private_files(void **state)
{
	char text[64];

	put_file("good", "s3cret\n", 0600);
	put_file("tight", "s3cret", 0400);
	put_file("group", "s3cret", 0640);
	put_file("world", "s3cret", 0604);
	put_file("empty", "\n", 0600);
	put_file("crlf", "s3cret\r\n", 0600);
	assert_int_equal(mkfifo(in_folder("fifo"), 0600), 0);
	assert_int_equal(symlink(in_folder("good"), in_folder("link")), 0);
	assert_int_equal(read_secret("good", 64, text, sizeof text), 0);
	assert_string_equal(text, "s3cret");
	assert_int_equal(read_secret("good", 7, text, sizeof text), 0);
	assert_int_equal(read_secret("good", 6, text, sizeof text), -1);
	assert_int_equal(read_secret("tight", 64, text, sizeof text), 0);
	assert_int_equal(read_secret("crlf", 64, text, sizeof text), 0);
	assert_string_equal(text, "s3cret");
	assert_int_equal(read_secret("link", 64, text, sizeof text), 0);
	assert_int_equal(read_secret("group", 64, text, sizeof text), -1);
	assert_int_equal(read_secret("world", 64, text, sizeof text), -1);
	assert_int_equal(read_secret("empty", 64, text, sizeof text), -1);
	assert_int_equal(read_secret("fifo", 64, text, sizeof text), -1);
	assert_int_equal(read_secret("", 64, text, sizeof text), -1);
	assert_int_equal(read_secret("missing", 64, text, sizeof text), -1);
}

/* In a folder that others choose the names of. */
static void no_link_is_followed_in_an_open_folder(void **state)
{
	int at = open(in_folder(""), O_RDONLY | O_DIRECTORY), rc;
	const struct { const char *name; bool good; } files[] = {{"here", true}, {"there", false}, {"loose", false}, {"nowhere", false}};
	struct problem why;
	uint8_t *p;
	size_t n;

	put_file("here", "s3cret\n", 0600);
	put_file("loose", "s3cret\n", 0640);
	assert_int_equal(symlink(in_folder("here"), in_folder("there")), 0);
	for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
		why.text[0] = '\0';
		rc = secret_read_fd(openat(at, files[i].name, SECRET_OPEN | O_NOFOLLOW), "shown", 64, &p, &n, &why);
		assert_int_equal(rc == 0, files[i].good);
		assert_int_equal(rc < 0, strstr(why.text, "shown") != NULL);
		assert_true(!p || slice_is(slice_of(p, n), "s3cret"));
		free(p);
	}
	assert_int_equal(secret_read_fd(openat(at, "here", SECRET_OPEN | O_NOFOLLOW), "shown", 3, &p, &n, &why), -1);
	close(at);
}

static void secrets_of_strangers_are_refused(void **state)
{
	char text[64];

	if (geteuid() != 0)
		skip(); /* only root can give a file away */
	put_file("given", "s3cret", 0600);
	assert_int_equal(read_secret("given", 64, text, sizeof text), 0);
	assert_int_equal(chown(in_folder("given"), 12345, 12345), 0);
	assert_int_equal(read_secret("given", 64, text, sizeof text), -1);
}

/* As another user would judge it, and without reading. */
static void a_look_tells_whether_its_reader_would_take_it(void **state)
{
	struct problem why = {""};

	put_file("looked", "s3cret", 0600);
	assert_int_equal(secret_look(in_folder("looked"), geteuid(), &why), 0);
	assert_int_equal(secret_look(in_folder("looked"), 12345, &why), -1);
	assert_non_null(strstr(why.text, geteuid() == 0 ? "belongs to root, and uid 12345" : "must belong to uid 12345"));
	assert_int_equal(chmod(in_folder("looked"), 0640), 0);
	assert_int_equal(secret_look(in_folder("looked"), geteuid(), &why), -1);
	assert_non_null(strstr(why.text, "0600"));
	assert_int_equal(secret_look(in_folder("missing"), geteuid(), &why), -1);
	if (geteuid() != 0)
		return;
	assert_int_equal(chmod(in_folder("looked"), 0600), 0);
	assert_int_equal(chown(in_folder("looked"), 12345, 12345), 0);
	assert_int_equal(secret_look(in_folder("looked"), 12345, &why), 0);
	assert_int_equal(secret_look(in_folder("looked"), 12346, &why), -1);
	assert_non_null(strstr(why.text, "must belong to uid 12346"));
}

static void files_are_read_whole_or_not(void **state)
{
	struct problem why;
	uint8_t *p, *big = malloc(100000);
	struct stat st;
	size_t n;

	memset(big, 'x', 100000);
	assert_int_equal(file_write_atomic(in_folder("big"), slice_of(big, 100000), 0640, &why), 0);
	assert_int_equal(file_read(in_folder("big"), 100000, &p, &n, &why), 0);
	assert_int_equal(n, 100000);
	assert_memory_equal(p, big, n);
	assert_int_equal(p[n], 0);
	free(p);
	assert_int_equal(file_read(in_folder("big"), 99999, &p, &n, &why), -1);
	assert_null(p);
	assert_int_equal(stat(in_folder("big"), &st), 0);
	assert_int_equal(st.st_mode & 07777, 0640);
	assert_int_equal(file_write_atomic(in_folder("big"), SLICE_LIT("new"), 0600, &why), 0);
	assert_int_equal(file_read(in_folder("big"), 10, &p, &n, &why), 0);
	assert_string_equal(p, "new");
	free(p);
	assert_int_equal(file_read(folder, 10, &p, &n, &why), -1);
	assert_int_equal(file_read(in_folder("none"), 10, &p, &n, &why), -1);
	assert_int_equal(file_write_atomic(in_folder("none/x"), SLICE_LIT("a"), 0600, &why), -1);
	assert_int_equal(mkdir(in_folder("taken"), 0700), 0);
	assert_int_equal(file_write_atomic(in_folder("taken"), SLICE_LIT("a"), 0600, &why), -1);
	free(big);
}

static void folders_must_be_ours(void **state)
{
	struct problem why;

	assert_int_equal(file_make_dir(in_folder("a/b/c/"), 0700, &why), 0);
	assert_int_equal(file_make_dir(in_folder("a/b/c"), 0700, &why), 0);
	assert_int_equal(chmod(in_folder("a/b/c"), 0755), 0);
	assert_int_equal(file_make_dir(in_folder("a/b/c"), 0700, &why), -1);
	assert_int_equal(file_make_dir(in_folder("a/b/c"), 0755, &why), 0);
	assert_int_equal(chmod(in_folder("a/b/c"), 0775), 0);
	assert_int_equal(file_make_dir(in_folder("a/b/c"), 0755, &why), -1);
	put_file("plain", "x", 0600);
	assert_int_equal(file_make_dir(in_folder("plain"), 0700, &why), -1);
	assert_int_equal(file_make_dir(in_folder("plain/x"), 0700, &why), -1);
	assert_int_equal(file_make_dir("", 0700, &why), -1);
}

static void a_lock_is_one_holders_until_its_last_descriptor_is_closed(void **state)
{
	struct problem why;
	bool taken = true;
	int held = file_lock(in_folder("lock"), 0, &taken, &why), twin = dup(held), next;

	(void)state;
	assert_true(held >= 0 && !taken);
	assert_true(fcntl(held, F_GETFD) & FD_CLOEXEC);
	assert_int_equal(file_lock(in_folder("lock"), 0, &taken, &why), -1);
	assert_true(taken);
	close(held);
	assert_int_equal(file_lock(in_folder("lock"), 60, &taken, &why), -1);
	assert_true(taken);
	close(twin);
	next = file_lock(in_folder("lock"), 0, &taken, &why); /* the file is there still */
	assert_true(next >= 0 && !taken);
	close(next);
	assert_int_equal(symlink("lock", in_folder("lock-link")), 0);
	assert_int_equal(file_lock(in_folder("lock-link"), 0, &taken, &why), -1);
	assert_false(taken);
	assert_int_equal(file_lock(in_folder("none/lock"), 0, &taken, &why), -1);
	assert_true(!taken && strstr(why.text, "No such file"));
}

static int make_folder(void **state)
{
	return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state)
{
	char command[300];

	snprintf(command, sizeof command, "rm -r '%s' && test ! -e '%s'", folder, folder);
	return system(command);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(digests_match_the_standard),
		cmocka_unit_test(hkdf_matches_rfc5869_case_3),
		cmocka_unit_test(seals_open_only_as_they_were_made),
		cmocka_unit_test(random_wipe_and_equal),
		cmocka_unit_test(secrets_must_be_private_files), cmocka_unit_test(no_link_is_followed_in_an_open_folder),
		cmocka_unit_test(secrets_of_strangers_are_refused), cmocka_unit_test(a_look_tells_whether_its_reader_would_take_it),
		cmocka_unit_test(files_are_read_whole_or_not),
		cmocka_unit_test(folders_must_be_ours), cmocka_unit_test(a_lock_is_one_holders_until_its_last_descriptor_is_closed),
	};

	return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
