/* How does a listener speak TLS? TLS 1.3 only, client certificate demanded (but where its hook lets anybody in), ALPN "h2" enforced after the handshake, no tickets, no
 * resumption, no 0-RTT, no compression (RFC 9325, RFC 9113 §3.2). Who the peer is, is decided by the hook. */
#ifndef BATON_NET_TLS_H
#define BATON_NET_TLS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/problem.h"
#include "base/slice.h"

struct x509_store_ctx_st; /* OpenSSL's X509_STORE_CTX */
struct tls_providers;     /* net/tls_provider.h */
struct tls_server;        /* refcounted; immutable once made, so that a reload swaps it whole */

struct tls_hook {
	/* Runs inside the handshake on the worker's thread with the peer's leaf and chain. Returns the owned identity, or NULL with
	 * *why (static text, goes to log and metric) and *alert (an SSL_AD_* number). */
	void *(*verify)(void *arg, struct x509_store_ctx_st *ctx, const char **why, int *alert);
	void (*free_identity)(void *identity);
	int64_t (*not_after_ms)(const void *identity); /* the connection closes then */
	void *arg;
	/* Not NULL: no client certificate is asked for, verify is not, and this is what everybody is; borrowed. */
	const void *anonymous;
};

/* cert: PEM chain, leaf first. key: PEM, mode 0600 or refused; or, with p (borrowed, outlives it), a URI (keyuri.h). Checks that they belong together and are
 * in date; a URI's key signs something for that. */
struct tls_server *tls_server_new(const char *cert_file, const char *key, struct tls_providers *p, const struct tls_hook *hook, struct problem *why);
/* 0: they are a certificate and its key, and can be read; else -1 with why. */
int tls_check_identity(const char *cert_file, const char *key_file, struct problem *why);
/* Both as they were read, and what they are called in the message. */
struct tls_pem {
	struct slice cert, key;
	const char *cert_name, *key_name;
};
/* The same, of what a client shows of itself; and when it ends. */
int tls_check_pem(const struct tls_pem *p, int64_t *not_after_ms, struct problem *why);
/* When the first certificate of this file ends. false: none can be read. */
bool tls_file_not_after(const char *cert_file, int64_t *not_after_ms);
struct tls_server *tls_server_ref(struct tls_server *t);
void tls_server_unref(struct tls_server *t);
/* Is no client certificate asked for? */
bool tls_server_asks_nobody(const struct tls_server *t);
int64_t tls_server_not_after_ms(const struct tls_server *t);
/* SHA-256 of the server's leaf in DER, base64url: for the log. */
const char *tls_server_fingerprint(const struct tls_server *t);
/* Does a provider have its private key? Then the URI without its query, and how many microseconds a signature took when it was proven last. */
bool tls_server_key_is_elsewhere(const struct tls_server *t);
const char *tls_server_key_shown(const struct tls_server *t);
/* Has such a key sign once more, under what this process is confined to now. 0, also for a key in memory; -1 with why. */
int tls_server_prove(struct tls_server *t, struct problem *why);
int64_t tls_server_sign_us(const struct tls_server *t);

#endif
