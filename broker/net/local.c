/* Who of this machine may speak to the broker without a certificate? See local.h. */
#include "config.h"

#include "net/local.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/slice.h"

#define BACKLOG 64

static bool answers(const struct sockaddr_un *sa)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	bool yes = fd >= 0 && (connect(fd, (const struct sockaddr *)sa, sizeof *sa) == 0 || errno == EAGAIN);

	if (fd >= 0)
		close(fd);
	return yes;
}

/* 0 when the path is free now. */
static int make_room(const struct sockaddr_un *sa, struct problem *why)
{
	struct stat st;

	if (lstat(sa->sun_path, &st) < 0)
		return 0;
	if (!S_ISSOCK(st.st_mode))
		return problem_set(why, "%s: is there and no socket: name another path, or remove it", sa->sun_path);
	if (answers(sa))
		return problem_set(why, "%s: another broker listens there: give each its own path", sa->sun_path);
	if (unlink(sa->sun_path) < 0)
		return problem_set(why, "%s: cannot be replaced: %s", sa->sun_path, strerror(errno));
	return 0;
}

static int bind_private(int fd, const struct sockaddr_un *sa)
{
	mode_t old = umask(0177);
	int rc = bind(fd, (const struct sockaddr *)sa, sizeof *sa);

	umask(old);
	return rc;
}

int local_listen(const char *path, struct problem *why)
{
	struct sockaddr_un sa = {.sun_family = AF_UNIX};
	int fd;

	if (!slice_copy_str(slice_str(path), sa.sun_path, sizeof sa.sun_path))
		return problem_set(why, "%.64s...: a socket's path has at most %zu bytes", path, sizeof sa.sun_path - 1);
	if (make_room(&sa, why) < 0)
		return -1;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd >= 0 && bind_private(fd, &sa) == 0 && listen(fd, BACKLOG) == 0)
		return fd;
	problem_set(why, "%s: cannot listen: %s%s", path, strerror(errno), errno == ENOENT ? ": make the folder, or name another" : "");
	if (fd >= 0)
		close(fd);
	return -1;
}

static bool credentials(int fd, struct ucred *u)
{
	socklen_t n = sizeof *u;

	return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, u, &n) == 0 && n == sizeof *u;
}

bool local_peer_allowed(int fd)
{
	struct ucred u;

	return credentials(fd, &u) && (u.uid == 0 || u.uid == geteuid());
}

void local_peer_format(int fd, char out[64])
{
	struct ucred u;

	if (credentials(fd, &u))
		snprintf(out, 64, "uid=%u pid=%d", u.uid, u.pid);
	else
		snprintf(out, 64, "local");
}
