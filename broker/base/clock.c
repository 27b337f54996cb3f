/* How is the system's time read and printed? By clock_gettime; UTC with milliseconds as RFC 3339 wants it. */
#include "config.h"

#include "base/clock.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

static int64_t clock_read_us(clockid_t id)
{
	struct timespec t;

	clock_gettime(id, &t);
	return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

int64_t clock_unix_ms(void)
{
	return clock_read_us(CLOCK_REALTIME) / 1000;
}

int64_t clock_mono_ms(void)
{
	return clock_read_us(CLOCK_MONOTONIC) / 1000;
}

int64_t clock_mono_us(void)
{
	return clock_read_us(CLOCK_MONOTONIC);
}

int64_t clock_thread_us(void)
{
	return clock_read_us(CLOCK_THREAD_CPUTIME_ID);
}

void clock_format_utc(int64_t unix_ms, char out[25])
{
	static _Thread_local struct {
		time_t s;
		char text[25];
	} last = {.s = -1}; /* most calls of a busy thread fall into the second of the one before */
	int64_t ms = unix_ms % 1000;
	char text[64];
	struct tm tm;
	time_t s;

	if (ms < 0)
		ms += 1000;
	s = (time_t)((unix_ms - ms) / 1000);
	if (s == last.s) {
		memcpy(out, last.text, sizeof last.text);
		out[20] = (char)('0' + ms / 100);
		out[21] = (char)('0' + ms / 10 % 10);
		out[22] = (char)('0' + ms % 10);
		return;
	}
	if (!gmtime_r(&s, &tm) || tm.tm_year < -1900 || tm.tm_year > 9999 - 1900) {
		memcpy(out, "0000-00-00T00:00:00.000Z", 25); /* outside RFC 3339's four-digit years */
		return;
	}
	snprintf(text, sizeof text, "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ", tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday,
		 tm.tm_hour, tm.tm_min, tm.tm_sec, (int)ms);
	memcpy(out, text, 24);
	out[24] = '\0';
	memcpy(last.text, out, sizeof last.text);
	last.s = s;
}

/* n digits at i; -1 when one is none. */
static int digits(struct slice s, size_t i, size_t n)
{
	int v = 0;

	for (; n; n--, i++) {
		if (s.p[i] < '0' || s.p[i] > '9')
			return -1;
		v = v * 10 + (s.p[i] - '0');
	}
	return v;
}

int64_t clock_parse_utc(struct slice text)
{
	static const char form[] = "....-..-..T..:..:......Z";
	struct tm tm = {0};
	char again[25];
	int64_t at;
	size_t i;

	if (text.n != sizeof form - 1)
		return -1;
	for (i = 0; i < text.n; i++)
		if (form[i] != '.' && text.p[i] != (uint8_t)form[i])
			return -1;
	tm.tm_year = digits(text, 0, 4) - 1900;
	tm.tm_mon = digits(text, 5, 2) - 1;
	tm.tm_mday = digits(text, 8, 2);
	tm.tm_hour = digits(text, 11, 2);
	tm.tm_min = digits(text, 14, 2);
	tm.tm_sec = digits(text, 17, 2);
	at = (int64_t)timegm(&tm) * 1000 + digits(text, 20, 3);
	clock_format_utc(at, again); /* what does not print alike was not in that form: 31 February, a stray letter */
	return at >= 0 && slice_is(text, again) ? at : -1;
}

/* "Z", or how far from UTC: the minutes. false: neither. */
static bool zone_parse(struct slice s, int *minutes)
{
	int h, m;

	*minutes = 0;
	if (slice_is(s, "Z") || slice_is(s, "z"))
		return true;
	if (s.n != 6 || (s.p[0] != '+' && s.p[0] != '-') || s.p[3] != ':')
		return false;
	h = digits(s, 1, 2);
	m = digits(s, 4, 2);
	*minutes = (h * 60 + m) * (s.p[0] == '-' ? -1 : 1);
	return h >= 0 && h < 24 && m >= 0 && m < 60;
}

int64_t clock_parse_rfc3339(struct slice text)
{
	char utc[] = "0000-00-00T00:00:00.000Z";
	size_t at = 19, kept = 20; /* behind the seconds; where the next digit of the milliseconds goes */
	int minutes;
	int64_t ms;

	if (text.n < 20 || text.n > 64 || (text.p[10] != 'T' && text.p[10] != 't'))
		return -1;
	memcpy(utc, text.p, 10);
	memcpy(utc + 11, text.p + 11, 8);
	if (text.p[at] == '.') {
		for (at++; at < text.n && text.p[at] >= '0' && text.p[at] <= '9'; at++)
			if (kept < 23)
				utc[kept++] = (char)text.p[at];
		if (at == 20)
			return -1;
	}
	if (!zone_parse(slice_of(text.p + at, text.n - at), &minutes))
		return -1;
	ms = clock_parse_utc(slice_str(utc));
	if (ms < 0)
		return -1;
	ms -= minutes * INT64_C(60000);
	return ms >= 0 && ms <= CLOCK_LAST_MS ? ms : -1;
}
