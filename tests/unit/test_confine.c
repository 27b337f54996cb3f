/* Does a confined process lose what it must, and keep what it needs? Each case runs in a child that confines itself by the product's own
 * functions; the same act without them shows that it is they who stop it. */
#include "config.h"

#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <netdb.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <netinet/in.h>
#include <unistd.h>

#include <cmocka.h>

#include "confine/confine.h"

static char *const no_words[] = {NULL};
static char folder[] = "/tmp/confine-XXXXXX";

static const char *in_folder(const char *name)
{
	static _Thread_local char path[2][256];
	static _Thread_local int turn;

	turn ^= 1;
	snprintf(path[turn], sizeof path[turn], "%s/%s", folder, name);
	return path[turn];
}

/* ---- acts: 0, or an errno. What needs rights that the test may lack, or makes no sense, counts as done when the kernel answered ---- */

static int said(long rc)
{
	return rc < 0 ? errno : 0;
}

static int act_execve(void)
{
	char *argv[] = {(char *)"true", NULL};

	return said(execve("/bin/true", argv, no_words));
}

static int act_execveat(void)
{
	char *argv[] = {(char *)"true", NULL};

	return said(syscall(SYS_execveat, AT_FDCWD, "/bin/true", argv, no_words, 0));
}

static int child_of(long pid)
{
	if (pid == 0)
		_exit(0);
	if (pid < 0)
		return errno;
	waitpid((pid_t)pid, NULL, 0);
	return 0;
}

static int act_fork(void)
{
	return child_of(fork());
}

static int act_clone(void)
{
	return child_of(syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0));
}

/* libc asks for this one first and falls back; its flags lie in memory, where no filter can look. */
static int act_clone3(void)
{
	uint64_t args[8] = {[4] = SIGCHLD};

	return child_of(syscall(SYS_clone3, args, sizeof args));
}

static int act_shell(void)
{
	int (*run)(const char *) = (int (*)(const char *))dlsym(RTLD_DEFAULT, "system");

	return run("true") == 0 ? 0 : ECHILD;
}

static int act_ptrace(void)
{
	return said(ptrace(PTRACE_TRACEME, 0, NULL, NULL));
}

static int act_read_process(void)
{
	char a = 'a', b = 'b';
	struct iovec to = {&a, 1}, from = {&b, 1};

	process_vm_readv(getppid(), &to, 1, &from, 1, 0);
	return 0;
}

static int act_raw_socket(void)
{
	socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_ICMP);
	return 0;
}

static int act_packets(void)
{
	socket(AF_PACKET, SOCK_RAW, 0);
	return 0;
}

static int act_map_and_run(void)
{
	return mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED ? errno : 0;
}

static int act_protect_and_run(void)
{
	void *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return said(mprotect(p, 4096, PROT_READ | PROT_EXEC));
}

static int act_bpf(void)
{
	syscall(SYS_bpf, 0, NULL, 0);
	return 0;
}

static int act_unshare(void)
{
	return said(unshare(CLONE_FILES));
}

static int act_mount(void)
{
	syscall(SYS_mount, "none", "/nowhere", "tmpfs", 0, NULL);
	return 0;
}

static int act_set_clock(void)
{
	syscall(SYS_clock_settime, CLOCK_MONOTONIC, NULL);
	return 0;
}

static int refused(long rc)
{
	return said(rc) == ENOSYS ? ENOSYS : 0;
}

static int act_io_uring(void)
{
	return refused(syscall(SYS_io_uring_setup, 0, NULL));
}

static int act_memfd(void)
{
	return said(syscall(SYS_memfd_create, "x", 0));
}

static int act_type_for_the_terminal(void)
{
	return refused(ioctl(0, TIOCSTI, "x"));
}

static int act_core_files(void)
{
	const struct rlimit some = {0, 0};

	return said(setrlimit(RLIMIT_CORE, &some));
}

static int act_dumpable(void)
{
	return said(prctl(PR_SET_DUMPABLE, 1));
}

