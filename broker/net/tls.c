/* How is a listener's TLS context made? Once, with everything decided here, and never changed after: a reload makes
 * another one. Sessions on it are tls_io.c, its private key is tls_key.c's. TLS 1.3 has no renegotiation and no compression; tickets, resumption and
 * 0-RTT are off, so that every connection proves its certificate anew. */
#include "config.h"

#include "net/tls.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/encode.h"
#include "base/file.h"
#include "base/secret.h"
#include "net/keyuri.h"
#include "net/tls_priv.h"

#define PEM_MAX 65536
#define CHAIN_MAX 8            /* certificates in our own file */
#define PEER_CHAIN_MAX 32768   /* bytes of certificates that a peer may send before we know it */

struct tls_server {
	atomic_uint refs;
	SSL_CTX *ctx;
	struct tls_hook hook;
	int64_t not_after_ms;
	char fingerprint[B64URL_LEN(SHA256_BYTES) + 1];
	bool key_is_elsewhere; /* a provider has it */
	struct tls_key_facts key;
};

int tls_openssl_problem(struct problem *why, const char *what)
{
	unsigned long e = ERR_peek_last_error();
	const char *reason = e ? ERR_reason_error_string(e) : NULL;

	ERR_clear_error();
	return problem_set(why, "%s: %s", what, reason ? reason : "refused");
}

static int load_chain(SSL_CTX *ctx, BIO *bio, struct problem *why)
{
	X509 *cert;
	int rc, extra = 0;

	errno = 0;
	cert = PEM_read_bio_X509_AUX(bio, NULL, tls_no_passphrase, NULL);
	if (!cert)
		return tls_openssl_problem(why, "not a PEM certificate");
	rc = SSL_CTX_use_certificate(ctx, cert);
	X509_free(cert);
	if (rc != 1)
		return tls_openssl_problem(why, "the certificate cannot be used");
	while ((cert = PEM_read_bio_X509(bio, NULL, tls_no_passphrase, NULL))) {
		if (++extra > CHAIN_MAX || SSL_CTX_add0_chain_cert(ctx, cert) != 1) {
			X509_free(cert);
			return problem_set(why, "more than %d certificates in the chain", CHAIN_MAX);
		}
	}
	/* OpenSSL says that it found no more also when memory ran out on the way. */
	if (ERR_GET_REASON(ERR_peek_last_error()) != PEM_R_NO_START_LINE || !BIO_eof(bio) || errno == ENOMEM)
		return tls_openssl_problem(why, "a certificate of the chain cannot be read");
	ERR_clear_error();
	return 0;
}

static int load_certificate_pem(SSL_CTX *ctx, struct slice pem, const char *file, struct problem *why)
{
	BIO *bio = BIO_new_mem_buf(pem.p, (int)pem.n);
	int rc = bio ? load_chain(ctx, bio, why) : problem_set(why, "out of memory");

	BIO_free(bio);
	return rc < 0 ? problem_prefix(why, "%s", file) : 0;
}

static int load_certificate(SSL_CTX *ctx, const char *file, struct problem *why)
{
	uint8_t *pem = NULL;
	size_t n = 0;
	int rc;

	if (file_read(file, PEM_MAX, &pem, &n, why) < 0)
		return -1;
	rc = load_certificate_pem(ctx, slice_of(pem, n), file, why);
	free(pem);
	return rc;
}

static bool in_date(const X509 *leaf, const char *file, struct problem *why)
{
	if (X509_cmp_current_time(X509_get0_notBefore(leaf)) > 0)
		problem_set(why, "%s: the certificate is not valid yet", file);
	else if (X509_cmp_current_time(X509_get0_notAfter(leaf)) < 0)
		problem_set(why, "%s: the certificate has expired", file);
	else
		return true;
	return false;
}

static int belong_together(SSL_CTX *ctx, const char *cert_file, const char *key_file, struct problem *why)
{
	if (SSL_CTX_check_private_key(ctx) == 1)
		return 0;
	ERR_clear_error();
	return problem_set(why, "%s is not the key of the certificate in %s", key_file, cert_file);
}

