/* Do the containers keep their caps, the ids their generations, and the words their tables? */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

#include "base/arena.h"
#include "base/backoff.h"
#include "base/bucket.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/problem.h"
#include "base/slots.h"
#include "base/words.h"

static void buf_keeps_its_cap(void **state)
{
	uint8_t big[2000] = {0};
	struct buf b;

	buf_init(&b, 1000);
	assert_true(buf_put(&b, big, 999));
	assert_true(buf_put_u8(&b, 'x'));
	assert_int_equal(b.n, 1000);
	assert_false(b.failed);
	assert_false(buf_put_u8(&b, 'y'));
	assert_true(b.failed);
	assert_int_equal(b.n, 1000);
	buf_reset(&b);
	assert_false(b.failed);
	assert_int_equal(b.n, 0);
	assert_false(buf_put(&b, big, 1001));
	assert_int_equal(b.n, 0);
	assert_false(buf_put_u8(&b, 'z')); /* sticky: a hole must not go unseen */
	buf_clear(&b);
	assert_true(buf_put_u8(&b, 'z'));
	assert_int_equal(b.cap, 1000);
	buf_clear(&b);
}

static void buf_prints_to_the_last_byte(void **state)
{
	struct buf b;

	buf_init(&b, 5);
	assert_true(buf_printf(&b, "%s", "12345"));
	assert_memory_equal(b.p, "12345", 5);
	buf_reset(&b);
	assert_false(buf_printf(&b, "%s", "123456"));
	assert_int_equal(b.n, 0);
	buf_clear(&b);
}

static void buf_reserves_and_drops(void **state)
{
	struct buf b;
	uint8_t *p;

	buf_init(&b, 10000);
	assert_true(buf_put_str(&b, "head"));
	p = buf_reserve(&b, 9996);
	assert_non_null(p);
	memcpy(p, "tail", 4);
	b.n += 4;
	buf_drop(&b, 4);
	assert_true(slice_is(buf_slice(&b), "tail"));
	buf_drop(&b, 99);
	assert_int_equal(b.n, 0);
	assert_null(buf_reserve(&b, 10001));
	assert_true(b.failed);
	buf_clear(&b);
}

static void buf_of_cap_zero_takes_nothing(void **state)
{
	struct buf b;

	buf_init(&b, 0);
	assert_true(buf_put(&b, NULL, 0));
	assert_false(buf_put_u8(&b, 1));
	buf_clear(&b);
}

static void arena_keeps_its_cap(void **state)
{
	struct arena *a = arena_new(64 * 1024);
	size_t n = 0;

	assert_null(arena_alloc(a, 64 * 1024)); /* the block's header counts too */
	while (arena_alloc(a, 100))
		n++;
	assert_in_range(n, 500, 655);
	assert_true(arena_used(a) <= 64 * 1024);
	arena_reset(a);
	assert_int_equal(arena_used(a), 0);
	assert_non_null(arena_alloc(a, 100));
	assert_false(arena_failed(a));
	assert_null(arena_alloc(a, SIZE_MAX));
	assert_true(arena_failed(a));
	arena_forgive(a);
	assert_null(arena_strndup(a, "", SIZE_MAX));
	assert_non_null(arena_alloc(a, 100));
	assert_true(arena_failed(a)); /* what does fit does not fill the hole */
	arena_reset(a);
	assert_false(arena_failed(a));
	arena_free(a);
	arena_free(NULL);
}

static void arena_gives_distinct_aligned_memory(void **state)
{
	struct arena *a = arena_new(1 << 20);
	char *first = arena_strdup(a, "first"), *second = arena_printf(a, "%s-%d", "second", 2);
	uint8_t *zero = arena_zalloc(a, 5000), *empty = arena_alloc(a, 0);
	size_t i;

	assert_string_equal(first, "first");
	assert_string_equal(second, "second-2");
	assert_string_equal(arena_strndup(a, "abc", 2), "ab");
	assert_non_null(empty);
	assert_int_equal((uintptr_t)zero % sizeof(void *), 0);
	for (i = 0; i < 5000; i++)
		assert_int_equal(zero[i], 0);
	memset(zero, 0xff, 5000);
	assert_string_equal(first, "first");
	arena_free(a);
}

