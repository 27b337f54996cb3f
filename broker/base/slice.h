/* What is a borrowed run of bytes? A pointer and a length, never NUL-terminated, owned by somebody else. */
#ifndef BATON_BASE_SLICE_H
#define BATON_BASE_SLICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct slice {
	const uint8_t *p; /* may be NULL when n is 0 */
	size_t n;         /* bytes */
};

#define SLICE_LIT(s) ((struct slice){(const uint8_t *)(s), sizeof(s) - 1})

static inline struct slice slice_of(const void *p, size_t n)
{
	return (struct slice){(const uint8_t *)p, n};
}

/* Borrows s; NULL reads as empty. */
static inline struct slice slice_str(const char *s)
{
	return (struct slice){(const uint8_t *)s, s ? strlen(s) : 0};
}

static inline bool slice_eq(struct slice a, struct slice b)
{
	return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

static inline bool slice_is(struct slice a, const char *s)
{
	return slice_eq(a, slice_str(s));
}

/* By their bytes, as memcmp; of two of which one begins the other, the shorter first. */
static inline int slice_compare(struct slice a, struct slice b)
{
	size_t n = a.n < b.n ? a.n : b.n;
	int rc = n ? memcmp(a.p, b.p, n) : 0;

	return rc ? rc : (a.n > b.n) - (a.n < b.n);
}

static inline bool slice_begins(struct slice a, struct slice prefix)
{
	return a.n >= prefix.n && (prefix.n == 0 || memcmp(a.p, prefix.p, prefix.n) == 0);
}

static inline bool slice_ends(struct slice a, struct slice suffix)
{
	return a.n >= suffix.n && (suffix.n == 0 || memcmp(a.p + a.n - suffix.n, suffix.p, suffix.n) == 0);
}

/* Copies into a NUL-terminated buffer of `size` bytes. Returns false, and leaves "" behind, when it does not fit. */
static inline bool slice_copy_str(struct slice a, char *out, size_t size)
{
	if (a.n >= size) {
		if (size)
			out[0] = '\0';
		return false;
	}
	if (a.n)
		memcpy(out, a.p, a.n);
	out[a.n] = '\0';
	return true;
}

#endif
