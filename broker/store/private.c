/* Who keeps the private redis-server alive? A thread of its own: it repairs the append-only file, starts the server, waits for it, and
 * starts it again with backoff. The server dies with that thread (parent-death signal), so it never outlives Baton.
 *
 *     REPAIR ──> STARTING ──answers──> UP ──ended──> BACKOFF ──> REPAIR
 *                    └───────────── ended ─────────────↑      stop: SIGTERM, wait, SIGKILL after 20 s */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "store/private_priv.h"
#include "store/store.h"

#define STEP_MS 50              /* between two looks at the child */
#define BACKOFF_FIRST_MS 100
#define BACKOFF_MAX_MS 5000
#define STABLE_MS 60000         /* after that long a life the backoff begins anew */
#define FIRST_WAIT_MS 10000     /* start() waits that long for the first answer; a large file may take longer */
#define STOP_WAIT_MS 20000
#define LOCK_WAIT_MS 5000
#define PATH_BYTES 4096

enum private_state { PRIVATE_STARTING, PRIVATE_UP, PRIVATE_ENDED };

struct redis_private {
	char dir[PATH_BYTES - 64], socket[108], url[128], conf[PATH_BYTES], log[PATH_BYTES];
	char *server, *checker;
	int lock_fd;
	bool has_thread;
	pthread_t thread;
	pthread_mutex_t lock; /* guards stop, state, why */
	pthread_cond_t cond;
	bool stop;
	enum private_state state;
	struct problem why;   /* of the last end */
	atomic_int pid;
};

char *private_find_program(const char *name, const char *package, struct problem *why)
{
	const char *path = getenv("PATH"), *end;
	char full[PATH_BYTES];

	for (path = path && *path ? path : "/usr/local/bin:/usr/bin:/bin"; *path; path = *end ? end + 1 : end) {
		end = path + strcspn(path, ":");
		if (*path == '/' && snprintf(full, sizeof full, "%.*s/%s", (int)(end - path), path, name) < (int)sizeof full
			&& access(full, X_OK) == 0)
			return strdup(full);
	}
	problem_set(why, "%s is missing: apt-get install %s", name, package);
	return NULL;
}

/* Between fork and exec: only calls that are safe there. */
static void become(const char *const *argv, int in, int keep, int out, pid_t parent)
{
	sigset_t none;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	if (prctl(PR_SET_PDEATHSIG, SIGTERM) != 0 || getppid() != parent)
		_exit(126);
	if (in < 0)
		in = open("/dev/null", O_RDONLY);
	if (dup2(in, 0) < 0 || dup2(out, 1) < 0 || dup2(out, 2) < 0)
		_exit(126);
	if (keep >= 0 && (keep == 3 ? fcntl(3, F_SETFD, 0) : dup2(keep, 3)) < 0)
		_exit(126);
	syscall(SYS_close_range, keep < 0 ? 3u : 4u, ~0u, 0u);
	execv(argv[0], (char *const *)argv);
	_exit(127);
}

pid_t private_spawn(const char *const *argv, int in, int keep, const char *log, struct problem *why)
{
	int out = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
	pid_t parent = getpid(), pid;

	if (out < 0)
		return problem_set(why, "%s: %s", log, strerror(errno));
	pid = fork();
	if (pid == 0)
		become(argv, in, keep, out, parent);
	if (pid < 0)
		problem_set(why, "fork: %s", strerror(errno));
	close(out);
	return pid;
}

static bool answers(const struct redis_private *p)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	bool ok;

	memcpy(a.sun_path, p->socket, strlen(p->socket) + 1);
	ok = fd >= 0 && connect(fd, (struct sockaddr *)&a, sizeof a) == 0;
	if (fd >= 0)
		close(fd);
	return ok;
}

static void set_state(struct redis_private *p, enum private_state to, const struct problem *why)
{
	static const char *const name[] = {"starting", "up", "ended"};

	pthread_mutex_lock(&p->lock);
	p->state = to;
	if (why)
		p->why = *why;
	pthread_cond_broadcast(&p->cond);
	pthread_mutex_unlock(&p->lock);
	log_event(to == PRIVATE_ENDED ? LOG_WARN : LOG_INFO, "redis.private", F_STR("state", name[to]),
		F_INT("pid", atomic_load(&p->pid)), F_STR("why", why ? why->text : ""));
}

