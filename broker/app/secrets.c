/* What may this node send of itself, and to whom? See secrets.h. */
#include "app/secrets.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "identity/introspection.h"

#define CA_MAX (64u << 10)
#define PATH_MAX_BYTES (1024 + INTROSPECTION_HOST_MAX + INTROSPECTION_NAME_MAX + 3)

static int check_owner(const char *path, const struct stat *st, struct problem *why)
{
	if (st->st_uid != geteuid() && st->st_uid != 0)
		return problem_set(why, "%s belongs to uid %u; it must belong to uid %u or to root: chown it", path, (unsigned)st->st_uid, (unsigned)geteuid());
	if (st->st_mode & 022)
		return problem_set(why, "%s has mode %04o, others can write to it: chmod go-w %s", path, (unsigned)(st->st_mode & 07777), path);
	return 0;
}

/* The folder itself may be a link: the configuration names it. -1: why. */
static int open_folder(int at, const char *name, int flags, const char *path, struct problem *why)
{
	int fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | flags);
	struct stat st;

	if (fd < 0)
		return problem_set(why, "the folder %s cannot be opened: %s", path, strerror(errno));
	if (fstat(fd, &st) == 0 && check_owner(path, &st, why) == 0)
		return fd;
	close(fd);
	return -1;
}

static int read_ca(int folder, const char *path, char **out, struct problem *why)
{
	int rc = -1, fd = openat(folder, INTROSPECTION_CA, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY | O_NOFOLLOW);
	uint8_t *pem = NULL;
	struct stat st;
	size_t n = 0;

	if (fd < 0)
		return errno == ENOENT ? 0 : problem_set(why, "cannot open %s: %s", path, errno == ELOOP ? "it is a link, which is not followed" : strerror(errno));
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
		problem_set(why, "%s is not a regular file", path);
	else if (check_owner(path, &st, why) == 0 && file_read_fd(fd, path, CA_MAX, &pem, &n, why) == 0)
		rc = n ? 0 : problem_set(why, "%s is empty", path);
	close(fd);
	if (rc)
		free(pem);
	else
		*out = (char *)pem;
	return rc;
}

int secrets_find(const char *folder, const char *url, const char *name, struct secrets_found *out, struct problem *why)
{
	char host[INTROSPECTION_HOST_MAX + 1], path[PATH_MAX_BYTES];
	int dir = -1, at = -1, rc = -1;

	*out = (struct secrets_found){.secret = NULL};
	if (!*folder)
		return problem_set(why, "registry.secrets in this node's configuration names no folder");
	if (!introspection_host(url, host) || introspection_secret_name_wrong(name))
		return problem_set(why, "its url or its secret's name is none that a folder could have");
	dir = open_folder(AT_FDCWD, folder, 0, folder, why);
	snprintf(path, sizeof path, "%s/%s", folder, host);
	at = dir >= 0 ? open_folder(dir, host, O_NOFOLLOW, path, why) : -1;
	snprintf(path, sizeof path, "%s/%s/" INTROSPECTION_CA, folder, host);
	rc = at >= 0 ? read_ca(at, path, &out->ca_pem, why) : -1;
	snprintf(path, sizeof path, "%s/%s/%s", folder, host, name);
	if (!rc)
		rc = secret_read_at(at, name, path, INTROSPECTION_SECRET_MAX, &out->secret, &out->n, why);
	if (at >= 0)
		close(at);
	if (dir >= 0)
		close(dir);
	if (rc)
		secrets_clear(out);
	return rc;
}

void secrets_clear(struct secrets_found *f)
{
	secret_wipe(f->secret, f->n);
	free(f->secret);
	free(f->ca_pem);
	*f = (struct secrets_found){.secret = NULL};
}
