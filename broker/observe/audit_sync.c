/* When is a line durable? When the one thread here has called fdatasync after it was written: one call for all lanes
 * that wait. Once a second the thread also looks whether the file still stands under its path, and tries a file that
 * could not be written again. */
#include "config.h"

#include "observe/audit_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"

/* A device cannot be synced (EINVAL) and does not need to be. */
static int sync_fd(int fd)
{
	return fdatasync(fd) == 0 || errno == EINVAL ? 0 : -1;
}

/* The lines up to each lane's mark are durable. With the lock held. */
static void lanes_synced(struct audit *a, bool ok)
{
	struct audit_lane *l;

	for (l = a->lanes; l; l = l->next) {
		bool changed = false;

		if (ok && l->mark > atomic_load(&l->durable)) {
			atomic_store(&l->durable, l->mark);
			changed = true;
		} else if (!ok && l->written > atomic_load(&l->durable)) {
			if (l->lost < l->written)
				l->lost = l->written;
			l->written = atomic_load(&l->durable);
		}
		if ((audit_lane_publish(l) || changed) && l->wake)
			l->wake(l->arg);
	}
}

/* Called with the lock, which is given up while the disk works, so that workers go on writing. The file that they write may be retired
 * meanwhile, but it is closed here alone: no other descriptor is needed to hold it, and none may be left. */
static void sync_once(struct audit *a)
{
	int fds[AUDIT_RETIRED_MAX + 1], rc = 0, error = 0;
	unsigned i, n = a->n_retired;
	struct audit_lane *l;

	memcpy(fds, a->retired, n * sizeof fds[0]);
	fds[n] = a->fd;
	for (l = a->lanes; l; l = l->next)
		l->mark = l->written;
	a->dirty = a->awaited = false;
	a->n_retired = 0;
	pthread_mutex_unlock(&a->lock);
	for (i = 0; i <= n; i++) {
		if (fds[i] >= 0 && sync_fd(fds[i]) < 0) {
			error = errno;
			rc = -1;
		}
		if (i < n)
			close(fds[i]);
	}
	pthread_mutex_lock(&a->lock);
	if (rc < 0) {
		a->lost_errno = error;
		a->dirty = true; /* asks again in a second */
	}
	a->sync_bad = rc < 0;
	audit_set_health(a);
	lanes_synced(a, rc == 0);
}

/* Somebody moved or removed the file and did not say so: what is written now would be lost with it. */
static void path_watch(struct audit *a)
{
	struct problem why = {""};
	struct stat here, there;

	if (a->fd < 0 || fstat(a->fd, &here) < 0 ||
	    (stat(a->path, &there) == 0 && here.st_ino == there.st_ino && here.st_dev == there.st_dev))
		return;
	if (audit_swap(a, &why) == 0) {
		log_event(LOG_WARN, "audit.reopened", F_STR("file", a->path), F_STR("why", "it was moved or removed"));
	} else if (a->n_retired < AUDIT_RETIRED_MAX) {
		a->lost_errno = errno;
		log_event(LOG_ERROR, "audit.file_gone", F_STR("file", a->path), F_STR("why", why.text));
		a->write_bad = true;
		audit_retire(a);
		audit_set_health(a);
	}
}

/* Waits for work until the next look is due. Returns whether it is. */
static bool wait_until(struct audit *a, int64_t due_ms)
{
	struct timespec t = {.tv_sec = due_ms / 1000, .tv_nsec = due_ms % 1000 * 1000000};

	while (!a->stop && !(a->dirty && a->awaited && !a->sync_bad) && !a->n_retired)
		if (pthread_cond_timedwait(&a->work, &a->lock, &t) == ETIMEDOUT)
			return true;
	return clock_mono_ms() >= due_ms;
}

static void *sync_main(void *arg)
{
	struct audit *a = arg;
	int64_t due = clock_mono_ms() + AUDIT_SYNC_MS;

	pthread_mutex_lock(&a->lock);
	while (!a->stop) {
		bool look = wait_until(a, due);

		if (look) {
			due = clock_mono_ms() + AUDIT_SYNC_MS;
			path_watch(a);
			if (a->write_bad)
				audit_recover(a);
		}
		if (a->dirty || a->n_retired)
			sync_once(a);
	}
	sync_once(a);
	pthread_mutex_unlock(&a->lock);
	return NULL;
}

int audit_sync_start(struct audit *a, struct problem *why)
{
	pthread_condattr_t attr;
	int rc;

	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&a->work, &attr);
	pthread_condattr_destroy(&attr);
	rc = pthread_create(&a->thread, NULL, sync_main, a);
	if (rc == 0)
		return 0;
	pthread_cond_destroy(&a->work);
	return problem_set(why, "cannot start the audit's sync thread: %s", strerror(rc));
}

void audit_sync_stop(struct audit *a)
{
	pthread_mutex_lock(&a->lock);
	a->stop = true;
	pthread_cond_signal(&a->work);
	pthread_mutex_unlock(&a->lock);
	pthread_join(a->thread, NULL);
	pthread_cond_destroy(&a->work);
}
