/* How does Baton have a Redis of its own? It writes the configuration, takes the folder's lock and forks the process that keeps
 * redis-server alive (private_supervise.c); a thread here reads what that process tells, and says goodbye to it. */
#include "config.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "store/private_priv.h"
#include "store/store.h"

#define FIRST_WAIT_MS 10000 /* start() waits that long for the first answer; a large file may take longer */
#define LOCK_WAIT_MS 5000

struct redis_private {
	struct private_job job;
	struct redis_private_config config;
	char url[128];
	pid_t supervisor;
	int channel;          /* to the supervisor; its end is the word to stop */
	bool has_thread;
	pthread_t thread;
	pthread_mutex_t lock; /* guards stopping, news */
	pthread_cond_t cond;
	bool stopping;
	struct private_news news;
	atomic_int pid;
};

char *private_find_program(const char *name, const char *package, struct problem *why)
{
	const char *path = getenv("PATH"), *end;
	char full[PRIVATE_PATH_BYTES];

	for (path = path && *path ? path : "/usr/local/bin:/usr/bin:/bin"; *path; path = *end ? end + 1 : end) {
		end = path + strcspn(path, ":");
		if (*path == '/' && snprintf(full, sizeof full, "%.*s/%s", (int)(end - path), path, name) < (int)sizeof full
			&& access(full, X_OK) == 0)
			return strdup(full);
	}
	problem_set(why, "%s is missing: apt-get install %s", name, package);
	return NULL;
}

/* ---- before the fork ---- */

static int write_conf(struct redis_private *p, struct problem *why)
{
	const struct redis_private_config *c = &p->config;
	char text[2 * PRIVATE_PATH_BYTES];
	int n = snprintf(text, sizeof text,
		"# Written by Baton at every start; changes are lost.\n"
		"port 0\nunixsocket \"%s\"\nunixsocketperm 700\ndir \"%s\"\ndaemonize no\nprotected-mode yes\n"
		"loglevel notice\nlogfile \"\"\nmaxclients 128\nenable-debug-command no\nenable-module-command no\n"
		"save \"\"\nappendonly yes\nappendfsync %s\naof-load-truncated no\nno-appendfsync-on-rewrite no\n"
		"auto-aof-rewrite-percentage 100\nauto-aof-rewrite-min-size 1gb\n"
		"maxmemory %llu\nmaxmemory-policy noeviction\n"
		"lazyfree-lazy-expire yes\nlazyfree-lazy-server-del yes\nlazyfree-lazy-user-del yes\nlazyfree-lazy-user-flush yes\n",
		p->job.socket, p->job.dir, c->fsync_always ? "always" : "everysec", (unsigned long long)c->max_memory);

	if (n < 0 || n >= (int)sizeof text)
		return problem_set(why, "%s: the path is too long", p->job.dir);
	return file_write_atomic(p->job.conf, slice_of(text, (size_t)n), 0600, why);
}

/* The supervisor and the server inherit the lock: after a crash of Baton nobody touches the append-only file before the old server is gone. */
static int take_lock(struct redis_private *p, struct problem *why)
{
	char path[PRIVATE_PATH_BYTES];
	bool taken;

	snprintf(path, sizeof path, "%s/redis.lock", p->job.dir);
	p->job.lock_fd = file_lock(path, LOCK_WAIT_MS, &taken, why);
	if (p->job.lock_fd < 0)
		return taken ? problem_set(why, "%s: another Baton uses this folder, or its redis-server has not ended", p->job.dir) : -1;
	return 0;
}

static int set_paths(struct redis_private *p, const char *dir, struct problem *why)
{
	struct private_job *j = &p->job;

	if (dir[0] != '/' || strpbrk(dir, "\"\\\r\n"))
		return problem_set(why, "the private Redis' folder must be an absolute path without quotes or backslashes");
	if (!slice_copy_str(slice_str(dir), j->dir, sizeof j->dir) || snprintf(j->socket, sizeof j->socket, "%s/redis.sock", dir) >= (int)sizeof j->socket)
		return problem_set(why, "%.200s: too long for a unix socket (at most 96 bytes)", dir);
	snprintf(p->url, sizeof p->url, "unix://%s", j->socket);
	snprintf(j->conf, sizeof j->conf, "%s/redis.conf", j->dir);
	snprintf(j->log, sizeof j->log, "%s/redis.log", j->dir);
	return 0;
}

static int find_programs(struct redis_private *p, struct problem *why)
{
	p->job.server = private_find_program("redis-server", "redis-server", why);
	p->job.checker = p->job.server ? private_find_program("redis-check-aof", "redis-tools", why) : NULL;
	return p->job.checker ? 0 : -1;
}

/* It dies with the thread that forks it: Baton's first. */
static int fork_supervisor(struct redis_private *p, struct problem *why)
{
	pid_t parent = getpid();
	int ends[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0)
		return problem_set(why, "socketpair: %s", strerror(errno));
	p->supervisor = fork();
	if (p->supervisor == 0) {
		if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || getppid() != parent)
			_exit(1);
		private_supervise(&p->job, ends[1]);
	}
	close(ends[1]);
	p->channel = ends[0];
	return p->supervisor > 0 ? 0 : problem_set(why, "fork: %s", strerror(errno));
}

