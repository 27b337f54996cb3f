/* Where does cryptography on plain bytes live? Here: SHA-256, AES-256-GCM, random bytes, wiping, constant-time
 * comparison. TLS is net/tls, signatures are identity/. */
#ifndef BATON_BASE_SECRET_H
#define BATON_BASE_SECRET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/problem.h"
#include "base/slice.h"

#define SHA256_BYTES 32

void sha256(struct slice bytes, uint8_t out[SHA256_BYTES]);
/* Digest over several parts, each preceded by its length as 4 bytes big-endian, so that no two lists collide. */
void sha256_parts(const struct slice *parts, size_t n, uint8_t out[SHA256_BYTES]);

/* Fills with bytes from the system; aborts the process when it has none (there is no weaker fallback). */
void random_bytes(void *p, size_t n);
void secret_wipe(void *p, size_t n);
bool secret_equal(const void *a, const void *b, size_t n); /* constant time */

/* AES-256-GCM (NIST SP 800-38D). out = nonce(12) ∥ ciphertext ∥ tag(16), so sealed = plain + 28 bytes. */
#define AEAD_KEY_BYTES 32
#define AEAD_OVERHEAD 28
struct aead; /* one key, expanded; not thread-safe: one per worker */
struct aead *aead_new(const uint8_t key[AEAD_KEY_BYTES]);
void aead_free(struct aead *a); /* wipes */
/* out has room for plain.n + AEAD_OVERHEAD. 0, or -1. */
int aead_seal(struct aead *a, struct slice aad, struct slice plain, uint8_t *out);
/* out has room for sealed.n - AEAD_OVERHEAD. 0, or -1 when it does not open, -2 when that cannot be told (memory is out); then out is wiped. */
int aead_open(struct aead *a, struct slice aad, struct slice sealed, uint8_t *out);
/* HKDF-SHA256 (RFC 5869) with an empty salt. 0, or -1 when memory is out. */
int hkdf_sha256(const uint8_t *key, size_t key_n, struct slice info, uint8_t *out, size_t out_n);

/* Reads a file of at most `max` bytes that holds a secret: refused unless it is a regular file, owned by us or root,
 * and mode 0600 or tighter. Trailing newline dropped. The caller wipes and frees *out. */
int secret_read_file(const char *path, size_t max, uint8_t **out, size_t *n, struct problem *why);
/* The same, of a file that was opened with SECRET_OPEN; takes fd. Below 0: errno says why there is none. path is for the message. */
int secret_read_fd(int fd, const char *path, size_t max, uint8_t **out, size_t *n, struct problem *why);
#define SECRET_OPEN (O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY)
/* The same, and nothing is read: would a process of this user take it? What is out of our own sight is passed over. 0, or -1 with why. */
int secret_look(const char *path, uid_t owner, struct problem *why);

#endif
