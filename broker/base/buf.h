/* Where do bytes gather whose number is not known beforehand? In a growing buffer whose cap is set when it is made. */
#ifndef BATON_BASE_BUF_H
#define BATON_BASE_BUF_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/slice.h"

/* Public so that it can live inside other structs; read p and n, change nothing by hand. */
struct buf {
	uint8_t *p;
	size_t n;    /* bytes in use */
	size_t size; /* bytes allocated */
	size_t cap;  /* never more than this many bytes in use */
	bool failed; /* a put did not fit or memory ran out; sticky until buf_reset() */
};

void buf_init(struct buf *b, size_t cap);
void buf_clear(struct buf *b);                          /* frees; b can be used again with the same cap */
void buf_reset(struct buf *b);                          /* keeps the memory, forgets the bytes */
bool buf_put(struct buf *b, const void *p, size_t n);   /* false and b->failed when over the cap; then b is unchanged */
bool buf_put_slice(struct buf *b, struct slice s);
bool buf_put_str(struct buf *b, const char *s);
bool buf_put_u8(struct buf *b, uint8_t v);
bool buf_printf(struct buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Room for n more bytes to be written at b->p + b->n; the caller then adds to b->n. NULL when over the cap. */
uint8_t *buf_reserve(struct buf *b, size_t n);
/* Drops n bytes from the front (a memmove; call it once a tick, not once a message). */
void buf_drop(struct buf *b, size_t n);

static inline struct slice buf_slice(const struct buf *b)
{
	return slice_of(b->p, b->n);
}

#endif
