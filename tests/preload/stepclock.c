/* What if somebody sets the clock? Preloaded into batond, or a Redis, by the tests, it adds to the wall clock what the page of memory says that it shares
 * with the test; the monotonic clock goes on as ever, as it does when a machine's clock is set, unless the test says that much time has passed. The page is a file, named by BATON_STEPCLOCK;
 * all is as ever when there is none, and in every other program. */
#include <dlfcn.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include "page.h"

/* lib/faults.js knows this layout. */
struct page {
	_Atomic int64_t seconds; /* that the wall clock is ahead */
	_Atomic int64_t passed;  /* and the monotonic one */
};

static struct page *page;

__attribute__((constructor)) static void open_page(void)
{
	page = page_open("BATON_STEPCLOCK", sizeof *page);
}

static time_t ahead(clockid_t id)
{
	if (page && (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE))
		return (time_t)atomic_load(&page->seconds);
	return page && id == CLOCK_MONOTONIC ? (time_t)atomic_load(&page->passed) : 0;
}

int clock_gettime(clockid_t id, struct timespec *t)
{
	int rc = (int)syscall(SYS_clock_gettime, id, t);

	if (rc == 0)
		t->tv_sec += ahead(id);
	return rc;
}

int gettimeofday(struct timeval *restrict t, void *restrict zone)
{
	struct timespec now;

	(void)zone;
	clock_gettime(CLOCK_REALTIME, &now);
	t->tv_sec = now.tv_sec;
	t->tv_usec = now.tv_nsec / 1000;
	return 0;
}

time_t time(time_t *out)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	if (out)
		*out = now.tv_sec;
	return now.tv_sec;
}
