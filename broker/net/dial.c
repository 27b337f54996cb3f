/* How is an outgoing connection opened without blocking? See dial.h. Looking up a name blocks, so a detached thread
 * does it and posts back; it holds its own copy of the name and a reference to the loop, and it learns on return, on
 * the loop's thread, whether the dial still wants the answer. */
#include "config.h"

#include "net/dial.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"
#include "net/loop_priv.h"

#define ADDRESSES_MAX 8
#define LOOKUPS_MAX 16 /* helper threads at once, in the process */
#define HOST_MAX 255

struct address {
	struct sockaddr_storage sa;
	socklen_t n;
};

struct lookup {
	struct loop *loop; /* referenced */
	struct dial *dial; /* NULL once nobody waits; touched on the loop's thread only */
	char host[HOST_MAX + 1];
	int port;
	int error; /* of getaddrinfo */
	struct address found[ADDRESSES_MAX];
	unsigned n;
};

struct dial {
	struct loop *loop;
	void (*done)(void *arg, int fd, const char *why);
	void *arg;
	char name[HOST_MAX + 1]; /* host or path, for messages too */
	int port;
	bool is_unix;
	int64_t give_up_ms; /* on clock_mono_ms() */
	struct loop_tail start;
	struct loop_timer *timer;
	struct lookup *lookup;
	struct address addresses[ADDRESSES_MAX];
	unsigned n, next;
	int fd;
	struct loop_fd *watch;
	int last_errno;
};

static atomic_uint lookups;

static void stop_watching(struct dial *d)
{
	loop_fd_free(d->watch);
	d->watch = NULL;
}

static void dial_free(struct dial *d)
{
	stop_watching(d);
	if (d->fd >= 0)
		close(d->fd);
	if (d->lookup)
		d->lookup->dial = NULL;
	loop_defer_cancel(d->loop, &d->start);
	loop_timer_free(d->timer);
	free(d);
}

static void finish(struct dial *d, int fd, const char *what)
{
	void (*done)(void *, int, const char *) = d->done;
	void *arg = d->arg;
	char why[HOST_MAX + 128] = "";

	if (fd < 0)
		snprintf(why, sizeof why, "cannot connect to %s: %s", d->name, what);
	d->fd = -1;
	dial_free(d);
	done(arg, fd, why);
}

static void try_next(struct dial *d);

static void on_connected(void *arg, int what)
{
	struct dial *d = arg;
	int error = 0;
	socklen_t n = sizeof error;

	stop_watching(d);
	if (getsockopt(d->fd, SOL_SOCKET, SO_ERROR, &error, &n) < 0)
		error = errno;
	if (!error) {
		finish(d, d->fd, "");
		return;
	}
	d->last_errno = error;
	try_next(d);
}

