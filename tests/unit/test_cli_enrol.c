/* When is a certificate renewed, and how are the files of an identity replaced? The token and what the broker
 * answers are judged in test_identity_enrolment.c and tests/e2e/enrolcli.test.js. */
#include "config.h"

#include <fcntl.h>
#include <ftw.h>
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
#include "cli/idfiles.h"
#include "cli/renewal.h"
#include "client/creds.h"

/* ---- when ---- */

#define HOUR 3600000LL
#define T0 1764000000000LL

static void it_is_due_at_two_thirds_or_a_little_earlier(void **state)
{
	assert_int_equal(renewal_due(T0, T0 + 24 * HOUR, 0), T0 + 16 * HOUR);
	for (uint32_t luck = 1; luck < UINT32_MAX / 2; luck *= 3) {
		int64_t at = renewal_due(T0, T0 + 24 * HOUR, luck);

		assert_in_range(at, T0 + 16 * HOUR - 24 * HOUR / 30, T0 + 16 * HOUR);
	}
	assert_int_equal(renewal_due(T0, T0 + 24 * HOUR, UINT32_MAX), T0 + 16 * HOUR - 24 * HOUR / 30);
	assert_in_range(renewal_due(T0, T0 + 60000, UINT32_MAX), T0 + 38000, T0 + 40000);
}

static void a_life_of_nothing_is_due_at_once_and_overflows_nothing(void **state)
{
	assert_int_equal(renewal_due(T0, T0, UINT32_MAX), T0);
	assert_int_equal(renewal_due(T0, T0 - HOUR, 7), T0);
	assert_true(renewal_due(0, INT64_MAX / 2, UINT32_MAX) > 0);
}

static void pauses_double_from_5_seconds_to_5_minutes(void **state)
{
	int64_t backoff = 0;
	static const int64_t most[] = {5000, 10000, 20000, 40000, 80000, 160000, 300000, 300000, 300000};

	for (size_t i = 0; i < sizeof most / sizeof most[0]; i++)
		assert_int_equal(renewal_pause(&backoff, UINT32_MAX), most[i]);
	backoff = 0;
	for (size_t i = 0; i < sizeof most / sizeof most[0]; i++)
		assert_int_equal(renewal_pause(&backoff, 0), most[i] / 2);
}

/* ---- files ---- */

struct world {
	char top[64], dir[96], elsewhere[96];
	struct idfiles f;
	struct ca_key *key;
	struct buf root, leaf;
	struct certanswer answer;
};

static void must(int rc, const struct problem *why)
{
	if (rc < 0)
		fail_msg("%s", why->text);
}

static int world_up(void **state)
{
	struct world *w = calloc(1, sizeof *w);
	struct ca_key *root = ca_key_new(CA_P256, NULL);
	struct ca_authority a = {.trust_domain = "acme.example", .not_before_ms = T0, .not_after_ms = T0 + 1000 * HOUR};
	struct ca_leaf l = {.spiffe_id = "spiffe://acme.example/planner", .not_before_ms = T0, .not_after_ms = T0 + HOUR};
	struct ca_issuer *by;
	struct problem why = {""};
	struct buf public;

	strcpy(w->top, "/tmp/baton-enrol-XXXXXX");
	assert_non_null(mkdtemp(w->top));
	snprintf(w->dir, sizeof w->dir, "%s/planner", w->top);
	snprintf(w->elsewhere, sizeof w->elsewhere, "%s/elsewhere", w->top);
	w->f.lock = -1;
	buf_init(&w->root, 65536);
	buf_init(&w->leaf, 65536);
	buf_init(&public, 65536);
	ca_serial_new(a.serial);
	ca_serial_new(l.serial);
	must(ca_make_root(root, &a, &w->root, &why), &why);
	by = ca_issuer_new(buf_slice(&w->root), root, &why);
	w->key = ca_key_new(CA_P256, NULL);
	must(ca_key_public(w->key, &public, &why), &why);
	must(ca_make_leaf(by, buf_slice(&public), &l, &w->leaf, &why), &why);
	w->answer.chain[0] = buf_slice(&w->leaf);
	w->answer.bundle[0] = buf_slice(&w->root);
	w->answer.n_chain = w->answer.n_bundle = 1;
	ca_issuer_free(by);
	buf_clear(&public);
	*state = w;
	return 0;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
	return remove(path);
}

static int world_down(void **state)
{
	struct world *w = *state;

	nftw(w->top, remove_one, 8, FTW_DEPTH | FTW_PHYS);
	idfiles_unlock(&w->f);
	ca_key_free(w->key);
	buf_clear(&w->root);
	buf_clear(&w->leaf);
	free(w);
	return 0;
}

static unsigned mode(const char *path)
{
	struct stat st;

	return lstat(path, &st) == 0 ? (unsigned)st.st_mode & 07777 : 0;
}

static void open_world(struct world *w)
{
	struct problem why = {""};

	must(idfiles_make(&w->f, w->dir, &why), &why);
}

static void write_world(struct world *w)
{
	struct problem why = {""};

	must(idfiles_write(&w->f, w->key, &w->answer, &why), &why);
}

