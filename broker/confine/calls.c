/* Which system calls may this process make? The broker: those of the table `allowed`, and some only with the arguments that are needed.
 * What nothing but an intruder makes (another program, another process' memory, memory that is written and then run, a raw socket) ends
 * the process at once. Any other call fails with ENOSYS, as on a kernel that does not have it: a library of tomorrow that tries a newer
 * call falls back to the older one instead of ending the broker, and the call is not made all the same.
 * A program that is not ours (redis-server, whose calls change with its version) may make all but what is denied to it. */
#include "config.h"

#include "confine/confine.h"

#include <asm/termbits.h>
#include <errno.h>
#include <linux/sched.h>
#include <seccomp.h>
#include <stddef.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

_Static_assert(sizeof(long) == 8, "the tables are those of 64-bit systems");

/* Names that an architecture or the installed libseccomp does not know are passed over: a call without a row is not allowed. */
static const char *const allowed[] = {
	/* memory; mmap and mprotect have rows of their own below */
	"brk", "madvise", "mremap", "munmap",
	/* threads and signals; a thread is a clone of its own row */
	"exit", "exit_group", "futex", "get_robust_list", "gettid", "membarrier", "restart_syscall", "rseq", "rt_sigaction", "rt_sigprocmask",
	"rt_sigreturn", "sched_getaffinity", "sched_yield", "set_robust_list", "sigaltstack",
	/* time and chance */
	"clock_getres", "clock_gettime", "clock_nanosleep", "getrandom", "gettimeofday", "nanosleep", "time",
	/* what is open */
	"close", "close_range", "dup", "dup2", "dup3", "fcntl", "fdatasync", "flock", "fstat", "fsync", "ftruncate", "getdents64", "lseek",
	"pread64", "preadv", "pwrite64", "pwritev", "read", "readv", "write", "writev",
	/* files, within the folders of files.c */
	"access", "faccessat", "faccessat2", "fadvise64", "fchmod", "getcwd", "lstat", "mkdir", "mkdirat", "newfstatat", "open", "openat",
	"readlink", "readlinkat", "rename", "renameat", "renameat2", "stat", "statx", "umask", "unlink", "unlinkat",
	/* sockets; socket has rows of its own, and listening is over by then */
	"accept", "accept4", "bind", "connect", "getpeername", "getsockname", "getsockopt", "recvfrom", "recvmmsg", "recvmsg", "sendmmsg",
	"sendmsg", "sendto", "setsockopt", "shutdown", "socketpair",
	/* waiting for them */
	"epoll_create", "epoll_create1", "epoll_ctl", "epoll_pwait", "epoll_pwait2", "epoll_wait", "eventfd2", "pipe", "pipe2", "poll", "ppoll",
	"pselect6", "select", "timerfd_create", "timerfd_gettime", "timerfd_settime",
	/* who and where this is; wait4 for the process that supervises redis-server */
	"getegid", "geteuid", "getgid", "getpid", "getppid", "getrusage", "getuid", "sysinfo", "uname", "wait4",
};

/* The keeper's, who has no thread, no socket but the pipes that are open, and nothing to wait for but those. */
static const char *const allowed_keeper[] = {
	"brk", "madvise", "mremap", "munmap",
	"exit", "exit_group", "futex", "gettid", "restart_syscall", "rt_sigaction", "rt_sigprocmask", "rt_sigreturn", "sigaltstack",
	"clock_gettime", "getrandom", "gettimeofday", "time",
	"close", "fcntl", "fdatasync", "fstat", "fsync", "lseek", "newfstatat", "open", "openat", "poll", "ppoll", "read", "recvfrom", "sendto", "stat", "statx", "write",
	"geteuid", "getpid", "getppid", "getuid",
};

#define BROKER (1u << CONFINE_BROKER)
#define KEEPER (1u << CONFINE_KEEPER)
#define OURS (BROKER | KEEPER)
#define PROGRAM (1u << CONFINE_PROGRAM)
#define UNSANITIZED 0x80u /* left out in a sanitized build, whose leak checker stops all threads by ptrace, from a child */

enum verdict { ALLOW, KILL, REFUSE };

struct rule {
	const char *name;
	enum verdict verdict;
	unsigned roles;
	struct scmp_arg_cmp args[3]; /* ends where op is 0 */
};

/* An int argument: the upper half of its register is nobody's. */
#define IS(arg, value) {arg, SCMP_CMP_MASKED_EQ, 0xffffffffu, value}
#define BITS(arg, mask, value) {arg, SCMP_CMP_MASKED_EQ, mask, value}
#define TYPE(value) BITS(1, 0xf, value) /* beside SOCK_CLOEXEC and SOCK_NONBLOCK */

#define ROW(call, is, who, ...) {.name = call, .verdict = is, .roles = who, .args = {__VA_ARGS__}}

