/* What does the kernel say about our batond? /proc tells when it began and what it runs; signals go to nothing else. */
#include "config.h"

#include "cli/devproc.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "cli/readyz.h"

#define POLL_MS 20

static bool is_program(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && S_ISREG(st.st_mode) && access(path, X_OK) == 0;
}

static bool find_in_path(char *out, size_t size)
{
	const char *path = getenv("PATH");

	for (const char *p = path; p && *p;) {
		size_t n = strcspn(p, ":");

		if (n && p[0] == '/' && (size_t)snprintf(out, size, "%.*s/batond", (int)n, p) < size && is_program(out))
			return true;
		p += n + (p[n] == ':');
	}
	return false;
}

int devproc_find(char *out, size_t size, struct problem *why)
{
	static const char *const places[] = {"batond", "../sbin/batond"};
	const char *env = getenv("BATOND");
	char here[PATH_MAX];
	ssize_t n;

	if (env && *env) {
		if ((size_t)snprintf(out, size, "%s", env) < size && is_program(out))
			return 0;
		return problem_set(why, "BATOND=%s: no such program", env);
	}
	n = readlink("/proc/self/exe", here, sizeof here - 1);
	here[n > 0 ? n : 0] = '\0';
	if (strrchr(here, '/'))
		strrchr(here, '/')[1] = '\0';
	for (size_t i = 0; n > 0 && i < sizeof places / sizeof places[0]; i++)
		if ((size_t)snprintf(out, size, "%s%s", here, places[i]) < size && is_program(out))
			return 0;
	if (find_in_path(out, size))
		return 0;
	return problem_set(why, "batond was not found beside baton, in ../sbin or in PATH; name it with BATOND");
}

