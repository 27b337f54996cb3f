/* How does a TLS failure become advice? By the alert's number, the verification result and what our own certificate
 * says. The codes come from OpenSSL's error queue; the words here. What the broker answers to a call is status.c. */
#include "config.h"

#include "client/fault.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "client/certinfo.h"
#include "client/creds.h"

int client_error_set(struct client_error *e, enum client_fault fault, const char *fmt, ...)
{
	va_list ap;

	if (!e)
		return -1;
	e->fault = fault;
	e->seen[0] = e->todo[0] = '\0';
	va_start(ap, fmt);
	vsnprintf(e->what, sizeof e->what, fmt, ap);
	va_end(ap);
	return -1;
}

void client_error_seen(struct client_error *e, const char *fmt, ...)
{
	va_list ap;

	if (!e)
		return;
	va_start(ap, fmt);
	vsnprintf(e->seen, sizeof e->seen, fmt, ap);
	va_end(ap);
}

void client_error_todo(struct client_error *e, const char *fmt, ...)
{
	va_list ap;

	if (!e)
		return;
	va_start(ap, fmt);
	vsnprintf(e->todo, sizeof e->todo, fmt, ap);
	va_end(ap);
}

static const struct {
	int number;
	const char *name;
} alerts[] = {
	{0, "close_notify"}, {10, "unexpected_message"}, {20, "bad_record_mac"}, {22, "record_overflow"},
	{40, "handshake_failure"}, {42, "bad_certificate"}, {43, "unsupported_certificate"}, {44, "certificate_revoked"},
	{45, "certificate_expired"}, {46, "certificate_unknown"}, {47, "illegal_parameter"}, {48, "unknown_ca"},
	{49, "access_denied"}, {50, "decode_error"}, {51, "decrypt_error"}, {70, "protocol_version"},
	{71, "insufficient_security"}, {80, "internal_error"}, {90, "user_canceled"}, {109, "missing_extension"},
	{110, "unsupported_extension"}, {112, "unrecognized_name"}, {113, "bad_certificate_status_response"},
	{115, "unknown_psk_identity"}, {116, "certificate_required"}, {120, "no_application_protocol"},
};

const char *client_alert_name(int alert)
{
	for (size_t i = 0; i < sizeof alerts / sizeof alerts[0]; i++)
		if (alerts[i].number == alert)
			return alerts[i].name;
	return "alert";
}

/* "3 h" for a span of milliseconds. */
static void span_text(int64_t ms, char out[32])
{
	int64_t s = ms / 1000;

	if (s < 120)
		snprintf(out, 32, "%lld s", (long long)s);
	else if (s < 7200)
		snprintf(out, 32, "%lld m", (long long)(s / 60));
	else if (s < 172800)
		snprintf(out, 32, "%lld h", (long long)(s / 3600));
	else
		snprintf(out, 32, "%lld d", (long long)(s / 86400));
}

static void own_certificate_dates(struct client_error *e, const struct client_creds *creds)
{
	const struct certinfo *c = client_creds_cert(creds);
	int64_t now = clock_unix_ms();
	char at[25], span[32];

	if (now > c->not_after_ms) {
		clock_format_utc(c->not_after_ms, at);
		span_text(now - c->not_after_ms, span);
		client_error_seen(e, "%s expired %s ago (%s).", client_creds_cert_path(creds), span, at);
	} else if (now < c->not_before_ms) {
		clock_format_utc(c->not_before_ms, at);
		client_error_seen(e, "%s is not valid before %s. Is this machine's clock right?", client_creds_cert_path(creds), at);
	} else {
		clock_format_utc(c->not_after_ms, at);
		client_error_seen(e, "%s is valid until %s by this machine's clock.", client_creds_cert_path(creds), at);
	}
}