static void slots_forget_what_was_dropped(void **state)
{
	struct slots *s = slots_new(2);
	int one, two, three;
	uint64_t a = slots_add(s, &one), b = slots_add(s, &two), c;

	assert_true(a && b && a != b);
	assert_int_equal(slots_add(s, &three), 0);
	assert_ptr_equal(slots_get(s, a), &one);
	assert_ptr_equal(slots_drop(s, a), &one);
	assert_null(slots_get(s, a));
	assert_null(slots_drop(s, a));
	c = slots_add(s, &three); /* in the place of the first */
	assert_true(c && c != a && (uint32_t)c == (uint32_t)a);
	assert_null(slots_get(s, a));
	assert_ptr_equal(slots_get(s, c), &three);
	assert_null(slots_get(s, 0));
	assert_null(slots_get(s, UINT64_MAX));
	assert_int_equal(slots_count(s), 2);
	slots_free(s);
	slots_free(NULL);
}

static void drop_each(void *arg, uint64_t id, void *thing)
{
	assert_ptr_equal(slots_drop(arg, id), thing);
}

static void slots_each_may_drop(void **state)
{
	struct slots *s = slots_new(1000);
	int things[1000];
	size_t i;

	for (i = 0; i < 1000; i++)
		assert_true(slots_add(s, &things[i]));
	assert_false(slots_add(s, &things[0]));
	slots_each(s, drop_each, s);
	assert_int_equal(slots_count(s), 0);
	assert_true(slots_add(s, &things[0]));
	slots_free(s);
}

static void problems_are_cut_not_overrun(void **state)
{
	char longer[2000];
	struct problem p;

	memset(longer, 'x', sizeof longer - 1);
	longer[sizeof longer - 1] = '\0';
	assert_int_equal(problem_set(&p, "%s", "bad port"), -1);
	assert_int_equal(problem_prefix(&p, "line %d", 7), -1);
	assert_string_equal(p.text, "line 7: bad port");
	problem_set(&p, "%s", longer);
	assert_int_equal(strlen(p.text), sizeof p.text - 1);
	problem_prefix(&p, "%s", longer);
	assert_int_equal(strlen(p.text), sizeof p.text - 1);
	assert_int_equal(problem_set(NULL, "x"), -1);
	assert_int_equal(problem_prefix(NULL, "x"), -1);
}

