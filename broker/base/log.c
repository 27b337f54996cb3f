/* Where do log lines go, and what may be in them? One line an event to one descriptor, built outside the lock and
 * written in one piece. Every string passes redaction before it is cut to size, and escaping after. */
#include "config.h"

#include "base/log.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/encode.h"
#include "base/jsonw.h"
#include "base/redact.h"

#define LINE_MAX_BYTES (16 * 1024)
#define VALUE_MAX_BYTES 2048           /* of one string in a line; the rest is cut */
#define VALUE_SCAN_BYTES (64 * 1024)   /* of one string looked at; the rest is dropped unseen */

static struct {
	atomic_int fd;
	atomic_int level;
	atomic_bool json;
	pthread_mutex_t lock; /* one line at a time */
} sink = {.fd = 2, .level = LOG_INFO, .json = true, .lock = PTHREAD_MUTEX_INITIALIZER};

static const char *const level_texts[] = {
	[LOG_DEBUG] = "debug", [LOG_INFO] = "info", [LOG_WARN] = "warn", [LOG_ERROR] = "error"};

void log_open(int fd, enum log_level level, bool json)
{
	atomic_store(&sink.fd, fd);
	atomic_store(&sink.level, (int)level);
	atomic_store(&sink.json, json);
}

bool log_enabled(enum log_level level)
{
	return (int)level >= atomic_load_explicit(&sink.level, memory_order_relaxed);
}

/* The text as it may be written: redacted, then cut. Borrows v or scratch. */
static struct slice clean(struct buf *scratch, struct slice v)
{
	if (v.n > VALUE_SCAN_BYTES)
		v.n = VALUE_SCAN_BYTES;
	if (redact_needed(v)) {
		buf_reset(scratch);
		v = redact_copy(scratch, v) ? buf_slice(scratch) : SLICE_LIT("[redacted]");
	}
	if (v.n > VALUE_MAX_BYTES)
		v.n = utf8_cut(v, VALUE_MAX_BYTES);
	return v;
}

static struct slice field_text(const struct log_field *f)
{
	return f->kind == LOG_FIELD_SLICE ? f->b : slice_str(f->s);
}

typedef void line_form(struct buf *b, struct buf *scratch, const char *at, enum log_level level, const char *event,
		       const struct log_field *f, size_t n);

static void line_json(struct buf *b, struct buf *scratch, const char *at, enum log_level level, const char *event,
		      const struct log_field *f, size_t n)
{
	struct jsonw w;
	size_t i;

	jsonw_init(&w, b);
	jsonw_object(&w, NULL);
	jsonw_str(&w, "at", at);
	jsonw_str(&w, "level", level_texts[level]);
	jsonw_str(&w, "event", event);
	for (i = 0; i < n; i++) {
		if (f[i].kind == LOG_FIELD_INT)
			jsonw_int(&w, f[i].key, f[i].i);
		else
			jsonw_slice(&w, f[i].key, clean(scratch, field_text(&f[i])));
	}
	jsonw_end_object(&w);
	buf_put_u8(b, '\n');
}

static void line_text(struct buf *b, struct buf *scratch, const char *at, enum log_level level, const char *event,
		      const struct log_field *f, size_t n)
{
	size_t i;

	buf_printf(b, "%s %-5s %s", at, level_texts[level], event);
	for (i = 0; i < n; i++) {
		if (f[i].kind == LOG_FIELD_INT) {
			buf_printf(b, " %s=%" PRId64, f[i].key, f[i].i);
			continue;
		}
		buf_printf(b, " %s=\"", f[i].key);
		jsonw_escape(b, clean(scratch, field_text(&f[i])));
		buf_put_u8(b, '"');
	}
	buf_put_u8(b, '\n');
}

/* A line that cannot be written is lost: there is no second place to say so. */
static void line_write(struct slice line)
{
	int fd = atomic_load(&sink.fd);
	ssize_t put;

	pthread_mutex_lock(&sink.lock);
	while (line.n) {
		put = write(fd, line.p, line.n);
		if (put < 0 && errno == EINTR)
			continue;
		if (put <= 0)
			break;
		line.p += put;
		line.n -= (size_t)put;
	}
	pthread_mutex_unlock(&sink.lock);
}

/* What happened at least, when memory is out. */
static void line_bare(const char *at, enum log_level level, const char *event, bool json)
{
	char text[256];
	int n = snprintf(text, sizeof text, json ? "{\"at\":\"%s\",\"level\":\"%s\",\"event\":\"%s\",\"cut\":\"out of memory\"}\n"
						: "%s %-5s %s cut=\"out of memory\"\n", at, level_texts[level], event);

	if (n > 0 && (size_t)n < sizeof text)
		line_write(slice_of(text, (size_t)n));
}

void log_fields(enum log_level level, const char *event, const struct log_field *f, size_t n)
{
	struct buf line, scratch;
	char at[25];
	line_form *form = atomic_load(&sink.json) ? line_json : line_text;

	if (!log_enabled(level))
		return;
	buf_init(&line, LINE_MAX_BYTES);
	buf_init(&scratch, 2 * VALUE_SCAN_BYTES);
	clock_format_utc(clock_unix_ms(), at);
	form(&line, &scratch, at, level, event, f, n);
	if (line.failed) {
		const struct log_field cut = F_STR("cut", "the line was too long");

		buf_reset(&line);
		form(&line, &scratch, at, level, event, &cut, 1);
	}
	if (line.failed)
		line_bare(at, level, event, form == line_json);
	else
		line_write(buf_slice(&line));
	buf_clear(&line);
	buf_clear(&scratch);
}
