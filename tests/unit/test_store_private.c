/* What can the private redis-server and the process that supervises it do, and who outlives whom? With real processes, confined as batond
 * confines them. */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/file.h"
#include "store/store.h"
#include "store_kit.h"

static struct redis_private *private_up(const char *dir, struct problem *why)
{
	const struct redis_private_config c = {.dir = dir, .fsync_always = true, .seccomp = true, .landlock = true};
	struct redis_private *p = redis_private_new(&c, why);

	if (!p || redis_private_start(p, why) == 0)
		return p;
	redis_private_stop(p);
	return NULL;
}

/* The test program itself, started under the name of redis-server: says what it can do, one word a line. */
static int fake_server(void)
{
	static const struct { const char *path; int flags; } tries[] = {
		{"redis/made", O_WRONLY | O_CREAT}, {"secret", O_RDONLY}, {"made", O_WRONLY | O_CREAT}, {"/etc/passwd", O_RDONLY},
	};
	char base[256], path[512], *argv[] = {(char *)"true", NULL};
	ssize_t n = readlink("/proc/self/fd/3", base, sizeof base - 1); /* the lock */

	base[n > 0 ? n : 0] = '\0';
	if (strstr(base, "/redis/redis.lock"))
		*strstr(base, "/redis/redis.lock") = '\0';
	for (size_t i = 0; i < sizeof tries / sizeof tries[0]; i++) {
		snprintf(path, sizeof path, "%s%s%s", tries[i].path[0] == '/' ? "" : base, tries[i].path[0] == '/' ? "" : "/", tries[i].path);
		printf("%s %s\n", tries[i].path, open(path, tries[i].flags, 0600) >= 0 ? "opened" : strerror(errno));
	}
	printf("network %s\n", socket(AF_INET, SOCK_STREAM, 0) >= 0 ? "opened" : strerror(errno));
	printf("variables %s\n", environ[0] ? environ[0] : "none");
	printf("signals %s\n", signal(SIGTERM, SIG_DFL) == SIG_DFL ? "default" : "ignored");
	fflush(stdout);
	execv("/bin/true", argv);
	printf("true %s\n", strerror(errno));
	fflush(stdout);
	_exit(3);
}

static const char *log_of(const char *dir)
{
	static char text[4096];
	char path[128];
	uint8_t *bytes = NULL;
	size_t n = 0;

	snprintf(path, sizeof path, "%s/redis.log", dir);
	assert_int_equal(file_read(path, sizeof text - 1, &bytes, &n, NULL), 0);
	snprintf(text, sizeof text, "%.*s", (int)n, (const char *)bytes);
	free(bytes);
	return text;
}

/* What a redis-server that was taken over could do: with the confinement, and without. */
static void private_confined(void **state)
{
	bool landlock = syscall(SYS_landlock_create_ruleset, NULL, 0, 1) > 0;
	char *path = strdup(getenv("PATH")), base[64], dir[96], fake[128], changed[4096], exe[512];
	struct problem why = {""};
	ssize_t n = readlink("/proc/self/exe", exe, sizeof exe - 1);

	assert_true(n > 0);
	exe[n] = '\0';
	kit_folder(base);
	snprintf(dir, sizeof dir, "%s/redis", base);
	snprintf(fake, sizeof fake, "%s/secret", base);
	assert_int_equal(file_write_atomic(fake, SLICE_LIT("secret"), 0600, &why), 0);
	snprintf(fake, sizeof fake, "%s/redis-server", base);
	assert_int_equal(symlink(exe, fake), 0);
	snprintf(changed, sizeof changed, "%s:%s", base, path);
	setenv("PATH", changed, 1);
	for (int on = 1; on >= 0; on--) {
		const struct redis_private_config c = {.dir = dir, .seccomp = on, .landlock = on};
		struct redis_private *p = redis_private_new(&c, &why);
		const char *log;

		assert_non_null(p);
		assert_int_equal(redis_private_start(p, &why), -1);
		redis_private_stop(p);
		log = log_of(dir);
		assert_non_null(strstr(log, "redis/made opened"));
		assert_non_null(strstr(log, on && landlock ? "secret Permission denied" : "secret opened"));
		assert_non_null(strstr(log, on && landlock ? "\nmade Permission denied" : "\nmade opened"));
		assert_non_null(strstr(log, on && landlock ? "/etc/passwd Permission denied" : "/etc/passwd opened"));
		assert_non_null(strstr(log, on ? "network Function not implemented" : "network opened"));
		assert_non_null(strstr(log, "variables none"));
		assert_non_null(strstr(log, "signals default"));
		assert_true((strstr(log, "\ntrue ") != NULL) == (on && landlock)); /* else it became /bin/true */
		snprintf(changed, sizeof changed, "%s/redis.log", dir);
		unlink(changed);
	}
	setenv("PATH", path, 1);
	free(path);
	kit_remove(base);
}

