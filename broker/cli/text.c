/* How is text made safe and short? A terminal obeys control characters, so none of a peer's gets there. */
#include "config.h"

#include "cli/text.h"

#include <string.h>
#include <time.h>

#include "base/encode.h"

void text_age(int64_t ms, char out[16])
{
	long long s = ms < 0 ? 0 : ms / 1000;

	if (s < 120)
		snprintf(out, 16, "%llds", s);
	else if (s < 7200)
		snprintf(out, 16, "%lldm", s / 60);
	else if (s < 172800)
		snprintf(out, 16, "%lldh", s / 3600);
	else
		snprintf(out, 16, "%lldd", s / 86400 % 1000000);
}

static void broken_down(int64_t unix_ms, bool utc, struct tm *tm)
{
	time_t t = (time_t)(unix_ms / 1000);

	memset(tm, 0, sizeof *tm);
	if (utc)
		gmtime_r(&t, tm);
	else
		localtime_r(&t, tm);
}

void text_time(int64_t unix_ms, bool utc, char out[40])
{
	struct tm tm;

	if (unix_ms <= 0) {
		memcpy(out, "-", 2);
		return;
	}
	broken_down(unix_ms, utc, &tm);
	if (strftime(out, 40, utc ? "%Y-%m-%dT%H:%M:%SZ" : "%Y-%m-%d %H:%M:%S", &tm) == 0)
		memcpy(out, "-", 2);
}

void text_clock(int64_t unix_ms, bool utc, char out[24])
{
	struct tm tm;

	broken_down(unix_ms, utc, &tm);
	snprintf(out, 24, "%02u:%02u:%02u.%03u%s", (unsigned)tm.tm_hour % 100, (unsigned)tm.tm_min % 100,
		(unsigned)tm.tm_sec % 100,
		 (unsigned)(unix_ms % 1000), utc ? "Z" : "");
}

/* Length of the good character at p, or 0. C1 controls (U+0080..9F) are not good. */
static size_t good_char(const uint8_t *p, size_t left)
{
	size_t n = p[0] < 0x80 ? 1 : p[0] < 0xE0 ? 2 : p[0] < 0xF0 ? 3 : 4;

	if (n > left || !utf8_is_text(slice_of(p, n)))
		return 0;
	return n;
}

bool text_is_plain(struct slice s)
{
	if (!utf8_valid(s))
		return false;
	for (size_t i = 0; i < s.n; i++)
		if (s.p[i] == 0x7F || (s.p[i] < 0x20 && s.p[i] != '\n' && s.p[i] != '\t' && s.p[i] != '\r'))
			return false;
	return true;
}

void text_safe(struct slice in, char *out, size_t size)
{
	size_t at = 0;

	for (size_t i = 0; i < in.n;) {
		size_t n = good_char(in.p + i, in.n - i);

		if (at + (n ? n : 1) >= size)
			break;
		if (n)
			memcpy(out + at, in.p + i, n);
		else
			out[at] = '?';
		at += n ? n : 1;
		i += n ? n : 1;
	}
	out[at] = '\0';
}

void text_print(FILE *out, struct slice in, bool lines)
{
	for (size_t i = 0; i < in.n;) {
		size_t n = good_char(in.p + i, in.n - i);

		if (n)
			fwrite(in.p + i, 1, n, out);
		else if (lines && (in.p[i] == '\n' || in.p[i] == '\t'))
			fputc(in.p[i], out);
		else
			fputc('?', out);
		i += n ? n : 1;
	}
}

void text_line(FILE *out, int width, const char *key, const char *value)
{
	if (!value || !*value)
		return;
	fprintf(out, "%-*s ", width, key);
	text_print(out, slice_str(value), false);
	fputc('\n', out);
}

void text_line_words(FILE *out, int width, const char *key, char *const *words, size_t n)
{
	if (!n)
		return;
	fprintf(out, "%-*s", width, key);
	for (size_t i = 0; i < n; i++) {
		fputc(' ', out);
		text_print(out, slice_str(words[i]), false);
	}
	fputc('\n', out);
}
