/* Do metrics count exactly and print cleanly, does health say what is wrong, and does a trace go on as W3C Trace
 * Context says? */
#include "config.h"

#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "observe/health.h"
#include "observe/metrics.h"
#include "observe/trace.h"

#define COUNT(a) (sizeof(a) / sizeof(a)[0])
#define RENDER_BYTES (16 * 1024 * 1024)

/* The exposition as a string, which the caller frees. */
static char *render(struct metrics *m)
{
	struct buf b;
	char *text;

	buf_init(&b, RENDER_BYTES);
	assert_int_equal(metrics_render(m, &b), 0);
	text = malloc(b.n + 1);
	assert_non_null(text);
	assert_true(slice_copy_str(buf_slice(&b), text, b.n + 1));
	buf_clear(&b);
	return text;
}

static void assert_has(const char *text, const char *line)
{
	if (!strstr(text, line))
		fail_msg("no \"%s\" in:\n%s", line, text);
}

static void fill(struct metrics *m)
{
	int i;

	for (i = 0; i < METRIC_COUNT; i++) {
		metrics_add(m, (enum metric)i, "a", "b", 2);
		metrics_observe_us(m, (enum metric)i, "a", 1500);
	}
}

static void metrics_print_each_type(void **state)
{
	struct metrics *m = metrics_new();
	char *text;

	metrics_add(m, METRIC_DECISIONS, "refunds", "allowed", 2);
	metrics_add(m, METRIC_DECISIONS, "refunds", "allowed", 1);
	metrics_add(m, METRIC_DECISIONS, "refunds", NULL, 5);
	metrics_set(m, METRIC_WAITING, "acme", "refunds", 7);
	metrics_add(m, METRIC_WAITING, "acme", "refunds", -3);
	metrics_observe_us(m, METRIC_ACCEPT_SECONDS, "refunds", 500);
	metrics_observe_us(m, METRIC_ACCEPT_SECONDS, "refunds", 501);
	metrics_observe_us(m, METRIC_ACCEPT_SECONDS, "refunds", 99000000);
	metrics_observe_us(m, METRIC_ACCEPT_SECONDS, "refunds", -1);
	metrics_add(m, METRIC_CONNECTIONS, "a\"b\\c", NULL, 1);
	text = render(m);
	assert_has(text, "# TYPE baton_decisions_total counter\n");
	assert_has(text, "\nbaton_decisions_total{route=\"refunds\",reason=\"allowed\"} 3\n");
	assert_has(text, "\nbaton_decisions_total{route=\"refunds\",reason=\"\"} 5\n");
	assert_has(text, "\nbaton_handoffs_waiting{tenant=\"acme\",route=\"refunds\"} 4\n");
	assert_has(text, "\nbaton_accept_duration_seconds_bucket{route=\"refunds\",le=\"0.00025\"} 1\n");
	assert_has(text, "\nbaton_accept_duration_seconds_bucket{route=\"refunds\",le=\"0.0005\"} 2\n");
	assert_has(text, "\nbaton_accept_duration_seconds_bucket{route=\"refunds\",le=\"0.001\"} 3\n");
	assert_has(text, "\nbaton_accept_duration_seconds_bucket{route=\"refunds\",le=\"5\"} 3\n");
	assert_has(text, "\nbaton_accept_duration_seconds_bucket{route=\"refunds\",le=\"+Inf\"} 4\n");
	assert_has(text, "\nbaton_accept_duration_seconds_sum{route=\"refunds\"} 99.001001\n");
	assert_has(text, "\nbaton_accept_duration_seconds_count{route=\"refunds\"} 4\n");
	assert_has(text, "\nbaton_connections{listener=\"a\\\"b\\\\c\"} 1\n");
	assert_has(text, "\nbaton_store_connected 0\n"); /* there before it is counted */
	assert_null(strstr(text, "baton_rpcs_total"));
	free(text);
	metrics_free(m);
	metrics_free(NULL);
}

static void metrics_refuse_a_buffer_too_small(void **state)
{
	struct metrics *m = metrics_new();
	struct buf b;

	buf_init(&b, 20);
	assert_int_equal(metrics_render(m, &b), -1);
	buf_clear(&b);
	metrics_free(m);
}

