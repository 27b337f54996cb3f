/* What may this node send or show of itself, and to whom? See secrets.h. */
#include "app/secrets.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "identity/introspection.h"
#include "net/tls.h"

#define PEM_MAX (64u << 10)
#define FILE_NAME_MAX (INTROSPECTION_NAME_MAX + sizeof INTROSPECTION_CERT)
#define PATH_MAX_BYTES (1024 + INTROSPECTION_HOST_MAX + FILE_NAME_MAX + 3)

static int check_owner(const char *path, const struct stat *st, struct problem *why)
{
	if (st->st_uid != geteuid() && st->st_uid != 0)
		return problem_set(why, "%s belongs to uid %u; it must belong to uid %u or to root: chown it", path, (unsigned)st->st_uid, (unsigned)geteuid());
	if (st->st_mode & 022)
		return problem_set(why, "%s has mode %04o, others can write to it: chmod go-w %s", path, (unsigned)(st->st_mode & 07777), path);
	return 0;
}

/* The folder itself may be a link: the configuration names it. -1: why. */
static int open_folder(int at, const char *name, int flags, const char *path, struct problem *why)
{
	int fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | flags);
	struct stat st;

	if (fd < 0)
		return problem_set(why, "the folder %s cannot be opened: %s", path, strerror(errno));
	if (fstat(fd, &st) == 0 && check_owner(path, &st, why) == 0)
		return fd;
	close(fd);
	return -1;
}

/* Certificates, which anybody may read. optional: none need be there. */
static int read_pem(int folder, const char *name, const char *path, bool optional, char **out, struct problem *why)
{
	int rc = -1, fd = openat(folder, name, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY | O_NOFOLLOW);
	uint8_t *pem = NULL;
	struct stat st;
	size_t n = 0;

	if (fd < 0)
		return errno == ENOENT && optional ? 0 : problem_set(why, "cannot open %s: %s", path, errno == ELOOP ? "it is a link, which is not followed" : strerror(errno));
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
		problem_set(why, "%s is not a regular file", path);
	else if (check_owner(path, &st, why) == 0 && file_read_fd(fd, path, PEM_MAX, &pem, &n, why) == 0)
		rc = n ? 0 : problem_set(why, "%s is empty", path);
	close(fd);
	if (rc)
		free(pem);
	else
		*out = (char *)pem;
	return rc;
}

/* Whatever a key's file is called, it is sent to nobody: a copy of one may lie there. */
static int read_secret(int at, const char *name, const char *path, struct secrets_found *out, struct problem *why)
{
	if (secret_read_at(at, name, path, INTROSPECTION_SECRET_MAX, &out->secret, &out->n, why) < 0)
		return -1;
	if (memmem(out->secret, out->n, "-----BEGIN ", 11))
		return problem_set(why, "%s holds PEM, a key or a certificate: it is no secret that is sent", path);
	return 0;
}

/* The certificate of this name and its key, which must be its own. */
static int read_certificate(int at, const char *folder, const char *host, const char *name, struct secrets_found *out, struct problem *why)
{
	char cert[FILE_NAME_MAX], key[FILE_NAME_MAX], cert_path[PATH_MAX_BYTES], key_path[PATH_MAX_BYTES];
	struct tls_pem pem = {.cert_name = cert_path, .key_name = key_path};

	snprintf(cert, sizeof cert, "%s" INTROSPECTION_CERT, name);
	snprintf(key, sizeof key, "%s" INTROSPECTION_KEY, name);
	snprintf(cert_path, sizeof cert_path, "%s/%s/%s", folder, host, cert);
	snprintf(key_path, sizeof key_path, "%s/%s/%s", folder, host, key);
	if (read_pem(at, cert, cert_path, false, &out->cert_pem, why) < 0 || secret_read_at(at, key, key_path, PEM_MAX, &out->key_pem, &out->key_n, why) < 0)
		return -1;
	pem.cert = slice_str(out->cert_pem);
	pem.key = slice_of(out->key_pem, out->key_n);
	return tls_check_pem(&pem, &out->cert_end_ms, why);
}

int secrets_find(const char *folder, const char *url, const char *secret, const char *cert, struct secrets_found *out, struct problem *why)
{
	char host[INTROSPECTION_HOST_MAX + 1], path[PATH_MAX_BYTES];
	int dir = -1, at = -1, rc = -1;

	*out = (struct secrets_found){.secret = NULL};
	if (!*folder)
		return problem_set(why, "registry.secrets in this node's configuration names no folder");
	if (!introspection_host(url, host) || (*secret && introspection_secret_name_wrong(secret)) || (*cert && introspection_secret_name_wrong(cert)) || (!*secret && !*cert))
		return problem_set(why, "its url, or the name of its secret or certificate, is none that a folder could have");
	dir = open_folder(AT_FDCWD, folder, 0, folder, why);
	snprintf(path, sizeof path, "%s/%s", folder, host);
	at = dir >= 0 ? open_folder(dir, host, O_NOFOLLOW, path, why) : -1;
	snprintf(path, sizeof path, "%s/%s/" INTROSPECTION_CA, folder, host);
	rc = at >= 0 ? read_pem(at, INTROSPECTION_CA, path, true, &out->ca_pem, why) : -1;
	snprintf(path, sizeof path, "%s/%s/%s", folder, host, secret);
	if (!rc && *secret)
		rc = read_secret(at, secret, path, out, why);
	if (!rc && *cert)
		rc = read_certificate(at, folder, host, cert, out, why);
	if (at >= 0)
		close(at);
	if (dir >= 0)
		close(dir);
	if (rc)
		secrets_clear(out);
	return rc;
}

void secrets_clear(struct secrets_found *f)
{
	secret_wipe(f->secret, f->n);
	free(f->secret);
	secret_wipe(f->key_pem, f->key_n);
	free(f->key_pem);
	free(f->cert_pem);
	free(f->ca_pem);
	*f = (struct secrets_found){.secret = NULL};
}
