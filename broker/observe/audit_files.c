/* See audit_files.h. What was rotated is opened by name, without following a link, and counts when it is a regular file of the broker's own user; the one that is
 * written now is the audit's own descriptor, whatever its name has become. */
#include "config.h"

#include "observe/audit_files.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

bool audit_file_is(const struct audit_open_file *f, dev_t dev, ino_t ino)
{
	return f->fd >= 0 && f->dev == dev && f->ino == ino;
}

void audit_file_close(struct audit_open_file *f)
{
	if (f->fd >= 0)
		close(f->fd);
	f->fd = -1;
}

/* Takes fd. */
static int keep(struct audit_open_file *f, int fd, bool ours)
{
	struct stat st;

	*f = (struct audit_open_file){.fd = fd};
	if (fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && (!ours || st.st_uid == geteuid())) {
		f->dev = st.st_dev;
		f->ino = st.st_ino;
		f->size = st.st_size;
		return 0;
	}
	audit_file_close(f);
	return -1;
}

/* A descriptor of its own for the file that is written now; -1: there is none. */
static int duplicate(struct audit *a)
{
	int fd;

	pthread_mutex_lock(&a->lock);
	fd = a->fd < 0 ? -1 : fcntl(a->fd, F_DUPFD_CLOEXEC, 0);
	pthread_mutex_unlock(&a->lock);
	return fd;
}

int audit_file_live(struct audit *a, struct audit_open_file *f)
{
	return keep(f, duplicate(a), false);
}

static int open_named(struct audit *a, unsigned k, struct audit_open_file *f)
{
	char path[PATH_MAX + 8];

	snprintf(path, sizeof path, "%s.%u", a->path, k);
	return keep(f, open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK | O_NOCTTY), true);
}

/* Under which number it stands now; 0: under none. */
static unsigned number_of(struct audit *a, dev_t dev, ino_t ino)
{
	struct audit_open_file f;
	unsigned k = 1;
	bool same = false;

	while (k <= AUDIT_FILES_MAX && open_named(a, k, &f) == 0) {
		same = audit_file_is(&f, dev, ino);
		audit_file_close(&f);
		if (same)
			return k;
		k++;
	}
	return 0;
}

static bool is_live(struct audit *a, const struct audit_open_file *of)
{
	struct audit_open_file f;
	bool same = audit_file_live(a, &f) == 0 && audit_file_is(&f, of->dev, of->ino);

	audit_file_close(&f);
	return same;
}

int audit_file_before(struct audit *a, const struct audit_open_file *of, struct audit_open_file *f, bool *lost)
{
	unsigned k = number_of(a, of->dev, of->ino);

	f->fd = -1;
	*lost = !k && !is_live(a, of);
	while (!*lost && ++k <= AUDIT_FILES_MAX + 1 && open_named(a, k, f) == 0) {
		if (!audit_file_is(f, of->dev, of->ino)) /* it may have two names */
			return 0;
		audit_file_close(f);
	}
	return -1;
}

int audit_file_after(struct audit *a, const struct audit_open_file *of, struct audit_open_file *f)
{
	unsigned k;

	f->fd = -1;
	if (is_live(a, of))
		return -1;
	k = number_of(a, of->dev, of->ino);
	return k > 1 ? open_named(a, k - 1, f) : audit_file_live(a, f);
}

int audit_file_again(struct audit *a, dev_t dev, ino_t ino, struct audit_open_file *f)
{
	unsigned k;

	if (audit_file_live(a, f) == 0 && audit_file_is(f, dev, ino))
		return 0;
	audit_file_close(f);
	k = number_of(a, dev, ino);
	return k && open_named(a, k, f) == 0 && audit_file_is(f, dev, ino) ? 0 : -1;
}
