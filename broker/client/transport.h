/* How do bytes get in and out of a client's socket, through TLS or bare? Private to client/. */
#ifndef BATON_CLIENT_TRANSPORT_H
#define BATON_CLIENT_TRANSPORT_H

#include "client/conn_priv.h"

/* Bytes; 0: none now; -1: the connection is over, and closed. */
long transport_read(struct client *c, void *p, size_t n);
/* The same; 0 also when what can still be read says why it takes none. */
long transport_write(struct client *c, const void *p, size_t n);
/* Closes it, with the reason in words. opening: nothing of the broker has come yet. */
void transport_tls_failed(struct client *c, int rc, bool opening);

#endif
