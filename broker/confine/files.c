/* Which files may this process open? Those below the folders that it was allowed, by Landlock, as far as the running kernel has it. What
 * is allowed is a folder, not a path: the kernel remembers the inode. Descriptors that are open already, and connecting to a unix
 * socket, stay as they are. glibc 2.36 has no wrappers, so the three calls are made by number. */
#include "config.h"

#include "confine/confine.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <link.h>
#include <linux/landlock.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/slice.h"

#define WAY_OUT "hardening.landlock: off goes without (batond(8), CONFINEMENT)"
#define READ (LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR)
#define RUN (LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_READ_FILE)

/* From newer kernels than Debian 12's headers know. */
#define FS_TRUNCATE (UINT64_C(1) << 14)
#define FS_IOCTL_DEV (UINT64_C(1) << 15)
#define NET_BIND_TCP UINT64_C(1)
#define NET_CONNECT_TCP UINT64_C(2)
#define SCOPE_ABSTRACT_SOCKETS UINT64_C(1)
#define SCOPE_SIGNALS UINT64_C(2)
#define RULE_NET_PORT 2

struct ruleset_attr {
	uint64_t fs, net, scoped;
};

struct port_attr {
	uint64_t access, port;
};

/* What is taken away, by the first ABI that can. Later ones add to it. */
static const struct {
	int abi;
	struct ruleset_attr adds;
} kernels[] = {
	{1, {.fs = (LANDLOCK_ACCESS_FS_MAKE_SYM << 1) - 1}},
	{2, {.fs = LANDLOCK_ACCESS_FS_REFER}},
	{3, {.fs = FS_TRUNCATE}},
	{4, {.net = NET_BIND_TCP | NET_CONNECT_TCP}},
	{5, {.fs = FS_IOCTL_DEV}},
	{6, {.scoped = SCOPE_ABSTRACT_SOCKETS | SCOPE_SIGNALS}},
};

static const uint64_t rights[] = {
	[CONFINE_READ] = READ,
	[CONFINE_WRITE] = READ | LANDLOCK_ACCESS_FS_WRITE_FILE | FS_TRUNCATE | LANDLOCK_ACCESS_FS_MAKE_REG | LANDLOCK_ACCESS_FS_REMOVE_FILE,
	[CONFINE_OWN] = READ | LANDLOCK_ACCESS_FS_WRITE_FILE | FS_TRUNCATE | LANDLOCK_ACCESS_FS_MAKE_REG | LANDLOCK_ACCESS_FS_REMOVE_FILE |
		LANDLOCK_ACCESS_FS_MAKE_DIR | LANDLOCK_ACCESS_FS_REMOVE_DIR | LANDLOCK_ACCESS_FS_MAKE_SOCK | LANDLOCK_ACCESS_FS_REFER,
};
#define RIGHTS_OF_A_FILE (RUN | LANDLOCK_ACCESS_FS_WRITE_FILE | FS_TRUNCATE)

struct confine_files {
	int abi, ruleset; /* 0 and -1: this kernel has no Landlock, or it is in force */
	struct ruleset_attr handled;
};

struct confine_files *confine_files_new(bool offline, struct problem *why)
{
	struct confine_files *f = calloc(1, sizeof *f);
	long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);

	if (!f) {
		problem_set(why, "out of memory");
		return NULL;
	}
	f->ruleset = -1;
	if (abi <= 0) /* not built in, or turned off at boot */
		return f;
	f->abi = (int)abi;
	for (size_t i = 0; i < sizeof kernels / sizeof kernels[0] && kernels[i].abi <= f->abi; i++) {
		f->handled.fs |= kernels[i].adds.fs;
		f->handled.net |= kernels[i].adds.net;
		f->handled.scoped |= kernels[i].adds.scoped;
	}
	if (!offline)
		f->handled.net &= ~NET_CONNECT_TCP;
	f->ruleset = (int)syscall(SYS_landlock_create_ruleset, &f->handled, sizeof f->handled, 0);
	if (f->ruleset >= 0)
		return f;
	problem_set(why, "Landlock: no set of rules can be made: %s; " WAY_OUT, strerror(errno));
	confine_files_free(f);
	return NULL;
}

/* ---- what is allowed ---- */

