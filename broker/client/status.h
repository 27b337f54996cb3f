/* How did a call end? With a gRPC status and, from a broker, the reason and its companions in the trailers
 * (decision.proto). */
#ifndef BATON_CLIENT_STATUS_H
#define BATON_CLIENT_STATUS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/words.h"
#include "client/fault.h"

struct h2_header;

struct client_status {
	enum grpc_status code;
	enum reason reason;          /* REASON_UNSPECIFIED: the answer is not a decision */
	char message[1025];          /* decoded and safe to print */
	char trace_id[33];
	char policy_version[80];
	char handoff_id[129];
	int64_t retry_after_ms;      /* -1 = not said */
	int64_t server_time_ms;      /* 0 = not said */
	bool local;                  /* no answer came: the connection, or the wait, ended here */
	bool refused;                /* the broker certainly did not process it: sending again is safe */
};

void client_status_init(struct client_status *s);
/* Reads the trailers (or a trailers-only block) of a reply. http: what :status said, 0 when not in this block.
 * false when there was no grpc-status. */
bool client_status_read(struct client_status *s, const struct h2_header *h, size_t n, int http);

#endif