/* 0 when connected or on the way. */
static int try_address(struct dial *d, const struct address *a)
{
	int one = 1;

	d->fd = socket(a->sa.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (d->fd < 0)
		return -1;
	if (a->sa.ss_family != AF_UNIX)
		setsockopt(d->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
	if (connect(d->fd, (const struct sockaddr *)&a->sa, a->n) < 0 && errno != EINPROGRESS)
		return -1;
	d->watch = loop_fd_new(d->loop, d->fd, on_connected, d);
	if (!d->watch) {
		errno = ENOMEM;
		return -1;
	}
	loop_fd_want(d->watch, LOOP_WRITE);
	return 0;
}

/* What is left of the time is shared among the addresses that are left, so that a silent one does not eat it all. */
static void try_next(struct dial *d)
{
	int64_t left;

	for (;;) {
		stop_watching(d);
		if (d->fd >= 0)
			close(d->fd);
		d->fd = -1;
		left = d->give_up_ms - clock_mono_ms();
		if (d->next >= d->n || left <= 0)
			break;
		loop_timer_set(d->timer, left / (int64_t)(d->n - d->next));
		if (try_address(d, &d->addresses[d->next++]) == 0)
			return;
		d->last_errno = errno;
	}
	finish(d, -1, d->last_errno ? strerror(d->last_errno) : "timed out");
}

static void on_timeout(void *arg)
{
	struct dial *d = arg;

	d->last_errno = ETIMEDOUT;
	if (d->lookup)
		finish(d, -1, "looking up the name timed out");
	else
		try_next(d);
}

static bool put_unix(struct address *a, const char *path)
{
	struct sockaddr_un *un = (struct sockaddr_un *)&a->sa;

	if (!slice_copy_str(slice_str(path), un->sun_path, sizeof un->sun_path))
		return false;
	un->sun_family = AF_UNIX;
	a->n = sizeof *un;
	return true;
}

static bool put_numeric(struct address *a, const char *host, int port)
{
	struct sockaddr_in *v4 = (struct sockaddr_in *)&a->sa;
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&a->sa;

	if (inet_pton(AF_INET, host, &v4->sin_addr) == 1) {
		v4->sin_family = AF_INET;
		v4->sin_port = htons((uint16_t)port);
		a->n = sizeof *v4;
		return true;
	}
	if (inet_pton(AF_INET6, host, &v6->sin6_addr) == 1) {
		v6->sin6_family = AF_INET6;
		v6->sin6_port = htons((uint16_t)port);
		a->n = sizeof *v6;
		return true;
	}
	return false;
}

static void lookup_free(struct lookup *q)
{
	atomic_fetch_sub(&lookups, 1);
	loop_unref(q->loop);
	free(q);
}

static void lookup_done(void *arg)
{
	struct lookup *q = arg;
	struct dial *d = q->dial;

	if (d) {
		d->lookup = NULL;
		d->n = q->n;
		memcpy(d->addresses, q->found, sizeof q->found);
		if (q->n)
			try_next(d);
		else
			finish(d, -1, q->error ? gai_strerror(q->error) : "the name has no address");
	}
	lookup_free(q);
}

static void lookup_store(struct lookup *q, const struct addrinfo *list)
{
	for (const struct addrinfo *a = list; a && q->n < ADDRESSES_MAX; a = a->ai_next) {
		if (a->ai_addrlen > sizeof q->found[0].sa)
			continue;
		memcpy(&q->found[q->n].sa, a->ai_addr, a->ai_addrlen);
		q->found[q->n++].n = a->ai_addrlen;
	}
}

static void *lookup_thread(void *arg)
{
	struct lookup *q = arg;
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV}, *list = NULL;
	char port[16];

	snprintf(port, sizeof port, "%d", q->port);
	q->error = getaddrinfo(q->host, port, &hints, &list);
	if (!q->error) {
		lookup_store(q, list);
		freeaddrinfo(list);
	}
	if (!loop_post_sure(q->loop, lookup_done, q))
		lookup_free(q); /* the loop has gone */
	return NULL;
}

static int thread_detached(void *(*fn)(void *), void *arg)
{
	pthread_t t;
	pthread_attr_t attr;
	sigset_t all, before;
	int rc;

	sigfillset(&all);
	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	pthread_sigmask(SIG_SETMASK, &all, &before); /* signals are the main loop's */
	rc = pthread_create(&t, &attr, fn, arg);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	pthread_attr_destroy(&attr);
	return rc;
}

static int lookup_start(struct dial *d)
{
	struct lookup *q;

	if (atomic_fetch_add(&lookups, 1) >= LOOKUPS_MAX || !(q = calloc(1, sizeof *q))) {
		atomic_fetch_sub(&lookups, 1);
		return -1;
	}
	q->loop = loop_ref(d->loop);
	q->dial = d;
	q->port = d->port;
	slice_copy_str(slice_str(d->name), q->host, sizeof q->host);
	if (thread_detached(lookup_thread, q)) {
		lookup_free(q);
		return -1;
	}
	d->lookup = q;
	return 0;
}

static void begin(void *arg)
{
	struct dial *d = arg;
	struct address *first = &d->addresses[0];

	loop_timer_set(d->timer, d->give_up_ms - clock_mono_ms());
	if (d->is_unix ? put_unix(first, d->name) : put_numeric(first, d->name, d->port)) {
		d->n = 1;
		try_next(d);
	} else if (d->is_unix) {
		finish(d, -1, "the path is too long for a unix socket");
	} else if (lookup_start(d) < 0) {
		finish(d, -1, "too many names are being looked up");
	}
}

struct dial *dial_start(struct loop *l, const struct dial_target *t, void (*done)(void *arg, int fd, const char *why),
		void *arg)
{
	struct dial *d = calloc(1, sizeof *d);

	if (!d)
		return NULL;
	d->loop = l;
	d->done = done;
	d->arg = arg;
	d->fd = -1;
	d->is_unix = t->unix_path != NULL;
	d->port = t->port;
	d->give_up_ms = clock_mono_ms() + t->timeout_ms;
	/* A name that is cut here is longer than any that resolves or binds. */
	snprintf(d->name, sizeof d->name, "%s", d->is_unix ? t->unix_path : t->host ? t->host : "");
	d->start = (struct loop_tail){.fn = begin, .arg = d, .stage = LOOP_STAGE_SEND};
	d->timer = loop_timer_new(l, on_timeout, d);
	if (!d->timer) {
		free(d);
		return NULL;
	}
	loop_defer(l, &d->start);
	return d;
}

void dial_cancel(struct dial *d)
{
	if (d)
		dial_free(d);
}
