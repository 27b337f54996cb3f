/* With which key does Baton sign assertions? One private key from a file that nobody else can read; its public half is
 * published as a JWKS. What is signed is assertion.c. */
#include "config.h"

#include <errno.h>
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/encode.h"
#include "base/file.h"
#include "base/secret.h"
#include "identity/assertion_priv.h"

#define PEM_MAX 16384
#define COORDINATE 32
#define COORDINATE_TEXT (B64URL_LEN(COORDINATE) + 1)

/* Never asks a terminal for a pass phrase. */
static int no_passphrase(char *out, int size, int writing, void *arg)
{
	return -1;
}

/* Owned, with both halves. */
static EVP_PKEY *read_pem(const char *path, struct problem *why)
{
	uint8_t *pem = NULL;
	size_t n = 0;
	BIO *bio;
	EVP_PKEY *key;

	if (secret_read_file(path, PEM_MAX, &pem, &n, why) < 0)
		return NULL;
	bio = BIO_new_mem_buf(pem, (int)n);
	key = bio ? PEM_read_bio_PrivateKey(bio, NULL, no_passphrase, NULL) : NULL;
	BIO_free(bio);
	secret_wipe(pem, n);
	free(pem);
	ERR_clear_error();
	if (!key)
		problem_set(why, "%s: not a PEM private key without pass phrase", path);
	return key;
}

static bool coordinate(const EVP_PKEY *key, const char *name, char out[COORDINATE_TEXT])
{
	uint8_t bytes[COORDINATE];
	BIGNUM *n = NULL;
	bool good = EVP_PKEY_get_bn_param(key, name, &n) == 1 && BN_bn2binpad(n, bytes,
									      sizeof bytes) == (int)sizeof bytes;

	if (good)
		b64url_encode(bytes, sizeof bytes, out);
	BN_free(n);
	return good;
}

/* The members that RFC 7638 §3.2 takes, in its order; owned. */
static char *thumbprint_json(const struct assertion_key *k)
{
	char x[COORDINATE_TEXT], y[COORDINATE_TEXT], *out = NULL;
	uint8_t raw[COORDINATE];
	size_t n = sizeof raw;

	if (k->jwk.alg == ALG_EDDSA) {
		if (EVP_PKEY_get_raw_public_key(k->jwk.key, raw, &n) != 1 || n != sizeof raw)
			return NULL;
		b64url_encode(raw, sizeof raw, x);
		return asprintf(&out, "{\"crv\":\"Ed25519\",\"kty\":\"OKP\",\"x\":\"%s\"}", x) < 0 ? NULL : out;
	}
	if (!coordinate(k->jwk.key, OSSL_PKEY_PARAM_EC_PUB_X, x) || !coordinate(k->jwk.key, OSSL_PKEY_PARAM_EC_PUB_Y,
										y))
		return NULL;
	return asprintf(&out, "{\"crv\":\"P-256\",\"kty\":\"EC\",\"x\":\"%s\",\"y\":\"%s\"}", x, y) < 0 ? NULL : out;
}

static const char *alg_text(const struct assertion_key *k)
{
	return k->jwk.alg == ALG_EDDSA ? "EdDSA" : "ES256";
}

static bool make_header(struct assertion_key *k)
{
	char json[160];
	int n = snprintf(json, sizeof json, "{\"alg\":\"%s\",\"kid\":\"%s\",\"typ\":\"" ASSERTION_TYP "\"}",
			 alg_text(k), k->jwk.kid);

	k->header = malloc(B64URL_LEN((size_t)n) + 2);
	if (!k->header)
		return false;
	b64url_encode(json, (size_t)n, k->header);
	k->header_n = strlen(k->header) + 1;
	memcpy(k->header + k->header_n - 1, ".", 2);
	return true;
}

/* Everything that does not change from one assertion to the next. */
static bool describe(struct assertion_key *k)
{
	char *json = thumbprint_json(k);
	uint8_t digest[SHA256_BYTES];
	bool good = false;

	if (!json)
		return false;
	sha256(slice_str(json), digest);
	b64url_encode(digest, sizeof digest, k->jwk.kid);
	k->jwk.has_kid = true;
	k->jwk.kid_n = strlen(k->jwk.kid);
	json[strlen(json) - 1] = '\0'; /* the members go on */
	if (asprintf(&k->public_jwk, "%s,\"kid\":\"%s\",\"use\":\"sig\",\"alg\":\"%s\"}", json, k->jwk.kid,
		     alg_text(k)) < 0)
		k->public_jwk = NULL;
	good = k->public_jwk && make_header(k);
	free(json);
	return good;
}

