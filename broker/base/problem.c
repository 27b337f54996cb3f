/* How is a problem's text put together? Formatted into its fixed room, cut when too long; the words are the
 * caller's. */
#include "base/problem.h"

#include <stdio.h>
#include <string.h>

int problem_set(struct problem *p, const char *fmt, ...)
{
	va_list ap;

	if (!p)
		return -1;
	va_start(ap, fmt);
	vsnprintf(p->text, sizeof p->text, fmt, ap);
	va_end(ap);
	return -1;
}

int problem_prefix(struct problem *p, const char *fmt, ...)
{
	char old[sizeof p->text];
	va_list ap;
	size_t n;

	if (!p)
		return -1;
	memcpy(old, p->text, sizeof old);
	va_start(ap, fmt);
	vsnprintf(p->text, sizeof p->text, fmt, ap);
	va_end(ap);
	n = strlen(p->text);
	snprintf(p->text + n, sizeof p->text - n, ": %s", old);
	return -1;
}
