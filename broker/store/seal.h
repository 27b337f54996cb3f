/* How are blobs kept from those who can read or write the store? Sealed with AES-256-GCM under a key per tenant, derived from the
 * key file. What a blob belongs to (kind, tenant, queue, id, token) is its associated data, so that one put in another's place
 * does not open. A task belongs to its route, since all inboxes of a route have the same one. Sealed = 1, key tag (4 bytes), then what base/secret
 * makes (nonce, ciphertext, tag). */
#ifndef BATON_STORE_SEAL_H
#define BATON_STORE_SEAL_H

#include "base/secret.h"
#include "store/store.h"

#define SEAL_OVERHEAD (5 + AEAD_OVERHEAD)
#define SEAL_TOKEN_BYTES 8

enum seal_kind {
	SEAL_TASK = 'T',      /* what the sender submitted */
	SEAL_PROGRESS = 'P',  /* an event while the worker holds it */
	SEAL_RETURNED = 'B',  /* why it was given back or quarantined; what is last heard of a dead-lettered one */
	SEAL_COMPLETED = 'C', /* outcomes, each for its own end */
	SEAL_FAILED = 'F',
	SEAL_REJECTED = 'R',
	SEAL_CANCELLED = 'X',
	SEAL_EXPIRED = 'E',
	SEAL_RESOURCE = 'V',  /* a version of what all nodes share: of no tenant; id and token say which (shared.h) */
	SEAL_REMOVED = 'G',
};
/* Of a report that leaves the handoff in this state. */
enum seal_kind seal_kind_of(enum handoff_state after);

struct seal; /* one worker's expanded keys */

struct seal_name {
	enum seal_kind kind;
	const char *tenant, *route; /* route: of the queue */
	const uint8_t *id;    /* HANDOFF_ID_BYTES */
	const uint8_t *token; /* SEAL_TOKEN_BYTES */
};

/* k is borrowed and must live longer. NULL when memory is out. */
struct seal *seal_new(const struct seal_keys *k);
void seal_free(struct seal *s);

/* With s NULL nothing is sealed: the bytes are copied as they are (the in-memory twin without keys). */
size_t seal_overhead(const struct seal *s);
/* out has room for plain.n + seal_overhead(s). 0, or -1. */
int seal_put(struct seal *s, const struct seal_name *name, struct slice plain, uint8_t *out);
#define SEAL_NO_MEMORY (-2) /* nothing is known of the bytes */
/* out has room for sealed.n. Returns the length of what was opened, SEAL_NO_MEMORY, or -1: too short, unknown key, changed, or another's. */
long seal_open(struct seal *s, const struct seal_name *name, struct slice sealed, uint8_t *out);

#endif
