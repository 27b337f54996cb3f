/* Does the folder of a CA keep what it promises: over rotations, ends, crashes, clocks that go back, and a root that is offline? Times are handed in. */
#include "config.h"

#include <dirent.h>
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

#include "base/clock.h"
#include "base/encode.h"
#include "base/file.h"
#include "cli/cacrl.h"
#include "cli/carecord.h"
#include "cli/carevoke.h"
#include "cli/cli.h"

#define DOMAIN "acme.example"
#define DAY (24 * 3600 * 1000LL)
#define NOW 1764000000000LL

struct world {
	char top[32], dir[48];
	struct cafolder *f;
};

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
	return remove(path);
}

/* A CA whose intermediate is good for two days from NOW. */
static int world_up(void **state)
{
	struct world *w = calloc(1, sizeof *w);
	struct cafolder_new what = {.trust_domain = DOMAIN, .root_ms = 100 * DAY, .intermediate_ms = 2 * DAY, .now_ms = NOW};
	struct problem why = {""};

	strcpy(w->top, "/tmp/baton-cafolder.XXXXXX");
	assert_non_null(mkdtemp(w->top));
	snprintf(w->dir, sizeof w->dir, "%s/ca", w->top);
	if (cafolder_make(w->dir, &what, &why) < 0 || !(w->f = cafolder_open(w->dir, &why)))
		fail_msg("%s", why.text);
	*state = w;
	return 0;
}

static int world_down(void **state)
{
	struct world *w = *state;

	cafolder_close(w->f);
	nftw(w->top, remove_one, 8, FTW_DEPTH | FTW_PHYS);
	free(w);
	return 0;
}

static void reopen(struct world *w)
{
	struct problem why = {""};

	cafolder_close(w->f);
	w->f = cafolder_open(w->dir, &why);
	if (!w->f)
		fail_msg("%s", why.text);
}

static bool there(const struct world *w, const char *name)
{
	struct capath p;

	return access(cafolder_path(w->dir, &p, name), F_OK) == 0;
}

static void set_offline(const struct world *w, bool offline)
{
	struct capath here, away;

	cafolder_path(w->dir, &here, "root");
	cafolder_path(w->top, &away, "offline");
	assert_int_equal(rename(offline ? here.p : away.p, offline ? away.p : here.p), 0);
}

static struct cacrl_said lists(struct world *w, int64_t now_ms)
{
	struct cacrl_said said;
	struct problem why = {""};

	if (cacrl_write(w->f, now_ms, 7, &said, &why) < 0)
		fail_msg("%s", why.text);
	return said;
}

/* DER of the list in place `at` of crl.pem; n 0: there is none. The caller clears it. */
static struct buf list_at(const struct world *w, size_t at)
{
	struct capath p;
	uint8_t *pem = NULL;
	size_t n = 0;
	struct buf der;

	buf_init(&der, 1 << 20);
	assert_int_equal(file_read(cafolder_path(w->dir, &p, "crl.pem"), 1 << 20, &pem, &n, NULL), 0);
	assert_true(ca_pem_read(CA_PEM_CRL, slice_of(pem, n), at, &der, NULL) >= 0);
	free(pem);
	return der;
}

static size_t count_lists(const struct world *w)
{
	size_t n = 0;

	for (;; n++) {
		struct buf der = list_at(w, n);
		bool none = der.n == 0;

		buf_clear(&der);
		if (none)
			return n;
	}
}

static int rotate(struct world *w, int64_t now_ms, int64_t lifetime_ms)
{
	const struct ca_servers none = {NULL, NULL};
	struct problem why = {""};
	int at = cafolder_add_intermediate(w->f, &none, true, now_ms, lifetime_ms, &why);

	if (at < 0)
		fail_msg("%s", why.text);
	lists(w, now_ms);
	assert_int_equal(cafolder_set_current(w->f, (size_t)at, &why), 0);
	return at;
}

