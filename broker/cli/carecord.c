/* How are lines added to the CA's two records, and read back? A line that was cut off by a crash was never acknowledged: the next one takes its
 * place. */
#include "config.h"

#include "cli/carecord.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/encode.h"
#include "base/file.h"

#define LINE_MAX_BYTES (SPIFFE_ID_MAX + 256)
#define WORDS 5
#define REVOKED_MAX (1 << 20)

/* Where the last whole line of the file ends. */
static off_t whole_end(int fd)
{
	off_t end = lseek(fd, 0, SEEK_END);
	char tail[LINE_MAX_BYTES];
	size_t want = end < (off_t)sizeof tail ? (size_t)end : sizeof tail;
	ssize_t got = end > 0 ? pread(fd, tail, want, end - (off_t)want) : 0;

	for (; got > 0 && tail[got - 1] != '\n'; got--)
		end--;
	return end;
}

static int write_line(int fd, const char *line, size_t n)
{
	off_t end = whole_end(fd);

	return end >= 0 && ftruncate(fd, end) == 0 && pwrite(fd, line, n, end) == (ssize_t)n && fsync(fd) == 0 ? 0 : -1;
}

static int append(const char *dir, const char *file, const char *line, size_t n, struct problem *why)
{
	struct capath p;
	int fd = open(cafolder_path(dir, &p, file), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	int rc = fd < 0 ? -1 : write_line(fd, line, n);

	if (rc < 0)
		problem_set(why, "cannot write %s: %s", p.p, strerror(errno));
	if (fd >= 0)
		close(fd);
	return rc;
}

int carecord_add_issued(const char *dir, const struct ca_cert_info *leaf, const char *issuer, struct problem *why)
{
	char line[LINE_MAX_BYTES], serial[2 * CA_SERIAL_BYTES + 1], digest[2 * SHA256_BYTES + 1], end[25];
	int n;

	hex_encode(leaf->serial, CA_SERIAL_BYTES, serial);
	hex_encode(leaf->sha256, SHA256_BYTES, digest);
	clock_format_utc(leaf->not_after_ms, end);
	n = snprintf(line, sizeof line, "%s %s %s %s %s\n", serial, issuer, end, digest, leaf->spiffe_id);
	return append(dir, "issued", line, (size_t)n, why);
}

int carecord_add_revoked(const char *dir, const struct carevoked *one, struct problem *why)
{
	char line[LINE_MAX_BYTES], serial[2 * CA_SERIAL_BYTES + 1], end[25], at[25];
	int n;

	hex_encode(one->entry.serial, CA_SERIAL_BYTES, serial);
	clock_format_utc(one->not_after_ms, end);
	clock_format_utc(one->entry.at_ms, at);
	n = snprintf(line, sizeof line, "%s %s %s %s %d\n", serial, one->issuer, end, at, (int)one->entry.reason);
	return append(dir, "revoked", line, (size_t)n, why);
}

/* The words of a whole line: the line is cut up. */
static bool split(char *line, char *words[WORDS])
{
	size_t n = strlen(line), k = 0;

	if (!n || line[n - 1] != '\n')
		return false;
	line[n - 1] = '\0';
	for (char *rest = line; rest; k++) {
		char *word = strsep(&rest, " ");

		if (k == WORDS || !*word)
			return false;
		words[k] = word;
	}
	return k == WORDS;
}

/* What both kinds of line begin with. */
static bool read_head(char *words[WORDS], struct carevoked *out)
{
	memset(out, 0, sizeof *out);
	out->not_after_ms = clock_parse_utc(slice_str(words[2]));
	return hex_decode_lower(slice_str(words[0]), out->entry.serial, CA_SERIAL_BYTES) == CA_SERIAL_BYTES &&
	       slice_copy_str(slice_str(words[1]), out->issuer, sizeof out->issuer) && out->not_after_ms >= 0;
}

/* One line of `revoked`. */
static bool read_revoked(char *words[WORDS], struct carevoked *out)
{
	char *end = NULL;
	long reason;

	if (!read_head(words, out))
		return false;
	reason = strtol(words[4], &end, 10);
	out->entry.at_ms = clock_parse_utc(slice_str(words[3]));
	out->entry.reason = (enum ca_reason)reason;
	return out->entry.at_ms >= 0 && !*end && reason >= CA_UNSPECIFIED && reason <= CA_PRIVILEGE_WITHDRAWN;
}

static FILE *open_record(const char *dir, const char *file, struct capath *p, struct problem *why)
{
	FILE *f = fopen(cafolder_path(dir, p, file), "re");

	if (!f)
		problem_set(why, "cannot read %s: %s", p->p, strerror(errno));
	return f;
}

/* The next whole line, in words. 1; 0: there is none; -1: it is none of this file's. A line that is cut off at the end is none. */
static int next_line(FILE *f, char line[LINE_MAX_BYTES], char *words[WORDS])
{
	if (!fgets(line, LINE_MAX_BYTES, f) || (!strchr(line, '\n') && feof(f)))
		return ferror(f) ? -1 : 0;
	return split(line, words) ? 1 : -1;
}

static int bad_line(const struct capath *p, size_t at, struct problem *why)
{
	return problem_set(why, "%s:%zu: this line cannot be read: mend it", p->p, at);
}

int carecord_each_issued(const char *dir, int (*fn)(void *arg, const struct carevoked *one, const char *spiffe_id, struct problem *why), void *arg, struct problem *why)
{
	char line[LINE_MAX_BYTES], *words[WORDS];
	struct carevoked one;
	struct capath p;
	FILE *f = open_record(dir, "issued", &p, why);
	int rc = f ? 1 : -1;

	for (size_t at = 1; rc > 0; at++) {
		rc = next_line(f, line, words);
		if (rc < 0 || (rc > 0 && !read_head(words, &one)))
			rc = bad_line(&p, at, why);
		else if (rc > 0 && fn(arg, &one, words[4], why) < 0)
			rc = -1;
	}
	if (f)
		fclose(f);
	return rc;
}

bool carecord_append(struct carevoked **all, size_t *n, const struct carevoked *one)
{
	if (!(*n & (*n - 1))) { /* it has room up to the next power of two */
		struct carevoked *more = *n < REVOKED_MAX ? realloc(*all, (*n ? 2 * *n : 1) * sizeof *more) : NULL;

		if (!more)
			return false;
		*all = more;
	}
	(*all)[(*n)++] = *one;
	return true;
}

int carecord_read_revoked(const char *dir, struct carevoked **out, size_t *n, struct problem *why)
{
	char line[LINE_MAX_BYTES], *words[WORDS];
	struct carevoked one;
	struct capath p;
	FILE *f = open_record(dir, "revoked", &p, why);
	int rc = f ? 1 : -1;

	*out = NULL;
	*n = 0;
	while (f && (rc = next_line(f, line, words)) != 0) {
		if (rc < 0 || !read_revoked(words, &one)) {
			rc = bad_line(&p, *n + 1, why);
			break;
		}
		if (!carecord_append(out, n, &one)) {
			rc = problem_set(why, "%s is too long", p.p);
			break;
		}
	}
	if (f)
		fclose(f);
	if (rc >= 0)
		return 0;
	free(*out);
	*out = NULL;
	return -1;
}