static int act_listen(void)
{
	return said(listen(socket(AF_INET, SOCK_STREAM, 0), 1));
}

static int act_kill(void)
{
	return said(kill(getppid(), 0));
}

static int act_signal_another(void)
{
	return said(syscall(SYS_tgkill, getppid(), getppid(), 0));
}

static int act_other_socket(void)
{
	return refused(socket(AF_KEY, SOCK_RAW, 2));
}

/* ---- what a broker does all day ---- */

static int act_files(void)
{
	int fd = open(in_folder("new"), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	struct stat st;
	DIR *d;

	if (fd < 0 || write(fd, "text", 4) != 4 || pwrite(fd, "T", 1, 0) != 1 || fsync(fd) || fdatasync(fd) || fchmod(fd, 0640) ||
	    fstat(fd, &st) || ftruncate(fd, 2) || lseek(fd, 0, SEEK_SET) || close(fd))
		return errno;
	if (rename(in_folder("new"), in_folder("renamed")) || stat(in_folder("renamed"), &st) || access(in_folder("renamed"), R_OK))
		return errno;
	d = opendir(folder);
	if (!d || !readdir(d) || closedir(d) || unlink(in_folder("renamed")))
		return errno;
	return 0;
}

static int act_memory(void)
{
	char *p = malloc(1 << 20), *q = p ? realloc(p, 64 << 20) : NULL;

	if (!q)
		return ENOMEM;
	memset(q, 1, 64 << 20);
	free(q);
	return 0;
}

static void *nothing(void *arg)
{
	return arg;
}

static int act_threads(void)
{
	pthread_t t;

	for (int i = 0; i < 8; i++)
		if (pthread_create(&t, NULL, nothing, NULL) || pthread_setname_np(t, "name") == EINVAL || pthread_join(t, NULL))
			return EAGAIN;
	return 0;
}

static int act_time_and_chance(void)
{
	struct timespec t = {0, 1000}, now;
	char bytes[16];

	return clock_gettime(CLOCK_MONOTONIC, &now) || nanosleep(&t, NULL) || getrandom(bytes, sizeof bytes, 0) != sizeof bytes ? errno : 0;
}

static int act_waiting(void)
{
	int e = epoll_create1(EPOLL_CLOEXEC), v = eventfd(1, EFD_NONBLOCK | EFD_CLOEXEC), fds[2];
	struct epoll_event want = {.events = EPOLLIN}, got;
	struct pollfd p = {.fd = v, .events = POLLIN};

	if (pipe2(fds, O_CLOEXEC) || epoll_ctl(e, EPOLL_CTL_ADD, v, &want) || epoll_wait(e, &got, 1, 100) != 1 || poll(&p, 1, 100) != 1)
		return errno ? errno : EIO;
	return 0;
}

static int act_unix_sockets(void)
{
	int fds[2], n = 0;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) || send(fds[0], "x", 1, MSG_NOSIGNAL) != 1 || ioctl(fds[1], FIONREAD, &n) ||
	    n != 1 || fcntl(fds[0], F_SETFL, O_NONBLOCK))
		return errno ? errno : EIO;
	return 0;
}

static int listener = -1; /* made before */

static int act_tcp(void)
{
	struct sockaddr_in a;
	socklen_t n = sizeof a;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, IPPROTO_TCP), peer, one = 1;

	if (getsockname(listener, (struct sockaddr *)&a, &n) || fcntl(fd, F_SETFL, 0) || connect(fd, (struct sockaddr *)&a, n))
		return errno;
	peer = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	if (peer < 0 || setsockopt(fd, IPPROTO_TCP, 1, &one, sizeof one) || shutdown(fd, SHUT_WR))
		return errno;
	return 0;
}

static int resolve(const char *name, int flags)
{
	const struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = flags};
	struct addrinfo *list = NULL;
	int rc = getaddrinfo(name, "443", &hints, &list);

	if (rc == 0)
		freeaddrinfo(list);
	return rc;
}

