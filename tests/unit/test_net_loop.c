/* Does a loop run what it is told, in the order that loop.h promises, and nothing after it was stopped? */
#include "config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "net/loop.h"
#include "net/wheel.h"

static struct loop *l;
static char trace[256];

static void note(const char *what)
{
	strncat(trace, what, sizeof trace - strlen(trace) - 1);
}

static int setup(void **state)
{
	l = loop_new();
	trace[0] = '\0';
	return l ? 0 : -1;
}

static int teardown(void **state)
{
	loop_free(l);
	return 0;
}

static void stop(void *arg)
{
	loop_stop(l);
}

static void say(void *arg)
{
	note(arg);
}

static void test_posts_run_in_order(void **state)
{
	assert_true(loop_post(l, say, "a"));
	assert_true(loop_post(l, say, "b"));
	assert_true(loop_post(l, stop, NULL));
	assert_false(loop_here(l));
	loop_run(l);
	assert_string_equal(trace, "ab");
}

static void assert_here(void *arg)
{
	assert_true(loop_here(l));
	loop_stop(l);
}

static void test_here_is_true_on_its_thread_only(void **state)
{
	loop_post(l, assert_here, NULL);
	loop_run(l);
	assert_false(loop_here(l));
}

#define POSTERS 4
#define POSTS 2000
static unsigned counts[POSTERS], total;

struct posting {
	unsigned who, n;
};

static void count(void *arg)
{
	struct posting *p = arg;

	assert_int_equal(counts[p->who], p->n); /* in order per caller */
	counts[p->who]++;
	free(p);
	if (++total == POSTERS * POSTS)
		loop_stop(l);
}

static void *poster(void *arg)
{
	for (unsigned i = 0; i < POSTS; i++) {
		struct posting *p = malloc(sizeof *p);

		p->who = (unsigned)(uintptr_t)arg;
		p->n = i;
		if (!loop_post(l, count, p))
			abort();
	}
	return NULL;
}

static void test_posts_from_many_threads(void **state)
{
	pthread_t t[POSTERS];

	for (uintptr_t i = 0; i < POSTERS; i++)
		assert_int_equal(pthread_create(&t[i], NULL, poster, (void *)i), 0);
	loop_run(l);
	for (int i = 0; i < POSTERS; i++)
		pthread_join(t[i], NULL);
	assert_int_equal(total, POSTERS * POSTS);
}

static struct loop_tail store, audit, send_, reap, again, cancelled;
static int rounds;

static void tail_store(void *arg)
{
	note("S");
}

static void tail_audit(void *arg)
{
	note("A");
	loop_defer(l, &store); /* an earlier stage: once more in this tick */
}

static void tail_send(void *arg)
{
	note("W");
	loop_defer_cancel(l, &cancelled);
}

static void tail_reap(void *arg)
{
	note("R");
}

static void defer_all(void *arg)
{
	note("(");
	loop_defer(l, &reap);
	loop_defer(l, &send_);
	loop_defer(l, &cancelled);
	loop_defer(l, &audit);
	loop_defer(l, &store);
	loop_defer(l, &store); /* once, however often */
	loop_post(l, stop, NULL);
	note(")");
}

static void test_tails_run_by_stage(void **state)
{
	store = (struct loop_tail){.fn = tail_store, .stage = LOOP_STAGE_STORE};
	audit = (struct loop_tail){.fn = tail_audit, .stage = LOOP_STAGE_AUDIT};
	send_ = (struct loop_tail){.fn = tail_send, .stage = LOOP_STAGE_SEND};
	cancelled = (struct loop_tail){.fn = say, .arg = "X", .stage = LOOP_STAGE_REAP};
	reap = (struct loop_tail){.fn = tail_reap, .stage = LOOP_STAGE_REAP};
	loop_post(l, defer_all, NULL);
	loop_run(l);
	assert_string_equal(trace, "()SAWRS");
}

/* The second of two tails of one stage is taken back by the first, while the stage runs. */
static void cancel_other(void *arg)
{
	note("1");
	loop_defer_cancel(l, &cancelled);
}

static void test_cancel_inside_the_stage(void **state)
{
	struct loop_tail first = {.fn = cancel_other, .stage = LOOP_STAGE_SEND};

	cancelled = (struct loop_tail){.fn = say, .arg = "X", .stage = LOOP_STAGE_SEND};
	loop_defer(l, &first);
	loop_defer(l, &cancelled);
	loop_post(l, stop, NULL);
	loop_run(l);
	assert_string_equal(trace, "1");
	assert_false(cancelled.queued);
}

static void tail_again(void *arg)
{
	if (++rounds == 100)
		loop_stop(l);
	else
		loop_defer(l, &again);
}

/* More rounds than a tick has: the loop goes on without an event to wake it. */
static void test_tail_that_asks_for_itself(void **state)
{
	again = (struct loop_tail){.fn = tail_again, .stage = LOOP_STAGE_SEND};
	rounds = 0;
	loop_defer(l, &again);
	loop_run(l);
	assert_int_equal(rounds, 100);
}

static struct loop_timer *t1, *t2;

static void on_t1(void *arg)
{
	note("1");
	loop_timer_free(t1); /* inside its own callback */
	t1 = NULL;
	loop_timer_stop(t2);
}

static void test_timers(void **state)
{
	struct loop_timer *last = loop_timer_new(l, stop, NULL);

	t1 = loop_timer_new(l, on_t1, NULL);
	t2 = loop_timer_new(l, say, "2");
	loop_timer_set(t2, 20);
	loop_timer_set(t1, 5000);
	loop_timer_set(t1, 1); /* moved */
	loop_timer_set(last, 60);
	loop_run(l);
	assert_string_equal(trace, "1");
	loop_timer_free(t2);
	loop_timer_free(last);
}