static void labels_hold_no_secret(void **state)
{
	struct metrics *m = metrics_new();
	char longer[400], *text;

	memset(longer, 'x', sizeof longer - 1);
	longer[sizeof longer - 1] = '\0';
	metrics_add(m, METRIC_TOKEN_UNBOUND, "eyJhbGciOiJub25lIn0.eyJzdWIiOiJhIn0.c2ln", NULL, 1);
	metrics_add(m, METRIC_TOKEN_UNBOUND, "a\nb", NULL, 1);
	metrics_add(m, METRIC_TOKEN_UNBOUND, longer, NULL, 1);
	text = render(m);
	assert_null(strstr(text, "eyJ"));
	assert_has(text, "baton_token_unbound_total{issuer=\"[redacted]\"} 1\n");
	assert_has(text, "baton_token_unbound_total{issuer=\"[invalid]\"} 1\n");
	longer[128] = '\0';
	assert_has(text, longer);
	assert_null(strstr(text, strcat(longer, "x")));
	free(text);
	metrics_free(m);
}

static void families_keep_their_cap(void **state)
{
	struct metrics *m = metrics_new();
	char label[32], *text, *p;
	int i, lines = 0;

	for (i = 0; i < 5000; i++) {
		snprintf(label, sizeof label, "r%d", i);
		metrics_add(m, METRIC_DECISIONS, label, "allowed", 1);
	}
	metrics_add(m, METRIC_DECISIONS, "r7", "allowed", 1); /* those that are in go on */
	text = render(m);
	for (p = text; (p = strstr(p, "\nbaton_decisions_total{")); p++)
		lines++;
	assert_int_equal(lines, 4096);
	assert_has(text, "baton_decisions_total{route=\"other\",reason=\"other\"} 905\n");
	assert_has(text, "baton_decisions_total{route=\"r7\",reason=\"allowed\"} 2\n");
	free(text);
	metrics_free(m);
}

static void what_is_gone_is_not_shown(void **state)
{
	struct metrics *m = metrics_new();
	char *text;

	metrics_set(m, METRIC_CERTIFICATE_EXPIRY, "introspection/corp", NULL, 7);
	metrics_set(m, METRIC_CERTIFICATE_EXPIRY, "server", NULL, 8);
	metrics_forget(m, METRIC_CERTIFICATE_EXPIRY, "introspection/corp", NULL);
	text = render(m);
	assert_null(strstr(text, "introspection/corp"));
	assert_has(text, "{subject=\"server\"} 8\n");
	free(text);
	metrics_set(m, METRIC_CERTIFICATE_EXPIRY, "introspection/corp", NULL, 9);
	text = render(m);
	assert_has(text, "{subject=\"introspection/corp\"} 9\n");
	free(text);
	metrics_free(m);
}

static void *count_much(void *arg)
{
	char label[16];
	int i;

	for (i = 0; i < 20000; i++) {
		snprintf(label, sizeof label, "r%d", i % 50);
		metrics_add(arg, METRIC_HANDOFFS, label, "queued", 1);
		metrics_observe_us(arg, METRIC_CYCLE_SECONDS, "r", 1000000);
	}
	return NULL;
}

static void threads_lose_no_count(void **state)
{
	struct metrics *m = metrics_new();
	pthread_t threads[4];
	char *text;
	int i;

	for (i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, count_much, m), 0);
	for (i = 0; i < 20; i++)
		free(render(m));
	for (i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	text = render(m);
	assert_has(text, "baton_handoffs_total{route=\"r49\",state=\"queued\"} 1600\n");
	assert_has(text, "baton_cycle_duration_seconds_bucket{route=\"r\",le=\"1\"} 80000\n");
	assert_has(text, "baton_cycle_duration_seconds_sum{route=\"r\"} 80000\n");
	free(text);
	metrics_free(m);
}