static void *resolve_localhost(void *arg)
{
	*(int *)arg = resolve("localhost", AI_ADDRCONFIG);
	return NULL;
}

/* As libcurl and net/dial.c do: on a thread of its own. The unknown name goes all the way to the resolver and fails in its own words. */
static int act_names(void)
{
	pthread_t t;
	int rc = -1;

	if (pthread_create(&t, NULL, resolve_localhost, &rc) || pthread_join(t, NULL))
		return EAGAIN;
	if (rc)
		return EHOSTUNREACH;
	rc = resolve("no-such-host.invalid", 0);
	return rc == EAI_NONAME || rc == EAI_AGAIN ? 0 : EIO;
}

static int act_library(void) /* as a name service of nsswitch.conf is loaded */
{
	return dlopen("libnss_compat.so.2", RTLD_NOW) ? 0 : ELIBACC;
}

static int act_identity(void)
{
	struct rusage u;
	struct rlimit l;

	return getuid() != geteuid() || getrusage(RUSAGE_SELF, &u) || getrlimit(RLIMIT_NOFILE, &l) || sysconf(_SC_NPROCESSORS_ONLN) < 1 ? EIO : 0;
}

static int act_group_of_bytes(void)
{
	char a[2] = "a", b[2] = "b";
	struct iovec v[2] = {{a, 1}, {b, 1}};
	int fds[2];

	return pipe(fds) || writev(fds[1], v, 2) != 2 || readv(fds[0], v, 2) != 2 ? errno : 0;
}

/* ---- cases ---- */

static int (*chosen)(void);
static int channel[2];

/* A thread that was there before the filter: it must hold for it as well. */
static void *early_thread(void *arg)
{
	char go;

	if (read(channel[0], &go, 1) == 1)
		_exit(chosen());
	return NULL;
}

enum place { HERE, EARLY_THREAD };

