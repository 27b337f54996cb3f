/* How do agents' connections come to the workers? See server.h. Every worker binds every listener's address with
 * SO_REUSEPORT, and the kernel spreads connections among them. What workers share is here and small: the caps, the
 * handshake budget, the TLS contexts. */
#include "config.h"

#include "net/server.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "net/address.h"
#include "net/worker.h"

#define WORKERS_MAX 256
#define DRAIN_LAST_MS 2000 /* for those that are closed because the time is over */

const struct server_limits server_limits_default = {
	.connections = 20000,
	.connections_per_source = 4096,
	.connections_per_source_per_s = 250,
	.handshakes_per_s = 500,
	.handshakes_open = 1024,
	.handshakes_open_per_source = 256,
	.handshake_ms = 10000,
	.preface_ms = 5000,
	.headers_ms = 10000,
	.message_ms = 60000,
	.partial_bytes = 64u << 20,
	.idle_ms = 600000,
	.stalled_ms = 60000,
	.keepalive_ms = 30000,
	.keepalive_timeout_ms = 20000,
	.h2 = H2_LIMITS_DEFAULT,
};

/* ---- making it ---- */

static bool init_workers(struct server *s)
{
	s->workers = calloc(s->config.workers, sizeof *s->workers);
	if (!s->workers)
		return false;
	for (unsigned i = 0; i < s->config.workers; i++)
		s->workers[i].spare_fd = -1;
	for (unsigned i = 0; i < s->config.workers; i++)
		if (worker_init(&s->workers[i], s, i) < 0)
			return false;
	return true;
}

struct server *server_new(const struct server_config *c, struct problem *why)
{
	struct server *s;
	pthread_condattr_t attr;

	if (c->workers < 1 || c->workers > WORKERS_MAX) {
		problem_set(why, "the number of workers must be 1 to %d, not %u", WORKERS_MAX, c->workers);
		return NULL;
	}
	s = calloc(1, sizeof *s);
	if (!s) {
		problem_set(why, "out of memory");
		return NULL;
	}
	s->config = *c;
	pthread_mutex_init(&s->lock, NULL);
	pthread_mutex_init(&s->handshakes_lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&s->cond, &attr);
	pthread_condattr_destroy(&attr);
	bucket_fill(&s->handshakes, c->limits.handshakes_per_s, clock_mono_ms());
	s->sources = sources_new();
	s->strangers = sources_new();
	if (s->sources && s->strangers && init_workers(s))
		return s;
	problem_set(why, "out of memory or descriptors");
	server_free(s);
	return NULL;
}

static struct listener *find_listener(const struct server *s, const char *name)
{
	for (unsigned i = 0; i < s->n_listeners; i++)
		if (strcmp(s->listeners[i].name, name) == 0)
			return (struct listener *)&s->listeners[i];
	return NULL;
}

/* SO_REUSEPORT would let a second broker take half of our connections unseen: first bind without it. */
static bool nobody_listens(const struct listener *l)
{
	return address_port((const struct sockaddr *)&l->sa) == 0 || address_free(&l->sa, l->sa_n);
}

static int bind_workers(struct server *s, struct listener *l)
{
	for (unsigned i = 0; i < s->config.workers; i++) {
		struct worker *w = &s->workers[i];
		struct acceptor *a = &w->acceptors[w->n_acceptors];

		a->fd = address_listen(&l->sa, l->sa_n, true);
		if (a->fd < 0)
			return -1;
		w->n_acceptors++;
		a->worker = w;
		a->listener = l;
		if (i == 0 && getsockname(a->fd, (struct sockaddr *)&l->sa, &l->sa_n) < 0)
			return -1;
	}
	l->port = address_port((const struct sockaddr *)&l->sa);
	return 0;
}

int server_listen(struct server *s, const char *listener, const char *address, struct tls_server *tls,
		struct problem *why)
{
	struct listener *l = &s->listeners[s->n_listeners];

	if (s->started || s->n_listeners == LISTENERS_MAX || find_listener(s, listener))
		return problem_set(why, "listener %s: started already, one too many, or named twice", listener);
	if (address_parse(address, &l->sa, &l->sa_n) < 0)
		return problem_set(why,
			"listener %s: %s is not a numeric address and port, like 0.0.0.0:7443 or [::1]:7443", listener,
				address);
	if (!nobody_listens(l) || bind_workers(s, l) < 0)
		return problem_set(why, "listener %s: cannot listen on %s: %s", listener, address, strerror(errno));
	l->server = s;
	l->name = listener;
	pthread_mutex_init(&l->lock, NULL);
	l->tls = tls_server_ref(tls);
	l->strangers = tls_server_asks_nobody(tls);
	s->n_listeners++;
	return 0;
}