/* `promtool check metrics` is the judge of the format and the names. */
static void promtool_finds_no_fault(void **state)
{
	struct metrics *m = metrics_new();
	FILE *p;
	char *text;

	if (system("command -v promtool >/dev/null 2>&1") != 0) {
		metrics_free(m);
		skip();
	}
	fill(m);
	text = render(m);
	p = popen("promtool check metrics >&2", "w");
	assert_non_null(p);
	assert_int_equal(fputs(text, p) < 0, 0);
	assert_int_equal(pclose(p), 0);
	free(text);
	metrics_free(m);
}

static void assert_health(struct health *h, const char *part)
{
	struct buf b;

	buf_init(&b, 8192);
	assert_int_equal(health_render(h, &b), 0);
	assert_true(buf_put_u8(&b, 0));
	assert_has((char *)b.p, part);
	buf_clear(&b);
}

static void health_is_a_conjunction(void **state)
{
	struct health *h = health_new(1795479901123);
	int i;

	assert_int_equal(health_missing(h), (1u << HEALTH_COUNT) - 1);
	assert_false(health_ready(h));
	assert_health(h, "{\"ready\":false,\"checks\":[{\"check\":\"store\",\"ok\":false,"
			 "\"since\":\"2026-11-24T00:25:01.123Z\",\"remedy\":\"starting\"},");
	for (i = 0; i < HEALTH_COUNT; i++) {
		assert_false(health_ready(h));
		health_set(h, (enum health_check)i, true, NULL, 1795479902000);
	}
	assert_int_equal(health_missing(h), 0);
	assert_true(health_ready(h));
	assert_health(h, "{\"check\":\"draining\",\"ok\":true,"
			 "\"since\":\"2026-11-24T00:25:02.000Z\",\"remedy\":\"\"}]}");
	health_set(h, HEALTH_AUDIT, false, "free space on the audit's disk", 1795479903000);
	assert_false(health_ready(h));
	health_set(h, HEALTH_AUDIT, false, "still: free space", 1795479904000); /* since stands */
	assert_health(h, "{\"check\":\"audit\",\"ok\":false,\"since\":\"2026-11-24T00:25:03.000Z\","
			 "\"remedy\":\"still: free space\"}");
	health_set(h, HEALTH_STORE, false, "connect to redis://u:p@h", 1795479904000);
	assert_health(h, "\"remedy\":\"[redacted]\"");
	health_free(h);
	health_free(NULL);
}

#define PARTS 2
#define ROUNDS 20000

static struct {
	struct health *h;
	atomic_uint arrived;
} joint;

/* Nobody sleeps here, so that all go on at the same moment, which is what is tested. */
static void together(unsigned *round)
{
	unsigned spins = 0;

	*round += PARTS;
	atomic_fetch_add(&joint.arrived, 1);
	while (atomic_load(&joint.arrived) < *round)
		if (++spins % 4096 == 0)
			sched_yield();
}

/* Each part is lost and comes back in every round, all of them at once. */
static void *come_and_go(void *arg)
{
	unsigned part = *(unsigned *)arg, wrong = 0, round = 0, i;

	for (i = 0; i < ROUNDS; i++) {
		health_set_part(joint.h, HEALTH_STORE, part, PARTS, false, "lost", 1);
		together(&round);
		wrong += health_ok(joint.h, HEALTH_STORE);
		together(&round);
		health_set_part(joint.h, HEALTH_STORE, part, PARTS, true, "others are not there yet", 2);
		together(&round);
		wrong += !health_ok(joint.h, HEALTH_STORE);
		together(&round);
	}
	*(unsigned *)arg = wrong;
	return NULL;
}

