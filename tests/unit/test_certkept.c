/* What a node keeps of OCSP answers: whose, how much of it, and what the next run finds. */
#include "app/certstatus_priv.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/file.h"

#define ANSWER 8192u
#define ALL (64u << 20)
#define MANY (2 * ALL / ANSWER)

static char folder[64];

static void ask(struct certstatus *s, size_t domains)
{
	s->responders = calloc(1, sizeof *s->responders + domains * sizeof s->responders->v[0]);
	assert_non_null(s->responders);
	s->responders->n = domains;
	for (size_t i = 0; i < domains; i++) {
		struct responder *r = &s->responders->v[i];

		r->of = s;
		snprintf(r->domain, sizeof r->domain, "domain-%zu.example", i);
		r->url = r->ca_file = r->ca_pem = folder;
	}
}

static void begin(struct certstatus *s, size_t domains)
{
	*s = (struct certstatus){.c = {.state_dir = folder}};
	pthread_mutex_init(&s->lock, NULL);
	ask(s, domains);
	certkept_read(s);
}

static struct known *show(struct certstatus *s, size_t domain, unsigned nr)
{
	struct known *k = calloc(1, sizeof *k);

	assert_non_null(k);
	memcpy(k->key, &nr, sizeof nr);
	k->key[SHA256_BYTES - 1] = (uint8_t)domain;
	k->of = &s->responders->v[domain];
	HASH_ADD(hh, s->known, key, sizeof k->key, k);
	certkept_claim(s, k);
	return k;
}

static bool hold(struct known *k, size_t n)
{
	static const uint8_t der[ANSWER + 1];

	if (!certkept_hold(k, slice_of(der, n)))
		return false;
	k->held.got_ms = clock_unix_ms();
	return true;
}

static void finish(struct certstatus *s)
{
	struct known *k, *t;

	certkept_write(s);
	certkept_free(s);
	HASH_ITER(hh, s->known, k, t) {
		HASH_DEL(s->known, k);
		certkept_drop(k);
		free(k);
	}
	for (size_t i = 0; i < s->responders->n; i++)
		assert_int_equal(s->responders->v[i].held_bytes, 0);
	assert_int_equal(s->kept_bytes, 0);
	free(s->responders);
	pthread_mutex_destroy(&s->lock);
}

static size_t fill(struct certstatus *s, size_t domain)
{
	unsigned n = 0;

	while (n < MANY && hold(show(s, domain, n), ANSWER))
		n++;
	return n * (size_t)ANSWER;
}

static void one_domain_takes_nothing_of_anothers(void **state)
{
	struct certstatus s;
	size_t found = 0;

	(void)state;
	begin(&s, 4);
	assert_int_equal(fill(&s, 0), ALL / 2 + ALL / 8); /* what is nobody's, and its own */
	for (size_t i = 1; i < 4; i++)
		assert_int_equal(fill(&s, i), ALL / 8);
	finish(&s);
	begin(&s, 4);
	for (unsigned i = 0; i < ALL / 8 / ANSWER; i++)
		found += show(&s, 3, i)->unread;
	assert_int_equal(found, ALL / 8 / ANSWER);
	finish(&s);
}

/* Of a domain that is no more, or whose peers have not come: it makes room for what is known now. */
static void what_nobody_claims_keeps_nobody_out(void **state)
{
	struct certstatus s;

	(void)state;
	begin(&s, 1);
	assert_int_equal(fill(&s, 0), ALL);
	finish(&s);
	begin(&s, 2);
	assert_int_equal(s.kept_bytes, ALL);
	assert_true(hold(show(&s, 1, 0), ANSWER));
	finish(&s);
	begin(&s, 2);
	assert_true(show(&s, 1, 0)->unread);
	assert_true(show(&s, 0, 0)->unread);
	assert_false(show(&s, 1, 1)->unread);
	finish(&s);
}

static void with_more_domains_each_has_less(void **state)
{
	struct certstatus s;
	struct responders *old;
	struct known *k, *t;

	(void)state;
	begin(&s, 1);
	assert_int_equal(fill(&s, 0), ALL);
	old = s.responders;
	ask(&s, 2);
	HASH_ITER(hh, s.known, k, t)
		certkept_move(k, &s.responders->v[0]);
	assert_int_equal(old->v[0].held_bytes, 0);
	free(old);
	assert_int_equal(s.responders->v[0].held_bytes, ALL / 2 + ALL / 4);
	assert_int_equal(fill(&s, 1), ALL / 4);
	finish(&s);
}

static void what_is_too_large_leaves_nothing_of_before(void **state)
{
	struct certstatus s;
	struct known *k;

	(void)state;
	begin(&s, 1);
	k = show(&s, 0, 0);
	assert_true(hold(k, ANSWER));
	assert_false(hold(k, ANSWER + 1));
	assert_null(k->held.der);
	finish(&s);
	begin(&s, 1);
	assert_false(show(&s, 0, 0)->unread);
	finish(&s);
}

/* Cut short, longer, with any byte another one: what is whole is taken, the file is taken away, and nothing else happens. */
static void a_damaged_file_is_taken_as_far_as_it_is_whole(void **state)
{
	struct problem why = {""};
	struct certstatus s;
	uint8_t *file;
	char path[80];
	size_t n;

	(void)state;
	snprintf(path, sizeof path, "%s/ocsp", folder);
	begin(&s, 1);
	for (unsigned i = 0; i < 3; i++)
		assert_true(hold(show(&s, 0, i), 40));
	finish(&s);
	assert_int_equal(file_read(path, ALL, &file, &n, &why), 0);
	for (size_t cut = 0; cut <= n; cut++) {
		assert_int_equal(file_write_atomic(path, slice_of(file, cut), 0600, &why), 0);
		begin(&s, 1);
		assert_true(s.kept_bytes <= 120 && (cut < n) == (s.kept_bytes < 120));
		assert_int_equal(access(path, F_OK), -1);
		for (unsigned i = 0; i < 4; i++)
			assert_true(!show(&s, 0, i)->unread || i < 3);
		finish(&s);
	}
	for (size_t i = 0; i < n; i++) {
		file[i] ^= (uint8_t)(1u << i % 8);
		assert_int_equal(file_write_atomic(path, slice_of(file, n), 0600, &why), 0);
		file[i] ^= (uint8_t)(1u << i % 8);
		begin(&s, 1);
		for (unsigned k = 0; k < 3; k++)
			show(&s, 0, k);
		assert_int_equal(access(path, F_OK), -1);
		finish(&s);
	}
	free(file);
}

static int up(void **state)
{
	(void)state;
	strcpy(folder, "/tmp/certkept-XXXXXX");
	return mkdtemp(folder) ? 0 : -1;
}

static int down(void **state)
{
	char file[80];

	(void)state;
	snprintf(file, sizeof file, "%s/ocsp", folder);
	unlink(file);
	return rmdir(folder);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(one_domain_takes_nothing_of_anothers, up, down), cmocka_unit_test_setup_teardown(what_nobody_claims_keeps_nobody_out, up, down),
		cmocka_unit_test_setup_teardown(with_more_domains_each_has_less, up, down), cmocka_unit_test_setup_teardown(what_is_too_large_leaves_nothing_of_before, up, down),
		cmocka_unit_test_setup_teardown(a_damaged_file_is_taken_as_far_as_it_is_whole, up, down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