int server_listen_local(struct server *s, const char *listener, int fd, const void *identity, struct problem *why)
{
	struct listener *l = &s->listeners[s->n_listeners];
	struct worker *w = &s->workers[0];

	if (s->started || s->n_listeners == LISTENERS_MAX || find_listener(s, listener)) {
		close(fd);
		return problem_set(why, "listener %s: started already, one too many, or named twice", listener);
	}
	w->acceptors[w->n_acceptors++] = (struct acceptor){.worker = w, .listener = l, .fd = fd};
	l->server = s;
	l->name = listener;
	l->local = identity;
	l->port = -1;
	pthread_mutex_init(&l->lock, NULL);
	s->n_listeners++;
	return 0;
}

void server_reserve(struct server *s, const char *listener, unsigned connections)
{
	struct listener *l = find_listener(s, listener);

	if (l)
		l->reserved = connections;
}

struct sources *listener_sources(const struct listener *l)
{
	return l->strangers ? l->server->strangers : l->server->sources;
}

atomic_uint *listener_connections(struct listener *l)
{
	return l->reserved ? &l->connections : &l->server->connections;
}

int server_port(const struct server *s, const char *listener)
{
	const struct listener *l = find_listener(s, listener);

	return l ? l->port : -1;
}

/* ---- running it ---- */

static void post_all(struct server *s, void (*fn)(void *arg))
{
	for (unsigned i = 0; i < s->config.workers; i++)
		if (s->workers[i].started)
			loop_post_sure(s->workers[i].loop, fn, &s->workers[i]);
}

void server_worker_ready(struct server *s, bool ok)
{
	pthread_mutex_lock(&s->lock);
	s->ready++;
	s->failed += !ok;
	pthread_cond_broadcast(&s->cond);
	pthread_mutex_unlock(&s->lock);
}

static unsigned launch(struct server *s)
{
	sigset_t all, before;
	unsigned n = 0;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before); /* signals are the main loop's */
	while (n < s->config.workers && worker_launch(&s->workers[n]) == 0)
		n++;
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return n;
}

int server_start(struct server *s, struct problem *why)
{
	unsigned n, failed;

	s->started = true;
	n = launch(s);
	pthread_mutex_lock(&s->lock);
	while (s->ready < n)
		pthread_cond_wait(&s->cond, &s->lock);
	failed = s->failed;
	pthread_mutex_unlock(&s->lock);
	if (n < s->config.workers)
		return problem_set(why, "cannot start a thread for worker %u", n);
	if (failed)
		return problem_set(why, "%u of %u workers could not start", failed, n);
	post_all(s, worker_listen);
	return 0;
}

unsigned server_workers(const struct server *s)
{
	return s->config.workers;
}

struct round {
	struct server *server;
	void (*fn)(void *arg, unsigned i);
	void *arg;
	unsigned left;
};

struct round_one {
	struct round *round;
	unsigned i;
};

static void round_done(struct round *r)
{
	struct server *s = r->server;

	pthread_mutex_lock(&s->lock);
	r->left--;
	pthread_cond_broadcast(&s->cond);
	pthread_mutex_unlock(&s->lock);
}

static void round_run(void *arg)
{
	struct round_one *one = arg;

	one->round->fn(one->round->arg, one->i);
	round_done(one->round);
}

void server_each_worker(struct server *s, void (*fn)(void *arg, unsigned i), void *arg)
{
	unsigned n = s->config.workers;
	struct round r = {s, fn, arg, n};
	struct round_one ones[WORKERS_MAX];

	for (unsigned i = 0; i < n; i++) {
		ones[i] = (struct round_one){&r, i};
		if (!s->workers[i].started || !loop_post_sure(s->workers[i].loop, round_run, &ones[i]))
			round_done(&r);
	}
	pthread_mutex_lock(&s->lock);
	while (r.left)
		pthread_cond_wait(&s->cond, &s->lock);
	pthread_mutex_unlock(&s->lock);
}

unsigned server_close_peers(struct server *s, unsigned i, bool (*pick)(void *arg, const struct call_peer *p), void *arg,
		const char *why)
{
	unsigned n = 0;

	for (struct conn *c = s->workers[i].conns; c; c = c->next) {
		if (!conn_live(c) || !pick(arg, &c->peer))
			continue;
		conn_close(c, 0, why);
		n++;
	}
	return n;
}

/* ---- what workers share ---- */

struct tls_server *listener_tls(struct listener *l)
{
	struct tls_server *t;

	pthread_mutex_lock(&l->lock);
	t = tls_server_ref(l->tls);
	pthread_mutex_unlock(&l->lock);
	return t;
}

void server_set_tls(struct server *s, const char *listener, struct tls_server *tls)
{
	struct listener *l = find_listener(s, listener);
	struct tls_server *old;

	if (!l)
		return;
	pthread_mutex_lock(&l->lock);
	old = l->tls;
	l->tls = tls_server_ref(tls);
	pthread_mutex_unlock(&l->lock);
	tls_server_unref(old);
}

