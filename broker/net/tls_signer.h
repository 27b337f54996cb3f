/* How does OpenSSL sign with a key that another provider has, by that provider alone? Left to itself it first looks for somebody else who could, and some
 * providers give away a public half as if it were the key, or are asked to do other work besides. So TLS is handed a key that is only this: the public
 * half, which its certificate has, and one operation, to sign, that goes to the provider; one thread at a time, for not all of them bear more (that of
 * tpm2-openssl 1.1 does not). Inside, it is a provider itself (provider-keymgmt(7), provider-signature(7)), in a library context of its own. */
#ifndef BATON_NET_TLS_SIGNER_H
#define BATON_NET_TLS_SIGNER_H

#include <openssl/evp.h>
#include <pthread.h>

/* What a failed signature leaves in OpenSSL's error queue, alone: library and reason. */
#define TLS_SIGNER_LIB ERR_LIB_USER
#define TLS_SIGNER_FAILED 1

struct tls_signer;

/* lock: taken while a provider is asked; borrowed. Owned, NULL: OpenSSL refuses. */
struct tls_signer *tls_signer_new(OSSL_LIB_CTX *keys, pthread_mutex_t *lock);
/* After all of its keys. */
void tls_signer_free(struct tls_signer *s);
/* A key that signs as `key` does, of which `public` is the public half; both are referenced. Owned, NULL: OpenSSL refuses. */
EVP_PKEY *tls_signer_wrap(struct tls_signer *s, EVP_PKEY *key, EVP_PKEY *public);

#endif
