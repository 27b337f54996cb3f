/* Where does /proc say it? In each thread's schedstat, in nanoseconds; where the kernel keeps none, in stat's clock
 * ticks. */
#include "config.h"

#include "cli/cpu.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/devproc.h"

#define DEPTH_MAX 4

static int read_small(const char *path, char *out, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, out, size - 1);

	if (fd >= 0)
		close(fd);
	out[n > 0 ? n : 0] = '\0';
	return n > 0 ? 0 : -1;
}

/* utime + stime of the whole process. */
static int64_t by_ticks(pid_t pid)
{
	char path[64], text[1024];
	const char *at;
	unsigned long long user = 0, kernel = 0;

	snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
	if (read_small(path, text, sizeof text) || !(at = strrchr(text, ')')) ||
	    sscanf(at + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %llu %llu", &user, &kernel) != 2)
		return -1;
	return (int64_t)((user + kernel) * (1000000000ULL / (unsigned long long)sysconf(_SC_CLK_TCK)));
}

static int64_t process_ns(pid_t pid)
{
	char path[400], text[128];
	int64_t sum = 0;
	struct dirent *e;
	DIR *d;

	snprintf(path, sizeof path, "/proc/%d/task", (int)pid);
	d = opendir(path);
	while (d && (e = readdir(d))) {
		if (e->d_name[0] < '0' || e->d_name[0] > '9')
			continue;
		snprintf(path, sizeof path, "/proc/%d/task/%s/schedstat", (int)pid, e->d_name);
		if (read_small(path, text, sizeof text)) {
			closedir(d);
			return by_ticks(pid);
		}
		sum += strtoll(text, NULL, 10);
	}
	if (!d)
		return by_ticks(pid);
	closedir(d);
	return sum;
}

static bool descends(pid_t pid, pid_t from)
{
	for (int i = 0; i < DEPTH_MAX && pid > 1; i++) {
		pid_t parent = 0;

		if (pid == from)
			return true;
		if (!devproc_start_time(pid, NULL, &parent))
			return false;
		pid = parent;
	}
	return false;
}

bool cpu_read(pid_t batond, struct cpu_times *out)
{
	struct dirent *e;
	DIR *d = opendir("/proc");

	*out = (struct cpu_times){0, 0};
	while (d && (e = readdir(d))) {
		pid_t pid = (pid_t)atoi(e->d_name);
		char comm[32] = "";
		int64_t ns;

		if (pid <= 1 || !descends(pid, batond) || !devproc_start_time(pid, comm, NULL) || (ns = process_ns(pid)) < 0)
			continue;
		if (strncmp(comm, "redis", 5) == 0)
			out->redis_ns += ns;
		else
			out->broker_ns += ns;
	}
	if (d)
		closedir(d);
	return out->broker_ns > 0;
}
