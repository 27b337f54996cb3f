/* How do messages lie in an HTTP/2 stream? gRPC's framing, time-outs, metadata and statuses, as pure functions on bytes
 * (gRPC over HTTP/2, PROTOCOL-HTTP2). */
#ifndef BATON_WIRE_GRPC_H
#define BATON_WIRE_GRPC_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/slice.h"
#include "base/words.h"

#define GRPC_HEAD_BYTES 5

/* Cuts a stream of bytes into messages. Nothing is buffered before the size is known to be allowed. */
struct grpc_reader {
	size_t max;        /* bytes a message */
	uint8_t head[GRPC_HEAD_BYTES];
	size_t head_n;
	size_t want;       /* body bytes of the message under way */
	struct buf body;   /* holds a message that came in pieces */
};

enum grpc_read { GRPC_READ_MORE, GRPC_READ_MESSAGE, GRPC_READ_TOO_LARGE, GRPC_READ_COMPRESSED, GRPC_READ_BAD };

void grpc_reader_init(struct grpc_reader *r, size_t max);
void grpc_reader_clear(struct grpc_reader *r);
/* Takes from the front of *in. On MESSAGE, *message is borrowed: from *in itself when it lies there whole, else from
 * the reader, valid until the next call. Call again until MORE. After an error the reader is spent. */
enum grpc_read grpc_reader_next(struct grpc_reader *r, struct slice *in, struct slice *message);
bool grpc_reader_idle(const struct grpc_reader *r); /* at a message's border: END_STREAM may come */
void grpc_head(uint8_t out[GRPC_HEAD_BYTES], size_t body);

/* "100m", "5S" -> milliseconds, rounded up, at least 1. -1 when it is not 1-8 digits and one of H M S m u n. */
int64_t grpc_timeout_ms(struct slice value);
void grpc_timeout_format(int64_t ms, char out[16]);

/* The HTTP status of a reply that is not gRPC -> the gRPC status a client must show. */
enum grpc_status grpc_status_from_http(int http);

/* Bytes for grpc-status-details-bin before base64: a google.rpc.Status, written by hand from field numbers, with
 * google.rpc.ErrorInfo {reason, domain "baton", metadata}, google.rpc.RetryInfo when retry_after_ms > 0, and one more
 * Any (type_url, bytes), here baton.v1.Decision. */
struct grpc_detail {
	const char *key, *value;
};
struct grpc_details {
	enum grpc_status status;
	struct slice message;
	const char *reason;
	const struct grpc_detail *metadata; /* may be NULL */
	size_t n_metadata;
	uint32_t retry_after_ms;
	const char *any_type; /* "type.googleapis.com/baton.v1.Decision"; NULL = none */
	struct slice any_bytes;
};
bool grpc_details_encode(struct buf *out, const struct grpc_details *d);

#endif
