/* Is every field of a task envelope held to its bounds: taken at the bound, refused one past it? */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "messaging/envelope.h"

#define NOW INT64_C(1795480000000)
#define MINUTE 60000

static const struct envelope_limits limits = {.window_ms = 5 * MINUTE, .clock_skew_ms = 30000, .max_payload = 100};

static struct envelope honest(void)
{
	return (struct envelope){
		.route = SLICE_LIT("refunds"), .tool = SLICE_LIT("orders.lookup"), .side_effect = SIDE_EFFECT_READ,
		.nonce = SLICE_LIT("0123456789abcdef"), .issued_at_ms = NOW - 1000,
	};
}

static struct verdict check(const struct envelope *e)
{
	struct envelope_times t;

	return envelope_check(e, &limits, NOW, &t);
}

static void expect(const struct envelope *e, enum reason reason, const char *field, const char *what)
{
	struct verdict v = check(e);

	if (v.reason != reason || (field && strcmp(v.field, field)) || (reason != REASON_ALLOWED && !v.message[0]))
		fail_msg("%s: %s %s (%s)", what, reason_text(v.reason), v.field, v.message);
}

static void test_honest(void **state)
{
	struct envelope e = honest();
	struct envelope_times t;
	struct verdict v = envelope_check(&e, &limits, NOW, &t);

	(void)state;
	assert_true(verdict_ok(&v));
	assert_int_equal(v.reason, REASON_ALLOWED);
	assert_int_equal(t.expires_at_ms, e.issued_at_ms + 5 * MINUTE);
	assert_int_equal(t.deadline_ms, 0);
}

#define A8 "aaaaaaaa"
#define A64 A8 A8 A8 A8 A8 A8 A8 A8
#define A128 A64 A64
#define A512 A128 A128 A128 A128
#define FIELD(f) #f, offsetof(struct envelope, f)

/* Each text: what is taken and, beside it, what is not. NULL: there is no such case. */
static const struct {
	const char *field;
	size_t offset;
	const char *good, *bad;
} texts[] = {
	{FIELD(route), "r", ""},
	{FIELD(route), "a.b_c-9", "A"},
	{FIELD(route), "aaaaaaaa" "aaaaaaaa" "aaaaaaaa" "aaaaaaaa" "aaaaaaaa" "aaaaaaaa" "aaaaaaaa" "aaaaaaa", A64},
	{FIELD(route), "9a", ".a"},
	{FIELD(route), "a", "a/b"},
	{FIELD(tool), "t", ""},
	{FIELD(tool), "t.u", "t u"},
	{FIELD(tool), "t-u", "t\nu"},
	{FIELD(tool), "t_u", "t\xc3\xbc"},
	{FIELD(content_type), "", NULL},
	{FIELD(content_type), "application/json; a=\"b\"", "application/json\r\n"},
	{FIELD(content_type), "x", "\x7f"},
	{FIELD(nonce), "0123456789abcdef", "0123456789abcde"},
	{FIELD(nonce), A64, A64 "a"},
	{FIELD(nonce), "01234567-89ab-cdef-0123-456789abcdef", ""},
	{FIELD(nonce), "ABCDEFGHIJ_KLMNOPQRSTUVWXYZ-", "0123456789abcde+"},
	{FIELD(nonce), A64, "0123456789abcdef="},
	{FIELD(nonce), A64, "0123456789abcdef "},
	{FIELD(idempotency_key), "", NULL},
	{FIELD(idempotency_key), "refund 4711/a:b~", "refund\t4711"},
	{FIELD(idempotency_key), A128, A128 "a"},
	{FIELD(idempotency_key), "k", "\xc3\xbc"},
	{FIELD(destination), "", NULL},
	{FIELD(destination), A512, A512 "a"},
	{FIELD(destination), "https://a.example/", "a.example\n"},
	{FIELD(tenant), "", NULL},
	{FIELD(tenant), "acme", "Acme"},
	{FIELD(tenant), "acme", "{acme}"},
	{FIELD(parent_handoff_id), "", NULL},
	{FIELD(parent_handoff_id), "AAAAAAAAAAAAAAAAAAAAAAAAAAA", "../../x"},
	{FIELD(parent_handoff_id), A64, A64 "a"},
	{FIELD(traceparent), "anything: a bad one starts a new trace", "a\nb"},
	{FIELD(traceparent), A512, A512 "a"},
	{FIELD(tracestate), "a=b", "a=\xff"},
	{FIELD(tracestate), A512, A512 "a"},
};

