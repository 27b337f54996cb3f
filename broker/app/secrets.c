/* What does this node show of itself to a host, and who vouches for that host? See secrets.h. */
#include "app/secrets.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/secret.h"
#include "identity/introspection.h"
#include "keeper/hostfolder.h"
#include "net/tls.h"

#define PEM_MAX (64u << 10)
#define FILE_NAME_MAX (INTROSPECTION_NAME_MAX + sizeof INTROSPECTION_CERT)

/* A folder for a host, and what it is called. */
struct place {
	int fd;
	char path[HOSTFOLDER_PATH_MAX];
	size_t n;
};

static const char *path_of(struct place *at, const char *name)
{
	snprintf(at->path + at->n, sizeof at->path - at->n, "/%s", name);
	return at->path;
}

/* Certificates, which anybody may read. optional: none need be there. */
static int read_pem(struct place *at, const char *name, uid_t owner, bool optional, char **out, struct problem *why)
{
	int rc = -1, fd = openat(at->fd, name, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY | O_NOFOLLOW);
	const char *path = path_of(at, name);
	uint8_t *pem = NULL;
	struct stat st;
	size_t n = 0;

	if (fd < 0)
		return errno == ENOENT && optional ? 0 : problem_set(why, "cannot open %s: %s", path, errno == ELOOP ? "it is a link, which is not followed" : strerror(errno));
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
		problem_set(why, "%s is not a regular file", path);
	else if (hostfolder_check(path, &st, owner, why) == 0 && file_read_fd(fd, path, PEM_MAX, &pem, &n, why) == 0)
		rc = n ? 0 : problem_set(why, "%s is empty", path);
	close(fd);
	if (rc)
		free(pem);
	else
		*out = (char *)pem;
	return rc;
}

/* The certificate of this name and its key, which must be its own. TLS is the broker's, so its user has both. */
static int read_certificate(struct place *at, const char *name, struct secrets_found *out, struct problem *why)
{
	char cert[FILE_NAME_MAX], key[FILE_NAME_MAX], cert_path[HOSTFOLDER_PATH_MAX];
	struct tls_pem pem = {.cert_name = cert_path, .key_name = at->path};

	snprintf(cert, sizeof cert, "%s" INTROSPECTION_CERT, name);
	snprintf(key, sizeof key, "%s" INTROSPECTION_KEY, name);
	if (read_pem(at, cert, geteuid(), false, &out->cert_pem, why) < 0)
		return -1;
	memcpy(cert_path, at->path, sizeof cert_path);
	if (secret_read_fd(openat(at->fd, key, SECRET_OPEN | O_NOFOLLOW), path_of(at, key), PEM_MAX, &out->key_pem, &out->key_n, why) < 0)
		return -1;
	pem.cert = slice_str(out->cert_pem);
	pem.key = slice_of(out->key_pem, out->key_n);
	return tls_check_pem(&pem, &out->cert_end_ms, why);
}

int secrets_find(const struct secrets_asked *a, struct secrets_found *out, struct problem *why)
{
	struct place at;
	int rc;

	*out = (struct secrets_found){.ca_pem = NULL};
	if (*a->folder && ((*a->secret && introspection_secret_name_wrong(a->secret)) || (*a->cert && introspection_secret_name_wrong(a->cert)) || (!*a->secret && !*a->cert)))
		return problem_set(why, "the name of its secret or certificate is none that a file could have");
	at.fd = hostfolder_open(a->folder, a->url, a->owner, at.path, why);
	if (at.fd < 0)
		return -1;
	at.n = strlen(at.path);
	rc = read_pem(&at, INTROSPECTION_CA, a->owner, true, &out->ca_pem, why);
	if (!rc && *a->cert)
		rc = read_certificate(&at, a->cert, out, why);
	close(at.fd);
	if (rc)
		secrets_clear(out);
	return rc;
}

void secrets_clear(struct secrets_found *f)
{
	secret_wipe(f->key_pem, f->key_n);
	free(f->key_pem);
	free(f->cert_pem);
	free(f->ca_pem);
	*f = (struct secrets_found){.ca_pem = NULL};
}