static size_t n_entries;

static int count_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
	n_entries += at->level > 0;
	return 0;
}

static size_t entries(const char *dir)
{
	n_entries = 0;
	nftw(dir, count_one, 8, FTW_PHYS);
	return n_entries;
}

static void an_identity_is_two_files_that_a_client_can_use(void **state)
{
	struct world *w = *state;
	struct client_error error = {.fault = CLIENT_FINE};
	struct client_creds *creds;

	umask(0);
	open_world(w);
	assert_false(idfiles_enrolled(&w->f));
	write_world(w);
	umask(022);
	assert_true(idfiles_enrolled(&w->f));
	assert_int_equal(mode(w->dir), 0700);
	assert_int_equal(mode(w->f.agent), 0600);
	assert_int_equal(mode(w->f.bundle), 0644);
	assert_int_equal(entries(w->dir), 2);
	creds = client_creds_load(w->f.bundle, w->f.agent, w->f.agent, &error);
	if (!creds)
		fail_msg("%s", error.what);
	assert_string_equal(client_creds_cert(creds)->spiffe_id, "spiffe://acme.example/planner");
	client_creds_free(creds);
}

static void the_key_stands_first_then_leaf_then_what_is_above(void **state)
{
	struct world *w = *state;
	uint8_t *text = NULL;
	size_t n;
	const char *at;

	w->answer.chain[1] = buf_slice(&w->root);
	w->answer.n_chain = 2;
	open_world(w);
	write_world(w);
	assert_int_equal(file_read(w->f.agent, 65536, &text, &n, NULL), 0);
	assert_int_equal(strncmp((char *)text, "-----BEGIN PRIVATE KEY-----\n", 28), 0);
	at = strstr((char *)text, "-----BEGIN CERTIFICATE-----");
	assert_non_null(at);
	assert_non_null(strstr(at + 1, "-----BEGIN CERTIFICATE-----"));
	free(text);
}

static void a_folder_that_lets_others_in_is_refused(void **state)
{
	struct world *w = *state;
	struct problem why = {""};

	assert_int_equal(mkdir(w->dir, 0755), 0);
	assert_int_equal(idfiles_make(&w->f, w->dir, &why), -1);
	assert_non_null(strstr(why.text, "0755"));
	assert_int_equal(chmod(w->dir, 0700), 0);
	assert_int_equal(idfiles_make(&w->f, w->dir, &why), 0);
}

static void a_link_in_its_place_counts_as_there_and_is_replaced_not_followed(void **state)
{
	struct world *w = *state;

	open_world(w);
	assert_int_equal(symlink(w->elsewhere, w->f.agent), 0);
	assert_true(idfiles_enrolled(&w->f));
	assert_int_equal(symlink(w->elsewhere, w->f.bundle), 0);
	write_world(w);
	assert_int_equal(access(w->elsewhere, F_OK), -1);
	assert_int_equal(mode(w->f.agent), 0600);
	assert_int_equal(mode(w->f.bundle), 0644);
}

static void what_cannot_be_written_leaves_the_old_one(void **state)
{
	struct world *w = *state;
	struct problem why = {""};
	uint8_t *before = NULL, *after = NULL;
	size_t n, m;

	open_world(w);
	write_world(w);
	assert_int_equal(file_read(w->f.agent, 65536, &before, &n, NULL), 0);
	snprintf(w->f.agent, sizeof w->f.agent, "%s/none/agent.pem", w->dir);
	assert_int_equal(idfiles_write(&w->f, w->key, &w->answer, &why), -1);
	snprintf(w->f.agent, sizeof w->f.agent, "%s/agent.pem", w->dir);
	assert_int_equal(file_read(w->f.agent, 65536, &after, &m, NULL), 0);
	assert_int_equal(n, m);
	assert_memory_equal(before, after, n);
	assert_int_equal(entries(w->dir), 2);
	free(before);
	free(after);
}

static void a_bundle_that_is_the_same_is_not_written_again(void **state)
{
	struct world *w = *state;
	struct stat a, b, c;

	open_world(w);
	write_world(w);
	assert_int_equal(stat(w->f.bundle, &a), 0);
	write_world(w);
	assert_int_equal(stat(w->f.bundle, &b), 0);
	assert_int_equal(a.st_ino, b.st_ino);
	w->answer.bundle[1] = buf_slice(&w->root);
	w->answer.n_bundle = 2;
	write_world(w);
	assert_int_equal(stat(w->f.bundle, &c), 0);
	assert_true(c.st_size > b.st_size);
}

