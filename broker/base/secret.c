/* How are digests, sealed bytes and random bytes made? By OpenSSL's EVP and the kernel; this is the only file in
 * base that knows OpenSSL. A primitive that cannot fail in practice ends the process when it does: going on without
 * it would be worse. Reading a secret's file is here too, because its rules are about the secret. */
#include "config.h"

/* OpenSSL 3 calls SHA256_Init() and its like deprecated; EVP takes memory for each digest, and so can fail. */
#define OPENSSL_SUPPRESS_DEPRECATED

#include "base/secret.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <openssl/params.h>
#include <openssl/sha.h>

#include "base/file.h"

#define NONCE_BYTES 12
#define TAG_BYTES 16

/* Fetched once: OpenSSL 3 looks an algorithm up by name, under a lock, at each use of EVP_aes_256_gcm(). */
static struct {
	EVP_CIPHER *gcm;
	EVP_KDF *hkdf;
} algorithm;
static pthread_once_t algorithm_once = PTHREAD_ONCE_INIT;

static void algorithm_fetch(void)
{
	algorithm.gcm = EVP_CIPHER_fetch(NULL, "AES-256-GCM", NULL);
	algorithm.hkdf = EVP_KDF_fetch(NULL, "HKDF", NULL);
	if (!algorithm.gcm || !algorithm.hkdf)
		abort();
}

void sha256(struct slice bytes, uint8_t out[SHA256_BYTES])
{
	SHA256_CTX c;

	SHA256_Init(&c);
	SHA256_Update(&c, bytes.p, bytes.n);
	SHA256_Final(out, &c);
}

void sha256_parts(const struct slice *parts, size_t n, uint8_t out[SHA256_BYTES])
{
	SHA256_CTX c;
	size_t i;

	SHA256_Init(&c);
	for (i = 0; i < n; i++) {
		size_t len = parts[i].n;
		uint8_t be[4] = {(uint8_t)(len >> 24), (uint8_t)(len >> 16), (uint8_t)(len >> 8), (uint8_t)len};

		if (len > UINT32_MAX)
			abort(); /* two lists could collide; nothing in the broker is that long */
		SHA256_Update(&c, be, sizeof be);
		SHA256_Update(&c, parts[i].p, len);
	}
	SHA256_Final(out, &c);
}

static void from_system(void *p, size_t n)
{
	uint8_t *at = p;
	ssize_t got;

	while (n) {
		got = getrandom(at, n, 0);
		if (got < 0 && errno != EINTR)
			abort();
		if (got > 0) {
			at += got;
			n -= (size_t)got;
		}
	}
}

#define POOL_BYTES 512

/* Small requests are served from a pool of this thread's own, one system call for many; what was given out is wiped. A child that forks
 * would share it, so none draws from it: it execs at once, or supervises redis-server and needs no randomness. */
void random_bytes(void *p, size_t n)
{
	static _Thread_local struct {
		uint8_t bytes[POOL_BYTES];
		size_t left;
	} pool;
	uint8_t *from;

	if (n > POOL_BYTES / 8) {
		from_system(p, n);
		return;
	}
	if (pool.left < n) {
		from_system(pool.bytes, POOL_BYTES);
		pool.left = POOL_BYTES;
	}
	from = pool.bytes + POOL_BYTES - pool.left;
	memcpy(p, from, n);
	secret_wipe(from, n);
	pool.left -= n;
}

void secret_wipe(void *p, size_t n)
{
	if (p)
		OPENSSL_cleanse(p, n);
}

bool secret_equal(const void *a, const void *b, size_t n)
{
	return CRYPTO_memcmp(a, b, n) == 0;
}

/* The key schedule lives in the two contexts; a nonce is all that changes between calls. */
struct aead {
	EVP_CIPHER_CTX *seal;
	EVP_CIPHER_CTX *open;
};

struct aead *aead_new(const uint8_t key[AEAD_KEY_BYTES])
{
	struct aead *a = calloc(1, sizeof *a);

	if (!a)
		return NULL;
	pthread_once(&algorithm_once, algorithm_fetch);
	a->seal = EVP_CIPHER_CTX_new();
	a->open = EVP_CIPHER_CTX_new();
	if (!a->seal || !a->open || EVP_EncryptInit_ex2(a->seal, algorithm.gcm, key, NULL, NULL) != 1 ||
	    EVP_DecryptInit_ex2(a->open, algorithm.gcm, key, NULL, NULL) != 1) {
		aead_free(a);
		return NULL;
	}
	return a;
}

void aead_free(struct aead *a)
{
	if (!a)
		return;
	EVP_CIPHER_CTX_free(a->seal); /* cleanses the key schedule */
	EVP_CIPHER_CTX_free(a->open);
	free(a);
}

/* Nonces are random: SP 800-38D §8.3 then allows 2^32 messages under one key, which rotation by key id must stay
 * below. */