/* The wait status of a child that confines itself (role < 0: not) and then acts. Its exit status is the act's errno. */
static int run(int (*act)(void), int role, enum place place)
{
	struct problem why = {""};
	pthread_t t;
	int status;
	pid_t pid;

	chosen = act;
	pid = fork();
	if (pid == 0) {
		if (place == EARLY_THREAD && (pipe(channel) || pthread_create(&t, NULL, early_thread, NULL)))
			_exit(250);
		if (role >= 0 && (confine_process(&why) || confine_calls((enum confine_role)role, &why))) {
			dprintf(2, "%s\n", why.text);
			_exit(251);
		}
		if (place == HERE)
			_exit(act());
		if (write(channel[1], "g", 1) == 1)
			pthread_join(t, NULL);
		_exit(252);
	}
	assert_true(pid > 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return status;
}

static bool killed_by(int status, int signo)
{
	return WIFSIGNALED(status) && WTERMSIG(status) == signo;
}

static bool ended_with(int status, int code)
{
	return WIFEXITED(status) && WEXITSTATUS(status) == code;
}

struct act {
	const char *name;
	int (*act)(void);
	bool leak_checker; /* a sanitized build allows it: its leak checker needs it */
};
#define ACT(x) {#x, act_##x, false}
#define LEAK_CHECKER_ACT(x) {#x, act_##x, true}

static const struct act intrusions[] = {
	ACT(execve), ACT(execveat), LEAK_CHECKER_ACT(fork), LEAK_CHECKER_ACT(clone), LEAK_CHECKER_ACT(shell),
	LEAK_CHECKER_ACT(ptrace), ACT(read_process), ACT(raw_socket), ACT(packets), ACT(map_and_run),
	ACT(protect_and_run), ACT(bpf), ACT(unshare), ACT(mount), ACT(set_clock),
};
static const struct act refusals[] = {
	ACT(clone3), ACT(io_uring), ACT(memfd), ACT(type_for_the_terminal), ACT(core_files), LEAK_CHECKER_ACT(dumpable), ACT(listen),
	LEAK_CHECKER_ACT(kill), LEAK_CHECKER_ACT(signal_another), ACT(other_socket),
};
static const struct act daily[] = {
	ACT(files), ACT(memory), ACT(threads), ACT(time_and_chance), ACT(waiting), ACT(unix_sockets), ACT(tcp), ACT(names), ACT(library),
	ACT(identity), ACT(group_of_bytes),
};
#define EACH(a, list) for (const struct act *a = list; a < list + sizeof list / sizeof list[0]; a++)

/* A shell-out from inside, and everything else that only an intruder does, ends the process; the same act works, or fails in its own
 * way, where nothing confines. */
static void intruders_are_killed(void **state)
{
	EACH(a, intrusions) {
		int free = run(a->act, -1, HERE), confined = run(a->act, CONFINE_BROKER, HERE);

		if (!ended_with(free, 0))
			fail_msg("%s, not confined: %#x", a->name, (unsigned)free);
		if (SANITIZED && a->leak_checker ? killed_by(confined, SIGSYS) : !killed_by(confined, SIGSYS))
			fail_msg("%s, confined: %#x", a->name, (unsigned)confined);
	}
	assert_false(ended_with(run(act_shell, CONFINE_BROKER, HERE), 0)); /* where it may fork, the child is killed when it executes */
}

/* The filter holds for threads that were there before it (SECCOMP_FILTER_FLAG_TSYNC). */
static void all_threads_are_confined(void **state)
{
	assert_true(ended_with(run(act_execve, -1, EARLY_THREAD), 0));
	assert_true(killed_by(run(act_execve, CONFINE_BROKER, EARLY_THREAD), SIGSYS));
	assert_true(ended_with(run(act_files, CONFINE_BROKER, EARLY_THREAD), 0));
}

static void the_rest_is_refused(void **state)
{
	EACH(a, refusals) {
		int free = run(a->act, -1, HERE), confined = run(a->act, CONFINE_BROKER, HERE);

		if (ended_with(free, ENOSYS))
			fail_msg("%s is unknown to this kernel", a->name);
		if (ended_with(confined, ENOSYS) == (SANITIZED && a->leak_checker))
			fail_msg("%s: %#x", a->name, (unsigned)confined);
	}
}

static void daily_work_goes_on(void **state)
{
	EACH(a, daily) {
		int status = run(a->act, CONFINE_BROKER, HERE);

		if (!ended_with(status, 0))
			fail_msg("%s: %#x", a->name, (unsigned)status);
	}
}

static int act_abort(void)
{
	signal(SIGABRT, SIG_DFL);
	abort();
}

static void abort_still_ends_it(void **state)
{
	assert_true(killed_by(run(act_abort, CONFINE_BROKER, HERE), SIGABRT));
}

static int act_inet_socket(void)
{
	return said(socket(AF_INET, SOCK_STREAM, 0));
}

static int act_unix_socket(void)
{
	return said(socket(AF_UNIX, SOCK_STREAM, 0));
}

/* A program that is not ours runs and forks, but has no network and no way to other processes. */
static void programs_run_without_network(void **state)
{
	assert_true(ended_with(run(act_execve, CONFINE_PROGRAM, HERE), 0));
	assert_true(ended_with(run(act_shell, CONFINE_PROGRAM, HERE), 0));
	assert_true(ended_with(run(act_unix_socket, CONFINE_PROGRAM, HERE), 0));
	assert_true(ended_with(run(act_inet_socket, CONFINE_PROGRAM, HERE), ENOSYS));
	assert_true(ended_with(run(act_inet_socket, CONFINE_BROKER, HERE), 0));
	assert_true(ended_with(run(act_io_uring, CONFINE_PROGRAM, HERE), ENOSYS));
	assert_true(killed_by(run(act_mount, CONFINE_PROGRAM, HERE), SIGSYS));
	assert_true(killed_by(run(act_ptrace, CONFINE_PROGRAM, HERE), SIGSYS) != SANITIZED);
}

/* ---- files ---- */

static void put(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	close(fd);
}

static int try_open(const char *name, int flags)
{
	int fd = open(in_folder(name), flags | O_CLOEXEC, 0600);

	if (fd < 0)
		return errno;
	close(fd);
	return 0;
}

static int try_rename(const char *from, const char *to)
{
	return said(rename(in_folder(from), in_folder(to)));
}

static int try_bind(int port)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};

	return said(bind(socket(AF_INET, SOCK_STREAM, 0), (struct sockaddr *)&a, sizeof a));
}

