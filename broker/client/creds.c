/* How is the TLS side of a client set up? One SSL_CTX per identity; see creds.h for what it demands. */
#include "config.h"

#include "client/creds.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/secret.h"

#define KEY_FILE_MAX (64 * 1024)

struct client_creds {
	SSL_CTX *ctx;
	char *ca, *cert; /* unnamed: what stands in their place in a sentence */
	bool named;
	struct certinfo info;
};

static int no_password(char *buf, int size, int rw, void *arg)
{
	return -1; /* an encrypted key is refused instead of asking on the terminal */
}

static int path_needed(const char *path, const char *flag, const char *env, struct client_error *why)
{
	if (!path || !*path) {
		client_error_set(why, CLIENT_FAULT_CONFIG, "no %s was named", flag);
		client_error_todo(why, "Use --%s FILE or %s, or start a set-up for trying out: baton dev up", flag, env);
		return -1;
	}
	if (access(path, F_OK) != 0) {
		client_error_set(why, CLIENT_FAULT_MISSING, "%s: no such file (--%s)", path, flag);
		return -1;
	}
	return 0;
}

static int load_key(struct client_creds *c, const char *path, struct client_error *why)
{
	uint8_t *bytes = NULL;
	size_t n = 0;
	struct problem p = {""};
	BIO *b = NULL;
	EVP_PKEY *key = NULL;
	int rc = -1;

	if (secret_read_file(path, KEY_FILE_MAX, &bytes, &n, &p))
		return client_error_set(why, CLIENT_FAULT_CONFIG, "%s", p.text);
	b = BIO_new_mem_buf(bytes, (int)n);
	key = b ? PEM_read_bio_PrivateKey(b, NULL, no_password, NULL) : NULL;
	if (!key)
		client_error_set(why, CLIENT_FAULT_CONFIG, "%s: holds no usable private key (PEM, not encrypted)", path);
	else if (SSL_CTX_use_PrivateKey(c->ctx, key) != 1 || SSL_CTX_check_private_key(c->ctx) != 1)
		client_error_set(why, CLIENT_FAULT_CONFIG, "%s is not the key of %s", path, c->cert);
	else
		rc = 0;
	ERR_clear_error();
	EVP_PKEY_free(key);
	BIO_free(b);
	secret_wipe(bytes, n);
	free(bytes);
	return rc;
}

static const uint8_t alpn_h2[] = {2, 'h', '2'};

static SSL_CTX *make_ctx(void)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());

	if (!ctx)
		return NULL;
	SSL_CTX_set_min_proto_version(ctx, TLS1_3_VERSION);
	SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET | SSL_OP_NO_COMPRESSION);
	SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_mode(ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	SSL_CTX_set_read_ahead(ctx, 1);
	SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
	if (SSL_CTX_set_alpn_protos(ctx, alpn_h2, sizeof alpn_h2) != 0) {
		SSL_CTX_free(ctx);
		return NULL;
	}
	return ctx;
}

static struct client_creds *blank(const char *ca, const char *cert, bool named, struct client_error *why)
{
	struct client_creds *c = calloc(1, sizeof *c);

	if (c && (c->ctx = make_ctx()) && (c->ca = strdup(ca)) && (c->cert = strdup(cert))) {
		c->named = named;
		return c;
	}
	client_error_set(why, CLIENT_FAULT_CONFIG, "out of memory");
	ERR_clear_error();
	client_creds_free(c);
	return NULL;
}

static struct client_creds *load(const char *ca, const char *cert, const char *key, struct client_error *why)
{
	struct client_creds *c = blank(ca, cert, true, why);
	struct problem p = {""};

	if (!c)
		return NULL;
	if (certinfo_read(cert, &c->info, &p)) {
		client_error_set(why, CLIENT_FAULT_CONFIG, "%s", p.text);
		goto fail;
	}
	if (SSL_CTX_use_certificate_chain_file(c->ctx, cert) != 1) {
		client_error_set(why, CLIENT_FAULT_CONFIG, "%s: not a chain of PEM certificates, leaf first", cert);
		goto fail;
	}
	if (SSL_CTX_load_verify_locations(c->ctx, ca, NULL) != 1) {
		client_error_set(why, CLIENT_FAULT_CONFIG, "%s: holds no PEM certificates", ca);
		goto fail;
	}
	if (load_key(c, key, why))
		goto fail;
	return c;
fail:
	ERR_clear_error();
	client_creds_free(c);
	return NULL;
}

