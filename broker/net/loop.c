/* How does one thread turn? libevent dispatches one round of events, then the tails run in stage order; that is a
 * tick. Work from other threads comes through a queue with a mutex and an eventfd that is written only when the
 * queue was empty. The base itself is touched by its own thread alone, so libevent's locks are not needed. Who runs
 * which loop is a thread-local pointer. */
#include "config.h"

#include "net/loop_priv.h"

#include <assert.h>
#include <errno.h>
#include <event2/event.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/clock.h"

#define TAIL_ROUNDS 8
#define POSTED_KEPT 1024 /* entries of the queue's memory that are kept for the next burst */
#define MEMORY_WAIT_US 1000 /* before memory that was not there is asked for again */
#define PATIENCE 10000      /* how often */

struct posted {
	void (*fn)(void *arg);
	void *arg;
};

struct post_queue {
	struct posted *v;
	size_t n, size;
};

struct tail_list {
	struct loop_tail *first, **last;
};

struct loop_signal {
	struct event *ev;
	void (*fn)(void *arg, int signo);
	void *arg;
	struct loop_signal *next;
};

struct loop {
	atomic_uint refs;
	struct event_base *base;
	int wake_fd;
	struct event *wake;
	atomic_bool stop;
	pthread_mutex_t lock;     /* guards posted and closed */
	struct post_queue posted;
	bool closed;
	struct tail_list tails[LOOP_STAGES];
	struct tail_list running; /* the stage under way: loop_defer_cancel() looks here too */
	struct loop_signal *signals;
	struct loop_timer *late;  /* set, but libevent had no memory for them: tried again each turn */
};

struct loop_timer {
	struct loop *loop;
	struct event *ev;
	void (*fn)(void *arg);
	void *arg;
	int64_t due_ms;
	bool late;
	struct loop_timer *late_next;
};

static _Thread_local struct loop *current;
static _Thread_local bool patient; /* loop_be_patient() */

static void tails_init(struct tail_list *t)
{
	t->first = NULL;
	t->last = &t->first;
}

static bool tails_take(struct tail_list *t, const struct loop_tail *which)
{
	for (struct loop_tail **at = &t->first; *at; at = &(*at)->next) {
		if (*at != which)
			continue;
		*at = which->next;
		if (!*at)
			t->last = at;
		return true;
	}
	return false;
}

static bool tails_waiting(const struct loop *l)
{
	for (int s = 0; s < LOOP_STAGES; s++)
		if (l->tails[s].first)
			return true;
	return false;
}

static void run_stage(struct loop *l, enum loop_stage s)
{
	if (!l->tails[s].first)
		return;
	l->running.first = l->tails[s].first;
	tails_init(&l->tails[s]);
	while (l->running.first) {
		struct loop_tail *t = l->running.first;

		l->running.first = t->next;
		t->next = NULL;
		t->queued = false;
		t->fn(t->arg); /* may free t */
	}
}

static void run_tails(struct loop *l)
{
	for (int round = 0; round < TAIL_ROUNDS && tails_waiting(l); round++)
		for (int s = 0; s < LOOP_STAGES; s++)
			run_stage(l, (enum loop_stage)s);
}

static struct post_queue take_posted(struct loop *l)
{
	struct post_queue q;

	pthread_mutex_lock(&l->lock);
	q = l->posted;
	l->posted = (struct post_queue){0};
	pthread_mutex_unlock(&l->lock);
	return q;
}

/* Gives the emptied queue's memory back for the next burst, unless it grew unusually large or a new one was made. */
static void return_posted(struct loop *l, struct post_queue q)
{
	if (q.size && q.size <= POSTED_KEPT) {
		pthread_mutex_lock(&l->lock);
		if (!l->posted.v) {
			l->posted = (struct post_queue){.v = q.v, .size = q.size};
			q.v = NULL;
		}
		pthread_mutex_unlock(&l->lock);
	}
	free(q.v);
}

static void run_posted(struct loop *l)
{
	struct post_queue q = take_posted(l);

	for (size_t i = 0; i < q.n; i++)
		q.v[i].fn(q.v[i].arg);
	return_posted(l, q);
}

static void on_wake(evutil_socket_t fd, short what, void *arg)
{
	uint64_t n;

	/* First the eventfd, then the queue: what is posted in between wakes us once more than needed, never too
	 * seldom. */
	if (read(fd, &n, sizeof n) < 0 && errno != EAGAIN && errno != EINTR)
		return;
	run_posted(arg);
}

static void wake(struct loop *l)
{
	uint64_t one = 1;

	while (write(l->wake_fd, &one, sizeof one) < 0 && errno == EINTR)
		;
}

static void ignore_sigpipe(void)
{
	struct sigaction sa = {.sa_handler = SIG_IGN};

	sigaction(SIGPIPE, &sa, NULL);
}

/* ---- libevent's memory ---- */

static void *event_realloc(void *p, size_t n)
{
	void *q = realloc(p, n);

	for (int i = 0; !q && n && patient && i < PATIENCE; i++) {
		usleep(MEMORY_WAIT_US);
		q = realloc(p, n);
	}
	return q;
}

