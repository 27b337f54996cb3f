/* How do bytes pass through TLS on a socket that does not block? See tls_io.h. Before each operation OpenSSL's error
 * queue is emptied, because an error left there by another session on this thread would be taken for this one's. */
#include "config.h"

#include "net/tls_io.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "net/tls_priv.h"
#include "net/tls_signer.h"

struct tls_client {
	SSL_CTX *ctx;
};

struct tls_io {
	SSL *ssl;
	struct tls_server *server; /* referenced; NULL at the client's side */
	void *identity;
	const char *failure, *hook_why;
	bool broken; /* after a fatal error nothing more may be asked of the session */
	char detail[160];
};

/* Which X509 error makes OpenSSL send the alert that the hook asks for? (ssl_x509err2alert, OpenSSL 3.0) */
static int error_for_alert(int alert)
{
	static const struct {
		int alert, error;
	} table[] = {
		{SSL_AD_BAD_CERTIFICATE, X509_V_ERR_CERT_REJECTED},
		{SSL_AD_UNSUPPORTED_CERTIFICATE, X509_V_ERR_INVALID_PURPOSE},
		{SSL_AD_CERTIFICATE_REVOKED, X509_V_ERR_CERT_REVOKED},
		{SSL_AD_CERTIFICATE_EXPIRED, X509_V_ERR_CERT_HAS_EXPIRED},
		{SSL_AD_UNKNOWN_CA, X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY},
		{SSL_AD_HANDSHAKE_FAILURE, X509_V_ERR_APPLICATION_VERIFICATION},
		{SSL_AD_INTERNAL_ERROR, X509_V_ERR_UNSPECIFIED},
	};

	for (size_t i = 0; i < sizeof table / sizeof table[0]; i++)
		if (table[i].alert == alert)
			return table[i].error;
	return X509_V_ERR_PERMITTED_VIOLATION; /* not in OpenSSL's table: certificate_unknown */
}

int tls_io_verify(X509_STORE_CTX *ctx, void *arg)
{
	SSL *ssl = X509_STORE_CTX_get_ex_data(ctx, SSL_get_ex_data_X509_STORE_CTX_idx());
	struct tls_io *io = SSL_get_app_data(ssl);
	const struct tls_hook *hook = tls_server_hook(io->server);
	const char *why = "refused";
	int alert = SSL_AD_CERTIFICATE_UNKNOWN;

	if (io->identity) /* one certificate a connection */
		return 0;
	io->identity = hook->verify(hook->arg, ctx, &why, &alert);
	if (io->identity) {
		X509_STORE_CTX_set_error(ctx, X509_V_OK);
		return 1;
	}
	io->hook_why = why;
	ERR_clear_error(); /* the hook's own tries may have left some */
	X509_STORE_CTX_set_error(ctx, error_for_alert(alert));
	return 0;
}

static struct tls_io *io_new(SSL_CTX *ctx, int fd)
{
	struct tls_io *io = calloc(1, sizeof *io);

	if (!io)
		return NULL;
	ERR_clear_error();
	io->failure = "protocol";
	io->hook_why = "";
	io->ssl = SSL_new(ctx);
	if (!io->ssl || SSL_set_fd(io->ssl, fd) != 1 || SSL_set_app_data(io->ssl, io) != 1) {
		tls_io_free(io);
		return NULL;
	}
	return io;
}

struct tls_io *tls_io_server(struct tls_server *t, int fd)
{
	struct tls_io *io = io_new(tls_server_context(t), fd);

	if (!io)
		return NULL;
	io->server = tls_server_ref(t);
	SSL_set_accept_state(io->ssl);
	return io;
}