static pid_t parent_of(pid_t pid)
{
	char path[64], text[512];
	int fd, parent = 0;
	ssize_t n;

	snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	n = fd < 0 ? 0 : read(fd, text, sizeof text - 1);
	if (fd >= 0)
		close(fd);
	text[n > 0 ? n : 0] = '\0';
	if (n > 0)
		sscanf(strrchr(text, ')') + 1, " %*c %d", &parent);
	return parent;
}

static void wait_gone(pid_t pid)
{
	for (int i = 0; i < 1000 && kill(pid, 0) == 0 && parent_of(pid) > 0; i++)
		nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
	assert_true(kill(pid, 0) != 0 || parent_of(pid) <= 1);
}

static void count_lost(void *arg)
{
	atomic_fetch_add((atomic_int *)arg, 1);
}

/* Nobody can start the server again: its caller hears of it, and the server does not go on alone. */
static void supervisor_killed(void **state)
{
	atomic_int n_lost = 0;
	struct redis_private_config c = {.fsync_always = true, .seccomp = true, .landlock = true, .lost = count_lost, .arg = &n_lost};
	char base[64], dir[96];
	struct problem why = {""};
	struct redis_private *p;
	int pid;

	kit_folder(base);
	snprintf(dir, sizeof dir, "%s/redis", base);
	c.dir = dir;
	p = redis_private_new(&c, &why);
	assert_non_null(p);
	assert_int_equal(redis_private_start(p, &why), 0);
	pid = redis_private_pid(p);
	assert_int_equal(parent_of(parent_of(pid)), getpid());
	kill(parent_of(pid), SIGTERM); /* signals for a process group are Baton's */
	kill(parent_of(pid), SIGINT);
	nanosleep(&(struct timespec){.tv_nsec = 300000000}, NULL);
	assert_int_equal(kill(pid, 0), 0);
	assert_int_equal(atomic_load(&n_lost), 0);
	kill(parent_of(pid), SIGKILL);
	wait_gone(pid);
	for (int i = 0; i < 500 && !atomic_load(&n_lost); i++)
		nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
	assert_int_equal(atomic_load(&n_lost), 1);
	assert_int_equal(redis_private_pid(p), 0);
	redis_private_stop(p);
	p = redis_private_new(&c, &why); /* a stop as asked is no loss */
	assert_int_equal(redis_private_start(p, &why), 0);
	redis_private_stop(p);
	p = redis_private_new(&c, &why); /* nor one before the start */
	redis_private_stop(p);
	assert_int_equal(atomic_load(&n_lost), 1);
	kit_remove(base);
}

/* Baton is killed: supervisor and server go with it, and the folder is free again. */
static void caller_killed(void **state)
{
	char base[64], dir[96];
	struct problem why = {""};
	int said[2], pids[2];
	struct redis_private *p;
	pid_t pid;

	kit_folder(base);
	snprintf(dir, sizeof dir, "%s/redis", base);
	assert_int_equal(pipe(said), 0);
	pid = fork();
	if (pid == 0) {
		p = private_up(dir, &why);
		pids[0] = p ? redis_private_pid(p) : -1;
		pids[1] = p ? parent_of(pids[0]) : -1;
		if (write(said[1], pids, sizeof pids) == sizeof pids)
			pause();
		_exit(1);
	}
	assert_int_equal(read(said[0], pids, sizeof pids), sizeof pids);
	assert_true(pids[0] > 0 && pids[1] > 0);
	kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	wait_gone(pids[1]);
	wait_gone(pids[0]);
	p = private_up(dir, &why);
	assert_non_null(p);
	redis_private_stop(p);
	close(said[0]);
	close(said[1]);
	kit_remove(base);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(private_confined),
		cmocka_unit_test(supervisor_killed),
		cmocka_unit_test(caller_killed),
	};

	if (strstr(argv[0], "redis-server"))
		return fake_server();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