static void *event_malloc(size_t n)
{
	return event_realloc(NULL, n);
}

static void begin_process(void)
{
	event_set_mem_functions(event_malloc, event_realloc, free); /* before any other call of libevent */
	ignore_sigpipe();
}

void loop_be_patient(void)
{
	patient = true;
}

static struct event_base *make_base(void)
{
	struct event_config *c = event_config_new();
	struct event_base *b = NULL;

	if (!c)
		return NULL;
	if (event_config_set_flag(c, EVENT_BASE_FLAG_NOLOCK) == 0)
		b = event_base_new_with_config(c);
	event_config_free(c);
	return b;
}

struct loop *loop_new(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	struct loop *l = calloc(1, sizeof *l);

	if (!l)
		return NULL;
	pthread_once(&once, begin_process);
	atomic_init(&l->refs, 1);
	atomic_init(&l->stop, false);
	pthread_mutex_init(&l->lock, NULL);
	for (int s = 0; s < LOOP_STAGES; s++)
		tails_init(&l->tails[s]);
	tails_init(&l->running);
	l->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	l->base = make_base();
	if (l->wake_fd < 0 || !l->base)
		goto out;
	l->wake = event_new(l->base, l->wake_fd, EV_READ | EV_PERSIST, on_wake, l);
	if (!l->wake || event_add(l->wake, NULL) < 0)
		goto out;
	return l;
out:
	loop_free(l);
	return NULL;
}

struct loop *loop_ref(struct loop *l)
{
	atomic_fetch_add(&l->refs, 1);
	return l;
}

void loop_unref(struct loop *l)
{
	if (!l || atomic_fetch_sub(&l->refs, 1) != 1)
		return;
	if (l->wake_fd >= 0)
		close(l->wake_fd);
	pthread_mutex_destroy(&l->lock);
	free(l->posted.v);
	free(l);
}

void loop_finish(struct loop *l, void (*last)(void *arg), void *arg)
{
	struct loop *before = current;

	current = l;
	run_posted(l);
	run_tails(l);
	pthread_mutex_lock(&l->lock);
	l->closed = true;
	pthread_mutex_unlock(&l->lock);
	run_posted(l);
	run_tails(l);
	if (last) {
		last(arg);
		run_tails(l);
	}
	current = before;
}

void loop_free(struct loop *l)
{
	if (!l)
		return;
	assert(current != l);
	loop_finish(l, NULL, NULL);
	while (l->signals) {
		struct loop_signal *s = l->signals;

		l->signals = s->next;
		event_free(s->ev);
		free(s);
	}
	if (l->wake)
		event_free(l->wake);
	if (l->base)
		event_base_free(l->base);
	l->wake = NULL;
	l->base = NULL;
	loop_unref(l);
}

struct event_base *loop_base(struct loop *l)
{
	return l->base;
}

/* Puts a timer on the base; one that memory is missing for waits among the late ones. */
static void timer_add(struct loop_timer *t)
{
	int64_t ms = t->due_ms - clock_mono_ms();
	struct timeval tv = {.tv_sec = (time_t)(ms / 1000), .tv_usec = (suseconds_t)(ms % 1000 * 1000)};

	if (ms < 0)
		tv = (struct timeval){0, 0};
	if (evtimer_add(t->ev, &tv) == 0)
		return;
	t->late = true;
	t->late_next = t->loop->late;
	t->loop->late = t;
}

static void timer_not_late(struct loop_timer *t)
{
	struct loop_timer **at = &t->loop->late;

	if (!t->late)
		return;
	while (*at != t)
		at = &(*at)->late_next;
	*at = t->late_next;
	t->late = false;
}

static void try_late(struct loop *l)
{
	struct loop_timer *t = l->late, *next;

	if (!t)
		return;
	usleep(MEMORY_WAIT_US);
	l->late = NULL;
	for (; t; t = next) {
		next = t->late_next;
		t->late = false;
		timer_add(t);
	}
}

void loop_run(struct loop *l)
{
	struct loop *before = current;

	current = l;
	run_tails(l);
	while (!atomic_load(&l->stop)) {
		/* Tails that are still waiting after their rounds, and late timers, must not wait for an event. */
		event_base_loop(l->base, EVLOOP_ONCE | (tails_waiting(l) || l->late ? EVLOOP_NONBLOCK : 0));
		run_tails(l);
		try_late(l);
	}
	atomic_store(&l->stop, false);
	current = before;
}

void loop_stop(struct loop *l)
{
	atomic_store(&l->stop, true);
	wake(l);
}

bool loop_here(const struct loop *l)
{
	return current == l;
}

static bool posted_grow(struct post_queue *q)
{
	size_t size = q->size ? q->size * 2 : 32;
	struct posted *v = realloc(q->v, size * sizeof *v);

	if (!v)
		return false;
	q->v = v;
	q->size = size;
	return true;
}

static enum post_result { POST_OK, POST_CLOSED, POST_MEMORY } post(struct loop *l, void (*fn)(void *arg), void *arg)
{
	enum post_result rc = POST_MEMORY;
	bool was_empty = false;