/* Waits ms or until asked to stop; says whether to stop. */
static bool pause_ms(struct redis_private *p, int64_t ms)
{
	struct timespec t;
	bool stop;

	clock_gettime(CLOCK_MONOTONIC, &t);
	t.tv_sec += ms / 1000;
	t.tv_nsec += ms % 1000 * 1000000;
	if (t.tv_nsec >= 1000000000) {
		t.tv_sec++;
		t.tv_nsec -= 1000000000;
	}
	pthread_mutex_lock(&p->lock);
	while (!p->stop && pthread_cond_timedwait(&p->cond, &p->lock, &t) == 0)
		;
	stop = p->stop;
	pthread_mutex_unlock(&p->lock);
	return stop;
}

/* true: it has ended, and was reaped. */
static bool ended(pid_t pid, int *status)
{
	pid_t r = waitpid(pid, status, WNOHANG);

	return r == pid || (r < 0 && errno == ECHILD);
}

static void end_server(pid_t pid)
{
	int64_t until = clock_mono_ms() + STOP_WAIT_MS;
	struct timespec step = {0, STEP_MS * 1000000};
	int status;

	kill(pid, SIGTERM);
	while (!ended(pid, &status)) {
		if (clock_mono_ms() > until)
			kill(pid, SIGKILL);
		nanosleep(&step, NULL);
	}
}

/* One life of the server, from repair to its end. */
static void live(struct redis_private *p)
{
	const char *const argv[] = {p->server, p->conf, NULL};
	struct problem why = {""};
	bool up = false;
	int status = 0;
	pid_t pid = -1;

	set_state(p, PRIVATE_STARTING, NULL);
	if (private_repair_aof(p->checker, p->dir, p->log, &why) == 0)
		pid = private_spawn(argv, -1, p->lock_fd, p->log, &why);
	if (pid < 0)
		goto out;
	atomic_store(&p->pid, pid);
	for (;;) {
		if (ended(pid, &status))
			break;
		if (!up && answers(p)) {
			up = true;
			set_state(p, PRIVATE_UP, NULL);
		}
		if (pause_ms(p, STEP_MS)) {
			end_server(pid);
			break;
		}
	}
	problem_set(&why, "redis-server ended with %s %d; see %.600s", WIFSIGNALED(status) ? "signal" : "status",
		WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status), p->log);
out:
	atomic_store(&p->pid, 0);
	set_state(p, PRIVATE_ENDED, &why);
}

static void *supervise(void *arg)
{
	struct redis_private *p = arg;
	int64_t backoff = BACKOFF_FIRST_MS;

	for (;;) {
		int64_t began = clock_mono_ms();

		live(p);
		if (clock_mono_ms() - began > STABLE_MS)
			backoff = BACKOFF_FIRST_MS;
		if (pause_ms(p, backoff))
			break;
		backoff = backoff * 2 < BACKOFF_MAX_MS ? backoff * 2 : BACKOFF_MAX_MS;
	}
	return NULL;
}

static int write_conf(struct redis_private *p, bool fsync_always, uint64_t max_memory, struct problem *why)
{
	char text[2 * PATH_BYTES];
	int n = snprintf(text, sizeof text,
		"# Written by Baton at every start; changes are lost.\n"
		"port 0\nunixsocket \"%s\"\nunixsocketperm 700\ndir \"%s\"\ndaemonize no\nprotected-mode yes\n"
		"loglevel notice\nlogfile \"\"\nmaxclients 128\nenable-debug-command no\nenable-module-command no\n"
		"save \"\"\nappendonly yes\nappendfsync %s\naof-load-truncated no\nno-appendfsync-on-rewrite no\n"
		"auto-aof-rewrite-percentage 100\nauto-aof-rewrite-min-size 1gb\n"
		"maxmemory %llu\nmaxmemory-policy noeviction\n"
		"lazyfree-lazy-expire yes\nlazyfree-lazy-server-del yes\nlazyfree-lazy-user-del yes\nlazyfree-lazy-user-flush yes\n",
		p->socket, p->dir, fsync_always ? "always" : "everysec", (unsigned long long)max_memory);

	if (n < 0 || n >= (int)sizeof text)
		return problem_set(why, "%s: the path is too long", p->dir);
	return file_write_atomic(p->conf, slice_of(text, (size_t)n), 0600, why);
}

