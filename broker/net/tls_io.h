/* How do bytes pass through TLS on a socket that does not block? SSL_read and SSL_write straight on the descriptor;
 * each call says whether it is done or which readiness it waits for, so that the owner alone decides when to call
 * again. With tls.h, the only place of net/ that knows OpenSSL. */
#ifndef BATON_NET_TLS_IO_H
#define BATON_NET_TLS_IO_H

#include <stddef.h>

#include "base/problem.h"
#include "net/tls.h"

struct tls_io;     /* one session */
struct tls_client; /* trust and credentials of outgoing connections */

#define TLS_RECORD_BYTES 16384 /* the most that one record carries (RFC 8446 §5.1) */

enum tls_step { TLS_DONE, TLS_WANT_READ, TLS_WANT_WRITE, TLS_EOF, TLS_FAILED };

/* ca_file NULL: the system's. cert_file and key_file may be NULL, both. */
struct tls_client *tls_client_new(const char *ca_file, const char *cert_file, const char *key_file,
		struct problem *why);
void tls_client_free(struct tls_client *c);

/* fd is borrowed. NULL when memory is out. */
struct tls_io *tls_io_server(struct tls_server *t, int fd);
/* host: a name, verified and sent as SNI, or a numeric address, verified. */
struct tls_io *tls_io_client(struct tls_client *c, int fd, const char *host);
/* Frees the session, and the identity unless it was taken. */
void tls_io_free(struct tls_io *io);

/* The server's side is TLS_DONE only when ALPN chose "h2" and the hook gave an identity. */
enum tls_step tls_io_handshake(struct tls_io *io);
enum tls_step tls_io_read(struct tls_io *io, void *p, size_t n, size_t *got);
/* After TLS_WANT_x call again with the same first bytes and at least as many of them; the address may differ. */
enum tls_step tls_io_write(struct tls_io *io, const void *p, size_t n, size_t *put);
/* Sends close_notify if the session can still send. Does not wait for the peer's. */
void tls_io_shutdown(struct tls_io *io);

/* After TLS_FAILED or TLS_EOF in the handshake, static: "no_certificate", "certificate", "alpn", "own_key", "protocol",
 * "closed". */
const char *tls_io_failure(const struct tls_io *io);
/* With "certificate": what the hook said; static. */
const char *tls_io_hook_why(const struct tls_io *io);
/* More words on the failure, for a log; valid as long as the session. "" when there are none. */
const char *tls_io_detail(const struct tls_io *io);
/* Server, after the handshake; borrowed, freed with the session. */
const void *tls_io_identity(const struct tls_io *io);
/* Server, after the handshake: asks the hook once more about the certificate that the peer showed. NULL: it still stands. Else the
 * hook's why; static. */
const char *tls_io_recheck(const struct tls_io *io);
int64_t tls_io_identity_not_after_ms(const struct tls_io *io);

#endif
