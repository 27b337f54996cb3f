/* Does a handoff move only where the drawing says, and does backoff stay within its bounds? */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "messaging/life.h"
#include "messaging/pacing.h"

static const enum handoff_state all[] = {
	STATE_UNSPECIFIED, STATE_HELD, STATE_SCHEDULED, STATE_QUEUED, STATE_LEASED, STATE_WORKING, STATE_INPUT_REQUIRED,
		STATE_QUARANTINED,
	STATE_COMPLETED, STATE_FAILED, STATE_REJECTED, STATE_CANCELLED, STATE_EXPIRED, STATE_DEAD_LETTERED,
};
#define N_ALL (sizeof all / sizeof all[0])

/* Written apart from the table in life.c: from each state, "cause>to" of every move that there is. */
static const struct { enum handoff_state from; enum life_cause cause; const char *to; } drawing[] = {
	{STATE_UNSPECIFIED, LIFE_ACCEPT, "held scheduled queued leased"},
	{STATE_HELD, LIFE_CANCEL, "cancelled"}, {STATE_HELD, LIFE_EXPIRE, "expired"}, {STATE_HELD, LIFE_QUARANTINE, "quarantined"},
	{STATE_HELD, LIFE_CONFIRM, "queued"}, {STATE_HELD, LIFE_COMPLETE, "completed"}, {STATE_HELD, LIFE_FAIL, "failed"},
	{STATE_HELD, LIFE_REJECT, "rejected"},
	{STATE_SCHEDULED, LIFE_PROMOTE, "queued"},
	{STATE_SCHEDULED, LIFE_CANCEL, "cancelled"}, {STATE_SCHEDULED, LIFE_EXPIRE, "expired"},
	{STATE_SCHEDULED, LIFE_QUARANTINE, "quarantined"},
	{STATE_QUEUED, LIFE_LEASE, "leased"}, {STATE_QUEUED, LIFE_HOLD, "held"},
	{STATE_LEASED, LIFE_START, "working"},
	{STATE_WORKING, LIFE_START, "input_required"},
	{STATE_INPUT_REQUIRED, LIFE_START, "working"},
	{STATE_QUARANTINED, LIFE_CANCEL, "cancelled"},
	{STATE_LEASED, LIFE_LAPSE, "queued"}, {STATE_WORKING, LIFE_LAPSE, "queued"}, {STATE_INPUT_REQUIRED, LIFE_LAPSE, "queued"},
	{STATE_LEASED, LIFE_DEAD_LETTER, "dead_lettered"}, {STATE_WORKING, LIFE_DEAD_LETTER, "dead_lettered"},
	{STATE_INPUT_REQUIRED, LIFE_DEAD_LETTER, "dead_lettered"},
};
/* And from each of these four: */
static const enum handoff_state reportable[] = {STATE_QUEUED, STATE_LEASED, STATE_WORKING, STATE_INPUT_REQUIRED};
static const struct { enum life_cause cause; const char *to; } reports[] = {
	{LIFE_COMPLETE, "completed"}, {LIFE_FAIL, "failed"}, {LIFE_REJECT, "rejected"}, {LIFE_RETRY, "queued"}, {LIFE_RELEASE, "queued"},
	{LIFE_CANCEL, "cancelled"}, {LIFE_EXPIRE, "expired"}, {LIFE_QUARANTINE, "quarantined"},
};

static bool names(const char *list, enum handoff_state state)
{
	char word[64], padded[256];

	snprintf(padded, sizeof padded, " %s ", list);
	snprintf(word, sizeof word, " %s ", state_text(state));
	return strstr(padded, word) != NULL;
}

static bool drawn(enum handoff_state from, enum life_cause cause, enum handoff_state to)
{
	if (to == STATE_UNSPECIFIED)
		return false;
	for (size_t i = 0; i < sizeof drawing / sizeof drawing[0]; i++)
		if (drawing[i].from == from && drawing[i].cause == cause && names(drawing[i].to, to))
			return true;
	for (size_t i = 0; i < sizeof reportable / sizeof reportable[0]; i++)
		for (size_t j = 0; j < sizeof reports / sizeof reports[0]; j++)
			if (reportable[i] == from && reports[j].cause == cause && names(reports[j].to, to))
				return true;
	return false;
}