static void times_print_and_parse(void **state)
{
	static const struct { const char *text; int64_t ms; } forms[] = {
		{"2026-11-24T00:25:01.123Z", 1795479901123}, {"2026-11-24t00:25:01z", 1795479901000}, {"2026-11-24T01:25:01.1239+01:00", 1795479901123},
		{"2026-11-23T23:55:01.5-00:30", 1795479901500}, {"9999-12-31T23:59:59.999Z", CLOCK_LAST_MS}, {"1970-01-01T00:00:00Z", 0},
		{"9999-12-31T23:59:59-00:01", -1}, {"1970-01-01T00:00:00+00:01", -1}, {"2026-11-24T00:25:01", -1}, {"2026-11-24 00:25:01Z", -1},
		{"2026-11-24", -1}, {"2026-02-30T00:00:00Z", -1}, {"2026-11-24T24:00:00Z", -1}, {"2016-12-31T23:59:60Z", -1}, {"2026-11-24T00:25:01.Z", -1},
		{"2026-11-24T00:25:01+0100", -1}, {"2026-11-24T00:25:01+24:00", -1}, {"2026-11-24T00:25:01+01:60", -1}, {"2026-11-24T00:25:01+01:0x", -1},
		{"2026-11-24T00:25:01ZZ", -1}, {"2026-11-24T00:25:01.1", -1}, {"", -1}, {"now", -1}, {"1795479901123", -1},
	};
	static const char *const bad[] = {"", "2026-11-24T00:25:01Z", "2026-11-24 00:25:01.123Z",
					  "2026-02-31T00:25:01.123Z",
					  "2026-11-24T24:25:01.123Z", "2026-1x-24T00:25:01.123Z",
					  "2026-11-24T00:25:01.12-Z"};
	char text[25];
	int64_t slept;
	size_t i;

	clock_format_utc(1795479901123, text);
	assert_string_equal(text, "2026-11-24T00:25:01.123Z");
	assert_true(clock_parse_utc(slice_str(text)) == 1795479901123);
	clock_format_utc(-1, text);
	assert_string_equal(text, "1969-12-31T23:59:59.999Z");
	clock_format_utc(INT64_MAX, text);
	assert_string_equal(text, "0000-00-00T00:00:00.000Z");
	clock_format_utc(0, text);
	assert_true(clock_parse_utc(slice_str(text)) == 0);
	for (i = 0; i < sizeof bad / sizeof bad[0]; i++)
		assert_true(clock_parse_utc(slice_str(bad[i])) == -1);
	for (i = 0; i < sizeof forms / sizeof forms[0]; i++)
		if (clock_parse_rfc3339(slice_str(forms[i].text)) != forms[i].ms)
			fail_msg("%s: %lld", forms[i].text, (long long)clock_parse_rfc3339(slice_str(forms[i].text)));
	assert_true(clock_unix_ms() > 1700000000000);
	assert_true(clock_mono_us() / 1000 <= clock_mono_ms() + 1);
	slept = clock_thread_us();
	nanosleep(&(struct timespec){.tv_nsec = 100000000}, NULL);
	slept = clock_thread_us() - slept;
	assert_true(slept >= 0 && slept < 100000); /* which is not the thread's own time */
}

static void reasons_have_one_row_each(void **state)
{
	int r, rows = 0;

	for (r = 1; r < REASON_MAX; r++) {
		const struct reason_info *i = reason_info((enum reason)r);

		if (i->reason == REASON_UNSPECIFIED)
			continue;
		rows++;
		assert_int_equal(i->reason, r);
		assert_int_equal(reason_from_text(slice_str(i->text)), r);
		assert_true(i->http >= 200 && i->http < 600);
		assert_int_equal(i->grpc == GRPC_OK, r == REASON_ALLOWED || r == REASON_APPROVAL_REQUIRED);
		assert_int_equal(i->http < 300, i->grpc == GRPC_OK);
	}
	assert_int_equal(rows, 39);
	assert_string_equal(reason_text((enum reason)9), "unspecified");
	assert_string_equal(reason_text((enum reason)-1), "unspecified");
	assert_int_equal(reason_info((enum reason)9999)->grpc, GRPC_INTERNAL);
	assert_int_equal(reason_from_text(SLICE_LIT("unspecified")), REASON_UNSPECIFIED);
	assert_int_equal(reason_from_text(SLICE_LIT("Missing_scope")), REASON_UNSPECIFIED);
	assert_int_equal(reason_info(REASON_PAYLOAD_TOO_LARGE)->grpc, GRPC_RESOURCE_EXHAUSTED);
	assert_int_equal(reason_info(REASON_APPROVAL_DENIED)->http, 403);
	assert_true(reason_info(REASON_STORE_UNAVAILABLE)->retry);
	assert_false(reason_info(REASON_MISSING_SCOPE)->retry);
}

