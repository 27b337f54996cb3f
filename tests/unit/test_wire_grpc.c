/* Does wire/grpc cut messages, read time-outs and write status details as gRPC over HTTP/2 says? */
#include "wire/grpc.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "wire/wirefmt.h"

#define MAX 1000

static size_t message_put(uint8_t *p, const char *body, size_t n)
{
	grpc_head(p, n);
	memcpy(p + GRPC_HEAD_BYTES, body, n);
	return GRPC_HEAD_BYTES + n;
}

static void reader_cuts_whole_messages_without_a_copy(void **state)
{
	struct grpc_reader r;
	uint8_t wire[64];
	size_t n = message_put(wire, "one", 3);
	struct slice in, m;

	n += message_put(wire + n, "", 0);
	n += message_put(wire + n, "three", 5);
	grpc_reader_init(&r, MAX);
	in = slice_of(wire, n);
	assert_int_equal(grpc_reader_next(&r, &in, &m), GRPC_READ_MESSAGE);
	assert_true(slice_is(m, "one"));
	assert_ptr_equal(m.p, wire + GRPC_HEAD_BYTES);
	assert_int_equal(grpc_reader_next(&r, &in, &m), GRPC_READ_MESSAGE);
	assert_int_equal(m.n, 0);
	assert_int_equal(grpc_reader_next(&r, &in, &m), GRPC_READ_MESSAGE);
	assert_true(slice_is(m, "three"));
	assert_int_equal(grpc_reader_next(&r, &in, &m), GRPC_READ_MORE);
	assert_true(grpc_reader_idle(&r));
	grpc_reader_clear(&r);
}

/* Every way to cut two messages into two pieces. */
static void reader_joins_pieces_cut_anywhere(void **state)
{
	uint8_t wire[64];
	size_t n = message_put(wire, "hello", 5);

	n += message_put(wire + n, "wide world", 10);
	for (size_t cut = 0; cut <= n; cut++) {
		struct slice parts[2] = {slice_of(wire, cut), slice_of(wire + cut, n - cut)};
		char got[32] = "";
		struct grpc_reader r;
		struct slice m;

		grpc_reader_init(&r, MAX);
		for (size_t i = 0; i < 2; i++) {
			while (grpc_reader_next(&r, &parts[i], &m) == GRPC_READ_MESSAGE) {
				strncat(got, (const char *)m.p, m.n);
				strcat(got, "|");
			}
			assert_int_equal(parts[i].n, 0);
		}
		assert_string_equal(got, "hello|wide world|");
		assert_true(grpc_reader_idle(&r));
		grpc_reader_clear(&r);
	}
}

static void reader_knows_when_a_message_is_unfinished(void **state)
{
	struct grpc_reader r;
	uint8_t wire[16];
	size_t n = message_put(wire, "abc", 3);

	for (size_t cut = 1; cut < n; cut++) {
		struct slice in = slice_of(wire, cut), m;

		grpc_reader_init(&r, MAX);
		assert_int_equal(grpc_reader_next(&r, &in, &m), GRPC_READ_MORE);
		assert_false(grpc_reader_idle(&r));
		grpc_reader_clear(&r);
	}
}

static enum grpc_read read_head(const uint8_t head[GRPC_HEAD_BYTES], size_t max, size_t *held)
{
	struct grpc_reader r;
	struct slice in = slice_of(head, GRPC_HEAD_BYTES), m;
	enum grpc_read got, again;

	grpc_reader_init(&r, max);
	got = grpc_reader_next(&r, &in, &m);
	again = grpc_reader_next(&r, &in, &m);
	assert_int_equal(got, again); /* spent stays spent */
	*held = r.body.size;
	grpc_reader_clear(&r);
	return got;
}

static void reader_refuses_by_the_head_alone(void **state)
{
	size_t held;

	assert_int_equal(read_head((const uint8_t[]){0, 0, 0, 3, 232}, MAX, &held), GRPC_READ_MORE); /* 1000 */
	assert_int_equal(held, 0); /* a length alone costs nothing */
	assert_int_equal(read_head((const uint8_t[]){0, 0, 0, 3, 233}, MAX, &held), GRPC_READ_TOO_LARGE);
	assert_int_equal(read_head((const uint8_t[]){0, 255, 255, 255, 255}, MAX, &held), GRPC_READ_TOO_LARGE);
	assert_int_equal(held, 0);
	assert_int_equal(read_head((const uint8_t[]){1, 0, 0, 0, 1}, MAX, &held), GRPC_READ_COMPRESSED);
	assert_int_equal(read_head((const uint8_t[]){2, 0, 0, 0, 1}, MAX, &held), GRPC_READ_BAD);
	assert_int_equal(read_head((const uint8_t[]){0x80, 0, 0, 0, 1}, MAX, &held), GRPC_READ_BAD);
}

static void timeouts_are_read(void **state)
{
	static const struct {
		const char *text;
		int64_t ms;
	} rows[] = {
		{"1H", 3600000}, {"2M", 120000}, {"5S", 5000}, {"100m", 100}, {"1500u", 2}, {"1000u", 1}, {"1n", 1},
		{"0m", 1},
		{"99999999H", 99999999 * 3600000LL}, {"00000001S", 1000}, {"1000001n", 2},
		{"", -1}, {"S", -1}, {"5", -1}, {"100000000S", -1}, {"5s", -1}, {"-5S", -1}, {"+5S", -1}, {" 5S", -1},
		{"5S ", -1},
		{"5.5S", -1}, {"0x5S", -1}, {"5h", -1},
	};

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
		assert_int_equal(grpc_timeout_ms(slice_str(rows[i].text)), rows[i].ms);
}

