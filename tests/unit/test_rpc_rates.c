/* Does each agent get its rate, and no more, whatever the others do? */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <stdatomic.h>

#include "rpc/rates.h"

static unsigned taken(struct rates *r, uint64_t agent, uint32_t per_s, int64_t now_ms, unsigned tries)
{
	unsigned n = 0;
	uint32_t wait;

	for (unsigned i = 0; i < tries; i++)
		n += rates_take(r, agent, per_s, now_ms, &wait) == RATE_TAKEN;
	return n;
}

static void burst_then_rate(void **state)
{
	struct rates *r = rates_new();

	(void)state;
	assert_int_equal(taken(r, 1, 10, 1000, 100), 20);
	assert_int_equal(taken(r, 2, 10, 1000, 100), 20); /* another has its own */
	assert_int_equal(taken(r, 1, 10, 1100, 5), 1);
	assert_int_equal(taken(r, 1, 10, 2100, 100), 10);
	assert_int_equal(taken(r, 1, 10, 100000, 100), 20);
	rates_free(r);
}

/* Who waits as long as it is told gets in, and not a millisecond sooner. */
static void wait_is_honest(void **state)
{
	static const uint32_t rates[] = {1, 3, 7, 1000};
	struct rates *r = rates_new();

	(void)state;
	for (size_t i = 0; i < sizeof rates / sizeof rates[0]; i++) {
		uint32_t wait, again;

		assert_int_equal(taken(r, 10 + i, rates[i], 5000, 2 * rates[i]), 2 * rates[i]);
		assert_int_equal(rates_take(r, 10 + i, rates[i], 5000, &wait), RATE_OVER);
		assert_true(wait >= 1 && wait <= 1001);
		if (wait > 2)
			assert_int_equal(rates_take(r, 10 + i, rates[i], 5000 + wait - 2, &again), RATE_OVER);
		assert_int_equal(rates_take(r, 10 + i, rates[i], 5000 + wait, &again), RATE_TAKEN);
	}
	rates_free(r);
}

/* A reload: what was saved up above the new burst is gone, a higher rate fills faster. */
static void another_rate(void **state)
{
	struct rates *r = rates_new();

	(void)state;
	assert_int_equal(taken(r, 1, 100, 1000, 1), 1);
	assert_int_equal(taken(r, 1, 1, 1000, 50), 2);
	assert_int_equal(taken(r, 1, 100, 2000, 500), 100);
	rates_free(r);
}

static void flood(void **state)
{
	struct rates *r = rates_new();
	unsigned n[3] = {0};
	uint32_t wait;

	(void)state;
	for (int i = 0; i < 1000; i++)
		n[rates_take(r, 1, 5, 1000, &wait)]++;
	assert_int_equal(n[RATE_TAKEN], 10);
	assert_int_equal(n[RATE_OVER], 256);
	assert_int_equal(rates_take(r, 1, 5, 1000, &wait), RATE_FLOOD);
	assert_true(wait > 0);
	assert_int_equal(taken(r, 2, 5, 1000, 10), 10);          /* who listens is none the worse */
	assert_int_equal(taken(r, 1, 5, 1000 + wait, 1), 1);     /* nor is the other, later */
	rates_free(r);
}

static void bounded(void **state)
{
	struct rates *r = rates_new();
	uint32_t wait;

	(void)state;
	for (uint64_t i = 1; i <= 8192; i++)
		assert_int_equal(rates_take(r, i, 1, 1000, &wait), RATE_TAKEN);
	assert_int_equal(rates_take(r, 9000, 1, 1000, &wait), RATE_OVER);
	assert_int_equal(wait, 1000);
	assert_int_equal(rates_count(r), 8192);
	assert_int_equal(rates_take(r, 9000, 1, 10000, &wait), RATE_TAKEN);
	assert_int_equal(rates_count(r), 1);
	rates_free(r);
}

static struct rates *common;
static atomic_uint in_all;

static void *many(void *arg)
{
	(void)arg;
	atomic_fetch_add(&in_all, taken(common, 1, 500, 1000, 2000));
	return NULL;
}

static void threads(void **state)
{
	pthread_t t[4];

	(void)state;
	common = rates_new();
	for (int i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&t[i], NULL, many, NULL), 0);
	for (int i = 0; i < 4; i++)
		pthread_join(t[i], NULL);
	assert_int_equal(atomic_load(&in_all), 1000);
	rates_free(common);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(burst_then_rate), cmocka_unit_test(wait_is_honest), cmocka_unit_test(another_rate),
		cmocka_unit_test(flood), cmocka_unit_test(bounded), cmocka_unit_test(threads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