static int failures;

static void is(const char *what, int got, int want)
{
	if (got == want)
		return;
	dprintf(2, "%s: %s where %s was expected\n", what, strerror(got), strerror(want));
	failures++;
}

/* A tree: read/ (conf, link → elsewhere/real), write/, own/, other/secret. */
static void make_tree(void)
{
	static const char *const folders[] = {"read", "read/below", "write", "own", "other", "elsewhere"};

	for (size_t i = 0; i < sizeof folders / sizeof folders[0]; i++)
		assert_true(mkdir(in_folder(folders[i]), 0700) == 0 || errno == EEXIST);
	put(in_folder("read/conf"), "conf");
	put(in_folder("read/below/conf"), "conf");
	put(in_folder("write/log"), "log");
	put(in_folder("other/secret"), "secret");
	put(in_folder("other/new"), "new");
	put(in_folder("elsewhere/real"), "real");
	unlink(in_folder("read/link"));
	assert_int_equal(symlink(in_folder("elsewhere/real"), in_folder("read/link")), 0);
	unlink(in_folder("read/astray"));
	assert_int_equal(symlink(in_folder("other/secret"), in_folder("read/astray")), 0);
}

static struct confine_files *make_rules(bool offline, int port)
{
	struct problem why = {""};
	struct confine_files *f = confine_files_new(offline, &why);

	if (!f || confine_files_file(f, in_folder("read/conf"), CONFINE_READ, &why) ||
	    confine_files_file(f, in_folder("read/link"), CONFINE_READ, &why) || confine_files_file(f, "/dev/null", CONFINE_READ, &why) ||
	    confine_files_file(f, "", CONFINE_READ, &why) || confine_files_path(f, in_folder("nowhere"), CONFINE_READ, &why) ||
	    confine_files_path(f, in_folder("write"), CONFINE_WRITE, &why) || confine_files_path(f, in_folder("own"), CONFINE_OWN, &why) ||
	    confine_files_path(f, "/usr", CONFINE_READ, &why) || confine_files_path(f, "/lib", CONFINE_READ, &why) ||
	    confine_files_path(f, "/lib64", CONFINE_READ, &why) || confine_files_program(f, "/bin/true", &why) ||
	    confine_files_bind(f, (uint16_t)port, &why)) {
		dprintf(2, "%s\n", why.text);
		_exit(250);
	}
	return f;
}