static void explain_alert(struct client_error *e, int alert, const char *addr, const struct client_creds *creds)
{
	const char *cert = client_creds_cert_path(creds);
	const struct certinfo *info = client_creds_cert(creds);

	client_error_set(e, alert == 120 ? CLIENT_FAULT_PROTOCOL : CLIENT_FAULT_UNREACHABLE,
			 "cannot connect to %s: the broker closed the handshake (%s)", addr, client_alert_name(alert));
	if (!client_creds_named(creds)) {
		client_error_todo(e, "Use the port of %s; the broker's log says why.", client_creds_port(creds));
		return;
	}
	switch (alert) {
	case 45:
		own_certificate_dates(e, creds);
		client_error_todo(e, "Renew it and name the new one with --cert and --key (dev set-up: baton dev down, baton dev up).");
		break;
	case 48:
		client_error_seen(e, "It does not know the CA that signed %s (issuer %s).", cert, info->issuer);
		client_error_todo(e, "Use a certificate of a CA in the broker's tls.trust, or add that CA there.");
		break;
	case 44:
		client_error_seen(e, "%s has been revoked.", cert);
		client_error_todo(e, "Ask the platform team for a new identity.");
		break;
	case 116:
		client_error_seen(e, "It asked for a client certificate and got none.");
		client_error_todo(e, "Name one with --cert and --key (BATON_CERT, BATON_KEY).");
		break;
	case 42:
	case 43:
	case 46:
	case 49:
		client_error_seen(e, "It does not accept %s (%s) as an agent's.", cert,
				  info->spiffe_id[0] ? info->spiffe_id : "no SPIFFE id");
		client_error_todo(e, "An agent's leaf has one URI SAN spiffe://DOMAIN/NAME, critical keyUsage digitalSignature, no CA flag; "
				     "the broker's log says which rule failed.");
		break;
	case 120:
		client_error_seen(e, "The port speaks TLS, but not gRPC (no ALPN h2).");
		client_error_todo(e, "Use the port of %s.", client_creds_port(creds));
		break;
	case 70:
		client_error_seen(e, "TLS 1.3 is demanded here, and the peer does not speak it.");
		break;
	default:
		client_error_todo(e, "The broker's log says why.");
	}
}

static void explain_verify(struct client_error *e, long result, const char *addr, SSL *ssl,
	const struct client_creds *creds)
{
	client_error_set(e, CLIENT_FAULT_UNREACHABLE, "cannot connect to %s: the broker's certificate is refused (%s)", addr,
			 X509_verify_cert_error_string(result));
	switch (result) {
	case X509_V_ERR_HOSTNAME_MISMATCH:
	case X509_V_ERR_IP_ADDRESS_MISMATCH:
		client_error_seen(e, "It is not made for the name in %s.", addr);
		client_error_todo(e, "Use a name of its subjectAltName as %s.", client_creds_named(creds) ? "--addr" : "--server");
		break;
	case X509_V_ERR_CERT_HAS_EXPIRED:
		client_error_todo(e, "The broker needs a new certificate (or this machine's clock is wrong).");
		break;
	case X509_V_ERR_CERT_NOT_YET_VALID:
		client_error_todo(e, "Set this machine's clock.");
		break;
	default:
		client_error_seen(e, "No CA in %s signed it.", client_creds_ca_path(creds));
		if (client_creds_named(creds))
			client_error_todo(e, "Name the broker's CA with --ca (BATON_CA).");
	}
}

void client_explain_tls(struct client_error *e, struct ssl_st *ssl, int ssl_error, const char *addr, bool opening,
			const struct client_creds *creds)
{
	int saved = errno;
	unsigned long code = ERR_peek_last_error();
	int reason = ERR_GET_REASON(code);

	if (code && ERR_GET_LIB(code) == ERR_LIB_SSL && reason > SSL_AD_REASON_OFFSET && reason < SSL_AD_REASON_OFFSET + 256) {
		if (opening)
			explain_alert(e, reason - SSL_AD_REASON_OFFSET, addr, creds);
		else
			client_error_set(e, CLIENT_FAULT_UNREACHABLE, "the broker at %s closed the connection (%s)", addr,
					 client_alert_name(reason - SSL_AD_REASON_OFFSET));
	} else if (code && reason == SSL_R_CERTIFICATE_VERIFY_FAILED) {
		explain_verify(e, SSL_get_verify_result(ssl), addr, ssl, creds);
	} else if (code && reason == SSL_R_WRONG_VERSION_NUMBER) {
		client_error_set(e, CLIENT_FAULT_PROTOCOL, "cannot connect to %s: the peer does not speak TLS", addr);
		client_error_todo(e, "Use the port of %s.", client_creds_port(creds));
	} else if (code && (reason == SSL_R_UNSUPPORTED_PROTOCOL || reason == SSL_R_TLSV1_ALERT_PROTOCOL_VERSION)) {
		client_error_set(e, CLIENT_FAULT_PROTOCOL, "cannot connect to %s: the peer does not speak TLS 1.3", addr);
	} else if (ssl_error == SSL_ERROR_ZERO_RETURN || (ssl_error == SSL_ERROR_SYSCALL && saved == 0) ||
		   (code && reason == SSL_R_UNEXPECTED_EOF_WHILE_READING)) {
		client_error_set(e, CLIENT_FAULT_UNREACHABLE, opening ? "cannot connect to %s: the peer closed the connection" :
				 "the broker at %s closed the connection", addr);
	} else if (code) {
		client_error_set(e, CLIENT_FAULT_UNREACHABLE, "TLS with %s failed: %s", addr, ERR_reason_error_string(code));
	} else {
		client_error_set(e, CLIENT_FAULT_UNREACHABLE, "connection to %s failed: %s", addr, strerror(saved));
	}
	ERR_clear_error();
}
