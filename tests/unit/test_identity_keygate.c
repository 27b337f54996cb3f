/* Who may have an issuer asked for its keys, and does one agent's flood leave the others theirs? */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "identity/issuer.h"
#include "identity/keygate.h"

#define A 7
#define B 8
#define START 1000000

static struct keygate *g;
static struct keygate_ask ask;

static int up(void **state)
{
	g = keygate_new();
	ask = (struct keygate_ask){.agent = A, .kid = 1, .now_ms = START, .since_ms = START, .answered_ms = INT64_MIN};
	return g ? 0 : -1;
}

static int down(void **state)
{
	keygate_free(g);
	return 0;
}

static enum keygate_answer asks(uint64_t agent, uint64_t kid)
{
	ask.agent = agent;
	ask.kid = kid;
	return keygate_ask(g, &ask);
}

static void at(int64_t ms)
{
	ask.now_ms = ask.since_ms = START + ms;
}

static void each_agent_has_a_budget_of_its_own(void **state)
{
	for (uint64_t kid = 1; kid <= KEYGATE_BURST; kid++)
		assert_int_equal(asks(A, kid), KEYGATE_BEGIN);
	for (uint64_t kid = 100; kid < 200; kid++)
		assert_int_equal(asks(A, kid), KEYGATE_SPENT);
	for (uint64_t kid = 1; kid <= KEYGATE_BURST; kid++) /* also for the same kids */
		assert_int_equal(asks(B, kid), KEYGATE_BEGIN);
	assert_int_equal(asks(B, 99), KEYGATE_SPENT);
}

static void a_budget_fills_again_one_by_one(void **state)
{
	for (uint64_t kid = 1; kid <= KEYGATE_BURST; kid++)
		assert_int_equal(asks(A, kid), KEYGATE_BEGIN);
	at(KEYGATE_REFILL_MS - 1);
	assert_int_equal(asks(A, 50), KEYGATE_SPENT);
	at(KEYGATE_REFILL_MS);
	assert_int_equal(asks(A, 50), KEYGATE_BEGIN);
	assert_int_equal(asks(A, 51), KEYGATE_SPENT);
	at(100 * KEYGATE_REFILL_MS); /* never more than whole */
	for (uint64_t kid = 60; kid < 60 + KEYGATE_BURST; kid++)
		assert_int_equal(asks(A, kid), KEYGATE_BEGIN);
	assert_int_equal(asks(A, 70), KEYGATE_SPENT);
}

static void what_was_not_found_is_not_looked_for_again_for_a_while(void **state)
{
	assert_int_equal(asks(A, 1), KEYGATE_BEGIN);
	ask.answered_ms = START; /* that fetch is over */
	for (int i = 1; i < 100; i++) {
		at(i * KEYGATE_RECENT_MS / 100);
		assert_int_equal(asks(A, 1), KEYGATE_RECENT); /* and costs nothing: */
	}
	for (uint64_t kid = 2; kid <= KEYGATE_BURST; kid++)
		assert_int_equal(asks(A, kid), KEYGATE_BEGIN);
	ask.under_way = true; /* for somebody else */
	assert_int_equal(asks(A, 1), KEYGATE_RECENT);
	ask.under_way = false;
	at(2 * KEYGATE_REFILL_MS);
	assert_int_equal(asks(A, 1), KEYGATE_BEGIN);
}

/* An agent that guesses the next kid before it is published keeps nobody but itself from it. */
static void a_guessed_kid_is_remembered_for_the_guesser_alone(void **state)
{
	assert_int_equal(asks(A, 1), KEYGATE_BEGIN);
	ask.answered_ms = START;
	at(1);
	assert_int_equal(asks(A, 1), KEYGATE_RECENT);
	assert_int_equal(asks(B, 1), KEYGATE_BEGIN);
}

static void who_comes_while_a_fetch_is_under_way_waits_for_it_free_of_charge(void **state)
{
	assert_int_equal(asks(A, 1), KEYGATE_BEGIN);
	ask.under_way = true;
	for (uint64_t kid = 1; kid < 500; kid++)
		assert_int_equal(asks(B, kid), KEYGATE_WAIT);
	assert_int_equal(asks(A, 1), KEYGATE_WAIT);
	ask.under_way = false;
	ask.answered_ms = START;
	at(1);
	for (uint64_t kid = 1; kid <= KEYGATE_BURST; kid++)
		assert_int_equal(asks(B, kid), KEYGATE_BEGIN);
}