static enum token_alg alg_of(const EVP_PKEY *key)
{
	char group[32];

	if (EVP_PKEY_get_base_id(key) == EVP_PKEY_ED25519)
		return ALG_EDDSA;
	if (EVP_PKEY_get_base_id(key) == EVP_PKEY_EC && EVP_PKEY_get_group_name(key, group, sizeof group, NULL) == 1 &&
	    strcmp(group, "prime256v1") == 0)
		return ALG_ES256;
	return ALG_NONE;
}

struct assertion_key *assertion_key_load(const char *path, struct problem *why)
{
	struct assertion_key *k = calloc(1, sizeof *k);

	if (!k) {
		problem_set(why, "out of memory");
		return NULL;
	}
	pthread_mutex_init(&k->lock, NULL);
	k->jwk.key = read_pem(path, why);
	if (!k->jwk.key)
		goto out;
	k->jwk.alg = alg_of(k->jwk.key);
	k->jwk.signature_n = ASSERTION_SIGNATURE_BYTES;
	if (k->jwk.alg == ALG_NONE) {
		problem_set(why, "%s: an assertion key is P-256 or Ed25519", path);
		goto out;
	}
	if (describe(k))
		return k;
	problem_set(why, "%s: the key cannot be used", path);
out:
	ERR_clear_error();
	assertion_key_free(k);
	return NULL;
}

int assertion_key_create(const char *path, struct problem *why)
{
	struct stat st;
	EVP_PKEY *key = NULL;
	BIO *bio = NULL;
	char *pem = NULL;
	long n = 0;
	int rc = -1;

	if (lstat(path, &st) == 0)
		return 0;
	if (errno != ENOENT)
		return problem_set(why, "%s: %s", path, strerror(errno));
	key = EVP_EC_gen("P-256");
	bio = BIO_new(BIO_s_secmem());
	if (key && bio && PEM_write_bio_PKCS8PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL) == 1)
		n = BIO_get_mem_data(bio, &pem);
	if (n > 0)
		rc = file_write_atomic(path, slice_of(pem, (size_t)n), 0600, why);
	else
		problem_set(why, "%s: no key could be made", path);
	if (n > 0)
		secret_wipe(pem, (size_t)n);
	BIO_free(bio);
	EVP_PKEY_free(key);
	ERR_clear_error();
	return rc;
}

static void signer_free(struct assertion_signer *s)
{
	if (!s)
		return;
	EVP_PKEY_CTX_free(s->ctx);
	EVP_MD_CTX_free(s->once);
	buf_clear(&s->json);
	free(s);
}

static struct assertion_signer *signer_new(const struct assertion_key *k)
{
	struct assertion_signer *s = calloc(1, sizeof *s);

	if (!s)
		return NULL;
	buf_init(&s->json, ASSERTION_JSON_MAX);
	if (k->jwk.alg == ALG_EDDSA) {
		s->once = EVP_MD_CTX_new();
		if (s->once)
			return s;
	} else {
		s->ctx = EVP_PKEY_CTX_new(k->jwk.key, NULL);
		if (s->ctx && EVP_PKEY_sign_init(s->ctx) == 1 && EVP_PKEY_CTX_set_signature_md(s->ctx,
			EVP_sha256()) == 1)
			return s;
	}
	ERR_clear_error();
	signer_free(s);
	return NULL;
}

struct assertion_signer *assertion_signer_take(struct assertion_key *k)
{
	struct assertion_signer *s = NULL;

	pthread_mutex_lock(&k->lock);
	if (k->n_pool)
		s = k->pool[--k->n_pool];
	pthread_mutex_unlock(&k->lock);
	return s ? s : signer_new(k);
}

void assertion_signer_give(struct assertion_key *k, struct assertion_signer *s)
{
	pthread_mutex_lock(&k->lock);
	if (k->n_pool < ASSERTION_POOL) {
		k->pool[k->n_pool++] = s;
		s = NULL;
	}
	pthread_mutex_unlock(&k->lock);
	signer_free(s);
}

void assertion_key_free(struct assertion_key *k)
{
	if (!k)
		return;
	for (size_t i = 0; i < k->n_pool; i++)
		signer_free(k->pool[i]);
	pthread_mutex_destroy(&k->lock);
	jwk_clear(&k->jwk);
	free(k->header);
	free(k->public_jwk);
	free(k);
}

int assertion_key_jwks(const struct assertion_key *k, struct buf *out)
{
	return buf_printf(out, "{\"keys\":[%s]}", k->public_jwk) ? 0 : -1;
}
