/* How does it show that jansson ran out of memory? It is given a malloc() that remembers. Depth and blanks need no more than to know what is within a text. */
#include "base/json.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

static pthread_once_t once = PTHREAD_ONCE_INIT;
static _Thread_local bool failed;

static void *take(size_t n)
{
	void *p = malloc(n);

	failed |= !p;
	return p;
}

static void use_ours(void)
{
	json_set_alloc_funcs(take, free);
}

/* jansson passes over a 0 that stands right behind a number. */
static json_t *refuse_zero(struct slice bytes, const uint8_t *zero, json_error_t *e)
{
	json_error_t here = {.line = 1, .position = (int)(zero - bytes.p), .text = "a byte of 0 is in it"};

	for (const uint8_t *p = bytes.p; p < zero; p++) {
		here.column = *p == '\n' ? 0 : here.column + 1;
		here.line += *p == '\n';
	}
	if (e)
		*e = here;
	errno = 0;
	return NULL;
}

json_t *json_read(struct slice bytes, json_error_t *e)
{
	const uint8_t *zero = bytes.n ? memchr(bytes.p, 0, bytes.n) : NULL;
	json_t *root;

	if (zero)
		return refuse_zero(bytes, zero, e);
	pthread_once(&once, use_ours);
	failed = false;
	root = json_loadb((const char *)bytes.p, bytes.n, JSON_REJECT_DUPLICATES, e);
	errno = 0;
	if (!failed)
		return root;
	json_decref(root);
	errno = ENOMEM;
	return NULL;
}

/* ---- its text ---- */

/* Whether the next byte is within a text, and behind a backslash there. */
struct within {
	bool text, escaped;
};

static void step(struct within *in, uint8_t c)
{
	if (in->escaped)
		in->escaped = false;
	else if (c == '"')
		in->text = !in->text;
	else
		in->escaped = in->text && c == '\\';
}

size_t json_depth(struct slice bytes)
{
	struct within in = {false, false};
	size_t depth = 0, most = 0;

	for (size_t i = 0; i < bytes.n; i++) {
		const uint8_t c = bytes.p[i];

		if (!in.text && (c == '{' || c == '['))
			depth++;
		if (!in.text && (c == '}' || c == ']') && depth)
			depth--;
		most = depth > most ? depth : most;
		step(&in, c);
	}
	return most;
}

bool json_compact(struct slice bytes, struct buf *out)
{
	struct within in = {false, false};

	for (size_t i = 0; i < bytes.n; i++) {
		const uint8_t c = bytes.p[i];

		if (in.text || (c != ' ' && c != '\t' && c != '\n' && c != '\r'))
			buf_put_u8(out, c);
		step(&in, c);
	}
	return !out->failed;
}
