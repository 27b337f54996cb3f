/* What do tests of the confinement need that no script can do? To make a running program call the kernel, as code that an intruder got
 * into it would; and to start one on a kernel that lacks a call.
 *
 *     confine_probe landlock                   the ABI of this kernel's Landlock, 0 = none
 *     confine_probe inject PID getpid|execve   the first thread of PID calls it: "returned N", "became another program", "killed by N"
 *     confine_probe without CALL PROGRAM...    executes a program for which the call is not there (ENOSYS) */
#include "config.h"

#include <errno.h>
#include <seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>

static int failed(const char *what)
{
	fprintf(stderr, "confine_probe: %s: %s\n", what, strerror(errno));
	return EX_OSERR;
}

static int landlock(void)
{
	long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, 1);

	printf("%ld\n", abi > 0 ? abi : 0);
	return 0;
}

static int without(const char *call, char **argv)
{
	scmp_filter_ctx c = seccomp_init(SCMP_ACT_ALLOW);

	if (!c || seccomp_rule_add(c, SCMP_ACT_ERRNO(ENOSYS), seccomp_syscall_resolve_name(call), 0) != 0 || seccomp_load(c) != 0)
		return failed(call);
	seccomp_release(c);
	execvp(argv[0], argv);
	return failed(argv[0]);
}

#ifdef __x86_64__

#define SYSCALL_BYTES 0x050f /* the instruction, little-endian */
#define BELOW_STACK 1024

/* Stops PID's first thread where it waits in a system call, so that the instruction before is one. */
static int stop_in_call(pid_t pid, struct user_regs_struct *r)
{
	for (int i = 0; i < 100; i++) {
		if (ptrace(PTRACE_ATTACH, pid, NULL, NULL) != 0 || waitpid(pid, NULL, 0) != pid || ptrace(PTRACE_GETREGS, pid, NULL, r) != 0)
			return -1;
		errno = 0;
		if ((ptrace(PTRACE_PEEKTEXT, pid, r->rip - 2, NULL) & 0xffff) == SYSCALL_BYTES && errno == 0)
			return 0;
		ptrace(PTRACE_DETACH, pid, NULL, NULL);
		usleep(10000);
	}
	errno = EAGAIN;
	return -1;
}

static int poke(pid_t pid, uint64_t at, const void *bytes, size_t n)
{
	for (size_t i = 0; i < n; i += sizeof(long)) {
		long word = 0;

		memcpy(&word, (const char *)bytes + i, n - i < sizeof word ? n - i : sizeof word);
		if (ptrace(PTRACE_POKEDATA, pid, at + i, word) != 0)
			return -1;
	}
	return 0;
}

/* rax, rdi, rsi, rdx of execve("/bin/true", {"/bin/true", NULL}, {NULL}), its words below the stack. */
static int set_execve(pid_t pid, struct user_regs_struct *r)
{
	static const char program[16] = "/bin/true";
	uint64_t at = (r->rsp - BELOW_STACK) & ~UINT64_C(15), argv[2] = {at, 0};

	r->rax = SYS_execve;
	r->rdi = at;
	r->rsi = at + sizeof program;
	r->rdx = at + sizeof program + sizeof argv[0];
	return poke(pid, at, program, sizeof program) == 0 ? poke(pid, at + sizeof program, argv, sizeof argv) : -1;
}

/* To the next stop: 1. 0: it is no more, and that was said. */
static int step(pid_t pid, int *status)
{
	if (ptrace(PTRACE_SYSCALL, pid, NULL, NULL) != 0 || waitpid(pid, status, 0) != pid)
		return -1;
	if (!WIFSIGNALED(*status))
		return 1;
	printf("killed by %d\n", WTERMSIG(*status));
	return 0;
}

static int inject(pid_t pid, const char *call)
{
	struct user_regs_struct before, now;
	int status, rc;

	if (stop_in_call(pid, &before) != 0)
		return failed("attach");
	ptrace(PTRACE_SETOPTIONS, pid, NULL, PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACEEXEC);
	now = before;
	now.rip -= 2;
	now.orig_rax = (unsigned long long)-1; /* no restart of what it waited in */
	now.rax = SYS_getpid;
	if (strcmp(call, "execve") == 0 && set_execve(pid, &now) != 0)
		return failed("poke");
	if (ptrace(PTRACE_SETREGS, pid, NULL, &now) != 0)
		return failed("set registers");
	if ((rc = step(pid, &status)) <= 0 || (rc = step(pid, &status)) <= 0) /* into the call, and out */
		return rc < 0 ? failed("step") : 0;
	if (status >> 8 == (SIGTRAP | PTRACE_EVENT_EXEC << 8)) {
		puts("became another program");
		ptrace(PTRACE_DETACH, pid, NULL, NULL);
		return 0;
	}
	if (ptrace(PTRACE_GETREGS, pid, NULL, &now) != 0)
		return failed("registers");
	before.rip -= 2; /* back into what it waited in; when the call was its last, it dies on the way */
	before.rax = before.orig_rax;
	if (ptrace(PTRACE_SETREGS, pid, NULL, &before) != 0)
		return failed("set registers");
	if ((rc = step(pid, &status)) <= 0)
		return rc < 0 ? failed("step") : 0;
	printf("returned %lld\n", (long long)now.rax);
	return ptrace(PTRACE_DETACH, pid, NULL, NULL) == 0 ? 0 : failed("detach");
}

#else

static int inject(pid_t pid, const char *call)
{
	puts("only on x86_64");
	return EX_UNAVAILABLE;
}

#endif

int main(int argc, char **argv)
{
	if (argc == 2 && strcmp(argv[1], "landlock") == 0)
		return landlock();
	if (argc == 4 && strcmp(argv[1], "inject") == 0)
		return inject((pid_t)atoi(argv[2]), argv[3]);
	if (argc > 3 && strcmp(argv[1], "without") == 0)
		return without(argv[2], argv + 3);
	return EX_USAGE;
}
