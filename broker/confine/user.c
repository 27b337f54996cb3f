/* As whom does a process run? One that was started with the right to do so becomes another user for good; and who needs that right no more gives it up. */
#include "config.h"

#include "confine/confine.h"

#include <errno.h>
#include <grp.h>
#include <linux/capability.h>
#include <pwd.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

static const struct passwd *find(const char *user, struct problem *why)
{
	const struct passwd *pw;

	errno = 0;
	pw = getpwnam(user);
	if (!pw)
		problem_set(why, "there is no user %.64s%s%s", user, errno ? ": " : "", errno ? strerror(errno) : "");
	return pw;
}

int confine_uid_of(const char *user, uid_t *out, struct problem *why)
{
	const struct passwd *pw = *user ? find(user, why) : NULL;

	*out = pw ? pw->pw_uid : geteuid();
	return pw || !*user ? 0 : -1;
}

int confine_become(const char *user, struct problem *why)
{
	const struct passwd *pw = find(user, why);

	if (!pw)
		return -1;
	if (pw->pw_uid == geteuid() && pw->pw_uid != 0)
		return problem_set(why, "user %.64s is the broker's own: name another one, or none", user);
	if (setgroups(0, NULL) < 0 || setresgid(pw->pw_gid, pw->pw_gid, pw->pw_gid) < 0 || setresuid(pw->pw_uid, pw->pw_uid, pw->pw_uid) < 0)
		return problem_set(why, "it cannot run as user %.64s: %s: start batond as root, or with AmbientCapabilities=CAP_SETUID CAP_SETGID in its unit", user,
				   strerror(errno));
	return confine_give_up_rights(why);
}

/* capset(2) and capget(2) have no functions of the C library. */
static int set_rights(const struct __user_cap_data_struct *v, struct problem *why)
{
	struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};

	return syscall(SYS_capset, &head, v) < 0 ? problem_set(why, "capabilities cannot be given up: %s", strerror(errno)) : 0;
}

int confine_give_up_rights(struct problem *why)
{
	const struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = {{0}};

	if (geteuid() == 0)
		return 0; /* root has them again with the next program; as whom the broker runs is its unit's to say */
	if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0)
		return problem_set(why, "capabilities cannot be given up: %s", strerror(errno));
	return set_rights(none, why);
}

int confine_give_up_becoming(struct problem *why)
{
	const uint32_t becoming = 1u << CAP_SETUID | 1u << CAP_SETGID;
	struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct v[_LINUX_CAPABILITY_U32S_3];

	if (geteuid() == 0)
		return 0;
	if (syscall(SYS_capget, &head, v) < 0)
		return problem_set(why, "capabilities cannot be looked at: %s", strerror(errno));
	v[0].effective &= ~becoming;
	v[0].permitted &= ~becoming;
	v[0].inheritable &= ~becoming; /* and with it they are ambient no more */
	return set_rights(v, why);
}
