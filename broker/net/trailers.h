/* Which headers does an answer have? A list that is built up, sent once and cleared: the plain gRPC beginning, the
 * status with its percent-encoded message, the handler's own trailers, or a refusal before gRPC began. */
#ifndef BATON_NET_TRAILERS_H
#define BATON_NET_TRAILERS_H

#include "base/buf.h"
#include "net/call.h"
#include "wire/h2.h"

#define TRAILERS_MAX 24
#define TRAILER_BYTES_MAX 8192 /* of one encoded value */

struct trailers {
	struct h2_header h[TRAILERS_MAX];
	size_t n;
	struct buf owned[TRAILERS_MAX]; /* values that had to be encoded */
	size_t n_owned;
};

void trailers_init(struct trailers *t);
void trailers_clear(struct trailers *t);
/* ":status 200" and the content type. */
void trailers_begin(struct trailers *t);
/* message may be NULL. Borrows what needs no encoding. What does not fit, or is not printable and not -bin, is left
 * out. */
void trailers_status(struct trailers *t, enum grpc_status status, const char *message, const struct call_trailer *extra,
		size_t n);
void trailers_refuse(struct trailers *t, int http, enum grpc_status status, const char *message);

#endif