static void a_check_of_parts_is_ok_once_the_last_is(void **state)
{
	static const char SAID[] = "the fifth is away";
	unsigned parts[PARTS], i;
	pthread_t threads[PARTS];
	struct buf page;

	joint.h = health_new(1);
	for (i = 0; i < PARTS; i++) {
		parts[i] = i;
		assert_int_equal(pthread_create(&threads[i], NULL, come_and_go, &parts[i]), 0);
	}
	for (i = 0; i < PARTS; i++) {
		pthread_join(threads[i], NULL);
		assert_int_equal(parts[i], 0);
	}
	health_set_part(joint.h, HEALTH_AUDIT, 0, 1, true, "", 3);
	health_set_part(joint.h, HEALTH_AUDIT, 0, 1, false, "", 3); /* without a word */
	assert_false(health_ok(joint.h, HEALTH_AUDIT));
	for (i = 0; i < 64; i++)
		health_set_part(joint.h, HEALTH_KEYS, i, 64, i != 63, "64 is the most", 3);
	assert_false(health_ok(joint.h, HEALTH_KEYS));
	health_set_part(joint.h, HEALTH_KEYS, 63, 64, true, NULL, 3);
	assert_true(health_ok(joint.h, HEALTH_KEYS));
	health_set_part(joint.h, HEALTH_KEYS, 5, 64, false, "the fifth is away", 4);
	health_set_part(joint.h, HEALTH_KEYS, 6, 64, true, "", 4);
	buf_init(&page, 4096);
	assert_int_equal(health_render(joint.h, &page), 0);
	assert_non_null(memmem(page.p, page.n, SAID, sizeof SAID - 1));
	buf_clear(&page);
	health_set_part(joint.h, HEALTH_KEYS, 5, 64, true, "", 4);
	assert_int_equal(health_render(joint.h, &page), 0);
	assert_null(memmem(page.p, page.n, SAID, sizeof SAID - 1));
	buf_clear(&page);
	health_free(joint.h);
}

#define TRACE "4bf92f3577b34da6a3ce929d0e0e4736"
#define SPAN "00f067aa0ba902b7"

static const struct {
	const char *parent;
	bool goes_on;
	uint8_t flags;
} parents[] = {
	{"00-" TRACE "-" SPAN "-01", true, 1},
	{"00-" TRACE "-" SPAN "-00", true, 0},
	{"00-" TRACE "-" SPAN "-ff", true, 1},
	{"00-" TRACE "-" SPAN "-02", true, 0},
	{"cc-" TRACE "-" SPAN "-01", true, 1},
	{"cc-" TRACE "-" SPAN "-01-what-the-future-brings", true, 1},
	{"01-" TRACE "-" SPAN "-01-", true, 1},
	{"", false, 0},
	{"ff-" TRACE "-" SPAN "-01", false, 0},
	{"00-" TRACE "-" SPAN "-01-", false, 0},
	{"00-" TRACE "-" SPAN "-0", false, 0},
	{"00-" TRACE "-" SPAN "-1g", false, 0},
	{"cc-" TRACE "-" SPAN "-01.what", false, 0},
	{"0-" TRACE "-" SPAN "-01-", false, 0},
	{"0G-" TRACE "-" SPAN "-01", false, 0},
	{"00-00000000000000000000000000000000-" SPAN "-01", false, 0},
	{"00-" TRACE "-0000000000000000-01", false, 0},
	{"00-4BF92F3577B34DA6A3CE929D0E0E4736-" SPAN "-01", false, 0},
	{"00-" TRACE "-00F067AA0BA902B7-01", false, 0},
	{"00-" TRACE "-" SPAN "-0A", false, 0},
	{"CC-" TRACE "-" SPAN "-01", false, 0},
	{"00_" TRACE "-" SPAN "-01", false, 0},
	{"00-" TRACE "_" SPAN "-01", false, 0},
	{"00-" TRACE "-" SPAN "_01", false, 0},
	{" 00-" TRACE "-" SPAN "-01", false, 0},
	{"00-" TRACE "-" SPAN "-01 ", false, 0},
};

static void traceparent_follows_w3c_3_2(void **state)
{
	struct trace_context t;
	size_t i;

	for (i = 0; i < COUNT(parents); i++) {
		trace_begin(&t, slice_str(parents[i].parent), SLICE_LIT("rojo=1"));
		if ((strcmp(t.trace_id, TRACE) == 0) != parents[i].goes_on)
			fail_msg("\"%s\" gave trace %s", parents[i].parent, t.trace_id);
		assert_string_equal(t.parent_id, parents[i].goes_on ? SPAN : "");
		assert_string_equal(t.tracestate, parents[i].goes_on ? "rojo=1" : "");
		assert_int_equal(t.flags, parents[i].flags);
		assert_true(trace_id_valid(slice_str(t.trace_id)));
		assert_int_equal(strlen(t.span_id), 16);
		assert_string_not_equal(t.span_id, SPAN);
	}
}