static void take_limits(void *arg)
{
	struct worker *w = arg;

	pthread_mutex_lock(&w->server->lock);
	w->limits = w->server->limits;
	pthread_mutex_unlock(&w->server->lock);
}

void server_set_limits(struct server *s, const struct server_limits *l)
{
	pthread_mutex_lock(&s->lock);
	s->limits = *l;
	pthread_mutex_unlock(&s->lock);
	if (s->started)
		post_all(s, take_limits);
	else
		for (unsigned i = 0; i < s->config.workers; i++)
			s->workers[i].limits = *l;
}

void server_recheck_peers(struct server *s)
{
	atomic_fetch_add(&s->rechecks, 1);
	post_all(s, worker_recheck);
}

bool server_rechecked(const struct server *s)
{
	unsigned asked = atomic_load(&s->rechecks);

	for (unsigned i = 0; i < s->config.workers; i++)
		if (s->workers[i].started && atomic_load(&s->workers[i].rechecked) != asked)
			return false;
	return true;
}

int64_t server_take_handshake(struct server *s, uint32_t per_s)
{
	int64_t wait = 0;

	pthread_mutex_lock(&s->handshakes_lock);
	if (!bucket_take(&s->handshakes, per_s, per_s, clock_mono_ms()))
		wait = bucket_wait_ms(&s->handshakes, per_s);
	pthread_mutex_unlock(&s->handshakes_lock);
	return wait;
}

void server_return_handshake(struct server *s)
{
	pthread_mutex_lock(&s->handshakes_lock);
	bucket_return(&s->handshakes);
	pthread_mutex_unlock(&s->handshakes_lock);
}

static const char *find_label(const struct server *s, const char *label)
{
	for (unsigned i = 0; i < s->n_labels; i++)
		if (strcmp(s->labels[i], label) == 0)
			return s->labels[i];
	return NULL;
}

/* The hook's reasons are few and static; each is joined to "certificate:" once. */
const char *server_certificate_label(struct server *s, const char *why)
{
	char text[96];
	const char *found;

	snprintf(text, sizeof text, "certificate:%s", why);
	pthread_mutex_lock(&s->lock);
	found = find_label(s, text);
	if (!found && s->n_labels < sizeof s->labels / sizeof s->labels[0]) {
		char *copy = strdup(text);

		if (copy)
			found = s->labels[s->n_labels++] = copy;
	}
	pthread_mutex_unlock(&s->lock);
	return found ? found : "certificate:other";
}

/* ---- ending it ---- */

void server_worker_idle(struct server *s)
{
	pthread_mutex_lock(&s->lock);
	if (s->busy)
		s->busy--;
	pthread_cond_broadcast(&s->cond);
	pthread_mutex_unlock(&s->lock);
}

/* Whether all are idle by then. */
static bool wait_idle(struct server *s, int64_t until_ms)
{
	struct timespec ts = {.tv_sec = (time_t)(until_ms / 1000), .tv_nsec = (long)(until_ms % 1000 * 1000000)};
	int rc = 0;
	bool idle;

	pthread_mutex_lock(&s->lock);
	while (s->busy && rc != ETIMEDOUT)
		rc = pthread_cond_timedwait(&s->cond, &s->lock, &ts);
	idle = s->busy == 0;
	pthread_mutex_unlock(&s->lock);
	return idle;
}

void server_drain(struct server *s, int64_t timeout_ms)
{
	unsigned n = 0;

	for (unsigned i = 0; i < s->config.workers; i++)
		n += s->workers[i].started && !s->drained;
	if (!n)
		return;
	s->drained = true;
	s->busy = n;
	post_all(s, worker_drain);
	if (wait_idle(s, clock_mono_ms() + timeout_ms))
		return;
	post_all(s, worker_drain_timeout);
	wait_idle(s, clock_mono_ms() + DRAIN_LAST_MS);
}

static void join_workers(struct server *s)
{
	post_all(s, worker_stop);
	for (unsigned i = 0; i < s->config.workers; i++)
		if (s->workers[i].started)
			pthread_join(s->workers[i].thread, NULL);
}

void server_free(struct server *s)
{
	if (!s)
		return;
	if (s->workers) {
		join_workers(s);
		for (unsigned i = 0; i < s->config.workers; i++)
			worker_clear(&s->workers[i]);
		free(s->workers);
	}
	for (unsigned i = 0; i < s->n_listeners; i++) {
		tls_server_unref(s->listeners[i].tls);
		pthread_mutex_destroy(&s->listeners[i].lock);
	}
	for (unsigned i = 0; i < s->n_labels; i++)
		free(s->labels[i]);
	sources_free(s->sources);
	sources_free(s->strangers);
	pthread_mutex_destroy(&s->lock);
	pthread_mutex_destroy(&s->handshakes_lock);
	pthread_cond_destroy(&s->cond);
	free(s);
}
