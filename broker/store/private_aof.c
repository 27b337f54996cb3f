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
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "store/private_priv.h"

#define PATH_BYTES 4096
#define COPY_CHUNK 65536
#define COPIES_MAX 4 /* kept of torn files, the newest */
#define COPY_INFIX ".torn-"

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
static void remove_folder(const char *path)
{
	char file[PATH_BYTES];
	DIR *d = opendir(path);
	struct dirent *e;

	while (d && (e = readdir(d)))
		if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0
			&& snprintf(file, sizeof file, "%.3800s/%.255s", path, e->d_name) < (int)sizeof file)
			unlink(file);
	if (d)
		closedir(d);
	rmdir(path);
}

/* When the copy was made; -1: it is none of this folder. */
static long long copy_time(const char *name, const char *folder)
{
	const char *base = strrchr(folder, '/') + 1;
	size_t n = strlen(base);
	long long ms = -1;
	int end = 0;

	if (strncmp(name, base, n) != 0 || sscanf(name + n, COPY_INFIX "%lld%n", &ms, &end) != 1 || name[n + (size_t)end])
		return -1;
	return ms;
}

/* The oldest copy beside the folder but the one just made, whose time may be before theirs; how many there are. */
static size_t oldest_copy(const char *folder, const char *made, char out[PATH_BYTES])
{
	char dir[PATH_BYTES];
	long long ms, least = 0;
	struct dirent *e;
	size_t n = 0;
	DIR *d;

	snprintf(dir, sizeof dir, "%.*s", (int)(strrchr(folder, '/') - folder), folder);
	d = opendir(dir);
	while (d && (e = readdir(d))) {
		ms = copy_time(e->d_name, folder);
		if (ms < 0 || strcmp(e->d_name, strrchr(made, '/') + 1) == 0)
			continue;
		if (!n++ || ms < least) {
			least = ms;
			snprintf(out, PATH_BYTES, "%.3800s/%.255s", dir, e->d_name);
		}
	}
	if (d)
		closedir(d);
	return n;
}

static void prune_copies(const char *folder, const char *made)
{
	char oldest[PATH_BYTES];

	for (int i = 0; i < 1000 && oldest_copy(folder, made, oldest) >= COPIES_MAX; i++)
		remove_folder(oldest);
}

static int copy_folder(const char *from, const char *to, struct problem *why)
{
	char a[PATH_BYTES], b[PATH_BYTES];
	struct dirent *e;
	DIR *d = NULL;
	int r = 0;

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

static int keep_copy(const char *folder, char copy[PATH_BYTES], struct problem *why)
{
	snprintf(copy, PATH_BYTES, "%.3900s" COPY_INFIX "%lld", folder, (long long)clock_unix_ms());
	if (mkdir(copy, 0700) != 0)
		return problem_set(why, "%s: %s", copy, strerror(errno));
	if (copy_folder(folder, copy, why) != 0) {
		remove_folder(copy);
		return -1;
	}
	prune_copies(folder, copy);
	return 0;
}

static int repair(const char *checker, const char *folder, const char *manifest, const char *log, struct problem *why)
{
	const char *const fix[] = {checker, "--fix", manifest, NULL};
	const char *const again[] = {checker, manifest, NULL};
	char copy[PATH_BYTES];
	int r;

	if (keep_copy(folder, copy, why) != 0)
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
