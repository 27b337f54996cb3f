/* Is what a stranger says first the beginning of a TLS handshake that we would take? Looked at before a TLS session is
 * made, so that nobody gets its memory for nine bytes: OpenSSL makes room for a ClientHello of 128 KiB as soon as one is
 * announced. RFC 8446 §5.1 (record), §4 (handshake). */
#ifndef BATON_NET_HELLO_H
#define BATON_NET_HELLO_H

#include "base/slice.h"

#define HELLO_BYTES 9     /* the heads of the record and of the message in it */
#define HELLO_MAX 16384   /* bytes of a ClientHello; those with post-quantum key shares have 1 to 2 KiB */

enum hello { HELLO_MORE, HELLO_TLS, HELLO_NOT_TLS, HELLO_TOO_LARGE };

/* first: what came, from its first byte on. HELLO_MORE: too short to tell. */
enum hello hello_judge(struct slice first);

#endif