static void other_words_go_both_ways(void **state)
{
	assert_string_equal(outcome_text(OUTCOME_HOLD), "hold");
	assert_string_equal(outcome_text((enum outcome)77), "unspecified");
	assert_string_equal(grpc_status_text(GRPC_UNAUTHENTICATED), "UNAUTHENTICATED");
	assert_string_equal(grpc_status_text((enum grpc_status)17), "UNKNOWN");
	assert_string_equal(state_text(STATE_DEAD_LETTERED), "dead_lettered");
	assert_string_equal(state_text((enum handoff_state)8), "unspecified");
	assert_int_equal(state_from_text(SLICE_LIT("input_required")), STATE_INPUT_REQUIRED);
	assert_int_equal(state_from_text(SLICE_LIT("queued ")), STATE_UNSPECIFIED);
	assert_true(state_is_terminal(STATE_COMPLETED));
	assert_false(state_is_terminal(STATE_QUARANTINED));
	assert_int_equal(side_effect_from_text(SLICE_LIT("external_send")), SIDE_EFFECT_EXTERNAL_SEND);
	assert_int_equal(side_effect_from_text(SLICE_LIT("delete")), SIDE_EFFECT_UNSPECIFIED);
	assert_string_equal(side_effect_text(SIDE_EFFECT_DRAFT), "draft");
	assert_int_equal(content_trust_from_text(SLICE_LIT("user")), TRUST_USER);
	assert_string_equal(content_trust_text(TRUST_UNTRUSTED), "untrusted");
}

static void verdicts_are_cut_between_characters(void **state)
{
	struct verdict v = verdict_allow();
	char text[700];
	size_t i;

	assert_true(verdict_ok(&v));
	v = verdict_deny(REASON_MISSING_SCOPE, "scope", "%s is needed", "refunds:draft");
	assert_false(verdict_ok(&v));
	assert_int_equal(v.outcome, OUTCOME_DENY);
	assert_string_equal(v.message, "refunds:draft is needed");
	assert_string_equal(v.field, "scope");
	assert_string_equal(v.missing_scopes[0], "");
	v = verdict_deny(REASON_APPROVAL_REQUIRED, NULL, "wait");
	assert_int_equal(v.outcome, OUTCOME_HOLD);
	assert_string_equal(v.field, "");
	text[0] = 'x'; /* so that the cut at 512 falls inside a character */
	for (i = 1; i + 2 < sizeof text; i += 2)
		memcpy(text + i, "\xc3\xa9", 2);
	text[i] = '\0';
	v = verdict_deny(REASON_NOT_FOUND, "f", "%s", text);
	assert_int_equal(strlen(v.message), 511);
	assert_memory_equal(v.message, text, 511);
}

static void buckets_refill(void **state)
{
	struct bucket b;

	bucket_fill(&b, 3, 1000);
	assert_true(bucket_full(&b, 3, 2, 1000));
	for (int i = 0; i < 3; i++)
		assert_true(bucket_take(&b, 3, 2, 1000));
	assert_false(bucket_take(&b, 3, 2, 1000));
	assert_int_equal(bucket_wait_ms(&b, 2), 501);
	assert_false(bucket_take(&b, 3, 2, 1499));
	assert_true(bucket_take(&b, 3, 2, 1500));
	assert_false(bucket_take(&b, 3, 2, 1500));
	bucket_return(&b);
	assert_true(bucket_take(&b, 3, 2, 1500));
	/* A clock that steps back gives nothing and takes nothing. */
	assert_false(bucket_take(&b, 3, 2, 500));
	assert_false(bucket_take(&b, 3, 2, 1500));
	assert_false(bucket_full(&b, 3, 2, 2999));
	assert_true(bucket_full(&b, 3, 2, 3000));
	/* Never more than the burst, however long it takes; a lower burst holds at once. */
	assert_true(bucket_take(&b, 3, 2, INT64_MAX / 2));
	assert_true(bucket_take(&b, 1, 2, INT64_MAX / 2));
	assert_false(bucket_take(&b, 1, 2, INT64_MAX / 2));
	/* One that does not refill. */
	bucket_fill(&b, 1, 0);
	assert_true(bucket_take(&b, 1, 0, 0));
	assert_false(bucket_take(&b, 1, 0, INT64_MAX));
}

static void backoff_doubles_up_to_its_bound(void **state)
{
	int64_t ms = 0, waited[8];

	(void)state;
	for (size_t i = 0; i < 8; i++)
		waited[i] = ms = backoff_next_ms(ms, 60000);
	assert_int_equal(waited[0], 1000);
	assert_int_equal(waited[1], 2000);
	assert_int_equal(waited[5], 32000);
	assert_int_equal(waited[6], 60000);
	assert_int_equal(waited[7], 60000);
	assert_int_equal(backoff_next_ms(0, 500), 500);
}