static void init_locks(struct redis_private *p)
{
	pthread_condattr_t a;

	pthread_condattr_init(&a);
	pthread_condattr_setclock(&a, CLOCK_MONOTONIC);
	pthread_cond_init(&p->cond, &a);
	pthread_condattr_destroy(&a);
	pthread_mutex_init(&p->lock, NULL);
}

struct redis_private *redis_private_new(const struct redis_private_config *c, struct problem *why)
{
	struct redis_private *p = calloc(1, sizeof *p);

	if (!p)
		return NULL;
	p->config = *c;
	p->channel = p->job.lock_fd = -1;
	p->job.seccomp = c->seccomp;
	p->job.landlock = c->landlock;
	init_locks(p);
	if (find_programs(p, why) != 0 || set_paths(p, c->dir, why) != 0 || file_make_dir(c->dir, 0700, why) != 0 || take_lock(p, why) != 0 ||
	    write_conf(p, why) != 0 || fork_supervisor(p, why) != 0) {
		redis_private_stop(p);
		return NULL;
	}
	close(p->job.lock_fd); /* the supervisor has it */
	p->job.lock_fd = -1;
	return p;
}

/* ---- what the supervisor tells ---- */

static void take_news(struct redis_private *p, const struct private_news *n)
{
	static const char *const name[] = {"starting", "up", "ended"};

	atomic_store(&p->pid, n->pid);
	pthread_mutex_lock(&p->lock);
	p->news = *n;
	pthread_cond_broadcast(&p->cond);
	pthread_mutex_unlock(&p->lock);
	log_event(n->state == PRIVATE_ENDED ? LOG_WARN : LOG_INFO, "redis.private", F_STR("state", name[n->state]), F_INT("pid", n->pid),
		F_STR("why", n->why.text));
}

/* The supervisor is gone, and no other can be forked any more. */
static void lost(struct redis_private *p)
{
	struct private_news n = {.state = PRIVATE_ENDED};
	bool stopping;

	pthread_mutex_lock(&p->lock);
	stopping = p->stopping;
	if (p->news.why.text[0])
		n.why = p->news.why;
	else
		problem_set(&n.why, "the process that supervises redis-server is gone");
	pthread_mutex_unlock(&p->lock);
	if (stopping)
		return;
	take_news(p, &n);
	if (p->config.lost)
		p->config.lost(p->config.arg);
}

static void *listen_to(void *arg)
{
	struct redis_private *p = arg;
	struct private_news n;
	ssize_t got;

	while ((got = recv(p->channel, &n, sizeof n, 0)) != 0) {
		if (got == (ssize_t)sizeof n)
			take_news(p, &n);
		else if (errno != EINTR)
			break;
	}
	lost(p);
	return NULL;
}

/* Until the server answers, has ended, or the patience is over. -1: it ended at once. */
static int wait_first(struct redis_private *p, struct problem *why)
{
	struct timespec t;
	int r = 0;

	clock_gettime(CLOCK_MONOTONIC, &t);
	t.tv_sec += FIRST_WAIT_MS / 1000;
	pthread_mutex_lock(&p->lock);
	while (p->news.state == PRIVATE_STARTING)
		if (pthread_cond_timedwait(&p->cond, &p->lock, &t) != 0)
			break;
	if (p->news.state == PRIVATE_ENDED)
		r = problem_set(why, "%s", p->news.why.text);
	pthread_mutex_unlock(&p->lock);
	return r;
}

int redis_private_start(struct redis_private *p, struct problem *why)
{
	sigset_t all, before;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before); /* signals are the main loop's */
	p->has_thread = pthread_create(&p->thread, NULL, listen_to, p) == 0;
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (!p->has_thread)
		return problem_set(why, "no thread to watch redis-server");
	send(p->channel, "g", 1, MSG_NOSIGNAL); /* when nobody reads it, the thread hears why */
	return wait_first(p, why);
}

const char *redis_private_url(const struct redis_private *p)
{
	return p->url;
}

int redis_private_pid(const struct redis_private *p)
{
	return atomic_load(&((struct redis_private *)(uintptr_t)p)->pid);
}

void redis_private_stop(struct redis_private *p)
{
	if (!p)
		return;
	pthread_mutex_lock(&p->lock);
	p->stopping = true;
	pthread_mutex_unlock(&p->lock);
	if (p->channel >= 0)
		shutdown(p->channel, SHUT_WR);
	if (p->has_thread)
		pthread_join(p->thread, NULL);
	while (p->supervisor > 0 && waitpid(p->supervisor, NULL, 0) < 0 && errno == EINTR)
		;
	if (p->channel >= 0)
		close(p->channel);
	if (p->job.lock_fd >= 0)
		close(p->job.lock_fd);
	pthread_cond_destroy(&p->cond);
	pthread_mutex_destroy(&p->lock);
	free(p->job.server);
	free(p->job.checker);
	free(p);
}
