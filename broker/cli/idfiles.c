/* How are the files of an agent's identity read and replaced? See idfiles.h. */
#include "config.h"

#include "cli/idfiles.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/encode.h"
#include "base/file.h"
#include "base/secret.h"

#define PENDING_HEAD "token-sha256: " /* before 64 of hex and a newline */
#define HEAD_MAX (sizeof PENDING_HEAD + 2 * SHA256_BYTES + 1)
#define PENDING_MAX (CA_KEY_PEM_MAX + 256)
#define PEM_MAX (2 * CERTANSWER_DER_MAX) /* of one certificate */
#define AGENT_MAX (CA_KEY_PEM_MAX + CERTANSWER_CHAIN_MAX * PEM_MAX)
#define BUNDLE_MAX (CERTANSWER_BUNDLE_MAX * PEM_MAX)

/* ---- which they are ---- */

int idfiles_make(struct idfiles *f, const char *dir, struct problem *why)
{
	size_t n = strlen(dir);

	while (n > 1 && dir[n - 1] == '/')
		n--;
	f->lock = -1;
	if (!slice_copy_str(slice_of(dir, n), f->dir, sizeof f->dir))
		return problem_set(why, "the path %.64s... is too long", dir);
	snprintf(f->agent, sizeof f->agent, "%s/agent.pem", f->dir);
	snprintf(f->bundle, sizeof f->bundle, "%s/bundle.pem", f->dir);
	snprintf(f->pending, sizeof f->pending, "%s/agent.key.pending", f->dir);
	return file_make_dir(f->dir, 0700, why);
}