/* Whether what a URI names is the certificate's, it has proven already. */
static int load_identity(SSL_CTX *ctx, const char *cert_file, const char *key, struct tls_providers *p, struct tls_key_facts *facts, X509 **leaf,
			 struct problem *why)
{
	ERR_clear_error();
	if (load_certificate(ctx, cert_file, why) < 0 || tls_key_load(ctx, key, p, facts, why) < 0)
		return -1;
	if (!facts->shown[0] && belong_together(ctx, cert_file, key, why) < 0)
		return -1;
	*leaf = SSL_CTX_get0_certificate(ctx);
	return in_date(*leaf, cert_file, why) ? 0 : -1;
}

int tls_load_identity(SSL_CTX *ctx, const char *cert_file, const char *key_file, X509 **leaf, struct problem *why)
{
	struct tls_key_facts facts = {0};

	return load_identity(ctx, cert_file, key_file, NULL, &facts, leaf, why);
}

/* RFC 7301 §3.2: no protocol in common is fatal. */
static int choose_h2(SSL *ssl, const unsigned char **out, unsigned char *out_n, const unsigned char *in, unsigned n,
		void *arg)
{
	static const unsigned char h2[] = {2, 'h', '2'};

	if (SSL_select_next_proto((unsigned char **)out, out_n, h2, sizeof h2, in, n) == OPENSSL_NPN_NEGOTIATED)
		return SSL_TLSEXT_ERR_OK;
	return SSL_TLSEXT_ERR_ALERT_FATAL;
}

/* What may fail: a libssl that cannot do it must not serve without it. */
static bool configure_protocol(SSL_CTX *ctx)
{
	static const unsigned char context[] = "baton";
	static const char suites[] = "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256";

	return SSL_CTX_set_min_proto_version(ctx, TLS1_3_VERSION) == 1 &&
	       SSL_CTX_set_max_proto_version(ctx, TLS1_3_VERSION) == 1 &&
	       SSL_CTX_set_session_id_context(ctx, context, sizeof context - 1) == 1 &&
	       SSL_CTX_set_num_tickets(ctx, 0) == 1 && SSL_CTX_set_max_early_data(ctx, 0) == 1 &&
	       SSL_CTX_set_ciphersuites(ctx, suites) == 1 &&
	       SSL_CTX_set1_groups_list(ctx, "X25519:P-256:P-384") == 1;
}

/* No client CA list is set: whom we trust is not told to whoever connects. */
static void demand_certificate(SSL_CTX *ctx)
{
	SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
	SSL_CTX_set_cert_verify_callback(ctx, tls_io_verify, NULL);
}

static int configure(SSL_CTX *ctx, bool strangers, struct problem *why)
{
	if (!configure_protocol(ctx))
		return tls_openssl_problem(why, "TLS cannot be configured");
	SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET | SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION);
	SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_mode(ctx,
		SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	SSL_CTX_clear_mode(ctx, SSL_MODE_AUTO_RETRY); /* else one SSL_read takes KeyUpdates as long as they come */
	SSL_CTX_set_read_ahead(ctx, 0);
	SSL_CTX_set_max_cert_list(ctx, PEER_CHAIN_MAX);
	if (!strangers)
		demand_certificate(ctx);
	SSL_CTX_set_alpn_select_cb(ctx, choose_h2, NULL);
	return 0;
}

static bool read_end(const X509 *leaf, int64_t *not_after_ms)
{
	struct tm tm;

	if (ASN1_TIME_to_tm(X509_get0_notAfter(leaf), &tm) != 1)
		return false;
	*not_after_ms = (int64_t)timegm(&tm) * 1000;
	return true;
}

static int describe(struct tls_server *t, X509 *leaf, struct problem *why)
{
	uint8_t *der = NULL, digest[SHA256_BYTES];
	int n = i2d_X509(leaf, &der);

	if (n <= 0 || !read_end(leaf, &t->not_after_ms)) {
		OPENSSL_free(der);
		return tls_openssl_problem(why, "the certificate cannot be read");
	}
	sha256(slice_of(der, (size_t)n), digest);
	OPENSSL_free(der);
	b64url_encode(digest, sizeof digest, t->fingerprint);
	return 0;
}

