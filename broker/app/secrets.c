/* Who vouches for a host that this node sends a secret to? See secrets.h. */
#include "app/secrets.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "identity/introspection.h"
#include "keeper/hostfolder.h"

#define CA_MAX (64u << 10)

static int read_ca(int folder, const char *path, uid_t owner, char **out, struct problem *why)
{
	int rc = -1, fd = openat(folder, INTROSPECTION_CA, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY | O_NOFOLLOW);
	uint8_t *pem = NULL;
	struct stat st;
	size_t n = 0;

	if (fd < 0)
		return errno == ENOENT ? 0 : problem_set(why, "cannot open %s: %s", path, errno == ELOOP ? "it is a link, which is not followed" : strerror(errno));
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
		problem_set(why, "%s is not a regular file", path);
	else if (hostfolder_check(path, &st, owner, why) == 0 && file_read_fd(fd, path, CA_MAX, &pem, &n, why) == 0)
		rc = n ? 0 : problem_set(why, "%s is empty", path);
	close(fd);
	if (rc)
		free(pem);
	else
		*out = (char *)pem;
	return rc;
}

int secrets_find(const char *folder, const char *url, const char *name, uid_t owner, struct secrets_found *out, struct problem *why)
{
	char path[HOSTFOLDER_PATH_MAX];
	int at, rc;

	*out = (struct secrets_found){.ca_pem = NULL};
	if (*folder && introspection_secret_name_wrong(name))
		return problem_set(why, "its secret's name is none that a file could have");
	at = hostfolder_open(folder, url, owner, path, why);
	if (at < 0)
		return -1;
	snprintf(path + strlen(path), sizeof path - strlen(path), "/" INTROSPECTION_CA);
	rc = read_ca(at, path, owner, &out->ca_pem, why);
	close(at);
	return rc;
}

void secrets_clear(struct secrets_found *f)
{
	free(f->ca_pem);
	*f = (struct secrets_found){.ca_pem = NULL};
}