static void timeouts_are_written_so_that_they_are_read_back(void **state)
{
	static const struct {
		int64_t ms;
		const char *text;
	} rows[] = {
		{1, "1m"}, {0, "1m"}, {-5, "1m"}, {99999999, "99999999m"}, {100000000, "100000S"},
		{100000001, "100001S"},
		{99999999999LL, "1666667M"}, {99999999000LL, "99999999S"}, {INT64_MAX, "99999999H"},
	};

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		char out[16];

		grpc_timeout_format(rows[i].ms, out);
		if (rows[i].ms == 99999999999LL)
			assert_true(grpc_timeout_ms(slice_str(out)) >= rows[i].ms);
		else
			assert_string_equal(out, rows[i].text);
	}
}

static void http_statuses_map_as_grpc_says(void **state)
{
	assert_int_equal(grpc_status_from_http(400), GRPC_INTERNAL);
	assert_int_equal(grpc_status_from_http(401), GRPC_UNAUTHENTICATED);
	assert_int_equal(grpc_status_from_http(403), GRPC_PERMISSION_DENIED);
	assert_int_equal(grpc_status_from_http(404), GRPC_UNIMPLEMENTED);
	assert_int_equal(grpc_status_from_http(429), GRPC_UNAVAILABLE);
	assert_int_equal(grpc_status_from_http(503), GRPC_UNAVAILABLE);
	assert_int_equal(grpc_status_from_http(500), GRPC_UNKNOWN);
	assert_int_equal(grpc_status_from_http(200), GRPC_UNKNOWN);
}

/* The nth field of that number. */
static struct slice field_at(struct slice m, uint32_t number, size_t nth)
{
	struct wirefmt_field f;

	while (m.n) {
		assert_null(wirefmt_read(&m, &f));
		if (f.number == number && nth-- == 0)
			return f.bytes;
	}
	fail_msg("no field %u", number);
	return m;
}

static uint64_t number_at(struct slice m, uint32_t number)
{
	struct wirefmt_field f;

	assert_true(wirefmt_find(m, number, &f));
	return f.value;
}

static void details_hold_all_parts(void **state)
{
	static const struct grpc_detail metadata[] = {{"field", "tool"}, {"route", "billing.refunds"}};
	char long_text[300];
	struct grpc_details d = {
		.status = GRPC_PERMISSION_DENIED, .reason = "TOOL_DENIED", .metadata = metadata, .n_metadata = 2,
		.retry_after_ms = 2500, .any_type = "type.googleapis.com/baton.v1.Decision",
		.any_bytes = SLICE_LIT("\x08\x02"),
	};
	struct buf b;
	struct slice m, any, info;

	memset(long_text, 'x', sizeof long_text); /* a length of two bytes */
	d.message = slice_of(long_text, sizeof long_text);
	buf_init(&b, 4096);
	assert_true(grpc_details_encode(&b, &d));
	m = buf_slice(&b);
	assert_int_equal(number_at(m, 1), GRPC_PERMISSION_DENIED);
	assert_true(slice_eq(field_at(m, 2, 0), d.message));

	any = field_at(m, 3, 0);
	assert_true(slice_is(field_at(any, 1, 0), "type.googleapis.com/google.rpc.ErrorInfo"));
	info = field_at(any, 2, 0);
	assert_true(slice_is(field_at(info, 1, 0), "TOOL_DENIED"));
	assert_true(slice_is(field_at(info, 2, 0), "baton"));
	assert_true(slice_is(field_at(field_at(info, 3, 1), 1, 0), "route"));
	assert_true(slice_is(field_at(field_at(info, 3, 1), 2, 0), "billing.refunds"));

	any = field_at(m, 3, 1);
	assert_true(slice_is(field_at(any, 1, 0), "type.googleapis.com/google.rpc.RetryInfo"));
	assert_int_equal(number_at(field_at(field_at(any, 2, 0), 1, 0), 1), 2);
	assert_int_equal(number_at(field_at(field_at(any, 2, 0), 1, 0), 2), 500000000);

	any = field_at(m, 3, 2);
	assert_true(slice_is(field_at(any, 1, 0), "type.googleapis.com/baton.v1.Decision"));
	assert_true(slice_eq(field_at(any, 2, 0), d.any_bytes));
	buf_clear(&b);
}

static void details_that_do_not_fit_fail(void **state)
{
	struct grpc_details d = {.status = GRPC_INTERNAL, .message = SLICE_LIT("longer than the cap"), .reason = "R"};
	struct buf b;

	buf_init(&b, 20);
	assert_false(grpc_details_encode(&b, &d));
	assert_true(b.n <= 20);
	buf_clear(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reader_cuts_whole_messages_without_a_copy),
		cmocka_unit_test(reader_joins_pieces_cut_anywhere),
		cmocka_unit_test(reader_knows_when_a_message_is_unfinished),
		cmocka_unit_test(reader_refuses_by_the_head_alone),
		cmocka_unit_test(timeouts_are_read),
		cmocka_unit_test(timeouts_are_written_so_that_they_are_read_back),
		cmocka_unit_test(http_statuses_map_as_grpc_says),
		cmocka_unit_test(details_hold_all_parts),
		cmocka_unit_test(details_that_do_not_fit_fail),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
