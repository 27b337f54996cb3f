/* What if batond, its Redis, or both are killed at one point? Preloaded into batond by the tests, it counts the calls by which anything leaves the
 * process - to Redis, to agents, to the audit and other files - and stands still before the one that the page of memory names that it shares with the
 * test, which then kills whom it likes. What is between two such calls nobody outside can tell apart. (batond itself may not send signals.) The page
 * is a file, named by BATON_KILLAT; all is as ever when there is none, and in every other program. */
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "page.h"
#include "stack.h"

#define OURS 2 /* frames of this file on top */

/* lib/faults.js knows this layout. */
struct page {
	_Atomic uint32_t armed;  /* 1: it counts; 0 when it has struck */
	_Atomic uint32_t pass;   /* so many calls are let pass first */
	_Atomic uint32_t still;  /* 1: it has struck, and no such call is made until the test sets this to 0 */
	_Atomic uint32_t calls;  /* since it was armed */
	_Atomic uint32_t fired;  /* how often so far */
	char text[4000];         /* where the last time */
};

static struct page *page;

__attribute__((constructor)) static void open_page(void)
{
	page = page_open("BATON_KILLAT", sizeof *page);
}

__attribute__((noinline)) static void point(void)
{
	struct stack s = {.skip = OURS};

	if (!page)
		return;
	if (atomic_load(&page->armed) && atomic_fetch_add(&page->calls, 1) == atomic_load(&page->pass) && atomic_exchange(&page->armed, 0)) {
		stack_take(&s);
		stack_tell(&s, page->text, sizeof page->text);
		atomic_fetch_add(&page->fired, 1);
		atomic_store(&page->still, 1);
	}
	while (atomic_load(&page->still))
		sched_yield();
}

ssize_t write(int fd, const void *p, size_t n)
{
	point();
	return syscall(SYS_write, fd, p, n);
}

ssize_t writev(int fd, const struct iovec *v, int n)
{
	point();
	return syscall(SYS_writev, fd, v, n);
}

ssize_t send(int fd, const void *p, size_t n, int flags)
{
	point();
	return syscall(SYS_sendto, fd, p, n, flags, NULL, 0);
}

ssize_t sendmsg(int fd, const struct msghdr *m, int flags)
{
	point();
	return syscall(SYS_sendmsg, fd, m, flags);
}

int fdatasync(int fd)
{
	point();
	return (int)syscall(SYS_fdatasync, fd);
}

int fsync(int fd)
{
	point();
	return (int)syscall(SYS_fsync, fd);
}

int rename(const char *from, const char *to)
{
	point();
	return (int)syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0);
}