static struct loop_fd *f;
static int pipe_fds[2];

static void on_readable(void *arg, int what)
{
	char c[2] = "";

	assert_int_equal(what, LOOP_READ);
	assert_int_equal(read(pipe_fds[0], c, 1), 1);
	note(c);
	if (c[0] == 'y') {
		loop_fd_free(f);
		f = NULL;
		loop_stop(l);
	}
}

static void test_descriptor_is_level_triggered(void **state)
{
	assert_int_equal(pipe(pipe_fds), 0);
	f = loop_fd_new(l, pipe_fds[0], on_readable, NULL);
	loop_fd_want(f, LOOP_READ);
	assert_int_equal(write(pipe_fds[1], "xy", 2), 2);
	loop_run(l);
	assert_string_equal(trace, "xy");
	close(pipe_fds[0]);
	close(pipe_fds[1]);
}

static void on_unwanted(void *arg, int what)
{
	note("!");
}

static void test_unwanted_descriptor_is_silent(void **state)
{
	assert_int_equal(pipe(pipe_fds), 0);
	f = loop_fd_new(l, pipe_fds[0], on_unwanted, NULL);
	loop_fd_want(f, LOOP_READ);
	assert_int_equal(write(pipe_fds[1], "x", 1), 1);
	loop_fd_want(f, 0);
	struct loop_timer *t = loop_timer_new(l, stop, NULL);
	loop_timer_set(t, 10);
	loop_run(l);
	assert_string_equal(trace, "");
	loop_timer_free(t);
	loop_fd_free(f);
	close(pipe_fds[0]);
	close(pipe_fds[1]);
}

static void on_usr1(void *arg, int signo)
{
	assert_int_equal(signo, SIGUSR1);
	note("u");
	loop_stop(l);
}

static void test_signal(void **state)
{
	assert_int_equal(loop_signal(l, SIGUSR1, on_usr1, NULL), 0);
	kill(getpid(), SIGUSR1);
	loop_run(l);
	assert_string_equal(trace, "u");
}

static void test_free_runs_what_was_posted(void **state)
{
	struct loop *other = loop_new();
	struct loop_tail t = {.fn = say, .arg = "t", .stage = LOOP_STAGE_REAP};

	loop_post(other, say, "p");
	loop_defer(other, &t);
	loop_free(other);
	assert_string_equal(trace, "pt");
}

static struct wheel *w;
static struct wheel_node nodes[3];

static void on_node(void *arg)
{
	note(arg);
	if (strcmp(arg, "1") == 0)
		wheel_stop(w, &nodes[1]);
	if (strcmp(arg, "3") == 0)
		loop_stop(l);
}

static void test_wheel(void **state)
{
	int64_t now = clock_mono_ms();

	w = wheel_new(l);
	nodes[0] = (struct wheel_node){.fn = on_node, .arg = "1"};
	nodes[1] = (struct wheel_node){.fn = on_node, .arg = "2"};
	nodes[2] = (struct wheel_node){.fn = on_node, .arg = "3"};
	wheel_set(w, &nodes[1], now + 100);
	wheel_set(w, &nodes[0], now + 30000); /* a later turn of the wheel */
	wheel_set(w, &nodes[2], now + 150);
	wheel_set(w, &nodes[0], now + 1);
	loop_run(l);
	assert_string_equal(trace, "13");
	assert_true(clock_mono_ms() - now >= 150); /* never early */
	wheel_set(w, &nodes[0], now - 5); /* overdue: at the next grain */
	nodes[0].arg = "3";
	loop_run(l);
	assert_string_equal(trace, "133");
	wheel_free(w);
}

/* A node that is one turn of the wheel away stays silent while its list is looked at. */
static void test_wheel_later_turn(void **state)
{
	int64_t now = clock_mono_ms();

	w = wheel_new(l);
	nodes[0] = (struct wheel_node){.fn = on_node, .arg = "1"};
	nodes[2] = (struct wheel_node){.fn = on_node, .arg = "3"};
	wheel_set(w, &nodes[0], now + 64 + 1024 * WHEEL_GRAIN_MS);
	wheel_set(w, &nodes[2], now + 64);
	loop_run(l);
	assert_string_equal(trace, "3");
	wheel_free(w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_posts_run_in_order, setup, teardown),
		cmocka_unit_test_setup_teardown(test_here_is_true_on_its_thread_only, setup, teardown),
		cmocka_unit_test_setup_teardown(test_posts_from_many_threads, setup, teardown),
		cmocka_unit_test_setup_teardown(test_tails_run_by_stage, setup, teardown),
		cmocka_unit_test_setup_teardown(test_cancel_inside_the_stage, setup, teardown),
		cmocka_unit_test_setup_teardown(test_tail_that_asks_for_itself, setup, teardown),
		cmocka_unit_test_setup_teardown(test_timers, setup, teardown),
		cmocka_unit_test_setup_teardown(test_descriptor_is_level_triggered, setup, teardown),
		cmocka_unit_test_setup_teardown(test_unwanted_descriptor_is_silent, setup, teardown),
		cmocka_unit_test_setup_teardown(test_signal, setup, teardown),
		cmocka_unit_test_setup_teardown(test_free_runs_what_was_posted, setup, teardown),
		cmocka_unit_test_setup_teardown(test_wheel, setup, teardown),
		cmocka_unit_test_setup_teardown(test_wheel_later_turn, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
