/* What do tls.c and tls_io.c share that nobody else may see? OpenSSL's types. */
#ifndef BATON_NET_TLS_PRIV_H
#define BATON_NET_TLS_PRIV_H

#include <openssl/ssl.h>

#include "net/tls.h"
#include "net/tls_io.h"

/* Puts certificate chain and key into ctx. *leaf: borrowed from ctx. */
int tls_load_identity(SSL_CTX *ctx, const char *cert_file, const char *key_file, X509 **leaf, struct problem *why);
SSL_CTX *tls_server_context(const struct tls_server *t);
const struct tls_hook *tls_server_hook(const struct tls_server *t);
/* The certificate callback of every server context: finds its session through the SSL. */
int tls_io_verify(X509_STORE_CTX *ctx, void *arg);

#endif