static void the_pending_key_is_the_same_for_the_same_token_alone(void **state)
{
	struct world *w = *state;
	struct problem why = {""};
	const struct slice tokens[] = {SLICE_LIT("one"), SLICE_LIT("one"), SLICE_LIT("two"), SLICE_LIT("one")};
	struct buf public[4];
	uint8_t *text = NULL;
	size_t n;

	open_world(w);
	for (size_t i = 0; i < 4; i++) {
		struct ca_key *k = idfiles_pending(&w->f, tokens[i], &why);

		assert_non_null(k);
		buf_init(&public[i], 4096);
		must(ca_key_public(k, &public[i], &why), &why);
		ca_key_free(k);
		assert_int_equal(mode(w->f.pending), 0600);
	}
	assert_memory_equal(public[0].p, public[1].p, public[0].n);
	assert_memory_not_equal(public[0].p, public[2].p, public[0].n);
	assert_memory_not_equal(public[0].p, public[3].p, public[0].n);
	assert_int_equal(file_read(w->f.pending, 65536, &text, &n, NULL), 0);
	assert_null(strstr((char *)text, "one"));
	idfiles_forget_pending(&w->f);
	assert_int_equal(mode(w->f.pending), 0);
	for (size_t i = 0; i < 4; i++)
		buf_clear(&public[i]);
	free(text);
}

static void a_pending_key_that_others_can_read_is_no_secret_and_not_used(void **state)
{
	struct world *w = *state;
	struct problem why = {""};

	open_world(w);
	ca_key_free(idfiles_pending(&w->f, SLICE_LIT("one"), &why));
	assert_int_equal(chmod(w->f.pending, 0640), 0);
	assert_null(idfiles_pending(&w->f, SLICE_LIT("one"), &why));
	assert_int_equal(chmod(w->f.pending, 0600), 0);
	assert_int_equal(truncate(w->f.pending, 120), 0); /* cut off: no certificate can come of it */
	w->key = (ca_key_free(w->key), idfiles_pending(&w->f, SLICE_LIT("one"), &why));
	assert_non_null(w->key);
}

static void one_process_has_the_folder(void **state)
{
	struct world *w = *state;
	struct idfiles other;
	struct problem why = {""};

	open_world(w);
	other = w->f;
	assert_int_equal(idfiles_lock(&w->f, &why), 0);
	assert_int_equal(idfiles_lock(&other, &why), 1);
	assert_non_null(strstr(why.text, "another process"));
	idfiles_unlock(&w->f);
	assert_int_equal(idfiles_lock(&other, &why), 0);
	idfiles_unlock(&other);
}

static void only_one_file_of_both_is_renewed_and_only_its_own_bundle(void **state)
{
	struct world *w = *state;
	struct idfiles f;
	struct problem why = {""};
	char key[160], ca[160], link[160];

	open_world(w);
	write_world(w);
	snprintf(key, sizeof key, "%s/agent.key", w->top);
	snprintf(ca, sizeof ca, "%s/ca.pem", w->top);
	snprintf(link, sizeof link, "%s/link.pem", w->top);
	must(file_write_atomic(key, SLICE_LIT("k"), 0600, &why), &why);
	must(file_write_atomic(ca, SLICE_LIT("c"), 0644, &why), &why);
	assert_int_equal(idfiles_of(&f, w->f.agent, key, w->f.bundle, &why), -1);
	assert_non_null(strstr(why.text, "two files"));
	must(idfiles_of(&f, w->f.agent, w->f.agent, w->f.bundle, &why), &why);
	assert_string_equal(f.bundle, w->f.bundle);
	assert_string_equal(f.dir, w->dir);
	must(idfiles_of(&f, w->f.agent, w->f.agent, ca, &why), &why);
	assert_string_equal(f.bundle, "");
	write_world(w);
	must(idfiles_write(&f, w->key, &w->answer, &why), &why);
	assert_int_equal(symlink(w->f.agent, link), 0);
	assert_int_equal(idfiles_of(&f, link, link, w->f.bundle, &why), -1);
	assert_non_null(strstr(why.text, "symbolic link"));
	assert_int_equal(unlink(w->f.bundle), 0);
	assert_int_equal(symlink(ca, w->f.bundle), 0);
	must(idfiles_of(&f, w->f.agent, w->f.agent, w->f.bundle, &why), &why);
	assert_string_equal(f.bundle, "");
}

int main(void)
{
#define WITH_WORLD(t) cmocka_unit_test_setup_teardown(t, world_up, world_down)
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(it_is_due_at_two_thirds_or_a_little_earlier),
		cmocka_unit_test(a_life_of_nothing_is_due_at_once_and_overflows_nothing),
		cmocka_unit_test(pauses_double_from_5_seconds_to_5_minutes),
		WITH_WORLD(an_identity_is_two_files_that_a_client_can_use),
		WITH_WORLD(the_key_stands_first_then_leaf_then_what_is_above),
		WITH_WORLD(a_folder_that_lets_others_in_is_refused),
		WITH_WORLD(a_link_in_its_place_counts_as_there_and_is_replaced_not_followed),
		WITH_WORLD(what_cannot_be_written_leaves_the_old_one),
		WITH_WORLD(a_bundle_that_is_the_same_is_not_written_again),
		WITH_WORLD(the_pending_key_is_the_same_for_the_same_token_alone),
		WITH_WORLD(a_pending_key_that_others_can_read_is_no_secret_and_not_used),
		WITH_WORLD(one_process_has_the_folder),
		WITH_WORLD(only_one_file_of_both_is_renewed_and_only_its_own_bundle),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