int aead_seal(struct aead *a, struct slice aad, struct slice plain, uint8_t *out)
{
	uint8_t *text = out + NONCE_BYTES;
	int n = 0;

	if (plain.n > INT32_MAX - AEAD_OVERHEAD || aad.n > INT32_MAX)
		return -1;
	random_bytes(out, NONCE_BYTES);
	if (EVP_EncryptInit_ex2(a->seal, NULL, NULL, out, NULL) != 1)
		return -1;
	if (aad.n && EVP_EncryptUpdate(a->seal, NULL, &n, aad.p, (int)aad.n) != 1)
		return -1;
	if (plain.n && EVP_EncryptUpdate(a->seal, text, &n, plain.p, (int)plain.n) != 1)
		return -1;
	if (EVP_EncryptFinal_ex(a->seal, text + plain.n, &n) != 1)
		return -1;
	return EVP_CIPHER_CTX_ctrl(a->seal, EVP_CTRL_AEAD_GET_TAG, TAG_BYTES, text + plain.n) == 1 ? 0 : -1;
}

int aead_open(struct aead *a, struct slice aad, struct slice sealed, uint8_t *out)
{
	uint8_t tag[TAG_BYTES];
	const uint8_t *text;
	size_t size;
	int n = 0, rc = -2;

	if (sealed.n < AEAD_OVERHEAD || sealed.n > INT32_MAX || aad.n > INT32_MAX)
		return -1;
	size = sealed.n - AEAD_OVERHEAD;
	text = sealed.p + NONCE_BYTES;
	memcpy(tag, text + size, TAG_BYTES);
	if (EVP_DecryptInit_ex2(a->open, NULL, NULL, sealed.p, NULL) == 1 &&
	    EVP_CIPHER_CTX_ctrl(a->open, EVP_CTRL_AEAD_SET_TAG, TAG_BYTES, tag) == 1 &&
	    (!aad.n || EVP_DecryptUpdate(a->open, NULL, &n, aad.p, (int)aad.n) == 1) &&
	    (!size || EVP_DecryptUpdate(a->open, out, &n, text, (int)size) == 1))
		rc = EVP_DecryptFinal_ex(a->open, out + size, &n) == 1 ? 0 : -1; /* here alone the tag is compared */
	if (rc < 0)
		secret_wipe(out, size);
	return rc;
}

int hkdf_sha256(const uint8_t *key, size_t key_n, struct slice info, uint8_t *out, size_t out_n)
{
	static char digest[] = "SHA2-256";
	static uint8_t nothing[1];
	EVP_KDF_CTX *c;
	int rc;
	OSSL_PARAM p[] = {
		OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, digest, 0),
		OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_KEY, (void *)key, key_n),
		OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_INFO, info.n ? (void *)info.p : nothing, info.n),
		OSSL_PARAM_construct_end(),
	};

	pthread_once(&algorithm_once, algorithm_fetch);
	c = EVP_KDF_CTX_new(algorithm.hkdf);
	rc = c && EVP_KDF_derive(c, out, out_n, p) == 1 ? 0 : -1;
	EVP_KDF_CTX_free(c);
	return rc;
}

static int secret_check(const char *path, const struct stat *st, uid_t owner, struct problem *why)
{
	if (!S_ISREG(st->st_mode))
		return problem_set(why, "%s is not a regular file; a secret must be one", path);
	if (st->st_uid != owner && st->st_uid != 0)
		return problem_set(why, "%s belongs to uid %u; a secret must belong to uid %u or to root: chown it",
				   path, (unsigned)st->st_uid, (unsigned)owner);
	if (st->st_mode & 077)
		return problem_set(why, "%s has mode %04o, others can reach it: chmod 0600 %s", path,
				   (unsigned)(st->st_mode & 07777), path);
	return 0;
}

int secret_look(const char *path, uid_t owner, struct problem *why)
{
	struct stat st;

	if (stat(path, &st) == 0) {
		if (st.st_uid == 0 && owner != 0) /* and nobody else's to read, or it is refused for that */
			return problem_set(why, "%s belongs to root, and uid %u, who is to read it, cannot: chown it", path, (unsigned)owner);
		return secret_check(path, &st, owner, why);
	}
	return errno == EACCES ? 0 : problem_set(why, "cannot look at the secret %s: %s", path, strerror(errno));
}

static int refuse_open(const char *path, struct problem *why)
{
	if (errno == EACCES)
		return problem_set(why, "cannot open the secret %s: uid %u may not", path, (unsigned)geteuid());
	return problem_set(why, "cannot open the secret %s: %s", path, errno == ELOOP ? "it is a link, which is not followed" : strerror(errno));
}

int secret_read_fd(int fd, const char *path, size_t max, uint8_t **out, size_t *n, struct problem *why)
{
	struct stat st;
	int rc = -1;

	*out = NULL;
	*n = 0;
	if (fd < 0)
		return refuse_open(path, why);
	if (fstat(fd, &st) < 0) {
		problem_set(why, "cannot look at the secret %s: %s", path, strerror(errno));
		goto out;
	}
	if (secret_check(path, &st, geteuid(), why) < 0 || file_read_fd(fd, path, max, out, n, why) < 0)
		goto out;
	if (*n && (*out)[*n - 1] == '\n')
		(*out)[--*n] = '\0';
	if (*n && (*out)[*n - 1] == '\r')
		(*out)[--*n] = '\0';
	if (!*n) {
		problem_set(why, "the secret %s is empty", path);
		free(*out);
		*out = NULL;
		goto out;
	}
	rc = 0;
out:
	close(fd);
	return rc;
}

int secret_read_file(const char *path, size_t max, uint8_t **out, size_t *n, struct problem *why)
{
	return secret_read_fd(open(path, SECRET_OPEN), path, max, out, n, why);
}
