/* Which folder of this node's is for a host? See hostfolder.h. */
#include "keeper/hostfolder.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "identity/introspection.h"

int hostfolder_check(const char *path, const struct stat *st, uid_t owner, struct problem *why)
{
	if (st->st_uid != owner && st->st_uid != 0)
		return problem_set(why, "%s belongs to uid %u; it must belong to uid %u or to root: chown it", path, (unsigned)st->st_uid, (unsigned)owner);
	if (st->st_mode & 022)
		return problem_set(why, "%s has mode %04o, others can write to it: chmod go-w %s", path, (unsigned)(st->st_mode & 07777), path);
	return 0;
}

static int open_folder(int at, const char *name, int flags, const char *path, uid_t owner, struct problem *why)
{
	int fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | flags);
	struct stat st;

	if (fd < 0)
		return problem_set(why, "the folder %s cannot be opened: %s", path, strerror(errno));
	if (fstat(fd, &st) == 0 && hostfolder_check(path, &st, owner, why) == 0)
		return fd;
	close(fd);
	return -1;
}

/* The folder DIR itself may be a link: the configuration names it. */
int hostfolder_open(const char *dir, const char *url, uid_t owner, char path[HOSTFOLDER_PATH_MAX], struct problem *why)
{
	char host[INTROSPECTION_HOST_MAX + 1];
	int above, fd;

	if (!*dir)
		return problem_set(why, "registry.secrets in this node's configuration names no folder");
	if (!introspection_host(url, host))
		return problem_set(why, "its url names no host that a folder could have");
	snprintf(path, HOSTFOLDER_PATH_MAX, "%s/%s", dir, host);
	above = open_folder(AT_FDCWD, dir, 0, dir, owner, why);
	if (above < 0)
		return -1;
	fd = open_folder(above, host, O_NOFOLLOW, path, owner, why);
	close(above);
	return fd;
}