static int allow(struct confine_files *f, const char *path, uint64_t access, struct problem *why)
{
	struct landlock_path_beneath_attr rule = {.parent_fd = -1};
	struct stat st;
	int rc = -1;

	if (f->ruleset < 0)
		return 0;
	rule.parent_fd = open(path, O_PATH | O_CLOEXEC);
	if (rule.parent_fd < 0 && (errno == ENOENT || errno == EACCES))
		return 0; /* what is out of reach needs no right */
	if (rule.parent_fd < 0 || fstat(rule.parent_fd, &st) != 0) {
		problem_set(why, "%s: %s", path, strerror(errno));
		goto out;
	}
	rule.allowed_access = access & f->handled.fs & (S_ISDIR(st.st_mode) ? ~UINT64_C(0) : RIGHTS_OF_A_FILE);
	if (syscall(SYS_landlock_add_rule, f->ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0) != 0)
		problem_set(why, "Landlock: %s cannot be allowed: %s; " WAY_OUT, path, strerror(errno));
	else
		rc = 0;
out:
	if (rule.parent_fd >= 0)
		close(rule.parent_fd);
	return rc;
}

int confine_files_path(struct confine_files *f, const char *path, enum confine_right right, struct problem *why)
{
	return allow(f, path, rights[right], why);
}

/* "/a/b/c" → "/a/b". The text is cut. */
static const char *folder_of(char *path)
{
	char *slash = strrchr(path, '/');

	if (!slash)
		return ".";
	slash[slash == path] = '\0';
	return path;
}

int confine_files_file(struct confine_files *f, const char *file, enum confine_right right, struct problem *why)
{
	char named[PATH_MAX], real[PATH_MAX];
	struct stat st;

	if (!*file)
		return 0;
	if (!slice_copy_str(slice_str(file), named, sizeof named))
		return problem_set(why, "%.64s...: the path is too long", file);
	if (!realpath(file, real) || stat(real, &st) != 0)
		return allow(f, folder_of(named), rights[right], why);
	if (!S_ISREG(st.st_mode))
		return allow(f, real, rights[right], why);
	if (allow(f, folder_of(named), rights[right], why) != 0)
		return -1;
	return allow(f, folder_of(real), rights[right], why);
}

/* The PT_INTERP of an ELF file; "" when it has none. */
static void loader_of(const char *program, char out[PATH_MAX])
{
	int fd = open(program, O_RDONLY | O_CLOEXEC);
	ElfW(Ehdr) head;
	ElfW(Phdr) part;

	out[0] = '\0';
	if (fd < 0)
		return;
	if (pread(fd, &head, sizeof head, 0) != sizeof head || memcmp(head.e_ident, ELFMAG, SELFMAG) != 0)
		head.e_phnum = 0;
	for (unsigned i = 0; i < head.e_phnum; i++) {
		off_t at = (off_t)(head.e_phoff + i * (size_t)head.e_phentsize);

		if (pread(fd, &part, sizeof part, at) != sizeof part)
			break;
		if (part.p_type != PT_INTERP || part.p_filesz == 0 || part.p_filesz >= PATH_MAX)
			continue;
		if (pread(fd, out, part.p_filesz, (off_t)part.p_offset) != (ssize_t)part.p_filesz)
			part.p_filesz = 0;
		out[part.p_filesz] = '\0';
		break;
	}
	close(fd);
}

int confine_files_program(struct confine_files *f, const char *program, struct problem *why)
{
	char loader[PATH_MAX];

	loader_of(program, loader);
	if (allow(f, program, RUN, why) != 0)
		return -1;
	return loader[0] ? allow(f, loader, RUN, why) : 0;
}

int confine_files_bind(struct confine_files *f, uint16_t port, struct problem *why)
{
	const struct port_attr rule = {.access = NET_BIND_TCP, .port = port};

	if (!(f->handled.net & NET_BIND_TCP))
		return 0;
	if (syscall(SYS_landlock_add_rule, f->ruleset, RULE_NET_PORT, &rule, 0) != 0)
		return problem_set(why, "Landlock: port %u cannot be allowed: %s; " WAY_OUT, port, strerror(errno));
	return 0;
}

/* ---- in force ---- */

int confine_files_enforce(struct confine_files *f, struct problem *why)
{
	if (f->ruleset < 0)
		return 0;
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || syscall(SYS_landlock_restrict_self, f->ruleset, 0) != 0)
		return problem_set(why, "Landlock: %s; " WAY_OUT, strerror(errno));
	close(f->ruleset);
	f->ruleset = -1;
	return f->abi;
}

/* access(2) knows of owners and modes only, open(2) of Landlock too. */
bool confine_files_within(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);

	if (fd < 0)
		return errno != EACCES || access(path, R_OK) != 0;
	close(fd);
	return true;
}

void confine_files_free(struct confine_files *f)
{
	if (!f)
		return;
	if (f->ruleset >= 0)
		close(f->ruleset);
	free(f);
}