static void test_texts(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
		struct envelope e = honest();
		struct slice *s = (struct slice *)((char *)&e + texts[i].offset);

		*s = slice_str(texts[i].good);
		expect(&e, REASON_ALLOWED, NULL, texts[i].good);
		if (!texts[i].bad)
			continue;
		*s = slice_str(texts[i].bad);
		expect(&e, REASON_MALFORMED_ENVELOPE, texts[i].field, texts[i].bad);
	}
}

static void test_nul(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
		static const char nul[] = "0123456789abcdef\0x0123456789abcdef";
		struct envelope e = honest();

		*(struct slice *)((char *)&e + texts[i].offset) = slice_of(nul, sizeof nul - 1);
		expect(&e, REASON_MALFORMED_ENVELOPE, texts[i].field, texts[i].field);
	}
}

static void test_content_type_length(void **state)
{
	struct envelope e = honest();
	char long_type[128];

	(void)state;
	memset(long_type, 'a', sizeof long_type);
	e.content_type = slice_of(long_type, 127);
	expect(&e, REASON_ALLOWED, NULL, "127");
	e.content_type = slice_of(long_type, 128);
	expect(&e, REASON_MALFORMED_ENVELOPE, "content_type", "128");
}

static void test_numbers(void **state)
{
	static const struct { const char *field; size_t offset; bool is64; int64_t good, bad; } rows[] = {
		{FIELD(side_effect), false, SIDE_EFFECT_READ, 0},
		{FIELD(side_effect), false, SIDE_EFFECT_EXTERNAL_SEND, 5},
		{FIELD(side_effect), false, SIDE_EFFECT_WRITE, -1},
		{FIELD(trust), false, 0, -1},
		{FIELD(trust), false, TRUST_USER, 4},
		{FIELD(priority), false, 9, 10},
		{FIELD(priority), false, 0, 0xffffffff},
		{FIELD(issued_at_ms), true, NOW, 0},
		{FIELD(issued_at_ms), true, NOW - 1, -1},
		{FIELD(issued_at_ms), true, NOW, INT64_C(1) << 53},
		{FIELD(issued_at_ms), true, NOW, INT64_MIN},
		{FIELD(expires_at_ms), true, NOW + 1, -1},
		{FIELD(expires_at_ms), true, (INT64_C(1) << 53) - 1, INT64_C(1) << 53},
		{FIELD(expires_at_ms), true, 0, NOW - 1000},
		{FIELD(expires_at_ms), true, NOW + 1, INT64_MAX},
		{FIELD(deadline_ms), true, 0, -1},
		{FIELD(deadline_ms), true, (INT64_C(1) << 53) - 1, INT64_C(1) << 53},
		{FIELD(start_at_ms), true, 0, -1},
		{FIELD(start_at_ms), true, (INT64_C(1) << 53) - 1, INT64_MAX},
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
		for (int bad = 0; bad < 2; bad++) {
			struct envelope e = honest();
			int64_t v = bad ? rows[i].bad : rows[i].good;
			char *at = (char *)&e + rows[i].offset;

			if (rows[i].is64)
				*(int64_t *)at = v;
			else
				*(uint32_t *)at = (uint32_t)v;
			expect(&e, bad ? REASON_MALFORMED_ENVELOPE : REASON_ALLOWED, bad ? rows[i].field : NULL,
				rows[i].field);
		}
}

static void test_scopes(void **state)
{
	static char store[33][16];
	struct slice scopes[33];
	struct envelope e = honest();

	(void)state;
	for (int i = 0; i < 33; i++) {
		snprintf(store[i], sizeof store[i], "s%d", i);
		scopes[i] = slice_str(store[i]);
	}
	e.scopes = scopes;
	e.n_scopes = 32;
	expect(&e, REASON_ALLOWED, NULL, "32 scopes");
	e.n_scopes = 33;
	expect(&e, REASON_MALFORMED_ENVELOPE, "scopes", "33 scopes");
	e.n_scopes = 2;
	scopes[1] = SLICE_LIT("s0");
	expect(&e, REASON_MALFORMED_ENVELOPE, "scopes", "twice");
	scopes[1] = SLICE_LIT("S0");
	expect(&e, REASON_ALLOWED, NULL, "another case is another scope");
	scopes[1] = SLICE_LIT("");
	expect(&e, REASON_MALFORMED_ENVELOPE, "scopes", "empty");
	scopes[1] = SLICE_LIT(A64);
	expect(&e, REASON_ALLOWED, NULL, "64 bytes");
	scopes[1] = SLICE_LIT(A64 "a");
	expect(&e, REASON_MALFORMED_ENVELOPE, "scopes", "65 bytes");
	for (const char *bad = " \"\\\x7f\n\x01"; *bad; bad++) {
		scopes[1] = slice_of(bad, 1);
		expect(&e, REASON_MALFORMED_ENVELOPE, "scopes", "character");
	}
	scopes[1] = SLICE_LIT("!#$%&'()*+,-./:;<=>?@[]^_`{|}~");
	expect(&e, REASON_ALLOWED, NULL, "characters");
}

static void test_labels(void **state)
{
	static char store[17][16];
	struct label labels[17];
	struct envelope e = honest();

	(void)state;
	for (int i = 0; i < 17; i++) {
		snprintf(store[i], sizeof store[i], "k%d", i);
		labels[i] = (struct label){slice_str(store[i]), SLICE_LIT("v")};
	}
	e.labels = labels;
	e.n_labels = 16;
	expect(&e, REASON_ALLOWED, NULL, "16 labels");
	e.n_labels = 17;
	expect(&e, REASON_MALFORMED_ENVELOPE, "labels", "17 labels");
	e.n_labels = 2;
	labels[1].key = labels[0].key;
	expect(&e, REASON_MALFORMED_ENVELOPE, "labels", "key twice");
	labels[1] = (struct label){SLICE_LIT(A128), SLICE_LIT(A128)};
	expect(&e, REASON_ALLOWED, NULL, "128 bytes each");
	labels[1].key = SLICE_LIT(A128 "a");
	expect(&e, REASON_MALFORMED_ENVELOPE, "labels", "key of 129");
	labels[1] = (struct label){SLICE_LIT("k"), SLICE_LIT(A128 "a")};
	expect(&e, REASON_MALFORMED_ENVELOPE, "labels", "value of 129");
	labels[1].value = SLICE_LIT("");
	expect(&e, REASON_MALFORMED_ENVELOPE, "labels", "empty value");
	labels[1].value = SLICE_LIT("a\x1b[0m");
	expect(&e, REASON_MALFORMED_ENVELOPE, "labels", "control character");
	labels[1].value = SLICE_LIT("\xc3\xbc");
	expect(&e, REASON_ALLOWED, NULL, "UTF-8");
	labels[1].value = SLICE_LIT("\xc3");
	expect(&e, REASON_MALFORMED_ENVELOPE, "labels", "bad UTF-8");
}

static void test_payload(void **state)
{
	static const char bytes[101];
	struct envelope e = honest();

	(void)state;
	e.payload = slice_of(bytes, 100);
	expect(&e, REASON_ALLOWED, NULL, "100");
	e.payload = slice_of(bytes, 101);
	expect(&e, REASON_PAYLOAD_TOO_LARGE, "payload", "101");
	e.route = SLICE_LIT(""); /* form before size */
	expect(&e, REASON_MALFORMED_ENVELOPE, "route", "form first");
	e = honest();
	e.payload = slice_of(bytes, 101);
	e.issued_at_ms = NOW - 6 * MINUTE; /* size before time */
	expect(&e, REASON_PAYLOAD_TOO_LARGE, "payload", "size before time");
}

static void test_times(void **state)
{
	struct envelope e = honest();
	struct envelope_times t;
	struct verdict v;

	(void)state;
	e.issued_at_ms = NOW + 30000;
	expect(&e, REASON_ALLOWED, NULL, "30 s in the future");
	e.issued_at_ms = NOW + 30001;
	expect(&e, REASON_STALE_ENVELOPE, "issued_at_ms", "more in the future");
	e.issued_at_ms = NOW + 252000;
	v = check(&e);
	assert_non_null(strstr(v.message, "issued_at is 4 m 12 s in the future for the broker"));

	e.issued_at_ms = NOW - 5 * MINUTE + 1;
	expect(&e, REASON_ALLOWED, NULL, "nearly 5 min old");
	e.issued_at_ms = NOW - 5 * MINUTE;
	expect(&e, REASON_STALE_ENVELOPE, "issued_at_ms", "5 min old");

	e.issued_at_ms = NOW - 10000;
	e.expires_at_ms = NOW + 1;
	expect(&e, REASON_ALLOWED, NULL, "expires in a millisecond");
	e.expires_at_ms = NOW;
	expect(&e, REASON_STALE_ENVELOPE, "expires_at_ms", "expires now");

	e.expires_at_ms = NOW + 60 * MINUTE; /* capped */
	v = envelope_check(&e, &limits, NOW, &t);
	assert_true(verdict_ok(&v));
	assert_int_equal(t.expires_at_ms, e.issued_at_ms + 5 * MINUTE);
	e.expires_at_ms = e.issued_at_ms + 5 * MINUTE - 1;
	v = envelope_check(&e, &limits, NOW, &t);
	assert_int_equal(t.expires_at_ms, e.expires_at_ms);

	/* an old envelope is not made young by a late expiry */
	e.issued_at_ms = NOW - 5 * MINUTE;
	e.expires_at_ms = NOW + 60 * MINUTE;
	expect(&e, REASON_STALE_ENVELOPE, "issued_at_ms", "old");

	e = honest();
	e.deadline_ms = NOW + 2000;
	e.start_at_ms = NOW + 2000;
	expect(&e, REASON_MALFORMED_ENVELOPE, "start_at_ms", "start at the deadline");
	e.start_at_ms = NOW + 1999;
	expect(&e, REASON_ALLOWED, NULL, "start before the deadline");
	v = envelope_check(&e, &limits, NOW, &t);
	assert_int_equal(t.deadline_ms, NOW + 2000);
}

static void test_deadline(void **state)
{
	struct envelope e = honest();
	int64_t deadline;
	struct verdict v;

	(void)state;
	v = envelope_deadline(&e, 1000, 5000, NOW, &deadline);
	assert_true(verdict_ok(&v));
	assert_int_equal(deadline, NOW + 1000);
	e.deadline_ms = NOW + 3000;
	v = envelope_deadline(&e, 1000, 5000, NOW, &deadline);
	assert_int_equal(deadline, NOW + 3000);
	e.deadline_ms = NOW + 9000;
	v = envelope_deadline(&e, 1000, 5000, NOW, &deadline);
	assert_true(verdict_ok(&v));
	assert_int_equal(deadline, NOW + 5000);
	e.deadline_ms = NOW + 1;
	v = envelope_deadline(&e, 1000, 5000, NOW, &deadline);
	assert_true(verdict_ok(&v));
	e.deadline_ms = NOW;
	v = envelope_deadline(&e, 1000, 5000, NOW, &deadline);
	assert_int_equal(v.reason, REASON_MALFORMED_ENVELOPE);
	assert_string_equal(v.field, "deadline_ms");

	e = honest();
	e.start_at_ms = NOW + 2000; /* the default counts from the start */
	v = envelope_deadline(&e, 1000, 5000, NOW, &deadline);
	assert_true(verdict_ok(&v));
	assert_int_equal(deadline, NOW + 3000);
	e.start_at_ms = NOW + 4999;
	v = envelope_deadline(&e, 1000, 5000, NOW, &deadline);
	assert_true(verdict_ok(&v));
	assert_int_equal(deadline, NOW + 5000);
	e.start_at_ms = NOW + 5000;
	v = envelope_deadline(&e, 1000, 5000, NOW, &deadline);
	assert_int_equal(v.reason, REASON_MALFORMED_ENVELOPE);
	assert_string_equal(v.field, "start_at_ms");
	e.start_at_ms = NOW - 5000; /* past: at once */
	v = envelope_deadline(&e, 1000, 5000, NOW, &deadline);
	assert_true(verdict_ok(&v));
	assert_int_equal(deadline, NOW + 1000);
}

/* ---- hashes ---- */

static void print(const struct envelope *e, uint8_t out[16])
{
	envelope_fingerprint(e, out);
}

static void test_fingerprint(void **state)
{
	struct slice ab[] = {SLICE_LIT("a"), SLICE_LIT("b")}, ba[] = {SLICE_LIT("b"), SLICE_LIT("a")},
		joined[] = {SLICE_LIT("ab")};
	struct envelope base = honest(), variants[10];
	uint8_t prints[11][16], again[16];

	(void)state;
	base.payload = SLICE_LIT("{}");
	base.scopes = ab;
	base.n_scopes = 2;
	for (int i = 0; i < 10; i++)
		variants[i] = base;
	variants[0].payload = SLICE_LIT("{ }");
	variants[1].content_type = SLICE_LIT("text/plain");
	variants[2].tool = SLICE_LIT("orders.look");
	variants[3].side_effect = SIDE_EFFECT_DRAFT;
	variants[4].destination = SLICE_LIT("a.example");
	variants[5].parent_handoff_id = SLICE_LIT("a.example");
	variants[6].n_scopes = 1;
	variants[7].scopes = joined, variants[7].n_scopes = 1;
	variants[8].n_scopes = 0;
	variants[9].payload = SLICE_LIT("{}text/plain");
	print(&base, prints[0]);
	for (int i = 0; i < 10; i++)
		print(&variants[i], prints[i + 1]);
	for (int i = 0; i < 11; i++)
		for (int j = 0; j < i; j++)
			assert_memory_not_equal(prints[i], prints[j], 16);

	/* what does not make another request */
	variants[0] = base;
	variants[0].scopes = ba;
	variants[0].nonce = SLICE_LIT("fedcba9876543210");
	variants[0].issued_at_ms++;
	variants[0].priority = 3;
	variants[0].content_type = SLICE_LIT("application/json");
	variants[0].traceparent = SLICE_LIT("x");
	print(&variants[0], again);
	assert_memory_equal(again, prints[0], 16);
	assert_true(slice_is(ba[0], "b")); /* the caller's list was not sorted */
}

static void test_idempotency(void **state)
{
	static const char *const rows[][6] = {
		{"acme", "planner", "https://i", "ana", "refunds", "key"},
		{"acm", "planner", "https://i", "ana", "refunds", "key"},
		{"acme", "planne", "https://i", "ana", "refunds", "key"},
		{"acme", "planner", "https://j", "ana", "refunds", "key"},
		{"acme", "planner", "https://i", "bob", "refunds", "key"},
		{"acme", "planner", "https://i", "ana", "refund", "key"},
		{"acme", "planner", "https://i", "ana", "refunds", "kex"},
		{"acmep", "lanner", "https://i", "ana", "refunds", "key"},
		{"acme", "planner", "https://i", "ana", "refundsk", "ey"},
		{"acme", "planner", "https://", "iana", "refunds", "key"},
	};
	uint8_t out[10][16], again[16];

	(void)state;
	for (int i = 0; i < 10; i++)
		envelope_idempotency(rows[i][0], rows[i][1], rows[i][2], rows[i][3], slice_str(rows[i][4]),
			slice_str(rows[i][5]), out[i]);
	for (int i = 0; i < 10; i++)
		for (int j = 0; j < i; j++)
			assert_memory_not_equal(out[i], out[j], 16);
	envelope_idempotency("acme", "planner", "https://i", "ana", SLICE_LIT("refunds"), SLICE_LIT("key"), again);
	assert_memory_equal(again, out[0], 16);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_honest), cmocka_unit_test(test_texts), cmocka_unit_test(test_nul),
		cmocka_unit_test(test_content_type_length), cmocka_unit_test(test_numbers),
			cmocka_unit_test(test_scopes),
		cmocka_unit_test(test_labels), cmocka_unit_test(test_payload), cmocka_unit_test(test_times),
			cmocka_unit_test(test_deadline),
		cmocka_unit_test(test_fingerprint), cmocka_unit_test(test_idempotency),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
