/* Who gets in? Accepting stops while handshakes come faster than they may: those who wait stay in the kernel's
 * queue. Over a cap, of all connections or of one source's, or when one source comes too fast, a connection is accepted
 * and closed at once, so that it holds up nobody else. When
 * descriptors run out, a spare one is given up to accept and close the first in line, and accepting pauses, so that
 * the loop does not spin on a queue that it cannot empty. */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "net/local.h"
#include "net/worker.h"

#define ACCEPTS_A_TICK 64
#define LEAST_SHAKING 64
static const struct source_caps local_caps = {.connections = 16, .handshakes = 16, .per_s = 250};
static const struct source_caps stranger_caps = {.connections = 32, .handshakes = 16, .per_s = 50};
#define PAUSE_MS 100 /* when there are no descriptors */

static void pause_for(struct acceptor *a, int64_t ms)
{
	loop_fd_want(a->watch, 0);
	loop_timer_set(a->resume, ms);
}

static void on_resume(void *arg)
{
	struct acceptor *a = arg;

	if (a->watch)
		loop_fd_want(a->watch, LOOP_READ);
}

static void refuse(struct acceptor *a, int fd, const char *why)
{
	const struct server_observer *o = &a->worker->server->config.observer;

	close(fd);
	if (o->on_closed)
		o->on_closed(o->arg, a->listener->name, why);
}

static void out_of_descriptors(struct acceptor *a)
{
	struct worker *w = a->worker;
	int fd, why = errno;

	log_event(LOG_WARN, "accept.no_descriptors", F_STR("listener", a->listener->name));
	if (w->spare_fd >= 0) {
		close(w->spare_fd);
		fd = accept4(a->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
		if (fd >= 0)
			refuse(a, fd, "no_descriptors");
	}
	w->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC); /* another thread may have been faster: then the next time */
	pause_for(a, PAUSE_MS);
	errno = why;
}

static unsigned most_shaking(const struct worker *w)
{
	unsigned all = w->limits.handshakes_open, share = all / w->server->config.workers;
	unsigned least = all < LEAST_SHAKING ? all : LEAST_SHAKING; /* a burst falls on one worker now and then */

	return share > least ? share : least;
}

/* Whoever is in charge of this machine gets in, however many agents there are and come. */
static int64_t take_handshake(const struct acceptor *a)
{
	return a->listener->local ? 0 : server_take_handshake(a->worker->server, a->worker->limits.handshakes_per_s);
}

static void return_handshake(const struct acceptor *a)
{
	if (!a->listener->local)
		server_return_handshake(a->worker->server);
}

/* Counts the connection in any case. NULL, or why it is closed. */
static const char *refused(const struct acceptor *a, int fd)
{
	unsigned n = atomic_fetch_add(listener_connections(a->listener), 1);

	if (a->listener->local)
		return local_peer_allowed(fd) ? NULL : "local_user";
	return n >= (a->listener->reserved ? a->listener->reserved : a->worker->limits.connections) ? "connection_limit" : NULL;
}

/* Under the caps, or closed. One that no handshake is begun with takes none of the others'. */
static void let_in(struct acceptor *a, int fd, const struct sockaddr *sa)
{
	struct worker *w = a->worker;
	const struct server_limits *l = &w->limits;
	const struct source_caps caps = a->listener->local ? local_caps : a->listener->strangers ? stranger_caps :
		(struct source_caps){l->connections_per_source, l->handshakes_open_per_source, l->connections_per_source_per_s};
	struct source_key k = source_key(sa);
	const char *why = refused(a, fd);

	if (!why)
		why = sources_enter(listener_sources(a->listener), &k, &caps, clock_mono_ms());
	if (why) {
		atomic_fetch_sub(listener_connections(a->listener), 1);
		return_handshake(a);
		refuse(a, fd, why);
		return;
	}
	if (!a->listener->local && w->n_shaking >= most_shaking(w))
		conn_evict(w->shaking);
	conn_new(w, a->listener, fd, sa, &k);
}

static bool accept_failed(struct acceptor *a)
{
	if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)
		out_of_descriptors(a);
	return errno != ECONNABORTED && errno != EINTR;
}

static void on_acceptable(void *arg, int what)
{
	struct acceptor *a = arg;
	struct sockaddr_storage sa;
	socklen_t n;
	int64_t wait;
	int fd;

	for (int i = 0; i < ACCEPTS_A_TICK; i++) {
		wait = take_handshake(a);
		if (wait) {
			pause_for(a, wait);
			return;
		}
		n = sizeof sa;
		fd = accept4(a->fd, (struct sockaddr *)&sa, &n, SOCK_CLOEXEC | SOCK_NONBLOCK);
		if (fd >= 0) {
			let_in(a, fd, (struct sockaddr *)&sa);
			continue;
		}
		return_handshake(a);
		if (accept_failed(a))
			return;
	}
}

void acceptor_begin(struct acceptor *a)
{
	a->resume = loop_timer_new(a->worker->loop, on_resume, a);
	a->watch = loop_fd_new(a->worker->loop, a->fd, on_acceptable, a);
	if (a->watch && a->resume)
		loop_fd_want(a->watch, LOOP_READ);
	else
		log_event(LOG_ERROR, "listener.failed", F_STR("listener", a->listener->name));
}

void acceptor_end(struct acceptor *a)
{
	loop_fd_free(a->watch);
	a->watch = NULL;
	loop_timer_free(a->resume);
	a->resume = NULL;
	if (a->fd >= 0)
		close(a->fd);
	a->fd = -1;
}