struct tls_server *tls_server_new(const char *cert_file, const char *key, struct tls_providers *p, const struct tls_hook *hook, struct problem *why)
{
	struct tls_server *t = calloc(1, sizeof *t);
	X509 *leaf = NULL;

	if (!t) {
		problem_set(why, "out of memory");
		return NULL;
	}
	atomic_init(&t->refs, 1);
	t->hook = *hook;
	t->key_is_elsewhere = keyuri_is(key);
	t->ctx = SSL_CTX_new(TLS_server_method());
	if (!t->ctx) {
		tls_openssl_problem(why, "TLS cannot be set up");
		goto out;
	}
	if (configure(t->ctx, hook->anonymous, why) < 0 || load_identity(t->ctx, cert_file, key, p, &t->key, &leaf, why) < 0 || describe(t, leaf, why) < 0)
		goto out;
	return t;
out:
	tls_server_unref(t);
	return NULL;
}

int tls_check_identity(const char *cert_file, const char *key_file, struct problem *why)
{
	const struct tls_hook hook = {.verify = NULL};
	struct tls_server *t = tls_server_new(cert_file, key_file, NULL, &hook, why);

	tls_server_unref(t);
	return t ? 0 : -1;
}

int tls_check_pem(const struct tls_pem *p, int64_t *not_after_ms, struct problem *why)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
	const X509 *leaf;
	int rc = -1;

	ERR_clear_error();
	if (!ctx) {
		tls_openssl_problem(why, "TLS cannot be set up");
	} else if (load_certificate_pem(ctx, p->cert, p->cert_name, why) == 0 && tls_key_load_pem(ctx, p->key, p->key_name, why) == 0 &&
		   belong_together(ctx, p->cert_name, p->key_name, why) == 0) {
		leaf = SSL_CTX_get0_certificate(ctx);
		rc = in_date(leaf, p->cert_name, why) && read_end(leaf, not_after_ms) ? 0 : -1;
	}
	SSL_CTX_free(ctx);
	return rc;
}

bool tls_file_not_after(const char *cert_file, int64_t *not_after_ms)
{
	struct problem why = {""};
	uint8_t *pem = NULL;
	size_t n = 0;
	BIO *bio = NULL;
	X509 *leaf = NULL;
	bool ok;

	if (file_read(cert_file, PEM_MAX, &pem, &n, &why) == 0)
		bio = BIO_new_mem_buf(pem, (int)n);
	if (bio)
		leaf = PEM_read_bio_X509_AUX(bio, NULL, tls_no_passphrase, NULL);
	ok = leaf && read_end(leaf, not_after_ms);
	ERR_clear_error();
	X509_free(leaf);
	BIO_free(bio);
	free(pem);
	return ok;
}

struct tls_server *tls_server_ref(struct tls_server *t)
{
	atomic_fetch_add(&t->refs, 1);
	return t;
}

void tls_server_unref(struct tls_server *t)
{
	if (!t || atomic_fetch_sub(&t->refs, 1) != 1)
		return;
	SSL_CTX_free(t->ctx);
	free(t);
}

bool tls_server_key_is_elsewhere(const struct tls_server *t)
{
	return t->key_is_elsewhere;
}

const char *tls_server_key_shown(const struct tls_server *t)
{
	return t->key.shown;
}

int tls_server_prove(struct tls_server *t, struct problem *why)
{
	return t->key_is_elsewhere ? tls_key_prove(t->ctx, &t->key, why) : 0;
}

int64_t tls_server_sign_us(const struct tls_server *t)
{
	return t->key.sign_us;
}

bool tls_server_asks_nobody(const struct tls_server *t)
{
	return t->hook.anonymous;
}

int64_t tls_server_not_after_ms(const struct tls_server *t)
{
	return t->not_after_ms;
}

const char *tls_server_fingerprint(const struct tls_server *t)
{
	return t->fingerprint;
}

SSL_CTX *tls_server_context(const struct tls_server *t)
{
	return t->ctx;
}

const struct tls_hook *tls_server_hook(const struct tls_server *t)
{
	return &t->hook;
}
