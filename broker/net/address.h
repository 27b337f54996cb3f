/* How does "127.0.0.1:7443" become a listening socket? Numeric addresses only: no listener waits for a name server. */
#ifndef BATON_NET_ADDRESS_H
#define BATON_NET_ADDRESS_H

#include <stdbool.h>
#include <sys/socket.h>

#define ADDRESS_TEXT_BYTES 64

/* "host:port", IPv6 in brackets. 0, or -1. */
int address_parse(const char *text, struct sockaddr_storage *sa, socklen_t *n);
int address_port(const struct sockaddr *sa);
/* "192.0.2.1:5555", "[2001:db8::1]:5555"; IPv4 inside IPv6 as IPv4. */
void address_format(const struct sockaddr *sa, char out[ADDRESS_TEXT_BYTES]);
/* A socket that listens and does not block. shared: with SO_REUSEPORT. -1 with errno. */
int address_listen(const struct sockaddr_storage *sa, socklen_t n, bool shared);
/* Nobody listens there yet. false with errno. */
bool address_free(const struct sockaddr_storage *sa, socklen_t n);

#endif