static void tracestate_follows_w3c_3_3(void **state)
{
	static const char *const good[] = {"", "a=1", "rojo=1,congo=t61rcWkgMzE", "fw529a3039@dt=FfB9", "a=1 , b=2",
					   "a=1,,b=2",
					   "a=1,", "0a*/_-=x y~", "foo=1,foo=2", "\ta=1"};
	static const char *const bad[] = {"a", "=1", "a=", "A=1", "a b=1", "a=1=2", "a=\x7f", "a=\xc3\xa9", "-a=1",
					  "a=1;b=2,c",
					  "a=1\nb=2"};
	struct slice parent = slice_str(parents[0].parent);
	char many[600] = "", *p;
	struct trace_context t;
	size_t i;

	for (i = 0; i < COUNT(good); i++) {
		trace_begin(&t, parent, slice_str(good[i]));
		assert_string_equal(t.tracestate, good[i]);
	}
	for (i = 0; i < COUNT(bad); i++) {
		trace_begin(&t, parent, slice_str(bad[i]));
		assert_string_equal(t.tracestate, "");
		assert_string_equal(t.trace_id, TRACE); /* it falls alone */
	}
	for (i = 0, p = many; i < 33; i++)
		p += sprintf(p, "a%zu=1,", i);
	trace_begin(&t, parent, slice_str(many));
	assert_string_equal(t.tracestate, "");
	many[strlen(many) - strlen("a32=1,")] = '\0';
	trace_begin(&t, parent, slice_str(many));
	assert_string_equal(t.tracestate, many);
	strcpy(many, "a=");
	memset(many + 2, 'x', 256);
	strcpy(many + 258, ",b=");
	memset(many + 261, 'y', 251);
	many[512] = '\0';
	trace_begin(&t, parent, slice_str(many));
	assert_string_equal(t.tracestate, many);
	strcpy(many + 512, "y");
	trace_begin(&t, parent, slice_str(many));
	assert_string_equal(t.tracestate, "");
	memset(many, 'a', 257);
	strcpy(many + 257, "=1");
	trace_begin(&t, parent, slice_str(many));
	assert_string_equal(t.tracestate, "");
}

static void spans_chain(void **state)
{
	struct trace_context t, child;
	char text[56];

	trace_begin(&t, slice_str(parents[0].parent), SLICE_LIT("rojo=1"));
	trace_child(&child, &t);
	assert_string_equal(child.trace_id, t.trace_id);
	assert_string_equal(child.parent_id, t.span_id);
	assert_string_not_equal(child.span_id, t.span_id);
	assert_string_equal(child.tracestate, "rojo=1");
	trace_format(&child, text);
	assert_memory_equal(text, "00-" TRACE "-", 36);
	assert_memory_equal(text + 36, child.span_id, 16);
	assert_string_equal(text + 52, "-01");
	assert_false(trace_id_valid(SLICE_LIT("00000000000000000000000000000000")));
	assert_false(trace_id_valid(SLICE_LIT("4bf92f3577b34da6a3ce929d0e0e473")));
	assert_false(trace_id_valid(SLICE_LIT("4bf92f3577b34da6a3ce929d0e0e47366")));
	assert_true(trace_id_valid(SLICE_LIT(TRACE)));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(metrics_print_each_type),
		cmocka_unit_test(metrics_refuse_a_buffer_too_small),
		cmocka_unit_test(labels_hold_no_secret),
		cmocka_unit_test(families_keep_their_cap), cmocka_unit_test(what_is_gone_is_not_shown),
		cmocka_unit_test(threads_lose_no_count),
		cmocka_unit_test(promtool_finds_no_fault),
		cmocka_unit_test(health_is_a_conjunction),
		cmocka_unit_test(a_check_of_parts_is_ok_once_the_last_is),
		cmocka_unit_test(traceparent_follows_w3c_3_2),
		cmocka_unit_test(tracestate_follows_w3c_3_3),
		cmocka_unit_test(spans_chain),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
