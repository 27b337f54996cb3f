/* Who may look into this process? Nobody but root: it leaves no core file, no process of its own user reads its memory or /proc files,
 * and no program that it would start gains rights. */
#include "config.h"

#include "confine/confine.h"

#include <errno.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>

int confine_process(struct problem *why)
{
	const struct rlimit none = {0, 0};

	if (prctl(PR_SET_DUMPABLE, 0) != 0 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
		return problem_set(why, "prctl: %s", strerror(errno));
	if (setrlimit(RLIMIT_CORE, &none) != 0)
		return problem_set(why, "core files cannot be turned off: %s", strerror(errno));
	return 0;
}
