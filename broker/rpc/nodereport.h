/* What does a node tell the others of itself? A NodeReport of proto/baton/internal/v1/node.proto. */
#ifndef BATON_RPC_NODEREPORT_H
#define BATON_RPC_NODEREPORT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/slice.h"
#include "store/store.h"

#define NODE_RUN_MAX 31
#define NODE_VERSION_MAX 63

struct node_report {
	uint64_t closed;        /* connections, for revocations, in all */
	uint64_t aside;         /* handoffs, for revocations, at their delivery or in a lease, in all */
	uint64_t asked, would_close; /* connections that a revocation would close: by the question of this generation; 0: none was answered */
	char run[NODE_RUN_MAX + 1]; /* "": it tells nothing that can be read */
	char version[NODE_VERSION_MAX + 1];
	uint64_t not_ready;     /* health_missing() */
	uint64_t peers;         /* connections of agents */
	int64_t started_at_ms;  /* Unix time, as those that follow; 0: there is none */
	int64_t certificate_expires_at_ms, next_crl_expiry_ms, keys_good_until_ms;
};

/* Its bytes; 0: it has more than STORE_REPORT_MAX. */
size_t node_report_pack(const struct node_report *r, uint8_t out[STORE_REPORT_MAX]);
/* The store is trusted to keep, not to speak: false, and all zeros, when this is no report, or memory is out. */
bool node_report_read(struct slice bytes, struct node_report *out);

#endif
