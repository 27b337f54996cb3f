/* What did a URL of lists give when it was asked last? See crlkept.h. A line of text, then the lists as PEM; the file's name is made of domain and URL, so that no
 * other's lists are in it, and it is written whole or not at all. */
#include "app/crlkept.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/encode.h"
#include "base/file.h"
#include "base/secret.h"

#define PATH_SIZE 1200
#define HEAD "baton crl 1 "
#define HEAD_MAX 64
#define FILE_MAX (2 * CRL_BODY_MAX * CRL_LISTS_MAX) /* PEM, with lists of former bodies */

static const char *path_of(const struct crlkept *k, char out[PATH_SIZE])
{
	const struct slice parts[] = {slice_str(k->domain), slice_str(k->url)};
	uint8_t digest[SHA256_BYTES];
	char hex[2 * SHA256_BYTES + 1];

	sha256_parts(parts, 2, digest);
	hex_encode(digest, sizeof digest, hex);
	snprintf(out, PATH_SIZE, "%s/crl-%s", k->state_dir, hex);
	return out;
}

/* The line, without its end; text begins behind it then. false: there is none. */
static bool read_head(struct slice *text, int64_t *since_ms)
{
	const uint8_t *end = text->n ? memchr(text->p, '\n', text->n < HEAD_MAX ? text->n : HEAD_MAX) : NULL;
	char line[HEAD_MAX], *rest = NULL;

	if (!end || !slice_copy_str(slice_of(text->p, (size_t)(end - text->p)), line, sizeof line) || strncmp(line, HEAD, sizeof HEAD - 1) != 0)
		return false;
	*text = slice_of(end + 1, text->n - (size_t)(end + 1 - text->p));
	*since_ms = strtoll(line + sizeof HEAD - 1, &rest, 10);
	if (*rest || *since_ms < 0)
		*since_ms = 0;
	return *since_ms;
}

static int judge(const struct crlkept *k, const struct trust *t, int64_t now_ms, struct slice body, struct crls **lists, struct problem *why)
{
	const struct crl_ask a = {.body = body, .now_ms = now_ms, .kept = true};

	if (!body.n)
		return 0;
	return crls_judge(t, k->domain, &a, lists, why) == CRLS_TAKEN ? 0 : -1;
}

int crlkept_read(const struct crlkept *k, const struct trust *t, int64_t now_ms, int64_t *since_ms, struct crls **lists, struct problem *why)
{
	char path[PATH_SIZE];
	uint8_t *bytes = NULL;
	struct slice text;
	struct stat st;
	size_t n = 0;
	int rc;

	*since_ms = 0;
	*lists = NULL;
	if (stat(path_of(k, path), &st) < 0 && errno == ENOENT)
		return 0;
	if (file_read(path, FILE_MAX, &bytes, &n, why) < 0)
		return -1;
	text = slice_of(bytes, n);
	rc = read_head(&text, since_ms) ? judge(k, t, now_ms, text, lists, why) : problem_set(why, "its first line is damaged");
	free(bytes);
	if (*since_ms > now_ms) /* the clock stepped; nobody is let in for longer */
		*since_ms = now_ms;
	return rc;
}

int crlkept_write(const struct crlkept *k, int64_t since_ms, const struct crls *lists, struct problem *why)
{
	char path[PATH_SIZE];
	struct buf b;
	int rc;

	buf_init(&b, FILE_MAX);
	buf_printf(&b, HEAD "%" PRId64 "\n", since_ms);
	rc = lists ? crls_write(lists, &b, why) : 0;
	if (rc == 0)
		rc = b.failed ? problem_set(why, "out of memory") : file_write_atomic(path_of(k, path), buf_slice(&b), 0600, why);
	buf_clear(&b);
	return rc;
}

void crlkept_remove(const struct crlkept *k)
{
	char path[PATH_SIZE];

	unlink(path_of(k, path));
}
