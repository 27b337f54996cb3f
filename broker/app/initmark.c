/* Was a first role binding ever made in this deployment? A mark in the state folder says so, whatever becomes of the store: made by the node on which it
 * was, before it was, and by each other one that hears of it. It is never removed by batond. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "app/node_priv.h"
#include "base/file.h"
#include "base/log.h"
#include "rpc/rolebind.h"

static const char text[] = "a first role binding was made: baton admin init makes no other. LOST ADMINISTRATORS in batond(8)\n";

static void path_of(const struct node *n, char path[1200])
{
	snprintf(path, 1200, "%s/admin-initialised", n->boot->state_dir);
}

static int fail(const char *path, const char *what, struct problem *why)
{
	return problem_set(why, "%s cannot be %s: %s. Without it no first role binding is made", path, what, strerror(errno));
}

static int is_there(const char *path, struct problem *why)
{
	if (access(path, F_OK) == 0)
		return 1;
	return errno == ENOENT ? 0 : fail(path, "looked for", why);
}

/* Whoever makes it is the first. What is written matters to people alone: the file's being there says it, and a folder that is synced keeps it. */
static int make_it(const char *path, struct problem *why)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	bool written;

	if (fd < 0)
		return errno == EEXIST ? 1 : fail(path, "made", why);
	written = write(fd, text, sizeof text - 1) == (ssize_t)(sizeof text - 1) && fsync(fd) == 0;
	if (close(fd) == 0 && written && file_sync_folder(path) == 0)
		return 0;
	fail(path, "written", why);
	unlink(path); /* nothing was done yet that it tells of */
	return -1;
}

int initmark(const struct node *n, bool make, struct problem *why)
{
	char path[1200];

	path_of(n, path);
	return make ? make_it(path, why) : is_there(path, why);
}

void initmark_follow(struct node *n)
{
	struct problem why = {""};

	if (n->init_marked || !resources_find(n->resources, SLICE_LIT(ROLEBIND_INIT)))
		return;
	n->init_marked = initmark(n, true, &why) >= 0;
	if (!n->init_marked && !n->init_warned)
		log_event(LOG_ERROR, "admin.mark_failed", F_STR("why", why.text), F_STR("remedy", "mend the state folder: it is tried each second"));
	n->init_warned = !n->init_marked;
}
