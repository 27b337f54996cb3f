/* What did the keeper issue? See record.h. */
#include "config.h"

#include "keeper/record.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/encode.h"
#include "base/file.h"
#include "base/jsonw.h"

#define LINE_MAX_BYTES 8192

struct record {
	int fd;
	char *path;
	bool torn; /* the last line may not be whole */
};

struct record *record_open(const char *path, struct problem *why)
{
	struct record *r = calloc(1, sizeof *r);
	struct stat st;

	if (!r || !(r->path = strdup(path))) {
		free(r);
		problem_set(why, "out of memory");
		return NULL;
	}
	r->fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600);
	if (r->fd < 0 || fstat(r->fd, &st) < 0 || file_sync_folder(path) < 0)
		problem_set(why, "%s: %s", path, strerror(errno));
	else if (!S_ISREG(st.st_mode) || st.st_mode & 077)
		problem_set(why, "%s: it must be a file that nobody else can read or write: mode 0600", path);
	else {
		r->torn = st.st_size > 0; /* a run that was killed may have left half a line; an empty one does no harm */
		return r;
	}
	record_close(r);
	return NULL;
}

static void put_line(struct buf *b, const struct ca_cert_info *leaf, int64_t now_ms)
{
	char serial[2 * CA_SERIAL_BYTES + 1], issuer[2 * CA_KEY_ID_BYTES + 1], digest[2 * SHA256_BYTES + 1], at[25], end[25];
	struct jsonw w;

	hex_encode(leaf->serial, CA_SERIAL_BYTES, serial);
	hex_encode(leaf->issuer_key_id, CA_KEY_ID_BYTES, issuer);
	hex_encode(leaf->sha256, SHA256_BYTES, digest);
	clock_format_utc(now_ms, at);
	clock_format_utc(leaf->not_after_ms, end);
	jsonw_init(&w, b);
	jsonw_object(&w, NULL);
	jsonw_str(&w, "at", at);
	jsonw_str(&w, "spiffe_id", leaf->spiffe_id);
	jsonw_str(&w, "serial", serial);
	jsonw_str(&w, "issuer", issuer);
	jsonw_str(&w, "sha256", digest);
	jsonw_str(&w, "not_after", end);
	jsonw_end_object(&w);
	buf_put_u8(b, '\n');
}

static void put_count(struct buf *b, const char *what, const struct record_count *c, int64_t now_ms)
{
	char from[25], to[25];
	struct jsonw w;

	clock_format_utc(c->since_ms, from);
	clock_format_utc(now_ms, to);
	jsonw_init(&w, b);
	jsonw_object(&w, NULL);
	jsonw_str(&w, "at", to);
	jsonw_str(&w, "since", from);
	jsonw_int(&w, what, (int64_t)c->given);
	jsonw_int(&w, "refused", (int64_t)c->refused);
	jsonw_end_object(&w);
	buf_put_u8(b, '\n');
}

static void begin(struct record *r, struct buf *b)
{
	buf_init(b, LINE_MAX_BYTES);
	if (r->torn)
		buf_put_u8(b, '\n');
}

/* Frees *b. */
static int end(struct record *r, struct buf *b, struct problem *why)
{
	ssize_t n = -1;
	bool ok;

	errno = ENOMEM;
	if (!b->failed)
		n = write(r->fd, b->p, b->n);
	ok = n == (ssize_t)b->n && fdatasync(r->fd) == 0;
	r->torn = !ok;
	if (!ok)
		problem_set(why, "%s: what is issued cannot be written down: %s", r->path, n >= 0 && n < (ssize_t)b->n ? "the disk is full" : strerror(errno));
	buf_clear(b);
	return ok ? 0 : -1;
}

int record_add(struct record *r, const struct ca_cert_info *leaf, int64_t now_ms, struct problem *why)
{
	struct buf b;

	begin(r, &b);
	put_line(&b, leaf, now_ms);
	return end(r, &b, why);
}

int record_add_count(struct record *r, const char *what, const struct record_count *c, int64_t now_ms, struct problem *why)
{
	struct buf b;

	begin(r, &b);
	put_count(&b, what, c, now_ms);
	return end(r, &b, why);
}

void record_count_one(struct record_count *c, bool given, int64_t now_ms)
{
	if (!c->given && !c->refused)
		c->since_ms = now_ms;
	if (given)
		c->given++;
	else
		c->refused++;
}

void record_close(struct record *r)
{
	if (!r)
		return;
	if (r->fd >= 0)
		close(r->fd);
	free(r->path);
	free(r);
}
