/* Is the peer in the middle of a header block? Follows the heads of HTTP/2 frames as bytes go by (RFC 9113 §4.1), so
 * that a block that never ends can be timed: the HTTP/2 library keeps that to itself. Checks nothing; that is
 * wire/h2. */
#ifndef BATON_NET_FRAMEWATCH_H
#define BATON_NET_FRAMEWATCH_H

#include <stdbool.h>
#include <stdint.h>

#include "base/slice.h"

/* Zeroed: a server's side, the client's preface comes first. */
struct framewatch {
	uint8_t preface;  /* bytes of the preface that have passed */
	uint8_t head[9];
	uint8_t head_n;
	uint32_t left;    /* payload bytes of the frame under way */
	bool block;       /* HEADERS have begun and END_HEADERS has not passed */
	uint32_t units;   /* whole header blocks and other whole frames that have passed */
};

void framewatch_feed(struct framewatch *f, struct slice bytes);
/* In a header block, or in any frame but DATA (whose time is the message's). */
bool framewatch_inside(const struct framewatch *f);

#endif