static const struct rule rules[] = {
	ROW("clone", ALLOW, BROKER, BITS(0, CLONE_THREAD, CLONE_THREAD)), /* clone3 hides its flags: ENOSYS, and libc falls back to this */
	ROW("ioctl", ALLOW, BROKER, IS(1, FIONREAD)),
	ROW("ioctl", ALLOW, BROKER, IS(1, FIONBIO)),
	ROW("ioctl", ALLOW, BROKER, IS(1, TCGETS)), /* isatty() */
	ROW("mmap", ALLOW, OURS, BITS(2, PROT_EXEC, 0)),
	ROW("mmap", ALLOW, BROKER, BITS(2, PROT_EXEC | PROT_WRITE, PROT_EXEC)), /* a library that a name service needs */
	ROW("mprotect", ALLOW, OURS, BITS(2, PROT_EXEC, 0)),
	ROW("prctl", ALLOW, BROKER, IS(0, PR_SET_NAME)),
	ROW("prlimit64", ALLOW, BROKER, IS(0, 0), {2, SCMP_CMP_EQ, 0, 0}), /* of itself, and only to read */
	ROW("socket", ALLOW, BROKER, IS(0, AF_UNIX)),
	ROW("socket", ALLOW, BROKER, IS(0, AF_INET), TYPE(SOCK_STREAM)),
	ROW("socket", ALLOW, BROKER, IS(0, AF_INET), TYPE(SOCK_DGRAM)), /* DNS */
	ROW("socket", ALLOW, BROKER, IS(0, AF_INET6), TYPE(SOCK_STREAM)),
	ROW("socket", ALLOW, BROKER, IS(0, AF_INET6), TYPE(SOCK_DGRAM)),
	ROW("socket", ALLOW, BROKER, IS(0, AF_NETLINK), IS(2, 0)), /* NETLINK_ROUTE: getaddrinfo() asks which families there are */

	/* another program, another process */
	ROW("execve", KILL, OURS),
	ROW("execveat", KILL, OURS),
	ROW("fork", KILL, OURS),
	ROW("vfork", KILL, OURS),
	ROW("clone", KILL, OURS | UNSANITIZED, BITS(0, CLONE_THREAD, 0)),
	ROW("ptrace", KILL, OURS | PROGRAM | UNSANITIZED),
	ROW("process_vm_readv", KILL, OURS | PROGRAM),
	ROW("process_vm_writev", KILL, OURS | PROGRAM),
	ROW("pidfd_getfd", KILL, OURS | PROGRAM),
	ROW("kcmp", KILL, OURS | PROGRAM),
	/* code that was data */
	ROW("mmap", KILL, OURS, BITS(2, PROT_EXEC | PROT_WRITE, PROT_EXEC | PROT_WRITE)),
	ROW("mprotect", KILL, OURS, BITS(2, PROT_EXEC, PROT_EXEC)),
	/* the network below TCP and UDP */
	ROW("socket", KILL, OURS, IS(0, AF_INET), TYPE(SOCK_RAW)),
	ROW("socket", KILL, OURS, IS(0, AF_INET6), TYPE(SOCK_RAW)),
	ROW("socket", KILL, OURS, {0, SCMP_CMP_GT, AF_NETLINK, 0}), /* packets, vsock, the kernel's ciphers, ... */
	ROW("socket", REFUSE, PROGRAM, {0, SCMP_CMP_NE, AF_UNIX, 0}),
	/* the kernel, and rights over the machine */
	ROW("acct", KILL, OURS | PROGRAM),
	ROW("bpf", KILL, OURS | PROGRAM),
	ROW("chroot", KILL, OURS | PROGRAM),
	ROW("clock_settime", KILL, OURS | PROGRAM),
	ROW("delete_module", KILL, OURS | PROGRAM),
	ROW("finit_module", KILL, OURS | PROGRAM),
	ROW("fsconfig", KILL, OURS | PROGRAM),
	ROW("fsmount", KILL, OURS | PROGRAM),
	ROW("fsopen", KILL, OURS | PROGRAM),
	ROW("init_module", KILL, OURS | PROGRAM),
	ROW("ioperm", KILL, OURS | PROGRAM),
	ROW("iopl", KILL, OURS | PROGRAM),
	ROW("kexec_file_load", KILL, OURS | PROGRAM),
	ROW("kexec_load", KILL, OURS | PROGRAM),
	ROW("modify_ldt", KILL, OURS | PROGRAM),
	ROW("mount", KILL, OURS | PROGRAM),
	ROW("mount_setattr", KILL, OURS | PROGRAM),
	ROW("move_mount", KILL, OURS | PROGRAM),
	ROW("open_by_handle_at", KILL, OURS | PROGRAM),
	ROW("open_tree", KILL, OURS | PROGRAM),
	ROW("perf_event_open", KILL, OURS | PROGRAM),
	ROW("pivot_root", KILL, OURS | PROGRAM),
	ROW("quotactl", KILL, OURS | PROGRAM),
	ROW("reboot", KILL, OURS | PROGRAM),
	ROW("setns", KILL, OURS | PROGRAM),
	ROW("settimeofday", KILL, OURS | PROGRAM),
	ROW("swapoff", KILL, OURS | PROGRAM),
	ROW("swapon", KILL, OURS | PROGRAM),
	ROW("umount2", KILL, OURS | PROGRAM),
	ROW("unshare", KILL, OURS | PROGRAM),
	ROW("userfaultfd", KILL, OURS | PROGRAM),
	/* for OURS these are like all that has no row. io_uring would go around the filter */
	ROW("add_key", REFUSE, PROGRAM),
	ROW("io_uring_setup", REFUSE, PROGRAM),
	ROW("keyctl", REFUSE, PROGRAM),
	ROW("request_key", REFUSE, PROGRAM),
};