/* The server inherits the lock: after a crash of Baton nobody touches the append-only file before the old server is gone. */
static int take_lock(struct redis_private *p, struct problem *why)
{
	int64_t until = clock_mono_ms() + LOCK_WAIT_MS;
	struct timespec step = {0, STEP_MS * 1000000};
	char path[PATH_BYTES];

	snprintf(path, sizeof path, "%s/redis.lock", p->dir);
	p->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (p->lock_fd < 0)
		return problem_set(why, "%s: %s", path, strerror(errno));
	while (flock(p->lock_fd, LOCK_EX | LOCK_NB) != 0) {
		if (clock_mono_ms() > until)
			return problem_set(why, "%s: another Baton uses this folder, or its redis-server has not ended", p->dir);
		nanosleep(&step, NULL);
	}
	return 0;
}

static int set_paths(struct redis_private *p, const char *dir, struct problem *why)
{
	if (dir[0] != '/' || strpbrk(dir, "\"\\\r\n"))
		return problem_set(why, "the private Redis' folder must be an absolute path without quotes or backslashes");
	if (!slice_copy_str(slice_str(dir), p->dir, sizeof p->dir) || snprintf(p->socket, sizeof p->socket, "%s/redis.sock", dir) >= (int)sizeof p->socket)
		return problem_set(why, "%.200s: too long for a unix socket (at most 96 bytes)", dir);
	snprintf(p->url, sizeof p->url, "unix://%s", p->socket);
	snprintf(p->conf, sizeof p->conf, "%s/redis.conf", p->dir);
	snprintf(p->log, sizeof p->log, "%s/redis.log", p->dir);
	return 0;
}

/* Until the server answers, has ended, or the patience is over. -1: it ended at once. */
static int wait_first(struct redis_private *p, struct problem *why)
{
	struct timespec t;
	int r = 0;

	clock_gettime(CLOCK_MONOTONIC, &t);
	t.tv_sec += FIRST_WAIT_MS / 1000;
	pthread_mutex_lock(&p->lock);
	while (p->state == PRIVATE_STARTING)
		if (pthread_cond_timedwait(&p->cond, &p->lock, &t) != 0)
			break;
	if (p->state == PRIVATE_ENDED)
		r = problem_set(why, "%s", p->why.text);
	pthread_mutex_unlock(&p->lock);
	return r;
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

struct redis_private *redis_private_start(const char *dir, bool fsync_always, uint64_t max_memory, struct problem *why)
{
	struct redis_private *p = calloc(1, sizeof *p);

	if (!p)
		return NULL;
	p->lock_fd = -1;
	init_locks(p);
	p->server = private_find_program("redis-server", "redis-server", why);
	p->checker = p->server ? private_find_program("redis-check-aof", "redis-tools", why) : NULL;
	if (!p->checker || set_paths(p, dir, why) != 0 || file_make_dir(dir, 0700, why) != 0 || take_lock(p, why) != 0
		|| write_conf(p, fsync_always, max_memory, why) != 0)
		goto out;
	if (pthread_create(&p->thread, NULL, supervise, p) != 0) {
		problem_set(why, "no thread to watch redis-server");
		goto out;
	}
	p->has_thread = true;
	if (wait_first(p, why) == 0)
		return p;
out:
	redis_private_stop(p);
	return NULL;
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
	if (p->has_thread) {
		pthread_mutex_lock(&p->lock);
		p->stop = true;
		pthread_cond_broadcast(&p->cond);
		pthread_mutex_unlock(&p->lock);
		pthread_join(p->thread, NULL);
	}
	if (p->lock_fd >= 0)
		close(p->lock_fd);
	pthread_cond_destroy(&p->cond);
	pthread_mutex_destroy(&p->lock);
	free(p->server);
	free(p->checker);
	free(p);
}
