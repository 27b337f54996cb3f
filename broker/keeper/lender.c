/* Which secrets does the keeper hand out? See lender.h. */
#include "config.h"

#include "keeper/lender.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/bucket.h"
#include "base/secret.h"
#include "identity/introspection.h"
#include "keeper/hostfolder.h"

static const char pem[] = "-----BEGIN";

struct keeper_lender {
	const struct keeper_secrets *of;
	const char *const *own;
	size_t n_own;
	struct bucket files, registered;
	struct record_count count;
	uint8_t *secret;
	size_t n;
	struct problem why;
};

/* ---- which ---- */

/* Bytes of the path up to its last part; that part is a name, or it is none: 0. */
static size_t folder_part(const char *file)
{
	const char *slash = file[0] == '/' ? strrchr(file, '/') : NULL;

	if (!slash || !slash[1] || strcmp(slash + 1, ".") == 0 || strcmp(slash + 1, "..") == 0)
		return 0;
	return (size_t)(slash + 1 - file);
}

bool keeper_secrets_know(const struct keeper_secrets *s, const char *file)
{
	size_t n = folder_part(file);

	for (size_t i = 0; n && i < s->n; i++)
		if (folder_part(s->files[i]) == n && strncmp(s->files[i], file, n) == 0)
			return true;
	return false;
}

static bool is_own(const struct keeper_lender *k, int fd)
{
	struct stat it, own;

	if (fstat(fd, &it) < 0)
		return true;
	for (size_t i = 0; i < k->n_own; i++)
		if (k->own[i][0] && stat(k->own[i], &own) == 0 && own.st_dev == it.st_dev && own.st_ino == it.st_ino)
			return true;
	return false;
}

/* ---- reading ---- */

/* Takes fd; below 0: errno says why there is none. */
static int take(struct keeper_lender *k, int fd, const char *path, size_t max)
{
	if (fd >= 0 && is_own(k, fd)) {
		close(fd);
		return problem_set(&k->why, "%s is a file of the keeper's own, which leaves it never", path);
	}
	if (secret_read_fd(fd, path, max, &k->secret, &k->n, &k->why) < 0)
		return -1;
	if (!memmem(k->secret, k->n, pem, sizeof pem - 1))
		return 0;
	keeper_lender_forget(k);
	return problem_set(&k->why, "%s holds PEM, a key or a certificate: it is no secret that is handed out", path);
}

static int read_file(struct keeper_lender *k, const char *file)
{
	if (!keeper_secrets_know(k->of, file))
		return problem_set(&k->why, "%.300s is in no folder that the keeper was told of at its start: restart to allow it", file);
	return take(k, open(file, SECRET_OPEN), file, KEEPER_SECRET_MAX);
}

static int read_registered(struct keeper_lender *k, const char *url, const char *name)
{
	char path[HOSTFOLDER_PATH_MAX];
	const char *wrong = introspection_secret_name_wrong(name);
	int at, rc;

	if (wrong)
		return problem_set(&k->why, "%s", wrong);
	at = hostfolder_open(k->of->folder, url, geteuid(), path, &k->why);
	if (at < 0)
		return -1;
	snprintf(path + strlen(path), sizeof path - strlen(path), "/%s", name);
	rc = take(k, openat(at, name, SECRET_OPEN | O_NOFOLLOW), path, INTROSPECTION_SECRET_MAX);
	close(at);
	return rc;
}

/* ---- answers ---- */

static enum keeper_status lend(struct keeper_lender *k, const struct keeper_ask *a, int64_t mono_ms)
{
	const struct secret_wanted *w = &a->secret;
	struct bucket *b = *w->file ? &k->files : &k->registered;

	if (a->until_ms < mono_ms) {
		problem_set(&k->why, "nobody waits for it any more");
		return KEEPER_BUSY;
	}
	if (!bucket_take(b, KEEPER_SECRETS_BURST, KEEPER_SECRETS_PER_SECOND, mono_ms)) {
		problem_set(&k->why, "too many secrets within a second: the next ones wait");
		return KEEPER_BUSY;
	}
	return (*w->file ? read_file(k, w->file) : read_registered(k, w->url, w->name)) < 0 ? KEEPER_REFUSED : KEEPER_OK;
}

void keeper_lender_answer(struct keeper_lender *k, const struct keeper_ask *a, int64_t now_ms, int64_t mono_ms, struct keeper_answer *out)
{
	keeper_lender_forget(k);
	k->why.text[0] = '\0';
	*out = (struct keeper_answer){.tag = a->tag, .status = lend(k, a, mono_ms)};
	out->secret = slice_of(k->secret, k->n);
	out->why = slice_str(k->why.text);
	record_count_one(&k->count, out->status == KEEPER_OK, now_ms);
}

void keeper_lender_forget(struct keeper_lender *k)
{
	secret_wipe(k->secret, k->n);
	free(k->secret);
	k->secret = NULL;
	k->n = 0;
}

struct record_count *keeper_lender_count(struct keeper_lender *k)
{
	return &k->count;
}

struct keeper_lender *keeper_lender_new(const struct keeper_secrets *s, const char *const *own, size_t n, int64_t mono_ms)
{
	struct keeper_lender *k = calloc(1, sizeof *k);

	if (!k)
		return NULL;
	k->of = s;
	k->own = own;
	k->n_own = n;
	bucket_fill(&k->files, KEEPER_SECRETS_BURST, mono_ms);
	bucket_fill(&k->registered, KEEPER_SECRETS_BURST, mono_ms);
	return k;
}

void keeper_lender_free(struct keeper_lender *k)
{
	if (!k)
		return;
	keeper_lender_forget(k);
	free(k);
}