	pthread_mutex_lock(&l->lock);
	if (l->closed) {
		rc = POST_CLOSED;
	} else if (l->posted.n < l->posted.size || posted_grow(&l->posted)) {
		was_empty = l->posted.n == 0;
		l->posted.v[l->posted.n++] = (struct posted){fn, arg};
		rc = POST_OK;
	}
	pthread_mutex_unlock(&l->lock);
	if (was_empty)
		wake(l);
	return rc;
}

bool loop_post(struct loop *l, void (*fn)(void *arg), void *arg)
{
	return post(l, fn, arg) == POST_OK;
}

bool loop_post_sure(struct loop *l, void (*fn)(void *arg), void *arg)
{
	enum post_result rc;

	while ((rc = post(l, fn, arg)) == POST_MEMORY)
		usleep(MEMORY_WAIT_US);
	return rc == POST_OK;
}

void loop_defer(struct loop *l, struct loop_tail *t)
{
	struct tail_list *list = &l->tails[t->stage];

	if (t->queued)
		return;
	t->queued = true;
	t->next = NULL;
	*list->last = t;
	list->last = &t->next;
}

void loop_defer_cancel(struct loop *l, struct loop_tail *t)
{
	if (!t->queued)
		return;
	if (!tails_take(&l->tails[t->stage], t))
		tails_take(&l->running, t);
	t->queued = false;
	t->next = NULL;
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct loop_timer *t = arg;

	t->fn(t->arg); /* may free t */
}

struct loop_timer *loop_timer_new(struct loop *l, void (*fn)(void *arg), void *arg)
{
	struct loop_timer *t = calloc(1, sizeof *t);

	if (!t)
		return NULL;
	t->loop = l;
	t->fn = fn;
	t->arg = arg;
	t->ev = evtimer_new(l->base, on_timer, t);
	if (!t->ev) {
		free(t);
		return NULL;
	}
	return t;
}

void loop_timer_set(struct loop_timer *t, int64_t ms)
{
	timer_not_late(t);
	t->due_ms = clock_mono_ms() + (ms > 0 ? ms : 0);
	timer_add(t);
}

void loop_timer_stop(struct loop_timer *t)
{
	if (!t)
		return;
	timer_not_late(t);
	evtimer_del(t->ev);
}

void loop_timer_free(struct loop_timer *t)
{
	if (!t)
		return;
	timer_not_late(t);
	event_free(t->ev);
	free(t);
}

struct loop_fd {
	struct loop *loop;
	struct event *ev;
	int fd, what;
	void (*fn)(void *arg, int what);
	void *arg;
};

static void on_fd(evutil_socket_t fd, short what, void *arg)
{
	struct loop_fd *f = arg;

	/* Only what is wanted now: a callback earlier in this tick may have changed it. */
	int now = ((what & EV_READ ? LOOP_READ : 0) | (what & EV_WRITE ? LOOP_WRITE : 0)) & f->what;

	if (now)
		f->fn(f->arg, now); /* may free f */
}

struct loop_fd *loop_fd_new(struct loop *l, int fd, void (*fn)(void *arg, int what), void *arg)
{
	struct loop_fd *f = calloc(1, sizeof *f);

	if (!f)
		return NULL;
	*f = (struct loop_fd){.loop = l, .fd = fd, .fn = fn, .arg = arg};
	f->ev = event_new(l->base, fd, EV_READ | EV_PERSIST, on_fd, f);
	/* The first event_add() for a descriptor takes memory, later ones take none: after this one loop_fd_want() cannot fail. */
	if (!f->ev || event_add(f->ev, NULL) < 0) {
		if (f->ev)
			event_free(f->ev);
		free(f);
		return NULL;
	}
	event_del(f->ev);
	return f;
}

void loop_fd_want(struct loop_fd *f, int what)
{
	short ev = EV_PERSIST;

	if (what == f->what)
		return;
	f->what = what;
	event_del(f->ev);
	if (!what)
		return;
	if (what & LOOP_READ)
		ev |= EV_READ;
	if (what & LOOP_WRITE)
		ev |= EV_WRITE;
	event_assign(f->ev, f->loop->base, f->fd, ev, on_fd, f);
	event_add(f->ev, NULL);
}

void loop_fd_free(struct loop_fd *f)
{
	if (!f)
		return;
	event_free(f->ev);
	free(f);
}

static void on_signal(evutil_socket_t signo, short what, void *arg)
{
	struct loop_signal *s = arg;

	s->fn(s->arg, (int)signo);
}

int loop_signal(struct loop *l, int signo, void (*fn)(void *arg, int signo), void *arg)
{
	struct loop_signal *s = calloc(1, sizeof *s);

	if (!s)
		return -1;
	s->fn = fn;
	s->arg = arg;
	s->ev = evsignal_new(l->base, signo, on_signal, s);
	if (!s->ev || evsignal_add(s->ev, NULL) < 0) {
		if (s->ev)
			event_free(s->ev);
		free(s);
		return -1;
	}
	s->next = l->signals;
	l->signals = s;
	return 0;
}