static void in_child(void (*body)(int abi), bool offline, int port)
{
	struct problem why = {""};
	int status, abi;
	pid_t pid = fork();

	if (pid == 0) {
		struct confine_files *f = make_rules(offline, port);

		abi = confine_files_enforce(f, &why);
		if (abi < 0) {
			dprintf(2, "%s\n", why.text);
			_exit(251);
		}
		if (abi == 0)
			_exit(252);
		body(abi);
		confine_files_free(f);
		_exit(failures > 100 ? 100 : failures);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (ended_with(status, 252)) {
		print_message("this kernel has no Landlock\n");
		skip();
	}
	assert_true(ended_with(status, 0));
}

static void files_body(int abi)
{
	is("read what is named", try_open("read/conf", O_RDONLY), 0);
	is("read below it", try_open("read/below/conf", O_RDONLY), 0);
	is("read through a link", try_open("read/link", O_RDONLY), 0);
	is("read through a link that nobody named", try_open("read/astray", O_RDONLY), EACCES);
	is("write where only reading is allowed", try_open("read/conf", O_RDWR), EACCES);
	is("make a file there", try_open("read/new", O_WRONLY | O_CREAT), EACCES);
	is("read elsewhere", try_open("other/secret", O_RDONLY), EACCES);
	is("list elsewhere", try_open("other", O_RDONLY | O_DIRECTORY), EACCES);
	is("write", try_open("write/log", O_RDWR), 0);
	is("make a file", try_open("write/new", O_WRONLY | O_CREAT), 0);
	is("rename it", try_rename("write/new", "write/log"), 0);
	is("open anew", try_open("write/log", O_WRONLY | O_CREAT | O_APPEND), 0);
	is("list it", try_open("write", O_RDONLY | O_DIRECTORY), 0);
	is("remove", said(unlink(in_folder("write/log"))), 0);
	is("take a file out", try_rename("own/x", "other/x"), ENOENT);
	is("make a folder where files are allowed", said(mkdir(in_folder("write/folder"), 0700)), EACCES);
	is("make a folder of its own", said(mkdir(in_folder("own/folder"), 0700)), 0);
	is("remove it", said(rmdir(in_folder("own/folder"))), 0);
	is("make a link", said(symlink("/etc/passwd", in_folder("own/link"))), EACCES);
	is("write a device", said(open("/dev/null", O_RDWR)), EACCES);
	is("read a device that is named", said(open("/dev/null", O_RDONLY)), 0);
	is("read another", said(open("/dev/zero", O_RDONLY)), EACCES);
	is("change what it may not read", said(truncate(in_folder("other/secret"), 0)), abi >= 3 ? EACCES : 0);
	is("run what is only read", said(execve("/usr/bin/env", no_words, no_words)), EACCES);
}

static void files_are_those_of_the_folders(void **state)
{
	make_tree();
	in_child(files_body, false, 0);
}

static void program_body(int abi)
{
	act_execve();
	_exit(errno);
}

static void a_named_program_runs(void **state)
{
	in_child(program_body, false, 0);
}

static int replaced_pipe[2];

/* A file renamed into the place of one that was named is another one for the kernel, so the folder counts. */
static void replaced_body(int abi)
{
	char go;

	is("before", try_open("read/conf", O_RDONLY), 0);
	is("replaced", read(replaced_pipe[0], &go, 1) == 1 ? 0 : EIO, 0);
	is("after", try_open("read/conf", O_RDONLY), 0);
}

static void replaced_files_are_read(void **state)
{
	int keep[2];
	pid_t pid;

	make_tree();
	assert_int_equal(pipe(replaced_pipe), 0);
	assert_int_equal(pipe(keep), 0);
	pid = fork();
	if (pid == 0) { /* another process renames, once */
		put(in_folder("read/fresh"), "fresh");
		if (rename(in_folder("read/fresh"), in_folder("read/conf")) || write(replaced_pipe[1], "g", 1) != 1)
			_exit(1);
		_exit(0);
	}
	in_child(replaced_body, false, 0);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
}

static int free_port(void)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t n = sizeof a;
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof a), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &n), 0);
	close(fd);
	return ntohs(a.sin_port);
}

static int own_port;

static void ports_body(int abi)
{
	is("its own port", try_bind(own_port), 0);
	is("another port", try_bind(own_port == 40001 ? 40002 : 40001), abi >= 4 ? EACCES : 0);
	is("connect", act_tcp(), 0);
	is("signal another process", said(kill(getppid(), 0)), abi >= 6 ? EPERM : 0);
	is("signal itself", said(kill(getpid(), 0)), 0);
}

static void offline_body(int abi)
{
	is("connect", act_tcp(), abi >= 4 ? EACCES : 0);
}

static void ports_are_those_named(void **state)
{
	own_port = free_port();
	in_child(ports_body, false, own_port);
	in_child(offline_body, true, own_port);
}

