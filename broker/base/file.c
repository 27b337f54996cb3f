/* How is a whole file read, or written so that a crash leaves the old one or the new one? */
#include "config.h"

#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/encode.h"
#include "base/secret.h"

#define READ_FIRST_BYTES 4096
#define LOCK_STEP_MS 50

static void bytes_free(uint8_t *p, size_t n)
{
	secret_wipe(p, n);
	free(p);
}

/* Twice the room, at most max + 1 and the NUL; what was there is wiped, since it may be a secret. */
static uint8_t *bytes_grow(uint8_t *old, size_t *size, size_t max)
{
	size_t want = *size ? *size * 2 : READ_FIRST_BYTES;
	uint8_t *p;

	if (want > max + 2)
		want = max + 2;
	p = malloc(want);
	if (p && old)
		memcpy(p, old, *size);
	bytes_free(old, *size);
	*size = want;
	return p;
}

int file_read_fd(int fd, const char *path, size_t max, uint8_t **out, size_t *n, struct problem *why)
{
	uint8_t *p = NULL;
	size_t size = 0, at = 0;
	ssize_t got;

	*out = NULL;
	*n = 0;
	for (;;) {
		if (at + 1 >= size && !(p = bytes_grow(p, &size, max)))
			return problem_set(why, "%s: out of memory", path);
		got = read(fd, p + at, size - 1 - at);
		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			break;
		at += (size_t)got;
		if (at > max) {
			bytes_free(p, size);
			return problem_set(why, "%s is larger than %zu bytes, the most that is read", path, max);
		}
	}
	if (got < 0) {
		problem_set(why, "cannot read %s: %s", path, strerror(errno));
		bytes_free(p, size);
		return -1;
	}
	p[at] = '\0';
	*out = p;
	*n = at;
	return 0;
}

int file_read(const char *path, size_t max, uint8_t **out, size_t *n, struct problem *why)
{
	/* O_NONBLOCK: opening a FIFO must not wait for a writer. */
	int rc = -1, fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	struct stat st;

	*out = NULL;
	*n = 0;
	if (fd < 0)
		return problem_set(why, "cannot open %s: %s", path, strerror(errno));
	if (fstat(fd, &st) < 0)
		problem_set(why, "cannot look at %s: %s", path, strerror(errno));
	else if (!S_ISREG(st.st_mode))
		problem_set(why, "%s is not a regular file", path);
	else
		rc = file_read_fd(fd, path, max, out, n, why);
	close(fd);
	return rc;
}

static int write_whole(int fd, struct slice s)
{
	ssize_t put;

	while (s.n) {
		put = write(fd, s.p, s.n);
		if (put < 0 && errno != EINTR)
			return -1;
		if (put > 0) {
			s.p += put;
			s.n -= (size_t)put;
		}
	}
	return 0;
}

int file_sync_folder(const char *path)
{
	char folder[PATH_MAX] = ".";
	const char *slash = strrchr(path, '/');
	size_t n = slash ? (size_t)(slash - path) : 0;
	int fd, rc;

	if (slash && !slice_copy_str(slice_of(path, n ? n : 1), folder, sizeof folder))
		return -1;
	fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -1;
	rc = fsync(fd);
	close(fd);
	return rc;
}

int file_write_atomic(const char *path, struct slice bytes, mode_t mode, struct problem *why)
{
	char tmp[PATH_MAX], tag[17];
	uint8_t salt[8];
	int fd;

	random_bytes(salt, sizeof salt);
	hex_encode(salt, sizeof salt, tag);
	if ((size_t)snprintf(tmp, sizeof tmp, "%s.%s.tmp", path, tag) >= sizeof tmp)
		return problem_set(why, "the path %.64s... is too long", path);
	fd = open(tmp, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode);
	if (fd < 0)
		return problem_set(why, "cannot create %s: %s", tmp, strerror(errno));
	if (fchmod(fd, mode) < 0 || write_whole(fd, bytes) < 0 || fsync(fd) < 0)
		goto failed;
	if (close(fd) < 0) {
		fd = -1;
		goto failed;
	}
	fd = -1;
	if (rename(tmp, path) < 0)
		goto failed;
	if (file_sync_folder(path) < 0)
		return problem_set(why, "%s is written, but its folder cannot be synced: %s", path, strerror(errno));
	return 0;
failed:
	problem_set(why, "cannot write %s: %s", path, strerror(errno));
	if (fd >= 0)
		close(fd);
	unlink(tmp);
	return -1;
}

static int make_parents(char *path)
{
	char *p;

	for (p = path + 1; *p; p++) {
		if (*p != '/')
			continue;
		*p = '\0';
		if (mkdir(path, 0755) < 0 && errno != EEXIST)
			return -1;
		*p = '/';
	}
	return 0;
}

int file_check_dir(const char *path, mode_t mode, struct problem *why)
{
	mode_t refused = mode == 0700 ? 077 : 022;
	struct stat st;

	if (stat(path, &st) < 0)
		return problem_set(why, "cannot look at %s: %s", path, strerror(errno));
	if (!S_ISDIR(st.st_mode))
		return problem_set(why, "%s is not a folder", path);
	if (st.st_uid != geteuid())
		return problem_set(why, "the folder %s belongs to uid %u; it must belong to uid %u: chown it", path,
				   (unsigned)st.st_uid, (unsigned)geteuid());
	if (st.st_mode & refused)
		return problem_set(why, "the folder %s has mode %04o, which lets others in: chmod %04o %s", path,
				   (unsigned)(st.st_mode & 07777), (unsigned)(st.st_mode & 0777 & ~refused), path);
	return 0;
}

int file_make_dir(const char *path, mode_t mode, struct problem *why)
{
	char copy[PATH_MAX];
	size_t n = strlen(path);

	while (n > 1 && path[n - 1] == '/')
		n--;
	if (!n || !slice_copy_str(slice_of(path, n), copy, sizeof copy))
		return problem_set(why, "a folder's path is empty or too long");
	if (make_parents(copy) < 0)
		return problem_set(why, "cannot make the folder %s: %s", copy, strerror(errno));
	if (mkdir(copy, mode) < 0 && errno != EEXIST)
		return problem_set(why, "cannot make the folder %s: %s", path, strerror(errno));
	return file_check_dir(copy, mode, why);
}

int file_lock(const char *path, int64_t wait_ms, bool *taken, struct problem *why)
{
	const struct timespec step = {0, LOCK_STEP_MS * 1000000};
	int64_t until = clock_mono_ms() + wait_ms;
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);

	*taken = false;
	if (fd < 0)
		return problem_set(why, "%s: %s", path, strerror(errno));
	while (flock(fd, LOCK_EX | LOCK_NB) != 0) {
		*taken = errno == EWOULDBLOCK;
		if ((!*taken && errno != EINTR) || clock_mono_ms() > until) {
			problem_set(why, "%s: %s", path, *taken ? "another process has this lock" : strerror(errno));
			close(fd);
			return -1;
		}
		nanosleep(&step, NULL);
	}
	*taken = false;
	return fd;
}
