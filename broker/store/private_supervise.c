/* Who keeps the private redis-server alive? A process of its own, forked before Baton reads a secret and gives up executing programs. It
 * repairs the append-only file, starts the server, waits for it, and starts it again with backoff. It runs these two programs with these
 * arguments and nothing else, and takes no orders but the end of its channel. It is killed when Baton ends, and then the server gets
 * SIGTERM, so that neither outlives it.
 *
 *     REPAIR ──> STARTING ──answers──> UP ──ended──> BACKOFF ──> REPAIR
 *                    └───────────── ended ─────────────↑      stop: SIGTERM, wait, SIGKILL after 20 s */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "confine/confine.h"
#include "store/private_priv.h"

#define STEP_MS 50 /* between two looks at the server */
#define BACKOFF_FIRST_MS 100
#define BACKOFF_MAX_MS 5000
#define STABLE_MS 60000 /* after that long a life the backoff begins anew */
#define STOP_WAIT_MS 20000

/* What a keyboard or a process group sends is Baton's to answer: the server goes last. */
static const int ignored[] = {SIGHUP, SIGINT, SIGQUIT, SIGTERM};

static void set_signals(void (*how)(int))
{
	for (size_t i = 0; i < sizeof ignored / sizeof ignored[0]; i++)
		signal(ignored[i], how);
}

/* ---- starting a program ---- */

/* Between fork and exec: only calls that are safe there. */
static void become(const char *const *argv, int in, int keep, int out, pid_t parent)
{
	static char *const nothing[] = {NULL};
	sigset_t none;

	set_signals(SIG_DFL);
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
	execve(argv[0], (char *const *)argv, nothing);
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

/* ---- confinement ---- */

/* What redis-server and its libraries read. Not /etc as a whole: Baton's keys are likely to be there. */
static const char *const readable[] = {
	"/usr", "/lib", "/lib64", "/proc", "/sys", "/dev/null", "/dev/urandom",
	"/etc/ld.so.cache", "/etc/localtime", "/etc/ssl/openssl.cnf", "/etc/crypto-policies",
};

static int confine_folders(const struct private_job *j, struct problem *why)
{
	struct confine_files *f = confine_files_new(true, why);
	int rc = f ? 0 : -1;

	for (size_t i = 0; i < sizeof readable / sizeof readable[0] && rc == 0; i++)
		rc = confine_files_path(f, readable[i], CONFINE_READ, why);
	if (rc || confine_files_program(f, j->server, why) || confine_files_program(f, j->checker, why) ||
	    confine_files_path(f, j->dir, CONFINE_OWN, why) || confine_files_enforce(f, why) < 0)
		rc = -1;
	confine_files_free(f);
	return rc;
}

static int confine(const struct private_job *j, struct problem *why)
{
	if (j->landlock && confine_folders(j, why) != 0)
		return -1;
	return j->seccomp ? confine_calls(CONFINE_PROGRAM, why) : 0;
}

/* ---- the server's lives ---- */

static void tell(int channel, enum private_state state, pid_t pid, const struct problem *why)
{
	struct private_news n = {.state = state, .pid = pid};

	if (why)
		n.why = *why;
	send(channel, &n, sizeof n, MSG_NOSIGNAL);
}

/* Waits ms or until the channel ends; says whether it did. */
static bool pause_ms(int channel, int64_t ms)
{
	struct pollfd p = {.fd = channel, .events = POLLIN};
	int64_t until = clock_mono_ms() + ms, left;

	while ((left = until - clock_mono_ms()) > 0)
		if (poll(&p, 1, (int)left) > 0)
			return true;
	return false;
}

static bool answers(const struct private_job *j)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	bool ok;

	memcpy(a.sun_path, j->socket, strlen(j->socket) + 1);
	ok = fd >= 0 && connect(fd, (struct sockaddr *)&a, sizeof a) == 0;
	if (fd >= 0)
		close(fd);
	return ok;
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
static void live(const struct private_job *j, int channel)
{
	const char *const argv[] = {j->server, j->conf, NULL};
	struct problem why = {""};
	bool up = false;
	int status = 0;
	pid_t pid = -1;

	if (private_repair_aof(j->checker, j->dir, j->log, &why) == 0)
		pid = private_spawn(argv, -1, j->lock_fd, j->log, &why);
	if (pid < 0)
		goto out;
	tell(channel, PRIVATE_STARTING, pid, NULL);
	for (;;) {
		if (ended(pid, &status))
			break;
		if (!up && answers(j)) {
			up = true;
			tell(channel, PRIVATE_UP, pid, NULL);
		}
		if (pause_ms(channel, STEP_MS)) {
			end_server(pid);
			break;
		}
	}
	problem_set(&why, "redis-server ended with %s %d; see %.600s", WIFSIGNALED(status) ? "signal" : "status",
		WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status), j->log);
out:
	tell(channel, PRIVATE_ENDED, 0, &why);
}

/* Nothing of Baton's stays open here but the channel, the lock and the standard three. */
static void close_others(int a, int b)
{
	unsigned low = (unsigned)(a < b ? a : b), high = (unsigned)(a < b ? b : a);

	if (low > 3)
		syscall(SYS_close_range, 3u, low - 1, 0u);
	if (high > low + 1)
		syscall(SYS_close_range, low + 1, high - 1, 0u);
	syscall(SYS_close_range, high + 1, ~0u, 0u);
}

void private_supervise(const struct private_job *j, int channel)
{
	int64_t backoff = BACKOFF_FIRST_MS, began;
	struct problem why = {""};
	char go;

	prctl(PR_SET_NAME, "batond-redis");
	setsid();
	set_signals(SIG_IGN);
	close_others(channel, j->lock_fd);
	if (confine_give_up_rights(&why) != 0 || confine(j, &why) != 0)
		tell(channel, PRIVATE_ENDED, 0, &why);
	if (why.text[0] || recv(channel, &go, 1, 0) != 1)
		_exit(1);
	do {
		began = clock_mono_ms();
		live(j, channel);
		if (clock_mono_ms() - began > STABLE_MS)
			backoff = BACKOFF_FIRST_MS;
		began = backoff;
		backoff = backoff * 2 < BACKOFF_MAX_MS ? backoff * 2 : BACKOFF_MAX_MS;
	} while (!pause_ms(channel, began));
	_exit(0);
}