static void test_every_move(void **state)
{
	(void)state;
	for (size_t f = 0; f < N_ALL; f++)
		for (int cause = LIFE_ACCEPT; cause <= LIFE_CONFIRM; cause++)
			for (size_t t = 0; t < N_ALL; t++)
				if (life_move_allowed(all[f], (enum life_cause)cause, all[t]) != drawn(all[f],
					(enum life_cause)cause, all[t]))
					fail_msg("%s, cause %d, to %s: %d", state_text(all[f]), cause,
						state_text(all[t]),
						 life_move_allowed(all[f], (enum life_cause)cause, all[t]));
}

static void test_terminal_is_the_end(void **state)
{
	(void)state;
	for (size_t f = 0; f < N_ALL; f++)
		for (int cause = LIFE_ACCEPT; state_is_terminal(all[f]) && cause <= LIFE_CONFIRM; cause++)
			for (size_t t = 0; t < N_ALL; t++)
				assert_false(life_move_allowed(all[f], (enum life_cause)cause, all[t]));
	assert_false(life_move_allowed((enum handoff_state)99, LIFE_CANCEL, STATE_CANCELLED));
	assert_false(life_move_allowed(STATE_QUEUED, LIFE_CANCEL, (enum handoff_state)-1));
	assert_false(life_move_allowed((enum handoff_state)8, LIFE_CANCEL, STATE_CANCELLED));
}

static void test_events(void **state)
{
	(void)state;
	assert_string_equal(life_event(STATE_QUEUED), "handoff.accepted");
	assert_string_equal(life_event(STATE_COMPLETED), "handoff.completed");
	assert_string_equal(life_event(STATE_DEAD_LETTERED), "handoff.dead_lettered");
	assert_string_equal(life_event((enum handoff_state)99), "handoff.unknown");
	for (size_t i = 1; i < N_ALL; i++) {
		assert_memory_equal(life_event(all[i]), "handoff.", 8);
		assert_string_not_equal(life_event(all[i]), "handoff.unknown");
		if (state_is_terminal(all[i]))
			assert_string_equal(life_event(all[i]) + 8, state_text(all[i]));
	}
}

static void test_backoff(void **state)
{
	static const uint32_t randoms[] = {0, 1, 0x7fffffff, 0x80000000, 0xfffffffe, 0xffffffff};

	(void)state;
	/* the n-th lies within [1000·2^(n-1), 1000·2^n], up to a minute */
	assert_int_equal(pacing_backoff_ms(1, 1000, 60000, 0), 1000);
	assert_int_equal(pacing_backoff_ms(1, 1000, 60000, 0xffffffff), 2000);
	assert_int_equal(pacing_backoff_ms(3, 1000, 60000, 0), 4000);
	assert_int_equal(pacing_backoff_ms(3, 1000, 60000, 0xffffffff), 8000);
	assert_int_equal(pacing_backoff_ms(6, 1000, 60000, 0xffffffff), 60000);
	assert_int_equal(pacing_backoff_ms(100, 1000, 60000, 0), 30000);
	assert_int_equal(pacing_backoff_ms(1, 0, 0, 7), 0);
	for (uint32_t attempt = 0; attempt < 40; attempt++)
		for (size_t i = 0; i < sizeof randoms / sizeof randoms[0]; i++) {
			static const uint32_t bounds[][2] = {{0, 1}, {0, 60000}, {1000, 60000}, {5, 5}, {1, 0xffffffff},
				{0xffffffff, 0xffffffff}};

			for (size_t b = 0; b < sizeof bounds / sizeof bounds[0]; b++) {
				uint32_t ms = pacing_backoff_ms(attempt, bounds[b][0], bounds[b][1], randoms[i]);

				assert_in_range(ms, bounds[b][0], bounds[b][1]);
			}
		}
	/* bounds the wrong way round: the least one */
	assert_int_equal(pacing_backoff_ms(3, 10, 5, 0xffffffff), 10);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_move), cmocka_unit_test(test_terminal_is_the_end),
			cmocka_unit_test(test_events),
		cmocka_unit_test(test_backoff),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
