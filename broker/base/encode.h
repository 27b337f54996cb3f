/* How do bytes become text, and text bytes? base64url (RFC 4648 §5, unpadded, canonical), hex, percent-encoding, UTF-8
 * checks. All decoders are strict: what is not canonical is refused. */
#ifndef BATON_BASE_ENCODE_H
#define BATON_BASE_ENCODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/slice.h"

#define B64URL_LEN(n) (((n) * 4 + 2) / 3) /* characters for n bytes, without NUL */

/* Writes B64URL_LEN(n) characters and a NUL. */
void b64url_encode(const void *p, size_t n, char *out);
/* Returns bytes written, or -1: a character outside the alphabet, padding, white space, an impossible length,
 * trailing bits that are not zero, or more than `size` bytes. */
long b64url_decode(struct slice text, uint8_t *out, size_t size);
/* Standard alphabet; accepts padding or none (gRPC -bin metadata). Same errors. */
long b64_decode(struct slice text, uint8_t *out, size_t size);
/* Standard alphabet with padding; appends to b. */
bool b64_encode(struct buf *b, struct slice bytes);

void hex_encode(const void *p, size_t n, char *out);                 /* 2n lower-case characters and a NUL */
long hex_decode_lower(struct slice text, uint8_t *out, size_t size); /* upper case refused; -1 on any fault */

#define DECIMAL_MAX 20 /* digits of a uint64_t */
size_t decimal_encode(uint64_t v, char *out);                        /* returns how many digits it wrote; no NUL */

bool utf8_valid(struct slice s);
/* The first code point of s: its length in bytes with *point set, or 0 when s is empty or does not start with valid
 * UTF-8. */
size_t utf8_step(struct slice s, uint32_t *point);
/* The most bytes, at most max, that cut s before the start of a character. */
size_t utf8_cut(struct slice s, size_t max);
/* Valid UTF-8 without NUL and without control characters (C0, DEL, C1). */
bool utf8_is_text(struct slice s);

/* Percent-encodes everything outside 0x20..0x7E and '%' (gRPC's grpc-message). */
bool percent_encode(struct buf *b, struct slice s);
/* Decodes in place semantics into b; a bad escape is kept as it is. */
bool percent_decode(struct buf *b, struct slice s);

#endif