static void within_body(int abi)
{
	is("a file", confine_files_within(in_folder("read/conf")), true);
	is("a folder", confine_files_within(in_folder("read/below")), true);
	is("a link that was named", confine_files_within(in_folder("read/link")), true);
	is("nothing", confine_files_within(in_folder("not-there/at-all")), true);
	is("a file elsewhere", confine_files_within(in_folder("other/secret")), false);
	is("a folder elsewhere", confine_files_within(in_folder("other")), false);
	is("a link that leads elsewhere", confine_files_within(in_folder("read/astray")), false);
}

static void within_is_what_was_allowed(void **state)
{
	make_tree();
	assert_true(confine_files_within(in_folder("other/secret")));
	in_child(within_body, false, 0);
	confine_files_free(NULL);
}

/* ---- the environment ---- */

static bool all_zero(const char *path)
{
	char text[4096];
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof text);
	bool zero = n > 0;

	if (fd >= 0)
		close(fd);
	for (ssize_t i = 0; i < n; i++)
		zero = zero && text[i] == '\0';
	return zero;
}

/* The test program executed anew: what the kernel shows is what it was given. */
static int as_given(void)
{
	const char *path;

	if (!getenv("SECRET") || all_zero("/proc/self/environ"))
		return 1;
	confine_environment();
	path = getenv("PATH");
	if (getenv("SECRET") || getenv("https_proxy") || !path || strcmp(path, "/usr/bin:/bin") != 0)
		return 2;
	if (!all_zero("/proc/self/environ"))
		return 3;
	return setenv("ANOTHER", "works", 1) == 0 && getenv("ANOTHER") && getenv("PATH") ? 0 : 4;
}

static void nothing_is_left_of_the_environment(void **state)
{
	static char *const given[] = {(char *)"SECRET=hunter2", (char *)"PATH=/usr/bin:/bin", (char *)"PATHS=no", (char *)"https_proxy=http://evil:1", NULL};
	char *argv[] = {(char *)"test_confine", (char *)"--as-given", NULL};
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		execve("/proc/self/exe", argv, given);
		_exit(126);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(ended_with(status, 0));
}

static int act_look_at_itself(void)
{
	struct rlimit core;

	if (prctl(PR_GET_DUMPABLE) != 0 || prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 1 || getrlimit(RLIMIT_CORE, &core) || core.rlim_max)
		return 1;
	return 0;
}

static void the_process_is_closed(void **state)
{
	struct problem why = {""};
	int status;
	pid_t pid = fork();

	if (pid == 0)
		_exit(confine_process(&why) ? 250 : act_look_at_itself());
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(ended_with(status, 0));
	assert_int_equal(act_look_at_itself(), 1);
}

static int begin(void **state)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};

	listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	return mkdtemp(folder) && bind(listener, (struct sockaddr *)&a, sizeof a) == 0 && listen(listener, 8) == 0 ? 0 : -1;
}

static int remove_tree(const char *path)
{
	char command[300];

	snprintf(command, sizeof command, "rm -rf '%s'", path);
	return system(command);
}

static int end(void **state)
{
	close(listener);
	return remove_tree(folder);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(intruders_are_killed),
		cmocka_unit_test(all_threads_are_confined),
		cmocka_unit_test(the_rest_is_refused),
		cmocka_unit_test(daily_work_goes_on),
		cmocka_unit_test(abort_still_ends_it),
		cmocka_unit_test(programs_run_without_network),
		cmocka_unit_test(files_are_those_of_the_folders),
		cmocka_unit_test(a_named_program_runs),
		cmocka_unit_test(replaced_files_are_read),
		cmocka_unit_test(ports_are_those_named),
		cmocka_unit_test(within_is_what_was_allowed),
		cmocka_unit_test(nothing_is_left_of_the_environment),
		cmocka_unit_test(the_process_is_closed),
	};

	if (argc > 1 && strcmp(argv[1], "--as-given") == 0)
		return as_given();
	return cmocka_run_group_tests(tests, begin, end);
}