/* The fetch that was under way when the request came may have been answered before the key was there; the next one was not. */
static void a_fetch_that_began_before_the_question_is_no_answer(void **state)
{
	ask.under_way = true;
	assert_int_equal(asks(A, 1), KEYGATE_WAIT);
	ask.under_way = false;
	ask.answered_ms = START - 10;
	ask.now_ms = START + 20; /* since START */
	assert_int_equal(asks(A, 1), KEYGATE_BEGIN);
	ask.answered_ms = START + 20;
	ask.now_ms = START + 30;
	assert_int_equal(asks(A, 1), KEYGATE_RECENT);
	/* another began meanwhile, for somebody else: this request has had its answer */
	ask.under_way = true;
	assert_int_equal(asks(A, 1), KEYGATE_RECENT);
	assert_int_equal(asks(A, 2), KEYGATE_RECENT);
	ask.since_ms = ask.now_ms; /* a new one has not */
	assert_int_equal(asks(A, 2), KEYGATE_WAIT);
}

static void the_table_has_a_cap_and_the_idlest_gives_way(void **state)
{
	assert_int_equal(asks(A, 1), KEYGATE_BEGIN);
	for (uint64_t kid = 2; kid <= KEYGATE_BURST; kid++)
		assert_int_equal(asks(A, kid), KEYGATE_BEGIN);
	for (uint64_t agent = 100; agent < 100 + KEYGATE_AGENTS_MAX - 1; agent++) {
		at((int64_t)agent - 99);
		assert_int_equal(asks(agent, 1), KEYGATE_BEGIN);
	}
	at(KEYGATE_AGENTS_MAX);
	assert_int_equal(asks(A, 9), KEYGATE_SPENT); /* known yet, and now the last to have asked */
	assert_int_equal(asks(5000, 1), KEYGATE_BEGIN); /* in the place of 100 */
	assert_int_equal(asks(A, 9), KEYGATE_SPENT);
	assert_int_equal(asks(101, 1), KEYGATE_RECENT);
	assert_int_equal(asks(100, 1), KEYGATE_BEGIN);
}

static void answers_have_texts(void **state)
{
	assert_string_equal(keygate_answer_text(KEYGATE_BEGIN), "begun");
	assert_string_equal(keygate_answer_text(KEYGATE_SPENT), "spent");
	keygate_free(NULL);
}

/* Cache-Control within bounds: sooner when the issuer says so, never later than the rule. */
static void an_issuer_may_shorten_its_refresh_and_not_lengthen_it(void **state)
{
	static const struct { int64_t refresh_ms, max_age_s, fresh_ms; } rows[] = {
		{300000, -1, 300000}, {300000, 0, 300000}, {300000, 60, 60000}, {300000, 300, 300000}, {300000, 86400, 300000},
		{300000, INT64_MAX, 300000}, {300000, 1, ISSUER_FRESH_MIN_MS}, {300000, 5, 5000}, {300000, 6, 6000},
		{2000, 1, 2000}, {2000, 60, 2000}, {1000, -1, 1000}, {300000, INT64_MIN, 300000},
	};

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct issuer_rule r = {.keys_refresh_ms = rows[i].refresh_ms};

		assert_int_equal(issuer_fresh_ms(&r, rows[i].max_age_s), rows[i].fresh_ms);
	}
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, up, down)
	const struct CMUnitTest tests[] = {
		T(each_agent_has_a_budget_of_its_own), T(a_budget_fills_again_one_by_one),
		T(what_was_not_found_is_not_looked_for_again_for_a_while), T(a_guessed_kid_is_remembered_for_the_guesser_alone),
		T(who_comes_while_a_fetch_is_under_way_waits_for_it_free_of_charge),
		T(a_fetch_that_began_before_the_question_is_no_answer), T(the_table_has_a_cap_and_the_idlest_gives_way),
		T(answers_have_texts), T(an_issuer_may_shorten_its_refresh_and_not_lengthen_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
