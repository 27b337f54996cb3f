/* Where does plain ASCII end? Most texts are nothing else, and eight bytes are looked at as fast as one. */
#ifndef BATON_BASE_ASCII_H
#define BATON_BASE_ASCII_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "base/slice.h"

#define ASCII_EACH UINT64_C(0x0101010101010101)

/* A mark in the top bit of a byte of w that is less than n (1..128), or has the top bit set itself. Marks above the first one
 * may be wrong: the borrow runs upwards. So "is there any" is what may be asked. */
static inline uint64_t ascii_less(uint64_t w, uint8_t n)
{
	return (w - ASCII_EACH * n) | w;
}

/* Are the eight bytes at p all of 0x20..0x7e? */
static inline bool ascii_printable8(const uint8_t *p)
{
	uint64_t w;

	memcpy(&w, p, sizeof w);
	return !((ascii_less(w, 0x20) | ascii_less(w ^ ASCII_EACH * 0x7f, 1)) & ASCII_EACH * 0x80);
}

/* ... and none of them this one (below 0x80)? */
static inline bool ascii_lacks8(const uint8_t *p, uint8_t c)
{
	uint64_t w;

	memcpy(&w, p, sizeof w);
	return !(ascii_less(w ^ ASCII_EACH * c, 1) & ASCII_EACH * 0x80);
}

#endif
