/* Which variables does this process need? Those in the table. All others go before a library reads them (proxies, OPENSSL_CONF, resolver
 * options), and what the kernel shows of them is wiped: clearenv(3) would leave it in /proc/PID/environ. */
#include "config.h"

#include "confine/confine.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *const kept[] = {
	"PATH=", /* where redis-server is looked for */
};
#define N_KEPT (sizeof kept / sizeof kept[0])

static bool is_kept(const char *variable)
{
	for (size_t i = 0; i < N_KEPT; i++)
		if (strncmp(variable, kept[i], strlen(kept[i])) == 0)
			return true;
	return false;
}

void confine_environment(void)
{
	static char *fresh[N_KEPT + 1];
	size_t n = 0;

	for (char **e = environ; e && *e; e++) {
		if (n < N_KEPT && is_kept(*e) && (fresh[n] = strdup(*e)))
			n++;
		explicit_bzero(*e, strlen(*e));
	}
	environ = fresh;
}
