/* What do tls.c, tls_io.c, tls_key.c and tls_provider.c share that nobody else may see? OpenSSL's types. */
#ifndef BATON_NET_TLS_PRIV_H
#define BATON_NET_TLS_PRIV_H

#include <openssl/ssl.h>

#include "base/secret.h"
#include "net/tls.h"
#include "net/tls_io.h"
#include "net/tls_provider.h"

/* What is known of the private key. */
struct tls_key_facts {
	char shown[256]; /* of its URI, as far as it may be shown; "" = it came from a file */
	int64_t sign_us; /* what one signature took */
};

/* what: reason of OpenSSL's latest error. -1. */
int tls_openssl_problem(struct problem *why, const char *what);
/* A pem_password_cb. */
int tls_no_passphrase(char *out, int size, int writing, void *arg);
/* ---- tls_key.c ---- */
/* Puts the private key of ctx' certificate, which is there, into it. key: a file, or with p a URI. *facts: filled in. */
int tls_key_load(SSL_CTX *ctx, const char *key, struct tls_providers *p, struct tls_key_facts *facts, struct problem *why);
/* The same, of a key in PEM; name: for the message. */
int tls_key_load_pem(SSL_CTX *ctx, struct slice pem, const char *name, struct problem *why);
/* A URI's key signs something, which the certificate verifies. -1 with why. */
int tls_key_prove(const SSL_CTX *ctx, struct tls_key_facts *facts, struct problem *why);
/* ---- tls_provider.c ---- */
OSSL_LIB_CTX *tls_providers_context(const struct tls_providers *p);
const char *tls_providers_names(const struct tls_providers *p); /* "pkcs11, tpm2" */
struct tls_signer *tls_providers_signer(const struct tls_providers *p);
/* Under the lock: the key that was found last by this URI and PIN; borrowed, NULL when there is none. A key that was good stays until the providers are closed, and
 * is used again where it still is the right one: that of tpm2-openssl 1.1 found twice and let go of once does not sign any more. */
EVP_PKEY *tls_providers_held(const struct tls_providers *p, const char *uri, const uint8_t pin[SHA256_BYTES]);
/* Takes the key. false: memory is out, or 64 are there; the key is the caller's still. */
bool tls_providers_hold(struct tls_providers *p, const char *uri, const uint8_t pin[SHA256_BYTES], EVP_PKEY *key);
/* By whoever loads keys, one thread: was the last PIN that was not taken in this try, known by a digest? */
bool tls_providers_is_refused(const struct tls_providers *p, const uint8_t print[SHA256_BYTES]);
void tls_providers_refuse(struct tls_providers *p, const uint8_t print[SHA256_BYTES]);
/* While a provider looks for a key; the signer's keys do so themselves. */
void tls_providers_lock(struct tls_providers *p);
void tls_providers_unlock(struct tls_providers *p);
/* ---- tls.c ---- */
/* Puts certificate chain and key into ctx. *leaf: borrowed from ctx. */
int tls_load_identity(SSL_CTX *ctx, const char *cert_file, const char *key_file, X509 **leaf, struct problem *why);
SSL_CTX *tls_server_context(const struct tls_server *t);
const struct tls_hook *tls_server_hook(const struct tls_server *t);
/* The certificate callback of every server context: finds its session through the SSL. */
int tls_io_verify(X509_STORE_CTX *ctx, void *arg);

#endif