uint64_t devproc_start_time(pid_t pid, char comm[32], pid_t *parent)
{
	char path[64], text[1024];
	const char *open, *close_at;
	unsigned long long start = 0;
	char state = 0;
	int ppid = 0, fd, n;

	snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
	fd = open64(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return 0;
	n = (int)read(fd, text, sizeof text - 1);
	close(fd);
	text[n > 0 ? n : 0] = '\0';
	open = strchr(text, '(');
	close_at = strrchr(text, ')'); /* a name may hold brackets itself */
	if (!open || !close_at || sscanf(close_at + 1,
					 " %c %d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d %*d %llu", &state,
					 &ppid, &start) != 3)
		return 0;
	if (comm)
		snprintf(comm, 32, "%.*s", (int)(close_at - open - 1) < 31 ? (int)(close_at - open - 1) : 31, open + 1);
	if (parent)
		*parent = ppid;
	return state == 'Z' || state == 'X' ? 0 : start;
}

static void pid_path(const struct devset *d, char out[DEVSET_PATH + 32])
{
	snprintf(out, DEVSET_PATH + 32, "%s/batond.pid", d->dir);
}

static int write_pid(const struct devset *d, pid_t pid, struct problem *why)
{
	char path[DEVSET_PATH + 32], text[64];
	int n = snprintf(text, sizeof text, "%d %llu\n", (int)pid, (unsigned long long)devproc_start_time(pid, NULL, NULL));

	pid_path(d, path);
	return file_write_atomic(path, slice_of(text, (size_t)n), 0600, why);
}

/* An undumpable process hides its exe link; then its name must do. */
static bool is_batond(pid_t pid, const char *comm)
{
	char path[64], exe[PATH_MAX];
	const char *base;
	ssize_t n;

	snprintf(path, sizeof path, "/proc/%d/exe", (int)pid);
	n = readlink(path, exe, sizeof exe - 1);
	if (n <= 0)
		return strcmp(comm, "batond") == 0;
	exe[n] = '\0';
	base = strrchr(exe, '/');
	return base && strncmp(base + 1, "batond", 6) == 0;
}

pid_t devproc_running(const struct devset *d)
{
	char path[DEVSET_PATH + 32], comm[32];
	unsigned long long start = 0;
	uint8_t *text = NULL;
	size_t n = 0;
	int pid = 0;

	pid_path(d, path);
	if (file_read(path, 256, &text, &n, NULL))
		return 0;
	if (sscanf((const char *)text, "%d %llu", &pid, &start) != 2 || pid <= 1 || start == 0 ||
	    devproc_start_time(pid, comm, NULL) != start || !is_batond(pid, comm))
		pid = 0;
	free(text);
	return pid;
}

static void child(const struct devset *d, const char *program, int log, int go, bool die_with_us)
{
	char config[DEVSET_PATH + 32], byte;
	char *argv[] = {(char *)"batond", (char *)"--config", config, NULL};
	int null = open("/dev/null", O_RDONLY);
	sigset_t none;

	if (die_with_us)
		prctl(PR_SET_PDEATHSIG, SIGTERM);
	setsid();
	signal(SIGPIPE, SIG_DFL);
	signal(SIGINT, SIG_DFL);
	signal(SIGTERM, SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	snprintf(config, sizeof config, "%s/baton.yaml", d->dir);
	if (read(go, &byte, 1) != 1 || dup2(null, 0) < 0 || dup2(log, 1) < 0 || dup2(log, 2) < 0)
		_exit(127);
	execv(program, argv);
	dprintf(2, "%s: %s\n", program, strerror(errno));
	_exit(127);
}

pid_t devproc_start(const struct devset *d, bool die_with_us, struct problem *why)
{
	char program[PATH_MAX], path[DEVSET_PATH + 32];
	int log, go[2];
	pid_t pid;

	if (devproc_find(program, sizeof program, why))
		return -1;
	snprintf(path, sizeof path, "%s/batond.log", d->dir);
	log = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (log < 0)
		return problem_set(why, "%s: %s", path, strerror(errno));
	if (pipe2(go, O_CLOEXEC) != 0) {
		close(log);
		return problem_set(why, "no pipe: %s", strerror(errno));
	}
	pid = fork();
	if (pid == 0)
		child(d, program, log, go[0], die_with_us);
	close(log);
	close(go[0]);
	if (pid < 0)
		problem_set(why, "no process: %s", strerror(errno));
	/* It execs only once its pid file is there: no batond runs that `dev down` cannot find. */
	else if (write_pid(d, pid, why) == 0 && write(go[1], "g", 1) == 1) {
		close(go[1]);
		return pid;
	}
	close(go[1]);
	if (pid > 0)
		waitpid(pid, NULL, 0);
	return -1;
}

static void add_log(const struct devset *d, struct problem *why)
{
	char path[DEVSET_PATH + 32];
	uint8_t *text = NULL;
	size_t n = 0, from, used = strlen(why->text);

	snprintf(path, sizeof path, "%s/batond.log", d->dir);
	if (file_read(path, 1 << 20, &text, &n, NULL))
		return;
	while (n && text[n - 1] == '\n')
		n--;
	from = n > 400 ? n - 400 : 0;
	for (size_t i = n; i > from; i--) /* the last line only */
		if (text[i - 1] == '\n') {
			from = i;
			break;
		}
	snprintf(why->text + used, sizeof why->text - used, ": %.*s", (int)(n - from), (const char *)text + from);
	free(text);
}

static bool gone(pid_t pid)
{
	return waitpid(pid, NULL, WNOHANG) == pid || devproc_start_time(pid, NULL, NULL) == 0;
}

static void nap(void)
{
	nanosleep(&(struct timespec){.tv_nsec = POLL_MS * 1000000L}, NULL);
}

int devproc_wait_ready(const struct devset *d, pid_t pid, int64_t timeout_ms, struct problem *why)
{
	int64_t deadline = clock_mono_ms() + timeout_ms;
	char addr[32];

	snprintf(addr, sizeof addr, "127.0.0.1:%d", d->metrics_port);
	while (clock_mono_ms() < deadline) {
		if (gone(pid)) {
			problem_set(why, "batond ended at once");
			add_log(d, why);
			return -1;
		}
		if (readyz_get(addr, 1000, NULL, 0, NULL) == 200)
			return 0;
		nap();
	}
	problem_set(why, "batond was not ready in time");
	add_log(d, why);
	return -1;
}

int devproc_stop(const struct devset *d, pid_t pid, int64_t timeout_ms, struct problem *why)
{
	int64_t deadline = clock_mono_ms() + timeout_ms;
	char path[DEVSET_PATH + 32];

	if (kill(pid, SIGTERM) != 0 && errno != ESRCH)
		return problem_set(why, "batond (%d) cannot be told to stop: %s", (int)pid, strerror(errno));
	while (!gone(pid)) {
		if (clock_mono_ms() >= deadline)
			return problem_set(why, "batond (%d) still runs %lld s after SIGTERM", (int)pid, (long long)(timeout_ms / 1000));
		nap();
	}
	pid_path(d, path);
	unlink(path);
	return 0;
}