static bool expect_host(SSL *ssl, const char *host)
{
	X509_VERIFY_PARAM *p = SSL_get0_param(ssl);

	X509_VERIFY_PARAM_set_hostflags(p, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
	if (X509_VERIFY_PARAM_set1_ip_asc(p, host) == 1)
		return true;
	ERR_clear_error();
	return SSL_set1_host(ssl, host) == 1 && SSL_set_tlsext_host_name(ssl, host) == 1;
}

struct tls_io *tls_io_client(struct tls_client *c, int fd, const char *host)
{
	struct tls_io *io = io_new(c->ctx, fd);

	if (!io)
		return NULL;
	if (!expect_host(io->ssl, host)) {
		tls_io_free(io);
		return NULL;
	}
	SSL_set_connect_state(io->ssl);
	return io;
}

void tls_io_free(struct tls_io *io)
{
	if (!io)
		return;
	SSL_free(io->ssl);
	if (io->identity)
		tls_server_hook(io->server)->free_identity(io->identity);
	tls_server_unref(io->server);
	free(io);
}

static const char *failure_label(const struct tls_io *io, unsigned long e)
{
	if (*io->hook_why)
		return "certificate";
	if (!e)
		return "closed";
	switch (ERR_GET_REASON(e)) {
	case SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE:
		return "no_certificate";
	case SSL_R_NO_APPLICATION_PROTOCOL:
		return "alpn";
	case SSL_R_UNEXPECTED_EOF_WHILE_READING:
		return "closed";
	default:
		return ERR_GET_LIB(e) == TLS_SIGNER_LIB ? "own_key" : "protocol";
	}
}

static void note_failure(struct tls_io *io)
{
	unsigned long e = ERR_peek_error();
	const char *reason = e ? ERR_reason_error_string(e) : NULL;
	long verify = SSL_get_verify_result(io->ssl);

	io->broken = true;
	io->failure = failure_label(io, e);
	if (!io->server && verify != X509_V_OK)
		snprintf(io->detail, sizeof io->detail, "certificate: %s", X509_verify_cert_error_string(verify));
	else
		snprintf(io->detail, sizeof io->detail, "%s", reason ? reason : "connection closed");
	ERR_clear_error();
}

static enum tls_step step_of(struct tls_io *io, int rc)
{
	int kind = SSL_get_error(io->ssl, rc);

	switch (kind) {
	case SSL_ERROR_WANT_READ:
		return TLS_WANT_READ;
	case SSL_ERROR_WANT_WRITE:
		return TLS_WANT_WRITE;
	case SSL_ERROR_ZERO_RETURN:
		return TLS_EOF;
	case SSL_ERROR_SSL:
		if (ERR_GET_REASON(ERR_peek_error()) == SSL_R_UNEXPECTED_EOF_WHILE_READING &&
				SSL_is_init_finished(io->ssl)) {
			/* HTTP/2 and Redis frame their own ends: a missing close_notify cuts nothing off unseen. */
			note_failure(io);
			return TLS_EOF;
		}
		note_failure(io);
		return TLS_FAILED;
	default:
		note_failure(io);
		return TLS_FAILED;
	}
}

/* RFC 9113 §3.2, and a client that offers no ALPN at all passes the callback, so it is caught here. */
static bool chose_h2(SSL *ssl)
{
	const unsigned char *p = NULL;
	unsigned n = 0;

	SSL_get0_alpn_selected(ssl, &p, &n);
	return n == 2 && memcmp(p, "h2", 2) == 0;
}

enum tls_step tls_io_handshake(struct tls_io *io)
{
	int rc;

	ERR_clear_error();
	rc = SSL_do_handshake(io->ssl);
	if (rc != 1)
		return step_of(io, rc);
	if (!io->server)
		return TLS_DONE;
	if (!chose_h2(io->ssl)) {
		io->failure = "alpn";
		return TLS_FAILED;
	}
	if (!tls_io_identity(io)) {
		io->failure = "no_certificate";
		return TLS_FAILED;
	}
	return TLS_DONE;
}

enum tls_step tls_io_read(struct tls_io *io, void *p, size_t n, size_t *got)
{
	*got = 0;
	if (io->broken)
		return TLS_FAILED;
	ERR_clear_error();
	int rc = SSL_read_ex(io->ssl, p, n, got);
	return rc == 1 ? TLS_DONE : step_of(io, rc);
}

enum tls_step tls_io_write(struct tls_io *io, const void *p, size_t n, size_t *put)
{
	*put = 0;
	if (io->broken)
		return TLS_FAILED;
	ERR_clear_error();
	int rc = SSL_write_ex(io->ssl, p, n < TLS_RECORD_BYTES ? n : TLS_RECORD_BYTES, put);
	return rc == 1 ? TLS_DONE : step_of(io, rc);
}

void tls_io_shutdown(struct tls_io *io)
{
	if (io->broken || !SSL_is_init_finished(io->ssl))
		return;
	ERR_clear_error();
	SSL_shutdown(io->ssl);
	ERR_clear_error();
	io->broken = true;
}

const char *tls_io_failure(const struct tls_io *io)
{
	return io->failure;
}

const char *tls_io_hook_why(const struct tls_io *io)
{
	return io->hook_why;
}

const char *tls_io_detail(const struct tls_io *io)
{
	return io->detail;
}

const void *tls_io_identity(const struct tls_io *io)
{
	return io->identity ? io->identity : tls_server_hook(io->server)->anonymous;
}

const char *tls_io_recheck(const struct tls_io *io)
{
	const struct tls_hook *hook = tls_server_hook(io->server);
	X509_STORE_CTX *ctx = X509_STORE_CTX_new();
	const char *why = "refused";
	void *identity = NULL;
	int alert;

	if (hook->anonymous) {
		X509_STORE_CTX_free(ctx);
		return NULL;
	}
	if (ctx && X509_STORE_CTX_init(ctx, SSL_CTX_get_cert_store(tls_server_context(io->server)), SSL_get0_peer_certificate(io->ssl),
				       SSL_get_peer_cert_chain(io->ssl)) == 1)
		identity = hook->verify(hook->arg, ctx, &why, &alert);
	if (identity)
		hook->free_identity(identity);
	X509_STORE_CTX_free(ctx);
	ERR_clear_error();
	return identity ? NULL : why;
}

int64_t tls_io_identity_not_after_ms(const struct tls_io *io)
{
	return tls_server_hook(io->server)->not_after_ms(tls_io_identity(io));
}

/* TLS 1.2 is the floor towards servers that we did not choose. */
static int client_configure(SSL_CTX *ctx, const char *ca_file, struct problem *why)
{
	int rc = ca_file ? SSL_CTX_load_verify_file(ctx, ca_file) : SSL_CTX_set_default_verify_paths(ctx);

	if (rc != 1) {
		ERR_clear_error();
		return problem_set(why, "%s: cannot read certificates to trust",
			ca_file ? ca_file : "the system's store");
	}
	SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION);
	SSL_CTX_set_options(ctx, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION);
	SSL_CTX_set_mode(ctx,
		SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
	return 0;
}

struct tls_client *tls_client_new(const char *ca_file, const char *cert_file, const char *key_file, struct problem *why)
{
	struct tls_client *c = calloc(1, sizeof *c);
	X509 *leaf;

	if (!c) {
		problem_set(why, "out of memory");
		return NULL;
	}
	ERR_clear_error();
	c->ctx = SSL_CTX_new(TLS_client_method());
	if (!c->ctx) {
		problem_set(why, "TLS cannot be set up");
		goto out;
	}
	if (client_configure(c->ctx, ca_file, why) < 0)
		goto out;
	if (cert_file && tls_load_identity(c->ctx, cert_file, key_file ? key_file : cert_file, &leaf, why) < 0)
		goto out;
	return c;
out:
	tls_client_free(c);
	return NULL;
}

void tls_client_free(struct tls_client *c)
{
	if (!c)
		return;
	SSL_CTX_free(c->ctx);
	free(c);
}