static void names_follow_the_grammar(void **state)
{
	static const char *const good[] = {"a", "0", "support_refund_assistant", "a.b-c_d", "9-"};
	static const char *const bad[] = {"", "A", "-a", ".a", "_a", "a b", "a/b", "a\n", "caf\xc3\xa9"};
	char longest[65];
	size_t i;

	for (i = 0; i < sizeof good / sizeof good[0]; i++)
		assert_true(name_valid(slice_str(good[i])));
	for (i = 0; i < sizeof bad / sizeof bad[0]; i++)
		assert_false(name_valid(slice_str(bad[i])));
	memset(longest, 'a', 64);
	longest[64] = '\0';
	assert_true(name_valid(slice_of(longest, 63)));
	assert_false(name_valid(slice_of(longest, 64)));
	assert_false(name_valid(slice_of("a\0b", 3)));
}

static void queue_names(void **state)
{
	static const char *const good[] = {"refunds", "alerts/worker", "a/b", "a.b_c-1/d.e"};
	static const char *const bad[] = {"", "/", "a/", "/a", "a/b/c", "a//b", "A/b", "a/B", "a/ b", "a/@b"};
	char longest[2 * NAME_MAX_BYTES + 3], queue[QUEUE_MAX_BYTES + 1], key[QUEUE_KEY_MAX_BYTES + 1];
	const char *names = "ann bob";

	(void)state;
	for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
		assert_true(queue_valid(slice_str(good[i])));
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		assert_false(queue_valid(slice_str(bad[i])));
	memset(longest, 'a', sizeof longest);
	longest[NAME_MAX_BYTES] = '/';
	assert_true(queue_valid(slice_of(longest, QUEUE_MAX_BYTES)));
	assert_false(queue_valid(slice_of(longest, QUEUE_MAX_BYTES + 1)));
	assert_true(slice_is(queue_route(slice_str("alerts/worker")), "alerts"));
	assert_true(slice_is(queue_agent(slice_str("alerts/worker")), "worker"));
	assert_true(slice_is(queue_route(slice_str("alerts")), "alerts"));
	assert_int_equal(queue_agent(slice_str("alerts")).n, 0);
	queue_inbox("alerts", slice_str("worker"), queue);
	assert_string_equal(queue, "alerts/worker");
	assert_true(queue_key("acme", queue, key));
	assert_string_equal(key, "acme/alerts/worker");
	longest[QUEUE_MAX_BYTES] = '\0';
	assert_true(queue_key(longest + NAME_MAX_BYTES + 1, longest, key));
	assert_int_equal(strlen(key), QUEUE_KEY_MAX_BYTES);
	assert_false(queue_key(longest + NAME_MAX_BYTES, longest, key));
	assert_true(slice_is(names_take(&names), "ann"));
	assert_true(slice_is(names_take(&names), "bob"));
	assert_int_equal(names_take(&names).n, 0);
	assert_string_equal(names, "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(buf_keeps_its_cap),
		cmocka_unit_test(buf_prints_to_the_last_byte),
		cmocka_unit_test(buf_reserves_and_drops),
		cmocka_unit_test(buf_of_cap_zero_takes_nothing),
		cmocka_unit_test(arena_keeps_its_cap),
		cmocka_unit_test(arena_gives_distinct_aligned_memory),
		cmocka_unit_test(slots_forget_what_was_dropped),
		cmocka_unit_test(slots_each_may_drop),
		cmocka_unit_test(problems_are_cut_not_overrun),
		cmocka_unit_test(times_print_and_parse),
		cmocka_unit_test(reasons_have_one_row_each),
		cmocka_unit_test(other_words_go_both_ways),
		cmocka_unit_test(verdicts_are_cut_between_characters),
		cmocka_unit_test(buckets_refill),
		cmocka_unit_test(backoff_doubles_up_to_its_bound),
		cmocka_unit_test(names_follow_the_grammar), cmocka_unit_test(queue_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
