/* Is this header block a gRPC request? A pure function of the headers (gRPC over HTTP/2, "Requests"), and a copy of
 * its metadata that is wiped when it goes, because it may hold a bearer token. */
#ifndef BATON_NET_REQUEST_H
#define BATON_NET_REQUEST_H

#include <stdint.h>

#include "base/slice.h"
#include "base/words.h"
#include "wire/h2.h"

struct request {
	struct slice path;      /* borrowed from the headers */
	int64_t timeout_ms;     /* 0 = none */
	/* When refused: */
	int http;               /* the reply's :status */
	enum grpc_status status;
	const char *message;    /* static */
};

/* 0, or -1 with what to answer. */
int request_read(const struct h2_header *h, size_t n, struct request *r);

struct metadata;

/* Copies everything but the pseudo-headers. NULL when memory is out. */
struct metadata *metadata_new(const struct h2_header *h, size_t n);
void metadata_free(struct metadata *m); /* wipes */
/* The first value of a key; *count: how many there were. */
struct slice metadata_get(const struct metadata *m, const char *key, size_t *count);

#endif