struct client_creds *client_creds_load(const char *ca, const char *cert, const char *key, struct client_error *why)
{
	struct client_creds *c;

	if (path_needed(ca, "ca", "BATON_CA", why) || path_needed(cert, "cert", "BATON_CERT", why) ||
	    path_needed(key, "key", "BATON_KEY", why))
		return NULL;
	c = load(ca, cert, key, why);
	if (!c && strcmp(cert, key) == 0) /* one file is read twice: it may have been renewed in between */
		c = load(ca, cert, key, why);
	return c;
}

/* ---- without a certificate ---- */

static bool add_bundle(X509_STORE *store, const struct slice *bundle, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		const unsigned char *at = bundle[i].p;
		X509 *cert = d2i_X509(NULL, &at, (long)bundle[i].n);
		bool ok = cert && at == bundle[i].p + bundle[i].n && X509_STORE_add_cert(store, cert) == 1;

		X509_free(cert);
		if (!ok)
			return false;
	}
	return true;
}

static struct client_creds *unnamed(struct client_error *why)
{
	return blank("the bundle that it is to be verified by", "no certificate", false, why);
}

struct client_creds *client_creds_unnamed(const struct slice *bundle, size_t n, struct client_error *why)
{
	struct client_creds *c = unnamed(why);

	if (!c || (n && add_bundle(SSL_CTX_get_cert_store(c->ctx), bundle, n)))
		return c;
	client_error_set(why, CLIENT_FAULT_PROTOCOL, n ? "a CA certificate of the broker cannot be read" : "there is no CA certificate to verify the broker by");
	ERR_clear_error();
	client_creds_free(c);
	return NULL;
}

struct client_creds *client_creds_unverified(struct client_error *why)
{
	struct client_creds *c = unnamed(why);

	if (c)
		SSL_CTX_set_verify(c->ctx, SSL_VERIFY_NONE, NULL);
	return c;
}

bool client_creds_named(const struct client_creds *c)
{
	return c->named;
}

const char *client_creds_port(const struct client_creds *c)
{
	return c->named ? "listen.agents (7443 by default)" : "listen.enrol";
}

void client_creds_free(struct client_creds *c)
{
	if (!c)
		return;
	SSL_CTX_free(c->ctx);
	free(c->ca);
	free(c->cert);
	free(c);
}

const struct certinfo *client_creds_cert(const struct client_creds *c)
{
	return &c->info;
}

const char *client_creds_ca_path(const struct client_creds *c)
{
	return c->ca;
}

const char *client_creds_cert_path(const struct client_creds *c)
{
	return c->cert;
}

/* Only a certificate that is made for `host` will do. *name: it is no address. */
static bool demand_host(X509_VERIFY_PARAM *param, const char *host, bool *name)
{
	X509_VERIFY_PARAM_set_hostflags(param, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS | X509_CHECK_FLAG_NEVER_CHECK_SUBJECT);
	*name = X509_VERIFY_PARAM_set1_ip_asc(param, host) != 1;
	ERR_clear_error();
	return !*name || X509_VERIFY_PARAM_set1_host(param, host, 0) == 1;
}

SSL *client_creds_ssl(const struct client_creds *c, const char *host)
{
	SSL *ssl = SSL_new(c->ctx);
	bool name;

	if (!ssl)
		return NULL;
	if (!demand_host(SSL_get0_param(ssl), host, &name) || (name && SSL_set_tlsext_host_name(ssl, host) != 1)) {
		SSL_free(ssl);
		return NULL;
	}
	SSL_set_connect_state(ssl);
	return ssl;
}

bool client_creds_vouched(SSL *ssl, const char *host, const struct slice *bundle, size_t n)
{
	X509_STORE *store = X509_STORE_new();
	X509_STORE_CTX *ctx = X509_STORE_CTX_new();
	X509 *leaf = SSL_get0_peer_certificate(ssl);
	bool name, ok;

	ok = store && ctx && leaf && n && add_bundle(store, bundle, n) && X509_STORE_CTX_init(ctx, store, leaf, SSL_get_peer_cert_chain(ssl)) == 1 &&
	     X509_STORE_CTX_set_default(ctx, "ssl_server") == 1 && demand_host(X509_STORE_CTX_get0_param(ctx), host, &name) && X509_verify_cert(ctx) == 1;
	X509_STORE_CTX_free(ctx);
	X509_STORE_free(store);
	ERR_clear_error();
	return ok;
}