static void the_first_lists_are_of_root_and_intermediate(void **state)
{
	struct world *w = *state;
	struct buf root = list_at(w, 0), middle = list_at(w, 1);
	struct ca_crl_info a, b;

	assert_int_equal(count_lists(w), 2);
	assert_int_equal(ca_crl_info(buf_slice(&root), &a, NULL), 0);
	assert_int_equal(ca_crl_info(buf_slice(&middle), &b, NULL), 0);
	assert_memory_equal(a.issuer_key_id, w->f->root_info.key_id, CA_KEY_ID_BYTES);
	assert_memory_equal(b.issuer_key_id, w->f->all[0].info.key_id, CA_KEY_ID_BYTES);
	assert_int_equal(b.next_update_ms, NOW + CACRL_DAYS * DAY);
	assert_true(a.next_update_ms >= w->f->all[0].info.not_after_ms); /* it does not run out before a rotation is due */
	assert_string_equal(w->f->trust_domain, DOMAIN);
	buf_clear(&root);
	buf_clear(&middle);
}

static void the_old_intermediate_goes_on_until_it_ends(void **state)
{
	struct world *w = *state;
	char old[64], now[64];

	snprintf(old, sizeof old, "intermediates/%s.key", w->f->all[0].name);
	rotate(w, NOW + DAY, 20 * DAY);
	reopen(w);
	assert_int_equal(w->f->n, 2);
	assert_int_equal(w->f->all[w->f->current].info.not_after_ms, NOW + 21 * DAY);
	snprintf(now, sizeof now, "intermediates/%s.key", w->f->all[w->f->current].name);
	lists(w, NOW + DAY + 1000);
	assert_int_equal(count_lists(w), 3);
	assert_int_equal(cafolder_drop_ended(w->f, NOW + DAY + 1000), 0);
	lists(w, NOW + 3 * DAY);
	assert_int_equal(count_lists(w), 2);
	assert_int_equal(cafolder_drop_ended(w->f, NOW + 3 * DAY), 1);
	assert_false(there(w, old));
	assert_true(there(w, now));
	reopen(w);
	assert_int_equal(w->f->n, 1);
	assert_int_equal(cafolder_drop_ended(w->f, NOW + 50 * DAY), 0); /* never the one that issues */
	assert_true(there(w, now));
}

static void without_the_root_its_list_stays_and_nothing_rotates(void **state)
{
	const struct ca_servers none = {NULL, NULL};
	struct world *w = *state;
	struct buf before = list_at(w, 0), after;
	struct problem why = {""};

	set_offline(w, true);
	assert_false(cafolder_has_root_key(w->f));
	assert_true(lists(w, NOW + DAY).root_kept);
	after = list_at(w, 0);
	assert_true(slice_eq(buf_slice(&before), buf_slice(&after)));
	assert_int_equal(cafolder_add_intermediate(w->f, &none, true, NOW, DAY, &why), -1);
	assert_non_null(strstr(why.text, "root/root.key is not there"));
	assert_int_equal(w->f->n, 1);
	set_offline(w, false);
	assert_false(lists(w, NOW + DAY + 1000).root_kept);
	buf_clear(&after);
	after = list_at(w, 0);
	assert_false(slice_eq(buf_slice(&before), buf_slice(&after)));
	buf_clear(&before);
	buf_clear(&after);
}

static void numbers_grow_whatever_the_clock_does_rfc5280_5_2_3(void **state)
{
	struct world *w = *state;
	uint64_t a = lists(w, NOW + DAY).number, b = lists(w, NOW).number, c = lists(w, NOW).number, d;
	struct capath p;

	assert_true(b > a && c > b);
	unlink(cafolder_path(w->dir, &p, "crl.pem"));
	d = lists(w, NOW + 2 * DAY).number;
	assert_true(d > c);
}

static struct carevoked gone(const struct world *w, uint8_t serial, int64_t not_after_ms)
{
	struct carevoked r = {.entry = {.serial = {0x40, serial}, .at_ms = NOW, .reason = CA_SUPERSEDED}, .not_after_ms = not_after_ms};

	strcpy(r.issuer, w->f->all[0].name);
	return r;
}

