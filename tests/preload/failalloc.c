/* What if memory runs out at one place? Preloaded into batond by the tests, it lets an allocation fail when the page of memory says so that
 * it shares with the test: the first one at a place that has not failed before. A place is a way through batond's own code, as the stack has
 * it; what libraries do beyond it is told apart as far as the page wants. So each place fails in its turn, in a process that goes on. The
 * page is a file, named by BATON_FAILALLOC; all is as ever when there is none, and in every other program. */
#include <dlfcn.h>
#include <errno.h>
#include <link.h>
#include <malloc.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "page.h"
#include "stack.h"

#define OURS 3            /* frames of this file on top */
#define SITES (1u << 16)
#define BOOT_BYTES 8192   /* for what dlsym() asks for while it looks for the real malloc */
#define LOCAL static _Thread_local __attribute__((tls_model("initial-exec")))

/* lib/preload.js knows this layout. */
struct page {
	_Atomic uint32_t armed;   /* 1: the next allocation at a new place fails, which sets it to 0 */
	_Atomic uint32_t pass;    /* so many of them are let pass first */
	_Atomic uint32_t then;    /* so many allocations of that thread fail after it, wherever they are made, unless this becomes 0 */
	_Atomic uint32_t each;    /* so many ways inside libraries count as places of their own, for each way to them */
	_Atomic uint32_t failed;  /* places so far */
	char text[4000];          /* the stack of the last one: object+offset, a line each */
};

static void *(*real_malloc)(size_t);
static void *(*real_calloc)(size_t, size_t);
static void *(*real_realloc)(void *, size_t);
static void *(*real_memalign)(size_t, size_t);
static int (*real_posix_memalign)(void **, size_t, size_t);
static void (*real_free)(void *);

static char boot[BOOT_BYTES];
static size_t boot_used;
static struct page *page;
static struct site {
	uint64_t hash;
	uint32_t n;               /* of a way through batond: the ways beyond it that have failed */
} sites[SITES];
static uintptr_t own_from, own_to; /* where batond's own code is */
static atomic_flag sites_lock = ATOMIC_FLAG_INIT;
LOCAL int inside;         /* this thread is in here already */
LOCAL uint32_t more;      /* allocations of this thread that are yet to fail */

static void find_real(void)
{
	static int looking;

	if (looking)
		return;
	looking = 1;
	real_calloc = dlsym(RTLD_NEXT, "calloc");
	real_realloc = dlsym(RTLD_NEXT, "realloc");
	real_memalign = dlsym(RTLD_NEXT, "memalign");
	real_posix_memalign = dlsym(RTLD_NEXT, "posix_memalign");
	real_free = dlsym(RTLD_NEXT, "free");
	real_malloc = dlsym(RTLD_NEXT, "malloc");
}

static void *boot_alloc(size_t n)
{
	void *p = boot + boot_used;

	n = (n + 15) & ~(size_t)15;
	if (n > BOOT_BYTES - boot_used)
		_exit(125);
	boot_used += n;
	return p;
}

static int is_boot(const void *p)
{
	return (const char *)p >= boot && (const char *)p < boot + BOOT_BYTES;
}

/* The program itself is the first object that is named. */
static int find_own(struct dl_phdr_info *o, size_t size, void *arg)
{
	for (int i = 0; i < o->dlpi_phnum; i++) {
		const ElfW(Phdr) *h = &o->dlpi_phdr[i];

		if (h->p_type != PT_LOAD || !(h->p_flags & PF_X))
			continue;
		own_from = o->dlpi_addr + h->p_vaddr;
		own_to = own_from + h->p_memsz;
	}
	return 1;
}

__attribute__((constructor)) static void open_page(void)
{
	if (!real_malloc)
		find_real();
	page = page_open("BATON_FAILALLOC", sizeof *page);
	if (page)
		dl_iterate_phdr(find_own, NULL);
}

static struct site *find_site(uint64_t hash)
{
	size_t at = hash % SITES;

	while (sites[at].hash && sites[at].hash != hash)
		at = (at + 1) % SITES;
	return &sites[at];
}

/* Whether it fails; then it counts from now on. */
static int new_site(uint64_t own, uint64_t all)
{
	struct site *o, *a;
	int fail = 0;

	while (atomic_flag_test_and_set(&sites_lock))
		;
	o = find_site(own);
	a = find_site(all);
	if (!a->hash && o->n < atomic_load(&page->each)) {
		uint32_t pass = atomic_load(&page->pass);

		if (pass)
			atomic_store(&page->pass, pass - 1);
		else
			fail = (int)atomic_exchange(&page->armed, 0);
	}
	if (fail) {
		o->hash = own;
		o->n++;
		a->hash = all;
	}
	atomic_flag_clear(&sites_lock);
	return fail;
}

static uint64_t add(uint64_t hash, const void *p)
{
	return (hash ^ (uint64_t)(uintptr_t)p) * 1099511628211u;
}

__attribute__((noinline)) static int judge(void)
{
	struct stack s = {.skip = OURS};
	uint64_t own = 14695981039346656037u, all = own + 2;

	stack_take(&s);
	for (int i = 0; i < s.n; i++) {
		uintptr_t p = (uintptr_t)s.frames[i];

		all = add(all, s.frames[i]);
		if (p >= own_from && p < own_to)
			own = add(own, s.frames[i]);
	}
	if (!new_site(own | 1, all | 1))
		return 0;
	stack_tell(&s, page->text, sizeof page->text);
	more = atomic_load(&page->then);
	atomic_fetch_add(&page->failed, 1);
	return 1;
}

__attribute__((noinline)) static int fails(void)
{
	int fail;

	if (more && !inside) {
		more = atomic_load(&page->then) ? more - 1 : 0;
		return more > 0;
	}
	if (!page || inside || !atomic_load_explicit(&page->armed, memory_order_relaxed))
		return 0;
	inside = 1;
	fail = judge();
	inside = 0;
	return fail;
}

static void *none(void)
{
	errno = ENOMEM;
	return NULL;
}

void *malloc(size_t n)
{
	if (!real_malloc)
		find_real();
	if (!real_malloc)
		return boot_alloc(n);
	return fails() ? none() : real_malloc(n);
}

void *calloc(size_t n, size_t size)
{
	if (!real_malloc)
		find_real();
	if (!real_malloc)
		return boot_alloc(n * size);
	return fails() ? none() : real_calloc(n, size);
}

void *realloc(void *p, size_t n)
{
	if (is_boot(p))
		_exit(125);
	if (!real_malloc)
		find_real();
	return n && fails() ? none() : real_realloc(p, n);
}

void *memalign(size_t align, size_t n)
{
	return fails() ? none() : real_memalign(align, n);
}

void *aligned_alloc(size_t align, size_t n)
{
	return memalign(align, n);
}

int posix_memalign(void **out, size_t align, size_t n)
{
	return fails() ? ENOMEM : real_posix_memalign(out, align, n);
}

void free(void *p)
{
	if (!p || is_boot(p))
		return;
	if (!real_malloc)
		find_real();
	real_free(p);
}