/* What a sanitizer's runtime needs besides: its leak checker, and reports. */
static const char *const sanitizers[] = {
	"arch_prctl", "clone", "getdents", "getrlimit", "kill", "mincore", "personality", "prctl", "ptrace", "rt_sigtimedwait", "tgkill", "tkill", "wait4",
};

static uint32_t action_of(enum verdict v)
{
	static const uint32_t actions[] = {[ALLOW] = SCMP_ACT_ALLOW, [KILL] = SCMP_ACT_KILL_PROCESS, [REFUSE] = SCMP_ACT_ERRNO(ENOSYS)};

	return actions[v];
}

/* 0, or a negative errno. */
static int add(scmp_filter_ctx c, const char *name, uint32_t action, unsigned n, const struct scmp_arg_cmp *args)
{
	int nr = seccomp_syscall_resolve_name(name);

	return nr < 0 ? 0 : seccomp_rule_add_array(c, action, nr, n, args);
}

static int add_names(scmp_filter_ctx c, const char *const *names, size_t n)
{
	int rc = 0;

	for (size_t i = 0; i < n && rc == 0; i++)
		rc = add(c, names[i], SCMP_ACT_ALLOW, 0, NULL);
	return rc;
}

/* abort(), raise() and pthread_kill(): to this process alone. */
static int add_own_signals(scmp_filter_ctx c)
{
	const struct scmp_arg_cmp self = IS(0, (scmp_datum_t)getpid());

	return add(c, "tgkill", SCMP_ACT_ALLOW, 1, &self);
}

static unsigned n_args(const struct rule *r)
{
	unsigned n = 0;

	while (n < sizeof r->args / sizeof r->args[0] && r->args[n].op)
		n++;
	return n;
}

static int add_rules(scmp_filter_ctx c, enum confine_role role)
{
	int rc = 0;

	for (size_t i = 0; i < sizeof rules / sizeof rules[0] && rc == 0; i++) {
		const struct rule *r = &rules[i];

		if ((r->roles & 1u << role) && !(SANITIZED && (r->roles & UNSANITIZED)))
			rc = add(c, r->name, action_of(r->verdict), n_args(r), r->args);
	}
	if (rc == 0 && role == CONFINE_BROKER)
		rc = add_names(c, allowed, sizeof allowed / sizeof allowed[0]);
	if (rc == 0 && role == CONFINE_KEEPER)
		rc = add_names(c, allowed_keeper, sizeof allowed_keeper / sizeof allowed_keeper[0]);
	if (rc == 0 && role != CONFINE_PROGRAM)
		rc = SANITIZED ? add_names(c, sanitizers, sizeof sanitizers / sizeof sanitizers[0]) : add_own_signals(c);
	return rc;
}

int confine_calls(enum confine_role role, struct problem *why)
{
	scmp_filter_ctx c = seccomp_init(role == CONFINE_PROGRAM ? SCMP_ACT_ALLOW : SCMP_ACT_ERRNO(ENOSYS));
	int rc = c ? 0 : -ENOMEM;

	if (rc == 0)
		rc = seccomp_attr_set(c, SCMP_FLTATR_CTL_TSYNC, 1);
	if (rc == 0)
		rc = seccomp_attr_set(c, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS); /* a 32-bit call has other numbers */
	if (rc == 0)
		rc = seccomp_attr_set(c, SCMP_FLTATR_CTL_OPTIMIZE, 2); /* a tree, not a list */
	if (rc == 0)
		rc = add_rules(c, role);
	if (rc == 0)
		rc = seccomp_load(c);
	if (c)
		seccomp_release(c);
	return rc == 0 ? 0 : problem_set(why, "seccomp: no filter can be installed: %s; hardening.seccomp: off goes without (batond(8), CONFINEMENT)", strerror(-rc));
}
