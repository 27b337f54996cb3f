/* How do certificates and CRLs come out of a text? See pem.h. What is inside them the broker judges. */
#include "config.h"

#include "cli/pem.h"

#include <stdio.h>
#include <string.h>

#include "base/encode.h"

#define BLOCKS_MAX 512
#define BEGIN "-----BEGIN "
#define END "-----END "
#define DASHES "-----"

static bool is_space(uint8_t c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static struct slice trim(struct slice s)
{
	while (s.n && is_space(s.p[0]))
		s = slice_of(s.p + 1, s.n - 1);
	while (s.n && is_space(s.p[s.n - 1]))
		s.n--;
	return s;
}

static int decode(struct slice text, struct arena *arena, ProtobufCBinaryData *out)
{
	char *plain = arena_alloc(arena, text.n + 1);
	size_t n = 0;
	long len;

	out->data = arena_alloc(arena, text.n + 1);
	if (!plain || !out->data)
		return -1;
	for (size_t i = 0; i < text.n; i++)
		if (!is_space(text.p[i]))
			plain[n++] = (char)text.p[i];
	len = b64_decode(slice_of(plain, n), out->data, text.n);
	out->len = len > 0 ? (size_t)len : 0;
	return len > 0 ? 0 : -1;
}

/* A line of dashes around this label, at the beginning of s: its length; 0: there is none. */
static size_t mark(struct slice s, const char *word, const char *label)
{
	char text[64];
	int n = snprintf(text, sizeof text, "%s%s" DASHES, word, label);

	return slice_begins(s, slice_of(text, (size_t)n)) ? (size_t)n : 0;
}

static const uint8_t *find(struct slice s, const char *what)
{
	return s.n ? memmem(s.p, s.n, what, strlen(what)) : NULL;
}

int pem_one(struct slice text, const char *label, struct arena *arena, ProtobufCBinaryData *out)
{
	size_t n;
	const uint8_t *end;

	text = trim(text);
	n = mark(text, BEGIN, label);
	if (!n)
		return decode(text, arena, out);
	text = slice_of(text.p + n, text.n - n);
	end = find(text, END);
	if (!end || mark(slice_of(end, text.n - (size_t)(end - text.p)), END, label) != text.n - (size_t)(end - text.p))
		return -1;
	return decode(slice_of(text.p, (size_t)(end - text.p)), arena, out);
}

/* The next block, from its BEGIN to its END. false: there is none. */
static bool next(struct slice *rest, struct slice *block)
{
	const uint8_t *from = find(*rest, BEGIN), *end;
	struct slice s = from ? slice_of(from, rest->n - (size_t)(from - rest->p)) : slice_of(NULL, 0);

	end = find(s, END);
	if (!end)
		return false;
	end += sizeof END - 1;
	end = memmem(end, s.n - (size_t)(end - s.p), DASHES, sizeof DASHES - 1);
	if (!end)
		return false;
	*block = slice_of(s.p, (size_t)(end - s.p) + sizeof DASHES - 1);
	*rest = slice_of(s.p + block->n, s.n - block->n);
	return true;
}

int pem_all(struct slice text, const char *label, struct arena *arena, ProtobufCBinaryData **v, size_t *n, struct problem *why)
{
	struct slice block;

	*n = 0;
	*v = arena_alloc(arena, BLOCKS_MAX * sizeof **v);
	if (!*v)
		return problem_set(why, "out of memory");
	while (next(&text, &block)) {
		if (*n == BLOCKS_MAX)
			return problem_set(why, "over %d of them", BLOCKS_MAX);
		if (strcmp(label, PEM_CRL) == 0 && mark(block, BEGIN, PEM_CERTIFICATE)) /* as `baton ca crl` writes them: whose list it is */
			continue;
		if (!mark(block, BEGIN, label))
			return problem_set(why, "block %zu is no %s: put nothing else into the file", *n + 1, label);
		if (pem_one(block, label, arena, &(*v)[(*n)++]) < 0)
			return problem_set(why, "block %zu cannot be read", *n);
	}
	return *n ? 0 : problem_set(why, "it holds no PEM %s", label);
}
