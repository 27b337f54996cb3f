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
	char *ca, *cert;
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

struct client_creds *client_creds_load(const char *ca, const char *cert, const char *key, struct client_error *why)
{
	struct client_creds *c = NULL;
	struct problem p = {""};

	if (path_needed(ca, "ca", "BATON_CA", why) || path_needed(cert, "cert", "BATON_CERT", why) ||
	    path_needed(key, "key", "BATON_KEY", why))
		return NULL;
	c = calloc(1, sizeof *c);
	if (!c || !(c->ctx = make_ctx()) || !(c->ca = strdup(ca)) || !(c->cert = strdup(cert))) {
		client_error_set(why, CLIENT_FAULT_CONFIG, "out of memory");
		goto fail;
	}
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

SSL *client_creds_ssl(const struct client_creds *c, const char *host)
{
	SSL *ssl = SSL_new(c->ctx);
	X509_VERIFY_PARAM *param;

	if (!ssl)
		return NULL;
	param = SSL_get0_param(ssl);
	X509_VERIFY_PARAM_set_hostflags(param, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS | X509_CHECK_FLAG_NEVER_CHECK_SUBJECT);
	if (X509_VERIFY_PARAM_set1_ip_asc(param, host) != 1) { /* not an address: a name */
		ERR_clear_error();
		if (X509_VERIFY_PARAM_set1_host(param, host, 0) != 1 || SSL_set_tlsext_host_name(ssl, host) != 1) {
			SSL_free(ssl);
			return NULL;
		}
	}
	SSL_set_connect_state(ssl);
	return ssl;
}
