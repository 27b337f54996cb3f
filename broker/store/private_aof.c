/* Is the append-only file whole? A torn end leaves an open MULTI, and a server that appends behind it loses that work at the start after
 * next. So the file is checked before every start; if it is torn, it is copied, repaired by redis-check-aof --fix and checked again. */
#include "config.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "store/private_priv.h"

#define PATH_BYTES 4096
#define COPY_CHUNK 65536

/* The exit status, or -1. */
static int run(const char *const *argv, const char *input, const char *log, struct problem *why)
{
	int fds[2] = {-1, -1}, status = 0;
	pid_t pid;

	if (pipe2(fds, O_CLOEXEC) != 0)
		return problem_set(why, "pipe: %s", strerror(errno));
	pid = private_spawn(argv, fds[0], -1, log, why);
	close(fds[0]);
	if (pid > 0 && write(fds[1], input, strlen(input)) < 0 && errno != EPIPE)
		problem_set(why, "%s: %s", argv[0], strerror(errno));
	close(fds[1]);
	if (pid < 0)
		return -1;
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return problem_set(why, "%s: %s", argv[0], strerror(errno));
	return WIFEXITED(status) ? WEXITSTATUS(status) : 255;
}

static int copy_bytes(int from, int to)
{
	char chunk[COPY_CHUNK];
	ssize_t n;

	while ((n = read(from, chunk, sizeof chunk)) > 0)
		for (ssize_t done = 0, w; done < n; done += w) {
			w = write(to, chunk + done, (size_t)(n - done));
			if (w < 0)
				return -1;
		}
	return n == 0 ? fsync(to) : -1;
}

static int copy_file(const char *from, const char *to)
{
	int in = open(from, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	int out = in < 0 ? -1 : open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	int r = out < 0 ? -1 : copy_bytes(in, out);

	if (in >= 0)
		close(in);
	if (out >= 0)
		close(out);
	return r;
}

/* A flat folder: redis keeps no other in it. */
static int copy_folder(const char *from, const char *to, struct problem *why)
{
	char a[PATH_BYTES], b[PATH_BYTES];
	struct dirent *e;
	DIR *d = NULL;
	int r = 0;

	if (mkdir(to, 0700) != 0)
		return problem_set(why, "%s: %s", to, strerror(errno));
	d = opendir(from);
	if (!d)
		return problem_set(why, "%s: %s", from, strerror(errno));
	while (r == 0 && (e = readdir(d))) {
		if (e->d_name[0] == '.')
			continue;
		if (snprintf(a, sizeof a, "%s/%s", from, e->d_name) >= (int)sizeof a
			|| snprintf(b, sizeof b, "%s/%s", to, e->d_name) >= (int)sizeof b || copy_file(a, b) != 0)
			r = problem_set(why, "%.1000s: no copy could be made: %s", from, strerror(errno));
	}
	closedir(d);
	return r;
}

static int repair(const char *checker, const char *folder, const char *manifest, const char *log, struct problem *why)
{
	const char *const fix[] = {checker, "--fix", manifest, NULL};
	const char *const again[] = {checker, manifest, NULL};
	char copy[PATH_BYTES];
	int r;

	/* A number behind the time: two repairs in one second keep two copies. */
	for (int i = 0; i < 100; i++) {
		snprintf(copy, sizeof copy, "%.3900s.torn-%lld-%d", folder, (long long)time(NULL), i);
		if (access(copy, F_OK) != 0)
			break;
	}
	if (copy_folder(folder, copy, why) != 0)
		return -1;
	r = run(fix, "y\n", log, why);
	if (r == 0)
		r = run(again, "", log, why);
	log_event(r == 0 ? LOG_WARN : LOG_ERROR, "store.repair", F_STR("file", manifest), F_STR("copy", copy), F_INT("exit", r));
	if (r != 0)
		return problem_set(why, "%s is damaged and redis-check-aof cannot repair it; a copy is in %s; see %s", manifest, copy,
			log);
	return 0;
}

int private_repair_aof(const char *checker, const char *dir, const char *log, struct problem *why)
{
	char folder[PATH_BYTES], manifest[PATH_BYTES];
	const char *const check[] = {checker, manifest, NULL};
	int r;

	if (snprintf(folder, sizeof folder, "%s/appendonlydir", dir) >= (int)sizeof folder
		|| snprintf(manifest, sizeof manifest, "%.4000s/appendonly.aof.manifest", folder) >= (int)sizeof manifest)
		return problem_set(why, "the folder's path is too long");
	if (access(manifest, F_OK) != 0)
		return 0;
	r = run(check, "", log, why);
	if (r <= 0)
		return r;
	return repair(checker, folder, manifest, log, why);
}