static void what_is_revoked_stays_on_the_lists_a_day_beyond_its_end(void **state)
{
	struct world *w = *state;
	struct carevoked brief = gone(w, 1, NOW + DAY / 2), lasting = gone(w, 2, NOW + 2 * DAY), other = gone(w, 3, NOW + 2 * DAY);

	strcpy(other.issuer, "0123456789abcdef"); /* of an intermediate that is not there */
	assert_int_equal(carecord_add_revoked(w->dir, &brief, NULL), 0);
	assert_int_equal(carecord_add_revoked(w->dir, &lasting, NULL), 0);
	assert_int_equal(carecord_add_revoked(w->dir, &other, NULL), 0);
	assert_int_equal(lists(w, NOW).revoked, 2);
	assert_int_equal(lists(w, NOW + DAY).revoked, 2);
	assert_int_equal(lists(w, NOW + 2 * DAY - 1000).revoked, 1);
}

static void append_raw(const struct world *w, const char *file, const char *text)
{
	struct capath p;
	FILE *f = fopen(cafolder_path(w->dir, &p, file), "a");

	assert_non_null(f);
	fputs(text, f);
	fclose(f);
}

struct search {
	const uint8_t *serial;
	struct carevoked *out;
	int found;
};

static int look(void *arg, const struct carevoked *one, const char *id, struct problem *why)
{
	struct search *s = arg;

	assert_memory_equal(id, "spiffe://acme.example/", 22);
	if (memcmp(one->entry.serial, s->serial, CA_SERIAL_BYTES) == 0) {
		*s->out = *one;
		s->found++;
	}
	return 0;
}

/* How many have this serial number; -1: the record cannot be read. */
static int find_issued(struct world *w, const uint8_t serial[CA_SERIAL_BYTES], struct carevoked *out, struct problem *why)
{
	struct search s = {serial, out, 0};

	return carecord_each_issued(w->dir, look, &s, why) < 0 ? -1 : s.found;
}

static void a_line_cut_off_by_a_crash_is_none_and_a_bad_one_is_said(void **state)
{
	struct world *w = *state;
	struct ca_cert_info one = {.spiffe_id = "spiffe://acme.example/one", .serial = {0x40, 1}, .not_after_ms = NOW}, two = one;
	struct carevoked r = gone(w, 9, NOW + 2 * DAY), found;
	struct problem why = {""};

	two.serial[1] = 2;
	append_raw(w, "issued", "40010000"); /* as a crash leaves it */
	assert_int_equal(find_issued(w, one.serial, &found, &why), 0);
	assert_int_equal(carecord_add_issued(w->dir, &one, "0123456789abcdef", &why), 0);
	append_raw(w, "issued", "4002");
	assert_int_equal(carecord_add_issued(w->dir, &two, "0123456789abcdef", &why), 0);
	assert_int_equal(find_issued(w, one.serial, &found, &why), 1);
	assert_string_equal(found.issuer, "0123456789abcdef");
	assert_int_equal(found.not_after_ms, NOW);
	assert_int_equal(find_issued(w, two.serial, &found, &why), 1);
	assert_int_equal(find_issued(w, r.entry.serial, &found, &why), 0);
	append_raw(w, "revoked", "4009"); /* was never acknowledged */
	assert_int_equal(lists(w, NOW).revoked, 0);
	assert_int_equal(carecord_add_revoked(w->dir, &r, &why), 0);
	assert_int_equal(lists(w, NOW).revoked, 1);
	append_raw(w, "revoked", "40 a b c d\n");
	assert_int_equal(cacrl_write(w->f, NOW, 7, NULL, &why), -1);
	assert_non_null(strstr(why.text, "revoked:2: this line cannot be read"));
	append_raw(w, "issued", "nonsense\n");
	assert_int_equal(find_issued(w, two.serial, &found, &why), -1);
	assert_non_null(strstr(why.text, "issued:3: this line cannot be read"));
}

static void many_revocations_are_read_back(void **state)
{
	struct world *w = *state;
	struct carevoked *all, r = gone(w, 0, NOW + 2 * DAY);
	size_t n;

	for (int i = 0; i < 100; i++) {
		r.entry.serial[2] = (uint8_t)i;
		assert_int_equal(carecord_add_revoked(w->dir, &r, NULL), 0);
	}
	assert_int_equal(carecord_read_revoked(w->dir, &all, &n, NULL), 0);
	assert_int_equal(n, 100);
	for (int i = 0; i < 100; i++)
		assert_int_equal(all[i].entry.serial[2], i);
	free(all);
	assert_int_equal(lists(w, NOW).revoked, 100);
}

