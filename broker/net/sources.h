/* How many connections has one address? A counted table under a mutex: an address reaches several workers. An IPv6
 * source is its /64, because that is what one host commonly owns. */
#ifndef BATON_NET_SOURCES_H
#define BATON_NET_SOURCES_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

struct sources;

struct source_key {
	uint8_t bytes[16];
};

struct source_key source_key(const struct sockaddr *sa);
struct sources *sources_new(void);
void sources_free(struct sources *s);
/* Counts one more; false when `cap` are there already or memory is out. */
bool sources_enter(struct sources *s, const struct source_key *k, uint32_t cap);
void sources_leave(struct sources *s, const struct source_key *k);

#endif
