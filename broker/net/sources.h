/* What does one address have, and what has it had of late: connections, unfinished handshakes, how fast they come? A
 * table under a mutex: an address reaches several workers. An IPv6 source is its /64, because that is what one host
 * commonly owns. */
#ifndef BATON_NET_SOURCES_H
#define BATON_NET_SOURCES_H

#include <stdint.h>
#include <sys/socket.h>

struct sources;

struct source_key {
	uint8_t bytes[16];
};

struct source_caps {
	uint32_t connections; /* at a time, unfinished handshakes among them */
	uint32_t handshakes;  /* unfinished, at a time */
	uint32_t per_s;       /* new connections a second; twice as many at once */
};

struct source_key source_key(const struct sockaddr *sa);
struct sources *sources_new(void);
void sources_free(struct sources *s);
/* Counts one more connection, whose handshake is unfinished. NULL; or why it may not come, and nothing is counted but
 * the try: "source_limit", "source_handshakes", "source_rate", "out_of_memory". */
const char *sources_enter(struct sources *s, const struct source_key *k, const struct source_caps *caps, int64_t now_ms);
/* Its handshake is over, whichever way. */
void sources_shaken(struct sources *s, const struct source_key *k);
/* The connection is over; sources_shaken() was called. */
void sources_leave(struct sources *s, const struct source_key *k, int64_t now_ms);

#endif