static void a_folder_or_a_key_that_lets_others_in_is_refused(void **state)
{
	struct world *w = *state;
	struct problem why = {""};
	struct capath p;
	char key[64];

	snprintf(key, sizeof key, "intermediates/%s.key", w->f->all[0].name);
	assert_int_equal(chmod(cafolder_path(w->dir, &p, key), 0640), 0);
	assert_null(cafolder_intermediate(w->f, 0, &why));
	assert_non_null(strstr(why.text, key));
	assert_int_equal(chmod(p.p, 0600), 0);
	cafolder_close(w->f);
	w->f = NULL;
	assert_int_equal(chmod(w->dir, 0750), 0);
	assert_null(cafolder_open(w->dir, &why));
	assert_non_null(strstr(why.text, "lets others in"));
	assert_int_equal(chmod(w->dir, 0700), 0);
	reopen(w);
}

static void nothing_is_overwritten_and_nothing_left_half_made(void **state)
{
	struct world *w = *state;
	struct cafolder_new what = {.trust_domain = DOMAIN, .root_ms = 100 * DAY, .intermediate_ms = 2 * DAY, .now_ms = NOW};
	struct problem why = {""};
	char other[64];
	struct stat st;
	struct dirent **names = NULL;
	int n;

	assert_int_equal(cafolder_make(w->dir, &what, &why), -1);
	assert_non_null(strstr(why.text, "nothing is overwritten"));
	snprintf(other, sizeof other, "%s/other", w->top);
	what.intermediate_ms = 200 * DAY;
	assert_int_equal(cafolder_make(other, &what, &why), -1);
	assert_int_equal(access(other, F_OK), -1);
	n = scandir(w->top, &names, NULL, NULL);
	assert_int_equal(n, 3); /* ".", ".." and the one that is there: no other was left */
	while (n > 0)
		free(names[--n]);
	free(names);
	assert_int_equal(mkdir(other, 0755), 0);
	what.intermediate_ms = 2 * DAY;
	assert_int_equal(cafolder_make(other, &what, &why), 0); /* an empty folder is as good as none */
	assert_int_equal(stat(other, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0700);
}

static void a_rotation_that_fails_leaves_the_old_one_alone(void **state)
{
	const struct ca_servers none = {NULL, NULL};
	struct world *w = *state;
	struct problem why = {""};
	char name[64];
	int at = cafolder_add_intermediate(w->f, &none, true, NOW, 200 * DAY, &why); /* longer than the root */

	assert_int_equal(at, -1);
	assert_int_equal(w->f->n, 1);
	at = cafolder_add_intermediate(w->f, &none, true, NOW, DAY, &why);
	assert_int_equal(at, 1);
	snprintf(name, sizeof name, "intermediates/%s.key", w->f->all[1].name);
	assert_true(there(w, name));
	cafolder_undo_intermediate(w->f, 1);
	assert_false(there(w, name));
	reopen(w);
	assert_int_equal(w->f->n, 1);
	assert_int_equal(w->f->current, 0);
}

/* As a crash leaves it: a certificate without its key is no intermediate; one with its key that was not made to issue has lists, and does not issue. */
static void a_rotation_that_stopped_on_the_way_harms_nothing(void **state)
{
	const struct ca_servers none = {NULL, NULL};
	struct world *w = *state;
	char old[CAFOLDER_NAME];
	struct capath p;
	FILE *f = fopen(cafolder_path(w->dir, &p, "intermediates/0123456789abcdef.pem"), "w");

	fclose(f);
	strcpy(old, w->f->all[0].name);
	assert_int_equal(cafolder_add_intermediate(w->f, &none, true, NOW, 10 * DAY, NULL), 1);
	reopen(w);
	assert_int_equal(w->f->n, 2);
	assert_string_equal(w->f->all[w->f->current].name, old);
	lists(w, NOW);
	assert_int_equal(count_lists(w), 3);
	rotate(w, NOW, 10 * DAY);
	assert_int_equal(count_lists(w), 4);
}

/* A line of a keeper's record: the certificate whose serial number is 32 times this digit. */
static void put_kept(FILE *f, const struct world *w, size_t issuer, char digit, int64_t not_after_ms)
{
	char serial[2 * CA_SERIAL_BYTES + 1] = "", key_id[2 * CA_KEY_ID_BYTES + 1], end[25];

	memset(serial, digit, sizeof serial - 1);
	hex_encode(w->f->all[issuer].info.key_id, CA_KEY_ID_BYTES, key_id);
	clock_format_utc(not_after_ms, end);
	fprintf(f, "{\"spiffe_id\":\"spiffe://acme.example/a\",\"serial\":\"%s\",\"issuer\":\"%s\",\"not_after\":\"%s\"}\n", serial, key_id, end);
}

static int take_back(const struct world *w, const char *record, const char *name, struct problem *why)
{
	const struct carevoke r = {.folder = w->f, .keeper_record = record, .now_ms = NOW, .reason = CA_KEY_COMPROMISE};

	return carevoke(&r, &name, 1, why);
}

static void what_else_stands_in_a_keepers_record_hides_no_certificate(void **state)
{
	struct world *w = *state;
	struct problem why = {""};
	struct carevoked *all;
	char record[64];
	FILE *f;
	size_t n;

	rotate(w, NOW, 10 * DAY);
	snprintf(record, sizeof record, "%s/record", w->top);
	f = fopen(record, "w");
	put_kept(f, w, 0, '4', NOW + DAY);      /* of the other intermediate, with the same number */
	put_kept(f, w, 1, '4', NOW + DAY / 24); /* as if it ended soon */
	put_kept(f, w, 1, '4', NOW + DAY);
	put_kept(f, w, 1, '5', NOW - DAY); /* as if it had ended */
	put_kept(f, w, 1, '5', NOW + DAY);
	fputs("{\"at\":\"2026-01-01T00:00:00.000Z\",\"since\":\"2026\",\"assertions\":1,\"refused\":0}\n\n{\"at\":\"torn\n", f);
	fclose(f);
	assert_int_equal(take_back(w, record, "55555555555555555555555555555555", &why), 0);
	assert_int_equal(take_back(w, record, "spiffe://acme.example/a", &why), 0);
	assert_int_equal(carecord_read_revoked(w->dir, &all, &n, NULL), 0);
	for (size_t i = 0; i < n; i++)
		assert_int_equal(all[i].not_after_ms, NOW + DAY);
	assert_int_equal(n, 3);
	assert_string_equal(all[0].issuer, w->f->all[1].name);
	assert_string_not_equal(all[1].issuer, all[2].issuer);
	free(all);
	assert_int_equal(take_back(w, record, "spiffe://acme.example/a", &why), 0); /* once more: nothing new */
	assert_int_equal(lists(w, NOW).revoked, 3);
	f = fopen(record, "a");
	fputs("{\"at\":\"2026-01-01T00:00:00.000Z\",\"spiffe_id\":\"spiffe://acme.example/a\",\"serial\":\"6\"}\n", f);
	fclose(f);
	assert_int_equal(take_back(w, record, "spiffe://acme.example/a", &why), -1);
	assert_non_null(strstr(why.text, "record:9: this line cannot be read"));
}

int main(void)
{
#define WITH_WORLD(t) cmocka_unit_test_setup_teardown(t, world_up, world_down)
	const struct CMUnitTest tests[] = {
		WITH_WORLD(the_first_lists_are_of_root_and_intermediate),
		WITH_WORLD(the_old_intermediate_goes_on_until_it_ends),
		WITH_WORLD(without_the_root_its_list_stays_and_nothing_rotates),
		WITH_WORLD(numbers_grow_whatever_the_clock_does_rfc5280_5_2_3),
		WITH_WORLD(what_is_revoked_stays_on_the_lists_a_day_beyond_its_end),
		WITH_WORLD(a_line_cut_off_by_a_crash_is_none_and_a_bad_one_is_said),
		WITH_WORLD(many_revocations_are_read_back),
		WITH_WORLD(a_folder_or_a_key_that_lets_others_in_is_refused),
		WITH_WORLD(nothing_is_overwritten_and_nothing_left_half_made),
		WITH_WORLD(a_rotation_that_fails_leaves_the_old_one_alone),
		WITH_WORLD(a_rotation_that_stopped_on_the_way_harms_nothing),
		WITH_WORLD(what_else_stands_in_a_keepers_record_hides_no_certificate),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