static bool same_file(const char *a, const char *b)
{
	struct stat x, y;

	return stat(a, &x) == 0 && stat(b, &y) == 0 && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

static bool is_link(const char *path)
{
	struct stat st;

	return lstat(path, &st) == 0 && S_ISLNK(st.st_mode);
}

int idfiles_of(struct idfiles *f, const char *cert, const char *key, const char *ca, struct problem *why)
{
	const char *slash = strrchr(cert, '/');

	f->lock = -1;
	f->pending[0] = '\0';
	if (strcmp(cert, key) != 0 && !same_file(cert, key))
		return problem_set(why, "--cert and --key are two files, and would not be replaced at once: only an identity that `baton enroll` made, "
					"with both in one file, is renewed");
	if (is_link(cert))
		return problem_set(why, "%s is a symbolic link, which would be replaced: name the file itself", cert);
	if (!slice_copy_str(slash ? slice_of(cert, slash == cert ? 1 : (size_t)(slash - cert)) : slice_str("."), f->dir, sizeof f->dir))
		return problem_set(why, "the path %.64s... is too long", cert);
	snprintf(f->agent, sizeof f->agent, "%s", cert);
	snprintf(f->bundle, sizeof f->bundle, "%s/bundle.pem", f->dir);
	if (is_link(f->bundle) || !same_file(f->bundle, ca))
		f->bundle[0] = '\0';
	return 0;
}

bool idfiles_enrolled(const struct idfiles *f)
{
	struct stat st;

	return lstat(f->agent, &st) == 0;
}

int idfiles_lock(struct idfiles *f, struct problem *why)
{
	bool taken;

	if (f->lock >= 0)
		return 0;
	f->lock = open(f->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (f->lock < 0)
		return problem_set(why, "cannot open the folder %s: %s", f->dir, strerror(errno));
	if (flock(f->lock, LOCK_EX | LOCK_NB) == 0)
		return 0;
	taken = errno == EWOULDBLOCK;
	problem_set(why, taken ? "another process renews what is in %s" : "the folder %s cannot be locked", f->dir);
	idfiles_unlock(f);
	return taken ? 1 : -1;
}

void idfiles_unlock(struct idfiles *f)
{
	if (f->lock >= 0)
		close(f->lock);
	f->lock = -1;
}

/* ---- the key that waits for its certificate ---- */

static void head_of(struct slice token, char out[HEAD_MAX])
{
	uint8_t digest[SHA256_BYTES];
	char hex[2 * SHA256_BYTES + 1];

	sha256(token, digest);
	hex_encode(digest, sizeof digest, hex);
	snprintf(out, HEAD_MAX, PENDING_HEAD "%s\n", hex);
}

/* *key: the one that is there for this token; NULL: there is none. -1 with why: what is there cannot be read. */
static int read_pending(const struct idfiles *f, const char *head, struct ca_key **key, struct problem *why)
{
	uint8_t *bytes = NULL;
	size_t n = 0, skip = strlen(head);
	struct stat st;

	*key = NULL;
	if (lstat(f->pending, &st) < 0)
		return errno == ENOENT ? 0 : problem_set(why, "cannot look at %s: %s", f->pending, strerror(errno));
	if (secret_read_file(f->pending, PENDING_MAX, &bytes, &n, why) < 0)
		return -1;
	if (n > skip && memcmp(bytes, head, skip) == 0)
		*key = ca_key_read(slice_of(bytes + skip, n - skip), NULL); /* a broken one is replaced: no certificate can come of it */
	secret_wipe(bytes, n);
	free(bytes);
	return 0;
}

static int write_pending(const struct idfiles *f, const char *head, const struct ca_key *key, struct problem *why)
{
	char text[PENDING_MAX], *pem = text + strlen(head);
	size_t n;
	int rc;

	memcpy(text, head, strlen(head));
	rc = ca_key_write(key, pem, &n, why);
	if (rc == 0)
		rc = file_write_atomic(f->pending, slice_of(text, strlen(head) + n), 0600, why);
	secret_wipe(text, sizeof text);
	return rc;
}

struct ca_key *idfiles_pending(const struct idfiles *f, struct slice token, struct problem *why)
{
	char head[HEAD_MAX];
	struct ca_key *key;

	head_of(token, head);
	if (read_pending(f, head, &key, why) < 0)
		return NULL;
	if (key)
		return key;
	key = ca_key_new(CA_P256, why);
	if (!key || write_pending(f, head, key, why) == 0)
		return key;
	ca_key_free(key);
	return NULL;
}

void idfiles_forget_pending(const struct idfiles *f)
{
	unlink(f->pending);
}

/* ---- what is kept ---- */

static int put_all(struct buf *b, const struct slice *der, size_t n, struct problem *why)
{
	for (size_t i = 0; i < n; i++)
		if (ca_pem_write(CA_PEM_CERTIFICATE, der[i], b, why) < 0)
			return -1;
	return 0;
}

/* As it is already, on the disk? */
static bool unchanged(const char *path, struct slice bytes)
{
	uint8_t *there = NULL;
	size_t n = 0;
	bool same = file_read(path, bytes.n, &there, &n, NULL) == 0 && n == bytes.n && memcmp(there, bytes.p, n) == 0;

	free(there);
	return same;
}

static int write_bundle(const struct idfiles *f, const struct certanswer *a, struct problem *why)
{
	struct buf b;
	int rc;

	buf_init(&b, BUNDLE_MAX);
	rc = put_all(&b, a->bundle, a->n_bundle, why);
	if (rc == 0 && !unchanged(f->bundle, buf_slice(&b)))
		rc = file_write_atomic(f->bundle, buf_slice(&b), 0644, why);
	buf_clear(&b);
	return rc;
}

static int put_key(struct buf *b, const struct ca_key *key, struct problem *why)
{
	char pem[CA_KEY_PEM_MAX];
	size_t n = 0;
	int rc = ca_key_write(key, pem, &n, why);

	if (rc == 0 && !buf_put(b, pem, n))
		rc = problem_set(why, "out of memory");
	secret_wipe(pem, sizeof pem);
	return rc;
}

static int write_agent(const struct idfiles *f, const struct ca_key *key, const struct certanswer *a, struct problem *why)
{
	struct buf b;
	int rc;

	buf_init(&b, AGENT_MAX);
	rc = buf_reserve(&b, AGENT_MAX) ? put_key(&b, key, why) : problem_set(why, "out of memory"); /* all at once: no copy of the key is left behind */
	if (rc == 0)
		rc = put_all(&b, a->chain, a->n_chain, why);
	if (rc == 0)
		rc = file_write_atomic(f->agent, buf_slice(&b), 0600, why);
	if (b.p)
		secret_wipe(b.p, b.n);
	buf_clear(&b);
	return rc;
}

/* The bundle first: it vouches for the broker also as long as the old certificate is shown. */
int idfiles_write(const struct idfiles *f, const struct ca_key *key, const struct certanswer *a, struct problem *why)
{
	if (f->bundle[0] && write_bundle(f, a, why) < 0)
		return -1;
	return write_agent(f, key, a, why);
}
