/* How do bytes pass through a socket that does not block, under TLS or bare? Each call says whether it is done or which readiness it
 * waits for, in tls_io.h's words. tls NULL: bare. */
#ifndef BATON_NET_LINK_H
#define BATON_NET_LINK_H

#include "net/tls_io.h"

enum tls_step link_read(int fd, struct tls_io *tls, void *p, size_t n, size_t *got);
enum tls_step link_write(int fd, struct tls_io *tls, const void *p, size_t n, size_t *put);
/* Nothing more comes from this side: close_notify, then FIN. */
void link_shutdown(int fd, struct tls_io *tls);

#endif
